"""Emission of complex numbers' parts."""

from __future__ import annotations

from dfc.backends.stablehlo.emit import Emitter
from dfc.backends.stablehlo.rules import Value, direct, rule
from dfc.ir.dtypes import part_of
from dfc.ir.ops.complex import Complex, Conj, Imag, Real
from dfc.ir.types import spec_of

direct(Real, Imag, Complex)


@rule(Conj)
def conj(emitter: Emitter, op: Conj, operands: list[Value]) -> list[Value]:
    shape, dtype = spec_of(op.result.type)
    part = emitter.tensor(shape, part_of(dtype))
    re, im = (emitter.create(f"stablehlo.{name}", part, operands) for name in ("real", "imag"))
    negative = emitter.create("stablehlo.negate", part, [im])
    return [emitter.create("stablehlo.complex", emitter.type(op.result.type), [re, negative])]
