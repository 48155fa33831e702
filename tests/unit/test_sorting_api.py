"""Sorting functions as users call them, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.errors import InvalidArgument

RNG = np.random.default_rng(1)
X = RNG.normal(size=(4, 6)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_sort_and_argsort(axis: int) -> None:
    assert_array_equal(dfc.sort(X, axis=axis).numpy(), np.sort(X, axis))
    assert_array_equal(dfc.argsort(X, axis=axis).numpy(), np.argsort(X, axis, kind="stable"))
    down = dfc.sort(X, axis=axis, descending=True).numpy()
    assert_array_equal(down, -np.sort(-X, axis))
    assert_array_equal(np.take_along_axis(X, dfc.argsort(X, axis=axis, descending=True).numpy(), axis), down)


def test_sort_by_moves_the_others_along() -> None:
    keys, names = np.array([3, 1, 2]), np.array([30.0, 10.0, 20.0])
    ordered, moved = dfc.sort_by(keys, names)
    assert (ordered.numpy().tolist(), moved.numpy().tolist()) == ([1, 2, 3], [10, 20, 30])


def test_top_k() -> None:
    values, indices = dfc.top_k(X, 2)
    assert_array_equal(values.numpy(), -np.sort(-X, axis=-1)[:, :2])
    assert_array_equal(np.take_along_axis(X, indices.numpy(), -1), values.numpy())
    with pytest.raises(InvalidArgument, match="top_k: k must be from 0 to the size of the last axis, got 7"):
        dfc.top_k(X, 7)


def test_unique() -> None:
    x = np.array([[3, 1, 3], [2, 1, 3]], np.int16)
    found = dfc.unique(x, size=4)
    values, indices, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    assert_array_equal(found.values.numpy(), [*values, 0])
    assert_array_equal(found.indices.numpy(), [*indices, 6])
    assert_array_equal(found.inverse_indices.numpy(), inverse.reshape(2, 3))
    assert_array_equal(found.counts.numpy(), [*counts, 0])
    assert found.number.item() == 3
    assert dfc.unique(x, size=2).number.item() == 3


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side: Any) -> None:
    line, wanted = np.sort(RNG.integers(0, 9, 20)), RNG.integers(-1, 11, (3, 4))
    assert_array_equal(dfc.searchsorted(line, wanted, side=side).numpy(), np.searchsorted(line, wanted, side))
    with pytest.raises(InvalidArgument, match="searchsorted: side must be 'left' or 'right', got 'middle'"):
        dfc.searchsorted(line, wanted, side="middle")


def test_isin() -> None:
    assert_array_equal(dfc.isin(np.arange(6).reshape(2, 3), [1, 4, 9]).numpy(), [[0, 1, 0], [0, 1, 0]])


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_quantile_and_median(axis: int | None) -> None:
    for q in (0.0, 0.3, 1.0, [0.25, 0.5, 0.9]):
        assert_allclose(dfc.quantile(X, q, axis=axis).numpy(), np.quantile(X, q, axis=axis), rtol=1e-5, atol=1e-6)
    assert_allclose(dfc.median(X, axis=axis).numpy(), np.median(X, axis=axis), rtol=1e-5, atol=1e-6)
    with_nan = np.where(X[1, 2] == X, np.nan, X)
    assert_array_equal(np.isnan(dfc.median(with_nan, axis=0).numpy()), np.isnan(np.median(with_nan, axis=0)))


def test_gradients_of_the_median_go_to_the_middle() -> None:
    x = np.array([5.0, 1.0, 3.0, 9.0], np.float32)
    assert dfc.grad(lambda x: dfc.median(x))(x).numpy().tolist() == [0.5, 0, 0.5, 0]


def test_sizes_that_are_known_at_run_time() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("n",), "float32")])
    def middle(x: Any) -> Any:
        return dfc.median(x), dfc.sort(x, descending=True), dfc.top_k(x, 1).indices

    for n in (1, 4, 9):
        x = RNG.normal(size=n).astype(np.float32)
        got = middle(x)
        assert_allclose(got[0].numpy(), np.median(x), rtol=1e-6)
        assert_array_equal(got[1].numpy(), -np.sort(-x))
        assert got[2].numpy().tolist() == [int(np.argmax(x))]


def test_quantiles_of_16_bits_are_of_the_right_element() -> None:
    x = np.linspace(0, 1, 5001, endpoint=False)
    for dtype in ("bfloat16", "float16"):
        narrow = dfc.astype(x, dtype)
        assert dfc.quantile(narrow, 0.99).item() == np.sort(narrow.numpy())[4950]


def test_quantiles_that_are_not_defined_are_nan() -> None:
    x = np.arange(3.0)
    assert np.isnan(dfc.quantile(x, [-0.1, 1.5]).numpy()).all()
    assert np.isnan(dfc.median(x[:0]).item())
