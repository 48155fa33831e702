"""Ops that hold other ops: `emit.py` walks islands and functions itself, passes remove the rest."""

from __future__ import annotations

from dfc.backends.stablehlo.rules import not_emitted
from dfc.ir.ops.function import Call, Func, Gradients, Island, Return, Yield

not_emitted(Func, "functions don't nest; emit_func emits one")
not_emitted(Return, "it ends a function, and emission ends there too")
not_emitted(Call, "the pass inline puts the callee in its place")
not_emitted(Gradients, "the pass autodiff expands it")
not_emitted(Island, "islands don't nest; emit_island emits one")
not_emitted(Yield, "it ends an island, and emission ends there too")
