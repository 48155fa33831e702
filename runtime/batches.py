"""Between elements and batches of them, on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfc.ir.dtypes import DType

Array = NDArray[Any]
Element = list[Any]
"""The components of one element of a queue: NumPy or device arrays."""


def on_host(value: Any) -> Array:
    """The value as a NumPy array, once it is computed; a view where that is possible."""
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "is_fully_addressable"):  # jax.Array, without importing jax to ask
        from dfc.backends import xla

        return xla.to_numpy(value, copy=False)
    return np.asarray(value)


def row(batch: Sequence[Array], i: int) -> Element:
    """Element number `i` of a batch: views."""
    return [component[i, ...] for component in batch]


def stack(
    elements: Sequence[Element], dtypes: Sequence[DType], shapes: Sequence[tuple[int | None, ...]]
) -> list[Array]:
    """One new array a component, the elements along a new leading dimension.

    Where a size in `shapes` is None it is the largest there is, and smaller components are padded with zeros, strings
    with empty ones, at the end.
    """
    return [
        _stack_one([on_host(element[i]) for element in elements], dtype, shape)
        for i, (dtype, shape) in enumerate(zip(dtypes, shapes, strict=True))
    ]


def _stack_one(arrays: list[Array], dtype: DType, shape: tuple[int | None, ...]) -> Array:
    padded = None in shape
    sizes = [
        max((array.shape[axis] for array in arrays), default=0) if size is None else size
        for axis, size in enumerate(shape)
    ]
    made = np.empty((len(arrays), *sizes), dtype.numpy)
    if padded:
        made[...] = b"" if dtype == "string" else 0
    for i, array in enumerate(arrays):
        place: Any = (i, *map(slice, array.shape)) if padded else (i, ...)
        made[place] = array
    return made
