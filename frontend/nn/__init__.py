"""Layers and losses as functions, made of primitive operations."""

from __future__ import annotations

from dfc.frontend.nn.activations import log_softmax, relu, softmax
from dfc.frontend.nn.losses import softmax_cross_entropy, sparse_softmax_cross_entropy

__all__ = ["log_softmax", "relu", "softmax", "softmax_cross_entropy", "sparse_softmax_cross_entropy"]
