"""Copying blocks in which a merge takes what a later op gives, in the next iteration of a loop."""

from __future__ import annotations

from xdsl.ir import Block, Operation, SSAValue

from dfc.ir.ops.dataflow import Merge, NextIteration


def is_from_later(op: Operation, operand: SSAValue) -> bool:
    """Whether the operand is given to the op by one that may stand behind it: then it is of the iteration before."""
    return type(op) is Merge and type(operand.owner) is NextIteration


def has_cycles(block: Block) -> bool:
    """Whether some op takes what a later one gives."""
    return any(type(op) is NextIteration for op in block.ops)


class Cycles:
    """The merges of a block that is copied op by op: `before` each copy, then `finish`. Until then something else of a
    type that fits stands for what is not there yet."""

    def __init__(self, mapping: dict[SSAValue, SSAValue]) -> None:
        self._mapping = mapping
        self._open: list[Operation] = []

    def before(self, op: Operation) -> None:
        """Have something in the mapping for each operand of an op that is copied next."""
        if type(op) is Merge:
            missing = [o for o in op.operands if is_from_later(op, o) and o not in self._mapping]
            if missing:
                first = next(o for o in op.operands if not is_from_later(op, o))
                stand_in = self._mapping.get(first, first)
                self._mapping.update(dict.fromkeys(missing, stand_in))
                self._open.append(op)

    def finish(self) -> None:
        """Give the copies of merges what they take."""
        for op in self._open:
            copy = self._mapping[op.results[0]].owner
            assert isinstance(copy, Operation)
            copy.operands = [self._mapping.get(o, o) for o in op.operands]
