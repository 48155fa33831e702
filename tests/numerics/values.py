"""Operands at the edges of every dtype, and arithmetic that shares nothing with the ops' own NumPy meaning: integers by
Python's exact ones and a wrap, floats in extended precision rounded once, transcendental functions at 19 digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, Any]
INTS = ("int8", "int16", "int32", "int64")
UINTS = ("uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
NUMERIC = (*INTS, *UINTS, *FLOATS, *COMPLEX)
EVERY = ("bool", *NUMERIC)
ORDERED = ("bool", *INTS, *UINTS, *FLOATS)


@dataclass(frozen=True)
class Case:
    """One call of an op. `units` is the error that a result may have, in epsilons of its dtype, relative to the larger
    of the value and `scale`; 0 means exact, signs of zeros included if `zero_signs`. XLA may have `xla_units`, where
    that is not 0, and may flush subnormal results to zero."""

    operands: tuple[Array, ...]
    expected: tuple[Array, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    units: float = 0
    scale: float = 0
    zero_signs: bool = True
    xla_units: float = 0


def numpy_dtype(name: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def array(values: Any, dtype: str) -> Array:
    with np.errstate(all="ignore"):
        wide = np.asarray(values)
        return (wide.real if wide.dtype.kind == "c" and dtype not in COMPLEX else wide).astype(numpy_dtype(dtype))


def is_float(x: Array) -> bool:
    return x.dtype.kind == "f" or x.dtype == ml_dtypes.bfloat16


def edges(dtype: str) -> Array:
    """The values at which implementations differ, and some ordinary ones."""
    if dtype == "bool":
        return np.array([False, True])
    if dtype in INTS:
        info = np.iinfo(dtype)
        return np.array([0, 1, -1, 2, -3, 7, 100, info.max, info.max - 1, info.min, info.min + 1], dtype)
    if dtype in UINTS:
        info = np.iinfo(dtype)
        return np.array([0, 1, 2, 3, 7, 100, info.max // 2, info.max // 2 + 1, info.max - 1, info.max], dtype)
    if dtype in COMPLEX:
        return array([0, 1, -1, 1j, 0.5 - 2j, -3 + 0.25j, 2 + 2j, -0.125 - 1.5j], dtype)
    ordinary = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.5, 0.1, -0.7, 7.75, -11.25, 60.0]
    extremes = [np.inf, -np.inf, np.nan]
    limits = ml_dtypes.finfo(numpy_dtype(dtype))
    return array([*ordinary, *extremes, float(limits.max), float(limits.min), float(limits.smallest_normal)], dtype)


def pairs(dtype: str) -> tuple[Array, Array]:
    """Every edge with every edge."""
    left, right = np.array(list(product(range(len(edges(dtype))), repeat=2))).T
    return edges(dtype)[left], edges(dtype)[right]


def wrap(value: int, dtype: np.dtype[Any]) -> int:
    """The integer of this dtype that equals `value` modulo 2**bits."""
    bits = dtype.itemsize * 8
    low = value % 2**bits
    return low - 2**bits if dtype.kind == "i" and low >= 2 ** (bits - 1) else low


def by_integers(function: Callable[..., int], *operands: Array) -> Array:
    """`function` of Python's integers, wrapped into the dtype."""
    dtype = operands[0].dtype
    rows = zip(*(x.ravel().tolist() for x in operands), strict=True)
    return np.array([wrap(function(*row), dtype) for row in rows], dtype).reshape(operands[0].shape)


def widen(x: Array) -> Array:
    return x.astype(np.clongdouble if x.dtype.kind == "c" else np.longdouble)


def by_extended(function: Callable[..., Any], *operands: Array) -> Array:
    """`function` in extended precision, rounded to the dtype once."""
    with np.errstate(all="ignore"):
        wide = np.asarray(function(*map(widen, operands)))
        if operands[0].dtype == ml_dtypes.bfloat16:
            wide = wide.astype(np.float64)
        return wide.astype(operands[0].dtype)


def variants(dtype: str) -> list[Array]:
    """Edges as a vector; for one dtype of a kind also a scalar, an empty tensor and a matrix."""
    x = edges(dtype)
    if dtype not in ("bool", "int32", "uint8", "float32", "complex64"):
        return [x]
    return [x, x[1].reshape(()), x[:0].reshape(0, 3), x[: 2 * (len(x) // 2)].reshape(2, -1)]


def unary(
    dtypes: tuple[str, ...],
    function: Callable[[Any], Any],
    *,
    integers: Callable[[int], int] | None = None,
    units: float = 0,
    xla_units: float = 0,
    keep: Callable[[Array], Any] | None = None,
) -> list[Case]:
    """Cases of a function of one operand; `keep` drops operands that the dtype's definition leaves open."""
    rng, found = np.random.default_rng(1), []
    operands = [x for dtype in dtypes for x in variants(dtype)]
    if units:
        ordinary = rng.normal(0, 4, 400) + 1j * rng.normal(0, 4, 400)
        ordinary[200:] *= 10.0 ** rng.uniform(-6, 0, 200)
        operands += [array(ordinary, dtype) for dtype in dtypes]
    for x in operands:
        if keep is not None and x.ndim == 1:
            x = x[np.asarray(keep(x), bool)]
        exact_integers = integers if x.dtype.kind in "iu" else None
        expected = by_integers(exact_integers, x) if exact_integers else by_extended(function, x)
        tolerances = {} if exact_integers else {"units": units, "xla_units": xla_units}
        found.append(Case((x,), (expected,), **tolerances))
    return found


def binary(
    dtypes: tuple[str, ...],
    function: Callable[[Any, Any], Any],
    *,
    integers: Callable[[int, int], int] | None = None,
    units: float = 0,
    xla_units: float = 0,
    zero_signs: bool = True,
    keep: Callable[[Array, Array], Any] | None = None,
) -> list[Case]:
    """Cases of a function of two operands of one dtype: all pairs of edges, a scalar and an empty pair."""
    found = []
    for dtype in dtypes:
        x, y = pairs(dtype)
        if keep is not None:
            kept = np.asarray(keep(x, y), bool)
            x, y = x[kept], y[kept]
        couples = [(x, y)]
        if dtype in ("int32", "float32"):
            couples += [(x[1].reshape(()), y[1].reshape(())), (x[:0].reshape(2, 0), y[:0].reshape(2, 0))]
        for a, b in couples:
            exact_integers = integers if a.dtype.kind in "iub" else None
            expected = by_integers(exact_integers, a, b) if exact_integers else by_extended(function, a, b)
            tolerances = {} if exact_integers else {"units": units, "xla_units": xla_units}
            found.append(Case((a, b), (expected,), zero_signs=zero_signs, **tolerances))
    return found


def check(actual: Array, expected: Array, case: Case, what: str, *, units: float, flush: bool = False) -> None:
    """Assert that `actual` is `expected` within `units` epsilons; with `flush` a subnormal number may be zero."""
    assert actual.dtype == expected.dtype, f"{what}: dtype {actual.dtype}, not {expected.dtype}"
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, not {expected.shape}"
    if expected.dtype.kind == "c":
        parts = [(actual.real, expected.real), (actual.imag, expected.imag)]
        size = np.hypot(expected.real, expected.imag, dtype=np.longdouble)
    elif is_float(expected):
        parts, size = [(actual, expected)], np.abs(expected.astype(np.longdouble))
    else:
        wrong = np.flatnonzero(actual.ravel() != expected.ravel())
        assert not len(wrong), _difference(actual, expected, case, what, units, wrong[0])
        return
    limits = ml_dtypes.finfo(parts[0][1].dtype)
    size = np.where(np.isfinite(size), np.maximum(size, case.scale), 0)
    allowed = units * float(limits.eps) * size + (float(limits.smallest_normal) if units else 0)
    for got, want in parts:
        with np.errstate(all="ignore"):
            g, w = got.astype(np.longdouble), want.astype(np.longdouble)
            close = np.where(np.isfinite(g) & np.isfinite(w), np.abs(g - w) <= allowed, g == w)
        close |= np.isnan(g) & np.isnan(w)
        if flush:
            close |= (g == 0) & (np.abs(w) < float(limits.smallest_normal))
        if not units and case.zero_signs:
            close &= (w != 0) | (np.signbit(g) == np.signbit(w))
        wrong = np.flatnonzero(~close.ravel())
        assert not len(wrong), _difference(actual, expected, case, what, units, wrong[0])


def _difference(actual: Array, expected: Array, case: Case, what: str, units: float, index: int) -> str:
    operands = [x.ravel()[index] if x.shape == expected.shape else f"{x.dtype}{x.shape}" for x in case.operands]
    return (
        f"{what} {dict(case.attributes)}: got {actual.ravel()[index]!r}, expected {expected.ravel()[index]!r} "
        f"at element {index} for {operands!r} within {units} epsilons"
    )


def counted(shape: tuple[int, ...], dtype: str) -> Array:
    x = np.arange(int(np.prod(shape))).reshape(shape)
    return array(x % 2 if dtype == "bool" else x - 3 if dtype in (*INTS, *FLOATS) else x, dtype)


def sample(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Random values; integers from their whole range, so that sums wrap."""
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype in INTS + UINTS:
        info = np.iinfo(dtype)
        return np.asarray(rng.integers(info.min, info.max, shape, dtype, endpoint=True))
    values = rng.standard_normal(shape)
    return array(values + 1j * rng.standard_normal(shape) if dtype in COMPLEX else values, dtype)
