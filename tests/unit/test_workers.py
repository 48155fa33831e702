"""The pool of threads: each task runs once and at once, whatever others do, and threads without work go."""

from __future__ import annotations

import contextvars
import gc
import random
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfc.runtime import workers
from dfc.runtime.workers import Workers
from tests.unit.test_queue_interrupts import Interrupts

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0


def until(condition: Callable[[], object]) -> None:
    """Wait for the condition, which must come true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.001)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """A pool whose threads leave soon; at the end none is left."""
    monkeypatch.setattr(workers, "LINGER", 0.02)
    made = Workers(keep=2, name="test-worker")
    yield made
    until(lambda: made.count == 0)


def alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "test-worker"]


def test_a_hundred_tasks_that_wait_for_one_another_all_run(pool: Workers) -> None:
    barrier, ended = threading.Barrier(100), []

    def task() -> None:
        barrier.wait(PATIENCE)
        ended.append(threading.get_ident())

    for _ in range(100):
        pool.submit(task)
    until(lambda: len(ended) == 100)
    assert len(set(ended)) == 100
    until(lambda: pool.count <= pool.keep)


def test_threads_that_have_nothing_to_do_take_the_next_task(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LINGER", PATIENCE)
    seen: list[int] = []
    for i in range(50):
        pool.submit(lambda: seen.append(threading.get_ident()))
        until(lambda n=i: len(seen) == n + 1 and pool._free)
    assert len(set(seen)) == 1
    assert pool.count == 1
    assert len(alive()) == 1
    monkeypatch.setattr(workers, "LINGER", 0.02)
    pool.submit(lambda: None)  # so that it does not linger for long
    until(lambda: pool.count == 0)


def test_at_most_keep_stay(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LINGER", 0.5)
    go = threading.Event()
    for _ in range(20):
        pool.submit(lambda: go.wait(PATIENCE))
    until(lambda: pool.count == 20)
    go.set()
    until(lambda: pool.count == 2)
    until(lambda: len(alive()) == 2)


@pytest.mark.parametrize("seed", range(3))
def test_tasks_given_just_as_a_thread_leaves_run_once(
    seed: int, pool: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several threads submit at about the moment at which those without work give up."""
    monkeypatch.setattr(workers, "LINGER", 0.0005)
    n_threads, n_tasks = 4, 400
    runs = [0] * (n_threads * n_tasks)

    def submit(thread: int) -> None:
        choose = random.Random(100 * seed + thread)
        for i in range(thread * n_tasks, (thread + 1) * n_tasks):

            def task(number: int = i) -> None:
                runs[number] += 1

            pool.submit(task)
            if choose.random() < 0.7:
                time.sleep(choose.choice([0.0003, 0.0005, 0.0007]))

    submitting = [threading.Thread(target=submit, args=(i,)) for i in range(n_threads)]
    for thread in submitting:
        thread.start()
    for thread in submitting:
        thread.join(PATIENCE)
    until(lambda: sum(runs) == len(runs))
    until(lambda: pool.count == 0)
    assert runs == [1] * len(runs)


def test_a_task_that_blocks_never_has_another_behind_it(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many short tasks runs while a long one is under way, wherever the long one was put."""
    monkeypatch.setattr(workers, "LINGER", 0.001)
    choose = random.Random(0)
    for _ in range(60):
        go, seen = threading.Event(), []
        pool.submit(lambda go=go: go.wait(PATIENCE))
        for i in range(3):
            pool.submit(lambda i=i, seen=seen: seen.append(i))
        until(lambda seen=seen: len(seen) == 3)
        go.set()
        time.sleep(choose.choice([0, 0.001, 0.002]))


def test_what_a_task_held_is_free_once_it_has_run(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LINGER", 0.5)

    class Held:
        pass

    for _ in range(2):  # the task of a new thread, then one that a free thread takes
        held = Held()
        gone = weakref.ref(held)
        pool.submit(lambda held=held: None)
        del held
        until(lambda gone=gone: gone() is None)
        until(lambda: pool._free)
        assert pool.count == 1


def test_tasks_see_no_context_variables_of_others(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LINGER", 0.5)
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    variable.set(1)
    seen: list[int] = []

    def task() -> None:
        seen.append(variable.get())
        variable.set(2)

    for i in range(3):
        pool.submit(task)
        until(lambda n=i: len(seen) == n + 1 and pool._free)
    assert seen == [0, 0, 0]
    assert pool.count == 1


def test_a_system_without_threads_is_an_error_and_no_more(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(lambda: None)
    assert pool.count == 0
    ran = threading.Event()
    pool.submit(ran.set)
    assert ran.wait(PATIENCE)


@pytest.mark.parametrize("free", [False, True])
def test_an_interrupt_anywhere_leaves_no_thread_waiting_for_a_task(
    free: bool, pool: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a free thread and without: the task runs once or never, and every thread ends. (Threads are asked for in
    one call, inside which nothing of this file's is interrupted.)"""
    at, interrupted = 0, True
    while interrupted:
        at += 1
        if free:
            monkeypatch.setattr(workers, "LINGER", 0.2)
            pool.submit(lambda: None)
            until(lambda: pool._free)
        runs: list[int] = []
        interrupted = False
        try:
            with Interrupts(at):
                pool.submit(lambda runs=runs: runs.append(1))
        except KeyboardInterrupt:
            interrupted = True
        if not interrupted:
            until(lambda runs=runs: runs)
        monkeypatch.setattr(workers, "LINGER", 0.001)
        ran = threading.Event()
        pool.submit(ran.set)
        assert ran.wait(PATIENCE)
        until(lambda: pool.count == 0)
        until(lambda: not alive())
        assert len(runs) <= 1
    assert at > 1


def test_a_forked_process_has_threads_of_its_own() -> None:
    code = """
import os, threading, warnings
from dfc.runtime.workers import WORKERS
warnings.simplefilter("ignore")
go, ran = threading.Event(), threading.Event()
WORKERS.submit(ran.set)
WORKERS.submit(go.wait)
assert ran.wait(10)
child = os.fork()
if not child:
    assert WORKERS.count == 0
    ran = threading.Event()
    WORKERS.submit(ran.set)
    os._exit(0 if ran.wait(10) and WORKERS.count == 1 else 1)
assert os.waitpid(child, 0)[1] == 0
go.set()
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_the_count_ends_where_it_began() -> None:
    gc.collect()
    before = workers.WORKERS.count
    go = threading.Event()
    for _ in range(30):
        workers.WORKERS.submit(lambda: go.wait(PATIENCE))
    until(lambda: workers.WORKERS.count >= 30)
    go.set()
    until(lambda: workers.WORKERS.count <= max(before, workers.WORKERS.keep))
