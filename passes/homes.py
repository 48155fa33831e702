"""On which device each op of a placed function is, those included that came after placing: gates, and what each device
has for itself."""

from __future__ import annotations

from xdsl.ir import Block, Operation, OpResult, SSAValue

from dfc.ir.cycles import is_from_later
from dfc.ir.devices import ASSIGNED
from dfc.ir.dims import is_static
from dfc.ir.ops import dataflow as fl
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.function import Return
from dfc.ir.ops.graph import After
from dfc.ir.ops.shape import BroadcastInDim
from dfc.ir.types import ResourceType, spec_of
from dfc.passes.colocation import text_of
from dfc.passes.compilable import SOURCES

PASSING = (fl.Switch, fl.Exit, fl.LoopCond)
"""Gates that are where their first operand is."""
HANDING_ON = (fl.Switch, fl.Exit, fl.NextIteration, After, fl.StackPush)
"""Ops that give what they take."""


def is_replicated(op: Operation) -> bool:
    """Whether each device that uses the op has its own: what needs nothing, what enters all iterations, and a constant
    in another shape. Zeros that two devices start from would else have one wait for the other."""
    if type(op) is BroadcastInDim:
        return isinstance(op.x.owner, ConstantOp) and is_static(spec_of(op.result.type).shape)
    return isinstance(op, SOURCES) or (type(op) is fl.Enter and op.is_constant.data)


class Homes:
    """The devices of a block's ops: as placed; gates are with the values that go through them, and what a loop carries
    is where its body makes it. What nothing places is where the first op is that was placed."""

    def __init__(self, block: Block) -> None:
        self._default = next(found for op in block.ops if (found := text_of(op, ASSIGNED)))
        self._of: dict[int, str] = {}
        for op in block.ops:
            if type(op) is not Return and not is_replicated(op):
                self._of[id(op)] = self._home(op)

    def of(self, op: Operation) -> str:
        """The op's device. Not of one that is replicated."""
        return self._of[id(op)]

    @property
    def used(self) -> list[str]:
        """The devices, each once, in the order in which ops come to them."""
        return list(dict.fromkeys(self._of.values())) or [self._default]

    def _home(self, op: Operation) -> str:
        for operand in op.operands:
            if isinstance(operand.type, ResourceType) and (maker := _maker(operand)) is not None:
                return self._of.get(id(maker), self._default)
        if type(op) is fl.Merge:
            return self._carried(op) or self._first(op) or self._default
        if type(op) is fl.NextIteration or type(op) is fl.Enter:
            merge = next((u.operation for u in op.results[0].uses if isinstance(u.operation, fl.Merge)), None)
            at = None if merge is None else self._of.get(id(merge)) or self._carried(merge)
            return at or self._first(op) or self._default
        if type(op) is fl.Stack:
            return _pushed(op) or text_of(op, ASSIGNED) or self._default
        if isinstance(op, PASSING):
            return self._first(op) or text_of(op, ASSIGNED) or self._default
        return text_of(op, ASSIGNED) or self._first(op) or self._default

    def _first(self, op: Operation) -> str | None:
        """Where the first operand is that is on one device."""
        for operand in op.operands:
            if not is_from_later(op, operand):
                found = self._of.get(id(operand.owner))
                if found is not None:
                    return found
        return None

    def _carried(self, merge: fl.Merge) -> str | None:
        """Where the body makes what the merge gets in later iterations; None for no loop's, or for a value that stays
        as it is."""
        later = next((o.owner for o in merge.operands if is_from_later(merge, o)), None)
        return None if later is None else _made_at(later)


def _made_at(op: object) -> str | None:
    """The device of the op that makes what this one hands on."""
    while isinstance(op, HANDING_ON):  # no cycle is without a merge
        op = op.operands[1 if type(op) is fl.StackPush else 0].owner
    if not isinstance(op, Operation) or isinstance(op, fl.Gate) or is_replicated(op):
        return None
    return text_of(op, ASSIGNED) or None


def _maker(handle: SSAValue) -> Operation | None:
    """The op that made a handle which has come here through gates."""
    owner = handle.owner
    while isinstance(owner, fl.Enter | fl.Switch | fl.Exit | fl.NextIteration | After):
        owner = owner.operands[0].owner
    return owner if isinstance(owner, Operation) else None


def _pushed(stack: Operation) -> str | None:
    """Where that is made which goes on the stack."""
    pending: list[OpResult] = list(stack.results)
    while pending:
        for use in pending.pop().uses:
            if type(use.operation) is fl.StackPush:
                return _made_at(use.operation)
            if type(use.operation) is fl.Enter:
                pending += use.operation.results
    return None
