"""Ops that hold or name other ops: gone, or differentiated already, when gradients are expanded."""

from __future__ import annotations

from typing import NoReturn

from dfc.errors import FailedPrecondition
from dfc.ir.dims import symbol
from dfc.ir.op import Op, short_name
from dfc.ir.ops import function as fn
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.control import open_lengths
from dfc.ir.ops.state import Read
from dfc.passes.autodiff.expand import backward, fresh_length
from dfc.passes.autodiff.paths import carries
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule

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


@rule(fn.CustomGradient)
def custom_gradient(op: fn.CustomGradient, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The region's ops, with the gradients and what it needs in the place of its arguments."""
    flowing = [(y, g) for y, g in zip(op.ys, grads, strict=True) if carries(y.type)]
    arriving = [b.full(0, y) if g is None else g for y, g in flowing]
    return list(b.copy(op.block, [*arriving, *op.needed]))


@rule(fn.Checkpoint)
def checkpoint(op: fn.Checkpoint, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The region computed again, and the gradients through that. The barrier keeps it from being merged with the first
    computation, and from starting before the gradients are there. Variables and constants, often the larger part, are
    not hidden: what depends on them alone may well be computed once. Loops in it have lengths of their own."""
    flowing = [g for g in grads if g is not None]
    every = tuple(range(len(op.operands)))
    hidden = tuple(i for i in every if not isinstance(op.operands[i].owner, Read | ConstantOp))
    held = list(b.op(fn.OptimizationBarrier, *op.operands, *flowing, hidden=hidden or every).results)
    xs, seeds = held[: len(op.operands)], held[len(op.operands) :]
    again = b.copy(op.block, xs, {name: symbol(fresh_length()) for name in open_lengths(op.block.ops)})
    ys = [y for y, g in zip(again, grads, strict=True) if g is not None]
    return list(backward(ys, xs, seeds, b))


@rule(fn.OptimizationBarrier)
def optimization_barrier(op: fn.OptimizationBarrier, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return list(grads)


@rule(fn.Island)
def island(op: fn.Island, grads: Grads, b: RuleBuilder) -> NoReturn:
    raise _too_early(op, "gradients can't pass through an island", "run pass autodiff before cluster")


non_differentiable(fn.Yield, "has no results")


def _too_early(op: Op, message: str, hint: str) -> FailedPrecondition:
    return FailedPrecondition(message, op=short_name(op), hint=hint)
