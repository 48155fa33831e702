"""Gradients pass through values that are fed, or that wait, as if they were computed where they stand."""

from __future__ import annotations

from dfc.ir.ops import graph as gr
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule

non_differentiable(gr.Placeholder, "has no operands")


@rule(gr.Feed)
def feed(op: gr.Feed, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return list(grads)


@rule(gr.After)
def after(op: gr.After, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [grads[0], *[None] * (len(op.operands) - 1)]
