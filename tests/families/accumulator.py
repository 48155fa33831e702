"""Accumulators of gradients."""

from __future__ import annotations

from dfc.errors import InvalidType
from dfc.ir import dtypes
from dfc.ir.types import Spec
from tests.families.queue import on, taking_many, unnamed
from tests.families.rows import Broken

# ---- broken constraints

PLAIN = {"shaped": False}
A = "handle accumulator ; "


def refused(kind: str) -> tuple[type[InvalidType], str]:
    return InvalidType, f"the dtype must be float or complex, got {kind}"


BROKEN: list[Broken] = [
    unnamed("accumulator"),
    *on("accumulator_apply", "accumulator", None, "float32[2] ; int64[]", PLAIN),
    ("accumulator_apply-C3", A + "float32[2] ; int64[1]", PLAIN, InvalidType,
     "the local step must be an integer scalar, got int64[1]"),
    ("accumulator_apply-C4", A + "int32[2] ; int64[]", PLAIN, *refused("int32")),
    *taking_many("accumulator_take", "accumulator"),
    ("accumulator_take-C4", A + "int32[]", {"results": (Spec((2,), dtypes.bool_),)}, *refused("bool")),
    *on("accumulator_set_step", "accumulator", 1, "int64[]"),
    ("accumulator_set_step-C3", A + "float32[]", {}, InvalidType,
     "the global step must be an integer scalar, got float32[]"),
    *on("accumulator_count", "accumulator", 0),
]  # fmt: skip
