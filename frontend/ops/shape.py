"""Operations that move elements, and sizes as values. Dtypes stay as they are."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import DfcError, InvalidArgument, InvalidType
from dfc.frontend import promotion
from dfc.frontend.immediate import operation
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir import dims, locations
from dfc.ir.dims import Dim, Shape, SymbolicDim
from dfc.ir.dtypes import int32
from dfc.ir.ops import shape as ir
from dfc.ir.ops.elementwise import Multiply
from dfc.ir.ops.shape import shape_text
from dfc.ir.types import spec_of


def _own(x: Operand) -> tuple[Trace, Tensor]:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    return trace, tensor_in(trace, x)


def error_here(kind: type[DfcError], message: str, op: str, hint: str = "") -> DfcError:
    """An error with the user's line."""
    return kind(message, op=op, location=locations.describe(locations.capture()), hint=hint)


def is_index(value: Any) -> bool:
    """Whether `value` is an integer of Python or NumPy; tensors and booleans are none."""
    return hasattr(type(value), "__index__") and not isinstance(value, bool | np.bool_ | np.ndarray | Tensor)


def axis_in(axis: int, rank: int, op: str) -> int:
    """The axis counted from the front. Raises InvalidArgument outside -rank <= axis < rank."""
    if not is_index(axis):
        raise error_here(InvalidType, f"an axis is an int, got {axis!r}", op)
    index = operator.index(axis)
    if not -rank <= index < rank:
        raise error_here(InvalidArgument, f"the axis must be within rank {rank}, got {axis}", op)
    return index % rank


def axes_in(axis: int | Sequence[int] | None, rank: int, op: str) -> tuple[int, ...]:
    """Ascending axes counted from the front; None means all. Raises InvalidArgument for duplicates."""
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, list | tuple | range) else (axis,)
    axes = sorted(axis_in(a, rank, op) for a in given)
    if len(set(axes)) != len(axes):
        raise error_here(InvalidArgument, f"axes must be distinct, got {axis}", op)
    return tuple(axes)


def as_shape(shape: Any, op: str) -> Shape:
    """A shape from a size or an iterable of them. Raises InvalidType for what is neither an int nor symbolic."""
    entries = shape if isinstance(shape, Iterable) and not isinstance(shape, str | Tensor) else (shape,)
    result: list[Dim] = []
    for entry in entries:
        if isinstance(entry, SymbolicDim):
            result.append(entry)
        elif is_index(entry):
            result.append(operator.index(entry))
        else:
            raise error_here(InvalidType, f"a size is an int or a symbolic dimension, got {entry!r}", op)
    return tuple(result)


@operation
def reshape(x: Operand, /, shape: Any) -> Tensor:
    """The same elements in C order in another shape; one size may be -1, which is what fits.

    Raises InvalidArgument where the numbers of elements differ.
    """
    trace, tensor = _own(x)
    wanted = _with_inferred(tensor.shape, as_shape(shape, "reshape"))
    return tensor if wanted == tensor.shape else trace.emit(ir.Reshape, (tensor._value,), {"shape": wanted})


def _with_inferred(given: Shape, wanted: Shape) -> Shape:
    unknown = [i for i, d in enumerate(wanted) if d == -1]
    if not unknown:
        return wanted
    rest = dims.size(d for i, d in enumerate(wanted) if i not in unknown)
    fits = dims.divides(rest, dims.size(given)) if len(unknown) == 1 else None
    if fits is None:
        texts = f"{shape_text(given)} and {shape_text(wanted)}"
        raise error_here(InvalidArgument, f"one size of -1 must follow from the others, got {texts}", "reshape")
    return tuple(fits if i == unknown[0] else d for i, d in enumerate(wanted))


@operation
def permute_dims(x: Operand, /, axes: Sequence[int]) -> Tensor:
    """Axis i of the result is axis axes[i] of x."""
    trace, tensor = _own(x)
    permutation = tuple(axis_in(a, tensor.ndim, "permute_dims") for a in axes)
    return trace.emit(ir.Transpose, (tensor._value,), {"permutation": permutation})


@operation
def matrix_transpose(x: Operand, /) -> Tensor:
    """x with its last two axes exchanged. Raises InvalidArgument for fewer."""
    trace, tensor = _own(x)
    if tensor.ndim < 2:
        raise error_here(InvalidArgument, f"at least two axes are needed, got {_spec(tensor)}", "matrix_transpose")
    order = (*range(tensor.ndim - 2), tensor.ndim - 1, tensor.ndim - 2)
    return trace.emit(ir.Transpose, (tensor._value,), {"permutation": order})


@operation
def expand_dims(x: Operand, /, *, axis: int | Sequence[int] = 0) -> Tensor:
    """x with axes of size 1 put in, at these places of the result."""
    _, tensor = _own(x)
    given = axis if isinstance(axis, list | tuple) else (axis,)
    places = axes_in(given, tensor.ndim + len(given), "expand_dims")
    rest = iter(tensor.shape)
    shape = tuple(1 if i in places else next(rest) for i in range(tensor.ndim + len(given)))
    return reshape(tensor, shape)


@operation
def squeeze(x: Operand, /, axis: int | Sequence[int]) -> Tensor:
    """x without these axes, which must be of size 1."""
    _, tensor = _own(x)
    axes = axes_in(axis, tensor.ndim, "squeeze")
    for a in axes:
        if tensor.shape[a] != 1:
            raise error_here(InvalidArgument, f"axis {a} must have size 1, got {_spec(tensor)}", "squeeze")
    return reshape(tensor, tuple(d for i, d in enumerate(tensor.shape) if i not in axes))


@operation
def broadcast_to(x: Operand, /, shape: Any) -> Tensor:
    """x repeated to `shape` by NumPy's rules."""
    trace, tensor = _own(x)
    wanted = as_shape(shape, "broadcast_to")
    if len(wanted) < tensor.ndim:
        texts = f"{shape_text(tensor.shape)} to {shape_text(wanted)}"
        raise error_here(InvalidArgument, f"broadcasting can't remove axes, got {texts}", "broadcast_to")
    value = trace.broadcast(tensor._value, wanted)
    return Tensor(value.type, trace, value)


@operation
def concat(arrays: Iterable[Operand], /, *, axis: int | None = 0) -> Tensor:
    """Tensors one after another along `axis`, in the dtype they meet in; axis None flattens them first."""
    tensors = _promoted(arrays, "concat")
    if axis is None:
        tensors, axis = [reshape(t, (-1,)) for t in tensors], 0
    trace = tensors[0]._trace
    assert trace is not None
    at = axis_in(axis, tensors[0].ndim, "concat")
    return trace.emit(ir.Concatenate, [t._value for t in tensors], {"axis": at})


@operation
def stack(arrays: Iterable[Operand], /, *, axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis, at place `axis` of the result."""
    tensors = _promoted(arrays, "stack")
    if any(t.shape != tensors[0].shape for t in tensors):
        texts = " and ".join(_spec(t) for t in tensors)
        raise error_here(InvalidArgument, f"the shapes must be equal, got {texts}", "stack")
    return concat([expand_dims(t, axis=axis) for t in tensors], axis=axis)


def _promoted(arrays: Iterable[Operand], op: str) -> list[Tensor]:
    trace = current()
    assert trace is not None
    tensors = [tensor_in(trace, x) for x in arrays]
    if not tensors:
        raise error_here(InvalidArgument, "at least one tensor is needed", op)
    dtype = promotion.result_type(*tensors)
    values = [trace.convert(t._value, dtype) for t in tensors]
    return [Tensor(v.type, trace, v) for v in values]


@operation
def split(x: Operand, /, sections: int | Sequence[int], *, axis: int = 0) -> list[Tensor]:
    """x cut along `axis` into `sections` equal parts, or into parts of these sizes.

    Raises InvalidArgument where the sizes don't add up to the axis.
    """
    trace, tensor = _own(x)
    at = axis_in(axis, tensor.ndim, "split")
    size = tensor.shape[at]
    if is_index(sections):
        sections = operator.index(sections)  # type: ignore[arg-type]
        part = dims.divides(sections, size) if sections > 0 else None
        sizes: list[Dim] = [] if part is None else [part] * sections
    else:
        sizes = list(as_shape(sections, "split"))
    total: Dim = 0
    for each in sizes:
        total = total + each
    if not sizes or total != size:
        raise error_here(InvalidArgument, f"axis {at} of {_spec(tensor)} can't be split into {sections}", "split")
    parts, start = [], 0
    for each in sizes:
        starts: list[Dim] = [0] * tensor.ndim
        limits = list(tensor.shape)
        starts[at], limits[at] = start, start + each
        attributes = {"starts": tuple(starts), "limits": tuple(limits), "strides": (1,) * tensor.ndim}
        parts.append(trace.emit(ir.Slice, (tensor._value,), attributes))
        start = start + each  # type: ignore[assignment]
    return parts


@operation
def flip(x: Operand, /, *, axis: int | Sequence[int] | None = None) -> Tensor:
    """x with the order along these axes (None: all) reversed."""
    trace, tensor = _own(x)
    return trace.emit(ir.Reverse, (tensor._value,), {"axes": axes_in(axis, tensor.ndim, "flip")})


def padded_by(x: Tensor, pairs: Sequence[tuple[int, int]], value: Any) -> Tensor:
    """x with `value` put around it, (before, after) for each axis."""
    trace = x._trace
    assert trace is not None
    padding = trace.convert(tensor_in(trace, value, x.dtype)._value, x.dtype)
    low, high = tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
    return trace.emit(ir.Pad, (x._value, padding), {"low": low, "high": high, "interior": (0,) * x.ndim})


def pad_pairs(widths: Any, rank: int) -> list[tuple[int, int]]:
    if isinstance(widths, int):
        return [(widths, widths)] * rank
    entries = list(widths)
    if len(entries) == 2 and all(isinstance(w, int) for w in entries):
        entries = [tuple(entries)] * rank
    if len(entries) != rank or any(len(tuple(e)) != 2 or min(e) < 0 for e in entries):
        raise error_here(
            InvalidArgument, f"pad_width must have a pair of non-negative ints for {rank} axes, got {widths}", "pad"
        )
    return [(int(a), int(b)) for a, b in entries]


@operation
def dim_size(x: Operand, axis: int, /) -> Tensor:
    """The size of one axis, as an int32 scalar; for a symbolic size what it is in the call."""
    trace, tensor = _own(x)
    value = size_value(trace, tensor, axis_in(axis, tensor.ndim, "dim_size"))
    return Tensor(value.type, trace, value)


def size_value(trace: Trace, tensor: Tensor, axis: int) -> SSAValue:
    size = tensor.shape[axis]
    if isinstance(size, int):
        return trace.fill(size, int32, ())
    return trace.emit_op(ir.DimSize, (tensor._value,), {"axis": axis}).results[0]


def count_value(trace: Trace, tensor: Tensor, axes: Sequence[int]) -> int | SSAValue:
    """The number of elements along `axes`: an int, or an int32 scalar where a size is symbolic."""
    known, unknown = 1, []
    for a in axes:
        size = tensor.shape[a]
        if isinstance(size, int):
            known *= size
        else:
            unknown.append(size_value(trace, tensor, a))
    if not unknown:
        return known
    total = trace.fill(known, int32, ())
    for value in unknown:
        total = trace.emit_op(Multiply, (total, value)).results[0]
    return total


@operation
def shape(x: Operand, /) -> Tensor:
    """The sizes of all axes, as an int32 vector. (`x.shape` is the tuple that is known while tracing.)"""
    trace, tensor = _own(x)
    sizes = [Tensor(v.type, trace, v) for v in (size_value(trace, tensor, a) for a in range(tensor.ndim))]
    if not sizes:
        value = trace.fill(0, int32, (0,))
        return Tensor(value.type, trace, value)
    return stack(sizes)


def _spec(tensor: Tensor) -> str:
    return str(spec_of(tensor._type))
