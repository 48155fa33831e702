"""Strings: variable-length bytes, on the host."""
