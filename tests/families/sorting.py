"""Sorting, selection and sets."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.ops import sorting as ops
from dfc.ir.ops.elementwise import Multiply
from tests.families.rows import Broken, GradientCase, Rows, normal
from tests.numerics.values import FLOATS, INTS, ORDERED, UINTS, Array, Case, array, edges
from tests.programs import Trace

ROWS = Rows()


def compared(a: Any, b: Any) -> int:
    """-1, 0 or 1; NaN after every number and equal to itself."""
    if a != a or b != b:
        return int(a != a) - int(b != b)
    return int(a > b) - int(a < b)


def plain(x: Array) -> list[Any]:
    return [float(v) for v in x.ravel()] if x.dtype.kind not in "iub" else x.ravel().tolist()


def ordering(x: Array, descending: bool) -> list[int]:
    """The permutation that sorts a vector stably, by Python's own sort."""
    values, sign = plain(x), -1 if descending else 1
    return sorted(range(len(values)), key=functools.cmp_to_key(lambda i, j: sign * compared(values[i], values[j])))


def along(x: Array, axis: int, descending: bool) -> Array:
    found = np.zeros(x.shape, np.int64)
    for place in np.ndindex(*x.shape[:axis], *x.shape[axis + 1 :]):
        row = (*place[:axis], slice(None), *place[axis:])
        found[row] = ordering(x[row], descending)
    return found


def keys(dtype: str) -> list[tuple[Array, int]]:
    """Vectors with every edge twice, matrices, and empty ones."""
    rng = np.random.default_rng(9)
    twice = rng.permutation(np.concatenate([edges(dtype), edges(dtype)]))
    found = [(twice, 0)]
    if dtype in ("bool", "int32", "float32"):
        ties = array(rng.integers(0, 4, (3, 7)), dtype)
        found += [(ties, 1), (ties, 0), (ties[:0], 0), (ties[:, :0], 1), (ties[:, :1], 1)]
    return found


@ROWS.row("sort")
def sort() -> list[Case]:
    found = []
    for dtype in ORDERED:
        for x, axis in keys(dtype):
            for descending in (False, True):
                where = along(x, axis, descending)
                payload = np.arange(x.size, dtype=np.int64).reshape(x.shape)
                expected = tuple(np.take_along_axis(v, where, axis) for v in (x, payload))
                attributes = {"axis": axis, "descending": descending}
                found.append(Case((x, payload), expected, attributes))
                found.append(Case((x,), expected[:1], attributes))
    complex_payload = array([3, 1j, -2], "complex64")
    key = np.array([2, 0, 1], np.int8)
    attributes = {"axis": 0, "descending": False}
    found.append(Case((key, complex_payload), (np.sort(key), complex_payload[[1, 2, 0]]), attributes))
    return found


@ROWS.row("argsort")
def argsort() -> list[Case]:
    found = []
    for dtype in ORDERED:
        for x, axis in keys(dtype):
            for descending, index in ((False, "int32"), (True, "int64")):
                expected = along(x, axis, descending).astype(index)
                attributes = {"axis": axis, "descending": descending, "dtype": dtypes.as_dtype(index)}
                found.append(Case((x,), (expected,), attributes))
    return found


@ROWS.row("top_k")
def top_k() -> list[Case]:
    found = []
    for dtype in (*INTS, *UINTS, *FLOATS):
        for x, axis in keys(dtype):
            if axis != x.ndim - 1:
                continue
            for k in {0, min(3, x.shape[-1]), x.shape[-1]}:
                where = along(x, axis, True)[..., :k]
                values = np.take_along_axis(x, where, -1)
                found.append(Case((x,), (values, where.astype(np.int32)), {"k": k}))
    return found


@ROWS.row("unique")
def unique() -> list[Case]:
    found = []
    vectors = [x for dtype in ORDERED for x, _ in keys(dtype) if x.ndim == 1]
    vectors += [np.zeros(0, np.float32), np.full(5, 7, np.int32), np.arange(6, dtype=np.uint8)[::-1].copy()]
    for x in vectors:
        values, groups = plain(x), list[list[int]]()
        for i in ordering(x, False):
            if groups and compared(values[groups[-1][0]], values[i]) == 0:
                groups[-1].append(i)
            else:
                groups.append([i])
        for size in {0, 3, len(groups), len(groups) + 2}:
            chosen, first = np.zeros(size, x.dtype), np.full(size, len(x), np.int32)
            counts, inverse = np.zeros(size, np.int32), np.zeros(len(x), np.int32)
            for number, group in enumerate(groups):
                inverse[group] = number
                if number < size:
                    chosen[number], first[number], counts[number] = x[group[0]], group[0], len(group)
            results = (chosen, first, inverse, counts, np.array(len(groups), np.int32))
            found.append(Case((x,), results, {"size": size}))
    return found


@ROWS.row("searchsorted")
def searchsorted() -> list[Case]:
    found = []
    for dtype in ORDERED:
        x = np.concatenate([edges(dtype), edges(dtype)[:3]])
        ordered, values = x[ordering(x, False)], edges(dtype)
        wanted = [values, values[0].reshape(()), values[:0].reshape(0, 2)]
        for tensor in wanted if dtype in ("int32", "float32") else wanted[:1]:
            for line in (ordered, ordered[:1], ordered[:0]):
                for right in (False, True):
                    limit = 0 if right else -1
                    places = [sum(compared(a, v) <= limit for a in plain(line)) for v in plain(tensor)]
                    expected = np.array(places, np.int32).reshape(tensor.shape)
                    found.append(Case((line, tensor), (expected,), {"right": right}))
    return found


UP = {"axis": 0, "descending": False}
INDEX = {**UP, "dtype": dtypes.int32}
KINDS = "the dtype must be bool or int or uint or float, got "
BROKEN: list[Broken] = [
    ("sort-C1", "", UP, InvalidArgument, "at least one operand is needed"),
    ("sort-C2", "int32[2] ; float32[3]", UP, InvalidArgument,
     "operands must have one shape, got int32[2] and float32[3]"),
    ("sort-C3", "int32[2]", {**UP, "axis": -1}, InvalidArgument, "the axis must be within rank 1, got -1"),
    ("sort-C4", "complex64[2]", UP, InvalidType, KINDS + "complex64"),
    ("argsort-C1", "int32[]", INDEX, InvalidArgument, "the axis must be within rank 0, got 0"),
    ("argsort-C2", "string[2]", INDEX, InvalidType, KINDS + "string"),
    ("argsort-C3", "int32[2]", {**UP, "dtype": dtypes.float32}, InvalidType,
     "an index has an integer dtype, got float32"),
    ("top_k-C1", "float32[3,2]", {"k": 3}, InvalidArgument,
     "k must be from 0 to the size of the last axis, got 3 for float32[3, 2]"),
    ("top_k-C2", "complex64[2]", {"k": 1}, InvalidType, KINDS + "complex64"),
    ("unique-C1", "int32[2,2]", {"size": 1}, InvalidArgument, "x must be a vector, got int32[2, 2]"),
    ("unique-C2", "int32[2]", {"size": -1}, InvalidArgument, "size must not be negative, got -1"),
    ("unique-C3", "complex64[2]", {"size": 1}, InvalidType, KINDS + "complex64"),
    ("searchsorted-C1", "int32[2,2] ; int32[2]", {"right": False}, InvalidArgument,
     "the sorted operand must be a vector, got int32[2, 2]"),
    ("searchsorted-C2", "int32[2] ; float32[2]", {"right": False}, InvalidType,
     "operands must have equal dtypes, got int32 and float32"),
    ("searchsorted-C3", "complex64[2] ; complex64[2]", {"right": False}, InvalidType, KINDS + "complex64"),
]  # fmt: skip


def both(trace: Trace, key: SSAValue, payload: SSAValue) -> SSAValue:
    """A sort with a payload, whose results are both used."""
    first, second = trace.b.op(ops.Sort, key, payload, axis=1, descending=True).results
    return trace.sum(trace(Multiply, first, second))


GRADIENTS = [
    GradientCase(ops.Sort, [normal(2, 5)], {"axis": 1, "descending": False}),
    GradientCase(ops.Sort, [normal(4, 2)], {"axis": 0, "descending": True}),
    GradientCase(ops.Sort, [normal(2, 4), normal(2, 4, seed=1)], build=both),
    GradientCase(ops.TopK, [normal(2, 5)], build=lambda t, x: t.b.op(ops.TopK, x, k=3).results[0]),
]
