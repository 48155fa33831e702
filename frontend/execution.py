"""From a traced graph to something that can be called: passes, emission, XLA, and variables bound to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import ModuleOp

from dfc.backends import pipeline
from dfc.errors import Internal
from dfc.frontend.graph import Graph
from dfc.ir.collector import without_collection
from dfc.ir.ops.function import Func, Island
from dfc.passes.phases import Phase
from dfc.passes.specialize import specialize

if TYPE_CHECKING:
    from dfc.runtime.step import Step


@without_collection
def lowered(graph: Graph, bindings: Mapping[str, int], *, to: Phase = Phase.CLUSTERED) -> tuple[ModuleOp, Func]:
    """A copy of the graph with its sizes fixed, after the default passes, and its function in the copy."""
    program = specialize(graph.module, bindings)
    pipeline.lower(program, to=to)
    return program, entry_of(program, graph.name)


def entry_of(program: ModuleOp, name: str) -> Func:
    """The function called `name`."""
    for op in program.ops:
        if isinstance(op, Func) and op.sym_name.data == name:
            return op
    raise Internal(f"the program has lost its function {name!r}")


def compile_step(graph: Graph, bindings: Mapping[str, int]) -> Step:
    """The graph compiled for the default device and bound to its variables, which get their initial values."""
    from dfc.runtime.step import Step

    _, func = lowered(graph, bindings)
    return Step(func, {name: variable.state for name, variable in graph.variables.items()}, name=graph.name)


@dataclass(frozen=True, eq=False)
class Lowered:
    """A function as StableHLO: one module an island, in the order they run."""

    modules: list[Any]

    @property
    def text(self) -> str:
        return "\n".join(str(module) for module in self.modules)


@without_collection
def emit(graph: Graph, bindings: Mapping[str, int]) -> Lowered:
    """The graph as StableHLO; its sizes must all be known."""
    from dfc.backends.compile_cache import mlir_context
    from dfc.backends.stablehlo.emit import emit_island

    _, func = lowered(graph, bindings)
    context = mlir_context()
    islands = [op for op in func.block.ops if isinstance(op, Island)]
    return Lowered([emit_island(island, context=context, name=graph.name) for island in islands])
