"""What moves variables to a device and back has no gradient: it is made after differentiation."""

from __future__ import annotations

from dfc.ir.ops import offload
from dfc.passes.autodiff.rules import non_differentiable

MADE_LATER = "is made of what is differentiated already"
non_differentiable(offload.Hold, MADE_LATER)
non_differentiable(offload.Fetch, MADE_LATER)
non_differentiable(offload.Evict, MADE_LATER)
non_differentiable(offload.Release, MADE_LATER)
non_differentiable(offload.LetGo, MADE_LATER)
