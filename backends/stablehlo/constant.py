"""Emission of constants."""

from __future__ import annotations

from dfc.backends.stablehlo.emit import Emitter
from dfc.backends.stablehlo.rules import Value, rule
from dfc.ir.ops.constant import ConstantOp


@rule(ConstantOp)
def constant(emitter: Emitter, op: ConstantOp, operands: list[Value]) -> list[Value]:
    array = op.value.data
    emitter.type(op.result.type)  # refuses strings, before the value is read
    return [emitter.constant(array.value, array.dtype)]
