"""Emission of convolutions."""
