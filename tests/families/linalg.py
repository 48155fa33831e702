"""Contractions."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.ops import linalg
from tests.families.rows import Broken, GradientCase, Rows, normal
from tests.numerics.values import (
    NUMERIC,
    Case,
    sample,
    wrap,
)

ROWS = Rows()
row = ROWS.row


@row("dot_general")
def dot_general() -> list[Case]:
    rng = np.random.default_rng(7)
    layouts: list[tuple[tuple[int, ...], tuple[int, ...], str, dict[str, tuple[int, ...]]]] = [
        ((3, 4), (4, 5), "ij,jk->ik", dot_axes((), (), (1,), (0,))),
        ((4, 3), (5, 4), "ji,kj->ik", dot_axes((), (), (0,), (1,))),
        ((2, 3, 4), (2, 4, 5), "bij,bjk->bik", dot_axes((0,), (0,), (2,), (1,))),
        ((3, 2, 4, 6), (6, 2, 4, 5), "ibjm,mbjk->bik", dot_axes((1,), (1,), (2, 3), (2, 0))),
        ((7,), (7,), "i,i->", dot_axes((), (), (0,), (0,))),
        ((3,), (2,), "i,j->ij", dot_axes((), (), (), ())),
        ((3,), (3,), "b,b->b", dot_axes((0,), (0,), (), ())),
        ((2, 0), (0, 3), "ij,jk->ik", dot_axes((), (), (1,), (0,))),
        ((0, 4), (4, 3), "ij,jk->ik", dot_axes((), (), (1,), (0,))),
        ((), (), ",->", dot_axes((), (), (), ())),
    ]
    found = []
    for dtype in NUMERIC:
        for left, right, equation, attributes in layouts if dtype in ("float32", "int32") else layouts[:4]:
            x, y = (sample(rng, shape, dtype) for shape in (left, right))
            integer = x.dtype.kind in "iu"
            wide = [v.astype(object) if integer else v.astype(np.complex128) for v in (x, y)]
            total = np.asarray(np.einsum(equation, *wide, dtype=wide[0].dtype))
            if integer:
                flat = [wrap(int(v), x.dtype) for v in total.ravel()]
                found.append(Case((x, y), (np.array(flat, x.dtype).reshape(total.shape),), attributes))
            else:
                rounded = (total if x.dtype.kind == "c" else total.real).astype(x.dtype)
                found.append(Case((x, y), (rounded,), attributes, units=6, scale=4))
    return found


def dot_axes(lhs_batch: Any, rhs_batch: Any, lhs_contracting: Any, rhs_contracting: Any) -> dict[str, tuple[int, ...]]:
    return {
        "lhs_batch": lhs_batch,
        "rhs_batch": rhs_batch,
        "lhs_contracting": lhs_contracting,
        "rhs_contracting": rhs_contracting,
    }


# ---- broken constraints

BROKEN: list[Broken] = [
    ("dot_general-C1", "float32[3,4] ; float64[4,5]", dot_axes((), (), (1,), (0,)), InvalidType,
     "operands must have equal dtypes, got float32 and float64"),
    ("dot_general-C2", "bool[3,4] ; bool[4,5]", dot_axes((), (), (1,), (0,)), InvalidType,
     "the dtype must be int or uint or float or complex, got bool"),
    ("dot_general-C3", "float32[3,4] ; float32[4,5]", dot_axes((), (), (2,), (0,)), InvalidArgument,
     "lhs axes must be distinct and within rank 2, got (2,)"),
    ("dot_general-C4", "float32[3,4] ; float32[4,5]", dot_axes((), (), (1,), ()), InvalidArgument,
     "both sides need as many axes, got batch () and (), contracting (1,) and ()"),
    ("dot_general-C5", "float32[2,3] ; float32[4,3]", dot_axes((0,), (0,), (1,), (1,)), InvalidArgument,
     "batch dimensions must match, got 2 and 4 of shapes (2, 3) and (4, 3)"),
    ("dot_general-C6", "float32[2,3] ; float32[4,5]", dot_axes((), (), (1,), (0,)), InvalidArgument,
     "contracting dimensions must match, got 3 and 4 of shapes (2, 3) and (4, 5)"),
]  # fmt: skip


# ---- gradients


GRADIENTS = [
    GradientCase(linalg.DotGeneral, [normal(2, 3), normal(3, 4)], dot_axes((), (), (1,), (0,))),
    GradientCase(linalg.DotGeneral, [normal(3, 2), normal(4, 3)], dot_axes((), (), (0,), (1,))),
    GradientCase(linalg.DotGeneral, [normal(2, 2, 3), normal(2, 3, 2)], dot_axes((0,), (0,), (2,), (1,))),
    GradientCase(linalg.DotGeneral, [normal(3, 2, 4), normal(4, 2, 2)], dot_axes((1,), (2,), (2,), (0,))),
    GradientCase(linalg.DotGeneral, [normal(3, 2, 2), normal(2, 3, 2)], dot_axes((), (), (0, 2), (1, 0))),
    GradientCase(linalg.DotGeneral, [normal(2, 3, 2), normal(3, 2, 2)], dot_axes((2, 0), (1, 2), (1,), (0,))),
    GradientCase(linalg.DotGeneral, [normal(2), normal(3)], dot_axes((), (), (), ())),
    GradientCase(linalg.DotGeneral, [normal(3), normal(3)], dot_axes((), (), (0,), (0,))),
]
