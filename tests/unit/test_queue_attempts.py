"""Attempts: who is told and when, cancelling, waiting, interrupts and signal handlers (row C9)."""

from __future__ import annotations

import _thread
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from dfc.errors import Cancelled, DeadlineExceeded, FailedPrecondition, Internal, OutOfRange
from dfc.runtime import attempts
from dfc.runtime.attempts import Attempt
from tests.queue_support import described, enqueue, failure, finished, put, queue, scalar, taken, waiting


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert not set(threading.enumerate()) - before


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def joined(thread: threading.Thread) -> None:
    thread.join(20)
    assert not thread.is_alive(), "deadlock"


def soon(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "too late"
        time.sleep(0.001)


def n_waiting(q: Any) -> int:
    return sum(map(len, q.lines))


def test_done_is_not_called_for_what_completes_at_once() -> None:
    q, told = queue(), list[Attempt]()
    finished(q, enqueue(q, 1, told))
    finished(q, q.dequeue(told.append))
    finished(q, q.close(done=told.append))
    finished(q, q.dequeue(told.append))
    assert told == []


def test_done_is_called_with_no_lock_held_and_may_submit_to_the_same_queue() -> None:
    q, found, owned = queue(), list[Any](), list[bool]()

    def done(attempt: Attempt) -> None:
        owned.append(q._lock._is_owned())
        found.append(attempt.result)
        finished(q, enqueue(q, 7))
        found.append(finished(q, q.dequeue()).result)

    waiting(q, q.dequeue(done))
    put(q, 1)
    assert owned == [False]
    assert found == [[1], [7]]


def test_done_is_called_in_the_order_of_completion_though_it_completes_others() -> None:
    q, told = queue(capacity=1), list[str]()

    def first(attempt: Attempt) -> None:
        told.append("first begins")
        finished(q, q.dequeue())
        told.append("first ends")

    put(q, 0)
    waiting(q, q.enqueue([scalar(1)], first))
    waiting(q, q.enqueue([scalar(2)], lambda _: told.append("second")))
    assert taken(q) == [0]
    assert told == ["first begins", "first ends", "second"]


@pytest.mark.parametrize("n_queues", [1, 3, 700])
def test_a_long_chain_needs_no_depth(n_queues: int) -> None:
    queues = [queue() for _ in range(n_queues)]
    n, depths = 10_000, set[int]()

    def pass_on(i: int) -> Callable[[Attempt], None]:
        def done(attempt: Attempt) -> None:
            depths.add(depth())
            finished(queues[(i + 1) % n_queues], enqueue(queues[(i + 1) % n_queues], i))

        return done

    for i in range(n):
        waiting(queues[i % n_queues], queues[i % n_queues].dequeue(pass_on(i)))
    put(queues[0], 0)
    assert len(depths) == 1
    assert sum(q.size() for q in queues) == 1


def depth() -> int:
    frame, n = sys._getframe(), 0
    while frame.f_back is not None:
        frame, n = frame.f_back, n + 1
    return n


def test_what_done_raises_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    q, told, reports = queue(), list[Attempt](), list[Any]()
    monkeypatch.setattr(sys, "unraisablehook", reports.append)

    def bad(attempt: Attempt) -> None:
        raise ValueError("bad done")

    waiting(q, q.dequeue(bad))
    waiting(q, q.dequeue(told.append))
    finished(q, q.enqueue_many([np.ones(2, np.float32)]))
    assert [type(report.exc_value) for report in reports] == [ValueError]
    assert reports[0].err_msg == "Exception ignored in `done` of Dequeue"
    assert len(told) == 1


def test_an_interrupt_in_done_goes_up_when_all_are_told() -> None:
    q, told = queue(), list[Attempt]()

    def interrupted(attempt: Attempt) -> None:
        raise KeyboardInterrupt

    waiting(q, q.dequeue(interrupted))
    waiting(q, q.dequeue(told.append))
    with pytest.raises(KeyboardInterrupt):
        q.submit(q.enqueue_many([np.ones(2, np.float32)]))
    assert len(told) == 1
    put(q, 1)
    assert taken(q) == [1]


def test_interrupts_in_done_again_and_again_do_not_keep_another_thread_from_telling() -> None:
    q, told = queue(), list[Attempt]()

    def done(attempt: Attempt) -> None:
        told.append(attempt)
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    lined_up = [waiting(q, q.dequeue(done)) for _ in range(21)]
    with pytest.raises(KeyboardInterrupt):
        q.submit(q.enqueue_many([np.ones(20, np.float32)]))
    assert len(told) < 20
    joined(in_thread(lambda: put(q, 1)))
    assert told == lined_up


def test_an_interrupt_in_done_does_not_keep_other_queues_from_telling() -> None:
    first, second, told = queue(), queue(), list[Attempt]()

    def done(attempt: Attempt) -> None:
        put(second, 1)
        raise KeyboardInterrupt

    waiting(second, second.dequeue(told.append))
    waiting(first, first.dequeue(done))
    with pytest.raises(KeyboardInterrupt):
        put(first, 1)
    assert len(told) == 1


def test_c9_cancelling_wakes_a_waiting_thread_at_once() -> None:
    q, caught = queue(), list[Any]()
    attempt = q.dequeue()

    def work() -> None:
        with pytest.raises(Cancelled) as error:
            q.wait(attempt)
        caught.append((str(error.value), time.monotonic()))

    thread = in_thread(work)
    soon(lambda: n_waiting(q) == 1)
    begin = time.monotonic()
    assert q.cancel(attempt)
    joined(thread)
    ((text, end),) = caught
    assert text == "Dequeue operation was cancelled"
    assert end - begin < 1


def test_c9_cancelling_takes_an_error_of_ones_own_and_happens_once() -> None:
    q, error = queue(), Cancelled("the session was closed")
    attempt = waiting(q, q.dequeue())
    assert q.cancel(attempt, error)
    assert attempt.error is error
    assert q.cancel(attempt)
    assert attempt.error is error
    put(q, 1)
    assert taken(q) == [1]


def test_what_has_completed_cannot_be_cancelled() -> None:
    q = queue()
    put(q, 1)
    attempt = finished(q, q.dequeue())
    assert not q.cancel(attempt)
    assert attempt.error is None and attempt.result == [1]
    attempt = waiting(q, q.dequeue())
    put(q, 2)
    assert not q.cancel(attempt)
    assert attempt.result == [2]


def test_cancelling_before_submitting_counts() -> None:
    q = queue()
    put(q, 1)
    attempt = q.dequeue()
    assert q.cancel(attempt)
    assert failure(q, attempt) == "Cancelled: Dequeue operation was cancelled"
    assert q.size() == 1


def test_an_attempt_is_submitted_once() -> None:
    q = queue()
    attempt = waiting(q, q.dequeue())
    for start in (q.submit, q.wait, q.submit):
        with pytest.raises(FailedPrecondition) as caught:
            start(attempt)
        assert str(caught.value) == (
            "this Dequeue on FIFOQueue 'q' was submitted before\n  make a new attempt for each try"
        )
        put(q, 1)
    assert attempt.error is None and attempt.result == [1]


def test_cancelling_many_costs_each_the_same() -> None:
    q = queue()
    n = 10_000
    lined_up = [waiting(q, q.dequeue()) for _ in range(n)]
    begin = time.perf_counter()
    for attempt in lined_up[1::2] + lined_up[-2:0:-2]:
        assert q.cancel(attempt)
    assert time.perf_counter() - begin < 5, "some 0.05 s; a walk along the line each time takes 30"
    assert n_waiting(q) == 1
    put(q, 1)
    assert lined_up[0].result == [1]


def test_wait_gives_the_result_or_raises_the_error() -> None:
    q = queue(capacity=1)
    assert q.wait(enqueue(q, 1)) is None
    thread = in_thread(lambda: [q.wait(enqueue(q, 2)), q.wait(q.close())])
    soon(lambda: n_waiting(q) == 1)
    assert q.wait(q.dequeue()) == [1]
    assert q.wait(q.dequeue()) == [2]
    joined(thread)
    with pytest.raises(OutOfRange):
        q.wait(q.dequeue())


def test_wait_for_a_batch_that_another_thread_completes() -> None:
    q, found = queue(), list[Any]()
    thread = in_thread(lambda: found.append(q.wait(q.dequeue_many(3))[0].tolist()))
    soon(lambda: n_waiting(q) == 1)
    put(q, 1, 2, 3)
    joined(thread)
    assert found == [[1, 2, 3]]


def test_wait_does_not_call_done() -> None:
    q, told = queue(), list[Attempt]()
    thread = in_thread(lambda: q.wait(q.dequeue(told.append)))
    soon(lambda: n_waiting(q) == 1)
    put(q, 1)
    joined(thread)
    assert told == []


@pytest.mark.parametrize("timeout", [0, -1, 0.05, 0.7])
def test_wait_gives_up_after_its_time(timeout: float) -> None:
    q = queue()
    put(q, 1)
    many = q.dequeue_many(2)
    begin = time.monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        q.wait(many, timeout)
    assert max(timeout, 0) <= time.monotonic() - begin < max(timeout, 0) + 5
    assert str(caught.value) == f"Dequeue on FIFOQueue 'q' was not possible within {timeout} s"
    assert taken(q) == [1]


def test_polling_behind_one_that_waits_leaves_nothing_behind() -> None:
    q = queue()
    waiting(q, q.dequeue())
    for _ in range(100):
        with pytest.raises(DeadlineExceeded):
            q.wait(q.dequeue(), 0)
    assert n_waiting(q) == 1


def test_ctrl_c_ends_a_wait_within_a_second_and_cancels_it() -> None:
    q, told = queue(), list[Attempt]()
    attempt = q.dequeue(told.append)
    times = list[float]()

    def interrupt() -> None:
        soon(lambda: n_waiting(q) == 1)
        time.sleep(0.1)
        times.append(time.monotonic())
        _thread.interrupt_main()

    thread = in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        q.wait(attempt)
    assert time.monotonic() - times[0] < 1
    joined(thread)
    assert described(attempt) == "Cancelled: Dequeue operation was cancelled"
    put(q, 1)
    assert taken(q) == [1] and told == []


def test_an_unexpected_error_in_putting_a_result_together_is_internal(monkeypatch: pytest.MonkeyPatch) -> None:
    q = queue()
    put(q, 1)
    attempt = q.dequeue_many(1)
    monkeypatch.setattr(q, "batch", lambda elements: 1 // 0)
    with pytest.raises(Internal) as caught:
        q.wait(attempt)
    assert str(caught.value) == "Dequeue could not put its result together: integer division or modulo by zero"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


class Inside:
    """Calls a function once in the middle of the first step that follows, as a signal handler might."""

    def __init__(self, q: Any, call: Callable[[], object]) -> None:
        self.q, self.call = q, call
        self.item = q.store.item
        q.store.item = self.handler

    def handler(self, element: Any) -> Any:
        self.q.store.item = self.item
        assert self.q._busy
        self.call()
        return self.item(element)


def test_a_signal_handler_may_submit_to_the_queue_it_interrupted() -> None:
    q, told = queue(), list[Attempt]()
    inner = q.dequeue(told.append)
    Inside(q, lambda: waiting(q, inner))
    put(q, 1)
    assert told == [inner] and inner.result == [1]


def test_a_signal_handler_may_cancel_the_very_attempt_it_interrupted() -> None:
    q = queue()
    outer = enqueue(q, 1)
    Inside(q, lambda: q.cancel(outer))
    assert failure(q, outer) == "Cancelled: Enqueue operation was cancelled"
    assert q.size() == 0
    many = q.enqueue_many([np.arange(3, dtype=np.float32)])
    put(q, 7)
    Inside(q, lambda: q.cancel(many))
    finished(q, many)
    assert taken(q) == [7]
    assert q.size() == 0


def test_a_signal_handler_may_close_the_queue_it_interrupted() -> None:
    q, told = queue(capacity=1), list[Attempt]()
    put(q, 0)
    pending = waiting(q, enqueue(q, 2, told))
    close = q.close(cancel_pending_enqueues=True, done=told.append)
    Inside(q, lambda: waiting(q, close))
    assert taken(q) == [0]
    assert told == [pending, close]
    assert pending.error is None, "its step had begun"
    assert q.is_closed() and taken(q) == [2]


def test_waiting_in_a_signal_handler_for_what_it_interrupted_is_an_error() -> None:
    q, texts = queue(), list[str]()

    def handler() -> None:
        with pytest.raises(FailedPrecondition) as caught:
            q.wait(q.dequeue())
        texts.append(str(caught.value))

    Inside(q, handler)
    put(q, 1)
    assert texts == [
        "waiting for Dequeue was called from a signal handler or a finaliser that interrupted a call on the same "
        "FIFOQueue\n  set a flag there that the main program looks at"
    ]
    assert taken(q) == [1]


def test_done_waits_until_the_interrupted_code_has_let_go_of_the_lock() -> None:
    q, told = queue(), list[Attempt]()
    waiting(q, q.dequeue(told.append))
    with q._lock:
        put(q, 1)
        assert told == []
    put(q, 2)
    assert len(told) == 1


def test_the_longest_sleep_is_less_than_a_second() -> None:
    assert attempts.LONGEST_SLEEP < 1
