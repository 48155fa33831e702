"""Cumulative functions as users call them, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.errors import InvalidArgument

X = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_against_numpy(axis: int | None) -> None:
    assert_allclose(dfc.cumulative_sum(X, axis=axis).numpy(), np.cumsum(X, axis), rtol=1e-5, atol=1e-6)
    assert_allclose(dfc.cumulative_prod(X, axis=axis).numpy(), np.cumprod(X, axis), rtol=1e-5, atol=1e-6)
    flat = X.ravel() if axis is None else X
    at = 0 if axis is None else axis
    assert_array_equal(dfc.cumulative_max(X, axis=axis).numpy(), np.maximum.accumulate(flat, at))
    assert_array_equal(dfc.cumulative_min(X, axis=axis).numpy(), np.minimum.accumulate(flat, at))
    expected = np.logaddexp.accumulate(flat, at)
    assert_allclose(dfc.cumulative_logsumexp(X, axis=axis).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_from_the_end_and_with_the_initial_value() -> None:
    x = np.array([[1, 2, 3], [4, 5, 6]], np.int8)
    got = dfc.cumulative_sum(x, axis=1, include_initial=True)
    assert got.dtype is dfc.int32
    assert got.numpy().tolist() == [[0, 1, 3, 6], [0, 4, 9, 15]]
    assert dfc.cumulative_sum(x, axis=1, include_initial=True, reverse=True).numpy().tolist() == [
        [6, 5, 3, 0],
        [15, 11, 6, 0],
    ]
    assert dfc.cumulative_prod(x, axis=0, include_initial=True).numpy().tolist() == [[1, 1, 1], [1, 2, 3], [4, 10, 18]]
    assert dfc.cumulative_sum(np.array([True, True, False])).numpy().tolist() == [1, 2, 2]
    with pytest.raises(InvalidArgument, match="cumulative_max: the axis must be"):
        dfc.cumulative_max(x, axis=2)


def test_a_recurrence_in_a_step_of_any_length() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("n",), "float32"), dfc.TensorSpec(("n",), "float32")])
    def smooth(a: Any, b: Any) -> Any:
        return dfc.linear_recurrence(a, b)

    for n in (1, 2, 7, 100):
        a, b, y, expected = np.full(n, 0.5, np.float32), np.arange(n, dtype=np.float32), 0.0, []
        for i in range(n):
            y = 0.5 * y + i
            expected.append(y)
        assert_allclose(smooth(a, b).numpy(), expected, rtol=1e-6)


def test_a_long_scan_is_small() -> None:
    """The text grows with the logarithm of the length."""
    short = dfc.function(lambda x: dfc.cumulative_sum(x)).lower(dfc.TensorSpec((1 << 8,))).text
    long = dfc.function(lambda x: dfc.cumulative_sum(x)).lower(dfc.TensorSpec((1 << 16,))).text
    assert long.count("stablehlo.") < 2.2 * short.count("stablehlo.")
