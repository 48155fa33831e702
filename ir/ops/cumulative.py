"""Scans along an axis: cumulative sums, products and extremes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from dfc.errors import InvalidArgument
from dfc.ir.attributes import Flag, Int
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import FLOAT, INEXACT, NUMERIC, REAL, require_equal, require_kind
from dfc.ir.types import Spec, spec_of

Array = np.ndarray[Any, Any]


def require_axis(spec: Spec, axis: int, label: str) -> None:
    """Raise InvalidArgument unless the axis is one of the operand's."""
    if not 0 <= axis < len(spec.shape):
        raise InvalidArgument(f"the axis must be within rank {len(spec.shape)}, got {axis}", label=label)


def _wide(x: Array) -> Array:
    """16-bit floats accumulate in float32."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x


class Cumulative(Op):
    """Element i along `axis` combines the elements up to i, itself included; with `reverse` those from i on.

    C1: the axis is in range. C2: the dtype is of a kind that the op takes.
    """

    axis = prop_def(Int)
    reverse = prop_def(Flag)
    x = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = NUMERIC
    NUMPY: ClassVar[Callable[..., Any]]

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec = spec_of(operands[0])
        require_axis(spec, attributes["axis"], "C1")
        require_kind(spec.dtype, cls.KINDS, "C2")
        return operands

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        (x,), axis = operands, attributes["axis"]
        ordered = np.flip(x, axis) if attributes["reverse"] else x
        with np.errstate(all="ignore"):
            found = cls.NUMPY(_wide(ordered), axis)
        return [np.asarray(np.flip(found, axis) if attributes["reverse"] else found).astype(x.dtype)]


@irdl_op_definition
class CumSum(Cumulative):
    """Sums; integers wrap."""

    name = "df.cumsum"
    NUMPY: ClassVar = lambda x, axis: np.cumsum(x, axis, dtype=x.dtype)


@irdl_op_definition
class CumProd(Cumulative):
    """Products; integers wrap."""

    name = "df.cumprod"
    NUMPY: ClassVar = lambda x, axis: np.cumprod(x, axis, dtype=x.dtype)


@irdl_op_definition
class CumMax(Cumulative):
    """The largest so far; NaN from the first NaN on."""

    name = "df.cummax"
    KINDS: ClassVar = REAL
    NUMPY: ClassVar = np.maximum.accumulate


@irdl_op_definition
class CumMin(Cumulative):
    """The smallest so far; NaN from the first NaN on."""

    name = "df.cummin"
    KINDS: ClassVar = REAL
    NUMPY: ClassVar = np.minimum.accumulate


@irdl_op_definition
class CumLogSumExp(Cumulative):
    """Logarithms of sums of exponentials, without overflow."""

    name = "df.cumlogsumexp"
    KINDS: ClassVar = FLOAT
    NUMPY: ClassVar = np.logaddexp.accumulate


@irdl_op_definition
class LinearRecurrence(Op):
    """y[i] = factor[i] * y[i - 1] + term[i] along `axis`, where y[-1] is 0: the first factor has no effect. With
    `reverse` from the end: y[i] = factor[i] * y[i + 1] + term[i]. The gradient of every scan here is one.

    C1: equal shapes and dtypes. C2: the axis is in range. C3: floating or complex.
    """

    name = "df.linear_recurrence"
    axis = prop_def(Int)
    reverse = prop_def(Flag)
    factor = operand_def()
    term = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = INEXACT

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        specs = [spec_of(t) for t in operands]
        require_equal(specs, "C1")
        require_axis(specs[0], attributes["axis"], "C2")
        require_kind(specs[0].dtype, cls.KINDS, "C3")
        return operands[:1]

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        axis = attributes["axis"]
        factor, term = (np.moveaxis(_wide(v), axis, 0) for v in operands)
        result = np.zeros_like(term)
        order = range(len(term) - 1, -1, -1) if attributes["reverse"] else range(len(term))
        before: Array | None = None
        with np.errstate(all="ignore"):
            for i in order:
                result[i] = term[i] if before is None else factor[i] * before + term[i]
                before = result[i]
        return [np.moveaxis(result, 0, axis).astype(operands[0].dtype)]
