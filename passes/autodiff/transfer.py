"""Sends, receives and what holds them up have no gradient: they are made after differentiation."""

from __future__ import annotations

from dfc.ir.ops import transfer
from dfc.passes.autodiff.rules import non_differentiable

non_differentiable(transfer.Send, "gives nothing")
non_differentiable(transfer.Recv, "comes from another device's graph")
non_differentiable(transfer.Computed, "gives a token only")
