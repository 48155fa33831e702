"""Rows G1 (reverse mode on the graph), G2 (a gradient per op, and none) and G9 (gradients by variables)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc
from dfc.errors import NoGradient
from dfc.ir.ops.elementwise import Multiply, Sine
from dfc.passes.autodiff import NON_DIFFERENTIABLE, RULES, rule

X = np.array([0.5, -1.0, 2.0], np.float32)


def gradients_of(body: Any, *inputs: Any, grad_ys: Any = None) -> list[Any]:
    """Gradients of body(*inputs) by the inputs, as NumPy arrays or None."""

    @dfc.function
    def f(*xs: Any) -> Any:
        return dfc.gradients(body(*xs), list(xs), grad_ys)

    return [None if g is None else g.numpy() for g in f(*inputs)]


def test_g1_only_ops_on_a_path_count_and_the_rest_is_none() -> None:
    found = gradients_of(lambda x, unused: dfc.sum(x * x), X, X)
    assert_allclose(found[0], 2 * X)
    assert found[1] is None


def test_g1_several_uses_are_summed() -> None:
    (found,) = gradients_of(lambda x: dfc.sum(x * x + dfc.exp(x) + 3 * x), X)
    assert_allclose(found, 2 * X + np.exp(X) + 3, rtol=1e-6)


def test_g1_several_ys_are_summed_and_need_not_be_scalars() -> None:
    (found,) = gradients_of(lambda x: [x * x, x * 5], X)
    assert_allclose(found, 2 * X + 5)


def test_g1_grad_ys_are_the_seeds_and_default_to_ones() -> None:
    seed = np.array([1, 10, 100], np.float32)
    (found,) = gradients_of(lambda x: [x * x, x * 5], X, grad_ys=[seed, None])
    assert_allclose(found, 2 * X * seed + 5)


def test_g1_integers_and_what_goes_through_them_have_no_gradient() -> None:
    found = gradients_of(lambda x, n: dfc.sum(x * dfc.astype(n, "float32")), X, np.array([1, 2, 3]))
    assert_allclose(found[0], [1, 2, 3])
    assert found[1] is None
    assert gradients_of(lambda x: dfc.sum(dfc.astype(dfc.astype(x, "int32"), "float32")), X) == [None]
    assert gradients_of(lambda x: dfc.argmax(x), X) == [None]


def test_g1_stop_gradient_and_comparisons_pass_nothing() -> None:
    (found,) = gradients_of(lambda x: dfc.sum(dfc.where(x > 0, x * x, dfc.stop_gradient(x * 100))), X)
    assert_allclose(found, np.where(X > 0, 2 * X, 0))
    assert gradients_of(lambda x: dfc.stop_gradient(x), X) == [None]


def test_g1_gradients_of_gradients() -> None:
    @dfc.function
    def f(x: Any) -> Any:
        y = dfc.sum(x**3)
        (first,) = dfc.gradients(y, x)
        assert first is not None
        (second,) = dfc.gradients(first, x)
        return first, second

    first, second = f(X)
    assert_allclose(first.numpy(), 3 * X**2, rtol=1e-5)
    assert_allclose(second.numpy(), 6 * X, rtol=1e-5)


def test_g1_gradients_through_nested_functions() -> None:
    scale = dfc.Variable(3.0)
    inner = dfc.function(lambda x: dfc.tanh(x) * scale)

    @dfc.function
    def f(x: Any) -> Any:
        return dfc.gradients(dfc.sum(inner(inner(x))), [x, scale])

    by_x, by_scale = f(X)
    u = 3 * np.tanh(X)
    assert_allclose(by_x.numpy(), 3 * (1 - np.tanh(u) ** 2) * 3 * (1 - np.tanh(X) ** 2), rtol=1e-5, atol=1e-6)
    expected = np.sum(np.tanh(u) + 3 * (1 - np.tanh(u) ** 2) * np.tanh(X))
    assert_allclose(by_scale.item(), expected, rtol=1e-5)


def test_g1_by_an_intermediate_value() -> None:
    @dfc.function
    def f(x: Any) -> Any:
        h = dfc.exp(x)
        return dfc.gradients(dfc.sum(h * h), [h, x])

    by_h, by_x = f(X)
    assert_allclose(by_h.numpy(), 2 * np.exp(X), rtol=1e-6)
    assert_allclose(by_x.numpy(), 2 * np.exp(2 * X), rtol=1e-5)


def test_g1_grad_and_value_and_grad_in_and_out_of_a_trace() -> None:
    def loss(p: Any, x: Any) -> Any:
        return dfc.sum((x @ p["w"] + p["b"]) ** 2)

    w, b, x = np.ones((2, 1), np.float32), np.float32(0.5), np.array([[1, 2], [3, 4]], np.float32)
    residual = x @ w + b
    for call in (dfc.value_and_grad(loss), dfc.function(lambda p, x: dfc.value_and_grad(loss)(p, x))):
        value, found = call({"w": w, "b": b}, x)
        assert_allclose(value.item(), np.sum(residual**2))
        assert_allclose(found["w"].numpy(), x.T @ (2 * residual))
        assert_allclose(found["b"].item(), np.sum(2 * residual))
    (by_x, by_p) = dfc.grad(loss, argnums=(1, 0))({"w": w, "b": b}, x)
    assert_allclose(by_x.numpy(), 2 * residual @ w.T)
    assert_allclose(by_p["b"].item(), np.sum(2 * residual))


def test_g1_grad_of_python_numbers_same_tensor_twice_and_aux() -> None:
    assert dfc.grad(lambda x: x**3)(2.0).item() == 12
    x = dfc.asarray(3.0)
    assert dfc.grad(lambda a, b: a * b * b)(x, x).item() == 9
    (value, aux), found = dfc.value_and_grad(lambda x: (x * x, {"double": 2 * x}), has_aux=True)(4.0)
    assert (value.item(), aux["double"].item(), found.item()) == (16, 8, 8)
    assert dfc.grad(lambda x, y: y * 2.0)(1.0, 2.0).item() == 0
    assert dfc.grad(dfc.grad(lambda x: x**3))(2.0).item() == 12
    assert dfc.grad(dfc.function(lambda x: x * x))(5.0).item() == 10


def test_g1_relu_has_gradient_zero_at_zero() -> None:
    (found,) = gradients_of(dfc.nn.relu, np.array([-1, 0, 2, np.nan], np.float32))
    assert found[:3].tolist() == [0, 0, 1]
    assert np.isnan(dfc.nn.relu(np.float32(np.nan)).item())


def test_g2_a_registered_gradient_overrides_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (RULES, NON_DIFFERENTIABLE):
        for op, entry in dict(table).items():
            monkeypatch.setitem(table, op, entry)  # put back what `rule` takes out

    @rule(Sine, override=True)
    def sine(op: Any, grads: Any, b: Any) -> Any:
        ((g,), (x,)) = grads, op.operands
        return [b(Multiply, g, x)]

    (found,) = gradients_of(lambda x: dfc.sum(dfc.sin(x)), X)
    assert_allclose(found, X)
    monkeypatch.undo()
    (found,) = gradients_of(lambda x: dfc.sum(dfc.sin(x)) * 1.0, X)
    assert_allclose(found, np.cos(X), rtol=1e-6)


def test_g2_an_op_without_a_gradient_is_a_lookup_error_at_the_users_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RULES, Sine)
    with pytest.raises(NoGradient, match="No gradient defined for operation") as caught:
        gradients_of(lambda x: dfc.sum(dfc.sin(x)), X)
    assert isinstance(caught.value, LookupError)
    assert f"{__file__}:" in str(caught.value)


def test_g9_a_gradient_by_a_variable_sums_over_its_reads() -> None:
    w = dfc.Variable([1.0, 2.0, 3.0])

    @dfc.function
    def f(x: Any) -> Any:
        y = dfc.sum(w * x)
        w.assign_add([0.0, 0.0, 0.0])
        z = dfc.sum(w * w * x)  # a second read, after a write
        return dfc.gradients([y, z], w)

    (found,) = f(X)
    assert_allclose(found.numpy(), X + 2 * w.numpy() * X)


def test_g9_each_read_counts_at_its_own_value() -> None:
    w = dfc.Variable(2.0)

    @dfc.function
    def f() -> Any:
        a = w * w
        w.assign(5.0)
        b = w * w
        return dfc.gradients(a + b, w)

    assert f()[0].item() == 2 * 2 + 2 * 5


def test_g9_an_assignment_passes_no_gradient() -> None:
    w = dfc.Variable(2.0)

    @dfc.function
    def f(x: Any) -> Any:
        w.assign(x * 3)
        return dfc.gradients(w.read() * w.read(), [x, w])

    by_x, by_w = f(np.float32(4))
    assert by_x is None
    assert by_w.item() == 24


def test_g9_only_reads_between_xs_and_ys_count_and_the_kind_is_fixed_at_the_call() -> None:
    w, other = dfc.Variable(2.0), dfc.Variable(1.0)

    @dfc.function
    def f(x: Any) -> Any:
        y = w * x
        found = dfc.gradients(y, [w, other])
        other.assign_add(dfc.sum(w + other))  # later reads don't count
        return found

    by_w, by_other = f(np.float32(7))
    assert by_w.item() == 7
    assert by_other is None
