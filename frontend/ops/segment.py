"""Sums and extremes over segments; partition and stitch."""
