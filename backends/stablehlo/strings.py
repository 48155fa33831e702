"""Emission of strings: none is emitted, the host runs them."""

from __future__ import annotations

from dfc.backends.stablehlo.rules import not_emitted
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
    not_emitted(_op, "the pass cluster leaves it to the host, since no device holds strings")
