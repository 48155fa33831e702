"""Reductions over sliding windows: pooling."""
