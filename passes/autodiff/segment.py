"""Gradients of segments, partition and stitch: a row's gradient is that of the row it went to."""

from __future__ import annotations

from xdsl.ir import SSAValue

from dfc.ir.dims import Dim, size
from dfc.ir.dtypes import int32, int64
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import segment as sg
from dfc.ir.ops.indexing import LastOccurrence, Take
from dfc.ir.ops.shape import BroadcastInDim, Concatenate, DimSize, Iota, Reshape, Slice
from dfc.ir.types import tensor_type
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, rule, spec


def signed(ids: SSAValue, b: RuleBuilder) -> SSAValue:
    """Ids as int32 or int64."""
    dtype = spec(ids).dtype
    wanted = int64 if dtype.bits == 64 or dtype.name == "uint32" else int32
    return ids if dtype is wanted else b(ew.Convert, ids, dtype=wanted)


def rows_at(x: SSAValue, ids: SSAValue, b: RuleBuilder) -> SSAValue:
    """x[ids] along the first axis, with zeros where an id is out of range: in every meaning of the program."""
    count, places = spec(x).shape[0], signed(ids, b)
    shape = (*spec(ids).shape, *spec(x).shape[1:])
    if count == 0:
        return b.full_of(0, tensor_type(shape, spec(x).dtype))
    zero = b.full(0, places)
    if isinstance(count, int):
        limit = b.full(count, places)
    else:
        known = b(ew.Convert, b(DimSize, x, axis=0), dtype=spec(places).dtype)
        limit = b(BroadcastInDim, known, shape=spec(places).shape, dims=())
    valid = b(ew.And, b.compare("GE", places, zero), b.compare("LT", places, limit))
    found = b(Take, x, b(ew.Select, valid, places, zero), axis=0)
    return where(valid, found, b)


def where(mask: SSAValue, x: SSAValue, b: RuleBuilder) -> SSAValue:
    """x in the rows where the mask, of x's first axes, holds, else zeros."""
    shape, rank = spec(x).shape, len(spec(mask).shape)
    spread = mask if rank == len(shape) else b(BroadcastInDim, mask, shape=shape, dims=tuple(range(rank)))
    return b(ew.Select, spread, x, b.full(0, x))


@rule(sg.SegmentSum)
def segment_sum(op: sg.SegmentSum, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [lambda: rows_at(grads[0], op.operands[1], b), None]


@rule(sg.SegmentProd)
def segment_prod(op: sg.SegmentProd, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The product of the segment's other rows, right at zeros; second derivatives by two elements of one segment of
    which one is zero are zero, not right."""
    (g,), (data, ids), num_segments = grads, op.operands, op.num_segments.data

    def by_data() -> SSAValue:
        one, zero = b.full(1, data), b.full(0, data)
        is_zero = b.compare("EQ", data, zero)
        safe = b(ew.Select, is_zero, one, data)
        zeros = b(ew.Select, is_zero, one, zero)
        product = b(sg.SegmentProd, safe, ids, num_segments=num_segments)
        count = b(sg.SegmentSum, zeros, ids, num_segments=num_segments)
        others = b(ew.Subtract, rows_at(count, ids, b), zeros)
        scaled = rows_at(b(ew.Multiply, g, b.conj(product)), ids, b)
        return b(ew.Select, b.compare("EQ", others, zero), b(ew.Divide, scaled, b.conj(safe)), zero)

    return [by_data, None]


def _extreme(op: sg.Segment, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The elements that equal the extreme of their segment share its gradient equally."""
    (g,), (data, ids), num_segments = grads, op.operands, op.num_segments.data

    def by_data() -> SSAValue:
        holds = b.compare("EQ", data, rows_at(op.results[0], ids, b))
        ones = b(ew.Convert, holds, dtype=spec(data).dtype)
        count = b(ew.Maximum, b(sg.SegmentSum, ones, ids, num_segments=num_segments), b.full(1, op.results[0]))
        return b(ew.Select, holds, rows_at(b(ew.Divide, g, count), ids, b), b.full(0, data))

    return [by_data, None]


rule(sg.SegmentMin)(_extreme)
rule(sg.SegmentMax)(_extreme)


@rule(sg.DynamicPartition)
def dynamic_partition(op: sg.DynamicPartition, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The numbers of the rows are parted in the same way and say where the parts' gradients go. They are counted from
    one, so that the zeros behind a part's rows name no row."""
    data, partitions = op.operands
    rows, count = size(spec(partitions).shape), op.num_partitions.data

    def by_data() -> SSAValue:
        one = b.full_of(1, tensor_type((rows,), int32))
        numbers = b(ew.Add, b(Iota, shape=(rows,), dtype=int32, axis=0), one)
        numbers = b(Reshape, numbers, shape=spec(partitions).shape)
        parts = b.op(sg.DynamicPartition, numbers, partitions, num_partitions=count).results
        pairs = [(b(ew.Subtract, p, one), g) for p, g in zip(parts[:-1], grads[:-1], strict=True) if g is not None]
        indices, found = zip(*pairs, strict=True)
        merged = b(sg.DynamicStitch, *indices, *found, size=(rows,))
        return b(Reshape, merged, shape=spec(data).shape)

    return [by_data if any(g is not None for g in grads[:-1]) else None, None]


@rule(sg.DynamicStitch)
def dynamic_stitch(op: sg.DynamicStitch, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The row at the index; zero for a row that a later one overwrote."""
    (g,), half = grads, len(op.operands) // 2
    indices = op.operands[:half]
    flat = [b(Reshape, signed(i, b), shape=(size(spec(i).shape),)) for i in indices]
    if len({spec(i).dtype for i in flat}) > 1:
        flat = [i if spec(i).dtype is int64 else b(ew.Convert, i, dtype=int64) for i in flat]
    every = b(Concatenate, *flat, axis=0)
    wins = b(LastOccurrence, b(Reshape, every, shape=(*spec(every).shape, 1)))
    found: list[Gradient] = []
    start: Dim = 0
    for places in indices:
        count = size(spec(places).shape)
        found.append(lambda places=places, start=start, count=count: part(places, start, count))  # type: ignore[misc]
        start = start + count

    def part(places: SSAValue, start: Dim, count: Dim) -> SSAValue:
        own = b(Slice, wins, starts=(start,), limits=(start + count,), strides=(1,))
        return where(b(Reshape, own, shape=spec(places).shape), rows_at(g, places, b), b)

    return [*([None] * half), *found]
