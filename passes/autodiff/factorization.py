"""Gradients of factorisations."""
