"""Bits: shifts, counts, reinterpretation."""
