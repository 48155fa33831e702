"""Gradients of windows."""
