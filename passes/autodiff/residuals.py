"""What a backward body needs of the forward one: which values are kept for it, and which are computed again.

A value that is cheap to compute from what is at hand anyway is computed again, since keeping one costs a write in each
iteration and a read later. So is what a loop of unknown length kept, from what that loop started with: two unknown
lengths would multiply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from dfc.ir.builder import Builder, clone_into
from dfc.ir.op import Effect, Op
from dfc.ir.ops import shape
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.control import ControlFlow, Loop, is_handle
from dfc.ir.types import nbytes, spec_of
from dfc.passes.cheap import CHEAP
from dfc.passes.late import symbols_in


@dataclass
class Residuals:
    """Of a block that was cut: `kept` are values of the forward part that the backward part takes, `arguments` the
    block's own arguments that it uses, `again` the forward ops that it runs again, in order."""

    kept: list[SSAValue] = field(default_factory=list)
    arguments: dict[BlockArgument, None] = field(default_factory=dict)
    again: list[Operation] = field(default_factory=list)


def choose(block: Block, backward: Sequence[Operation], results: Iterable[SSAValue], free: set[SSAValue]) -> Residuals:
    """What the `backward` ops, which stand at the end of the block, and `results`, made by them or before, need of what
    is before them. `free` are arguments that cost nothing to have."""
    own = {id(op) for op in backward}
    position = {id(op): i for i, op in enumerate(block.ops)}
    lengths = _open_lengths(block, own)
    used = [o for op in backward for o in op.operands] + list(results)
    needed = {v for v in used if not isinstance(v.owner, Operation) or id(v.owner) not in own}
    found = Residuals()
    again: set[int] = set()
    pending = {id(v.owner): v.owner for v in needed if isinstance(v.owner, Operation)}
    values: dict[int, list[SSAValue]] = {}
    for value in needed:
        values.setdefault(id(value.owner), []).append(value)
    for value in needed:
        if isinstance(value, BlockArgument):
            found.arguments[value] = None

    def want(value: SSAValue) -> None:
        if value in needed:
            return
        needed.add(value)
        owner = value.owner
        if isinstance(value, BlockArgument):
            found.arguments[value] = None
        elif isinstance(owner, Operation):
            pending[id(owner)] = owner
            values.setdefault(id(owner), []).append(value)

    while pending:
        key = max(pending, key=position.__getitem__)
        op = pending.pop(key)
        if _runs_again(op, values[key], needed, free, lengths):
            again.add(key)
            for operand in op.operands:
                want(operand)
        else:
            found.kept += values[key]
    found.kept.sort(key=lambda v: (position[id(v.owner)], v.index))  # type: ignore[attr-defined]
    found.again = [op for op in block.ops if id(op) in again]
    return found


def rerun(found: Residuals, make: Builder, mapping: dict[SSAValue, SSAValue]) -> None:
    """Copy the ops that run again to the builder's place; their results enter `mapping`."""
    for op in found.again:
        assert isinstance(op, Op)
        clone_into(op, make, mapping)


def _runs_again(
    op: Operation, values: Sequence[SSAValue], needed: set[SSAValue], free: set[SSAValue], lengths: set[str]
) -> bool:
    cls = type(op)
    if not op.operands and isinstance(op, Op) and op.EFFECT is Effect.PURE:
        return True
    if any(symbols_in(v) & lengths for v in values):
        return is_pure(op)
    if cls not in CHEAP:
        return False
    missing = {o for o in op.operands if o not in needed and not _is_free(o, free)}
    return sum(map(_bytes, missing)) <= sum(map(_bytes, values))


def is_pure(op: Operation) -> bool:
    """Whether running the op again changes nothing, and gives the same."""
    if isinstance(op, ControlFlow):
        return not op.stateful.data and not any(map(is_handle, op.operand_types))
    return isinstance(op, Op) and op.EFFECT is Effect.PURE


def _is_free(value: SSAValue, free: set[SSAValue]) -> bool:
    """Whether the value costs nothing to have: it is at hand, or comes from what is by cheap ops."""
    owner = value.owner
    if isinstance(value, BlockArgument) or not isinstance(owner, Operation):
        return value in free
    if type(owner) is ConstantOp or type(owner) is shape.Iota:
        return True
    return type(owner) in CHEAP and all(_is_free(o, free) for o in owner.operands)


def _open_lengths(block: Block, backward: set[int]) -> set[str]:
    """Symbols of lengths that are chosen for loops in the block's forward part."""
    found: set[str] = set()
    for op in block.ops:
        if isinstance(op, ControlFlow) and id(op) not in backward:
            for inner in op.walk():
                if isinstance(inner, Loop) and (name := inner.open_length) is not None:
                    found.add(name)
    return found


def _bytes(value: SSAValue) -> int:
    return nbytes(spec_of(value.type))
