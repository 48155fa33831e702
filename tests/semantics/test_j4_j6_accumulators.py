"""Rows J4 to J6: accumulators of gradients, of a graph and from several steps at once, in functions and at once."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import Cancelled, FailedPrecondition, InvalidArgument, InvalidType
from tests.frontend_support import error_of
from tests.waiting_support import Client, in_threads, until_waiting

FILE = __file__


class Dense:
    """An accumulator of float32 scalars with all that can be done to it, in a session."""

    def __init__(self, reduction: Any = "MEAN", shape: Any = ()) -> None:
        with dfc.Graph() as graph:
            self.accumulator = dfc.ConditionalAccumulator("float32", shape, reduction, name="a")
            self.x = dfc.placeholder("float32", shape)
            self.step, self.k = dfc.placeholder("int64", ()), dfc.placeholder("int32", ())
            self.add = self.accumulator.apply_grad(self.x, self.step)
            self.taken = self.accumulator.take_grad(self.k)
            self.set = self.accumulator.set_global_step(self.step)
            self.count = self.accumulator.num_accumulated()
        self.session = dfc.Session(graph)

    def apply(self, *values: Any, step: int = 0) -> None:
        for value in values:
            self.session.run(self.add, {self.x: value, self.step: step})

    def take(self, k: int = 1) -> float:
        return float(self.session.run(self.taken, {self.k: k}))

    def set_step(self, step: int) -> None:
        self.session.run(self.set, {self.step: step})

    def waiting(self, k: int, others: int = 0) -> Client:
        """A client that takes, once it waits."""
        client = Client(lambda: self.take(k))
        until_waiting(self.session, others + 1)
        return client


# ---- J4: staleness


@pytest.mark.parametrize("global_step", range(1000, 1006))
def test_j4_a_gradient_counts_if_its_step_is_not_below_the_global_one(global_step: int) -> None:
    a = Dense()
    with a.session as session:
        a.set_step(global_step)
        for step in range(1000, 1005):
            a.apply(2.0 * step, step=step)
        fresh = [2.0 * step for step in range(1000, 1005) if step >= global_step]
        assert session.run(a.count) == len(fresh)
        if fresh:
            assert a.take(len(fresh)) == np.mean(fresh)


def test_j4_stale_gradients_are_dropped_silently_and_wake_nobody() -> None:
    a = Dense()
    with a.session as session:
        a.set_step(5)
        taker = a.waiting(1)
        a.apply(100.0, step=4)
        assert session.run(a.count) == 0 and taker.waits
        a.apply(3.0, step=5)
        assert taker.result() == 3


def test_j4_a_take_makes_what_was_computed_before_it_stale() -> None:
    a = Dense()
    with a.session as session:
        a.apply(1.0)
        assert a.take() == 1
        a.apply(7.0, step=0)
        assert session.run(a.count) == 0
        a.apply(9.0, step=1)
        assert a.take() == 9


# ---- J5: take_grad


def test_j5_mean_and_sum() -> None:
    for reduction, expected in (("MEAN", 15.0), ("SUM", 30.0)):
        a = Dense(reduction)
        with a.session as session:
            a.apply(10.0, 20.0)
            assert session.run(a.count) == 2
            assert a.take(2) == expected
            assert session.run(a.count) == 0


def test_j5_all_that_was_accumulated_is_taken() -> None:
    a = Dense()
    with a.session:
        a.apply(*range(10))
        assert a.take(1) == 4.5
        a.apply(8.0, step=1)
        assert a.take(1) == 8


def test_j5_it_waits_until_there_are_so_many() -> None:
    a = Dense()
    with a.session:
        taker = a.waiting(3)
        a.apply(1.0, 2.0)
        assert taker.waits
        a.apply(6.0)
        assert taker.result() == 3


def test_j5_those_who_wait_are_served_first_come_first_served() -> None:
    a = Dense()
    with a.session:
        first, second = a.waiting(2), a.waiting(1, others=1)
        a.apply(1.0)
        assert first.waits and second.waits, "one would do for the second, who has to wait for the first"
        a.apply(3.0)
        assert first.result() == 2
        assert second.waits
        a.apply(5.0, step=1)
        assert second.result() == 5


@pytest.mark.parametrize("k", [0, -3])
def test_j5_the_number_must_be_positive(k: int) -> None:
    a = Dense()
    with a.session:
        text = error_of(InvalidArgument, lambda: a.take(k), FILE)
        assert text == f"accumulator_take: Argument num_required must be positive, got {k}"
        with a.session.graph:
            text = error_of(InvalidArgument, lambda: a.accumulator.take_grad(k), FILE)
            assert text == f"take_grad: Argument num_required must be positive, got {k}"


@pytest.mark.parametrize("how", ["step", "session"])
def test_j5_cancelling(how: str) -> None:
    a = Dense()
    with a.session as session:
        step = session.submit(a.taken, {a.k: 2})
        until_waiting(session)
        a.apply(4.0)
        began = time.monotonic()
        step.cancel() if how == "step" else session.close()
        with pytest.raises(Cancelled, match="accumulator_take: TakeGrad operation was cancelled"):
            step.result(60)
        assert time.monotonic() - began < 1
        if how == "step":
            assert a.take() == 4


def test_j5_a_smaller_global_step_is_set_with_a_warning_at_its_line() -> None:
    a = Dense()
    with a.session as session:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            a.set_step(5)
            a.set_step(5)
        with pytest.warns(RuntimeWarning) as caught:
            a.set_step(3)
        assert str(caught[0].message) == "ConditionalAccumulator 'a': the global step was set back from 5 to 3"
        assert caught[0].filename == FILE
        a.apply(1.0, step=3)
        assert session.run(a.count) == 1


def test_j5_shapes_and_dtypes() -> None:
    with dfc.Graph() as graph:
        accumulator = dfc.ConditionalAccumulator("float32", (2, None), name="a")
        x, n = dfc.placeholder("float32", (2, "n"), name="x"), dfc.placeholder("int32", ())
        for wrong, kind, text in (
            (x[0], InvalidArgument,
             "Shape mismatch: ConditionalAccumulator 'a' expected a gradient of shape (2, None), got (n,)"),
            (x[:1], InvalidArgument,
             "Shape mismatch: ConditionalAccumulator 'a' expected a gradient of shape (2, None), got (1, n)"),
            (dfc.astype(x, "float64"), InvalidType,
             "ConditionalAccumulator 'a' holds float32 gradients, got float64"),
        ):  # fmt: skip
            found = error_of(kind, lambda w=wrong: accumulator.apply_grad(w), FILE)  # type: ignore[misc]
            assert found == f"apply_grad: {text}"
        text = error_of(InvalidType, lambda: accumulator.apply_grad(x, 0.5), FILE)
        assert text == "apply_grad: local_step must be an integer, got 0.5"
        text = error_of(InvalidType, lambda: accumulator.apply_grad(x, x[0, 0]), FILE)
        assert text == "accumulator_apply: the local step must be an integer scalar, got float32[] [C3]"
        add, taken = accumulator.apply_grad(x), accumulator.take_grad(n)
        assert taken.shape[0] == 2 and not isinstance(taken.shape[1], int)
        double = taken * 2
    with dfc.Session(graph) as session:
        session.run(add, {x: np.ones((2, 3))})
        text = error_of(InvalidArgument, lambda: session.run(add, {x: np.ones((2, 4))}), FILE)
        assert text == (
            "accumulator_apply: Shape mismatch: ConditionalAccumulator 'a' expected a gradient of shape (2, 3), "
            "got (2, 4)"
        )
        session.run(add, {x: np.full((2, 3), 3)})
        np.testing.assert_array_equal(session.run(double, {n: 2}), np.full((2, 3), 4))
        with graph:
            add = accumulator.apply_grad(x, 1)
        session.run(add, {x: np.full((2, 1), 3)})
        np.testing.assert_array_equal(session.run(double, {n: 1}), np.full((2, 1), 6))


def test_j5_only_gradients_are_accumulated() -> None:
    text = error_of(InvalidType, lambda: dfc.ConditionalAccumulator("int32"), FILE)
    assert text.endswith("a ConditionalAccumulator holds gradients, floating or complex ones, got int32")
    text = error_of(InvalidArgument, lambda: dfc.ConditionalAccumulator("float32", (), "MEDIAN"), FILE)  # type: ignore[arg-type]
    assert text.endswith("reduction must be 'MEAN' or 'SUM', got 'MEDIAN'")


def test_j5_a_shape_that_nobody_knows() -> None:
    with dfc.Graph() as graph:
        accumulator = dfc.ConditionalAccumulator("float32", name="a")
        text = error_of(InvalidArgument, lambda: accumulator.take_grad(1), FILE)
        assert text == "take_grad: the shape of the gradients in 'a' is not known\n  give the accumulator its shape"
        add = accumulator.apply_grad([1.0, 2.0])
        taken = accumulator.take_grad(1)
        assert taken.shape == (2,), "as what is applied in the same graph"
    with dfc.Session(graph) as session:
        session.run(add)
        np.testing.assert_array_equal(session.run(taken), [1, 2])


def test_j5_in_a_function_and_at_once() -> None:
    accumulator = dfc.ConditionalAccumulator("float32", (2,), "SUM")
    v = dfc.Variable([1.0, 1.0])

    @dfc.function
    def step(x: Any, local_step: Any) -> Any:
        counts = [accumulator.num_accumulated()]
        accumulator.apply_grad(x, local_step)
        accumulator.apply_grad(x * 2, local_step)
        counts.append(accumulator.num_accumulated())
        v.assign_sub(accumulator.take_grad(2))
        counts.append(accumulator.num_accumulated())
        return counts

    assert [c.item() for c in step(np.ones(2, np.float32), np.int64(0))] == [0, 2, 0]
    assert v.numpy().tolist() == [-2, -2]
    accumulator.apply_grad(np.full(2, 10, np.float32), 1)
    assert [c.item() for c in step(np.ones(2, np.float32), np.int64(1))] == [1, 3, 0]
    assert v.numpy().tolist() == [-15, -15]
    accumulator.apply_grad([1.0, 2.0], 2)
    accumulator.apply_grad([1.0, 2.0], 1)
    assert accumulator.num_accumulated().item() == 1
    found = accumulator.take_grad(1)
    assert found.dtype is dfc.float32 and found.numpy().tolist() == [1, 2]
    accumulator.set_global_step(10)
    for call, name in (
        (lambda: accumulator.apply_grad([1.0, 2.0], 0.5), "local_step"),
        (lambda: accumulator.take_grad(1.5), "num_required"),
        (lambda: accumulator.set_global_step("x"), "step"),  # type: ignore[arg-type]
    ):
        assert f"{name} must be an integer, got" in error_of(InvalidType, call, FILE)
    text = error_of(InvalidArgument, lambda: accumulator.apply_grad([1.0], 10), FILE)
    assert text == (
        "apply_grad: Shape mismatch: ConditionalAccumulator 'conditional_accumulator' expected a gradient of shape "
        "(2,), got (1,)"
    )
    with pytest.warns(RuntimeWarning, match="set back from 10 to 9") as caught:
        accumulator.set_global_step(9)
    assert caught[0].filename == FILE


def test_j5_replicas_wait_for_each_other() -> None:
    """Three clients apply gradients, one takes when two have come: each average is of the gradients of one step, and
    the variable is their sum."""
    with dfc.Graph() as graph:
        accumulator = dfc.ConditionalAccumulator("float32", ())
        v, step = dfc.Variable(0.0), dfc.Variable(np.int64(0))
        local, x = dfc.placeholder("int64", ()), dfc.placeholder("float32", ())
        add = accumulator.apply_grad(x, local)
        update = v.assign_add(accumulator.take_grad(2))
        with dfc.control_dependencies([update]):
            train = step.assign_add(1)
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)

        def work(index: int) -> int:
            if index == 3:
                for _ in range(50):
                    session.run(train)
                return 50
            sent, now = 0, int(session.run(step))
            while now < 50:
                session.run(add, {x: now, local: now})
                sent, now = sent + 1, int(session.run(step))
            return sent

        sent = in_threads(4, work)
        assert sum(sent[:3]) >= 100
        assert session.run(v) == sum(range(50)), "no stale gradient was in an average"


# ---- J6: sparse gradients


class Sparse:
    """A sparse accumulator with rows of two, in a session."""

    def __init__(self, reduction: Any = "MEAN", shape: Any = (4, 2)) -> None:
        with dfc.Graph() as graph:
            self.accumulator = dfc.SparseConditionalAccumulator("float32", shape, reduction, name="s")
            self.rows, self.indices = dfc.placeholder("float32", ("n", 2)), dfc.placeholder("int64", ("n",))
            self.step, self.k = dfc.placeholder("int64", ()), dfc.placeholder("int32", ())
            slices = dfc.IndexedSlices(self.rows, self.indices, (4, 2))
            self.add = self.accumulator.apply_grad(slices, self.step)
            self.taken = self.accumulator.take_grad(self.k)
            self.dense = self.taken.to_dense()
            self.count = self.accumulator.num_accumulated()
        self.session = dfc.Session(graph)

    def apply(self, indices: list[int], *rows: float, step: int = 0) -> None:
        values = np.array([[v, -v] for v in rows], np.float32).reshape(-1, 2)
        self.session.run(self.add, {self.rows: values, self.indices: indices, self.step: step})

    def take(self, k: int = 1) -> dict[int, float]:
        """The rows that are taken, by index."""
        found = self.session.run(self.taken, {self.k: k})
        assert isinstance(found, dfc.IndexedSlices) and found.dense_shape == (4, 2)
        indices, values = found.indices.numpy(), found.values.numpy()
        assert indices.dtype == np.int64 and (values[:, 1] == -values[:, 0]).all()
        return dict(zip(indices.tolist(), values[:, 0].tolist(), strict=True))


def test_j6_a_rows_mean_is_over_the_gradients_that_had_it() -> None:
    s = Sparse()
    with s.session:
        s.apply([0], 3.0)
        s.apply([1], 5.0)
        assert s.take(2) == {0: 3, 1: 5}, "each by 1, not by 2"
        s.apply([0, 2], 1.0, 10.0, step=1)
        s.apply([0, 3], 3.0, 7.0, step=1)
        s.apply([0, 2], 5.0, 20.0, step=1)
        assert s.take(3) == {0: 3, 2: 15, 3: 7}


def test_j6_sum() -> None:
    s = Sparse("SUM")
    with s.session:
        s.apply([0, 2], 1.0, 10.0)
        s.apply([2, 3], 5.0, 7.0)
        np.testing.assert_array_equal(s.session.run(s.dense, {s.k: 2}), [[1, -1], [0, 0], [15, -15], [7, -7]])


def test_j6_a_gradient_of_no_rows_counts() -> None:
    s = Sparse()
    with s.session:
        s.apply([])
        s.apply([])
        assert s.session.run(s.count) == 2
        assert s.take(2) == {}


def test_j6_stale_ones_are_dropped() -> None:
    s = Sparse()
    with s.session:
        s.apply([1], 1.0)
        assert s.take() == {1: 1}
        s.apply([1], 1.0, step=0)
        assert s.session.run(s.count) == 0


@pytest.mark.parametrize(("indices", "text"), [([2, 1], "1 after 2"), ([1, 1], "1 after 1")])
def test_j6_indices_must_be_ordered(indices: list[int], text: str) -> None:
    s = Sparse()
    with s.session:
        found = error_of(InvalidArgument, lambda: s.apply(indices, 1.0, 2.0), FILE)
        assert found == (
            f"accumulator_apply: indices of a gradient must be strictly ascending, got {text}\n"
            "  sum duplicate rows and sort them first"
        )
        assert s.session.run(s.count) == 0


def test_j6_shape_errors() -> None:
    s = Sparse()
    with s.session as session:
        text = error_of(InvalidArgument, lambda: s.apply([0, 4], 1.0, 2.0), FILE)
        assert text == (
            "accumulator_apply: Shape mismatch: SparseConditionalAccumulator 's': indices must be less than the first "
            "dimension, 4, got 4"
        )
        with session.graph:
            for shape in ((5, 2), (4, 3), (4,)):
                rows = dfc.zeros((1, *shape[1:]))
                slices = dfc.IndexedSlices(rows, [0], shape)
                text = error_of(InvalidArgument, lambda g=slices: s.accumulator.apply_grad(g), FILE)  # type: ignore[misc]
                assert text == (
                    "apply_grad: Shape mismatch: SparseConditionalAccumulator 's' expected a gradient of shape (4, 2), "
                    f"got {shape}"
                )
            text = error_of(InvalidType, lambda: s.accumulator.apply_grad(s.rows), FILE)
            assert text.startswith("apply_grad: SparseConditionalAccumulator 's' takes IndexedSlices, got <dfc.Tensor")


def test_j6_a_shape_that_is_not_stated_is_that_of_the_gradients() -> None:
    s = Sparse(shape=None)
    with s.session as session:
        s.apply([0], 1.0)
        with session.graph:
            other = dfc.IndexedSlices(dfc.zeros((1, 2)), [0], (9, 2))
            add = s.accumulator.apply_grad(other)
        text = error_of(InvalidArgument, lambda: session.run(add), FILE)
        assert text == (
            "accumulator_apply: Shape mismatch: SparseConditionalAccumulator 's': expected a first dimension of 4, as "
            "before, got 9"
        )
        assert s.take() == {0: 1}
    with dfc.Graph():
        unknown = dfc.SparseConditionalAccumulator("float32", (None, 2), name="s")
        text = error_of(InvalidArgument, lambda: unknown.take_grad(1), FILE)
        assert text == (
            "take_grad: the shape of the gradients in 's' is known as (None, 2) only\n"
            "  give the accumulator its whole shape"
        )
    text = error_of(InvalidArgument, lambda: dfc.SparseConditionalAccumulator("float32", ()), FILE)
    assert "its shape needs a dimension, got ()" in text


def test_j6_in_a_function_and_at_once() -> None:
    accumulator = dfc.SparseConditionalAccumulator("float32", (3, 1))

    @dfc.function
    def both(x: Any) -> Any:
        accumulator.apply_grad(dfc.IndexedSlices(x, [0, 2], (3, 1)))
        found = accumulator.take_grad(1)
        return found, dfc.sum(found.values)

    accumulator.apply_grad(dfc.IndexedSlices(np.full((1, 1), 4, np.float32), [2], (3, 1)))
    found, total = both(np.ones((2, 1), np.float32))
    assert found.indices.numpy().tolist() == [0, 2] and found.values.numpy().tolist() == [[1], [2.5]]
    assert total.item() == 3.5 and found.dense_shape == (3, 1)
    accumulator.apply_grad(dfc.IndexedSlices(np.ones((2, 1), np.float32), np.array([0, 1]), (3, 1)), 1)
    found = accumulator.take_grad(1)
    assert isinstance(found, dfc.IndexedSlices) and found.to_dense().numpy().tolist() == [[1], [1], [0]]
    text = error_of(InvalidType, lambda: accumulator.apply_grad(np.ones((3, 1))), FILE)  # type: ignore[arg-type]
    assert "takes IndexedSlices" in text


@pytest.mark.parametrize("cluster", [True, False])
def test_j6_what_is_taken_trains_rows(cluster: bool) -> None:
    """A gradient of a look-up goes through the accumulator to an optimiser with state, as NumPy does it."""
    with dfc.Graph() as graph:
        table = dfc.Variable(np.ones((5, 2), np.float32), name="table")
        accumulator = dfc.SparseConditionalAccumulator("float32", (5, 2))
        ids, local = dfc.placeholder("int32", ("n",)), dfc.placeholder("int64", ())
        loss = dfc.sum(dfc.take(table, ids, axis=0) ** 2)
        (gradient,) = dfc.gradients([loss], [table])
        assert isinstance(gradient, dfc.IndexedSlices)
        add = accumulator.apply_grad(gradient, local)
        train = dfc.train.Momentum(0.1, momentum=0.5).apply_gradients([(accumulator.take_grad(2), table)])
        init = dfc.initialize_all()
    expected, momentum = np.ones((5, 2)), np.zeros((5, 2))
    with dfc.Session(graph, config=dfc.SessionConfig(cluster=cluster)) as session:
        session.run(init)
        for step, (one, two) in enumerate([([0, 1], [1, 4]), ([2], [2, 3, 4]), ([0], [0])]):
            for rows in (one, two):
                session.run(add, {ids: rows, local: step})
            session.run(train)
            touched = sorted({*one, *two})
            momentum[touched] = 0.5 * momentum[touched] + 2 * expected[touched]
            expected[touched] -= 0.1 * momentum[touched]
            np.testing.assert_allclose(session.run(table), expected, rtol=1e-6)
    text = error_of(FailedPrecondition, lambda: accumulator.num_accumulated(), FILE)
    assert "belongs to a graph" in text
