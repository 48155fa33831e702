"""Rows C3 to C8 in traced functions and at once; and queues among the other parts of a graph: feeds, control
dependencies, calls."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import Aborted, Cancelled, FailedPrecondition, InvalidArgument, InvalidType, OutOfRange
from tests.frontend_support import error_of
from tests.waiting_support import Client, attempts, eventually, in_threads, until_waiting

FILE = __file__


def scalars(capacity: int = 4, **options: Any) -> dfc.FIFOQueue:
    return dfc.FIFOQueue(capacity, "float32", shapes=[()], **options)


def waiting_client(queue: Any, call: Any) -> Client:
    """The call in a thread of its own, once it waits at the queue."""
    before = attempts(queue.live)
    client = Client(call)
    eventually(lambda: attempts(queue.live) == before + 1)
    return client


# ---- at once


def test_c3_at_once_calls_wait_and_give_tensors() -> None:
    queue = scalars(1)
    queue.enqueue(1.0)
    second = waiting_client(queue, lambda: queue.enqueue(np.float32(2)))
    assert queue.size().item() == 1
    found = queue.dequeue()
    assert isinstance(found, dfc.Tensor) and found.dtype is dfc.float32 and found.item() == 1
    second.result()
    assert queue.dequeue().item() == 2
    taker = waiting_client(queue, lambda: queue.dequeue().item())
    queue.enqueue(dfc.asarray(3.0))
    assert taker.result() == 3


def test_c3_at_once_a_device_array_passes_as_it_is() -> None:
    queue = dfc.FIFOQueue(2, "float32")
    x = dfc.asarray(np.arange(6, dtype=np.float32)) * 2
    queue.enqueue(x)
    assert queue.dequeue()._array is x._array


def test_c3_at_once_numbers_take_the_dtype() -> None:
    queue = dfc.FIFOQueue(4, ["float64", "int8", "string", "bool"])
    queue.enqueue([1, 2, "text", True])
    assert [x.dtype.name for x in queue.dequeue()] == ["float64", "int8", "string", "bool"]
    text = error_of(InvalidType, lambda: queue.enqueue([1, 2.5, "text", True]), FILE)
    assert text == "enqueue: 2.5 can't become int8 without loss\n  convert it with dfc.astype"
    text = error_of(InvalidType, lambda: queue.enqueue([np.float32(1), 2, "text", True]), FILE)
    assert text == "enqueue: Type mismatch in tuple component 0: expected float64, got float32"


def test_c4_c5_at_once_many() -> None:
    queue = dfc.FIFOQueue(10, ["float32", "int64"], shapes=[(2,), ()])
    queue.enqueue_many([np.arange(8, dtype=np.float32).reshape(4, 2), np.arange(4)])
    x, i = queue.dequeue_many(3)
    assert x.shape == (3, 2) and i.numpy().tolist() == [0, 1, 2]
    taker = waiting_client(queue, lambda: queue.dequeue_many(2)[1].numpy().tolist())
    queue.enqueue([[1.0, 2.0], 9])
    assert taker.result() == [3, 9]
    queue.enqueue([[1.0, 2.0], 10])
    queue.close()
    assert queue.dequeue_up_to(5)[1].numpy().tolist() == [10]
    with pytest.raises(OutOfRange, match=r"requested 5, current size 0"):
        queue.dequeue_up_to(5)


def test_c6_c7_at_once_closing() -> None:
    queue = scalars(1)
    queue.enqueue(1.0)
    pending = waiting_client(queue, lambda: queue.enqueue(2.0))
    close = waiting_client(queue, lambda: queue.close())
    assert not queue.is_closed()
    queue.close(cancel_pending_enqueues=True)
    with pytest.raises(Cancelled, match="Enqueue operation was cancelled"):
        pending.result()
    close.result()
    assert queue.is_closed()
    text = error_of(Cancelled, lambda: queue.enqueue(3.0), FILE)
    assert text == "enqueue: FIFOQueue 'fifo_queue' is closed."
    text = error_of(Aborted, lambda: queue.close(), FILE)
    assert text == "close: FIFOQueue 'fifo_queue' is already closed."
    assert queue.dequeue().item() == 1
    text = error_of(OutOfRange, lambda: queue.dequeue(), FILE)
    assert text == (
        "dequeue: FIFOQueue 'fifo_queue' is closed and has insufficient elements (requested 1, current size 0)"
    )


def test_c8_at_once_close_gives_back() -> None:
    queue = scalars(-1)
    queue.enqueue_many([[1.0, 2.0, 3.0]][0])
    taker = waiting_client(queue, lambda: queue.dequeue_many(4))
    queue.close()
    with pytest.raises(OutOfRange, match="requested 4, current size 3"):
        taker.result()
    assert [queue.dequeue().item() for _ in range(3)] == [1, 2, 3]


# ---- in functions


def test_c3_in_a_function_operations_happen_in_program_order() -> None:
    queue = scalars(10)

    @dfc.function
    def step(x: Any) -> Any:
        sizes = [queue.size()]
        for k in range(3):
            queue.enqueue(x + k)
        sizes.append(queue.size())
        first = queue.dequeue()
        queue.enqueue(first * 10)
        sizes.append(queue.size())
        queue.dequeue()
        return sizes, first, queue.dequeue_many(2)

    for x in (1.0, 2.0):
        sizes, first, rest = step(np.float32(x))
        assert [s.item() for s in sizes] == [0, 3, 3]
        assert first.item() == x and rest.numpy().tolist() == [x + 2, x * 10]
        assert queue.size().item() == 0


def test_c3_an_effect_of_a_function_that_nobody_fetches_happens_all_the_same() -> None:
    queue = scalars()

    @dfc.function
    def put(x: Any) -> Any:
        queue.enqueue(x)
        return x + 1

    assert put(np.float32(1)).item() == 2
    assert queue.dequeue().item() == 1


def test_c3_a_function_waits_and_computes_with_what_comes() -> None:
    queue, other = scalars(), scalars(1)
    v = dfc.Variable(10.0)

    @dfc.function
    def train() -> Any:
        v.assign_add(queue.dequeue() * 2)
        other.enqueue(v)
        return v.read()

    client = waiting_client(queue, lambda: train().item())
    v.assign(100.0)
    queue.enqueue(4.0)
    assert client.result() == 108, "the variable is read after the wait"
    assert other.dequeue().item() == 108


def test_c3_a_waiting_function_is_interrupted_by_close_with_its_line() -> None:
    queue = scalars()

    @dfc.function
    def take() -> Any:
        return queue.dequeue()

    client = waiting_client(queue, take)
    queue.close()
    text = error_of(OutOfRange, client.result, FILE)
    assert text.startswith("dequeue: FIFOQueue 'fifo_queue' is closed")


def test_c3_two_functions_share_a_queue_that_neither_has_used_before() -> None:
    """Compiled at the same time in two threads, they must find one queue behind it."""
    for _ in range(5):
        queue = scalars(-1)
        put = dfc.function(lambda x, queue=queue: queue.enqueue(x))
        take = dfc.function(lambda queue=queue: queue.dequeue())
        barrier = threading.Barrier(2)

        def producer(put: Any = put, barrier: Any = barrier) -> None:
            barrier.wait()
            for k in range(100):
                put(np.float32(k))

        def consumer(take: Any = take, barrier: Any = barrier) -> list[float]:
            barrier.wait()
            return [take().item() for _ in range(100)]

        clients = [Client(consumer), Client(producer)]
        assert clients[0].result() == list(range(100))
        clients[1].result()


def test_c3_many_threads_lose_and_double_nothing() -> None:
    queue = dfc.FIFOQueue(3, ["int32", "float32"], shapes=[(), (4,)])

    @dfc.function
    def put(k: Any) -> None:
        queue.enqueue([k, dfc.broadcast_to(dfc.astype(k, "float32"), (4,))])

    @dfc.function
    def take() -> Any:
        k, x = queue.dequeue()
        return k, dfc.sum(x)

    put(np.int32(0))
    take()  # both compiled

    def work(index: int) -> list[tuple[int, float]]:
        if index < 4:
            for k in range(50):
                put(np.int32(50 * index + k))
            return []
        return [(k.item(), x.item()) for k, x in (take() for _ in range(50))]

    found = sorted(pair for part in in_threads(8, work) for pair in part)
    assert found == [(k, 4 * k) for k in range(200)]


def test_c5_sizes_that_are_known_late_have_no_place_in_a_shape_that_is_checked() -> None:
    """Two dequeues of unknown sizes are not taken for equal."""
    queue = scalars(-1)

    @dfc.function
    def add() -> Any:
        return queue.dequeue_up_to(2) + queue.dequeue_up_to(3)

    with pytest.raises(InvalidArgument, match="nothing says that fifo_queue_1 and fifo_queue_2 are equal"):
        add()


def test_c3_inside_a_checkpoint_nothing_is_dequeued() -> None:
    queue = scalars()

    @dfc.function
    def f(x: Any) -> Any:
        return dfc.checkpoint(lambda y: y * queue.dequeue())(x)

    text = error_of(FailedPrecondition, lambda: f(np.float32(1)), FILE)
    assert text == (
        "checkpoint: dequeue can't happen inside checkpoint: what is in it may run never or twice\n  do it outside"
    )


# ---- among the other parts of a graph


def test_b2_c3_feeding_what_is_dequeued_dequeues_nothing() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(4, ["float32", "float32"], shapes=[(), (2,)], names=["a", "b"])
        put = queue.enqueue({"a": 1.0, "b": [2.0, 3.0]})
        found = queue.dequeue()
        many = dfc.PaddingFIFOQueue(4, "float32", shapes=[(None,)], name="padded").dequeue_up_to(3)
        total = found["a"] + dfc.sum(found["b"])
        v = dfc.Variable(2.0)
        loss = dfc.sum(many * v)
        (slope,) = dfc.gradients([loss], [v])
        init, size = dfc.initialize_all(), queue.size()
    with dfc.Session(graph) as session:
        session.run([put, init])
        assert session.run(total, {found["a"]: 5.0, found["b"]: [1.0, 1.0]}) == 7
        assert session.run(size) == 1
        assert session.run(found["a"], {found["a"]: 8.0}) == 8
        assert session.run(total, {found["a"]: 5.0}) == 10, "the other component still comes from the queue"
        assert session.run(size) == 0
        for shape in ((2, 3), (1, 1)):
            assert session.run([loss, slope], {many: np.ones(shape)}) == [2 * np.prod(shape), np.prod(shape)]


def test_a5_c3_control_dependencies_order_operations_on_a_queue() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(10, "float32", shapes=[()])
        first = queue.enqueue(1.0)
        with dfc.control_dependencies([first]):
            second = queue.enqueue(2.0)
            with dfc.control_dependencies([second]):
                size = queue.size()
                with dfc.control_dependencies([size]):
                    a = queue.dequeue()
                    with dfc.control_dependencies([a]):
                        b, closed = queue.dequeue(), queue.is_closed()
        with dfc.control_dependencies([b]):
            close = queue.close()
    with dfc.Session(graph) as session:
        for _ in range(3):
            assert session.run([b, a, size]) == [2, 1, 2]
        assert not session.run(closed)
        session.run([close, first])


def test_a5_c3_without_any_only_what_is_fetched_happens() -> None:
    with dfc.Graph() as graph:
        queue = scalars(10)
        puts = [queue.enqueue(float(k)) for k in range(3)]
        size, taken = queue.size(), queue.dequeue()
    with dfc.Session(graph) as session:
        session.run(puts[2])
        assert session.run(size) == 1 and session.run(taken) == 2
        session.run(puts)
        assert session.run(size) == 3
        assert sorted(session.run(taken) for _ in range(3)) == [0, 1, 2]


def test_c3_a_function_called_in_a_graph_uses_the_graphs_queue() -> None:
    with dfc.Graph() as graph:
        queue = scalars(10)

        @dfc.function
        def move(x: Any) -> Any:
            queue.enqueue(x)
            queue.enqueue(x + 1)
            return queue.dequeue() * 10, queue.size()

        x = dfc.placeholder("float32", ())
        found, size = move(x)
        again, _ = move(x + 5)
        left = queue.size()
    with dfc.Session(graph) as session, dfc.Session(graph) as other:
        assert session.run([found, size], {x: 1.0}) == [10, 1]
        assert session.run(left) == 1, "both calls are one thing each: fetched or not"
        assert session.run(found, {x: 7.0}) == 20
        assert session.run(again, {x: 0.0}) == 70
        assert session.run(left) == 3 and other.run(left) == 0
    text = error_of(FailedPrecondition, lambda: move(np.float32(1)), FILE)
    assert text == "FIFOQueue: 'fifo_queue' belongs to another graph"


def test_c5_a_function_that_dequeues_as_many_as_there_are_may_be_called_twice() -> None:
    queue = scalars(-1)

    @dfc.function
    def some(n: int) -> Any:
        found = queue.dequeue_up_to(n)
        return found, dfc.concat([found, found])

    @dfc.function
    def both() -> Any:
        a, twice = some(2)
        b, _ = some(2)
        queue.close()
        c, _ = some(4)
        return a, b, c, dfc.sum(twice) + dfc.sum(c)

    queue.enqueue_many(np.arange(7, dtype=np.float32))
    a, b, c, total = both()
    assert [x.shape for x in (a, b, c)] == [(2,), (2,), (3,)]
    assert [x.numpy().tolist() for x in (a, b, c)] == [[0, 1], [2, 3], [4, 5, 6]]
    assert total.item() == 17


def test_names_of_operations_on_queues() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(4, "float32", shapes=[()], name="q")
        with dfc.name_scope("input"):
            put = queue.enqueue(1.0, name="put")
            x, n = queue.dequeue(name="x"), queue.size(name="n")
        close = queue.close(name="end")
    assert [put.name, x.name, n.name, close.name] == ["input/put", "input/x", "input/n", "end"]
    with dfc.Session(graph) as session:
        session.run("input/put")
        assert session.run(["input/n", "input/x"])[1] == 1
        session.run("end")


def test_c9_an_interrupted_function_leaves_its_element() -> None:
    queue = scalars()

    @dfc.function
    def take() -> Any:
        return queue.dequeue()

    with dfc.Session(take) as session:
        step = session.submit("output_0")
        eventually(lambda: attempts(queue.live) == 1)
        session.close()
        with pytest.raises(Cancelled, match="Dequeue operation was cancelled"):
            step.result(60)
    queue.enqueue(1.0)
    assert take().item() == 1


def test_c6_a_step_may_wait_for_what_another_part_of_it_puts_in() -> None:
    with dfc.Graph() as graph:
        queue = scalars(1)
        x = dfc.placeholder("float32", ())
        taken = queue.dequeue()
        put = queue.enqueue(x * 2)
    with dfc.Session(graph) as session:
        for k in range(5):
            assert session.run([taken, put], {x: k}) == [2 * k, None]
        client = Client(lambda: session.run(taken))
        until_waiting(session)
        session.run(put, {x: 50.0})
        assert client.result() == 100
