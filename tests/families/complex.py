"""Complex numbers and their parts, and the gradients of all ops that take complex numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import InvalidType
from dfc.ir import dtypes
from dfc.ir.op import Op
from dfc.ir.ops import complex as cx
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import linalg, reduction, shape
from tests.families.linalg import dot_axes
from tests.families.rows import Broken, GradientCase, P, Q, Rows, X, Y, kinds, normal, unequal
from tests.numerics.values import COMPLEX, Array, Case, edges, numpy_dtype, variants
from tests.programs import Trace

ROWS = Rows()
row = ROWS.row

SPECIAL = [complex(math.nan, -0.0), complex(-math.inf, 1e30), complex(-0.0, math.inf), complex(1e-30, -0.0)]
PARTS = {"complex64": "float32", "complex128": "float64"}


def whole(dtype: str) -> list[Array]:
    return [*variants(dtype), np.array(SPECIAL, dtype)]


def parts(function: Callable[[complex], float]) -> list[Case]:
    found = []
    for dtype in COMPLEX:
        for z in whole(dtype):
            taken = [function(v) for v in z.ravel().tolist()]
            found.append(Case((z,), (np.array(taken, PARTS[dtype]).reshape(z.shape),)))
    return found


ROWS["real"] = lambda: parts(lambda z: z.real)
ROWS["imag"] = lambda: parts(lambda z: z.imag)


@row("complex")
def complex_() -> list[Case]:
    found = []
    for part, dtype in (("float32", "complex64"), ("float64", "complex128")):
        re = edges(part)
        im = re[::-1].copy()
        values = [complex(a, b) for a, b in zip(re.tolist(), im.tolist(), strict=True)]
        found.append(Case((re, im), (np.array(values, dtype),)))
    scalar, empty = np.array(2.5), np.zeros((0, 2), np.float32)
    found.append(Case((scalar, -scalar), (np.array(2.5 - 2.5j),)))
    return [*found, Case((empty, empty), (np.zeros((0, 2), np.complex64),))]


@row("conj")
def conj() -> list[Case]:
    found = []
    for dtype in COMPLEX:
        for z in whole(dtype):
            values = [complex(v.real, -v.imag) for v in z.ravel().tolist()]
            found.append(Case((z,), (np.array(values, numpy_dtype(dtype)).reshape(z.shape),)))
    return found


# ---- broken constraints

BROKEN: list[Broken] = [
    kinds("real-C1", "float32[2]", "complex", "float32"),
    kinds("imag-C1", "int32[2]", "complex", "int32"),
    unequal("complex-C1", "float32[2] ; float64[2]"),
    ("complex-C2", "float16[2] ; float16[2]", {}, InvalidType, "the dtype must be float32 or float64, got float16"),
    kinds("conj-C1", "float64[2]", "complex", "float64"),
]

# ---- gradients: by the real and the imaginary part of each operand


def split(op: type[Op], **attributes: Any) -> Callable[..., SSAValue]:
    """The op on complex numbers whose parts are the inputs, its result's parts side by side."""

    def build(trace: Trace, *xs: SSAValue) -> SSAValue:
        zs = [trace(cx.Complex, re, im) for re, im in zip(xs[::2], xs[1::2], strict=True)]
        return both(trace, trace(op, *zs, **attributes))

    return build


def both(trace: Trace, z: SSAValue) -> SSAValue:
    rank = len(z.type.get_shape())  # type: ignore[attr-defined]
    if not rank:
        return trace(ew.Add, trace(cx.Real, z), trace(ew.Sine, trace(cx.Imag, z)))
    return trace(shape.Concatenate, trace(cx.Real, z), trace(cx.Imag, z), axis=0)


def part(op: type[Op]) -> Callable[..., SSAValue]:
    def build(trace: Trace, re: SSAValue, im: SSAValue) -> SSAValue:
        z = trace(cx.Complex, re, im)
        return trace(op, trace(ew.Multiply, z, z))

    return build


def size(trace: Trace, re: SSAValue, im: SSAValue) -> SSAValue:
    return trace(ew.Abs, trace(cx.Complex, re, im))


def power_of(exponent: complex) -> Callable[..., SSAValue]:
    def build(trace: Trace, re: SSAValue, im: SSAValue) -> SSAValue:
        z, n = trace(cx.Complex, re, im), trace.constant(exponent, "complex128")
        return both(trace, trace(ew.Power, z, trace(shape.BroadcastInDim, n, shape=(2, 3), dims=())))

    return build


def widened(trace: Trace, x: SSAValue) -> SSAValue:
    z = trace(ew.Convert, x, dtype=dtypes.complex128)
    return both(trace, trace(ew.Multiply, z, trace(ew.Exponential, trace(ew.Multiply, z, trace(cx.Conj, z)))))


ONE = (ew.Negate, ew.Exponential, ew.Log, ew.Sqrt, ew.Sine, ew.Cosine, ew.Tangent, ew.Tanh, ew.Identity, cx.Conj)
TWO = (ew.Add, ew.Subtract, ew.Multiply, ew.Divide, ew.Power, ew.AddN)
TABLE = dot_axes((), (), (1,), (0,))

GRADIENTS = [
    GradientCase(cx.Real, [P, Y], build=part(cx.Real)),
    GradientCase(cx.Imag, [P, Y], build=part(cx.Imag)),
    GradientCase(cx.Complex, [P, Y], build=lambda t, *xs: both(t, t(ew.Tanh, t(cx.Complex, *xs)))),
    *(GradientCase(op, [P, Y], build=split(op)) for op in ONE),
    *(GradientCase(op, [P, Y, Q, X], build=split(op)) for op in TWO),
    GradientCase(ew.Abs, [P, Y], build=size),
    GradientCase(ew.Power, [P, Y], build=power_of(2)),
    GradientCase(ew.Power, [P, Y], build=power_of(3 - 1j)),
    GradientCase(ew.Convert, [P], build=widened),
    GradientCase(linalg.DotGeneral, [normal(2, 3), normal(2, 3), normal(3, 2), normal(3, 2)],
                 build=split(linalg.DotGeneral, **TABLE)),
    GradientCase(reduction.ReduceSum, [P, Y], build=split(reduction.ReduceSum, axes=(1,))),
    GradientCase(reduction.ReduceProd, [P, Y], build=split(reduction.ReduceProd, axes=(1,))),
    GradientCase(reduction.ReduceProd, [P, Y], build=split(reduction.ReduceProd, axes=(0, 1))),
    GradientCase(shape.Transpose, [P, Y], build=split(shape.Transpose, permutation=(1, 0))),
]  # fmt: skip
