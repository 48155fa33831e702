"""Mistakes that only a trace makes possible: each error names the user's line and says what to do."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType
from tests.frontend_support import error_of

ONE = np.ones((), np.float32)
TWO = np.ones(2, np.float32)


def errors(kind: Any, call: Callable[[], Any]) -> str:
    return error_of(kind, call, __file__)


NUMBER = "use dfc.astype, or pass the number as a Python argument, which is part of the signature"
READ = "compute it outside the function, or return it and read it after the call"
BRANCH = (
    "Python's `if`, `while`, `and`, `or` and `not` need the value: write the function with autograph=True, or use "
    "dfc.cond, dfc.while_loop, dfc.where and dfc.logical_*"
)


@pytest.mark.parametrize(
    ("use", "what", "hint"),
    [
        (bool, "bool", BRANCH),
        (int, "int", NUMBER),
        (float, "float", NUMBER),
        (np.asarray, "np.asarray", READ),
        (lambda t: t.numpy(), "numpy()", READ),
        (lambda t: t.item(), "item()", READ),
        (lambda t: t.__dlpack__(), "__dlpack__", READ),
    ],
)
def test_a_python_value_of_a_symbolic_tensor(use: Callable[[Any], Any], what: str, hint: str) -> None:
    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        use(dfc.identity(x > 0, name="positive"))
        return x

    assert errors(InvalidType, lambda: f(ONE)) == (
        f"{what}: the value of 'positive' (bool[]) isn't known while 'f' is traced\n  {hint}"
    )


def test_an_index_of_a_symbolic_tensor() -> None:
    @dfc.function
    def f(i: dfc.Tensor) -> Any:
        return operator.index(i)

    assert errors(InvalidType, lambda: f(np.int32(1))) == (
        "index: the value of 'i' (int32[]) isn't known while 'f' is traced\n"
        "  an index or a size that Python needs must be a Python number, which is part of the signature; a loop that "
        "runs as often as a tensor says is dfc.fori_loop, or range with autograph=True"
    )


def leaked() -> dfc.Tensor:
    kept: list[dfc.Tensor] = []

    @dfc.function
    def keeper(x: dfc.Tensor) -> dfc.Tensor:
        kept.append(x * x)
        return x

    keeper(TWO)
    return kept[0]


LEAKED = (
    "the tensor 'multiply' (float32[2]) stands for a value inside 'keeper', whose trace has ended\n"
    "  return it from the function instead of keeping it in a list, an attribute or a global"
)


@pytest.mark.parametrize(
    ("use", "op"),
    [
        (lambda t: t + 1, "add: "),
        (lambda t: dfc.sum(t), "sum: "),
        (lambda t: t.numpy(), ""),
        (lambda t: dfc.function(lambda x: x)(t), ""),
        (lambda t: dfc.function(lambda x: x + t)(TWO), "add: "),
        (lambda t: dfc.function(lambda: t)(), ""),
    ],
)
def test_a_tensor_used_after_its_trace(use: Callable[[dfc.Tensor], Any], op: str) -> None:
    kept = leaked()
    assert errors(FailedPrecondition, lambda: use(kept)) == op + LEAKED


def test_a_tensor_of_another_open_trace() -> None:
    kept: list[dfc.Tensor] = []

    @dfc.function
    def inner(x: dfc.Tensor) -> dfc.Tensor:
        kept.append(x + x)
        return x

    @dfc.function
    def outer(x: dfc.Tensor) -> dfc.Tensor:
        return inner(x) + kept[0]

    assert errors(FailedPrecondition, lambda: outer(TWO)) == (
        "add: the tensor 'add' (float32[2]) stands for a value inside 'inner', whose trace has ended\n"
        "  return it from the function instead of keeping it in a list, an attribute or a global"
    )


def test_a_tensor_of_a_trace_in_another_thread() -> None:
    import threading

    seen: list[str] = []

    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        thread = threading.Thread(target=lambda: seen.append(errors(FailedPrecondition, lambda: x + 1)))
        thread.start()
        thread.join()
        return x

    f(TWO)
    assert seen == [
        "add: the tensor 'x' (float32[2]) belongs to another trace, that of 'f', which is still going on\n"
        "  pass it to the function as an argument"
    ]


def test_recursion_is_an_error() -> None:
    @dfc.function
    def even(x: dfc.Tensor) -> Any:
        return odd(x)

    @dfc.function
    def odd(x: dfc.Tensor) -> Any:
        return even(x)

    assert errors(InvalidArgument, lambda: even(ONE)) == (
        "even: a traced function must not call itself, got even -> odd -> even\n"
        "  a graph has no recursion: write it as a loop"
    )


def test_symbolic_sizes_that_may_differ() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b", 3)), dfc.TensorSpec(("c", 1))])
    def f(x: dfc.Tensor, y: dfc.Tensor) -> dfc.Tensor:
        return x + y

    assert errors(InvalidArgument, lambda: f.graph()) == (
        "add: shapes (b, 3) and (c, 1) don't broadcast: nothing says that b and c are equal\n"
        "  give equal dimensions the same name in the signature"
    )


def test_sizes_that_are_not_known() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b",))])
    def length(x: dfc.Tensor) -> Any:
        return len(x)

    with pytest.raises(InvalidType) as caught:
        length.graph()
    assert str(caught.value) == ("len() is b, which isn't known while tracing\n  use t.shape[0] or dfc.dim_size(t, 0)")

    @dfc.function(signature=[dfc.TensorSpec(("b",))])
    def reversed_half(x: dfc.Tensor) -> Any:
        return x[3:0:-1]

    assert errors(dfc.errors.Unimplemented, lambda: reversed_half.graph()) == (
        "getitem: a negative step on an axis of symbolic size b goes over all of it: x[::-1]"
    )


def test_a_shape_error_inside_a_nested_call_names_the_inner_line() -> None:
    @dfc.function
    def inner(x: dfc.Tensor) -> dfc.Tensor:
        return dfc.matmul(x, np.zeros((3, 3), np.float32))

    with pytest.raises(InvalidArgument) as caught:
        dfc.function(lambda x: inner(x))(TWO)
    assert "return dfc.matmul(x, np.zeros((3, 3), np.float32))" in str(caught.value)
    assert "contracting dimensions must match, got 2 and 3 of shapes (2) and (3, 3)" in str(caught.value)


def test_a_trace_that_fails_can_be_tried_again() -> None:
    attempts: list[int] = []

    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        attempts.append(1)
        if len(attempts) == 1:
            raise KeyError("the user's own")
        return x + 1

    with pytest.raises(KeyError, match="the user's own"):
        f(ONE)
    assert f(ONE).item() == 2
    assert (dfc.asarray(1.0) + 1).item() == 2  # and no trace is left open


def test_an_error_caught_in_a_trace_leaves_it_whole() -> None:
    @dfc.function
    def broken(x: dfc.Tensor) -> dfc.Tensor:
        return x + np.zeros(7, np.float32)

    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        try:
            return broken(x)
        except InvalidArgument:
            return x * 3

    assert f(TWO).numpy().tolist() == [3, 3]


def test_what_needs_a_trace() -> None:
    loss, v = dfc.asarray(1.0), dfc.Variable(1.0)
    assert errors(FailedPrecondition, lambda: dfc.gradients(loss, v)) == (
        "dfc.gradients works only inside a function that is being traced\n"
        "  use dfc.grad or dfc.value_and_grad on a function"
    )
    assert errors(FailedPrecondition, lambda: dfc.train.SGD(0.1).minimize(loss, [v])) == (
        "minimize works only inside a function that is being traced\n"
        "  call it in a function decorated with @dfc.function that computes the loss"
    )


def test_graph_inside_a_trace() -> None:
    @dfc.function
    def g(x: dfc.Tensor) -> dfc.Tensor:
        return x

    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        g.graph(dfc.TensorSpec(()))
        return x

    with pytest.raises(FailedPrecondition, match=r"g.graph\(\) can't be called while a function is traced"):
        f(ONE)


def test_a_line_that_makes_very_many_ops_is_named() -> None:
    def f(x: dfc.Tensor) -> dfc.Tensor:
        for _ in range(12_000):
            x = x + x
        return x

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dfc.function(f).graph(dfc.TensorSpec(()))
    (warning,) = caught
    assert warning.filename == __file__
    assert warning.lineno == f.__code__.co_firstlineno + 2
    assert str(warning.message) == (
        "this line has made 10,000 operations of 'f' so far: a Python loop in a traced function is unrolled"
    )
