"""Making an op and appending it, without what xDSL's own way does besides. The one place that writes xDSL's private
fields.

`Operation.create` and `Block.add_op` cost twice this (measured on a chain of two-operand ops): they build the same
objects through properties, look for defaults that df's declarations don't have, and walk up the parents of a new op to
see that it is not its own ancestor. Fits xdsl 0.74, which `pyproject.toml` pins; `tests/unit/test_construct.py`
compares the result with xDSL's field by field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Attribute, Block, BlockArgument, Operation, OpResult, Region, SSAValue, Use
from xdsl.ir.core import SSAValues

OpT = TypeVar("OpT", bound=Operation)


def construct(
    cls: type[OpT],
    operands: Sequence[SSAValue],
    result_types: Sequence[Attribute],
    properties: dict[str, Attribute],
    attributes: dict[str, Attribute],
    regions: Sequence[Region],
    location: LocationAttr,
) -> OpT:
    """A detached op. The dictionaries become the op's own."""
    op = cls.__new__(cls)
    if operands:
        uses = []
        for index, operand in enumerate(operands):
            use = Use(op, index)
            first = operand.first_use
            if first is not None:
                use._next_use = first
                first._prev_use = use
            operand.first_use = use
            uses.append(use)
        op._operands = SSAValues(operands)
        op._operand_uses = tuple(uses)
    op.results = SSAValues([OpResult(type, op, index) for index, type in enumerate(result_types)])
    op.properties = properties
    op.attributes = attributes
    op.location = location
    for region in regions:
        op.add_region(region)
    return op


def append(block: Block, op: Operation) -> None:
    """Put a detached op at the end of the block."""
    assert op.parent is None, "the op is in a block already"
    op.parent = block
    last = block._last_op
    if last is None:
        block._first_op = op
    else:
        last._next_op = op
        op._prev_op = last
    block._last_op = op


def drop_unused_arguments(block: Block, count: int) -> list[bool]:
    """Take away those of the block's first `count` arguments that nobody uses, all at once; says of each whether it
    stayed."""
    stays = [argument.first_use is not None for argument in block.args[:count]]
    first = [argument for argument, stay in zip(block.args, stays, strict=False) if stay]
    block._args = (*first, *block.args[count:])
    for index, argument in enumerate(block._args):
        argument.index = index
    return stays


def arrange_arguments(block: Block, arguments: Sequence[BlockArgument]) -> None:
    """Put the block's arguments into this order."""
    assert {id(a) for a in arguments} == {id(a) for a in block.args}, "an order has each argument once"
    block._args = tuple(arguments)
    for index, argument in enumerate(block._args):
        argument.index = index
