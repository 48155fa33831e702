"""Functions as written: converted, on tensors, they give what Python gives on NumPy's arrays, and so do gradients."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc

X = np.array([0.5, -1.25, 2.0, 3.5, -0.75], np.float32)
S = np.float32


# Each runs as it is on NumPy's arrays: what only NumPy or only dfc has stays out of them.


def if_else(x: Any, y: Any) -> Any:
    if x > y:
        z = x * y
    else:
        z = x - y
    return z


def if_alone(x: Any, y: Any) -> Any:
    z = x
    if x > y:
        z = z * 3.0
    return z


def elif_chain(x: Any, y: Any) -> Any:
    if x > 2.0:
        z = x
    elif x > 1.0:
        z = x * y
    elif y > 0.0:
        z = y * y
    else:
        z = x + y
    return z


def nested_if(x: Any, y: Any) -> Any:
    z = x * 1.0
    if x > 0.0:
        if y > 0.0:
            z = z + y
        else:
            w = z * y
            z = w - 1.0
    return z


def returns_in_branches(x: Any, y: Any) -> Any:
    if x > y:
        return x * 2.0
    if y > 3.0:
        return y * x
    return x + y


def returns_deep(x: Any, y: Any) -> Any:
    if x > 0.0:
        if y > 0.0:
            return x * y
        x = x * 3.0
    return x - y


def returns_tuple(x: Any, y: Any) -> Any:
    if x > y:
        return {"a": x, "b": (y, x * y)}
    return {"a": y, "b": (x, x)}


def conditional_expression(x: Any, y: Any) -> Any:
    return (x if x > y else y) * (2.0 if y > 0.0 else 3.0)


def boolean_operators(x: Any, y: Any) -> Any:
    if x > 0.0 and (y > 0.0 or not x > 1.0):
        return x * y
    return x - y


def chained_comparison(x: Any, y: Any) -> Any:
    if -1.0 < x < y <= 4.0:
        return x * y
    return x + y


def while_doubling(x: Any, y: Any) -> Any:
    n = 0
    while x * x < 100.0:
        x = x * 2.0 + y * 0.125
        n += 1
    return x, n


def while_break_continue(x: Any, y: Any) -> Any:
    i = 0
    total = x * 0.0
    while i < 10 + (x > 0):
        i += 1
        if i % 3 == 0:
            continue
        if total > y + 5.0:
            break
        total = total + x * i
    return total, i


def while_true(x: Any, y: Any) -> Any:
    while True:
        x = x * 1.5 + 0.5
        if x > 10.0 or x < -10.0:
            break
        if y > 100.0:
            return y
    return x + y


def while_true_return(x: Any, y: Any) -> Any:
    n = 0
    while True:
        x = x + 1.25
        n = n + 1
        if x * x > 30.0:
            return x * y, n


def while_else(x: Any, y: Any) -> Any:
    n = 0
    while n < x * x:
        n += 1
        if n > 3.0 + y:
            break
    else:
        x = x * 10.0
    return x, n


def nested_while(x: Any, y: Any) -> Any:
    total = x * 0.0
    i = 0
    while i < x + 5.0:
        j = 0
        while j < i:
            j += 1
            if j == 2:
                continue
            total = total + y * j
        i += 1
        if total > 20.0:
            break
    return total, i


def for_sum(xs: Any, y: Any) -> Any:
    total = y * 0.0
    for x in xs:
        total = total * 0.5 + x * x
    return total


def for_range(xs: Any, y: Any) -> Any:
    total = y
    for i in range(len(xs)):
        total = total * xs[i] + 1.0
    return total, i


def for_range_bounds(xs: Any, y: Any) -> Any:
    total = y
    for i in range(1, xs.shape[0], 2):
        total = total + xs[i] * i
    for i in range(len(xs) - 1, -1, -1):
        total = total + xs[i] * i
    return total


def for_break(xs: Any, y: Any) -> Any:
    total = y * 0.0
    for x in xs:
        if x > 3.0:
            break
        total = total + x * y
    else:
        total = total * 2.0
    return total


def for_continue(xs: Any, y: Any) -> Any:
    total = y * 0.0
    for i, x in enumerate(xs):
        if x < 0.0:
            continue
        total = total + x * i
    return total


def for_return(xs: Any, y: Any) -> Any:
    for i in range(len(xs)):
        if xs[i] > y:
            return xs[i] * y, i
    return y, -1


def for_return_nested(xs: Any, y: Any) -> Any:
    total = y * 0.0
    for i in range(len(xs)):
        for j in range(len(xs)):
            total = total + xs[i] * xs[j]
            if j > i:
                break
            if total > y + 6.0:
                return total, i, j
        if xs[i] < -1.0:
            continue
        total = total + 0.25
    return total, -1, -1


def for_zip(xs: Any, y: Any) -> Any:
    total = y
    for i, (a, b) in enumerate(zip(xs, xs[::-1], strict=True)):
        total = total + a * b * i
    return total


def for_else_return(xs: Any, y: Any) -> Any:
    for x in xs:
        if x > y:
            break
    else:
        return y
    return x * x


def for_writes(xs: Any, y: Any) -> Any:
    out = xs * 0.0
    state = y
    for i in range(len(xs)):
        state, out[i] = state * 0.5 + xs[i], state * xs[i]
    return out, state


def for_augmented_item(xs: Any, y: Any) -> Any:
    out = xs * 1.0
    for i in range(len(xs)):
        out[i] += y * i
        if xs[i] < 0.0:
            out[i] *= 2.0
    out[1:3] = out[1:3] * y
    return out


def for_python_range(xs: Any, y: Any) -> Any:
    parts = []
    for i in range(3):
        parts.append(xs[i] * y)
        if i == 1:
            continue
        y = y + 1.0
    return parts


def for_python_break(xs: Any, y: Any) -> Any:
    total = y
    for k in (1.0, 2.0, 3.0, 4.0):
        total = total + k * xs[0]
        if total > 3.0:
            break
    return total


def for_python_return(xs: Any, y: Any) -> Any:
    for k in range(4):
        y = y + xs[k]
        if y > 2.5:
            return y * k
    return y * 10.0


def temporaries(xs: Any, y: Any) -> Any:
    t = xs * 2.0  # another shape than in the loop
    total = y + t[0]
    for x in xs:
        t = x * y
        if t > 0.0:
            u = t * 2.0
            total = total + u
    return total


def helper(x: Any, y: Any) -> Any:
    if x > y:
        return x * x
    return y


def calls_helper(xs: Any, y: Any) -> Any:
    total = y * 0.0
    for x in xs:
        total = total + helper(x, y)
    return total


def inner_functions(xs: Any, y: Any) -> Any:
    scale = 2.0

    def inner(a: Any, b: float = 3.0) -> Any:
        if a > 0.0:
            return a * scale
        return a * b

    total = y * 0.0
    for x in xs:
        total = total + inner(x) + (lambda z: z if z > 1.0 else -z)(x)
    return total


def nonlocal_counts(xs: Any, y: Any) -> Any:
    count = y * 0.0

    def add(a: Any) -> None:
        nonlocal count
        if a > 0.0:
            count = count + a

    for x in xs:
        add(x)
    return count


def with_and_try(xs: Any, y: Any) -> Any:
    total = y * 0.0
    for x in xs:
        try:
            if x > 3.0:
                break
            total = total + x
        except ZeroDivisionError as error:
            raise RuntimeError from error
        finally:
            total = total + 1.0
    return total


def try_return(x: Any, y: Any) -> Any:
    try:
        if x > y:
            return x * y
    except ValueError as error:
        return error
    else:
        x = x + 1.0
    return x


def matches(x: Any, y: Any) -> Any:
    match (1, 2):
        case (1, b):
            if x > y:
                return x * b
        case _:
            pass
    return y


def annotated(x: Any, y: Any) -> Any:
    z: Any
    w: float = 1.0
    if x > y:
        w: Any = x  # type: ignore[no-redef]
    z = w * y
    return z


def starred(xs: Any, y: Any) -> Any:
    first, *rest = (y, y + 1.0, y + 2.0)
    if y > 0.0:
        first, *rest = (rest[0], first, y)
    return first, rest


def max_and_min(xs: Any, y: Any) -> Any:
    best = xs[0]
    for x in xs:
        best = max(best, x)
        y = min(y, x)
    return best * y


def delete(x: Any, y: Any) -> Any:
    if x > y:
        t = x * x
        x = t + y
        del t
    return x


def collatz(n: Any) -> Any:
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


def tensor_range(n: Any) -> Any:
    total = 0
    for i in range(n):
        for j in range(i, n, 2):
            if j == 5:
                break
            total += i * j
    for i in range(n, 0, -3):
        total += i
    for i in reversed(range(n)):
        total = total * 2 % 1000 + i
    return total


class Pair(NamedTuple):
    a: Any
    b: Any


def nests(x: Any, y: Any) -> Any:
    pair = Pair(x, [y, x])
    i = 0
    while i < x + 4.0:
        pair = Pair(pair.b[0] * 0.5, [pair.a + 1.0, pair.b[1] * y])
        i += 1
    return pair


PAIRS = [(S(2.5), S(0.5)), (S(-1.5), S(2.0)), (S(1.25), S(3.5)), (S(0.25), S(-0.5))]
VECTORS = [(X, S(0.625)), (X, S(5.0)), (-X, S(-1.5))]
SCALARS: list[Callable[..., Any]] = [
    if_else, if_alone, elif_chain, nested_if, returns_in_branches, returns_deep, returns_tuple,
    conditional_expression, boolean_operators, chained_comparison, while_doubling, while_break_continue, while_true,
    while_true_return, while_else, nested_while, try_return, matches, annotated, delete, nests,
]  # fmt: skip
OF_VECTORS: list[Callable[..., Any]] = [
    for_sum, for_range, for_range_bounds, for_break, for_continue, for_return, for_return_nested, for_zip,
    for_else_return, for_writes, for_augmented_item, for_python_range, for_python_break, for_python_return, temporaries,
    calls_helper, inner_functions, nonlocal_counts, with_and_try, starred, max_and_min,
]  # fmt: skip
CASES = [*itertools.product(SCALARS, PAIRS), *itertools.product(OF_VECTORS, VECTORS)]
INTEGERS = [(collatz, 7), (collatz, 1), (collatz, 27), (tensor_range, 8), (tensor_range, 1), (tensor_range, 0)]


@functools.cache
def converted(python: Callable[..., Any]) -> Any:
    return dfc.function(autograph=True)(python)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [x for item in value for x in leaves(item)] if isinstance(value, list | tuple) else [value]


def name_of(value: Any) -> str:
    return value.__name__ if callable(value) else " ".join(str(np.asarray(v).ravel()[0]) for v in value)


@pytest.mark.parametrize(("python", "args"), CASES, ids=name_of)
def test_a_converted_function_gives_what_python_gives(python: Callable[..., Any], args: tuple[Any, ...]) -> None:
    want = leaves(python(*(np.copy(a) if np.ndim(a) else a for a in args)))
    got = leaves(converted(python)(*args))
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert_allclose(a.numpy(), b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("python", "n"), INTEGERS)
def test_loops_over_integers(python: Callable[..., Any], n: int) -> None:
    assert converted(python)(np.int32(n)).item() == python(n)


@pytest.mark.parametrize(("python", "args"), CASES, ids=name_of)
def test_gradients_are_those_of_differences(python: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """By both arguments, of the sum of all results that are floats: against central differences in float64."""

    def total(x: Any, y: Any, run: Callable[..., Any]) -> Any:
        found = [v for v in leaves(run(x, y)) if not isinstance(v, int) and "float" in str(v.dtype)]
        return functools.reduce(lambda a, b: a + b, [v.sum() if isinstance(v, np.ndarray) else v for v in found])

    x, y = (np.asarray(a, np.float64)[()] for a in args)
    function = dfc.function(autograph=True)(python)

    @dfc.function
    def gradients(a: Any, b: Any) -> Any:
        floats = [v for v in leaves(function(a, b)) if "float" in str(v.dtype)]
        return dfc.gradients(functools.reduce(lambda p, q: p + q, [dfc.sum(v) for v in floats]), [a, b])

    step = 1e-6
    for which, got in enumerate(gradients(x, y)):
        base = [np.array(x), np.array(y)]
        want = np.zeros_like(base[which])
        for place in np.ndindex(want.shape):
            ends = []
            for sign in (1, -1):
                moved = [np.array(v) for v in base]
                moved[which][place] += sign * step
                ends.append(total(*(v[()] for v in moved), python))
            want[place] = (ends[0] - ends[1]) / (2 * step)
        value = np.zeros_like(want) if got is None else got.numpy()
        assert_allclose(value, want, rtol=1e-4, atol=1e-5)
