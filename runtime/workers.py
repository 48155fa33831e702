"""Threads for what may take long on the host: user code, and work on values that a device has not computed yet.

Whoever waits in one of them must never keep another from running, so there are as many threads as there is work at
once; a few stay for a while when they have nothing to do. They are daemons: a program's end does not wait for them.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from operator import methodcaller
from queue import Empty, SimpleQueue

from dfc.errors import ResourceExhausted

Task = Callable[[], "Task | None"]
"""Something to do; what it returns is done next, in the same thread."""
LINGER = 2.0
"""Seconds that a thread without work stays."""


class Workers:
    """Runs tasks, each at once, in a thread that is free or in a new one; of threads without work at most `keep` stay.

    A task must not raise. Each has a context of its own, with no context variable set.
    """

    def __init__(self, keep: int = 4, name: str = "dfc-worker") -> None:
        self.keep, self.name = keep, name
        self._reset()

    def _reset(self) -> None:
        self._free: deque[SimpleQueue[Task]] = deque()  # by which threads without work get some, latest last
        self._settling = threading.Lock()  # between threads that have done their work; `submit` does not take it
        self._threads: set[SimpleQueue[Task]] = set()

    @property
    def count(self) -> int:
        """How many threads there are."""
        return len(self._threads)

    def submit(self, task: Task) -> None:
        """Run the task in another thread. Raises RuntimeError where the system gives no more threads.

        An interrupt may go up from here though the task runs, but never leaves a thread behind that waits for one.
        """
        try:
            # Taking a free thread and giving it the task is one call, in C: no signal handler runs in between, and no
            # other thread, so who is not free any more has its task.
            next(map(methodcaller("put", task), iter(self._free.pop, None)))
        except IndexError:
            mine: SimpleQueue[Task] = SimpleQueue()
            mine.put(task)  # not an argument of the thread, which would hold the task as long as it lives
            threading.Thread(target=self._run, args=(mine,), name=self.name, daemon=True).start()

    def _run(self, mine: SimpleQueue[Task]) -> None:
        """One thread."""
        threads = self._threads
        threads.add(mine)
        try:
            task: Task | None = mine.get()
            while task is not None:
                following = Context().run(task)
                task = None  # what it holds must not live until the next one
                task, following = following or self._next(mine), None
        finally:
            threads.discard(mine)

    def _next(self, mine: SimpleQueue[Task]) -> Task | None:
        """The next task for a thread that has done its own; None where it shall end."""
        with self._settling:
            if len(self._free) >= self.keep:
                return None
            self._free.append(mine)
        with suppress(Empty):
            return mine.get(timeout=LINGER)
        try:
            self._free.remove(mine)
        except ValueError:
            return mine.get()  # it has come just now
        return None


WORKERS = Workers()
"""The one pool of this process: whose work a thread does is the task's business."""


def no_thread(what: str, error: RuntimeError) -> ResourceExhausted:
    """The error where `submit` raised this for `what`."""
    made = ResourceExhausted(f"{what} needs a thread beside the {WORKERS.count} that there are: {error}")
    made.__cause__ = error
    return made


with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=WORKERS._reset)
