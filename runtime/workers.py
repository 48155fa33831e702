"""Threads for what may take long on the host: user code, and work on values that a device has not computed yet.

Whoever waits in one of them must never keep another from running, so there are as many threads as there is work at
once; a few stay for a while when they have nothing to do. They are daemons: a program's end does not wait for them.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from operator import methodcaller
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from types import FrameType

from dfc.errors import ResourceExhausted

Task = Callable[[], "Task | None"]
"""Something to do; what it returns is done next, in the same thread."""
LINGER = 2.0
"""Seconds that a thread without work stays."""
EXIT_PATIENCE = 30.0
"""Seconds that the end of the process waits for threads that wait for devices."""


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
            task: Task | None = _taken(mine)
            while task is not None:
                following = Context().run(task)
                task = None  # what it holds must not live until the next one
                task, following = following if callable(following) else self._next(mine), None
        finally:
            threads.discard(mine)

    def _next(self, mine: SimpleQueue[Task]) -> Task | None:
        """The next task for a thread that has done its own; None where it shall end."""
        with self._settling:
            if len(self._free) >= self.keep:
                return None
            self._free.append(mine)
        with suppress(Empty):
            return _taken(mine, LINGER)
        try:
            self._free.remove(mine)
        except ValueError:
            return _taken(mine)  # it has come just now
        return None


def _taken(mine: SimpleQueue[Task], timeout: float | None = None) -> Task:
    """What a thread without work gets. Only such a thread is here."""
    return mine.get(timeout=timeout)


WORKERS = Workers()
"""The one pool of this process: whose work a thread does is the task's business."""


def no_thread(what: str, error: RuntimeError) -> ResourceExhausted:
    """The error where `submit` raised this for `what`."""
    made = ResourceExhausted(f"{what} needs a thread beside the {WORKERS.count} that there are: {error}")
    made.__cause__ = error
    return made


def settle() -> None:
    """Wait until the threads of `WORKERS` have no work, but for user code, which is not waited for.

    At its end Python stops daemon threads where they next want to run. Where they are inside of XLA then, to wait for a
    device or to free an array, the process ends with SIGABRT.
    """
    deadline = monotonic() + EXIT_PATIENCE
    while monotonic() < deadline and any(map(_must_end, _places())):
        sleep(0.002)


def _places() -> list[FrameType]:
    """Where the threads of `WORKERS` are."""
    ours = {thread.ident for thread in threading.enumerate() if thread.name == WORKERS.name}
    return [frame for ident, frame in sys._current_frames().items() if ident in ours]


def _must_end(frame: FrameType | None) -> bool:
    """Whether a thread that is there is at work of dfc's, or inside of XLA for user code."""
    if frame is None or frame.f_code is _taken.__code__:
        return False
    house = Path(__file__).parent.parent
    ours, xla = str(house), [str(house / "backends" / name) for name in ("arrays.py", "xla.py")]
    jax = [str(Path(str(sys.modules[name].__file__)).parent) for name in ("jax", "jaxlib") if name in sys.modules]
    if _is_in(frame, [*xla, *jax]):
        return True
    while frame is not None and _is_in(frame, [ours, threading.__file__, *jax]):
        frame = frame.f_back
    return frame is None


def _is_in(frame: FrameType, places: Sequence[str]) -> bool:
    """Whether the frame is of one of these files, or of a file in one of these folders."""
    path = frame.f_code.co_filename
    return any(path == place or path.startswith(place + os.sep) for place in places)


atexit.register(settle)

with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=WORKERS._reset)
