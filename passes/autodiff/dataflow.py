"""Gradients of control flow that is dataflow: of a switch a merge, and of a merge switches. Loops that are cycles have
none: write them as `dfc.while_loop`."""

from __future__ import annotations
