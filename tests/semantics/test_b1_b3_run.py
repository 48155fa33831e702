"""Rows B1 to B3: fetches mirror their nest, only what they need runs, and any tensor may be fed."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidArgument, InvalidType, NotFound

Pair = namedtuple("Pair", "left right")


@dataclass
class Both:
    first: Any
    second: Any


@pytest.fixture
def graph() -> dfc.Graph:
    with dfc.Graph() as g:
        x = dfc.placeholder("float32", (2,), name="x")
        h = dfc.identity(x * 2, name="h")
        dfc.identity(dfc.sum(h), name="y")
        counter = dfc.Variable(0, name="counter")
        counter.assign_add(1)
        dfc.initialize_all()
    return g


X = np.array([1, 2], np.float32)


def test_b1_the_result_has_the_nest_of_the_fetches(graph: dfc.Graph) -> None:
    h, y = graph.tensor("h"), graph.tensor("y")
    with dfc.Session(graph) as session:
        nest = {"a": [h, y], "b": (y, Pair(h, {"c": "y:0"})), "d": Both(y, [])}
        found = session.run(nest, {"x": X})
        assert list(found) == ["a", "b", "d"] and type(found["b"]) is tuple
        assert type(found["b"][1]) is Pair and type(found["d"]) is Both
        np.testing.assert_array_equal(found["a"][0], [2, 4])
        np.testing.assert_array_equal(found["b"][1].left, [2, 4])
        assert found["a"][1] == found["b"][0] == found["b"][1].right["c"] == found["d"].first == 6
        assert found["d"].second == []
        assert type(found["a"][1]) is np.float32, "a scalar is a NumPy scalar"
        assert type(found["a"][0]) is np.ndarray and found["a"][0].flags.owndata and found["a"][0].flags.writeable


def test_b1_an_operation_gives_none(graph: dfc.Graph) -> None:
    add = graph.operation("counter/assign_add")
    with dfc.Session(graph) as session:
        assert session.run("initialize_all") is None
        assert session.run([add, graph.tensor("y"), {"again": add}], {"x": X}) == [None, 6, {"again": None}]
        assert session.run(add) is None
        assert session.run("counter") == 2, "each run has the effect once, however often it is fetched"


def test_b1_what_cannot_be_fetched(graph: dfc.Graph) -> None:
    with dfc.Graph():
        other = dfc.placeholder("float32", (), name="other")
    with dfc.Session(graph) as session:
        with pytest.raises(NotFound, match=r"the tensor .*other.* is not an element of the graph 'graph'"):
            session.run(other)
        with pytest.raises(NotFound, match=r"there is no tensor called 'nothing' in the graph 'graph'"):
            session.run("nothing")
        with pytest.raises(NotFound, match=r"there is no tensor called 'h:1' in the graph 'graph'"):
            session.run("h:1")
        with pytest.raises(InvalidType, match=r"Session.run: a fetch is a tensor, an operation or a name, got 3"):
            session.run([graph.tensor("h"), 3])
        graph.prevent_fetching(graph.tensor("h"))
        with pytest.raises(InvalidArgument, match=r"Tensor h has been marked as not fetchable"):
            session.run("h")


def test_b2_only_what_the_fetches_need_runs(graph: dfc.Graph) -> None:
    """A counter beside the path stays; a feed cuts the counter upstream off as well."""
    with graph:
        counter = graph.variables["counter"]
        step = counter.assign_add(1)
        counted = dfc.identity(dfc.astype(step.value(), "float32") * 0 + dfc.sum(graph.tensor("x")), name="counted")
        after = counted + 1
        with dfc.control_dependencies([step]):
            forced = dfc.identity(after)
    with dfc.Session(graph) as session:
        session.run("initialize_all")
        assert session.run("y", {"x": X}) == 6
        assert session.run(counter) == 0
        assert session.run(after, {"x": X}) == 4
        assert session.run(counter) == 1
        assert session.run(after, {counted: np.float32(10)}) == 11, "x is not needed either"
        assert session.run(counter) == 1
        assert session.run(forced, {counted: np.float32(10)}) == 11
        assert session.run(counter) == 2, "a control dependency is needed whatever is fed"


def test_b2_what_is_fetched_twice_is_computed_once(graph: dfc.Graph) -> None:
    add = graph.operation("counter/assign_add")
    with graph:
        value = graph.variables["counter"].assign_add(1).value()
        several = [value + k for k in range(3)]
    with dfc.Session(graph) as session:
        session.run("initialize_all")
        assert session.run(several) == [1, 2, 3]
        session.run([add, add, [add]])
        assert session.run("counter") == 2


def test_b3_any_tensor_may_be_fed(graph: dfc.Graph) -> None:
    h, y = graph.tensor("h"), graph.tensor("y")
    with dfc.Session(graph) as session:
        assert session.run(y, {h: np.array([10, 20], np.float32)}) == 30
        found = session.run([y, h], {h: [5, 6]})
        assert found[0] == 11
        np.testing.assert_array_equal(found[1], [5, 6])
        assert session.run(y, {y: 3.5}) == 3.5, "what is fed and fetched is what was fed"
        assert session.run(y, {"x": X, h: [1, 1]}) == 2, "a feed that is not needed does no harm"
        assert session.run(y, {"x": X}) == 6, "the next step is as if nothing had been fed"


def test_b3_feeding_what_a_variable_gives_leaves_the_variable_alone() -> None:
    with dfc.Graph() as graph:
        w = dfc.Variable([1.0, 2.0], name="w")
        value = w.read()
        y = dfc.sum(value * 10)
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        assert session.run(y, {value: [3, 4]}) == 70, "no value is needed"
        session.run(init)
        assert session.run(y) == 30
        assert session.run(y, {value: [3, 4]}) == 70
        np.testing.assert_array_equal(session.run(w), [1, 2])


def test_b3_feeds_of_other_kinds(graph: dfc.Graph) -> None:
    """Python numbers and lists, arrays of other dtypes of a fitting kind, concrete tensors, arrays of JAX."""
    import jax.numpy as jnp

    with dfc.Session(graph) as session:
        for x in ([1, 2], (1.0, 2.0), np.array([1, 2]), np.array([1.0, 2.0]), dfc.asarray([1.0, 2.0]), jnp.asarray(X)):
            assert session.run("y", {"x": x}) == 6
        assert session.run("y", {graph.tensor("x"): np.array([1, 2], np.int64)}) == 6


def test_b3_a_fed_value_counts_as_if_computed_in_gradients() -> None:
    """Row G9's last sentence: the cut comes after differentiation."""
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (), name="x")
        h = x * x
        y = h * h * x
        (by_x,) = dfc.gradients(y, [x])
        (by_h,) = dfc.gradients(y, [h])
    with dfc.Session(graph) as session:
        assert session.run(by_x, {x: 3.0}) == pytest.approx(5 * 81)
        # y = h^2 x with h = 2, x = 3 where h is fed: dy/dh dh/dx + dy/dx = 2 h x * 2 x + h^2
        assert session.run(by_x, {x: 3.0, h: 2.0}) == pytest.approx(2 * 2 * 3 * 6 + 4)
        assert session.run(by_h, {x: 3.0, h: 2.0}) == pytest.approx(12)
        assert session.run([y, by_h, h], {x: 3.0, h: 2.0}) == pytest.approx([12, 12, 2])


def test_b3_fed_memory_is_the_callers_again_when_the_call_returns() -> None:
    """What a queue, a barrier or an accumulator keeps is no view of it."""
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        xs = dfc.placeholder("float32", (None, 2), name="xs")
        queue = dfc.FIFOQueue(8, "float32", shapes=[(2,)])
        barrier = dfc.Barrier(["float32"], shapes=[()])
        accumulator = dfc.ConditionalAccumulator("float32", (2,))
        with dfc.control_dependencies([queue.size()]):
            after = dfc.identity(x)
        puts = {
            "enqueue": queue.enqueue(x),
            "after another": queue.enqueue(after),
            "enqueue_many": queue.enqueue_many(xs),
            "insert_many": barrier.insert_many(0, ["a", "b"], x),
            "apply_grad": accumulator.apply_grad(x, local_step=9),
        }
        element, batch, gradient = queue.dequeue(), barrier.take_many(2)[2], accumulator.take_grad(1)
    takes = {"insert_many": batch, "apply_grad": gradient}
    with dfc.Session(graph) as session:
        for what, put in puts.items():
            many = what == "enqueue_many"
            for run in (session.run, lambda *args: session.submit(*args).result(60)):
                fed = np.array([[1, 2]] if many else [1, 2], np.float32)
                run(put, {xs if many else x: fed})
                fed[:] = 9
                np.testing.assert_array_equal(np.ravel(session.run(takes.get(what, element), timeout=60)), [1, 2], what)
                if what == "insert_many":
                    break  # the keys are there once


def test_b3_a_step_has_what_was_fed_when_it_was_fed() -> None:
    with dfc.Graph() as graph:
        x, z = dfc.placeholder("int32", (), name="x"), dfc.placeholder("int32", (), name="z")
        queue = dfc.FIFOQueue(1, "int32", shapes=[()])
        go, waited = queue.enqueue(0), queue.dequeue()
        with dfc.control_dependencies([waited]):
            y = x * 2
        total = x + z
    with dfc.Session(graph) as session:
        fed = np.array(3, np.int32)
        step = session.submit([x, y], {x: fed})
        handle = session.partial_run_setup([x, total], [x, z])
        assert session.partial_run(handle, x, {x: fed}) == 3
        fed[...] = 9
        session.run(go)
        assert step.result(60) == [3, 6]
        assert session.partial_run(handle, total, {z: 1}) == 4
