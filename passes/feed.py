"""Fed edges become inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp

from dfc.ir import attributes
from dfc.ir.builder import erase, replace_uses
from dfc.ir.ops.function import Func
from dfc.ir.ops.graph import Feed as FeedOp
from dfc.passes.manager import Pass


@dataclass(frozen=True)
class Feed(Pass):
    """Make each df.feed an input of its function.

    Requires: gradients are expanded, since those that pass through a fed edge still need what leads to it.
    Ensures: no df.feed; the function has an input more for each, called by its label, after the others. What led to
    the edge, and to nothing else, has no use any more.
    """

    name: ClassVar[str] = "feed"

    def apply(self, program: ModuleOp) -> dict[str, int]:
        return feed(program)


def feed(program: ModuleOp) -> dict[str, int]:
    """Cut the fed edges of every function."""
    count = 0
    for func in program.ops:
        if isinstance(func, Func):
            ops = [op for op in func.block.ops if type(op) is FeedOp]
            for op in ops:
                argument = func.block.insert_arg(op.result.type, len(func.block.args), op.location)
                replace_uses({op.result: argument})
                erase(op)
            if ops:
                names = (*func.arg_names.data, *(op.label.data for op in ops))
                func.properties["arg_names"] = attributes.make(attributes.Texts, names)
            count += len(ops)
    return {"fed": count}
