"""A check passes gradients on; what Python does has none unless it is stated, as `dfc.custom_gradient` does."""

from __future__ import annotations

from dfc.ir.ops import host as ho
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule

non_differentiable(ho.PyCall, "runs Python code: dfc.py_call(..., gradient=...) states one")
non_differentiable(ho.Print, "has an effect and no value to differentiate")
non_differentiable(ho.Assert, "has an effect and no value to differentiate")


@rule(ho.CheckNumerics)
def check_numerics(op: ho.CheckNumerics, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [None, *grads]
