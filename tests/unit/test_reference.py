"""The reference interpreter: effects in order, calls, islands, symbolic sizes, and what it refuses."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.irdl import irdl_op_definition

from dfc.backends import reference
from dfc.errors import FailedPrecondition, Internal, InvalidArgument, NotFound
from dfc.ir.builder import Builder, create
from dfc.ir.dims import symbol
from dfc.ir.dtypes import float64
from dfc.ir.op import Arrays, Attributes
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import linalg, shape, state
from dfc.ir.ops.function import Call, Func, Island, Yield, single_block_region
from dfc.ir.ops.reduction import ReduceMax, ReduceMin, ReduceProd, ReduceSum
from dfc.ir.text import parse_program, print_program
from dfc.ir.types import Spec, tensor_type
from dfc.passes.canonicalize import canonicalize
from tests.programs import LINE, Trace, random_program


@pytest.mark.parametrize("seed", range(20))
def test_random_programs_give_what_their_ops_gave_one_by_one(seed: int) -> None:
    made = random_program(random.Random(seed).randrange, smooth=False)
    program = made.trace.finish(made.outputs, made.tokens)
    outputs, variables = reference.run(program, made.arguments, made.variables)
    for got, want in zip(outputs, made.expected, strict=True):
        np.testing.assert_array_equal(got, want, strict=True)
    assert variables.keys() == made.state.keys()
    for name, want in made.state.items():
        np.testing.assert_array_equal(variables[name], want, strict=True)


def test_a_program_from_text_means_the_same() -> None:
    made = random_program(random.Random(3).randrange, smooth=False)
    program = made.trace.finish(made.outputs, made.tokens)
    again = parse_program(print_program(program))
    want = reference.run(program, made.arguments, made.variables)[0]
    for got, value in zip(reference.run(again, made.arguments, made.variables)[0], want, strict=True):
        np.testing.assert_array_equal(got, value, strict=True)


def counter() -> Trace:
    """Adds x to the variable n and gives n before and after."""
    t = Trace({"x": ((2,), "float64")})
    n = t.variable("n", (2,))
    before, read = t.op(state.Read, n).results
    added = t.op(state.AssignAdd, n, t.inputs[0], read).results[0]
    after, last = t.op(state.Read, n, t.op(state.Group, added).results[0]).results
    t.finish([before, after], [last])
    return t


def test_effects_happen_in_order_and_the_callers_arrays_stay() -> None:
    given = {"n": np.array([1.0, 2.0]), "other": np.array(7.0)}
    (before, after), variables = reference.run(counter().func, [np.array([10.0, 20.0])], given)
    np.testing.assert_array_equal(before, [1, 2])
    np.testing.assert_array_equal(after, [11, 22])
    np.testing.assert_array_equal(variables["n"], [11, 22])
    np.testing.assert_array_equal(variables["other"], 7)
    np.testing.assert_array_equal(given["n"], [1, 2])


def test_assign_and_assign_sub() -> None:
    t = Trace({"x": ((), "float64")})
    v, w = t.variable("v", ()), t.variable("w", ())
    tokens = [t.op(state.Assign, v, t.inputs[0]).results[0], t.op(state.AssignSub, w, t.inputs[0]).results[0]]
    program = t.finish([], tokens)
    outputs, variables = reference.run(program, [np.array(3.0)], {"v": np.array(0.0), "w": np.array(10.0)})
    assert outputs == []
    assert {k: float(x) for k, x in variables.items()} == {"v": 3.0, "w": 7.0}


def test_calls_share_variables_with_their_caller() -> None:
    inner = counter()
    inner.func.properties["sym_name"] = type(inner.func.sym_name).new("count")
    t = Trace({"x": ((2,), "float64")}, name="main", module=inner.module)
    specs = (Spec((2,), float64),) * 2
    first = t.op(Call, t.inputs[0], callee="count", results=specs, stateful=True)
    second = t.op(Call, t.inputs[0], first.results[2], callee="count", results=specs, stateful=True)
    program = t.finish([first.results[0], second.results[1]], [second.results[2]])
    (start, end), variables = reference.run(program, [np.array([1.0, 2.0])], {"n": np.zeros(2)})
    np.testing.assert_array_equal(start, [0, 0])
    np.testing.assert_array_equal(end, [2, 4])
    np.testing.assert_array_equal(variables["n"], [2, 4])


def test_an_island_takes_values_and_gives_new_values_of_what_it_writes() -> None:
    t = Trace({"x": ((2,), "float64")})
    read_only, written = t.variable("r", (2,)), t.variable("w", (2,))
    kind = tensor_type((2,), float64)
    region, block = single_block_region([kind, kind, kind])
    b = Builder(block, location=LINE)
    x, r, w = block.args
    b.op(Yield, b(ew.Multiply, x, r), b(ew.Add, w, x))
    fields = {"n_inputs": 1, "n_refs": 2, "written": (1,), "results": (Spec((2,), float64),)}
    island = create(Island, [t.inputs[0], read_only, written], fields, location=LINE, regions=[region])
    t.block.add_op(island)
    program = t.finish([island.results[0]], [island.results[1]])
    given = {"r": np.array([3.0, 4.0]), "w": np.array([10.0, 20.0])}
    (product,), variables = reference.run(program, [np.array([1.0, 2.0])], given)
    np.testing.assert_array_equal(product, [3, 8])
    np.testing.assert_array_equal(variables["w"], [11, 22])
    np.testing.assert_array_equal(variables["r"], [3, 4])


def test_symbols_take_the_sizes_of_the_arguments() -> None:
    b = symbol("b")
    t = Trace({"x": ((b, 3), "float64"), "y": ((2 * b,), "float64")})
    x, y = t.inputs
    wide = t(shape.BroadcastInDim, y, shape=(2 * b, 3), dims=(0,))
    joined = t(shape.Concatenate, x, wide, axis=0)
    program = t.finish([t(shape.Reshape, joined, shape=(9 * b,)), t(shape.DimSize, joined, axis=0)])
    x_value, y_value = np.arange(6.0).reshape(2, 3), np.arange(4.0)
    flat, rows = reference.run(program, [x_value, y_value])[0]
    np.testing.assert_array_equal(flat, np.concatenate([x_value.ravel(), np.repeat(y_value, 3)]))
    assert rows == 6
    with pytest.raises(InvalidArgument) as error:
        reference.run(program, [x_value, np.arange(5.0)])
    assert str(error.value) == "input 'y' must be float64[2*b], got float64[5]"


def test_the_last_function_is_the_one_to_run() -> None:
    module = ModuleOp([])
    for name, cls in (("first", ew.Sine), ("second", ew.Cosine)):
        t = Trace({"x": ((), "float64")}, name=name, module=module)
        t.finish([t(cls, t.inputs[0])])
    assert reference.run(module, [np.array(0.0)])[0] == [1.0]
    with pytest.raises(InvalidArgument) as error:
        reference.run(ModuleOp([]), [])
    assert str(error.value) == "the program has no function to run"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "@f takes 1 inputs (x), got 0"),
        ([np.zeros(3)], "input 'x' must be float64[2], got float64[3]"),
        ([np.zeros((2, 1))], "input 'x' must be float64[2], got float64[2, 1]"),
        ([np.zeros(2, np.float32)], "input 'x' must be float64[2], got float32[2]"),
    ],
)
def test_arguments_must_fit(arguments: list[Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        reference.run(counter().module, arguments, {"n": np.zeros(2)})
    assert str(error.value) == message


def test_a_variable_without_a_value_is_named() -> None:
    with pytest.raises(NotFound) as error:
        reference.run(counter().module, [np.zeros(2)], {"m": np.zeros(2)})
    assert str(error.value) == "read: the variable 'n' has no value\n  at model.py:1:1\n  values given: ['m']"


def test_requests_for_gradients_must_be_expanded() -> None:
    t = Trace({"x": ((), "float64")})
    program = t.finish(t.gradients([t(ew.Sine, t.inputs[0])], t.inputs, ["dense"]))
    with pytest.raises(FailedPrecondition) as error:
        reference.run(program, [np.array(0.0)])
    assert str(error.value) == (
        "gradients: gradients must be expanded before they can be computed: run pass autodiff\n  at model.py:1:1"
    )


def test_an_unknown_function_is_named() -> None:
    t = Trace({})
    program = t.finish(t.op(Call, callee="g", results=(Spec((), float64),), stateful=False).results)
    with pytest.raises(NotFound) as error:
        reference.run(program, [])
    assert str(error.value) == "call: the program has no function @g\n  at model.py:1:1"


@irdl_op_definition
class Liar(ew.Unary):
    """Promises x's type and gives another."""

    name = "test.liar"
    KINDS: ClassVar = ("float",)

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        return [np.zeros(5, np.float32)]


def test_a_result_of_another_type_than_promised_is_caught() -> None:
    t = Trace({"x": ((2,), "float64")})
    program = t.finish([t(Liar, t.inputs[0])])
    with pytest.raises(Internal) as error:
        reference.run(program, [np.zeros(2)])
    assert str(error.value) == "test.liar: the result must be float64[2], got float32[5]\n  at model.py:1:1"


def test_a_full_contraction_is_a_scalar() -> None:
    t = Trace({"x": ((2, 3), "float64"), "y": ((3, 2), "float64")})
    axes = {"lhs_batch": (), "rhs_batch": (), "lhs_contracting": (0, 1), "rhs_contracting": (1, 0)}
    program = t.finish([t(linalg.DotGeneral, *t.inputs, **axes)])
    x, y = np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(3, 2) + 1
    np.testing.assert_array_equal(reference.run(program, [x, y])[0][0], np.sum(x * y.T), strict=True)


@pytest.mark.parametrize("op", [ReduceSum, ReduceProd, ReduceMax, ReduceMin])
def test_reducing_no_axis_is_the_operand(op: Any) -> None:
    """Bit for bit, as XLA has it: adding the 0 that a sum starts from would turn -0.0 into 0.0."""
    t = Trace({"x": ((2,), "float32")})
    program = t.finish([t(op, *t.inputs, axes=())])
    (result,), _ = reference.run(program, [np.float32([-0.0, np.nan])])
    assert result.tobytes() == np.float32([-0.0, np.nan]).tobytes()
    assert canonicalize(program)["simplified"] == 1
    assert isinstance(program.body.block.first_op, Func)
    assert [o.name for o in program.body.block.first_op.block.ops] == ["df.return"]


def test_a_sum_starts_from_positive_zero() -> None:
    """As XLA's does."""
    assert not np.signbit(ReduceSum.evaluate([np.float32([-0.0])], {"axes": (0,)})[0])
