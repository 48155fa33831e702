"""Gradients of quantisation."""

from __future__ import annotations

from xdsl.ir import SSAValue

from dfc.ir.ops import elementwise as ew
from dfc.ir.ops.quantize import Dequantize, Quantize
from dfc.ir.ops.reduction import ReduceSum
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule, spec

non_differentiable(Quantize, "gives integers; dfc.fake_quantize passes gradients straight through the rounding")


@rule(Dequantize)
def dequantize(op: Dequantize, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """By the scale: q - zero_point, which is what dequantising by a scale of one gives."""
    (g,), (q, scale, zero) = grads, op.operands

    def by_scale() -> SSAValue:
        steps = b(Dequantize, q, b.full(1, scale), zero, axis=op.axis.data)
        kept = op.axis.data if spec(scale).shape else None
        axes = tuple(i for i in range(len(spec(q).shape)) if i != kept)
        return b(ReduceSum, b(ew.Multiply, g, steps), axes=axes)

    return [None, by_scale, None]
