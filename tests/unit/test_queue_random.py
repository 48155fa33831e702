"""Queues under random use: against a model in one thread, from many threads, and with cancellation at any moment."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from dfc.errors import Cancelled, DeadlineExceeded, OutOfRange
from dfc.runtime.attempts import Attempt
from tests.queue_support import enqueue, queue, scalar

CAPACITY = 5


class Model:
    """A bounded first-in-first-out queue in the plainest way: lists, and a second look at everything each time."""

    def __init__(self) -> None:
        self.content: list[float] = []
        self.closed = False
        self.puts: list[Any] = []  # [key, values still to put in, or "close"]
        self.takes: list[Any] = []  # [key, how many, fewer will do, taken]
        self.outcome: dict[int, Any] = {}

    def do(self, key: int, action: str, argument: Any) -> None:
        if action in ("enqueue", "enqueue_many"):
            self.puts.append([key, list(argument)])
            if not argument:
                self.puts.pop()
                self.outcome[key] = None
        elif action == "close" and argument:
            self.closed = True
            for pending, values in self.puts:
                self.outcome[pending] = None if values == "close" else "Cancelled"
            self.puts = []
            self.outcome[key] = None
        elif action == "close":
            self.puts.append([key, "close"])
        elif action == "cancel":
            self.puts = [put for put in self.puts if put[0] != argument]
            for take in self.takes:
                if take[0] == argument:
                    self.content = take[3] + self.content
            self.takes = [take for take in self.takes if take[0] != argument]
            self.outcome.setdefault(argument, "Cancelled")
        elif argument == 0:
            self.outcome[key] = []
        else:
            self.takes.append([key, argument, action == "dequeue_up_to", []])
        before: Any = None
        while before != (before := repr((self.content, self.closed, self.puts, self.takes))):
            self.look()

    def look(self) -> None:
        while self.puts:
            key, values = self.puts[0]
            if values == "close":
                self.outcome[key] = "Aborted" if self.closed else None
                self.closed = True
            elif self.closed:
                self.outcome[key] = "Cancelled"
            else:
                while values and len(self.content) < CAPACITY:
                    self.content.append(values.pop(0))
                if values:
                    break
                self.outcome[key] = None
            self.puts.pop(0)
        while self.takes:
            key, n, fewer, taken = self.takes[0]
            if self.closed and len(taken) + len(self.content) < n:
                self.content = taken + self.content
                n = len(self.content) if fewer else n
                taken.clear()
                if not self.content or not fewer:
                    self.outcome[key] = "OutOfRange"
                    self.takes.pop(0)
                    continue
            while len(taken) < n and self.content:
                taken.append(self.content.pop(0))
            if len(taken) < n:
                break
            self.outcome[key] = taken
            self.takes.pop(0)


def outcomes(attempts: dict[int, Attempt], over: set[Attempt]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for key, attempt in attempts.items():
        if attempt in over:
            if attempt.error is not None:
                found[key] = type(attempt.error).__name__
            else:
                found[key] = None if attempt.result is None else np.ravel(attempt.result[0]).tolist()
    return found


@pytest.mark.parametrize("seed", range(150))
def test_random_operations_do_what_the_model_does(seed: int) -> None:
    chance = random.Random(seed)
    q, model = queue(capacity=CAPACITY), Model()
    attempts, told, over = dict[int, Attempt](), list[Attempt](), set[Attempt]()
    actions = ["enqueue", "enqueue_many", "dequeue", "dequeue_many", "dequeue_up_to", "cancel"] * 6
    actions += ["close"] if seed % 3 else []
    value = 0
    for key in range(80):
        action = chance.choice(actions)
        n = chance.randrange(9) if "many" in action or "up_to" in action else 1
        argument: Any = n
        if action.startswith("enqueue"):
            argument = [float(v) for v in range(value, value + n)]
            value += n
        elif action == "close":
            argument = chance.random() < 0.3
        elif action == "cancel":
            argument = chance.choice([*attempts] or [-1])
            if argument < 0:
                continue
        model.do(key, action, argument)
        if action == "cancel":
            if q.cancel(attempts[argument]):
                over.add(attempts[argument])
        else:
            if action.startswith("enqueue"):
                components = [np.array(argument if action == "enqueue_many" else argument[0], np.float32)]
                attempts[key] = getattr(q, action)(components, told.append)
            elif action == "dequeue":
                attempts[key] = q.dequeue(told.append)
            else:
                attempts[key] = getattr(q, action)(argument, told.append)
            if q.submit(attempts[key]):
                over.add(attempts[key])
        assert len({*told}) == len(told) and not over & {*told}
        assert outcomes(attempts, over | {*told}) == model.outcome, (key, action, argument)
        assert q.size() == len(model.content) and q.is_closed() == model.closed


@pytest.fixture
def _impatient() -> Iterator[None]:
    """Threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_all(*calls: Any) -> None:
    errors: list[BaseException] = []

    def guarded(call: Any) -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "deadlock"
    assert not errors, errors


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("kind", ["FIFOQueue", "RandomShuffleQueue"])
def test_many_threads_lose_and_double_nothing(kind: str) -> None:
    q = queue(kind, capacity=7)
    n_producers, n_each = 6, 300
    found: list[list[float]] = [[] for _ in range(6)]

    def produce(i: int) -> None:
        chance, values = random.Random(i), [float(i * n_each + j) for j in range(n_each)]
        while values:
            n = chance.randrange(1, 12)
            part, values = values[:n], values[n:]
            if len(part) == 1:
                q.wait(enqueue(q, part[0]))
            else:
                q.wait(q.enqueue_many([np.array(part, np.float32)]))

    def consume(i: int) -> None:
        chance = random.Random(i)
        while True:
            n = chance.randrange(1, 12)
            try:
                (result,) = q.wait(q.dequeue() if n == 1 else q.dequeue_up_to(n))
            except OutOfRange:
                return
            found[i].extend(np.ravel(result).tolist())

    consumers = [threading.Thread(target=consume, args=(i,), daemon=True) for i in range(6)]
    for consumer in consumers:
        consumer.start()
    run_all(*(lambda i=i: produce(i) for i in range(n_producers)))
    q.wait(q.close())
    for consumer in consumers:
        consumer.join(60)
        assert not consumer.is_alive()
    everything = [value for part in found for value in part]
    assert sorted(everything) == list(range(n_producers * n_each))
    if kind == "FIFOQueue":  # what one thread put in comes out in that order, at each who takes
        for part in found:
            for i in range(n_producers):
                own = [value for value in part if value // n_each == i]
                assert own == sorted(own)


@pytest.mark.usefixtures("_impatient")
def test_many_threads_that_are_told_by_done_lose_and_double_nothing() -> None:
    q, n_threads, n_each = queue(capacity=3), 4, 500
    found, counts, all_over = list[float](), list[int](), threading.Event()

    def over(attempt: Attempt) -> None:
        if attempt.result is not None:
            found.append(float(attempt.result[0]))
        counts.append(1)
        if len(counts) == 2 * n_threads * n_each:
            all_over.set()

    def work(i: int) -> None:
        for j in range(n_each):
            for attempt in (q.enqueue([scalar(i * n_each + j)], over), q.dequeue(over)):
                if q.submit(attempt):
                    over(attempt)

    run_all(*(lambda i=i: work(i) for i in range(n_threads)))
    assert all_over.wait(20)
    assert len(counts) == 2 * n_threads * n_each
    assert sorted(found) == list(range(n_threads * n_each))
    assert q.size() == 0 and not any(q.lines)


@pytest.mark.usefixtures("_impatient")
def test_done_is_called_in_the_order_of_completion_though_many_threads_complete() -> None:
    q, told = queue(), list[Attempt]()

    def done(attempt: Attempt) -> None:
        time.sleep(0)  # let others run
        told.append(attempt)

    attempts = [q.dequeue(done) for _ in range(400)]
    for attempt in attempts:
        q.submit(attempt)
    run_all(*([lambda: [q.submit(enqueue(q, 0)) for _ in range(100)]] * 4))
    assert told == attempts


@pytest.mark.usefixtures("_impatient")
def test_cancelling_at_any_moment_loses_and_doubles_nothing() -> None:
    q, n_threads = queue(capacity=4), 4
    put_in: list[list[float]] = [[] for _ in range(n_threads)]
    found: list[list[float]] = [[] for _ in range(n_threads)]
    current: list[Attempt | None] = [None] * (2 * n_threads)
    stop = threading.Event()

    def produce(i: int) -> None:
        chance = random.Random(i)
        for j in range(250):
            n = chance.randrange(1, 8)
            values = [float((i * 250 + j) * 8 + k) for k in range(n)]
            attempt: Any = q.enqueue_many([np.array(values, np.float32)])
            current[i] = attempt
            with contextlib.suppress(Cancelled, DeadlineExceeded):
                q.wait(attempt, chance.choice([None, 0, 0.0005]))
            put_in[i].extend(values[: attempt.n_put])

    def consume(i: int) -> None:
        chance = random.Random(i)
        while True:
            n = chance.randrange(1, 8)
            attempt = q.dequeue() if n == 1 else q.dequeue_many(n) if n < 6 else q.dequeue_up_to(n)
            current[n_threads + i] = attempt
            try:
                (result,) = q.wait(attempt, chance.choice([None, 0, 0.0005]))
            except (Cancelled, DeadlineExceeded):
                continue
            except OutOfRange:
                if n == 1:
                    return
                continue
            found[i].extend(np.ravel(result).tolist())

    def disturb() -> None:
        chance = random.Random(0)
        while not stop.wait(0.0002):
            attempt = chance.choice(current)
            if attempt is not None:
                q.cancel(attempt)

    disturber = threading.Thread(target=disturb, daemon=True)
    consumers = [threading.Thread(target=consume, args=(i,), daemon=True) for i in range(n_threads)]
    for thread in (disturber, *consumers):
        thread.start()
    run_all(*(lambda i=i: produce(i) for i in range(n_threads)))
    q.wait(q.close())
    stop.set()
    for thread in (disturber, *consumers):
        thread.join(60)
        assert not thread.is_alive()
    assert sorted(v for part in found for v in part) == sorted(v for part in put_in for v in part)
    assert q.size() == 0 and not any(q.lines)
