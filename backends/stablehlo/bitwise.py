"""Emission of operations on bits."""
