"""`dfc.jvp`, `dfc.jacobian` and `dfc.hessian`, against formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc
from dfc.backends import pipeline
from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.ops.function import Func
from dfc.passes.phases import Phase
from tests.frontend_support import error_of

A = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 4.0]])
X = np.array([0.3, -1.2])


def test_jvp_in_and_out_of_a_trace() -> None:
    def f(x: Any) -> Any:
        return dfc.sin(A @ x)

    t = np.array([2.0, -0.5])
    for call in (lambda: dfc.jvp(f, [X], [t]), lambda: dfc.function(lambda x, t: dfc.jvp(f, (x,), (t,)))(X, t)):
        value, tangent = call()
        assert_allclose(value.numpy(), np.sin(A @ X))
        assert_allclose(tangent.numpy(), np.cos(A @ X) * (A @ t))


def test_jvp_of_several_arguments_nests_numbers_and_variables() -> None:
    w = dfc.Variable(np.float32(3.0))

    def f(p: Any, w: Any) -> Any:
        return {
            "product": p["a"] * p["b"] * w,
            "constant": p["a"] * 0 + 1.0,
            "which": dfc.argmax(dfc.stack([p["a"], w])),
        }

    value, rate = dfc.jvp(f, [{"a": 2.0, "b": 5.0}, w], [{"a": 1.0, "b": 10.0}, 100.0])
    assert value["product"].item() == 30
    assert rate["product"].item() == 1 * 15 + 10 * 6 + 100 * 10
    assert rate["constant"].item() == 0
    assert rate["which"] is None


def test_jvp_is_as_wide_as_the_forward_computation() -> None:
    """What the first of the two gradients needs alone is gone: one sine and one cosine a layer, no scatter, no sum."""
    n = 5

    def f(x: Any) -> Any:
        for _ in range(n):
            x = dfc.sin(dfc.take(x, [1, 0], axis=0))
        return x

    program = dfc.function(lambda x, t: dfc.jvp(f, [x], [t])).graph(dfc.TensorSpec((2,)), dfc.TensorSpec((2,))).module
    pipeline.lower(program, to=Phase.GRAPH)
    (func,) = (op for op in program.ops if isinstance(op, Func))
    names = [op.name for op in func.block.ops]
    assert {name: names.count(name) for name in ("df.sine", "df.cosine", "df.multiply")} == {
        "df.sine": n,
        "df.cosine": n,
        "df.multiply": n,
    }
    assert not {"df.tensor_scatter_add", "df.reduce_sum", "df.gradients"} & set(names)
    taking = {"df.take", "df.gather_nd"}
    assert sum(name in taking for name in names) == 2 * n
    assert len(names) <= 2 * n + 3 * n + 2 * n + 6  # takes, elementwise, reshapes of indices, constants and identities


def test_jvp_of_a_gradient_is_a_hessian_times_a_vector() -> None:
    def f(x: Any) -> Any:
        return dfc.sum(x**3) + x[0] * x[1] ** 2

    t = np.array([1.0, 2.0])
    _, moved = dfc.jvp(dfc.grad(f), [X], [t])
    matrix = np.array([[6 * X[0], 2 * X[1]], [2 * X[1], 6 * X[1] + 2 * X[0]]])
    assert_allclose(moved.numpy(), matrix @ t)
    assert_allclose(dfc.hessian(f)(X).numpy(), matrix)


def test_tangents_that_do_not_fit() -> None:
    with pytest.raises(InvalidArgument) as count:
        dfc.jvp(dfc.sin, [1.0], [])
    assert "jvp: there must be a tangent for each primal, got 0 for 1" in str(count.value)
    with pytest.raises(InvalidArgument) as shape:
        dfc.jvp(dfc.sin, [X], [np.ones(3)])
    assert "jvp: a tangent must be as its primal, float64[2], got float64[3]" in str(shape.value)
    with pytest.raises(InvalidArgument) as nest:
        dfc.jvp(lambda p: p["a"], [{"a": 1.0}], [[1.0]])
    assert "jvp: tangents must have the structure of the primals" in str(nest.value)
    with pytest.raises(InvalidType) as integer:
        dfc.jvp(lambda x: x, [1], [1])
    assert "jvp: an argument to differentiate by must be floating or complex, got int32[]" in str(integer.value)


def test_jacobian() -> None:
    def f(p: Any, scale: float) -> Any:
        return dfc.reshape(scale * dfc.sin(A @ p["x"]) + p["b"], (3, 1))

    found = dfc.jacobian(f)({"x": X, "b": np.zeros(3)}, 2.0)
    assert_allclose(found["x"].numpy(), (2 * np.cos(A @ X)[:, None] * A).reshape(3, 1, 2))
    assert_allclose(found["b"].numpy(), np.eye(3).reshape(3, 1, 3))
    assert dfc.jacobian(lambda x, y: y, argnums=0)(X, 1.0).numpy().tolist() == [0, 0]
    inside = dfc.function(lambda x: dfc.jacobian(lambda y, x: A @ x * y, argnums=1)(dfc.asarray(2.0), x))
    assert_allclose(inside(X).numpy(), 2 * A)
    assert dfc.jacobian(lambda x: x)(np.zeros((0, 2))).shape == (0, 2, 0, 2)


def test_hessian_of_a_quadratic_form() -> None:
    q = A.T @ A + np.array([[0.0, 1.0], [-1.0, 0.0]])
    assert_allclose(dfc.hessian(lambda x: dfc.vecdot(x, q @ x))(X).numpy(), q + q.T)


def test_jacobians_need_static_floating_results() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b",))])
    def f(x: Any) -> Any:
        return dfc.jacobian(dfc.sin)(x)

    with pytest.raises(InvalidArgument) as caught:
        f(np.ones(3, np.float32))
    message = "jacobian: the function's result must have a static shape, got float32[b]\n"
    assert str(caught.value).startswith(message)
    with pytest.raises(InvalidType) as integer:
        dfc.jacobian(lambda x: dfc.astype(x, "int32"))(X)
    assert "jacobian: the function must return a floating tensor, got int32[2]" in str(integer.value)


@pytest.mark.parametrize("argnums", [2, -2])
def test_an_argument_that_is_not_there(argnums: int) -> None:
    for call in (dfc.grad(dfc.sum, argnums), dfc.function(dfc.grad(dfc.sum, argnums))):
        assert error_of(InvalidArgument, lambda call=call: call(X), __file__) == (  # type: ignore[misc]
            f"grad: argnums={argnums} names no positional argument of 1"
        )
