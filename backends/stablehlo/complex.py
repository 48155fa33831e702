"""Emission of complex numbers."""
