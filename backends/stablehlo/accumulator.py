"""Accumulators are the host's."""

from __future__ import annotations

from dfc.backends.stablehlo.rules import not_emitted
from dfc.ir.ops import accumulator as ac

HOST = "accumulators are the host's"
not_emitted(ac.Accumulator, HOST)
not_emitted(ac.AccumulatorApply, HOST)
not_emitted(ac.AccumulatorTake, HOST)
not_emitted(ac.AccumulatorSetStep, HOST)
not_emitted(ac.AccumulatorCount, HOST)
