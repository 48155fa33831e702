"""Emission of random numbers."""
