"""What a queue is: the description that it is made from, and the checks of what goes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from operator import index
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.dtypes import DType, int64

Shape = tuple[int | None, ...]
"""None stands for a size that is not known."""
UNBOUNDED = -1
KINDS = ("FIFOQueue", "RandomShuffleQueue", "PaddingFIFOQueue", "PriorityQueue", "Barrier")
_TITLES = {"dtypes": "component types", "shapes": "component shapes", "names": "component names"}


@dataclass(frozen=True)
class QueueSpec:
    """A queue's kind, capacity (-1: unbounded) and components.

    `shapes` has a shape for each component, or is None where nothing is known of them. For a barrier the components are
    those of its values; a priority queue's first is the priority. `min_after_dequeue` and `seed` (None: another order
    each time) are options of RandomShuffleQueue. Raises InvalidArgument.
    """

    kind: str
    capacity: int
    dtypes: tuple[DType, ...]
    shapes: tuple[Shape, ...] | None = None
    names: tuple[str, ...] | None = None
    min_after_dequeue: int = 0
    seed: int | None = None
    expected: tuple[tuple[np.dtype[Any], Shape | None], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidArgument(f"there is no queue of kind {self.kind!r}", hint=f"kinds: {', '.join(KINDS)}")
        for what in ("capacity", "min_after_dequeue", "seed"):
            value = getattr(self, what)
            if what != "seed" or value is not None:
                object.__setattr__(self, what, _whole(value, what))
        if self.capacity != UNBOUNDED and self.capacity < 1:
            raise InvalidArgument(f"capacity must be positive, or -1 for unbounded, got {self.capacity}")
        if not self.dtypes:
            raise InvalidArgument(f"a {self.kind} needs at least one component, got no dtypes")
        for what, given in (("shapes", self.shapes), ("names", self.names)):
            if given is not None and len(given) != len(self.dtypes):
                raise InvalidArgument(
                    f"{what} must have one entry for each of {len(self.dtypes)} dtypes, got {len(given)}"
                )
        self._check_options()
        shapes: Sequence[Shape | None] = self.shapes or [None] * len(self.dtypes)
        if self.kind == "PriorityQueue":
            shapes = [(), *shapes[1:]]
        expected = tuple((dtype.numpy, shape) for dtype, shape in zip(self.dtypes, shapes, strict=True))
        object.__setattr__(self, "expected", expected)

    def _check_options(self) -> None:
        kind, least = self.kind, self.min_after_dequeue
        if kind != "RandomShuffleQueue" and (least != 0 or self.seed is not None):
            raise InvalidArgument(f"min_after_dequeue and seed are options of RandomShuffleQueue, got a {kind}")
        if least < 0 or (self.capacity != UNBOUNDED and least >= self.capacity):
            raise InvalidArgument(
                f"min_after_dequeue must be 0 or more and less than the capacity, {self.capacity}, got {least}"
            )
        if kind == "PriorityQueue" and self.dtypes[0] != int64:
            raise InvalidType(f"the first component of a PriorityQueue must be an int64 priority, got {self.dtypes[0]}")
        if kind == "PriorityQueue" and self.shapes is not None and self.shapes[0] != ():
            raise InvalidArgument(f"the priority of a PriorityQueue must be a scalar, got shape {self.shapes[0]}")
        if kind == "PaddingFIFOQueue" and self.shapes is None:
            raise InvalidArgument(
                "a PaddingFIFOQueue needs shapes", hint="write None for the sizes that are to be padded"
            )
        if kind == "Barrier" and not self.is_static:
            raise InvalidArgument(f"a Barrier needs the full shape of every component, got {self.shapes}")
        if kind == "Barrier" and self.capacity != UNBOUNDED:
            raise InvalidArgument(
                f"a Barrier is unbounded: its capacity must be -1, got {self.capacity}",
                hint="put a bounded queue before it",
            )

    @property
    def is_static(self) -> bool:
        """Whether the full shape of every component is known."""
        return self.shapes is not None and all(None not in shape for shape in self.shapes)

    def check_shared(self, requested: QueueSpec, name: str) -> None:
        """Raise InvalidArgument where `requested` describes another queue than this one, shared as `name`."""
        check_shared("queue", name, self, requested)

    def check(self, element: Sequence[Any]) -> None:
        """Raise InvalidArgument or InvalidType unless `element` has components of the right number, dtypes, shapes."""
        try:
            for component, (dtype, shape) in zip(element, self.expected, strict=True):
                if component.dtype is not dtype and component.dtype != dtype:
                    break
                if shape is not None and component.shape != shape:
                    break
            else:
                return
        except (AttributeError, ValueError):
            pass
        self._check_each(element, None)

    def check_batch(self, batch: Sequence[Any]) -> int:
        """The number of elements in `batch`, components with one more leading dimension. Raises like `check`."""
        first = getattr(batch[0], "shape", ()) if batch else ()
        n = first[0] if first else None
        self._check_each(batch, ("n" if n is None else n,))
        assert n is not None
        return int(n)

    def _check_each(self, element: Sequence[Any], batch: tuple[Any, ...] | None) -> None:
        if len(element) != len(self.dtypes):
            raise InvalidArgument(
                f"Wrong number of components in tuple: expected {len(self.dtypes)}, got {len(element)}"
            )
        for i, (component, dtype) in enumerate(zip(element, self.dtypes, strict=True)):
            got = getattr(component, "dtype", None)
            if got is None or got != dtype.numpy:
                what = type(component).__name__ if got is None else got
                raise InvalidType(f"Type mismatch in tuple component {i}: expected {dtype}, got {what}")
        for i, (component, (_, shape)) in enumerate(zip(element, self.expected, strict=True)):
            shown = tuple(component.shape)
            if batch is None:
                fits, wanted = shape is None or fits_shape(shown, shape), str(shape)
            else:
                fits = shown[:1] == batch and (shape is None or fits_shape(shown[1:], shape))
                sizes = [*map(str, (*batch, *(("...",) if shape is None else shape)))]
                wanted = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
            if not fits:
                raise InvalidArgument(f"Shape mismatch in tuple component {i}: expected {wanted}, got {shown}")


def fits_shape(shape: tuple[int, ...], expected: Shape) -> bool:
    """Whether `shape` is one of those that `expected` describes."""
    return len(shape) == len(expected) and all(
        want is None or size == want for size, want in zip(shape, expected, strict=True)
    )


def check_shared(what: str, name: str, existing: Any, requested: Any) -> None:
    """Raise InvalidArgument for the first field in which two descriptions of what is shared as `name` differ."""
    for each in fields(existing):
        have, want = getattr(existing, each.name), getattr(requested, each.name)
        if each.compare and have != want:
            title = _TITLES.get(each.name, each.name)
            verb = "were" if each.name in _TITLES else "was"
            raise InvalidArgument(
                f"Shared {what} {name!r} has {title} {_shown(have)} but requested {title} {verb} {_shown(want)}",
                hint=f"use another shared_name, or the same {each.name}",
            )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


def _whole(value: Any, what: str) -> int:
    try:
        return index(value)
    except TypeError:
        raise InvalidType(f"{what} must be an integer, got {value!r}") from None
