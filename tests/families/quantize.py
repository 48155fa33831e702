"""Quantisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.ops.quantize import Dequantize
from tests.families.rows import Broken, GradientCase, Rows, positive
from tests.numerics.values import FLOATS, Array, Case, array, edges

ROWS = Rows()
NARROW = ("int8", "uint8", "int16", "uint16")
RNG = np.random.default_rng(8)


def parameters(dtype: str, kind: str, size: int | None) -> tuple[Array, Array]:
    """Scales that are powers of two, so that every dtype divides by them exactly, and zero points."""
    shape = () if size is None else (size,)
    scale = array(2.0 ** RNG.integers(-3, 3, shape), dtype)
    return scale, np.asarray(RNG.integers(0 if kind[0] == "u" else -9, 9, shape), kind)


def steps(x: float, scale: float, zero: int, kind: str) -> int:
    info = np.iinfo(kind)
    wide = x / scale
    if math.isinf(wide):
        return info.max if wide > 0 else info.min
    return min(max((0 if math.isnan(wide) else round(wide)) + zero, info.min), info.max)


@ROWS.row("quantize")
def quantize() -> list[Case]:
    found = []
    for dtype in FLOATS:
        for kind in NARROW:
            matrix = array(RNG.normal(0, 40, (3, 5)), dtype)
            for x, axis, size in ((edges(dtype), -1, None), (matrix, 1, 5), (matrix, 0, 3), (matrix[:0], -1, None)):
                scale, zero = parameters(dtype, kind, size)
                expected = np.zeros(x.shape, kind)
                for index in np.ndindex(x.shape):
                    at = () if size is None else index[axis]
                    expected[index] = steps(float(x[index]), float(scale[at]), int(zero[at]), kind)
                attributes = {"axis": axis, "dtype": dtypes.as_dtype(kind)}
                found.append(Case((x, scale, zero), (expected,), attributes))
    return found


@ROWS.row("dequantize")
def dequantize() -> list[Case]:
    found = []
    for dtype in FLOATS:
        for kind in NARROW:
            matrix = np.asarray(RNG.integers(np.iinfo(kind).min, np.iinfo(kind).max, (3, 5), endpoint=True), kind)
            for q, axis, size in ((matrix, -1, None), (matrix, 1, 5), (matrix[0, 0], -1, None), (matrix[:0], 1, 5)):
                scale, zero = parameters(dtype, kind, size)
                expected = np.zeros(q.shape)
                for index in np.ndindex(q.shape):
                    at: Any = () if size is None else index[axis]
                    expected[index] = (int(q[index]) - int(zero[at])) * float(scale[at])
                found.append(Case((q, scale, zero), (array(expected, dtype),), {"axis": axis}, zero_signs=False))
    return found


TO_INT8 = {"axis": 0, "dtype": dtypes.int8}
SCALES = "scale and zero point must be float32 and int8, both scalars or both of the size of axis 0, got "
BROKEN: list[Broken] = [
    ("quantize-C1", "int8[2] ; float32[] ; int8[]", TO_INT8, InvalidType, "the dtype must be float, got int8"),
    ("quantize-C2", "float32[2] ; float32[] ; int32[]", {"axis": 0, "dtype": dtypes.int32}, InvalidType,
     "quantised numbers are integers of 8 or 16 bits, got int32"),
    ("quantize-C3", "float32[2] ; float32[3] ; int8[3]", TO_INT8, InvalidArgument,
     SCALES + "float32[3] and int8[3] for float32[2]"),
    ("dequantize-C1", "int32[2] ; float32[] ; int32[]", {"axis": 0}, InvalidType,
     "quantised numbers are integers of 8 or 16 bits, got int32"),
    ("dequantize-C2", "int8[2] ; int8[] ; int8[]", {"axis": 0}, InvalidType, "the dtype must be float, got int8"),
    ("dequantize-C3", "int8[2] ; float32[] ; int8[2]", {"axis": 0}, InvalidArgument,
     SCALES + "float32[] and int8[2] for int8[2]"),
]  # fmt: skip


def of_constant(axis: int, size: int | None) -> Any:
    q = np.asarray(RNG.integers(-99, 99, (2, 3)), np.int8)
    zero = np.asarray(RNG.integers(-9, 9, () if size is None else (size,)), np.int8)
    return lambda t, s: t(Dequantize, t.constant(q, "int8"), s, t.constant(zero, "int8"), axis=axis)


GRADIENTS = [
    GradientCase(Dequantize, [positive()], build=of_constant(-1, None)),
    GradientCase(Dequantize, [positive(3)], build=of_constant(1, 3)),
    GradientCase(Dequantize, [positive(2)], build=of_constant(0, 2)),
]
