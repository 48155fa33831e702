"""Emission of quantisation."""
