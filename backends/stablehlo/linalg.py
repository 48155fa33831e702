"""Emission of contractions."""

from __future__ import annotations

from jaxlib.mlir.dialects import stablehlo

from dfc.backends.stablehlo.emit import Emitter
from dfc.backends.stablehlo.rules import Value, rule
from dfc.ir.ops.linalg import DotGeneral


@rule(DotGeneral)
def dot_general(emitter: Emitter, op: DotGeneral, operands: list[Value]) -> list[Value]:
    numbers = stablehlo.DotDimensionNumbers.get(
        lhs_batching_dimensions=list(op.lhs_batch.data),
        rhs_batching_dimensions=list(op.rhs_batch.data),
        lhs_contracting_dimensions=list(op.lhs_contracting.data),
        rhs_contracting_dimensions=list(op.rhs_contracting.data),
    )
    type_ = emitter.type(op.result.type)
    return [emitter.create("stablehlo.dot_general", type_, operands, {"dot_dimension_numbers": numbers})]
