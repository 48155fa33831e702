"""Which gradients there are, what is expanded, and what is refused. Values: tests/numerics/test_gradients.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from xdsl.dialects.builtin import LocationAttr, ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import irdl_op_definition

from dfc.backends import reference
from dfc.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NoGradient, NotFound
from dfc.ir import locations as loc
from dfc.ir.dialect import all_ops
from dfc.ir.dtypes import complex128, float32, float64, int32
from dfc.ir.op import Arrays, Attributes, short_name
from dfc.ir.ops import complex as cx
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import linalg, reduction, shape, state
from dfc.ir.ops.function import Call, Gradients
from dfc.ir.types import Spec, spec_of
from dfc.passes import manager
from dfc.passes.autodiff import NON_DIFFERENTIABLE, RULES, Autodiff, autodiff, non_differentiable, plan, rule
from tests.programs import Trace

NO_RULE = "register a rule for it, or keep gradients out with dfc.stop_gradient"


@irdl_op_definition
class Cube(ew.Unary):
    """An op without a gradient."""

    name = "test.cube"
    KINDS: ClassVar = ("float", "complex")

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        return [operands[0] ** 3]


@pytest.fixture(autouse=True)
def same_rules_afterwards() -> Iterator[None]:
    kept = dict(RULES), dict(NON_DIFFERENTIABLE)
    yield
    for table, before in zip((RULES, NON_DIFFERENTIABLE), kept, strict=True):
        table.clear()
        table.update(before)  # type: ignore[arg-type]


def vectors(*names: str) -> Trace:
    return Trace(dict.fromkeys(names, ((3,), "float64")))


def run(program: ModuleOp, *arguments: Any, **variables: Any) -> list[np.ndarray[Any, Any]]:
    autodiff(program)
    program.verify()
    values = {name: np.asarray(v, np.float64) for name, v in variables.items()}
    return reference.run(program, [np.asarray(a, np.float64) for a in arguments], values)[0]


def names(program: ModuleOp) -> list[str]:
    return [op.name for op in program.walk()]


# ---- plan


def test_an_unconnected_x_has_no_gradient() -> None:
    t = vectors("x", "y")
    x, y = t.inputs
    assert plan([t(ew.Sine, x)], [x, y]) == ("dense", "none")


def test_integers_and_booleans_have_no_gradient() -> None:
    t = Trace({"x": ((3,), "float64"), "n": ((3,), "int32")})
    x, n = t.inputs
    as_float = t(ew.Convert, n, dtype=float64)
    assert plan([t(ew.Multiply, x, as_float)], [x, n, as_float]) == ("dense", "none", "dense")
    assert plan([t(ew.Add, n, n)], [n, x]) == ("none", "none")
    assert plan([t(ew.Convert, x, dtype=int32)], [x]) == ("none",)
    assert plan([t(ew.Compare, x, x, direction="EQ")], [x]) == ("none",)


@pytest.mark.parametrize(
    "blocking",
    [
        lambda t, x: t(ew.StopGradient, x),
        lambda t, x: t(ew.Floor, x),
        lambda t, x: t(ew.Sign, x),
        lambda t, x: t(ew.Convert, t(ew.Convert, x, dtype=int32), dtype=float64),
        lambda t, x: t(ew.Convert, t(reduction.ArgMax, x, axis=0, dtype=int32), dtype=float64),
        lambda t, x: t(ew.Convert, t(shape.DimSize, x, axis=0), dtype=float64),
        lambda t, x: t(ew.Select, t(ew.IsFinite, x), t.constant([1.0] * 3), t.constant([2.0] * 3)),
    ],
)
def test_no_gradient_passes_through_what_is_piecewise_constant_or_stopped(blocking: Any) -> None:
    t = vectors("x")
    (x,) = t.inputs
    assert plan([blocking(t, x)], [x]) == ("none",)


def test_a_y_is_its_own_x() -> None:
    t = vectors("x")
    (x,) = t.inputs
    assert plan([x], [x]) == ("dense",)
    program = t.finish(t.gradients([x, x], [x], ["dense"]))
    np.testing.assert_array_equal(run(program, [1, 2, 3])[0], [2, 2, 2])


def test_values_of_different_functions_are_refused() -> None:
    x, y = vectors("x").inputs[0], vectors("y").inputs[0]
    with pytest.raises(InvalidArgument) as error:
        plan([y], [x])
    assert str(error.value) == "ys and xs must belong to one graph: some come from another function or region"


def test_nothing_by_nothing() -> None:
    t = vectors("x")
    assert plan([], t.inputs) == ("none",)
    assert plan(t.inputs, []) == ()


# ---- calls


def callee(module: ModuleOp) -> None:
    """@g(a, b) gives sin(a) * w and stop_gradient(b) + a missing rule of a."""
    t = Trace({"a": ((3,), "float64"), "b": ((3,), "float64")}, name="g", module=module)
    a, b = t.inputs
    w = t.op(state.Read, t.variable("w", (3,))).results[0]
    good = t(ew.Multiply, t(ew.Sine, a), w)
    t.at(20)
    bad = t(ew.Add, t(ew.StopGradient, b), t(Cube, a))
    t.finish([good, bad])


def call(t: Trace, *arguments: SSAValue) -> Any:
    specs = (Spec((3,), float64),) * 2
    return t.op(Call, *arguments, callee="g", results=specs, stateful=False).results


def test_plan_looks_through_calls() -> None:
    module = ModuleOp([])
    callee(module)
    t = Trace({"x": ((3,), "float64"), "y": ((3,), "float64")}, module=module)
    x, y = t.inputs
    w, v = t.variable("w", (3,)), t.variable("v", (3,))
    good, bad = call(t, t(ew.Tanh, x), t(Cube, y))
    # The output that isn't asked for has an op without a rule on its path, and so has the argument that doesn't count.
    assert plan([good], [x, y, w, v]) == ("dense", "none", "dense", "none")
    assert plan([bad], [y]) == ("none",)
    with pytest.raises(NoGradient) as error:
        plan([bad], [x])
    assert str(error.value) == f"No gradient defined for operation 'test.cube'\n  at model.py:20:1\n  {NO_RULE}"


def test_plan_looks_through_calls_in_calls_and_calls_without_inputs() -> None:
    module = ModuleOp([])
    inner = Trace({}, name="inner", module=module)
    inner.finish([inner.op(state.Read, inner.variable("w", ())).results[0]])
    outer = Trace({"a": ((), "float64")}, name="outer", module=module)
    scalar = (Spec((), float64),)
    w = outer.op(Call, callee="inner", results=scalar, stateful=False).results[0]
    outer.finish([outer(ew.Multiply, outer.inputs[0], w)])
    t = Trace({"x": ((), "float64")}, module=module)
    y = t.op(Call, t.inputs[0], callee="outer", results=scalar, stateful=False).results[0]
    assert plan([y], [t.inputs[0], t.variable("w", ()), t.variable("v", ())]) == ("dense", "dense", "none")


def test_a_call_of_an_unknown_function_is_refused() -> None:
    t = vectors("x")
    (y, _) = call(t, *t.inputs, *t.inputs)
    with pytest.raises(NotFound) as error:
        plan([y], t.inputs)
    assert str(error.value) == "call: the program has no function @g\n  at model.py:1:1"


def test_a_call_on_a_path_must_be_inlined_before_expansion() -> None:
    module = ModuleOp([])
    callee(module)
    t = Trace({"x": ((3,), "float64")}, module=module)
    t.at(4)
    good, _ = call(t, t.inputs[0], t.inputs[0])
    t.finish(t.gradients([good], t.inputs, plan([good], t.inputs)))
    with pytest.raises(FailedPrecondition) as error:
        autodiff(module)
    assert str(error.value) == (
        "call: the call of @g must be inlined first\n  at model.py:4:1\n  run pass inline before autodiff"
    )


# ---- expansion


def test_only_ops_on_a_path_are_differentiated() -> None:
    t = vectors("x", "y")
    x, y = t.inputs
    loss = t.sum(t(ew.Multiply, t(ew.Sine, x), t(ew.Exponential, t(Cube, y))))
    before = len(names(t.module))
    program = t.finish(t.gradients([loss], [x], plan([loss], [x])))
    assert autodiff(program) == {"expanded": 1, "made": 5}
    assert names(program)[before:-1] == [
        *("df.constant", "df.broadcast_in_dim"),  # from the sum
        *("df.multiply", "df.cosine", "df.multiply"),
    ]


def test_several_uses_are_summed_at_once() -> None:
    t = vectors("x")
    (x,) = t.inputs
    uses = [t(ew.Sine, x), t(ew.Cosine, x), t(ew.Tanh, x), t(ew.Multiply, x, x)]
    loss = t.sum(t(ew.AddN, *uses))
    program = t.finish(t.gradients([loss], [x], ["dense"]))
    before = names(program).count("df.add_n")
    point = np.array([0.5, -1.0, 2.0])
    (got,) = run(program, point)
    np.testing.assert_allclose(got, np.cos(point) - np.sin(point) + 1 - np.tanh(point) ** 2 + 2 * point)
    assert names(program).count("df.add_n") == before + 1
    assert "df.add" not in names(program)


def test_an_intermediate_x_counts_every_path_from_it_and_a_total_derivative_every_path() -> None:
    t = vectors("x")
    (x,) = t.inputs
    h = t(ew.Multiply, x, x)
    loss = t.sum(t(ew.Multiply, h, x))
    program = t.finish(t.gradients([loss], [h, x], plan([loss], [h, x])))
    by_h, by_x = run(program, [1, 2, 3])
    np.testing.assert_array_equal(by_h, [1, 2, 3])
    np.testing.assert_array_equal(by_x, [3, 12, 27])


def test_grad_ys_are_the_seeds() -> None:
    t = vectors("x", "g")
    x, g = t.inputs
    y, z = t(ew.Sine, x), t(ew.Multiply, x, x)
    program = t.finish(t.gradients([y, z], [x], ["dense"], grad_ys=[g, g]))
    point, seed = np.array([0.1, 0.2, 0.3]), np.array([1.0, -2.0, 3.0])
    np.testing.assert_allclose(run(program, point, seed)[0], seed * (np.cos(point) + 2 * point))


def test_a_y_that_is_not_floating_contributes_nothing() -> None:
    t = vectors("x")
    (x,) = t.inputs
    ys = [t(ew.Convert, x, dtype=int32), t(ew.Negate, x)]
    assert plan(ys, [x]) == ("dense",)
    np.testing.assert_array_equal(run(t.finish(t.gradients(ys, [x], ["dense"])), [1, 2, 3])[0], [-1, -1, -1])


def test_gradients_of_gradients() -> None:
    t = vectors("x")
    (x,) = t.inputs
    y = t.sum(t(ew.Power, x, t.constant([3.0] * 3)))
    kinds = plan([y], [x])
    (first,) = t.gradients([y], [x], kinds)
    assert plan([first], [x]) == ("dense",)
    (second,) = t.gradients([t.sum(first)], [x], ["dense"])
    program = t.finish([first, second])
    assert autodiff(program)["expanded"] == 2
    got = reference.run(program, [np.array([1.0, 2.0, -1.0])])[0]
    np.testing.assert_array_equal(got, [[3, 12, 3], [6, 12, -6]])


def test_a_request_in_between_passes_what_its_ys_and_grad_ys_depend_on() -> None:
    t = vectors("x", "y", "g", "u")
    x, y, g, u = t.inputs
    (by_x,) = t.gradients([t(ew.Multiply, x, y)], [x], ["dense"], grad_ys=[g])
    assert plan([by_x], [y, g, u]) == ("dense", "dense", "none")
    by_y, by_g = t.gradients([by_x], [y, g], ["dense", "dense"])
    got = run(t.finish([by_y, by_g]), [1, 1, 1], [2, 3, 4], [5, 6, 7], [0, 0, 0])
    np.testing.assert_array_equal(got, [[5, 6, 7], [2, 3, 4]])


def test_what_was_promised_and_has_no_path_is_zeros_of_the_same_type() -> None:
    t = Trace({"x": ((2, 3), "float32")})
    (x,) = t.inputs
    (first,) = t.gradients([t.sum(x)], [x], ["dense"])
    w = t.variable("w", (2,), "float32")
    grads = t.gradients([first], [x, w], [*plan([first], [x]), "dense"])
    program = t.finish(grads)
    autodiff(program)
    program.verify()
    by_x, by_w = reference.run(program, [np.ones((2, 3), np.float32)])[0]
    np.testing.assert_array_equal(by_x, np.zeros((2, 3), np.float32), strict=True)
    np.testing.assert_array_equal(by_w, np.zeros(2, np.float32), strict=True)


def test_three_ops_for_each_op_of_a_chain_and_one_tensor_of_ones() -> None:
    def made(length: int) -> int:
        t = vectors("x")
        y = t.inputs[0]
        for _ in range(length):
            y = t(ew.Tanh, y)
        return autodiff(t.finish(t.gradients([y], t.inputs, ["dense"])))["made"]

    assert [made(0), made(20), made(40)] == [2, 2 + 20 * 3, 2 + 40 * 3]


# ---- variables


def test_the_gradient_by_a_variable_sums_over_its_reads_and_an_assign_passes_none() -> None:
    """read * x before, and (read after w := 10 * w)^2: each read counts at its own value."""
    t = vectors("x")
    w = t.variable("w", (3,))
    first, token = t.op(state.Read, w).results
    unused = t.op(state.Read, w).results[0]
    written = t.op(state.Assign, w, t(ew.Multiply, first, t.constant([10.0] * 3)), token).results[0]
    second = t.op(state.Read, t.variable("w", (3,)), written).results[0]  # by another handle of the same variable
    loss = t.sum(t(ew.Add, t(ew.Multiply, first, t.inputs[0]), t(ew.Multiply, second, second)))
    other = t.variable("v", (3,))
    kinds = plan([loss], [w, other, first])
    assert kinds == ("dense", "none", "dense")
    program = t.finish([*t.gradients([loss], [w, other, first], kinds), unused], [written])
    by_w, by_first, _ = run(program, [5, 6, 7], w=[1, 2, 3])
    np.testing.assert_array_equal(by_w, [5 + 2 * 10, 6 + 2 * 20, 7 + 2 * 30])
    np.testing.assert_array_equal(by_first, [5, 6, 7])


def test_a_variable_of_integers_has_no_gradient() -> None:
    t = Trace({})
    w = t.variable("w", (3,), "int32")
    value = t.op(state.Read, w).results[0]
    assert plan([t(ew.Convert, value, dtype=float32)], [w]) == ("none",)


# ---- rules


def test_every_op_has_a_rule_or_a_reason() -> None:
    without = [op.name for op in all_ops() if op not in RULES and not NON_DIFFERENTIABLE.get(op)]
    assert without == []
    assert not set(RULES) & set(NON_DIFFERENTIABLE)


def test_a_missing_rule_names_the_op_and_the_users_line() -> None:
    t = vectors("x", "y")
    x, y = t.inputs
    t.at(12)
    cube = t(Cube, x)
    t.at(13)
    assert plan([t(ew.Add, cube, y)], [y]) == ("dense",)
    assert plan([t(ew.Add, t(ew.StopGradient, cube), x)], [x]) == ("dense",)
    loss = t.sum(t(ew.Add, cube, y))
    want = f"No gradient defined for operation 'test.cube'\n  at model.py:12:1\n  {NO_RULE}"
    with pytest.raises(NoGradient) as error:
        plan([loss], [x])
    assert str(error.value) == want
    assert isinstance(error.value, LookupError)
    program = t.finish(t.gradients([loss], [x], ["dense"]))
    with pytest.raises(NoGradient) as error:
        autodiff(program)
    assert str(error.value) == want


def test_a_rule_for_an_op_of_ones_own() -> None:
    @rule(Cube)
    def cube(op: Cube, grads: Any, b: Any) -> list[Any]:
        x = op.operands[0]
        return [b(ew.Multiply, grads[0], b(ew.Multiply, b.full(3, x), b(ew.Multiply, x, x)))]

    t = vectors("x")
    y = t(Cube, t.inputs[0])
    assert plan([y], t.inputs) == ("dense",)
    np.testing.assert_array_equal(run(t.finish(t.gradients([y], t.inputs, ["dense"])), [1, 2, 3])[0], [3, 12, 27])


def test_a_rule_overrides_ours_only_on_request() -> None:
    with pytest.raises(AlreadyExists) as error:
        rule(ew.Tanh)(lambda op, grads, b: [grads[0]])
    assert str(error.value) == (
        "operation 'tanh' already has a gradient\n  write rule(..., override=True) to take its place"
    )
    with pytest.raises(AlreadyExists):
        non_differentiable(ew.Tanh, "no")
    rule(ew.Tanh, override=True)(lambda op, grads, b: [b(ew.Negate, grads[0])])
    rule(ew.Floor, override=True)(lambda op, grads, b: [grads[0]])
    t = vectors("x")
    y = t(ew.Tanh, t(ew.Floor, t.inputs[0]))
    assert plan([y], t.inputs) == ("dense",)
    np.testing.assert_array_equal(run(t.finish(t.gradients([y], t.inputs, ["dense"])), [0, 1, 2])[0], [-1, -1, -1])
    non_differentiable(ew.Tanh, "not today", override=True)
    t = vectors("x")
    assert plan([t(ew.Tanh, t.inputs[0])], t.inputs) == ("none",)


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        (lambda op, grads, b: [], "the gradient rule must give one entry an operand, got 0 for 1"),
        (
            lambda op, grads, b: [b(reduction.ReduceSum, grads[0], axes=(0,))],
            "the gradient rule must give float64[3] for operand 0, got float64[]",
        ),
        (
            lambda op, grads, b: [lambda: b(ew.Convert, grads[0], dtype=float32)],
            "the gradient rule must give float64[3] for operand 0, got float32[3]",
        ),
    ],
)
def test_what_a_rule_gives_is_checked(faulty: Any, message: str) -> None:
    rule(Cube)(faulty)
    t = vectors("x")
    t.at(7)
    y = t(Cube, t.inputs[0])
    program = t.finish(t.gradients([y], t.inputs, ["dense"]))
    with pytest.raises(InvalidArgument) as error:
        autodiff(program)
    assert str(error.value) == f"test.cube: {message}\n  at model.py:7:1"


def test_an_error_in_the_backward_pass_names_the_forward_line() -> None:
    rule(Cube)(lambda op, grads, b: [b(shape.Reshape, grads[0], shape=(2,))])
    t = vectors("x")
    t.at(9)
    y = t(Cube, t.inputs[0])
    program = t.finish(t.gradients([y], t.inputs, ["dense"]))
    with pytest.raises(InvalidArgument) as error:
        autodiff(program)
    assert str(error.value) == (
        "reshape: the shapes must hold equally many elements, got (3) with 3 and (2) with 2 [C1]\n"
        "  at model.py:9:1 (in its gradient)"
    )


def test_a_rule_that_gives_none_ends_the_path() -> None:
    rule(Cube)(lambda op, grads, b: [None])
    t = vectors("x")
    y = t(Cube, t(ew.Tanh, t.inputs[0]))
    np.testing.assert_array_equal(run(t.finish(t.gradients([y], t.inputs, ["dense"])), [1, 2, 3])[0], [0, 0, 0])


# ---- complex numbers


def test_gradients_flow_through_linear_ops_on_complex_numbers() -> None:
    t = Trace({"z": ((2,), "complex128"), "seed": ((), "complex128")})
    z, seed = t.inputs
    y = t.sum(t(ew.Subtract, t(ew.Negate, t(shape.Reverse, z, axes=(0,))), z))
    program = t.finish(t.gradients([y], [z], plan([y], [z]), grad_ys=[seed]))
    autodiff(program)
    program.verify()
    (got,) = reference.run(program, [np.array([1 + 2j, 3 - 1j]), np.array(2 - 5j)])[0]
    np.testing.assert_array_equal(got, [-4 + 10j, -4 + 10j])


def test_the_gradient_of_complex_numbers_is_the_direction_of_steepest_ascent() -> None:
    """|z|^2 grows along z itself, and so the gradient is 2 z, not its conjugate."""
    t = Trace({"z": ((2,), "complex128")})
    z = t.inputs[0]
    squared = t(cx.Real, t(ew.Multiply, z, t(cx.Conj, z)))
    program = t.finish(t.gradients([squared], t.inputs, ["dense"]))
    autodiff(program)
    (got,) = reference.run(program, [np.array([1 + 2j, -3j])])[0]
    np.testing.assert_array_equal(got, [2 + 4j, -6j])


def test_the_gradient_of_an_analytic_function_has_the_conjugate_derivative() -> None:
    t = Trace({"z": ((2,), "complex128")})
    real = t(cx.Real, t(ew.Multiply, *t.inputs * 2))  # Re(z^2) = x^2 - y^2
    program = t.finish(t.gradients([real], t.inputs, ["dense"]))
    autodiff(program)
    (got,) = reference.run(program, [np.array([1 + 2j, 3 - 1j])])[0]
    np.testing.assert_array_equal(got, [2 - 4j, 6 + 2j])


def test_the_size_of_a_complex_number_has_gradient_zero_at_zero() -> None:
    t = Trace({"z": ((2,), "complex128")})
    program = t.finish(t.gradients([t(ew.Abs, t.inputs[0])], t.inputs, ["dense"]))
    autodiff(program)
    (got,) = reference.run(program, [np.array([0j, 3 - 4j])])[0]
    np.testing.assert_allclose(got, [0, 0.6 - 0.8j], rtol=1e-15)


def test_a_conversion_to_complex_takes_the_real_part_of_the_gradient() -> None:
    t = vectors("x")
    z = t(ew.Convert, t.inputs[0], dtype=complex128)
    real = t(cx.Real, t(ew.Multiply, z, t.constant(np.array([1j, 2 + 1j, 3]), "complex128")))
    program = t.finish(t.gradients([real], t.inputs, ["dense"]))
    autodiff(program)
    (got,) = reference.run(program, [np.array([1.0, 2.0, 3.0])])[0]
    np.testing.assert_array_equal(got, [0, 2, 3])


# ---- the pass


def location_of(op: Operation) -> LocationAttr:
    location = op.location
    assert isinstance(location, LocationAttr)
    return location


def test_backward_ops_stand_at_the_gradient_of_their_forward_op() -> None:
    t = vectors("x")
    x = t.inputs[0]
    t.at(31)
    y = t(ew.Tanh, x)
    t.at(32)
    loss = t.sum(t(ew.Sine, y))
    t.at(33)
    program = t.finish(t.gradients([loss], [x], ["dense"]))
    forward = 3
    autodiff(program)
    made = list(t.block.ops)[forward:-1]
    places = [(short_name(op), loc.describe(location_of(op))) for op in made]
    tanh, sine = "model.py:31:1 (in its gradient)", "model.py:32:1 (in its gradient)"
    assert places == [
        ("constant", sine),
        ("broadcast_in_dim", sine),
        ("cosine", sine),
        ("multiply", sine),
        ("broadcast_in_dim", tanh),
        ("multiply", tanh),
        ("subtract", tanh),
        ("multiply", tanh),
    ]
    assert location_of(made[0]) is loc.grad_location(location_of(list(t.block.ops)[2]))


def test_a_matrix_product_needs_no_transpose() -> None:
    t = Trace({"x": ((2, 3), "float64"), "w": ((3, 4), "float64")})
    axes = {"lhs_batch": (), "rhs_batch": (), "lhs_contracting": (1,), "rhs_contracting": (0,)}
    loss = t.sum(t(linalg.DotGeneral, *t.inputs, **axes))
    program = t.finish(t.gradients([loss], t.inputs, ["dense", "dense"]))
    autodiff(program)
    assert names(program).count("df.dot_general") == 3
    assert "df.transpose" not in names(program)


def test_the_pass_by_its_name() -> None:
    t = vectors("x")
    y = t(ew.Negate, t.inputs[0])
    program = t.finish(t.gradients([y], t.inputs, ["dense"]))
    (item,) = manager.parse_pipeline("autodiff")
    assert item == Autodiff()
    assert str(item) == "autodiff"
    assert item.apply(program) == {"expanded": 1, "made": 3}
    assert not any(isinstance(op, Gradients) for op in program.walk())
    assert item.apply(program) == {}


def test_types_of_gradients_are_those_of_xs() -> None:
    t = Trace({"x": ((3,), "float32")})
    w = t.variable("w", (3,), "float32")
    value = t.op(state.Read, w).results[0]
    y = t(ew.Multiply, t.inputs[0], value)
    grads = t.gradients([y], [*t.inputs, w], ["dense", "dense"])
    assert [spec_of(g.type) for g in grads] == [Spec((3,), float32)] * 2
    t.finish(grads)
    autodiff(t.module)
    assert [spec_of(o.type) for o in t.func.outputs] == [Spec((3,), float32)] * 2
