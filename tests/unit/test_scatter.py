"""Writes to rows of variables: values against a loop, order among other effects, the passes, errors."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from xdsl.dialects.builtin import ModuleOp

import dfc
from dfc.backends import pipeline, reference
from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.ops.function import Func, Island
from dfc.ir.text import parse_program, print_program
from dfc.passes.batch import rows_independent
from dfc.passes.phases import Phase

HOW: dict[str, Callable[[Any, Any], Any]] = {
    "update": lambda old, new: new,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "min": min,
    "max": max,
}
START = np.array([[1.0, -2.0], [4.0, 8.0], [0.5, 0.25], [-16.0, 3.0]])
INDICES = np.array([[2, 0], [2, 3]], np.int32)
UPDATES = np.array([[[2.0, -1.0], [0.5, 4.0]], [[-4.0, 0.25], [8.0, -2.0]]])


def expected(how: str, start: Any, indices: Any, updates: Any) -> Any:
    """Update after update, element after element."""
    found = np.array(start)
    for place in np.ndindex(*indices.shape):
        for j in range(found.shape[1]):
            found[indices[place], j] = HOW[how](found[indices[place], j], updates[(*place, j)])
    return found


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32"])
def test_inside_outside_and_in_the_interpreter(how: str, dtype: str) -> None:
    if (how, dtype) == ("div", "int32"):
        return  # refused: see below
    start, updates = START.astype(dtype), UPDATES.astype(dtype)
    want = expected(how, start, INDICES, updates)
    v = dfc.Variable(start, name="v")
    operation = getattr(v, f"scatter_{how}")(INDICES, updates)
    assert operation.name == f"v/scatter_{how}"
    assert_array_equal(operation.value().numpy(), want)

    v.assign(start)
    function = dfc.function(lambda i, u: getattr(v, f"scatter_{how}")(i, u).value())
    assert_array_equal(function(INDICES, updates).numpy(), want)
    assert_array_equal(v.numpy(), want)

    graph = function.graph(dfc.TensorSpec((2, 2), "int32"), dfc.TensorSpec((2, 2, 2), dtype))
    program = parse_program(print_program(graph.module))
    for phase in (Phase.TRACE, Phase.GRAPH, Phase.CLUSTERED):
        pipeline.lower(program, to=phase, start=Phase.TRACE)
        outputs, variables = reference.run(program, [INDICES, updates], {"v": start})
        assert_array_equal(outputs[0], want)
        assert_array_equal(variables["v"], want)


def test_unsigned_booleans_and_strings_of_updates() -> None:
    v = dfc.Variable(np.array([3, 250], np.uint8))
    v.scatter_sub([0, 0], np.array([2, 2], np.uint8))
    assert v.numpy().tolist() == [255, 250]
    v.scatter_add([1], [10])  # a list takes the variable's dtype
    assert v.numpy().tolist() == [255, 4]
    flags = dfc.Variable(np.array([True, False, True]))
    flags.scatter_min([0, 1], [False, True])
    flags.scatter_update([1], [True])
    assert flags.numpy().tolist() == [False, True, True]


def test_zeros_keep_their_sign_and_nan_spreads() -> None:
    v = dfc.Variable(np.array([-0.0, 1.0, 2.0], np.float32))
    v.scatter_sub([0], 0.0)
    assert np.signbit(v.numpy()[0])
    v.scatter_max([1], np.float32(np.nan))
    assert np.isnan(v.numpy()[1])


def test_updates_broadcast_and_indices_may_be_scalars_or_none() -> None:
    v = dfc.Variable(np.zeros((3, 2), np.float32))
    v.scatter_update(1, [1.0, 2.0])
    v.scatter_add([0, 2], 5.0)
    v.scatter_add(np.zeros(0, np.int32), np.zeros((0, 2), np.float32))
    assert v.numpy().tolist() == [[5, 5], [1, 2], [5, 5]]


def test_order_among_reads_and_writes() -> None:
    v = dfc.Variable(np.zeros(3), name="v")

    @dfc.function
    def f(i: Any) -> Any:
        a = v.read()
        v.scatter_add(i, 1.0)
        b = v.read()
        v.assign_add([10.0, 10.0, 10.0])
        v.scatter_mul(i, 2.0)
        inner()
        return a, b, v.read()

    inner = dfc.function(lambda: v.scatter_sub([2], 0.5))
    for program_order in (True, False):
        v.assign(np.zeros(3))
        a, b, c = f([0, 0]) if program_order else dfc.function(lambda i: f(i))(np.array([0, 0]))
        assert a.numpy().tolist() == [0, 0, 0]
        assert b.numpy().tolist() == [2, 0, 0]
        assert c.numpy().tolist() == [48, 10, 9.5]
    ops = [op.name for op in f.graph(dfc.TensorSpec((2,), "int32")).func.block.ops]
    assert [name for name in ops if "scatter" in name or "assign" in name] == [
        "df.scatter_add", "df.assign_add", "df.scatter_mul",
    ]  # fmt: skip


def test_a_value_after_is_refused_once_overwritten() -> None:
    v = dfc.Variable(np.zeros(3), name="v")

    @dfc.function
    def f() -> Any:
        done = v.scatter_add([0], 1.0)
        v.assign([1.0, 1.0, 1.0])
        return done.value()

    with pytest.raises(dfc.errors.FailedPrecondition, match="the value after scatter_add on 'v' was overwritten"):
        f()


def test_prune_keeps_the_write_and_cluster_makes_it_the_islands() -> None:
    v = dfc.Variable(np.zeros((4, 2), np.float32), name="v")

    @dfc.function
    def f(i: Any, x: Any) -> None:
        v.scatter_add(i, x)

    program = f.graph(dfc.TensorSpec((3,), "int32"), dfc.TensorSpec((3, 2))).module.clone()
    pipeline.lower(program, to=Phase.CLUSTERED)
    (func,) = (op for op in program.ops if isinstance(op, Func))
    (island,) = (op for op in func.block.ops if isinstance(op, Island))
    assert [op.name for op in island.block.ops] == ["df.reshape", "df.tensor_scatter_add", "df.yield"]
    assert island.written.data == (0,)
    assert "test_scatter.py" in str(next(op for op in island.block.ops if "scatter" in op.name).location)


def test_equal_scatters_are_two_effects_and_a_batch_with_one_is_not_split() -> None:
    v = dfc.Variable(np.zeros(2), name="v")

    @dfc.function(signature=[dfc.TensorSpec(("b",), "int32")])
    def f(i: Any) -> Any:
        v.scatter_add([0], 1.0)
        v.scatter_add([0], 1.0)
        return i

    f(np.zeros(1, np.int32))
    assert v.numpy().tolist() == [2, 0]
    found = rows_independent(module_func(f.graph().module))
    assert "a batch that is split would write the variable more than once" in str(found)


def module_func(module: ModuleOp) -> Func:
    return next(op for op in module.ops if isinstance(op, Func))


def test_what_does_not_fit_is_an_error() -> None:
    v, n = dfc.Variable(np.zeros((3, 2), np.float32), name="v"), dfc.Variable(np.zeros(3, np.int32), name="n")
    scalar = dfc.Variable(1.0, name="s")
    for wrong, kind, message in [
        (lambda: v.scatter_add([0.5], 1.0), InvalidType, "scatter_add: indices must be integers, got float32"),
        (lambda: v.scatter_mul([0], np.zeros(2)), InvalidType,
         "scatter_mul: variable 'v' holds float32[3, 2], got updates float64"),
        (lambda: v.scatter_min([0, 1], np.zeros((3, 2), np.float32)), InvalidArgument,
         "scatter_min: variable 'v' holds float32[3, 2]: updates for indices of shape (2) must have shape (2, 2), "
         "got (3, 2)"),
        (lambda: scalar.scatter_update([0], 1.0), InvalidArgument,
         "scatter_update: a scatter needs a variable with rows, 's' is a scalar"),
        (lambda: n.scatter_div([0], 2), InvalidType,
         "scatter_div: the dtype must be float or complex, got int32 [C6]"),
    ]:  # fmt: skip
        for call in (wrong, dfc.function(wrong)):
            with pytest.raises(kind) as caught:
                call()
            first, line = str(caught.value).splitlines()[:2]
            assert first == message
            assert "test_scatter.py" in line


def test_an_index_out_of_range_changes_nothing() -> None:
    v = dfc.Variable(np.zeros(3), name="v")
    v.scatter_add([3, -1, 1], [1.0, 1.0, 1.0])
    assert v.numpy().tolist() == [0, 1, 0]


def test_gradients_do_not_pass_a_write_and_later_reads_count() -> None:
    v = dfc.Variable(np.ones(3), name="v")

    @dfc.function
    def f(x: Any) -> Any:
        v.scatter_mul([1], x)
        return dfc.gradients(dfc.sum(v * v), [x, v])

    by_x, by_v = f(np.array([3.0]))
    assert by_x is None
    assert_allclose(by_v.numpy(), [2, 6, 2])
