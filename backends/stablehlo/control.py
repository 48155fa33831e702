"""Branches and loops: StableHLO's own."""

from __future__ import annotations
