"""From a traced graph to something that can be called: passes, emission, XLA, and variables bound to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dfc.frontend.graph import Graph
from dfc.ir.collector import without_collection

if TYPE_CHECKING:
    from dfc.runtime.step import Step


def compile_step(graph: Graph, bindings: Mapping[str, int]) -> Step:
    """The graph compiled for the default device and bound to its variables, which get their initial values."""
    from dfc.runtime.host import Binding
    from dfc.runtime.step import Step, clustered

    func = clustered(graph.module, graph.name, bindings)
    variables = {name: variable.state for name, variable in graph.variables.items()}
    resources = {name: resource.live for name, resource in graph.resources.items()}
    return Step(func, variables, name=graph.name, binding=Binding(variables, {}, resources))


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
    from dfc.runtime.planning import modules_of
    from dfc.runtime.step import clustered

    return Lowered(modules_of(clustered(graph.module, graph.name, bindings), graph.name)[1])
