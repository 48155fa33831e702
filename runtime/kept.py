"""What a step keeps while it runs, and gives back when it ends, however it ends."""

from __future__ import annotations

import threading
from typing import Protocol


class Closeable(Protocol):
    """What a step keeps."""

    def close(self) -> None:
        """Give everything back. May be called twice, and from any thread."""


class Kept:
    """The things that a step keeps. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._things: dict[int, Closeable] = {}
        self._closed = False
        self.holding = 0
        """How many things others wait for, and which the step will not be long to give back."""

    def add(self, thing: Closeable) -> None:
        """Close this with the step; at once, if that has ended."""
        with self._lock:
            if not self._closed:
                self._things[id(thing)] = thing
                return
        thing.close()

    def remove(self, thing: Closeable) -> None:
        """Forget something that has given everything back."""
        with self._lock:
            self._things.pop(id(thing), None)

    def close(self) -> None:
        """Close all."""
        with self._lock:
            self._closed = True
            things, self._things = self._things, {}
        for thing in things.values():
            thing.close()
