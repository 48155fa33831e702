"""Gradients of quantisation."""
