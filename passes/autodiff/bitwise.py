"""Gradients of operations on bits: none passes, except where a sign is copied."""

from __future__ import annotations

from dfc.ir.ops import bitwise as bw
from dfc.ir.ops.elementwise import Multiply
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule

INTEGERS = "takes and gives integers"

non_differentiable(bw.ShiftLeft, INTEGERS)
non_differentiable(bw.ShiftRightArithmetic, INTEGERS)
non_differentiable(bw.ShiftRightLogical, INTEGERS)
non_differentiable(bw.PopulationCount, INTEGERS)
non_differentiable(bw.CountLeadingZeros, INTEGERS)
non_differentiable(bw.BitcastConvert, "reads bits, not numbers")
non_differentiable(bw.NextAfter, "names a neighbour in a finite set of numbers")


@rule(bw.CopySign)
def copy_sign(op: bw.CopySign, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """1 by the first operand where the signs agree, else -1."""
    (g,), (x, y) = grads, op.operands
    one = b.full(1, x)
    return [lambda: b(Multiply, g, b(Multiply, b(bw.CopySign, one, x), b(bw.CopySign, one, y))), None]
