"""Deadlines: called once, in order, when due, and not at all once taken back."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfc.runtime import timers
from dfc.runtime.timers import Timers
from tests.unit.test_queue_interrupts import Interrupts
from tests.unit.test_workers import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Timers]:
    """Timers whose thread leaves soon; at the end it has."""
    monkeypatch.setattr(timers, "LINGER", 0.02)
    made = Timers()
    yield made
    until(lambda: not made._running)
    assert len(made) == 0


def test_calls_come_when_they_are_due_and_in_order(clock: Timers) -> None:
    started, seen = time.monotonic(), list[tuple[str, float]]()

    def note(name: str) -> Any:
        return lambda: seen.append((name, time.monotonic() - started))

    clock.after(0.15, note("third"))
    clock.after(0.05, note("first"))
    clock.after(0.1, note("second"))
    clock.after(0.15, note("fourth"))
    until(lambda: len(seen) == 4)
    assert [name for name, _ in seen] == ["first", "second", "third", "fourth"]
    for (_, at), due in zip(seen, (0.05, 0.1, 0.15, 0.15), strict=True):
        assert due <= at < due + 5


def test_what_is_taken_back_is_not_called_and_freed_at_once(clock: Timers) -> None:
    class Held:
        pass

    held, seen = Held(), list[int]()
    gone = weakref.ref(held)
    timer = clock.after(0.05, lambda held=held: seen.append(1))
    clock.after(0.1, lambda: seen.append(2))
    del held
    timer.cancel()
    timer.cancel()
    gc.collect()
    assert gone() is None
    until(lambda: seen)
    assert seen == [2]


def test_an_earlier_deadline_wakes_the_thread(clock: Timers) -> None:
    late, early = clock.after(60, lambda: None), threading.Event()
    until(lambda: clock._asleep_until > time.monotonic() + 30)
    clock.after(0.01, early.set)
    assert early.wait(PATIENCE)
    late.cancel()
    clock.after(0, lambda: None)  # so that it looks


def test_a_deadline_that_has_passed_is_due_now(clock: Timers) -> None:
    seen = threading.Event()
    clock.after(-1, seen.set)
    assert seen.wait(PATIENCE)


def test_many_that_were_taken_back_do_not_stay(clock: Timers) -> None:
    """Nor those among them that are kept go."""
    kept = [clock.after(3600, lambda: None) for _ in range(10)]
    for _ in range(2000):
        clock.after(3600, lambda: None).cancel()
    until(lambda: len(clock) <= timers.FEW + 20)
    assert len(clock) >= 10
    alive = {id(entry[2]) for entry in clock._heap if entry[2].call is not None}
    assert alive == {id(timer) for timer in kept}
    for timer in kept:
        timer.cancel()
    clock.after(0, lambda: None)


def test_timers_that_are_taken_back_at_once_need_one_thread(clock: Timers, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a call with a time limit does, over and over: a thread for each would cost more than the call."""
    monkeypatch.setattr(timers, "LINGER", 5.0)
    started = []
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda self: (started.append(self.name), start(self)))
    for _ in range(200):
        clock.after(10, lambda: None).cancel()
        time.sleep(0.0005)
    assert started == ["dfc-timers"]
    monkeypatch.setattr(timers, "LINGER", 0.02)
    clock.after(0, lambda: None)


def test_an_error_in_a_call_goes_to_the_hook_and_others_are_called(
    clock: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    seen = threading.Event()

    def fail() -> None:
        raise ValueError("no")

    clock.after(0.01, fail)
    clock.after(0.02, seen.set)
    assert seen.wait(PATIENCE)
    assert [(str(what.exc_value), what.err_msg) for what in reported] == [("no", "Exception ignored in a timer's call")]


def test_a_limit_beyond_what_the_system_can_wait_for(clock: Timers) -> None:
    """It sleeps in parts: a lock is waited for for some centuries at most, on some systems for weeks."""
    timer, seen = clock.after(1e12, lambda: None), threading.Event()
    clock.after(0.01, seen.set)
    assert seen.wait(PATIENCE)
    timer.cancel()
    clock.after(0, lambda: None)


def test_a_system_without_threads_is_an_error_and_no_more(clock: Timers, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    called = []
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            clock.after(0, lambda: called.append(1))
    seen = threading.Event()
    clock.after(0.01, seen.set)
    assert seen.wait(PATIENCE)
    assert not called


def test_calls_may_set_and_take_back_timers(clock: Timers) -> None:
    seen: list[int] = []

    def again(left: int) -> None:
        seen.append(left)
        other.cancel()
        if left:
            clock.after(0.001, lambda: again(left - 1))

    other = clock.after(0.05, lambda: seen.append(-1))
    clock.after(0.001, lambda: again(20))
    until(lambda: seen and seen[-1] == 0)
    assert seen == list(range(20, -1, -1))


def test_threads_that_set_and_take_back_at_once_lose_nothing(clock: Timers) -> None:
    calls, n = [0] * 800, 200

    def work(first: int) -> None:
        for i in range(first, first + n):

            def call(number: int = i) -> None:
                calls[number] += 1

            clock.after(0.005 * (i % 5), call)
            clock.after(0.003 * (i % 7) + 1, call).cancel()

    threads = [threading.Thread(target=work, args=(n * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    until(lambda: sum(calls) == len(calls))
    until(lambda: not clock._running)
    assert calls == [1] * len(calls)


@pytest.mark.parametrize("running", [False, True])
def test_an_interrupt_anywhere_leaves_the_clock_going(running: bool, clock: Timers) -> None:
    at, interrupted = 0, True
    while interrupted:
        at += 1
        if running:
            clock.after(0.5, lambda: None)
            until(lambda: clock._asleep_until > time.monotonic())
        calls: list[int] = []
        interrupted = False
        try:
            with Interrupts(at):
                clock.after(0.001, lambda calls=calls: calls.append(1))
        except KeyboardInterrupt:
            interrupted = True
        if not interrupted:
            until(lambda calls=calls: calls)
        seen = threading.Event()
        clock.after(0.005, seen.set)
        assert seen.wait(PATIENCE), at
        for _, _, timer in list(clock._heap):
            timer.cancel()
        clock.after(0, lambda: None)
        until(lambda: not clock._running)
        assert len(calls) <= 1
    assert at > 3


def test_a_forked_process_has_a_clock_of_its_own() -> None:
    code = """
import os, threading, warnings
from dfc.runtime.timers import TIMERS
warnings.simplefilter("ignore")
TIMERS.after(30, lambda: os._exit(3))
child = os.fork()
if not child:
    assert len(TIMERS) == 0
    seen = threading.Event()
    TIMERS.after(0.01, seen.set)
    os._exit(0 if seen.wait(10) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=25)
