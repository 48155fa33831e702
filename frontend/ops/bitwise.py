"""Operations on the bits of integers and floats. Operands of two meet in one dtype and one shape."""

from __future__ import annotations

from typing import Any

from dfc.errors import InvalidType
from dfc.frontend.immediate import elementwise, operation
from dfc.frontend.ops import elementwise as e
from dfc.frontend.ops.shape import error_here
from dfc.frontend.promotion import align, tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.ops import bitwise as ir
from dfc.ir.types import spec_of

SIGNED = {8: "int8", 16: "int16", 32: "int32", 64: "int64"}


def _trace() -> Trace:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    return trace


def _require(dtype: DType, holds: bool, kinds: str, op: str) -> None:
    if not holds:
        raise error_here(InvalidType, f"the operands must be {kinds}, got {dtype}", op)


@elementwise
def bitwise_left_shift(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 times 2^x2 for integers, wrapped; 0 where x2 is at least the width of the dtype, or negative."""
    values = align(_trace(), "bitwise_left_shift", (x1, x2))
    dtype = spec_of(values[0].type).dtype
    _require(dtype, dtype.is_integer, "integers", "bitwise_left_shift")
    return _trace().emit(ir.ShiftLeft, values)


@elementwise
def bitwise_right_shift(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 / 2^x2 for integers, rounded down; where x2 is at least the width, or negative, 0, or -1 for negative x1."""
    values = align(_trace(), "bitwise_right_shift", (x1, x2))
    dtype = spec_of(values[0].type).dtype
    _require(dtype, dtype.is_integer, "integers", "bitwise_right_shift")
    return _trace().emit(ir.ShiftRightArithmetic if dtype.kind == "int" else ir.ShiftRightLogical, values)


@elementwise
def bitwise_count(x: Operand, /) -> Tensor:
    """How many bits of |x| are one, for integers: uint8, as NumPy has it."""
    trace = _trace()
    tensor = tensor_in(trace, x)
    _require(tensor.dtype, tensor.dtype.is_integer, "integers", "bitwise_count")
    return e.astype(trace.emit(ir.PopulationCount, (e.abs(tensor)._value,)), "uint8")


@elementwise
def count_leading_zeros(x: Operand, /) -> Tensor:
    """How many bits of an integer are zero before its highest one, in x's dtype; the width for 0."""
    trace = _trace()
    tensor = tensor_in(trace, x)
    _require(tensor.dtype, tensor.dtype.is_integer, "integers", "count_leading_zeros")
    return trace.emit(ir.CountLeadingZeros, (tensor._value,))


@operation
def bitcast(x: Operand, dtype: Any, /) -> Tensor:
    """The same bits read as another integer or floating dtype of the same width. Raises InvalidType for others."""
    trace = _trace()
    return trace.emit(ir.BitcastConvert, (tensor_in(trace, x)._value,), {"dtype": as_dtype(dtype)})


@elementwise
def nextafter(x1: Operand, x2: Operand, /) -> Tensor:
    """The floating number next to x1 in its dtype, toward x2; x2 where both are equal. It has no gradient."""
    values = align(_trace(), "nextafter", (x1, x2))
    dtype = spec_of(values[0].type).dtype
    _require(dtype, dtype.is_floating, "floating", "nextafter")
    return _trace().emit(ir.NextAfter, values)


@elementwise
def signbit(x: Operand, /) -> Tensor:
    """True where the sign of a real number is minus, at -0 and negative NaNs too."""
    tensor = tensor_in(_trace(), x)
    _require(tensor.dtype, tensor.dtype.is_floating or tensor.dtype.is_integer, "real numbers", "signbit")
    return e.less(bitcast(tensor, SIGNED[tensor.dtype.bits]) if tensor.dtype.is_floating else tensor, 0)


@elementwise
def copysign(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 with the sign of x2, both floating. A gradient passes to x1 alone."""
    values = align(_trace(), "copysign", (x1, x2))
    dtype = spec_of(values[0].type).dtype
    _require(dtype, dtype.is_floating, "floating", "copysign")
    return _trace().emit(ir.CopySign, values)
