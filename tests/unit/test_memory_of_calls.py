"""However many calls there are, the process stays as large as it was."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import dfc
from dfc import raw
from dfc.errors import DeadlineExceeded

STATM = Path("/proc/self/statm")
pytestmark = pytest.mark.skipif(not STATM.exists(), reason="the system has no /proc/self/statm")
CALLS = 30_000
MOST = 2 << 20
"""Bytes. jaxlib's notes of where the user called were 80 to 270 a call, 2.4 MB at least."""


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(function: Callable[[], object]) -> int:
    """By how many bytes the process grows with a second round of calls."""
    found = []
    for _ in range(2):
        for _ in range(CALLS):
            function()
        found.append(resident())
    return found[1] - found[0]


def test_calls_leave_nothing_behind() -> None:
    v, w = dfc.Variable(0.0), dfc.Variable(0.0)

    @dfc.function
    def pure(x: dfc.Tensor) -> tuple[dfc.Tensor, dfc.Tensor]:
        return x * 1, x + 1

    @dfc.function
    def writing(x: dfc.Tensor) -> dfc.Tensor:
        v.assign_add(x)
        return v * 2

    @dfc.function
    def writing_two(x: dfc.Tensor, y: dfc.Tensor) -> tuple[dfc.Tensor, dfc.Tensor]:
        v.assign_add(x)
        w.assign(v + y)
        return v * 2, w * 1

    x = dfc.asarray(1.0)
    for call in (lambda: pure(x), lambda: writing(x), lambda: writing_two(x, x), lambda: float(writing(x))):
        assert growth(call) < MOST


def test_a_loop_that_goes_on_for_ever_takes_no_more_memory_with_time() -> None:
    with dfc.Graph() as graph:
        i = raw.merge(raw.enter(0, "loop"))
        going = raw.loop_cond(i.value > raw.enter(-1, "loop", is_constant=True))
        off, on = raw.switch(i.value, going)
        i.set_back_edge(raw.next_iteration(on * 1))
        result = raw.exit(off)
    with dfc.Session(graph) as session:
        samples: list[int] = []
        timers = [threading.Timer(at, lambda: samples.append(resident())) for at in (0.5, 1.8)]
        for timer in timers:
            timer.start()
        with pytest.raises(DeadlineExceeded):
            session.run(result, timeout=2)
        for timer in timers:
            timer.join()
    assert samples[1] - samples[0] < 10 << 20, "it was 40 MB a second"
