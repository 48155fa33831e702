"""Emission of strings."""
