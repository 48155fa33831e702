"""Tensors made from nothing: conversion of arrays and numbers, fills, ranges.

In a trace the result is part of the graph; outside it is put onto the default device.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import interop, locality
from dfc.frontend.defaults import default_float
from dfc.frontend.immediate import located, operation
from dfc.frontend.ops.elementwise import astype, compare, identity, where
from dfc.frontend.ops.shape import as_shape, axis_in, broadcast_to, error_here, expand_dims
from dfc.frontend.promotion import NUMBERS, check_fits, holds_tensors, result_type, tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.ir.dims import Shape, SymbolicDim, is_static
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.ops.shape import Iota
from dfc.ir.types import spec_of

FOLDED_ELEMENTS = 1 << 16
"""A range of up to so many elements becomes a constant of the graph, a longer one is computed."""


@located
def asarray(value: Operand, /, *, dtype: Any = None, copy: bool | None = None) -> Tensor:
    """`value` as a tensor: Python floats and ints become float32 and int32 (see `dfc.default_dtype`), arrays keep their
    dtype, nested lists of numbers become arrays; with `dtype`, it is converted. A tensor is returned as it is. Inside
    `dfc.device`, outside a trace, the result is on that device.

    Raises InvalidType for what is neither numbers nor an array, InvalidArgument for ragged lists.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    trace = current()
    if hasattr(value, "__dfc_tensor__"):
        value = value.__dfc_tensor__()
    if isinstance(value, Tensor):
        converted = value if wanted is None or value.dtype is wanted else astype(value, wanted)
        if trace is None and value._trace is None and (device := locality.here()):
            converted = interop.moved(converted, device)
        return identity(converted) if copy and converted is value else converted
    if trace is None:
        made, device = interop.to_tensor(value, wanted), locality.here()
        return interop.moved(made, device) if device else made
    if holds_tensors(value):
        stacked = tensor_in(trace, value)
        return stacked if wanted is None else astype(stacked, wanted)
    return trace.constant(interop.to_numpy(value, wanted))


@located
def full(shape: Any, fill_value: Any, *, dtype: Any = None) -> Tensor:
    """A tensor of `shape` (ints or symbolic dimensions) filled with a number, a string or a scalar tensor."""
    sizes = as_shape(shape, "full")
    if isinstance(fill_value, str | bytes) and not isinstance(fill_value, np.generic):
        return broadcast_to(asarray(fill_value, dtype=dtype), sizes)
    if isinstance(fill_value, Tensor) or hasattr(fill_value, "__dfc_tensor__"):
        return broadcast_to(fill_value if dtype is None else astype(fill_value, dtype), sizes)
    if interop.is_array(fill_value) and not fill_value.shape:
        fill_value, dtype = fill_value.item(), fill_value.dtype if dtype is None else dtype
    if isinstance(fill_value, int):
        fill_value = fill_value if type(fill_value) is bool else int(fill_value)
    if type(fill_value) not in NUMBERS:
        raise error_here(InvalidType, f"fill_value must be a number or a scalar tensor, got {fill_value!r}", "full")
    return _filled(sizes, fill_value, result_type(fill_value) if dtype is None else as_dtype(dtype))


@located
def zeros(shape: Any, *, dtype: Any = None) -> Tensor:
    """A tensor of zeros, of the default floating dtype unless told otherwise."""
    return _filled(as_shape(shape, "zeros"), 0, default_float() if dtype is None else as_dtype(dtype))


@located
def ones(shape: Any, *, dtype: Any = None) -> Tensor:
    """A tensor of ones, of the default floating dtype unless told otherwise."""
    return _filled(as_shape(shape, "ones"), 1, default_float() if dtype is None else as_dtype(dtype))


@located
def full_like(x: Operand, /, fill_value: Any, *, dtype: Any = None) -> Tensor:
    """`full` in the shape and, unless told otherwise, the dtype of x."""
    own = _spec(x)
    return full(own.shape, fill_value, dtype=own.dtype if dtype is None else dtype)


def zeros_like(x: Operand, /, *, dtype: Any = None) -> Tensor:
    """Zeros in the shape and, unless told otherwise, the dtype of x."""
    return full_like(x, 0, dtype=dtype)


def ones_like(x: Operand, /, *, dtype: Any = None) -> Tensor:
    """Ones in the shape and, unless told otherwise, the dtype of x."""
    return full_like(x, 1, dtype=dtype)


def _spec(x: Operand) -> Any:
    if isinstance(x, Tensor):
        return spec_of(x._type)
    return x.spec if hasattr(x, "__dfc_tensor__") else spec_of(asarray(x)._type)


def _filled(shape: Shape, number: Any, dtype: DType) -> Tensor:
    check_fits(number, dtype)
    if dtype.kind == "string":
        raise error_here(InvalidType, f"a number can't be a string, got {number!r}", "full", hint="give dfc.full a str")
    if any(isinstance(d, int) and d < 0 for d in shape):
        raise error_here(InvalidArgument, f"sizes must not be negative, got {shape}", "full")
    trace = current()
    if trace is not None:
        value = trace.fill(number if type(number) is not np.generic else number.item(), dtype, shape)
        return Tensor(value.type, trace, value)
    if not is_static(shape):
        raise error_here(InvalidArgument, f"outside a trace sizes must be ints, got {shape}", "full")
    return interop.put(np.full([int(d) for d in shape], number, dtype.numpy))


@located
def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None) -> Tensor:
    """start, start + step ... below stop (from 0 if one number is given). Numbers are Python's; `stop` alone may be a
    symbolic dimension. Integers give int32, floats float32 unless told otherwise."""
    if stop is None:
        start, stop = 0, start
    if isinstance(stop, SymbolicDim):
        if (start, step) != (0, 1):
            raise error_here(InvalidArgument, "with a symbolic size only arange(size) is there", "arange")
        return _iota(stop, as_dtype(dtype or result_type(0)))
    for number in (start, stop, step):
        if not isinstance(number, int | float):
            raise error_here(InvalidType, f"start, stop and step are Python numbers, got {number!r}", "arange")
    if step == 0:
        raise error_here(InvalidArgument, "the step must not be zero", "arange")
    wanted = result_type(start, stop, step) if dtype is None else as_dtype(dtype)
    length = max(math.ceil((stop - start) / step), 0)
    if current() is not None and length > FOLDED_ELEMENTS:
        counted: Tensor = _iota(length, wanted) * step + start
        return counted
    return asarray(np.arange(start, stop, step)[:length].astype(wanted.numpy))


def _iota(length: Any, dtype: DType) -> Tensor:
    trace = current()
    if trace is None:
        raise error_here(InvalidArgument, f"outside a trace sizes must be ints, got {length}", "arange")
    return trace.emit(Iota, (), {"shape": (length,), "dtype": dtype, "axis": 0})


@operation
def one_hot(
    indices: Operand,
    depth: int,
    /,
    *,
    axis: int = -1,
    on_value: Any = 1,
    off_value: Any = 0,
    dtype: Any = None,
) -> Tensor:
    """For each index a vector of `depth` elements along a new axis: `on_value` at the index, else `off_value`; all
    `off_value` for an index outside 0 <= index < depth. The dtype is float32 unless told otherwise."""
    trace = current()
    assert trace is not None
    tensor = tensor_in(trace, indices)
    if not tensor.dtype.is_integer:
        raise error_here(InvalidType, f"indices must be integers, got {tensor.dtype}", "one_hot")
    at = axis_in(axis, tensor.ndim + 1, "one_hot")
    shape = (*tensor.shape[:at], depth, *tensor.shape[at:])
    positions = trace.emit(Iota, (), {"shape": shape, "dtype": tensor.dtype, "axis": at})
    hit = compare("EQ", expand_dims(tensor, axis=at), positions, "one_hot")
    wanted = default_float() if dtype is None else as_dtype(dtype)
    on, off = (tensor_in(trace, v, wanted) for v in (on_value, off_value))
    return where(hit, astype(on, wanted), astype(off, wanted))
