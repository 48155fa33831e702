"""Gradients of indexing."""
