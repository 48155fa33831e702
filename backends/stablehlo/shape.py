"""Emission of ops that move elements."""

from __future__ import annotations

from dfc.backends.stablehlo.emit import Emitter, integer, integers
from dfc.backends.stablehlo.rules import Value, direct, rule
from dfc.ir.dtypes import int32
from dfc.ir.ops.shape import BroadcastInDim, Concatenate, DimSize, Iota, Pad, Reshape, Reverse, Slice, Transpose
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
