"""Special functions in the public API, against SciPy and NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import dfc
from dfc.errors import InvalidType

RNG = np.random.default_rng(3)
SOME = [0.0, -0.0, 30, -30, np.inf, -np.inf, np.nan, 1e-12, 6, -19.9, -25, -1e3]
WIDE = np.concatenate([RNG.normal(0, 4, 200), SOME])
BOUNDED = WIDE[abs(WIDE) < 500]
POSITIVE = np.concatenate([RNG.uniform(0.05, 20, 200), [1.0, 2.0, 0.5, 1e-6, np.inf, np.nan]])
INSIDE = np.concatenate([RNG.uniform(0, 1, 200), [0.0, 1.0, 0.5, 1e-9, np.nan]])

ONE: list[tuple[Callable[..., Any], Callable[..., Any], Any]] = [
    (dfc.asin, np.arcsin, INSIDE),
    (dfc.acos, np.arccos, INSIDE),
    (dfc.atan, np.arctan, WIDE),
    (dfc.sinh, np.sinh, WIDE),
    (dfc.cosh, np.cosh, WIDE),
    (dfc.asinh, np.arcsinh, WIDE),
    (dfc.acosh, np.arccosh, WIDE),
    (dfc.atanh, np.arctanh, INSIDE),
    (dfc.cbrt, np.cbrt, WIDE),
    (dfc.exp2, np.exp2, WIDE),
    (dfc.log2, np.log2, POSITIVE),
    (dfc.log10, np.log10, POSITIVE),
    (dfc.sinc, np.sinc, WIDE[np.isfinite(WIDE)]),
    (dfc.special.erf, special.erf, WIDE),
    (dfc.special.erfc, special.erfc, WIDE),
    (dfc.special.erfinv, special.erfinv, INSIDE),
    (dfc.special.ndtr, special.ndtr, WIDE),
    (dfc.special.ndtri, special.ndtri, INSIDE),
    (dfc.special.log_ndtr, special.log_ndtr, WIDE),
    (dfc.special.gammaln, special.gammaln, POSITIVE),
    (dfc.special.digamma, special.digamma, POSITIVE),
    (dfc.special.i0, special.i0, BOUNDED),
    (dfc.special.i0e, special.i0e, WIDE),
    (dfc.special.i1, special.i1, BOUNDED),
    (dfc.special.i1e, special.i1e, WIDE),
    (dfc.special.expit, special.expit, WIDE),
    (dfc.special.logit, special.logit, INSIDE),
    (dfc.special.entr, special.entr, WIDE),
]


@pytest.mark.parametrize(("function", "expected", "x"), ONE, ids=lambda v: getattr(v, "__name__", ""))
def test_functions_of_one_operand(function: Callable[..., Any], expected: Callable[..., Any], x: Any) -> None:
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(function(x).numpy(), expected(x), rtol=2e-12, atol=1e-13)
        narrow = x.astype(np.float32)
        got = function(narrow)
        assert got.dtype == "float32"
        np.testing.assert_allclose(got.numpy(), expected(narrow.astype(np.float64)).astype(np.float32), 2e-5, 1e-6)
    assert function(np.array([1, 1])).dtype == "float32"


COUPLES: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (dfc.hypot, np.hypot),
    (dfc.logaddexp, np.logaddexp),
    (dfc.special.xlogy, special.xlogy),
    (dfc.special.xlog1py, special.xlog1py),
]


@pytest.mark.parametrize(("function", "expected"), COUPLES, ids=lambda v: v.__name__)
def test_functions_of_two_operands(function: Callable[..., Any], expected: Callable[..., Any]) -> None:
    x, y = np.meshgrid(WIDE[-40:], WIDE[-40:])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(function(x, y).numpy(), expected(x, y), rtol=1e-11, atol=1e-13)


def test_hypot_far_out() -> None:
    x = np.array([3e200, 3e-200, 0.0])
    np.testing.assert_allclose(dfc.hypot(x, x / 3 * 4).numpy(), [5e200, 5e-200, 0], rtol=1e-14)
    assert dfc.hypot(np.float16(300), np.float16(400)).item() == 500
    by_x = dfc.grad(lambda a: dfc.sum(dfc.hypot(a, np.array([4.0, 0.0]))))(np.array([3.0, 0.0]))
    np.testing.assert_allclose(by_x.numpy(), [0.6, 0.0])


def test_bessel_functions_far_out() -> None:
    far = np.array([np.inf, -np.inf, 710.0])  # exp(710) overflows, I0(710) does not
    values = special.i0e(710.0) * np.exp(355.0) * np.exp(355.0)
    np.testing.assert_allclose(dfc.special.i0(far).numpy(), [np.inf, np.inf, values], rtol=1e-12)
    np.testing.assert_array_equal(dfc.special.i1(far[:2]).numpy(), far[:2])


def test_orders() -> None:
    n = np.array([[0], [1], [3]])
    x = POSITIVE[:50]
    np.testing.assert_allclose(dfc.special.polygamma(n, x).numpy(), special.polygamma(n, x), rtol=1e-11)
    np.testing.assert_allclose(dfc.special.zeta(2.5, x).numpy(), special.zeta(2.5, x), rtol=1e-12)


def test_incomplete_functions_of_order_0_are_scipys() -> None:
    x = np.array([0.0, 1e-300, 0.5, 3.0, np.inf, -1.0, np.nan])
    for ours, theirs in ((dfc.special.gammainc, special.gammainc), (dfc.special.gammaincc, special.gammaincc)):
        np.testing.assert_array_equal(ours(0.0, x).numpy(), theirs(0.0, x))
        slope = dfc.grad(lambda x, f=ours: dfc.sum(f(0.0, x)))(np.array([0.5, 3.0]))
        assert slope.numpy().tolist() == [0, 0]


def test_incomplete_functions() -> None:
    a, x = np.meshgrid(RNG.uniform(0.1, 40, 25), RNG.uniform(0, 60, 25))
    np.testing.assert_allclose(dfc.special.gammainc(a, x).numpy(), special.gammainc(a, x), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(dfc.special.gammaincc(a, x).numpy(), special.gammaincc(a, x), rtol=1e-10, atol=1e-13)
    b, share = a.T + 0.1, x / 60
    np.testing.assert_allclose(
        dfc.special.betainc(a, b, share).numpy(), special.betainc(a, b, share), rtol=1e-10, atol=1e-13
    )


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
def test_logsumexp(axis: Any) -> None:
    x = RNG.normal(0, 400, (3, 4))
    x[0, 0], x[:, 2] = np.inf, -np.inf
    with np.errstate(all="ignore"):
        got = dfc.special.logsumexp(x, axis=axis).numpy()
        np.testing.assert_allclose(got, special.logsumexp(x, axis=axis), rtol=1e-13)
    kept = dfc.special.logsumexp(x, axis=axis, keepdims=True)
    assert kept.shape == special.logsumexp(x, axis=axis, keepdims=True).shape


def slope(function: Callable[..., Any], x: Any) -> Any:
    return dfc.grad(lambda v: dfc.sum(function(v)))(x).numpy()


def test_gradients() -> None:
    bell = np.exp(-(np.array([-30.0, -2.0, 0.0, 3.0, 7.0]) ** 2) / 2) / np.sqrt(2 * np.pi)
    x = np.array([-30.0, -2.0, 0.0, 3.0, 7.0])
    np.testing.assert_allclose(slope(dfc.special.ndtr, x), bell, rtol=1e-12, atol=1e-300)
    hazard = np.exp(-(x**2) / 2 - 0.5 * np.log(2 * np.pi) - special.log_ndtr(x))
    np.testing.assert_allclose(slope(dfc.special.log_ndtr, x), hazard, rtol=1e-9)
    np.testing.assert_allclose(slope(dfc.special.i0, x[1:]), special.i1(x[1:]), rtol=1e-12)
    np.testing.assert_allclose(slope(dfc.special.i1, x[1:4]), [special.ivp(1, v) for v in x[1:4]], rtol=1e-12)
    np.testing.assert_allclose(slope(lambda v: dfc.special.xlogy(v, 2.0), np.array([0.0, 3.0])), [np.log(2)] * 2)
    np.testing.assert_allclose(slope(lambda v: dfc.logaddexp(v, 1.0), np.array([1.0, -np.inf])), [0.5, 0])
    soft = dfc.grad(lambda v: dfc.special.logsumexp(v))(np.array([1.0, 2.0, 1000.0])).numpy()
    np.testing.assert_allclose(soft, [0, 0, 1], atol=1e-300)


def test_sinc_has_its_curvature_at_zero() -> None:
    second = dfc.grad(lambda v: dfc.sum(dfc.grad(lambda u: dfc.sum(dfc.sinc(u)))(v)))
    got = second(np.array([0.0, 1e-3, 0.0159, 0.016, 1.0])).numpy()
    np.testing.assert_allclose(got[0], -(np.pi**2) / 3, rtol=1e-12)
    np.testing.assert_allclose(got[2], got[3], rtol=1e-3)
    np.testing.assert_allclose(got[4], 2.0, rtol=1e-12)


def test_complex_numbers() -> None:
    z = RNG.normal(0, 1, 20) + 1j * RNG.normal(0, 1, 20)
    for name in ("asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"):
        want = getattr(np, name.replace("a", "arc", 1) if name.startswith("a") else name)(z)
        np.testing.assert_allclose(getattr(dfc, name)(z).numpy(), want, rtol=1e-12)
    with pytest.raises(InvalidType, match="erf: the operands must be real, got complex128"):
        dfc.special.erf(z)
