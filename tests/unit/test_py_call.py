"""`dfc.py_call`: Python functions in programs, in sessions and at once; what goes in and what comes out."""

from __future__ import annotations

import gc
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import DfcError, FailedPrecondition, Internal, InvalidArgument, InvalidType
from tests.frontend_support import error_of
from tests.host_support import EVERYWHERE, VECTOR, Fields, Pair, X, how, values

S = dfc.TensorSpec
FILE = __file__


def same(x: Any) -> Any:
    return x


def double(x: Any) -> Any:
    return 2 * x


# ---- values


@EVERYWHERE
def test_arrays_go_in_and_come_out(kind: str) -> None:
    seen: list[Any] = []

    def fn(x: Any, n: Any, text: Any) -> Any:
        seen.extend([x, n, text])
        return x * float(n)

    def body(x: Any, text: Any) -> Any:
        return dfc.py_call(fn, [x, 2, text], VECTOR) + 1

    assert values(how(kind)(body, X, np.array(["a", "é"], object))) == [3.0, -3.0, 7.0]
    x, n, text = seen
    assert [type(array) for array in seen] == [np.ndarray] * 3
    assert [array.dtype for array in seen] == [np.float32, np.int32, object]
    assert (x.tolist(), n.tolist(), text.tolist()) == (X.tolist(), 2, [b"a", "é".encode()])
    assert not any(array.flags.writeable for array in seen)


@EVERYWHERE
@pytest.mark.parametrize(
    ("specs", "returned", "expected"),
    [
        (S(()), 1.5, 1.5),
        (S((2,), "int64"), [1, 2], [1, 2]),
        (S((2,), "int8"), range(2), [0, 1]),
        (S((), "float32"), True, 1.0),
        (S((), "complex64"), 2, 2 + 0j),
        (S((2,), "string"), ["a", b"\xff"], [b"a", b"\xff"]),
        (S((), "string"), "ü", "ü".encode()),
        (S((1,), "string"), np.array(["x"]), [b"x"]),
        (S((0,), "int32"), [], []),
        (S((2, 2), "bfloat16"), [[1, 2], [3, 4.5]], [[1, 2], [3, 4.5]]),
        (S((), "float64"), np.float64(0.1), 0.1),
        (S((2,), "int32"), np.array([1, 2], ">i4"), [1, 2]),
        (S((2, 3)), np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)), [[0, 1, 2], [3, 4, 5]]),
        ([S(()), S((), "int32")], (1.0, 2), [1.0, 2]),
        ((S(()), [S(())]), [1, (2,)], (1.0, [2.0])),
        ({"a": S(()), "b": {"c": S((1,))}}, {"b": {"c": [2]}, "a": 1}, {"a": 1.0, "b": {"c": [2.0]}}),
        (Pair(S(()), S(())), Pair(1, 2), Pair(1.0, 2.0)),
        (Pair(S(()), S(())), (1, 2), Pair(1.0, 2.0)),
        (Fields(S(()), (S(()), S(()))), Fields(1, (2, 3)), Fields(1.0, (2.0, 3.0))),
    ],
)
def test_what_is_returned_becomes_what_the_specs_say(kind: str, specs: Any, returned: Any, expected: Any) -> None:
    result = how(kind)(lambda: dfc.py_call(lambda: returned, [], specs))
    assert values(result) == expected


@EVERYWHERE
def test_tensors_and_other_libraries_arrays_may_be_returned(kind: str) -> None:
    jax = pytest.importorskip("jax")
    specs = [VECTOR, S((2,), "int32")]
    result = how(kind)(lambda x: dfc.py_call(lambda x: (dfc.asarray(x) + 1, jax.numpy.arange(2)), [x], specs), X)
    assert values(result) == [[2.0, -1.0, 4.0], [0, 1]]


@pytest.mark.parametrize("kind", ["function", "session"])
def test_a_function_keeps_what_it_was_given_and_may_change_what_it_gave(kind: str) -> None:
    """A view of a device's memory stays; an array that was fed, or returned, is copied."""
    kept: list[Any] = []
    mine = np.zeros(3, np.float32)

    def keep(x: Any, text: Any) -> Any:
        kept.extend([x, text])
        mine[:] = x
        return mine

    def change(x: Any) -> Any:
        kept.append(x)
        mine[:] = -1
        return x

    def body(x: Any, text: Any) -> Any:
        return dfc.py_call(change, [dfc.py_call(keep, [x * 2, text], VECTOR)], VECTOR)

    text = np.array([b"a"], object)
    assert values(how(kind)(body, X, text)) == [2.0, -4.0, 6.0]
    mine[:], text[:] = 7, b"z"
    gc.collect()
    assert [array.tolist() for array in kept] == [[2.0, -4.0, 6.0], [b"a"], [2.0, -4.0, 6.0]]


def test_an_array_that_was_fed_is_not_the_callers_own() -> None:
    kept: list[Any] = []
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (3,), name="x")
        y = dfc.py_call(lambda x: kept.append(x) or x, [x], VECTOR)
    fed = X.copy()
    with dfc.Session(graph) as session:
        session.run(y, {x: fed})
    fed[:] = 0
    assert kept[0].tolist() == X.tolist()


@EVERYWHERE
def test_a_function_runs_in_a_thread_of_dfcs(kind: str) -> None:
    names: list[str] = []
    how(kind)(lambda: dfc.py_call(lambda: names.append(threading.current_thread().name) or 0, [], S(())))
    assert names == ["dfc-worker"]


@EVERYWHERE
def test_a_function_may_use_dfc(kind: str) -> None:
    variable = dfc.Variable(X)

    def fn(x: Any) -> Any:
        variable.assign_add(x)
        return dfc.function(lambda v: v * 2)(variable.read())

    assert values(how(kind)(lambda x: dfc.py_call(fn, [x], VECTOR), X)) == [4.0, -8.0, 12.0]


# ---- errors


def error(kind: str, call: Callable[[], Any]) -> str:
    return error_of(InvalidType if kind == "type" else InvalidArgument, call, FILE)


@EVERYWHERE
@pytest.mark.parametrize(
    ("specs", "returned", "wrong", "message"),
    [
        (VECTOR, np.zeros(3), "type", "the result of fn must be float32[3], got float64[3]\n"
         "  convert it in the function: array.astype('float32')"),
        (VECTOR, np.zeros(2, np.float32), "value", "the result of fn must be float32[3], got float32[2]"),
        (VECTOR, np.float32(1), "value", "the result of fn must be float32[3], got float32[]"),
        (VECTOR, None, "type", "the result of fn must be float32[3], got None"),
        (VECTOR, "abc", "type", "the result of fn must be float32[3], got 'abc'"),
        (VECTOR, np.array([1, None]), "type", "the result of fn must be float32[3], got object[2]: an array of strings "
         "holds str and bytes, got a int"),
        (S((), "int32"), 1.0, "type", "the result of fn must be int32[], got 1.0"),
        (S((), "bool"), 1, "type", "the result of fn must be bool[], got 1"),
        (S((), "int8"), 128, "type", "the result of fn must be int8[], got 128: an integer is outside the range of "
         "int8"),
        (S((), "int64"), 2**64, "type", "the result of fn must be int64[], got 18446744073709551616: an integer is "
         "outside the range of int64"),
        (S((2,), "string"), [1, "a"], "type", "the result of fn must be string[2], got [1, 'a']: an array of strings "
         "holds str and bytes, got a int"),
        ([S(()), S(())], [1], "value", "fn must return 2 values, got [1]"),
        ([S(()), S(())], 1, "value", "fn must return 2 values, got 1"),
        ([S(()), S(())], [1, "a"], "type", "result '1' of fn must be float32[], got 'a'"),
        ({"a": [S(()), S(())]}, {"a": 1}, "value", "result 'a' of fn must be 2 values, got 1"),
        ({"a": S(()), "b": S(())}, {"a": 1}, "value", "fn must return a dict of a, b, got {'a': 1}"),
        ({"a": S(()), "b": S(())}, {"a": 1, "b": [1]}, "value", "result 'b' of fn must be float32[], got float32[1]"),
        (Fields(S(()), S(())), 3, "value", "fn must return a dataclass of left, right, got 3"),
        (None, 1, "value", "fn must return nothing, got 1"),
        ([S(("n",)), S(("n",))], [[1], [1, 2]], "value",
         "result '1' of fn must be float32[n] with n = 1, got float32[2]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(kind: str, specs: Any, returned: Any, wrong: str, message: str) -> None:
    def fn() -> Any:
        return returned

    text = error(wrong, lambda: how(kind)(lambda: dfc.py_call(fn, [], specs)))
    text = re.sub(r"py_call_n_\d|py_call_0_0", "n", text)  # the size that is called n
    assert text == f"py_call: {message}"


@EVERYWHERE
@pytest.mark.parametrize("kind_of_error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_becomes_internal_with_its_cause(kind: str, kind_of_error: type[BaseException]) -> None:
    cause = kind_of_error("no such file")

    def load() -> Any:
        raise cause

    with pytest.raises(Internal) as caught:
        how(kind)(lambda: dfc.py_call(load, [], S(())))
    assert caught.value.__cause__ is cause
    first, place = str(caught.value).splitlines()
    assert first == f"py_call: load raised {kind_of_error.__name__}: no such file"
    assert place.startswith(f"  at {FILE}:")
    assert place.endswith("how(kind)(lambda: dfc.py_call(load, [], S(())))")


@EVERYWHERE
def test_errors_of_dfc_pass_with_op_and_line_where_they_lack_them(kind: str) -> None:
    bare, told = DfcError("bare"), InvalidArgument("told", op="mine", location="there:1")

    def fn(error: DfcError) -> Callable[[], Any]:
        def raising() -> Any:
            raise error

        return raising

    with pytest.raises(DfcError) as caught:
        how(kind)(lambda: dfc.py_call(fn(bare), [], S(())))
    assert caught.value is bare
    assert str(bare).startswith(f"py_call: bare\n  at {FILE}:")
    with pytest.raises(InvalidArgument) as caught_told:
        how(kind)(lambda: dfc.py_call(fn(told), [], S(())))
    assert caught_told.value is told
    assert str(told) == "mine: told\n  at there:1"


@pytest.mark.parametrize(
    ("call", "wrong", "message"),
    [
        (lambda: dfc.py_call(3, [], VECTOR), "type", "a function is needed, got 3"),
        (lambda: dfc.py_call(same, X, VECTOR), "type", "the inputs must be a list or a tuple, got a ndarray"),
        (lambda: dfc.py_call(same, [X], "float32"), "type",
         "result_specs must be a dfc.TensorSpec or a nest of them, got 'float32'"),
        (lambda: dfc.py_call(same, [X], [VECTOR, None]), "type",
         "result_specs must be a dfc.TensorSpec or a nest of them, got None"),
        (lambda: dfc.py_call(same, [X], VECTOR, timeout=0), "value",
         "the time limit must be a positive number of seconds or None, got 0"),
        (lambda: dfc.py_call(same, [X], VECTOR, timeout=float("nan")), "value",
         "the time limit must be a positive number of seconds or None, got nan"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("traced", [False, True])
def test_wrong_calls(traced: bool, call: Callable[[], Any], wrong: str, message: str) -> None:
    text = error(wrong, lambda: dfc.function(call)() if traced else call())
    assert text == f"py_call: {message}"


# ---- order and use


def test_effects_happen_in_program_order_and_whether_or_not_they_are_used() -> None:
    seen: list[int] = []

    def note(i: int) -> None:
        dfc.py_call(lambda: time.sleep(0.002 * (5 - i)) or seen.append(i), [], None)

    @dfc.function
    def inner(x: Any) -> Any:
        note(1)
        unused = dfc.py_call(lambda: seen.append(2) or X, [], VECTOR)
        return x + 1, unused * 2

    @dfc.function
    def f(x: Any) -> Any:
        note(0)
        inner(x)
        note(3)
        dfc.py_call(lambda: seen.append(9) or 0, [], S(()), stateful=False)  # pruned
        inner(x)
        return x

    f(X)
    assert seen == [0, 1, 2, 3, 1, 2]


def test_in_a_graph_a_call_happens_when_it_is_needed() -> None:
    seen: list[str] = []

    def note(name: str, stateful: bool = True) -> Any:
        return dfc.py_call(lambda: seen.append(name) or 1, [], S(()), stateful=stateful)

    with dfc.Graph() as graph:
        a, b, _ = note("a"), note("b"), note("c")
        done = dfc.py_call(lambda: seen.append("done"), [], None)
        with dfc.control_dependencies([done, b]):
            d = dfc.identity(a) + 1
    with dfc.Session(graph) as session:
        assert session.run(a) == 1
        assert seen == ["a"]
        seen.clear()
        assert session.run(done) is None
        assert seen == ["done"]
        seen.clear()
        assert session.run(d) == 2
        assert sorted(seen) == ["a", "b", "done"]
        seen.clear()
        assert session.run("py_call_3") is None
        assert seen == ["done"]


def test_two_calls_of_one_function_are_two_calls() -> None:
    """Nothing merges them, stateful or not."""
    seen: list[int] = []

    @dfc.function
    def f() -> Any:
        return [dfc.py_call(lambda: len(seen.append(1) or seen), [], S(()), stateful=False) for _ in range(3)]

    assert sorted(values(f())) == [1, 2, 3]


def test_a_region_takes_calls_without_effects_only() -> None:
    def body(stateful: bool) -> Any:
        return dfc.grad(dfc.checkpoint(lambda x: dfc.sum(x * dfc.py_call(same, [x], VECTOR, stateful=stateful))))

    assert values(body(False)(dfc.asarray(X))) == X.tolist()
    text = error_of(FailedPrecondition, lambda: body(True)(dfc.asarray(X)), FILE)
    assert text == (
        "py_call: a stateful call can't happen inside the region of another operation, which may run never or twice\n"
        "  give stateful=False if the function has no effects"
    )


# ---- gradients


def test_no_gradient_passes_unless_one_is_given() -> None:
    plain = dfc.grad(lambda x: dfc.sum(x + dfc.py_call(double, [x], VECTOR)))
    assert values(plain(dfc.asarray(X))) == [1.0, 1.0, 1.0]


def test_a_gradient_that_is_given() -> None:
    """tanh in Python, to second order: the gradient is made of operations, which have gradients in turn, and of a call
    without effects."""

    def tanh(x: Any) -> Any:
        def gradient(dy: Any) -> Any:
            one = dfc.py_call(lambda x: np.ones_like(x), [x], VECTOR, stateful=False)
            return dy * (one - dfc.tanh(x) ** 2)

        return dfc.py_call(np.tanh, [x], VECTOR, gradient=gradient)

    x = dfc.asarray(X)
    first = dfc.grad(lambda x: dfc.sum(tanh(x)))
    np.testing.assert_allclose(tanh(x).numpy(), np.tanh(X), rtol=1e-6)
    np.testing.assert_allclose(first(x).numpy(), 1 - np.tanh(X) ** 2, rtol=1e-4)
    second = dfc.grad(lambda x: dfc.sum(first(x)))
    np.testing.assert_allclose(second(x).numpy(), -2 * np.tanh(X) * (1 - np.tanh(X) ** 2), rtol=1e-4)


def test_a_gradient_of_several_inputs_and_results() -> None:
    @dfc.function
    def f(x: Any, y: Any) -> Any:
        def gradient(d_sum: Any, d_product: Any) -> Any:
            return d_sum + d_product * y, d_sum + d_product * x, None

        specs = {"sum": VECTOR, "n": S((), "int32"), "product": VECTOR}
        found = dfc.py_call(
            lambda x, y, n: {"sum": x + y, "n": n, "product": x * y},
            [x, y, 3],
            specs,
            gradient=lambda a, n, b: gradient(a, b),
        )
        loss = dfc.sum(found["sum"] + 10 * found["product"])
        return found["n"], *dfc.gradients(loss, [x, y])

    y = np.array([1.0, 2.0, 4.0], np.float32)
    n, by_x, by_y = f(X, y)
    assert n.item() == 3
    assert values(by_x) == (1 + 10 * y).tolist()
    assert values(by_y) == (1 + 10 * X).tolist()
