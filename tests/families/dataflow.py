"""Control flow as dataflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.dims import symbol
from dfc.ir.types import Spec
from tests.families.rows import Broken

# ---- broken constraints

ENTER = {"frame": "loop", "is_constant": False, "parallel_iterations": 10}
STACK = {"label": "s", "dtype": dtypes.float32, "swap_memory": False}
ROW = {"element": (Spec((2,), dtypes.float32),)}
PACK = {**ROW, "length": (symbol("n"),), "reverse": False}


def value(name: str, rest: str = "", attributes: Mapping[str, Any] | None = None) -> Broken:
    """A token where a value is needed."""
    got = "the operand must be a tensor or a handle, got !df.control"
    return f"{name}-C1", f"token{rest}", attributes or {}, InvalidType, got


def on_stack(name: str, count: int, tensors: str = "", attributes: Mapping[str, Any] | None = None) -> list[Broken]:
    """Operands that are wrong for an op on a stack that takes `count` tensors; `tensors` fit."""
    fitting = f" ; {tensors}" if tensors else ""
    wrong = " ; ".join(["float32[2]"] * (count + 1))
    got = ", ".join(["tensor<2xf32>"] * (count + 1))
    return [
        (f"{name}-C1", f"handle queue{fitting}", attributes or {}, InvalidType,
         'the first operand must be a handle to a stack, got !df.resource<"queue">'),
        (f"{name}-C2", f"handle stack ; {wrong}", attributes or {}, InvalidArgument,
         f"{count} tensor{'s' if count != 1 else ''} and then control tokens must follow the handle, got ({got})"),
    ]  # fmt: skip


BROKEN: list[Broken] = [
    value("switch", " ; bool[]"),
    ("switch-C2", "float32[2] ; int32[]", {}, InvalidType,
     "the second operand must be a scalar of dtype bool, got int32[]"),
    ("merge-C1", "float32[2] ; float32[3]", {"result": (Spec((2,), dtypes.float32),)}, InvalidArgument,
     "the operands, one at least, must fit float32[2], got (tensor<2xf32>, tensor<3xf32>)"),
    value("enter", attributes=ENTER),
    ("enter-C2", "float32[2]", {**ENTER, "frame": ""}, InvalidArgument, "a frame needs a name, got ''"),
    ("enter-C3", "float32[2]", {**ENTER, "parallel_iterations": 0}, InvalidArgument,
     "parallel_iterations must be 1 at least, got 0"),
    value("exit"),
    value("next_iteration"),
    ("loop_cond-C1", "bool[2]", {}, InvalidType, "the operand must be a scalar of dtype bool, got bool[2]"),
    ("control_trigger-C1", "float32[]", {}, InvalidType, "the operands must be control tokens, got tensor<f32>"),
    ("stack-C1", "float32[]", STACK, InvalidType, "max_size must be an integer scalar, got float32[]"),
    ("stack-C2", "int32[] ; float32[]", STACK, InvalidType,
     "only control tokens may follow the data operands, got tensor<f32>"),
    *on_stack("stack_push", 1, "float32[2]"),
    *on_stack("stack_pop", 0, "", ROW),
    *on_stack("stack_pack", 1, "int32[]", PACK),
    ("stack_pack-C3", "handle stack ; float32[]", PACK, InvalidType,
     "the length must be an integer scalar, got float32[]"),
    *on_stack("stack_close", 0),
]  # fmt: skip
