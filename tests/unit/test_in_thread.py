"""Attempts in threads: one outcome, whatever comes first, and nobody is told of another."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import pytest

from dfc.errors import Cancelled, DeadlineExceeded, DfcError, Internal, InvalidArgument, ResourceExhausted
from dfc.runtime import in_thread
from dfc.runtime.in_thread import InThread
from dfc.runtime.workers import WORKERS, Workers
from tests.unit.test_workers import PATIENCE, until

THREADS = InThread.owner


def ignore(attempt: InThread) -> None:
    pass


def raising(error: BaseException) -> Any:
    def function() -> None:
        raise error

    return function


def test_a_result_is_told_once() -> None:
    told: list[InThread] = []
    attempt = InThread(lambda: [threading.get_ident()], told.append)
    assert THREADS.submit(attempt) is False
    until(lambda: told)
    assert told == [attempt]
    assert attempt.error is None and attempt.is_over
    assert attempt.result[0] != threading.get_ident()
    assert attempt.function is None  # what it holds is free
    assert not THREADS.cancel(attempt)
    assert attempt.error is None


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_is_raised_is_an_internal_error_with_its_cause(kind: type[BaseException]) -> None:
    cause = kind("no")
    with pytest.raises(Internal) as caught:
        THREADS.wait(InThread(raising(cause), ignore))
    assert str(caught.value) == f"{kind.__name__}: no"
    assert caught.value.__cause__ is cause


def test_errors_of_dfc_are_as_they_are() -> None:
    error = InvalidArgument("wrong", hint="so")
    with pytest.raises(InvalidArgument) as caught:
        THREADS.wait(InThread(raising(error), ignore))
    assert caught.value is error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_the_thread_that_an_exit_was_raised_in_goes_on(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, idents = Workers(), list[int]()
    monkeypatch.setattr(in_thread, "WORKERS", pool)

    def exit() -> None:
        idents.append(threading.get_ident())
        raise kind

    with pytest.raises(Internal):
        THREADS.wait(InThread(exit, ignore))
    until(lambda: pool._free)
    THREADS.wait(InThread(lambda: idents.append(threading.get_ident()), ignore))
    assert idents[0] == idents[1]


def test_what_is_cancelled_ends_at_once_and_tells_nobody() -> None:
    told: list[InThread] = []
    began, go, ended = threading.Event(), threading.Event(), threading.Event()

    def function() -> None:
        began.set()
        go.wait(PATIENCE)
        ended.set()

    attempt = InThread(function, told.append, "the work")
    THREADS.submit(attempt)
    assert began.wait(PATIENCE)
    assert THREADS.cancel(attempt)
    assert type(attempt.error) is Cancelled
    assert str(attempt.error) == "the work was cancelled"
    assert not THREADS.cancel(attempt, InvalidArgument("another"))
    assert type(attempt.error) is Cancelled
    go.set()
    assert ended.wait(PATIENCE)
    THREADS.wait(InThread(lambda: None, ignore))
    assert not told


def test_what_is_cancelled_before_it_begins_never_does() -> None:
    ran: list[int] = []
    attempt = InThread(lambda: ran.append(1), ignore)
    assert THREADS.cancel(attempt)
    THREADS.submit(attempt)
    THREADS.wait(InThread(lambda: None, ignore))
    time.sleep(0.02)
    assert not ran


def test_a_time_limit_ends_it_and_the_thread_runs_on() -> None:
    told: list[InThread] = []
    go, ended = threading.Event(), threading.Event()

    def function() -> None:
        attempt.within(0.05)
        go.wait(PATIENCE)
        ended.set()

    attempt = InThread(function, told.append, "the work")
    started = time.monotonic()
    THREADS.submit(attempt)
    until(lambda: told)
    assert 0.05 <= time.monotonic() - started < PATIENCE
    assert type(attempt.error) is DeadlineExceeded
    assert str(attempt.error) == "the work took longer than its time limit of 0.05 s"
    go.set()
    assert ended.wait(PATIENCE)
    THREADS.wait(InThread(lambda: None, ignore))
    assert told == [attempt]
    assert attempt.result is None


def test_what_is_over_in_time_takes_its_timer_back() -> None:
    def function() -> str:
        attempt.within(3600)
        return "done"

    attempt = InThread(function, ignore)
    assert THREADS.wait(attempt) == "done"
    assert attempt._timer is not None and attempt._timer.call is None


def test_outcomes_that_come_at_once_are_one() -> None:
    """The result, the time limit and a cancellation race; `done` is called unless the cancellation won."""
    attempts: list[InThread] = []
    told: list[InThread] = []

    def function() -> str:
        attempts[-1].within(0.001)
        time.sleep(0.001)
        return "result"

    for i in range(200):
        attempt = InThread(function, told.append)
        attempts.append(attempt)
        THREADS.submit(attempt)
        time.sleep(0.001 + 0.00002 * (i % 20))
        cancelled = THREADS.cancel(attempt)
        until(lambda attempt=attempt: attempt.is_over)
        if cancelled:
            assert type(attempt.error) is Cancelled
        else:
            until(lambda attempt=attempt: attempt in told)
            assert attempt.result == "result" or type(attempt.error) is DeadlineExceeded
        assert told.count(attempt) == (not cancelled)


def test_an_interrupt_while_one_waits_cancels_it() -> None:
    """As Ctrl-C does: raised in the waiting thread."""
    go = threading.Event()
    attempt = InThread(lambda: go.wait(PATIENCE), ignore)
    entered: list[int] = []

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if event == "c_call" and getattr(argument, "__name__", "") == "get" and frame.f_code.co_name == "wait":
            entered.append(1)
            raise KeyboardInterrupt

    sys.setprofile(trace)
    try:
        with pytest.raises(KeyboardInterrupt):
            THREADS.wait(attempt)
    finally:
        sys.setprofile(None)
        go.set()
    assert entered
    assert type(attempt.error) is Cancelled


def test_a_system_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def submit(task: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(WORKERS, "submit", submit)
    attempt = InThread(lambda: None, ignore, "the work")
    with pytest.raises(DfcError) as caught:
        THREADS.wait(attempt)
    assert type(caught.value) is ResourceExhausted
    n = WORKERS.count
    assert str(caught.value) == f"the work needs a thread beside the {n} that there are: can't start new thread"
