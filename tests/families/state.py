"""Operations on variables."""

from __future__ import annotations

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.dims import parse_dim
from tests.families.rows import NUMBERS, Broken, kinds

# ---- broken constraints

NOT_A_REF = "the first operand must be a reference to a variable, got "
TOKENS_ONLY = "only control tokens may follow the data operands, got "


def updates(name: str) -> list[Broken]:
    return [
        (f"{name}-C1", "float32[2] ; float32[2]", {}, InvalidType, NOT_A_REF + "tensor<2xf32>"),
        (f"{name}-C2", "ref float32[2] ; float32[2] ; float32[2]", {}, InvalidType, TOKENS_ONLY + "tensor<2xf32>"),
        (f"{name}-C3", "ref float32[2] ; float32[3]", {}, InvalidArgument,
         "the value must match the variable, float32[2], got float32[3]"),
    ]  # fmt: skip


BROKEN: list[Broken] = [
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

NEVER_BROKEN = {"assign-C4": "only assign_add and assign_sub compute"}
