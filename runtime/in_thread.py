"""Functions that run in threads of their own, as attempts: whoever waits for one holds no thread meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from dfc.errors import Cancelled, DeadlineExceeded, DfcError, Internal
from dfc.runtime.attempts import LONGEST_SLEEP
from dfc.runtime.timers import TIMERS, Timer
from dfc.runtime.workers import WORKERS, Task, no_thread


class Threads:
    """The owner of attempts that run in threads, with the methods of `runtime/attempts.py`."""

    def submit(self, attempt: InThread) -> bool:
        """Start it. False: its `done` is called later. Raises ResourceExhausted where the system gives no threads."""
        try:
            WORKERS.submit(attempt)
        except RuntimeError as error:
            raise no_thread(attempt.operation, error) from error
        return False

    def cancel(self, attempt: InThread, error: DfcError | None = None) -> bool:
        """Forget it. What has begun goes on, and nobody hears of it."""
        return attempt.end(error or Cancelled(f"{attempt.operation} was cancelled"))

    def wait(self, attempt: InThread) -> Any:
        """Start it and block until it is over: its result, or its error raised. Its `done` is not called. An interrupt
        cancels it."""
        channel: SimpleQueue[InThread] = SimpleQueue()
        attempt.done = channel.put
        try:
            self.submit(attempt)
            while not attempt.is_over:
                try:
                    channel.get(timeout=LONGEST_SLEEP)
                except Empty:
                    continue
        except BaseException:
            self.cancel(attempt)
            raise
        if attempt.error is not None:
            raise attempt.error
        return attempt.result


class InThread:
    """A function of no arguments that runs in a thread of `workers`; its results, or its error, are the attempt's.

    Whatever the function raises is an error of the attempt, KeyboardInterrupt and SystemExit too: they are meant for
    the main thread. Others than dfc's are the cause of an Internal.

    What `done` returns in the thread itself, if it is not None, that does next. With `is_quick` the function is not
    expected to take longer than a change of threads would.
    """

    owner = Threads()

    def __init__(
        self,
        function: Callable[[], Any],
        done: Callable[[InThread], Task | None],
        operation: str = "the work of a thread",
        is_quick: bool = False,
    ) -> None:
        self.function: Callable[[], Any] | None = function
        self.done, self.operation, self.is_quick = done, operation, is_quick
        self.result: Any = None
        self.error: DfcError | None = None
        self.is_over = False
        self._lock = threading.Lock()
        self._ended = False
        self._timer: Timer | None = None
        self.begun_by = threading.get_ident()
        """The thread that waits for it, or for what does."""

    def __call__(self) -> Task | None:
        _at_work[threading.get_ident()] = self
        try:
            return self._run()
        finally:
            del _at_work[threading.get_ident()]

    def _run(self) -> Task | None:
        function = self.function
        if function is None:
            return None
        result, failed = None, None
        try:
            result = function()
        except BaseException as error:
            failed = error if isinstance(error, DfcError) else wrapped(error)
        del function
        return self.done(self) if self.end(failed, result) else None

    def within(self, seconds: float) -> None:
        """End it with DeadlineExceeded if it is not over in so many seconds from now; what it does goes on."""

        def end() -> None:
            late = DeadlineExceeded(f"{self.operation} took longer than its time limit of {seconds:g} s")
            if self.end(late):
                self.done(self)

        self._timer = TIMERS.after(seconds, end)
        if self._ended:
            self._timer.cancel()

    def end(self, error: DfcError | None, result: Any = None) -> bool:
        """Make this the outcome, unless there is one."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
        self.function = None
        self.error, self.result, self.is_over = error, result, True
        if self._timer is not None:
            self._timer.cancel()
        return True


_at_work: dict[int, InThread] = {}
"""What each thread is doing."""


def is_worker() -> bool:
    """Whether this thread runs the function of an attempt."""
    return threading.get_ident() in _at_work


def is_awaited_by(thread: int) -> bool:
    """Whether that thread began what this one does, itself or by way of others, and none of it was given up."""
    attempt = _at_work.get(threading.get_ident())
    while attempt is not None and not attempt.is_over:
        if attempt.begun_by == thread:
            return True
        attempt = _at_work.get(attempt.begun_by)
    return False


def wrapped(error: BaseException) -> Internal:
    """An error of user code, or of something below, as dfc's."""
    made = Internal(f"{type(error).__name__}: {error}")
    made.__cause__ = error
    return made
