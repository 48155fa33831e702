"""Steps that nobody waits for, where the system gives no more threads."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

import dfc
from dfc.errors import DeadlineExceeded, ResourceExhausted
from dfc.runtime.timers import TIMERS
from dfc.runtime.workers import WORKERS
from tests.unit.test_queue_interrupts import Interrupts
from tests.waiting_support import Client, until_waiting

REFUSED = "can't start new thread"


def refuse(*args: Any) -> None:
    raise RuntimeError(REFUSED)


@pytest.fixture
def queue() -> tuple[dfc.Graph, Any, Any]:
    with dfc.Graph() as graph:
        made = dfc.FIFOQueue(2, "float32", shapes=[()])
        return graph, made.enqueue(3.0), made.dequeue()


def test_no_thread_to_begin_in(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, put, take = queue
    with dfc.Session(graph) as session:
        with monkeypatch.context() as patched:
            patched.setattr(WORKERS, "submit", refuse)
            step = session.submit(take)
        with pytest.raises(ResourceExhausted) as caught:
            step.result(30)
        n = WORKERS.count
        assert (
            str(caught.value)
            == f"step: a step that was submitted needs a thread beside the {n} that there are: {REFUSED}"
        )
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert len(session._state.running) == 0
        session.run(put)
        assert session.run(take, timeout=30) == 3


def test_no_thread_to_go_on_in(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step that waits ends; the one that made it possible is none the worse."""
    graph, put, take = queue
    with dfc.Session(graph) as session:
        first, second = session.submit(take), session.submit([take])
        until_waiting(session, 2)
        with monkeypatch.context() as patched:
            patched.setattr(WORKERS, "submit", refuse)
            session.run(put)
        with pytest.raises(ResourceExhausted, match=REFUSED):
            first.result(30)
        session.run(put)
        assert second.result(30) == [3]
        assert len(session._state.running) == 0


def test_no_thread_for_a_time_limit(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _, take = queue
    with dfc.Session(graph) as session:
        monkeypatch.setattr(TIMERS, "after", refuse)
        with pytest.raises(
            ResourceExhausted, match=r"^step: a time limit needs a thread beside the \d+ that there are"
        ):
            session.submit(take, timeout=5)
        assert len(session._state.running) == 0


@pytest.mark.parametrize("kind", ["run", "submit"])
def test_an_interrupt_anywhere_in_one_step_leaves_no_other_waiting(queue: Any, kind: str) -> None:
    """Of two elements that are put in, the first in a call that is interrupted, one at least gets to who waits."""
    graph, put, take = queue
    with dfc.Session(graph) as session:
        session.run(put)
        session.run(take)
        at, interrupted = 0, True
        while interrupted:
            at, interrupted = at + 1, False
            step = Client(lambda: session.run(take)) if kind == "run" else session.submit(take)
            until_waiting(session)
            try:
                with Interrupts(at):
                    session.run(put)
            except KeyboardInterrupt:
                interrupted = True
            session.submit(put).result(30)
            assert step.result(10) == 3, at
            with contextlib.suppress(DeadlineExceeded):
                session.run(take, timeout=0.01)
