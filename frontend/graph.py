"""`dfc.Graph`: a traced program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import ModuleOp

from dfc.frontend.structure import Structure
from dfc.ir.ops.function import Func
from dfc.ir.text import print_program
from dfc.ir.types import Spec, spec_of

if TYPE_CHECKING:
    from dfc.frontend.variable import Variable


@dataclass(frozen=True, eq=False)
class Graph:
    """A function as traced for one signature: `func` in `module`, at phase `trace`. Passes work on copies.

    `variables` are the variables used, by their names in the graph. `str(graph)` is its text.
    """

    module: ModuleOp
    func: Func
    variables: Mapping[str, Variable]
    structure: Structure
    """The nest of the results; see `Structure.to_json`."""

    @property
    def name(self) -> str:
        return self.func.sym_name.data

    @property
    def input_names(self) -> list[str]:
        return list(self.func.arg_names.data)

    @property
    def output_names(self) -> list[str]:
        return list(self.func.result_names.data)

    @property
    def input_specs(self) -> list[Spec]:
        return [spec_of(argument.type) for argument in self.func.block.args]

    @property
    def output_specs(self) -> list[Spec]:
        return [spec_of(value.type) for value in self.func.outputs]

    def __str__(self) -> str:
        return print_program(self.module, locations=False)

    def __repr__(self) -> str:
        n_ops = sum(1 for _ in self.func.block.ops)
        return f"<dfc.Graph {self.name!r}: {n_ops} ops, {len(self.variables)} variables>"
