"""Rows F13 to F15, F18 and G9: gradients of branches and loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.errors import NoGradient


def f64(x: Any) -> Any:
    return np.asarray(x, np.float64)


def numeric(f: Callable[..., Any], *xs: Any, eps: float = 1e-6) -> list[Any]:
    """Central differences of a scalar function by each of its inputs."""
    found = []
    for k, x in enumerate(xs):
        grad = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[index] = eps
            up, down = ([*xs[:k], x + s, *xs[k + 1 :]] for s in (step, -step))
            grad[index] = (f(*up).item() - f(*down).item()) / (2 * eps)
        found.append(grad)
    return found


def check(f: Callable[..., Any], *xs: Any, rtol: float = 1e-6) -> list[Any]:
    """Compare gradients with central differences; returns them."""
    primal = dfc.function(f)
    n = len(xs)
    grads = dfc.function(lambda *a: dfc.gradients(f(*a), list(a[:n])))(*xs)
    for got, wanted in zip(grads, numeric(primal, *xs), strict=True):
        assert_allclose(got.numpy(), wanted, rtol=rtol, atol=1e-7)
    return [g.numpy() for g in grads]


# ---- F13


@pytest.mark.parametrize("p", [True, False])
def test_f13_the_branch_that_was_not_taken_gives_zeros(p: bool) -> None:
    @dfc.function
    def f(p: Any, x: Any, y: Any) -> Any:
        z = dfc.cond(p, lambda: dfc.sum(x * x), lambda: dfc.sum(dfc.exp(y)))
        return dfc.gradients(z, [x, y])

    x, y = f64([1.0, 2.0]), f64([0.5, 0.25])
    by_x, by_y = f(np.bool_(p), x, y)
    assert_allclose(by_x.numpy(), 2 * x if p else [0, 0])
    assert_allclose(by_y.numpy(), [0, 0] if p else np.exp(y))


@pytest.mark.parametrize(("p", "wanted"), [(True, [2, 2, 2]), (False, [0, 0, 0])])
def test_f13_through_a_tensor_array_in_a_branch(p: bool, wanted: list[int]) -> None:
    """TensorFlow's testCondWithTensorArrayGrad: elements 3 times doubled, or none."""

    @dfc.function
    def f(p: Any, x: Any) -> Any:
        def doubled() -> Any:
            def body(i: Any, a: Any) -> Any:
                return i + 1, a.write(i, x[i] * 2)

            return dfc.while_loop(lambda i, a: i < 3, body, (0, dfc.TensorArray("float32", 3, ())))[1].stack()

        return dfc.gradients(dfc.cond(p, doubled, lambda: dfc.zeros((3,))), [x])[0]

    assert_array_equal(f(np.bool_(p), np.ones(3, np.float32)).numpy(), wanted)


def test_f13_integer_results_have_none() -> None:
    """TensorFlow's testCondInt."""

    def by_nothing(p: Any) -> Any:
        x = dfc.ones(())
        (grad,) = dfc.gradients(dfc.astype(dfc.cond(p, lambda: 1, lambda: 2), "float32"), [x])
        assert grad is None
        return x

    dfc.function(by_nothing).graph(dfc.TensorSpec((), "bool"))


@pytest.mark.parametrize("k", [0, 1, 2, 7])
def test_f13_case_and_nested_branches(k: int) -> None:
    def f(x: Any) -> Any:
        def inner() -> Any:
            return dfc.cond(x[0] > x[1], lambda: x * x * x, lambda: dfc.sin(x))

        return dfc.sum(dfc.case(dfc.asarray(np.int32(k)), [inner, lambda: x * 3, lambda: dfc.exp(x)]))

    check(f, f64([0.5, 1.5]))
    check(f, f64([1.5, 0.5]))


# ---- F14


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_f14_x_to_the_power_of_two_to_the_n(n: int) -> None:
    """d/dx of x^(2^n) by repeated squaring."""

    @dfc.function
    def f(x: Any, n: Any) -> Any:
        _, y = dfc.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, y * y), (0, x))
        return y, dfc.gradients(y, x)[0]

    x, power = 1.1, 2**n
    y, grad = f(f64(x), np.int32(n))
    assert_allclose([y.item(), grad.item()], [x**power, power * x ** (power - 1)], rtol=1e-12)


def test_f14_a_trip_count_that_depends_on_the_data() -> None:
    """How long it takes to get above a bound: the gradient is that of the iterations there were."""

    def f(x: Any) -> Any:
        return dfc.while_loop(lambda y: y < 100.0, lambda y: y * y + 0.1, x)

    counts = set()
    for x in (1.2, 1.5, 3.0, 20.0, 200.0):
        check(f, f64(x), rtol=1e-5)
        y, n = x, 0
        while y < 100:
            y, n = y * y + 0.1, n + 1
        counts.add(n)
    assert len(counts) >= 4


@pytest.mark.parametrize("n", [1, 31, 32, 33, 100, 1000, 10_000, 100_000])
def test_f14_any_number_of_iterations(n: int) -> None:
    """y = c y + x, n times: closed forms for y and both gradients, in one compiled function without a bound."""
    y, by_x, by_c = [t.item() for t in geometric(f64(0.5), f64(0.99), np.int32(n))]
    c = 0.99
    powers = c ** np.arange(n)
    wanted = 0.5 * powers.sum()
    assert_allclose(y, wanted, rtol=1e-9)
    assert_allclose(by_x, powers.sum(), rtol=1e-9)
    assert_allclose(by_c, 0.5 * (np.arange(1, n) * c ** np.arange(n - 1)).sum() if n > 1 else 0, rtol=1e-9, atol=1e-12)


@dfc.function
def geometric(x: Any, c: Any, n: Any) -> Any:
    _, y = dfc.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, c * y + x), (0, dfc.zeros((), dtype="float64")))
    return y, *dfc.gradients(y, [x, c])


def test_f14_one_program_for_all_lengths() -> None:
    traced = []

    def f(x: Any, n: Any) -> Any:
        traced.append(1)
        _, y = dfc.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, dfc.sin(y) + x), (0, x))
        return dfc.gradients(y, x)[0]

    g = dfc.function(f)
    for n in (3, 50, 7, 500, 3):
        want = 1.0
        y = 0.3
        for _ in range(n):
            want, y = want * math.cos(y) + 1, math.sin(y) + 0.3
        assert_allclose(g(f64(0.3), np.int32(n)).item(), want, rtol=1e-9)
    assert traced == [1]


def test_f14_nested_the_inner_count_set_by_the_outer_state() -> None:
    def f(x: Any, w: Any) -> Any:
        def outer(i: Any, y: Any) -> Any:
            def inner(j: Any, z: Any) -> Any:
                return j + 1, dfc.tanh(z * w + x)

            bound = dfc.astype(dfc.abs(y[0]) * 5, "int32") + i
            return i + 1, dfc.while_loop(lambda j, z: j < bound, inner, (0, y))[1]

        return dfc.sum(dfc.while_loop(lambda i, y: i < 4, outer, (0, x * 2))[1])

    check(f, f64([0.37, -0.81]), f64([1.3, 0.7]), rtol=1e-5)


def test_f14_a_branch_in_a_loop_in_a_branch() -> None:
    def f(x: Any, w: Any) -> Any:
        def body(i: Any, y: Any) -> Any:
            return i + 1, dfc.cond(y > 1.0, lambda: y * w - 0.5, lambda: y + w * w)

        def loop() -> Any:
            return dfc.while_loop(lambda i, y: i < 9, body, (0, x))[1]

        return dfc.cond(x > 0.0, loop, lambda: x * w)

    check(f, f64(0.3), f64(0.8))
    check(f, f64(-0.3), f64(0.8))


def test_f14_values_from_outside_get_the_sum_over_iterations() -> None:
    def f(a: Any, b: Any) -> Any:
        table = dfc.exp(a)
        return dfc.sum(dfc.fori_loop(0, 5, lambda i, y: y * b + table * y[0], b + 1.0))

    check(f, f64([0.1, 0.2]), f64([0.3, -0.4]))


def test_f14_the_final_value_that_nothing_uses_has_zeros_for_a_gradient() -> None:
    @dfc.function
    def f(x: Any, y: Any) -> Any:
        _, a, _ = dfc.while_loop(lambda i, a, b: i < 3, lambda i, a, b: (i + 1, a * b, b * 3), (0, x, y))
        return dfc.gradients(a, [x, y])

    assert [t.item() for t in f(f64(2), f64(1))] == [27, 2 * 81]  # a = x * 27 * y^3


def test_f14_what_reaches_no_y_has_no_gradient() -> None:
    @dfc.function
    def f(x: Any, y: Any) -> Any:
        _, a, _ = dfc.while_loop(lambda i, a, b: i < 3, lambda i, a, b: (i + 1, a * 2, b * 3), (0, x, y))
        by_x, by_y = dfc.gradients(a, [x, y])
        assert by_y is None
        return by_x

    assert f(f64(1), f64(1)).item() == 8


def test_f14_scans_forward_and_back_with_outputs() -> None:
    def f(xs: Any, c: Any) -> Any:
        last, ys = dfc.scan(lambda c, x: (dfc.tanh(c * x), c + x), c, xs)
        first, zs = dfc.scan(lambda c, x: (c * 0.5 + x * x, c), last, ys, reverse=True)
        return first + dfc.sum(zs * ys)

    check(f, np.random.default_rng(1).normal(size=5), f64(0.7))


def test_f14_no_rows() -> None:
    grads = dfc.function(lambda xs, c: dfc.gradients(dfc.scan(lambda c, x: (c * x, c), c, xs)[0], [xs, c]))(
        np.zeros((0,)), f64(2.0)
    )
    assert grads[0].shape == (0,)
    assert grads[1].item() == 1


def test_f14_rows_that_are_taken_by_index() -> None:
    def f(table: Any) -> Any:
        return dfc.fori_loop(
            0, dfc.asarray(np.int32(6)), lambda i, s: s * 0.9 + table[i % 4] * table[0], dfc.zeros((), dtype="float64")
        )

    check(f, f64([1.0, -2.0, 0.5, 3.0]))


def test_f14_checkpoint_inside_a_scan() -> None:
    def f(xs: Any, w: Any) -> Any:
        cell = dfc.checkpoint(lambda c, x: dfc.tanh(c * w + dfc.sin(x)))
        return dfc.scan(lambda c, x: (cell(c, x), ()), w * 0.1, xs)[0]

    check(f, np.random.default_rng(2).normal(size=6), f64(0.7))


def test_f14_custom_gradients_in_a_body() -> None:
    @dfc.custom_gradient
    def clipped(x: Any) -> Any:
        return x * x, lambda g: dfc.minimum(g * 2 * x, 1.0)

    @dfc.function
    def f(x: Any, n: Any) -> Any:
        _, y = dfc.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, clipped(y)), (0, x))
        return dfc.gradients(y, x)[0]

    assert f(f64(3.0), np.int32(2)).item() == 1
    assert_allclose(f(f64(0.1), np.int32(2)).item(), 4 * 0.1**3)


# ---- F15


def test_f15_an_unbounded_loop_inside_a_bounded_one() -> None:
    """Where XLA alone asks for maximum_iterations; nested bounds multiply."""

    def f(x: Any) -> Any:
        def outer(i: Any, y: Any) -> Any:
            return i + 1, dfc.while_loop(lambda z: z > 1.0, lambda z: z * 0.7, y * 4)

        return dfc.while_loop(lambda i, y: i < 3, outer, (0, x), maximum_iterations=10)[1]

    check(f, f64(0.9))


@pytest.mark.parametrize("known", [True, False])
def test_f15_maximum_iterations(known: bool) -> None:
    def f(x: Any) -> Any:
        bound = 40 if known else dfc.asarray(np.int32(40))
        return dfc.while_loop(lambda y: y < 2.0, lambda y: y * 1.01, x, maximum_iterations=bound)

    check(f, f64(1.0))
    check(f, f64(1.8))


def test_f15_a_training_step_through_an_unbounded_loop() -> None:
    """Newton's iteration for a square root until it is near; its input is learned."""
    a = dfc.Variable(np.float32(5.0))
    optimizer = dfc.train.SGD(5.0)

    @dfc.function
    def step(target: Any) -> Any:
        root = dfc.while_loop(lambda y: dfc.abs(y * y - a) > 1e-4, lambda y: 0.5 * (y + a / y), dfc.ones(()))
        loss = (root - target) ** 2
        optimizer.minimize(loss, [a])
        return loss

    losses = [step(np.float32(3.0)).item() for _ in range(60)]
    assert losses[-1] < 1e-4 < losses[0]
    assert abs(a.item() - 9) < 0.1


# ---- F18


def test_f18_second_order() -> None:
    @dfc.function
    def f(x: Any, n: Any) -> Any:
        _, y = dfc.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, y * y), (0, x))
        (first,) = dfc.gradients(y, x)
        (second,) = dfc.gradients(first, x)
        return y, first, second

    x = 1.1
    for n in (0, 1, 3):
        p = 2**n
        got = [t.item() for t in f(f64(x), np.int32(n))]
        assert_allclose(got, [x**p, p * x ** (p - 1), p * (p - 1) * x ** (p - 2)], rtol=1e-10, atol=1e-12)


def test_f18_second_order_of_nested_loops_branches_and_scans() -> None:
    def g(x: Any) -> Any:
        def body(i: Any, y: Any) -> Any:
            z = dfc.scan(lambda c, r: (dfc.sin(c + r), c * r), y[0], y)[1]
            return i + 1, dfc.cond(z[0] > 0.0, lambda: z * 0.5 + x, lambda: dfc.cos(z) * x)

        (grad,) = dfc.gradients(dfc.sum(dfc.while_loop(lambda i, y: i < 3, body, (0, x))[1] ** 2), x)
        return dfc.sum(grad * dfc.asarray(f64([1.0, -0.5])))

    check(g, f64([0.6, -0.4]), rtol=1e-5)


def test_f18_hessians() -> None:
    def f(x: Any) -> Any:
        return dfc.fori_loop(0, 4, lambda i, y: dfc.sum(x * x) * 0.3 + y * x[0], dfc.sum(x))

    x = f64([0.3, -0.7])
    hessian = dfc.function(dfc.hessian(f))(x).numpy()
    first = dfc.function(lambda x, v: dfc.sum(dfc.gradients(f(x), x)[0] * v))
    rows = [numeric(lambda x, v=v: first(x, v), x)[0] for v in np.eye(2)]
    assert_allclose(hessian, rows, rtol=1e-5, atol=1e-7)


# ---- G9


def test_g9_a_variable_that_is_updated_in_the_loop() -> None:
    """Each read counts at its iteration's value; what is assigned passes no gradient."""
    v = dfc.Variable(np.float64(0.0))

    @dfc.function
    def f(start: Any, x: Any, n: Any) -> Any:
        v.assign(start)

        def body(i: Any, y: Any) -> Any:
            y = y * v + x
            v.assign(v * 1.5)
            return i + 1, y

        _, y = dfc.while_loop(lambda i, y: i < n, body, (0, x))
        return y, dfc.gradients(y, [v, x])

    def oracle(offset: float, x: float, n: int) -> float:
        value, y = 0.8, x
        for _ in range(n):
            y = y * (value + offset) + x
            value *= 1.5
        return y

    n, x, eps = 5, 0.4, 1e-6
    y, (by_v, by_x) = f(f64(0.8), f64(x), np.int32(n))
    assert_allclose(y.item(), oracle(0, x, n), rtol=1e-12)
    assert_allclose(by_v.item(), (oracle(eps, x, n) - oracle(-eps, x, n)) / (2 * eps), rtol=1e-6)
    assert_allclose(by_x.item(), (oracle(0, x + eps, n) - oracle(0, x - eps, n)) / (2 * eps), rtol=1e-6)
    assert_allclose(v.item(), 0.8 * 1.5**n)


def test_g9_a_variable_read_in_both_branches() -> None:
    v = dfc.Variable(np.float64(2.0))

    @dfc.function
    def f(p: Any, x: Any) -> Any:
        y = dfc.cond(p, lambda: v * x, lambda: v * v) + v
        return dfc.gradients(y, v)[0]

    assert f(np.bool_(True), f64(3)).item() == 4
    assert f(np.bool_(False), f64(3)).item() == 5


def test_g9_sizes_that_change_have_no_gradient() -> None:
    def f(m: Any) -> Any:
        grown = dfc.while_loop(
            lambda m: dfc.dim_size(m, 0) < 100, lambda m: dfc.concat([m, m]), m, shape_invariants=[None]
        )
        return dfc.gradients(dfc.sum(grown), m)[0]

    with pytest.raises(NoGradient, match="no gradient passes through a loop in which sizes change"):
        dfc.function(f)(np.ones(3, np.float32))
