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

Task = Callable[[], None]
LINGER = 2.0
"""Seconds that a thread without work stays."""


class Workers:
    """Runs tasks, each at once, in a thread that is free or in a new one; of threads without work at most `keep` stay.
    A task must not raise."""

    def __init__(self, keep: int = 4, name: str = "dfc-worker") -> None:
        self.keep, self.name = keep, name
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._free: deque[_Worker] = deque()
        self._count = 0

    @property
    def count(self) -> int:
        """How many threads there are."""
        return self._count

    def submit(self, task: Task) -> None:
        """Run the task in another thread. Raises RuntimeError where the system gives no more threads."""
        with self._lock:
            worker = self._free.pop() if self._free else None
            if worker is None:
                self._count += 1
        if worker is not None:
            worker.give(task)
            return
        try:
            _Worker(self).start_with(task)
        except BaseException:
            with self._lock:
                self._count -= 1
            raise

    def _is_free(self, worker: _Worker) -> bool:
        """Whether a worker that has nothing to do shall wait for more."""
        with self._lock:
            if len(self._free) >= self.keep:
                self._count -= 1
                return False
            self._free.append(worker)
            return True

    def _may_leave(self, worker: _Worker) -> bool:
        """Whether a worker that has waited long enough can go: not if it was just given something."""
        with self._lock:
            if worker not in self._free:
                return False
            self._free.remove(worker)
            self._count -= 1
            return True


class _Worker:
    """One thread."""

    def __init__(self, pool: Workers) -> None:
        self._pool = pool
        self._task: Task | None = None
        self._given = threading.Semaphore(0)

    def start_with(self, task: Task) -> None:
        self._task = task
        self._given.release()
        threading.Thread(target=self._run, name=self._pool.name, daemon=True).start()

    def give(self, task: Task) -> None:
        self._task = task
        self._given.release()

    def _run(self) -> None:
        while True:
            while not self._given.acquire(timeout=LINGER):
                if self._pool._may_leave(self):
                    return
            task, self._task = self._task, None
            if task is not None:
                task()
            del task  # what it holds must not live until the next one
            if not self._pool._is_free(self):
                return


WORKERS = Workers()
"""The one pool of this process: whose work a thread does is the task's business."""

with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=WORKERS._reset)
