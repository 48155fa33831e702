"""Convolutions, against sums of products written as loops over every index."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.ops.convolution import Convolution
from tests.families.rows import Broken, GradientCase, Rows, normal
from tests.numerics.values import NUMERIC, Array, Case, sample, wrap

ROWS = Rows()
row = ROWS.row

NHWC = {"lhs_axes": (0, 3, 1, 2), "rhs_axes": (3, 2, 0, 1), "result_axes": (0, 3, 1, 2)}
NCHW = {"lhs_axes": (0, 1, 2, 3), "rhs_axes": (0, 1, 2, 3), "result_axes": (0, 1, 2, 3)}


def attributes(spatial: int = 2, **given: Any) -> dict[str, Any]:
    """The attributes of a convolution with features first, without padding, unless told otherwise."""
    axes, ones, none = tuple(range(spatial + 2)), (1,) * spatial, (0,) * spatial
    return {
        "lhs_axes": axes,
        "rhs_axes": axes,
        "result_axes": axes,
        "strides": ones,
        "low": none,
        "high": none,
        "lhs_dilation": ones,
        "rhs_dilation": ones,
        "feature_groups": 1,
        "batch_groups": 1,
        **given,
    }


def by_loops(lhs: Array, rhs: Array, a: dict[str, Any]) -> Array:
    """The convolution index by index, in Python's integers or at double (quadruple) precision."""
    x, k = lhs.transpose(a["lhs_axes"]), rhs.transpose(a["rhs_axes"])
    integer = lhs.dtype.kind in "iu"
    x, k = (v.astype(object if integer else np.clongdouble if v.dtype.kind == "c" else np.longdouble) for v in (x, k))
    sizes = []
    for i, low in enumerate(a["low"]):
        length = (x.shape[2 + i] - 1) * a["lhs_dilation"][i] + 1 if x.shape[2 + i] else 0
        span = (k.shape[2 + i] - 1) * a["rhs_dilation"][i] + 1
        sizes.append(max(0, (length + low + a["high"][i] - span) // a["strides"][i] + 1))
    batch, outputs, inputs = x.shape[0] // a["batch_groups"], k.shape[0], k.shape[1]
    y = np.zeros((batch, outputs, *sizes), x.dtype)
    for n, o, *place in np.ndindex(y.shape):
        run = o * a["batch_groups"] * a["feature_groups"] // outputs
        row = n + (run * batch if a["batch_groups"] > 1 else 0)
        first = run * inputs if a["feature_groups"] > 1 else 0
        for c, *at in np.ndindex(k.shape[1:]):
            source = [
                p * s + t * d - low
                for p, s, t, d, low in zip(place, a["strides"], at, a["rhs_dilation"], a["low"], strict=True)
            ]
            quotients = [divmod(q, d) for q, d in zip(source, a["lhs_dilation"], strict=True)]
            if all(not rest and 0 <= q < size for (q, rest), size in zip(quotients, x.shape[2:], strict=True)):
                y[(n, o, *place)] += x[(row, first + c, *(q for q, _ in quotients))] * k[(o, c, *at)]
    y = y.transpose(np.argsort(a["result_axes"]))
    if integer:
        return np.array([wrap(int(v), lhs.dtype) for v in y.ravel()], lhs.dtype).reshape(y.shape)
    if lhs.dtype.kind not in "fc":  # bfloat16
        y = y.astype(np.float64)
    return y.astype(lhs.dtype)


LAYOUTS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 5, 4, 3), (3, 2, 3, 2), attributes(**NHWC, low=(1, 0), high=(1, 1))),
    ((2, 3, 5, 4), (2, 3, 3, 2), attributes(strides=(2, 1), low=(2, 0), high=(0, 1))),
    ((4, 3), (2, 3), attributes(0)),
    ((2, 2, 7), (3, 2, 3), attributes(1, strides=(2,), rhs_dilation=(2,), low=(3,), high=(1,))),
    ((1, 2, 3, 4, 3), (2, 2, 2, 3, 2), attributes(3, low=(0, 1, 0), high=(1, 1, 0))),
    ((1, 2, 3, 4), (2, 2, 3, 2), attributes(lhs_dilation=(2, 3), low=(1, 2), high=(2, 1))),
    ((2, 4, 5, 4), (6, 2, 2, 3), attributes(feature_groups=2, strides=(1, 2), low=(0, 1), high=(1, 1))),
    ((2, 3, 4, 4), (6, 1, 3, 3), attributes(feature_groups=3, low=(1, 1), high=(1, 1))),
    ((4, 3, 4, 4), (4, 3, 2, 2), attributes(batch_groups=2, strides=(2, 1))),
    ((5, 2, 2, 4), (3, 2, 2, 2), attributes(lhs_axes=(1, 2, 3, 0), rhs_axes=(1, 2, 0, 3), result_axes=(2, 0, 3, 1))),
    ((1, 1, 6, 6), (1, 1, 2, 2), attributes(low=(-1, 1), high=(-2, -1))),
    ((0, 2, 4, 4), (3, 2, 2, 2), attributes()),
    ((2, 0, 4, 4), (3, 0, 2, 2), attributes()),
    ((2, 2, 4, 4), (0, 2, 2, 2), attributes()),
    ((1, 1, 2, 2), (1, 1, 3, 1), attributes()),
]


@row("convolution")
def convolution() -> list[Case]:
    rng, found = np.random.default_rng(11), []
    for dtype in NUMERIC:
        for left, right, given in LAYOUTS if dtype == "float32" else LAYOUTS[:1]:
            x, k = sample(rng, left, dtype), sample(rng, right, dtype)
            units = 0 if x.dtype.kind in "iu" else 6
            found.append(Case((x, k), (by_loops(x, k, given),), given, units=units, scale=4))
    special = np.array([[[1, np.inf, 0, np.nan, -np.inf, -0.0]]], np.float32)
    kernel = np.array([[[1, 2]]], np.float32)
    given = attributes(1, low=(1,))
    found.append(Case((special, kernel), (by_loops(special, kernel, given),), given, zero_signs=False))
    return found


# ---- broken constraints

OPERANDS = "float32[2,3,5,4] ; float32[2,3,3,2]"


def broken(
    label: str, operands: str, message: str, error: type[InvalidArgument] = InvalidArgument, **given: Any
) -> Broken:
    return f"convolution-{label}", operands, attributes(**given), error, message


BROKEN: list[Broken] = [
    broken("C1", "float32[2,3,5,4] ; float64[2,3,3,2]", "operands must have equal dtypes, got float32 and float64",
           InvalidType),
    broken("C2", "bool[2,3,5,4] ; bool[2,3,3,2]", "the dtype must be int or uint or float or complex, got bool",
           InvalidType),
    broken(
        "C3", OPERANDS, "operands need one rank of at least 2 and lists of all axes, got float32[2, 3, 5, 4] and "
        "float32[2, 3, 3, 2] with axes (0, 1, 2, 2), (0, 1, 2, 3) and (0, 1, 2, 3)", lhs_axes=(0, 1, 2, 2),
    ),
    broken(
        "C4", OPERANDS, "one stride, padding and dilation for each of 2 spatial axes is needed, got strides (1,), "
        "low (0, 0), high (0, 0), dilations (1, 1) and (1, 1)", strides=(1,),
    ),
    broken(
        "C5", OPERANDS, "strides and dilations must be positive, got strides (1, 0), dilations (1, 1) and (1, 1)",
        strides=(1, 0),
    ),
    broken(
        "C6", OPERANDS, "groups must be positive and of one kind, got 2 of features and 2 of the batch",
        feature_groups=2, batch_groups=2,
    ),
    broken(
        "C7", OPERANDS, "lhs's features must match the kernel's inputs, got 3 and 3 in 2 groups of "
        "float32[2, 3, 5, 4] and float32[2, 3, 3, 2]", feature_groups=2,
    ),
    broken(
        "C8", OPERANDS, "groups must divide the kernel's outputs and the batch, got 1 groups of features and 3 of the "
        "batch for 2 outputs and a batch of 2", batch_groups=3,
    ),
    broken(
        "C9", "float32[2,3,5,4] ; float32[2,3,0,2]",
        "the kernel's spatial sizes must not be 0, got float32[2, 3, 0, 2]",
    ),
    broken("C10", OPERANDS, "padding -3 and -3 removes more than the 5 elements of an axis", low=(-3, 0), high=(-3, 0)),
]  # fmt: skip


# ---- gradients


def case(left: tuple[int, ...], right: tuple[int, ...], given: dict[str, Any]) -> GradientCase:
    return GradientCase(Convolution, [normal(*left, seed=1), normal(*right, seed=2)], given)


GRADIENTS = [
    case((1, 3, 4, 2), (2, 2, 2, 1), attributes(**NHWC, low=(1, 0), high=(0, 1))),
    case((2, 2), (3, 2), attributes(0)),
    case((1, 1, 5), (2, 1, 2), attributes(1, strides=(2,), rhs_dilation=(2,), low=(2,), high=(1,))),
    case((1, 1, 6), (1, 1, 2), attributes(1, strides=(3,), low=(0,), high=(-1,))),
    case((1, 1, 3), (1, 1, 2), attributes(1, lhs_dilation=(3,), strides=(2,), low=(-1,), high=(2,))),
    case((1, 1, 2, 2, 3), (1, 1, 2, 1, 2), attributes(3, strides=(1, 2, 1), low=(1, 0, 0))),
    case((1, 4, 3), (2, 2, 2), attributes(1, feature_groups=2, low=(1,))),
    case((1, 2, 2, 3), (4, 1, 2, 2), attributes(feature_groups=2, low=(0, 1), strides=(1, 2))),
    case((4, 2, 3), (2, 2, 2), attributes(1, batch_groups=2, strides=(2,), high=(1,))),
    case((3, 2, 2), (2, 2, 2), attributes(1, lhs_axes=(2, 1, 0), rhs_axes=(1, 2, 0), result_axes=(1, 0, 2))),
    case((3, 4), (2, 4), attributes(0, lhs_axes=(0, 1), feature_groups=1)),
    case((4, 1, 3), (2, 2, 2), attributes(1, lhs_axes=(1, 0, 2), rhs_axes=(1, 0, 2), feature_groups=2)),
]
