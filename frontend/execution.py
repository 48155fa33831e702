"""From a traced graph to something that can be called: passes, emission, XLA, and variables bound to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dfc.frontend import locality
from dfc.frontend.graph import Graph
from dfc.ir.collector import without_collection
from dfc.ir.sharding import Sharding

if TYPE_CHECKING:
    from dfc.runtime.partitioned import AnyStep


def compile_step(
    graph: Graph, bindings: Mapping[str, int], device: str = "", divided: Sequence[Sharding | None] = ()
) -> AnyStep:
    """The graph compiled for its devices and bound to its variables, which get their initial values. What asks for
    nothing itself asks for `device`, a name or a part of one. `divided` says how inputs come that are on a mesh."""
    from dfc.runtime.host import Binding
    from dfc.runtime.partitioned import step_of
    from dfc.runtime.placing import is_anywhere
    from dfc.runtime.step import clustered_parts

    variables = {name: variable.state for name, variable in graph.variables.items()}
    funcs = clustered_parts(graph.module, graph.name, bindings, variables=variables, device=device, divided=divided)
    resources = {name: resource.live for name, resource in graph.resources.items()}
    chosen = locality.device_called(device) if device and is_anywhere(funcs) else None
    return step_of(funcs, variables, graph.name, Binding(variables, {}, resources), chosen)


@dataclass(frozen=True, eq=False)
class Lowered:
    """A function as StableHLO: one module an island, in the order they run."""

    modules: list[Any]

    @property
    def text(self) -> str:
        return "\n".join(str(module) for module in self.modules)


@without_collection
def emit(graph: Graph, bindings: Mapping[str, int]) -> Lowered:
    """The graph as StableHLO, for its mesh if it has one; its sizes must all be known."""
    from dfc.backends.kernels import kind_of
    from dfc.backends.mesh import axes_of
    from dfc.runtime.meshes import mesh_of_program
    from dfc.runtime.planning import modules_of
    from dfc.runtime.step import clustered

    mesh = mesh_of_program(graph.module)
    func = clustered(graph.module, graph.name, bindings)
    return Lowered(modules_of(func, graph.name, axes_of(mesh), kind_of(mesh or locality.first()))[1])
