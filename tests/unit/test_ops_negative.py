"""Every labelled constraint of every op, broken once: the class and the whole text of the error, the op, the label and
the user's line. A label in an op's docstring without a row here fails."""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdsl.ir import Block
from xdsl.utils.exceptions import VerifyException

from dfc.errors import InvalidArgument
from dfc.ir import dtypes
from dfc.ir.builder import Builder, create
from dfc.ir.dialect import all_ops
from dfc.ir.op import Op, short_name
from dfc.ir.ops.elementwise import Add
from dfc.ir.ops.function import Func, Return, Yield, single_block_region
from dfc.ir.types import Spec, tensor_type
from dfc.passes.verify import verify
from tests.families import BROKEN, NEVER_BROKEN
from tests.families.rows import type_of
from tests.support import OPS, USER_LINE, program_of

BY_VERIFIER = {
    "func-C1",
    "func-C2",
    "custom_gradient-C3",
    "checkpoint-C2",
    *("if-C3", "case-C3", "while-C4", "while-C5", "scan-C5"),  # tests/unit/test_control_ops.py
}  # about the body, which `infer` does not see


def labels(op: type[Op]) -> set[str]:
    """The labels in the docstrings of an op class and its bases."""
    documents = [vars(c).get("__doc__") or "" for c in op.__mro__ if issubclass(c, Op) and c is not Op]
    return {label for text in documents for label in re.findall(r"\b(C\d+):", text)}


def test_every_label_has_a_row() -> None:
    stated = {f"{short_name(op)}-{label}" for op in all_ops() for label in labels(op)}
    assert stated == {*BROKEN, *NEVER_BROKEN, *BY_VERIFIER}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str) -> None:
    _, operands, attributes, error_class, message = BROKEN[name]
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


@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        pytest.param(
            "custom_gradient",
            {"n_ys": 1, "n_xs": 1, "given": (0,)},
            "the block must take (tensor<2xf32>) and yield (tensor<2xf32>) [C3]",
            id="custom_gradient-C3",
        ),
        pytest.param(
            "checkpoint",
            {"results": (Spec((2,), dtypes.float32),)},
            "the block must take the operands and yield the results [C2]",
            id="checkpoint-C2",
        ),
    ],
)
@pytest.mark.parametrize("takes", ["float32[2]", "float32[3]"])
def test_region(op: str, attributes: dict[str, Any], message: str, takes: str) -> None:
    """A block that takes something else, or yields it."""
    block = Block(arg_types=[type_of("float32[2]"), type_of("float32[2]")])
    region, inner = single_block_region([type_of(takes)])
    yielded = [] if takes == "float32[2]" else inner.args
    Builder(inner, location=USER_LINE).op(Yield, *yielded)
    operands = block.args if op == "custom_gradient" else block.args[:1]
    made = create(OPS[op], operands, attributes, location=USER_LINE, regions=[region])
    with pytest.raises(VerifyException) as caught:
        made.verify_()
    assert str(caught.value) == f"df.{op}: {message}"


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "message"),
    [
        ("queue_select", "", {}, "the first operand must be an index, got () [C1]"),
        ("queue_select", "int32[]", {}, "handles of queues must follow the index, got () [C2]"),
        ("enqueue", "", {}, "the first operand must be a handle to a queue, got None [C1]"),
        ("accumulator_apply", "handle accumulator ; float32[2]", {"shaped": False},
         "a tensor, or rows and indices, and a local step are needed, got 1 tensors [C3]"),
        ("accumulator_apply", "handle accumulator ; float32[2] ; int32[2] ; int64[]", {"shaped": True},
         "rows, indices, shape and a local step are needed, got 3 tensors [C3]"),
    ],
)  # fmt: skip
def test_other_operands(op: str, operands: str, attributes: dict[str, Any], message: str) -> None:
    """Other ways to break what has its row already."""
    types = [type_of(text) for text in operands.split(" ; ") if text]
    with pytest.raises(InvalidArgument) as caught:
        create(OPS[op], Block(arg_types=types).args, attributes, location=USER_LINE)
    assert str(caught.value) == f"{op}: {message}\n  at model.py:12:5"
