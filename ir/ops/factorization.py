"""Factorisations of matrices, and what solves with them."""
