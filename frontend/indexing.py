"""`x[...]`: integers, slices (negative steps too), None and Ellipsis."""

from __future__ import annotations

import operator
from typing import Any

from dfc.errors import DfcError, InvalidArgument, InvalidType, OutOfRange, Unimplemented
from dfc.frontend import interop
from dfc.frontend.immediate import operation
from dfc.frontend.ops.shape import flip, reshape
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.ir import locations
from dfc.ir.dims import Dim, Shape, SymbolicDim, ceildiv
from dfc.ir.ops.shape import Slice, shape_text


@operation
def _getitem(x: Operand, key: Any) -> Tensor:
    trace = current()
    assert trace is not None
    tensor = tensor_in(trace, x)
    try:
        return _apply(tensor, expanded(key, tensor.shape))
    except DfcError as error:
        raise error.at(op="getitem", location=locations.describe(locations.capture())) from None


def getitem(x: Operand, key: Any) -> Tensor:
    """x[key], by NumPy's rules for integers, slices, None and Ellipsis.

    On an axis of symbolic size, bounds are not clamped: they must lie within the axis, and a negative step goes over
    all of it. Raises OutOfRange for an index outside its axis, InvalidArgument for too many of them, InvalidType for
    other keys.
    """
    return _getitem(x, _hashable(key))


def _hashable(key: Any) -> Any:
    """The key with slices as tuples of a tag: a key is static, and slices have no hash before Python 3.12."""
    if isinstance(key, tuple):
        return tuple(_hashable(entry) for entry in key)
    if isinstance(key, slice):
        return ("slice", *(_bound(entry) for entry in (key.start, key.stop, key.step)))
    if key is None or key is Ellipsis or isinstance(key, SymbolicDim):
        return key
    if isinstance(key, bool | list) or (interop.is_array(key) and tuple(key.shape)):
        raise Unimplemented(
            "indexing with an array is not there yet",
            op="getitem",
            location=locations.describe(locations.capture()),
            hint="indices are ints, slices, None and ...",
        )
    return _bound(key)


def _bound(value: Any) -> Any:
    if value is None or isinstance(value, SymbolicDim):
        return value
    try:
        return operator.index(value)
    except TypeError:
        raise InvalidType(
            f"an index is an int, a slice, None or ..., got {value!r}",
            op="getitem",
            location=locations.describe(locations.capture()),
        ) from None


def expanded(key: Any, shape: Shape) -> list[Any]:
    """The key with one entry an axis of `shape`, and None where a new axis goes."""
    entries = list(key) if isinstance(key, tuple) and key[:1] != ("slice",) else [key]
    used = sum(entry is not None and entry is not Ellipsis for entry in entries)
    if used > len(shape):
        raise InvalidArgument(f"{used} indices are too many for shape {shape_text(shape)}")
    dots = [i for i, entry in enumerate(entries) if entry is Ellipsis]
    if len(dots) > 1:
        raise InvalidArgument("an index can have one ... only")
    at = dots[0] if dots else len(entries)
    rest = [("slice", None, None, None)] * (len(shape) - used)
    return [*entries[:at], *rest, *entries[at + 1 :]]


def _apply(x: Tensor, entries: list[Any]) -> Tensor:
    starts: list[Dim] = []
    limits: list[Dim] = []
    strides: list[int] = []
    result: list[Dim] = []
    reversed_axes: list[int] = []
    for entry in entries:
        if entry is None:
            result.append(1)
            continue
        axis = len(starts)
        size = x.shape[axis]
        if isinstance(entry, tuple):
            start, limit, stride, length = _range(size, *entry[1:])
            if stride < 0:
                reversed_axes.append(axis)
            result.append(length)
        else:
            start = _position(entry, size, axis)
            limit, stride = start + 1, 1
        starts.append(start)
        limits.append(limit)
        strides.append(stride if stride > 0 else -stride)
    if (tuple(starts), tuple(limits), tuple(strides)) != ((0,) * x.ndim, x.shape, (1,) * x.ndim):
        trace = x._trace
        assert trace is not None
        x = trace.emit(
            Slice, (x._value,), {"starts": tuple(starts), "limits": tuple(limits), "strides": tuple(strides)}
        )
    if reversed_axes:
        x = flip(x, axis=tuple(reversed_axes))
    return x if x.shape == tuple(result) else reshape(x, tuple(result))


def _position(index: Dim, size: Dim, axis: int) -> Dim:
    if isinstance(index, int) and isinstance(size, int) and not -size <= index < size:
        raise OutOfRange(f"index {index} is outside axis {axis} of size {size}")
    return size + index if isinstance(index, int) and index < 0 else index


def _range(size: Dim, start: Dim | None, stop: Dim | None, step: int | None) -> tuple[Dim, Dim, int, Dim]:
    """start, limit, stride and length of a slice of an axis; a negative stride means: slice, then reverse."""
    step = 1 if step is None else step
    if step == 0:
        raise InvalidArgument("a slice's step must not be zero")
    if isinstance(size, int) and not isinstance(start, SymbolicDim) and not isinstance(stop, SymbolicDim):
        first, end, step = slice(start, stop, step).indices(size)
        length = len(range(first, end, step))
        if length == 0:
            return 0, 0, 1, 0
        last = first + (length - 1) * step
        return (first, last + 1, step, length) if step > 0 else (last, first + 1, step, length)
    if step < 0:
        if start is not None or stop is not None or step != -1:
            raise Unimplemented(f"a negative step on an axis of symbolic size {size} goes over all of it: x[::-1]")
        return 0, size, -1, size
    begin, limit = _within(start, size, 0), _within(stop, size, size)
    return begin, limit, step, ceildiv(limit - begin, step)


def _within(bound: Dim | None, size: Dim, default: Dim) -> Dim:
    if bound is None:
        return default
    return size + bound if isinstance(bound, int) and bound < 0 else bound
