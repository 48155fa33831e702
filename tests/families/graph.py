"""Values from outside, and work that waits."""

from __future__ import annotations

from dfc.errors import InvalidType
from dfc.ir.ops.graph import After, Feed
from tests.families.rows import Broken, GradientCase, Rows, X
from tests.numerics.values import EVERY, Case, edges

# ---- values

ROWS = Rows()


@ROWS.row("feed")
def feed() -> list[Case]:
    return [Case((edges(dtype),), (edges(dtype),), {"label": "x"}) for dtype in EVERY]


@ROWS.row("after")
def after() -> list[Case]:
    return [Case((edges(dtype),), (edges(dtype),)) for dtype in EVERY]


# ---- broken constraints

NOT_A_TENSOR = "the first operand must be a tensor, got "
BROKEN: list[Broken] = [
    ("feed-C1", "token", {"label": "x"}, InvalidType, NOT_A_TENSOR + "!df.control"),
    ("after-C1", "ref float32[2]", {}, InvalidType, NOT_A_TENSOR + "!df.ref<tensor<2xf32>>"),
    ("after-C2", "float32[2] ; float32[2]", {}, InvalidType,
     "only control tokens may follow the data operands, got tensor<2xf32>"),
]  # fmt: skip


# ---- gradients

GRADIENTS = [GradientCase(Feed, [X], {"label": "x"}), GradientCase(After, [X])]
