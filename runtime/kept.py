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
        self._things: list[Closeable] = []
        self._closed = False

    def add(self, thing: Closeable) -> None:
        """Close this with the step; at once, if that has ended."""
        with self._lock:
            if not self._closed:
                self._things.append(thing)
                return
        thing.close()

    def close(self) -> None:
        """Close all."""
        with self._lock:
            self._closed = True
            things, self._things = self._things, []
        for thing in things:
            thing.close()
