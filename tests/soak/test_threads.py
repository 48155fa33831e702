"""Threads that share variables: no lost read, no deleted buffer, exact sums where locked.

`DFC_SOAK_SECONDS` sets how long (30 in a full run, 2 in CI).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import numpy as np

import dfc

SECONDS = float(os.environ.get("DFC_SOAK_SECONDS", "2"))


def test_eight_threads_read_and_write_shared_variables() -> None:
    counter = dfc.Variable(np.zeros((), np.int32), name="counter")
    left = dfc.Variable(np.zeros(64, np.float32), name="left")
    right = dfc.Variable(np.zeros(64, np.float32), name="right")

    @dfc.function
    def count(step: dfc.Tensor) -> None:
        counter.assign_add(step, use_locking=True)

    @dfc.function
    def move(amount: dfc.Tensor) -> dfc.Tensor:
        left.assign_add(amount)
        right.assign_sub(amount)
        return dfc.sum(left.read() + right.read())

    @dfc.function
    def total() -> dfc.Tensor:
        return dfc.max(dfc.abs(left.read() + right.read()))

    one, amount = dfc.asarray(np.int32(1)), dfc.asarray(np.full(64, 1.0, np.float32))
    for warm in (lambda: count(one), lambda: move(amount), total):
        warm()
    stop, failures = threading.Event(), []
    calls = [0] * 8

    def work(index: int, call: Callable[[], None]) -> None:
        try:
            while not stop.is_set():
                call()
                calls[index] += 1
        except BaseException as error:
            failures.append(error)
            stop.set()

    def check_total() -> None:
        # A step is atomic over the variables that it touches, so left + right is zero whenever anybody looks.
        assert total().item() == 0.0

    def check_read() -> None:
        assert np.isfinite(left.numpy()).all() and counter.numpy() >= 0

    def check_move() -> None:
        assert move(amount).item() == 0.0

    jobs = [lambda: count(one)] * 3 + [check_move] * 2 + [check_total] * 2 + [check_read]
    threads = [threading.Thread(target=work, args=(i, job)) for i, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    stop.wait(SECONDS)
    stop.set()
    for thread in threads:
        thread.join(timeout=30)
    assert not failures, failures[0]
    assert min(calls) > 0
    assert counter.numpy() == 1 + sum(calls[:3])
    assert (left.numpy() == 1.0 + sum(calls[3:5])).all() or sum(calls[3:5]) >= 2**24
