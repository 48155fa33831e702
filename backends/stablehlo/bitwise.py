"""Emission of operations on bits."""

from __future__ import annotations

from dfc.backends.stablehlo.emit import Emitter
from dfc.backends.stablehlo.rules import Value, direct, rule
from dfc.ir.ops.bitwise import (
    BitcastConvert,
    CountLeadingZeros,
    NextAfter,
    PopulationCount,
    ShiftLeft,
    ShiftRightArithmetic,
    ShiftRightLogical,
)

direct(ShiftLeft, ShiftRightArithmetic, ShiftRightLogical)


@rule(PopulationCount)
def population_count(emitter: Emitter, op: PopulationCount, operands: list[Value]) -> list[Value]:
    return [emitter.create("stablehlo.popcnt", emitter.type(op.result.type), operands)]


@rule(CountLeadingZeros)
def count_leading_zeros(emitter: Emitter, op: CountLeadingZeros, operands: list[Value]) -> list[Value]:
    return [emitter.create("stablehlo.count_leading_zeros", emitter.type(op.result.type), operands)]


direct(BitcastConvert)


@rule(NextAfter)
def next_after(emitter: Emitter, op: NextAfter, operands: list[Value]) -> list[Value]:
    emitter.uses_chlo = True
    return [emitter.create("chlo.next_after", emitter.type(op.result.type), operands)]
