"""Reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.ops import reduction as ops
from tests.families.rows import NUMBERS, Broken, GradientCase, Rows, X, normal
from tests.numerics.values import (
    FLOATS,
    INTS,
    NUMERIC,
    ORDERED,
    UINTS,
    Array,
    Case,
    edges,
    sample,
    wrap,
)

ROWS = Rows()
row = ROWS.row


REDUCED = [((3, 4, 5), (0, 2)), ((3, 4, 5), (1,)), ((3, 4, 5), ()), ((2, 3), (0, 1)), ((0, 3), (0,)), ((3, 0), (0,))]


def reduction(
    dtypes_: tuple[str, ...], function: Callable[[list[Any]], Any], *, units: float = 0, scale: float = 0
) -> list[Case]:
    """Cases of a reduction; `function` reduces a list of Python values."""
    rng, found = np.random.default_rng(11), []
    for dtype in dtypes_:
        operands = [(sample(rng, shape, dtype), chosen) for shape, chosen in REDUCED]
        operands.append((np.array(sample(rng, (), dtype)), ()))
        if dtype in FLOATS:
            x = sample(rng, (4, 6), dtype)
            x[0, 2], x[1, 5], x[2, 0] = np.nan, np.inf, -np.inf
            operands.append((x, (1,)))
        for x, chosen in operands:
            expected = reduced(function, x, chosen)
            inexact = units if x.dtype.kind not in "iub" and chosen else 0
            found.append(Case((x,), (expected,), {"axes": chosen}, inexact, scale, zero_signs=False))
    return found


def reduced(function: Callable[[list[Any]], Any], x: Array, chosen: tuple[int, ...]) -> Array:
    kept = [a for a in range(x.ndim) if a not in chosen]
    rows = x.transpose(*kept, *chosen).reshape([x.shape[a] for a in kept] + [-1] if x.size else [0])
    shape = [x.shape[a] for a in kept]
    count = int(np.prod(shape))
    lists = rows.reshape(count, -1).tolist() if x.size and count else [[] for _ in range(count)]
    if x.dtype == ml_dtypes.bfloat16:
        lists = [[float(v) for v in row] for row in lists]
    results = [function(row) for row in lists]
    if x.dtype.kind in "iu":
        results = [wrap(v, x.dtype) for v in results] if results and isinstance(results[0], int) else results
        return np.array(results, x.dtype).reshape(shape)
    wide = np.array(results, np.complex128 if x.dtype.kind == "c" else bool if x.dtype.kind == "b" else np.float64)
    with np.errstate(all="ignore"):
        return wide.astype(x.dtype).reshape(shape)


def total(values: list[Any]) -> Any:
    if any(isinstance(v, complex) or not math.isfinite(v) for v in values):
        return sum(values)
    return sum(values) if all(isinstance(v, int) for v in values) else math.fsum(values)


def extreme(choose: Callable[[list[Any]], Any], identity: Callable[[str], Any]) -> Callable[[str], list[Case]]:
    def of(dtype: str) -> list[Case]:
        def function(values: list[Any]) -> Any:
            if any(v != v for v in values):
                return math.nan
            return choose(values) if values else identity(dtype)

        return reduction((dtype,), function)

    return of


def bottom(dtype: str) -> Any:
    return False if dtype == "bool" else np.iinfo(dtype).min if dtype in INTS + UINTS else -math.inf


def top(dtype: str) -> Any:
    return True if dtype == "bool" else np.iinfo(dtype).max if dtype in INTS + UINTS else math.inf


ROWS["reduce_sum"] = lambda: reduction(NUMERIC, total, units=2, scale=4)
ROWS["reduce_prod"] = lambda: reduction(NUMERIC, math.prod, units=4)
ROWS["reduce_max"] = lambda: [case for dtype in ORDERED for case in extreme(max, bottom)(dtype)]
ROWS["reduce_min"] = lambda: [case for dtype in ORDERED for case in extreme(min, top)(dtype)]
ROWS["reduce_and"] = lambda: reduction(("bool",), all)
ROWS["reduce_or"] = lambda: reduction(("bool",), any)


def argument(better: Callable[[Any, Any], bool]) -> list[Case]:
    """Ties, NaNs, infinities and a long axis, along each axis."""

    def first(values: list[Any]) -> int:
        best = 0
        for i, v in enumerate(values):
            if values[best] != values[best]:
                break
            if v != v or better(v, values[best]):
                best = i
        return best

    rng, found = np.random.default_rng(3), []
    for dtype in ORDERED:
        x = sample(rng, (4, 6), dtype)
        x[0, 1] = x[0, 4] = edges(dtype)[1]
        x[1, :] = bottom(dtype)
        x[2, :] = top(dtype)
        if dtype in FLOATS:
            x[3, 2] = x[3, 4] = np.nan
        for axis in (0, 1):
            lists = np.moveaxis(x.astype(np.float64) if dtype == "bfloat16" else x, axis, -1).tolist()
            index = dtypes.int64 if axis else dtypes.int32
            expected = np.array([first(v) for v in lists], index.numpy)
            found.append(Case((x,), (expected,), {"axis": axis, "dtype": index}))
    long = np.tile(np.array([2, 9, 1, 9, 1], np.int32), 60)
    where = np.array(first(long.tolist()), np.uint8)
    found.append(Case((long,), (where,), {"axis": 0, "dtype": dtypes.uint8}))
    empty = np.zeros((0, 3), np.float32)
    return [*found, Case((empty,), (np.zeros((0,), np.int32),), {"axis": 1, "dtype": dtypes.int32})]


ROWS["argmax"] = lambda: argument(lambda x, y: x > y)
ROWS["argmin"] = lambda: argument(lambda x, y: x < y)


def log_sum_exp(values: list[float]) -> float:
    """By Python's exact sum of exponentials below one."""
    if any(v != v for v in values):
        return math.nan
    largest = max(values, default=-math.inf)
    if math.isinf(largest):
        return largest
    return largest + math.log(math.fsum(math.exp(v - largest) for v in values))


@row("reduce_logsumexp")
def reduce_logsumexp() -> list[Case]:
    """Also numbers whose exponentials are infinite or zero, and nothing but -inf."""
    found = reduction(FLOATS, log_sum_exp, units=4, scale=1)
    for dtype in FLOATS:
        x = np.array([[1000, 1000, 998.5], [-1000, -1001, -np.inf], [-np.inf] * 3, [np.inf, 1, -np.inf]])
        x = x.astype(sample(np.random.default_rng(0), (), dtype).dtype)
        found.append(Case((x,), (reduced(log_sum_exp, x, (1,)),), {"axes": (1,)}, 2, 1))
    return found


# ---- broken constraints


def wrong_axes(name: str) -> Broken:
    message = "axes must be distinct, ascending and within rank 2, got (1, 0)"
    dtype = "bool" if name in ("reduce_and-C1", "reduce_or-C1") else "float32"
    return name, f"{dtype}[2,3]", {"axes": (1, 0)}, InvalidArgument, message


def wrong_kind(name: str, operand: str, allowed: str) -> Broken:
    got = operand.split("[")[0]
    return name, operand, {"axes": (0,)}, InvalidType, f"the dtype must be {allowed}, got {got}"


INDEX = {"axis": 0, "dtype": dtypes.int32}
EMPTY_AXIS = "the axis must be in range and not empty, got axis 0 of float32[0, 3]"
BROKEN: list[Broken] = [
    wrong_axes("reduce_sum-C1"),
    wrong_kind("reduce_sum-C2", "bool[2]", NUMBERS),
    wrong_axes("reduce_prod-C1"),
    wrong_kind("reduce_prod-C2", "string[2]", NUMBERS),
    wrong_axes("reduce_max-C1"),
    wrong_kind("reduce_max-C2", "complex64[2]", "bool or int or uint or float"),
    wrong_axes("reduce_min-C1"),
    wrong_kind("reduce_min-C2", "complex128[2]", "bool or int or uint or float"),
    wrong_axes("reduce_and-C1"),
    wrong_kind("reduce_and-C2", "int8[2]", "bool"),
    wrong_axes("reduce_or-C1"),
    wrong_kind("reduce_or-C2", "float32[2]", "bool"),
    wrong_axes("reduce_logsumexp-C1"),
    wrong_kind("reduce_logsumexp-C2", "int32[2]", "float"),
    ("argmax-C1", "float32[0,3]", INDEX, InvalidArgument, EMPTY_AXIS),
    ("argmax-C2", "complex64[2]", INDEX, InvalidType, "the dtype must be bool or int or uint or float, got complex64"),
    ("argmax-C3", "float32[2]", {"axis": 0, "dtype": dtypes.float32}, InvalidType,
     "an index has an integer dtype, got float32"),
    ("argmin-C1", "float32[0,3]", INDEX, InvalidArgument, EMPTY_AXIS),
    ("argmin-C2", "string[2]", INDEX, InvalidType, "the dtype must be bool or int or uint or float, got string"),
    ("argmin-C3", "float32[2]", {"axis": 0, "dtype": dtypes.bool_}, InvalidType,
     "an index has an integer dtype, got bool"),
]  # fmt: skip

# ---- gradients

WITH_ZEROS = np.array([[0.0, 1.5, -2.0], [0.0, 0.0, 3.0]])
GRADIENTS = [
    GradientCase(ops.ReduceSum, [X], {"axes": (1,)}),
    GradientCase(ops.ReduceSum, [normal(2, 2, 3)], {"axes": (0, 2)}),
    GradientCase(ops.ReduceSum, [X], {"axes": ()}),
    GradientCase(ops.ReduceProd, [X], {"axes": (1,)}),
    GradientCase(ops.ReduceProd, [X], {"axes": ()}),
    GradientCase(ops.ReduceProd, [normal(2, 2, 3)], {"axes": (0, 2)}),
    GradientCase(ops.ReduceProd, [WITH_ZEROS], {"axes": (1,)}, orders=3),
    GradientCase(ops.ReduceProd, [WITH_ZEROS], {"axes": (0, 1)}, orders=3),
    GradientCase(ops.ReduceProd, [normal(5)], {"axes": (0,)}),
    GradientCase(ops.ReduceProd, [normal(1, 2)], {"axes": (0,)}),
    GradientCase(ops.ReduceMax, [X], {"axes": (1,)}),
    GradientCase(ops.ReduceMin, [normal(2, 2, 3)], {"axes": (0, 2)}),
    GradientCase(ops.ReduceLogSumExp, [X], {"axes": (1,)}),
    GradientCase(ops.ReduceLogSumExp, [normal(2, 2, 3)], {"axes": (0, 2)}),
    GradientCase(ops.ReduceLogSumExp, [X], {"axes": ()}),
]
