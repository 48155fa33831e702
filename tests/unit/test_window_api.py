"""dfc.nn.max_pool, avg_pool, local_response_norm, against loops over windows in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc
from dfc.errors import InvalidArgument

random = np.random.default_rng(5)
Array = np.ndarray[Any, Any]


def normal(*shape: int) -> Array:
    return random.normal(size=shape).astype(np.float32)


def pooled(x: Array, window: Any, strides: Any, pairs: Any, reduce: Callable[[Array], Any]) -> Array:
    """`reduce` of the elements of each window of (batch, spatial..., features) that are inside x."""
    n = len(window)
    sizes = [(x.shape[1 + i] + sum(pairs[i]) - window[i]) // strides[i] + 1 for i in range(n)]
    y = np.zeros((x.shape[0], *sizes, x.shape[-1]), x.dtype)
    for place in np.ndindex(*sizes):
        starts = [p * s - before for p, s, (before, _) in zip(place, strides, pairs, strict=True)]
        inside = tuple(slice(max(a, 0), max(a + k, 0)) for a, k in zip(starts, window, strict=True))
        for b in range(x.shape[0]):
            for c in range(x.shape[-1]):
                y[(b, *place, c)] = reduce(x[(b, *inside, c)])
    return y


CASES = [
    ((2, 9, 2), (3,), (2,), [(0, 0)], "VALID"),
    ((2, 7, 8, 3), (2, 3), (2, 3), [(0, 1), (0, 1)], "SAME"),
    ((1, 5, 6, 2), (3, 3), (1, 2), [(2, 1), (0, 2)], [(2, 1), (0, 2)]),
    ((1, 4, 4, 5, 2), (2, 2, 3), (2, 1, 2), [(0, 0), (0, 1), (1, 1)], "SAME"),
]


@pytest.mark.parametrize(("shape", "window", "strides", "pairs", "padding"), CASES)
def test_pools(shape: Any, window: Any, strides: Any, pairs: Any, padding: Any) -> None:
    x, n = normal(*shape), int(np.prod(window))
    options = {"strides": strides, "padding": padding}
    assert_allclose(dfc.nn.max_pool(x, window, **options).numpy(), pooled(x, window, strides, pairs, np.max))
    got = dfc.nn.avg_pool(x, window, **options).numpy()
    assert_allclose(got, pooled(x, window, strides, pairs, np.mean), rtol=1e-5, atol=1e-6)
    got = dfc.nn.avg_pool(x, window, count_include_pad=True, **options).numpy()
    assert_allclose(got, pooled(x, window, strides, pairs, lambda e: e.sum() / n), rtol=1e-5, atol=1e-6)
    first = np.moveaxis(x, -1, 1)
    got = dfc.nn.max_pool(first, window, data_format="NCHW", **options).numpy()
    assert_allclose(np.moveaxis(got, 1, -1), pooled(x, window, strides, pairs, np.max))


def test_strides_are_the_window_unless_given_and_windows_may_have_holes() -> None:
    x = np.arange(12.0, dtype=np.float32).reshape(1, 12, 1)
    assert dfc.nn.max_pool(x, 3).numpy().ravel().tolist() == [2, 5, 8, 11]
    assert dfc.nn.max_pool(-x, 3, strides=2, dilation=2).numpy().ravel().tolist() == [0, -2, -4, -6]


def test_the_gradient_of_max_pool_goes_to_the_first_of_equal_elements() -> None:
    x = np.array([[1, 1, 0, 0], [1, 1, 0, 2], [0, 0, 0, 0]], np.float32).reshape(1, 3, 4, 1)

    @dfc.function
    def f(x: Any) -> Any:
        y = dfc.nn.max_pool(x, 2, strides=1, padding="SAME")
        return dfc.gradients(dfc.sum(y), x)[0]

    # Rows of windows: maxima at (0,0) (0,1) (1,3) (1,3); (1,0) (1,1) (1,3) (1,3); then zeros, the last row alone
    assert f(x).numpy().reshape(3, 4).tolist() == [[1, 1, 0, 0], [1, 1, 0, 4], [1, 1, 1, 1]]


def test_second_derivatives_of_pooling() -> None:
    """sum(max_pool(x)**3) has the second derivative 6 m along itself at each maximum m."""
    x = normal(1, 6, 6, 2)

    @dfc.function
    def f(x: Any) -> Any:
        y = dfc.nn.max_pool(x, 3)
        first = dfc.gradients(dfc.sum(y * y * y), x)[0]
        return first, dfc.gradients(dfc.sum(first), x)[0]

    first, second = (t.numpy() for t in f(x))
    blocks = x.reshape(1, 2, 3, 2, 3, 2)
    at_maximum = (blocks == blocks.max(axis=(2, 4), keepdims=True)).reshape(x.shape)
    assert_allclose(first, np.where(at_maximum, 3 * x**2, 0), rtol=1e-5)
    assert_allclose(second, np.where(at_maximum, 6 * x, 0), rtol=1e-5)


def test_average_of_sixteen_bits_and_of_integers() -> None:
    half = dfc.nn.avg_pool(np.full((1, 4, 4, 1), 60000, np.float16), 2)
    assert half.dtype == dfc.float16 and half.numpy().ravel().tolist() == [60000] * 4
    whole = dfc.nn.avg_pool(np.array([[[1], [2]]], np.int32), 2)
    assert whole.dtype == dfc.float32 and whole.numpy().ravel().tolist() == [1.5]


def test_symbolic_sizes() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b", "h", "w", 2), "float32")])
    def f(x: Any) -> Any:
        y = dfc.nn.avg_pool(x, 3, strides=2, padding="SAME")
        return y, dfc.nn.max_pool(x, 2), dfc.nn.global_avg_pool(x), dfc.gradients(dfc.sum(y), x)[0]

    for shape in ((2, 5, 6, 2), (1, 4, 4, 2)):
        x = normal(*shape)
        average, largest, whole, gradient = (t.numpy() for t in f(x))
        pairs = [((total := (-(-n // 2) - 1) * 2 + 3 - n) // 2, total - total // 2) for n in shape[1:3]]
        assert_allclose(average, pooled(x, (3, 3), (2, 2), pairs, np.mean), rtol=1e-5, atol=1e-6)
        assert_allclose(largest, pooled(x, (2, 2), (2, 2), [(0, 0)] * 2, np.max))
        assert_allclose(whole, x.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
        assert_allclose(gradient.sum(), average.size, rtol=1e-5)


def test_global_pools() -> None:
    x = normal(2, 3, 4, 5)
    assert_allclose(dfc.nn.global_max_pool(x).numpy(), x.max(axis=(1, 2)))
    assert_allclose(
        dfc.nn.global_max_pool(x, data_format="NCHW", keepdims=True).numpy()[:, :, 0, 0], x.max(axis=(2, 3))
    )


@pytest.mark.parametrize("radius", [0, 2, 7])
def test_local_response_norm(radius: int) -> None:
    x = normal(2, 2, 2, 6)
    wide = x.astype(np.float64)
    expected = np.empty_like(wide)
    for c in range(6):
        near = wide[..., max(0, c - radius) : c + radius + 1]
        expected[..., c] = wide[..., c] / (2.0 + 0.3 * (near**2).sum(-1)) ** 0.75
    options = {"depth_radius": radius, "bias": 2.0, "alpha": 0.3, "beta": 0.75}
    assert_allclose(dfc.nn.local_response_norm(x, **options).numpy(), expected, rtol=1e-5, atol=1e-6)
    first = dfc.nn.local_response_norm(np.moveaxis(x, -1, 1), axis=1, **options).numpy()
    assert_allclose(np.moveaxis(first, 1, -1), expected, rtol=1e-5, atol=1e-6)


def test_errors() -> None:
    with pytest.raises(
        InvalidArgument, match=r"^max_pool: window must be a positive int, or one for each of 2 spatial"
    ):
        dfc.nn.max_pool(normal(1, 4, 4, 1), (2, 0))
    with pytest.raises(
        InvalidArgument, match=r"^avg_pool: x needs a batch axis, a feature axis and 1 to 3 spatial ones"
    ):
        dfc.nn.avg_pool(normal(4, 4), 2)
    with pytest.raises(InvalidArgument, match=r"^local_response_norm: depth_radius must not be negative, got -1"):
        dfc.nn.local_response_norm(normal(1, 4), depth_radius=-1)
