"""Branches and loops that no device can run as a whole become switches, merges and frames, which the host runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp

from dfc.ir.ops.function import Func
from dfc.passes.frames import enter_constants, has_frames
from dfc.passes.manager import Pass


@dataclass(frozen=True)
class LowerControlFlow(Pass):
    """Let what is known without running anything enter the frames of loops.

    Requires: phase graph. Ensures: no op takes values of several frames.
    """

    name: ClassVar[str] = "lower-control-flow"

    def apply(self, program: ModuleOp) -> dict[str, int]:
        return lower_control_flow(program)


def lower_control_flow(program: ModuleOp) -> dict[str, int]:
    entered = 0
    for func in program.ops:
        if isinstance(func, Func) and has_frames(func.block):
            entered += enter_constants(func.block)
    return {"constants entered": entered}
