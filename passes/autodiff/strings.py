"""Gradients of strings: there are none, since bytes don't change gradually."""

from __future__ import annotations

from dfc.ir.ops.strings import (
    AsString,
    RegexFullMatch,
    RegexReplace,
    StringFind,
    StringJoin,
    StringLength,
    StringLower,
    StringReduceJoin,
    StringSplit,
    StringStrip,
    StringToHashBucket,
    StringToNumber,
    StringUpper,
    Substring,
)
from dfc.passes.autodiff.rules import non_differentiable

for _op in (
    StringLength,
    StringUpper,
    StringLower,
    StringStrip,
    Substring,
    StringFind,
    StringJoin,
    StringReduceJoin,
    StringSplit,
    RegexFullMatch,
    RegexReplace,
    StringToHashBucket,
    StringToNumber,
    AsString,
):
    non_differentiable(_op, "takes or gives strings")
