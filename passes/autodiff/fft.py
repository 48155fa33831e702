"""Gradients of Fourier transforms."""
