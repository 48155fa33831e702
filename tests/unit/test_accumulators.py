"""Gradient accumulators: rows J4 (staleness), J5 (take_grad) and J6 (sparse)."""

from __future__ import annotations

import threading
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from dfc.backends import xla
from dfc.errors import Cancelled, FailedPrecondition, InvalidArgument, InvalidType
from dfc.ir.dtypes import as_dtype
from dfc.runtime.accumulators import (
    AccumulatorSpec,
    ConditionalAccumulator,
    Reduction,
    SparseConditionalAccumulator,
)
from dfc.runtime.attempts import Attempt
from tests.queue_support import described, failure, finished, waiting


def dense(shape: Any = (), reduction: Reduction = "MEAN", dtype: str = "float32") -> ConditionalAccumulator:
    return ConditionalAccumulator(as_dtype(dtype), shape, reduction, "a")


def apply(a: ConditionalAccumulator, *values: Any, step: int = 0) -> None:
    for value in values:
        a.apply_grad(np.array(value, a.spec.dtype.numpy), step)


def take(a: Any, n: int = 1) -> Any:
    """The one component of what is taken, at once."""
    (value,) = finished(a, a.take_grad(n)).result
    return value


@pytest.mark.parametrize("global_step", [1000, 1002, 1004])
def test_j4_only_gradients_that_are_not_stale_count(global_step: int) -> None:
    a = dense()
    a.set_global_step(global_step)
    steps = range(1000, 1005)
    for step in steps:
        apply(a, step * 2, step=step)
    fresh = [step * 2 for step in steps if step >= global_step]
    assert a.num_accumulated() == len(fresh)
    assert take(a, len(fresh)) == np.mean(fresh)
    assert a.global_step == global_step + 1


def test_j4_a_stale_gradient_is_dropped_though_its_shape_is_unlike_the_others() -> None:
    a = dense(shape=None)
    a.set_global_step(5)
    apply(a, [1, 2], step=5)
    apply(a, [1, 2, 3], step=4)
    assert a.num_accumulated() == 1


def test_j5_mean_and_sum() -> None:
    for reduction, expected in (("MEAN", 15), ("SUM", 30)):
        a = dense(reduction=reduction)  # type: ignore[arg-type]
        apply(a, 10, 20)
        value = take(a, 2)
        assert (value, value.dtype, value.shape) == (expected, np.float32, ())
        assert (a.num_accumulated(), a.global_step) == (0, 1)


def test_j5_all_gradients_are_taken_however_few_are_required() -> None:
    a = dense()
    apply(a, *range(10))
    assert take(a, 1) == 4.5
    assert waiting(a, a.take_grad(1)).result is None


def test_j5_takers_wait_first_come_first_served() -> None:
    a, told = dense(), list[Attempt]()
    first, second = waiting(a, a.take_grad(3, told.append)), waiting(a, a.take_grad(1, told.append))
    apply(a, 1, 2)
    assert told == []
    apply(a, 3)
    assert told == [first] and first.result == [2]
    apply(a, 7, step=1)
    assert told == [first, second] and second.result == [7]
    assert a.global_step == 2


def test_j5_a_take_makes_gradients_of_its_step_stale() -> None:
    a = dense()
    apply(a, 1)
    take(a)
    apply(a, 100, step=0)
    assert a.num_accumulated() == 0
    apply(a, 3, step=1)
    assert take(a) == 3


@pytest.mark.parametrize("n", [0, -1])
def test_j5_a_positive_number_is_required(n: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        dense().take_grad(n)
    assert str(caught.value) == f"Argument num_required must be positive, got {n}"


def test_j5_cancelling() -> None:
    a, told = dense(), list[Attempt]()
    first, second = waiting(a, a.take_grad(9, told.append)), waiting(a, a.take_grad(1, told.append))
    apply(a, 5)
    assert told == []
    assert a.cancel(first)
    assert described(first) == "Cancelled: TakeGrad operation was cancelled"
    assert told == [second] and second.result == [5]


def test_j5_a_waiting_thread_is_woken() -> None:
    a, found = dense((2,)), list[Any]()
    thread = threading.Thread(target=lambda: found.append(a.wait(a.take_grad(2))), daemon=True)
    thread.start()
    apply(a, [1, 2], [3, 4])
    thread.join(20)
    assert not thread.is_alive()
    assert found[0][0].tolist() == [2, 3]


def test_j5_a_smaller_global_step_is_set_with_a_warning() -> None:
    a = dense()
    a.set_global_step(5)
    with pytest.warns(RuntimeWarning) as caught:
        a.set_global_step(3)
    assert str(caught[0].message) == "ConditionalAccumulator 'a': the global step was set back from 5 to 3"
    assert caught[0].filename == __file__
    assert a.global_step == 3
    apply(a, 1, step=3)
    assert a.num_accumulated() == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_j5_sums_of_half_precision_are_rounded_once(dtype: str) -> None:
    a = dense((2,), "SUM", dtype)
    apply(a, [1, 256], *[[2**-9, 0.125]] * 32)
    value = take(a, 33)
    assert value.dtype == as_dtype(dtype).numpy
    np.testing.assert_array_equal(value, np.array([1 + 32 * 2**-9, 260], value.dtype))
    assert value[0] == (1.0625 if dtype == "float16" else ml_dtypes.bfloat16(1.0625))


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_j5_other_precisions_keep_theirs(dtype: str) -> None:
    a = dense((1,), "MEAN", dtype)
    apply(a, [1], [2], [4])
    value = take(a, 3)
    assert value.dtype == as_dtype(dtype).numpy
    np.testing.assert_array_equal(value, np.array([7], dtype) / np.array(3, dtype))


def test_j5_gradients_are_not_kept_and_results_belong_to_the_taker() -> None:
    a, given = dense((2,), "SUM"), np.ones(2, np.float32)
    a.apply_grad(given, 0)
    given[:] = 100
    first = take(a)
    assert first.tolist() == [1, 1]
    a.apply_grad(xla.to_device(np.full(2, 3, np.float32)), 1)
    first[:] = 50
    second = take(a)
    assert second.tolist() == [3, 3]
    second += 1
    assert first.tolist() == [50, 50]


def test_j5_sums_beyond_the_range_are_infinite_without_a_warning() -> None:
    a = dense((), "SUM")
    apply(a, 3e38, 3e38)
    assert take(a, 2) == np.inf


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (np.ones(2), InvalidType, "ConditionalAccumulator 'a' holds float32 gradients, got float64"),
        (1.0, InvalidType, "ConditionalAccumulator 'a' holds float32 gradients, got float"),
        (
            np.ones(3, np.float32),
            InvalidArgument,
            "Shape mismatch: ConditionalAccumulator 'a' expected a gradient of shape (2, None), got (3,)",
        ),
        (
            np.ones((2, 4), np.float32),
            InvalidArgument,
            "Shape mismatch: ConditionalAccumulator 'a' expected a gradient of shape (2, 3), got (2, 4)",
        ),
    ],
)
def test_j5_a_wrong_gradient_is_named(value: Any, kind: type[Exception], text: str) -> None:
    a = dense((2, None))
    apply(a, np.ones((2, 3)))
    with pytest.raises(kind) as caught:
        a.apply_grad(value, 0)
    assert type(caught.value) is kind
    assert str(caught.value) == text
    assert a.num_accumulated() == 1


def test_j5_what_can_be_accumulated() -> None:
    with pytest.raises(InvalidType) as caught:
        dense(dtype="int32")
    assert str(caught.value) == "a ConditionalAccumulator holds gradients, floating or complex ones, got int32"
    with pytest.raises(InvalidArgument) as caught_reduction:
        dense(reduction="MAX")  # type: ignore[arg-type]
    assert str(caught_reduction.value) == "reduction must be 'MEAN' or 'SUM', got 'MAX'"


def test_j5_a_signal_handler_cannot_add_to_the_sum_that_it_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    a, texts = dense(), list[str]()
    add = a._add

    def interrupted(gradient: Any) -> bool:
        with pytest.raises(FailedPrecondition) as caught:
            apply(a, 5)
        texts.append(str(caught.value))
        return add(gradient)

    monkeypatch.setattr(a, "_add", interrupted)
    apply(a, 1)
    assert texts == [
        "apply_grad was called from a signal handler or a finaliser that interrupted a call on the same "
        "ConditionalAccumulator\n  set a flag there that the main program looks at"
    ]
    assert take(a) == 1


def test_a_shared_accumulator_is_compared() -> None:
    a = dense((2,))
    a.check_shared(AccumulatorSpec("ConditionalAccumulator", as_dtype("float32"), (2,), "MEAN"))
    with pytest.raises(InvalidArgument) as caught:
        a.check_shared(AccumulatorSpec("ConditionalAccumulator", as_dtype("float32"), (2,), "SUM"))
    assert str(caught.value) == (
        "Shared accumulator 'a' has reduction MEAN but requested reduction was SUM\n"
        "  use another shared_name, or the same reduction"
    )


def test_many_threads_lose_and_double_no_gradient() -> None:
    a, n_threads, n_each = dense((3,), "SUM"), 4, 300
    sums, stop = list[float](), threading.Event()

    def push(i: int) -> None:
        for j in range(n_each):
            apply(a, [i * n_each + j] * 3, step=10**9)

    def pull() -> None:
        while True:
            attempt = a.take_grad(3)
            try:
                (value,) = a.wait(attempt, 0.02)
            except TimeoutError:
                if stop.is_set():
                    return
                continue
            assert len(set(value.tolist())) == 1
            sums.append(float(value[0]))

    threads = [threading.Thread(target=push, args=(i,), daemon=True) for i in range(n_threads)]
    pullers = [threading.Thread(target=pull, daemon=True) for _ in range(2)]
    for thread in (*threads, *pullers):
        thread.start()
    for thread in threads:
        thread.join(60)
    stop.set()
    for thread in pullers:
        thread.join(60)
        assert not thread.is_alive()
    rest = float(take(a)[0]) if a.num_accumulated() else 0
    total = n_threads * n_each
    assert sum(sums) + rest == total * (total - 1) / 2


def sparse(shape: Any = (8, 2), reduction: Reduction = "MEAN", dtype: str = "float32") -> SparseConditionalAccumulator:
    return SparseConditionalAccumulator(as_dtype(dtype), shape, reduction, "s")


def gradient(rows: list[int], *values: Any, shape: Any = None, index: Any = np.int64, dtype: Any = np.float32) -> Any:
    return np.array(rows, index), np.array(values, dtype).reshape(len(rows), -1), shape


def test_j6_each_row_is_divided_by_the_number_of_gradients_that_had_it() -> None:
    s = sparse()
    s.apply_grad(gradient([0], [1, 2]), 0)
    s.apply_grad(gradient([1], [3, 4]), 0)
    indices, values, shape = finished(s, s.take_grad(2)).result
    assert (indices.tolist(), values.tolist(), shape.tolist()) == ([0, 1], [[1, 2], [3, 4]], [8, 2])
    assert (indices.dtype, values.dtype, shape.dtype) == (np.int64, np.float32, np.int64)


@pytest.mark.parametrize("reduction", ["MEAN", "SUM"])
@pytest.mark.parametrize("seed", range(5))
def test_j6_equals_the_dense_computation(reduction: Reduction, seed: int) -> None:
    chance = np.random.default_rng(seed)
    s, dense_sum, n_touched = sparse((20, 3), reduction), np.zeros((20, 3)), np.zeros(20)
    for _ in range(6):
        rows = np.flatnonzero(chance.random(20) < 0.4)
        values = chance.integers(-9, 9, (len(rows), 3)).astype(np.float32)
        s.apply_grad((rows.astype(np.int32), xla.to_device(values), (20, 3)), 0)
        dense_sum[rows] += values
        n_touched[rows] += 1
    indices, values, _ = finished(s, s.take_grad(6)).result
    np.testing.assert_array_equal(indices, np.flatnonzero(n_touched))
    expected = dense_sum[indices]
    if reduction == "MEAN":
        expected = (expected / n_touched[indices, None]).astype(np.float32)
    np.testing.assert_allclose(values, expected, rtol=1e-7)


def test_j6_a_take_starts_anew() -> None:
    s, given = sparse(), np.ones((1, 2), np.float32)
    s.apply_grad((np.array([3]), given, None), 0)
    given[:] = 9
    first = finished(s, s.take_grad(1)).result
    assert first[1].tolist() == [[1, 1]]
    s.apply_grad(gradient([3], [5, 5]), 0)
    assert s.num_accumulated() == 0, "it was stale"
    s.apply_grad(gradient([3], [5, 5]), 1)
    assert finished(s, s.take_grad(1)).result[1].tolist() == [[5, 5]]


def test_j6_scalar_rows_no_rows_and_half_precision() -> None:
    s = sparse((None,), "SUM", "bfloat16")
    half: Any = ml_dtypes.bfloat16
    for rows, values in (([2], [256]), ([], []), ([2, 5], [1, 1]), ([2], [1])):
        s.apply_grad((np.array(rows, np.int64), np.array(values, half), None), 0)
    indices, values, shape = finished(s, s.take_grad(4)).result
    assert (indices.tolist(), values.tolist(), shape.tolist()) == ([2, 5], [258, 1], [-1])
    assert values.dtype == half


def test_j6_the_first_dimension_is_known_from_the_accumulator_or_a_gradient() -> None:
    s = sparse(None)
    s.apply_grad(gradient([0], [1, 2]), 0)
    s.apply_grad(gradient([1], [1, 2], shape=np.array([9, 2])), 0)
    assert finished(s, s.take_grad(2)).result[2].tolist() == [9, 2]
    s.apply_grad(gradient([0], [1, 2]), 1)
    assert finished(s, s.take_grad(1)).result[2].tolist() == [-1, 2]


NAMED = "Shape mismatch: SparseConditionalAccumulator 's': "


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (gradient([0, 8], [1, 1], [1, 1]), NAMED + "indices must be less than the first dimension, 8, got 8"),
        (gradient([0], [1, 1, 1]), NAMED + "expected values of shape (1, 2), got (1, 3)"),
        (
            (np.array([0]), np.ones((2, 2), np.float32), None),
            NAMED + "1 indices need as many rows of values, got (2, 2)",
        ),
        ((np.array([0]), np.float32(1), None), NAMED + "1 indices need as many rows of values, got ()"),
        (gradient([0], [1, 1], shape=(9, 2)), NAMED + "expected a gradient of shape (8, 2), got (9, 2)"),
        (gradient([0], [1, 1], shape=(8,)), NAMED + "expected a gradient of shape (8, 2), got (8,)"),
        (
            gradient([3, 1], [1, 1], [1, 1]),
            "indices of a gradient must be strictly ascending, got 1 after 3\n  sum duplicate rows and sort them first",
        ),
        (
            gradient([1, 1], [1, 1], [1, 1]),
            "indices of a gradient must be strictly ascending, got 1 after 1\n  sum duplicate rows and sort them first",
        ),
        (gradient([-1], [1, 1]), "indices of a gradient must be 0 or more, got -1"),
        (
            (np.array([[0]]), np.ones((1, 2), np.float32), None),
            "indices of a gradient must have one dimension, got shape (1, 1)",
        ),
        (gradient([0], [1, 1], index=np.uint8), "indices of a gradient must be int32 or int64, got uint8"),
        (
            gradient([0], [1, 1], dtype=np.float64),
            "SparseConditionalAccumulator 's' holds float32 gradients, got float64",
        ),
    ],
)
def test_j6_a_wrong_gradient_is_named(value: Any, text: str) -> None:
    s = sparse()
    with pytest.raises(InvalidArgument) as caught:
        s.apply_grad(value, 0)
    assert str(caught.value) == text
    assert s.num_accumulated() == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (gradient([0], [1, 1, 1]), "expected values of shape (1, 2), as before, got (1, 3)"),
        (gradient([0], [1, 1], shape=(6, 2)), "expected a first dimension of 7, as before, got 6"),
    ],
)
def test_j6_gradients_that_do_not_fit_together_are_named(value: Any, text: str) -> None:
    s = sparse(None)
    s.apply_grad(gradient([4], [1, 2], shape=(7, 2)), 0)
    with pytest.raises(InvalidArgument) as caught:
        s.apply_grad(value, 0)
    assert str(caught.value) == NAMED + text
    assert s.num_accumulated() == 1


def test_j6_rows_need_a_dimension() -> None:
    with pytest.raises(InvalidArgument) as caught:
        sparse(())
    assert str(caught.value) == "a SparseConditionalAccumulator holds rows: its shape needs a dimension, got ()"


def test_j6_cancelling() -> None:
    s = sparse()
    attempt = waiting(s, s.take_grad(1))
    assert s.cancel(attempt, Cancelled("the session was closed"))
    assert described(attempt) == "Cancelled: the session was closed"
    attempt = s.take_grad(1)
    s.cancel(attempt)
    assert failure(s, attempt) == "Cancelled: TakeGrad operation was cancelled"
