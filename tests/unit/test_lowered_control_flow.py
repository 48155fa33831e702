"""Branches and loops that the host runs: what comes out, and what happened in which order, as Python would have it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.ir.ops.control import ControlFlow
from dfc.passes.lower_control_flow import lower_control_flow


class Log:
    """A queue that notes what happens in a graph."""

    def __init__(self) -> None:
        self.queue = dfc.FIFOQueue(1000, "int32", shapes=[()], name="log")

    def note(self, value: Any) -> None:
        self.queue.enqueue(dfc.astype(dfc.asarray(value), "int32"))

    def fetch(self) -> tuple[Any, Any]:
        return self.queue.size(), self.queue.dequeue_many(dfc.placeholder("int32", (), name="n"))


class Run:
    """A graph with a log, run step by step."""

    def __init__(self, build: Any, cluster: bool = True) -> None:
        with dfc.Graph() as self.graph:
            self.log = Log()
            self.fetches = build(self.log)
            self.size, self.all = self.log.fetch()
            init = dfc.initialize_all()
        self.session = dfc.Session(self.graph, config=dfc.SessionConfig(cluster=cluster))
        self.session.run(init)

    def __call__(self, **feeds: Any) -> tuple[Any, list[int]]:
        found = self.session.run(self.fetches, feeds)
        count = self.session.run(self.size)
        return found, [int(x) for x in self.session.run(self.all, {"n": count})]


# ---- branches


@pytest.mark.parametrize("cluster", [True, False])
def test_effects_of_the_taken_branch_alone(cluster: bool) -> None:
    def build(log: Log) -> Any:
        p, x = dfc.placeholder("bool", (), name="p"), dfc.placeholder("int32", (), name="x")
        v = dfc.Variable(np.int32(0), name="v")

        def yes() -> Any:
            log.note(x * 2)
            v.assign_add(x)
            log.note(v.read())
            return x + 1, 5

        def no() -> Any:
            log.note(100)
            return 7, x

        return dfc.cond(p, yes, no)

    run = Run(build, cluster)
    assert run(p=True, x=5) == ((6, 5), [10, 5])
    assert run(p=False, x=5) == ((7, 5), [100])
    assert run(p=True, x=1) == ((2, 5), [2, 6])


def test_a_branch_that_hands_on_what_it_takes_or_a_constant() -> None:
    def build(log: Log) -> Any:
        p, x = dfc.placeholder("bool", (), name="p"), dfc.placeholder("float32", (2,), name="x")

        def no() -> Any:
            log.note(1)
            return dfc.zeros((2,))

        return dfc.cond(p, lambda: x, no)

    run = Run(build)
    for pred, expected, noted in ((True, [3, 4], []), (False, [0, 0], [1])):
        found, log = run(p=pred, x=np.array([3, 4], np.float32))
        assert found.tolist() == expected
        assert log == noted


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_case(n: int) -> None:
    def build(log: Log) -> Any:
        k = dfc.placeholder("int32", (), name="k")

        def branch(i: int) -> Any:
            def run() -> Any:
                log.note(k * 10 + i)
                return k + 100 * i

            return run

        return dfc.case(k, [branch(i) for i in range(n)])

    run = Run(build)
    for k in range(-1, n + 2):
        i = k if 0 <= k < n else n - 1
        assert run(k=k) == (k + 100 * i, [k * 10 + i])


def test_strings_in_branches() -> None:
    with dfc.Graph() as graph:
        p = dfc.placeholder("bool", (), name="p")
        s = dfc.placeholder("string", (), name="s")
        found = dfc.cond(p, lambda: dfc.strings.join([s, dfc.asarray(b"!")]), lambda: dfc.asarray(b"no"))
    with dfc.Session(graph) as session:
        assert session.run(found, {p: True, s: b"yes"}) == b"yes!"
        assert session.run(found, {p: False, s: b"yes"}) == b"no"


def test_branches_in_branches() -> None:
    def build(log: Log) -> Any:
        p, q = dfc.placeholder("bool", (), name="p"), dfc.placeholder("bool", (), name="q")
        x = dfc.placeholder("int32", (), name="x")

        def inner(base: int) -> Any:
            def yes() -> Any:
                log.note(base + 1)
                return x + base

            def no() -> Any:
                return x - base

            return lambda: dfc.cond(q, yes, no)

        return dfc.cond(p, inner(10), inner(20))

    run = Run(build)
    for p in (True, False):
        for q in (True, False):
            base = 10 if p else 20
            assert run(p=p, q=q, x=3) == (3 + base if q else 3 - base, [base + 1] if q else [])


def test_branches_that_a_device_runs_in_branches_that_the_host_runs() -> None:
    def build(log: Log) -> Any:
        p, q = dfc.placeholder("bool", (), name="p"), dfc.placeholder("bool", (), name="q")
        v = dfc.Variable(np.int32(1), name="v")

        def yes() -> Any:
            log.note(1)
            return dfc.cond(q, lambda: v.assign_add(10).value(), lambda: v.assign(0).value())

        return dfc.cond(p, yes, lambda: v.read())

    run = Run(build)
    assert run(p=False, q=True) == (1, [])
    assert run(p=True, q=True) == (11, [1])
    assert run(p=False, q=False) == (11, [])
    assert run(p=True, q=False) == (0, [1])


# ---- loops


@pytest.mark.parametrize("parallel", [1, 2, 10, 32])
def test_a_loop_whose_iterations_note_their_numbers_in_order(parallel: int) -> None:
    def build(log: Log) -> Any:
        n = dfc.placeholder("int32", (), name="n_times")

        def body(i: Any, total: Any) -> Any:
            log.note(i)
            log.note(total)
            return i + 1, total + i

        return dfc.while_loop(lambda i, t: i < n, body, (0, 0), parallel_iterations=parallel)

    run = Run(build)
    for n in (0, 1, 7):
        expected = [x for i in range(n) for x in (i, sum(range(i)))]
        assert run(n_times=n) == ((n, sum(range(n))), expected)


def test_a_condition_with_effects() -> None:
    def build(log: Log) -> Any:
        def condition(i: Any) -> Any:
            log.note(100 + i)
            return i < 3

        def body(i: Any) -> Any:
            log.note(i)
            return i + 1

        return dfc.while_loop(condition, body, (0,))

    assert Run(build)() == ((3,), [100, 0, 101, 1, 102, 2, 103])


def test_a_loop_that_reads_and_writes_a_variable() -> None:
    def build(log: Log) -> Any:
        v = dfc.Variable(np.int32(1), name="v")

        def body(i: Any) -> Any:
            log.note(v.read())
            v.assign(v * 2)
            return i + 1

        (count,) = dfc.while_loop(lambda i: v.read() < 50, body, (0,))
        return count, v.read()

    run = Run(build)
    (count, _), log = run()
    assert (count, log) == (6, [1, 2, 4, 8, 16, 32])
    assert run.session.run("v") == 64


def test_loops_in_loops_and_branches_in_loops() -> None:
    def build(log: Log) -> Any:
        n = dfc.placeholder("int32", (), name="n_times")

        def inner(i: Any, j: Any, total: Any) -> Any:
            def odd() -> Any:
                log.note(10 * i + j)
                return total + 1

            return j + 1, dfc.cond(dfc.equal(j % 2, 1), odd, lambda: total - i)

        def outer(i: Any, total: Any) -> Any:
            _, total = dfc.while_loop(lambda j, t: j < i, lambda j, t: inner(i, j, t), (0, total))
            return i + 1, total

        return dfc.while_loop(lambda i, t: i < n, outer, (0, 0))

    run = Run(build)
    for n in (0, 1, 2, 6):
        log, total = [], 0
        for i in range(n):
            for j in range(i):
                if j % 2:
                    log.append(10 * i + j)
                    total += 1
                else:
                    total -= i
        assert run(n_times=n) == ((n, total), log)


def test_a_loop_in_a_branch_that_is_not_taken() -> None:
    def build(log: Log) -> Any:
        p = dfc.placeholder("bool", (), name="p")

        def body(i: Any) -> Any:
            log.note(i)
            return i + 1

        def yes() -> Any:
            (i,) = dfc.while_loop(lambda i: i < 3, body, (0,))
            return i

        return dfc.cond(p, yes, lambda: -1)

    run = Run(build)
    assert run(p=False) == (-1, [])
    assert run(p=True) == (3, [0, 1, 2])


def test_a_loop_that_gives_nothing_but_effects() -> None:
    def build(log: Log) -> Any:
        def body(i: Any) -> Any:
            log.note(i)
            return i + 1

        (_,) = dfc.while_loop(lambda i: i < 3, body, (0,))
        return log.queue.size()

    run = Run(build)
    _, log = run()
    assert log == [], "in a graph nothing happens that is not asked for"

    queue = dfc.FIFOQueue(10, "int32", shapes=[()])

    @dfc.function
    def f(n: Any) -> Any:
        def body(i: Any) -> Any:
            queue.enqueue(i)
            return i + 1

        dfc.while_loop(lambda i: i < n, body, (0,))
        return n

    f(dfc.asarray(4))
    assert [int(queue.dequeue()) for _ in range(int(queue.size()))] == [0, 1, 2, 3]


# ---- scans


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cluster", [True, False])
def test_scan(reverse: bool, cluster: bool) -> None:
    def build(log: Log) -> Any:
        xs = dfc.placeholder("int32", (5, 2), name="xs")

        def step(carry: Any, row: Any) -> Any:
            log.note(row[0])
            return carry + row[0], (carry * row, row[1])

        return dfc.scan(step, 0, xs, reverse=reverse)

    xs = np.arange(10).reshape(5, 2).astype(np.int32)
    carry, ys, seconds, log = 0, [None] * 5, [None] * 5, []
    for k in reversed(range(5)) if reverse else range(5):
        log.append(int(xs[k, 0]))
        ys[k], seconds[k] = (carry * xs[k]).tolist(), int(xs[k, 1])
        carry += xs[k, 0]
    (found, (rows, ones)), noted = Run(build, cluster)(xs=xs)
    assert (found, rows.tolist(), ones.tolist(), noted) == (carry, ys, seconds, log)


def test_map_over_strings() -> None:
    with dfc.Graph() as graph:
        s = dfc.placeholder("string", ("n",), name="s")
        found = dfc.map(lambda x: dfc.strings.length(x) * 2, s)
    with dfc.Session(graph) as session:
        for words in ([b"a", b"bcd", b""], [b"xy"]):
            assert session.run(found, {s: np.array(words, object)}).tolist() == [2 * len(w) for w in words]


# ---- sizes that change


def test_a_loop_whose_values_grow() -> None:
    """The documentation's example: concat([m, m]) ten times, from [2, 2]."""

    @dfc.function
    def f(m: Any) -> Any:
        _, grown = dfc.while_loop(
            lambda i, m: i < 10,
            lambda i, m: (i + 1, dfc.concat([m, m], axis=0)),
            (0, m),
            shape_invariants=(None, [None, 2]),
        )
        return grown, dfc.sum(grown)

    grown, total = f(dfc.ones((2, 2)))
    assert grown.shape == (2048, 2)
    assert float(total) == 4096


def test_a_loop_whose_values_grow_and_that_has_effects() -> None:
    def build(log: Log) -> Any:
        def body(i: Any, m: Any) -> Any:
            log.note(dfc.shape(m)[0])
            return i + 1, dfc.concat([m, m * 2.0 + 1.0], axis=0)

        _, grown = dfc.while_loop(lambda i, m: i < 3, body, (0, dfc.zeros((1,))), shape_invariants=(None, [None]))
        return dfc.sum(grown)

    x = np.zeros(1)
    for _ in range(3):
        x = np.concatenate([x, 2 * x + 1])
    assert Run(build)() == (x.sum(), [1, 2, 4])


def test_sizes_that_only_a_queue_tells() -> None:
    with dfc.Graph() as graph:
        log = Log()
        queue = dfc.FIFOQueue(100, "float32", shapes=[(2,)], name="q")
        x = dfc.placeholder("float32", (None, 2), name="x")
        put, got = queue.enqueue_many(x), queue.dequeue_up_to(5)

        def summing(i: Any, total: Any) -> Any:
            log.note(i)
            return i + 1, total + dfc.sum(got * 2.0 + dfc.ones_like(got))

        def growing(i: Any, t: Any) -> Any:
            log.note(i)
            return i + 1, t * 2.0 + got + 1.0

        def noting() -> Any:
            log.note(7)
            return got + 1.0

        _, total = dfc.while_loop(lambda i, t: i < 3, summing, (0, 0.0))
        _, grown = dfc.while_loop(lambda i, t: i < 3, growing, (0, dfc.zeros_like(got)))
        either = dfc.cond(total > 5.0, noting, lambda: got)
        rows = dfc.map(lambda row: (log.note(1), dfc.sum(row))[1], got)
        close = queue.close()
    with dfc.Session(graph) as session:
        for k, (fetch, expected) in enumerate(
            [(total, 90.0), (grown, np.full((5, 2), 14)), (either, np.full((5, 2), 2)), (rows, np.full(5, 2))]
        ):
            session.run(put, {x: np.ones((5, 2), np.float32)})
            np.testing.assert_array_equal(session.run(fetch), expected, err_msg=str(k))
        session.run(put, {x: np.ones((3, 2), np.float32)})
        session.run(close)
        assert session.run(rows).shape == (3,)


# ---- gradients


def nest(host: bool, swap: bool, log: Any, x: Any, n: Any) -> Any:
    """A loop with a loop whose number of iterations depends on data, and a branch, inside."""

    def outer(i: Any, x: Any) -> Any:
        if host:
            log.note(i)
        inner = lambda j, y: (j + 1, dfc.sin(y) * 1.5)  # noqa: E731
        _, y = dfc.while_loop(lambda j, y: j <= i, inner, (0, x), swap_memory=swap)
        if host:
            return i + 1, dfc.cond(y > 0.5, lambda: (log.note(100), y * y)[1], lambda: y + 1.0)
        return i + 1, dfc.cond(y > 0.5, lambda: y * y, lambda: y + 1.0)

    return dfc.while_loop(lambda i, x: i < n, outer, (0, x), swap_memory=swap)[1]


@pytest.mark.parametrize("limit", [None, 1 << 20])
def test_gradients_through_loops_in_loops(limit: int | None) -> None:
    found = []
    for host in (False, True):
        with dfc.Graph() as graph:
            x, n = dfc.placeholder("float32", (), name="x"), dfc.placeholder("int32", (), name="n")
            gradients = dfc.gradients(nest(host, True, Log(), x, n), [x])
        with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=limit)) as session:
            found.append([session.run(gradients, {x: 1.1, n: k})[0] for k in (0, 1, 4, 7)])

    def forward(x: float, n: int) -> float:
        for i in range(n):
            for _ in range(i + 1):
                x = float(np.sin(x)) * 1.5
            x = x * x if x > 0.5 else x + 1
        return x

    expected = [(forward(1.1 + 1e-6, n) - forward(1.1 - 1e-6, n)) / 2e-6 for n in (0, 1, 4, 7)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_through_a_scan(reverse: bool) -> None:
    def build(log: Log) -> Any:
        xs = dfc.placeholder("float32", (4,), name="xs")

        def step(carry: Any, x: Any) -> Any:
            log.note(1)
            return carry * x + 1.0, carry * carry

        last, ys = dfc.scan(step, 0.5, xs, reverse=reverse)
        return dfc.gradients(last + dfc.sum(ys), [xs])[0]

    xs = np.array([0.5, -1, 2, 3], np.float32)

    def forward(xs: Any) -> float:
        carry, total = 0.5, 0.0
        for x in xs[::-1] if reverse else xs:
            total += carry * carry
            carry = carry * x + 1
        return carry + total

    found, log = Run(build)(xs=xs)
    steps = np.eye(4) * 1e-6
    expected = [(forward(xs + d) - forward(xs - d)) / 2e-6 for d in steps]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert log == [1] * 4, "what happened forwards does not happen again"


# ---- Python functions

SCALAR = dfc.TensorSpec((), "float32")


def test_python_functions_in_loops_and_branches_are_called_as_often_as_they_are_reached() -> None:
    calls: list[float] = []

    def host(x: Any) -> Any:
        calls.append(float(x))
        return x * np.float32(2)

    @dfc.function
    def loop(x: Any, n: Any) -> Any:
        body = lambda i, x: (i + 1, dfc.py_call(host, [x], SCALAR) + 1.0)  # noqa: E731
        return dfc.while_loop(lambda i, x: i < n, body, (0, x))[1]

    @dfc.function
    def branch(p: Any, x: Any) -> Any:
        return dfc.cond(p, lambda: dfc.py_call(host, [x], SCALAR), lambda: x)

    assert float(loop(dfc.asarray(1.0), dfc.asarray(3))) == 15
    assert calls == [1, 3, 7]
    assert float(branch(dfc.asarray(False), dfc.asarray(5.0))) == 5
    assert float(branch(dfc.asarray(True), dfc.asarray(5.0))) == 10
    assert calls == [1, 3, 7, 5]


@pytest.mark.parametrize(("parallel", "most"), [(1, 1), (4, 4)])
def test_iterations_overlap_where_nothing_orders_them(parallel: int, most: int) -> None:
    """Row F8, by timestamps: calls without effects that sleep."""
    spans: list[tuple[float, float]] = []

    def slow(i: Any) -> Any:
        start = time.monotonic()
        time.sleep(0.03)
        spans.append((start, time.monotonic()))
        return i

    @dfc.function
    def f(n: Any) -> Any:
        def body(i: Any, total: Any) -> Any:
            return i + 1, total + dfc.py_call(slow, [i], dfc.TensorSpec((), "int32"), stateful=False)

        return dfc.while_loop(lambda i, t: i < n, body, (0, 0), parallel_iterations=parallel)[1]

    assert int(f(dfc.asarray(8))) == 28
    at_once = max(sum(a <= start < b for a, b in spans) for start, _ in spans)
    assert at_once <= most
    assert at_once > 1 or parallel == 1


def test_print_and_assert_in_a_loop(capsys: pytest.CaptureFixture[str]) -> None:
    @dfc.function
    def f(n: Any) -> Any:
        def body(i: Any) -> Any:
            dfc.print("i =", i, stream="stdout")
            dfc.assert_(i < 2, "too large:", i)  # noqa: PT009
            return (i + 1,)

        return dfc.while_loop(lambda i: i < n, body, (0,))[0]

    assert int(f(dfc.asarray(2))) == 2
    assert capsys.readouterr().out == "i = 0\ni = 1\n"
    with pytest.raises(dfc.errors.InvalidArgument, match="too large: 2"):
        f(dfc.asarray(5))


# ---- beside gates that a user made


def test_branches_and_loops_of_values_that_may_be_dead() -> None:
    with dfc.Graph() as graph:
        log = Log()
        p = dfc.placeholder("bool", (), name="p")
        no, yes = dfc.raw.switch(3, p)

        def body(i: Any) -> Any:
            log.note(i)
            return i + 1

        (count,) = dfc.while_loop(lambda i: i < yes, body, (0,))
        chosen = dfc.cond(dfc.equal(yes, 3), lambda: (log.note(9), yes + 1)[1], lambda: yes - 1)
        fetches = dfc.raw.merge(no - 10, count).value, dfc.raw.merge(chosen, no).value
        size = log.queue.size()
    with dfc.Session(graph) as session:
        assert session.run(fetches, {p: False}) == (-7, 3)
        assert session.run(size) == 0
        assert session.run(fetches, {p: True}) == (3, 4)
        assert session.run(size) == 4


def test_values_that_come_one_by_one() -> None:
    """A partial run through a branch and a loop of the host."""
    with dfc.Graph() as graph:
        log = Log()
        x, n = dfc.placeholder("int32", (), name="x"), dfc.placeholder("int32", (), name="n")
        chosen = dfc.cond(x > 0, lambda: (log.note(1), x * 2)[1], lambda: x)

        def body(i: Any, total: Any) -> Any:
            log.note(i)
            return i + 1, total + chosen

        _, total = dfc.while_loop(lambda i, t: i < n, body, (0, 0))
        size = log.queue.size()
    with dfc.Session(graph) as session:
        handle = session.partial_run_setup([chosen, total], [x, n])
        assert session.partial_run(handle, chosen, {x: 5}) == 10
        assert session.run(size) == 1
        assert session.partial_run(handle, total, {n: 3}) == 30
        assert session.run(size) == 4


def test_what_a_device_can_run_stays() -> None:
    @dfc.function
    def f(x: Any) -> Any:
        return dfc.while_loop(lambda x: x < 100.0, lambda x: x * 2.0, (x,))

    program = f.graph(dfc.TensorSpec((), "float32")).module.clone()
    assert lower_control_flow(program) == {"lowered": 0}
    assert sum(isinstance(op, ControlFlow) for op in program.walk()) == 1
