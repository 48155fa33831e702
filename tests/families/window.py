"""Reductions over windows, against Python's max, min and sum of each window's elements."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument
from dfc.ir.op import Op
from dfc.ir.ops.window import WindowGather, WindowMax, WindowMin, WindowScatter, WindowSum
from tests.families.rows import NUMBERS, Broken, GradientCase, Rows, kinds, normal
from tests.numerics.values import COMPLEX, FLOATS, INTS, NUMERIC, UINTS, Array, Case, array, numpy_dtype, sample, wrap

ROWS = Rows()
row = ROWS.row
REAL = (*INTS, *UINTS, *FLOATS)
Index = tuple[int, ...]


def attributes(window: Index, *, base: bool = True, **given: Any) -> dict[str, Any]:
    """The attributes of a window that moves by 1, without padding, unless told otherwise."""
    ones, none = (1,) * len(window), (0,) * len(window)
    lists = {"window": window, "strides": ones, "low": none, "high": none, "window_dilation": ones}
    return {**lists, **({"base_dilation": ones} if base else {}), **given}


def selecting(window: Index, extreme: str, **given: Any) -> dict[str, Any]:
    return attributes(window, base=False, extreme=extreme, **given)


def windows(shape: Index, a: dict[str, Any]) -> tuple[Index, list[list[Index]]]:
    """How many windows there are along each axis, and for each the indices of its elements."""
    base = a.get("base_dilation", (1,) * len(shape))
    rows = list(zip(shape, a["window"], a["strides"], a["low"], a["high"], base, a["window_dilation"], strict=True))
    counts = tuple(
        max(0, ((n - 1) * b + 1 if n else 0) + low + high - (w - 1) * d - 1 + s) // s
        for n, w, s, low, high, b, d in rows
    )
    found = []
    for place in np.ndindex(counts):
        axes = []
        for p, (n, w, s, low, _, b, d) in zip(place, rows, strict=True):
            at = [divmod(p * s + t * d - low, b) for t in range(w)]
            axes.append([q for q, rest in at if not rest and 0 <= q < n])
        found.append(list(product(*axes)))
    return counts, found


def case(x: Array, a: dict[str, Any], reduce: Callable[[list[Any]], Any], **options: Any) -> Case:
    counts, places = windows(x.shape, a)
    results = [reduce([x[i] for i in indices]) for indices in places]
    expected = np.array(results, x.dtype).reshape(counts)
    return Case((x,), (expected,), a, **options)


LAYOUTS: list[tuple[Index, dict[str, Any]]] = [
    ((5, 6), attributes((2, 3), strides=(2, 1), low=(1, 0), high=(0, 2))),
    ((1, 4, 4, 2), attributes((1, 2, 2, 1), strides=(1, 2, 2, 1))),
    ((7,), attributes((3,), base_dilation=(2,), window_dilation=(2,), low=(3,), high=(1,))),
    ((4, 3), attributes((2, 2), base_dilation=(3, 1), window_dilation=(1, 2), strides=(2, 1), high=(0, 2))),
    ((2,), attributes((2,), strides=(2,), low=(5,), high=(4,))),
    ((3,), attributes((5,))),
    ((0, 3), attributes((1, 2))),
    ((0,), attributes((2,), low=(2,), high=(1,))),
    ((), attributes(())),
]


@row("window_sum")
def window_sum() -> list[Case]:
    rng, found = np.random.default_rng(3), []
    for dtype in NUMERIC:
        for shape, a in LAYOUTS if dtype in ("int32", "float32") else LAYOUTS[:1]:
            x = sample(rng, shape, dtype)
            if x.dtype.kind in "iu":
                found.append(case(x, a, lambda e, x=x: wrap(sum(map(int, e)), x.dtype)))  # type: ignore[misc]
            elif dtype in COMPLEX:
                found.append(case(x, a, lambda e: sum(map(complex, e)), units=4, scale=4))
            else:
                found.append(case(x, a, lambda e: math.fsum(map(float, e)), units=4, scale=4))
    edges = array([np.inf, 1, -np.inf, np.nan, 0, 3e38], "float32")
    found.append(case(edges, attributes((2,)), lambda e: np.float32(e[0]) + np.float32(e[1]), units=1))
    return found


def extreme_of(best: Callable[..., Any], of_nothing: Callable[[Any], Any]) -> list[Case]:
    rng, found = np.random.default_rng(4), []
    for dtype in REAL:
        for shape, a in LAYOUTS if dtype in ("int32", "float32") else LAYOUTS[:1]:
            x = sample(rng, shape, dtype)
            nothing = of_nothing(x.dtype)
            found.append(case(x, a, lambda e, nothing=nothing: best(e) if e else nothing))  # type: ignore[misc]
    edges = array([np.inf, 1, -np.inf, -np.inf, np.nan, 0, 3, 2], "float32")

    def with_nan(elements: list[Any]) -> Any:
        return np.nan if any(map(math.isnan, elements)) else best(elements)

    found.append(case(edges, attributes((2,)), with_nan))
    return found


def limit(sign: int) -> Callable[[Any], Any]:
    def of(dtype: Any) -> Any:
        if dtype.kind in "iu":
            return np.iinfo(dtype).max if sign > 0 else np.iinfo(dtype).min
        return sign * np.inf

    return of


@row("window_max")
def window_max() -> list[Case]:
    return extreme_of(max, limit(-1))


@row("window_min")
def window_min() -> list[Case]:
    return extreme_of(min, limit(1))


def winner(x: Array, indices: list[Index], extreme: str) -> Index | None:
    """The first NaN, else the first of the extreme elements."""
    for i in indices:
        if x[i] != x[i]:
            return i
    return (max if extreme == "max" else min)(indices, key=lambda i: x[i], default=None)  # the first of equal ones


SELECTING: list[tuple[Index, dict[str, Any]]] = [
    ((4, 6), selecting((2, 3), "max", strides=(1, 2), low=(1, 0), high=(0, 1))),
    ((1, 4, 4, 2), selecting((1, 2, 2, 1), "min", strides=(1, 2, 2, 1))),
    ((8,), selecting((3,), "max", window_dilation=(2,), low=(1,), high=(2,))),
    ((2,), selecting((2,), "min", strides=(2,), low=(5,), high=(4,))),
    ((3,), selecting((5,), "max")),
    ((0, 3), selecting((1, 2), "max")),
    ((0,), selecting((2,), "max", low=(2,), high=(1,))),
    ((), selecting((), "max")),
]


def operands(rng: np.random.Generator, shape: Index, dtype: str) -> Array:
    """Few different values, so that there are ties in most windows."""
    return rng.integers(0, 3, shape).astype(numpy_dtype(dtype))


def special() -> tuple[Array, dict[str, Any]]:
    x = array([-np.inf, -np.inf, np.nan, 1, np.nan, 0.0, -0.0, -np.inf], "float32")
    return x, selecting((3,), "max", low=(2,), high=(1,))


@row("window_scatter")
def window_scatter() -> list[Case]:
    rng, found = np.random.default_rng(5), []
    for dtype in REAL:
        chosen = [
            (operands(rng, s, dtype), a) for s, a in (SELECTING if dtype in ("int32", "float32") else SELECTING[:1])
        ]
        for x, a in [*chosen, *([special()] if dtype == "float32" else [])]:
            counts, places = windows(x.shape, a)
            source = rng.integers(1, 9, counts).astype(x.dtype)
            expected = np.zeros(x.shape, x.dtype)
            for value, indices in zip(source.ravel(), places, strict=True):
                if (at := winner(x, indices, a["extreme"])) is not None:
                    expected[at] += value
            found.append(Case((x, source), (expected,), a))
    return found


@row("window_gather")
def window_gather() -> list[Case]:
    rng, found = np.random.default_rng(6), []
    for dtype in REAL:
        chosen = [
            (operands(rng, s, dtype), a) for s, a in (SELECTING if dtype in ("int32", "float32") else SELECTING[:1])
        ]
        for x, a in [*chosen, *([special()] if dtype == "float32" else [])]:
            counts, places = windows(x.shape, a)
            source = rng.integers(1, 99, x.shape).astype(x.dtype)
            picked = [winner(x, indices, a["extreme"]) for indices in places]
            expected = np.array([0 if at is None else source[at] for at in picked], x.dtype).reshape(counts)
            found.append(Case((x, source), (expected,), a))
    return found


# ---- broken constraints


def lists(name: str, other: str = "") -> list[Broken]:
    """C1 to C4 for one op: `other` is its second operand."""
    base = not other
    make = attributes if base else lambda window, **given: selecting(window, "max", **given)
    both = "float32[4,4]" + (f" ; {other}" if other else "")
    wrong = ("complex64" if name != "window_sum" else "bool") + both.removeprefix("float32")
    allowed = NUMBERS if name == "window_sum" else "int or uint or float"
    order = ("window", "strides", "low", "high", "base_dilation", "window_dilation")

    def listed(given: dict[str, Any], *without: str) -> str:
        return ", ".join(f"{k} {given[k]}" for k in order if k in given and k not in without)

    short, zero = make((2, 2), strides=(1,)), make((2, 0))
    first = kinds(f"{name}-C1", wrong, allowed, wrong.partition("[")[0])
    return [
        (first[0], first[1], make((2, 2)), first[3], first[4]),
        (f"{name}-C2", both, short, InvalidArgument,
         f"each list needs an entry for each of 2 axes, got {listed(short)}"),
        (f"{name}-C3", both, zero, InvalidArgument,
         f"sizes, strides and dilations must be positive, got {listed(zero, 'low', 'high')}"),
        (f"{name}-C4", both, make((2, 2), low=(0, -1)), InvalidArgument,
         "padding must not be negative, got low (0, -1), high (0, 0)"),
    ]  # fmt: skip


BROKEN: list[Broken] = [
    *lists("window_sum"),
    *lists("window_max"),
    *lists("window_min"),
    *lists("window_scatter", "float32[3,3]"),
    ("window_scatter-C5", "float32[4,4] ; float32[3,3]", selecting((2, 2), "most"), InvalidArgument,
     "extreme must be 'max' or 'min', got 'most'"),
    ("window_scatter-C6", "float32[4,4] ; float32[4,4]", selecting((2, 2), "max"), InvalidArgument,
     "the second operand must be float32[3, 3], got float32[4, 4]"),
    *lists("window_gather", "float32[4,4]"),
    ("window_gather-C5", "float32[4,4] ; float32[4,4]", selecting((2, 2), "most"), InvalidArgument,
     "extreme must be 'max' or 'min', got 'most'"),
    ("window_gather-C6", "float32[4,4] ; float64[4,4]", selecting((2, 2), "max"), InvalidArgument,
     "the second operand must be float32[4, 4], got float64[4, 4]"),
]  # fmt: skip


# ---- gradients


def every(op: type[Op]) -> list[GradientCase]:
    layouts = [
        ((3, 4), attributes((2, 2), strides=(1, 2), low=(1, 0), high=(0, 1))),
        ((5,), attributes((2,), strides=(3,))),
        ((4,), attributes((2,), base_dilation=(2,), window_dilation=(3,))),
    ]
    if op is WindowSum:  # where there is padding alone, the others give infinities
        layouts.append(((3,), attributes((2,), base_dilation=(3,), low=(3,), high=(2,))))
    return [GradientCase(op, [normal(*shape, seed=8)], a) for shape, a in layouts]


GRADIENTS = [
    *every(WindowSum),
    *every(WindowMax),
    *every(WindowMin),
    GradientCase(WindowScatter, [normal(4), normal(3, seed=9)], selecting((2,), "max")),
    GradientCase(
        WindowScatter,
        [normal(2, 4), normal(1, 3, seed=9)],
        selecting((2, 2), "min", window_dilation=(1, 2), high=(0, 1)),
    ),
    GradientCase(WindowGather, [normal(4), normal(4, seed=9)], selecting((3,), "max", low=(1,))),
]
