"""Deadlines: one thread calls back what has waited long enough."""

from __future__ import annotations

import heapq
import itertools
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic
from types import SimpleNamespace
from typing import Any

LINGER = 2.0
"""Seconds that the thread stays when there is nothing to wait for: most timers are taken back before it has looked."""
LONGEST_SLEEP = 3600.0
"""Seconds; the system's own limit is some weeks on some machines."""
FEW = 64
"""Timers that were taken back and are not due yet: so many are never worth looking for."""


class Timer:
    """A call to come; `cancel` takes it back."""

    __slots__ = ("_timers", "call")

    def __init__(self, timers: Timers, call: Callable[[], None]) -> None:
        self._timers = timers
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Don't call it, unless that has begun. What it would have called may be freed at once."""
        if self.call is not None:
            self.call = None
            self._timers.cancelled()


class Timers:
    """Calls functions after a while, in a thread of its own, which lives while there is something to wait for, and a
    little longer. The functions must be short; an Exception in one goes to `sys.unraisablehook`."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._number = itertools.count()
        # Reentrant, for signal handlers and finalisers; only the thread takes anything out.
        self._changed = threading.Condition(threading.RLock())
        self._running = False
        self._asleep_until = -inf  # when the thread looks again by itself; -inf where it is about to
        self._n_cancelled = 0  # in the heap, or a few more

    def __len__(self) -> int:
        """How many timers are kept, those included that were taken back and not yet forgotten."""
        return len(self._heap)

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call the function in so many seconds. Raises RuntimeError where the system gives no more threads."""
        timer, due = Timer(self, call), monotonic() + seconds
        try:
            with self._changed:
                heapq.heappush(self._heap, (due, next(self._number), timer))
                if not self._running:
                    self._start()
                elif due < self._asleep_until:
                    self._changed.notify()
        except BaseException:
            timer.cancel()
            raise
        return timer

    def cancelled(self) -> None:
        """Note that a timer was taken back; once most of them are, forget those."""
        with self._changed:
            self._n_cancelled += 1
            if self._has_many_cancelled():
                self._changed.notify()

    def _has_many_cancelled(self) -> bool:
        return self._n_cancelled > max(FEW, len(self._heap) // 2)

    def _forget_cancelled(self) -> None:
        before, self._heap, self._n_cancelled = self._heap, [], 0
        for entry in before:
            if entry[2].call is not None:
                heapq.heappush(self._heap, entry)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="dfc-timers", daemon=True)
        self._running = True
        try:
            thread.start()
        except BaseException:
            self._running = thread.ident is not None  # an interrupt while it starts doesn't stop it
            raise

    def _run(self) -> None:
        while True:
            timer = self._next()
            if timer is None:
                return
            call, timer.call = timer.call, None
            if call is not None:
                try:
                    call()
                except Exception as error:  # not the business of the other timers
                    _report(call, error)
            del call, timer

    def _next(self) -> Timer | None:
        """Wait for the first timer that is due and take it out; None, and the thread ends, once there was none for a
        while."""
        with self._changed:
            while True:
                if self._has_many_cancelled():
                    self._forget_cancelled()
                now = monotonic()
                if not self._heap:
                    if not self._sleep(now, now + LINGER) and not self._heap:
                        self._running = False
                        return None
                    continue
                due, _, timer = self._heap[0]
                if due > now and timer.call is not None:
                    self._sleep(now, min(due, now + LONGEST_SLEEP))
                    continue
                heapq.heappop(self._heap)
                if timer.call is not None:
                    return timer
                self._n_cancelled = max(0, self._n_cancelled - 1)

    def _sleep(self, now: float, until: float) -> bool:
        """Let go of the lock until then; False if nobody wanted anything before."""
        self._asleep_until = until
        woken = self._changed.wait(until - now)
        self._asleep_until = -inf
        return woken


def _report(call: Callable[[], None], error: Exception) -> None:
    what: Any = SimpleNamespace(
        exc_type=type(error),
        exc_value=error,
        exc_traceback=error.__traceback__,
        err_msg="Exception ignored in a timer's call",
        object=call,
    )
    sys.unraisablehook(what)


TIMERS = Timers()
"""The one thread of deadlines of this process."""

with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=TIMERS._reset)
