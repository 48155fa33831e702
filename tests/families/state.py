"""Operations on variables."""

from __future__ import annotations

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.dims import parse_dim
from tests.families.rows import NUMBERS, Broken, kinds
from tests.families.sharding import BY_ROWS

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


def scatters(name: str, allowed: str, got: str) -> list[Broken]:
    indices_and_rows = " ; int32[3] ; float32[3,2]"
    return [
        (f"{name}-C1", "float32[4,2]" + indices_and_rows, {}, InvalidType, NOT_A_REF + "tensor<4x2xf32>"),
        (f"{name}-C2", f"ref float32[4,2]{indices_and_rows} ; float32[]", {}, InvalidType, TOKENS_ONLY + "tensor<f32>"),
        (f"{name}-C3", "ref float32[]" + indices_and_rows, {}, InvalidArgument,
         "a scatter needs a variable with rows, got float32[]"),
        (f"{name}-C4", "ref float32[4,2] ; float32[3] ; float32[3,2]", {}, InvalidType,
         "indices must be integers, got float32"),
        (f"{name}-C5", "ref float32[4,2] ; int32[b] ; float32[3,2]", {}, InvalidArgument,
         "updates must be float32[b, 2] for indices int32[b] into a variable float32[4, 2], got float32[3, 2]"),
        *([kinds(f"{name}-C6", f"ref {got}[4] ; int32[3] ; {got}[3]", allowed, got)] if allowed else []),
    ]  # fmt: skip


BROKEN: list[Broken] = [
    ("variable-C1", "", {"variable": "w", "shape": (parse_dim("b"),), "dtype": dtypes.float32}, InvalidArgument,
     "a variable needs a static shape, got float32[b]"),
    ("variable-C2", "", {"variable": "w", "shape": (3,), "dtype": dtypes.float32, "sharding": BY_ROWS}, InvalidArgument,
     "dimension 0 of size 3 can't be divided evenly among data=2"),
    ("read-C1", "float32[2]", {}, InvalidType, NOT_A_REF + "tensor<2xf32>"),
    ("read-C2", "ref float32[2] ; float32[]", {}, InvalidType, TOKENS_ONLY + "tensor<f32>"),
    ("initial_value-C1", "", {"variable": "w", "shape": (parse_dim("b"),), "dtype": dtypes.float32}, InvalidArgument,
     "a variable needs a static shape, got float32[b]"),
    ("is_initialized-C1", "float32[2]", {}, InvalidType, NOT_A_REF + "tensor<2xf32>"),
    ("is_initialized-C2", "ref float32[2] ; float32[]", {}, InvalidType, TOKENS_ONLY + "tensor<f32>"),
    ("initialized_value-C1", "float32[2] ; float32[2]", {}, InvalidType, NOT_A_REF + "tensor<2xf32>"),
    ("initialized_value-C2", "ref float32[2] ; float32[2] ; float32[]", {}, InvalidType, TOKENS_ONLY + "tensor<f32>"),
    ("initialized_value-C3", "ref float32[2] ; float64[2]", {}, InvalidArgument,
     "the initial value must match the variable, float32[2], got float64[2]"),
    *updates("assign"),
    *updates("assign_add"),
    kinds("assign_add-C4", "ref bool[2] ; bool[2]", NUMBERS, "bool"),
    *updates("assign_sub"),
    kinds("assign_sub-C4", "ref string[] ; string[]", NUMBERS, "string"),
    *scatters("scatter_update", "", ""),
    *scatters("scatter_add", NUMBERS, "bool"),
    *scatters("scatter_sub", NUMBERS, "bool"),
    *scatters("scatter_mul", NUMBERS, "bool"),
    *scatters("scatter_div", "float or complex", "int32"),
    *scatters("scatter_min", "bool or int or uint or float", "complex64"),
    *scatters("scatter_max", "bool or int or uint or float", "complex64"),
    ("group-C1", "token ; ref float32[]", {}, InvalidType,
     "the operands must be tensors and tokens, got !df.ref<tensor<f32>>"),
]  # fmt: skip

NEVER_BROKEN = {
    "assign-C4": "only assign_add and assign_sub compute",
    "scatter_update-C6": "rows of every dtype can be replaced",
}
