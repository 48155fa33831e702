"""Scans along an axis: cumulative sums, products and extremes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument
from dfc.ir.ops import cumulative as ops
from tests.families.rows import NUMBERS, Broken, GradientCase, Rows, kinds, normal, unequal
from tests.numerics.values import COMPLEX, FLOATS, INTS, UINTS, Array, Case, array, sample, wrap

ROWS = Rows()
SHAPES = [((1,), 0), ((0, 3), 0), ((3, 0), 0), ((2, 7), 1), ((5, 2), 0), ((8,), 0), ((2, 3, 4), 1)]


def scanned(x: Array, axis: int, reverse: bool, combine: Callable[[Any, Any], Any]) -> Array:
    """Element by element, in Python's numbers."""
    found = np.zeros(x.shape, object)
    for place in np.ndindex(*x.shape[:axis], *x.shape[axis + 1 :]):
        row = (*place[:axis], slice(None), *place[axis:])
        values = [v if x.dtype.kind in "iuc" else float(v) for v in x[row].tolist()]
        total, results = None, []
        for value in reversed(values) if reverse else values:
            total = value if total is None else combine(total, value)
            results.append(total)
        found[row] = results[::-1] if reverse else results
    if x.dtype.kind in "iu":
        return np.array([wrap(int(v), x.dtype) for v in found.ravel()], x.dtype).reshape(x.shape)
    with np.errstate(all="ignore"):
        return found.astype(np.complex128 if x.dtype.kind == "c" else np.float64).astype(x.dtype)


def scan(
    dtypes: tuple[str, ...], combine: Callable[[Any, Any], Any], *, units: float = 0, scale: float = 0
) -> Callable[[], list[Case]]:
    def cases() -> list[Case]:
        rng, found = np.random.default_rng(2), []
        for dtype in dtypes:
            operands = [(sample(rng, shape, dtype), axis) for shape, axis in SHAPES]
            if dtype in FLOATS:
                special = [[1, np.nan, 2, np.inf, 0], [-0.0, -np.inf, 3, -np.inf, 1], [-np.inf, -np.inf, 0, 1, 2]]
                operands.append((array(special, dtype), 1))
            for i, (x, axis) in enumerate(operands):
                tolerance = units if x.dtype.kind not in "iu" else 0
                for reverse in (False, True) if i > 2 else (False,):
                    expected = scanned(x, axis, reverse, combine)
                    attributes = {"axis": axis, "reverse": reverse}
                    found.append(Case((x,), (expected,), attributes, tolerance, scale, zero_signs=False))
        return found

    return cases


def larger(a: Any, b: Any) -> Any:
    return a if a != a or a >= b else b


def smaller(a: Any, b: Any) -> Any:
    return a if a != a or a <= b else b


def log_add(a: float, b: float) -> float:
    if a != a or b != b:
        return math.nan
    high, low = max(a, b), min(a, b)
    return high if math.isinf(high) else high + math.log1p(math.exp(low - high))


ROWS["cumsum"] = scan((*INTS, *UINTS, *FLOATS, *COMPLEX), lambda a, b: a + b, units=4, scale=4)
ROWS["cumprod"] = scan((*INTS, *UINTS, *FLOATS, *COMPLEX), lambda a, b: a * b, units=12, scale=1)
ROWS["cummax"] = scan((*INTS, *UINTS, *FLOATS), larger)
ROWS["cummin"] = scan((*INTS, *UINTS, *FLOATS), smaller)
ROWS["cumlogsumexp"] = scan(FLOATS, log_add, units=8, scale=1)


@ROWS.row("linear_recurrence")
def linear_recurrence() -> list[Case]:
    rng, found = np.random.default_rng(4), []
    for dtype in (*FLOATS, *COMPLEX):
        for shape, axis in SHAPES:
            factor, term = sample(rng, shape, dtype), sample(rng, shape, dtype)
            for reverse in (False, True):
                wide = [np.moveaxis(v.astype(np.complex128), axis, 0) for v in (factor, term)]
                y, expected = np.zeros(wide[0].shape[1:], complex), np.zeros(wide[0].shape, complex)
                for i in reversed(range(shape[axis])) if reverse else range(shape[axis]):
                    y = wide[0][i] * y + wide[1][i]
                    expected[i] = y
                result = array(np.moveaxis(expected, 0, axis), dtype)
                attributes = {"axis": axis, "reverse": reverse}
                found.append(Case((factor, term), (result,), attributes, units=32, scale=4))
    return found


SCAN = {"axis": 0, "reverse": False}


def broken(name: str, wrong: str, allowed: str) -> list[Broken]:
    message = "the axis must be within rank 1, got 1"
    good = "float32[2]"
    return [
        (f"{name}-C1", good, {"axis": 1, "reverse": False}, InvalidArgument, message),
        (f"{name}-C2", f"{wrong}[2]", SCAN, kinds("", "", "", "")[3], f"the dtype must be {allowed}, got {wrong}"),
    ]


BROKEN: list[Broken] = [
    *broken("cumsum", "bool", NUMBERS),
    *broken("cumprod", "string", NUMBERS),
    *broken("cummax", "complex64", "int or uint or float"),
    *broken("cummin", "bool", "int or uint or float"),
    *broken("cumlogsumexp", "int32", "float"),
    (*unequal("linear_recurrence-C1")[:2], SCAN, *unequal("")[3:]),
    (
        "linear_recurrence-C2",
        "float32[2] ; float32[2]",
        {"axis": 2, "reverse": False},
        InvalidArgument,
        "the axis must be within rank 1, got 2",
    ),
    ("linear_recurrence-C3", "int32[2] ; int32[2]", SCAN, kinds("", "", "", "")[3],
     "the dtype must be float or complex, got int32"),
]  # fmt: skip

WITH_ZEROS = np.array([[0.5, 0.0, -2.0, 1.5], [0.0, 3.0, 0.0, -1.0]])
GRADIENTS = [
    GradientCase(cls, [x], {"axis": axis, "reverse": reverse})
    for cls, x, axis in [
        (ops.CumSum, normal(2, 5), 1),
        (ops.CumSum, normal(4, 2), 0),
        (ops.CumProd, normal(2, 4), 1),
        (ops.CumProd, WITH_ZEROS, 1),
        (ops.CumMax, normal(2, 5), 1),
        (ops.CumMin, normal(5, 2), 0),
        (ops.CumLogSumExp, normal(2, 4), 1),
    ]
    for reverse in (False, True)
] + [
    GradientCase(ops.LinearRecurrence, [normal(2, 4), normal(2, 4, seed=1)], {"axis": 1, "reverse": reverse})
    for reverse in (False, True)
]
