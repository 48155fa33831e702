"""Row B4: what is wrong with a run is said before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType, NotFound


@pytest.fixture
def graph() -> dfc.Graph:
    with dfc.Graph() as g:
        x = dfc.placeholder("float32", (None, 3), name="x")
        n = dfc.placeholder("int32", (), name="n")
        s = dfc.placeholder("string", (2,), name="s")
        dfc.identity(dfc.sum(x), name="y")
        dfc.identity(n + 1, name="m")
        dfc.identity(dfc.strings.length(s), name="lengths")
    return g


def test_b4_a_closed_session(graph: dfc.Graph) -> None:
    session = dfc.Session(graph)
    run = session.make_callable("m", ["n"])
    assert session.run("m", {"n": 1}) == run(1) == 2
    session.close()
    calls: list[Callable[[], Any]] = [
        lambda: session.run("m", {"n": 1}),
        lambda: run(1),
        lambda: session.make_callable("m"),
        lambda: session.submit("m", {"n": 1}),
        lambda: session.partial_run_setup("m", ["n"]),
    ]
    for call in calls:
        with pytest.raises(
            FailedPrecondition, match=r"^Attempted to use a closed Session\.\n  at .*test_b4_feed_errors"
        ):
            call()
    assert issubclass(FailedPrecondition, RuntimeError)


def test_b4_an_empty_graph() -> None:
    with dfc.Session(dfc.Graph()) as session, pytest.raises(FailedPrecondition, match=r"^The Session graph is empty"):
        session.run([])


SHAPE = "Cannot feed value of shape {} for Tensor 'x', which has shape (x_0, 3)"


@pytest.mark.parametrize(
    ("feeds", "kind", "message"),
    [
        ({"x": np.ones((2, 4))}, InvalidArgument, SHAPE.format("(2, 4)")),
        ({"x": np.ones(3)}, InvalidArgument, SHAPE.format("(3,)")),
        ({"x": 1.0}, InvalidArgument, SHAPE.format("()")),
        ({"n": [1, 2]}, InvalidArgument, "Cannot feed value of shape (2,) for Tensor 'n', which has shape ()"),
        ({"n": 3_000_000_000}, InvalidType,
         "Type of feed value 3000000000 is not compatible with Tensor type int32 of 'n': it is out of range"),
        ({"n": 10**30}, InvalidType, f"Type of feed value {10**30} is not compatible with Tensor type int32 of 'n'"),
        ({"n": np.float32(1)}, InvalidType,
         "Type of feed value np.float32(1.0), float32, is not compatible with Tensor type int32 of 'n'"),
        ({"n": "three"}, InvalidType, "Type of feed value 'three', <U5, is not compatible with Tensor type int32"),
        ({"s": [1, 2]}, InvalidType, "Type of feed value [1, 2] is not compatible with Tensor type string of 's'"),
        ({"z": 1}, InvalidType,
         "Cannot interpret feed_dict key as Tensor: there is no tensor called 'z' in the graph 'graph'"),
        ({7: 1}, InvalidType, "Cannot interpret feed_dict key as Tensor: it is a int, and neither a tensor nor a name"),
    ],
)  # fmt: skip
def test_b4_feeds_that_do_not_fit(graph: dfc.Graph, feeds: Any, kind: type[Exception], message: str) -> None:
    with dfc.Session(graph) as session:
        with pytest.raises(kind) as caught:
            session.run("y", feeds)
        assert message in str(caught.value)
    assert issubclass(InvalidType, TypeError) and issubclass(InvalidArgument, ValueError)


def test_b4_a_tensor_as_a_value(graph: dfc.Graph) -> None:
    with graph:
        w = dfc.Variable(np.zeros((1, 3), np.float32))
    with dfc.Session(graph) as session:
        for value in (graph.tensor("y"), w):
            with pytest.raises(InvalidType, match="The value of a feed cannot be a Tensor object"):
                session.run("y", {"x": value})


def test_b4_a_tensor_that_may_not_be_fed(graph: dfc.Graph) -> None:
    y = graph.tensor("y")
    assert graph.is_feedable(y)
    graph.prevent_feeding(y)
    assert not graph.is_feedable(y)
    with dfc.Session(graph) as session:
        for key in (y, "y"):
            with pytest.raises(InvalidArgument, match=r"^Tensor y may not be fed\.\n  at .*test_b4_feed_errors"):
                session.run("y", {key: 1.0})


def test_b4_one_tensor_twice(graph: dfc.Graph) -> None:
    with dfc.Session(graph) as session, pytest.raises(InvalidArgument, match=r"^Tensor n is fed twice"):
        session.run("m", {"n": 1, graph.tensor("n"): 2})


def test_b4_a_placeholder_that_is_not_fed(graph: dfc.Graph) -> None:
    with dfc.Session(graph) as session:
        with pytest.raises(InvalidArgument) as caught:
            session.run("y")
        message = str(caught.value)
        assert message.startswith("You must feed a value for placeholder tensor 'x' with dtype float32\n  at ")
        assert 'x = dfc.placeholder("float32", (None, 3), name="x")' in message, "the user's line"
        with pytest.raises(InvalidArgument, match="You must feed a value for placeholder tensor 'n' with dtype int32"):
            session.run("m", {"x": np.ones((1, 3))})
        assert session.run("y", {"x": np.ones((1, 3))}) == 3, "an error leaves the session as it was"


def test_b4_sizes_that_do_not_go_together() -> None:
    with dfc.Graph() as graph:
        a = dfc.placeholder("float32", ("n",), name="a")
        b = dfc.placeholder("float32", ("n",), name="b")
        c = dfc.sum(a * b)
    with dfc.Session(graph) as session:
        assert session.run(c, {a: [1, 2], b: [3, 4]}) == 11
        with pytest.raises(InvalidArgument) as caught:
            session.run(c, {a: [1, 2], b: [3, 4, 5]})
        message, line = str(caught.value).splitlines()
        assert message == (
            "Cannot feed value of shape (3,) for Tensor 'b', which has shape (n), where n = 2 by other feeds"
        )
        assert line.endswith(": session.run(c, {a: [1, 2], b: [3, 4, 5]})")


def test_b4_each_way_to_run_names_the_line_of_the_call(graph: dfc.Graph) -> None:
    with dfc.Session(graph) as session:
        handle = session.partial_run_setup(["m"], ["n"])
        call = session.make_callable("m", ["n"])
        for run in (
            lambda: session.run("m", {"n": "x"}),
            lambda: session.submit("m", {"n": "x"}),
            lambda: session.partial_run(handle, "m", {"n": "x"}),
            lambda: call("x"),
        ):
            with pytest.raises(InvalidType) as caught:
                run()
            message, line = str(caught.value).splitlines()
            assert message == "Type of feed value 'x', <U1, is not compatible with Tensor type int32 of 'n'"
            assert line.startswith(f"  at {__file__}:") and '"x"' in line
        for find in (lambda: session.make_callable("none"), lambda: session.partial_run_setup(["none"])):
            with pytest.raises(
                NotFound, match=r"there is no tensor called 'none' in the graph 'graph'\n  at .*\"none\""
            ):
                find()


def test_b4_feeds_that_are_no_dict_and_time_limits_that_are_no_number(graph: dfc.Graph) -> None:
    m, n = graph.tensor("m"), graph.tensor("n")
    with dfc.Session(graph) as session:
        for run in (session.run, session.submit):
            with pytest.raises(InvalidType, match=r"^feeds are a dict of values by tensors or their names, got \[\("):
                run(m, [(n, 1)])
            with pytest.raises(InvalidType, match=r"^a time limit is a number of seconds, got '1'\n  at "):
                run(m, {n: 1}, timeout="1")
        handle = session.partial_run_setup([m], [n])
        with pytest.raises(InvalidType, match=r"^a time limit is a number of seconds, got '1'"):
            session.partial_run(handle, m, {n: 1}, timeout="1")
        assert len(session._state.running) == 1, "that of the handle"
        assert session.run(m, {n: 1}, timeout=np.float32(60)) == session.run(m, {n: 1})
