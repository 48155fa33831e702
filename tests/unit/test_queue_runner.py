"""`dfc.train.QueueRunner`: threads that fill a queue, how they end, and what of their errors is heard."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import Cancelled, FailedPrecondition, InvalidArgument, InvalidType, OutOfRange
from dfc.train import Coordinator, QueueRunner, add_queue_runner, start_queue_runners
from tests.frontend_support import error_of
from tests.waiting_support import attempts, eventually, n_waiting

FILE = __file__


def runners() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("QueueRunner")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    eventually(lambda: not runners())
    left = {thread for thread in threading.enumerate() if thread.name != "dfc-worker"} - before
    assert not left


class Counting:
    """A graph whose queue holds the numbers that a counter of its own gives, filled by `n_threads`."""

    def __init__(self, n_threads: int = 1, limit: int = 2**30, capacity: int = 3) -> None:
        with dfc.Graph() as self.graph:
            numbers = dfc.FIFOQueue(-1, "int32", shapes=[()], name="numbers")
            self.queue = dfc.FIFOQueue(capacity, "int32", shapes=[()], name="q")
            self.give = numbers.enqueue_many(np.arange(min(limit, 1000), dtype=np.int32))
            self.end = numbers.close()
            self.fill = self.queue.enqueue(numbers.dequeue() * 10)
            self.runner = QueueRunner(self.queue, [self.fill] * n_threads)
            add_queue_runner(self.runner)
            self.taken, self.size, self.closed = self.queue.dequeue(), self.queue.size(), self.queue.is_closed()

    def session(self) -> dfc.Session:
        session = dfc.Session(self.graph)
        session.run(self.give)
        return session


def stopped(coordinator: Coordinator, threads: list[threading.Thread]) -> float:
    """Stop and join; the seconds that it took."""
    began = time.monotonic()
    coordinator.request_stop()
    coordinator.join(threads)
    assert not any(thread.is_alive() for thread in threads)
    return time.monotonic() - began


@pytest.mark.parametrize("n_threads", [1, 3])
def test_it_keeps_the_queue_full_until_the_coordinator_stops(n_threads: int) -> None:
    program = Counting(n_threads)
    with program.session() as session:
        coordinator = Coordinator()
        threads = start_queue_runners(session, coordinator)
        assert len(threads) == n_threads + 1 and all(thread.daemon for thread in threads)
        found = [int(session.run(program.taken)) for _ in range(50)]
        if n_threads == 1:
            assert found == [10 * k for k in range(50)]
        assert len(set(found)) == 50 and max(found) <= 10 * (50 + 3 + 3)
        eventually(lambda: n_waiting(session) == n_threads)
        assert session.run(program.size) == 3
        assert stopped(coordinator, threads) < 1
        assert session.run(program.closed)
        rest = [int(session.run(program.taken)) for _ in range(3)]
        assert not set(rest) & set(found)
        with pytest.raises(OutOfRange):
            session.run(program.taken)
        assert not program.runner.exceptions_raised


def test_it_ends_with_its_input_and_the_last_one_closes_the_queue() -> None:
    program = Counting(3, limit=20)
    with program.session() as session:
        coordinator = Coordinator()
        threads = start_queue_runners(session, coordinator)
        session.run(program.end)
        found = []
        with coordinator.stop_on_exception():
            while not coordinator.should_stop():
                found.append(int(session.run(program.taken)))
        coordinator.join(threads)
        assert sorted(found) == list(range(0, 200, 10))


def test_no_stop_is_needed_where_the_input_ends() -> None:
    program = Counting(2, limit=3, capacity=10)
    with program.session() as session:
        session.run(program.end)
        coordinator = Coordinator()
        threads = start_queue_runners(session, coordinator)
        coordinator.join(threads)
        assert not coordinator.should_stop()
        assert session.run([program.closed, program.size]) == [True, 3]


def test_an_error_stops_all_and_is_raised_by_join() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(2, "float32", shapes=[()], name="q")
        wrong = dfc.FIFOQueue(2, "float32", shapes=[(2,)], name="wrong")
        x = dfc.FIFOQueue(2, "float32", name="x")
        give = x.enqueue([1.0, 2.0, 3.0])
        bad = wrong.enqueue(x.dequeue(shapes=[(None,)]))
        add_queue_runner(QueueRunner(queue, [queue.enqueue(1.0)] * 2))
        add_queue_runner(QueueRunner(wrong, [bad]))
        closed = [queue.is_closed(), wrong.is_closed()]
    with dfc.Session(graph) as session:
        coordinator = Coordinator()
        threads = start_queue_runners(session, coordinator)
        eventually(lambda: n_waiting(session) == 3)
        assert not coordinator.should_stop()
        session.run(give)
        began = time.monotonic()
        text = error_of(InvalidArgument, lambda: coordinator.join(threads), FILE)
        assert time.monotonic() - began < 1
        assert text == "enqueue: Shape mismatch in tuple component 0: expected (2,), got (3,)"
        assert session.run(closed) == [True, True], "who waited was cancelled"
        first, second = graph.trace.queue_runners  # type: ignore[attr-defined]
        assert not first.exceptions_raised and len(second.exceptions_raised) == 1


def test_closing_the_session_ends_them() -> None:
    program = Counting(2)
    for coordinator in (None, Coordinator()):
        with program.session() as session:
            threads = start_queue_runners(session, coordinator)
            eventually(lambda session=session: n_waiting(session) == 2)  # type: ignore[misc]
        began = time.monotonic()
        for thread in threads:
            thread.join(20)
        assert time.monotonic() - began < 1
        if coordinator is not None:
            coordinator.join(threads)
    assert not program.runner.exceptions_raised


def test_without_a_coordinator_closing_the_queue_ends_them() -> None:
    program = Counting(2)
    with program.session() as session:
        threads = start_queue_runners(session)
        assert len(threads) == 2
        eventually(lambda: n_waiting(session) == 2)
        session.run(program.runner.cancel_op)
        for thread in threads:
            thread.join(20)
        assert not program.runner.exceptions_raised


def test_a_runner_that_is_at_work_is_not_started_twice() -> None:
    program = Counting(2)
    with program.session() as one, program.session() as two:
        coordinator = Coordinator()
        threads = start_queue_runners(one, coordinator)
        assert start_queue_runners(one, coordinator) == []
        assert program.runner.create_threads(one) == []
        threads += start_queue_runners(two, coordinator)
        assert len(threads) == 6
        assert stopped(coordinator, threads) < 1


def test_in_a_new_session_it_starts_anew() -> None:
    program = Counting()
    for _ in range(3):
        with program.session() as session:
            coordinator = Coordinator()
            threads = start_queue_runners(session, coordinator)
            assert [int(session.run(program.taken)) for _ in range(5)] == [0, 10, 20, 30, 40]
            stopped(coordinator, threads)


def test_threads_may_be_made_first_and_started_later() -> None:
    program = Counting()
    with program.session() as session:
        coordinator = Coordinator()
        threads = program.runner.create_threads(session, coordinator, daemon=False)
        assert not any(thread.is_alive() or thread.daemon for thread in threads)
        assert program.runner.create_threads(session, coordinator) == [], "there are some already"
        for thread in threads:
            thread.start()
        assert session.run(program.taken) == 0
        stopped(coordinator, threads)


def test_a_graph_without_runners() -> None:
    with dfc.Graph() as graph:
        dfc.placeholder("float32", ())
    with dfc.Session(graph) as session:
        assert start_queue_runners(session, Coordinator()) == []
    with dfc.Session(dfc.function(lambda x: x + 1), dfc.TensorSpec((), "float32")) as session:
        assert start_queue_runners(session) == []


def test_queues_one_behind_the_other() -> None:
    """Filenames, contents, batches: each queue has a runner that takes from the one before."""
    with dfc.Graph() as graph:
        names = dfc.FIFOQueue(2, "string", shapes=[()], name="names")
        contents = dfc.FIFOQueue(2, ["string", "int32"], shapes=[(), ()], name="contents")
        source = dfc.FIFOQueue(-1, "string", shapes=[()], name="source")
        fill = source.enqueue_many([f"file-{k}" for k in range(30)])
        end = source.close()
        add_queue_runner(QueueRunner(names, [names.enqueue(source.dequeue())]))
        name = names.dequeue()
        add_queue_runner(QueueRunner(contents, [contents.enqueue([name, dfc.strings.length(name)])] * 3))
        batch = contents.dequeue_up_to(4)
    with dfc.Session(graph) as session:
        session.run([fill, end])
        coordinator = Coordinator()
        threads = start_queue_runners(session, coordinator)
        found: list[bytes] = []
        with coordinator.stop_on_exception():
            while not coordinator.should_stop():
                texts, lengths = session.run(batch)
                assert lengths.tolist() == [len(text) for text in texts]
                found += list(texts)
        coordinator.join(threads)
    assert sorted(found) == sorted(f"file-{k}".encode() for k in range(30))


# ---- process-wide queues and functions


def test_a_function_fills_a_queue_of_the_process() -> None:
    queue, source = dfc.FIFOQueue(2, "int32", shapes=[()]), iter(range(7))

    def put() -> None:
        number = next(source, None)
        if number is None:
            raise OutOfRange("that was all")
        queue.enqueue(number)

    threads = QueueRunner(queue, [put]).create_threads(start=True)
    found = []
    with pytest.raises(OutOfRange, match="is closed and has insufficient elements"):
        while True:
            found.append(queue.dequeue().item())
    assert found == list(range(7))
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("traced", [True, False])
def test_functions_stop_though_they_wait(traced: bool) -> None:
    queue = dfc.FIFOQueue(2, "float32", shapes=[()])
    v = dfc.Variable(0.0)

    def put() -> None:
        v.assign_add(1.0)
        queue.enqueue(v.read())

    runner = QueueRunner(queue, [dfc.function(put) if traced else put] * 2)
    coordinator = Coordinator()
    threads = runner.create_threads(None, coordinator, start=True)
    assert queue.dequeue().item() > 0
    eventually(lambda: attempts(queue.live) == 2)
    assert stopped(coordinator, threads) < 1
    assert queue.is_closed() and queue.size().item() == 2


def test_an_error_of_a_function_reaches_the_coordinator() -> None:
    queue = dfc.FIFOQueue(1, "float32", shapes=[()])
    release = threading.Event()

    def bad() -> None:
        release.wait()
        raise ZeroDivisionError("in my function")

    coordinator = Coordinator()
    runner = QueueRunner(queue, [lambda: queue.enqueue(1.0), bad])
    threads = runner.create_threads(coordinator=coordinator, start=True)
    eventually(lambda: attempts(queue.live) == 1)
    release.set()
    with pytest.raises(ZeroDivisionError, match="in my function"):
        coordinator.join(threads)
    assert [type(error) for error in runner.exceptions_raised] == [ZeroDivisionError]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_without_a_coordinator_an_error_is_raised_in_its_thread_and_the_others_end() -> None:
    queue, seen = dfc.FIFOQueue(1, "float32", shapes=[()]), list[Any]()
    release = threading.Event()

    def bad() -> None:
        release.wait()
        raise ZeroDivisionError

    before, threading.excepthook = threading.excepthook, seen.append
    try:
        threads = QueueRunner(queue, [lambda: queue.enqueue(1.0), bad]).create_threads(start=True)
        eventually(lambda: attempts(queue.live) == 1)
        release.set()
        for thread in threads:
            thread.join(20)
    finally:
        threading.excepthook = before
    assert [args.exc_type for args in seen] == [ZeroDivisionError]
    assert queue.is_closed()


def test_operations_of_a_graph_may_fill_a_queue_of_the_process() -> None:
    queue = dfc.FIFOQueue(2, "float32", shapes=[()])
    with dfc.Graph() as graph:
        add_queue_runner(QueueRunner(queue, [queue.enqueue(4.0)]))
    with dfc.Session(graph) as session:
        coordinator = Coordinator()
        threads = start_queue_runners(session, coordinator)
        assert [queue.dequeue().item() for _ in range(5)] == [4] * 5
        assert stopped(coordinator, threads) < 1
    assert queue.is_closed()


def test_operations_to_close_and_what_counts_as_closed_can_be_chosen() -> None:
    queue, closed = dfc.FIFOQueue(2, "float32", shapes=[()]), list[str]()
    done = iter([None] * 2)

    def put() -> None:
        next(done)
        queue.enqueue(1.0)

    runner = QueueRunner(
        queue,
        [put],
        cancel_op=lambda: closed.append("cancel"),
        close_op=lambda: closed.append("close"),
        queue_closed_exceptions=(StopIteration,),
    )
    coordinator = Coordinator()
    coordinator.join(runner.create_threads(coordinator=coordinator, start=True))
    assert closed == ["close"] and not runner.exceptions_raised
    threads = QueueRunner(
        queue, [lambda: time.sleep(0.01)], lambda: closed.append("cancel"), lambda: closed.append("end")
    ).create_threads(coordinator=coordinator, start=True)
    stopped(coordinator, threads)
    assert sorted(closed) == ["cancel", "close", "end"]


def test_an_error_while_closing_is_heard() -> None:
    queue = dfc.FIFOQueue(2, "float32", shapes=[()])

    def put() -> None:
        raise Cancelled("no more")

    def close() -> None:
        raise ZeroDivisionError("while closing")

    coordinator = Coordinator()
    runner = QueueRunner(queue, [put], close_op=close)
    with pytest.raises(ZeroDivisionError, match="while closing"):
        coordinator.join(runner.create_threads(coordinator=coordinator, start=True))


# ---- what it refuses


def test_what_is_no_queue_or_no_operation() -> None:
    queue = dfc.FIFOQueue(2, "float32", shapes=[()])
    for call, kind, text in (
        (lambda: QueueRunner(queue, []), InvalidArgument, "at least one operation that enqueues is needed"),
        (lambda: QueueRunner("queue", [print]), InvalidType, "the runner of a queue is needed, got 'queue'"),
        (lambda: QueueRunner(queue, [3]), InvalidType, "operations and functions are needed, got 3"),
        (lambda: QueueRunner(queue, [print], close_op=3), InvalidType, "operations and functions are needed, got 3"),
        (lambda: QueueRunner(queue, [queue.enqueue(1.0)]), InvalidType,
         "'fifo_queue/enqueue' has happened already, and can't happen again\n"
         "  outside of a graph give a function that does it: lambda: queue.enqueue(...)"),
    ):  # fmt: skip
        assert error_of(kind, call, FILE) == f"QueueRunner: {text}"  # type: ignore[arg-type]


def test_operations_of_a_graph_need_a_session_and_a_list_a_graph() -> None:
    program = Counting()
    text = error_of(FailedPrecondition, lambda: program.runner.create_threads(), FILE)
    assert text == "QueueRunner: operations of a graph need a session to run in"
    text = error_of(FailedPrecondition, lambda: add_queue_runner(program.runner), FILE)
    assert text == (
        "add_queue_runner: queue runners are added to a graph\n"
        "  call it in `with dfc.Graph():`, or runner.create_threads(start=True) without one"
    )
    with dfc.Graph():
        text = error_of(InvalidType, lambda: add_queue_runner(program.queue), FILE)  # type: ignore[arg-type]
    assert text == "add_queue_runner: a QueueRunner is needed, got <dfc.FIFOQueue 'q'>"
    text = error_of(FailedPrecondition, lambda: QueueRunner(program.queue, [program.fill]), FILE)
    assert text.startswith("FIFOQueue: 'q' belongs to a graph")
