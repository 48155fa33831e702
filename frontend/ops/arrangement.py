"""Other arrangements of the elements: rolled, repeated, padded by their own, diagonals and triangles.

All are made of operations on shapes and indices, and hold for symbolic sizes but where they say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument
from dfc.frontend.immediate import operation
from dfc.frontend.ops.elementwise import maximum, minimum, remainder, where
from dfc.frontend.ops.indexing import gather_nd, take
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.shape import (
    axes_in,
    axis_in,
    broadcast_to,
    concat,
    dim_size,
    error_here,
    expand_dims,
    pad_pairs,
    padded_by,
    permute_dims,
    reshape,
    split,
    squeeze,
)
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir.dims import Dim
from dfc.ir.dtypes import int32
from dfc.ir.ops.shape import Iota, Roll, Tile, shape_text
from dfc.ir.types import spec_of


def _own(x: Operand) -> tuple[Trace, Tensor]:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    return trace, tensor_in(trace, x)


def _iota(trace: Trace, shape: tuple[Dim, ...], axis: int) -> Tensor:
    return trace.emit(Iota, (), {"shape": shape, "dtype": int32, "axis": axis})


# ---- axes


@operation
def moveaxis(x: Operand, source: int | Sequence[int], destination: int | Sequence[int], /) -> Tensor:
    """x with the axes `source` at the places `destination`; the others stay in order."""
    _, tensor = _own(x)
    pairs = []
    for axes in (source, destination):
        given = (axes,) if isinstance(axes, int) else tuple(axes)
        axes_in(given, tensor.ndim, "moveaxis")  # distinct
        pairs.append([axis_in(a, tensor.ndim, "moveaxis") for a in given])
    if len(pairs[0]) != len(pairs[1]):
        raise error_here(
            InvalidArgument, f"as many destinations as sources are needed, got {source} and {destination}", "moveaxis"
        )
    order = [a for a in range(tensor.ndim) if a not in pairs[0]]
    for place, axis in sorted(zip(pairs[1], pairs[0], strict=True)):
        order.insert(place, axis)
    return permute_dims(tensor, order)


@operation
def swapaxes(x: Operand, axis1: int, axis2: int, /) -> Tensor:
    """x with two axes exchanged."""
    _, tensor = _own(x)
    a, b = (axis_in(axis, tensor.ndim, "swapaxes") for axis in (axis1, axis2))
    order = list(range(tensor.ndim))
    order[a], order[b] = b, a
    return permute_dims(tensor, order)


@operation
def unstack(x: Operand, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The parts of x along one axis, which is gone from them; its size must be known while tracing."""
    _, tensor = _own(x)
    at = axis_in(axis, tensor.ndim, "unstack")
    count = tensor.shape[at]
    if not isinstance(count, int):
        raise error_here(
            InvalidArgument, f"the size of axis {at} must be known, got {spec_of(tensor._type)}", "unstack"
        )
    return tuple(squeeze(part, at) for part in split(tensor, count, axis=at)) if count else ()


@operation
def meshgrid(*arrays: Operand, indexing: str = "xy") -> list[Tensor]:
    """Vectors, or scalars, as coordinates of a grid: as many tensors, each of them repeated along the others' axes. The
    first two axes are exchanged with `indexing="xy"`, as for plots, and aren't with `"ij"`."""
    if indexing not in ("xy", "ij"):
        raise error_here(InvalidArgument, f"indexing must be 'xy' or 'ij', got {indexing!r}", "meshgrid")
    tensors = [_own(a)[1] for a in arrays]
    for t in tensors:
        if t.ndim > 1:
            raise error_here(InvalidArgument, f"vectors are needed, got shape {shape_text(t.shape)}", "meshgrid")
    rank = len(tensors)
    places = [1, 0, *range(2, rank)] if indexing == "xy" and rank > 1 else list(range(rank))
    sides = [reshape(t, tuple(-1 if a == p else 1 for a in range(rank))) for t, p in zip(tensors, places, strict=True)]
    shape = tuple(sides[places.index(a)].shape[a] for a in range(rank))
    return [broadcast_to(side, shape) for side in sides]


# ---- repetition


@operation
def repeat(x: Operand, repeats: int | Sequence[int], /, *, axis: int | None = None) -> Tensor:
    """Each element along `axis` (None: of x flattened) `repeats` times, one number for all or one for each, in which
    case the size of the axis must be known."""
    _, tensor = _own(x)
    if axis is None:
        tensor, axis = reshape(tensor, (-1,)), 0
    at = axis_in(axis, tensor.ndim, "repeat")
    length, counts = tensor.shape[at], np.asarray(repeats)
    if counts.dtype.kind not in "iu" or (counts < 0).any() or counts.ndim > 1:
        raise error_here(InvalidArgument, f"repeats must be ints that aren't negative, got {repeats}", "repeat")
    if counts.size == 1:
        times = int(counts.reshape(()))
        wide = broadcast_to(expand_dims(tensor, axis=at + 1), (*tensor.shape[: at + 1], times, *tensor.shape[at + 1 :]))
        return reshape(wide, (*tensor.shape[:at], length * times, *tensor.shape[at + 1 :]))
    if length != len(counts):
        raise error_here(
            InvalidArgument, f"one repeat for each of {length} elements is needed, got {len(counts)}", "repeat"
        )
    return take(tensor, np.repeat(np.arange(len(counts), dtype=np.int32), counts), axis=at)


@operation
def tile(x: Operand, repetitions: int | Sequence[int], /) -> Tensor:
    """x `repetitions` times one after another along each axis; missing numbers in front are 1, and so are missing
    axes of x."""
    _, tensor = _own(x)
    given = (repetitions,) if isinstance(repetitions, int) else tuple(repetitions)
    if any(not isinstance(n, int | np.integer) or n < 0 for n in given):
        raise error_here(InvalidArgument, f"repetitions must be ints that aren't negative, got {repetitions}", "tile")
    rank = max(len(given), tensor.ndim)
    times = (*[1] * (rank - len(given)), *(int(n) for n in given))
    shape = (*[1] * (rank - tensor.ndim), *tensor.shape)
    if all(n == 1 for n in times):
        return reshape(tensor, shape)
    trace, wide = _own(reshape(tensor, shape))
    return trace.emit(Tile, (wide._value,), {"repetitions": times})


@operation
def roll(x: Operand, shift: Any, /, *, axis: int | Sequence[int] | None = None) -> Tensor:
    """x moved by `shift` places along `axis`, with what leaves at the end coming in at the front; axis None moves the
    flattened elements. Several axes have a shift each or one for all. A shift is an int or an integer scalar tensor."""
    trace, tensor = _own(x)
    if axis is None:
        return reshape(roll(reshape(tensor, (-1,)), shift, axis=0), tensor.shape)
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    axes = [axis_in(a, tensor.ndim, "roll") for a in given]
    shifts = list(shift) if isinstance(shift, list | tuple) else [shift] * len(axes)
    if len(shifts) == 1:
        shifts = shifts * len(axes)
    if len(axes) == 1:
        axes = axes * len(shifts)
    if len(shifts) != len(axes):
        raise error_here(InvalidArgument, f"one shift an axis is needed, got {shift} for {axis}", "roll")
    known: dict[int, int] = {}
    for by, at in zip(shifts, axes, strict=True):
        if isinstance(by, int):
            known[at] = known.get(at, 0) + by
        else:
            tensor = _rolled(tensor, by, at)
    if not any(known.values()):
        return tensor
    return trace.emit(Roll, (tensor._value,), {"shifts": tuple(known.values()), "axes": tuple(known)})


def _rolled(x: Tensor, by: Any, axis: int) -> Tensor:
    length = x.shape[axis]
    if length == 0:
        return x
    trace, _ = _own(x)
    places = remainder(_iota(trace, (length,), 0) - by, dim_size(x, axis))
    return take(x, places, axis=axis)


# ---- padding


@operation
def pad(x: Operand, /, pad_width: Any, *, mode: str = "constant", constant_values: Any = 0) -> Tensor:
    """x with elements put around it: (before, after) for each axis, or one such pair or int for all.

    The mode says which: "constant" (`constant_values`), "edge" (the outermost ones again), "reflect" (mirrored at the
    outermost element), "symmetric" (mirrored behind it), "wrap" (from the other end). Raises InvalidArgument for other
    modes, for widths that don't fit the axes, and for an empty axis where there is nothing to take.
    """
    _, tensor = _own(x)
    pairs = pad_pairs(pad_width, tensor.ndim)
    if mode == "constant":
        return padded_by(tensor, pairs, constant_values)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise error_here(
            InvalidArgument, f"mode must be constant, edge, reflect, symmetric or wrap, got {mode!r}", "pad"
        )
    for axis, (low, high) in enumerate(pairs):
        if low or high:
            tensor = take(tensor, _padding(tensor, axis, low, high, mode), axis=axis)
    return tensor


def _padding(x: Tensor, axis: int, low: int, high: int, mode: str) -> Any:
    """Which element along the axis stands at each place of the padded one."""
    length = x.shape[axis]
    if isinstance(length, int):
        if length == 0:
            raise error_here(InvalidArgument, f"mode {mode!r} can't fill the empty axis {axis}", "pad")
        modes: Any = mode
        return np.pad(np.arange(length, dtype=np.int32), (low, high), mode=modes)
    trace, _ = _own(x)
    n = dim_size(x, axis)
    places = _iota(trace, (length + low + high,), 0) - low
    if mode == "edge":
        return minimum(maximum(places, 0), n - 1)
    if mode == "wrap":
        return remainder(places, n)
    period = maximum(2 * n - 2, 1) if mode == "reflect" else 2 * n
    places = remainder(places, period)
    mirrored = 2 * n - 2 - places if mode == "reflect" else 2 * n - 1 - places
    return minimum(places, where(mirrored < 0, 0, mirrored))


# ---- diagonals and triangles


@operation
def band_part(x: Operand, lower: int, upper: int, /) -> Tensor:
    """The last two axes with zeros outside of a band: `lower` diagonals below the main one and `upper` above it stay;
    a negative number keeps all of them."""
    _, tensor = _own(x)
    return _band(tensor, None if lower < 0 else -lower, None if upper < 0 else upper, "band_part")


@operation
def tril(x: Operand, /, *, k: int = 0) -> Tensor:
    """The last two axes with zeros above the k-th diagonal; 0 is the main one, those above it are positive."""
    return _band(_own(x)[1], None, k, "tril")


@operation
def triu(x: Operand, /, *, k: int = 0) -> Tensor:
    """The last two axes with zeros below the k-th diagonal; 0 is the main one, those above it are positive."""
    return _band(_own(x)[1], k, None, "triu")


def _band(x: Tensor, first: int | None, last: int | None, op: str) -> Tensor:
    """Zeros where column - row is outside of [first, last]; None is no bound."""
    trace = _require_matrix(x, op)
    shape = x.shape[-2:]
    offset = _iota(trace, shape, 1) - _iota(trace, shape, 0)
    zeros = trace.fill(0, x.dtype, x.shape)
    result = x
    for keeps in [None if first is None else offset >= first, None if last is None else offset <= last]:
        if keeps is not None:
            result = where(keeps, result, Tensor(zeros.type, trace, zeros))
    return result


def _require_matrix(x: Tensor, op: str) -> Trace:
    if x.ndim < 2:
        raise error_here(InvalidArgument, f"at least two axes are needed, got {spec_of(x._type)}", op)
    assert x._trace is not None
    return x._trace


@operation
def diagonal(x: Operand, /, *, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """The elements of two axes whose index in `axis2` is that in `axis1` plus `offset`, as the last axis; the others
    stay in order. Symbolic sizes must be equal."""
    trace, tensor = _own(x)
    _require_matrix(tensor, "diagonal")
    axes = axis_in(axis1, tensor.ndim, "diagonal"), axis_in(axis2, tensor.ndim, "diagonal")
    if axes[0] == axes[1]:
        raise error_here(InvalidArgument, f"two different axes are needed, got {axis1} and {axis2}", "diagonal")
    rows, columns = (tensor.shape[a] for a in axes)
    if isinstance(rows, int) and isinstance(columns, int):
        length: Dim = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    elif rows == columns:
        length = rows - abs(offset)
    else:
        raise error_here(
            InvalidArgument, f"sizes that aren't known must be equal, got {rows} and {columns}", "diagonal"
        )
    numbers = reshape(_iota(trace, (length,), 0), (length, 1))
    places = concat([numbers + max(-offset, 0), numbers + max(offset, 0)], axis=1)
    found = gather_nd(moveaxis(tensor, axes, (0, 1)), places)
    return moveaxis(found, 0, -1)


@operation
def matrix_diag(x: Operand, /, *, k: int = 0) -> Tensor:
    """Matrices with the vectors of the last axis on their k-th diagonal and zeros elsewhere: (..., n) becomes
    (..., n + |k|, n + |k|)."""
    trace, tensor = _own(x)
    if not tensor.ndim:
        raise error_here(InvalidArgument, f"at least one axis is needed, got {spec_of(tensor._type)}", "matrix_diag")
    side = tensor.shape[-1] + abs(k)
    padded = padded_by(tensor, [(0, 0)] * (tensor.ndim - 1) + [(0, abs(k))], 0)
    wide = broadcast_to(expand_dims(padded, axis=-2 if k < 0 else -1), (*tensor.shape[:-1], side, side))
    zeros = trace.fill(0, tensor.dtype, wide.shape)
    hit = _iota(trace, (side, side), 1) - _iota(trace, (side, side), 0) == k
    return where(hit, wide, Tensor(zeros.type, trace, zeros))


@operation
def diag(x: Operand, /, *, k: int = 0) -> Tensor:
    """Of a vector the matrix with it on the k-th diagonal, of a matrix that diagonal."""
    _, tensor = _own(x)
    if tensor.ndim not in (1, 2):
        raise error_here(
            InvalidArgument,
            f"a vector or a matrix is needed, got {spec_of(tensor._type)}",
            "diag",
            hint="use dfc.diagonal or dfc.matrix_diag for more axes",
        )
    return matrix_diag(tensor, k=k) if tensor.ndim == 1 else diagonal(tensor, offset=k)


@operation
def trace(x: Operand, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sum of the diagonal of the last two axes; see `diagonal` and `sum`."""
    return reduce_sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)
