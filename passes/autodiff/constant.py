"""Constants have no inputs, so nothing passes through them."""

from __future__ import annotations

from dfc.ir.ops.constant import ConstantOp
from dfc.passes.autodiff.rules import non_differentiable

non_differentiable(ConstantOp, "has no inputs")
