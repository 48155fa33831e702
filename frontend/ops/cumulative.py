"""Scans along an axis: cumulative sums, products and extremes."""
