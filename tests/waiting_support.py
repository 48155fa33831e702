"""What tests of steps that wait share: clients in threads of their own, and looking at who waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import dfc

PATIENCE = 60
"""Seconds: for what comes at once, on a machine that has other things to do."""


class Client:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error

    @property
    def waits(self) -> bool:
        """Whether the call goes on."""
        return self._thread.is_alive()

    def result(self, timeout: float = PATIENCE) -> Any:
        """What the call returned; its error is raised."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the call has not ended"
        if self._error is not None:
            raise self._error
        return self._result


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until this is so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.001)


def attempts(live: Any) -> int:
    """How many wait at a queue or the like."""
    return sum(len(line) for line in live.lines)


def n_waiting(session: dfc.Session) -> int:
    """How many attempts wait at what is the session's."""
    return sum(attempts(live) for live in list(session._state.resources.values()))


def until_waiting(session: dfc.Session, n: int = 1) -> None:
    """Wait until so many attempts of the session's steps wait."""
    eventually(lambda: n_waiting(session) == n)


def in_threads(n: int, work: Callable[[int], Any]) -> list[Any]:
    """`work(0)` ... in a thread each, at once: what they return; an error is raised."""
    clients = [Client(lambda index=index: work(index)) for index in range(n)]  # type: ignore[misc]
    return [client.result() for client in clients]
