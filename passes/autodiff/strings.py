"""Gradients of strings."""
