"""H1: rows are gathered, and only they move; out of range errors in the interpreter, zero rows in compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dfc
from dfc.backends import reference
from dfc.errors import OutOfRange
from dfc.ir.ops.indexing import Take
from dfc.ir.types import spec_of
from tests.programs import Trace

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3) + 1


@dfc.function(signature=[dfc.TensorSpec(("n", 3)), dfc.TensorSpec(("b",), "int32")])
def lookup(table: dfc.Tensor, ids: dfc.Tensor) -> dfc.Tensor:
    return dfc.take(table, ids, axis=0)


def test_h1_rows_of_any_table_and_batch() -> None:
    assert str(spec_of(lookup.graph().func.outputs[0].type)) == "float32[b, 3]"
    for ids in ([2, 0, 2], [], [3]):
        np.testing.assert_array_equal(lookup(TABLE, np.array(ids, np.int32)).numpy(), TABLE[np.array(ids, int)])


def test_h1_bytes_moved_are_those_of_the_rows() -> None:
    n, d, b = 1000, 64, 8
    specs = dfc.TensorSpec((n, d)), dfc.TensorSpec((b,), "int32")
    text = dfc.function(lambda table, ids: dfc.take(table, ids, axis=0)).lower(*specs).text
    assert text.count('"stablehlo.gather"(') == 1
    assert f"slice_sizes = array<i64: 1, {d}>" in text
    # Nothing but the parameter and the gather's operand has the table's size.
    assert all("gather" in line or "func" in line for line in text.splitlines() if f"tensor<{n}x{d}xf32>" in line)


def test_h1_out_of_range_is_a_row_of_zeros_in_compiled_code() -> None:
    ids = np.array([1, 4, -1, 2**31 - 1, -(2**31), 3], np.int32)
    expected = np.zeros((6, 3), np.float32)
    expected[0], expected[5] = TABLE[1], TABLE[3]
    np.testing.assert_array_equal(lookup(TABLE, ids).numpy(), expected)
    np.testing.assert_array_equal(dfc.take(np.full((2, 2), np.nan, np.float32), [5], axis=0).numpy(), [[0, 0]])


def test_h1_out_of_range_by_a_constant_is_not_folded_into_an_error() -> None:
    constant = dfc.function(lambda x: x + dfc.take(TABLE, [4, 0], axis=0))
    np.testing.assert_array_equal(constant(np.zeros(3, np.float32)).numpy(), [[0, 0, 0], TABLE[0]])


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([0, 1, 99], "indices[2] = 99 is not in [0, 4)"),
        ([[0, 1], [-1, 7]], "indices[1,0] = -1 is not in [0, 4)"),
        (4, "indices = 4 is not in [0, 4)"),
    ],
)
def test_h1_out_of_range_is_an_error_in_the_interpreter(ids: Any, text: str) -> None:
    trace = Trace({"table": ((4, 3), "float32"), "ids": (np.shape(ids), "int32")})
    program = trace.finish([trace(Take, *trace.inputs, axis=0)])
    with pytest.raises(OutOfRange) as caught:
        reference.run(program, [TABLE, np.array(ids, np.int32)])
    assert str(caught.value) == f"take: {text}\n  at model.py:1:1"


def test_h1_gradient_adds_the_rows_of_equal_ids() -> None:
    def loss(table: dfc.Tensor, weights: dfc.Tensor) -> dfc.Tensor:
        return dfc.sum(dfc.take(table, [1, 3, 1], axis=0) * weights)

    weights = np.arange(9, dtype=np.float32).reshape(3, 3)
    expected = np.zeros((4, 3), np.float32)
    expected[1], expected[3] = weights[0] + weights[2], weights[1]
    np.testing.assert_array_equal(dfc.grad(loss)(TABLE, weights).numpy(), expected)
