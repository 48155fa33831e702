"""Emission of sorting."""
