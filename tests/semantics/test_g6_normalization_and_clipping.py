"""G6: batch normalisation and clipping equal NumPy in value and gradient, and are compositions of primitive ops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.ir.op import short_name
from dfc.passes.autodiff import autodiff as expand

random = np.random.default_rng(6)
X = random.normal(1, 2, (4, 3, 2, 5))
SCALE, OFFSET, G = random.normal(1, 0.2, 5), random.normal(size=5), random.normal(size=X.shape)
AXES, EPSILON = (0, 1, 2), 1e-3
PRIMITIVES = {
    *("add", "subtract", "multiply", "divide", "negate", "rsqrt", "select", "compare"),
    *("reduce_sum", "reshape", "broadcast_in_dim", "constant", "add_n"),
}


def backward(x: Any) -> tuple[Any, ...]:
    """The gradients of sum(y * G) by x, scale and offset, by the chain rule written out (Ioffe and Szegedy 2015)."""
    n = x.size // x.shape[-1]
    mean, variance = x.mean(AXES), x.var(AXES)
    normal = (x - mean) / np.sqrt(variance + EPSILON)
    by_normal = G * SCALE
    by_x = by_normal - by_normal.sum(AXES) / n - normal * (by_normal * normal).sum(AXES) / n
    return by_x / np.sqrt(variance + EPSILON), (G * normal).sum(AXES), G.sum(AXES)


@dfc.function
def trained(x: Any, scale: Any, offset: Any, g: Any) -> Any:
    y, mean, variance = dfc.nn.batch_norm(x, scale, offset, epsilon=EPSILON)
    return y, mean, variance, dfc.gradients(y, [x, scale, offset], grad_ys=g)


def test_batch_norm_equals_numpy_in_value_and_gradient() -> None:
    y, mean, variance, gradients = trained(X, SCALE, OFFSET, G)
    assert_allclose(mean.numpy(), X.mean(AXES), rtol=1e-12)
    assert_allclose(variance.numpy(), X.var(AXES), rtol=1e-12)
    expected = (X - X.mean(AXES)) / np.sqrt(X.var(AXES) + EPSILON) * SCALE + OFFSET
    assert_allclose(y.numpy(), expected, rtol=1e-10, atol=1e-12)
    for got, want in zip(gradients, backward(X), strict=True):
        assert_allclose(got.numpy(), want, rtol=1e-9, atol=1e-11)


def test_batch_norm_with_features_first_and_with_given_statistics() -> None:
    first = np.moveaxis(X, -1, 1)
    y, mean, _ = dfc.nn.batch_norm(first, SCALE, OFFSET, epsilon=EPSILON, axis=1)
    again = trained(X, SCALE, OFFSET, G)
    assert_allclose(np.moveaxis(y.numpy(), 1, -1), again[0].numpy(), rtol=1e-10, atol=1e-12)
    assert_allclose(mean.numpy(), again[1].numpy())
    moving, spread = random.normal(size=5), random.uniform(0.5, 2, 5)
    y, mean, variance = dfc.nn.batch_norm(X, mean=moving, variance=spread, epsilon=EPSILON)
    assert_allclose(y.numpy(), (X - moving) / np.sqrt(spread + EPSILON), rtol=1e-10, atol=1e-12)
    assert_array_equal(mean.numpy(), moving)
    assert_array_equal(variance.numpy(), spread)


def test_clipping_equals_numpy_in_value_and_gradient() -> None:
    @dfc.function
    def clipped(x: Any, g: Any) -> Any:
        y = dfc.nn.clip(x, -1.0, 2.0)
        return y, dfc.gradients(y, x, grad_ys=g)[0]

    x = np.concatenate([X.ravel(), [-1, 2, np.inf, -np.inf, -1 - 1e-15, 0]])
    g = random.normal(size=x.shape)
    y, by_x = (t.numpy() for t in clipped(x, g))
    assert_array_equal(y, np.clip(x, -1, 2))
    assert_array_equal(by_x, np.where((x >= -1) & (x <= 2), g, 0))
    assert np.isnan(dfc.nn.clip(np.array([np.nan]), 0.0, 1.0).numpy()[0])


def test_the_gradient_of_clipping_by_its_bounds() -> None:
    @dfc.function
    def by_bounds(x: Any, low: Any, high: Any) -> Any:
        return dfc.gradients(dfc.sum(dfc.nn.clip(x, low, high)), [low, high])

    below, above = by_bounds(X, np.float64(-1), np.float64(2))
    assert (below.numpy(), above.numpy()) == ((X < -1).sum(), (X > 2).sum())


@pytest.mark.parametrize("what", ["batch_norm", "clip"])
def test_both_are_compositions_of_primitive_operations(what: str) -> None:
    @dfc.function
    def clipped(x: Any) -> Any:
        y = dfc.nn.clip(x, -1.0, 2.0)
        return y, dfc.gradients(y, x)[0]

    function, given = (trained, [X, SCALE, OFFSET, X]) if what == "batch_norm" else (clipped, [X])
    module = function.graph(*(dfc.TensorSpec(x.shape, "float64") for x in given)).module.clone()
    expand(module)
    names = {short_name(op) for op in module.walk()} - {"builtin.module", "func", "return"}
    assert names and names <= PRIMITIVES, names - PRIMITIVES
