"""`dfc.py_call`: results of sizes that nobody knows before, what waits for what, threads, and functions in text."""

from __future__ import annotations

import gc
import signal
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import Cancelled, DeadlineExceeded, DfcError, FailedPrecondition, InvalidArgument, Unimplemented
from dfc.ir.text import parse_program, print_program
from dfc.runtime.step import Step, clustered
from dfc.runtime.workers import WORKERS
from tests.frontend_support import error_of
from tests.host_support import EVERYWHERE, VECTOR, X, how, values
from tests.unit.test_workers import PATIENCE, until

S = dfc.TensorSpec
FILE = __file__


def double(x: Any) -> Any:
    return 2 * x


# ---- sizes that are known late


@EVERYWHERE
def test_results_of_unknown_size_feed_compiled_work(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_VERIFY", "2")

    def body(x: Any) -> Any:
        y, index = dfc.py_call(
            lambda x: (x[x > 0], np.flatnonzero(x > 0).astype(np.int32)), [x], (S((None,)), S((None,), "int32"))
        )
        assert kind == "at once" or not isinstance(y.shape[0], int)
        return {
            "sum": dfc.sum(y * 2),
            "both": dfc.concat([y, y]),
            "taken": dfc.take(dfc.asarray([10, 20, 30]), index),
            "zeros": dfc.zeros_like(y),
            "count": dfc.sum(dfc.ones(y.shape)),
            "size": dfc.dim_size(y, 0),
            "every second": y[::2] + 1,
            "again": dfc.py_call(double, [y], S(y.shape)) + y,
            "rows": dfc.reshape(dfc.concat([y, y]), (2, -1)),
        }

    for x in (X, np.array([5, 6, 7], np.float32), np.array([-1, -1, -1], np.float32)):
        chosen = x[x > 0].tolist()
        found = values(how(kind)(body, x))
        assert found == {
            "sum": 2 * sum(chosen),
            "both": chosen + chosen,
            "taken": [10 * (i + 1) for i in range(3) if x[i] > 0],
            "zeros": [0] * len(chosen),
            "count": len(chosen),
            "size": len(chosen),
            "every second": [value + 1 for value in chosen[::2]],
            "again": [3 * value for value in chosen],
            "rows": [chosen, chosen],
        }


def test_one_step_serves_all_sizes_and_compiles_each_once() -> None:
    calls: list[int] = []

    @dfc.function
    def f(x: Any) -> Any:
        y = dfc.py_call(lambda x: calls.append(1) or x[x > 0], [x], S((None,)))
        return dfc.sum(y), y + 1

    for n in (1, 2, 1, 3, 2):
        x = np.where(np.arange(3) < n, 1, -1).astype(np.float32)
        total, plus = f(x)
        assert total.item() == n
        assert plus.shape == (n,)  # what is returned has its sizes
        assert values(plus) == [2.0] * n
    assert f.explain().startswith("f was traced once")
    assert len(calls) == 5


@pytest.mark.parametrize("named", [False, True])
def test_sizes_of_two_calls_of_one_function_are_their_own(named: bool) -> None:
    @dfc.function
    def positive(x: Any) -> Any:
        return dfc.py_call(lambda x: x[x > 0], [x], S(("n" if named else None,)), stateful=False) * 2

    @dfc.function
    def f(x: Any) -> Any:
        return dfc.concat([positive(x), positive(-x)])

    assert values(f(X)) == [2.0, 6.0, 4.0]


def test_a_size_by_name_is_the_inputs() -> None:
    @dfc.function(signature=[S(("n", 2), name="x")])
    def f(x: Any) -> Any:
        y = dfc.py_call(lambda x: x[: max(1, len(x))].sum(1)[:3], [x], S(("n",)))
        return y + x[:, 0]

    assert values(f(np.ones((2, 2), np.float32))) == [3.0, 3.0]
    text = error_of(InvalidArgument, lambda: f(np.ones((4, 2), np.float32)), FILE)
    assert text == "py_call: the result of <lambda> must be float32[4], got float32[3]"


def test_a_size_can_be_that_of_another_late_value() -> None:
    """Of a call's, or of what comes out of a queue."""
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(4, "float32", shapes=[(None,)])
        put = queue.enqueue(dfc.asarray(X))
        taken = queue.dequeue()
        doubled = dfc.py_call(double, [taken], S(taken.shape))
        total = doubled + taken + dfc.py_call(double, [doubled], S(doubled.shape))
    with dfc.Session(graph) as session:
        session.run(put)
        assert session.run(total).tolist() == (7 * X).tolist()


def test_the_size_can_be_had_as_a_value() -> None:
    @dfc.function
    def f(x: Any) -> Any:
        y = dfc.py_call(lambda x: x[x > 0], [x], S((None,)))
        return dfc.sum(y) / dfc.asarray(y.shape[0])

    assert f(X).item() == 2.0


def test_what_the_host_would_have_to_make_of_a_late_size_is_said() -> None:
    @dfc.function
    def f(x: Any) -> Any:
        y = dfc.py_call(lambda x: ["a"] * 2, [x], S((None,), "string"))
        return dfc.where(y == "a", "-", y)

    with pytest.raises(Unimplemented) as caught:
        f(X)
    assert "the host can't make string[py_call_1] of string[]: its size is that of another value" in str(caught.value)


# ---- time


@EVERYWHERE
def test_the_time_limit_ends_the_step_and_not_the_thread(kind: str) -> None:
    go, ended = threading.Event(), threading.Event()

    def wait() -> Any:
        go.wait(PATIENCE)
        ended.set()
        return 0

    started = time.monotonic()
    text = error_of(DeadlineExceeded, lambda: how(kind)(lambda: dfc.py_call(wait, [], S(()), timeout=0.05) + 1), FILE)
    assert text == "py_call: the Python function wait took longer than its time limit of 0.05 s"
    assert 0.05 <= time.monotonic() - started < PATIENCE
    go.set()
    assert ended.wait(PATIENCE)


@EVERYWHERE
def test_a_call_within_its_limit(kind: str) -> None:
    assert values(how(kind)(lambda x: dfc.py_call(double, [x], VECTOR, timeout=60), X)) == (2 * X).tolist()


@pytest.mark.parametrize("kind", ["function", "session"])
def test_a_hundred_calls_that_wait_for_one_another(kind: str) -> None:
    barrier = threading.Barrier(100)

    def body() -> Any:
        calls = [dfc.py_call(lambda i=i: barrier.wait(PATIENCE) * 0 + i, [], S(()), stateful=False) for i in range(100)]
        return dfc.sum(dfc.stack(calls) * 2)

    assert values(how(kind)(body)) == 9900
    until(lambda: WORKERS.count <= WORKERS.keep)


def test_work_that_does_not_need_a_call_does_not_wait_for_it() -> None:
    """Nor do other steps of the session."""
    go = threading.Event()
    with dfc.Graph() as graph:
        blocked = dfc.py_call(lambda: go.wait(PATIENCE) * 1.0, [], S(()))
        opened = dfc.py_call(lambda: go.set(), [], None)
        with dfc.control_dependencies([opened]):
            free = dfc.identity(dfc.py_call(lambda: 1.0, [], S(()))) + 1
    with dfc.Session(graph) as session:
        assert session.run([blocked, free]) == [1.0, 2.0]
        go.clear()
        waiting = threading.Thread(target=session.run, args=(blocked,))
        waiting.start()
        for _ in range(10):
            assert session.run(free) == 2.0
            if go.is_set():
                break
        waiting.join(PATIENCE)
        assert not waiting.is_alive()


def test_closing_a_session_ends_a_step_that_a_call_holds_up() -> None:
    go, begun, caught = threading.Event(), threading.Event(), list[BaseException]()

    def wait() -> Any:
        begun.set()
        go.wait(PATIENCE)
        return 1.0

    with dfc.Graph() as graph:
        blocked = dfc.py_call(wait, [], S(()))
    session = dfc.Session(graph)

    def run() -> None:
        try:
            session.run(blocked)
        except DfcError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(PATIENCE)
    started = time.monotonic()
    session.close()
    thread.join(PATIENCE)
    assert time.monotonic() - started < 1
    go.set()
    (found,) = caught
    assert type(found) is Cancelled
    assert str(found).startswith(f"py_call: the Python function wait was cancelled\n  at {FILE}:")


def test_the_step_has_a_time_limit_too() -> None:
    go = threading.Event()
    with dfc.Graph() as graph:
        blocked = dfc.py_call(lambda: go.wait(PATIENCE) * 1.0, [], S(()))
    with dfc.Session(graph) as session, pytest.raises(DeadlineExceeded) as caught:
        session.run(blocked, timeout=0.05)
    go.set()
    assert "the time limit passed while the step waited for py_call at " in str(caught.value)


@pytest.mark.parametrize("kind", ["at once", "function", "session"])
def test_an_interrupt_ends_a_wait_within_a_second(kind: str) -> None:
    """As Ctrl-C does: a signal whose handler raises KeyboardInterrupt in the main thread."""
    go = threading.Event()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    started = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            how(kind)(lambda: dfc.py_call(lambda: go.wait(PATIENCE) * 1.0, [], S(())))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        go.set()
    assert 0.3 <= time.monotonic() - started < 2


def test_threads_do_not_grow() -> None:
    f = dfc.function(lambda x: dfc.py_call(double, [x], VECTOR) + dfc.py_call(double, [x], VECTOR))
    f(X)
    before = WORKERS.count
    for _ in range(200):
        f(X)
    assert WORKERS.count <= max(before, WORKERS.keep)
    until(lambda: WORKERS.count <= WORKERS.keep)


def test_what_a_call_held_is_freed() -> None:
    """Neither a table of attributes nor a thread keeps the function, its arguments or its results."""

    class Held:
        pass

    def run() -> list[weakref.ref[Any]]:
        held, refs = Held(), list[weakref.ref[Any]]()

        def fn(x: Any) -> Any:
            assert held
            refs.append(weakref.ref(x))
            return x

        f = dfc.function(lambda x: dfc.py_call(fn, [x * 2], VECTOR))
        assert values(f(X)) == (2 * X).tolist()
        return [*refs, weakref.ref(fn), weakref.ref(held)]

    refs = run()
    gc.collect()
    until(lambda: all(ref() is None for ref in refs))


# ---- text and files


def program(function: str, inputs: str = "") -> str:
    return f"""builtin.module {{
  df.func {{sym_name = "f", arg_names = ["x"], result_names = ["y"]}} ({{
  ^bb0(%0: tensor<3xf32>):
    %1, %2 = df.py_call %0 {{function = "{function}", nest = "'tensor'", stateful = true, results = [tensor<3xf32>]}} : (tensor<3xf32>) -> (tensor<3xf32>, !df.control)
    df.return %1, %2 : (tensor<3xf32>, !df.control) -> ()
  }}) : () -> ()
}}
"""  # noqa: E501


def step(text: str) -> Step:
    return Step(clustered(parse_program(text), "f", {}), {})


def test_a_function_at_the_top_of_a_module_is_found_again_by_its_name() -> None:
    text = str(dfc.function(lambda x: dfc.py_call(double, [x], VECTOR), name="f").graph(VECTOR))
    assert 'function = "tests.unit.test_py_call_waiting:double"' in text
    again = parse_program(program("tests.unit.test_py_call_waiting:double"))
    assert print_program(again, locations=False) == program("tests.unit.test_py_call_waiting:double")
    (result,) = step(program("tests.unit.test_py_call_waiting:double"))([X])
    assert values(result) == (2 * X).tolist()


@pytest.mark.parametrize("make", [lambda: lambda x: x, lambda: __import__("functools").partial(double)])
def test_other_functions_are_shown_and_not_found_again(make: Any) -> None:
    fn = make()
    text = str(dfc.function(lambda x: dfc.py_call(fn, [x], VECTOR), name="f").graph(VECTOR))
    assert f'function = "{fn!r}"' in text
    assert print_program(parse_program(text), locations=False) == text
    with pytest.raises(FailedPrecondition) as caught:
        step(text)
    assert f"the Python function {repr(fn)!r} is not there: a program's text keeps no Python code" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tests.unit.no_such_module:f", "the module 'tests.unit.no_such_module' can't be imported: "
         "No module named 'tests.unit.no_such_module'"),
        ("tests.unit.test_py_call_waiting:nothing",
         "module 'tests.unit.test_py_call_waiting' has no attribute 'nothing'"),
        ("tests.unit.test_py_call_waiting:FILE", "it is a str, which can't be called"),
        ("double", "a program's text keeps no Python code, and that is no name to import\n"
         "  call a function at the top of a module, which text names module:function"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_when_a_step_is_made(name: str, message: str) -> None:
    text = error_of_step(name)
    assert text == f"py_call: the Python function {name!r} is not there: {message}"


def error_of_step(name: str) -> str:
    with pytest.raises(FailedPrecondition) as caught:
        step(program(name))
    return str(caught.value)


def test_an_artifact_refuses_python() -> None:
    @dfc.function(signature=[S((3,), name="x")])
    def f(x: Any) -> Any:
        dfc.print(x)
        return dfc.py_call(double, [x], VECTOR)

    text = error_of(Unimplemented, lambda: dfc.compile([f]), FILE)
    assert text == (
        "entry 'f' calls Python, the function 'double', and an artifact holds compiled programs and string constants "
        "only"
    )
