"""Gradients of special functions."""
