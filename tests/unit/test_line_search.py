"""L-BFGS with a search for the step length, a loop in the compiled step, beside NumPy and SciPy."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from numpy.testing import assert_allclose

import dfc
from dfc.errors import InvalidArgument

Array = np.ndarray[Any, np.dtype[np.float64]]
VALLEY = np.array([-1.2, 1.0, -0.5, 0.8])


def rosenbrock(x: Any) -> Any:
    """Its minimum is 0, at ones."""
    return dfc.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def stepper(optimizer: Any, loss: Callable[[], Any], variables: list[Any]) -> Any:
    @dfc.function
    def step() -> Any:
        optimizer.minimize(loss, variables)
        return loss()

    return step


def by_numpy(x: Array, steps: int, memory: int, trials: int, curvature: float | None) -> Iterator[Array]:
    """The points of L-BFGS (Nocedal and Wright, algorithms 7.4 and 7.5) with the search that LBFGS tells of."""
    f, slope_of = scipy.optimize.rosen, scipy.optimize.rosen_der
    pairs: list[tuple[Array, Array]] = []
    for _ in range(steps):
        gradient = slope_of(x)
        direction = two_loops(gradient, pairs)
        length, low, high, slope = 1.0, 0.0, np.inf, direction @ gradient
        for _ in range(trials):
            there = x - length * direction
            left, enough = direction @ slope_of(there), f(there) <= f(x) - 1e-4 * length * slope
            if enough and (curvature is None or abs(left) <= curvature * slope):
                low = length
                break
            if enough and left > 0:
                low = length
            else:
                high = length
            length = 2 * length if high == np.inf else (low + high) / 2
        after = x - low * direction
        pairs = [*pairs, (after - x, slope_of(after) - gradient)][-memory:]
        x = after
        yield x


def two_loops(gradient: Array, pairs: list[tuple[Array, Array]]) -> Array:
    def bowl(s: Array, y: Array) -> bool:
        return bool(s @ y > 1e-12 * y @ y)

    q, factors = gradient, []
    for s, y in reversed(pairs):
        factors.append(s @ q / (s @ y) if bowl(s, y) else 0.0)
        q = q - factors[-1] * y
    newest = bool(pairs) and bowl(*pairs[-1])
    q = q * (
        pairs[-1][0] @ pairs[-1][1] / (pairs[-1][1] @ pairs[-1][1]) if newest else max(1, gradient @ gradient) ** -0.5
    )
    for (s, y), factor in zip(pairs, reversed(factors), strict=True):
        q = q + s * (factor - y @ q / (s @ y)) if bowl(s, y) else q
    return q


@pytest.mark.parametrize("curvature", [None, 0.9, 0.1])
def test_every_point_is_that_of_the_same_search_in_numpy(curvature: float | None) -> None:
    w = dfc.Variable(VALLEY, name="w")
    step = stepper(dfc.train.LBFGS(memory=4, line_search_steps=20, curvature=curvature), lambda: rosenbrock(w), [w])
    for number, x in enumerate(by_numpy(VALLEY, 20, 4, 20, curvature)):
        step()
        assert_allclose(w.numpy(), x, rtol=1e-5, err_msg=f"step {number}")


def test_it_finds_scipys_minimum_and_never_goes_up() -> None:
    start = np.random.default_rng(0).normal(size=20)
    w = dfc.Variable(start, name="w")
    step = stepper(dfc.train.LBFGS(line_search_steps=20, curvature=0.9), lambda: rosenbrock(w), [w])
    theirs = scipy.optimize.minimize(
        scipy.optimize.rosen, start, jac=scipy.optimize.rosen_der, method="L-BFGS-B", tol=1e-14
    )
    losses = [step().item() for _ in range(2 * theirs.nit)]
    assert all(after <= before for before, after in itertools.pairwise(losses))
    assert_allclose(w.numpy(), theirs.x, atol=1e-4)


def test_lengths_grow_where_the_first_is_far_too_short() -> None:
    """On a parabola the right length is 1 / (learning rate times the first scale): Armijo alone takes the first one."""
    ended = {}
    for curvature in (None, 0.5):
        w = dfc.Variable(np.float64(1000.0), name="w")
        step = stepper(dfc.train.LBFGS(1e-3, line_search_steps=40, curvature=curvature), lambda w=w: w * w / 2, [w])
        step()
        ended[curvature] = w.item()
    assert_allclose(ended[None], 1000 - 1e-3)
    assert abs(ended[0.5]) <= 0.5 * 1000


def test_out_of_trials_it_takes_the_longest_length_that_was_low_enough() -> None:
    w = dfc.Variable(np.float64(1000.0), name="w")
    stepper(dfc.train.LBFGS(line_search_steps=3, curvature=0.5), lambda: w * w / 2, [w])()
    assert_allclose(w.item(), 1000 - 4)  # 1, 2 and 4 all fall too steeply still


def test_where_no_length_is_low_enough_it_stays() -> None:
    w = dfc.Variable(np.float64(0.5), name="w")
    stepper(dfc.train.LBFGS(line_search_steps=1), lambda: 100 * w * w, [w])()
    assert w.item() == 0.5


def test_the_step_has_one_loop_and_no_copy_of_the_loss_for_each_trial() -> None:
    def size(trials: int) -> int:
        w = dfc.Variable(VALLEY, name="w")
        step = stepper(dfc.train.LBFGS(line_search_steps=trials, curvature=0.9), lambda: rosenbrock(w), [w])
        return len([*step.graph().func.walk()])

    assert size(3) == size(300)


def test_a_curvature_that_cannot_be_met() -> None:
    with pytest.raises(InvalidArgument) as raised:
        dfc.train.LBFGS(curvature=1.5)
    assert "LBFGS: curvature must be between decrease and 1, got 1.5 with decrease 0.0001" in str(raised.value)
