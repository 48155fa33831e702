"""Deadlines: one thread calls back what has waited long enough."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic


class Timer:
    """A call to come; `cancel` takes it back."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Never call it. What it would have called may be freed at once."""
        self.call = None


class Timers:
    """Calls functions after a while, in a thread of its own, which lives while there is something to wait for. The
    functions must be short and not raise."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._running = False

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call the function in so many seconds."""
        timer = Timer(call)
        with self._changed:
            heapq.heappush(self._heap, (monotonic() + seconds, next(self._number), timer))
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="dfc-timers", daemon=True).start()
            self._changed.notify()
        return timer

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._heap and self._heap[0][2].call is None:
                    heapq.heappop(self._heap)
                if not self._heap:
                    self._running = False
                    return
                due = self._heap[0][0] - monotonic()
                if due > 0:
                    self._changed.wait(due)
                    continue
                timer = heapq.heappop(self._heap)[2]
            call = timer.call
            if call is not None:
                call()
            del call, timer


TIMERS = Timers()
"""The one thread of deadlines of this process."""

with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=TIMERS._reset)
