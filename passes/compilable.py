"""Which ops a device can run, as opposed to the host."""

from __future__ import annotations

from collections.abc import Iterable

from xdsl.ir import Operation, SSAValue

from dfc.ir.op import Op
from dfc.ir.ops.function import Call, Func, Gradients, Island, Return, Yield
from dfc.ir.ops.state import Group, Variable
from dfc.ir.types import CONTROL, spec_of

STRUCTURE = (Func, Return, Yield, Call, Gradients, Island, Variable, Group)
"""Ops that are neither the device's nor the host's work: they hold, name or order other ops."""


def compilable(op: Operation) -> bool:
    """True for work that a device can do: not for the host only, and without strings."""
    if op.HOST_ONLY or isinstance(op, STRUCTURE) if isinstance(op, Op) else True:
        return False
    return not (has_strings(op.operands) or has_strings(op.results))


def has_strings(values: Iterable[SSAValue]) -> bool:
    """True where one of the values is a string tensor or a reference to one."""
    return any(v.type is not CONTROL and spec_of(v.type).dtype.kind == "string" for v in values)
