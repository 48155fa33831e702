"""Asking for a device for all of a program that asks for nothing itself."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation

from dfc.ir.devices import COLOCATE, REQUEST
from dfc.ir.ops.function import Func
from dfc.ir.ops.state import Variable
from dfc.ir.types import RefType, ResourceType
from dfc.passes.colocation import nodes_of
from dfc.runtime.variables import VariableState


def request(program: ModuleOp, device: str, variables: Mapping[str, VariableState] | None = None) -> None:
    """Ask for a device for each op that asks for none itself, and is on no variable or queue. With `variables`, for
    those too that no step has brought anywhere, or that nobody has yet."""
    for func in program.ops:
        if isinstance(func, Func):
            for op in nodes_of(func.block):
                if not is_marked(op) and (not is_tied(op) or (variables is not None and _is_free(op, variables))):
                    op.attributes[REQUEST] = StringAttr(device)


def is_marked(op: Operation) -> bool:
    """Whether the op asks for a device, or to be beside others."""
    return REQUEST in op.attributes or COLOCATE in op.attributes


def is_tied(op: Operation) -> bool:
    """Whether the op is where a variable or a queue is."""
    return any(isinstance(value.type, RefType | ResourceType) for value in (*op.operands, *op.results))


def _is_free(op: Operation, variables: Mapping[str, VariableState]) -> bool:
    if not isinstance(op, Variable):
        return False
    state = variables.get(op.variable.data)
    return state is None or not state.is_settled
