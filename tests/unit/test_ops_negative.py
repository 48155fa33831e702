"""Every labelled constraint of every op, broken once: the class and the whole text of the error, the op, the label and
the user's line. A label in an op's docstring without a row here fails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from xdsl.ir import Attribute, Block

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.builder import Builder, create
from dfc.ir.dialect import all_ops
from dfc.ir.dims import parse_dim
from dfc.ir.op import Op, short_name
from dfc.ir.ops.elementwise import Add
from dfc.ir.ops.function import Func, Return, single_block_region
from dfc.ir.types import CONTROL, Spec, ref_type, tensor_type
from dfc.passes.verify import verify
from tests.support import OPS, USER_LINE, program_of

Row = tuple[str, str, Mapping[str, Any], type[InvalidArgument], str]

NEVER_BROKEN = {
    "identity-C1": "every dtype is taken",
    "stop_gradient-C1": "every dtype is taken",
    "assign-C4": "only assign_add and assign_sub compute",
}
BY_VERIFIER = {"func-C1", "func-C2"}  # about the body, which `infer` does not see


def type_of(text: str) -> Attribute:
    """`float32[2,b]`, `ref float32[2]` or `token`."""
    if text == "token":
        return CONTROL
    is_ref, (name, sizes) = text.startswith("ref "), text.removeprefix("ref ").rstrip("]").split("[")
    spec = Spec(tuple(parse_dim(d) for d in sizes.split(",") if d), dtypes.as_dtype(name))
    return ref_type(spec) if is_ref else tensor_type(*spec)


def kinds(name: str, operand: str, allowed: str, got: str) -> Row:
    return name, operand, {}, InvalidType, f"the dtype must be {allowed}, got {got}"


def axes(lhs_batch: Any, rhs_batch: Any, lhs_contracting: Any, rhs_contracting: Any) -> dict[str, Any]:
    return {
        "lhs_batch": lhs_batch,
        "rhs_batch": rhs_batch,
        "lhs_contracting": lhs_contracting,
        "rhs_contracting": rhs_contracting,
    }


# Operands are written `dtype[sizes]`, apart by " ; ".
UNARY = [
    kinds("negate-C1", "uint8[2]", "int or float or complex", "uint8"),
    kinds("abs-C1", "complex64[2]", "int or float", "complex64"),
    kinds("sign-C1", "bool[2]", "int or float", "bool"),
    kinds("exponential-C1", "int32[2]", "float or complex", "int32"),
    kinds("exponential_minus_one-C1", "complex64[2]", "float", "complex64"),
    kinds("log-C1", "uint8[2]", "float or complex", "uint8"),
    kinds("log_plus_one-C1", "int8[2]", "float", "int8"),
    kinds("sqrt-C1", "int32[2]", "float or complex", "int32"),
    kinds("rsqrt-C1", "complex128[2]", "float", "complex128"),
    kinds("sine-C1", "bool[2]", "float or complex", "bool"),
    kinds("cosine-C1", "int64[2]", "float or complex", "int64"),
    kinds("tangent-C1", "string[2]", "float or complex", "string"),
    kinds("tanh-C1", "int32[2]", "float or complex", "int32"),
    kinds("logistic-C1", "complex64[2]", "float", "complex64"),
    kinds("floor-C1", "int32[2]", "float", "int32"),
    kinds("ceil-C1", "int32[2]", "float", "int32"),
    kinds("round_nearest_even-C1", "uint16[2]", "float", "uint16"),
    kinds("not-C1", "float32[2]", "bool or int or uint", "float32"),
    kinds("is_finite-C1", "int32[2]", "float", "int32"),
]


def unequal(name: str, operands: str = "float32[2] ; float32[3]") -> Row:
    listed = " and ".join(operands.split(" ; "))
    return name, operands, {}, InvalidArgument, f"operands must have equal shapes and dtypes, got {listed}"


NUMBERS = "int or uint or float or complex"
BINARY = [
    unequal("add-C1"),
    kinds("add-C2", "bool[2] ; bool[2]", NUMBERS, "bool"),
    unequal("subtract-C1", "float32[2] ; float64[2]"),
    kinds("subtract-C2", "string[] ; string[]", NUMBERS, "string"),
    unequal("multiply-C1", "int32[b] ; int32[2]"),
    kinds("multiply-C2", "bool[2] ; bool[2]", NUMBERS, "bool"),
    unequal("divide-C1"),
    kinds("divide-C2", "bool[2] ; bool[2]", NUMBERS, "bool"),
    unequal("remainder-C1"),
    kinds("remainder-C2", "complex64[2] ; complex64[2]", "int or uint or float", "complex64"),
    unequal("power-C1"),
    kinds("power-C2", "bool[2] ; bool[2]", NUMBERS, "bool"),
    unequal("maximum-C1"),
    kinds("maximum-C2", "complex64[2] ; complex64[2]", "bool or int or uint or float", "complex64"),
    unequal("minimum-C1"),
    kinds("minimum-C2", "string[2] ; string[2]", "bool or int or uint or float", "string"),
    unequal("atan2-C1"),
    kinds("atan2-C2", "int32[2] ; int32[2]", "float", "int32"),
    unequal("and-C1", "bool[2] ; int8[2]"),
    kinds("and-C2", "float32[2] ; float32[2]", "bool or int or uint", "float32"),
    unequal("or-C1", "bool[2] ; bool[]"),
    kinds("or-C2", "float16[2] ; float16[2]", "bool or int or uint", "float16"),
    unequal("xor-C1", "int8[2] ; uint8[2]"),
    kinds("xor-C2", "complex64[2] ; complex64[2]", "bool or int or uint", "complex64"),
]
OTHER_ELEMENTWISE: list[Row] = [
    ("add_n-C1", "", {}, InvalidArgument, "at least one operand is needed"),
    unequal("add_n-C2", "float32[2] ; float32[2] ; float32[3]"),
    kinds("add_n-C3", "bool[2] ; bool[2]", NUMBERS, "bool"),
    ("compare-C1", "float32[2] ; float32[3]", {"direction": "LT"}, InvalidArgument,
     "operands must have equal shapes and dtypes, got float32[2] and float32[3]"),
    ("compare-C2", "float32[2] ; float32[2]", {"direction": "<"}, InvalidArgument,
     "direction must be one of EQ, NE, LT, LE, GT, GE, got '<'"),
    ("compare-C3", "complex64[2] ; complex64[2]", {"direction": "LT"}, InvalidType,
     "the dtype must be bool or int or uint or float, got complex64"),
    ("select-C1", "int8[2] ; float32[2] ; float32[2]", {}, InvalidType, "the dtype must be bool, got int8"),
    ("select-C2", "bool[2] ; float32[2] ; float64[2]", {}, InvalidArgument,
     "operands must have equal shapes and dtypes, got float32[2] and float64[2]"),
    ("select-C3", "bool[3] ; float32[2] ; float32[2]", {}, InvalidArgument,
     "pred must be a scalar or have the shape of the branches, got bool[3] for float32[2]"),
    ("convert-C1", "string[2]", {"dtype": dtypes.int32}, InvalidType,
     "strings don't convert to numbers or back, got string to int32"),
    ("convert-C2", "complex64[2]", {"dtype": dtypes.float32}, InvalidType,
     "a complex number doesn't convert to float32: take its real part"),
]  # fmt: skip
LINALG: list[Row] = [
    ("dot_general-C1", "float32[3,4] ; float64[4,5]", axes((), (), (1,), (0,)), InvalidType,
     "operands must have equal dtypes, got float32 and float64"),
    ("dot_general-C2", "bool[3,4] ; bool[4,5]", axes((), (), (1,), (0,)), InvalidType,
     "the dtype must be int or uint or float or complex, got bool"),
    ("dot_general-C3", "float32[3,4] ; float32[4,5]", axes((), (), (2,), (0,)), InvalidArgument,
     "lhs axes must be distinct and within rank 2, got (2,)"),
    ("dot_general-C4", "float32[3,4] ; float32[4,5]", axes((), (), (1,), ()), InvalidArgument,
     "both sides need as many axes, got batch () and (), contracting (1,) and ()"),
    ("dot_general-C5", "float32[2,3] ; float32[4,3]", axes((0,), (0,), (1,), (1,)), InvalidArgument,
     "batch dimensions must match, got 2 and 4 of shapes (2, 3) and (4, 3)"),
    ("dot_general-C6", "float32[2,3] ; float32[4,5]", axes((), (), (1,), (0,)), InvalidArgument,
     "contracting dimensions must match, got 3 and 4 of shapes (2, 3) and (4, 5)"),
]  # fmt: skip


def wrong_axes(name: str) -> Row:
    message = "axes must be distinct, ascending and within rank 2, got (1, 0)"
    dtype = "bool" if name in ("reduce_and-C1", "reduce_or-C1") else "float32"
    return name, f"{dtype}[2,3]", {"axes": (1, 0)}, InvalidArgument, message


def wrong_kind(name: str, operand: str, allowed: str) -> Row:
    got = operand.split("[")[0]
    return name, operand, {"axes": (0,)}, InvalidType, f"the dtype must be {allowed}, got {got}"


INDEX = {"axis": 0, "dtype": dtypes.int32}
EMPTY_AXIS = "the axis must be in range and not empty, got axis 0 of float32[0, 3]"
REDUCTION: list[Row] = [
    wrong_axes("reduce_sum-C1"),
    wrong_kind("reduce_sum-C2", "bool[2]", NUMBERS),
    wrong_axes("reduce_prod-C1"),
    wrong_kind("reduce_prod-C2", "string[2]", NUMBERS),
    wrong_axes("reduce_max-C1"),
    wrong_kind("reduce_max-C2", "complex64[2]", "bool or int or uint or float"),
    wrong_axes("reduce_min-C1"),
    wrong_kind("reduce_min-C2", "complex128[2]", "bool or int or uint or float"),
    wrong_axes("reduce_and-C1"),
    wrong_kind("reduce_and-C2", "int8[2]", "bool"),
    wrong_axes("reduce_or-C1"),
    wrong_kind("reduce_or-C2", "float32[2]", "bool"),
    ("argmax-C1", "float32[0,3]", INDEX, InvalidArgument, EMPTY_AXIS),
    ("argmax-C2", "complex64[2]", INDEX, InvalidType, "the dtype must be bool or int or uint or float, got complex64"),
    ("argmax-C3", "float32[2]", {"axis": 0, "dtype": dtypes.float32}, InvalidType,
     "an index has an integer dtype, got float32"),
    ("argmin-C1", "float32[0,3]", INDEX, InvalidArgument, EMPTY_AXIS),
    ("argmin-C2", "string[2]", INDEX, InvalidType, "the dtype must be bool or int or uint or float, got string"),
    ("argmin-C3", "float32[2]", {"axis": 0, "dtype": dtypes.bool_}, InvalidType,
     "an index has an integer dtype, got bool"),
]  # fmt: skip
SHAPE: list[Row] = [
    ("reshape-C1", "float32[b,3]", {"shape": (4,)}, InvalidArgument,
     "the shapes must hold equally many elements, got (b, 3) with 3*b and (4) with 4"),
    ("transpose-C1", "float32[2,3]", {"permutation": (0, 0)}, InvalidArgument,
     "permutation must name each of 2 axes once, got (0, 0)"),
    ("broadcast_in_dim-C1", "float32[2,3]", {"shape": (2, 3), "dims": (1, 0)}, InvalidArgument,
     "dims must name an ascending axis of (2, 3) for each of 2 axes, got (1, 0)"),
    ("broadcast_in_dim-C2", "float32[2]", {"shape": (2, 3), "dims": (1,)}, InvalidArgument,
     "shape (2) doesn't broadcast to (2, 3): 2 is neither 1 nor 3"),
    ("concatenate-C1", "", {"axis": 0}, InvalidArgument, "at least one operand is needed"),
    ("concatenate-C2", "float32[2] ; int32[2]", {"axis": 0}, InvalidType,
     "operands must have equal dtypes, got float32[2] and int32[2]"),
    ("concatenate-C3", "float32[2] ; float32[2]", {"axis": 1}, InvalidArgument, "axis must be within rank 1, got 1"),
    ("concatenate-C4", "float32[2,3] ; float32[2,4]", {"axis": 0}, InvalidArgument,
     "sizes must match outside axis 0, got float32[2, 3] and float32[2, 4]"),
    ("slice-C1", "float32[4,4]", {"starts": (0,), "limits": (1,), "strides": (1,)}, InvalidArgument,
     "one start, limit and stride an axis of float32[4, 4] is needed, got (0,), (1,), (1,)"),
    ("slice-C2", "float32[4]", {"starts": (2,), "limits": (5,), "strides": (1,)}, InvalidArgument,
     "0 <= start <= limit <= size must hold, got 2, 5, 4"),
    ("slice-C3", "float32[4]", {"starts": (0,), "limits": (4,), "strides": (0,)}, InvalidArgument,
     "strides must be positive, got (0,)"),
    ("pad-C1", "float32[4] ; float64[]", {"low": (0,), "high": (0,), "interior": (0,)}, InvalidType,
     "the value must be a scalar of float32, got float64[]"),
    ("pad-C2", "float32[4] ; float32[]", {"low": (0, 1), "high": (0,), "interior": (0,)}, InvalidArgument,
     "one low, high and interior an axis of float32[4] is needed, got (0, 1), (0,), (0,)"),
    ("pad-C3", "float32[4] ; float32[]", {"low": (0,), "high": (0,), "interior": (-1,)}, InvalidArgument,
     "interior padding must not be negative, got (-1,)"),
    ("pad-C4", "float32[4] ; float32[]", {"low": (-3,), "high": (-2,), "interior": (0,)}, InvalidArgument,
     "padding -3 and -2 removes more than the 4 elements"),
    ("reverse-C1", "float32[4]", {"axes": (1,)}, InvalidArgument, "axes must be distinct and within rank 1, got (1,)"),
    ("iota-C1", "", {"shape": (3,), "dtype": dtypes.int32, "axis": 1}, InvalidArgument,
     "axis must be within rank 1, got 1"),
    ("iota-C2", "", {"shape": (3,), "dtype": dtypes.bool_, "axis": 0}, InvalidType,
     "the dtype must be numeric, got bool"),
    ("dim_size-C1", "float32[4]", {"axis": -1}, InvalidArgument, "axis must be within rank 1, got -1"),
]  # fmt: skip
NOT_A_REF = "the first operand must be a reference to a variable, got "
TOKENS_ONLY = "only control tokens may follow the data operands, got "


def updates(name: str) -> list[Row]:
    return [
        (f"{name}-C1", "float32[2] ; float32[2]", {}, InvalidType, NOT_A_REF + "tensor<2xf32>"),
        (f"{name}-C2", "ref float32[2] ; float32[2] ; float32[2]", {}, InvalidType, TOKENS_ONLY + "tensor<2xf32>"),
        (f"{name}-C3", "ref float32[2] ; float32[3]", {}, InvalidArgument,
         "the value must match the variable, float32[2], got float32[3]"),
    ]  # fmt: skip


STATE: list[Row] = [
    ("variable-C1", "", {"variable": "w", "shape": (parse_dim("b"),), "dtype": dtypes.float32}, InvalidArgument,
     "a variable needs a static shape, got float32[b]"),
    ("read-C1", "float32[2]", {}, InvalidType, NOT_A_REF + "tensor<2xf32>"),
    ("read-C2", "ref float32[2] ; float32[]", {}, InvalidType, TOKENS_ONLY + "tensor<f32>"),
    *updates("assign"),
    *updates("assign_add"),
    kinds("assign_add-C4", "ref bool[2] ; bool[2]", NUMBERS, "bool"),
    *updates("assign_sub"),
    kinds("assign_sub-C4", "ref string[] ; string[]", NUMBERS, "string"),
    ("group-C1", "token ; float32[]", {}, InvalidType, TOKENS_ONLY + "tensor<f32>"),
]  # fmt: skip
SCALAR = Spec((), dtypes.float32)
FUNCTION: list[Row] = [
    ("return-C1", "token ; float32[]", {}, InvalidArgument, "control tokens must come after all outputs"),
    ("call-C1", "token ; float32[]", {"callee": "f", "results": (SCALAR,), "stateful": True}, InvalidArgument,
     "control tokens must come after all inputs"),
    ("gradients-C1", "float32[] ; float32[] ; float32[]", {"n_ys": 2, "n_xs": 2, "kinds": ("dense", "dense")},
     InvalidArgument, "3 operands don't fit 2 ys, 2 xs and none or 2 grad_ys"),
    ("gradients-C2", "float32[] ; float32[2] ; float32[2]", {"n_ys": 1, "n_xs": 1, "kinds": ("dense",)},
     InvalidArgument, "grad_ys must match ys, got float32[2] for float32[]"),
    ("gradients-C3", "float32[] ; float32[2]", {"n_ys": 1, "n_xs": 1, "kinds": ("sparse",)}, InvalidArgument,
     "kinds must be dense or none, one for each of 1 xs, got ('sparse',)"),
    ("gradients-C4", "float32[] ; int32[2]", {"n_ys": 1, "n_xs": 1, "kinds": ("dense",)}, InvalidType,
     "a gradient needs a floating or complex x, got int32[2]"),
    ("island-C1", "float32[] ; float32[]", {"n_inputs": 1, "n_refs": 1, "written": (), "results": ()}, InvalidArgument,
     "operands must be 1 tensors, 1 references, then tokens, got (tensor<f32>, tensor<f32>)"),
    ("island-C2", "float32[] ; ref float32[]", {"n_inputs": 1, "n_refs": 1, "written": (1,), "results": ()},
     InvalidArgument, "written=(1,) must index 1 references"),
]  # fmt: skip
ROWS = {r[0]: r for r in (*UNARY, *BINARY, *OTHER_ELEMENTWISE, *LINALG, *REDUCTION, *SHAPE, *STATE, *FUNCTION)}


def labels(op: type[Op]) -> set[str]:
    """The labels in the docstrings of an op class and its bases."""
    documents = [vars(c).get("__doc__") or "" for c in op.__mro__ if issubclass(c, Op) and c is not Op]
    return {label for text in documents for label in re.findall(r"\b(C\d+):", text)}


def test_every_label_has_a_row() -> None:
    stated = {f"{short_name(op)}-{label}" for op in all_ops() for label in labels(op)}
    assert stated == {*ROWS, *NEVER_BROKEN, *BY_VERIFIER}


@pytest.mark.parametrize("name", ROWS)
def test_broken(name: str) -> None:
    _, operands, attributes, error_class, message = ROWS[name]
    op, label = name.rsplit("-", 1)
    types = [type_of(text) for text in operands.split(" ; ") if text]
    with pytest.raises(InvalidArgument) as caught:
        create(OPS[op], Block(arg_types=types).args, attributes, location=USER_LINE)
    assert type(caught.value) is error_class
    assert str(caught.value) == f"{op}: {message} [{label}]\n  at model.py:12:5"


@pytest.mark.parametrize("name", ["identity", "stop_gradient", "assign"])
def test_nothing_to_break(name: str) -> None:
    """What NEVER_BROKEN says: these take every dtype."""
    for dtype in dtypes.ALL:
        types = [tensor_type((2,), dtype)] if name != "assign" else [type_of(f"ref {dtype}[2]"), type_of(f"{dtype}[2]")]
        create(OPS[name], Block(arg_types=types).args, location=USER_LINE)


def body(terminated: bool, arg_names: tuple[str, ...]) -> Func:
    region, block = single_block_region([type_of("float32[2]")])
    builder = Builder(block, location=USER_LINE)
    result = builder(Add, block.args[0], block.args[0])
    if terminated:
        builder.op(Return, result)
    attributes = {"sym_name": "f", "arg_names": arg_names, "result_names": ("y",)}
    return create(Func, (), attributes, location=USER_LINE, regions=[region])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        pytest.param(lambda: body(False, ("x",)), "the body must end in df.return [C1]", id="func-C1"),
        pytest.param(
            lambda: body(True, ()), "0 input and 1 output names for 1 inputs and 1 outputs [C2]", id="func-C2"
        ),
    ],
)
def test_function_body(function: Any, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        verify(program_of(function()))
    assert str(caught.value) == f"func: df.func @f: {message}\n  at model.py:12:5"
