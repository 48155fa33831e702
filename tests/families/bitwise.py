"""Operations on bits, against Python's integers and the bytes of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dfc.errors import InvalidType
from dfc.ir import dtypes
from dfc.ir.ops import bitwise as ops
from tests.families.rows import Broken, GradientCase, Rows, X, Y, kinds, unequal
from tests.numerics.values import FLOATS, INTS, UINTS, Array, Case, binary, edges, numpy_dtype, pairs, unary

ROWS = Rows()
row = ROWS.row

WHOLE = (*INTS, *UINTS)


def width(dtype: str) -> int:
    return np.dtype(dtype).itemsize * 8


def shifts(function: Callable[[int, int, int], int], names: tuple[str, ...]) -> list[Case]:
    """`function(x, distance, width)` of Python's integers; the distance is at most the width."""
    found = []
    for dtype in names:
        bits = width(dtype)

        def bounded(x: int, y: int, bits: int = bits) -> int:
            return function(x, min(y % 2**bits, bits), bits)

        found += binary((dtype,), np.add, integers=bounded)
        x = edges(dtype)
        for distance in (0, 1, bits - 1, bits):
            y = np.full(x.shape, distance, dtype)
            expected = binary_values(bounded, x, y)
            found.append(Case((x, y), (expected,)))
    return found


def binary_values(function: Callable[[int, int], int], x: Array, y: Array) -> Array:
    wide = [function(a, b) % 2 ** width(x.dtype.name) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    return np.array(wide, f"u{x.dtype.itemsize}").view(x.dtype)


ROWS["shift_left"] = lambda: shifts(lambda x, y, bits: x << y, WHOLE)
ROWS["shift_right_arithmetic"] = lambda: shifts(lambda x, y, bits: x >> y, INTS)
ROWS["shift_right_logical"] = lambda: shifts(lambda x, y, bits: (x % 2**bits) >> y, WHOLE)


def by_bits(function: Callable[[str], int]) -> list[Case]:
    """`function` of a number's bits, written as zeros and ones."""
    found = []
    for dtype in WHOLE:
        bits = width(dtype)

        def of(x: int, bits: int = bits) -> int:
            return function(format(x % 2**bits, f"0{bits}b"))

        found += unary((dtype,), np.abs, integers=of)
    return found


ROWS["population_count"] = lambda: by_bits(lambda bits: bits.count("1"))
ROWS["count_leading_zeros"] = lambda: by_bits(lambda bits: len(bits) - len(bits.lstrip("0")))


@row("bitcast_convert")
def bitcast_convert() -> list[Case]:
    found = []
    for source in (*WHOLE, *FLOATS):
        for target in (*WHOLE, *FLOATS):
            if numpy_dtype(source).itemsize != numpy_dtype(target).itemsize:
                continue
            x = edges(source)
            x = x[x == x]  # a NaN's bits may change on their way
            expected = np.frombuffer(x.tobytes(), numpy_dtype(target))
            clean = ~np.isnan(expected.astype(np.float64))
            found.append(Case((x[clean],), (expected[clean],), {"dtype": dtypes.as_dtype(target)}))
    scalar, empty = np.array(1.0, np.float32), np.zeros((0, 2), np.int16)
    found.append(Case((scalar,), (np.array(0x3F800000, np.int32),), {"dtype": dtypes.int32}))
    return [*found, Case((empty,), (np.zeros((0, 2), np.float16),), {"dtype": dtypes.float16})]


@row("next_after")
def next_after() -> list[Case]:
    """In float64 as Python has it; in the others neighbours' bits, read as integers, differ by one."""
    x, y = pairs("float64")
    found = [Case((x, y), (np.array([math.nextafter(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]),))]
    for dtype in ("float16", "bfloat16", "float32"):
        a = np.array([1.0, -1.0, 2.0, 0.1, -7.75, 60.0], numpy_dtype(dtype))
        bits = a.view(f"i{a.dtype.itemsize}")
        inf, nan = np.full(a.shape, np.inf, a.dtype), np.full(a.shape, np.nan, a.dtype)
        found += [
            Case((a, np.copysign(inf, a)), ((bits + bits.dtype.type(1)).view(a.dtype),)),
            Case((a, np.zeros_like(a)), ((bits - bits.dtype.type(1)).view(a.dtype),)),
            Case((a, a), (a,)),
            Case((a, nan), (nan,)),
        ]
    scalar, empty = np.array(1.0, np.float32), np.zeros((2, 0), np.float32)
    found.append(Case((scalar, scalar * 2), (np.array(1 + 2.0**-23, np.float32),)))
    return [*found, Case((empty, empty), (empty,))]


@row("copy_sign")
def copy_sign() -> list[Case]:
    """By the bits: all but the highest of one, the highest of the other."""
    found = []
    for dtype in FLOATS:
        x, y = pairs(dtype)
        bits = f"u{x.dtype.itemsize}"
        low = np.array(2 ** (x.dtype.itemsize * 8 - 1) - 1, bits)
        expected = ((x.view(bits) & low) | (y.view(bits) & ~low)).view(x.dtype)
        found.append(Case((x, y), (expected,)))
    scalar, empty = np.array(3.0, np.float32), np.zeros((2, 0), np.float32)
    found.append(Case((scalar, np.array(-0.0, np.float32)), (np.array(-3.0, np.float32),)))
    return [*found, Case((empty, empty), (empty,))]


# ---- broken constraints

INTEGRAL = "int or uint"
BROKEN: list[Broken] = [
    unequal("shift_left-C1", "int32[2] ; int8[2]"),
    kinds("shift_left-C2", "bool[2] ; bool[2]", INTEGRAL, "bool"),
    unequal("shift_right_arithmetic-C1", "int32[2] ; int32[3]"),
    kinds("shift_right_arithmetic-C2", "uint8[2] ; uint8[2]", "int", "uint8"),
    unequal("shift_right_logical-C1", "int32[2] ; int32[]"),
    kinds("shift_right_logical-C2", "float32[2] ; float32[2]", INTEGRAL, "float32"),
    kinds("population_count-C1", "float32[2]", INTEGRAL, "float32"),
    kinds("count_leading_zeros-C1", "bool[2]", INTEGRAL, "bool"),
    ("bitcast_convert-C1", "bool[2]", {"dtype": dtypes.int8}, InvalidType,
     "both dtypes must be int, uint or float, got bool and int8"),
    ("bitcast_convert-C2", "float32[2]", {"dtype": dtypes.int64}, InvalidType,
     "both dtypes must have the same width, got float32 and int64"),
    unequal("next_after-C1"),
    kinds("next_after-C2", "int32[2] ; int32[2]", "float", "int32"),
    unequal("copy_sign-C1"),
    kinds("copy_sign-C2", "int32[2] ; int32[2]", "float", "int32"),
]  # fmt: skip

# ---- gradients

GRADIENTS = [GradientCase(ops.CopySign, [X], build=lambda t, x: t(ops.CopySign, x, t.constant(Y)))]
