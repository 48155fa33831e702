"""Gradients of segments."""
