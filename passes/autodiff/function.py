"""Ops that hold or name other ops: gone, or differentiated already, when gradients are expanded."""

from __future__ import annotations

from typing import NoReturn

from dfc.errors import FailedPrecondition
from dfc.ir.op import Op, short_name
from dfc.ir.ops import function as fn
from dfc.passes.autodiff.rules import Grads, RuleBuilder, non_differentiable, rule

non_differentiable(fn.Func, "is not computed")
non_differentiable(fn.Return, "has no results")


@rule(fn.Call)
def call(op: fn.Call, grads: Grads, b: RuleBuilder) -> NoReturn:
    """`plan` looks through calls; the expansion runs after pass inline has taken them away."""
    raise _too_early(op, f"the call of @{op.callee.data} must be inlined first", "run pass inline before autodiff")


@rule(fn.Gradients)
def gradients(op: fn.Gradients, grads: Grads, b: RuleBuilder) -> NoReturn:
    """An inner request stands before the outer one, so it is expanded first."""
    raise _too_early(op, "an inner request must be expanded first", "expand requests in program order")


@rule(fn.Island)
def island(op: fn.Island, grads: Grads, b: RuleBuilder) -> NoReturn:
    raise _too_early(op, "gradients can't pass through an island", "run pass autodiff before cluster")


non_differentiable(fn.Yield, "has no results")


def _too_early(op: Op, message: str, hint: str) -> FailedPrecondition:
    return FailedPrecondition(message, op=short_name(op), hint=hint)
