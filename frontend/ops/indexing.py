"""Reading and writing parts of a tensor at indices that are data.

Indices are integers that count from the front, 0 <= index < size; `x[...]` takes negative ones too. Whether they are in
range is known only when the program runs: a read outside the range gives zeros, a write there is dropped, and the
reference interpreter raises OutOfRange.
"""

from __future__ import annotations

from typing import Any

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.immediate import operation
from dfc.frontend.ops.shape import axis_in, broadcast_to, error_here
from dfc.frontend.parts import Part
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir.dtypes import int32
from dfc.ir.op import Op
from dfc.ir.ops import indexing as ir
from dfc.ir.ops.shape import shape_text
from dfc.ir.types import spec_of


def _trace() -> Trace:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    return trace


def indices_in(trace: Trace, indices: Operand, op: str) -> Tensor:
    """Indices as a tensor of integers. Raises InvalidType for others."""
    tensor = tensor_in(trace, indices)
    if isinstance(indices, list | tuple) and tensor.size == 0:  # an empty list has no dtype of its own
        value = trace.fill(0, int32, tensor.shape)
        return Tensor(value.type, trace, value)
    if not tensor.dtype.is_integer:
        raise error_here(InvalidType, f"indices must be integers, got {tensor.dtype}", op)
    return tensor


@operation
def take(x: Operand, indices: Operand, /, *, axis: int | None = None) -> Tensor:
    """The parts of x at `indices` along `axis`, which only a vector may leave out.

    The axes of `indices`, which may be of any shape, stand in the place of that axis: shape
    (*x.shape[:axis], *indices.shape, *x.shape[axis + 1:]), dtype of x. Along axis 0 only the rows that are named are
    read. Indices are not wrapped; a part outside the range is zeros. A `dfc.Part` as indices gives a `dfc.Part`.
    """
    if isinstance(indices, Part):
        return Part(take(x, indices.rows, axis=axis), indices.length)  # type: ignore[return-value]
    trace = _trace()
    tensor, places = tensor_in(trace, x), indices_in(trace, indices, "take")
    if axis is None and tensor.ndim != 1:
        raise error_here(InvalidArgument, f"the axis must be given, got {spec_of(tensor._type)}", "take")
    at = axis_in(0 if axis is None else axis, tensor.ndim, "take")
    return trace.emit(ir.Take, (tensor._value, places._value), {"axis": at})


@operation
def gather_nd(x: Operand, indices: Operand, /) -> Tensor:
    """For each row (i, j ...) of the last axis of `indices` the part x[i, j ...].

    `indices` has shape (..., depth) with 1 <= depth <= rank; the result's is (..., *x.shape[depth:]). A part outside
    the range is zeros.
    """
    trace = _trace()
    return trace.emit(ir.GatherNd, (tensor_in(trace, x)._value, indices_in(trace, indices, "gather_nd")._value))


def _scatter(name: str, cls: type[Op], x: Operand, indices: Operand, updates: Operand, **attributes: Any) -> Tensor:
    trace = _trace()
    tensor, places = tensor_in(trace, x), indices_in(trace, indices, name)
    depth = places.shape[-1] if places.ndim else None
    if not isinstance(depth, int) or not 1 <= depth <= tensor.ndim:
        raise error_here(
            InvalidArgument,
            f"the last axis of indices must have a size from 1 to {tensor.ndim}, got {shape_text(places.shape)} for x "
            f"of shape {shape_text(tensor.shape)}",
            name,
        )
    given = tensor_in(trace, updates, tensor.dtype)
    if given.dtype is not tensor.dtype:
        if not isinstance(updates, Tensor) and not hasattr(updates, "dtype"):  # numbers, which are weak
            value = trace.convert(given._value, tensor.dtype)
            given = Tensor(value.type, trace, value)
        else:
            raise error_here(InvalidType, f"updates must have the dtype {tensor.dtype}, got {given.dtype}", name)
    wanted = (*places.shape[:-1], *tensor.shape[depth:])
    if given.shape != wanted:
        given = broadcast_to(given, wanted)
    return trace.emit(cls, (tensor._value, places._value, given._value), attributes)


@operation
def tensor_scatter_update(x: Operand, indices: Operand, updates: Operand, /, *, unique: bool = False) -> Tensor:
    """x with the parts that the rows of the last axis of `indices` name replaced by `updates`.

    `indices` has shape (..., depth), `updates` (..., *x.shape[depth:]) or what broadcasts to it, in x's dtype. Of equal
    rows the last one wins, on every device; `unique=True` promises that there are none, and saves looking for them.
    Rows outside of x are dropped.
    """
    return _scatter("tensor_scatter_update", ir.TensorScatterUpdate, x, indices, updates, unique=unique)


@operation
def tensor_scatter_add(x: Operand, indices: Operand, updates: Operand, /) -> Tensor:
    """x with `updates` added to the parts that `indices` name, those of equal rows all; see `tensor_scatter_update`.
    16-bit floats round after each addition."""
    return _scatter("tensor_scatter_add", ir.TensorScatterAdd, x, indices, updates)


@operation
def tensor_scatter_mul(x: Operand, indices: Operand, updates: Operand, /) -> Tensor:
    """x with the parts that `indices` name multiplied by `updates`; see `tensor_scatter_update`."""
    return _scatter("tensor_scatter_mul", ir.TensorScatterMul, x, indices, updates)


@operation
def tensor_scatter_min(x: Operand, indices: Operand, updates: Operand, /) -> Tensor:
    """The smaller of x and `updates` at the parts that `indices` name; see `tensor_scatter_update`."""
    return _scatter("tensor_scatter_min", ir.TensorScatterMin, x, indices, updates)


@operation
def tensor_scatter_max(x: Operand, indices: Operand, updates: Operand, /) -> Tensor:
    """The larger of x and `updates` at the parts that `indices` name; see `tensor_scatter_update`."""
    return _scatter("tensor_scatter_max", ir.TensorScatterMax, x, indices, updates)
