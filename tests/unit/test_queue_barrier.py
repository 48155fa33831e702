"""Barriers (row C12): elements completed by key, taken in order of first insertion."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np
import pytest

from dfc.backends import xla
from dfc.errors import Cancelled, InvalidArgument, InvalidType, OutOfRange
from dfc.runtime.attempts import Attempt
from dfc.runtime.barrier import FIRST_INDEX, Barrier
from dfc.runtime.queues import make_queue
from tests.queue_support import described, failure, finished, spec, waiting


def barrier(dtypes: Any = ("float32", "float32"), shapes: Any = ((), ())) -> Barrier:
    made = make_queue(spec("Barrier", -1, dtypes=dtypes, shapes=shapes), "b")
    assert isinstance(made, Barrier)
    return made


def keys(text: str) -> Any:
    return np.array([key.encode() for key in text], object)


def insert(b: Barrier, component: int, text: str, values: Any) -> Attempt:
    return b.insert_many(component, keys(text), np.array(values, np.float32))


def rows(attempt: Attempt) -> list[tuple[Any, ...]]:
    """What was taken: index (counted from the first), key, values; one tuple an element."""
    assert attempt.error is None, attempt.error
    indices, names, *values = attempt.result
    assert indices.dtype == np.int64
    columns = [
        [int(i) - FIRST_INDEX for i in indices],
        [name.decode() for name in names],
        *(v.tolist() for v in values),
    ]
    return list(zip(*columns, strict=True))


def test_c12_elements_are_ready_once_all_components_have_come() -> None:
    b = barrier()
    finished(b, insert(b, 0, "abc", [10, 20, 30]))
    assert (b.ready_size(), b.incomplete_size()) == (0, 3)
    finished(b, insert(b, 1, "cab", [300, 100, 200]))
    assert (b.ready_size(), b.incomplete_size()) == (3, 0)
    taken = rows(finished(b, b.take_many(3)))
    assert sorted(taken) == [(0, "a", 10, 100), (0, "b", 20, 200), (0, "c", 30, 300)]
    assert b.ready_size() == 0


def test_c12_each_insertion_with_new_keys_has_the_next_index_and_the_first_come_out_first() -> None:
    b = barrier()
    finished(b, insert(b, 0, "a", [1]))
    finished(b, insert(b, 1, "bc", [2, 3]))
    finished(b, insert(b, 1, "a", [11]))
    finished(b, insert(b, 0, "d", [4]))
    finished(b, insert(b, 1, "d", [14]))
    finished(b, insert(b, 0, "cb", [13, 12]))
    assert rows(finished(b, b.take_many(4))) == [
        (0, "a", 1, 11),
        (1, "c", 13, 3),
        (1, "b", 12, 2),
        (2, "d", 4, 14),
    ]


def test_c12_a_key_may_come_again_once_its_element_is_complete() -> None:
    b = barrier(("float32",), ((),))
    finished(b, insert(b, 0, "a", [1]))
    finished(b, insert(b, 0, "a", [2]))
    assert rows(finished(b, b.take_many(2))) == [(0, "a", 1), (1, "a", 2)]


def test_c12_take_many_waits_for_all() -> None:
    b, told = barrier(), list[Attempt]()
    first, second = waiting(b, b.take_many(2, done=told.append)), waiting(b, b.take_many(1, done=told.append))
    finished(b, insert(b, 0, "ab", [1, 2]))
    finished(b, insert(b, 1, "b", [12]))
    assert told == [] and b.ready_size() == 1
    finished(b, insert(b, 1, "a", [11]))
    assert told == [first]
    assert sorted(rows(first)) == [(0, "a", 1, 11), (0, "b", 2, 12)]
    assert b.cancel(second)
    assert described(second) == "Cancelled: Dequeue operation was cancelled"


def test_c12_shapes_and_dtypes_of_what_is_taken() -> None:
    b = barrier(("float32", "string"), ((2, 2), (1,)))
    finished(b, b.insert_many(0, keys("ab"), xla.to_device(np.ones((2, 2, 2), np.float32))))
    finished(b, b.insert_many(1, keys("ab"), np.array([[b"x"], [b"y"]], object)))
    _, names, numbers, texts = finished(b, b.take_many(2)).result
    assert (numbers.shape, numbers.dtype) == ((2, 2, 2), np.float32)
    assert (texts.shape, texts.dtype, sorted(texts.ravel())) == ((2, 1), object, [b"x", b"y"])
    assert (names.shape, names.dtype) == ((2,), object)
    indices, names, numbers, texts = finished(b, b.take_many(0)).result
    assert [a.shape for a in (indices, names, numbers, texts)] == [(0,), (0,), (0, 2, 2), (0, 1)]


def test_c12_a_component_comes_once_and_a_refused_insertion_puts_nothing_in() -> None:
    b = barrier()
    finished(b, insert(b, 0, "b", [2]))
    text = "InvalidArgument: Key b'b' already has a value for component 0 in Barrier 'b'"
    assert failure(b, insert(b, 0, "ab", [1, 2])) == text
    assert failure(b, insert(b, 1, "bb", [1, 2])) == text.replace("component 0", "component 1")
    assert (b.ready_size(), b.incomplete_size()) == (0, 1)
    finished(b, insert(b, 1, "b", [12]))
    assert rows(finished(b, b.take_many(1))) == [(0, "b", 2, 12)]


def test_c12_closed_it_takes_no_new_keys_but_what_is_incomplete_may_be_completed() -> None:
    b = barrier()
    finished(b, insert(b, 0, "abc", [1, 2, 3]))
    assert not b.is_closed()
    finished(b, b.close())
    assert b.is_closed()
    new_key = "Cancelled: Barrier 'b' is closed, but attempted to insert a brand new key: b'f'"
    assert failure(b, insert(b, 0, "f", [6])) == new_key
    assert failure(b, insert(b, 1, "af", [6, 6])) == new_key
    finished(b, insert(b, 1, "abc", [11, 12, 13]))
    assert (b.ready_size(), b.incomplete_size()) == (3, 0)
    assert finished(b, insert(b, 0, "", [])).error is None
    short = "OutOfRange: Barrier 'b' is closed and has insufficient elements (requested {}, total size {})"
    assert failure(b, b.take_many(4)) == short.format(4, 3)
    assert len(rows(finished(b, b.take_many(3)))) == 3
    assert failure(b, b.take_many(3)) == short.format(3, 0)
    assert failure(b, b.take_many(1, allow_small_batch=True)) == short.format(1, 0)


def test_c12_closed_with_cancelling_it_drops_what_is_incomplete() -> None:
    b = barrier()
    finished(b, insert(b, 0, "abc", [1, 2, 3]))
    finished(b, insert(b, 1, "ab", [11, 12]))
    waits = waiting(b, b.take_many(3))
    finished(b, b.close(cancel_pending_enqueues=True))
    assert described(waits) == (
        "OutOfRange: Barrier 'b' is closed and has insufficient elements (requested 3, total size 2)"
    )
    assert (b.ready_size(), b.incomplete_size()) == (2, 0)
    refused = "Cancelled: Barrier 'b' is closed, and pending insertions are cancelled."
    for attempt in (insert(b, 1, "c", [13]), insert(b, 0, "f", [6]), insert(b, 0, "", [])):
        assert failure(b, attempt) == refused
    assert len(rows(finished(b, b.take_many(2)))) == 2


def test_c12_a_plain_close_may_be_followed_by_a_cancelling_one_only() -> None:
    b = barrier()
    finished(b, insert(b, 0, "a", [1]))
    assert finished(b, b.close()).error is None
    assert failure(b, b.close()) == "Cancelled: Barrier 'b' is already closed."
    assert b.incomplete_size() == 1
    assert finished(b, b.close(cancel_pending_enqueues=True)).error is None
    assert b.incomplete_size() == 0
    assert failure(b, b.close(cancel_pending_enqueues=True)) == "Cancelled: Barrier 'b' is already closed."


def test_c12_a_small_batch_is_allowed_once_closed() -> None:
    b, told = barrier(), list[Attempt]()
    finished(b, insert(b, 0, "abcd", [1, 2, 3, 4]))
    finished(b, insert(b, 1, "ab", [11, 12]))
    early = waiting(b, b.take_many(3, allow_small_batch=True, done=told.append))
    second = waiting(b, b.take_many(3, allow_small_batch=True, done=told.append))
    finished(b, b.close())
    assert told == [early]
    assert [row[1] for row in rows(early)] == ["a", "b"]
    finished(b, insert(b, 1, "c", [13]))
    assert told == [early, second], "it had come before the close, and waited for what was to come"
    assert rows(second) == [(0, "c", 3, 13)]
    assert failure(b, b.take_many(3, allow_small_batch=True)).endswith("(requested 3, total size 0)")
    finished(b, insert(b, 1, "d", [14]))
    assert rows(finished(b, b.take_many(3, allow_small_batch=True))) == [(0, "d", 4, 14)]


def test_c12_a_full_batch_waits_after_the_close_for_what_is_incomplete() -> None:
    b, told = barrier(), list[Attempt]()
    finished(b, insert(b, 0, "ab", [1, 2]))
    finished(b, b.close())
    take = waiting(b, b.take_many(2, done=told.append))
    finished(b, insert(b, 1, "ba", [12, 11]))
    assert told == [take]
    assert len(rows(take)) == 2


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (
            lambda b: insert(b, 2, "a", [1]),
            InvalidArgument,
            "The component ID is out of range: must be 0 to 1, got 2",
        ),
        (lambda b: b.insert_many(0, np.array([1]), np.ones(1)), InvalidType, "keys must be object, got int64"),
        (lambda b: b.insert_many(0, keys("a"), np.ones(1)), InvalidType, "values must be float32, got float64"),
        (
            lambda b: b.insert_many(0, keys("a")[0:1].reshape(1, 1), np.ones(1, np.float32)),
            InvalidArgument,
            "keys must have one dimension, got shape (1, 1)",
        ),
        (lambda b: insert(b, 0, "ab", [1]), InvalidArgument, "values must have shape (2,), got (1,)"),
        (
            lambda b: b.take_many(-1),
            InvalidArgument,
            "take_many needs a number of elements that is 0 or more, got -1",
        ),
    ],
)
def test_c12_wrong_arguments_of_a_barrier_are_named(make: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        make(barrier())
    assert type(caught.value) is kind
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("capacity", "shapes", "text"),
    [
        (5, ((),), "a Barrier is unbounded: its capacity must be -1, got 5\n  put a bounded queue before it"),
        (-1, None, "a Barrier needs the full shape of every component, got None"),
        (-1, ((None,),), "a Barrier needs the full shape of every component, got ((None,),)"),
    ],
)
def test_c12_a_barrier_is_unbounded_and_knows_its_shapes(capacity: int, shapes: Any, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        spec("Barrier", capacity, shapes=shapes)
    assert str(caught.value) == text


def test_c10_a_shared_barrier_is_compared() -> None:
    with pytest.raises(InvalidArgument) as caught:
        barrier().check_shared(spec("Barrier", dtypes=("float32", "float32"), shapes=((2, 2), ())))
    assert caught.value.diagnostic.message == (
        "Shared queue 'b' has component shapes [(), ()] but requested component shapes were [(2, 2), ()]"
    )


@pytest.mark.parametrize("cancels", [False, True])
def test_many_threads_lose_and_double_nothing_of_a_barrier(cancels: bool) -> None:
    b, n_threads, n_each = barrier(), 4, 60
    found, inserted, lock = list[tuple[Any, ...]](), set[bytes](), threading.Lock()

    def insert_all(component: int, i: int) -> None:
        names = [f"{i}:{j}".encode() for j in range(n_each)]
        random.Random(component).shuffle(names)
        for start in range(0, n_each, 7):
            part = np.array(names[start : start + 7], object)
            values = np.array([float(name.split(b":")[1]) for name in part], np.float32)
            try:
                b.wait(b.insert_many(component, part, values))
            except Cancelled:
                return
            with lock:
                inserted.update(part)

    def take() -> None:
        while True:
            try:
                _, names, zeros, ones = b.wait(b.take_many(5, allow_small_batch=True))
            except OutOfRange:
                if b.incomplete_size() == 0:
                    return
                continue
            with lock:
                found.extend(zip(names, zeros, ones, strict=True))

    takers = [threading.Thread(target=take, daemon=True) for _ in range(2)]
    inserters = [
        threading.Thread(target=insert_all, args=(component, i), daemon=True)
        for i in range(n_threads)
        for component in (0, 1)
    ]
    for thread in (*takers, *inserters):
        thread.start()
    if not cancels:
        for thread in inserters:
            thread.join(60)
    b.wait(b.close(cancel_pending_enqueues=cancels))
    for thread in (*takers, *inserters):
        thread.join(60)
        assert not thread.is_alive(), "deadlock"
    names = [name for name, _, _ in found]
    assert len(names) == len(set(names)) and set(names) <= inserted
    assert cancels or len(names) == n_threads * n_each
    for name, zero, one in found:
        assert zero == one == float(name.split(b":")[1])
    assert b.ready_size() == b.incomplete_size() == 0
