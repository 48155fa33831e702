"""`x.at[key].set(values)` and its like: a new tensor that differs from x where x[key] reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfc.errors import DfcError, InvalidArgument, InvalidType
from dfc.frontend import promotion
from dfc.frontend.immediate import operation
from dfc.frontend.indexing import (
    ALL,
    Key,
    getitem,
    indices_of,
    is_array,
    moved,
    normalized,
    place_of_arrays,
    range_of,
    stacked,
    without_masks,
)
from dfc.frontend.ops.elementwise import astype, maximum, minimum
from dfc.frontend.ops.shape import broadcast_to, flip, permute_dims, reshape
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir import locations
from dfc.ir.dims import Dim, Shape, SymbolicDim
from dfc.ir.dtypes import int32
from dfc.ir.ops import indexing as ir
from dfc.ir.ops.shape import Iota, Slice, shape_text

SCATTERS: dict[str, type[ir.TensorScatter]] = {
    "set": ir.TensorScatterUpdate,
    "add": ir.TensorScatterAdd,
    "multiply": ir.TensorScatterMul,
    "min": ir.TensorScatterMin,
    "max": ir.TensorScatterMax,
}


class Updates:
    """What `x.at` gives: `x.at[key]`, then one of the methods of `Update`."""

    __slots__ = ("_tensor",)

    def __init__(self, tensor: Operand) -> None:
        self._tensor = tensor

    def __getitem__(self, key: Any) -> Update:
        return Update(self._tensor, key)


class Update:
    """A part of a tensor that a new tensor is to have otherwise; x itself stays as it is.

    Values broadcast to the shape of x[key], in a dtype that x's holds. Keys are those of x[key]; where arrays name an
    element more than once, `set` leaves the last value and the others take all of them. Raises what x[key] raises,
    InvalidArgument for values that don't broadcast and InvalidType for values of a wider dtype.
    """

    __slots__ = ("_key", "_tensor")

    def __init__(self, tensor: Operand, key: Any) -> None:
        self._tensor, self._key = tensor, key

    def get(self) -> Tensor:
        """x[key]."""
        return getitem(self._tensor, self._key)

    def set(self, values: Operand) -> Tensor:
        """x with `values` at the key."""
        return self._updated(values, "set")

    def add(self, values: Operand) -> Tensor:
        """x with `values` added at the key."""
        return self._updated(values, "add")

    def multiply(self, values: Operand) -> Tensor:
        """x multiplied by `values` at the key."""
        return self._updated(values, "multiply")

    def min(self, values: Operand) -> Tensor:
        """x with the smaller of itself and `values` at the key."""
        return self._updated(values, "min")

    def max(self, values: Operand) -> Tensor:
        """x with the larger of itself and `values` at the key."""
        return self._updated(values, "max")

    def _updated(self, values: Operand, how: str) -> Tensor:
        key = normalized(self._key, self._tensor.shape, f"at[...].{how}")
        return _update(self._tensor, key, values, how)


@operation
def _update(x: Operand, key: Key, values: Operand, how: str) -> Tensor:
    trace = current()
    assert trace is not None
    try:
        tensor = tensor_in(trace, x)
        given = promotion.lift(trace, values)
        if promotion.result_type(tensor, given) is not tensor.dtype:
            got = given.dtype if isinstance(given, Tensor) else repr(given)
            raise InvalidType(f"values must fit into {tensor.dtype}, got {got}", hint="convert with dfc.astype")
        value = trace.convert(tensor_in(trace, values, tensor.dtype)._value, tensor.dtype)
        new = Tensor(value.type, trace, value)
        whole, key = without_masks(tensor, key)
        if any(is_array(entry) for entry in key) or not _is_window(whole, key):
            result = _scattered(trace, whole, key, new, how)
        else:
            result = _windowed(trace, whole, key, new, how)
        return result if result.shape == tensor.shape else reshape(result, tensor.shape)
    except DfcError as error:
        raise error.at(op=f"at[...].{how}", location=locations.describe(locations.capture())) from None


def _is_window(x: Tensor, key: Key) -> bool:
    """Whether the key names elements next to each other along every axis."""
    entries = [entry for entry in key if entry is not None and entry is not Ellipsis]
    ranges = [range_of(n, *e[1:])[2] for e, n in zip(entries, x.shape, strict=True) if isinstance(e, tuple)]
    return all(abs(stride) == 1 for stride in ranges)


def _windowed(trace: Trace, x: Tensor, key: Key, values: Tensor, how: str) -> Tensor:
    """A key of ints, slices with steps of 1 and -1 and None: the window is replaced."""
    starts: list[Dim] = []
    sizes: list[Dim] = []
    result: list[Dim] = []
    reversed_axes: list[int] = []
    for entry in key:
        if entry is None:
            result.append(1)
        elif isinstance(entry, tuple):
            start, _, stride, length = range_of(x.shape[len(starts)], *entry[1:])
            if stride < 0:
                reversed_axes.append(len(starts))
            starts.append(start)
            sizes.append(length)
            result.append(length)
        elif entry is not Ellipsis:
            starts.append(entry)
            sizes.append(1)
    new = reshape(_fitted(values, tuple(result)), tuple(sizes))
    if reversed_axes:
        new = flip(new, axis=tuple(reversed_axes))
    if how != "set":
        limits = tuple(a + n for a, n in zip(starts, sizes, strict=True))
        attributes = {"starts": tuple(starts), "limits": limits, "strides": (1,) * x.ndim}
        new = _combined(how, trace.emit(Slice, (x._value,), attributes), new)
    if new.shape == x.shape:
        return new
    places = [_scalar(trace, start) for start in starts]
    return trace.emit(ir.DynamicUpdateSlice, (x._value, new._value, *(p._value for p in places)))


def _fitted(values: Tensor, shape: Shape) -> Tensor:
    """The values in the shape of x[key]."""
    if len(values.shape) > len(shape) or any(
        a not in (1, b) for a, b in zip(values.shape[::-1], shape[::-1], strict=False)
    ):
        raise InvalidArgument(
            f"values of shape {shape_text(values.shape)} don't broadcast to {shape_text(shape)}, the shape of x[key]"
        )
    return broadcast_to(values, shape)


def _combined(how: str, old: Tensor, new: Tensor) -> Tensor:
    if how == "add":
        return old + new
    if how == "multiply":
        return old * new
    return minimum(old, new) if how == "min" else maximum(old, new)


def _scalar(trace: Trace, position: Dim) -> Tensor:
    return promotion.dim_value(trace, position) if isinstance(position, SymbolicDim) else tensor_in(trace, position)


def _scattered(trace: Trace, x: Tensor, key: Key, values: Tensor, how: str) -> Tensor:
    """Any key: the axes that it does not take whole become the first ones, and each element of the result has an index
    along each of them."""
    arrays: list[Any] = []  # of indices, ints among them
    array_axes: list[int] = []
    cuts: list[Tensor] = []  # the indices of slices
    cut_axes: list[int] = []
    whole_axes: list[int] = []
    tokens: list[int | None] = []  # what the axes of x[key] are but for those of arrays: an axis of x or a new one
    result: list[Dim] = []
    axis = 0
    for entry in key:
        if entry is None:
            tokens.append(None)
            result.append(1)
            continue
        if entry is Ellipsis:
            continue
        if not isinstance(entry, tuple):
            arrays.append(entry)
            array_axes.append(axis)
        else:
            start, limit, stride, length = range_of(x.shape[axis], *entry[1:])
            tokens.append(axis)
            result.append(length)
            if entry == ALL:
                whole_axes.append(axis)
            else:
                cut_axes.append(axis)
                cuts.append(_positions(trace, start, limit, stride, length))
        axis += 1
    given = [a if is_array(a) else _scalar(trace, a) for a in arrays]
    picked = indices_of(trace, x, given, array_axes) if arrays else []
    block = picked[0].shape if picked else ()
    place = place_of_arrays(key) if picked else 0
    new = moved(_fitted(values, (*result[:place], *block, *result[place:])), place, 0, len(block))
    # Its axes are now those of arrays, then the tokens'.
    kept = [t for t in tokens if t is not None]
    new = reshape(new, (*block, *(d for d, t in zip(result, tokens, strict=True) if t is not None)))
    order = [len(block) + kept.index(a) for a in (*cut_axes, *whole_axes)]
    new = permute_dims(new, (*range(len(block)), *order))
    front = (*array_axes, *cut_axes, *whole_axes)
    turned = x if front == tuple(range(x.ndim)) else permute_dims(x, front)
    rows = _grid(picked, block, cuts)
    attributes = {"unique": not any(is_array(a) for a in arrays)} if how == "set" else {}
    written = trace.emit(SCATTERS[how], (turned._value, rows._value, new._value), attributes)
    back = tuple(int(i) for i in np.argsort(front))
    return written if turned is x else permute_dims(written, back)


def _positions(trace: Trace, start: Dim, limit: Dim, stride: int, length: Dim) -> Tensor:
    """The indices that a slice names, in its order."""
    numbers = trace.emit(Iota, (), {"shape": (length,), "dtype": int32, "axis": 0})
    if stride < 0:  # the range was given upwards
        return _scalar(trace, limit) - 1 + numbers * stride
    return numbers * stride + _scalar(trace, start)


def _grid(picked: list[Tensor], block: tuple[Dim, ...], cuts: list[Tensor]) -> Tensor:
    """The indices of arrays and of slices for every element: shape (*block, *lengths of the slices, depth)."""
    shape = (*block, *(c.shape[0] for c in cuts))
    columns = [broadcast_to(reshape(p, (*block, *[1] * len(cuts))), shape) for p in picked]
    for i, cut in enumerate(cuts):
        sides: list[Dim] = [1] * len(shape)
        sides[len(block) + i] = cut.shape[0]
        columns.append(broadcast_to(reshape(cut, tuple(sides)), shape))
    dtype = promotion.result_type(*columns)
    return stacked([astype(c, dtype) for c in columns])
