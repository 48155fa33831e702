"""The geometry of windows that slide over an axis: convolutions and reductions over windows share it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dfc.ir.dims import Dim


class Sliding(NamedTuple):
    """A window of `size` elements, `dilation` apart, that moves by `stride` along an axis of `extent` elements, which
    are `base_dilation` apart and have `low` elements before and `high` after them."""

    extent: Dim
    size: Dim
    stride: int
    low: Dim
    high: Dim
    base_dilation: int = 1
    dilation: int = 1

    @property
    def padded(self) -> Dim:
        """The length of the axis with dilation and padding."""
        return dilated(self.extent, self.base_dilation) + self.low + self.high

    @property
    def span(self) -> Dim:
        """From the window's first element to its last, both included."""
        return dilated(self.size, self.dilation)

    @property
    def positions(self) -> Dim:
        """How many times the window fits."""
        room = self.padded - self.span
        if isinstance(room, int):
            return 0 if room < 0 else room // self.stride + 1
        return room // self.stride + 1


def dilated(extent: Dim, dilation: int) -> Dim:
    """The length of `extent` elements that are `dilation` apart."""
    if dilation == 1 or extent == 0:
        return extent
    return (extent - 1) * dilation + 1


def tap(index: Sequence[int], slides: Sequence[Sliding]) -> tuple[slice, ...]:
    """Where element `index` of the window stands in the padded array, for all positions of the window. All sizes are
    ints."""
    found = []
    for i, slide in zip(index, slides, strict=True):
        start = i * slide.dilation
        assert isinstance(slide.positions, int)
        found.append(slice(start, start + (slide.positions - 1) * slide.stride + 1 if slide.positions else start))
    return tuple(slice(s.start, s.stop, slide.stride) for s, slide in zip(found, slides, strict=True))
