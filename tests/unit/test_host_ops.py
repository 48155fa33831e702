"""`dfc.print`, `dfc.assert_` and `dfc.check_numerics`: what they say, when, and in which order."""

# ruff: noqa: PT009 - dfc.assert_ is no method of unittest
from __future__ import annotations

import contextlib
import io
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import DfcError, FailedPrecondition, Internal, InvalidArgument, InvalidType, NoGradient, Unimplemented
from dfc.ir.op import short_name
from dfc.ir.ops.function import Island
from dfc.runtime import executor
from dfc.runtime.step import clustered
from dfc.runtime.workers import WORKERS
from tests.frontend_support import error_of
from tests.host_support import EVERYWHERE, X, how
from tests.unit.test_workers import PATIENCE, until

S = dfc.TensorSpec
FILE = __file__


def printed(call: Callable[[], Any], stream: str = "stdout") -> str:
    """What the call writes to `sys.stdout` or `sys.stderr`."""
    redirect: Any = contextlib.redirect_stdout if stream == "stdout" else contextlib.redirect_stderr
    with redirect(io.StringIO()) as file:
        call()
    return str(file.getvalue())


# ---- print


@EVERYWHERE
def test_values_are_printed_as_numpy_prints_them(kind: str) -> None:
    variable = dfc.Variable([5], name="v")

    def body(x: Any, table: Any, text: Any) -> Any:
        return dfc.print("x", x, 3, None, 0.5, table, text, dfc.asarray("ü\n"), x > 0, variable, x[0])

    table = np.arange(40, dtype=np.int64).reshape(8, 5)
    text = np.array([["a", b"\xff", "it's", "tab\t"]], object)
    assert printed(lambda: how(kind)(body, X, table, text)) == (
        "x [ 1. -2.  3.] 3 None 0.5 [[ 0  1  2  3  4]\n"
        " [ 5  6  7  8  9]\n"
        " [10 11 12 13 14]\n"
        " ...\n"
        " [25 26 27 28 29]\n"
        " [30 31 32 33 34]\n"
        " [35 36 37 38 39]] [['a' '\\xff' \"it's\" 'tab\\t']] ü\n"
        " [ True False  True] [5] 1.0\n"
    )


@pytest.mark.parametrize(
    ("summarize", "expected"),
    [
        (3, "[0 1 2 ... 7 8 9]\n"),
        (1, "[0 ... 9]\n"),
        (np.int64(4), "[0 1 2 3 ... 6 7 8 9]\n"),
        (5, "[0 1 2 3 4 5 6 7 8 9]\n"),
        (-1, "[0 1 2 3 4 5 6 7 8 9]\n"),
    ],
)
@EVERYWHERE
def test_summaries(kind: str, summarize: int, expected: str) -> None:
    x = np.arange(10, dtype=np.int32)
    assert printed(lambda: how(kind)(lambda x: dfc.print(x, summarize=summarize), x)) == expected


def test_everything_is_printed_of_a_large_array() -> None:
    text = printed(lambda: dfc.function(lambda x: dfc.print(x, summarize=-1))(np.arange(5000, dtype=np.int32)))
    assert [int(word) for word in text.strip("[]\n").split()] == list(range(5000))


@EVERYWHERE
def test_separators_streams_and_nests(kind: str) -> None:
    def body(x: Any) -> Any:
        return dfc.print([x, "a"], {"k": (x, 1), 2: {"deep": x}}, [1, "b"], (x,), sep=" | ", end=".", stream="stderr")

    x = np.array([1, 2], np.int32)
    expected = "[[1 2], 'a'] | {'k': ([1 2], 1), 2: {'deep': [1 2]}} | [1, 'b'] | ([1 2],)."
    assert printed(lambda: how(kind)(body, x), "stderr") == expected
    assert printed(lambda: how(kind)(lambda x: dfc.print(sep=None, end=None), x)) == "\n"


@pytest.mark.parametrize("waits", [False, True])
def test_numpys_options_are_those_of_the_caller(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On whichever thread the print runs: where it waits for a device that is one of dfc's."""
    if waits:
        monkeypatch.setattr(executor, "is_computed", lambda value: False)
    f = dfc.function(lambda x: dfc.print(x / 3))
    with np.printoptions(precision=2):
        assert printed(lambda: f(X)) == "[ 0.33 -0.67  1.  ]\n"


def test_a_print_is_one_write_to_what_the_stream_is_then() -> None:
    class File(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.writes: list[str] = []

        def write(self, text: str) -> int:
            self.writes.append(text)
            return len(text)

    f = dfc.function(lambda x, i: dfc.print("line", i, x, sep="-"))
    f(X, dfc.asarray(0))
    file = File()
    with contextlib.redirect_stdout(file):
        threads = [
            threading.Thread(target=lambda n=n: [f(X, dfc.asarray(100 * n + i)) for i in range(50)]) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    expected = {f"line-{100 * n + i}-[ 1. -2.  3.]\n" for n in range(4) for i in range(50)}
    assert sorted(file.writes) == sorted(expected)


def test_a_stream_that_lacks_characters_gets_escapes() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, "ascii", write_through=True)
    with contextlib.redirect_stdout(file):
        dfc.print("ü", dfc.asarray("ß"))
    assert raw.getvalue() == b"\\xfc \\xdf\n"


def test_a_closed_stream_is_an_error_with_the_line() -> None:
    file = io.StringIO()
    file.close()
    with contextlib.redirect_stdout(file):
        text = error_of(Internal, lambda: dfc.function(lambda x: dfc.print(x))(X), FILE)
    assert text == "print: ValueError: I/O operation on closed file"


def test_prints_happen_in_program_order_with_other_effects() -> None:
    @dfc.function
    def inner(x: Any) -> Any:
        dfc.print("inner", x)
        return x + 1

    @dfc.function
    def f(x: Any) -> Any:
        for i in range(3):
            dfc.py_call(lambda i=i: time.sleep(0.01 - 0.003 * i) or print("call", i), [], None)
            dfc.print("step", i)
        x = inner(inner(x))
        dfc.assert_(x < 3, message="too large")
        dfc.print("never")
        return x

    expected = "call 0\nstep 0\ncall 1\nstep 1\ncall 2\nstep 2\ninner 1\ninner 2\n"

    def run() -> None:
        with pytest.raises(InvalidArgument, match="assertion failed: too large"):
            f(dfc.asarray(1))

    assert printed(run) == expected


def test_in_a_graph_a_print_happens_when_it_is_fetched_or_depended_on() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (3,), name="x")
        with dfc.name_scope("log"):
            shown = dfc.print(x, name="shown")
        assert repr(shown) == "<dfc.Operation 'log/shown'>"
        with dfc.control_dependencies([shown]):
            y = x + 1
        z = x * 2
        assert dfc.print("a").name == "print"
        assert dfc.print("b").name == "print_1"
    with dfc.Session(graph) as session:
        assert printed(lambda: session.run(shown, {x: X})) == "[ 1. -2.  3.]\n"
        assert printed(lambda: session.run("log/shown", {x: X})) == "[ 1. -2.  3.]\n"
        assert printed(lambda: session.run(y, {x: X})) == "[ 1. -2.  3.]\n"
        assert printed(lambda: session.run(z, {x: X})) == ""
        assert printed(lambda: session.run(graph.operation("print_1"))) == "b\n"


def test_calling_a_function_that_prints_in_a_graph_prints() -> None:
    @dfc.function
    def f(x: Any) -> Any:
        dfc.print("f", x)
        return x + 1

    with dfc.Graph() as graph:
        y = f(dfc.asarray([1]))
    with dfc.Session(graph) as session:
        assert printed(lambda: session.run(y)) == "f [1]\n"


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: dfc.print(X, stream="file"), InvalidArgument, "the stream must be 'stdout' or 'stderr', got 'file'"),
        (lambda: dfc.print(X, sep=1), InvalidType, "sep must be a string or None, got 1"),
        (lambda: dfc.print(X, summarize="all"), InvalidType, "summarize must be an integer, got 'all'"),
    ],
)
@pytest.mark.parametrize("traced", [False, True])
def test_wrong_prints(traced: bool, call: Callable[[], Any], kind: type[DfcError], message: str) -> None:
    assert error_of(kind, lambda: dfc.function(call)() if traced else call(), FILE) == f"print: {message}"


# ---- assert_


@EVERYWHERE
def test_what_holds_says_nothing(kind: str) -> None:
    def body(x: Any) -> Any:
        dfc.assert_(x[0] > 0)
        dfc.assert_(x < 4, x, message="m")
        done = dfc.assert_([True, x[1] < 0])
        with dfc.control_dependencies([done, dfc.assert_(True)]):
            return x + 1

    assert np.asarray(how(kind)(body, X)).tolist() == [2.0, -1.0, 4.0]


@EVERYWHERE
@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda x: dfc.assert_(x > 0), "assertion failed"),
        (lambda x: dfc.assert_(x[1] > 0, message="must be positive"), "assertion failed: must be positive"),
        (lambda x: dfc.assert_(x > 0, x, "of", [x, 1], summarize=1, message="m"),
         "assertion failed: m: [1. ... 3.] of [[1. ... 3.], 1]"),
        (lambda x: dfc.assert_(x > 0, "x is", x), "assertion failed: x is [ 1. -2.  3.]"),
        (lambda x: dfc.assert_(False, dfc.asarray(["a"])), "assertion failed: ['a']"),
        (lambda x: dfc.assert_(np.array([True, False])), "assertion failed"),
        (lambda x: dfc.assert_(dfc.strings.as_string(x) == "1.0", message="strings"), "assertion failed: strings"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_an_error_with_the_data(kind: str, check: Callable[[Any], Any], message: str) -> None:
    def body(x: Any) -> Any:
        with dfc.control_dependencies([check(x)]):
            return x + 1

    assert error_of(InvalidArgument, lambda: how(kind)(body, X), FILE) == f"assert: {message}"


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("condition", [1, X, "yes", dfc.asarray(X)])
def test_a_condition_is_boolean(traced: bool, condition: Any) -> None:
    call = lambda: dfc.assert_(condition)  # noqa: E731
    got = {int: "int32[]", str: "string[]"}.get(type(condition), "float32[3]")
    text = error_of(InvalidType, lambda: dfc.function(call)() if traced else call(), FILE)
    assert text == f"assert: the condition must be boolean, got {got}"


def test_what_is_known_to_hold_costs_nothing() -> None:
    """In a step of assertions that hold there is one island and nothing else."""

    @dfc.function
    def f(x: Any) -> Any:
        dfc.assert_(True)
        dfc.assert_(x.shape[0] == 3, x)
        dfc.assert_(dfc.asarray([True, True]))
        dfc.assert_(dfc.zeros(3) < 1, x)  # known once constants are folded
        return x * 2

    func = clustered(f.graph(S((3,))).module, "f", {})
    assert [type(op) for op in func.block.ops][:-1] == [Island]
    assert f(X).numpy().tolist() == [2.0, -4.0, 6.0]


def test_only_the_condition_comes_to_the_host() -> None:
    """The data stays on the device until there is something to show."""
    taken: list[Any] = []
    f = dfc.function(lambda x: dfc.assert_(x[0] > 0, x))
    from dfc.runtime import flow

    before = flow.on_host
    f(X)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(flow, "on_host", lambda value: taken.append(value.shape) or before(value))
        f(X)
    assert taken == [()]


# ---- check_numerics

NAN, INF = float("nan"), float("inf")


@EVERYWHERE
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"])
def test_finite_numbers_pass(kind: str, dtype: str) -> None:
    x = dfc.astype(dfc.asarray([[1.0, -2.0]]), dtype).numpy()
    for array in (x, x[0, 0], x[:, :0]):
        result = np.asarray(how(kind)(lambda x: dfc.check_numerics(x, "m"), array))
        assert result.dtype == x.dtype
        np.testing.assert_array_equal(result, array)


@EVERYWHERE
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, NAN, NAN], "tensor had NaN values (2 NaN of 3 elements, the first at [1])"),
        ([[1, 2], [-INF, 3]], "tensor had Inf values (1 Inf of 4 elements, the first at [1, 0])"),
        ([[1, INF], [NAN, NAN]], "tensor had NaN and Inf values (2 NaN, 1 Inf of 4 elements, the first at [0, 1])"),
        (NAN, "tensor had NaN values"),
        (INF, "tensor had Inf values"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_others_are_an_error(kind: str, values: Any, message: str, dtype: str) -> None:
    x = dfc.astype(dfc.asarray(values), dtype).numpy()
    text = error_of(InvalidArgument, lambda: how(kind)(lambda x: dfc.check_numerics(x, "the loss") * 2, x), FILE)
    assert text == f"check_numerics: the loss: {message}"
    text = error_of(InvalidArgument, lambda: how(kind)(lambda x: dfc.check_numerics(x), x), FILE)
    assert text == f"check_numerics: {message}"


@EVERYWHERE
@pytest.mark.parametrize("x", [np.array([1, 2]), np.array([True]), np.array(["nan"])])
def test_what_has_no_nans_passes(kind: str, x: Any) -> None:
    result = np.asarray(how(kind)(lambda x: dfc.check_numerics(x), x))
    assert result.tolist() == ([b"nan"] if x.dtype.kind == "U" else x.tolist())


def test_what_uses_the_result_waits_for_the_check() -> None:
    v = dfc.Variable(X)

    @dfc.function
    def f(x: Any) -> Any:
        v.assign(dfc.check_numerics(1 / x, "reciprocal"))

    f(X)
    assert v.numpy().tolist() == (1 / X).tolist()
    text = error_of(InvalidArgument, lambda: f(np.array([1, 0, 1], np.float32)), FILE)
    assert text == "check_numerics: reciprocal: tensor had Inf values (1 Inf of 3 elements, the first at [1])"
    assert v.numpy().tolist() == (1 / X).tolist()


def test_in_a_function_it_is_checked_whether_or_not_the_result_is_used() -> None:
    @dfc.function
    def inner(x: Any) -> Any:
        dfc.check_numerics(x, "inner")
        return x + 1

    for f in (inner, dfc.function(lambda x: inner(x)), dfc.function(lambda x: inner(x) * 0)):
        assert f(X).shape == (3,)
        text = error_of(InvalidArgument, lambda f=f: f(np.array([NAN, 1, 2], np.float32)), FILE)
        assert text == "check_numerics: inner: tensor had NaN values (1 NaN of 3 elements, the first at [0])"


def test_in_a_graph_it_is_checked_when_the_result_is_needed() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (3,), name="x")
        checked = dfc.check_numerics(x)
        y = x + 1
    wrong = np.array([NAN, 1, 2], np.float32)
    with dfc.Session(graph) as session:
        assert session.run(y, {x: wrong})[1] == 2
        with pytest.raises(InvalidArgument, match="tensor had NaN values"):
            session.run(checked, {x: wrong})
        assert session.run(checked, {x: X}).tolist() == X.tolist()


def test_checks_of_several_values_are_not_ordered_among_themselves() -> None:
    """Two calls of a function with a check are one island on each side."""

    @dfc.function
    def layer(x: Any) -> Any:
        dfc.check_numerics(x, "layer")
        return x * 2

    f = dfc.function(lambda x: layer(x) + layer(x + 1), name="f")
    func = clustered(f.graph(S((3,))).module, "f", {})
    names = [short_name(op) for op in func.block.ops]
    assert names.count("island") == 1
    assert names.count("check_numerics") == 2


def test_x_itself_stays_on_the_device() -> None:
    taken: list[Any] = []
    f = dfc.function(lambda x: dfc.check_numerics(x * 2) + 1)
    from dfc.runtime import flow

    before = flow.on_host
    f(X)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(flow, "on_host", lambda value: taken.append(value.shape) or before(value))
        f(X)
    assert taken == [()]


def test_gradients_pass_through_to_second_order() -> None:
    def cube(x: Any) -> Any:
        return dfc.sum(dfc.check_numerics(x, "x") ** 3)

    first = dfc.grad(cube)
    second = dfc.grad(lambda x: dfc.sum(dfc.check_numerics(first(x), "gradient")))
    x = dfc.asarray(X)
    assert first(x).numpy().tolist() == (3 * X**2).tolist()
    assert second(x).numpy().tolist() == (6 * X).tolist()


def test_checks_work_in_regions() -> None:
    @dfc.custom_gradient
    def safe_sqrt(x: Any) -> Any:
        return dfc.sqrt(x), lambda dy: dfc.check_numerics(dy / (2 * dfc.sqrt(x)), "gradient of sqrt")

    f = dfc.grad(lambda x: dfc.sum(dfc.checkpoint(lambda x: dfc.check_numerics(safe_sqrt(x), "sqrt"))(x)))
    assert f(dfc.asarray([4.0])).numpy().tolist() == [0.25]
    text = error_of(InvalidArgument, lambda: f(dfc.asarray([0.0])), FILE)
    assert text == "check_numerics: gradient of sqrt: tensor had Inf values (1 Inf of 1 elements, the first at [0])"


def test_a_message_is_a_string() -> None:
    text = error_of(InvalidType, lambda: dfc.check_numerics(X, 3), FILE)
    assert text == "check_numerics: the message must be a string, got 3"


# ---- all


@pytest.mark.parametrize(
    ("call", "op"),
    [
        (lambda x: dfc.print(x), "print"),
        (lambda x: dfc.assert_(x), "assert"),
        (lambda x: dfc.assert_(False, x), "assert"),
        (lambda x: dfc.check_numerics(x), "check_numerics"),
        (lambda x: dfc.py_call(len, [x], S(())), "py_call"),
    ],
)
def test_a_tensor_of_a_graph_has_no_value_outside(call: Callable[[Any], Any], op: str) -> None:
    with dfc.Graph():
        x = dfc.placeholder("float32", (3,), name="x")
    text = error_of(InvalidType, lambda: call(x), FILE)
    assert text == (
        f"{op}: the value of 'x' (float32[3]) isn't known while 'graph' is traced\n"
        "  fetch it in a session: session.run(tensor)"
    )


@pytest.mark.parametrize("effect", [lambda x: dfc.print(x), lambda x: dfc.assert_(x > 0)])
def test_regions_take_no_effects(effect: Callable[[Any], Any]) -> None:
    def inside(x: Any) -> Any:
        effect(x)
        return x * 2

    with pytest.raises(FailedPrecondition) as caught:
        dfc.checkpoint(inside)(dfc.asarray(X))
    assert re.match(
        r"checkpoint: (print|assert) can't happen inside checkpoint: what is in it may run never or twice\n"
        rf"  at {FILE}:.*\n  do it outside",
        str(caught.value),
    )


def test_no_gradient_comes_from_an_effect() -> None:
    def f(x: Any) -> Any:
        dfc.print(x)
        dfc.assert_(x > -10, x)
        return dfc.sum(x * x)

    text = printed(lambda: np.testing.assert_array_equal(dfc.grad(f)(dfc.asarray(X)).numpy(), 2 * X))
    assert text == "[ 1. -2.  3.]\n"
    assert NoGradient  # none is raised: tokens carry nothing


def test_verified_after_every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_VERIFY", "2")

    @dfc.function
    def inner(x: Any) -> Any:
        dfc.print("inner", x)
        dfc.assert_(x > -10, x)
        return dfc.check_numerics(x)

    @dfc.function
    def f(x: Any) -> Any:
        y, text = dfc.py_call(lambda x: (x[x > 0], "t"), [x], [S((None,)), S((), "string")])
        loss = dfc.sum(inner(x) ** 2) + dfc.sum(inner(y))
        dfc.print(text, loss)
        return dfc.gradients(loss, x)[0]

    text = printed(lambda: np.testing.assert_array_equal(f(X).numpy(), 2 * X))
    assert text == "inner [ 1. -2.  3.]\ninner [1. 3.]\nt 18.0\n"


def test_an_artifact_refuses_them() -> None:
    @dfc.function(signature=[S((3,), name="x")])
    def f(x: Any) -> Any:
        dfc.print(x)
        return dfc.check_numerics(x)

    text = error_of(Unimplemented, lambda: dfc.compile([f]), FILE)
    assert text == (
        "entry 'f' needs the host for 2 ops (check_numerics, print), and an artifact holds compiled programs and "
        "string constants only"
    )


def test_threads_do_not_grow() -> None:
    f = dfc.function(lambda x: dfc.check_numerics(dfc.linalg.inv(x)))
    x = np.eye(300, dtype=np.float32)
    for _ in range(30):
        f(x)
    until(lambda: WORKERS.count <= WORKERS.keep)
