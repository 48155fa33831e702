"""Signal handlers and finalisers in the middle of a call on the same variables: no deadlock, nothing lost."""

from __future__ import annotations

import faulthandler
import gc
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import FailedPrecondition

SECONDS = 0.4
ONE = dfc.asarray([1.0, 1.0])


@pytest.fixture(autouse=True)
def no_deadlock() -> Iterator[None]:
    """A deadlock would hang the suite: the lock is waited for in C."""
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@contextmanager
def alarms(handler: Callable[[], Any]) -> Iterator[None]:
    """Call `handler` every millisecond in this thread, and not inside itself."""
    busy = False

    def handle(*_: object) -> None:
        nonlocal busy
        if not busy:
            busy = True
            handler()
            busy = False

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def programs(n_others: int, n_written: int) -> tuple[Callable[[], Any], dfc.Variable]:
    """A step that adds one to a variable, in a holder with others: each way that written variables can lie in it."""
    total = dfc.Variable(np.zeros(2, np.float32), name="total")
    others = [dfc.Variable(np.zeros(2, np.float32), name=f"other{i}") for i in range(n_others)]

    @dfc.function
    def together(x: dfc.Tensor) -> dfc.Tensor:
        for other in others:
            x = x + other.read()
        return x

    @dfc.function
    def step(x: dfc.Tensor) -> dfc.Tensor:
        total.assign_add(x)
        for other in others[:n_written]:
            other.assign_add(x)
        return dfc.sum(x)

    @dfc.function
    def scattered(x: dfc.Tensor) -> dfc.Tensor:
        others[0].assign_add(x)
        others[-1].assign_add(x)
        total.assign_add(x)
        return dfc.sum(others[1].read())

    chosen = scattered if n_others == 3 else step
    if others:
        together(ONE)
    return lambda: chosen(ONE), total


@pytest.mark.parametrize("layout", [(0, 0), (1, 0), (1, 1), (3, 0)])
def test_a_handler_that_reads_sees_a_whole_value(layout: tuple[int, int]) -> None:
    step, total = programs(*layout)
    step()
    seen: list[Any] = []
    with alarms(lambda: seen.append(total.numpy())):
        calls, end = 1, time.monotonic() + SECONDS
        while time.monotonic() < end:
            step()
            calls += 1
    assert len(seen) > 10
    assert all(value[0] == value[1] for value in seen)
    assert [value[0] for value in seen] == sorted(value[0] for value in seen)
    assert total.numpy().tolist() == [calls, calls]


@pytest.mark.parametrize("layout", [(0, 0), (1, 0), (1, 1), (3, 0)])
def test_a_handler_that_runs_a_step_runs_it_or_is_refused(layout: tuple[int, int]) -> None:
    step, total = programs(*layout)
    step()
    step()
    ran = 0
    refused: list[str] = []

    def handler() -> None:
        nonlocal ran
        try:
            step()
            ran += 1
        except FailedPrecondition as error:
            refused.append(str(error))

    with alarms(handler):
        calls, end = 2, time.monotonic() + SECONDS
        while time.monotonic() < end:
            step()
            total.numpy()
            calls += 1
    assert ran > 10
    assert all("was called from a signal handler or a finaliser" in text for text in refused)
    assert total.numpy().tolist() == [calls + ran, calls + ran]


def test_in_the_middle_of_a_call_reads_are_served_and_writes_refused() -> None:
    v = dfc.Variable([1.0, 2.0], name="v")

    @dfc.function
    def look(x: dfc.Tensor) -> dfc.Tensor:
        return x + v.read()

    @dfc.function
    def later(x: dfc.Tensor) -> dfc.Tensor:
        return w.read() + v.read() + x

    @dfc.function
    def step(x: dfc.Tensor, k: int) -> dfc.Tensor:
        v.assign_add(x)
        return v.read() + v.read()

    look(ONE)
    w = dfc.Variable([1.0, 2.0], name="w")
    w.numpy()
    holder, _ = v.state.locate()
    with holder.lock:
        assert v.numpy().tolist() == [1, 2]
        assert look(ONE).numpy().tolist() == [2, 3]
        with pytest.raises(FailedPrecondition) as caught:
            v.assign([5.0, 5.0])
        assert str(caught.value) == (
            "assigning variable 'v' was called from a signal handler or a finaliser that interrupted a call on the "
            "same variables\n  reading variables is possible there; to change them, set a flag that the main program "
            "looks at"
        )
        with pytest.raises(FailedPrecondition, match=r"^step 'step' was called from a signal handler"):
            step(ONE, 2)
        with pytest.raises(FailedPrecondition, match=r"^a step's first call was called from a signal handler"):
            later(ONE)
    assert step(ONE, 2).numpy().tolist() == [4, 6]
    assert later(ONE).numpy().tolist() == [4, 6]


def test_a_finaliser_that_the_collector_runs_may_read() -> None:
    step, total = programs(0, 0)
    step()
    seen: list[float] = []

    class Garbage:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            try:
                seen.append(float(total.numpy()[0]))
            except FailedPrecondition:  # its value has just been handed over
                seen.append(0.0)

    thresholds = gc.get_threshold()
    gc.set_threshold(3)
    try:
        for _ in range(300):
            Garbage()
            step()
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert len(seen) == 300
    assert total.numpy().tolist() == [301, 301]
