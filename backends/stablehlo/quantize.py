"""Emission of quantisation, by plain arithmetic: XLA takes no quantised types."""

from __future__ import annotations

import numpy as np

from dfc.backends.stablehlo.elementwise import comparison
from dfc.backends.stablehlo.emit import Emitter, integers
from dfc.backends.stablehlo.rules import Value, rule
from dfc.ir.dtypes import DType, bool_, float32, float64
from dfc.ir.ops.quantize import Dequantize, Quantize
from dfc.ir.types import Spec, spec_of


def _spread(emitter: Emitter, value: Value, own: Spec, to: Spec, axis: int, wide: DType) -> Value:
    """A scalar or a vector along the axis, in the shape of the tensor and the dtype that is computed in."""
    if own.dtype is not wide:
        value = emitter.create("stablehlo.convert", emitter.tensor(own.shape, wide), [value])
    dims = {"broadcast_dimensions": integers([axis] if own.shape else [])}
    return emitter.create("stablehlo.broadcast_in_dim", emitter.tensor(to.shape, wide), [value], dims)


@rule(Quantize)
def quantize(emitter: Emitter, op: Quantize, operands: list[Value]) -> list[Value]:
    x, scale, zero = (spec_of(o.type) for o in op.operands)
    wide = float64 if x.dtype is float64 else float32
    type_, axis, limits = emitter.tensor(x.shape, wide), op.axis.data, np.iinfo(op.dtype.data.numpy)
    given = operands[0] if x.dtype is wide else emitter.create("stablehlo.convert", type_, operands[:1])
    scales = _spread(emitter, operands[1], scale, x, axis, wide)
    zeros = _spread(emitter, operands[2], zero, x, axis, wide)
    steps = emitter.create("stablehlo.divide", type_, [given, scales])
    steps = emitter.create("stablehlo.round_nearest_even", type_, [steps])
    number = comparison(emitter, "EQ", wide, steps, steps, emitter.tensor(x.shape, bool_))
    steps = emitter.create("stablehlo.select", type_, [number, steps, emitter.filled(0, x.shape, wide)])
    moved = emitter.create("stablehlo.add", type_, [steps, zeros])
    low, high = (emitter.scalar(float(n), wide) for n in (limits.min, limits.max))
    inside = emitter.create("stablehlo.clamp", type_, [low, moved, high])
    return [emitter.create("stablehlo.convert", emitter.type(op.result.type), [inside])]


@rule(Dequantize)
def dequantize(emitter: Emitter, op: Dequantize, operands: list[Value]) -> list[Value]:
    q, scale, zero = (spec_of(o.type) for o in op.operands)
    wide = float64 if scale.dtype is float64 else float32
    type_, axis = emitter.tensor(q.shape, wide), op.axis.data
    scales = _spread(emitter, operands[1], scale, q, axis, wide)
    zeros = _spread(emitter, operands[2], zero, q, axis, wide)
    steps = emitter.create("stablehlo.convert", type_, operands[:1])
    steps = emitter.create("stablehlo.subtract", type_, [steps, zeros])
    found = emitter.create("stablehlo.multiply", type_, [steps, scales])
    if scale.dtype is wide:
        return [found]
    return [emitter.create("stablehlo.convert", emitter.type(op.result.type), [found])]
