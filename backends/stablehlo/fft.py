"""Emission of Fourier transforms."""
