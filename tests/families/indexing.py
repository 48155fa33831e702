"""Reading and writing parts of a tensor at indices that are data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.ops import indexing as ix
from tests.families.rows import Broken, Build, GradientCase, Rows, normal, positive
from tests.numerics.values import COMPLEX, EVERY, FLOATS, NUMERIC, ORDERED, Array, Case, array, edges, sample, wrap
from tests.programs import Trace

ROWS = Rows()
row = ROWS.row
INDEX_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def taken(x: Array, indices: Array, axis: int) -> Array:
    """One element after another."""
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    result = np.empty(shape, x.dtype)
    for place in np.ndindex(*shape):
        before, inner, after = place[:axis], place[axis : axis + indices.ndim], place[axis + indices.ndim :]
        result[place] = x[(*before, int(indices[inner]), *after)]
    return result


@row("take")
def take() -> list[Case]:
    rng = np.random.default_rng(3)
    found = []
    for dtype in EVERY:
        x = edges(dtype)
        found.append(each_of_two(ix.Take, x, np.array([len(x) - 1, 0, *range(len(x))], np.int32), {"axis": 0}))
    for dtype in INDEX_DTYPES:
        x = sample(rng, (4, 3), "float32")
        found.append(each_of_two(ix.Take, x, np.array([[3, 0], [1, 3]], dtype), {"axis": 0}))
    for shape, places, axis in [
        ((4, 3), (), 0),
        ((4, 3), (2, 2), 1),
        ((2, 3, 4), (5,), 1),
        ((2, 3, 4), (2, 1, 2), 2),
        ((3,), (0,), 0),
        ((3, 0), (2,), 0),
        ((0, 3), (0, 2), 0),
        ((200, 2), (3,), 0),
    ]:
        indices = rng.integers(0, max(shape[axis], 1), places, np.int32)
        found.append(each_of_two(ix.Take, sample(rng, shape, "float32"), np.asarray(indices), {"axis": axis}))
    found.append(each_of_two(ix.Take, sample(rng, (200, 2), "float32"), np.array([199, 130], np.uint8), {"axis": 0}))
    return found


def each_of_two(op: type[ix.Take], x: Array, indices: Array, attributes: dict[str, Any]) -> Case:
    return Case((x, indices), (taken(x, indices, attributes["axis"]),), attributes)


@row("gather_nd")
def gather_nd() -> list[Case]:
    rng = np.random.default_rng(4)
    found = []
    for shape, places, depth in [
        ((4, 3), (5,), 1),
        ((4, 3), (2, 2), 2),
        ((2, 3, 4), (), 3),
        ((2, 3, 4), (3,), 2),
        ((2, 3), (0,), 2),
        ((2, 0), (2,), 1),
    ]:
        for dtype in EVERY if depth == 2 and places == (2, 2) else ("float32",):
            x = sample(rng, shape, dtype)
            rows = [rng.integers(0, max(n, 1), places, np.int32) for n in shape[:depth]]
            indices = np.stack(rows, axis=-1).astype(np.int64 if dtype == "float64" else np.int32)
            expected = np.empty((*places, *shape[depth:]), x.dtype)
            for place in np.ndindex(*places):
                expected[place] = x[tuple(int(i) for i in indices[place])]
            found.append(Case((x, indices), (expected,)))
    return found


@row("take_along_axis")
def take_along_axis() -> list[Case]:
    rng = np.random.default_rng(8)
    found = []
    for shape, axis, length in [((4,), 0, 6), ((3, 4), 1, 2), ((3, 4), 0, 5), ((2, 3, 2), 1, 3), ((2, 0), 1, 0)]:
        for dtype in EVERY if shape == (4,) else ("float32",):
            x = sample(rng, shape, dtype)
            size = (*shape[:axis], length, *shape[axis + 1 :])
            indices = rng.integers(0, max(shape[axis], 1), size, np.int64 if dtype == "float64" else np.int32)
            expected = np.empty(size, x.dtype)
            for place in np.ndindex(*size):
                expected[place] = x[(*place[:axis], int(indices[place]), *place[axis + 1 :])]
            found.append(Case((x, indices), (expected,), {"axis": axis}))
    indices = np.array([[3], [0], [1]], np.uint8)
    x = np.arange(12, dtype=np.int32).reshape(3, 4)
    return [*found, Case((x, indices), (np.array([[3], [4], [9]], np.int32),), {"axis": 1})]


SCATTERS: list[tuple[tuple[int, ...], Any, int]] = [
    ((4, 3), [[1], [3], [1], [1]], 1),
    ((4, 3), [[[1, 2], [0, 0]], [[3, 1], [1, 2]]], 2),
    ((5,), [[4], [4], [0], [4], [0]], 1),
    ((2, 2, 2), [1, 0, 1], 3),
    ((3, 2), np.zeros((0, 1)), 1),
    ((3, 0), [[1], [1]], 1),
]
"""Shapes of x, indices with duplicates, and how many axes they name."""


def scatter_cases(dtypes: tuple[str, ...], combine: Callable[[Any, Any], Any], **attributes: Any) -> list[Case]:
    """One row of updates after another, one element after another; 16-bit floats have room for an other order."""
    rng = np.random.default_rng(5)
    found = []
    for dtype in dtypes:
        for shape, rows, depth in SCATTERS if dtype in ("float32", "int32") else SCATTERS[:1]:
            indices = np.asarray(rows, np.int64 if dtype == "float64" else np.int32)
            x, updates = sample(rng, shape, dtype), sample(rng, (*indices.shape[:-1], *shape[depth:]), dtype)
            exact = dtype == "bool" or x.dtype.kind in "iu" or combine in (later, smaller, larger)
            found.append(
                Case(
                    (x, indices, updates),
                    (scattered(x, indices, updates, combine),),
                    attributes,
                    units=0 if exact else 3,
                    scale=0 if exact else 8,
                )
            )
    return found


def scattered(x: Array, indices: Array, updates: Array, combine: Callable[[Any, Any], Any]) -> Array:
    integral = x.dtype.kind in "iu"
    wide = x.astype(object) if integral else x.astype(np.clongdouble if x.dtype.kind == "c" else np.float64)
    if x.dtype == bool:
        wide = x.copy()
    depth = indices.shape[-1]
    for place in np.ndindex(*indices.shape[:-1]):
        target = tuple(int(i) for i in indices[place])
        for rest in np.ndindex(*x.shape[depth:]):
            new = updates[(*place, *rest)]
            wide[(*target, *rest)] = combine(wide[(*target, *rest)], int(new) if integral else wide.dtype.type(new))
    if integral:
        return np.array([wrap(int(v), x.dtype) for v in wide.ravel()], x.dtype).reshape(x.shape)
    return np.asarray(wide.astype(x.dtype))


def later(old: Any, new: Any) -> Any:
    return new


def smaller(old: Any, new: Any) -> Any:
    return old if old != old else new if new != new or new < old else old


def larger(old: Any, new: Any) -> Any:
    return old if old != old else new if new != new or new > old else old


@row("tensor_scatter_update")
def tensor_scatter_update() -> list[Case]:
    distinct = (np.zeros((4, 2), np.float32), np.array([[3], [0], [2]], np.int32), sample(RNG, (3, 2), "float32"))
    expected = np.zeros((4, 2), np.float32)
    expected[3], expected[0], expected[2] = distinct[2]
    many = np.array([[i % 7] for i in range(100)], np.int32)
    last = np.array([98, 99, 93, 94, 95, 96, 97], np.int32)
    return [
        *scatter_cases(EVERY, later, unique=False),
        Case(distinct, (expected,), {"unique": True}),
        Case((np.zeros(7, np.int32), many, np.arange(100, dtype=np.int32)), (last,), {"unique": False}),
    ]


RNG = np.random.default_rng(6)


@row("tensor_scatter_add")
def tensor_scatter_add() -> list[Case]:
    return scatter_cases(NUMERIC, lambda old, new: old + new)


@row("tensor_scatter_mul")
def tensor_scatter_mul() -> list[Case]:
    return scatter_cases(NUMERIC, lambda old, new: old * new)


@row("tensor_scatter_div")
def tensor_scatter_div() -> list[Case]:
    """Quotients of powers of two are exact in every order; zeros and infinities as IEEE says."""
    cases = []
    for dtype in (*FLOATS, *COMPLEX):
        x, indices = array([8.0, -4.0, 0.0, 3.0], dtype), np.array([[1], [3], [1]], np.int32)
        updates = array([2.0, -0.5, 0.25], dtype)
        cases.append(Case((x, indices, updates), (array([8.0, -4.0 / 2 / 0.25, 0.0, -6.0], dtype),), zero_signs=False))
    x, updates = np.array([[1, -1], [0, 5]], np.float32), np.array([[0, 0], [0, np.inf]], np.float32)
    expected = np.array([[np.inf, -np.inf], [np.nan, 0]], np.float32)
    cases.append(Case((x, np.array([[0], [1]], np.int64), updates), (expected,)))
    nothing = np.zeros((0, 1), np.int32)
    cases.append(Case((x, nothing, np.zeros((0, 2), np.float32)), (x,)))
    return cases


def extremes(combine: Callable[[Any, Any], Any]) -> list[Case]:
    special = np.array([np.nan, np.inf, -np.inf, 1.0, 2.0, 0.5], np.float32)
    x = np.array([0.0, np.nan, 1.0, -np.inf, 3.0, 0.5, 7.0], np.float32)
    indices = np.array([[0], [1], [2], [3], [4], [4]], np.int32)
    return [
        *scatter_cases(ORDERED, combine),
        Case((x, indices, special), (scattered(x, indices, special, combine),)),
    ]


@row("tensor_scatter_min")
def tensor_scatter_min() -> list[Case]:
    return extremes(smaller)


@row("tensor_scatter_max")
def tensor_scatter_max() -> list[Case]:
    return extremes(larger)


@row("last_occurrence")
def last_occurrence() -> list[Case]:
    found = []
    for dtype in INDEX_DTYPES:
        found.append(Case((np.array([[1], [3], [1], [0], [3]], dtype),), (np.array([0, 0, 1, 1, 1], bool),)))
    pairs = np.array([[[0, 1], [1, 0], [0, 1]], [[1, 0], [1, 1], [-9, 4]]], np.int32)
    found.append(Case((pairs,), (np.array([[0, 0, 1], [1, 1, 1]], bool),)))
    found.append(Case((np.zeros((0, 2), np.int32),), (np.zeros(0, bool),)))
    found.append(Case((np.array([5], np.int32),), (np.array(True),)))
    return found


@row("dynamic_slice")
def dynamic_slice() -> list[Case]:
    rng = np.random.default_rng(9)
    found = []
    for dtype in EVERY:
        x = sample(rng, (5,), dtype)
        found.append(Case((x, np.array(2, np.int32)), (np.stack([x[2], x[3]]),), {"sizes": (2,)}))
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    for index in INDEX_DTYPES:
        starts = np.array(1, index), np.array(3, index)  # the second is moved to 2
        found.append(Case((x, *starts), (np.array([[6, 7], [10, 11]], np.float32),), {"sizes": (2, 2)}))
    low, high = np.array(-7, np.int32), np.array(99, np.int32)
    found.append(Case((x, low, high), (np.array([[1, 2, 3]], np.float32),), {"sizes": (1, 3)}))
    found.append(Case((x, high, low), (np.zeros((0, 4), np.float32),), {"sizes": (0, 4)}))
    return [*found, Case((np.array(3.0, np.float32),), (np.array(3.0, np.float32),), {"sizes": ()})]


@row("dynamic_update_slice")
def dynamic_update_slice() -> list[Case]:
    rng = np.random.default_rng(10)
    found = []
    for dtype in EVERY:
        x, update = sample(rng, (5,), dtype), sample(rng, (2,), dtype)
        expected = np.stack([x[0], x[1], update[0], update[1], x[4]])
        found.append(Case((x, update, np.array(2, np.int32)), (expected,)))
    x, update = np.zeros((2, 3), np.float32), np.array([[1, 2]], np.float32)
    low, high = np.array(-7, np.int64), np.array(99, np.int64)
    found.append(Case((x, update, low, high), (np.array([[0, 1, 2], [0, 0, 0]], np.float32),)))
    found.append(Case((x, update, high, low), (np.array([[0, 0, 0], [1, 2, 0]], np.float32),)))
    found.append(Case((x, update[:0], high, low), (x,)))
    one, two = np.array(1, np.int32), np.array(2, np.int32)
    return [*found, Case((one, two), (two,))]


@row("nonzero")
def nonzero() -> list[Case]:
    found = []
    for dtype in EVERY:
        x = edges(dtype)
        hits = [i for i, v in enumerate(x.tolist()) if v != 0]
        for size in (len(x) + 2, 1, len(hits)):
            rows = [[i] for i in hits][:size]
            expected = np.array(rows + [[-1]] * (size - len(rows)), np.int32).reshape(size, 1)
            found.append(Case((x,), (expected,), {"size": (size,), "fill": -1}))
    x = np.zeros((2, 3, 2), np.float32)
    x[1, 0, 1], x[0, 2, 0], x[1, 2, 1] = 1, np.nan, -1
    expected = np.array([[0, 2, 0], [1, 0, 1], [1, 2, 1], [7, 7, 7]], np.int32)
    found.append(Case((x,), (expected,), {"size": (4,), "fill": 7}))
    found.append(Case((x[:, :0],), (np.zeros((2, 3), np.int32),), {"size": (2,), "fill": 0}))
    found.append(Case((x,), (np.zeros((0, 3), np.int32),), {"size": (0,), "fill": 0}))
    return found


# ---- broken constraints

AXIS = {"axis": 0}
UPDATE = {"unique": False}


def scatter_broken(name: str, allowed: str, forbidden: str, attributes: dict[str, Any]) -> list[Broken]:
    """The five labels that all tensor_scatter ops have."""
    return [
        (f"{name}-C1", f"{forbidden}[4] ; int32[2,1] ; {forbidden}[2]", attributes, InvalidType,
         f"the dtype must be {allowed}, got {forbidden}"),
        (f"{name}-C2", "float32[4] ; int32[2,1] ; float64[2]", attributes, InvalidType,
         "updates must have the dtype float32, got float64"),
        (f"{name}-C3", "float32[4] ; float32[2,1] ; float32[2]", attributes, InvalidType,
         "indices must be integers, got float32"),
        (f"{name}-C4", "float32[4] ; int32[2,2] ; float32[2]", attributes, InvalidArgument,
         "the last axis of indices must have a size from 1 to 1, got int32[2, 2]"),
        (f"{name}-C5", "float32[4,b] ; int32[2,1] ; float32[2,3]", attributes, InvalidArgument,
         "updates must have the shape (2, b) for indices into float32[4, b] of shape (2, 1), got (2, 3)"),
    ]  # fmt: skip


BROKEN: list[Broken] = [
    ("take-C1", "float32[3] ; int32[2]", {"axis": 1}, InvalidArgument, "axis must be within rank 1, got 1"),
    ("take-C2", "float32[3] ; float32[2]", AXIS, InvalidType, "indices must be integers, got float32"),
    ("gather_nd-C1", "float32[3] ; bool[2,1]", {}, InvalidType, "indices must be integers, got bool"),
    ("gather_nd-C2", "float32[3] ; int32[1,b]", {}, InvalidArgument,
     "the last axis of indices must have a size from 1 to 1, got int32[1, b]"),
    ("take_along_axis-C1", "float32[3] ; int32[2]", {"axis": 1}, InvalidArgument,
     "axis must be within rank 1, got 1"),
    ("take_along_axis-C2", "float32[3] ; float32[2]", AXIS, InvalidType, "indices must be integers, got float32"),
    ("take_along_axis-C3", "float32[3,4] ; int32[2,5]", AXIS, InvalidArgument,
     "sizes must match outside axis 0, got float32[3, 4] and int32[2, 5]"),
    *scatter_broken("tensor_scatter_update", "", "", UPDATE)[1:],
    *scatter_broken("tensor_scatter_add", "int or uint or float or complex", "bool", {}),
    *scatter_broken("tensor_scatter_mul", "int or uint or float or complex", "bool", {}),
    *scatter_broken("tensor_scatter_div", "float or complex", "int32", {}),
    *scatter_broken("tensor_scatter_min", "bool or int or uint or float", "complex64", {}),
    *scatter_broken("tensor_scatter_max", "bool or int or uint or float", "complex64", {}),
    ("last_occurrence-C1", "float32[3,1]", {}, InvalidType, "indices must be integers, got float32"),
    ("last_occurrence-C2", "int32[3,b]", {}, InvalidArgument,
     "indices need a last axis of static size 1 or more, got int32[3, b]"),
    ("dynamic_slice-C1", "float32[3,b] ; int32[]", {"sizes": (2, 2)}, InvalidArgument,
     "one start an axis is needed, got 1 for rank 2"),
    ("dynamic_slice-C2", "float32[3,b] ; int32[] ; int64[]", {"sizes": (2, 2)}, InvalidType,
     "starts must be integer scalars of one dtype, got int32[] and int64[]"),
    ("dynamic_slice-C3", "float32[3,b] ; int32[] ; int32[]", {"sizes": (4, 2)}, InvalidArgument,
     "sizes must be within (3, b), got (4, 2)"),
    ("dynamic_update_slice-C1", "float32[3] ; float64[2] ; int32[]", {}, InvalidType,
     "operands must have equal dtypes, got float32 and float64"),
    ("dynamic_update_slice-C2", "float32[3] ; float32[4] ; int32[]", {}, InvalidArgument,
     "the update must fit into float32[3], got float32[4]"),
    ("dynamic_update_slice-C3", "float32[3] ; float32[2]", {}, InvalidArgument,
     "one start an axis is needed, got 0 for rank 1"),
    ("dynamic_update_slice-C4", "float32[3] ; float32[2] ; int32[1]", {}, InvalidType,
     "starts must be integer scalars of one dtype, got int32[1]"),
    ("nonzero-C1", "float32[]", {"size": (1,), "fill": 0}, InvalidArgument, "x must have an axis, got float32[]"),
    ("nonzero-C2", "string[3]", {"size": (1,), "fill": 0}, InvalidType,
     "the dtype must be bool or int or uint or float or complex, got string"),
    ("nonzero-C3", "float32[3]", {"size": (-1,), "fill": 0}, InvalidArgument,
     "size must be one dimension, not negative, got (-1,)"),
]  # fmt: skip

NEVER_BROKEN = {"tensor_scatter_update-C1": "every dtype can be replaced"}


# ---- gradients


def reading(op: Any, indices: Any, **attributes: Any) -> Build:
    return lambda trace, x: trace(op, x, trace.constant(indices, "int32"), **attributes)


def writing(op: Any, indices: Any, **attributes: Any) -> Build:
    def build(trace: Trace, x: SSAValue, updates: SSAValue) -> SSAValue:
        return trace(op, x, trace.constant(indices, "int32"), updates, **attributes)

    return build


def sliced(trace: Trace, x: SSAValue) -> SSAValue:
    starts = (trace.constant(i, "int32") for i in (1, 9))
    return trace(ix.DynamicSlice, x, *starts, sizes=(2, 2))


def overwritten(trace: Trace, x: SSAValue, update: SSAValue) -> SSAValue:
    return trace(ix.DynamicUpdateSlice, x, update, *(trace.constant(i, "int32") for i in (1, 9)))


TWICE = [[1], [3], [1]]
GRADIENTS = [
    GradientCase(ix.Take, [normal(4, 2)], build=reading(ix.Take, [3, 0, 3], axis=0)),
    GradientCase(ix.Take, [normal(2, 3, 2)], build=reading(ix.Take, [[1, 1], [0, 2]], axis=1)),
    GradientCase(ix.Take, [normal(2, 3)], build=reading(ix.Take, 2, axis=1)),
    GradientCase(ix.GatherNd, [normal(3, 2, 2)], build=reading(ix.GatherNd, [[1, 0], [2, 1], [1, 0]])),
    GradientCase(ix.TakeAlongAxis, [normal(2, 3)], build=reading(ix.TakeAlongAxis, [[1, 1], [0, 2]], axis=1)),
    *(
        GradientCase(op, [positive(4, 2), positive(3, 2, seed=1)], build=writing(op, TWICE, **attributes))
        for op, attributes in [
            (ix.TensorScatterUpdate, {"unique": False}),
            (ix.TensorScatterAdd, {}),
            (ix.TensorScatterMul, {}),
            (ix.TensorScatterMin, {}),
            (ix.TensorScatterMax, {}),
        ]
    ),
    GradientCase(
        ix.TensorScatterDiv,
        [normal(5, 2), positive(3, 2, seed=1)],
        build=writing(ix.TensorScatterDiv, TWICE),
    ),
    GradientCase(
        ix.TensorScatterUpdate,
        [normal(4, 2), normal(2, seed=1)],
        build=writing(ix.TensorScatterUpdate, [[1, 0], [3, 1]], unique=True),
    ),
    GradientCase(ix.DynamicSlice, [normal(3, 4)], build=sliced),
    GradientCase(ix.DynamicUpdateSlice, [normal(3, 4), normal(2, 2, seed=1)], build=overwritten),
]
