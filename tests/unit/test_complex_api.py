"""Complex numbers in the public API, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidType

Z = np.array([[1 + 2j, -3.5 + 0j], [0j, -1e-30 - 4j]], np.complex128)


def test_parts() -> None:
    for dtype, part in ((np.complex64, "float32"), (np.complex128, "float64")):
        z = dfc.asarray(Z.astype(dtype))
        for got, want in ((dfc.real(z), Z.real), (dfc.imag(z), Z.imag), (dfc.abs(z), np.abs(Z))):
            assert got.dtype == part
            np.testing.assert_allclose(got.numpy(), want.astype(part), rtol=1e-6)
        np.testing.assert_array_equal(dfc.conj(z).numpy(), np.conj(Z.astype(dtype)))
        np.testing.assert_allclose(dfc.angle(z).numpy(), np.angle(Z.astype(dtype)), rtol=1e-6)


def test_what_is_finite_infinite_or_nan() -> None:
    parts = [1.0, np.nan, np.inf, -np.inf]
    z = np.array([complex(re, im) for re in parts for im in parts])
    for dtype in (np.complex64, np.complex128):
        for got, want in ((dfc.isfinite, np.isfinite), (dfc.isinf, np.isinf), (dfc.isnan, np.isnan)):
            np.testing.assert_array_equal(got(z.astype(dtype)).numpy(), want(z))


def test_real_operands() -> None:
    x = np.array([1.5, -2.0, -0.0], np.float32)
    for got, want in ((dfc.real(x), x), (dfc.conj(x), x), (dfc.imag(x), np.zeros(3, np.float32))):
        assert got.dtype == "float32"
        np.testing.assert_array_equal(got.numpy(), want)
    np.testing.assert_allclose(dfc.angle(x).numpy()[:2], [0, np.pi], rtol=1e-6)


def test_from_parts() -> None:
    got = dfc.complex(np.array([[1.0], [2.0]]), np.array([3.0, -4.0]))
    np.testing.assert_array_equal(got.numpy(), [[1 + 3j, 1 - 4j], [2 + 3j, 2 - 4j]])
    assert got.dtype == "complex128"
    assert dfc.complex(np.float32(1), 2.0).dtype == "complex64"
    assert dfc.complex(1.0, 2.0).dtype == "complex64"


def test_parts_of_a_wrong_dtype() -> None:
    with pytest.raises(InvalidType, match="complex: the parts must be float32 or float64, got float16"):
        dfc.complex(np.zeros(2, np.float16), np.zeros(2, np.float16))


def test_a_complex_gradient_is_the_direction_of_steepest_ascent() -> None:
    @dfc.function
    def loss(z: dfc.Tensor) -> dfc.Tensor:
        return dfc.sum(dfc.abs(dfc.exp(z) - 1j) ** 2)

    got = dfc.grad(loss)(Z / 2).numpy()
    want = 2 * (np.exp(Z / 2) - 1j) * np.conj(np.exp(Z / 2))
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
