"""Emission of reductions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dfc.backends.stablehlo.elementwise import comparison
from dfc.backends.stablehlo.emit import Emitter, integer, integers
from dfc.backends.stablehlo.rules import Rule, Value, rule
from dfc.ir.dtypes import bool_, float32, int32, int64
from dfc.ir.ops.reduction import (
    ArgMax,
    ArgMin,
    ArgReduction,
    ReduceAnd,
    ReduceLogSumExp,
    ReduceMax,
    ReduceMin,
    ReduceOr,
    ReduceProd,
    ReduceSum,
    Reduction,
    highest,
    lowest,
)
from dfc.ir.types import spec_of


def _reduction(combine: str, *, wide: bool = False) -> Rule:
    """A rule that combines by `stablehlo.<combine>`; `wide` accumulates 16-bit floats in float32."""

    def emit(emitter: Emitter, op: Reduction, operands: list[Value]) -> list[Value]:
        axes, result = op.axes.data, spec_of(op.result.type)
        if not axes:
            return operands
        (x,), (shape, dtype) = operands, spec_of(op.x.type)
        inner = float32 if wide and dtype.is_floating and dtype.bits == 16 else dtype
        if inner is not dtype:
            x = emitter.create("stablehlo.convert", emitter.tensor(shape, inner), [x])
        scalar = emitter.tensor((), inner)

        def body(values: Sequence[Value]) -> Sequence[Value]:
            return [emitter.create(f"stablehlo.{combine}", scalar, values)]

        initial = emitter.scalar(op.identity(inner.numpy), inner)
        reduced = emitter.reduce([x], [initial], axes, [emitter.tensor(result.shape, inner)], body)
        if inner is not dtype:
            return [emitter.create("stablehlo.convert", emitter.type(op.result.type), reduced)]
        return reduced

    return emit


rule(ReduceSum)(_reduction("add", wide=True))
rule(ReduceProd)(_reduction("multiply", wide=True))
rule(ReduceMax)(_reduction("maximum"))
rule(ReduceMin)(_reduction("minimum"))
rule(ReduceAnd)(_reduction("and"))
rule(ReduceOr)(_reduction("or"))


@rule(ArgMax, ArgMin)
def argument(emitter: Emitter, op: ArgReduction, operands: list[Value]) -> list[Value]:
    """Value and index are reduced together. What wins is better or NaN; between equals the lower index: so any order of
    combination gives the first, and NaN before all."""
    (shape, dtype), axis, result = spec_of(op.x.type), op.axis.data, spec_of(op.result.type)
    extent = shape[axis]
    assert isinstance(extent, int)
    index = int32 if extent < 2**31 else int64
    better, worst = ("GT", lowest) if isinstance(op, ArgMax) else ("LT", highest)
    scalar, scalar_index, flag = (emitter.tensor((), d) for d in (dtype, index, bool_))

    def wins(x: Value, y: Value) -> Value:
        is_better = comparison(emitter, better, dtype, x, y, flag)
        if not dtype.is_floating:
            return is_better
        is_nan = comparison(emitter, "NE", dtype, x, x, flag)
        return emitter.create("stablehlo.or", flag, [is_better, is_nan])

    def body(values: Sequence[Value]) -> Sequence[Value]:
        x, i, y, j = values
        x_wins, y_wins = wins(x, y), wins(y, x)
        tie = comparison(emitter, "EQ", bool_, x_wins, y_wins, flag)
        earlier = comparison(emitter, "LT", index, i, j, flag)
        take = emitter.create("stablehlo.select", flag, [tie, earlier, x_wins])
        return [
            emitter.create("stablehlo.select", scalar, [take, x, y]),
            emitter.create("stablehlo.select", scalar_index, [take, i, j]),
        ]

    along = {"iota_dimension": integer(axis)}
    positions = emitter.create("stablehlo.iota", emitter.tensor(shape, index), [], along)
    initial = [emitter.scalar(worst(dtype.numpy), dtype), emitter.scalar(0, index)]
    types = [emitter.tensor(result.shape, d) for d in (dtype, index)]
    found = emitter.reduce([*operands, positions], initial, [axis], types, body)[1]
    if result.dtype is index:
        return [found]
    return [emitter.create("stablehlo.convert", emitter.type(op.result.type), [found])]


@rule(ReduceLogSumExp)
def reduce_logsumexp(emitter: Emitter, op: ReduceLogSumExp, operands: list[Value]) -> list[Value]:
    """The largest m and log(sum(exp(x - m))) apart; 0 in the place of an infinite m. 16-bit floats in float32."""
    (x,), axes, (shape, dtype), result = operands, op.axes.data, spec_of(op.x.type), spec_of(op.result.type)
    if not axes:
        return operands
    inner = float32 if dtype.bits == 16 else dtype
    wide, narrow, scalar = (emitter.tensor(s, inner) for s in (shape, result.shape, ()))

    def create(name: str, type_: Any, *values: Value) -> Value:
        return emitter.create(f"stablehlo.{name}", type_, values)

    def reduced(combine: str, values: Value, initial: float) -> Value:
        start = [emitter.scalar(initial, inner)]
        return emitter.reduce([values], start, axes, [narrow], lambda v: [create(combine, scalar, *v)])[0]

    x = x if inner is dtype else create("convert", wide, x)
    largest = reduced("maximum", x, -math.inf)
    finite = create("is_finite", emitter.tensor(result.shape, bool_), largest)
    shift = create("select", narrow, finite, largest, emitter.filled(0, result.shape, inner))
    kept = tuple(axis for axis in range(len(shape)) if axis not in axes)
    spread = emitter.create("stablehlo.broadcast_in_dim", wide, [shift], {"broadcast_dimensions": integers(kept)})
    total = reduced("add", create("exponential", wide, create("subtract", wide, x, spread)), 0)
    found = create("add", narrow, create("log", narrow, total), shift)
    return [found if inner is dtype else create("convert", emitter.type(op.result.type), found)]
