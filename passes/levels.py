"""How many transfers between devices are on the longest way to each op."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Block, Operation, SSAValue

from dfc.ir.cycles import is_from_later
from dfc.ir.ops import dataflow as fl
from dfc.ir.ops.function import Return
from dfc.ir.ops.transfer import LEVEL
from dfc.passes.colocation import text_of
from dfc.passes.frames import Frame
from dfc.passes.homes import Homes, is_replicated


class Levels:
    """The levels of a block's ops. Within an iteration they only grow along a way, and what leaves a loop is above all
    in it. So where each island is of one level, none waits for what waits for it."""

    def __init__(
        self,
        block: Block,
        homes: Homes,
        frame_of: Callable[[Operation], Frame],
        taken: Callable[[Operation], list[SSAValue]],
    ) -> None:
        self._homes, self._frame_of, self._taken = homes, frame_of, taken
        self._of: dict[int, int] = {}
        self._in: dict[Frame, int] = {}
        """Of each frame: the highest in it."""
        ops = [op for op in block.ops if type(op) is not Return and not is_replicated(op)]
        before = None
        while before != self._in:
            before = dict(self._in)
            for op in ops:
                self._note(op)

    def of(self, op: Operation) -> int:
        return self._of[id(op)]

    def at(self, value: SSAValue, device: str) -> int:
        """The level at which the value is there for the device."""
        owner = value.owner
        if not isinstance(owner, Operation):
            return 0
        if is_replicated(owner):
            return max((self.at(o, device) for o in owner.operands), default=0)
        return self._of[id(owner)] + (self._homes.of(owner) != device)

    def _note(self, op: Operation) -> None:
        home, frame = self._homes.of(op), self._frame_of(op)
        level = max((self.at(o, home) for o in self._taken(op)), default=0)
        if type(op) is fl.Exit:
            level = max(level, self._in.get(frame, 0))
        self._of[id(op)] = level
        for depth in range(1, len(frame) + 1):
            self._in[frame[:depth]] = max(self._in.get(frame[:depth], 0), level)


def levels_in(block: Block) -> dict[int, int]:
    """The level of each op of one device's part, by id, from what its receives and exits say."""
    found: dict[int, int] = {}
    for op in block.ops:
        before = (found.get(id(o.owner), 0) for o in op.operands if not is_from_later(op, o))
        found[id(op)] = max(int(text_of(op, LEVEL) or 0), *before, 0)
    return found
