"""Reverse-mode differentiation on the graph.

`plan` decides at the call which gradients there are, `keep_sparse` which of them stay rows; the pass `autodiff` expands
exactly those. `rule` gives an op its
gradient, `non_differentiable` says why it has none.
"""

from __future__ import annotations

import importlib

from dfc.ir.dialect import FAMILIES
from dfc.passes.autodiff.expand import Autodiff, autodiff, expand
from dfc.passes.autodiff.plan import plan
from dfc.passes.autodiff.rules import NON_DIFFERENTIABLE, RULES, RuleBuilder, non_differentiable, rule
from dfc.passes.autodiff.sparse import keep_sparse

for _family in FAMILIES:  # each fills the table with its rules
    importlib.import_module(f"dfc.passes.autodiff.{_family}")

__all__ = [
    "NON_DIFFERENTIABLE",
    "RULES",
    "Autodiff",
    "RuleBuilder",
    "autodiff",
    "expand",
    "keep_sparse",
    "non_differentiable",
    "plan",
    "rule",
]
