"""FIFO queues in one thread: rows C3 to C8, and what a component may be."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from dfc.backends import xla
from dfc.errors import InvalidArgument, InvalidType
from dfc.runtime.attempts import Attempt
from tests.queue_support import described, enqueue, failure, finished, put, queue, scalar, taken, waiting

SHORT = "OutOfRange: FIFOQueue 'q' is closed and has insufficient elements (requested {}, current size {})"


def test_c3_an_element_passes_through_untouched() -> None:
    q = queue(dtypes=("float32", "string"), shapes=((2,), ()))
    element = [np.ones(2, np.float32), np.array(b"abc", object)]
    finished(q, q.enqueue(element))
    assert q.size() == 1
    result = finished(q, q.dequeue()).result
    assert [a is b for a, b in zip(result, element, strict=True)] == [True, True]
    assert q.size() == 0


def test_c3_a_device_array_passes_through_and_is_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    q, given = queue(shapes=((2,),)), xla.to_device(np.ones(2, np.float32))
    monkeypatch.setattr(xla, "to_numpy", None)
    finished(q, q.enqueue([given]))
    assert finished(q, q.dequeue()).result[0] is given


def test_c3_a_full_queue_holds_enqueues_back_and_an_empty_one_dequeues() -> None:
    q, told = queue(capacity=2), list[Attempt]()
    put(q, 1, 2)
    third, fourth = waiting(q, enqueue(q, 3, told)), waiting(q, enqueue(q, 4, told))
    assert taken(q) == [1]
    assert told == [third]
    assert third.result is None and third.error is None
    assert taken(q, 3) == [2, 3, 4]
    assert told == [third, fourth]
    first, second = waiting(q, q.dequeue(told.append)), waiting(q, q.dequeue(told.append))
    put(q, 5, 6)
    assert told[2:] == [first, second]
    assert [first.result, second.result] == [[5], [6]]


def test_c3_unbounded() -> None:
    q = queue(capacity=-1)
    put(q, *range(1000))
    assert taken(q, 1000) == list(range(1000))


@pytest.mark.parametrize("capacity", [0, -2])
def test_c3_capacity_is_positive_or_unbounded(capacity: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        queue(capacity=capacity)
    assert str(caught.value) == f"capacity must be positive, or -1 for unbounded, got {capacity}"


PAIR: Any = {"dtypes": ("float32", "int32"), "shapes": ((2, None), ())}
ROWS, ONE = np.zeros((2, 5), np.float32), np.array(1, np.int32)


@pytest.mark.parametrize(
    ("components", "kind", "text"),
    [
        ([ROWS], InvalidArgument, "Wrong number of components in tuple: expected 2, got 1"),
        ([ROWS, ONE, ONE], InvalidArgument, "Wrong number of components in tuple: expected 2, got 3"),
        ([ROWS, scalar(1)], InvalidType, "Type mismatch in tuple component 1: expected int32, got float32"),
        ([ROWS, 1], InvalidType, "Type mismatch in tuple component 1: expected int32, got int"),
        ([ROWS[0], ONE], InvalidArgument, "Shape mismatch in tuple component 0: expected (2, None), got (5,)"),
        ([ROWS[:1], ONE], InvalidArgument, "Shape mismatch in tuple component 0: expected (2, None), got (1, 5)"),
    ],
)
def test_c3_a_wrong_component_is_named(components: Any, kind: type[InvalidArgument], text: str) -> None:
    q = queue(**PAIR)
    with pytest.raises(kind) as caught:
        q.enqueue(components)
    assert type(caught.value) is kind
    assert str(caught.value) == text
    finished(q, q.enqueue([ROWS, ONE]))


@pytest.mark.parametrize(
    ("components", "text"),
    [
        ([], "Wrong number of components in tuple: expected 2, got 0"),
        ([ROWS[None], np.ones(1)], "Type mismatch in tuple component 1: expected int32, got float64"),
        ([ROWS, ONE[None]], "Shape mismatch in tuple component 0: expected (2, 2, None), got (2, 5)"),
        ([ROWS[None], np.ones(3, np.int32)], "Shape mismatch in tuple component 1: expected (1,), got (3,)"),
        ([scalar(1), ONE[None]], "Shape mismatch in tuple component 0: expected (n, 2, None), got ()"),
    ],
)
def test_c4_a_wrong_component_of_a_batch_is_named(components: Any, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        queue(**PAIR).enqueue_many(components)
    assert str(caught.value) == text


def test_c4_without_shapes_only_the_first_sizes_must_agree() -> None:
    q = queue(dtypes=("float32", "int32"), shapes=None)
    with pytest.raises(InvalidArgument) as caught:
        q.enqueue_many([ROWS, ONE[None]])
    assert str(caught.value) == "Shape mismatch in tuple component 1: expected (2, ...), got (1,)"
    finished(q, q.enqueue_many([ROWS, np.arange(2, dtype=np.int32)]))
    finished(q, q.enqueue([ROWS, ONE]))
    assert [finished(q, q.dequeue()).result[0].shape for _ in range(3)] == [(5,), (5,), (2, 5)]


def batch(*values: float) -> list[Any]:
    return [np.array(values, np.float32)]


def test_c4_enqueue_many_puts_slices_in_as_space_appears() -> None:
    q, told = queue(capacity=4), list[Attempt]()
    put(q, 10, 20, 30, 40)
    many = waiting(q, q.enqueue_many(batch(50, 60), told.append))
    assert taken(q) == [10]
    assert q.size() == 4 and told == []
    assert taken(q, 5) == [20, 30, 40, 50, 60]
    assert told == [many]


def test_c4_a_later_enqueue_does_not_overtake_an_unfinished_enqueue_many() -> None:
    q, told = queue(capacity=2), list[Attempt]()
    many = waiting(q, q.enqueue_many(batch(1, 2, 3, 4), told.append))
    single = waiting(q, enqueue(q, 5, told))
    assert taken(q, 5) == [1, 2, 3, 4, 5]
    assert told == [many, single]


def test_c4_a_batch_of_none_is_done_at_once_even_where_the_queue_is_full_or_closed() -> None:
    q = queue(capacity=1)
    put(q, 1)
    waiting(q, enqueue(q, 2))
    assert finished(q, q.enqueue_many(batch())).error is None
    finished(q, q.close(cancel_pending_enqueues=True))
    assert finished(q, q.enqueue_many(batch())).error is None
    assert q.size() == 1


def test_c4_slices_of_scalars_and_strings_are_arrays() -> None:
    q = queue(dtypes=("bfloat16", "string"), shapes=((), ()))
    finished(q, q.enqueue_many([np.array([1, 2], ml_dtypes.bfloat16), np.array([b"x", b"yz"], object)]))
    number, text = finished(q, q.dequeue()).result
    assert (number.shape, number.dtype, float(number)) == ((), ml_dtypes.bfloat16, 1)
    assert (text.shape, text.dtype, text.item()) == ((), object, b"x")
    finished(q, q.enqueue([number, text]))
    numbers, texts = finished(q, q.dequeue_many(2)).result
    assert (numbers.dtype, numbers.tolist()) == (ml_dtypes.bfloat16, [2, 1])
    assert (texts.dtype, texts.tolist()) == (object, [b"yz", b"x"])


def test_c4_enqueue_many_takes_device_arrays() -> None:
    q = queue(shapes=((2,),))
    finished(q, q.enqueue_many([xla.to_device(np.arange(6, dtype=np.float32).reshape(3, 2))]))
    finished(q, q.enqueue([xla.to_device(np.array([6, 7], np.float32))]))
    (result,) = finished(q, q.dequeue_many(4)).result
    np.testing.assert_array_equal(result, np.arange(8).reshape(4, 2))
    assert result.flags.owndata and result.flags.writeable


@pytest.mark.parametrize(("shapes", "got"), [(None, "no shapes"), (((None,),), "((None,),)")])
@pytest.mark.parametrize("method", ["dequeue_many", "dequeue_up_to"])
def test_c5_a_dequeue_of_many_needs_full_shapes(shapes: Any, got: str, method: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        getattr(queue(shapes=shapes), method)(2)
    assert str(caught.value) == (
        "FIFOQueue's dequeue_many and dequeue_up_to require the components to have specified shapes, got "
        f"{got}\n  give the queue its shapes; a PaddingFIFOQueue pads the sizes that are None"
    )


def test_c5_dequeue_many_collects() -> None:
    q, told = queue(capacity=2), list[Attempt]()
    put(q, 1)
    many = waiting(q, q.dequeue_many(5, told.append))
    later = waiting(q, q.dequeue(told.append))
    assert q.size() == 0
    put(q, 2, 3, 4)
    assert told == []
    put(q, 5, 6)
    assert told == [many, later]
    assert many.result[0].tolist() == [1, 2, 3, 4, 5]
    assert later.result == [6]


def test_c5_many_of_several_components() -> None:
    q = queue(dtypes=("float32", "int32"), shapes=((2,), ()))
    for i in range(3):
        finished(q, q.enqueue([np.full(2, i, np.float32), np.array(i * i, np.int32)]))
    vectors, squares = finished(q, q.dequeue_many(3)).result
    np.testing.assert_array_equal(vectors, [[0, 0], [1, 1], [2, 2]])
    assert (squares.dtype, squares.tolist()) == (np.int32, [0, 1, 4])


def test_c5_none_at_all_is_given_at_once() -> None:
    q = queue(dtypes=("float32", "string"), shapes=((2, 3), ()))
    for method in (q.dequeue_many, q.dequeue_up_to):
        numbers, texts = finished(q, method(0)).result
        assert (numbers.shape, numbers.dtype) == ((0, 2, 3), np.float32)
        assert (texts.shape, texts.dtype) == ((0,), object)


def test_c5_a_negative_number_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        queue().dequeue_many(-1)
    assert str(caught.value) == "dequeue_many needs a number of elements that is 0 or more, got -1"


def test_c5_dequeue_up_to_waits_for_all_until_the_queue_is_closed() -> None:
    q, told = queue(), list[Attempt]()
    put(q, 1, 2)
    up_to = waiting(q, q.dequeue_up_to(3, told.append))
    put(q, 3)
    assert told == [up_to] and up_to.result[0].tolist() == [1, 2, 3]
    put(q, 4, 5)
    up_to = waiting(q, q.dequeue_up_to(3, told.append))
    late = waiting(q, q.dequeue_up_to(3, told.append))
    finished(q, q.close())
    assert told[1:] == [up_to, late]
    assert up_to.result[0].tolist() == [4, 5]
    assert described(late) == SHORT.format(3, 0)


def test_c6_close_waits_behind_pending_enqueues() -> None:
    q, told = queue(capacity=4), list[Attempt]()
    put(q, 10, 20, 30, 40)
    pending = waiting(q, enqueue(q, 50, told))
    close = waiting(q, q.close(done=told.append))
    assert not q.is_closed()
    assert taken(q) == [10]
    assert told == [pending, close]
    assert pending.error is None and close.error is None
    assert q.is_closed()
    assert taken(q, 4) == [20, 30, 40, 50]
    assert failure(q, q.dequeue()) == SHORT.format(1, 0)
    assert failure(q, enqueue(q, 60)) == "Cancelled: FIFOQueue 'q' is closed."
    assert failure(q, q.enqueue_many(batch(60))) == "Cancelled: FIFOQueue 'q' is closed."


def test_c6_an_enqueue_behind_a_waiting_close_is_cancelled() -> None:
    q, told = queue(capacity=1), list[Attempt]()
    put(q, 1)
    for attempt in (enqueue(q, 2, told), q.close(done=told.append), enqueue(q, 3, told)):
        waiting(q, attempt)
    assert taken(q) == [1]
    assert [type(attempt).__name__ for attempt in told] == ["Enqueue", "Close", "Enqueue"]
    assert described(told[2]) == "Cancelled: FIFOQueue 'q' is closed."
    assert taken(q) == [2]


def test_c6_the_second_plain_close_is_aborted() -> None:
    q = queue()
    assert finished(q, q.close()).error is None
    assert failure(q, q.close()) == "Aborted: FIFOQueue 'q' is already closed."
    assert finished(q, q.close(cancel_pending_enqueues=True)).error is None


def test_c6_an_unnamed_queue_is_called_by_its_kind() -> None:
    q = queue()
    q.name = ""
    finished(q, q.close())
    assert failure(q, enqueue(q, 1)) == "Cancelled: FIFOQueue is closed."


def test_c6_close_ends_waiting_dequeues() -> None:
    q, told = queue(), list[Attempt]()
    waiting(q, q.dequeue(told.append))
    waiting(q, q.dequeue(told.append))
    finished(q, q.close())
    assert list(map(described, told)) == [SHORT.format(1, 0)] * 2


def test_c7_pending_enqueues_are_cancelled_and_the_content_stays() -> None:
    q, told = queue(capacity=3), list[Attempt]()
    put(q, 1)
    many = waiting(q, q.enqueue_many(batch(2, 3, 4, 5), told.append))
    single, close = waiting(q, enqueue(q, 6, told)), waiting(q, q.close(done=told.append))
    assert finished(q, q.close(cancel_pending_enqueues=True)).error is None
    assert told == [many, single, close]
    assert [described(a) for a in (many, single)] == ["Cancelled: Enqueue operation was cancelled"] * 2
    assert close.error is None, "it has what it wanted"
    assert q.is_closed()
    assert taken(q, 3) == [1, 2, 3]
    assert failure(q, q.dequeue()) == SHORT.format(1, 0)


def test_c8_close_gives_back_what_an_unfinished_dequeue_many_has_collected() -> None:
    q, told = queue(), list[Attempt]()
    put(q, 1, 2, 3)
    many = waiting(q, q.dequeue_many(4, told.append))
    assert q.size() == 0
    finished(q, q.close())
    assert told == [many]
    assert described(many) == SHORT.format(4, 3)
    assert q.size() == 3
    assert taken(q, 3) == [1, 2, 3]


def test_c8_those_behind_get_what_is_given_back() -> None:
    q, told = queue(), list[Attempt]()
    put(q, 1, 2, 3)
    attempts = [q.dequeue_many(4, told.append), q.dequeue(told.append), q.dequeue_many(2, told.append)]
    for attempt in attempts:
        waiting(q, attempt)
    finished(q, q.close())
    assert told == attempts
    assert described(told[0]) == SHORT.format(4, 3)
    assert told[1].result == [1]
    assert told[2].result[0].tolist() == [2, 3]


def test_c8_cancelling_a_dequeue_many_gives_back_in_front_of_what_came_later() -> None:
    q, told = queue(capacity=2), list[Attempt]()
    put(q, 1, 2)
    many, behind = waiting(q, q.dequeue_many(4, told.append)), waiting(q, q.dequeue(told.append))
    put(q, 3)
    assert q.cancel(many)
    assert told == [behind] and behind.result == [1]
    assert q.size() == 2
    assert taken(q, 2) == [2, 3]
    assert described(many) == "Cancelled: Dequeue operation was cancelled"


def test_c8_what_is_given_back_beyond_the_capacity_holds_enqueues_back() -> None:
    q = queue(capacity=2)
    put(q, 1, 2)
    many = waiting(q, q.dequeue_many(5))
    put(q, 3, 4)
    assert q.cancel(many)
    assert q.size() == 4
    told = list[Attempt]()
    pending = waiting(q, enqueue(q, 5, told))
    assert taken(q, 2) == [1, 2]
    assert q.size() == 2 and told == []
    assert taken(q) == [3]
    assert told == [pending]
    assert taken(q, 2) == [4, 5]


def test_a_dequeue_many_whose_values_failed_completes_with_that_error() -> None:
    q, told = queue(shapes=((2,),)), list[Attempt]()
    lost = xla.to_device(np.ones(2, np.float32))
    lost.delete()
    finished(q, q.enqueue([lost]))
    text = failure(q, q.dequeue_many(1))
    assert text.startswith("FailedPrecondition: ")
    waiting(q, q.dequeue_many(1, told.append))
    finished(q, q.enqueue([lost]))
    assert described(told[0]) == text
