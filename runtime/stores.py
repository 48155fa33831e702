"""Where a queue keeps its elements, in the order in which they come out.

A store holds items, tuples whose last entry is the element. `insert` and `remove` are written in C, so that a step
can mark what it does and do it with nothing in between (see `runtime/attempts.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from heapq import heapify, heappop, heappush
from random import Random
from typing import Any

from dfc.runtime.batches import Element

Item = tuple[Any, ...]


class Store:
    """First in, first out."""

    at_once = False
    """Whether a batch is taken at once, when all of it is there, rather than bit by bit."""

    def __init__(self) -> None:
        self.items: Any = deque()
        self.held_back = 0  # that many may not be taken
        self.insert: Callable[[Item], object] = self.items.append
        self.remove: Callable[[], object] = self.items.popleft
        """Drop what `front` gave."""

    def item(self, element: Element) -> Item:
        """What is kept for an element that is put in now."""
        return (element,)

    def front(self) -> Item:
        """What comes out next."""
        found: Item = self.items[0]
        return found

    def returning(self, items: Sequence[Item]) -> Callable[[], object]:
        """A function, written in C, that puts items back that were taken."""
        return partial(self.items.extendleft, items[::-1])


class ShuffledStore(Store):
    """Any of those there are, each as likely as the others; `held_back` stay, so that there is a choice."""

    def __init__(self, held_back: int, seed: int | None) -> None:
        super().__init__()
        self.items = []
        self.held_back = held_back
        self.insert, self.remove = self.items.append, self.items.pop
        self._random = Random(seed).random

    def front(self) -> Item:
        items = self.items
        i = int(self._random() * len(items))
        items[i], items[-1] = items[-1], items[i]
        found: Item = items[-1]
        return found

    def returning(self, items: Sequence[Item]) -> Callable[[], object]:
        return partial(self.items.extend, items)


class OrderedStore(Store):
    """The smallest first component first, a NumPy scalar; of equal ones the first to come."""

    at_once = True

    def __init__(self) -> None:
        super().__init__()
        self.items = []
        self.insert, self.remove = partial(heappush, self.items), partial(heappop, self.items)
        self._n_inserted = 0

    def item(self, element: Element) -> Item:
        self._n_inserted += 1
        return int(element[0]), self._n_inserted, element

    def returning(self, items: Sequence[Item]) -> Callable[[], object]:
        every = [*self.items, *items]
        heapify(every)
        return partial(self.items.__setitem__, slice(None), every)
