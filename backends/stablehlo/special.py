"""Emission of special functions."""
