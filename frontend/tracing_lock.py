"""The lock of tracing, and who must not wait for it."""

from __future__ import annotations

import threading

from dfc.errors import FailedPrecondition
from dfc.ir import locations

tracing_lock = threading.RLock()
"""Held while user code runs for dfc, in a trace or for an initial value. One for all: each may need the other's result,
and two threads that held one lock each would wait for each other for ever. Nobody waits for it with another lock.

Whoever takes it calls `refuse_deadlock` before and `owner.note` inside. (An object of ours around it could be
interrupted between taking the lock and knowing that.)"""
POLL = 0.05


class _Owner:
    """The thread that took the lock last."""

    def __init__(self) -> None:
        self.thread = 0

    def note(self) -> None:
        """It is this one."""
        self.thread = threading.get_ident()


owner = _Owner()


def refuse_deadlock(what: str) -> None:
    """Raise FailedPrecondition where the thread that has the lock waits for this one, a thread of a py_call."""
    from dfc.runtime.in_thread import is_awaited_by, is_worker

    if not is_worker():
        return
    seen = 0
    while not tracing_lock.acquire(timeout=POLL):
        seen = seen + 1 if is_awaited_by(owner.thread) else 0
        if seen == 2:  # once could be by who had the lock before
            raise FailedPrecondition(
                f"{what} in a dfc.py_call whose caller is tracing or computing an initial value: each would wait for "
                "the other for ever",
                location=locations.describe(locations.capture()),
                hint="do it before, or call the function without dfc.py_call",
            )
    tracing_lock.release()
