"""Rows C3 to C9: queues of a graph, from several steps at once: who waits, for what, and what closing does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import Aborted, Cancelled, DeadlineExceeded, DfcError, InvalidArgument, InvalidType, OutOfRange
from tests.frontend_support import error_of
from tests.waiting_support import Client, n_waiting, until_waiting

FILE = __file__


class Script:
    """A queue of float32 scalars with all that can be done to it, in a session."""

    def __init__(self, capacity: int, kind: Any = dfc.FIFOQueue) -> None:
        with dfc.Graph() as graph:
            self.queue = kind(capacity, "float32", shapes=[()], name="q")
            self.x = dfc.placeholder("float32", (), name="x")
            self.xs = dfc.placeholder("float32", ("n",), name="xs")
            self.n = dfc.placeholder("int32", (), name="n")
            self.one, self.many = self.queue.enqueue(self.x), self.queue.enqueue_many([self.xs])
            self.dequeue, self.batch = self.queue.dequeue(), self.queue.dequeue_many(self.n)
            self.up_to = self.queue.dequeue_up_to(self.n)
            self.close, self.cancel = self.queue.close(), self.queue.close(cancel_pending_enqueues=True)
            self.size, self.closed = self.queue.size(), self.queue.is_closed()
        self.session = dfc.Session(graph)

    def put(self, *values: float) -> None:
        for value in values:
            self.session.run(self.one, {self.x: value})

    def put_many(self, *values: float) -> None:
        self.session.run(self.many, {self.xs: np.array(values, np.float32)})

    def take(self, n: int = 1) -> list[float]:
        return [float(self.session.run(self.dequeue)) for _ in range(n)]

    def take_many(self, n: int) -> list[float]:
        return [float(x) for x in self.session.run(self.batch, {self.n: n})]

    def take_up_to(self, n: int) -> list[float]:
        return [float(x) for x in self.session.run(self.up_to, {self.n: n})]

    def run(self, what: Any) -> Any:
        return self.session.run(what)

    def client(self, call: Callable[..., Any], *args: Any) -> Client:
        """The call in a thread of its own, once it waits."""
        before = n_waiting(self.session)
        client = Client(lambda: call(*args))
        until_waiting(self.session, before + 1)
        return client


@pytest.fixture
def four() -> Iterator[Script]:
    """A queue with room for four."""
    script = Script(4)
    with script.session:
        yield script


def refused(call: Callable[[], Any]) -> str:
    """The class and the first line of an error, which has a line of this file."""
    with pytest.raises(DfcError) as caught:
        call()
    first, *rest = str(caught.value).splitlines()
    assert any(line.startswith(f"  at {FILE}:") for line in rest), str(caught.value)
    return f"{type(caught.value).__name__}: {first}"


# ---- C3: room, and what may go in


def test_c3_enqueue_waits_while_the_queue_is_full(four: Script) -> None:
    four.put(10, 20, 30, 40)
    assert four.run(four.size) == 4
    fifth = four.client(four.put, 50)
    assert fifth.waits and four.run(four.size) == 4
    assert four.take() == [10]
    fifth.result()
    assert four.take(4) == [20, 30, 40, 50]
    assert four.run(four.size) == 0


def test_c3_dequeue_waits_while_the_queue_is_empty(four: Script) -> None:
    takers = [four.client(four.take) for _ in range(3)]
    four.put(1)
    assert takers[0].result() == [1], "who came first is served first"
    assert takers[1].waits and takers[2].waits
    four.put(2, 3)
    assert [taker.result() for taker in takers[1:]] == [[2], [3]]


def test_c3_capacity_minus_one_is_no_limit() -> None:
    script = Script(-1)
    with script.session:
        script.put_many(*range(1000))
        assert script.run(script.size) == 1000
        assert script.take(3) == [0, 1, 2]


@pytest.mark.parametrize("capacity", [0, -2])
def test_c3_other_capacities(capacity: int) -> None:
    with dfc.Graph():
        text = error_of(InvalidArgument, lambda: dfc.FIFOQueue(capacity, "float32"), FILE)
    assert text == f"FIFOQueue: capacity must be positive, or -1 for unbounded, got {capacity}"


def test_c3_components_have_fixed_number_dtypes_and_shapes() -> None:
    with dfc.Graph():
        queue = dfc.FIFOQueue(4, ["float32", "int32"], shapes=[(2,), ()], name="q")
        x, i = dfc.placeholder("float32", (2,)), dfc.placeholder("int32", ())
        y = dfc.placeholder("float32", (3,))
        for element, kind, text in (
            ([x], InvalidArgument, "Wrong number of components in tuple: expected 2, got 1"),
            ([x, i, i], InvalidArgument, "Wrong number of components in tuple: expected 2, got 3"),
            (x, InvalidArgument, "Wrong number of components in tuple: expected 2, got 1"),
            ([i, i], InvalidType, "Type mismatch in tuple component 0: expected float32, got int32"),
            ([x, x], InvalidType, "Type mismatch in tuple component 1: expected int32, got float32"),
            ([y, i], InvalidArgument, "Shape mismatch in tuple component 0: expected (2,), got (3,)"),
            ([x[None], i], InvalidArgument, "Shape mismatch in tuple component 0: expected (2,), got (1, 2)"),
        ):
            assert error_of(kind, lambda e=element: queue.enqueue(e), FILE) == f"enqueue: {text}"  # type: ignore[misc]
        for element, text in (
            ([x[None], dfc.stack([i])[None]], "component 1: expected (n,), got (1, 1)"),
            ([x[None], i], "component 1: expected (n,), got ()"),
        ):
            found = error_of(InvalidArgument, lambda e=element: queue.enqueue_many(e), FILE)  # type: ignore[misc]
            assert found == f"enqueue_many: Shape mismatch in tuple {text}"


def test_c3_shapes_that_are_known_when_it_runs_only_are_checked_then() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(4, "float32", shapes=[(2,)], name="q")
        x = dfc.placeholder("float32", ("n",), name="x")
        put, taken, size = queue.enqueue(x), queue.dequeue(), queue.size()
    with dfc.Session(graph) as session:
        text = refused(lambda: session.run(put, {x: np.zeros(3, np.float32)}))
        assert text == "InvalidArgument: enqueue: Shape mismatch in tuple component 0: expected (2,), got (3,)"
        session.run(put, {x: [1, 2]})
        assert session.run(size) == 1
        np.testing.assert_array_equal(session.run(taken), [1, 2])


def test_c3_without_shapes_components_may_have_any() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(4, ["float32", "string"], name="q")
        x = dfc.placeholder("float32", (None, None), name="x")
        put, (value, text) = queue.enqueue([x, "some"]), queue.dequeue(shapes=[(None, None), ()])
        total = dfc.sum(value * 2, axis=0)
    with dfc.Session(graph) as session:
        for size in (2, 3):
            session.run(put, {x: np.ones((size, size))})
        np.testing.assert_array_equal(session.run(total), [4, 4])
        found = session.run([total, text])
        np.testing.assert_array_equal(found[0], [6, 6, 6])
        assert found[1] == b"some"


def test_c3_a_dequeue_takes_what_the_graph_takes_it_for_or_says_what_came() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(4, "float32", name="q")
        x = dfc.placeholder("float32", ("n",), name="x")
        with pytest.raises(InvalidArgument, match="the shape of component 0 of 'q' is not known"):
            queue.dequeue()
        put, three = queue.enqueue(x), queue.dequeue(shapes=[(3,)])
    with dfc.Session(graph) as session:
        session.run(put, {x: [1, 2]})
        text = refused(lambda: session.run(three))
        assert text == (
            "InvalidArgument: dequeue: component 0 must be float32[3], as the graph takes it to be, got float32[2]"
        )


# ---- C4: enqueue_many


def test_c4_enqueue_many_to_a_full_queue_puts_slices_in_as_space_appears(four: Script) -> None:
    four.put_many(10, 20, 30, 40)
    more = four.client(four.put_many, 50, 60)
    assert four.take() == [10]
    assert more.waits and four.run(four.size) == 4
    assert four.take() == [20]
    more.result()
    assert four.take(4) == [30, 40, 50, 60]


def test_c4_what_is_in_stays_in(four: Script) -> None:
    """Not atomic: the rest is cancelled, and the first part can be taken."""
    more = four.client(four.put_many, 1, 2, 3, 4, 5, 6)
    four.run(four.cancel)
    with pytest.raises(Cancelled, match="Enqueue operation was cancelled"):
        more.result()
    assert four.take(4) == [1, 2, 3, 4]


def test_c4_a_batch_of_nothing_is_done_at_once(four: Script) -> None:
    four.put(1, 2, 3, 4)
    four.put_many()
    four.run(four.close)
    four.put_many()
    assert four.take(4) == [1, 2, 3, 4]


def test_c4_others_wait_behind_it(four: Script) -> None:
    four.put(1, 2, 3)
    many, one = four.client(four.put_many, 4, 5, 6), four.client(four.put, 7)
    assert four.take(2) == [1, 2]
    many.result()
    assert one.waits
    assert four.take(5) == [3, 4, 5, 6, 7]
    one.result()


# ---- C5: dequeue_many


def test_c5_dequeue_many_waits_until_there_are_so_many(four: Script) -> None:
    four.put(1, 2)
    taker = four.client(four.take_many, 6)
    assert four.run(four.size) == 0, "it has taken what there was"
    four.put(3, 4, 5)
    assert taker.waits
    four.put(6, 7)
    assert taker.result() == [1, 2, 3, 4, 5, 6]
    assert four.take() == [7]


def test_c5_none_are_there_at_once(four: Script) -> None:
    found = four.session.run(four.batch, {four.n: 0})
    assert found.shape == (0,) and found.dtype == np.float32
    assert four.take_up_to(0) == []


def test_c5_components_need_full_shapes() -> None:
    with dfc.Graph():
        for queue in (dfc.FIFOQueue(4, "float32", name="q"), dfc.FIFOQueue(4, "float32", [(None, 2)], name="q")):
            for op in ("dequeue_many", "dequeue_up_to"):
                text = error_of(InvalidArgument, lambda q=queue, o=op: getattr(q, o)(2), FILE)  # type: ignore[misc]
                assert text == (
                    f"{op}: queues require the components to have specified shapes, and those of 'q' are not\n"
                    "  give the queue shapes=[...]"
                )


@pytest.mark.parametrize("op", ["dequeue_many", "dequeue_up_to"])
def test_c5_a_negative_number(four: Script, op: str) -> None:
    with four.session.graph:
        text = error_of(InvalidArgument, lambda: getattr(four.queue, op)(-1), FILE)
        assert text == f"{op}: the number of elements must not be negative, got -1"
    what = four.batch if op == "dequeue_many" else four.up_to
    text = refused(lambda: four.session.run(what, {four.n: -1}))
    assert text == f"InvalidArgument: {op}: {op} needs a number of elements that is 0 or more, got -1"


def test_c5_dequeue_up_to_gives_fewer_only_after_close(four: Script) -> None:
    four.put(1, 2)
    taker = four.client(four.take_up_to, 3)
    four.put(3)
    assert taker.result() == [1, 2, 3]
    four.put(4)
    taker = four.client(four.take_up_to, 3)
    four.run(four.close)
    assert taker.result() == [4]
    assert refused(lambda: four.take_up_to(3)) == (
        "OutOfRange: dequeue_up_to: FIFOQueue 'q' is closed and has insufficient elements (requested 3, current size 0)"
    )


def test_c5_many_components_are_stacked_each() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(-1, ["float32", "string", "int64"], shapes=[(2,), (), (1, 1)])
        put = queue.enqueue_many(
            [np.arange(6, dtype=np.float32).reshape(3, 2), ["a", "b", "c"], np.ones((3, 1, 1), int)]
        )
        x, s, i = queue.dequeue_many(2)
        assert x.shape == (2, 2) and s.shape == (2,) and i.shape == (2, 1, 1)
    with dfc.Session(graph) as session:
        session.run(put)
        found = session.run([x, s, i])
    np.testing.assert_array_equal(found[0], [[0, 1], [2, 3]])
    assert list(found[1]) == [b"a", b"b"] and found[2].shape == (2, 1, 1) and found[2].dtype == np.int64


# ---- C6, C7: closing

CLOSED = "FIFOQueue 'q' is closed."
EMPTY = "FIFOQueue 'q' is closed and has insufficient elements (requested 1, current size 0)"


def test_c6_close_waits_behind_pending_enqueues(four: Script) -> None:
    """The script of the row."""
    four.put(10, 20, 30, 40)
    pending = four.client(four.put, 50)
    close = four.client(four.run, four.close)
    assert not four.run(four.closed)
    assert four.take() == [10]
    pending.result()
    close.result()
    assert four.run(four.closed)
    assert four.take(4) == [20, 30, 40, 50]
    assert refused(four.take) == f"OutOfRange: dequeue: {EMPTY}"
    assert refused(lambda: four.put(60)) == f"Cancelled: enqueue: {CLOSED}"
    assert refused(lambda: four.put_many(60, 70)) == f"Cancelled: enqueue_many: {CLOSED}"


def test_c6_enqueues_issued_after_close_are_cancelled_though_it_waits(four: Script) -> None:
    four.put(10, 20, 30, 40)
    pending, close = four.client(four.put, 50), four.client(four.run, four.close)
    late = four.client(four.put, 60)
    assert four.take() == [10]
    pending.result()
    close.result()
    with pytest.raises(Cancelled, match="is closed"):
        late.result()
    assert four.take(4) == [20, 30, 40, 50]


def test_c6_a_second_plain_close_is_aborted(four: Script) -> None:
    four.run(four.close)
    assert refused(lambda: four.run(four.close)) == "Aborted: queue_close: FIFOQueue 'q' is already closed."
    four.run(four.cancel)
    with pytest.raises(Aborted):
        four.run(four.close)


def test_c6_those_who_wait_for_elements_are_woken(four: Script) -> None:
    takers = [four.client(four.take), four.client(four.take_many, 2), four.client(four.take_up_to, 2)]
    four.run(four.close)
    for taker in takers:
        with pytest.raises(OutOfRange, match="is closed and has insufficient elements"):
            taker.result()


def test_c7_cancelling_fails_pending_enqueues_and_keeps_the_content(four: Script) -> None:
    four.put(10, 20, 30, 40)
    pending = [four.client(four.put, 50), four.client(four.put_many, 60, 70)]
    four.run(four.cancel)
    for client in pending:
        text = refused(client.result)
        assert text.startswith("Cancelled: enqueue") and text.endswith(": Enqueue operation was cancelled")
    assert four.take(4) == [10, 20, 30, 40]
    assert refused(four.take) == f"OutOfRange: dequeue: {EMPTY}"
    assert refused(lambda: four.put(1)) == f"Cancelled: enqueue: {CLOSED}"


# ---- C8: what an unfinished dequeue_many has taken


def test_c8_close_gives_back_what_an_unfinished_dequeue_many_took(four: Script) -> None:
    four.put(1, 2, 3)
    taker = four.client(four.take_many, 4)
    assert four.run(four.size) == 0
    four.run(four.close)
    assert refused(taker.result) == (
        "OutOfRange: dequeue_many: FIFOQueue 'q' is closed and has insufficient elements (requested 4, current size 3)"
    )
    assert four.take(3) == [1, 2, 3]
    assert refused(four.take) == f"OutOfRange: dequeue: {EMPTY}"


def test_c8_so_does_a_cancelled_step(four: Script) -> None:
    four.put(1, 2, 3)
    step = four.session.submit(four.batch, {four.n: 4})
    until_waiting(four.session)
    assert four.run(four.size) == 0
    assert step.cancel()
    with pytest.raises(Cancelled, match="Dequeue operation was cancelled"):
        step.result(60)
    four.put(4)
    assert four.take(4) == [1, 2, 3, 4], "pushed back to the front"


def test_c8_those_behind_it_get_what_it_had(four: Script) -> None:
    four.put(1, 2, 3)
    step = four.session.submit(four.batch, {four.n: 4})
    until_waiting(four.session)
    next_ = four.client(four.take)
    step.cancel()
    assert next_.result() == [1]


# ---- C9: cancelled steps


def blocked(script: Script, which: str) -> Client:
    if which == "Enqueue":
        script.put(1, 2, 3, 4)
        return script.client(script.put, 5)
    return script.client(*{"Dequeue": (script.take,), "many": (script.take_many, 2)}[which])


@pytest.mark.parametrize("which", ["Dequeue", "many", "Enqueue"])
def test_c9_closing_the_session_wakes_who_waits_within_a_second(four: Script, which: str) -> None:
    client = blocked(four, which)
    began = time.monotonic()
    four.session.close()
    operation = "Enqueue" if which == "Enqueue" else "Dequeue"
    with pytest.raises(Cancelled, match=f"{operation} operation was cancelled") as caught:
        client.result()
    assert time.monotonic() - began < 1
    assert f"  at {FILE}:" in str(caught.value), "the op's line"


@pytest.mark.parametrize("cluster", [True, False])
def test_c9_a_cancelled_step_ends_within_a_second_and_others_go_on(cluster: bool) -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(2, "float32", shapes=[()])
        put, total = queue.enqueue(3.0), queue.dequeue() * 2
    with dfc.Session(graph, config=dfc.SessionConfig(cluster=cluster)) as session:
        steps = []
        for n in range(1, 4):
            steps.append(session.submit(total))
            until_waiting(session, n)
        began = time.monotonic()
        steps[1].cancel()
        with pytest.raises(Cancelled, match="dequeue: Dequeue operation was cancelled"):
            steps[1].result(60)
        assert time.monotonic() - began < 1
        session.run(put)
        assert steps[0].result(60) == 6
        assert not steps[2].done(), "what was put in is not lost on the cancelled step"
        session.run(put)
        assert steps[2].result(60) == 6


def test_c9_a_time_limit_ends_the_step_and_takes_nothing(four: Script) -> None:
    four.put(1)
    with pytest.raises(DeadlineExceeded, match="the time limit passed while the step waited for dequeue_many at"):
        four.session.run(four.batch, {four.n: 2}, timeout=0.05)
    assert n_waiting(four.session) == 0
    four.put(2)
    assert four.take_many(2) == [1, 2]
    with pytest.raises(DeadlineExceeded):
        four.session.run(four.dequeue, timeout=0.05)


def test_c9_a_failed_step_lets_go_of_what_it_waits_for(four: Script) -> None:
    """One op of a step fails while another waits at a queue: that one must not take an element later."""
    with four.session.graph as graph:
        empty = dfc.FIFOQueue(1, "float32", shapes=[()], name="other")
        close, failing = empty.close(), empty.dequeue()
    client = Client(lambda: four.session.run([four.dequeue, failing]))
    until_waiting(four.session, 2)
    four.session.run(close)
    with pytest.raises(OutOfRange, match="'other' is closed"):
        client.result()
    assert graph is four.session.graph
    four.put(7)
    assert four.take() == [7]
