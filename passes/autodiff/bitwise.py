"""Gradients of operations on bits: none passes."""

from __future__ import annotations

from dfc.ir.ops import bitwise as bw
from dfc.passes.autodiff.rules import non_differentiable

INTEGERS = "takes and gives integers"

non_differentiable(bw.ShiftLeft, INTEGERS)
non_differentiable(bw.ShiftRightArithmetic, INTEGERS)
non_differentiable(bw.ShiftRightLogical, INTEGERS)
non_differentiable(bw.PopulationCount, INTEGERS)
non_differentiable(bw.CountLeadingZeros, INTEGERS)
non_differentiable(bw.BitcastConvert, "reads bits, not numbers")
non_differentiable(bw.NextAfter, "names a neighbour in a finite set of numbers")
