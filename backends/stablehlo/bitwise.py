"""Emission of operations on bits."""

from __future__ import annotations

from dfc.backends.stablehlo.emit import Emitter
from dfc.backends.stablehlo.rules import Value, direct, rule
from dfc.ir.dtypes import as_dtype
from dfc.ir.ops.bitwise import (
    BitcastConvert,
    CopySign,
    CountLeadingZeros,
    NextAfter,
    PopulationCount,
    ShiftLeft,
    ShiftRightArithmetic,
    ShiftRightLogical,
)
from dfc.ir.types import spec_of

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


@rule(CopySign)
def copy_sign(emitter: Emitter, op: CopySign, operands: list[Value]) -> list[Value]:
    """The sign is the highest bit."""
    shape, dtype = spec_of(op.result.type)
    stored = as_dtype(f"uint{dtype.bits}")
    type_, sign = emitter.tensor(shape, stored), 1 << (dtype.bits - 1)
    x, y = (emitter.create("stablehlo.bitcast_convert", type_, [v]) for v in operands)
    size = emitter.create("stablehlo.and", type_, [x, emitter.filled(sign - 1, shape, stored)])
    taken = emitter.create("stablehlo.and", type_, [y, emitter.filled(sign, shape, stored)])
    both = emitter.create("stablehlo.or", type_, [size, taken])
    return [emitter.create("stablehlo.bitcast_convert", emitter.type(op.result.type), [both])]
