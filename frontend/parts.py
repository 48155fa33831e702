"""A part of a tensor whose number of rows is known only when the program runs."""

from __future__ import annotations

from typing import NamedTuple

from dfc.frontend.tensor import Tensor


class Part(NamedTuple):
    """`rows` has room for as many rows as the part could have; the first `length`, an int32 scalar, are the part, the
    rest is padding. So one compiled program holds for every length.

    Made by `dfc.dynamic_partition` in a trace; `dfc.take` takes it as indices and `dfc.dynamic_stitch` for indices and
    data. Any other operation works on `rows`, padding included: mask it by `length` where that matters.
    """

    rows: Tensor
    length: Tensor
