"""Gradients of complex numbers."""
