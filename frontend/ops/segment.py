"""Sums and extremes over segments; partition and stitch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import interop, locality
from dfc.frontend.immediate import located, operation
from dfc.frontend.ops.elementwise import less, where
from dfc.frontend.ops.indexing import indices_in, take
from dfc.frontend.ops.shape import as_shape, error_here, reshape
from dfc.frontend.parts import Part
from dfc.frontend.promotion import result_type, tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir.dims import Dim
from dfc.ir.dtypes import int32
from dfc.ir.op import Op
from dfc.ir.ops import segment as ir
from dfc.ir.ops.indexing import position_text
from dfc.ir.ops.shape import Iota, shape_text
from dfc.ir.types import spec_of


def _trace() -> Trace:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    return trace


def known(value: Any) -> np.ndarray[Any, Any] | None:
    """The elements of what is known while tracing: arrays, numbers, nests of them, concrete tensors. Else None."""
    if isinstance(value, Part) or hasattr(value, "__dfc_tensor__"):
        return None
    if isinstance(value, Tensor):
        return value.numpy() if value._trace is None else None
    if isinstance(value, list | tuple) and any(known(item) is None for item in value):
        return None
    return interop.to_numpy(value)


# ---- segments


def _segment(name: str, cls: type[Op], data: Operand, segment_ids: Operand, num_segments: Any) -> Tensor:
    trace = _trace()
    rows, ids = tensor_in(trace, data), indices_in(trace, segment_ids, name)
    if ids.shape != rows.shape[: ids.ndim]:
        raise error_here(
            InvalidArgument,
            f"the shape of segment_ids must begin that of data, got {shape_text(ids.shape)} and "
            f"{shape_text(rows.shape)}",
            name,
        )
    return trace.emit(cls, (rows._value, ids._value), {"num_segments": as_shape(num_segments, name)})


def _count(name: str, segment_ids: Any, num_segments: Any) -> Any:
    """The number of segments: as given, or one more than the largest id where the ids are known."""
    if num_segments is not None:
        return num_segments
    ids = known(segment_ids)
    if ids is None:
        raise error_here(InvalidArgument, "num_segments must be given where the ids aren't known while tracing", name)
    return max(int(ids.max(initial=-1)) + 1, 0)


@operation
def _segment_sum(data: Operand, segment_ids: Operand, num_segments: Any) -> Tensor:
    return _segment("segment_sum", ir.SegmentSum, data, segment_ids, num_segments)


@located
def segment_sum(data: Operand, segment_ids: Operand, /, num_segments: Any = None) -> Tensor:
    """The sums of the rows of data with one id: shape (num_segments, *tail) for data of shape
    (*segment_ids.shape, *tail).

    Ids are integers in any order; rows with a negative one are left out, in compiled code those with an id of
    num_segments or more too. A segment without rows is 0. `num_segments` must be given where the ids aren't known while
    tracing; it is one more than the largest id otherwise.
    """
    return _segment_sum(data, segment_ids, _count("segment_sum", segment_ids, num_segments))


@operation
def _segment_prod(data: Operand, segment_ids: Operand, num_segments: Any) -> Tensor:
    return _segment("segment_prod", ir.SegmentProd, data, segment_ids, num_segments)


@located
def segment_prod(data: Operand, segment_ids: Operand, /, num_segments: Any = None) -> Tensor:
    """The products of the rows of data with one id, 1 for a segment without rows; see `segment_sum`."""
    return _segment_prod(data, segment_ids, _count("segment_prod", segment_ids, num_segments))


@operation
def _segment_min(data: Operand, segment_ids: Operand, num_segments: Any) -> Tensor:
    return _segment("segment_min", ir.SegmentMin, data, segment_ids, num_segments)


@located
def segment_min(data: Operand, segment_ids: Operand, /, num_segments: Any = None) -> Tensor:
    """The smallest of the rows of data with one id; without rows the dtype's largest number, infinity for floats. See
    `segment_sum`."""
    return _segment_min(data, segment_ids, _count("segment_min", segment_ids, num_segments))


@operation
def _segment_max(data: Operand, segment_ids: Operand, num_segments: Any) -> Tensor:
    return _segment("segment_max", ir.SegmentMax, data, segment_ids, num_segments)


@located
def segment_max(data: Operand, segment_ids: Operand, /, num_segments: Any = None) -> Tensor:
    """The largest of the rows of data with one id; without rows the dtype's smallest number, minus infinity for floats.
    See `segment_sum`."""
    return _segment_max(data, segment_ids, _count("segment_max", segment_ids, num_segments))


@operation
def _segment_mean(data: Operand, segment_ids: Operand, num_segments: Any) -> Tensor:
    trace = _trace()
    rows, ids = tensor_in(trace, data), indices_in(trace, segment_ids, "segment_mean")
    if not rows.dtype.is_inexact:
        raise error_here(InvalidType, f"data must be float or complex, got {rows.dtype}", "segment_mean")
    total = _segment("segment_mean", ir.SegmentSum, rows, ids, num_segments)
    one = trace.fill(1, int32, ids.shape)
    count = _segment("segment_mean", ir.SegmentSum, Tensor(one.type, trace, one), ids, num_segments)
    at_least_one = where(less(count, 1), 1, count)
    divisor = trace.convert(at_least_one._value, rows.dtype)
    aligned = reshape(Tensor(divisor.type, trace, divisor), (*count.shape, *[1] * (total.ndim - 1)))
    mean: Tensor = total / aligned
    return mean


@located
def segment_mean(data: Operand, segment_ids: Operand, /, num_segments: Any = None) -> Tensor:
    """The means of the rows of data, floating or complex, with one id, 0 for a segment without rows; see
    `segment_sum`."""
    return _segment_mean(data, segment_ids, _count("segment_mean", segment_ids, num_segments))


# ---- partition and stitch


@located
def dynamic_partition(data: Operand, partitions: Operand, num_partitions: int, /) -> list[Any]:
    """The rows of data by their partition: part i has those at which `partitions` is i, in their order.

    The shape of `partitions`, integers, begins that of data: (*partitions.shape, *tail). Where partitions are known,
    outside a trace or as a constant, the parts are tensors of shape (rows of the part, *tail), and a partition outside
    of [0, num_partitions) is InvalidArgument. In a trace where they are data each part is a `dfc.Part`: rows of shape
    (all rows, *tail) with the part at the front and zeros behind, and its length. One compiled program then holds for
    all splits; rows whose partition is out of range are left out.
    """
    if not isinstance(num_partitions, int) or num_partitions < 1:
        raise error_here(
            InvalidArgument, f"at least one partition is needed, got {num_partitions}", "dynamic_partition"
        )
    ids = known(partitions)
    if ids is None and current() is None:
        ids = interop.to_numpy(partitions)
    if ids is None:
        return _parts(data, partitions, num_partitions)
    if ids.dtype.kind not in "iu" and ids.size:
        raise error_here(InvalidType, f"partitions must be integers, got {ids.dtype}", "dynamic_partition")
    ir.require_partitions(ids, num_partitions)
    if current() is None:
        rows = interop.to_numpy(data)
        _require_prefix(ids.shape, rows.shape)
        device = locality.beside(data)
        return [interop.put(rows[ids == i], device) for i in range(num_partitions)]
    given = tensor_in(_trace(), data)
    _require_prefix(ids.shape, given.shape)
    flat = reshape(given, (ids.size, *given.shape[ids.ndim :]))
    return [take(flat, np.flatnonzero(ids == i).astype(np.int32), axis=0) for i in range(num_partitions)]


def _require_prefix(ids: Sequence[Dim], data: Sequence[Dim]) -> None:
    if tuple(data[: len(ids)]) != tuple(ids):
        raise error_here(
            InvalidArgument,
            f"the shape of partitions must begin that of data, got {shape_text(tuple(ids))} and "
            f"{shape_text(tuple(data))}",
            "dynamic_partition",
        )


def _parts(data: Operand, partitions: Operand, count: int) -> list[Part]:
    trace = _trace()
    rows, ids = tensor_in(trace, data), indices_in(trace, partitions, "dynamic_partition")
    _require_prefix(ids.shape, rows.shape)
    made = trace.emit_op(ir.DynamicPartition, (rows._value, ids._value), {"num_partitions": count})
    *buffers, counts = (Tensor(v.type, trace, v) for v in made.results)
    return [Part(buffer, counts[i]) for i, buffer in enumerate(buffers)]


@located
def dynamic_stitch(indices: Sequence[Any], data: Sequence[Any], /, *, size: Any = None) -> Tensor:
    """Rows brought to the places that indices name: merged[indices[m][i ...]] = data[m][i ...].

    `indices` and `data` are lists of equally many; data[m] has shape (*indices[m].shape, *tail). Of equal indices the
    last one wins, within one of them and among them; rows that none names are zeros. The result has shape
    (size, *tail), where `size` is one more than the largest index if all are known. Where they aren't, in a trace, it
    must be given, but for parts (`dfc.Part`), where it is the number of rows that they are parts of.

    Raises InvalidArgument for a negative index that is known and for shapes that don't fit. An index that isn't known
    and is outside of [0, size) is left out.
    """
    if not indices or len(indices) != len(data):
        raise error_here(
            InvalidArgument, f"as many data as indices are needed, got {len(indices)} and {len(data)}", "dynamic_stitch"
        )
    places = [_known_indices(i, m) for m, i in enumerate(indices)]
    if all(p is not None for p in places):
        size = max(int(p.max(initial=-1)) for p in places if p is not None) + 1 if size is None else size
    elif size is None:
        if not all(isinstance(i, Part) for i in indices):
            raise error_here(
                InvalidArgument, "the size must be given where indices aren't known while tracing", "dynamic_stitch"
            )
        size = indices[0].rows.shape[0]
    given = [i if p is None else p for i, p in zip(indices, places, strict=True)]
    if current() is None:
        return _stitched_now(given, data, int(size))
    return _stitch(given, data, size)


def _known_indices(indices: Any, which: int) -> np.ndarray[Any, Any] | None:
    """Indices that are known, checked."""
    if isinstance(indices, Part) and indices.rows._trace is None:  # a compiled function gave it
        return interop.to_numpy(indices.rows)[: int(indices.length)]
    array = interop.to_numpy(indices) if current() is None else known(indices)
    if array is None:
        return None
    if array.size == 0:
        return array.astype(np.int32)
    if array.dtype.kind not in "iu":
        raise error_here(InvalidType, f"indices must be integers, got {array.dtype}", "dynamic_stitch")
    if (array < 0).any():
        at = tuple(int(i) for i in np.argwhere(array < 0)[0])
        text = position_text(f"indices[{which}]", at)
        raise error_here(InvalidArgument, f"{text} = {array[at]} is out of range", "dynamic_stitch")
    return array


def _require_shapes(indices: Sequence[Sequence[Dim]], data: Sequence[Sequence[Dim]]) -> None:
    """Raise InvalidArgument unless data[m] has shape (*indices[m], *tail) with one tail."""
    for m, (place, rows) in enumerate(zip(indices, data, strict=True)):
        if tuple(rows[: len(place)]) != tuple(place) or rows[len(place) :] != data[0][len(indices[0]) :]:
            raise error_here(
                InvalidArgument,
                f"data[{m}] must have the shape of indices[{m}], {shape_text(tuple(place))}, and then "
                f"{shape_text(tuple(data[0][len(indices[0]) :]))}, got {shape_text(tuple(rows))}",
                "dynamic_stitch",
            )


def _stitched_now(indices: Sequence[Any], data: Sequence[Any], size: int) -> Tensor:
    rows = []
    for index, each in zip(indices, data, strict=True):
        whole = interop.to_numpy(each.rows)[: len(index)] if isinstance(each, Part) else interop.to_numpy(each)
        rows.append(whole)
    _require_shapes([i.shape for i in indices], [r.shape for r in rows])
    dtype = result_type(*(r.dtype for r in rows))
    merged = np.zeros((size, *rows[0].shape[indices[0].ndim :]), dtype.numpy)
    for index, each in zip(indices, rows, strict=True):
        kept = index < size
        merged[index[kept]] = each[kept]
    return interop.put(merged, locality.beside(*(each.rows if isinstance(each, Part) else each for each in data)))


def _stitch(indices: Sequence[Any], data: Sequence[Any], size: Any) -> Tensor:
    trace = _trace()
    places = [_masked(trace, i) for i in indices]
    rows = [tensor_in(trace, d.rows if isinstance(d, Part) else d) for d in data]
    _require_shapes([p.shape for p in places], [r.shape for r in rows])
    dtype = result_type(*rows)
    values = [*(p._value for p in places), *(trace.convert(r._value, dtype) for r in rows)]
    return trace.emit(ir.DynamicStitch, values, {"size": as_shape(size, "dynamic_stitch")})


def _masked(trace: Trace, indices: Any) -> Tensor:
    """Indices with -1, which names no row, in the padding of a part."""
    if not isinstance(indices, Part):
        return indices_in(trace, indices, "dynamic_stitch")
    rows = indices_in(trace, indices.rows, "dynamic_stitch")
    if rows.ndim != 1:
        spec = spec_of(rows._type)
        raise error_here(InvalidArgument, f"the indices of a part are a vector, got {spec}", "dynamic_stitch")
    numbers = trace.emit(Iota, (), {"shape": rows.shape, "dtype": int32, "axis": 0})
    return where(less(numbers, indices.length), rows, -1)
