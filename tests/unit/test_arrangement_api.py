"""Rolls, repetitions, paddings, diagonals and triangles, and reads at indices, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidArgument, InvalidType
from tests.frontend_support import error_of

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
M, V = X[0], X[0, 0]
WIDE = ((1, 2), (0, 0), (5, 3))
I = np.array([[[2], [0], [-1]], [[1], [1], [0]]], np.int32)  # noqa: E741
MODES = ("edge", "reflect", "symmetric", "wrap")

CASES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "moveaxis": (lambda x: dfc.moveaxis(x, 0, -1), np.moveaxis(X, 0, -1)),
    "moveaxis two": (lambda x: dfc.moveaxis(x, (2, 0), (0, 1)), np.moveaxis(X, (2, 0), (0, 1))),
    "swapaxes": (lambda x: dfc.swapaxes(x, 0, -1), np.swapaxes(X, 0, -1)),
    "unstack": (lambda x: dfc.unstack(x, axis=1)[2], X[:, 2]),
    "unstack count": (lambda x: dfc.stack(dfc.unstack(x, axis=-1)), np.moveaxis(X, -1, 0)),
    "repeat flat": (lambda x: dfc.repeat(x, 2), np.repeat(X, 2)),
    "repeat axis": (lambda x: dfc.repeat(x, 3, axis=-1), np.repeat(X, 3, axis=-1)),
    "repeat each": (lambda x: dfc.repeat(x, [0, 2, 1], axis=1), np.repeat(X, [0, 2, 1], axis=1)),
    "repeat none": (lambda x: dfc.repeat(x, 0, axis=1), np.repeat(X, 0, axis=1)),
    "tile": (lambda x: dfc.tile(x, (2, 1, 3)), np.tile(X, (2, 1, 3))),
    "tile more axes": (lambda x: dfc.tile(x, (2, 1, 1, 2)), np.tile(X, (2, 1, 1, 2))),
    "tile fewer": (lambda x: dfc.tile(x, 2), np.tile(X, 2)),
    "tile none": (lambda x: dfc.tile(x, (0, 1)), np.tile(X, (0, 1))),
    "roll flat": (lambda x: dfc.roll(x, 5), np.roll(X, 5)),
    "roll": (lambda x: dfc.roll(x, -1, axis=2), np.roll(X, -1, 2)),
    "roll axes": (lambda x: dfc.roll(x, (1, 9), axis=(0, -1)), np.roll(X, (1, 9), (0, -1))),
    "roll one shift": (lambda x: dfc.roll(x, 1, axis=(0, 1)), np.roll(X, 1, (0, 1))),
    "roll by data": (lambda x: dfc.roll(x, dfc.astype(x[0, 0, 3], "int32"), axis=2), np.roll(X, 3, 2)),
    **{f"pad {mode}": (lambda x, m=mode: dfc.pad(x, WIDE, mode=m), np.pad(X, WIDE, mode)) for mode in MODES},  # type: ignore[call-overload]
    "pad constant": (lambda x: dfc.pad(x, 1, constant_values=7), np.pad(X, 1, constant_values=7)),
    "tril": (dfc.tril, np.tril(X)),
    "tril below": (lambda x: dfc.tril(x, k=-1), np.tril(X, -1)),
    "triu above": (lambda x: dfc.triu(x, k=2), np.triu(X, 2)),
    "band_part": (lambda x: dfc.band_part(x, 1, 0), np.triu(np.tril(X), -1)),
    "band_part whole": (lambda x: dfc.band_part(x, -1, -1), X),
    "diagonal": (dfc.diagonal, np.diagonal(X, 0, -2, -1)),
    "diagonal above": (lambda x: dfc.diagonal(x, offset=2), np.diagonal(X, 2, -2, -1)),
    "diagonal below": (lambda x: dfc.diagonal(x, offset=-2, axis1=0, axis2=2), np.diagonal(X, -2, 0, 2)),
    "diagonal axes": (lambda x: dfc.diagonal(x, axis1=2, axis2=0), np.diagonal(X, 0, 2, 0)),
    "diag": (lambda x: dfc.diag(x[0], k=1), np.diag(M, 1)),
    "diag of a vector": (lambda x: dfc.diag(x[0, 0], k=-2), np.diag(V, -2)),
    "diag above": (lambda x: dfc.diag(x[0, 0], k=1), np.diag(V, 1)),
    "matrix_diag": (dfc.matrix_diag, X[..., None] * np.eye(4, dtype=np.float32)),
    "trace": (dfc.trace, np.trace(X, 0, -2, -1)),
    "trace offset": (lambda x: dfc.trace(x, offset=1), np.trace(X, 1, -2, -1)),
    "take": (lambda x: dfc.take(x, [[2, 0]], axis=1), np.take(X, [[2, 0]], 1)),
    "take a vector": (lambda x: dfc.take(x[0, 0], 3), np.take(V, 3)),
    "take_along_axis": (lambda x: dfc.take_along_axis(x, I), np.take_along_axis(X, I, -1)),
    "take_along_axis broadcast": (lambda x: dfc.take_along_axis(x, I[:1], axis=2), np.take_along_axis(X, I[:1], 2)),
    "take_along_axis argmax": (
        lambda x: dfc.take_along_axis(x, dfc.argmax(x, axis=1, keepdims=True), axis=1), X[:, 2:]),
    "gather_nd": (lambda x: dfc.gather_nd(x, [[1, 2], [0, 0]]), X[[1, 0], [2, 0]]),
    "scatter_nd": (lambda x: dfc.scatter_nd([[1], [1]], x, (3, 3, 4)), np.stack([0 * M, X[0] + X[1], 0 * M])),
    "tensor_scatter_update": (lambda x: dfc.tensor_scatter_update(x, [[1], [1]], [[1] * 4, [2] * 4][1]),
                              np.stack([M, 0 * M + 2])),
    "dynamic_slice": (lambda x: dfc.dynamic_slice(x, dfc.argmax(x) - [22, 22, 22], (1, 2, 2)), X[1:, 1:, 1:3]),
    "dynamic_slice moved": (lambda x: dfc.dynamic_slice(x, (5, -1, 1), (1, 2, 2)), X[1:, :2, 1:3]),
    "dynamic_update_slice": (
        lambda x: dfc.dynamic_update_slice(x[0], [[7.0]], (1, 9)), [[*M[0]], [4, 5, 6, 7], [*M[2]]]),
    "argwhere": (
        lambda x: dfc.argwhere(x > 21, size=3, fill_value=-1), np.array([[1, 2, 2], [1, 2, 3], [-1] * 3], np.int32)),
    "nonzero": (lambda x: dfc.nonzero(x[0, 0] > 1, size=2)[0], np.array([2, 3], np.int32)),
    "nonzero known": (lambda x: dfc.nonzero(np.array([0, 3, 4]))[0], np.array([1, 2], np.int32)),
}  # fmt: skip


def test_all_in_one_trace() -> None:
    found = dfc.function(lambda x: {name: call(x) for name, (call, _) in CASES.items()})(X)
    for name, (_, want) in CASES.items():
        np.testing.assert_array_equal(found[name].numpy(), want, err_msg=name)
        assert found[name].shape == np.shape(want), name


@pytest.mark.parametrize("name", ["roll", "pad reflect", "diagonal above", "take_along_axis", "unstack", "repeat each"])
def test_outside_a_trace(name: str) -> None:
    call, want = CASES[name]
    np.testing.assert_array_equal(call(dfc.asarray(X)).numpy(), want)


def test_nonzero_outside_a_trace_has_as_many_rows_as_there_are() -> None:
    x = np.array([[0, 1], [2, 0]])
    for got, want in zip(dfc.nonzero(dfc.asarray(x)), np.nonzero(x), strict=True):
        np.testing.assert_array_equal(got.numpy(), want)
    np.testing.assert_array_equal(dfc.argwhere(x).numpy(), np.argwhere(x))


@pytest.mark.parametrize("indexing", ["xy", "ij"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_meshgrid(indexing: Any, count: int) -> None:
    vectors = [np.arange(n, dtype=np.float32) for n in (2, 3, 4)[:count]]
    for got, want in zip(
        dfc.meshgrid(*vectors, indexing=indexing), np.meshgrid(*vectors, indexing=indexing), strict=True
    ):
        np.testing.assert_array_equal(got.numpy(), want)


def test_symbolic_sizes() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b", "b"))])
    def every(x: Any) -> Any:
        paddings = {mode: dfc.pad(x, ((0, 0), (4, 5)), mode=mode) for mode in MODES}
        rest = dfc.roll(x, 7, axis=0), dfc.tile(x, (2, 1)), dfc.repeat(x, 2, axis=1), dfc.tril(x), dfc.trace(x)
        return paddings, rest, dfc.diagonal(x), dfc.matrix_diag(x[0], k=1), dfc.take_along_axis(x, [[-1]], axis=1)

    for size in (3, 1, 2):
        x = np.arange(size * size, dtype=np.float32).reshape(size, size) + 1
        paddings, rest, diagonal, spread, last = every(x)
        for mode in MODES:
            want = np.pad(x, ((0, 0), (4, 5)), mode)  # type: ignore[call-overload]
            np.testing.assert_array_equal(paddings[mode].numpy(), want, err_msg=f"{mode} {size}")
        wanted = np.roll(x, 7, 0), np.tile(x, (2, 1)), np.repeat(x, 2, 1), np.tril(x), np.trace(x)
        for got, want in zip(rest, wanted, strict=True):
            np.testing.assert_array_equal(got.numpy(), want)
        np.testing.assert_array_equal(diagonal.numpy(), np.diagonal(x))
        np.testing.assert_array_equal(spread.numpy(), np.diag(x[0], 1))
        np.testing.assert_array_equal(last.numpy(), x[:, -1:])


def test_gradients() -> None:
    weights = np.arange(14, dtype=np.float32)

    def loss(x: Any) -> Any:
        return dfc.sum(dfc.pad(x, (5, 5), mode="reflect") * weights) + 100 * dfc.trace(dfc.diag(x))

    places = np.pad(np.arange(4), 5, "reflect")
    want = np.full(4, 100.0)
    np.add.at(want, places, weights)
    np.testing.assert_array_equal(dfc.grad(loss)(V).numpy(), want)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda x: dfc.take(x, 0), InvalidArgument, "take: the axis must be given, got float32[2, 3, 4]"),
        (lambda x: dfc.take(x, x, axis=0), InvalidType, "take: indices must be integers, got float32"),
        (lambda x: dfc.tensor_scatter_add(x, [1, 0, 0, 0], 1), InvalidArgument,
         "tensor_scatter_add: the last axis of indices must have a size from 1 to 3, got (4) for x of shape (2, 3, 4)"),
        (lambda x: dfc.tensor_scatter_add(x, [[1]], np.zeros((3, 4))), InvalidType,
         "tensor_scatter_add: updates must have the dtype float32, got float64"),
        (lambda x: dfc.take_along_axis(x, [0]), InvalidArgument,
         "take_along_axis: indices must have x's rank, got shapes (1) and (2, 3, 4)"),
        (lambda x: dfc.dynamic_slice(x, (0, 0), (1, 1, 1)), InvalidArgument,
         "dynamic_slice: one start for each of 3 axes is needed, got (0, 0)"),
        (lambda x: dfc.dynamic_slice(x, (0, 0, 1.0), (1, 1, 1)), InvalidType,
         "dynamic_slice: starts must be integer scalars, got int32[], int32[], float32[]"),
        (lambda x: dfc.nonzero(x), InvalidArgument,
         "nonzero: the size must be given where the values aren't known while tracing\n"
         "  give size=n, the largest number of elements that there can be"),
        (lambda x: dfc.pad(x, 1, mode="mean"), InvalidArgument,
         "pad: mode must be constant, edge, reflect, symmetric or wrap, got 'mean'"),
        (lambda x: dfc.pad(x[:0], 1, mode="edge"), InvalidArgument, "pad: mode 'edge' can't fill the empty axis 0"),
        (lambda x: dfc.diag(x), InvalidArgument,
         "diag: a vector or a matrix is needed, got float32[2, 3, 4]\n"
         "  use dfc.diagonal or dfc.matrix_diag for more axes"),
        (lambda x: dfc.diagonal(x, axis1=1, axis2=-2), InvalidArgument,
         "diagonal: two different axes are needed, got 1 and -2"),
        (lambda x: dfc.repeat(x, [1, 2], axis=1), InvalidArgument,
         "repeat: one repeat for each of 3 elements is needed, got 2"),
        (lambda x: dfc.repeat(x, -1), InvalidArgument,
         "repeat: repeats must be ints that aren't negative, got -1"),
        (lambda x: dfc.tile(x, -1), InvalidArgument, "tile: repetitions must be ints that aren't negative, got -1"),
        (lambda x: dfc.roll(x, (1, 2, 3), axis=(0, 1)), InvalidArgument,
         "roll: one shift an axis is needed, got (1, 2, 3) for (0, 1)"),
        (lambda x: dfc.moveaxis(x, (0, 1), 0), InvalidArgument,
         "moveaxis: as many destinations as sources are needed, got (0, 1) and 0"),
        (lambda x: dfc.meshgrid(x), InvalidArgument, "meshgrid: vectors are needed, got shape (2, 3, 4)"),
        (lambda x: dfc.meshgrid(x[0, 0], indexing="x"), InvalidArgument,
         "meshgrid: indexing must be 'xy' or 'ij', got 'x'"),
        (lambda x: dfc.tril(x[0, 0]), InvalidArgument, "tril: at least two axes are needed, got float32[4]"),
    ],
)  # fmt: skip
def test_errors(call: Any, kind: Any, text: str) -> None:
    assert error_of(kind, lambda: dfc.function(call)(X), __file__) == text
