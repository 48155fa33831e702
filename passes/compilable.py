"""Which ops a device can run, as opposed to the host."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from xdsl.ir import Attribute, Block, Operation, SSAValue

from dfc.ir.devices import ASSIGNED
from dfc.ir.op import Effect, Op
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.control import ControlFlow, Loop, NeedLength, While
from dfc.ir.ops.function import Call, Checkpoint, CustomGradient, Func, Gradients, Island, Return, Yield
from dfc.ir.ops.graph import After
from dfc.ir.ops.shape import Iota
from dfc.ir.ops.state import Group, Read, Variable, Write
from dfc.ir.types import CONTROL, ResourceType, spec_behind

STRUCTURE = (Func, Return, Yield, Call, Gradients, CustomGradient, Checkpoint, Island, Variable, Group)
"""Ops that are neither the device's nor the host's work: they hold, name or order other ops."""

SOURCES = (ConstantOp, Iota)
"""Ops that need nothing: each island that uses one holds its own copy, since making it is cheaper than passing it."""

EITHER = (*SOURCES, After)
"""Ops that a device can do and that may be left to the host: to make what it takes, and to hand on what it has."""

STATE = (Read, Write, NeedLength)
"""Effects that become inputs and outputs of a device's program; all others are the host's."""


def compilable(op: Operation) -> bool:
    """True for work that a device can do: not for the host only, and without strings."""
    if isinstance(op, ControlFlow):
        return structured(op)
    return class_compilable(type(op)) and not has_strings(op.results) and not has_strings(op.operands)


def structured(op: ControlFlow) -> bool:
    """True for branches and loops that a device can run as a whole: work that it can do, and is placed on it, and
    variables, and nothing that changes its size from one iteration to the next. A condition must not write."""
    if has_strings(op.operands) or has_strings(op.results):
        return False
    here = op.attributes.get(ASSIGNED)
    if any(isinstance(handle.type, ResourceType) for handle in op.handles):
        return False
    if isinstance(op, While) and (op.invariants is not None or not _is_plain(op.condition)):
        return False
    for block in op.blocks:
        for inner in block.ops:
            if isinstance(inner, Group | After | Yield):
                continue
            if not compilable(inner) or (here is not None and _is_elsewhere(inner, here)):
                return False
    return True


def _is_elsewhere(op: Operation, here: Attribute) -> bool:
    """Whether the op is placed on another device than that, and is not one that each device has for itself."""
    return op.attributes.get(ASSIGNED, here) != here and not isinstance(op, SOURCES)


def _is_plain(condition: Block) -> bool:
    """Whether nothing is written in the block, and no loop in it needs room that is chosen when it runs."""
    for op in condition.ops:
        if isinstance(op, Write) or (isinstance(op, Loop) and op.open_length is not None):
            return False
        if isinstance(op, ControlFlow) and not all(map(_is_plain, op.blocks)):
            return False
    return True


@cache
def class_compilable(cls: type[Operation]) -> bool:
    """What can be told from the op's class alone."""
    if not issubclass(cls, Op) or cls.HOST_ONLY or cls in STRUCTURE:
        return False
    if issubclass(cls, ControlFlow):  # what remains of these when islands are made
        return True
    return cls.EFFECT is Effect.PURE or issubclass(cls, STATE)


def has_strings(values: Iterable[SSAValue]) -> bool:
    """True where one of the values is a string tensor or a reference to one."""
    for value in values:
        type = value.type
        if type is not CONTROL and not isinstance(type, ResourceType) and spec_behind(type).dtype.kind == "string":
            return True
    return False
