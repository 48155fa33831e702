"""Rows B5 to B8: many steps at once, feeds over several calls, callables, and steps that are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

import dfc
from dfc.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, InvalidType
from dfc.frontend import subtrace
from dfc.passes import manager
from dfc.runtime import programs


def in_threads(n: int, work: Callable[[int], None]) -> None:
    failures: list[BaseException] = []

    def guarded(index: int) -> None:
        try:
            work(index)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("use_locking", [True, False])
def test_b5_concurrent_steps_lose_no_update(use_locking: bool) -> None:
    with dfc.Graph() as graph:
        v = dfc.Variable(0, name="v")
        add = v.assign_add(1, use_locking=use_locking)
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)
        in_threads(8, lambda index: [session.run(add) for _ in range(1000)] and None)
        assert session.run(v) == 8000


def test_b5_sessions_have_values_of_their_own_and_share_those_made_outside() -> None:
    shared = dfc.Variable(0.0, name="shared")
    with dfc.Graph() as graph:
        own = dfc.Variable(0.0, name="own")
        add = dfc.group(own.assign_add(1.0), shared.assign_add(1.0))
        init = dfc.initialize_all()
    with dfc.Session(graph) as one, dfc.Session(graph) as two:
        for session in (one, two):
            session.run(init)
        one.run(add)
        one.run(add)
        two.run(add)
        assert (one.run(own), two.run(own)) == (2, 1)
        assert one.run(shared) == two.run(shared) == shared.item() == 3


def test_b5_steps_that_share_no_variable_share_no_lock() -> None:
    """Nor do they after a step that reads the variables of both."""
    with dfc.Graph() as graph:
        a, b = dfc.Variable(0.0, name="a"), dfc.Variable(0.0, name="b")
        add_a, add_b, both = a.assign_add(1.0), b.assign_add(1.0), a + b
        init_a, init_b = a.initializer, b.initializer
    with dfc.Session(graph) as session:
        for op in (init_a, init_b, add_a, add_b):
            session.run(op)
        holders = [session.state_of(v).locate()[0] for v in (a, b)]
        assert holders[0] is not holders[1]
        assert session.run(both) == 2
        holders = [session.state_of(v).locate()[0] for v in (a, b)]
        assert holders[0] is not holders[1] and holders[0].lock is not holders[1].lock


def test_b6_feeds_arrive_over_several_calls() -> None:
    with dfc.Graph() as graph:
        a, b, c = (dfc.placeholder("float32", (), name=name) for name in "abc")
        r1 = a + b
        r2 = r1 * c
    with dfc.Session(graph) as session:
        h = session.partial_run_setup([r1, r2], [a, b, c])
        assert session.partial_run(h, r1, {a: 1, b: 2}) == 3
        assert session.partial_run(h, r2, {c: 3}) == 9
        h = session.partial_run_setup([r1, r2], [a, b, c])
        assert session.partial_run(h, [], {c: 3}) == []
        assert session.partial_run(h, [r2, {"r1": r1}], {b: 2, a: 5}) == [21, {"r1": 7}]


def test_b6_an_effect_happens_once_when_what_it_needs_is_there() -> None:
    with dfc.Graph() as graph:
        a, b = (dfc.placeholder("float32", (), name=name) for name in "ab")
        v = dfc.Variable(0.0, name="v")
        add, total = v.assign_add(a), a + b
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)
        h = session.partial_run_setup([add, total], [a, b])
        assert session.partial_run(h, add, {a: 4}) is None
        assert session.run(v) == 4
        assert session.partial_run(h, total, {b: 1}) == 5
        assert session.run(v) == 4


def test_b6_shapes_may_be_known_with_the_feeds_only() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", ("n", 2), name="x")
        y = dfc.placeholder("float32", ("n",), name="y")
        s = dfc.sum(x, axis=1)
        z = dfc.sum(s * y)
    with dfc.Session(graph) as session:
        for n in (1, 3):
            h = session.partial_run_setup([s, z], [x, y])
            ones = np.ones((n, 2), np.float32)
            np.testing.assert_array_equal(session.partial_run(h, s, {x: ones}), np.full(n, 2))
            assert session.partial_run(h, z, {y: np.arange(n, dtype=np.float32)}) == n * (n - 1)
        h = session.partial_run_setup([s, z], [x, y])
        session.partial_run(h, s, {x: np.ones((2, 2))})
        with pytest.raises(InvalidArgument, match=r"which has shape .n., where n = 2 by other feeds"):
            session.partial_run(h, z, {y: [1, 2, 3]})


def test_b6_what_is_refused() -> None:
    with dfc.Graph() as graph:
        a, b = (dfc.placeholder("float32", (), name=name) for name in "ab")
        r = a + b
        other = a * 2
    with dfc.Session(graph) as session, dfc.Session(graph) as another:
        h = session.partial_run_setup([r], [a, b])
        with pytest.raises(InvalidArgument, match=r"^what is fetched needs a feed that has not come: 'b' was named"):
            session.partial_run(h, r, {a: 1})
        with pytest.raises(InvalidArgument, match=r"^Tensor 'a' was fed before"):
            session.partial_run(h, r, {a: 1})
        with pytest.raises(InvalidArgument, match=r"^'multiply' was not among the fetches of the setup"):
            session.partial_run(h, other, {b: 1})
        with pytest.raises(InvalidType, match="partial_run needs what this session's partial_run_setup gave"):
            another.partial_run(h, r, {b: 1})
        assert session.partial_run(h, r, {b: 1}) == 2, "an error before anything ran changes nothing"
        with pytest.raises(InvalidArgument, match=r"^You must feed a value for placeholder tensor 'b'"):
            session.partial_run_setup([r], [a])
        h = session.partial_run_setup([other], [a])
        with pytest.raises(InvalidArgument, match=r"^Tensor 'b' was not among the feeds of the setup"):
            session.partial_run(h, other, {a: 1, b: 1})


def test_b6_a_step_that_has_ended_takes_nothing_more() -> None:
    with dfc.Graph() as graph:
        a, b = (dfc.placeholder("float32", (), name=name) for name in "ab")
        logarithm = dfc.check_numerics(dfc.log(a), "logarithm")
        never, r = dfc.FIFOQueue(1, "float32", shapes=[()]).dequeue(), a + b
    with dfc.Session(graph) as session:
        h = session.partial_run_setup([logarithm, r], [a, b])
        with pytest.raises(InvalidArgument, match="logarithm: tensor had Inf values"):
            session.partial_run(h, logarithm, {a: 0})
        with pytest.raises(FailedPrecondition) as caught:
            session.partial_run(h, r, {b: 1})
        message, line, hint = str(caught.value).splitlines()
        assert message == "the step of this handle has ended: logarithm: tensor had Inf values"
        assert line.endswith(": session.partial_run(h, r, {b: 1})")
        assert hint == "  begin another with partial_run_setup"
        assert isinstance(caught.value.__cause__, InvalidArgument)
        h = session.partial_run_setup([never, r], [a, b])
        with pytest.raises(DeadlineExceeded):
            session.partial_run(h, never, timeout=0.01)
        with pytest.raises(FailedPrecondition, match=r"^the step of this handle has ended: the time limit passed"):
            session.partial_run(h, r, {a: 1, b: 1})


def test_b7_a_callable_is_run_by_position() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", ("n",), name="x")
        k = dfc.placeholder("int32", (), name="k")
        y = dfc.sum(x) * k
        v = dfc.Variable(1.0, name="v")
        add = v.assign_add(y)
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)
        call = session.make_callable([y, {"op": add}], [k, x])
        for x_value, k_value in (([1, 2], 3), (np.ones(4, np.float32), np.array(2, np.int32)), ([1, 2], 5)):
            assert call(k_value, x_value) == session.run([y, {"op": add}], {x: x_value, k: k_value})
        assert session.make_callable(v)() == session.run(v)
        with pytest.raises(
            InvalidType, match=r"^make_callable: the callable takes 2 values, got 1\n  at .*: call\(1\)$"
        ):
            call(1)
        with pytest.raises(InvalidArgument, match="Cannot feed value of shape"):
            call([1, 2], [1, 2])


def test_b8_a_second_run_traces_places_and_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", ("n",), name="x")
        y = dfc.sum(dfc.exp(x))
        z = dfc.sum(x)
    with dfc.Session(graph) as session:
        three, four = np.ones(3, np.float32), np.ones(4, np.float32)
        run = session.make_callable(y, [x])
        for value in (three, four):
            session.run(y, {x: value})
        session.run([y, z], {x: three})
        assert session.stats.compiled == 3, "a step for each set of fetches and shapes"

        def never(*args: object, **kwargs: object) -> None:
            raise AssertionError("this must not run again")

        monkeypatch.setattr(manager, "run", never)
        monkeypatch.setattr(subtrace, "trace", never)
        monkeypatch.setattr(programs.xla, "compile_program", never)
        for value in (three, four):
            assert session.run(y, {x: value}) == session.run(y, {"x": value.tolist()}) == run(value)
            assert session.run({"a": [y, y]}, {x: value})["a"] == [run(value.tolist()), run(value)]
        session.run((y, {"z": z}), {x: three})
        assert session.stats.compiled == 3


def test_b8_a_list_of_fetches_may_change_between_runs() -> None:
    """The step is found by what is fetched, also where a new tensor has the address of one that is gone."""
    with dfc.Graph() as graph:
        dfc.identity(dfc.asarray(0.0), name="zero")
        dfc.identity(dfc.asarray(1.0), name="one")
    with dfc.Session(graph) as session:
        fetches = [graph.tensor("zero")]
        place = id(fetches[0])
        assert session.run(fetches) == [0]
        fetches.clear()
        others = [graph.tensor("one") for _ in range(1000)]
        fetches += [tensor for tensor in others if id(tensor) == place] or others[:1]
        assert session.run(fetches) == [1]


def test_b8_the_graph_may_grow_while_sessions_run_it() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (), name="x")
        y = x + 1
    session = dfc.Session(graph)
    assert session.run(y, {x: 1}) == 2
    with graph:
        z = y * 10
        v = dfc.Variable(5.0)
        total = z + v
    assert session.run(z, {x: 1}) == 20
    with pytest.raises(FailedPrecondition, match="Attempting to use uninitialized value 'variable'"):
        session.run(total, {x: 1})
    session.run(v.initializer)
    assert session.run(total, {x: 1}) == 25
    assert session.run(y, {x: 2}) == 3
    assert session.stats.compiled == 4
    session.close()
