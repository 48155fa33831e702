"""Fourier transforms, by their sums in extended precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.op import Op
from dfc.ir.ops import complex as cx
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import fft
from tests.families.rows import Broken, GradientCase, Rows, normal
from tests.numerics.values import Array, Case, array, sample
from tests.programs import Trace

ROWS = Rows()
row = ROWS.row
SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((8,), (8,)),
    ((2, 7), (7,)),
    ((1,), (1,)),
    ((2, 2), (2,)),
    ((3, 4, 5), (4, 5)),
    ((2, 3, 4, 6), (3, 4, 6)),
    ((0, 4), (4,)),
]
EXACT = {"float32": "complex64", "float64": "complex128"}
PI = np.longdouble("3.14159265358979323846264338327950288")


def waves(length: int, sign: int) -> Any:
    """exp(sign 2 pi i j k / length) for all j and k."""
    k = np.arange(length)
    angle = 2 * PI * (np.outer(k, k) % length) / length
    return np.cos(angle) + 1j * sign * np.sin(angle)


def summed(x: Any, lengths: Sequence[int], sign: int) -> Any:
    found = np.asarray(x, np.clongdouble)
    for axis, length in enumerate(lengths, found.ndim - len(lengths)):
        found = np.moveaxis(np.tensordot(found, waves(length, sign), (axis, 0)), -1, axis)
    return found


def whole(x: Any, lengths: Sequence[int]) -> Any:
    """The spectrum of a real signal with the negative frequencies of the last axis, without what does not count."""
    n = lengths[-1]
    time = np.moveaxis(summed(np.moveaxis(x, -1, 0), lengths[:-1], 1), 0, -1)
    full = np.zeros((*time.shape[:-1], n), np.clongdouble)
    full[..., : n // 2 + 1] = time
    full[..., 0] = full[..., 0].real
    if n % 2 == 0:
        full[..., n // 2] = full[..., n // 2].real
    for k in range(1, (n + 1) // 2):
        full[..., n - k] = np.conj(time[..., k])
    return full


def case(x: Array, expected: Any, dtype: str, lengths: tuple[int, ...]) -> Case:
    largest = float(np.max(np.abs(expected), initial=1))
    return Case((x,), (array(expected, dtype),), {"lengths": lengths}, units=16, scale=largest)


def complex_cases(function: Callable[[Any, tuple[int, ...]], Any]) -> list[Case]:
    rng = np.random.default_rng(3)
    found = []
    for dtype in EXACT.values():
        for shape, lengths in SHAPES:
            x = sample(rng, shape, dtype)
            found.append(case(x, function(x, lengths), dtype, lengths))
    return found


@row("fft")
def forward() -> list[Case]:
    return complex_cases(lambda x, lengths: summed(x, lengths, -1))


@row("ifft")
def inverse() -> list[Case]:
    return complex_cases(lambda x, lengths: summed(x, lengths, 1) / prod(lengths))


@row("rfft")
def real_forward() -> list[Case]:
    rng = np.random.default_rng(4)
    found = []
    for dtype, result in EXACT.items():
        for shape, lengths in SHAPES:
            x = sample(rng, shape, dtype)
            expected = summed(x, lengths, -1)[..., : lengths[-1] // 2 + 1]
            found.append(case(x, expected, result, lengths))
    return found


@row("irfft")
def real_inverse() -> list[Case]:
    """Of arbitrary complex numbers: what does not belong to a real signal's spectrum must not count."""
    rng = np.random.default_rng(5)
    found = []
    for result, dtype in EXACT.items():
        for shape, lengths in SHAPES:
            x = sample(rng, (*shape[:-1], lengths[-1] // 2 + 1), dtype)
            full = whole(x, lengths)
            time = summed(full, lengths[-1:], 1) / prod(lengths)
            assert np.max(np.abs(time.imag), initial=0) < 1e-15
            found.append(case(x, time.real, result, lengths))
    return found


# ---- broken constraints


def broken(name: str, dtype: str, allowed: str, wrong: str, last: int) -> list[Broken]:
    taken = (2, last)
    return [
        (f"{name}-C1", f"{wrong}[4]", {"lengths": (4,)}, InvalidType, f"the dtype must be {allowed}, got {wrong}"),
        (f"{name}-C2", f"{dtype}[4]", {"lengths": (1, 4)}, InvalidArgument,
         "there must be 1 to 3 lengths, each for an axis, got (1, 4) for (4)"),
        (f"{name}-C3", f"{dtype}[0]", {"lengths": (0,)}, InvalidArgument, "lengths must be positive, got (0,)"),
        (f"{name}-C4", f"{dtype}[2,9]", {"lengths": (2, 8)}, InvalidArgument,
         f"the last axes must have sizes {taken} for lengths (2, 8), got (2, 9)"),
    ]  # fmt: skip


COMPLEX, REAL = "complex64 or complex128", "float32 or float64"
BROKEN: list[Broken] = [
    *broken("fft", "complex64", COMPLEX, "float32", 8),
    *broken("ifft", "complex64", COMPLEX, "float64", 8),
    *broken("rfft", "float32", REAL, "bfloat16", 8),
    *broken("irfft", "complex64", COMPLEX, "int32", 5),
]


# ---- gradients


def parts(trace: Trace, z: SSAValue) -> SSAValue:
    return trace(ew.Add, trace(cx.Real, z), trace(ew.Sine, trace(cx.Imag, z)))


def of_complex(op: type[Op], lengths: tuple[int, ...]) -> Callable[..., SSAValue]:
    def build(trace: Trace, re: SSAValue, im: SSAValue) -> SSAValue:
        z = trace(op, trace(cx.Complex, re, im), lengths=lengths)
        return parts(trace, z) if op is not fft.Irfft else z

    return build


def of_real(lengths: tuple[int, ...]) -> Callable[..., SSAValue]:
    return lambda trace, x: parts(trace, trace(fft.Rfft, x, lengths=lengths))


GRADIENTS = [
    *(
        GradientCase(op, [normal(2, *sizes), normal(2, *sizes, seed=1)], build=of_complex(op, sizes))
        for op in (fft.Fft, fft.Ifft)
        for sizes in ((3,), (2, 3))
    ),
    *(GradientCase(fft.Rfft, [normal(*n)], build=of_real(n)) for n in ((1,), (4,), (5,), (3, 4))),
    *(
        GradientCase(fft.Irfft, [normal(*s), normal(*s, seed=1)], build=of_complex(fft.Irfft, n))
        for n, s in (((4,), (3,)), ((5,), (3,)), ((3, 4), (3, 3)))
    ),
]
