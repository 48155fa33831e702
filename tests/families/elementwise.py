"""Elementwise operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import shape
from tests.families.rows import NUMBERS, Broken, GradientCase, P, Q, Rows, X, Y, kinds, unequal
from tests.numerics.values import (
    COMPLEX,
    EVERY,
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
    sample,
    unary,
    variants,
    wrap,
)
from tests.programs import Trace

ROWS = Rows()
row = ROWS.row

# ---- elementwise, one operand

INEXACT = (*FLOATS, *COMPLEX)


def moderate(x: Array) -> Any:
    """Arguments that an angle can be: beyond some size libraries reduce by pi with different care."""
    return np.abs(x.astype(np.complex128)) < 100 if x.dtype.kind == "c" else ~(np.abs(x.astype(np.float64)) > 1e4)


ROWS["negate"] = lambda: unary((*INTS, *INEXACT), lambda x: -x, integers=lambda x: -x)
ROWS["abs"] = lambda: [
    *unary((*INTS, *FLOATS), lambda x: np.copysign(x, 1), integers=abs),
    *(Case((z,), (size,), units=2) for z, size in map(with_size, ("complex64", "complex128"))),
]


def with_size(dtype: str) -> tuple[Array, Array]:
    """Complex numbers and their sizes, the largest and the smallest included, where squares over- and underflow."""
    far = [3e30 + 4e30j, 3e-30 - 4e-30j, complex(-np.inf, np.nan), complex(np.nan, 1), complex(0, -np.inf), -0j]
    z = np.concatenate([edges(dtype), array(far, dtype), array(np.array(far[:2]) * 10.0**7, dtype)])
    sizes = [math.hypot(v.real, v.imag) for v in z.tolist()]
    return z, np.array(sizes, "float32" if dtype == "complex64" else "float64")


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


@row("clamp")
def clamp() -> list[Case]:
    """By Python's comparisons; bounds that cross and bounds that are NaN too."""

    def clamped(x: Any, low: Any, high: Any) -> Any:
        if x != x or low != low or high != high:
            return np.nan
        larger = low if x < low else x
        return high if larger > high else larger

    found = []
    for dtype in ORDERED:
        x, low = pairs(dtype)
        for high in (low[::-1].copy(), low[3 % len(low)].reshape(()), low[-1].reshape(())):
            wide = np.broadcast_to(high, x.shape)
            expected = [clamped(*row) for row in zip(x, low, wide, strict=True)]
            found.append(Case((x, low, high), (np.array(expected).astype(x.dtype),), zero_signs=False))
    one, empty = np.array(1, np.int32), np.zeros((0, 2), np.int32)
    return [*found, Case((one * 5, one, one * 3), (one * 3,)), Case((empty, one, one), (empty,))]


# ---- broken constraints

UNARY = [
    kinds("negate-C1", "uint8[2]", "int or float or complex", "uint8"),
    kinds("abs-C1", "bool[2]", "int or float or complex", "bool"),
    kinds("sign-C1", "bool[2]", "int or float", "bool"),
    kinds("exponential-C1", "int32[2]", "float or complex", "int32"),
    kinds("exponential_minus_one-C1", "complex64[2]", "float", "complex64"),
    kinds("log-C1", "uint8[2]", "float or complex", "uint8"),
    kinds("log_plus_one-C1", "int8[2]", "float", "int8"),
    kinds("sqrt-C1", "int32[2]", "float or complex", "int32"),
    kinds("rsqrt-C1", "complex128[2]", "float", "complex128"),
    kinds("sine-C1", "bool[2]", "float or complex", "bool"),
    kinds("cosine-C1", "int64[2]", "float or complex", "int64"),
    kinds("tangent-C1", "string[2]", "float or complex", "string"),
    kinds("tanh-C1", "int32[2]", "float or complex", "int32"),
    kinds("logistic-C1", "complex64[2]", "float", "complex64"),
    kinds("floor-C1", "int32[2]", "float", "int32"),
    kinds("ceil-C1", "int32[2]", "float", "int32"),
    kinds("round_nearest_even-C1", "uint16[2]", "float", "uint16"),
    kinds("not-C1", "float32[2]", "bool or int or uint", "float32"),
    kinds("is_finite-C1", "int32[2]", "float", "int32"),
]


BINARY = [
    unequal("add-C1"),
    kinds("add-C2", "bool[2] ; bool[2]", NUMBERS, "bool"),
    unequal("subtract-C1", "float32[2] ; float64[2]"),
    kinds("subtract-C2", "string[] ; string[]", NUMBERS, "string"),
    unequal("multiply-C1", "int32[b] ; int32[2]"),
    kinds("multiply-C2", "bool[2] ; bool[2]", NUMBERS, "bool"),
    unequal("divide-C1"),
    kinds("divide-C2", "bool[2] ; bool[2]", NUMBERS, "bool"),
    unequal("remainder-C1"),
    kinds("remainder-C2", "complex64[2] ; complex64[2]", "int or uint or float", "complex64"),
    unequal("power-C1"),
    kinds("power-C2", "bool[2] ; bool[2]", NUMBERS, "bool"),
    unequal("maximum-C1"),
    kinds("maximum-C2", "complex64[2] ; complex64[2]", "bool or int or uint or float", "complex64"),
    unequal("minimum-C1"),
    kinds("minimum-C2", "string[2] ; string[2]", "bool or int or uint or float", "string"),
    unequal("atan2-C1"),
    kinds("atan2-C2", "int32[2] ; int32[2]", "float", "int32"),
    unequal("and-C1", "bool[2] ; int8[2]"),
    kinds("and-C2", "float32[2] ; float32[2]", "bool or int or uint", "float32"),
    unequal("or-C1", "bool[2] ; bool[]"),
    kinds("or-C2", "float16[2] ; float16[2]", "bool or int or uint", "float16"),
    unequal("xor-C1", "int8[2] ; uint8[2]"),
    kinds("xor-C2", "complex64[2] ; complex64[2]", "bool or int or uint", "complex64"),
]
OTHER_ELEMENTWISE: list[Broken] = [
    ("add_n-C1", "", {}, InvalidArgument, "at least one operand is needed"),
    unequal("add_n-C2", "float32[2] ; float32[2] ; float32[3]"),
    kinds("add_n-C3", "bool[2] ; bool[2]", NUMBERS, "bool"),
    ("compare-C1", "float32[2] ; float32[3]", {"direction": "LT"}, InvalidArgument,
     "operands must have equal shapes and dtypes, got float32[2] and float32[3]"),
    ("compare-C2", "float32[2] ; float32[2]", {"direction": "<"}, InvalidArgument,
     "direction must be one of EQ, NE, LT, LE, GT, GE, got '<'"),
    ("compare-C3", "complex64[2] ; complex64[2]", {"direction": "LT"}, InvalidType,
     "the dtype must be bool or int or uint or float, got complex64"),
    ("select-C1", "int8[2] ; float32[2] ; float32[2]", {}, InvalidType, "the dtype must be bool, got int8"),
    ("select-C2", "bool[2] ; float32[2] ; float64[2]", {}, InvalidArgument,
     "operands must have equal shapes and dtypes, got float32[2] and float64[2]"),
    ("select-C3", "bool[3] ; float32[2] ; float32[2]", {}, InvalidArgument,
     "pred must be a scalar or have the shape of the branches, got bool[3] for float32[2]"),
    ("convert-C1", "string[2]", {"dtype": dtypes.int32}, InvalidType,
     "strings don't convert to numbers or back, got string to int32"),
    ("convert-C2", "complex64[2]", {"dtype": dtypes.float32}, InvalidType,
     "a complex number doesn't convert to float32: take its real part"),
]  # fmt: skip

CLAMP: list[Broken] = [
    ("clamp-C1", "float32[2] ; float32[1] ; float32[]", {}, InvalidArgument,
     "bounds are scalars or like float32[2], got float32[1] and float32[]"),
    kinds("clamp-C2", "complex64[2] ; complex64[] ; complex64[]", "bool or int or uint or float", "complex64"),
]  # fmt: skip
BROKEN = [*UNARY, *BINARY, *OTHER_ELEMENTWISE, *CLAMP]
NEVER_BROKEN = {"identity-C1": "every dtype is taken", "stop_gradient-C1": "every dtype is taken"}

# ---- gradients


def masked(trace: Trace, *xs: SSAValue) -> SSAValue:
    return trace(ew.Select, trace.constant([[True, False, True], [False, False, True]], "bool"), *xs)


def scalar_masked(trace: Trace, *xs: SSAValue) -> SSAValue:
    return trace(ew.Select, trace(ew.Compare, trace.sum(xs[0]), trace.sum(xs[1]), direction="LT"), *xs)


GRADIENTS = [
    GradientCase(ew.Negate, [X]),
    GradientCase(ew.Abs, [X]),
    GradientCase(ew.Exponential, [X]),
    GradientCase(ew.ExponentialMinusOne, [X]),
    GradientCase(ew.Log, [P]),
    GradientCase(ew.LogPlusOne, [P]),
    GradientCase(ew.Sqrt, [P]),
    GradientCase(ew.Rsqrt, [P]),
    GradientCase(ew.Sine, [X]),
    GradientCase(ew.Cosine, [X]),
    GradientCase(ew.Tangent, [X / 2]),
    GradientCase(ew.Tanh, [X]),
    GradientCase(ew.Logistic, [X]),
    GradientCase(ew.Identity, [X]),
    GradientCase(ew.Add, [X, Y]),
    GradientCase(ew.Subtract, [X, Y]),
    GradientCase(ew.Multiply, [X, Y]),
    GradientCase(ew.Divide, [X, Q]),
    GradientCase(ew.Remainder, [np.array([5.3, -5.3, 1.2]), np.array([2.1, 2.1, -0.5])]),
    GradientCase(ew.Power, [P, Y]),
    GradientCase(ew.Power, [X], build=lambda t, x: t(ew.Power, x, t.constant(np.full((2, 3), 3.0)))),
    GradientCase(
        ew.Power,
        [X],
        build=lambda t, x: t(ew.Power, x, t(shape.BroadcastInDim, t.constant(2.0), shape=(2, 3), dims=())),
    ),
    GradientCase(
        ew.Power,
        [X],
        build=lambda t, x: t(ew.Power, x, t(shape.BroadcastInDim, t.constant(3.0), shape=(2, 3), dims=())),
    ),
    GradientCase(ew.Maximum, [X, Y]),
    GradientCase(ew.Minimum, [X, Y]),
    GradientCase(ew.Atan2, [X, Q]),
    GradientCase(ew.Atan2, [P, Y]),
    GradientCase(ew.AddN, [X, Y, P]),
    GradientCase(ew.Select, [X, Y], build=masked),
    GradientCase(ew.Select, [X, Y], build=scalar_masked),
    GradientCase(ew.Convert, [X], {"dtype": dtypes.float64}),
    GradientCase(ew.Clamp, [X, Y - 0.5, Y + 0.5]),
    GradientCase(ew.Clamp, [X, Y, P - 1]),
    GradientCase(ew.Clamp, [X, np.array(-0.5), np.array(0.4)]),
]
