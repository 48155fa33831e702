"""Sorting, selection, sets and counts."""
