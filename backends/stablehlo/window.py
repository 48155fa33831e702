"""Emission of windows."""
