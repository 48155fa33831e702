"""The whole check of a program: each op's own, and that values are made before they are used."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from dfc.errors import InvalidArgument
from dfc.ir import locations
from dfc.ir.cycles import is_from_later
from dfc.ir.op import error_at
from dfc.ir.ops.function import Func


def verify(program: ModuleOp) -> None:
    """Raise InvalidArgument, with the op and the user's line, for the first op that isn't valid.

    Beyond xDSL's verifier: every operand must be a result of an earlier op of the block or of one around it, or an
    argument of such a block; a merge may take what a later next_iteration gives. Types must be what `infer` gives; a
    function's name must be unique.
    """
    names: set[str] = set()
    for func in program.ops:
        if isinstance(func, Func):
            name = func.sym_name.data
            if name in names:
                raise error_at(InvalidArgument, func, f"the name @{name} is taken by another function")
            names.add(name)
        _verify_op(func)
        _verify_regions(func, set())


def op_without_location(program: ModuleOp) -> Operation | None:
    """The first op, the module aside, that lost the user's position, if there is one."""
    return next((op for op in program.walk() if op is not program and not locations.is_known(op.location)), None)


def _verify_regions(op: Operation, visible: set[SSAValue]) -> None:
    for region in op.regions:
        for block in region.blocks:
            _verify_block(block, visible if not isinstance(op, Func) else set())


def _verify_block(block: Block, outer: set[SSAValue]) -> None:
    visible = {*outer, *block.args}
    for op in block.ops:
        for i, operand in enumerate(op.operands):
            if operand not in visible and not is_from_later(op, operand):
                raise error_at(InvalidArgument, op, f"operand {i} is used before it is made")
        _verify_op(op)
        _verify_regions(op, visible)
        visible.update(op.results)


def _verify_op(op: Operation) -> None:
    try:
        op.verify_()
    except VerifyException as error:
        raise error_at(InvalidArgument, op, str(error)) from error
