"""Emission of indexing."""
