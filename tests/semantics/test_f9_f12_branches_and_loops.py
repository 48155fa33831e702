"""Rows F9, F10, F12 and A7: branches and loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.errors import InvalidArgument, InvalidType
from tests.frontend_support import error_of

FLOAT, INT, BOOL = dfc.TensorSpec((), "float32"), dfc.TensorSpec((), "int32"), dfc.TensorSpec((), "bool")


def error(kind: Any, body: Callable[..., Any], *specs: dfc.TensorSpec) -> str:
    return error_of(kind, lambda: dfc.function(body).graph(*specs), __file__)


# ---- F9


def test_f9_one_branch_runs_and_both_are_traced_once() -> None:
    traced: list[str] = []

    def doubled(x: Any) -> Any:
        traced.append("true")
        return x * 2

    def negated(x: Any) -> Any:
        traced.append("false")
        return -x

    @dfc.function
    def f(p: Any, x: Any) -> Any:
        return dfc.cond(p, doubled, negated, x)

    for p, x in [(True, 3.0), (False, 3.0), (True, 4.0)]:
        assert f(np.bool_(p), np.float32(x)).item() == (2 * x if p else -x)
    assert traced == ["true", "false"]


def test_f9_only_the_taken_branch_has_effects() -> None:
    a, b = dfc.Variable(0.0), dfc.Variable(0.0)

    @dfc.function
    def f(p: Any) -> Any:
        return dfc.cond(p, lambda: a.assign_add(1.0), lambda: b.assign_add(10.0))

    for p in (True, True, False):
        f(np.bool_(p))
    assert (a.item(), b.item()) == (2, 10)


def test_f9_a_write_in_a_branch_comes_after_reads_before_it_and_before_reads_after_it() -> None:
    v = dfc.Variable(1.0)

    @dfc.function
    def f(p: Any) -> Any:
        before = v + 0.0
        inside = dfc.cond(p, lambda: _add(v), lambda: v + 0.0)
        return before, inside, v + 0.0

    assert [t.item() for t in f(np.bool_(True))] == [1, 6, 6]
    assert [t.item() for t in f(np.bool_(False))] == [6, 6, 6]


def _add(v: Any) -> Any:
    v.assign_add(5.0)
    return v + 0.0


def test_f9_nested_and_captured_values_and_structures() -> None:
    @dfc.function
    def f(p: Any, q: Any, x: Any) -> Any:
        y = x * x

        def inner() -> Any:
            return dfc.cond(q, lambda: {"a": y + 1, "b": (x,)}, lambda: {"a": y - 1, "b": (y,)})

        return dfc.cond(p, inner, lambda: {"a": x, "b": (-y,)})

    x = np.float32(3)
    for p, q, a, b in [(1, 1, 10, 3), (1, 0, 8, 9), (0, 1, 3, -9), (0, 0, 3, -9)]:
        got = f(np.bool_(p), np.bool_(q), x)
        assert (got["a"].item(), got["b"][0].item()) == (a, b)


def test_f9_a_number_takes_the_dtype_of_the_other_branch() -> None:
    f = dfc.function(lambda p, x: dfc.cond(p, lambda: 0, lambda: x))
    assert f(np.bool_(True), np.float32(2)).dtype == dfc.float32
    assert f(np.bool_(True), np.float32(2)).item() == 0


@pytest.mark.parametrize("p", [True, False])
def test_f9_a_python_bool_is_refused(p: bool) -> None:
    message = (
        f"cond: pred must not be a Python bool, got {p}: which branch is taken is known already\n  use Python's own if"
    )
    assert error(InvalidType, lambda x: dfc.cond(p, lambda: x, lambda: x), FLOAT) == message
    with pytest.raises(TypeError, match="must not be a Python bool"):
        dfc.cond(p, lambda: 1, lambda: 2)


@pytest.mark.parametrize(
    ("kind", "f", "specs", "message"),
    [
        (InvalidType, lambda x: dfc.cond(x, lambda: x, lambda: x), [FLOAT], "pred must be of dtype bool, got float32"),
        (InvalidArgument, lambda p: dfc.cond(p, lambda: 1, lambda: 2), [dfc.TensorSpec((2,), "bool")],
         "pred must be a scalar, got bool[2]"),
        (InvalidType, lambda p, x: dfc.cond(p, lambda: (x, x), lambda: x), [BOOL, FLOAT],
         "all branches must return the same structure, got (., .) from true_fn and . from false_fn"),
        (InvalidArgument, lambda p, x: dfc.cond(p, lambda: x, lambda: dfc.astype(x, "float64")), [BOOL, FLOAT],
         "all branches must return tensors of the same shape and dtype, got float32[] from true_fn and float64[] from "
         "false_fn"),
        (InvalidType, lambda p: dfc.cond(p, 3, lambda: 2), [BOOL], "true_fn must be callable, got 3"),
        (InvalidType, lambda p: dfc.cond(p, lambda: 1, lambda x: 2), [BOOL],
         "false_fn must take 0 arguments, the operands, got a function of (x)"),
    ],
)  # fmt: skip
def test_f9_what_does_not_fit(kind: Any, f: Any, specs: Any, message: str) -> None:
    assert error(kind, f, *specs) == f"cond: {message}"


def test_f9_branches_that_are_no_functions_of_the_operands() -> None:
    def pairs(p: Any) -> Any:
        return dfc.case([(p, min)], max)

    message = "case: branch_fns must be a sequence of functions, got <built-in function max>"
    assert error(InvalidType, pairs, BOOL) == message
    message = "case: branch_fns[1] must take 1 argument, the operands, got a function of (a, b)"
    assert error(InvalidType, lambda k: dfc.case(k, [lambda a: a, lambda a, b: a], k), INT) == message


def test_f9_case_counts_branches_and_takes_the_last_one_out_of_range() -> None:
    f = dfc.function(lambda k, x: dfc.case(k, [lambda: x, lambda: x * 10, lambda: x * 100]))
    got = [f(np.int32(k), np.float32(2)).item() for k in (-1, 0, 1, 2, 3, 100)]
    assert got == [200, 2, 20, 200, 200, 200]
    assert [dfc.case(dfc.asarray(k), [lambda: 0, lambda: 1]) for k in (-5, 0, 1, 2)] == [1, 0, 1, 1]


def test_f9_in_a_graph() -> None:
    with dfc.Graph() as graph:
        v = dfc.Variable(0.0, name="v")
        p, x = dfc.placeholder("bool", ()), dfc.placeholder("float32", ())
        y = dfc.cond(p, lambda: x * 2 + _add(v), lambda: x)
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)
        assert session.run(y, {p: True, x: 4}) == 13
        assert session.run(y, {p: False, x: 4}) == 4
        assert session.run(v) == 5


def test_f9_a_branch_waits_for_what_is_outside() -> None:
    """Before and inside of it."""
    for inside in (False, True):
        with dfc.Graph() as graph:
            v, p = dfc.Variable(0.0, name="v"), dfc.placeholder("bool", ())
            up = v.assign_add(1.0)

            def read(inside: bool = inside, up: Any = up, v: Any = v) -> Any:
                with dfc.control_dependencies([up] if inside else []):
                    return v + 0.0

            with dfc.control_dependencies([] if inside else [up]):
                y = dfc.cond(p, read, lambda: -1.0)
            init = dfc.initialize_all()
        with dfc.Session(graph) as session:
            session.run(init)
            assert [session.run(y, {p: taken}) for taken in (True, False, True)] == [1, -1, 3]


# ---- F10


def test_f10_sum_of_squares() -> None:
    """The example of TensorFlow's documentation: n = 10 gives 285."""

    @dfc.function
    def f(n: Any) -> Any:
        return dfc.while_loop(lambda i, s: i < n, lambda i, s: (i + 1, s + i * i), (0, 0))

    i, total = f(np.int32(10))
    assert (i.item(), total.item()) == (10, 285)
    assert [t.item() for t in f(np.int32(0))] == [0, 0]


class Pair(NamedTuple):
    j: Any
    k: Any


def test_f10_a_nest_keeps_its_structure() -> None:
    """Doubling a pair five times: (1, 2) becomes (32, 64)."""

    @dfc.function
    def f() -> Any:
        start = (dfc.asarray(0), Pair(dfc.asarray(1), dfc.asarray(2)))
        return dfc.while_loop(lambda i, p: i < 5, lambda i, p: (i + 1, Pair(p.j * 2, p.k * 2)), start)

    i, pair = f()
    assert type(pair) is Pair
    assert (i.item(), pair.j.item(), pair.k.item()) == (5, 32, 64)


def test_f10_one_variable_and_a_dict() -> None:
    f = dfc.function(lambda x: dfc.while_loop(lambda v: v < 100.0, lambda v: v * 2, x))
    assert f(np.float32(3)).item() == 192
    g = dfc.function(lambda x: dfc.while_loop(lambda d: d["x"] < 100.0, lambda d: {"x": d["x"] * 2}, {"x": x}))
    assert g(np.float32(3))["x"].item() == 192
    h = dfc.function(lambda x: dfc.while_loop(lambda v: v < 100.0, lambda v: v * 2, [x]))
    (last,) = h(np.float32(3))
    assert last.item() == 192


def test_f10_cond_and_body_are_traced_once_and_the_program_does_not_grow() -> None:
    calls = {"cond": 0, "body": 0}

    def cond(i: Any, x: Any, n: Any) -> Any:
        calls["cond"] += 1
        return i < n

    def body(i: Any, x: Any, n: Any) -> Any:
        calls["body"] += 1
        return i + 1, x * 2, n

    f = dfc.function(lambda x, n: dfc.while_loop(cond, body, (0, x, n))[1])
    for n in (0, 1, 7, 20):
        assert f(np.float32(1), np.int32(n)).item() == 2.0**n
    assert calls == {"cond": 1, "body": 1}


@pytest.mark.parametrize(("most", "count"), [(0, 0), (3, 3), (100, 10)])
@pytest.mark.parametrize("known", [True, False])
def test_f10_maximum_iterations_ends_the_loop(most: int, count: int, known: bool) -> None:
    @dfc.function
    def f(m: Any) -> Any:
        bound = most if known else m
        return dfc.while_loop(lambda i: i < 10, lambda i: i + 1, 0, maximum_iterations=bound)

    assert f(np.int32(most)).item() == count
    assert dfc.while_loop(lambda i: i < 10, lambda i: i + 1, 0, maximum_iterations=most).item() == count


def test_f10_variables_are_read_and_written_in_the_body_in_order() -> None:
    v, seen = dfc.Variable(1.0), dfc.Variable(np.zeros(6, np.float32))

    @dfc.function
    def f(n: Any) -> Any:
        def body(i: Any) -> Any:
            seen.scatter_update(dfc.reshape(i, (1,)), dfc.reshape(v + 0.0, (1,)))
            v.assign(v * 2)
            return i + 1

        dfc.while_loop(lambda i: (i < n) & (v < 16.0), body, 0)
        return v + 0.0

    assert f(np.int32(3)).item() == 8
    assert_array_equal(seen.numpy(), [1, 2, 4, 0, 0, 0])
    assert f(np.int32(6)).item() == 16, "the condition reads what the body wrote"


@pytest.mark.parametrize(
    ("kind", "f", "message"),
    [
        (InvalidArgument, lambda x: dfc.while_loop(lambda: True, lambda: (), ()),
         "there must be loop variables, got ()"),
        (InvalidType, lambda x: dfc.while_loop(3, lambda v: v, x), "cond must be callable, got 3"),
        (InvalidType, lambda x: dfc.while_loop(lambda v: v > 0, None, x), "body must be callable, got None"),
        (InvalidType, lambda x: dfc.while_loop(lambda i: i < 3, lambda i, v: (i + 1, v), (0, x)),
         "cond must take 2 arguments, the loop variables, got a function of (i)"),
        (InvalidType, lambda x: dfc.while_loop(lambda v: v > 0, lambda i, v: (i, v), x),
         "body must take 1 argument, the loop variables, got a function of (i, v)"),
        (InvalidType, lambda x: dfc.while_loop(lambda v: v, lambda v: v, x),
         "cond must return a scalar of dtype bool, got float32[]"),
        (InvalidType, lambda x: dfc.while_loop(lambda a, b: a > b, lambda a, b: a, (x, x)),
         "the body must return the structure of the loop variables, (., .), got ."),
        (InvalidArgument, lambda x: dfc.while_loop(lambda v: v > 0, lambda v: dfc.astype(v, "float64"), x),
         "the value must keep its shape and dtype, float32[], got float64[] after one iteration\n"
         "  dtypes are not promoted: convert what goes in, or what the body returns"),
        (InvalidArgument, lambda x: dfc.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, dfc.stack([v, v])), (0, x)),
         "the shape of loop variable '1' is not an invariant of the loop: it enters with float32[], and is float32[2] "
         "after one iteration\n  give shape_invariants with None for the sizes that change"),
        (InvalidArgument, lambda x: dfc.while_loop(lambda v: v > 0, lambda v: v, x, parallel_iterations=0),
         "parallel_iterations must be a positive int, got 0"),
        (InvalidArgument, lambda x: dfc.while_loop(lambda v: v > 0, lambda v: v, x, maximum_iterations=-1),
         "maximum_iterations must not be negative, got -1"),
        (InvalidType, lambda x: dfc.while_loop(lambda v: v > 0, lambda v: v, x, maximum_iterations=x),
         "maximum_iterations must be an integer scalar, got float32[]"),
    ],
)  # fmt: skip
def test_f10_what_does_not_fit(kind: Any, f: Any, message: str) -> None:
    assert error(kind, f, FLOAT) == f"while_loop: {message}"


def test_f10_an_invariant_that_does_not_fit_the_start() -> None:
    def f(m: Any) -> Any:
        return dfc.while_loop(lambda m: True, lambda m: m, m, shape_invariants=[None, 3])

    message = "while_loop: the shape invariant of loop variable '' must fit its initial shape [2, 2], got [None, 3]"
    assert error(InvalidArgument, f, dfc.TensorSpec((2, 2), "float32")) == message


@pytest.mark.parametrize("parallel", [1, 2, 10, 32])
def test_f10_parallel_iterations_change_no_result(parallel: int) -> None:
    @dfc.function
    def f(n: Any) -> Any:
        return dfc.while_loop(lambda i, s: i < n, lambda i, s: (i + 1, s + i), (0, 0), parallel_iterations=parallel)[1]

    assert f(np.int32(50)).item() == 1225


@pytest.mark.parametrize("shape", [(), (2,)])
def test_f10_at_once(shape: tuple[int, ...]) -> None:
    """Outside a trace."""
    x = np.full(shape, 1.5, np.float32)
    _, y = dfc.while_loop(lambda i, v: i < 4, lambda i, v: (i + 1, v * v), (0, x))
    assert_allclose(y.numpy(), x**16, rtol=1e-6)
    with pytest.raises(ValueError, match="there must be loop variables"):
        dfc.while_loop(lambda: True, lambda: (), ())


def test_f10_in_a_graph_fed_and_fetched() -> None:
    with dfc.Graph() as graph:
        n = dfc.placeholder("int32", ())
        i, x = dfc.while_loop(lambda i, x: i < n, lambda i, x: (i + 1, x + dfc.astype(i, "float32")), (0, 0.0))
        double = x * 2
    with dfc.Session(graph) as session:
        assert session.run([i, double], {n: 4}) == [4, 12]
        assert session.run(double, {x: 5.0}) == 10, "what a loop gives may be fed"


def test_f10_fori_loop_goes_from_lower_to_upper() -> None:
    @dfc.function
    def f(a: Any, b: Any, x: Any) -> Any:
        return dfc.fori_loop(a, b, lambda i, v: v + dfc.astype(i, "float32"), x)

    for a, b in [(0, 5), (3, 7), (5, 5), (7, 3), (-2, 2)]:
        assert f(np.int32(a), np.int32(b), np.float32(1)).item() == 1 + sum(range(a, b))
    g = dfc.function(lambda x: dfc.fori_loop(2, 6, lambda i, v: v * dfc.astype(i, "float32"), x))
    assert g(np.float32(1)).item() == 120
    assert dfc.fori_loop(2, 6, lambda i, v: v * i, 1).item() == 120


# ---- F12


def inner_tensors() -> tuple[dfc.Graph, Any, Any, dict[str, Any]]:
    kept: dict[str, Any] = {}
    with dfc.Graph() as graph:
        p, x = dfc.placeholder("bool", ()), dfc.placeholder("float32", ())

        def taken() -> Any:
            kept["cond"] = x * 2
            return kept["cond"]

        def body(v: Any) -> Any:
            kept["while_loop"] = v * 2
            return kept["while_loop"]

        out = dfc.cond(p, taken, lambda: x) + dfc.while_loop(lambda v: v < 10.0, body, x)
    return graph, {p: True, x: 1.0}, out, kept


@pytest.mark.parametrize(("what", "op"), [("cond", "if"), ("while_loop", "while")])
def test_f12_what_is_inside_is_neither_fetched_nor_fed(what: str, op: str) -> None:
    graph, feeds, out, kept = inner_tensors()
    with dfc.Session(graph) as session:
        assert session.run(out, feeds) == 18
        with pytest.raises(ValueError, match=rf"has been marked as not fetchable: .* inside {op}"):
            session.run(kept[what], feeds)
        with pytest.raises(ValueError, match=rf"may not be fed: .* inside {op}"):
            session.run(out, {**feeds, kept[what]: 3.0})
