"""What converted functions refuse, with the whole text and the line, and what is called as it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import dfc
from dfc import TensorSpec
from dfc.errors import DfcError, FailedPrecondition, InvalidArgument, InvalidType

XS = np.array([1.0, -2.0, 3.0, 4.0], np.float32)
TWO = np.float32(2.0)
graph_function = dfc.function(autograph=True)


def line_of(function: Callable[..., Any], text: str) -> int:
    """The number of the line of a function's source that has the text."""
    lines, first = inspect.getsourcelines(inspect.unwrap(function))
    return first + next(i for i, line in enumerate(lines) if text in line)


# ---- errors: each with its whole text after the place


def one_branch(x: Any) -> Any:
    if x > 0.0:
        y = x
    return y  # HERE


def no_return(x: Any) -> Any:
    if x > 0.0:  # HERE
        return x


def shapes_differ(x: Any) -> Any:
    if x > 0.0:
        y = dfc.zeros((2,))
    else:
        y = dfc.zeros((3,))
    return y  # HERE


def returns_differ(x: Any) -> Any:
    if x > 0.0:  # HERE
        return x
    return x, x


def only_in_loop(x: Any) -> Any:
    n = 0
    while n < x:
        last = n
        n += 1
    return last  # HERE


def dtype_changes(x: Any) -> Any:
    total = 0
    while total < x:  # HERE
        total = total + x
    return total


def shape_changes(x: Any) -> Any:
    s = dfc.zeros((1,))
    while dfc.sum(s) < x:  # HERE
        s = dfc.concat([s, s])
    return s


def structure_changes(x: Any) -> Any:
    best = None
    for row in dfc.stack([x, x]):  # HERE
        best = row if best is None else best
    return best


def appends(x: Any) -> Any:
    out: list[Any] = []
    for row in dfc.stack([x, x]):
        out.append(row)  # HERE
    return out


def appends_in_branch(x: Any) -> Any:
    out: dict[str, Any] = {}
    if x > 0.0:
        out["x"] = x  # HERE
    return out


def condition_of_many(x: Any) -> Any:
    if dfc.stack([x, x]) > 0.0:  # HERE
        return x
    return -x


def and_of_numbers(x: Any) -> Any:
    if x > 0.0 and x:  # HERE
        return x
    return -x


def endless(x: Any) -> Any:
    if x > 1.0:  # HERE
        return endless(x - 1.0)
    return x


def binds_in_condition(x: Any) -> Any:
    while (y := x * 2.0) < 9.0:  # HERE
        x = y
    return x


def asserts(x: Any) -> Any:
    assert x > 0.0, "x must be positive"  # HERE
    return x


AT_WHILE = "loop variable {} must keep its structure, shape and dtype: got "
ERRORS: list[tuple[Callable[..., Any], type[DfcError], str, str]] = [
    (
        one_branch,
        InvalidType,
        "if: 'y' has a value after one branch of an `if` on a tensor alone: it must be given one in the else branch "
        "too",
        "give 'y' a value before the `if`, or in both branches",
    ),
    (
        no_return,
        InvalidType,
        "if: the function must return the same on both sides of an `if` on a tensor, got float32[] from the `if` "
        "branch and None from the `else` branch",
        "end both branches in a return of the same structure, shapes and dtypes",
    ),
    (
        shapes_differ,
        InvalidType,
        "if: 'y' must have the same structure, shape and dtype after both branches of an `if` on a tensor, got "
        "float32[2] from the `if` branch and float32[3] from the `else` branch",
        "convert one of them, or give 'y' no value that depends on the tensor",
    ),
    (
        returns_differ,
        InvalidType,
        "if: the function must return the same on both sides of an `if` on a tensor, got float32[] from the `if` "
        "branch and (., .) from the `else` branch",
        "end both branches in a return of the same structure, shapes and dtypes",
    ),
    (
        only_in_loop,
        InvalidType,
        "while: 'last' is int32[] in the body of a `while` on tensors, which may never run, and has no value before it",
        "give 'last' a value of the same shape and dtype before the loop",
    ),
    (
        dtype_changes,
        InvalidType,
        f"while: {AT_WHILE.format(repr('total'))}the Python number 0, int32[], before it and float32[] after an "
        "iteration",
        "begin with that dtype, dfc.asarray(0, dfc.float32)",
    ),
    (
        shape_changes,
        InvalidType,
        f"while: {AT_WHILE.format(repr('s'))}float32[1] before it and float32[2] after an iteration",
        "begin with that shape, or use dfc.while_loop, whose shape_invariants let sizes change",
    ),
    (
        structure_changes,
        InvalidType,
        f"for: {AT_WHILE.format(repr('best'))}None before it and float32[] after an iteration",
        "begin with tensors, such as the first value or dfc.zeros",
    ),
    (
        appends,
        InvalidType,
        "for: the list 'out' can't be changed in place where it depends on a tensor: the body is traced once, however "
        "often it runs",
        "write to a dfc.TensorArray or to a tensor, out[i] = x, or use dfc.scan, which stacks results; a loop "
        "over list(range(n)) is unrolled",
    ),
    (
        appends_in_branch,
        InvalidType,
        "if: the dict 'out' can't be changed in place where it depends on a tensor: both branches are traced, whatever "
        "the tensor is",
        "give the variable a new value in both branches, such as [*items, x]",
    ),
    (
        condition_of_many,
        InvalidArgument,
        "if: a condition must be a scalar, got bool[2]",
        "use dfc.any or dfc.all, or dfc.where for a choice by element",
    ),
    (
        and_of_numbers,
        InvalidArgument,
        "and: both sides must be scalars of dtype bool where one is a tensor, got float32[]",
        "use dfc.logical_and for each element, dfc.any or dfc.all for one value",
    ),
    (
        endless,
        InvalidArgument,
        "if: there are more than 40 branches and loops on tensors inside each other",
        "a function that calls itself under an `if` on a tensor is traced without end: write it as a loop",
    ),
    (
        binds_in_condition,
        InvalidType,
        "while: the condition of a `while` on tensors must only compute, this one gives y a value",
        "do that in the body: while True, and a break where it is to end",
    ),
]


@pytest.mark.parametrize(("python", "kind", "text", "hint"), ERRORS, ids=lambda v: getattr(v, "__name__", ""))
def test_what_is_wrong_is_said_at_its_line(
    python: Callable[..., Any], kind: type[DfcError], text: str, hint: str
) -> None:
    with pytest.raises(kind) as caught:
        graph_function(python)(TWO)
    first, second, *rest = str(caught.value).splitlines()
    assert first.split(" (the ")[0] == text
    assert second.startswith(f"  at {__file__}:{line_of(python, '# HERE')}")
    assert rest == [f"  {hint}"]


def test_a_variable_of_one_branch_names_the_line_of_the_branch() -> None:
    with pytest.raises(InvalidType, match=rf"\(the if at .*test_autograph_errors.py:{line_of(one_branch, 'if x')}:5\)"):
        graph_function(one_branch)(TWO)


@pytest.mark.skipif(hasattr(dfc, "assert_"), reason="the host can check it")
def test_an_assert_on_a_tensor_without_host_operations_is_an_error() -> None:
    with pytest.raises(InvalidType, match=r"an assert on a tensor, bool\[\], can't be checked while tracing"):
        graph_function(asserts)(TWO)


def test_an_error_raised_in_a_branch_says_that_both_are_traced() -> None:
    @graph_function
    def run(x: Any) -> Any:
        if x < 0.0:
            raise ValueError("negative")
        return x

    with pytest.raises(ValueError, match="negative") as caught:
        run(TWO)
    assert caught.value.__notes__ == [
        "it was raised while a block of `if` on a tensor was traced: such a block is traced whatever the tensor is, so "
        "what depends on its elements can't raise"
    ]


def test_a_list_at_a_tensor_index_says_how_to_unroll() -> None:
    @graph_function
    def run(xs: Any) -> Any:
        weights = [1.0, 2.0, 3.0, 4.0]
        for i in range(len(xs)):
            xs = xs * weights[i]
        return xs

    with pytest.raises(InvalidType, match="isn't known while 'for' is traced") as caught:
        run(XS)
    assert caught.value.__notes__ == [
        "a `for` over tensors, or over range() of a tensor or of a tensor's size, counts in tensors; list(range(n)) "
        "has Python's numbers, and is unrolled"
    ]


def test_conditions_have_no_effects() -> None:
    v = dfc.Variable(np.float32(0))

    def writes(x: Any) -> Any:
        v.assign(x)
        return x > 1.0

    @graph_function
    def in_and(x: Any) -> Any:
        return x if x > 0.0 and writes(x) else -x

    @graph_function
    def in_while(x: Any) -> Any:
        while writes(x):
            x = x - 1.0
        return x

    with pytest.raises(InvalidType, match="both sides of `and` on tensors are computed, and this one has effects"):
        in_and(TWO)
    with pytest.raises(InvalidType, match=r"the condition of a `while` on tensors must only compute, .* has effects"):
        in_while(TWO)


def frame(x: Any) -> Any:
    return locals()


def jumps_in_finally(x: Any) -> Any:
    for _ in range(2):
        try:
            x = x + 1.0
        finally:
            break  # noqa: B012
    return x


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        (frame, "it calls locals(), which looks at the function's own frame"),
        (jumps_in_finally, "it has a break in a `finally`"),
        (np.sin, "it is not written in Python"),
        (len, "it is not written in Python"),
    ],
)
def test_what_cannot_be_converted_is_refused_with_the_reason(python: Callable[..., Any], reason: str) -> None:
    with pytest.raises(InvalidType) as caught:
        graph_function(python).graph(TensorSpec((), "float32"))
    name = python.__name__
    lines = str(caught.value).splitlines()
    assert lines[0] == f"autograph: {name!r} can't be converted: {reason}"
    assert lines[1].startswith(f"  at {__file__}:")
    assert lines[2] == (
        "  write it with dfc.cond, dfc.while_loop and dfc.scan and leave out autograph=True, or move that part into a "
        "function under @dfc.autograph.do_not_convert"
    )


def test_generators_and_functions_without_source_are_refused() -> None:
    def generator(x: Any) -> Iterator[Any]:
        yield x

    with pytest.raises(InvalidType, match="'generator' is a generator, whose body does not run when it is called"):
        graph_function(generator)
    namespace: dict[str, Any] = {}
    exec("def bare(x):\n    return x", namespace)
    with pytest.raises(InvalidType, match="'bare' can't be converted: its source is not to be had: <string> can't be"):
        graph_function(namespace["bare"])(TWO)


def test_generators_that_are_called_run_as_they_are() -> None:
    def powers(x: Any, n: int) -> Iterator[Any]:
        for k in range(n):
            yield x**k

    @graph_function
    def run(x: Any) -> Any:
        total = 0.0
        for p in powers(x, 3):
            total = total + p
        return total

    assert run(TWO).item() == 7.0


def test_lists_that_hold_tensors_of_a_body_are_found_out_later() -> None:
    class Log:
        def __init__(self) -> None:
            self.items: list[Any] = []

    log = Log()

    @graph_function
    def run(xs: Any) -> Any:
        for x in xs:
            log.items.append(x)
        return log.items[0]

    with pytest.raises(FailedPrecondition, match="stands for a value inside 'for', whose trace has ended"):
        run(XS)
