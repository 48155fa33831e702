"""Emission of segments."""
