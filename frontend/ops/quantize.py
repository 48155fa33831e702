"""Quantisation: real numbers as small integers, x = scale * (q - zero_point)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfc.errors import InvalidType
from dfc.frontend.immediate import operation
from dfc.frontend.ops.elementwise import astype, logical_and, stop_gradient, where
from dfc.frontend.ops.shape import axis_in, error_here
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import require_trace
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.ops import quantize as ir


def _quantized(dtype: Any, name: str) -> DType:
    found = as_dtype(dtype)
    if not found.is_integer or found.bits > 16:
        raise error_here(InvalidType, f"quantised numbers are integers of 8 or 16 bits, got {found}", name)
    return found


@operation
def quantize(
    x: Operand, scale: Operand, zero_point: Operand = 0, /, *, dtype: Any = "int8", axis: int | None = None
) -> Tensor:
    """round(x / scale) + zero_point, ties to even, brought into the range of `dtype`, int8, uint8, int16 or uint16.

    `scale` (positive) and `zero_point` are scalars, or vectors with a number for each index along `axis`. NaN becomes
    the zero point.
    """
    trace, kind = require_trace("quantize"), _quantized(dtype, "quantize")
    tensor = tensor_in(trace, x)
    at = -1 if axis is None else axis_in(axis, tensor.ndim, "quantize")
    scales = astype(tensor_in(trace, scale, tensor.dtype), tensor.dtype)
    zeros = _zeros(zero_point, scales, kind)
    return trace.emit(ir.Quantize, (tensor._value, scales._value, zeros._value), {"axis": at, "dtype": kind})


@operation
def dequantize(q: Operand, scale: Operand, zero_point: Operand = 0, /, *, axis: int | None = None) -> Tensor:
    """(q - zero_point) * scale, in scale's dtype; see `quantize`. Its gradient by the scale is exact."""
    trace = require_trace("dequantize")
    tensor, scales = tensor_in(trace, q), tensor_in(trace, scale)
    kind = _quantized(tensor.dtype, "dequantize")
    at = -1 if axis is None else axis_in(axis, tensor.ndim, "dequantize")
    zeros = _zeros(zero_point, scales, kind)
    return trace.emit(ir.Dequantize, (tensor._value, scales._value, zeros._value), {"axis": at})


def _zeros(zero_point: Operand, scales: Tensor, dtype: DType) -> Tensor:
    """The zero point in the shape of the scale."""
    trace = require_trace("quantize")
    zeros = astype(tensor_in(trace, zero_point, dtype), dtype)
    if zeros.shape != scales.shape:
        value = trace.broadcast(zeros._value, scales.shape)
        zeros = Tensor(value.type, trace, value)
    return zeros


@operation
def fake_quantize(
    x: Operand, scale: Operand, zero_point: Operand = 0, /, *, dtype: Any = "int8", axis: int | None = None
) -> Tensor:
    """What x is after being quantised and back, for training with quantisation in mind (Jacob et al. 2018).

    The gradient by x passes straight through where x is within the range of `dtype`, and is 0 beyond; scale and zero
    point get none.
    """
    tensor = tensor_in(require_trace("fake_quantize"), x)
    steps = quantize(tensor, scale, zero_point, dtype=dtype, axis=axis)
    rounded = dequantize(
        steps, astype(tensor_in(require_trace("fake_quantize"), scale), tensor.dtype), zero_point, axis=axis
    )
    limits = np.iinfo(as_dtype(dtype).numpy)
    inside = logical_and(steps > limits.min, steps < limits.max)
    return where(inside, tensor, stop_gradient(tensor)) + stop_gradient(rounded - tensor)
