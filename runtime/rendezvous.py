"""Where the devices of a step hand values to each other.

A key says whose value it is, for whom, which tensor, and of which iteration of which frame. Who sends never waits; who
receives holds no thread meanwhile: it is an attempt, as a dequeue is. Values of one key arrive in the order in which
they were sent.
"""

from __future__ import annotations

import secrets
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from dfc.errors import Cancelled, DeadlineExceeded, DfcError, InvalidArgument
from dfc.runtime.attempts import LONGEST_SLEEP
from dfc.runtime.flow import DEAD

INCARNATION = secrets.randbits(64)
"""Of this process: what an earlier one of the same name has sent is not for it."""


class Key(NamedTuple):
    """The parts of a key: `source;incarnation;target;tensor;frame:iteration`."""

    source: str
    incarnation: int
    target: str
    tensor: str
    frame: str
    iteration: int

    def __str__(self) -> str:
        return f"{prefix_of(self.source, self.incarnation, self.target, self.tensor)}{self.frame}:{self.iteration}"


def prefix_of(source: str, incarnation: int, target: str, tensor: str) -> str:
    """A key up to the frame."""
    return f"{source};{incarnation:016x};{target};{tensor};"


def parse_key(text: str) -> Key:
    """The key that `text` says. Raises InvalidArgument for what is none."""
    parts = text.split(";")
    try:
        source, incarnation, target, tensor, at = parts
        frame, colon, iteration = at.rpartition(":")
        if not (source and target and tensor and frame and colon and iteration.isdecimal()):
            raise ValueError
        return Key(source, int(incarnation, 16), target, tensor, frame, int(iteration))
    except ValueError:
        raise InvalidArgument(f"Invalid  rendezvous key: {text}") from None


class Receiving:
    """Somebody waits for the value of a key: an attempt, as in `runtime/attempts.py`. Its result is the value alone, or
    `DEAD`."""

    __slots__ = ("done", "error", "key", "owner", "result")

    def __init__(self, owner: Rendezvous, key: str, done: Callable[[Receiving], object]) -> None:
        self.owner, self.key, self.done = owner, key, done
        self.result: tuple[Any] | None = None
        self.error: DfcError | None = None


class Rendezvous(ABC):
    """What the runtime asks of one: the same in a process and between tasks."""

    @abstractmethod
    def send(self, key: str, value: Any, is_dead: bool = False) -> None:
        """Offer a value, or that there is none. Never waits. Raises the error of an aborted step."""

    @abstractmethod
    def submit(self, attempt: Receiving) -> bool:
        """Begin to wait. True: it is over at once, and its `done` is not called."""

    @abstractmethod
    def cancel(self, attempt: Receiving, error: DfcError | None = None) -> bool:
        """End the wait, with Cancelled unless there is an error; whether it was under way."""

    @abstractmethod
    def abort(self, error: DfcError) -> None:
        """End all that wait, and all who will, with this error, the first one counts; let go of what nobody took."""

    def receive(self, key: str, done: Callable[[Receiving], object]) -> Receiving:
        """An attempt to get the value of a key, to be submitted."""
        return Receiving(self, key, done)

    def wait(self, key: str, timeout: float | None = None) -> tuple[Any, bool]:
        """The value of a key, and whether it is dead, once it has been sent. Raises DeadlineExceeded after so many
        seconds, and the error of an aborted step."""
        come = threading.Event()
        attempt = self.receive(key, lambda _: come.set())
        deadline = None if timeout is None else monotonic() + timeout
        if not self.submit(attempt):
            try:
                while not come.is_set():
                    left = LONGEST_SLEEP if deadline is None else min(LONGEST_SLEEP, deadline - monotonic())
                    if left <= 0 and self.cancel(attempt):
                        raise DeadlineExceeded("Timed out waiting for notification", op=parse_key(key).tensor)
                    come.wait(max(left, 0.001))
            except BaseException:
                self.cancel(attempt)
                raise
        if attempt.error is not None:
            raise attempt.error
        assert attempt.result is not None
        (value,) = attempt.result
        return (None, True) if value is DEAD else (value, False)


class LocalRendezvous(Rendezvous):
    """Of the devices of this process, for one step: a table."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[str, deque[Any]] = {}
        self._waiting: dict[str, deque[Receiving]] = {}
        self._error: DfcError | None = None

    def send(self, key: str, value: Any, is_dead: bool = False) -> None:
        value = DEAD if is_dead else value
        with self._lock:
            if self._error is not None:
                raise self._error
            waiting = self._waiting.get(key)
            if not waiting:
                self._sent.setdefault(key, deque()).append(value)
                return
            attempt = waiting.popleft()
            if not waiting:
                del self._waiting[key]
            attempt.result = (value,)
        attempt.done(attempt)

    def submit(self, attempt: Receiving) -> bool:
        with self._lock:
            if self._error is not None:
                attempt.error = self._error
                return True
            sent = self._sent.get(attempt.key)
            if not sent:
                self._waiting.setdefault(attempt.key, deque()).append(attempt)
                return False
            attempt.result = (sent.popleft(),)
            if not sent:
                del self._sent[attempt.key]
            return True

    def cancel(self, attempt: Receiving, error: DfcError | None = None) -> bool:
        with self._lock:
            waiting = self._waiting.get(attempt.key)
            if waiting is None or attempt not in waiting:
                return False
            waiting.remove(attempt)
            if not waiting:
                del self._waiting[attempt.key]
            attempt.error = error or Cancelled(f"receiving {parse_key(attempt.key).tensor!r} was cancelled")
            return True

    def abort(self, error: DfcError) -> None:
        with self._lock:
            if self._error is None:
                self._error = error
            waiting, self._waiting = self._waiting, {}
            self._sent.clear()
            attempts = [attempt for each in waiting.values() for attempt in each]
            for attempt in attempts:
                attempt.error = self._error
        for attempt in attempts:
            attempt.done(attempt)

    def __len__(self) -> int:
        """How many values wait to be taken, and how many wait for one."""
        return sum(map(len, self._sent.values())) + sum(map(len, self._waiting.values()))
