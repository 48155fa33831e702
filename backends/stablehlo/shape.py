"""Emission of ops that move elements."""

from __future__ import annotations

from dfc.backends.stablehlo.emit import Emitter, integer, integers
from dfc.backends.stablehlo.rules import Value, direct, rule
from dfc.ir.dtypes import int32
from dfc.ir.ops.shape import (
    BroadcastInDim,
    Concatenate,
    DimSize,
    Iota,
    Pad,
    Reshape,
    Reverse,
    Roll,
    Slice,
    Tile,
    Transpose,
)
from dfc.ir.types import spec_of

direct(Reshape)


@rule(Transpose)
def transpose(emitter: Emitter, op: Transpose, operands: list[Value]) -> list[Value]:
    attributes = {"permutation": integers(op.permutation.data)}
    return [emitter.create("stablehlo.transpose", emitter.type(op.result.type), operands, attributes)]


@rule(BroadcastInDim)
def broadcast_in_dim(emitter: Emitter, op: BroadcastInDim, operands: list[Value]) -> list[Value]:
    attributes = {"broadcast_dimensions": integers(op.dims.data)}
    return [emitter.create("stablehlo.broadcast_in_dim", emitter.type(op.result.type), operands, attributes)]


@rule(Concatenate)
def concatenate(emitter: Emitter, op: Concatenate, operands: list[Value]) -> list[Value]:
    attributes = {"dimension": integer(op.axis.data)}
    return [emitter.create("stablehlo.concatenate", emitter.type(op.result.type), operands, attributes)]


@rule(Slice)
def slice_(emitter: Emitter, op: Slice, operands: list[Value]) -> list[Value]:
    attributes = {
        "start_indices": integers(op.starts.data),
        "limit_indices": integers(op.limits.data),
        "strides": integers(op.strides.data),
    }
    return [emitter.create("stablehlo.slice", emitter.type(op.result.type), operands, attributes)]


@rule(Pad)
def pad(emitter: Emitter, op: Pad, operands: list[Value]) -> list[Value]:
    attributes = {
        "edge_padding_low": integers(op.low.data),
        "edge_padding_high": integers(op.high.data),
        "interior_padding": integers(op.interior.data),
    }
    return [emitter.create("stablehlo.pad", emitter.type(op.result.type), operands, attributes)]


@rule(Reverse)
def reverse(emitter: Emitter, op: Reverse, operands: list[Value]) -> list[Value]:
    attributes = {"dimensions": integers(op.axes.data)}
    return [emitter.create("stablehlo.reverse", emitter.type(op.result.type), operands, attributes)]


@rule(Iota)
def iota(emitter: Emitter, op: Iota, operands: list[Value]) -> list[Value]:
    attributes = {"iota_dimension": integer(op.axis.data)}
    return [emitter.create("stablehlo.iota", emitter.type(op.result.type), [], attributes)]


@rule(DimSize)
def dim_size(emitter: Emitter, op: DimSize, operands: list[Value]) -> list[Value]:
    return [emitter.scalar(spec_of(op.x.type).shape[op.axis.data], int32)]


@rule(Tile)
def tile(emitter: Emitter, op: Tile, operands: list[Value]) -> list[Value]:
    """Copies along new axes, which a reshape joins with the old ones."""
    shape, dtype = spec_of(op.x.type)
    pairs = tuple(d for pair in zip(op.repetitions.data, shape, strict=True) for d in pair)
    attributes = {"broadcast_dimensions": integers(range(1, len(pairs), 2))}
    spread = emitter.create("stablehlo.broadcast_in_dim", emitter.tensor(pairs, dtype), operands, attributes)
    return [emitter.create("stablehlo.reshape", emitter.type(op.result.type), [spread])]


@rule(Roll)
def roll(emitter: Emitter, op: Roll, operands: list[Value]) -> list[Value]:
    """An axis after another: its end, then its beginning."""
    (x,), (shape, dtype) = operands, spec_of(op.x.type)

    def part(value: Value, axis: int, start: int, limit: int) -> Value:
        starts, limits, sizes = [0] * len(shape), list(shape), list(shape)
        starts[axis], limits[axis], sizes[axis] = start, limit, limit - start
        attributes = {
            "start_indices": integers(starts),
            "limit_indices": integers(limits),
            "strides": integers([1] * len(shape)),
        }
        return emitter.create("stablehlo.slice", emitter.tensor(tuple(sizes), dtype), [value], attributes)

    for shift, axis in zip(op.shifts.data, op.axes.data, strict=True):
        size = shape[axis]
        assert isinstance(size, int)
        by = shift % size if size else 0
        if by:
            parts = [part(x, axis, size - by, size), part(x, axis, 0, size - by)]
            x = emitter.create(
                "stablehlo.concatenate", emitter.type(op.result.type), parts, {"dimension": integer(axis)}
            )
    return [x]
