"""Gradients of cumulative operations."""
