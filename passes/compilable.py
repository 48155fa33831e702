"""Which ops a device can run, as opposed to the host."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from xdsl.ir import Operation, SSAValue

from dfc.ir.op import Effect, Op
from dfc.ir.ops.constant import ConstantOp
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

STATE = (Read, Write)
"""Effects that become inputs and outputs of a device's program; all others are the host's."""


def compilable(op: Operation) -> bool:
    """True for work that a device can do: not for the host only, and without strings."""
    return class_compilable(type(op)) and not has_strings(op.results) and not has_strings(op.operands)


@cache
def class_compilable(cls: type[Operation]) -> bool:
    """What can be told from the op's class alone."""
    if not issubclass(cls, Op) or cls.HOST_ONLY or cls in STRUCTURE:
        return False
    return cls.EFFECT is Effect.PURE or issubclass(cls, STATE)


def has_strings(values: Iterable[SSAValue]) -> bool:
    """True where one of the values is a string tensor or a reference to one."""
    for value in values:
        type = value.type
        if type is not CONTROL and not isinstance(type, ResourceType) and spec_behind(type).dtype.kind == "string":
            return True
    return False
