"""Ctrl-C while a function is traced, and what a trace leaves behind."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import weakref
from types import FrameType
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.frontend.tracing import activity, current

SPEC = dfc.TensorSpec((2,))


def _interrupted(function: Any, at: int) -> bool:
    """Whether the trace made `at` Python calls, the last of which was interrupted as a signal would."""
    left = at

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        if event == "call":
            left -= 1
            if left == 0:
                sys.setprofile(None)
                raise KeyboardInterrupt

    # Python drops what is raised in the callbacks of its garbage collector, so that nothing is interrupted there.
    callbacks, gc.callbacks[:] = list(gc.callbacks), []
    sys.setprofile(profile)
    try:
        function.graph(SPEC)
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
        gc.callbacks[:] = callbacks
    return False


def test_an_interrupt_at_any_call_of_a_trace_leaves_the_thread_outside_and_the_collector_on() -> None:
    v = dfc.Variable(np.zeros(2, np.float32))

    def body(x: Any) -> Any:
        v.assign_add(x)
        return x + 1

    dfc.function(body).graph(SPEC)
    at, interrupted = 1, True
    assert gc.isenabled()
    while interrupted:
        interrupted = _interrupted(dfc.function(body), at)
        assert current() is None, at
        assert activity.count == 0, at
        assert gc.isenabled(), at
        at += 1
    assert at > 100
    assert (dfc.function(body)(dfc.asarray([1.0, 1.0]))).numpy().tolist() == [2.0, 2.0]


@pytest.mark.parametrize("fails", [False, True])
def test_a_trace_keeps_no_variable_alive_until_the_next_collection(fails: bool) -> None:
    def run() -> weakref.ref[dfc.Variable]:
        v = dfc.Variable(np.zeros(2, np.float32))

        @dfc.function
        def add(x: Any) -> Any:
            v.assign_add(x)
            if fails:
                raise ValueError
            return x * v.read()

        with contextlib.suppress(ValueError):
            add(dfc.asarray([1.0, 1.0]))
        return weakref.ref(v)

    gc.collect()
    gc.disable()
    try:
        assert run()() is None
    finally:
        gc.enable()


def test_initial_values_and_traces_that_need_each_other_in_two_threads_both_finish() -> None:
    tracing, initialising = threading.Event(), threading.Event()

    def body(x: Any, scaled: bool = False) -> Any:
        tracing.set()
        initialising.wait(0.2)  # as long as both can go on, each waits for the other to have begun
        return x * v.read() if scaled else x * 2

    act = dfc.function(body)
    x = dfc.asarray([1.0, 2.0])

    def initial() -> Any:
        initialising.set()
        tracing.wait(0.2)
        return act(x).numpy()

    v = dfc.Variable(initial)
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(v.numpy().tolist()), daemon=True),
        threading.Thread(target=lambda: results.append(act(x, True).numpy().tolist()), daemon=True),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "deadlock"
    assert sorted(results) == [[2.0, 4.0], [2.0, 8.0]]
