"""Sums and extremes over segments; partition and stitch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.ops import segment as sg
from dfc.ir.ops.shape import Concatenate
from tests.families.indexing import INDEX_DTYPES, larger, smaller
from tests.families.rows import Broken, Build, GradientCase, Rows, normal, positive
from tests.numerics.values import FLOATS, INTS, NUMERIC, UINTS, Array, Case, sample, wrap
from tests.programs import Trace

ROWS = Rows()
row = ROWS.row
MIXED = ("bool", "int8", "uint64", "bfloat16", "float64", "complex64")
REAL = (*INTS, *UINTS, *FLOATS)


def reduced(data: Array, ids: Array, count: int, combine: Callable[[Any, Any], Any], identity: Any) -> Array:
    """One row after another; integers exactly, floats in wide precision, rounded once."""
    integral = data.dtype.kind in "iu"
    wide: Any = object if integral else np.clongdouble if data.dtype.kind == "c" else np.float64
    result = np.full((count, *data.shape[ids.ndim :]), identity, wide)
    for place in np.ndindex(*ids.shape):
        if ids[place] >= 0:
            for rest in np.ndindex(*data.shape[ids.ndim :]):
                value = data[(*place, *rest)]
                target = (int(ids[place]), *rest)
                result[target] = combine(result[target], int(value) if integral else wide(value))
    if integral:
        return np.array([wrap(int(v), data.dtype) for v in result.ravel()], data.dtype).reshape(result.shape)
    with np.errstate(all="ignore"):
        return np.asarray(result.astype(data.dtype))


def segment_cases(
    dtypes: tuple[str, ...], combine: Callable[[Any, Any], Any], identity: Callable[[np.dtype[Any]], Any], units: float
) -> list[Case]:
    rng = np.random.default_rng(11)
    layouts = [
        ((6, 2), np.array([3, 0, 3, -1, 1, 3]), 5),  # unsorted, a row left out, segments 2 and 4 without rows
        ((2, 3), np.array([[1, 1, 0], [0, 1, 1]]), 2),
        ((4,), np.array([0, 0, 2, 2]), 3),
        ((3, 2), np.array(1), 2),
        ((0, 2), np.zeros(0, int), 2),
        ((3, 0), np.array([0, 1, 0]), 2),
        ((2,), np.array([-1, -1]), 0),
    ]
    found = []
    for dtype in dtypes:
        for shape, ids, count in layouts if dtype in ("float32", "int32") else layouts[:1]:
            if ids.ndim == 0:
                shape = (2,)
            data = sample(rng, shape, dtype)
            exact = data.dtype.kind in "iu" or units == 0
            expected = reduced(data, ids, count, combine, identity(data.dtype))
            given = ids.astype(np.int64 if dtype == "float64" else np.int32)
            tolerance = {} if exact else {"units": units, "scale": 4.0}
            found.append(Case((data, given), (expected,), {"num_segments": (count,)}, **tolerance))
    data = sample(rng, (5,), "float32")
    for dtype in INDEX_DTYPES:
        ids = np.array([1, 0, 1, 2, 0], dtype)
        expected = reduced(data, ids, 3, combine, identity(data.dtype))
        found.append(Case((data, ids), (expected,), {"num_segments": (3,)}, units=units, scale=4.0))
    return found


@row("segment_sum")
def segment_sum() -> list[Case]:
    found = segment_cases(NUMERIC, lambda a, b: a + b, lambda dtype: 0, 3)
    ones = np.ones(4096, np.float16)  # adding one to 2048 in float16 changes nothing
    ids = np.zeros(4096, np.int32)
    return [*found, Case((ones, ids), (np.array([4096], np.float16),), {"num_segments": (1,)})]


@row("segment_prod")
def segment_prod() -> list[Case]:
    return segment_cases(NUMERIC, lambda a, b: a * b, lambda dtype: 1, 4)


def bound(dtype: np.dtype[Any], which: str) -> Any:
    if dtype.kind in "iu":
        return int(getattr(np.iinfo(dtype), which))
    return np.inf if which == "max" else -np.inf


SPECIAL = Case(
    (np.array([np.nan, 1, -np.inf, -np.inf, np.inf], np.float32), np.array([0, 0, 1, 1, 2], np.int32)),
    (np.array([np.nan, -np.inf, np.inf], np.float32),),
    {"num_segments": (3,)},
)


@row("segment_min")
def segment_min() -> list[Case]:
    return [*segment_cases(REAL, smaller, lambda dtype: bound(dtype, "max"), 0), SPECIAL]


@row("segment_max")
def segment_max() -> list[Case]:
    return [*segment_cases(REAL, larger, lambda dtype: bound(dtype, "min"), 0), SPECIAL]


@row("dynamic_partition")
def dynamic_partition() -> list[Case]:
    rng = np.random.default_rng(12)
    found = []
    for shape, partitions, count in [
        ((5,), [1, 0, 1, 3, 0], 4),
        ((4, 2), [2, 2, 0, 2], 3),
        ((2, 2, 3), [[0, 1], [1, 0]], 2),
        ((2,), 1, 2),
        ((0, 2), np.zeros(0, int), 2),
        ((3,), [0, 0, 0], 1),
    ]:
        for dtype in MIXED if shape == (5,) else ("float32",):
            data, ids = sample(rng, shape, dtype), np.array(partitions, np.int64 if dtype == "float64" else np.int32)
            parts: list[list[Any]] = [[] for _ in range(count)]
            for place in np.ndindex(*ids.shape):
                parts[int(ids[place])].append(data[place])
            buffers = []
            for part in parts:
                buffers.append(np.zeros((ids.size, *shape[ids.ndim :]), data.dtype))
                for i, each in enumerate(part):
                    buffers[-1][i] = each
            counts = np.array([len(part) for part in parts], np.int32)
            found.append(Case((data, ids), (*buffers, counts), {"num_partitions": count}))
    return found


@row("dynamic_stitch")
def dynamic_stitch() -> list[Case]:
    rng = np.random.default_rng(13)
    layouts: list[tuple[list[Any], tuple[int, ...], int]] = [
        ([[0, 4, 1], [3, 2]], (), 5),
        ([[0, 4, 4], 1, [[1, 0], [4, 1]]], (2,), 6),  # duplicates; rows 2, 3 and 5 are named by none
        ([[0, -1, 7, 1]], (2,), 3),  # left out
        ([np.zeros(0, int)], (2,), 2),
        ([[1, 0]], (0,), 2),
        ([[1, 0]], (), 0),
    ]
    found = []
    for indices, tail, count in layouts:
        for dtype in MIXED if count == 6 else ("float32",):
            places = [np.array(i, np.int64 if dtype == "float64" else np.int32) for i in indices]
            data = [sample(rng, (*i.shape, *tail), dtype) for i in places]
            expected = np.zeros((count, *tail), data[0].dtype)
            for index, rows in zip(places, data, strict=True):
                for place in np.ndindex(*index.shape):
                    if 0 <= index[place] < count:
                        expected[int(index[place])] = rows[place]
            found.append(Case((*places, *data), (expected,), {"size": (count,)}))
    mixed = (np.array([2], np.uint8), np.array([0, 1], np.int64), np.array([3.0]), np.array([4.0, 5.0]))
    return [*found, Case(mixed, (np.array([4.0, 5.0, 3.0]),), {"size": (3,)})]


# ---- broken constraints

THREE = {"num_segments": (3,)}
TWO = {"num_partitions": 2}
SIZE = {"size": (3,)}


def segment_broken(name: str, allowed: str, forbidden: str) -> list[Broken]:
    return [
        (f"{name}-C1", f"{forbidden}[4] ; int32[4]", THREE, InvalidType,
         f"the dtype must be {allowed}, got {forbidden}"),
        (f"{name}-C2", "float32[4] ; float32[4]", THREE, InvalidType, "segment_ids must be integers, got float32"),
        (f"{name}-C3", "float32[4,b] ; int32[b]", THREE, InvalidArgument,
         "the shape of segment_ids must begin that of data, got (b) and (4, b)"),
        (f"{name}-C4", "float32[4] ; int32[4]", {"num_segments": (-1,)}, InvalidArgument,
         "num_segments must be one dimension, not negative, got (-1,)"),
    ]  # fmt: skip


BROKEN: list[Broken] = [
    *segment_broken("segment_sum", "int or uint or float or complex", "bool"),
    *segment_broken("segment_prod", "int or uint or float or complex", "bool"),
    *segment_broken("segment_min", "int or uint or float", "complex64"),
    *segment_broken("segment_max", "int or uint or float", "complex64"),
    ("dynamic_partition-C1", "string[4] ; int32[4]", TWO, InvalidType,
     "the dtype must be bool or int or uint or float or complex, got string"),
    ("dynamic_partition-C2", "float32[4] ; bool[4]", TWO, InvalidType, "partitions must be integers, got bool"),
    ("dynamic_partition-C3", "float32[4,2] ; int32[2]", TWO, InvalidArgument,
     "the shape of partitions must begin that of data, got (2) and (4, 2)"),
    ("dynamic_partition-C4", "float32[4] ; int32[4]", {"num_partitions": 0}, InvalidArgument,
     "at least one partition is needed, got 0"),
    ("dynamic_stitch-C1", "int32[4] ; int32[4] ; float32[4]", SIZE, InvalidArgument,
     "as many data as indices are needed, got 3 operands"),
    ("dynamic_stitch-C2", "bool[4] ; float32[4]", SIZE, InvalidType, "indices must be integers, got bool"),
    ("dynamic_stitch-C3", "int32[1] ; int32[1] ; float32[1] ; float64[1]", SIZE, InvalidType,
     "data must have one dtype, got float32[1] and float64[1]"),
    ("dynamic_stitch-C4", "int32[1] ; int32[1] ; float32[1,2] ; float32[1]", SIZE, InvalidArgument,
     "the shapes of data behind those of indices must be equal, got (2) and ()"),
    ("dynamic_stitch-C5", "int32[1] ; float32[1]", {"size": ()}, InvalidArgument,
     "size must be one dimension, not negative, got ()"),
]  # fmt: skip


# ---- gradients


def segmented(op: Any, ids: Any, count: int) -> Build:
    return lambda trace, data: trace(op, data, trace.constant(ids, "int32"), num_segments=(count,))


def partitioned(trace: Trace, data: SSAValue) -> SSAValue:
    """Two of three parts, so that one has no gradient."""
    ids = trace.constant([[2, 0], [2, 1]], "int32")
    first, _, last, _ = trace.op(sg.DynamicPartition, data, ids, num_partitions=3).results
    return trace(Concatenate, first, last, axis=0)


def stitched(trace: Trace, first: SSAValue, second: SSAValue) -> SSAValue:
    indices = trace.constant([2, 0, 2], "int32"), trace.constant([[0], [-1]], "int64")
    return trace(sg.DynamicStitch, *indices, first, second, size=(4,))


IDS = [3, 0, 3, -1, 1, 3]
GRADIENTS = [
    GradientCase(sg.SegmentSum, [normal(6, 2)], build=segmented(sg.SegmentSum, IDS, 5)),
    GradientCase(sg.SegmentProd, [positive(6, 2)], build=segmented(sg.SegmentProd, IDS, 5)),
    GradientCase(sg.SegmentMin, [normal(3, 2)], build=segmented(sg.SegmentMin, [[1, 0], [1, 1], [0, 1]], 2)),
    GradientCase(sg.SegmentMax, [normal(3, 2)], build=segmented(sg.SegmentMax, [[1, 0], [1, 1], [0, 1]], 2)),
    GradientCase(sg.DynamicPartition, [normal(2, 2, 2)], build=partitioned),
    GradientCase(sg.DynamicStitch, [normal(3, 2), normal(2, 1, 2)], build=stitched),
]
