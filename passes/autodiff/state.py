"""Gradients by variables arrive through their reads; a write passes none."""

from __future__ import annotations

from dfc.ir.ops import state as st
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule

non_differentiable(st.Variable, "is a handle: the gradient by a variable is the sum over its reads")


@rule(st.Read)
def read(op: st.Read, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [grads[0], *[None] * (len(op.operands) - 1)]


non_differentiable(st.InitialValue, "has no operands")
non_differentiable(st.IsInitialized, "gives a boolean")
non_differentiable(st.InitializedValue, "gives what an initial value starts from")
WRITE = "a write gives a token only; the value that it stores doesn't get the gradients of later reads"
non_differentiable(st.Assign, WRITE)
non_differentiable(st.AssignAdd, WRITE)
non_differentiable(st.AssignSub, WRITE)
non_differentiable(st.ScatterUpdate, WRITE)
non_differentiable(st.ScatterAdd, WRITE)
non_differentiable(st.ScatterSub, WRITE)
non_differentiable(st.ScatterMul, WRITE)
non_differentiable(st.ScatterDiv, WRITE)
non_differentiable(st.ScatterMin, WRITE)
non_differentiable(st.ScatterMax, WRITE)
non_differentiable(st.Group, "gives a token only")
