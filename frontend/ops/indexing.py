"""Reading and writing parts of a tensor at indices that are data.

Indices are integers that count from the front, 0 <= index < size; `x[...]` takes negative ones too. Whether they are in
range is known only when the program runs: a read outside the range gives zeros, a write there is dropped, and the
reference interpreter raises OutOfRange.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import interop, locality
from dfc.frontend.immediate import located, operation
from dfc.frontend.ops.elementwise import astype, where
from dfc.frontend.ops.shape import as_shape, axis_in, broadcast_to, dim_size, error_here
from dfc.frontend.parts import Part
from dfc.frontend.promotion import broadcast_shapes, result_type, tensor_in
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


@operation
def scatter_nd(indices: Operand, updates: Operand, /, shape: Any) -> Tensor:
    """Zeros of `shape` with `updates` added at the parts that `indices` name; see `tensor_scatter_add`."""
    trace = _trace()
    values = tensor_in(trace, updates)
    zeros = trace.fill(0, values.dtype, as_shape(shape, "scatter_nd"))
    into = Tensor(zeros.type, trace, zeros)
    return _scatter("scatter_nd", ir.TensorScatterAdd, into, indices, values)


@operation
def take_along_axis(x: Operand, indices: Operand, /, *, axis: int = -1) -> Tensor:
    """Each element of the result is x's at the same place but for `axis`, where the index stands.

    `indices` has x's rank; other axes than `axis` broadcast against x's. Negative indices count from the end; the
    result is zero at one outside the axis. With the result of `argsort` or `argmax` it gives the elements they point
    at.
    """
    trace = _trace()
    tensor, places = tensor_in(trace, x), indices_in(trace, indices, "take_along_axis")
    at = axis_in(axis, tensor.ndim, "take_along_axis")
    if places.ndim != tensor.ndim:
        raise error_here(
            InvalidArgument,
            f"indices must have x's rank, got shapes {shape_text(places.shape)} and {shape_text(tensor.shape)}",
            "take_along_axis",
        )
    others = broadcast_shapes(*((*t.shape[:at], 1, *t.shape[at + 1 :]) for t in (tensor, places)))
    tensor, places = (
        broadcast_to(t, (*others[:at], t.shape[at], *others[at + 1 :]))
        for t in (tensor, from_front(tensor, places, at))
    )
    return trace.emit(ir.TakeAlongAxis, (tensor._value, places._value), {"axis": at})


def from_front(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Indices along an axis of x with negative ones counted from its end."""
    if indices.dtype.kind == "uint":
        return indices
    if indices.dtype.bits < 32:
        indices = astype(indices, int32)
    size = x.shape[axis]
    length = size if isinstance(size, int) else astype(dim_size(x, axis), indices.dtype)
    return where(indices < 0, indices + length, indices)


def _starts(starts: Any, rank: int, op: str) -> list[Tensor]:
    """One integer scalar an axis, in one dtype."""
    trace = _trace()
    given = [starts[i] for i in range(rank)] if isinstance(starts, Tensor) and starts.shape == (rank,) else starts
    if isinstance(given, Tensor) or not isinstance(given, list | tuple | np.ndarray) or len(given) != rank:
        raise error_here(InvalidArgument, f"one start for each of {rank} axes is needed, got {starts!r}", op)
    scalars = [tensor_in(trace, s) for s in given]
    if any(s.shape or not s.dtype.is_integer for s in scalars):
        listed = ", ".join(str(spec_of(s._type)) for s in scalars)
        raise error_here(InvalidType, f"starts must be integer scalars, got {listed}", op)
    dtype = result_type(*scalars) if scalars else int32
    return [astype(s, dtype) for s in scalars]


@operation
def dynamic_slice(x: Operand, starts: Any, sizes: Any, /) -> Tensor:
    """The window of `sizes` of x at `starts`, which may be data: integer scalars, one an axis, or a vector.

    Sizes are ints or symbolic dimensions. A start from which the window would reach beyond x, or that is negative, is
    moved so that it doesn't.
    """
    trace = _trace()
    tensor = tensor_in(trace, x)
    scalars = _starts(starts, tensor.ndim, "dynamic_slice")
    return trace.emit(
        ir.DynamicSlice, (tensor._value, *(s._value for s in scalars)), {"sizes": as_shape(sizes, "dynamic_slice")}
    )


@operation
def dynamic_update_slice(x: Operand, update: Operand, starts: Any, /) -> Tensor:
    """x with `update`, of x's rank and dtype, in the place of the window at `starts`; see `dynamic_slice`."""
    trace = _trace()
    tensor = tensor_in(trace, x)
    window = tensor_in(trace, update, tensor.dtype)
    scalars = _starts(starts, tensor.ndim, "dynamic_update_slice")
    return trace.emit(ir.DynamicUpdateSlice, (tensor._value, window._value, *(s._value for s in scalars)))


@operation
def _argwhere(x: Operand, size: Any, fill_value: int) -> Tensor:
    trace = _trace()
    attributes = {"size": as_shape(size, "nonzero"), "fill": fill_value}
    return trace.emit(ir.Nonzero, (tensor_in(trace, x)._value,), attributes)


@located
def argwhere(x: Operand, /, *, size: Any = None, fill_value: int = 0) -> Tensor:
    """The indices of the elements of x that aren't zero, in C order, as int32 rows of shape (size, rank).

    With `size`, an int or a symbolic dimension, the first `size` of them, and rows of `fill_value` where there are
    fewer: that many whatever x holds. It may be left out where the value of x is known, outside a trace or as a
    constant; then there are as many rows as elements.
    """
    if size is not None:
        return _argwhere(x, size, fill_value)
    trace = current()
    if isinstance(x, Tensor) and x._trace is not None:
        raise error_here(
            InvalidArgument,
            "the size must be given where the values aren't known while tracing",
            "nonzero",
            hint="give size=n, the largest number of elements that there can be",
        )
    rows = np.argwhere(interop.to_numpy(x)).astype(np.int32)
    return interop.put(rows, locality.beside(x)) if trace is None else trace.constant(rows)


@located
def nonzero(x: Operand, /, *, size: Any = None, fill_value: int = 0) -> tuple[Tensor, ...]:
    """The columns of `argwhere`: for each axis of x an int32 vector of the indices of elements that aren't zero."""
    rows = argwhere(x, size=size, fill_value=fill_value)
    rank = rows.shape[1]
    assert isinstance(rank, int)
    return tuple(rows[:, i] for i in range(rank))
