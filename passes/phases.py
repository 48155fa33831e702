"""The phases of a program, and what must be gone when it reaches each."""

from __future__ import annotations

from enum import Enum

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from dfc.errors import FailedPrecondition
from dfc.ir.op import error_at
from dfc.ir.ops.function import Func
from dfc.passes.compilable import EITHER, compilable


class Phase(Enum):
    """Where a program stands between the user's code and a device, in order."""

    TRACE = "trace"
    GRAPH = "graph"
    PLACED = "placed"
    PARTITIONED = "partitioned"
    CLUSTERED = "clustered"
    STABLEHLO = "stablehlo"
    EXECUTABLE = "executable"

    @property
    def help(self) -> str:
        """What the phase means, in one sentence."""
        return _HELP[self]

    @property
    def position(self) -> int:
        return list(Phase).index(self)


_HELP = {
    Phase.TRACE: "The df program as the user's code made it: calls and gradient requests are ops.",
    Phase.GRAPH: "One optimised graph: calls are inlined and gradients are ops like any other.",
    Phase.PLACED: "Every op has a device.",
    Phase.PARTITIONED: "One graph a device, joined by sends and receives.",
    Phase.CLUSTERED: "What a device runs as one program is a df.island; what stays around it, the host runs.",
    Phase.STABLEHLO: "Each island is a StableHLO module with static shapes.",
    Phase.EXECUTABLE: "Each island is compiled for its device.",
}

GONE: dict[Phase, dict[str, str]] = {
    Phase.GRAPH: {
        "df.call": "inline",
        "df.gradients": "autodiff",
        "df.custom_gradient": "autodiff",
        "df.checkpoint": "autodiff",
    },
}
"""At each phase, and ever after: the ops that must be gone, and the pass that removes them."""


def leftover(op: Operation, phase: Phase, by: str) -> FailedPrecondition:
    """The error for an op that should be gone by `phase`."""
    hint = f"the pass {by} removes it: run {by} earlier in the pipeline"
    return error_at(FailedPrecondition, op, f"this op must be gone at phase {phase.value}", hint)


def check_gate(program: ModuleOp, phase: Phase) -> None:
    """Raise FailedPrecondition for the first op that may not be there at `phase`. Looks at op names only."""
    gone = {name: by for at, names in GONE.items() if at.position <= phase.position for name, by in names.items()}
    clustered = phase.position >= Phase.CLUSTERED.position
    for func in program.ops:
        if not isinstance(func, Func):
            continue
        for op in func.block.ops:
            by = gone.get(op.name)
            if by is None and clustered and type(op) not in EITHER and compilable(op):
                by = "cluster"
            if by is not None:
                raise leftover(op, phase, by)
