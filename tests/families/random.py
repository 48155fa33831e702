"""Random numbers. What is expected comes from Threefry on Python's integers and from formulas on Python's floats, one
element at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.dtypes import as_dtype
from tests.families.rows import Broken, Rows
from tests.numerics.values import FLOATS, INTS, UINTS, Array, Case, array, numpy_dtype

ROWS = Rows()
row = ROWS.row
KEYS = ([0, 0], [0x13198A2E, 0x03707344], [0xFFFFFFFF, 7])
SHAPES: tuple[tuple[int, ...], ...] = ((257,), (), (0, 3), (2, 3, 4))
WORD = 2**32
HASHED = "float32", "float64", "float16", "bfloat16"


def hashed(key: list[int], high: int, low: int) -> tuple[int, int]:
    """Threefry-2x32-20 from its definition: key words are added every four rounds, rotations repeat after eight."""
    words = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    x, y = (high + words[0]) % WORD, (low + words[1]) % WORD
    for i in range(20):
        x = (x + y) % WORD
        rotation = (13, 15, 26, 6, 17, 29, 16, 24)[i % 8]
        y = (y * 2**rotation % WORD + y // 2 ** (32 - rotation)) ^ x
        if i % 4 == 3:
            j = i // 4 + 1
            x, y = (x + words[j % 3]) % WORD, (y + words[(j + 1) % 3] + j) % WORD
    return x, y


def block(key: list[int], index: int, number: int = 0) -> tuple[int, int]:
    return hashed(key, number * 2**24 + index // WORD, index % WORD)


def long_word(key: list[int], index: int, number: int = 0) -> int:
    x, y = block(key, index, number)
    return x * WORD + y


def key_array(key: list[int]) -> Array:
    return np.array(key, np.uint32)


def draws(dtypes: tuple[str, ...]) -> Iterator[tuple[list[int], tuple[int, ...], str]]:
    """Keys, shapes and dtypes: all keys and shapes for the first dtype, one of each for the others."""
    for dtype in dtypes:
        for i, shape in enumerate(SHAPES if dtype == dtypes[0] else SHAPES[:1]):
            yield list(KEYS[(i + 1) % 3]), shape, dtype


def variates(number: Callable[[float, float], float], *, units: float, scale: float = 1, **more: Any) -> list[Case]:
    """Cases of a standard variate, which `number` makes of two uniform numbers."""
    found = []
    for key, shape, dtype in draws(HASHED):
        values = [number(*uniforms(key, i, dtype)) for i in range(math.prod(shape))]
        attributes = {"shape": shape, "dtype": as_dtype(dtype), **more}
        expected = array(np.array(values).reshape(shape), dtype)
        found.append(Case((key_array(key),), (expected,), attributes, units=units, scale=scale))
    return found


def uniforms(key: list[int], index: int, dtype: str) -> tuple[float, float]:
    """One number in (0, 1), one in [0, 1]; in float32 both are rounded from 32 bits."""
    if dtype == "float64":
        u = (long_word(key, index) // 2**12 + 0.5) / 2**52
        return u, long_word(key, index, 1) / 2**64
    x, y = (float(np.float32(word)) for word in block(key, index))
    return min(float(np.float32(x + 0.5)) / WORD, 1 - 2.0**-24), y / WORD


# ---- keys and bits


@row("random_bits")
def random_bits() -> list[Case]:
    found = []
    for key, shape, dtype in draws(("uint32", "uint8", "uint16", "uint64")):
        bits, count = as_dtype(dtype).bits, math.prod(shape)
        if bits == 64:
            values = [long_word(key, i) for i in range(count)]
        else:
            values = [(x ^ y) % 2**bits for x, y in (block(key, i) for i in range(count))]
        attributes = {"shape": shape, "dtype": as_dtype(dtype)}
        found.append(Case((key_array(key),), (np.array(values, dtype).reshape(shape),), attributes))
    return found


@row("random_split")
def random_split() -> list[Case]:
    return [
        Case(
            (key_array(key),),
            (np.array([hashed(key, 0, i) for i in range(n)], np.uint32).reshape(n, 2),),
            {"number": n},
        )
        for key, n in zip(KEYS, (3, 1, 0), strict=True)
    ]


@row("random_fold_in")
def random_fold_in() -> list[Case]:
    return [
        Case((key_array(key), np.array(n, np.uint32)), (np.array(hashed(key, 0, n), np.uint32),))
        for key, n in zip(KEYS, (0, 12345, WORD - 1), strict=True)
    ]


@row("random_next")
def random_next() -> list[Case]:
    found = []
    counters = [((0, 0), (0, 1)), ((5, WORD - 1), (6, 0)), ((WORD - 1, WORD - 1), (0, 0))]
    for key, (counter, after) in zip(KEYS, counters, strict=True):
        expected = (np.array(hashed(key, *counter), np.uint32), np.array([*key, *after], np.uint32))
        found.append(Case((np.array([*key, *counter], np.uint32),), expected))
    return found


# ---- standard variates


@row("random_uniform")
def random_uniform() -> list[Case]:
    found = []
    for key, shape, dtype in draws(HASHED):
        kept = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}[dtype]
        values = []
        for i in range(math.prod(shape)):
            x, y = block(key, i)
            word, bits = (x * WORD + y, 64) if dtype == "float64" else (x ^ y, 32)
            values.append(word // 2 ** (bits - kept) / 2**kept)
        exact = np.array(values).reshape(shape)
        expected = exact.astype(numpy_dtype(dtype))
        assert (expected.astype(np.float64) == exact).all()
        found.append(Case((key_array(key),), (expected,), {"shape": shape, "dtype": as_dtype(dtype)}))
    return found


@row("random_normal")
def random_normal() -> list[Case]:
    return variates(lambda u, v: math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v), units=8)


@row("random_truncated_normal")
def random_truncated_normal() -> list[Case]:
    found = []
    for lower, upper in ((-2.0, 2.0), (0.5, 3.0), (-math.inf, 1.0), (10.0, math.inf)):
        law, flipped = NormalDist(), lower > -upper
        a, b = (-upper, -lower) if flipped else (lower, upper)
        below, above = (0.5 * math.erfc(-x / math.sqrt(2)) for x in (a, b))

        def number(u: float, v: float, law=law, flipped=flipped, below=below, above=above) -> float:  # type: ignore[no-untyped-def]
            x = law.inv_cdf(below + u * (above - below))
            return -x if flipped else x

        found += variates(number, units=16, lower=lower, upper=upper)
    return found


@row("random_exponential")
def random_exponential() -> list[Case]:
    return variates(lambda u, v: -math.log(u), units=4, scale=0)


@row("random_gumbel")
def random_gumbel() -> list[Case]:
    return variates(lambda u, v: -math.log(-math.log(u)), units=8)


@row("random_laplace")
def random_laplace() -> list[Case]:
    return variates(lambda u, v: math.copysign(math.log(u), v - 0.5), units=4, scale=0)


@row("random_logistic")
def random_logistic() -> list[Case]:
    return variates(lambda u, v: math.log(u / (1 - u)), units=8)


@row("random_cauchy")
def random_cauchy() -> list[Case]:
    return variates(lambda u, v: math.copysign(1 / math.tan(math.pi / 2 * u), v - 0.5), units=8)


# ---- numbers with parameters of their own


@row("random_integers")
def random_integers() -> list[Case]:
    found = []
    for i, dtype in enumerate((*INTS, *UINTS)):
        info, key = np.iinfo(dtype), list(KEYS[i % 3])
        ranges = [(info.min, info.max), (3, 10), (5, 6), (9, 4), (0, 1), (info.max // 2, info.max)]
        ranges += [(0, info.max // 3 * 2 + 2)]
        if info.min:
            ranges += [(-7, 7), (info.min, -1)]
        low, high = (np.array([r[side] for r in ranges] * 20, dtype) for side in (0, 1))
        values = [integer(key, i, int(a), int(b), info.bits) for i, (a, b) in enumerate(zip(low, high, strict=True))]
        found.append(Case((key_array(key), low, high), (np.array(values, dtype),)))
    for shape in ((), (0, 2)):
        low, high = np.full(shape, -3, np.int32), np.full(shape, 1000, np.int32)
        values = [integer(list(KEYS[1]), 0, -3, 1000, 32)] * low.size
        found.append(Case((key_array(list(KEYS[1])), low, high), (np.array(values, np.int32).reshape(shape),)))
    return found


def integer(key: list[int], index: int, low: int, high: int, bits: int) -> int:
    if high <= low:
        return low
    width, number = high - low, 0
    while bits == 64 and long_word(key, index, number) >= 2**64 // width * width:
        number += 1
    return low + long_word(key, index, number) % width


@row("random_permutation")
def random_permutation() -> list[Case]:
    found = []
    for shape, dtype in (((300,), "int32"), ((0,), "int32"), ((1,), "uint8"), ((3, 40), "int64"), ((2, 0), "int32")):
        key, size = list(KEYS[len(shape)]), shape[-1]
        rows = [
            sorted(range(size), key=lambda i, r=r, key=key, size=size: long_word(key, r * size + i))  # type: ignore[misc]
            for r in range(math.prod(shape[:-1]))
        ]
        expected = np.array(rows, dtype).reshape(shape)
        found.append(Case((key_array(key),), (expected,), {"shape": shape, "dtype": as_dtype(dtype)}))
    return found


@row("random_gamma")
def random_gamma() -> list[Case]:
    key, found = list(KEYS[1]), []
    shapes = [0.0, -1.0, math.nan, math.inf, 0.05, 0.5, 0.999, 1.0, 1.5, 4.0, 50.0, 1e4] * 12
    for dtype in HASHED:
        alpha = array(shapes if dtype != "float16" else [min(a, 5e3) for a in shapes], dtype)
        values = [gamma(key, i, float(a)) for i, a in enumerate(alpha)]
        found.append(Case((key_array(key), alpha), (array(values, dtype),), units=4 if dtype == "float64" else 1))
    scalar, empty = np.float32(2.5), np.zeros((0, 3), np.float32)
    found.append(Case((key_array(key), np.array(scalar)), (np.array(gamma(key, 0, 2.5), np.float32),), units=1))
    return [*found, Case((key_array(key), empty), (empty,))]


def gamma(key: list[int], index: int, alpha: float) -> float:
    if not alpha > 0 or math.isinf(alpha):
        return alpha if alpha > 0 else math.nan
    d = (alpha if alpha >= 1 else alpha + 1) - 1 / 3
    for i in range(1000):
        u, w = ((word + 0.5) / WORD for word in block(key, index, 2 * i))
        x = math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * w)
        v = (1 + x / math.sqrt(9 * d)) ** 3
        u = (block(key, index, 2 * i + 1)[0] + 0.5) / WORD
        if v > 0 and math.log(u) < x * x / 2 + d - d * v + d * math.log(v):
            break
    small = ((block(key, index, 1)[1] + 0.5) / WORD) ** (1 / alpha) if alpha < 1 else 1
    return d * v * small


@row("random_poisson")
def random_poisson() -> list[Case]:
    key, found = list(KEYS[1]), []
    rates = [0.0, -0.5, math.nan, 0.01, 1.0, 3.5, 9.99, 10.0, 12.5, 100.0, 3e4] * 20
    for dtype, result in (("float32", "int8"), ("float64", "int64"), ("bfloat16", "int32")):
        rate = array([*rates, math.inf, 1e30], dtype)
        largest = np.iinfo(result).max
        values = [min(poisson(key, i, float(r)), largest) for i, r in enumerate(rate[: len(rates)])]
        expected = np.array([*values, largest, largest], result)
        found.append(Case((key_array(key), rate), (expected,), {"dtype": as_dtype(result)}))
    empty = np.zeros((0, 3), np.float32)
    return [*found, Case((key_array(key), empty), (empty.astype(np.int32),), {"dtype": as_dtype("int32")})]


def poisson(key: list[int], index: int, rate: float) -> int:
    if not rate >= 0:
        return -1
    if rate < 10:
        u, count, total = (long_word(key, index) // 2**12 + 0.5) / 2**52, 0, math.exp(-rate)
        while u > total:
            count += 1
            total += math.exp(count * math.log(rate) - rate - math.lgamma(count + 1))
        return count
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = 0.02483 * b - 0.059
    for i in range(1000):
        u, v = ((word + 0.5) / WORD for word in block(key, index, i))
        us = 0.5 - abs(u - 0.5)
        k = math.floor((2 * a / us + b) * (u - 0.5) + rate + 0.43)
        if us >= 0.07 and v <= 0.9277 - 3.6224 / (b - 2):
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        left = math.log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / us**2 + b))
        if left <= k * math.log(rate) - rate - math.lgamma(k + 1):
            return k
    raise AssertionError("no proposal was accepted")


@row("random_log_uniform_candidates")
def random_log_uniform_candidates() -> list[Case]:
    found = []
    for key, number, classes in zip(KEYS, (20, 7, 1), (1000, 7, 3), strict=True):
        seen, draws = list[int](), 0
        while len(seen) < number:
            u = long_word(list(key), draws) // 2**11 / 2**53
            drawn = min(int((classes + 1) ** u) - 1, classes - 1)
            seen += [drawn] * (drawn not in seen)
            draws += 1
        expected = (np.array(seen, np.int32), np.array(draws, np.int32))
        found.append(Case((key_array(list(key)),), expected, {"number": number, "classes": classes}))
    return found


# ---- broken constraints


def wrong_key(name: str, rest: str = "", **attributes: Any) -> Broken:
    return f"{name}-C1", f"uint32[3]{rest}", attributes, InvalidType, "the key must be uint32[2], got uint32[3]"


def drawn(name: str, allowed: str, dtype: str, **more: Any) -> list[Broken]:
    """A wrong key, dtype and size of an op with the attributes `shape` and `dtype`."""
    right = {"shape": (2,), "dtype": as_dtype(dtype), **more}
    return [
        wrong_key(name, **right),
        (f"{name}-C2", "uint32[2]", {**right, "dtype": as_dtype("bool")}, InvalidType,
         f"the dtype must be {allowed}, got bool"),
        (f"{name}-C3", "uint32[2]", {**right, "shape": (2, -1)}, InvalidArgument,
         "sizes must not be negative, got (2, -1)"),
    ]  # fmt: skip


VARIATES = ("uniform", "normal", "exponential", "gumbel", "laplace", "logistic", "cauchy")
BOUNDS = {"lower": 0.0, "upper": 1.0}
BROKEN: list[Broken] = [
    *drawn("random_bits", "uint", "uint32"),
    wrong_key("random_split", number=2),
    ("random_split-C2", "uint32[2]", {"number": -1}, InvalidArgument,
     "the number of keys must not be negative, got -1"),
    wrong_key("random_fold_in", " ; uint32[]"),
    ("random_fold_in-C2", "uint32[2] ; int32[]", {}, InvalidType, "data must be uint32[], got int32[]"),
    ("random_next-C1", "uint32[2]", {}, InvalidType, "the state must be uint32[4], got uint32[2]"),
    *(row for name in VARIATES for row in drawn(f"random_{name}", "float", "float32")),
    *drawn("random_truncated_normal", "float", "float32", **BOUNDS),
    ("random_truncated_normal-C4", "uint32[2]",
     {"shape": (2,), "dtype": as_dtype("float32"), "lower": 1.0, "upper": math.nan}, InvalidArgument,
     "lower must be less than upper, got 1.0 and nan"),
    ("random_truncated_normal-C5", "uint32[2]",
     {"shape": (2,), "dtype": as_dtype("float32"), "lower": 11.0, "upper": 12.0}, InvalidArgument,
     "the probability between the bounds must be at least 1e-25, got 1.91e-28 between 11.0 and 12.0"),
    wrong_key("random_integers", " ; int32[2] ; int32[2]"),
    ("random_integers-C2", "uint32[2] ; bool[2] ; bool[2]", {}, InvalidType,
     "the dtype must be int or uint, got bool"),
    ("random_integers-C3", "uint32[2] ; int32[2] ; int32[3]", {}, InvalidArgument,
     "operands must have equal shapes and dtypes, got int32[2] and int32[3]"),
    *drawn("random_permutation", "int or uint", "int32"),
    ("random_permutation-C4", "uint32[2]", {"shape": (), "dtype": as_dtype("int32")}, InvalidArgument,
     "at least one axis is needed, got ()"),
    wrong_key("random_gamma", " ; float32[2]"),
    ("random_gamma-C2", "uint32[2] ; int32[2]", {}, InvalidType, "the dtype must be float, got int32"),
    wrong_key("random_poisson", " ; float32[2]", dtype=as_dtype("int32")),
    ("random_poisson-C2", "uint32[2] ; int32[2]", {"dtype": as_dtype("int32")}, InvalidType,
     "the dtype must be float, got int32"),
    ("random_poisson-C3", "uint32[2] ; float32[2]", {"dtype": as_dtype("float32")}, InvalidType,
     "the dtype must be int, got float32"),
    wrong_key("random_log_uniform_candidates", number=1, classes=2),
    ("random_log_uniform_candidates-C2", "uint32[2]", {"number": 3, "classes": 2}, InvalidArgument,
     "the number of candidates must be from 1 to that of classes, got 3 of 2"),
]  # fmt: skip

assert set(HASHED) == set(FLOATS)
