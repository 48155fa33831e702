"""Interrupts at every place where one can fall: what waits goes on, and each element is in exactly one place."""

from __future__ import annotations

import contextlib
import dis
import gc
import inspect
import random
import signal
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest

from dfc.ir.dtypes import as_dtype, float32
from dfc.runtime.accumulators import ConditionalAccumulator, SparseConditionalAccumulator
from dfc.runtime.attempts import COMPLETED, WAITING, Attempt, Waitable
from dfc.runtime.barrier import Barrier
from dfc.runtime.queue_operations import DequeueMany, EnqueueMany
from dfc.runtime.queue_spec import QueueSpec
from tests.queue_support import enqueue, queue, scalar

JUMP_BACKWARD = dis.opmap["JUMP_BACKWARD"]
CALLS = {opcode for name, opcode in dis.opmap.items() if name.startswith("CALL")}
RUNTIME = str(Path(sys.modules[Waitable.__module__].__file__ or "").parent)


@cache
def opcodes(code: CodeType) -> bytes:
    return code.co_code


class Interrupts:
    """Calls a handler at the `at`-th place in the runtime where Python looks for signals, which is on entering a
    function, after a call of anything written in C and on jumping back. Without one, raises KeyboardInterrupt."""

    def __init__(self, at: int, handler: Callable[[], None] | None = None) -> None:
        self.left, self.handler = at, handler
        self.calling: FrameType | None = None  # it is about to call something

    def __enter__(self) -> None:
        # Python drops what is raised in the callbacks of its garbage collector
        self.callbacks, gc.callbacks[:] = list(gc.callbacks), []
        sys.settrace(self.trace)

    def __exit__(self, *error: Any) -> None:
        sys.settrace(None)
        gc.callbacks[:] = self.callbacks

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        calling, self.calling = self.calling, None
        if not frame.f_code.co_filename.startswith(RUNTIME) or frame.f_code.co_flags & inspect.CO_GENERATOR:
            return None  # Python drops what a generator raises that is being closed
        frame.f_trace_opcodes = True
        if event == "opcode":
            opcode = opcodes(frame.f_code)[frame.f_lasti]
            if frame is calling or opcode == JUMP_BACKWARD:  # `calling`: nothing written in Python has run since
                self.count()
            if opcode in CALLS:
                self.calling = frame
        elif event == "call":
            self.count()
        return self.trace

    def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            sys.settrace(None)
            if self.handler is None:
                raise KeyboardInterrupt
            self.handler()


class Script:
    """Operations one after the other, each of which may be interrupted."""

    def __init__(self, of: Any, interrupts: Interrupts) -> None:
        self.of, self.interrupts = of, interrupts
        self.inside = False
        self.told: list[Attempt] = []
        self.attempts: list[Attempt] = []
        self.unknown: set[Attempt] = set()  # `submit` was interrupted: it said nothing
        self.to_be_told: set[Attempt] = set()
        self.cancelled: set[Attempt] = set()

    def call(self, call: Callable[[], Any]) -> Any:
        nested, self.inside, result = self.inside, True, None
        with contextlib.suppress(KeyboardInterrupt):
            result = call()
        self.inside = nested
        if self.interrupts.left <= 0 and not nested:
            self.check_lines()
        return result

    def submit(self, make: Callable[[Any], Attempt]) -> Attempt | None:
        made: Attempt | None = self.call(lambda: make(self.told.append))
        if made is None:
            return None
        attempt = made
        self.attempts.append(attempt)
        over = self.call(lambda: self.of.submit(attempt))
        if over is None:
            self.unknown.add(attempt)
            assert attempt.state != WAITING, "an interrupted submit leaves nothing behind"
        elif not over:
            self.to_be_told.add(attempt)
        return attempt

    def cancel(self, attempt: Attempt | None) -> None:
        if attempt is not None and self.call(lambda: self.of.cancel(attempt)) is not False:
            self.cancelled.add(attempt)

    def check(self) -> None:
        """Everybody is told who should be, once."""
        self.check_lines()
        assert len(self.told) == len(set(self.told))
        for attempt in self.attempts:
            over = attempt.state == COMPLETED
            assert (attempt in self.told) == (over and attempt in self.to_be_told), attempt
            if attempt in self.cancelled:
                assert attempt.state != WAITING

    def check_lines(self) -> None:
        """Nobody waits who could go on, or to be told."""
        assert not self.of._busy and not self.of._finished
        for line in self.of.lines:
            for attempt in line:
                assert attempt.state == WAITING
                assert not attempt.step(), "it could go on"
                break


def values_put(attempt: Any) -> list[float]:
    if isinstance(attempt, EnqueueMany):
        return attempt.batch[0][: attempt.n_put].tolist()
    done = attempt.operation == "Enqueue" and attempt.state == COMPLETED and attempt.error is None
    return [float(attempt.element[0])] if done else []


def values_taken(attempt: Any) -> list[float]:
    if attempt.operation != "Dequeue" or attempt.state != COMPLETED or attempt.error is not None:
        return []
    if isinstance(attempt, DequeueMany):
        attempt.settle()  # an interrupted submit left that out
    return np.ravel(attempt.result[0]).tolist()


def batch(*values: float) -> list[Any]:
    return [np.array(values, np.float32)]


def use_queue(kind: str, at: int, calls: bool = False) -> int:
    """Use a queue, interrupted once; with `calls` by a handler that uses it too. Not positive if there was time."""
    if kind == "PriorityQueue":
        q = queue(kind, 3, dtypes=("int64",))
        one, many = (lambda v: [np.array(v)]), (lambda *v: [np.array(v)])
    else:
        q = queue(kind, 3)
        one, many = (lambda v: [scalar(v)]), batch

    def handler() -> None:
        q.size()
        if at % 4 != 1:
            script.submit(lambda done: q.dequeue_many(2, done))
        if at % 4 in (0, 1):
            for attempt in script.attempts[-4::2]:
                script.cancel(attempt)
        if at % 4 in (0, 3):
            script.submit(lambda done: q.enqueue(one(20), done))
            script.submit(lambda done: q.enqueue_many(many(21, 22), done))

    interrupts = Interrupts(at, handler if calls else None)
    script = Script(q, interrupts)
    with interrupts:
        first = script.submit(lambda done: q.dequeue_many(2, done))
        script.submit(lambda done: q.enqueue(one(1), done))
        script.submit(lambda done: q.dequeue(done))
        script.submit(lambda done: q.enqueue_many(many(2, 3, 4, 5, 6, 7, 8), done))
        pending = script.submit(lambda done: q.enqueue(one(9), done))
        script.submit(lambda done: q.enqueue(one(10), done))
        script.cancel(pending)
        script.submit(lambda done: q.dequeue_many(3, done))
        script.submit(lambda done: q.dequeue(done))
        many_more = script.submit(lambda done: q.dequeue_many(3, done))
        script.submit(lambda done: q.dequeue_up_to(3, done))
        script.submit(lambda done: q.enqueue_many(many(11, 12), done))
        script.cancel(many_more)
        script.cancel(first)
        script.submit(lambda done: q.enqueue_many(many(13, 14, 15, 16, 17), done))
        script.submit(lambda done: q.close(done=done))
        script.submit(lambda done: q.dequeue_up_to(3, done))
        script.submit(lambda done: q.dequeue_many(2, done))
        script.submit(lambda done: q.close(True, done))
    script.check()
    put = [v for a in script.attempts for v in values_put(a)]
    taken = [v for a in script.attempts for v in values_taken(a)]
    collected = [v for a in q.lines[2] if isinstance(a, DequeueMany) for item in a.taken for v in item[-1]]
    left = [float(item[-1][0]) for item in q.store.items]
    assert sorted([*taken, *collected, *left]) == sorted(put)
    return interrupts.left


def use_barrier(at: int) -> int:
    barrier = Barrier(QueueSpec("Barrier", -1, (float32, float32), ((), ())), "b")
    interrupts = Interrupts(at)
    script = Script(barrier, interrupts)
    keys = np.array([b"a", b"b", b"c"], object)
    with interrupts:
        script.submit(lambda done: barrier.take_many(2, done=done))
        script.submit(lambda done: barrier.insert_many(0, keys, np.arange(3, dtype=np.float32), done))
        script.submit(lambda done: barrier.insert_many(1, keys[:2], np.arange(2, dtype=np.float32), done))
        script.submit(lambda done: barrier.take_many(2, True, done))
        script.submit(lambda done: barrier.close(done=done))
        script.submit(lambda done: barrier.insert_many(1, keys[2:], np.full(1, 2, np.float32), done))
        script.submit(lambda done: barrier.take_many(1, True, done))
    script.check()
    inserted = [a for a in script.attempts if a.operation == "Insert" and a.state == COMPLETED and a.error is None]
    n_components = sum(len(a.keys) for a in inserted)
    found = [item[-1] for item in barrier.store.items]
    for attempt in script.attempts:
        if isinstance(attempt, DequeueMany):
            attempt.settle()
            if attempt.result is not None:
                _, taken_keys, zeros, ones = attempt.result
                np.testing.assert_array_equal(zeros, ones)
                found += list(taken_keys)
    assert 2 * len(found) + len(barrier.incomplete) == n_components, "all or nothing of each insertion"
    return interrupts.left


def use_dense(at: int) -> int:
    accumulator = ConditionalAccumulator(as_dtype("float32"), (3,), "SUM")
    interrupts = Interrupts(at)
    script = Script(accumulator, interrupts)
    n_certain = 0
    with interrupts:
        script.submit(lambda done: accumulator.take_grad(2, done))
        for _ in range(3):
            n_certain += script.call(lambda: (accumulator.apply_grad(np.ones(3, np.float32), 9), 1)[1]) or 0
        script.submit(lambda done: accumulator.take_grad(1, done))
        for _ in range(3):
            n_certain += script.call(lambda: (accumulator.apply_grad(np.ones(3, np.float32), 9), 1)[1]) or 0
    script.check()
    total = [0.0] * 3 if accumulator.total is None else accumulator.total
    assert accumulator.count == total[0]
    for attempt in script.attempts:
        attempt.settle()
        if attempt.result is not None:
            total = total + attempt.result[0]
    n_applied = int(total[0])
    np.testing.assert_array_equal(total, [n_applied] * 3)
    assert n_certain <= n_applied <= 6
    assert n_applied == n_certain or interrupts.left <= 0
    return interrupts.left


def use_sparse(at: int) -> int:
    accumulator = SparseConditionalAccumulator(as_dtype("float32"), (9, 2), "SUM")
    interrupts = Interrupts(at)
    script = Script(accumulator, interrupts)
    gradients = [[0, 2], [2, 5], [0, 2, 5], [5]]
    with interrupts:
        script.submit(lambda done: accumulator.take_grad(5, done))
        for rows in gradients:
            values = np.ones((len(rows), 2), np.float32)
            script.call(lambda r=rows, v=values: accumulator.apply_grad((np.array(r), v, None), 0))
    script.check()
    total = accumulator.total
    np.testing.assert_array_equal(total.values, np.stack([total.counts] * 2, 1))
    possible = [gradients, *([*gradients[:i], *gradients[i + 1 :]] for i in range(4))]
    counted = {int(i): int(n) for i, n in zip(total.indices, total.counts, strict=True)}
    assert (counted, accumulator.count) in [
        ({i: sum(i in rows for rows in applied) for i in {i for rows in applied for i in rows}}, len(applied))
        for applied in possible
    ]
    return interrupts.left


USES: dict[str, Callable[[int], int]] = {
    "FIFOQueue": lambda at: use_queue("FIFOQueue", at),
    "RandomShuffleQueue": lambda at: use_queue("RandomShuffleQueue", at),
    "PriorityQueue": lambda at: use_queue("PriorityQueue", at),
    "Barrier": use_barrier,
    "ConditionalAccumulator": use_dense,
    "SparseConditionalAccumulator": use_sparse,
}


@pytest.mark.parametrize("use", USES)
def test_an_interrupt_anywhere_loses_doubles_and_forgets_nothing(use: str) -> None:
    at = 1
    while USES[use](at) <= 0:
        at += 1
    assert at > 100, f"{at} places"


@pytest.mark.parametrize("kind", ["FIFOQueue", "PriorityQueue"])
def test_a_signal_handler_may_use_the_queue_it_interrupted_wherever_that_is(kind: str) -> None:
    at = 1
    while use_queue(kind, at, calls=True) <= 0:
        at += 1
    assert at > 100, f"{at} places"


class Stop(Exception):
    pass


def test_signals_at_random_moments_lose_and_double_nothing() -> None:
    """Real ones: a handler that raises, in the main thread, while another thread takes."""
    q, n_stopped = queue(capacity=4), 0
    put, found, closed = list[float](), list[float](), threading.Event()

    def handler(number: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code.co_filename.startswith(RUNTIME):
            raise Stop

    def consume() -> None:
        while not closed.is_set() or q.size():
            attempt = q.dequeue()
            with contextlib.suppress(Exception):
                found.extend(map(float, q.wait(attempt, 0.01)))

    before = signal.signal(signal.SIGALRM, handler)
    thread = threading.Thread(target=consume, daemon=True)
    thread.start()
    chance = random.Random(0)
    try:
        for value in range(4000):
            attempt = enqueue(q, value)
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 3e-5))
            try:
                q.wait(attempt)
            except Stop:
                n_stopped += 1
            finally:
                with contextlib.suppress(Stop):
                    signal.setitimer(signal.ITIMER_REAL, 0)
            put += values_put(attempt)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        closed.set()
        thread.join(20)
    assert not thread.is_alive()
    assert n_stopped > 50, n_stopped
    assert found == put
    assert not any(q.lines) and not q._busy
