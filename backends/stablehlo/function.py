"""Ops that hold other ops: `emit.py` walks islands and functions itself, passes remove the rest."""

from __future__ import annotations

from jaxlib.mlir import ir

from dfc.backends.stablehlo.elementwise import comparison
from dfc.backends.stablehlo.emit import Emitter
from dfc.backends.stablehlo.indexing import cut
from dfc.backends.stablehlo.rules import Value, not_emitted, rule
from dfc.ir.dims import size
from dfc.ir.dtypes import bool_, int32
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
from dfc.ir.types import Spec, spec_of

not_emitted(Func, "functions don't nest; emit_func emits one")
not_emitted(Return, "it ends a function, and emission ends there too")
not_emitted(Call, "the pass inline puts the callee in its place")
not_emitted(Gradients, "the pass autodiff expands it")
not_emitted(CustomGradient, "the pass autodiff puts its values in its place")
not_emitted(Checkpoint, "the pass autodiff puts its region in its place")


@rule(OptimizationBarrier)
def optimization_barrier(emitter: Emitter, op: OptimizationBarrier, operands: list[Value]) -> list[Value]:
    """XLA's compiler for the CPU drops barriers before it merges equal work, so what is hidden is also selected, by a
    condition that is always true and that compilers don't see through."""
    types, specs = [emitter.type(r.type) for r in op.results], [spec_of(r.type) for r in op.results]
    made = ir.Operation.create(
        "stablehlo.optimization_barrier", types, operands, loc=emitter.location, ip=emitter.insertion
    )
    values: list[Value] = list(made.operation.results)
    last = next((i for i in reversed(range(len(specs))) if size(specs[i].shape)), None)
    if last is not None and op.hidden.data:
        holds = _always(emitter, values[last], specs[last])
        for i in op.hidden.data:
            other = emitter.filled(0, *specs[i])
            values[i] = emitter.create("stablehlo.select", types[i], [holds, values[i], other])
    return values


def _always(emitter: Emitter, x: Value, spec: Spec) -> Value:
    """True, once x is there: n * n + n is even for an n that depends on x."""
    if spec.shape:
        ones = [1] * len(spec.shape)
        x = cut(emitter, x, spec, [0] * len(ones), ones)
        x = emitter.create("stablehlo.reshape", emitter.tensor((), spec.dtype), [x])
    flag, number = emitter.tensor((), bool_), emitter.tensor((), int32)
    bit = comparison(emitter, "NE", spec.dtype, x, emitter.scalar(0, spec.dtype), flag)
    n = emitter.create("stablehlo.convert", number, [bit])
    total = emitter.create("stablehlo.add", number, [emitter.create("stablehlo.multiply", number, [n, n]), n])
    odd = emitter.create("stablehlo.and", number, [total, emitter.scalar(1, int32)])
    return comparison(emitter, "EQ", int32, odd, emitter.scalar(0, int32), flag)


not_emitted(Island, "islands don't nest; emit_island emits one")
not_emitted(Yield, "it ends an island, and emission ends there too")
