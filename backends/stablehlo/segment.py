"""Emission of segments, partition and stitch: scatters, and one stable sort for a partition."""

from __future__ import annotations

from collections.abc import Sequence

from dfc.backends.stablehlo.elementwise import comparison
from dfc.backends.stablehlo.emit import Emitter, integer, integers
from dfc.backends.stablehlo.indexing import (
    gather,
    in_range,
    last_occurrences,
    positions,
    scatter,
    sort,
    with_last_axis,
)
from dfc.backends.stablehlo.rules import Rule, Value, rule
from dfc.ir.dims import size
from dfc.ir.dtypes import bool_, float32, int32
from dfc.ir.ops.segment import (
    DynamicPartition,
    DynamicStitch,
    Segment,
    SegmentMax,
    SegmentMin,
    SegmentProd,
    SegmentSum,
)
from dfc.ir.types import Spec, spec_of


def _segment(combine: str, *, wide: bool = False) -> Rule:
    """A rule that combines by `stablehlo.<combine>`; `wide` accumulates 16-bit floats in float32."""

    def emit(emitter: Emitter, op: Segment, operands: list[Value]) -> list[Value]:
        (data, ids), (shape, dtype) = operands, spec_of(op.result.type)
        inner = float32 if wide and dtype.is_floating and dtype.bits == 16 else dtype
        if inner is not dtype:
            data = emitter.create("stablehlo.convert", emitter.tensor(spec_of(op.data.type).shape, inner), [data])
        ids, spec = with_last_axis(emitter, ids, spec_of(op.segment_ids.type))
        empty = emitter.filled(op.identity(inner.numpy), shape, inner)
        result = scatter(emitter, empty, Spec(shape, inner), ids, spec, data, combine, False)
        if inner is not dtype:
            result = emitter.create("stablehlo.convert", emitter.type(op.result.type), [result])
        return [result]

    return emit


rule(SegmentSum)(_segment("add", wide=True))
rule(SegmentProd)(_segment("multiply", wide=True))
rule(SegmentMin)(_segment("minimum"))
rule(SegmentMax)(_segment("maximum"))


@rule(DynamicPartition)
def dynamic_partition(emitter: Emitter, op: DynamicPartition, operands: list[Value]) -> list[Value]:
    """The rows' numbers in the order of their partitions; a part is a window of them, of which the front is its own."""
    (data, partitions), count = operands, op.num_partitions.data
    buffer = spec_of(op.parts[0].type)
    rows = buffer.shape[0]
    assert isinstance(rows, int)
    if rows == 0:
        return [*[emitter.filled(0, *buffer)] * count, emitter.filled(0, (count,), int32)]
    data = emitter.create("stablehlo.reshape", emitter.tensor(*buffer), [data])
    ids, spec = _vector(emitter, partitions, spec_of(op.partitions.type), count)
    vector, flags = Spec((rows,), int32), emitter.tensor((rows,), bool_)
    column, column_spec = with_last_axis(emitter, ids, spec)
    valid = in_range(emitter, column, column_spec, [count])
    ids = emitter.create("stablehlo.select", emitter.tensor(*spec), [valid, ids, emitter.filled(count, *spec)])
    numbers = emitter.create("stablehlo.iota", emitter.tensor(*vector), [], {"iota_dimension": integer(0)})
    _, order = sort(emitter, [ids, numbers], [spec.dtype, int32], 1)
    longer = Spec((2 * rows,), int32)
    padded = _concatenate(emitter, [order, emitter.filled(rows, *vector)], longer)
    scalar = emitter.tensor((), int32)
    start, buffers, counts = emitter.scalar(0, int32), [], []
    for i in range(count):
        own = comparison(emitter, "EQ", spec.dtype, ids, emitter.filled(i, *spec), flags)
        ones = emitter.create("stablehlo.convert", emitter.tensor(*vector), [own])

        def add(values: Sequence[Value]) -> Sequence[Value]:
            return [emitter.create("stablehlo.add", scalar, values)]

        (here,) = emitter.reduce([ones], [emitter.scalar(0, int32)], [0], [scalar], add)
        sizes = {"slice_sizes": integers([rows])}
        window = emitter.create("stablehlo.dynamic_slice", emitter.tensor(*vector), [padded, start], sizes)
        everywhere = {"broadcast_dimensions": integers(())}
        limit = emitter.create("stablehlo.broadcast_in_dim", emitter.tensor(*vector), [here], everywhere)
        front = comparison(emitter, "LT", int32, numbers, limit, flags)
        nowhere = emitter.filled(rows, *vector)
        places = emitter.create("stablehlo.select", emitter.tensor(*vector), [front, window, nowhere])
        places, place_spec = with_last_axis(emitter, places, vector)
        buffers.append(gather(emitter, data, buffer, places, place_spec, buffer, [0], 0))
        counts.append(emitter.create("stablehlo.reshape", emitter.tensor((1,), int32), [here]))
        start = emitter.create("stablehlo.add", scalar, [start, here])
    return [*buffers, _concatenate(emitter, counts, Spec((count,), int32))]


@rule(DynamicStitch)
def dynamic_stitch(emitter: Emitter, op: DynamicStitch, operands: list[Value]) -> list[Value]:
    """One scatter of all rows one after another."""
    half, result = len(operands) // 2, spec_of(op.result.type)
    places, rows, total = [], [], 0
    specs = [spec_of(v.type) for v in op.inputs]
    wide = any(s.dtype.bits == 64 or s.dtype.name == "uint32" for s in specs[:half])
    for indices, spec, data in zip(operands[:half], specs, operands[half:], strict=False):
        count = size(spec.shape)
        assert isinstance(count, int)
        index, index_spec = _vector(emitter, indices, spec, 2**31 if wide else result.shape[0])
        places.append(emitter.create("stablehlo.reshape", emitter.tensor((count, 1), index_spec.dtype), [index]))
        rows.append(
            emitter.create("stablehlo.reshape", emitter.tensor((count, *result.shape[1:]), result.dtype), [data])
        )
        total += count
    nothing = emitter.filled(0, *result)
    if total == 0 or size(result.shape) == 0:
        return [nothing]
    spec = Spec((total, 1), index_spec.dtype)
    index, updates = (
        _concatenate(emitter, places, spec),
        _concatenate(emitter, rows, Spec((total, *result.shape[1:]), result.dtype)),
    )
    wins = last_occurrences(emitter, index, spec)
    mask = emitter.create("stablehlo.reshape", emitter.tensor((total, 1), bool_), [wins])
    index = emitter.create("stablehlo.select", emitter.tensor(*spec), [mask, index, emitter.filled(-1, *spec)])
    return [scatter(emitter, nothing, result, index, spec, updates, "", True)]


def _vector(emitter: Emitter, indices: Value, spec: Spec, limit: object) -> tuple[Value, Spec]:
    """Indices below `limit` as a vector of int32 or int64."""
    indices, spec = positions(emitter, indices, spec, [limit])
    flat = Spec((size(spec.shape),), spec.dtype)
    return emitter.create("stablehlo.reshape", emitter.tensor(*flat), [indices]), flat


def _concatenate(emitter: Emitter, parts: Sequence[Value], spec: Spec) -> Value:
    if len(parts) == 1:
        return parts[0]
    return emitter.create("stablehlo.concatenate", emitter.tensor(*spec), parts, {"dimension": integer(0)})
