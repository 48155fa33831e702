"""Products in scans that are made before or after them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc
from dfc.backends import pipeline
from dfc.ir.ops.control import Scan
from dfc.ir.ops.linalg import DotGeneral
from dfc.ir.text import parse_program
from dfc.passes.phases import Phase


def products(f: Any, *specs: Any) -> list[list[int]]:
    """Of each scan at phase graph: how many products are in its body, and how many values it carries."""
    program = parse_program(str(dfc.function(f).graph(*specs)))
    pipeline.lower(program, start=Phase.TRACE, to=Phase.GRAPH)
    scans = [op for op in program.walk() if isinstance(op, Scan)]
    return [[sum(isinstance(o, DotGeneral) for o in s.body.ops), s.n_carried.data] for s in scans]


def network(cell: Any, lengths: Any = None) -> Any:
    def f(x: Any) -> Any:
        outputs, _ = dfc.nn.rnn(cell, x, lengths, time_major=True)
        return dfc.gradients(dfc.sum(outputs * outputs), [x, cell.kernel, cell.recurrent, cell.bias])

    return f


def unrolled(cell: Any, steps: int) -> Any:
    def f(x: Any) -> Any:
        state, outputs = cell.initial_state(x.shape[1]), []
        for t in range(steps):
            y, state = cell(x[t], state)
            outputs.append(y)
        return dfc.gradients(sum(dfc.sum(y * y) for y in outputs), [x, cell.kernel, cell.recurrent, cell.bias])

    return f


def test_a_recurrent_network_has_one_product_a_step_and_direction() -> None:
    cell = dfc.nn.LSTMCell(3, 8)
    forward, backward = products(network(cell), dfc.TensorSpec((6, 2, 3), "float32"))
    assert forward[0] == backward[0] == 1
    assert backward[1] == 3, "the gradients of h and c, and the sum for the bias"


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell"])
def test_gradients_are_those_of_the_unrolled_network(kind: str) -> None:
    cell = getattr(dfc.nn, kind)(3, 8)
    x = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    for got, wanted in zip(dfc.function(network(cell))(x), dfc.function(unrolled(cell, 6))(x), strict=True):
        assert_allclose(got.numpy(), wanted.numpy(), rtol=2e-4, atol=1e-5)


def test_rows_that_a_count_leaves_out_count_for_nothing_whatever_they_hold() -> None:
    cell = dfc.nn.LSTMCell(3, 8)
    x = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    wanted = dfc.function(unrolled(cell, 4))(x[:4])
    x[4:] = np.nan
    got = dfc.function(network(cell, np.array([4, 4], np.int32)))(x)
    assert_allclose(got[0].numpy()[:4], wanted[0].numpy(), rtol=2e-4, atol=1e-5)
    for a, b in zip(got[1:], wanted[1:], strict=True):
        assert_allclose(a.numpy(), b.numpy(), rtol=2e-4, atol=1e-5)


def test_a_sum_that_is_used_on_the_way_stays() -> None:
    def f(x: Any, w: Any) -> Any:
        def step(total: Any, row: Any) -> Any:
            return total + dfc.matmul(dfc.expand_dims(row, axis=1), dfc.expand_dims(row, axis=0)), dfc.sum(total)

        return dfc.scan(step, w, x)

    x, w = np.random.default_rng(0).normal(size=(5, 4)), np.zeros((4, 4))
    specs = [dfc.TensorSpec(a.shape, "float64") for a in (x, w)]
    assert products(f, *specs) == [[1, 1]]
    total, partial = dfc.function(f)(x, w)
    assert_allclose(total.numpy(), x.T @ x)
    assert_allclose(partial.numpy(), [sum(np.outer(r, r).sum() for r in x[:i]) for i in range(5)], atol=1e-12)


def test_a_sum_of_products_of_rows_is_one_product() -> None:
    def f(x: Any, y: Any, w: Any) -> Any:
        def step(total: Any, rows: Any) -> Any:
            a, b = rows
            return total + dfc.matmul(dfc.expand_dims(b, axis=1), dfc.expand_dims(a, axis=0)), ()

        return dfc.scan(step, w, (x, y))[0]

    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(5, 4)), rng.normal(size=(5, 3)), rng.normal(size=(3, 4))
    assert_allclose(dfc.function(f)(x, y, w).numpy(), w + y.T @ x)


def test_what_must_be_kept_is_smaller_than_the_sum() -> None:
    """Else adding up costs less than keeping."""

    def f(x: Any, w: Any) -> Any:
        def step(total: Any, row: Any) -> Any:
            row = dfc.tanh(row)
            return total + dfc.matmul(dfc.matrix_transpose(row), row), ()

        return dfc.scan(step, w, x)[0]

    few, many = dfc.TensorSpec((5, 2, 8), "float32"), dfc.TensorSpec((5, 64, 8), "float32")
    w = dfc.TensorSpec((8, 8), "float32")
    assert products(f, many, w) == [[1, 1]]
    assert products(f, few, w)[0][0] == 0
    x = np.random.default_rng(0).normal(size=(5, 2, 8)).astype(np.float32)
    t = np.tanh(x).reshape(10, 8)
    assert_allclose(dfc.function(f)(x, np.zeros((8, 8), np.float32)).numpy(), t.T @ t, rtol=1e-5, atol=1e-5)


def test_loops_that_may_swap_stay_as_they_are() -> None:
    f = dfc.function(
        lambda x, w: dfc.scan(lambda c, r: (dfc.matmul(r, w) + c, ()), dfc.zeros((2, 3)), x, swap_memory=True)
    )
    program = parse_program(str(f.graph(dfc.TensorSpec((4, 2, 5), "float32"), dfc.TensorSpec((5, 3), "float32"))))
    pipeline.lower(program, start=Phase.TRACE, to=Phase.GRAPH)
    (scan,) = [op for op in program.walk() if isinstance(op, Scan)]
    assert any(isinstance(op, DotGeneral) for op in scan.body.ops)
