"""What the host does beside computing."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.ops.host import CheckNumerics
from dfc.ir.python_function import PythonFunction
from dfc.ir.types import Spec
from tests.families.rows import Broken, GradientCase, Rows, X
from tests.numerics.values import EVERY, Case, edges

# ---- values

ROWS = Rows()


@ROWS.row("check_numerics")
def check_numerics() -> list[Case]:
    """What the flag says counts, so that NaNs come out as they went in."""
    given = [edges(dtype) for dtype in EVERY if dtypes.as_dtype(dtype).is_inexact]
    return [Case((np.array(True), x), (x,), {"message": "m"}) for x in given]


# ---- broken constraints

CALL: dict[str, Any] = {
    "function": PythonFunction(len),
    "results": (Spec((2,), dtypes.float32),),
    "nest": "'tensor'",
    "stateful": True,
}
PRINT: dict[str, Any] = {"text": ("x is ", "\n"), "stream": "stdout", "summarize": 3}
ASSERT: dict[str, Any] = {"text": ("assertion failed: ", ""), "summarize": 3}
TENSORS_FIRST = "the operands must be tensors and then control tokens, got "
ONE_BOOLEAN = "the first operand must be one boolean, got "

BROKEN: list[Broken] = [
    ("py_call-C1", "token ; float32[2]", CALL, InvalidType, TENSORS_FIRST + "(!df.control, tensor<2xf32>)"),
    ("py_call-C2", "float32[2]", {**CALL, "timeout": 0.0}, InvalidArgument,
     "the time limit must be positive, got 0.0 s"),
    ("print-C1", "ref float32[2]", PRINT, InvalidType, TENSORS_FIRST + "(!df.ref<tensor<2xf32>>)"),
    ("print-C2", "float32[2] ; int32[]", PRINT, InvalidArgument,
     "2 tensors need 3 pieces of text around them, got 2"),
    ("print-C3", "float32[2]", {**PRINT, "stream": "stdin"}, InvalidArgument,
     "the stream must be stdout or stderr, got 'stdin'"),
    ("assert-C1", "bool[2] ; float32[2]", ASSERT, InvalidType, ONE_BOOLEAN + "bool[2]"),
    ("assert-C2", "bool[] ; token ; float32[2]", ASSERT, InvalidType, TENSORS_FIRST + "(!df.control, tensor<2xf32>)"),
    ("assert-C3", "bool[]", ASSERT, InvalidArgument, "0 tensors need 1 pieces of text around them, got 2"),
    ("check_numerics-C1", "int32[] ; float32[2]", {"message": ""}, InvalidType, ONE_BOOLEAN + "int32[]"),
    ("check_numerics-C2", "bool[] ; int32[2]", {"message": ""}, InvalidType,
     "the dtype must be float or complex, got int32"),
]  # fmt: skip


# ---- gradients

GRADIENTS = [
    GradientCase(CheckNumerics, [X], build=lambda t, x: t(CheckNumerics, t.constant(True, "bool"), x, message="m"))
]
