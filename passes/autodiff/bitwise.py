"""Gradients of operations on bits."""
