"""Gradients of branches and loops."""

from __future__ import annotations
