"""`dfc.autograph`: Python's `if`, `while` and `for` on tensors, in functions under `@dfc.function(autograph=True)`."""

from __future__ import annotations

from dfc.frontend.autograph.convert import do_not_convert, to_code

__all__ = ["do_not_convert", "to_code"]
