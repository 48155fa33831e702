"""Steps that threads of user code drive on, without waking who waits for the step."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import Cancelled, DeadlineExceeded, Internal

SCALAR = dfc.TensorSpec((), "float32")
QUICK_CALLS = 30


def loop_of(function: Callable[[Any], Any], n: int = 100) -> tuple[dfc.Graph, dfc.Tensor]:
    """A loop that calls `function` in each of n iterations."""
    with dfc.Graph() as graph:

        def body(i: dfc.Tensor, a: dfc.Tensor) -> Any:
            return i + 1, dfc.py_call(function, [a], SCALAR, stateful=False)

        result = dfc.while_loop(lambda i, a: i < n, body, (0, np.float32(0)))[1]
    return graph, result


class Counted:
    """Adds 1, in no time; from call `QUICK_CALLS` on it waits until it is released."""

    def __init__(self, blocks: bool = True) -> None:
        self.blocks, self.calls = blocks, 0
        self.threads: list[int] = []
        self.waits, self.release = threading.Event(), threading.Event()

    def __call__(self, a: np.ndarray[Any, Any]) -> Any:
        self.calls += 1
        self.threads.append(threading.get_ident())
        if self.blocks and self.calls > QUICK_CALLS:
            self.waits.set()
            assert self.release.wait(60)
        return a + np.float32(1)


def test_quick_calls_that_follow_each_other_share_a_thread_that_is_not_the_callers() -> None:
    add = Counted(blocks=False)
    graph, result = loop_of(add)
    with dfc.Session(graph) as session:
        assert session.run(result) == 100
        assert session.run(result) == 100
    assert threading.get_ident() not in add.threads
    changes = sum(a != b for a, b in zip(add.threads[100:], add.threads[101:], strict=False))
    assert changes < 50, "a change for each call would be 99"


def test_closing_the_session_does_not_wait_for_a_call_that_was_quick_until_now() -> None:
    add = Counted()
    graph, result = loop_of(add)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            session.run(result)
        except BaseException as error:
            failures.append(error)

    with dfc.Session(graph) as session:
        thread = threading.Thread(target=run)
        thread.start()
        assert add.waits.wait(60)
        session.close()
        thread.join(10)
        assert not thread.is_alive()
    add.release.set()
    assert [type(error) for error in failures] == [Cancelled]
    assert add.calls == QUICK_CALLS + 1


def test_nor_does_a_time_limit() -> None:
    add = Counted()
    graph, result = loop_of(add)
    with dfc.Session(graph) as session:
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"waited for py_call at .*test_driving_on"):
            session.run(result, timeout=2)
        assert time.monotonic() - start < 20
        add.release.set()
        add.blocks = False
        assert session.run(result) == 100, "the session goes on"


def test_nor_does_an_interrupt() -> None:
    add = Counted()
    graph, result = loop_of(add)

    def interrupt() -> None:
        if add.waits.wait(60):
            _thread.interrupt_main()

    with dfc.Session(graph) as session:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            session.run(result)
        thread.join(10)
        add.release.set()
        add.blocks = False
        assert session.run(result) == 100, "the session goes on"


def test_interrupts_at_any_time_end_the_step_and_leave_the_session_whole() -> None:
    add = Counted(blocks=False)
    graph, result = loop_of(add, n=2000)
    with dfc.Session(graph) as session:
        session.run(result)
        for wait in np.linspace(0.001, 0.05, 20):
            timer = threading.Timer(wait, _thread.interrupt_main)
            with pytest.raises(KeyboardInterrupt):
                timer.start()
                while True:
                    session.run(result)
            timer.join(10)
            assert len(session._state.running) == 0
        assert session.run(result) == 2000


def test_an_error_of_a_later_call_has_the_op_and_the_line() -> None:
    def add(a: np.ndarray[Any, Any]) -> Any:
        if a > 40:
            raise ValueError("too many")
        return a + np.float32(1)

    graph, result = loop_of(add)
    message = r"^py_call: add raised ValueError: too many\n  at .*test_driving_on\.py:\d+:\d+: return i \+ 1, dfc"
    with dfc.Session(graph) as session, pytest.raises(Internal, match=message):
        session.run(result)


def test_the_host_prints_with_the_callers_numpy_options(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where another thread has driven the step there."""
    add = Counted(blocks=False)
    with dfc.Graph() as graph:
        third = loop_in(graph, add) / np.float32(3)
        shown = dfc.print("third:", third + np.zeros(1, np.float32))
    with dfc.Session(graph) as session, np.printoptions(precision=2):
        for _ in range(3):
            session.run(shown)
    assert capsys.readouterr().out == "third: [3.33]\n" * 3


def loop_in(graph: dfc.Graph, function: Callable[[Any], Any], n: int = 10) -> dfc.Tensor:
    def body(i: dfc.Tensor, a: dfc.Tensor) -> Any:
        return i + 1, dfc.py_call(function, [a], SCALAR, stateful=False)

    made: dfc.Tensor = dfc.while_loop(lambda i, a: i < n, body, (0, np.float32(0)))[1]
    return made


def test_a_quick_call_does_not_wait_for_another_loop_to_end() -> None:
    """One of 20,000 iterations of the host beside one of ten with calls."""
    ended: list[int] = []
    count = [0]

    def add(a: np.ndarray[Any, Any]) -> Any:
        return a + np.float32(1)

    def last(a: np.ndarray[Any, Any]) -> Any:
        ended.append(count[0])
        return a

    def tick(a: np.ndarray[Any, Any]) -> Any:
        count[0] += 1
        return a

    with dfc.Graph() as graph:
        short = dfc.py_call(last, [loop_in(graph, add)], SCALAR)
        long = dfc.while_loop(
            lambda i, a: i < 2000,
            lambda i, a: (i + 1, dfc.py_call(tick, [a], SCALAR, stateful=False)),
            (0, np.float32(0)),
        )[1]
    with dfc.Session(graph) as session:
        for _ in range(3):
            count[0] = 0
            session.run([short, long])
            assert count[0] == 2000
    assert max(ended) < 1900


def test_a_partial_run_leaves_no_call_behind() -> None:
    """What is fetched first may come while a thread has a quick call before it."""

    def slow(a: np.ndarray[Any, Any]) -> Any:
        time.sleep(0.004)
        return a

    with dfc.Graph() as graph:
        x, y = dfc.placeholder("float32", ()), dfc.placeholder("float32", ())
        first = dfc.py_call(slow, [x], SCALAR, stateful=False)
        last = loop_in(graph, Counted(blocks=False), 300) + y
    with dfc.Session(graph) as session:
        for _ in range(30):
            handle = session.partial_run_setup([first, last], [x, y])
            assert session.partial_run(handle, first, {x: 1.0}) == 1
            assert session.partial_run(handle, last, {y: 1.0}, timeout=30) == 301
