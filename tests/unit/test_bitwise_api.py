"""Operations on bits in the public API, against NumPy and Python's integers."""

from __future__ import annotations

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidType

X = np.array([0, 1, -1, 5, -128, 127], np.int8)


def test_shifts() -> None:
    t = dfc.asarray(X)
    np.testing.assert_array_equal((t << 2).numpy(), (X << 2))
    np.testing.assert_array_equal((t >> 1).numpy(), (X >> 1))
    np.testing.assert_array_equal((1 << dfc.asarray(np.array([0, 3, 31, 32, -1]))).numpy(), [1, 8, 2**31, 2**32, 0])
    np.testing.assert_array_equal((64 >> dfc.asarray(np.array([0, 3, 70]))).numpy(), [64, 8, 0])
    unsigned = dfc.asarray(X.view(np.uint8)) >> 1
    np.testing.assert_array_equal(unsigned.numpy(), X.view(np.uint8) >> 1)
    with pytest.raises(InvalidType, match="bitwise_left_shift: the operands must be integers, got float32"):
        dfc.bitwise_left_shift(np.float32(1), 2)


def test_counts() -> None:
    np.testing.assert_array_equal(dfc.bitwise_count(X).numpy(), np.bitwise_count(X))
    assert dfc.bitwise_count(X).dtype == "uint8"
    np.testing.assert_array_equal(dfc.count_leading_zeros(X).numpy(), [8, 7, 0, 5, 0, 1])


def test_bitcast() -> None:
    np.testing.assert_array_equal(dfc.bitcast(np.float32([1, -2]), "int32").numpy(), [0x3F800000, -0x40000000])
    with pytest.raises(InvalidType, match="both dtypes must have the same width, got int8 and int32"):
        dfc.bitcast(X, "int32")


def test_signs() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        x = np.array([0.0, -0.0, 1, -2, np.inf, -np.inf, np.nan, -np.nan], dtype)
        a, b = np.meshgrid(x, x)
        np.testing.assert_array_equal(dfc.signbit(x).numpy(), np.signbit(x))
        got, want = dfc.copysign(a, b).numpy(), np.copysign(a, b)
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))
        np.testing.assert_array_equal(dfc.nextafter(a, b).numpy()[2:], np.nextafter(a, b)[2:])
    np.testing.assert_array_equal(dfc.signbit(X).numpy(), X < 0)
    slope = dfc.grad(lambda x: dfc.sum(dfc.copysign(x, np.array([-1.0, 1.0]))))(np.array([2.0, 3.0]))
    np.testing.assert_array_equal(slope.numpy(), [-1, 1])
