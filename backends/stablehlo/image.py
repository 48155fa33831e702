"""Emission of images."""
