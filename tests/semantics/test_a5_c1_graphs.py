"""Rows A1, A5, C1 and C2 for graphs built by hand: explicit order, and variables whose values are a session's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType, NotFound

# ---- A5: control edges


@pytest.mark.parametrize("cluster", [True, False])
def test_a5_effects_happen_in_the_order_that_control_edges_say(cluster: bool) -> None:
    with dfc.Graph() as graph:
        v = dfc.Variable(1.0, name="v")
        double = v.assign(v * 2)
        with dfc.control_dependencies([double]):
            add = v.assign_add(3.0)
        with dfc.control_dependencies([add]):
            after = v.read()
            with dfc.control_dependencies([]):
                also = v.read()
        with dfc.control_dependencies([after]):
            last = v.assign_sub(1.0)
        init = dfc.initialize_all()
    with dfc.Session(graph, config=dfc.SessionConfig(cluster=cluster)) as session:
        session.run(init)
        assert session.run([after, also]) == [5, 5]
        session.run(last)
        assert session.run(v) == 12
        session.run(double)
        assert session.run(v) == 24, "what is not asked for does not happen"


def test_a5_an_operation_without_effect_waits_by_its_operand() -> None:
    with dfc.Graph() as graph:
        v = dfc.Variable(0, name="v")
        x = dfc.placeholder("int32", (), name="x")
        with dfc.control_dependencies([v.assign_add(1)]):
            y = x + 1
            z = y * 2  # waits already, by y
            const = dfc.asarray(np.array([1, 2]))
            with dfc.control_dependencies(None):
                free = x + 10
        init = dfc.initialize_all()
    assert str(graph).count("df.after") == 1
    with dfc.Session(graph) as session:
        session.run(init)
        for fetch, value, count in ((z, 8, 1), (y, 4, 2), (free, 13, 2), (x, 3, 2)):
            assert session.run(fetch, {x: 3}) == value
            assert session.run(v) == count
        np.testing.assert_array_equal(session.run(const), [1, 2])


def test_a5_group_waits_for_tensors_and_operations() -> None:
    with dfc.Graph() as graph:
        v, w = dfc.Variable(0, name="v"), dfc.Variable(0, name="w")
        add_v = v.assign_add(1)
        add_w = w.assign_add(1).value()
        both = dfc.group(add_v, add_w, dfc.asarray(1), name="both")
        with dfc.control_dependencies([both, add_w]):
            total = v + w
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)
        assert session.run("both") is None
        assert session.run([v, w]) == [1, 1]
        assert session.run(total) == 4
        with graph:
            nothing = dfc.group()
        assert session.run(nothing) is None


def test_a5_in_a_function_they_add_to_program_order() -> None:
    v, w = dfc.Variable(1.0), dfc.Variable(10.0)

    @dfc.function
    def step(x: dfc.Tensor) -> Any:
        add = w.assign_add(v)
        with dfc.control_dependencies([add]):
            y = dfc.identity(x)
            v.assign(w * x)
        return y, v.read()

    y, value = step(dfc.asarray(2.0))
    assert (y.item(), value.item(), v.item(), w.item()) == (2, 22, 22, 11)
    assert dfc.group(v.assign(0.0), w).name == "group", "outside everything has happened"


def test_a5_what_is_refused() -> None:
    with dfc.Graph():
        v = dfc.Variable(0.0)
        other = v.assign(1.0)
    with dfc.Graph():
        foreign = dfc.control_dependencies([other])
        with pytest.raises(FailedPrecondition, match=r"the operation 'variable/assign' belongs to another trace"):
            foreign.__enter__()
        with pytest.raises(InvalidType, match=r"^group: operations and tensors are needed, got 'x'"):
            dfc.group("x")
        with pytest.raises(FailedPrecondition, match=r"^variable 'variable' belongs to another graph"):
            v.read()
    with pytest.raises(FailedPrecondition, match=r"^dfc.placeholder works only in `with dfc.Graph\(\):`"):
        dfc.placeholder("float32")


# ---- C1: variables


def test_c1_a_value_before_the_initializer_is_an_error_that_names_the_variable() -> None:
    with dfc.Graph() as graph:
        v = dfc.Variable([1.0, 2.0], name="scope/v")
        y = dfc.sum(v * 2)
        add = v.assign_add([1.0, 1.0])
        assign = v.assign([5.0, 6.0])
        state = v.is_initialized()
    with dfc.Session(graph) as session:
        assert not session.run(state)
        for fetch in (y, v, add):
            with pytest.raises(FailedPrecondition) as caught:
                session.run(fetch)
            message, line, hint = str(caught.value).splitlines()
            assert message.endswith("Attempting to use uninitialized value 'scope/v'")
            assert line.endswith(": session.run(fetch)")
            assert hint == "  run its initializer before, or the operation that dfc.initialize_all() made in the graph"
        assert not session.run(state)
        session.run(assign)
        assert session.run(state)
        assert session.run(y) == 22
        session.run(v.initializer)
        assert session.run(y) == 6
    with dfc.Session(graph) as session:
        assert not session.run(state), "another session has values of its own"


@pytest.mark.parametrize("size", [3, 5000])
def test_c1_initial_values_of_every_kind(size: int) -> None:
    array = np.arange(size, dtype=np.float32)
    with dfc.Graph() as graph:
        variables = [
            dfc.Variable(array, name="array"),
            dfc.Variable(lambda: array * 2, name="function"),
            dfc.Variable(dfc.asarray(array) + 1, name="tensor"),
            dfc.Variable(lambda: dfc.sum(dfc.asarray(array)), name="graph_function"),
            dfc.Variable([1, 2], name="list", dtype="float64"),
            dfc.Variable(7, name="number"),
        ]
        init = dfc.initialize_all()
    expected = [array, array * 2, array + 1, array.sum(), [1, 2], 7]
    with dfc.Session(graph) as session:
        session.run(init)
        for value, wanted in zip(session.run(variables), expected, strict=True):
            np.testing.assert_array_equal(value, wanted)
        assert session.run("list").dtype == np.float64
    assert ("df.initial_value" in str(graph)) == (size > 1024), "large arrays are not in the graph"


def test_c1_initializers_may_depend_on_each_other_in_any_order() -> None:
    with dfc.Graph() as graph:
        a = dfc.Variable(2.0, name="a")
        b = dfc.Variable(a.read() * 10, name="b")
        c = dfc.Variable(b.initialized_value() + a.read(), name="c")
        init = dfc.initialize_all([c, b, a])
        only_c = c.initializer
        change = a.assign(3.0)
    for first in ([], [change]):
        with dfc.Session(graph) as session:
            for op in first:
                session.run(op)
            session.run(only_c)
            assert session.run(c) == (33 if first else 22)
            for variable in (a, b):
                assert bool(session.run(variable.is_initialized())) == (variable is a and bool(first))
    with dfc.Session(graph) as session:
        session.run(init)
        assert session.run([a, b, c]) == [2, 20, 22]


def test_c1_an_initial_value_is_computed_anew_for_each_session() -> None:
    with dfc.Graph() as graph:
        w = dfc.Variable(lambda: dfc.random.normal((1000,)), name="w")
        init = dfc.initialize_all()
    found = []
    for _ in range(2):
        with dfc.Session(graph) as session:
            session.run(init)
            found.append(session.run(w))
            assert 0.9 < found[-1].std() < 1.1
            session.run(init)
            assert not np.array_equal(session.run(w), found[-1])
    assert not np.array_equal(*found)


def test_c1_draws_in_a_graph_differ_from_step_to_step_and_from_each_other() -> None:
    with dfc.Graph() as graph:
        one, two = dfc.random.uniform((4,)), dfc.random.uniform((4,))
        dropped = dfc.nn.dropout(dfc.ones((64,)), 0.5, training=True)
    with dfc.Session(graph) as session:
        draws = [*session.run([one, two]), *session.run([one, two]), session.run(two)]
        assert len({tuple(draw) for draw in draws}) == 5
        assert not np.array_equal(session.run(dropped), session.run(dropped))


def test_c1_where_a_variable_of_a_graph_has_no_value() -> None:
    with dfc.Graph() as graph:
        v = dfc.Variable(dfc.TensorSpec((2,), "float32"), name="v")
        assert v.initial_value is None and v.shape == (2,) and v.dtype == "float32"
        with pytest.raises(FailedPrecondition, match=r"variable 'v' has no initial value"):
            _ = v.initializer
        assert dfc.initialize_all().name == "initialize_all"
        again = dfc.Variable([0.0], name="v")
        assert again.name == "v_1"
    for use in (v.numpy, v.read, lambda: v.assign([1.0, 2.0]), v.item):
        with pytest.raises(
            FailedPrecondition, match=r"variable 'v' belongs to a graph, and has a value in sessions only"
        ):
            use()
    with pytest.raises(FailedPrecondition, match=r"belongs to a graph, and has a value in steps only"), dfc.Graph():
        dfc.sum(graph.tensor("constant"))
    with dfc.Graph(), pytest.raises(InvalidArgument, match=r"variable 's' needs a static shape"):
        dfc.Variable(dfc.TensorSpec((None,), "float32"), name="s")


def test_c1_the_value_of_a_write_implies_it() -> None:
    with dfc.Graph() as graph:
        v = dfc.Variable(1.0, name="v")
        assigned = v.assign(5.0).value()
        added = v.assign_add(2.0).value()
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)
        assert session.run(added) == 3
        assert session.run(assigned) == 5
        assert session.run(v) == 5


def test_c1_scatter_updates_touch_rows_in_a_session() -> None:
    table = np.zeros((6, 2), np.float32)
    with dfc.Graph() as graph:
        v = dfc.Variable(table, name="table")
        ids = dfc.placeholder("int32", ("n",), name="ids")
        rows = dfc.placeholder("float32", ("n", 2), name="rows")
        update = v.scatter_add(ids, rows)
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)
        for n in (1, 3):
            session.run(update, {ids: np.arange(n), rows: np.ones((n, 2))})
        np.testing.assert_array_equal(session.run(v), [[2, 2], [1, 1], [1, 1], [0, 0], [0, 0], [0, 0]])


# ---- functions in graphs, and the graphs of functions


def test_a1_a_function_called_in_a_graph_brings_its_effects_with_its_results() -> None:
    count = dfc.Variable(0, name="count")

    @dfc.function
    def counted(x: dfc.Tensor) -> Any:
        count.assign_add(1)
        return x * 2, x + 1

    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (), name="x")
        double, _ = counted(x)
        loss = double * double
        (g,) = dfc.gradients(loss, [x])
    with dfc.Session(graph) as session:
        assert session.run(double, {x: 3}) == 6
        assert count.item() == 1
        assert session.run([loss, g], {x: 3}) == [36, 24]
        assert count.item() == 2
        assert session.run(loss, {double: 1, x: 3}) == 1
        assert count.item() == 2


def test_a1_the_graph_of_a_function_is_a_graph() -> None:
    w = dfc.Variable([[1.0], [2.0]], name="w")

    @dfc.function
    def predict(x: dfc.Tensor, scale: float) -> dict[str, Any]:
        h = dfc.identity(dfc.matmul(x, w), name="h")
        return {"y": h * scale, "z": (dfc.sum(h), w.assign_add([[1.0], [1.0]]))}

    with dfc.Session(predict, dfc.TensorSpec(("n", 2), "float32"), 3.0) as session:
        x = np.array([[1, 1], [2, 0]], np.float32)
        y, h = session.run(["y", "h"], {"x": x})
        np.testing.assert_array_equal(y, [[9], [6]])
        np.testing.assert_array_equal(h, [[3], [2]])
        assert w.numpy().ravel().tolist() == [1, 2], "what is not fetched does not happen"
        assert session.run("z.0", {"h": [[1.0], [1.0]]}) == 2
        with pytest.raises(InvalidArgument, match=r"You must feed a value for placeholder tensor 'x'"):
            session.run("y")
        with pytest.raises(NotFound, match="there is no tensor called 'q'"):
            session.run("q")
        with pytest.raises(FailedPrecondition, match="the graph of the function 'predict' is complete"):
            session.graph.__enter__()


OPTIMIZERS: list[Callable[[], Any]] = [
    lambda: dfc.train.SGD(0.1),
    lambda: dfc.train.Momentum(0.1, 0.9, use_nesterov=True),
    lambda: dfc.train.Adam(dfc.train.schedules.CosineDecay(0.1, steps=20)),
    lambda: dfc.train.AdaGrad(0.1),
    lambda: dfc.train.Accumulate(dfc.train.Adam(0.1), 3),
    lambda: dfc.train.LossScale(dfc.train.Momentum(0.1), growth_interval=4),
    lambda: dfc.train.LBFGS(0.5),
]


@pytest.mark.parametrize("cluster", [True, False])
@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a1_training_in_a_session_is_training_in_a_function(make: Callable[[], Any], cluster: bool) -> None:
    random = np.random.default_rng(0)
    x, target = random.normal(size=(16, 3)).astype("float32"), random.normal(size=(16, 1)).astype("float32")

    def build(optimizer: Any) -> tuple[list[dfc.Variable], Callable[[Any, Any], Any]]:
        weights = [dfc.Variable(np.full((3, 1), 0.5, np.float32), name="w"), dfc.Variable([0.0], name="b")]

        def loss_of(x: Any, y: Any) -> Any:
            return dfc.mean((dfc.matmul(x, weights[0]) + weights[1] - y) ** 2)

        def train(x: Any, y: Any) -> Any:
            loss = loss_of(x, y)
            if isinstance(optimizer, dfc.train.LBFGS):
                return loss, optimizer.minimize(lambda: loss_of(x, y), weights)
            return loss, optimizer.minimize(loss, weights)

        return weights, train

    expected, train = build(make())
    step = dfc.function(lambda x, y: train(x, y)[0])
    for _ in range(7):
        step(x, target)
    with dfc.Graph() as graph:
        px, py = dfc.placeholder("float32", ("n", 3)), dfc.placeholder("float32", ("n", 1))
        weights, train_in_graph = build(make())
        _, operation = train_in_graph(px, py)
        init = dfc.initialize_all()
    with dfc.Session(graph, config=dfc.SessionConfig(cluster=cluster)) as session:
        session.run(init)
        for _ in range(7):
            session.run(operation, {px: x, py: target})
        for found, wanted in zip(session.run(weights), expected, strict=True):
            np.testing.assert_allclose(found, wanted.numpy(), rtol=2e-5, atol=1e-6)


def test_a1_batch_normalisation_moves_its_averages_with_its_output() -> None:
    with dfc.Graph() as graph:
        layer = dfc.nn.BatchNorm(2, momentum=0.5)
        x = dfc.placeholder("float32", ("n", 2), name="x")
        y = layer(x, training=True)
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)
        session.run(y, {x: np.array([[1, 2], [3, 6]], np.float32)})
        np.testing.assert_allclose(session.run(layer.mean), [1, 2])
