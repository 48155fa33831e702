"""No gradient passes through accumulators, which hold gradients of many steps."""

from __future__ import annotations

from dfc.ir.ops import accumulator as ac
from dfc.passes.autodiff.rules import non_differentiable

non_differentiable(ac.Accumulator, "is a handle")
non_differentiable(ac.AccumulatorApply, "has an effect and no value to differentiate")
non_differentiable(ac.AccumulatorTake, "gives what other steps have put in")
non_differentiable(ac.AccumulatorSetStep, "has an effect and no value to differentiate")
non_differentiable(ac.AccumulatorCount, "gives an integer")
