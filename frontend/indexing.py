"""`x[...]` by NumPy's rules: integers, slices, None, Ellipsis, arrays of integers and masks."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from dfc.errors import DfcError, InvalidArgument, InvalidType, OutOfRange, Unimplemented
from dfc.frontend import interop
from dfc.frontend.immediate import operation
from dfc.frontend.ops.elementwise import astype
from dfc.frontend.ops.indexing import from_front, gather_nd, take
from dfc.frontend.ops.shape import broadcast_to, concat, flip, permute_dims, reshape
from dfc.frontend.promotion import broadcast_shapes, holds_tensors, tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir import locations
from dfc.ir.dims import Dim, Shape, SymbolicDim, ceildiv
from dfc.ir.dtypes import bool_
from dfc.ir.ops.shape import Slice, shape_text

ALL = ("slice", None, None, None)
Key = tuple[Any, ...]
"""A key as operations take it: None, Ellipsis where one stands for no axis, ints, ("slice", start, stop, step), and
arrays of integers, NumPy's or tensors. But for None and Ellipsis there is one entry an axis."""


@operation
def _getitem(x: Operand, key: Key) -> Tensor:
    trace = current()
    assert trace is not None
    tensor = tensor_in(trace, x)
    try:
        return _read(trace, tensor, key)
    except DfcError as error:
        raise error.at(op="getitem", location=locations.describe(locations.capture())) from None


def getitem(x: Operand, key: Any) -> Tensor:
    """x[key], by NumPy's rules.

    Ints, slices, None and Ellipsis give a part of x. Arrays of integers (tensors, NumPy arrays, lists) broadcast, and
    pick elements: their axes stand in the place of the axes they index if these are next to each other, ints among
    them, else first. A mask whose value is known stands for the indices of what is true in it. Negative indices count
    from the end.

    On an axis of symbolic size, the bounds of slices are not clamped: they must lie within the axis, and a negative
    step goes over all of it. Raises OutOfRange for an index outside its axis that is known (of one that isn't, the
    elements are zeros), InvalidArgument for too many indices, InvalidType for other keys and for masks that aren't
    known.
    """
    return _getitem(x, normalized(key, shape_of(x), "getitem"))


def shape_of(x: Operand) -> Shape:
    """The shape of an operand."""
    shape = getattr(x, "shape", None)
    return tuple(np.shape(x)) if shape is None else tuple(shape)


# ---- keys


def normalized(key: Any, shape: Shape, op: str) -> Key:
    """The key with an entry for each axis; see `Key`."""
    try:
        entries = _expanded([_entry(e) for e in (key if isinstance(key, tuple) else (key,))], shape)
        found: list[Any] = []
        axis = 0
        for entry in entries:
            if isinstance(entry, np.ndarray) and entry.dtype == bool:
                found += _of_mask(entry, shape, axis)
                axis += entry.ndim
                continue
            is_axis = entry is not None and entry is not Ellipsis
            if isinstance(entry, np.ndarray):
                entry = _in_axis(entry, shape[axis], axis)
            elif is_axis and not isinstance(entry, tuple | Tensor):
                entry = _position(entry, shape[axis], axis)
            found.append(entry)
            axis += is_axis
        return tuple(found)
    except DfcError as error:
        raise error.at(op=op, location=locations.describe(locations.capture())) from None


def _entry(entry: Any) -> Any:
    """One entry of the user's key: arrays as NumPy arrays or tensors, slices as tuples (they have no hash before
    Python 3.12)."""
    if entry is None or entry is Ellipsis or isinstance(entry, SymbolicDim):
        return entry
    if isinstance(entry, slice):
        return ("slice", *(_bound(e) for e in (entry.start, entry.stop, entry.step)))
    if hasattr(entry, "__dfc_tensor__"):
        entry = entry.__dfc_tensor__()
    if isinstance(entry, list | tuple) and holds_tensors(entry):
        trace = current()
        entry = interop.to_tensor(entry) if trace is None else tensor_in(trace, entry)
    if isinstance(entry, Tensor):
        return _of_tensor(entry)
    if isinstance(entry, bool | np.bool_):
        return np.asarray(entry)
    if isinstance(entry, list | tuple) or (interop.is_array(entry) and not isinstance(entry, np.generic)):
        array = interop.to_numpy(entry)
        if array.size == 0 and isinstance(entry, list | tuple):
            return array.astype(np.int32)
        if array.dtype != bool and array.dtype.kind not in "iu":
            raise InvalidType(f"an array of indices must be of integers or booleans, got {array.dtype}")
        return array
    return _bound(entry)


def _of_tensor(entry: Tensor) -> Any:
    if entry.dtype is bool_:
        if entry._trace is not None:
            raise InvalidType(
                "a mask gives a result whose size is data, so its value must be known while tracing",
                hint="use dfc.where(mask, x, y), or dfc.nonzero(mask, size=n) and dfc.take",
            )
        return entry.numpy()
    if not entry.dtype.is_integer:
        raise InvalidType(f"an array of indices must be of integers or booleans, got {entry.dtype}")
    return entry


def _bound(value: Any) -> Any:
    if value is None or isinstance(value, SymbolicDim):
        return value
    if isinstance(value, Tensor) and value._trace is not None:
        raise InvalidType(
            "the bounds of a slice must be known while tracing",
            hint="use dfc.dynamic_slice(x, starts, sizes), whose starts are data",
        )
    try:
        return operator.index(value)
    except TypeError:
        raise InvalidType(f"an index is an int, a slice, None, ... or an array, got {value!r}") from None


def _expanded(entries: list[Any], shape: Shape) -> list[Any]:
    """The entries with slices in the place of Ellipsis and at the end, so that every axis has one. An Ellipsis for no
    axis stays: it keeps arrays on its sides apart."""
    used = sum(_n_axes(entry) for entry in entries)
    if used > len(shape):
        raise InvalidArgument(f"{used} indices are too many for shape {shape_text(shape)}")
    dots = [i for i, entry in enumerate(entries) if entry is Ellipsis]
    if len(dots) > 1:
        raise InvalidArgument("an index can have one ... only")
    rest: list[Any] = [ALL] * (len(shape) - used)
    if not dots:
        return [*entries, *rest]
    return [*entries[: dots[0]], *(rest or [Ellipsis]), *entries[dots[0] + 1 :]]


def _n_axes(entry: Any) -> int:
    """How many axes an entry stands for."""
    if entry is None or entry is Ellipsis:
        return 0
    return entry.ndim if isinstance(entry, np.ndarray) and entry.dtype == bool else 1


def _of_mask(mask: np.ndarray[Any, Any], shape: Shape, axis: int) -> list[Any]:
    """A mask as arrays of indices, one an axis. One without axes is a new axis of size 1, and an index into it."""
    if mask.ndim == 0:
        return [("mask", bool(mask))]
    for i, length in enumerate(mask.shape):
        if shape[axis + i] != length:
            raise OutOfRange(
                f"the mask has size {length} along its axis {i}, but axis {axis + i} has size {shape[axis + i]}"
            )
    return [places.astype(np.int32) for places in np.nonzero(mask)]


def _in_axis(indices: np.ndarray[Any, Any], size: Dim, axis: int) -> np.ndarray[Any, Any]:
    """Known indices counted from the front, where the axis has a known size."""
    if not isinstance(size, int):
        return indices
    wide = indices.astype(np.int64)
    wrong = (wide < -size) | (wide >= size)
    if wrong.any():
        raise OutOfRange(f"index {wide[wrong][0]} is outside axis {axis} of size {size}")
    return np.where(wide < 0, wide + size, wide).astype(np.int32 if size < 2**31 else np.int64)


def _position(index: Dim, size: Dim, axis: int) -> Dim:
    if isinstance(index, int) and isinstance(size, int) and not -size <= index < size:
        raise OutOfRange(f"index {index} is outside axis {axis} of size {size}")
    return size + index if isinstance(index, int) and index < 0 else index


# ---- ranges of axes


def sliced(x: Tensor, entries: Sequence[Any]) -> Tensor:
    """x by ints, slices and None, one entry an axis."""
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
        if isinstance(entry, tuple):
            start, limit, stride, length = range_of(x.shape[axis], *entry[1:])
            if stride < 0:
                reversed_axes.append(axis)
            result.append(length)
        else:
            start, limit, stride = entry, entry + 1, 1
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


def range_of(size: Dim, start: Dim | None, stop: Dim | None, step: int | None) -> tuple[Dim, Dim, int, Dim]:
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


# ---- arrays of indices


def is_array(entry: Any) -> bool:
    return isinstance(entry, Tensor | np.ndarray)


def without_masks(x: Tensor, key: Key) -> tuple[Tensor, Key]:
    """x with an axis of size 1 for each mask without axes, and the key with an index into it in the mask's place."""
    found, shape, sizes = [], list[Dim](), iter(x.shape)
    for entry in key:
        if isinstance(entry, tuple) and entry[0] == "mask":
            shape.append(1)
            entry = np.zeros(int(entry[1]), np.int32)
        elif entry is not None and entry is not Ellipsis:
            shape.append(next(sizes))
        found.append(entry)
    return (x if len(shape) == x.ndim else reshape(x, tuple(shape))), tuple(found)


def place_of_arrays(key: Key) -> int:
    """The axis of the result at which the axes of arrays stand: that of the first if arrays and ints follow each other,
    else 0."""
    picked = [entry is not None and entry is not Ellipsis and not isinstance(entry, tuple) for entry in key]
    first, last = picked.index(True), len(picked) - 1 - picked[::-1].index(True)
    if not all(picked[first : last + 1]):
        return 0
    return sum(entry is not Ellipsis for entry in key[:first])


def indices_of(trace: Trace, x: Tensor, entries: Sequence[Any], axes: Sequence[int]) -> list[Tensor]:
    """Arrays as tensors of one shape and dtype, whose indices into these axes of x count from the front."""
    found = []
    for entry, axis in zip(entries, axes, strict=True):
        indices = tensor_in(trace, entry)
        counted = isinstance(entry, np.ndarray) and isinstance(x.shape[axis], int)  # by `_in_axis`
        found.append(indices if counted else from_front(x, indices, axis))
    shape = broadcast_shapes(*(i.shape for i in found))
    widest = max((i.dtype for i in found), key=lambda d: (d.bits, d.kind == "uint"))
    return [broadcast_to(astype(i, widest), shape) for i in found]


def stacked(indices: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape along a new last axis."""
    return concat([reshape(i, (*i.shape, 1)) for i in indices], axis=indices[0].ndim)


def _read(trace: Trace, x: Tensor, key: Key) -> Tensor:
    x, key = without_masks(x, key)
    if not any(is_array(entry) for entry in key):
        return sliced(x, [entry for entry in key if entry is not Ellipsis])
    whole = [ALL if is_array(entry) else entry for entry in key if entry is not Ellipsis]
    part, axes, entries = sliced(x, whole), list[int](), []
    axis = 0
    for entry in key:
        if is_array(entry):
            axes.append(axis)
            entries.append(entry)
        axis += entry is None or isinstance(entry, tuple) or is_array(entry)
    place = place_of_arrays(key)
    indices = indices_of(trace, part, entries, axes)
    if len(axes) == 1:
        found, at = take(part, indices[0], axis=axes[0]), axes[0]
    else:
        rest = [a for a in range(part.ndim) if a not in axes]
        in_front = axes == list(range(len(axes)))
        found = gather_nd(part if in_front else permute_dims(part, (*axes, *rest)), stacked(indices))
        at = 0
    return moved(found, at, place, indices[0].ndim)


def moved(x: Tensor, source: int, target: int, count: int) -> Tensor:
    """x with `count` axes that begin at `source` moved so that they begin at `target`."""
    if source == target or count == 0:
        return x
    block = list(range(source, source + count))
    rest = [a for a in range(x.ndim) if a not in block]
    return permute_dims(x, (*rest[:target], *block, *rest[target:]))
