"""Ops that hold other ops: `emit.py` walks islands and functions itself, passes remove the rest."""

from __future__ import annotations

from jaxlib.mlir import ir

from dfc.backends.stablehlo.emit import Emitter
from dfc.backends.stablehlo.rules import Value, not_emitted, rule
from dfc.ir.ops.function import (
    Call,
    Checkpoint,
    CustomGradient,
    Func,
    Gradients,
    Island,
    OptimizationBarrier,
    Return,
    Yield,
)

not_emitted(Func, "functions don't nest; emit_func emits one")
not_emitted(Return, "it ends a function, and emission ends there too")
not_emitted(Call, "the pass inline puts the callee in its place")
not_emitted(Gradients, "the pass autodiff expands it")
not_emitted(CustomGradient, "the pass autodiff puts its values in its place")
not_emitted(Checkpoint, "the pass autodiff puts its region in its place")


@rule(OptimizationBarrier)
def optimization_barrier(emitter: Emitter, op: OptimizationBarrier, operands: list[Value]) -> list[Value]:
    types = [emitter.type(r.type) for r in op.results]
    made = ir.Operation.create(
        "stablehlo.optimization_barrier", types, operands, loc=emitter.location, ip=emitter.insertion
    )
    return list(made.operation.results)


not_emitted(Island, "islands don't nest; emit_island emits one")
not_emitted(Yield, "it ends an island, and emission ends there too")
