"""For every op that computes: operands at the edges and what must come out, by another way than the op's `evaluate`.

One function an op, named for it, in the order of `ir/ops/*`; `cases(name)` calls it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from dfc.ir import dtypes
from dfc.ir.attributes import Array as ConstantArray
from tests.numerics.values import (
    COMPLEX,
    FLOATS,
    INTS,
    NUMERIC,
    ORDERED,
    UINTS,
    Array,
    Case,
    array,
    binary,
    by_extended,
    by_integers,
    edges,
    is_float,
    numpy_dtype,
    pairs,
    unary,
    variants,
    wrap,
)

ROWS: dict[str, Callable[[], list[Case]]] = {}
EVERY = ("bool", *NUMERIC)


def row(name: str) -> Callable[[Callable[[], list[Case]]], Callable[[], list[Case]]]:
    def register(function: Callable[[], list[Case]]) -> Callable[[], list[Case]]:
        ROWS[name] = function
        return function

    return register


def cases(name: str) -> list[Case]:
    """The cases of the op called `name`, without the dialect."""
    return ROWS[name]()


# ---- elementwise, one operand

INEXACT = (*FLOATS, *COMPLEX)


def moderate(x: Array) -> Any:
    """Arguments that an angle can be: beyond some size libraries reduce by pi with different care."""
    return np.abs(x.astype(np.complex128)) < 100 if x.dtype.kind == "c" else ~(np.abs(x.astype(np.float64)) > 1e4)


ROWS["negate"] = lambda: unary((*INTS, *INEXACT), lambda x: -x, integers=lambda x: -x)
ROWS["abs"] = lambda: unary((*INTS, *FLOATS), lambda x: np.copysign(x, 1), integers=abs)
ROWS["sign"] = lambda: unary(
    (*INTS, *FLOATS),
    lambda x: np.where((x == 0) | np.isnan(x), x, np.copysign(1, x)),
    integers=lambda x: (x > 0) - (x < 0),
)
ROWS["exponential"] = lambda: unary(INEXACT, np.exp, units=2)
ROWS["exponential_minus_one"] = lambda: unary(FLOATS, np.expm1, units=2, xla_units=4)
ROWS["log"] = lambda: [  # near |z| = 1 XLA's complex128 cancels; at 0 the imaginary part has no one value
    *unary((*FLOATS, "complex64"), np.log, units=2, keep=lambda x: (x.dtype.kind != "c") | (x != 0)),
    *unary(("complex128",), np.log, units=2, xla_units=64, keep=lambda x: x != 0),
]
ROWS["log_plus_one"] = lambda: [  # XLA on the CPU takes float64 for log(1 + x) from 1e-4 on: 1e4 epsilons there
    *unary(("float16", "bfloat16", "float32"), np.log1p, units=2),
    *unary(("float64",), np.log1p, units=2, xla_units=10_000),
]
ROWS["sqrt"] = lambda: unary(INEXACT, np.sqrt, units=2)
ROWS["rsqrt"] = lambda: unary(FLOATS, lambda x: 1 / np.sqrt(x), units=2)
ROWS["sine"] = lambda: unary(INEXACT, np.sin, units=2, xla_units=4, keep=moderate)
ROWS["cosine"] = lambda: unary(INEXACT, np.cos, units=2, keep=moderate)
ROWS["tangent"] = lambda: unary(INEXACT, np.tan, units=3, keep=moderate)
ROWS["tanh"] = lambda: unary(INEXACT, np.tanh, units=3)
ROWS["logistic"] = lambda: unary(FLOATS, lambda x: 1 / (1 + np.exp(-x)), units=2)
ROWS["floor"] = lambda: unary(FLOATS, lambda x: np.copysign(np.floor(x), x))
ROWS["ceil"] = lambda: unary(FLOATS, lambda x: np.copysign(np.ceil(x), x))


@row("round_nearest_even")
def round_nearest_even() -> list[Case]:
    def function(x: Any) -> Any:
        rounded = [v if not math.isfinite(v) else math.copysign(round(v), v) for v in x.astype(float).ravel().tolist()]
        return np.array(rounded).reshape(x.shape)

    return unary(FLOATS, function)


@row("not")
def not_() -> list[Case]:
    found = unary((*INTS, *UINTS), lambda x: x, integers=lambda x: -1 - x)
    return [*found, *(Case((x,), (x == False,)) for x in variants("bool"))]  # noqa: E712


ROWS["identity"] = lambda: [Case((x,), (x.copy(),)) for dtype in EVERY for x in variants(dtype)]
ROWS["stop_gradient"] = ROWS["identity"]


@row("is_finite")
def is_finite() -> list[Case]:
    operands = [x for dtype in FLOATS for x in variants(dtype)]
    expected = [[math.isfinite(v) for v in x.astype(float).ravel().tolist()] for x in operands]
    return [Case((x,), (np.array(e, bool).reshape(x.shape),)) for x, e in zip(operands, expected, strict=True)]


# ---- elementwise, two operands


def truncated(x: int, y: int) -> int:
    return int(abs(x) // abs(y)) * (1 if (x < 0) == (y < 0) else -1)


def power(x: int, y: int) -> int:
    if y >= 0:
        return pow(x, y) if y < 1000 else pow(x, y, 2**64)
    return {1: 1, -1: -1 if y % 2 else 1}.get(x, 0)


def real_power_is_clear(x: Array, y: Array) -> Any:
    """Leaves out complex powers at zero, which have no one definition."""
    return x != 0 if x.dtype.kind == "c" else np.ones(x.shape, bool)


ROWS["add"] = lambda: binary(NUMERIC, np.add, integers=lambda x, y: x + y)
ROWS["subtract"] = lambda: binary(NUMERIC, np.subtract, integers=lambda x, y: x - y)
ROWS["multiply"] = lambda: [
    *binary((*INTS, *UINTS, *FLOATS), np.multiply, integers=lambda x, y: x * y),
    *binary(COMPLEX, np.multiply, units=2),
]
ROWS["divide"] = lambda: [
    *binary((*INTS, *UINTS), np.divide, integers=lambda x, y: truncated(x, y) if y else -1),
    *binary(FLOATS, np.divide),
    *binary(COMPLEX, np.divide, units=2, keep=lambda x, y: y != 0),
]
ROWS["remainder"] = lambda: [
    *binary((*INTS, *UINTS), np.fmod, integers=lambda x, y: x - y * truncated(x, y) if y else x),
    *binary(FLOATS, np.fmod),
]
ROWS["power"] = lambda: [
    *binary((*INTS, *UINTS), np.power, integers=power),
    *binary(FLOATS, np.power, units=2),
    *binary(COMPLEX, np.power, units=8, keep=real_power_is_clear),
]


def larger(x: Any, y: Any) -> Any:
    return np.where(np.isnan(x) | np.isnan(y), np.nan, np.where(x > y, x, y))


def smaller(x: Any, y: Any) -> Any:
    return np.where(np.isnan(x) | np.isnan(y), np.nan, np.where(x < y, x, y))


ROWS["maximum"] = lambda: binary((*INTS, *UINTS, *FLOATS), larger, integers=max, zero_signs=False) + boolean(max)
ROWS["minimum"] = lambda: binary((*INTS, *UINTS, *FLOATS), smaller, integers=min, zero_signs=False) + boolean(min)
ROWS["atan2"] = lambda: binary(FLOATS, np.arctan2, units=2)


def boolean(function: Callable[[bool, bool], Any]) -> list[Case]:
    """The truth table."""
    x, y = pairs("bool")
    table = [bool(function(a, b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    return [Case((x, y), (np.array(table),))]


ROWS["and"] = lambda: binary((*INTS, *UINTS), np.add, integers=lambda x, y: x & y) + boolean(lambda x, y: x and y)
ROWS["or"] = lambda: binary((*INTS, *UINTS), np.add, integers=lambda x, y: x | y) + boolean(lambda x, y: x or y)
ROWS["xor"] = lambda: binary((*INTS, *UINTS), np.add, integers=lambda x, y: x ^ y) + boolean(lambda x, y: x != y)


@row("add_n")
def add_n() -> list[Case]:
    def plus(a: Any, b: Any, c: Any) -> Any:
        return a + b + c

    rng = np.random.default_rng(5)
    found = [Case((x,), (x.copy(),)) for x in variants("float32")]
    for dtype in (*INTS, *UINTS):
        x, y = pairs(dtype)
        found.append(Case((x, y, y[::-1]), (by_integers(plus, x, y, y[::-1]),)))
    for dtype in INEXACT:
        operands = tuple(sample(rng, (50,), dtype) for _ in range(3))
        found.append(Case(operands, (by_extended(plus, *operands),), units=2, scale=4))
    x, y, z = (array(v, "float32") for v in ([np.nan, 1, np.inf, np.inf], [1, 2, np.inf, -np.inf], [1, np.nan, 1, 0]))
    return [*found, Case((x, y, z), (array([np.nan, np.nan, np.inf, np.nan], "float32"),))]


@row("compare")
def compare() -> list[Case]:
    directions: dict[str, Callable[[Any, Any], bool]] = {
        "EQ": lambda x, y: x == y,
        "NE": lambda x, y: x != y,
        "LT": lambda x, y: x < y,
        "LE": lambda x, y: x <= y,
        "GT": lambda x, y: x > y,
        "GE": lambda x, y: x >= y,
    }
    found = []
    for dtype in (*ORDERED, *COMPLEX):
        x, y = pairs(dtype)
        python = x.tolist() if dtype != "bfloat16" else x.astype(float).tolist(), y.astype(x.dtype).tolist()
        for direction, holds in directions.items():
            if dtype in COMPLEX and direction not in ("EQ", "NE"):
                continue
            table = [bool(holds(a, b)) for a, b in zip(*python, strict=True)]
            found.append(Case((x, y), (np.array(table),), {"direction": direction}))
    empty = np.zeros((0, 2), np.float32)
    return [*found, Case((empty, empty), (np.zeros((0, 2), bool),), {"direction": "LT"})]


@row("select")
def select() -> list[Case]:
    found = []
    for dtype in EVERY:
        x, y = pairs(dtype)
        pred = np.arange(len(x)) % 3 == 0
        chosen = [a if p else b for p, a, b in zip(pred, x, y, strict=True)]
        found.append(Case((pred, x, y), (np.array(chosen, x.dtype),)))
        found += [Case((np.array(p), x, y), (x.copy() if p else y.copy(),)) for p in (False, True)]
    empty = np.zeros((0,), np.int8)
    return [*found, Case((np.zeros((0,), bool), empty, empty), (empty,))]


def converted(value: Any, target: str) -> Any:
    """One Python value as Python sees it in another dtype."""
    dtype = numpy_dtype(target)
    if target == "bool":
        return value != 0
    if target in INTS + UINTS:
        if isinstance(value, float):
            info = np.iinfo(dtype)
            return 0 if math.isnan(value) else min(max(value, info.min), info.max) if math.isinf(value) else int(
                min(max(int(value), info.min), info.max)
            )  # fmt: skip
        return wrap(int(value), dtype)
    return value


@row("convert")
def convert() -> list[Case]:
    found = []
    for source in EVERY:
        for target in EVERY:
            if source in COMPLEX and target not in ("bool", *COMPLEX):
                continue
            x = edges(source)
            if is_float(x) and target in INTS + UINTS:
                limits = [float(np.iinfo(target).max), float(np.iinfo(target).min)]
                more = [2.0**31, -(2.0**31), 2.0**63, 255.5, 256.0, -128.9, 127.5, -1.5, -0.4, 1e30, *limits]
                x = np.concatenate([x, array(more, source)])
            values = (x.astype(np.float64) if source == "bfloat16" else x).tolist()
            with np.errstate(all="ignore"):
                expected = np.array([converted(v, target) for v in values], _intermediate(source, target))
                expected = expected.astype(numpy_dtype(target))
            found.append(Case((x,), (expected,), {"dtype": dtypes.as_dtype(target)}))
    scalar, empty = np.array(-3.7, np.float32), np.zeros((2, 0), np.float32)
    found.append(Case((scalar,), (np.array(-3, np.int8),), {"dtype": dtypes.int8}))
    return [*found, Case((empty,), (np.zeros((2, 0), np.uint8),), {"dtype": dtypes.uint8})]


def _intermediate(source: str, target: str) -> Any:
    """The dtype in which Python values of `source` arrive at `target` exactly, or rounded once."""
    if target in ("bool", *INTS, *UINTS):
        return numpy_dtype(target)
    if target in COMPLEX:
        return np.complex128
    return np.float64 if source not in ("int64", "uint64") else np.longdouble if target != "bfloat16" else np.float64


# ---- linalg


@row("dot_general")
def dot_general() -> list[Case]:
    rng = np.random.default_rng(7)
    layouts: list[tuple[tuple[int, ...], tuple[int, ...], str, dict[str, tuple[int, ...]]]] = [
        ((3, 4), (4, 5), "ij,jk->ik", axes((), (), (1,), (0,))),
        ((4, 3), (5, 4), "ji,kj->ik", axes((), (), (0,), (1,))),
        ((2, 3, 4), (2, 4, 5), "bij,bjk->bik", axes((0,), (0,), (2,), (1,))),
        ((3, 2, 4, 6), (6, 2, 4, 5), "ibjm,mbjk->bik", axes((1,), (1,), (2, 3), (2, 0))),
        ((7,), (7,), "i,i->", axes((), (), (0,), (0,))),
        ((3,), (2,), "i,j->ij", axes((), (), (), ())),
        ((3,), (3,), "b,b->b", axes((0,), (0,), (), ())),
        ((2, 0), (0, 3), "ij,jk->ik", axes((), (), (1,), (0,))),
        ((0, 4), (4, 3), "ij,jk->ik", axes((), (), (1,), (0,))),
        ((), (), ",->", axes((), (), (), ())),
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


def axes(lhs_batch: Any, rhs_batch: Any, lhs_contracting: Any, rhs_contracting: Any) -> dict[str, tuple[int, ...]]:
    return {
        "lhs_batch": lhs_batch,
        "rhs_batch": rhs_batch,
        "lhs_contracting": lhs_contracting,
        "rhs_contracting": rhs_contracting,
    }


def sample(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Random values; integers from their whole range, so that sums wrap."""
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype in INTS + UINTS:
        info = np.iinfo(dtype)
        return np.asarray(rng.integers(info.min, info.max, shape, dtype, endpoint=True))
    values = rng.standard_normal(shape)
    return array(values + 1j * rng.standard_normal(shape) if dtype in COMPLEX else values, dtype)


# ---- reductions

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

# ---- shape: expectations by index, element by element


def moved(x: Array, result: tuple[int, ...], source: Callable[[tuple[int, ...]], Any], **attributes: Any) -> Case:
    """A case whose result has x's element at `source(index)` at each index."""
    expected = np.empty(result, x.dtype)
    for index in np.ndindex(result):
        expected[index] = x[source(index)]
    return Case((x,), (expected,), attributes)


def counted(shape: tuple[int, ...], dtype: str) -> Array:
    x = np.arange(int(np.prod(shape))).reshape(shape)
    return array(x % 2 if dtype == "bool" else x - 3 if dtype in (*INTS, *FLOATS) else x, dtype)


@row("reshape")
def reshape() -> list[Case]:
    found = []
    for dtype in EVERY:
        x = counted((2, 3, 4), dtype)
        found.append(moved(x, (4, 6), lambda i: np.unravel_index(i[0] * 6 + i[1], (2, 3, 4)), shape=(4, 6)))
    empty, scalar = np.zeros((0, 3), np.float32), np.array(2.5, np.float32)
    found.append(Case((empty,), (np.zeros((5, 0), np.float32),), {"shape": (5, 0)}))
    found.append(Case((scalar,), (np.array([[2.5]], np.float32),), {"shape": (1, 1)}))
    return [*found, Case((np.array([[2.5]], np.float32),), (scalar,), {"shape": ()})]


@row("transpose")
def transpose() -> list[Case]:
    found = [
        moved(counted((2, 3, 4), dtype), (4, 2, 3), lambda i: (i[1], i[2], i[0]), permutation=(2, 0, 1))
        for dtype in EVERY
    ]
    found.append(moved(counted((2, 0), "int8"), (0, 2), lambda i: (i[1], i[0]), permutation=(1, 0)))
    return [*found, moved(counted((), "float32"), (), lambda i: (), permutation=())]


@row("broadcast_in_dim")
def broadcast_in_dim() -> list[Case]:
    found = [
        moved(counted((3, 1), dtype), (2, 3, 4), lambda i: (i[1], 0), shape=(2, 3, 4), dims=(1, 2)) for dtype in EVERY
    ]
    found.append(moved(counted((), "float32"), (2, 2), lambda i: (), shape=(2, 2), dims=()))
    found.append(moved(counted((1,), "float32"), (3, 0), lambda i: (0,), shape=(3, 0), dims=(1,)))
    return [*found, moved(counted((3,), "int32"), (3, 2), lambda i: (i[0],), shape=(3, 2), dims=(0,))]


@row("concatenate")
def concatenate() -> list[Case]:
    found = []
    for dtype in EVERY:
        parts = tuple(counted((2, n), dtype) for n in (3, 0, 1, 2))
        rows = [[v for part in parts for v in part[i]] for i in range(2)]
        found.append(Case(parts, (np.array(rows, parts[0].dtype),), {"axis": 1}))
    x = counted((2, 2), "float32")
    return [*found, Case((x,), (x.copy(),), {"axis": 0}), Case((x, x), (np.array([*x, *x]),), {"axis": 0})]


@row("slice")
def slice_() -> list[Case]:
    found = []
    for dtype in EVERY:
        x = counted((6, 7), dtype)
        attributes = {"starts": (1, 2), "limits": (6, 7), "strides": (2, 3)}
        found.append(moved(x, (3, 2), lambda i: (1 + 2 * i[0], 2 + 3 * i[1]), **attributes))
    x = counted((4,), "int32")
    found.append(Case((x,), (x[:0],), {"starts": (4,), "limits": (4,), "strides": (1,)}))
    found.append(Case((x,), (x.copy(),), {"starts": (0,), "limits": (4,), "strides": (1,)}))
    found.append(moved(x, (1,), lambda i: (1,), starts=(1,), limits=(4,), strides=(9,)))
    return [*found, moved(counted((), "bool"), (), lambda i: (), starts=(), limits=(), strides=())]


@row("pad")
def pad() -> list[Case]:
    settings = [((1, 0), (2, 3), (0, 1)), ((-1, 0), (0, -2), (0, 0)), ((-2, 1), (-1, -3), (2, 1)), ((0, 0),) * 3]
    found = []
    for dtype in EVERY:
        for low, high, interior in settings:
            found.append(padded(counted((3, 4), dtype), edges(dtype)[1], low, high, interior))
    found.append(padded(np.zeros((0, 2), np.float32), np.float32(7), (1, 0), (1, 0), (3, 0)))
    found.append(padded(counted((3,), "float32"), np.float32(np.nan), (-3,), (0,), (0,)))
    return [*found, padded(counted((), "int32"), np.int32(1), (), (), ())]


def padded(x: Array, value: Any, low: Any, high: Any, interior: Any) -> Case:
    sizes = [
        a + b + n + max(n - 1, 0) * i for n, a, b, i in zip(x.shape, low, high, interior, strict=True)
    ]  # fmt: skip
    expected = np.full(sizes, value, x.dtype)
    for index in np.ndindex(x.shape):
        place = tuple(a + k * (i + 1) for k, a, i in zip(index, low, interior, strict=True))
        if all(0 <= p < n for p, n in zip(place, sizes, strict=True)):
            expected[place] = x[index]
    return Case((x, np.array(value, x.dtype)), (expected,), {"low": low, "high": high, "interior": interior})


@row("reverse")
def reverse() -> list[Case]:
    found = [moved(counted((2, 3), dtype), (2, 3), lambda i: (i[0], 2 - i[1]), axes=(1,)) for dtype in EVERY]
    found.append(moved(counted((2, 3), "int8"), (2, 3), lambda i: (1 - i[0], 2 - i[1]), axes=(1, 0)))
    found.append(moved(counted((2, 3), "int8"), (2, 3), lambda i: i, axes=()))
    return [*found, moved(counted((0, 3), "float32"), (0, 3), lambda i: i, axes=(0, 1))]


@row("iota")
def iota() -> list[Case]:
    found = []
    for dtype in NUMERIC:
        for shape, axis in (((2, 5), 1), ((3, 2), 0), ((0, 2), 1), ((300,), 0)):
            expected = np.empty(shape, numpy_dtype(dtype))
            for index in np.ndindex(shape):
                expected[index] = wrap(index[axis], expected.dtype) if expected.dtype.kind in "iu" else index[axis]
            attributes = {"shape": shape, "dtype": dtypes.as_dtype(dtype), "axis": axis}
            found.append(Case((), (expected,), attributes))
    return found


@row("dim_size")
def dim_size() -> list[Case]:
    x = counted((2, 0, 5), "float32")
    return [Case((x,), (np.array(n, np.int32),), {"axis": i}) for i, n in enumerate((2, 0, 5))]


# ---- constant


@row("constant")
def constant() -> list[Case]:
    values = [x for dtype in EVERY for x in variants(dtype)]
    values += [np.full((3, 2), 7, np.int32), np.ones((20,), bool), np.asfortranarray(counted((2, 3), "float32"))]
    return [Case((), (x.copy(),), {"value": ConstantArray.of(x)}) for x in values]


__all__ = ["ROWS", "Case", "cases"]
