"""dfc.nn's activations and normalisations: values against formulas in float64, and the edges of value and slope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special

import dfc
from dfc.errors import InvalidArgument

INF, NAN = float("inf"), float("nan")
SCALE, ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
random = np.random.default_rng(9)


def softplus(x: Any) -> Any:
    return np.logaddexp(0, x)


def hard(x: Any) -> Any:
    return np.clip(x + 3, 0, 6) / 6


def tanh_gelu(x: Any) -> Any:
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


# The value by formula; the slope at -inf, 0 and inf; the value at -inf.
Row = tuple[Callable[[Any], Any], float, float, float, float]
ROWS: dict[str, Row] = {
    "relu": (lambda x: np.maximum(x, 0), 0, 0, 1, 0),
    "relu6": (lambda x: np.clip(x, 0, 6), 0, 0, 0, 0),
    "leaky_relu": (lambda x: np.where(x < 0, 0.01 * x, x), 0.01, 1, 1, -INF),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), 0, 1, 1, -1),
    "selu": (lambda x: SCALE * np.where(x > 0, x, ALPHA * np.expm1(np.minimum(x, 0))),
             0, SCALE * ALPHA, SCALE, -SCALE * ALPHA),
    "gelu": (tanh_gelu, 0, 0.5, 1, 0),
    "silu": (lambda x: x * special.expit(x), 0, 0.5, 1, 0),
    "swish": (lambda x: x * special.expit(x), 0, 0.5, 1, 0),
    "mish": (lambda x: x * np.tanh(softplus(x)), 0, 0.6, 1, 0),
    "hard_sigmoid": (hard, 0, 1 / 6, 0, 0),
    "hard_swish": (lambda x: x * hard(x), 0, 0.5, 1, 0),
    "softplus": (softplus, 0, 0.5, 1, 0),
    "softsign": (lambda x: x / (1 + np.abs(x)), 0, 1, 0, -1),
    "log_sigmoid": (special.log_expit, 1, 0.5, 0, -INF),
}  # fmt: skip
AT_INFINITY = {"relu6": 6, "hard_sigmoid": 1, "softsign": 1, "log_sigmoid": 0, "selu": INF}
ORDINARY = np.concatenate([random.normal(0, 3, 50), [0.1, -0.1, 2.9, 5.9, 20, -20, 80, -80]])


def slopes(name: str, x: Any) -> tuple[Any, Any]:
    @dfc.function
    def f(x: Any) -> Any:
        y = getattr(dfc.nn, name)(x)
        return y, dfc.gradients(y, x)[0]

    y, by_x = f(np.asarray(x))
    return y.numpy(), by_x.numpy()


@pytest.mark.parametrize("name", ROWS)
def test_value_and_slope(name: str) -> None:
    formula = ROWS[name][0]
    y, by_x = slopes(name, ORDINARY)
    assert_allclose(y, formula(ORDINARY), rtol=1e-9, atol=1e-14)
    step = 1e-5
    numeric = (formula(ORDINARY + step) - formula(ORDINARY - step)) / (2 * step)
    assert_allclose(by_x, numeric, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", ROWS)
def test_edges(name: str, dtype: str) -> None:
    _, before, at_zero, after, lowest = ROWS[name]
    large = float(np.finfo(dtype).max) / 4
    y, by_x = slopes(name, np.array([-INF, 0, INF, NAN, -large, large], dtype))
    assert y.dtype == by_x.dtype == dtype
    assert_allclose(y[[0, 2]], [lowest, AT_INFINITY.get(name, INF)], rtol=1e-3)
    assert np.isnan(y[3])
    assert_allclose(by_x[:3], [before, at_zero, after], rtol=1e-3, atol=1e-7)
    assert_allclose(by_x[4:], [before, after], rtol=1e-3, atol=1e-7)
    assert np.isfinite(y[4:]).all() or dtype == "float16"


@pytest.mark.parametrize("name", ["softplus", "silu", "mish", "gelu", "log_sigmoid"])
def test_second_derivative_at_zero(name: str) -> None:
    @dfc.function
    def f(x: Any) -> Any:
        first = dfc.gradients(getattr(dfc.nn, name)(x), x)[0]
        return dfc.gradients(first, x)[0]

    formula, step = ROWS[name][0], 1e-4
    numeric = (formula(step) - 2 * formula(0.0) + formula(-step)) / step**2
    assert_allclose(f(np.float64(0)).numpy(), numeric, rtol=1e-5)


def test_gelu_is_an_approximation_unless_told_otherwise() -> None:
    exact = ORDINARY * special.ndtr(ORDINARY)
    assert_allclose(dfc.nn.gelu(ORDINARY).numpy(), exact, atol=1e-3)
    assert_allclose(dfc.nn.gelu(ORDINARY, approximate=False).numpy(), exact, rtol=1e-11, atol=1e-300)
    edges = np.array([-INF, INF, 0.0])
    assert_allclose(dfc.nn.gelu(edges, approximate=False).numpy(), [0, INF, 0])
    slope = dfc.grad(lambda x: dfc.sum(dfc.nn.gelu(x, approximate=False)))(edges).numpy()
    assert_allclose(slope, [0, 1, 0.5])


def test_prelu_and_its_slopes() -> None:
    @dfc.function
    def f(x: Any, slope: Any) -> Any:
        y = dfc.nn.prelu(x, slope)
        return y, *dfc.gradients(y, [x, slope])

    x, slope = np.array([[-2.0, 3.0], [4.0, -INF], [INF, 0.0]]), np.array([0.5, 0.25])
    y, by_x, by_slope = (t.numpy() for t in f(x, slope))
    assert y.tolist() == [[-1, 3], [4, -INF], [INF, 0]]
    assert by_x.tolist() == [[0.5, 1], [1, 0.25], [1, 1]]
    assert by_slope.tolist() == [-2, -INF]


def test_glu() -> None:
    x = random.normal(size=(3, 6))
    assert_allclose(dfc.nn.glu(x).numpy(), x[:, :3] * special.expit(x[:, 3:]), rtol=1e-10)
    assert dfc.nn.glu(random.normal(size=(4, 3)), axis=0).shape == (2, 3)
    with pytest.raises(InvalidArgument, match=r"^glu: the size of axis 1 must be even, got float64\[3, 5\]"):
        dfc.nn.glu(x[:, :5])


def test_integers() -> None:
    assert dfc.nn.elu(np.array([-1, 2], np.int32)).dtype == dfc.float32
    assert dfc.nn.clip(np.array([-7, 0, 9]), -2, 5).numpy().tolist() == [-2, 0, 5]
    assert dfc.nn.clip(np.array([1.0, 9.0]), None, 5.0).numpy().tolist() == [1, 5]
    assert dfc.nn.relu6(np.array([-7, 3, 9])).numpy().tolist() == [0, 3, 6]


# ---- normalisation

X = random.normal(2, 3, (4, 3, 6))
GAIN, SHIFT = random.normal(size=6), random.normal(size=6)


def standard(x: Any, axes: Any, epsilon: float) -> Any:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def test_layer_norm() -> None:
    got = dfc.nn.layer_norm(X, GAIN, SHIFT, epsilon=1e-3).numpy()
    assert_allclose(got, standard(X, 2, 1e-3) * GAIN + SHIFT, rtol=1e-9)
    wide = random.normal(size=(3, 6))
    got = dfc.nn.layer_norm(X, wide, axis=(1, 2)).numpy()
    assert_allclose(got, standard(X, (1, 2), 1e-5) * wide, rtol=1e-9)


def test_rms_norm() -> None:
    expected = X / np.sqrt((X**2).mean(-1, keepdims=True) + 1e-6) * GAIN
    assert_allclose(dfc.nn.rms_norm(X, GAIN).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(groups: int) -> None:
    cut = X.reshape(4, 3, groups, 6 // groups)
    expected = standard(cut, (1, 3), 1e-5).reshape(X.shape) * GAIN + SHIFT
    assert_allclose(dfc.nn.group_norm(X, GAIN, SHIFT, groups=groups).numpy(), expected, rtol=1e-9)
    first = dfc.nn.group_norm(np.moveaxis(X, -1, 1), GAIN, SHIFT, groups=groups, axis=1).numpy()
    assert_allclose(np.moveaxis(first, 1, -1), expected, rtol=1e-9)


def test_sixteen_bits_are_computed_in_float32() -> None:
    x = (300 + random.normal(size=(2, 400))).astype(np.float16)
    got = dfc.nn.layer_norm(x)
    assert got.dtype == dfc.float16
    assert_allclose(got.numpy(), standard(x.astype(np.float64), 1, 1e-5), atol=5e-3)
    y, mean, variance = dfc.nn.batch_norm(x)
    assert (y.dtype, mean.dtype, variance.dtype) == (dfc.float16, dfc.float32, dfc.float32)


def test_symbolic_sizes() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b", "h", 6), "float64")])
    def f(x: Any) -> Any:
        return dfc.nn.batch_norm(x)[0], dfc.nn.group_norm(x, groups=3), dfc.nn.layer_norm(x)

    batch, group, layer = (t.numpy() for t in f(X))
    assert_allclose(batch, standard(X, (0, 1), 1e-5), rtol=1e-9)
    assert_allclose(group, standard(X.reshape(4, 3, 3, 2), (1, 3), 1e-5).reshape(X.shape), rtol=1e-9)
    assert_allclose(layer, standard(X, 2, 1e-5), rtol=1e-9)


def test_errors() -> None:
    with pytest.raises(InvalidArgument) as caught:
        dfc.nn.batch_norm(X, GAIN[:5])
    assert str(caught.value).splitlines()[0] == (
        "batch_norm: scale must have the sizes of axes (2,) of x, got float64[5] for float64[4, 3, 6]"
    )
    with pytest.raises(InvalidArgument, match=r"^batch_norm: mean and variance must be given together"):
        dfc.nn.batch_norm(X, mean=GAIN)
    with pytest.raises(InvalidArgument) as caught:
        dfc.nn.group_norm(X, groups=4)
    assert str(caught.value).splitlines()[0] == (
        "group_norm: groups must divide the features along an axis other than 0, got 4 groups along axis 2 of "
        "float64[4, 3, 6]"
    )
