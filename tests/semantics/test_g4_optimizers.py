"""Row G4: optimisers are graph operations: SGD and Momentum against their formulas (Sutskever et al. 2013)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc
from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.ops.function import Gradients
from dfc.ir.ops.state import Assign, AssignSub
from tests.frontend_support import error_of

random = np.random.default_rng(0)
START = random.normal(size=(3, 2)).astype(np.float32)
GRADS = random.normal(size=(5, 3, 2)).astype(np.float32)


def formula(kind: str, rate: float, momentum: float) -> list[np.ndarray[Any, Any]]:
    w, v, values = START.astype(np.float64), np.zeros((3, 2)), []
    for g in GRADS:
        v = momentum * v + g
        w = w - rate * {"sgd": g, "momentum": v, "nesterov": g + momentum * v}[kind]
        values.append(w)
    return values


OPTIMIZERS = {
    "sgd": lambda: dfc.train.SGD(0.1),
    "momentum": lambda: dfc.train.Momentum(0.1, momentum=0.9),
    "nesterov": lambda: dfc.train.Momentum(0.1, momentum=0.9, use_nesterov=True),
}


@pytest.mark.parametrize("traced", [True, False])
def test_g4_a_rule_may_ask_for_the_number_of_the_step(traced: bool) -> None:
    class Harmonic(dfc.train.Optimizer):
        def step(self, gradient: Any, value: Any, slots: Any, rate: Any) -> Any:
            return rate * gradient / self.steps(gradient), {}

    w, optimizer = dfc.Variable([0.0], name="w"), Harmonic(1.0)

    def apply() -> None:
        optimizer.apply_gradients([(dfc.asarray([-6.0]), w)])

    step = dfc.function(apply) if traced else apply
    for expected in (6.0, 6 + 3.0, 6 + 3 + 2.0):
        step()
        assert w.item() == expected
    assert optimizer.iterations.item() == 3
    assert [v.name for v in optimizer.variables] == ["w/Harmonic_iterations"]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("traced", [True, False])
def test_g4_steps_equal_the_formula(kind: str, traced: bool) -> None:
    w, optimizer = dfc.Variable(START, name="w"), OPTIMIZERS[kind]()

    def apply(g: Any) -> None:
        optimizer.apply_gradients([(g, w)])

    step = dfc.function(apply) if traced else apply
    for g, expected in zip(GRADS, formula(kind, 0.1, 0.9), strict=True):
        step(dfc.asarray(g))
        assert_allclose(w.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert [v.name for v in optimizer.variables] == ([] if kind == "sgd" else ["w/momentum"])


def test_g4_minimize_is_ops_of_the_graph() -> None:
    w = dfc.Variable(START, name="w")
    optimizer = dfc.train.Momentum(0.5)

    @dfc.function
    def step(x: Any) -> Any:
        loss = dfc.mean(dfc.square(x @ w))
        optimizer.minimize(loss, [w])
        return loss

    graph = step.graph(dfc.TensorSpec((4, 3)))
    ops = [type(op) for op in graph.func.block.ops]
    assert [ops.count(kind) for kind in (Gradients, Assign, AssignSub)] == [1, 1, 1]
    assert list(graph.variables) == ["w", "w/momentum"]

    x = random.normal(size=(4, 3)).astype(np.float32)
    before = w.numpy()
    step(x)
    assert_allclose(w.numpy(), before - 0.5 * x.T @ (2 * (x @ before) / 8), rtol=1e-4, atol=1e-6)


def test_g4_minimize_takes_all_trainable_variables_by_itself() -> None:
    a, b = dfc.Variable(1.0), dfc.Variable(1.0, trainable=False)
    count = dfc.Variable(0)

    @dfc.function
    def step() -> None:
        count.assign_add(1)
        dfc.train.SGD(0.25).minimize(a * a + b * b)

    step()
    assert (a.item(), b.item(), count.item()) == (0.5, 1.0, 1)


def test_g4_the_learning_rate_may_be_a_variable() -> None:
    rate, w = dfc.Variable(0.5, trainable=False), dfc.Variable(1.0)
    optimizer = dfc.train.SGD(rate)

    @dfc.function
    def step() -> None:
        optimizer.minimize(w * 2.0, [w])

    step()
    rate.assign(0.25)
    step()
    assert w.item() == 1 - 1 - 0.5


def test_g4_a_rule_of_ones_own_is_one_small_class() -> None:
    class SignDescent(dfc.train.Optimizer):
        def update(self, gradient: dfc.Tensor, variable: dfc.Variable) -> None:
            variable.assign_sub(dfc.sign(gradient) * self.learning_rate)

    w = dfc.Variable([1.0, -1.0])
    dfc.function(lambda: SignDescent(0.5).minimize(dfc.sum(w * w * 10), [w]))()
    assert w.numpy().tolist() == [0.5, -0.5]


def test_g4_two_losses_train_two_lists_of_variables() -> None:
    a, b = dfc.Variable(2.0), dfc.Variable(3.0)
    optimizer = dfc.train.SGD(0.1)

    @dfc.function
    def step() -> Any:
        first, second = a * a * b, a * b * b
        optimizer.minimize(first, [a])
        optimizer.minimize(second, [b])
        return first, second

    step()
    assert_allclose([a.item(), b.item()], [2 - 0.1 * 2 * 2 * 3, 3 - 0.1 * 2 * 2 * 3], rtol=1e-6)


def test_g4_none_gradients_are_left_out_and_all_none_is_an_error() -> None:
    a, b = dfc.Variable(1.0, name="a"), dfc.Variable(1.0, name="b")
    dfc.train.SGD(1.0).apply_gradients([(None, a), (np.float32(0.5), b)])
    assert (a.item(), b.item()) == (1.0, 0.5)
    with pytest.raises(InvalidArgument) as caught:
        dfc.train.SGD(1.0).apply_gradients([(None, a), (None, b)])
    lines = str(caught.value).splitlines()
    assert lines[0] == "SGD: no gradient for any variable, got a, b"
    assert lines[1].startswith(f"  at {__file__}:")
    assert lines[2] == "  the loss must depend on the variables through differentiable operations"


class Doubled(dfc.train.SGD):
    """A rule of the user's own, which reads the learning rate as a number."""

    def update(self, gradient: Any, variable: dfc.Variable) -> None:
        variable.assign_sub(gradient * (2 * self.learning_rate))


@pytest.mark.parametrize(("kind", "factor"), [(dfc.train.SGD, 1), (Doubled, 2), (dfc.train.Momentum, 1)])
def test_g4_settings_changed_between_applications_outside_a_trace_take_effect(kind: Any, factor: int) -> None:
    w, optimizer, g = dfc.Variable([0.0, 0.0]), kind(1.0), dfc.asarray([1.0, 1.0])
    optimizer.momentum = 0.0
    for rate in (1.0, 100, 0.5):
        optimizer.learning_rate = rate
        optimizer.apply_gradients([(g, w)])
    assert w.numpy().tolist() == [-101.5 * factor] * 2
    if kind is dfc.train.Momentum:  # its slot holds g
        optimizer.momentum = 1.0
        optimizer.apply_gradients([(g, w)])
        assert w.numpy().tolist() == [-102.5] * 2


def test_g4_a_schedule_outside_a_trace_compiles_one_program() -> None:
    w, optimizer, g = dfc.Variable([0.0]), dfc.train.SGD(1.0), dfc.asarray([1.0])
    for rate in (1.0, 0.5, 0.25):
        optimizer.learning_rate = rate
        optimizer.apply_gradients([(g, w)])
    assert w.numpy().tolist() == [-1.75]
    assert optimizer._outside is not None
    assert len(optimizer._outside._history) == 1


def test_g4_one_variable_stands_for_a_list_of_one() -> None:
    w, optimizer = dfc.Variable([1.0, 2.0]), dfc.train.SGD(0.5)

    @dfc.function
    def step() -> None:
        optimizer.minimize(dfc.sum(w * w), w)

    step()
    assert w.numpy().tolist() == [0.0, 0.0]


def test_g4_what_is_no_learning_rate_and_no_variable_is_said_at_the_users_line() -> None:
    w, g, optimizer = dfc.Variable([1.0], name="w"), dfc.asarray([1.0]), dfc.train.SGD(0.5)

    def errors(call: Any) -> str:
        return error_of(InvalidType, call, __file__)

    for wrong in ("a", None, True):
        assert errors(lambda wrong=wrong: dfc.train.SGD(wrong)) == (
            f"SGD: learning_rate must be a number, a tensor, a Variable or a schedule, got {wrong!r}"
        )
    assert errors(lambda: optimizer.apply_gradients([(w, g)])) == (
        "SGD: apply_gradients takes (gradient, variable) pairs, in this order, got "
        "<dfc.Tensor float32[1] [1.]> for a variable"
    )
    assert errors(lambda: optimizer.apply_gradients([g])) == (
        "SGD: apply_gradients takes (gradient, variable) pairs, got <dfc.Tensor float32[1] [1.]>"
    )

    @dfc.function
    def step() -> None:
        optimizer.minimize(dfc.sum(w * w), ["w"])

    assert errors(step) == "SGD: minimize takes a list of variables, got 'w' for a variable"
