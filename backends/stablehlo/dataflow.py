"""Control flow as dataflow is the host's."""

from __future__ import annotations

from dfc.backends.stablehlo.rules import not_emitted
from dfc.ir.dialect import family_ops

for _op in family_ops("dataflow"):
    not_emitted(_op, "the executor does it")
