"""Gradients of every op, to second order, against central finite differences in float64."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xdsl.ir import SSAValue

from dfc.backends import reference
from dfc.ir import dtypes
from dfc.ir.dialect import all_ops, family_ops
from dfc.ir.dims import symbol
from dfc.ir.op import Op, short_name
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import linalg, reduction, shape, state
from dfc.ir.ops.function import Call, Checkpoint, CustomGradient, Gradients, Island
from dfc.passes.autodiff import RULES, autodiff, plan
from tests.families import GRADIENTS
from tests.families.linalg import dot_axes
from tests.families.rows import Build, GradientCase, X, normal
from tests.programs import NDArray, Trace, random_program
from tests.support import run_xla

STEP = 1e-6
NAN = float("nan")


def weighted(trace: Trace, values: Sequence[SSAValue], seed: int) -> SSAValue:
    """A scalar that depends on every element of `values` in its own measure."""
    terms = []
    for i, value in enumerate(values):
        weights = trace.constant(normal(*value.type.get_shape(), seed=seed + i))  # type: ignore[attr-defined]
        terms.append(trace.sum(trace(ew.Multiply, value, weights)))
    return trace(ew.AddN, *terms)


def add_gradients(trace: Trace, losses: list[SSAValue], xs: Sequence[SSAValue], orders: int) -> list[list[SSAValue]]:
    """Gradients of losses[0] by xs, then of a scalar made of them, and so on; each such scalar joins `losses`."""
    found = []
    for order in range(orders):
        kinds = plan([losses[-1]], xs)
        assert kinds == ("dense",) * len(xs)
        grads = trace.gradients([losses[-1]], xs, kinds)
        found.append(grads)
        if order + 1 < orders:
            losses.append(weighted(trace, grads, seed=100 * (order + 1)))
    return found


def differences(run: Callable[[list[NDArray]], list[NDArray]], inputs: list[NDArray]) -> list[list[NDArray]]:
    """Central differences of each scalar that `run` gives, by each input."""
    found: list[list[NDArray]] = []
    for i, x in enumerate(inputs):
        slopes = []
        for index in np.ndindex(x.shape):
            sides = []
            for step in (STEP, -STEP):
                moved = [np.array(v) for v in inputs]
                moved[i][index] += step
                sides.append(np.array(run(moved)))
            slopes.append((sides[0] - sides[1]) / (2 * STEP))
        found.append(list(np.moveaxis(np.reshape(slopes, (*x.shape, -1)), -1, 0)))
    return [list(row) for row in zip(*found, strict=True)]


def check(build: Build, inputs: Sequence[NDArray], orders: int) -> None:
    inputs = [np.asarray(x, np.float64) for x in inputs]
    trace = Trace({f"x{i}": (x.shape, "float64") for i, x in enumerate(inputs)})
    losses = [weighted(trace, [build(trace, *trace.inputs)], seed=50)]
    grads = add_gradients(trace, losses, trace.inputs, orders)
    program = trace.finish([*losses, *(g for row in grads for g in row)])
    autodiff(program)
    program.verify()
    exact = reference.run(program, inputs)[0][orders:]
    numeric = differences(lambda xs: reference.run(program, xs)[0][:orders], inputs)
    for got, want in zip(exact, [d for row in numeric for d in row], strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


def gradient(build: Build, *inputs: Any) -> list[NDArray]:
    """The gradients of the sum of what `build` gives."""
    arrays = [np.asarray(x, np.float64) for x in inputs]
    trace = Trace({f"x{i}": (x.shape, "float64") for i, x in enumerate(arrays)})
    y = build(trace, *trace.inputs)
    program = trace.finish(trace.gradients([y], trace.inputs, plan([y], trace.inputs)))
    autodiff(program)
    program.verify()
    return reference.run(program, arrays)[0]


def nonlinear(case: GradientCase) -> Build:
    """Second derivatives of this aren't all zero."""

    def build(trace: Trace, *xs: SSAValue) -> SSAValue:
        y = case(trace, *xs)
        return trace(ew.Add, y, trace(ew.Sine, y))

    return build


@pytest.mark.parametrize("case", GRADIENTS, ids=[f"{i}-{short_name(c.op)}" for i, c in enumerate(GRADIENTS)])
def test_gradients_equal_finite_differences(case: GradientCase) -> None:
    check(nonlinear(case), case.inputs, case.orders)


@pytest.mark.parametrize("name", dict.fromkeys(short_name(c.op) for c in GRADIENTS if not c.op.HOST_ONLY))
def test_gradients_are_the_same_through_xla(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All cases of an op are one compiled program. XLA fuses products into sums and so rounds otherwise: a rule must
    not need that equal expressions differ by exactly zero."""
    monkeypatch.setenv("DFC_CACHE_DIR", "")
    found = [case for case in GRADIENTS if short_name(case.op) == name]
    inputs = [np.asarray(x, np.float64) for case in found for x in case.inputs]
    trace = Trace({f"x{i}": (x.shape, "float64") for i, x in enumerate(inputs)})
    operands, grads = iter(trace.inputs), []
    for case in found:
        xs = list(islice(operands, len(case.inputs)))
        losses = [weighted(trace, [nonlinear(case)(trace, *xs)], seed=50)]
        grads += [g for row in add_gradients(trace, losses, xs, case.orders) for g in row]
    program = trace.finish(grads)
    autodiff(program)
    for got, want in zip(run_xla(trace.func, inputs), reference.run(program, inputs)[0], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_gradients_have_the_types_of_xs_at_every_width(dtype: str) -> None:
    for case in (c for c in GRADIENTS if c.build is None):
        trace = Trace({f"x{i}": (x.shape, dtype) for i, x in enumerate(case.inputs)})
        y = case(trace, *trace.inputs)
        program = trace.finish(trace.gradients([y], trace.inputs, plan([y], trace.inputs)))
        autodiff(program)
        program.verify()
        inputs = [x.astype(dtypes.as_dtype(dtype).numpy) for x in case.inputs]
        for x, got in zip(inputs, reference.run(program, inputs)[0], strict=True):
            assert (got.shape, got.dtype) == (x.shape, x.dtype), case.op.name
            assert np.isfinite(got.astype(np.float32)).all(), case.op.name


def test_every_op_with_a_rule_has_a_case() -> None:
    refusing = {Call, Gradients, Island}
    elsewhere = {state.Read, CustomGradient, Checkpoint}  # test_autodiff.py by variables, test_custom_gradient.py
    flow = {*family_ops("control"), *family_ops("dataflow")}  # tests/semantics: rows F1 to F18
    covered = {case.op for case in GRADIENTS} | refusing | elsewhere | flow
    assert {op.name for op in all_ops() if op in RULES} - {op.name for op in covered} == set()


def test_third_derivative() -> None:
    check(lambda t, x: t(ew.Multiply, t(ew.Tanh, x), t(ew.Exponential, x)), [normal(2)], orders=3)


def test_conversion_to_a_narrower_float_and_back() -> None:
    def build(trace: Trace, x: SSAValue) -> SSAValue:
        narrow = trace(ew.Convert, x, dtype=dtypes.float32)
        return trace.sum(trace(ew.Convert, trace(ew.Multiply, narrow, narrow), dtype=dtypes.float64))

    (got,) = gradient(build, X)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, 2 * X.astype(np.float32))


# ---- values at edges


def binary(cls: type[Op]) -> Build:
    return lambda trace, *xs: trace.sum(trace(cls, *xs))


def test_maximum_and_minimum_split_ties_in_halves() -> None:
    x, y = [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]
    for cls, want in ((ew.Maximum, [0.0, 0.5, 1.0]), (ew.Minimum, [1.0, 0.5, 0.0])):
        by_x, by_y = gradient(binary(cls), x, y)
        np.testing.assert_array_equal(by_x, want)
        np.testing.assert_array_equal(by_y, 1 - np.array(want))


def test_maximum_of_a_value_with_itself_has_gradient_one() -> None:
    (got,) = gradient(lambda t, x: t.sum(t(ew.Maximum, x, x)), [1.0, -2.0])
    np.testing.assert_array_equal(got, [1.0, 1.0])


def test_reduce_max_and_min_share_ties_equally() -> None:
    x = [[3.0, 3.0, 1.0], [0.0, 0.0, 0.0]]
    (got,) = gradient(lambda t, v: t.sum(t(reduction.ReduceMax, v, axes=(1,))), x)
    np.testing.assert_array_equal(got, [[0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]])
    (got,) = gradient(lambda t, v: t.sum(t(reduction.ReduceMin, v, axes=(0, 1))), x)
    np.testing.assert_array_equal(got, [[0, 0, 0], [1 / 3, 1 / 3, 1 / 3]])


def test_power_at_zeros() -> None:
    by_x, by_y = gradient(binary(ew.Power), [0.0, 0.0, 0.0, 2.0, 0.0], [0.0, 1.0, 2.0, 0.0, 3.0])
    np.testing.assert_array_equal(by_x, [0, 1, 0, 0, 0])
    np.testing.assert_array_equal(by_y, [0, 0, 0, np.log(2), 0])


def test_power_of_a_negative_base() -> None:
    by_x, by_y = gradient(binary(ew.Power), [-2.0], [3.0])
    np.testing.assert_array_equal(by_x, [12.0])
    np.testing.assert_array_equal(by_y, [NAN])


def test_second_derivative_of_power_by_both_at_exponent_zero() -> None:
    def build(trace: Trace, x: SSAValue, y: SSAValue) -> SSAValue:
        (by_x,) = trace.gradients([trace.sum(trace(ew.Power, x, y))], [x], ["dense"])
        return trace.sum(by_x)

    _, mixed = gradient(build, [2.0], [0.0])
    np.testing.assert_allclose(mixed, [0.5])  # d/dy of y x^(y-1) at y = 0 is 1/x


def test_abs_has_gradient_zero_at_zero() -> None:
    (got,) = gradient(lambda t, x: t.sum(t(ew.Abs, x)), [-2.0, 0.0, 3.0])
    np.testing.assert_array_equal(got, [-1, 0, 1])


def test_remainder_by_the_divisor_where_the_quotient_rounds_up() -> None:
    x = np.nextafter(3.0, 0.0)  # x / 0.1 rounds to 30, but x holds 0.1 only 29 times
    (by_y,) = gradient(lambda t, y: t.sum(t(ew.Remainder, t.constant([x]), y)), [0.1])
    np.testing.assert_array_equal(by_y, [-29.0])
    np.testing.assert_array_equal(gradient(binary(ew.Remainder), [-7.0], [2.0])[1], [3.0])


def test_select_stops_infinities_of_the_branch_not_taken() -> None:
    def build(trace: Trace, x: SSAValue) -> SSAValue:
        zero = trace.constant([0.0, 0.0])
        safe = trace(ew.Compare, x, zero, direction="GT")
        inner = trace(ew.Select, safe, x, trace.constant([1.0, 1.0]))
        return trace.sum(trace(ew.Select, safe, trace(ew.Log, inner), zero))

    np.testing.assert_array_equal(gradient(build, [0.0, 2.0])[0], [0.0, 0.5])


@pytest.mark.parametrize("axes", [(0,), (0, 1)])
def test_product_over_nothing(axes: tuple[int, ...]) -> None:
    (got,) = gradient(lambda t, x: t.sum(t(reduction.ReduceProd, x, axes=axes)), np.zeros((0, 2)))
    assert got.shape == (0, 2)


def test_maximum_over_nothing() -> None:
    (got,) = gradient(lambda t, x: t.sum(t(reduction.ReduceMax, x, axes=(0,))), np.zeros((0, 2)))
    assert got.shape == (0, 2)


# ---- sizes that aren't known when gradients are expanded


def symbolic(trace: Trace, x: SSAValue, w: SSAValue) -> SSAValue:
    """Every op that has sizes in its attributes, on a batch of unknown size."""
    b = symbol("b")
    h = trace(ew.Tanh, trace(linalg.DotGeneral, x, w, **dot_axes((), (), (1,), (0,))))
    h = trace(shape.Concatenate, h, x, axis=0)
    h = trace(shape.Slice, h, starts=(b - 1, 0), limits=(2 * b, 3), strides=(1, 2))
    h = trace(shape.Pad, h, trace.sum(w), low=(1, -1), high=(b, 2), interior=(1, 0))
    h = trace(shape.Reshape, h, shape=(3, 3 * b + 2))
    row = trace(reduction.ReduceMax, h, axes=(0,))
    h = trace(ew.Multiply, h, trace(shape.BroadcastInDim, row, shape=(3, 3 * b + 2), dims=(1,)))
    return trace.sum(trace(ew.Sine, h))


def test_gradients_at_symbolic_sizes() -> None:
    trace = Trace({"x": ((symbol("b"), 3), "float64"), "w": ((3, 3), "float64")})
    loss = symbolic(trace, *trace.inputs)
    program = trace.finish([loss, *trace.gradients([loss], trace.inputs, plan([loss], trace.inputs))])
    autodiff(program)
    program.verify()
    for batch in (1, 2):
        inputs = [normal(batch, 3, seed=7), normal(3, 3, seed=8)]
        got = reference.run(program, inputs)[0][1:]
        (want,) = differences(lambda xs: reference.run(program, xs)[0][:1], inputs)
        for exact, numeric in zip(got, want, strict=True):
            np.testing.assert_allclose(exact, numeric, rtol=2e-5, atol=2e-6)


def test_product_over_a_symbolic_size_is_right_at_zeros() -> None:
    trace = Trace({"x": ((symbol("b"), 3), "float64")})
    loss = weighted(trace, [trace(reduction.ReduceProd, trace.inputs[0], axes=(0,))], seed=0)
    program = trace.finish([loss, *trace.gradients([loss], trace.inputs, ["dense"])])
    autodiff(program)
    x = np.array([[0.0, 1.5, 0.0], [2.0, 3.0, 0.0], [4.0, -1.0, 5.0]])
    _, got = reference.run(program, [x])[0]
    (want,) = differences(lambda xs: reference.run(program, xs)[0][:1], [x])
    np.testing.assert_allclose(got, want[0], rtol=1e-6, atol=1e-9)


# ---- random programs

EXAMPLES = int(os.environ.get("DFC_EXAMPLES", "50"))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.data())
def test_gradients_of_random_programs(data: st.DataObject) -> None:
    made = random_program(lambda n: data.draw(st.integers(0, n - 1)))
    trace = made.trace
    loss = weighted(trace, made.outputs, seed=0)
    xs = [*trace.inputs, *made.refs]
    kinds = plan([loss], xs)
    program = trace.finish([loss, *trace.gradients([loss], xs, kinds)], made.tokens)
    autodiff(program)
    program.verify()
    values = [*made.arguments, *made.variables.values()]
    got = iter(reference.run(program, made.arguments, made.variables)[0][1:])

    def run(moved: list[NDArray]) -> list[NDArray]:
        n = len(made.arguments)
        return reference.run(program, moved[:n], dict(zip(made.variables, moved[n:], strict=True)))[0][:1]

    (numeric,) = differences(run, values)
    for kind, want in zip(kinds, numeric, strict=True):
        exact = next(got) if kind == "dense" else np.zeros_like(want)
        np.testing.assert_allclose(exact, want, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(want).max(initial=0))))
