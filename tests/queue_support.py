"""What tests of queues share."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfc.ir.dtypes import as_dtype
from dfc.runtime.attempts import Attempt
from dfc.runtime.queue_spec import QueueSpec
from dfc.runtime.queues import Queue, make_queue


def spec(
    kind: str = "FIFOQueue", capacity: int = -1, dtypes: Any = ("float32",), shapes: Any = ((),), **options: Any
) -> QueueSpec:
    return QueueSpec(kind, capacity, tuple(map(as_dtype, dtypes)), shapes, **options)


def queue(kind: str = "FIFOQueue", capacity: int = -1, **options: Any) -> Queue:
    """A queue named "q" of float32 scalars, unless the options say otherwise."""
    made = make_queue(spec(kind, capacity, **options), "q")
    assert isinstance(made, Queue)
    return made


def scalar(value: float) -> Any:
    return np.array(value, np.float32)


def enqueue(q: Queue, value: float, told: list[Attempt] | None = None) -> Attempt:
    """An attempt to put one float32 in; it is added to `told` by `done`."""
    return q.enqueue([scalar(value)], (told if told is not None else []).append)


def put(q: Queue, *values: float) -> None:
    """Put float32 scalars in, at once."""
    for value in values:
        attempt = enqueue(q, value)
        assert q.submit(attempt)
        assert attempt.error is None


def taken(q: Queue, n: int = 1) -> list[float]:
    """Take `n` scalars, one by one, at once."""
    found = []
    for _ in range(n):
        attempt = q.dequeue()
        assert q.submit(attempt)
        assert attempt.error is None, attempt.error
        found.append(float(attempt.result[0]))
    return found


def waiting(q: Any, attempt: Attempt) -> Attempt:
    """The attempt, submitted; it has to wait."""
    assert not q.submit(attempt)
    return attempt


def finished(q: Any, attempt: Attempt) -> Attempt:
    """The attempt, submitted; it completes at once."""
    assert q.submit(attempt)
    return attempt


def failure(q: Any, attempt: Attempt) -> str:
    """The class and the text of the error that the attempt completes with at once."""
    assert q.submit(attempt)
    return described(attempt)


def described(attempt: Attempt) -> str:
    assert attempt.error is not None
    return f"{type(attempt.error).__name__}: {attempt.error}"
