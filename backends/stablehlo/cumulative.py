"""Emission of cumulative operations."""
