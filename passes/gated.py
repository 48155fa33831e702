"""What clustering needs to know of a block with gates: where each op runs, when, and what it waits for."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Block, Operation, SSAValue

from dfc.ir.op import Op
from dfc.ir.ops import dataflow as fl
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.graph import After
from dfc.passes.compilable import class_compilable
from dfc.passes.frames import Frame, Frames, after
from dfc.passes.guards import Guard, Guards


class Gated:
    """A block with gates. `bit` gives out a new bit for something to wait for; `late` has those of arguments, by id.

    Raises InvalidArgument for an op that takes values of several frames (row F6).
    """

    def __init__(self, block: Block, bit: Callable[[], int], late: dict[int, int]) -> None:
        self.frames = Frames(block)
        self._guards = Guards(block, self.frames)
        self._places: dict[tuple[Frame, Guard], int] = {}
        self._stages: dict[Frame, int] = {}
        self.bits = {id(op): bit() for op in block.ops if isinstance(op, Op) and op.WAITS}
        """Of the ops that may wait for something else than their operands."""
        self.waits = _all_waits(block, self.bits, late)
        """Of each op: the bits of those on a path to it, through earlier iterations as well."""

    def place(self, op: Operation) -> int:
        """A number for the op's frame and guard."""
        key = (self.frames.of(op), self._guards.of(op))
        return self._places.setdefault(key, len(self._places))

    def is_with(self, value: SSAValue, op: Operation) -> bool:
        """Whether the value is there whenever the op runs."""
        return self.frames.where(value) == self.frames.of(op) and self._guards.of_value(value) <= self._guards.of(op)

    def stage(self, op: Operation, needed: int) -> int:
        """The stage at which the results of an op for the host are there, which needs that of `needed`: in a frame they
        are counted from its beginning, and what leaves it is later than what has entered."""
        frame = self.frames.of(op)
        if type(op) is fl.Enter:
            inside = after(op, frame)
            assert inside is not None
            self._stages[inside] = max(self._stages.get(inside, -1), needed)
            return -1
        return self._stages.get(frame, -1) if type(op) is fl.Exit else needed


def for_host(op: Operation) -> bool:
    """Whether an op that either can do is the host's, in a block with gates: handing on what the host has for the host
    is no work for a device."""
    if type(op) is not After:
        return False
    return not _is_for_device(op.x.owner) and not any(_is_for_device(use.operation) for use in op.result.uses)


def _is_for_device(op: object) -> bool:
    return isinstance(op, Operation) and type(op) is not ConstantOp and class_compilable(type(op))


def _all_waits(block: Block, bits: dict[int, int], late: dict[int, int]) -> dict[int, int]:
    found: dict[int, int] = {}
    changed = True
    while changed:
        changed = False
        for op in block.ops:
            waits = 0
            for operand in op.operands:
                owner = operand.owner
                if isinstance(owner, Operation):
                    waits |= found.get(id(owner), 0) | bits.get(id(owner), 0)
                else:
                    waits |= late.get(id(operand), 0)
            if waits != found.get(id(op), 0):
                found[id(op)] = waits
                changed = True
    return found
