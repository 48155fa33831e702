"""The other kinds of queue (row C12), their options, and sharing by name (row C10)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.backends import xla
from dfc.errors import InvalidArgument, InvalidType
from dfc.runtime.attempts import Attempt
from dfc.runtime.queues import FIFOQueue, make_queue
from tests.queue_support import described, enqueue, failure, finished, put, queue, spec, taken, waiting


def shuffled(seed: int | None, least: int = 0, capacity: int = -1) -> Any:
    return queue("RandomShuffleQueue", capacity, min_after_dequeue=least, seed=seed)


def test_c12_a_seed_fixes_the_order_which_is_not_that_of_arrival() -> None:
    orders = []
    for seed in (1, 1, 2, None, None):
        q = shuffled(seed)
        put(q, *range(50))
        orders.append(taken(q, 50))
    assert orders[0] == orders[1]
    assert len(set(map(tuple, orders))) == 4
    assert all(order != list(range(50)) and sorted(order) == list(range(50)) for order in orders)


def test_c12_each_element_is_as_likely_as_the_others() -> None:
    q, first = shuffled(0), Counter[float]()
    for _ in range(3000):
        put(q, *range(3))
        first[taken(q, 3)[0]] += 1
    assert all(abs(first[value] - 1000) < 130 for value in range(3)), "5 standard deviations"


def test_c12_some_stay_in_until_the_queue_is_closed() -> None:
    q, told = shuffled(0, least=2, capacity=4), list[Attempt]()
    put(q, 1, 2)
    first = waiting(q, q.dequeue(told.append))
    put(q, 3)
    assert told == [first] and q.size() == 2
    many = waiting(q, q.dequeue_many(3, told.append))
    put(q, 4, 5)
    assert q.size() == 2 and told == [first]
    finished(q, q.close())
    assert told == [first, many]
    rest = taken(q)
    assert sorted([*first.result, *many.result[0].tolist(), *rest]) == [1, 2, 3, 4, 5]
    assert failure(q, q.dequeue()) == (
        "OutOfRange: RandomShuffleQueue 'q' is closed and has insufficient elements (requested 1, current size 0)"
    )


def test_c12_a_shuffling_queue_gets_back_what_was_collected() -> None:
    q, told = shuffled(0, least=1), list[Attempt]()
    put(q, 1, 2, 3)
    many = waiting(q, q.dequeue_many(4, told.append))
    assert q.size() == 1
    finished(q, q.close())
    assert described(many).endswith("(requested 4, current size 3)")
    assert sorted(taken(q, 3)) == [1, 2, 3]


@pytest.mark.parametrize("least", [-1, 4, 5])
def test_c12_what_stays_in_is_less_than_the_capacity(least: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        shuffled(0, least, capacity=4)
    assert str(caught.value) == f"min_after_dequeue must be 0 or more and less than the capacity, 4, got {least}"


def test_c12_only_a_shuffling_queue_has_these_options() -> None:
    with pytest.raises(InvalidArgument) as caught:
        spec("FIFOQueue", seed=1)
    assert str(caught.value) == "min_after_dequeue and seed are options of RandomShuffleQueue, got a FIFOQueue"


def test_c12_a_batch_is_padded_to_its_largest() -> None:
    q = queue("PaddingFIFOQueue", dtypes=("int32", "string", "float32"), shapes=((None, 2), (None,), ()))
    for n in (1, 3, 0):
        numbers = np.full((n, 2), n, np.int32)
        texts = np.array([b"x"] * n, object)
        finished(q, q.enqueue([numbers, texts, np.array(n, np.float32)]))
    numbers, texts, sizes = finished(q, q.dequeue_many(3)).result
    expected = np.zeros((3, 3, 2), np.int32)
    expected[0, :1], expected[1, :3] = 1, 3
    np.testing.assert_array_equal(numbers, expected)
    assert texts.tolist() == [[b"x", b"", b""], [b"x"] * 3, [b""] * 3]
    assert sizes.tolist() == [1, 3, 0]


def test_c12_a_single_element_is_not_padded_and_none_has_sizes_of_zero() -> None:
    q = queue("PaddingFIFOQueue", shapes=((None, 2),))
    finished(q, q.enqueue_many([np.ones((2, 5, 2), np.float32)]))
    assert finished(q, q.dequeue()).result[0].shape == (5, 2)
    assert finished(q, q.dequeue_many(0)).result[0].shape == (0, 0, 2)


def test_c12_padding_checks_what_is_known_and_needs_shapes() -> None:
    q = queue("PaddingFIFOQueue", shapes=((None, 2),))
    with pytest.raises(InvalidArgument) as caught:
        q.enqueue([np.ones((5, 3), np.float32)])
    assert str(caught.value) == "Shape mismatch in tuple component 0: expected (None, 2), got (5, 3)"
    with pytest.raises(InvalidArgument) as caught:
        queue("PaddingFIFOQueue", shapes=None)
    assert str(caught.value) == ("a PaddingFIFOQueue needs shapes\n  write None for the sizes that are to be padded")


PRIORITY: Any = {"kind": "PriorityQueue", "dtypes": ("int64", "string"), "shapes": ((), ())}


def ranked(q: Any, *pairs: tuple[int, bytes]) -> None:
    for priority, text in pairs:
        finished(q, q.enqueue([np.array(priority, np.int64), np.array(text, object)]))


def test_c12_smallest_priority_first_and_equal_ones_in_order_of_arrival() -> None:
    q = queue(**PRIORITY)
    ranked(q, (5, b"a"), (-(2**63), b"b"), (5, b"c"), (2**63 - 1, b"d"), (5, b"e"))
    finished(q, q.enqueue_many([np.array([6, 4]), np.array([b"f", b"g"], object)]))
    found = [finished(q, q.dequeue()).result for _ in range(7)]
    assert b"".join(text.item() for _, text in found) == b"bgacefd"
    assert [int(priority) for priority, _ in found] == [-(2**63), 4, 5, 5, 5, 6, 2**63 - 1]


def test_c12_a_batch_by_priority_is_taken_when_all_of_it_is_there() -> None:
    q, told = queue(**PRIORITY), list[Attempt]()
    ranked(q, (9, b"a"))
    many = waiting(q, q.dequeue_many(2, told.append))
    assert q.size() == 1
    finished(q, q.enqueue_many([np.array([8, 1, 2]), np.array([b"b", b"c", b"d"], object)]))
    assert told == [many] and many.result[0].tolist() == [1, 2]
    up_to = waiting(q, q.dequeue_up_to(5, told.append))
    finished(q, q.close())
    assert told == [many, up_to] and up_to.result[1].tolist() == [b"b", b"a"]


def test_c12_a_batch_by_priority_larger_than_the_capacity_can_never_be_there() -> None:
    q = queue(**PRIORITY, capacity=2)
    with pytest.raises(InvalidArgument) as caught:
        q.dequeue_many(3)
    assert str(caught.value) == (
        "dequeue_many of a PriorityQueue waits until all elements are there: n must be at most the capacity, 2, got 3"
    )
    ranked(q, (1, b"a"), (0, b"b"))
    up_to = waiting(q, q.dequeue_up_to(3))
    finished(q, q.close())
    assert up_to.error is None and q.size() == 0


def test_c12_a_priority_may_be_on_a_device() -> None:
    q = queue("PriorityQueue", dtypes=("int64", "float32"), shapes=None)
    value = xla.to_device(np.ones(3, np.float32))
    finished(q, q.enqueue([np.array(7), value]))
    finished(q, q.enqueue([np.int64(3), value]))
    priority, same = finished(q, q.dequeue()).result
    assert priority == 3 and same is value


@pytest.mark.parametrize(
    ("dtypes", "shapes", "kind", "text"),
    [
        (("int32",), None, InvalidType, "the first component of a PriorityQueue must be an int64 priority, got int32"),
        (("int64",), ((1,),), InvalidArgument, "the priority of a PriorityQueue must be a scalar, got shape (1,)"),
    ],
)
def test_c12_a_priority_is_an_int64_scalar(dtypes: Any, shapes: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        spec("PriorityQueue", dtypes=dtypes, shapes=shapes)
    assert type(caught.value) is kind
    assert str(caught.value) == text


def test_c12_a_priority_is_checked_where_no_shapes_are_known() -> None:
    q = queue("PriorityQueue", dtypes=("int64", "float32"), shapes=None)
    with pytest.raises(InvalidArgument) as caught:
        q.enqueue([np.ones(2, np.int64), np.ones(3, np.float32)])
    assert str(caught.value) == "Shape mismatch in tuple component 0: expected (), got (2,)"


BASE: Any = {"capacity": 4, "dtypes": ("float32", "int32"), "shapes": ((), (2, None)), "names": ("x", "y")}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"kind": "PaddingFIFOQueue"}, "kind FIFOQueue but requested kind was PaddingFIFOQueue"),
        ({"capacity": -1}, "capacity 4 but requested capacity was -1"),
        (
            {"dtypes": ("float32", "int64")},
            "component types [float32, int32] but requested component types were [float32, int64]",
        ),
        ({"shapes": None}, "component shapes [(), (2, None)] but requested component shapes were None"),
        ({"names": ("x", "z")}, "component names [x, y] but requested component names were [x, z]"),
    ],
)
def test_c10_another_description_under_the_same_name_is_refused(change: Any, text: str) -> None:
    q = queue(**BASE)
    q.check_shared(spec(**BASE))
    with pytest.raises(InvalidArgument) as caught:
        q.check_shared(spec(**{**BASE, **change}))
    assert caught.value.diagnostic.message == f"Shared queue 'q' has {text}"


def test_c10_options_count() -> None:
    with pytest.raises(InvalidArgument) as caught:
        shuffled(1).check_shared(spec("RandomShuffleQueue", seed=2))
    assert str(caught.value) == (
        "Shared queue 'q' has seed 1 but requested seed was 2\n  use another shared_name, or the same seed"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dtypes": (), "shapes": None}, "a FIFOQueue needs at least one component, got no dtypes"),
        ({"shapes": ((), ())}, "shapes must have one entry for each of 1 dtypes, got 2"),
        ({"names": ()}, "names must have one entry for each of 1 dtypes, got 0"),
    ],
)
def test_a_description_is_checked(options: Any, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        spec(**options)
    assert str(caught.value) == text


def test_kinds_by_name() -> None:
    with pytest.raises(InvalidArgument) as caught:
        spec("LIFOQueue")
    assert str(caught.value) == (
        "there is no queue of kind 'LIFOQueue'\n"
        "  kinds: FIFOQueue, RandomShuffleQueue, PaddingFIFOQueue, PriorityQueue, Barrier"
    )
    assert type(make_queue(spec())) is FIFOQueue
    with pytest.raises(InvalidArgument) as caught:
        FIFOQueue(spec("PaddingFIFOQueue"))
    assert str(caught.value) == "a FIFOQueue can't be made from the description of a PaddingFIFOQueue"


def test_every_kind_cancels_alike() -> None:
    for kind in ("FIFOQueue", "RandomShuffleQueue", "PaddingFIFOQueue"):
        q = queue(kind, 1)
        put(q, 1)
        pending = waiting(q, enqueue(q, 2))
        assert q.cancel(pending)
        assert described(pending) == "Cancelled: Enqueue operation was cancelled"
        assert taken(q) == [1]
        assert q.size() == 0


@pytest.mark.parametrize(
    ("what", "make"),
    [
        ("capacity", lambda: dfc.FIFOQueue(1.5, "float32")),  # type: ignore[arg-type]
        ("min_after_dequeue", lambda: dfc.RandomShuffleQueue(4, 1.5, "float32")),  # type: ignore[arg-type]
        ("seed", lambda: dfc.RandomShuffleQueue(4, 1, "float32", seed=1.5)),  # type: ignore[arg-type]
    ],
)
def test_numbers_of_a_queue_are_whole(what: str, make: Callable[[], object]) -> None:
    with pytest.raises(InvalidType, match=rf"Queue: {what} must be an integer, got 1.5\n  at {re.escape(__file__)}:"):
        make()
    assert dfc.FIFOQueue(np.int64(4), "float32").spec == dfc.FIFOQueue(4, "float32").spec


@pytest.mark.parametrize("make", [lambda: dfc.FIFOQueue(1, "real"), lambda: dfc.Barrier("real", shapes=[()])])
def test_an_unknown_dtype_is_named_with_the_line(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidType, match=rf"^\w+: 'real' is not a dtype of dfc\n  at {re.escape(__file__)}:"):
        make()
