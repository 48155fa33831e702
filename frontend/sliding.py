"""What convolution and pooling take from their users: layouts, sizes along spatial axes, padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

from dfc.errors import InvalidArgument, Unimplemented
from dfc.frontend.ops.shape import error_here
from dfc.ir.dims import Dim, Shape, ceildiv
from dfc.ir.ops.shape import shape_text
from dfc.ir.windows import dilated

LAST, FIRST = ("NWC", "NHWC", "NDHWC"), ("NCW", "NCHW", "NCDHW")
Sizes = int | Sequence[int]
Padding = str | int | Sequence[Any]
Pairs = tuple[tuple[Dim, ...], tuple[Dim, ...]]


def layout(rank: int, data_format: str, op: str) -> tuple[int, tuple[int, ...]]:
    """The axis of features and the spatial axes, in an array of this rank whose first axis is the batch.

    Raises InvalidArgument unless there are 1 to 3 spatial axes and the format is one of these.
    """
    if not 3 <= rank <= 5:
        raise error_here(
            InvalidArgument, f"x needs a batch axis, a feature axis and 1 to 3 spatial ones, got rank {rank}", op
        )
    if data_format in (LAST[rank - 3], LAST[1]):
        return rank - 1, tuple(range(1, rank - 1))
    if data_format in (FIRST[rank - 3], FIRST[1]):
        return 1, tuple(range(2, rank))
    raise error_here(
        InvalidArgument,
        f"data_format must be {LAST[rank - 3]!r} or {FIRST[rank - 3]!r} for rank {rank}, got {data_format!r}",
        op,
        hint="'NHWC' and 'NCHW' are taken at every rank, for features last and features first",
    )


def per_axis(sizes: Sizes, n_axes: int, what: str, op: str) -> tuple[int, ...]:
    """One positive int for each spatial axis; a single one serves all."""
    try:
        given = tuple(map(index, sizes)) if isinstance(sizes, Iterable) else (index(sizes),) * n_axes
    except TypeError:
        given = ()
    if len(given) != n_axes or min(given) < 1:
        raise error_here(
            InvalidArgument, f"{what} must be a positive int, or one for each of {n_axes} spatial axes, got {sizes}", op
        )
    return given


def explicit(padding: Padding, n_axes: int, op: str) -> Pairs:
    """Low and high padding of the spatial axes from an int, a pair or int for each axis."""
    try:
        entries = list(padding) if isinstance(padding, Iterable) else [padding] * n_axes
        pairs = [tuple(map(index, e)) if isinstance(e, Iterable) else (index(e),) * 2 for e in entries]
    except TypeError:
        pairs = []
    if len(pairs) != n_axes or any(len(p) != 2 or min(p) < 0 for p in pairs):
        raise error_here(
            InvalidArgument,
            f"padding must be 'SAME', 'VALID', an int or a pair of ints for each of {n_axes} spatial axes, none "
            f"negative, got {padding!r}",
            op,
        )
    return tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)


def padding_of(
    padding: Padding,
    extents: Shape,
    window: Shape,
    strides: tuple[int, ...],
    dilation: tuple[int, ...],
    op: str,
) -> Pairs:
    """Low and high padding of the spatial axes.

    "VALID" is none. "SAME" is what makes the result ceil(extent / stride) long: half before, the rest after.
    """
    if not isinstance(padding, str) or padding not in ("SAME", "VALID"):
        return explicit(padding, len(extents), op)
    if padding == "VALID":
        return (0,) * len(extents), (0,) * len(extents)
    low: list[Dim] = []
    high: list[Dim] = []
    for extent, size, stride, apart in zip(extents, window, strides, dilation, strict=True):
        span = dilated(size, apart)
        total = (ceildiv(extent, stride) - 1) * stride + span - extent
        if isinstance(total, int):
            total = max(total, 0)
        elif not isinstance(span, int) or span < stride:
            raise error_here(
                Unimplemented,
                f"padding 'SAME' of a size that isn't known needs a window no smaller than the stride, got {span} and "
                f"{stride} for {shape_text(extents)}",
                op,
                hint="give the padding as pairs",
            )
        low.append(total // 2)
        high.append(total - low[-1])
    return tuple(low), tuple(high)
