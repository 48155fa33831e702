"""Reductions over axes: None reduces all, `keepdims` leaves axes of size 1 in their place."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

from dfc.errors import InvalidArgument
from dfc.frontend.defaults import default_float, default_int
from dfc.frontend.immediate import operation
from dfc.frontend.ops.elementwise import sqrt, square
from dfc.frontend.ops.shape import axes_in, axis_in, count_value, error_here, reshape
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir import dtypes
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.op import Op
from dfc.ir.ops import reduction as ir
from dfc.ir.types import spec_of

Axis = int | Sequence[int] | None


def _own(x: Operand) -> tuple[Trace, Tensor]:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    return trace, tensor_in(trace, x)


def _converted(x: Tensor, dtype: DType) -> Tensor:
    trace = x._trace
    assert trace is not None
    value = trace.convert(x._value, dtype)
    return Tensor(value.type, trace, value)


def _reduce(cls: type[Op], x: Tensor, axis: Axis, keepdims: bool, name: str) -> Tensor:
    trace = x._trace
    assert trace is not None
    axes = axes_in(axis, x.ndim, name)
    if not axes and x.ndim:
        return x
    result = trace.emit(cls, (x._value,), {"axes": axes})
    return _kept(result, x, axes) if keepdims else result


def _kept(result: Tensor, x: Tensor, axes: Sequence[int]) -> Tensor:
    return reshape(result, tuple(1 if i in axes else d for i, d in enumerate(x.shape)))


def _accumulated(x: Tensor, dtype: Any) -> Tensor:
    """x in the dtype of its sum: small integers and booleans go to the default int's width, others stay."""
    if dtype is not None:
        return _converted(x, as_dtype(dtype))
    own = x.dtype
    width = default_int().bits
    if own.kind == "bool" or (own.kind == "int" and own.bits < width):
        return _converted(x, default_int())
    if own.kind == "uint" and own.bits < width:
        return _converted(x, dtypes.uint32 if width == 32 else dtypes.uint64)
    return x


@operation
def sum(x: Operand, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The sum; of small integers and booleans in int32 (uint32)."""
    _, tensor = _own(x)
    return _reduce(ir.ReduceSum, _accumulated(tensor, dtype), axis, keepdims, "sum")


@operation
def prod(x: Operand, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The product; of small integers and booleans in int32 (uint32)."""
    _, tensor = _own(x)
    return _reduce(ir.ReduceProd, _accumulated(tensor, dtype), axis, keepdims, "prod")


@operation
def max(x: Operand, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest; NaN if any is; of nothing minus infinity or the smallest integer."""
    _, tensor = _own(x)
    return _reduce(ir.ReduceMax, tensor, axis, keepdims, "max")


@operation
def min(x: Operand, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest; NaN if any is; of nothing infinity or the largest integer."""
    _, tensor = _own(x)
    return _reduce(ir.ReduceMin, tensor, axis, keepdims, "min")


@operation
def all(x: Operand, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """True where all elements are (numbers: are not zero)."""
    _, tensor = _own(x)
    return _reduce(ir.ReduceAnd, _converted(tensor, dtypes.bool_), axis, keepdims, "all")


@operation
def any(x: Operand, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """True where any element is (numbers: is not zero)."""
    _, tensor = _own(x)
    return _reduce(ir.ReduceOr, _converted(tensor, dtypes.bool_), axis, keepdims, "any")


@operation
def argmax(x: Operand, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first largest element (of the first NaN if there is one), in the default int; axis None means
    the flattened x."""
    return _argument(ir.ArgMax, x, axis, keepdims, "argmax")


@operation
def argmin(x: Operand, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first smallest element (of the first NaN if there is one); see `argmax`."""
    return _argument(ir.ArgMin, x, axis, keepdims, "argmin")


def _argument(cls: type[Op], x: Operand, axis: int | None, keepdims: bool, name: str) -> Tensor:
    trace, tensor = _own(x)
    flat = reshape(tensor, (-1,)) if axis is None else tensor
    at = 0 if axis is None else axis_in(axis, tensor.ndim, name)
    result = trace.emit(cls, (flat._value,), {"axis": at, "dtype": default_int()})
    if not keepdims:
        return result
    return _kept(result, tensor, range(tensor.ndim) if axis is None else (at,))


@operation
def mean(x: Operand, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean; of integers in the default floating dtype. 16-bit floats are summed in float32."""
    _, tensor = _own(x)
    wide, narrow = _wide(tensor)
    return _converted(_mean(wide, axis, keepdims, "mean"), narrow)


def _wide(x: Tensor) -> tuple[Tensor, DType]:
    """x in the dtype that its mean is computed in, and the dtype of the result."""
    result = x.dtype if x.dtype.is_inexact else default_float()
    return _converted(x, dtypes.float32 if result.bits == 16 else result), result


def _mean(x: Tensor, axis: Axis, keepdims: bool, name: str, correction: float = 0.0) -> Tensor:
    trace = x._trace
    assert trace is not None
    axes = axes_in(axis, x.ndim, name)
    total = _reduce(ir.ReduceSum, x, axes, keepdims, name)
    count = count_value(trace, x, axes)
    if isinstance(count, int):
        return total / (count if not correction else builtins.max(count - correction, 0.0))
    divisor = _converted(Tensor(count.type, trace, count), spec_of(x._type).dtype)
    return total / (divisor - correction if correction else divisor)


@operation
def var(x: Operand, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance: the mean of squared distances from the mean, divided by count - correction."""
    _, tensor = _own(x)
    wide, narrow = _wide(tensor)
    return _converted(_variance(wide, axis, correction, keepdims, "var"), narrow)


@operation
def std(x: Operand, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The standard deviation, the square root of `var`."""
    _, tensor = _own(x)
    wide, narrow = _wide(tensor)
    return _converted(sqrt(_variance(wide, axis, correction, keepdims, "std")), narrow)


def _variance(x: Tensor, axis: Axis, correction: float, keepdims: bool, name: str) -> Tensor:
    if not x.dtype.is_floating:
        raise error_here(InvalidArgument, f"the dtype must be real, got {x.dtype}", name)
    centred = x - _mean(x, axis, True, name)
    return _mean(square(centred), axis, keepdims, name, correction)
