"""Common subexpressions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation

from dfc.ir.builder import Replacing, placement_of
from dfc.ir.op import Effect
from dfc.passes.manager import Pass
from dfc.passes.requests import without_requests


@dataclass(frozen=True)
class Cse(Pass):
    """Merge pure ops that compute the same.

    Requires: nothing; a function that still asks for gradients, or is bound by calls to one that does, is left alone,
    since merging would change what xs are.
    Ensures: no block has two pure ops of one class with the same operands and attributes. Handles of one variable
    merge; reads, writes and stateful ops never do. A merged op's position and name go to the one that stays.
    """

    name: ClassVar[str] = "cse"

    def apply(self, program: ModuleOp) -> dict[str, int]:
        return cse(program)


def cse(program: ModuleOp) -> dict[str, int]:
    """Merge equal pure ops, block by block."""
    return {"merged": sum(_merge_all(func.block) for func in without_requests(program))}


def _merge_all(block: Block) -> int:
    replacing = Replacing()
    merged = _merge(block, replacing)
    replacing.finish()
    return merged


def _merge(block: Block, replacing: Replacing) -> int:
    # Keys hold ids of operands, which live as long as the op that the key leads to.
    merged = 0
    known: dict[Any, Operation] = {}
    op = block.first_op
    while op is not None:
        following = op.next_op
        replacing.visit(op)
        if op.regions:
            merged += sum(_merge(inner, replacing) for region in op.regions for inner in region.blocks)
        elif op.results and op.EFFECT is Effect.PURE:  # type: ignore[attr-defined]
            operands = tuple(map(id, op.operands))
            key = (type(op), operands, _attributes(op)) if op.properties else (type(op), operands)
            if op.attributes and (where := placement_of(op)):
                key = (*key, *where.items())
            first = known.setdefault(key, op)
            if first is not op:
                _keep_name(first, op)
                replacing.replace(op, first.results)
                merged += 1
        op = following
    return merged


def _attributes(op: Operation) -> Any:
    """The op's attributes as a key. Zeros of either sign are different floats, though equal in Python."""
    values = [(k, v.data) for k, v in op.properties.items()]  # type: ignore[attr-defined]
    if len(values) > 1:
        values.sort()
    return tuple((k, v.hex()) if type(v) is float else (k, v) for k, v in values)


def _keep_name(first: Operation, merged: Operation) -> None:
    if merged.attributes and "name" not in first.attributes:
        first.attributes.update(merged.attributes)
