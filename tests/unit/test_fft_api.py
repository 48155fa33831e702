"""dfc.fft against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.errors import InvalidArgument

RNG = np.random.default_rng(2)
X = RNG.normal(size=(3, 4, 6))
Z = X + 1j * RNG.normal(size=X.shape)
FIVE = RNG.normal(size=(2, 3, 2, 3, 4))
NORMS = ("backward", "ortho", "forward")


def same(got: dfc.Tensor, want: Any) -> None:
    assert got.numpy().dtype == want.dtype
    assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_one_axis(name: str, norm: Any) -> None:
    x = X if name in ("rfft", "ihfft") else Z
    ours, theirs = getattr(dfc.fft, name), getattr(np.fft, name)

    @dfc.function
    def all_at_once(v: dfc.Tensor) -> Any:
        plans = [{}, {"axis": 0}, {"n": 5}, {"n": 9, "axis": 1}]
        return [ours(v, norm=norm, **plan) for plan in plans]

    wanted = [theirs(x, norm=norm, **plan) for plan in ({}, {"axis": 0}, {"n": 5}, {"n": 9, "axis": 1})]
    for got, want in zip(all_at_once(x), wanted, strict=True):
        same(got, want)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft"])
def test_several_axes(name: str, norm: Any) -> None:
    x = X if name == "rfft" else Z
    many = FIVE if name == "rfft" else FIVE + 0.5j * FIVE[::-1]
    plans: list[tuple[str, Any, dict[str, Any]]] = [
        (f"{name}2", x, {}),
        (f"{name}2", x, {"s": (3, 5)}),
        (f"{name}n", x, {}),
        (f"{name}n", x, {"axes": (2, 0)}),
        (f"{name}n", x, {"s": (2, 7), "axes": (1, 0)}),
        (f"{name}n", many, {}),
        (f"{name}n", many, {"axes": (4, 0, 1, 3)}),
    ]

    @dfc.function
    def all_at_once(v: dfc.Tensor, w: dfc.Tensor) -> Any:
        return [getattr(dfc.fft, f)(v if given is x else w, norm=norm, **plan) for f, given, plan in plans]

    for got, (f, given, plan) in zip(all_at_once(x, many), plans, strict=True):
        same(got, getattr(np.fft, f)(given, norm=norm, **plan))


def test_dtypes() -> None:
    assert dfc.fft.fft(np.zeros(4, np.int32)).dtype == "complex64"
    assert dfc.fft.fft(np.zeros(4, np.float64)).dtype == "complex128"
    assert dfc.fft.rfft(np.zeros(4, np.float16)).dtype == "complex64"
    assert dfc.fft.irfft(np.zeros(4, np.complex64)).dtype == "float32"


@pytest.mark.parametrize("n", [1, 4, 5])
def test_frequencies(n: int) -> None:
    assert_allclose(dfc.fft.fftfreq(n, d=0.5).numpy(), np.fft.fftfreq(n, 0.5), rtol=1e-6)
    assert_allclose(dfc.fft.rfftfreq(n, d=0.5).numpy(), np.fft.rfftfreq(n, 0.5), rtol=1e-6)


@pytest.mark.parametrize("axes", [None, 1, (0, 2)])
def test_shifts(axes: Any) -> None:
    odd = X[:, :3]
    assert_array_equal(dfc.fft.fftshift(odd, axes=axes).numpy(), np.fft.fftshift(odd, axes))
    assert_array_equal(dfc.fft.ifftshift(odd, axes=axes).numpy(), np.fft.ifftshift(odd, axes))


def test_a_batch_may_be_symbolic() -> None:
    f = dfc.function(signature=[dfc.TensorSpec(("b", 6), dfc.float64)])(lambda x: dfc.fft.rfft(x, n=8))
    same(f(X[0]), np.fft.rfft(X[0], 8))


def test_gradient_of_the_energy() -> None:
    """By Parseval the spectrum's energy is n times the signal's, so its gradient is 2 n x."""

    def energy(x: dfc.Tensor) -> dfc.Tensor:
        y = dfc.fft.fft(x)
        return dfc.sum(dfc.square(dfc.abs(y)))

    assert_allclose(dfc.grad(energy)(X[0, 0]).numpy(), 2 * 6 * X[0, 0], rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dfc.fft.rfft(Z), "rfft: x must be real, got complex128"),
        (lambda: dfc.fft.fft(X, norm="both"), "fft: norm must be 'backward', 'ortho' or 'forward', got 'both'"),
        (lambda: dfc.fft.hfft(Z, norm="both"), "hfft: norm must be 'backward', 'ortho' or 'forward', got 'both'"),
        (lambda: dfc.fft.fft(X, n=0), "fft: the size of a transformed axis must be known and positive, got 0"),
        (lambda: dfc.fft.irfft(X[..., :1]), "irfft: the signal must have a positive size, got 0"),
        (lambda: dfc.fft.fftn(X, s=(2,), axes=(0, 1)), r"fftn: s must have a size for each axis, got \(2,\) for"),
        (lambda: dfc.fft.fftn(X, axes=(0, 0)), r"fftn: axes must be distinct, got \(0, 0\)"),
        (lambda: dfc.fft.fftn(np.float32(1)), "fftn: there must be an axis to transform"),
    ],
)
def test_bad_arguments(call: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        call()
