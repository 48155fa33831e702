"""Row I8: moving averages of variables, against a loop in NumPy, and checkpoints that hold them under other names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import dfc
from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType
from dfc.train import ExponentialMovingAverage, Saver
from tests.frontend_support import error_of

FILE = __file__
VALUES = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
INITIAL = np.array([1.0, -2.0, 3.0], np.float32)
Case = pytest.mark.parametrize(("counted", "debias"), [(False, False), (True, False), (False, True), (True, True)])


def averaged(values: Sequence[Any], decay: float, counted: bool = False, debias: bool = False) -> Any:
    """The average after the last of the values, by its definition."""
    decays = [min(decay, (1 + n) / (10 + n)) if counted else decay for n in range(len(values))]
    if debias:
        weights = [(1 - d) * np.prod(decays[i + 1 :]) for i, d in enumerate(decays)]
        return sum(w * np.asarray(v, np.float64) for w, v in zip(weights, values, strict=True)) / sum(weights)
    found = np.asarray(INITIAL, np.float64)
    for d, value in zip(decays, values, strict=True):
        found = d * found + (1 - d) * value
    return found


@Case
def test_i8_in_a_function(counted: bool, debias: bool) -> None:
    w, n = dfc.Variable(INITIAL, name="w"), dfc.Variable(0, name="n")
    averages = ExponentialMovingAverage(0.9, n if counted else None, debias)

    @dfc.function
    def train(x: Any) -> None:
        w.assign(x)
        averages.apply([w])
        n.assign_add(1)

    for k, x in enumerate(VALUES, 1):
        train(x)
        np.testing.assert_allclose(
            averages.average(w).numpy(), averaged(VALUES[:k], 0.9, counted, debias), rtol=2e-5, atol=1e-6
        )
    np.testing.assert_array_equal(w.numpy(), VALUES[-1])


@Case
@pytest.mark.parametrize("cluster", [True, False])
def test_i8_in_a_graph_it_takes_the_values_after_the_step(counted: bool, debias: bool, cluster: bool) -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (3,))
        w, n = dfc.Variable(INITIAL, name="w"), dfc.Variable(0, name="n")
        averages = ExponentialMovingAverage(0.9, n if counted else None, debias)
        step = w.assign(x)
        with dfc.control_dependencies([step]):
            average = averages.apply([w])
        with dfc.control_dependencies([average]):
            train = n.assign_add(1)
        init = dfc.initialize_all()
    with dfc.Session(graph, config=dfc.SessionConfig(cluster=cluster)) as session:
        session.run(init)
        np.testing.assert_array_equal(session.run(averages.average(w)), INITIAL)
        for k, value in enumerate(VALUES, 1):
            session.run(train, {x: value})
            np.testing.assert_allclose(
                session.run(averages.average(w)), averaged(VALUES[:k], 0.9, counted, debias), rtol=2e-5, atol=1e-6
            )
        session.run(step, {x: INITIAL})
        assert session.run(n) == len(VALUES)


@Case
def test_i8_at_once(counted: bool, debias: bool) -> None:
    w, n = dfc.Variable(INITIAL, name="w"), dfc.Variable(0, name="n")
    averages = ExponentialMovingAverage(0.9, n if counted else None, debias)
    averages.average(w)  # made before the first value, it starts from the initial one
    np.testing.assert_array_equal(averages.average(w).numpy(), INITIAL)
    for value in VALUES:
        w.assign(value)
        averages.apply([w])
        n.assign_add(1)
    np.testing.assert_allclose(
        averages.average(w).numpy(), averaged(VALUES, 0.9, counted, debias), rtol=2e-5, atol=1e-6
    )


def test_i8_debiased_it_is_tensorflows_formula() -> None:
    """The sum of (1 - decay) decay^(t - i) values[i], divided by 1 - decay^t."""
    decay, biased = 0.8, np.zeros(3)
    w = dfc.Variable(INITIAL)
    averages = ExponentialMovingAverage(decay, zero_debias=True)
    for t, value in enumerate(VALUES, 1):
        w.assign(value)
        averages.apply(w)
        biased = decay * biased + (1 - decay) * value
        np.testing.assert_allclose(averages.average(w).numpy(), biased / (1 - decay**t), rtol=1e-5, atol=1e-6)


def test_i8_decay_and_number_of_updates_may_be_variables_and_tensors() -> None:
    w, decay = dfc.Variable(INITIAL), dfc.Variable(0.5)
    averages = ExponentialMovingAverage(decay)

    @dfc.function
    def step(x: Any) -> None:
        w.assign(x)
        averages.apply(w)

    step(VALUES[0])
    decay.assign(0.25)
    step(VALUES[1])
    expected = 0.25 * (0.5 * INITIAL + 0.5 * VALUES[0]) + 0.75 * VALUES[1]
    np.testing.assert_allclose(averages.average(w).numpy(), expected, rtol=1e-6)

    @dfc.function
    def counted(x: Any, n: Any) -> Any:
        moving = ExponentialMovingAverage(0.99, num_updates=n)
        moving.average(v)
        v.assign(x)
        moving.apply(v)
        return moving.average(v).read()

    v = dfc.Variable(INITIAL)
    expected = 4 / 13 * INITIAL + 9 / 13 * VALUES[0]
    np.testing.assert_allclose(counted(VALUES[0], np.int64(3)).numpy(), expected, rtol=1e-6)
    v.assign(INITIAL)
    at_once = ExponentialMovingAverage(0.99, num_updates=dfc.asarray(np.int64(3)))
    at_once.average(v)
    v.assign(VALUES[0])
    at_once.apply(v)
    np.testing.assert_allclose(at_once.average(v).numpy(), expected, rtol=1e-6)


def test_i8_a_decay_close_to_one_keeps_its_digits() -> None:
    """1 - 0.9999 is computed as such, not as the difference of rounded numbers."""
    w = dfc.Variable(np.float32(0))
    averages = ExponentialMovingAverage(0.9999)
    average = averages.average(w)
    w.assign(1.0)
    averages.apply(w)
    np.testing.assert_allclose(average.numpy(), 1e-4, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "complex64"])
def test_i8_it_has_the_variables_dtype_and_is_rounded_once(dtype: str) -> None:
    wide = "float32" if dtype in ("float16", "bfloat16") else dtype
    narrow: Any = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    start, value = INITIAL.astype(narrow), VALUES[0].astype(narrow)
    w = dfc.Variable(start)
    averages = ExponentialMovingAverage(0.75)
    average = averages.average(w)
    w.assign(value)
    averages.apply(w)
    assert average.dtype.name == dtype
    a, b = start.astype(wide), value.astype(wide)
    np.testing.assert_array_equal(average.numpy(), (a + (b - a) * np.float32(0.25).astype(wide)).astype(narrow))


def test_i8_names_and_what_trains() -> None:
    with dfc.name_scope("model"):
        w = dfc.Variable(INITIAL, name="w")
    averages = ExponentialMovingAverage(0.9, zero_debias=True)
    assert averages.average_name(w) == "model/w/ExponentialMovingAverage"
    average = averages.average(w)
    assert averages.average(w) is average and average.name == averages.average_name(w)
    assert not average.trainable and average.shape == (3,)
    assert [v.name for v in averages.variables] == [average.name]
    averages.apply(w)
    assert [v.name for v in averages.variables] == [average.name, f"{average.name}/weight"]
    assert ExponentialMovingAverage(0.9, name="slow").average_name(w) == "model/w/slow"


def test_i8_by_default_of_all_that_the_trace_trains() -> None:
    w, fixed = dfc.Variable(INITIAL, name="w"), dfc.Variable(INITIAL, name="fixed", trainable=False)
    averages = ExponentialMovingAverage(0.5)

    @dfc.function
    def train(x: Any) -> Any:
        loss = dfc.sum((w * fixed - x) ** 2)
        dfc.train.SGD(0.1).minimize(loss, [w])
        averages.apply()
        return loss

    train(np.zeros(3, np.float32))
    assert [v.name for v in averages.variables] == ["w/ExponentialMovingAverage"]
    np.testing.assert_allclose(averages.average(w).numpy(), (INITIAL + w.numpy()) / 2, rtol=1e-6)


def test_i8_what_it_refuses() -> None:
    text = error_of(InvalidArgument, lambda: ExponentialMovingAverage(1.5), FILE)
    assert text == "ExponentialMovingAverage: decay must be 0 to 1, got 1.5"
    averages = ExponentialMovingAverage(0.9)
    count = dfc.Variable(0, name="count")
    text = error_of(InvalidType, lambda: averages.apply([count]), FILE)
    assert text == "ExponentialMovingAverage: variable 'count' must be floating, got int32"
    text = error_of(InvalidType, lambda: averages.average(INITIAL), FILE)  # type: ignore[arg-type]
    assert text.startswith("ExponentialMovingAverage: averages are of variables, got array(")
    with dfc.Graph():
        w = dfc.Variable(INITIAL, name="w")
    text = error_of(FailedPrecondition, lambda: averages.average(w), FILE)
    assert text == (
        "ExponentialMovingAverage: variable 'w' belongs to a graph, and has no average there yet\n"
        "  call average or apply in `with` that graph"
    )


# ---- checkpoints


def test_i8_averages_are_saved_under_the_names_of_variables(tmp_path: Path) -> None:
    """Train with averages; serve with them: the file looks as if they were the variables."""
    w, b = dfc.Variable(INITIAL, name="w"), dfc.Variable(0.0, name="b")
    averages = ExponentialMovingAverage(0.9)

    @dfc.function
    def train(x: Any) -> None:
        w.assign(x)
        b.assign_add(1.0)
        averages.apply([w, b])

    for x in VALUES:
        train(x)
    for_serving = Saver({v.name: averages.average(v) for v in (w, b)}).save(tmp_path / "serve", 6)
    to_go_on = Saver([w, b, *averages.variables]).save(tmp_path / "train", 6)

    served = [dfc.Variable(np.zeros(3, np.float32), name="w"), dfc.Variable(7.0, name="b")]
    Saver(served).restore(for_serving)
    np.testing.assert_allclose(served[0].numpy(), averaged(VALUES, 0.9), rtol=2e-5)
    np.testing.assert_array_equal(served[1].numpy(), averages.average(b).numpy())

    Saver({averages.average_name(v): v for v in served}).restore(to_go_on)
    np.testing.assert_array_equal(served[0].numpy(), averages.average(w).numpy())
    w.assign(INITIAL)
    Saver([w, b, *averages.variables]).restore(to_go_on)
    np.testing.assert_array_equal(w.numpy(), VALUES[-1])
    train(VALUES[0])
    np.testing.assert_allclose(averages.average(w).numpy(), averaged([*VALUES, VALUES[0]], 0.9), rtol=2e-5)


def test_i8_in_a_session(tmp_path: Path) -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (3,))
        w = dfc.Variable(INITIAL, name="w")
        averages = ExponentialMovingAverage(0.9)
        with dfc.control_dependencies([w.assign(x)]):
            train = averages.apply([w])
        shadow = averages.average(w)
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)
        for value in VALUES:
            session.run(train, {x: value})
        path = Saver({"w": shadow}).save(tmp_path, 1, session)
    with dfc.Session(graph) as session:
        Saver([w]).restore(path, session)
        np.testing.assert_allclose(session.run(w), averaged(VALUES, 0.9), rtol=2e-5)
        session.run(shadow.initializer)
        np.testing.assert_array_equal(session.run(shadow), session.run(w)), "from what was restored"


def test_i8_a_variable_made_outside_has_its_average_in_the_graph() -> None:
    w = dfc.Variable(INITIAL, name="w")
    with dfc.Graph() as graph:
        averages = ExponentialMovingAverage(0.5)
        apply = averages.apply([w])
        init = dfc.initialize_all()
    w.assign(VALUES[0])
    with dfc.Session(graph) as session:
        session.run(init)
        w.assign(VALUES[1])
        session.run(apply)
        np.testing.assert_allclose(session.run(averages.average(w)), (VALUES[0] + VALUES[1]) / 2, rtol=1e-6)
