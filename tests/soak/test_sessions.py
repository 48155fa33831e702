"""Many steps at once on one graph: random feeds and fetches, and cancellation at random moments.

`DFC_SOAK_SECONDS` sets how long (30 in a full run, 2 in CI).
"""

from __future__ import annotations

import gc
import os
import random
import threading
import time
from pathlib import Path

import numpy as np

import dfc
from dfc.errors import Cancelled, DfcError
from dfc.runtime.executor import Execution
from dfc.runtime.workers import WORKERS

SECONDS = float(os.environ.get("DFC_SOAK_SECONDS", "2"))


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def alive(cls: type) -> int:
    gc.collect()
    return sum(1 for thing in gc.get_objects() if type(thing) is cls)


def test_sixteen_threads_of_random_feeds_and_fetches() -> None:
    """Every result is what NumPy says, no error, and neither memory nor threads grow."""
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (8,), name="x")
        k = dfc.placeholder("float32", (), name="k")
        a = x * 2
        b = a + k
        queue = dfc.FIFOQueue(-1, "float32", shapes=[(8,)])
        put, take = queue.enqueue(b), queue.dequeue()
        v = dfc.Variable(np.zeros(8, np.float32), name="v")
        add = v.assign_add(np.ones(8, np.float32))
        text = dfc.strings.as_string(dfc.sum(a))
        c = dfc.sum(b * b)
        init = dfc.initialize_all()
    stop, failures, added = threading.Event(), [], [0] * 16

    def work(index: int) -> None:
        choose = random.Random(index)
        x_value = np.full(8, float(index), np.float32)
        try:
            while not stop.is_set():
                k_value = np.float32(choose.randrange(5))
                fed = np.full(8, float(choose.randrange(3)), np.float32)
                match choose.randrange(7):
                    case 0:
                        assert session.run(c, {x: x_value, k: k_value}) == 8 * (2 * index + k_value) ** 2
                    case 1:
                        found = session.run({"b": b, "both": (a, x)}, {a: fed, k: k_value, x: x_value})
                        assert (found["b"] == fed + k_value).all() and (found["both"][0] == fed).all()
                    case 2:
                        session.run([put, add], {b: fed, k: k_value})
                        added[index] += 1
                        assert session.run(take).shape == (8,)
                    case 3:
                        session.run(add)
                        added[index] += 1
                    case 4:
                        assert session.run(text, {x: x_value}) == f"{float(16 * index)}".encode()
                    case 5:
                        values = session.run(v)
                        assert (values == values[0]).all(), "a read is of one moment"
                    case 6:
                        h = session.partial_run_setup([a, c], [x, k])
                        assert (session.partial_run(h, a, {x: x_value}) == 2 * index).all()
                        assert session.partial_run(h, c, {k: k_value}) == 8 * (2 * index + k_value) ** 2
        except BaseException as error:
            failures.append(error)
            stop.set()

    with dfc.Session(graph) as session:
        session.run(init)
        threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS / 2)
        memory, count = resident(), threading.active_count()
        time.sleep(SECONDS / 2)
        more, later = resident() - memory, threading.active_count() - count
        stop.set()
        for thread in threads:
            thread.join(60)
        assert not failures, failures[0]
        assert session.run(v)[0] == sum(added)
        assert more < 64 << 20 and later <= WORKERS.keep
        assert len(session._state.running) == 0


def test_a_thousand_steps_at_once_of_which_some_are_cancelled() -> None:
    """Each step waits for one element; of a thousand a hundred are cancelled at random moments while elements come.
    Every other result is right, each element is used once, and nothing is left."""
    n, n_cancelled = 1000, 100
    executions = alive(Execution)
    with dfc.Graph() as graph:
        x = dfc.placeholder("int32", (), name="x")
        queue = dfc.FIFOQueue(-1, "int32", shapes=[()])
        put = queue.enqueue(x)
        taken = queue.dequeue()
        result = taken * 2 + 1
        done = dfc.Variable(0, name="done")
        with dfc.control_dependencies([done.assign_add(1)]):
            counted = dfc.identity(result)
        init, size = dfc.initialize_all(), queue.size()
    choose = random.Random(0)
    with dfc.Session(graph) as session:
        session.run(init)
        steps = [session.submit(counted) for _ in range(n)]
        victims = set(choose.sample(range(n), n_cancelled))

        def cancel() -> None:
            for index in choose.sample(sorted(victims), n_cancelled):
                steps[index].cancel()
                time.sleep(choose.random() * 0.002)

        canceller = threading.Thread(target=cancel)
        canceller.start()
        for value in range(n):
            session.run(put, {x: np.int32(value)})
        canceller.join()
        found, cancelled = [], 0
        for index, step in enumerate(steps):
            try:
                found.append((step.result(60) - 1) // 2)
            except Cancelled:
                assert index in victims
                cancelled += 1
        left = session.run(size)
        assert len(found) == n - cancelled and len(set(found)) == len(found)
        assert set(found) <= set(range(n))
        # A step that was cancelled after it had its element takes that with it, no more.
        assert n - len(found) >= left >= n - len(found) - cancelled
        assert session.run(done) >= len(found)
        assert len(session._state.running) == 0
    deadline = time.monotonic() + 30
    while WORKERS.count > WORKERS.keep and time.monotonic() < deadline:
        time.sleep(0.05)
    assert WORKERS.count <= WORKERS.keep
    steps.clear()
    del step, session
    assert alive(Execution) == executions


def test_closing_a_session_ends_all_that_wait_within_a_second() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(1, "float32", shapes=[()])
        take = queue.dequeue() + 1
    session = dfc.Session(graph)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            session.run(take)
        except DfcError as error:
            errors.append(error)

    threads = [threading.Thread(target=wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    while len(session._state.running) < 20:
        time.sleep(0.01)
    start = time.monotonic()
    session.close()
    for thread in threads:
        thread.join(10)
    assert time.monotonic() - start < 1
    assert len(errors) == 20
    assert {type(error) for error in errors} == {Cancelled}
    assert all("Dequeue operation was cancelled" in str(error) for error in errors)
