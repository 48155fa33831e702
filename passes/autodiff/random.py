"""Gradients of random numbers."""
