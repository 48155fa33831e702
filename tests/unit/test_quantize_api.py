"""Quantisation as users call it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc
from dfc.errors import InvalidType

X = np.array([[-1.0, 0.26, 0.74], [100.0, -0.5, 3.0]], np.float32)


def test_there_and_back() -> None:
    q = dfc.quantize(X, 0.5, 3)
    assert q.dtype is dfc.int8
    assert q.numpy().tolist() == [[1, 4, 4], [127, 2, 9]]
    assert dfc.dequantize(q, np.float32(0.5), 3).numpy().tolist() == [[-1, 0.5, 0.5], [62, -0.5, 3]]


def test_a_scale_for_each_channel() -> None:
    scale = np.array([0.5, 0.25, 1.0], np.float32)
    q = dfc.quantize(X, scale, axis=-1, dtype="int16")
    assert q.numpy().tolist() == [[-2, 1, 1], [200, -2, 3]]
    assert_allclose(dfc.dequantize(q, scale, axis=-1).numpy(), [[-1, 0.25, 1], [100, -0.5, 3]])


def test_fake_quantize_passes_gradients_within_the_range() -> None:
    value, grad = dfc.value_and_grad(lambda x: dfc.sum(dfc.fake_quantize(x, 0.5) * X))(X)
    rounded = np.clip(np.round(X / 0.5), -128, 127) * 0.5
    assert_allclose(value.item(), np.sum(rounded * X), rtol=1e-6)
    assert_allclose(grad.numpy(), np.where(X == 100, 0, X))


def test_only_narrow_integers() -> None:
    with pytest.raises(InvalidType, match="quantize: quantised numbers are integers of 8 or 16 bits, got int32"):
        dfc.quantize(X, 0.5, dtype="int32")
