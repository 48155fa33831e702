"""Constants are computed, and identities applied, until nothing is left to do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation

from dfc.ir.builder import Replacing
from dfc.ir.op import Op
from dfc.passes.folding import FOLD_LIMIT, fold, foldable, touches_known
from dfc.passes.manager import Pass
from dfc.passes.prune import erase_unused
from dfc.passes.requests import without_requests
from dfc.passes.simplifications import OF_CONSTANTS, Rule, rules_of


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Fold constants into ones of at most `limit` elements, and apply the identities of `passes/simplifications.py`.

    Requires: nothing; a function that still asks for gradients, or is bound by calls to one that does, is left alone,
    since xs name values and gradients go through calls.
    Ensures: no rule applies any more, a pure op of constants only is a constant unless that would be large, and no pure
    op is unused. Reads, writes and stateful ops stay, but for assertions that hold. NaNs, infinities and the signs of
    zeros stay as they were; the last bit of a folded function such as exp is NumPy's.
    """

    name: ClassVar[str] = "canonicalize"
    SETTLES: ClassVar[bool] = True
    limit: int = FOLD_LIMIT

    def apply(self, program: ModuleOp) -> dict[str, int]:
        return canonicalize(program, self.limit)


def canonicalize(program: ModuleOp, limit: int = FOLD_LIMIT) -> dict[str, int]:
    """Simplify every function; a folded result has at most `limit` elements."""
    counts = {"folded": 0, "simplified": 0, "erased": 0}
    for func in without_requests(program):
        replacing = Replacing()
        _simplify(func.block, limit, counts, replacing)
        replacing.finish()
        counts["erased"] += erase_unused(func.block, pure_only=True)
    return counts


def _simplify(block: Block, limit: int, counts: dict[str, int], replacing: Replacing) -> None:
    """One walk is enough: operands come before their users, no rule looks at users, and what a rule makes stands in
    front of the op that it replaces, where the walk goes on."""
    op = block.first_op
    while op is not None:
        replacing.visit(op)
        if op.regions:
            for inner in (b for region in op.regions for b in region.blocks):
                _simplify(inner, limit, counts, replacing)
        can_fold, rules, of_constants = _plan(type(op))
        if of_constants and op._operands and not touches_known(op):
            op = op.next_op
            continue
        previous = op.prev_op
        value = fold(op, limit) if can_fold else None
        if value is not None:
            counts["folded"] += 1
        else:
            for rule in rules:
                value = rule(op)
                if value is not None:
                    counts["simplified"] += 1
                    break
            else:
                op = op.next_op
                continue
        replacing.replace(op, [value])
        op = previous.next_op if previous is not None else block.first_op


@cache
def _plan(cls: type[Operation]) -> tuple[bool, tuple[Rule, ...], bool]:
    """Whether an op of this class may fold, the rules for it, and whether either needs an operand that is known."""
    if not issubclass(cls, Op):
        return False, (), True
    rules = rules_of(cls)
    return foldable(cls), rules, OF_CONSTANTS.issuperset(rules)
