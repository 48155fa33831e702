"""`dfc.train.Coordinator`: threads that work together stop together, and the first error among them is raised once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from time import monotonic
from types import TracebackType
from typing import Any

from dfc.errors import DeadlineExceeded, OutOfRange
from dfc.runtime.attempts import LONGEST_SLEEP

POLL = 0.05
"""Seconds between two looks at whether threads that nobody stopped have ended."""
Listener = Callable[[Any], object]


class Coordinator:
    """Stops a set of threads together. Each of them works until `should_stop()`, and any of them may `request_stop()`,
    with the error that ended it where there is one; whoever started them waits in `join()`, which raises the first such
    error:

        coordinator = dfc.train.Coordinator()
        threads = [threading.Thread(target=work, args=(coordinator,)) for _ in range(4)]
        ...
        coordinator.join(threads)

        def work(coordinator):
            with coordinator.stop_on_exception():
                while not coordinator.should_stop():
                    session.run(train)

    Errors of `clean_stop_exceptions` stop the others and are no failure: OutOfRange by default, the end of a queue that
    is closed and empty. All methods may be called from any thread, `request_stop` from signal handlers too.
    """

    def __init__(
        self, clean_stop_exceptions: type[BaseException] | Iterable[type[BaseException]] | None = None
    ) -> None:
        if clean_stop_exceptions is None:
            clean_stop_exceptions = (OutOfRange,)
        elif isinstance(clean_stop_exceptions, type):
            clean_stop_exceptions = (clean_stop_exceptions,)
        self._clean = tuple(clean_stop_exceptions)
        self._lock = threading.RLock()  # a signal handler may come here too
        self._stopped = self._joined = False
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._threads: list[threading.Thread] = []
        self._listeners: list[Listener] = []

    # ---- stopping

    def should_stop(self) -> bool:
        """Whether a stop was requested."""
        return self._stopped

    def request_stop(self, exception: BaseException | None = None) -> None:
        """Ask all to stop. Of the errors that are given, `join` raises the first, unless the stop was requested before:
        what fails while all are stopping is no news. After `join` an error is raised here."""
        failed = exception is not None and not isinstance(exception, self._clean)
        with self._lock:
            if failed and self._joined:
                assert exception is not None
                raise exception
            if failed and not self._stopped and self._error is None:
                assert exception is not None
                self._error, self._traceback = exception, exception.__traceback__
            self._stopped = True
            for listener in list(self._listeners):
                listener(None)

    def clear_stop(self) -> None:
        """Forget the stop, the error and the threads, to begin anew."""
        with self._lock:
            self._stopped = self._joined = False
            self._error = self._traceback = None
            self._threads.clear()

    @contextmanager
    def stop_on_exception(self) -> Iterator[None]:
        """An error inside requests a stop, and goes no further: `join` raises it."""
        try:
            yield
        except GeneratorExit:  # a generator must not go on after it
            self.request_stop()
            raise
        except BaseException as error:
            self.request_stop(error)

    # ---- waiting

    def wait_for_stop(self, timeout: float | None = None) -> bool:
        """Wait until a stop is requested, for `timeout` seconds at most; whether it was."""
        end = None if timeout is None else monotonic() + timeout
        with self.listening() as news:
            while not self._stopped:
                left = LONGEST_SLEEP if end is None else min(LONGEST_SLEEP, end - monotonic())
                if left <= 0:
                    break
                with suppress(Empty):
                    news.get(timeout=left)
        return self._stopped

    @contextmanager
    def listening(self) -> Iterator[SimpleQueue[Any]]:
        """A queue of which something comes out when a stop is requested; others may put something in."""
        news: SimpleQueue[Any] = SimpleQueue()
        listener = news.put
        self._listeners.append(listener)
        try:
            if self._stopped:
                news.put(None)
            yield news
        finally:
            self._listeners.remove(listener)

    # ---- threads

    def register_thread(self, thread: threading.Thread) -> None:
        """Let `join` wait for the thread too."""
        with self._lock:
            if thread not in self._threads:
                self._threads.append(thread)

    @property
    def joined(self) -> bool:
        """Whether `join` has ended."""
        return self._joined

    def join(self, threads: Iterable[threading.Thread] | None = None, stop_grace_period: float | None = 120.0) -> None:
        """Wait until `threads` and those registered have ended; once a stop is requested, for `stop_grace_period`
        seconds at most (None: for as long as it takes). Then raise the first error that was reported, with its
        traceback, or DeadlineExceeded, which names the threads that did not stop."""
        mine = list(dict.fromkeys([*self._threads, *(threads or ())]))
        me = threading.current_thread()
        while _alive(mine, me) and not self.wait_for_stop(POLL):
            pass
        end = None if stop_grace_period is None else monotonic() + stop_grace_period
        while (alive := _alive(mine, me)) and (end is None or monotonic() < end):
            alive[0].join(LONGEST_SLEEP if end is None else max(0.0, min(LONGEST_SLEEP, end - monotonic())))
        with self._lock:
            self._joined = True
            self._threads = [thread for thread in self._threads if thread.is_alive()]
        if self._error is not None:
            raise self._error.with_traceback(self._traceback)
        if alive:
            raise DeadlineExceeded(
                f"these threads did not stop within {stop_grace_period} s of the request: "
                f"{', '.join(thread.name for thread in alive)}",
                op="Coordinator.join",
                hint="let them ask should_stop(), and close the queues that they may wait for",
            )


def _alive(threads: list[threading.Thread], me: threading.Thread) -> list[threading.Thread]:
    return [thread for thread in threads if thread is not me and thread.is_alive()]
