"""Gradients of images."""
