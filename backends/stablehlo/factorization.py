"""Emission of factorisations."""
