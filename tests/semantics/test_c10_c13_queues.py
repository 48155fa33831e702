"""Rows C10 to C13: queues that are shared, elements with names, the other kinds of queue, and one of several."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import Cancelled, FailedPrecondition, InvalidArgument, InvalidType, OutOfRange
from tests.frontend_support import error_of
from tests.waiting_support import Client, n_waiting, until_waiting

FILE = __file__


# ---- C10: one queue for all that name it


def test_c10_the_same_shared_name_is_the_same_queue() -> None:
    with dfc.Graph() as graph:
        one = dfc.FIFOQueue(4, "float32", shapes=[()], shared_name="common", name="one")
        two = dfc.FIFOQueue(4, "float32", shapes=[()], shared_name="common", name="two")
        other = dfc.FIFOQueue(4, "float32", shapes=[()], name="common")
        put, taken, size = one.enqueue(5.0), two.dequeue(), other.size()
    with dfc.Session(graph) as session, dfc.Session(graph) as second:
        session.run(put)
        assert session.run(size) == 0, "a name alone is not shared"
        assert session.run(taken) == 5
        session.run(put)
        step = second.submit(taken)
        until_waiting(second)
        second.run(put)
        assert step.result(60) == 5, "each session has its own"


KINDS = {
    "capacity": (
        lambda: dfc.FIFOQueue(5, "float32", shapes=[()], shared_name="s"),
        "Shared queue 's' has capacity 4 but requested capacity was 5\n  use another shared_name, or the same capacity",
    ),
    "component types": (
        lambda: dfc.FIFOQueue(4, ["float32", "int32"], shapes=[(), ()], shared_name="s"),
        "Shared queue 's' has component types [float32] but requested component types were [float32, int32]\n"
        "  use another shared_name, or the same dtypes",
    ),
    "component shapes": (
        lambda: dfc.FIFOQueue(4, "float32", shapes=[(2,)], shared_name="s"),
        "Shared queue 's' has component shapes [()] but requested component shapes were [(2,)]\n"
        "  use another shared_name, or the same shapes",
    ),
    "kind": (
        lambda: dfc.RandomShuffleQueue(4, 0, "float32", shapes=[()], shared_name="s"),
        "Shared queue 's' has kind FIFOQueue but requested kind was RandomShuffleQueue\n"
        "  use another shared_name, or the same kind",
    ),
    "another thing": (
        lambda: dfc.ConditionalAccumulator("float32", (), shared_name="s"),
        "Shared queue 's' has kind FIFOQueue but requested kind was ConditionalAccumulator\n"
        "  use another shared_name, or the same kind",
    ),
}


def use(queue: Any) -> Any:
    return queue.size() if hasattr(queue, "size") else queue.num_accumulated()


@pytest.mark.parametrize("what", KINDS)
def test_c10_a_mismatch_is_at_the_line_that_made_it(what: str) -> None:
    make, text = KINDS[what]
    with dfc.Graph() as graph:
        first = dfc.FIFOQueue(4, "float32", shapes=[()], shared_name="s").size()
        second = make()
        size = use(second)
    with dfc.Session(graph) as session:
        session.run(first)
        message = error_of(InvalidArgument, lambda: session.run(size), FILE)
        assert message == f"{type(second).__name__}: {text}"
        assert session.run(first) == 0, "what does not need the other goes on"


def test_c10_outside_of_graphs_too() -> None:
    one = dfc.FIFOQueue(4, "float32", shapes=[()], shared_name="test_c10")
    two = dfc.FIFOQueue(4, "float32", shapes=[()], shared_name="test_c10")
    one.enqueue(1.0)
    assert two.dequeue().item() == 1
    text = error_of(
        InvalidArgument, lambda: dfc.FIFOQueue(3, "float32", shapes=[()], shared_name="test_c10").size(), FILE
    )
    assert text.startswith("FIFOQueue: Shared queue 'test_c10' has capacity 4 but requested capacity was 3")
    one.enqueue(2.0)
    del one, two
    gc.collect()  # the error's frames
    again = dfc.FIFOQueue(9, "int32", shared_name="test_c10")
    assert again.size().item() == 0, "once nobody has it, the name is free"


def test_c10_a_queue_made_outside_is_shared_by_sessions_and_functions() -> None:
    queue = dfc.FIFOQueue(4, "float32", shapes=[()])
    with dfc.Graph() as graph:
        put, taken = queue.enqueue(3.0), queue.dequeue()

    @dfc.function
    def double() -> Any:
        return queue.dequeue() * 2

    with dfc.Session(graph) as one, dfc.Session(graph) as two:
        one.run(put)
        assert two.run(taken) == 3
        two.run(put)
        assert double().item() == 6
        queue.enqueue(4.0)
        assert one.run(taken) == 4
    queue.enqueue(1.0)
    assert queue.size().item() == 1, "the sessions' end is not its own"


# ---- C11: elements with names


def test_c11_elements_are_dicts() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(4, ["float32", "int32"], shapes=[(2,), ()], names=["x", "label"])
        put = queue.enqueue({"label": 3, "x": [1.0, 2.0]})
        many = queue.enqueue_many({"x": np.zeros((2, 2), np.float32), "label": [4, 5]})
        one, two = queue.dequeue(), queue.dequeue_many(2)
    with dfc.Session(graph) as session:
        session.run(put)
        session.run(many)
        found = session.run(one)
        assert sorted(found) == ["label", "x"] and found["label"] == 3
        np.testing.assert_array_equal(found["x"], [1, 2])
        found = session.run(two)
        np.testing.assert_array_equal(found["label"], [4, 5])
        assert found["x"].shape == (2, 2)


def test_c11_what_is_no_dict_and_wrong_keys() -> None:
    for graph in (None, dfc.Graph()):
        queue = in_graph(graph, lambda: dfc.FIFOQueue(4, ["float32", "int32"], names=["x", "label"]))
        for op in ("enqueue", "enqueue_many"):
            put = getattr(queue, op)
            text = in_graph(graph, lambda put=put: error_of(InvalidArgument, lambda: put([1.0, 2]), FILE))
            assert text == (
                f"{op}: a queue with names needs elements that are dicts: enqueue a dictionary, got [1.0, 2]"
            )
            for wrong in ({"x": 1.0}, {"x": 1.0, "label": 2, "more": 3}, {"x": 1.0, "lable": 2}):
                text = in_graph(graph, lambda put=put, w=wrong: error_of(InvalidArgument, lambda: put(w), FILE))
                keys = sorted(wrong)
                assert text == f"{op}: the keys {keys} must match names of Queue, which are ['label', 'x']"


def in_graph(graph: dfc.Graph | None, call: Any) -> Any:
    if graph is None:
        return call()
    with graph:
        return call()


def test_c11_a_dict_needs_names() -> None:
    with dfc.Graph():
        queue = dfc.FIFOQueue(4, "float32")
        text = error_of(InvalidArgument, lambda: queue.enqueue({"x": 1.0}), FILE)
    assert text.startswith("enqueue: a dictionary needs a queue with names, and this one has none")


def test_c11_one_name_an_entry() -> None:
    text = error_of(InvalidArgument, lambda: dfc.FIFOQueue(4, ["float32", "int32"], names=["x"]), FILE)
    assert text == "FIFOQueue: names must have one entry for each of 2 dtypes, got 1"


# ---- C12: the other kinds


def shuffled(seed: int | None, n: int = 20) -> list[int]:
    with dfc.Graph() as graph:
        queue = dfc.RandomShuffleQueue(-1, 0, "int32", shapes=[()], seed=seed)
        put, taken, close = queue.enqueue_many([np.arange(n, dtype=np.int32)]), queue.dequeue(), queue.close()
    with dfc.Session(graph) as session:
        session.run(put)
        session.run(close)
        return [int(session.run(taken)) for _ in range(n)]


def test_c12_random_shuffle_queue_gives_all_in_an_order_that_a_seed_repeats() -> None:
    orders = [shuffled(1), shuffled(1), shuffled(2)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != list(range(20))
    assert len({tuple(shuffled(None)) for _ in range(4)}) > 1


def test_c12_random_shuffle_queue_keeps_min_after_dequeue_until_it_is_closed() -> None:
    with dfc.Graph() as graph:
        queue = dfc.RandomShuffleQueue(10, 3, "int32", shapes=[()], seed=1)
        put, taken, close = queue.enqueue_many([np.arange(4, dtype=np.int32)]), queue.dequeue(), queue.close()
        size = queue.size()
    with dfc.Session(graph) as session:
        session.run(put)
        first = session.run(taken)
        blocked = Client(lambda: session.run(taken))
        until_waiting(session)
        assert session.run(size) == 3
        session.run(close)
        rest = [blocked.result(), session.run(taken), session.run(taken)]
        assert sorted([first, *rest]) == [0, 1, 2, 3]
        with pytest.raises(OutOfRange):
            session.run(taken)


def test_c12_padding_fifo_queue_pads_a_batch_to_its_largest() -> None:
    with dfc.Graph() as graph:
        queue = dfc.PaddingFIFOQueue(10, ["float32", "string"], shapes=[(None, 2), (None,)])
        x, s = dfc.placeholder("float32", ("n", 2), name="x"), dfc.placeholder("string", ("m",), name="s")
        put = queue.enqueue([x, s])
        values, texts = queue.dequeue_many(3)
        total = dfc.sum(values, axis=(0, 2))
    assert values.shape[0] == 3 and values.shape[2] == 2
    with dfc.Session(graph) as session:
        for n, words in ((1, ["a"]), (3, []), (2, ["b", "c"]), (1, []), (1, []), (1, ["d"])):
            session.run(put, {x: np.full((n, 2), n), s: np.array(words, object)})
        found = session.run([values, texts])
        assert found[0].shape == (3, 3, 2)
        np.testing.assert_array_equal(found[0][:, :, 0], [[1, 0, 0], [3, 3, 3], [2, 2, 0]])
        assert found[1].tolist() == [[b"a", b""], [b"", b""], [b"b", b"c"]]
        np.testing.assert_array_equal(session.run(total), [6])


def test_c12_padding_fifo_queue_takes_as_many_as_there_are() -> None:
    with dfc.Graph() as graph:
        queue = dfc.PaddingFIFOQueue(10, "float32", shapes=[(None,)])
        x = dfc.placeholder("float32", ("n",), name="x")
        put, close, taken = queue.enqueue(x), queue.close(), queue.dequeue_up_to(2)
        rows = dfc.sum(taken * 2, axis=1)
    with dfc.Session(graph) as session:
        for n in (1, 3, 2):
            session.run(put, {x: np.ones(n)})
        session.run(close)
        np.testing.assert_array_equal(session.run(rows), [2, 6])
        np.testing.assert_array_equal(session.run(rows), [4])


def test_c12_priority_queue_gives_the_smallest_first_and_equal_ones_in_order() -> None:
    with dfc.Graph() as graph:
        queue = dfc.PriorityQueue(10, "string", shapes=[()])
        p, s = dfc.placeholder("int64", (), name="p"), dfc.placeholder("string", (), name="s")
        put, (priority, text) = queue.enqueue([p, s]), queue.dequeue()
        many = queue.dequeue_many(2)
    with dfc.Session(graph) as session:
        for number, name in ((3, "c"), (-1, "a"), (3, "d"), (2**40, "e"), (0, "b")):
            session.run(put, {p: number, s: name})
        assert session.run([priority, text]) == [-1, b"a"]
        assert [session.run(text) for _ in range(2)] == [b"b", b"c"]
        found = session.run(many)
        assert found[0].tolist() == [3, 2**40] and found[1].tolist() == [b"d", b"e"]


def test_c12_priorities_are_int64_scalars() -> None:
    with dfc.Graph():
        queue = dfc.PriorityQueue(10, "float32", shapes=[()])
        x = dfc.placeholder("float32", ())
        text = error_of(InvalidType, lambda: queue.enqueue([dfc.placeholder("int32", ()), x]), FILE)
        assert text == "enqueue: Type mismatch in tuple component 0: expected int64, got int32"
        text = error_of(InvalidArgument, lambda: queue.enqueue([dfc.placeholder("int64", (1,)), x]), FILE)
        assert text == "enqueue: Shape mismatch in tuple component 0: expected (), got (1,)"


class Barrier:
    """A barrier of a float32 and a string, with all that can be done to it, in a session."""

    def __init__(self) -> None:
        with dfc.Graph() as graph:
            self.barrier = dfc.Barrier(["float32", "string"], shapes=[(2,), ()], name="b")
            self.keys = dfc.placeholder("string", ("k",), name="keys")
            self.x, self.s = dfc.placeholder("float32", ("k", 2)), dfc.placeholder("string", ("k",))
            self.n = dfc.placeholder("int32", ())
            self.first = self.barrier.insert_many(0, self.keys, self.x)
            self.second = self.barrier.insert_many(1, self.keys, self.s)
            self.take = self.barrier.take_many(self.n)
            self.some = self.barrier.take_many(self.n, allow_small_batch=True)
            self.sizes = [self.barrier.ready_size(), self.barrier.incomplete_size()]
            self.close, self.closed = self.barrier.close(), self.barrier.is_closed()
            self.cancel = self.barrier.close(cancel_pending_enqueues=True)
            self.doubled = self.some[2][0] * 2
        self.session = dfc.Session(graph)

    def numbers(self, keys: str, *values: float) -> None:
        rows = np.array([[v, -v] for v in values], np.float32).reshape(-1, 2)
        self.session.run(self.first, {self.keys: list(keys), self.x: rows})

    def strings(self, keys: str, values: str) -> None:
        self.session.run(self.second, {self.keys: list(keys), self.s: list(values)})

    def taken(self, n: int, small: bool = False) -> list[tuple[Any, ...]]:
        found = self.session.run(self.some if small else self.take, {self.n: n})
        indices, keys, (x, s) = found
        assert indices.dtype == np.int64 and x.shape == (len(keys), 2)
        return [
            (int(i) + 2**63, k.decode(), float(v[0]), t.decode())
            for i, k, v, t in zip(indices, keys, x, s, strict=True)
        ]


def test_c12_barrier_gives_elements_once_all_components_have_come() -> None:
    b = Barrier()
    with b.session as session:
        b.numbers("abc", 1, 2, 3)
        assert session.run(b.sizes) == [0, 3]
        taker = Client(lambda: b.taken(2))
        until_waiting(session)
        b.strings("cx", "zw")
        assert taker.waits
        b.strings("a", "y")
        assert sorted(taker.result()) == [(0, "a", 1, "y"), (0, "c", 3, "z")]
        assert session.run(b.sizes) == [0, 2]
        b.numbers("x", 9)
        b.strings("b", "v")
        assert b.taken(2) == [(0, "b", 2, "v"), (1, "x", 9, "w")], "in the order of first insertion"


def test_c12_barrier_takes_a_component_once() -> None:
    b = Barrier()
    with b.session as session:
        b.numbers("a", 1)
        text = error_of(InvalidArgument, lambda: b.numbers("ab", 1, 2), FILE)
        assert text == "barrier_insert_many: Key b'a' already has a value for component 0 in Barrier 'b'"
        assert session.run(b.sizes) == [0, 1], "all go in or none"


def test_c12_barrier_closed_takes_no_new_keys_and_completes_old_ones() -> None:
    b = Barrier()
    with b.session as session:
        b.numbers("ab", 1, 2)
        b.strings("a", "x")
        session.run(b.close)
        assert session.run(b.closed)
        with pytest.raises(Cancelled, match="attempted to insert a brand new key: b'c'"):
            b.numbers("c", 3)
        text = error_of(OutOfRange, lambda: b.taken(3), FILE)
        assert text == (
            "barrier_take_many: Barrier 'b' is closed and has insufficient elements (requested 3, total size 2)"
        )
        taker = Client(lambda: b.taken(2))
        until_waiting(session)
        b.strings("b", "y")
        assert taker.result() == [(0, "a", 1, "x"), (0, "b", 2, "y")]
        with pytest.raises(OutOfRange):
            b.taken(1)


def test_c12_barrier_small_batches_have_sizes_of_their_own() -> None:
    b = Barrier()
    with b.session as session:
        b.numbers("abc", 1, 2, 3)
        b.strings("abc", "xyz")
        assert len(b.taken(2, small=True)) == 2
        session.run(b.cancel)
        b_taken = session.run(b.doubled, {b.n: 5})
        assert b_taken.shape == (1, 2)
        with pytest.raises(OutOfRange):
            b.taken(5, small=True)


def test_c12_barrier_in_a_function_and_at_once() -> None:
    barrier = dfc.Barrier(["float32", "int32"], shapes=[(), (1,)])
    barrier.insert_many(0, ["a", "b"], [1.0, 2.0])

    @dfc.function
    def complete(keys: Any, values: Any) -> Any:
        barrier.insert_many(1, keys, values)
        ready, left = barrier.ready_size(), barrier.incomplete_size()
        indices, names, (x, i) = barrier.take_many(1)
        return ready, left, indices, names, x * 10, i

    ready, left, indices, names, x, i = complete(dfc.asarray(["b"]), np.array([[7]], np.int32))
    assert (ready.item(), left.item(), indices.shape) == (1, 1, (1,))
    assert names.numpy().tolist() == [b"b"] and x.numpy().tolist() == [20] and i.numpy().tolist() == [[7]]
    barrier.insert_many(1, ["a"], [[8]])
    assert barrier.ready_size().item() == 1 and not barrier.is_closed()
    _, names, (x, i) = barrier.take_many(1)
    assert names.numpy().tolist() == [b"a"] and x.numpy().tolist() == [1] and i.numpy().tolist() == [[8]]
    barrier.close()
    text = error_of(Cancelled, lambda: barrier.insert_many(0, ["c"], [1.0]), FILE)
    assert text == "insert_many: Barrier 'barrier' is closed, but attempted to insert a brand new key: b'c'"


def test_c12_barrier_says_what_it_needs() -> None:
    text = error_of(InvalidArgument, lambda: dfc.Barrier("float32"), FILE)
    assert text == "Barrier: a Barrier needs the full shape of every component, got None"
    with dfc.Graph():
        barrier = dfc.Barrier(["float32", "int32"], shapes=[(2,), ()])
        keys, x = dfc.placeholder("string", (3,)), dfc.placeholder("float32", (3, 2))
        for call, kind, message in (
            (lambda: barrier.insert_many(2, keys, x), InvalidArgument,
             "insert_many: The component ID is out of range: must be 0 to 1, got 2"),
            (lambda: barrier.insert_many("0", keys, x), InvalidType, "insert_many: component_index is an int, got '0'"),
            (lambda: barrier.insert_many(1, keys, x), InvalidType, "insert_many: values must be int32, got float32"),
            (lambda: barrier.insert_many(0, x, x), InvalidType, "insert_many: keys must be string, got float32"),
            (lambda: barrier.insert_many(0, keys, x[:2]), InvalidArgument,
             "insert_many: values must have shape (3, 2), got (2, 2)"),
            (lambda: barrier.insert_many(0, keys[None], x), InvalidArgument,
             "insert_many: keys must have one dimension, got shape (1, 3)"),
            (lambda: barrier.take_many(-1), InvalidArgument,
             "take_many: the number of elements must not be negative, got -1"),
        ):  # fmt: skip
            assert error_of(kind, call, FILE) == message


# ---- C13: one of several


def test_c13_from_list_selects_by_index() -> None:
    with dfc.Graph() as graph:
        queues = [dfc.FIFOQueue(4, "float32", shapes=[()], name=f"q{i}") for i in range(3)]
        index = dfc.placeholder("int32", (), name="i")
        chosen = dfc.QueueBase.from_list(index, queues)
        put, taken = chosen.enqueue(dfc.astype(index, "float32") + 10), queues[2].dequeue()
        sizes = [queue.size() for queue in queues]
    with dfc.Session(graph) as session:
        for i in (0, 2, 2):
            session.run(put, {index: i})
        assert session.run(sizes) == [1, 0, 2]
        assert session.run(taken) == 12
        for wrong in (3, -1):
            text = error_of(OutOfRange, lambda i=wrong: session.run(put, {index: i}), FILE)  # type: ignore[misc]
            assert text == f"queue_select: index {wrong} is not in [0, 3)"


def test_c13_outside_of_traces_it_is_the_queue_itself() -> None:
    queues = [dfc.FIFOQueue(4, "float32") for _ in range(2)]
    assert dfc.QueueBase.from_list(1, queues) is queues[1]
    text = error_of(OutOfRange, lambda: dfc.QueueBase.from_list(2, queues), FILE)
    assert text == "from_list: index 2 is not in [0, 2)"
    text = error_of(InvalidType, lambda: dfc.QueueBase.from_list(0, [queues[0], dfc.FIFOQueue(4, "int32")]), FILE)
    assert text == "from_list: queues to select from must have equal dtypes and names"
    text = error_of(InvalidType, lambda: dfc.QueueBase.from_list(0, []), FILE)
    assert text == "from_list: a list of queues is needed, got []"


def test_c13_in_a_function_it_is_ordered_with_all_of_them() -> None:
    queues = [dfc.FIFOQueue(4, "float32", shapes=[()]) for _ in range(2)]

    @dfc.function
    def move(source: Any) -> Any:
        queues[0].enqueue(1.0)
        queues[1].enqueue(2.0)
        chosen = dfc.QueueBase.from_list(source, queues)
        taken = chosen.dequeue()
        return taken, queues[0].size(), queues[1].size()

    for source, expected in ((0, [1, 0, 1]), (1, [2, 1, 1])):
        assert [x.item() for x in move(np.int32(source))] == expected


def test_c13_queues_of_different_shapes_have_none_in_common() -> None:
    with dfc.Graph() as graph:
        queues = [dfc.FIFOQueue(4, "float32", shapes=[(n,)]) for n in (2, 3)]
        i = dfc.placeholder("int32", ())
        chosen = dfc.QueueBase.from_list(i, queues)
        puts = [queues[0].enqueue([1.0, 2.0]), queues[1].enqueue([1.0, 2.0, 3.0])]
        total = dfc.sum(chosen.dequeue(shapes=[(None,)]))
    with dfc.Session(graph) as session:
        session.run(puts)
        assert [session.run(total, {i: k}) for k in (1, 0)] == [6, 3]


def test_c10_a_queue_of_a_graph_lives_in_sessions_only() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(4, "float32", name="q")
    text = error_of(FailedPrecondition, lambda: queue.size(), FILE)
    assert text == (
        "FIFOQueue: 'q' belongs to a graph, and is there in sessions only\n"
        "  use it in `with` that graph, and run what that gives in a session"
    )
    with dfc.Graph():
        text = error_of(FailedPrecondition, lambda: queue.size(), FILE)
        assert text == "FIFOQueue: 'q' belongs to another graph"
    with graph:
        size = queue.size()
    with dfc.Session(graph) as session:
        assert session.run(size) == 0 and n_waiting(session) == 0
