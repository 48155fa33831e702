"""Shape operations: expectations by index, element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.ops import shape as ops
from tests.families.rows import Broken, GradientCase, Rows, X, normal
from tests.numerics.values import (
    EVERY,
    NUMERIC,
    Array,
    Case,
    counted,
    edges,
    numpy_dtype,
    wrap,
)

ROWS = Rows()
row = ROWS.row


def moved(x: Array, result: tuple[int, ...], source: Callable[[tuple[int, ...]], Any], **attributes: Any) -> Case:
    """A case whose result has x's element at `source(index)` at each index."""
    expected = np.empty(result, x.dtype)
    for index in np.ndindex(result):
        expected[index] = x[source(index)]
    return Case((x,), (expected,), attributes)


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


@row("tile")
def tile() -> list[Case]:
    found = [
        moved(counted((2, 3), dtype), (4, 9), lambda i: (i[0] % 2, i[1] % 3), repetitions=(2, 3)) for dtype in EVERY
    ]
    found.append(moved(counted((2, 3), "int32"), (2, 3), lambda i: i, repetitions=(1, 1)))
    found.append(moved(counted((2, 3), "int32"), (0, 6), lambda i: i, repetitions=(0, 2)))
    found.append(moved(counted((0, 3), "float32"), (0, 6), lambda i: i, repetitions=(4, 2)))
    return [*found, moved(counted((), "float32"), (), lambda i: (), repetitions=())]


@row("roll")
def roll() -> list[Case]:
    found = []
    for dtype in EVERY:
        x = counted((2, 5), dtype)
        found.append(moved(x, (2, 5), lambda i: ((i[0] + 1) % 2, (i[1] - 7) % 5), shifts=(7, -1), axes=(1, 0)))
    x = counted((2, 5), "int32")
    found.append(moved(x, (2, 5), lambda i: i, shifts=(5, 0), axes=(1, 0)))
    found.append(moved(x, (2, 5), lambda i: i, shifts=(), axes=()))
    found.append(moved(counted((0, 3), "float32"), (0, 3), lambda i: i, shifts=(1, 2), axes=(0, 1)))
    return [*found, moved(counted((), "bool"), (), lambda i: (), shifts=(), axes=())]


# ---- broken constraints

BROKEN: list[Broken] = [
    ("reshape-C1", "float32[b,3]", {"shape": (4,)}, InvalidArgument,
     "the shapes must hold equally many elements, got (b, 3) with 3*b and (4) with 4"),
    ("transpose-C1", "float32[2,3]", {"permutation": (0, 0)}, InvalidArgument,
     "permutation must name each of 2 axes once, got (0, 0)"),
    ("broadcast_in_dim-C1", "float32[2,3]", {"shape": (2, 3), "dims": (1, 0)}, InvalidArgument,
     "dims must name an ascending axis of (2, 3) for each of 2 axes, got (1, 0)"),
    ("broadcast_in_dim-C2", "float32[2]", {"shape": (2, 3), "dims": (1,)}, InvalidArgument,
     "shape (2) doesn't broadcast to (2, 3): 2 is neither 1 nor 3"),
    ("concatenate-C1", "", {"axis": 0}, InvalidArgument, "at least one operand is needed"),
    ("concatenate-C2", "float32[2] ; int32[2]", {"axis": 0}, InvalidType,
     "operands must have equal dtypes, got float32[2] and int32[2]"),
    ("concatenate-C3", "float32[2] ; float32[2]", {"axis": 1}, InvalidArgument, "axis must be within rank 1, got 1"),
    ("concatenate-C4", "float32[2,3] ; float32[2,4]", {"axis": 0}, InvalidArgument,
     "sizes must match outside axis 0, got float32[2, 3] and float32[2, 4]"),
    ("slice-C1", "float32[4,4]", {"starts": (0,), "limits": (1,), "strides": (1,)}, InvalidArgument,
     "one start, limit and stride an axis of float32[4, 4] is needed, got (0,), (1,), (1,)"),
    ("slice-C2", "float32[4]", {"starts": (2,), "limits": (5,), "strides": (1,)}, InvalidArgument,
     "0 <= start <= limit <= size must hold, got 2, 5, 4"),
    ("slice-C3", "float32[4]", {"starts": (0,), "limits": (4,), "strides": (0,)}, InvalidArgument,
     "strides must be positive, got (0,)"),
    ("pad-C1", "float32[4] ; float64[]", {"low": (0,), "high": (0,), "interior": (0,)}, InvalidType,
     "the value must be a scalar of float32, got float64[]"),
    ("pad-C2", "float32[4] ; float32[]", {"low": (0, 1), "high": (0,), "interior": (0,)}, InvalidArgument,
     "one low, high and interior an axis of float32[4] is needed, got (0, 1), (0,), (0,)"),
    ("pad-C3", "float32[4] ; float32[]", {"low": (0,), "high": (0,), "interior": (-1,)}, InvalidArgument,
     "interior padding must not be negative, got (-1,)"),
    ("pad-C4", "float32[4] ; float32[]", {"low": (-3,), "high": (-2,), "interior": (0,)}, InvalidArgument,
     "padding -3 and -2 removes more than the 4 elements"),
    ("reverse-C1", "float32[4]", {"axes": (1,)}, InvalidArgument, "axes must be distinct and within rank 1, got (1,)"),
    ("iota-C1", "", {"shape": (3,), "dtype": dtypes.int32, "axis": 1}, InvalidArgument,
     "axis must be within rank 1, got 1"),
    ("iota-C2", "", {"shape": (3,), "dtype": dtypes.bool_, "axis": 0}, InvalidType,
     "the dtype must be numeric, got bool"),
    ("dim_size-C1", "float32[4]", {"axis": -1}, InvalidArgument, "axis must be within rank 1, got -1"),
    ("tile-C1", "float32[4,b]", {"repetitions": (2, -1)}, InvalidArgument,
     "one repetition an axis of float32[4, b] is needed and none negative, got (2, -1)"),
    ("roll-C1", "float32[4]", {"shifts": (1,), "axes": (1,)}, InvalidArgument,
     "axes must be distinct and within rank 1, got (1,)"),
    ("roll-C2", "float32[4]", {"shifts": (1, 2), "axes": (0,)}, InvalidArgument,
     "one shift an axis is needed, got (1, 2) for (0,)"),
]  # fmt: skip

# ---- gradients

GRADIENTS = [
    GradientCase(ops.Reshape, [X], {"shape": (3, 2)}),
    GradientCase(ops.Transpose, [normal(2, 1, 3)], {"permutation": (2, 0, 1)}),
    GradientCase(ops.BroadcastInDim, [normal(3)], {"shape": (2, 3, 2), "dims": (1,)}),
    GradientCase(ops.BroadcastInDim, [normal(1, 3)], {"shape": (2, 3), "dims": (0, 1)}),
    GradientCase(ops.BroadcastInDim, [normal(1, 3)], {"shape": (1, 2, 3), "dims": (0, 2)}),
    GradientCase(ops.BroadcastInDim, [normal(1)], {"shape": (2, 2), "dims": (1,)}),
    GradientCase(ops.BroadcastInDim, [normal()], {"shape": (2,), "dims": ()}),
    GradientCase(ops.Concatenate, [normal(2, 1), normal(2, 3), normal(2, 2)], {"axis": 1}),
    GradientCase(ops.Slice, [normal(5, 4)], {"starts": (1, 0), "limits": (5, 3), "strides": (2, 1)}),
    GradientCase(ops.Slice, [normal(6)], {"starts": (1,), "limits": (6,), "strides": (3,)}),
    GradientCase(ops.Slice, [normal(3)], {"starts": (2,), "limits": (2,), "strides": (2,)}),
    GradientCase(ops.Pad, [normal(2, 3), normal()], {"low": (1, 0), "high": (0, 2), "interior": (0, 1)}),
    GradientCase(ops.Pad, [normal(4, 3), normal()], {"low": (-1, 2), "high": (0, -1), "interior": (2, 0)}),
    GradientCase(ops.Pad, [normal(3), normal()], {"low": (0,), "high": (0,), "interior": (2,)}),
    GradientCase(ops.Reverse, [X], {"axes": (1,)}),
    GradientCase(ops.Tile, [X], {"repetitions": (2, 3)}),
    GradientCase(ops.Tile, [normal(3)], {"repetitions": (0,)}),
    GradientCase(ops.Roll, [X], {"shifts": (2, -1), "axes": (1, 0)}),
]
