"""A thousand steps of loops in loops at once, a hundred of them cancelled at random.

`DFC_SOAK_STEPS` sets how many (1,000 in a full run, 200 in CI).
"""

from __future__ import annotations

import os
import random
import threading
import time
from typing import Any

import numpy as np

import dfc
from dfc.errors import Cancelled
from dfc.runtime.frames import Frame, FramedExecution, Turn
from dfc.runtime.stacks import StepStack
from tests.soak.test_sessions import alive

STEPS = int(os.environ.get("DFC_SOAK_STEPS", "200"))
OUTER = 4


def build() -> tuple[dfc.Graph, Any, Any, Any]:
    """In each of OUTER iterations a ticket is waited for; then an inner loop adds, a branch depends on data, and rows
    go onto a stack."""
    with dfc.Graph() as graph:
        x = dfc.placeholder("int32", (), name="x")
        tickets = dfc.FIFOQueue(-1, "int32", shapes=[()], name="tickets")
        give = tickets.enqueue_many(dfc.zeros((100,), dtype="int32"))

        def inner(j: Any, total: Any) -> Any:
            return j + 1, dfc.cond(dfc.equal(total % 2, 0), lambda: total + x, lambda: total * 3 % 1009)

        def outer(total: Any, i: Any) -> Any:
            ticket = tickets.dequeue()
            _, total = dfc.while_loop(lambda j, t: j < i, inner, (ticket, total))
            return total, total

        last, rows = dfc.scan(outer, x, dfc.arange(OUTER))
        result = last, rows
    return graph, x, give, result


def expected(x: int) -> tuple[int, list[int]]:
    total, rows = x, []
    for i in range(OUTER):
        for _ in range(i):
            total = total + x if total % 2 == 0 else total * 3 % 1009
        rows.append(total)
    return total, rows


def test_a_thousand_steps_of_loops_at_once() -> None:
    graph, x, give, result = build()
    choose = random.Random(0)
    threads = threading.active_count()
    with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=1 << 30)) as session:
        step = session.submit(result, {x: np.int32(1)})
        session.run(give)
        assert step.result(30)[0] == expected(1)[0]
        steps = [session.submit(result, {x: np.int32(k)}) for k in range(STEPS)]
        doomed = set(choose.sample(range(STEPS), STEPS // 10))

        def cancel() -> None:
            for k in choose.sample(sorted(doomed), len(doomed)):
                time.sleep(choose.random() * 2 / STEPS)
                steps[k].cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        for _ in range(STEPS * OUTER // 100 + 1):
            session.run(give)
        canceller.join()
        cancelled = 0
        for k, step in enumerate(steps):
            try:
                last, rows = step.result(60)
            except Cancelled:
                assert k in doomed
                cancelled += 1
                continue
            assert (int(last), rows.tolist()) == expected(k)
        assert 0 < cancelled <= len(doomed)
        assert session._state.memory.taken == 0
        assert len(session._state.running) == 0
    steps.clear()
    del step
    for cls in (Turn, Frame, FramedExecution, StepStack):
        assert alive(cls) == 0
    deadline = time.monotonic() + 10
    while threading.active_count() > threads + 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= threads + 8
