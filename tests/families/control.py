"""Branches and loops. Their meaning is that of their regions' ops: tests/semantics has it."""

from __future__ import annotations

from typing import Any

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.dims import symbol
from dfc.ir.types import Spec
from tests.families.rows import Broken

# ---- broken constraints

VECTOR, SCALAR = Spec((2,), dtypes.float32), Spec((), dtypes.float32)
BRANCHES: dict[str, Any] = {"n_inputs": 1, "results": (VECTOR,), "n_handles": 0, "stateful": False}
LOOP: dict[str, Any] = {
    "n_carried": 1,
    "n_captured": 0,
    "length": (),
    "ys": (),
    "parallel_iterations": 10,
    "swap_memory": False,
    "n_handles": 0,
    "stateful": False,
}
SCAN: dict[str, Any] = {**LOOP, "length": (3,), "n_xs": 1, "counted": False, "reverse": False}
N = symbol("n")


def options(op: str, attributes: dict[str, Any], operands: str) -> Broken:
    """No iterations at once."""
    return (
        f"{op}-C2", operands, {**attributes, "parallel_iterations": 0}, InvalidArgument,
        "a loop with ys has one length, and each runs one iteration at least at a time, got "
        f"length={list(attributes['length'])} and parallel_iterations=0",
    )  # fmt: skip


BROKEN: list[Broken] = [
    ("if-C1", "bool[] ; token", BRANCHES, InvalidArgument,
     "operands must be tensors, handles, tokens with n_inputs = 1, n_handles = 0, got (!df.control)"),
    ("if-C2", "bool[2] ; float32[2]", BRANCHES, InvalidType,
     "the selector must be a scalar of dtype bool, got bool[2]"),
    ("case-C1", "token ; float32[2]", BRANCHES, InvalidArgument, "the first operand must be the selector"),
    ("case-C2", "bool[] ; float32[2]", BRANCHES, InvalidType,
     "the selector must be a scalar of dtype int32, got bool[]"),
    ("while-C1", "float32[2] ; float32[2]", LOOP, InvalidArgument,
     "operands must be tensors, handles, tokens with n_carried = 1, n_captured = 0, n_handles = 0, "
     "got (tensor<2xf32>, tensor<2xf32>)"),
    options("while", LOOP, "float32[2]"),
    ("while-C3", "float32[2]", {**LOOP, "invariants": (Spec((N, N), dtypes.float32),), "results": (VECTOR,)},
     InvalidArgument, "the initial values must fit the invariants (float32[n, n]), got (tensor<2xf32>)"),
    ("scan-C1", "float32[2]", SCAN, InvalidArgument,
     "operands must be tensors, handles, tokens with n_carried = 1, n_xs = 1, n_captured = 0, n_handles = 0, "
     "got (tensor<2xf32>)"),
    options("scan", SCAN, "float32[2] ; float32[3]"),
    ("scan-C3", "int64[] ; float32[2] ; float32[3]", {**SCAN, "counted": True}, InvalidType,
     "the count must be a scalar of dtype int32, got int64[]"),
    ("scan-C4", "float32[2] ; float32[4,3]", SCAN, InvalidArgument,
     "each of xs must have as many rows as length=[3], got float32[4, 3]"),
    ("need_length-C1", "float32[]", {"length": (N,)}, InvalidType,
     "the count must be a scalar of dtype int32, got float32[]"),
    ("need_length-C2", "int32[]", {"length": ()}, InvalidArgument, "there must be one length, got []"),
]  # fmt: skip
