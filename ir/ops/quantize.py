"""Quantisation: real numbers as small integers, x = scale * (q - zero_point)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Element, Int
from dfc.ir.dtypes import DType
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import FLOAT, require_kind
from dfc.ir.types import Spec, spec_of, tensor_type

Array = np.ndarray[Any, Any]
WIDE = np.float32
"""What scales are multiplied in, unless the numbers are float64."""


def require_quantized(dtype: DType, label: str) -> None:
    """Raise InvalidType unless numbers of this dtype, and their differences, are exact in float32."""
    if not dtype.is_integer or dtype.bits > 16:
        raise InvalidType(f"quantised numbers are integers of 8 or 16 bits, got {dtype}", label=label)


def require_scales(x: Spec, scale: Spec, zero: Spec, axis: int, dtypes: tuple[DType, DType], label: str) -> None:
    """Raise InvalidArgument unless scale and zero point are scalars, or vectors along the axis, of these dtypes."""
    shapes: list[tuple[Any, ...]] = [()]
    if 0 <= axis < len(x.shape):
        shapes.append((x.shape[axis],))
    if scale.shape not in shapes or zero.shape != scale.shape or (scale.dtype, zero.dtype) != dtypes:
        raise InvalidArgument(
            f"scale and zero point must be {dtypes[0]} and {dtypes[1]}, both scalars or both of the size of axis "
            f"{axis}, got {scale} and {zero} for {x}",
            label=label,
        )


def along(vector: Array, rank: int, axis: int) -> Array:
    """A scalar or a vector along an axis, so that it broadcasts."""
    return vector if not vector.ndim else vector.reshape([-1 if i == axis else 1 for i in range(rank)])


@irdl_op_definition
class Quantize(Op):
    """round(x / scale) + zero_point, ties to even, brought into the range of `dtype`; NaN becomes the zero point. Scale
    and zero point are scalars, or vectors along `axis`.

    C1: x is floating. C2: `dtype` is an integer of 8 or 16 bits. C3: scale has x's dtype and the zero point `dtype`,
    both scalars or both of the size of the axis.
    """

    name = "df.quantize"
    axis = prop_def(Int)
    dtype = prop_def(Element)
    x = operand_def()
    scale = operand_def()
    zero_point = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = FLOAT

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        (x, scale, zero), dtype = (spec_of(t) for t in operands), attributes["dtype"]
        require_kind(x.dtype, cls.KINDS, "C1")
        require_quantized(dtype, "C2")
        require_scales(x, scale, zero, attributes["axis"], (x.dtype, dtype), "C3")
        return (tensor_type(x.shape, dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        x, scale, zero = operands
        wide = x.dtype if x.dtype == np.float64 else WIDE
        scales, zeros = (along(v.astype(wide), x.ndim, attributes["axis"]) for v in (scale, zero))
        limits = np.iinfo(attributes["dtype"].numpy)
        with np.errstate(all="ignore"):
            found = np.round(x.astype(wide) / scales)
            found = np.where(np.isnan(found), 0, found) + zeros
            return [np.clip(found, limits.min, limits.max).astype(attributes["dtype"].numpy)]


@irdl_op_definition
class Dequantize(Op):
    """(q - zero_point) * scale, in scale's dtype. Scale and zero point are scalars, or vectors along `axis`.

    C1: q is an integer of 8 or 16 bits. C2: scale is floating. C3: the zero point has q's dtype; both are scalars, or
    both of the size of the axis.
    """

    name = "df.dequantize"
    axis = prop_def(Int)
    q = operand_def()
    scale = operand_def()
    zero_point = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("int", "uint")

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        q, scale, zero = (spec_of(t) for t in operands)
        require_quantized(q.dtype, "C1")
        require_kind(scale.dtype, FLOAT, "C2")
        require_scales(q, scale, zero, attributes["axis"], (scale.dtype, q.dtype), "C3")
        return (tensor_type(q.shape, scale.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        q, scale, zero = operands
        wide = scale.dtype if scale.dtype == np.float64 else WIDE
        scales, zeros = (along(v.astype(wide), q.ndim, attributes["axis"]) for v in (scale, zero))
        with np.errstate(all="ignore"):
            return [np.asarray((q.astype(wide) - zeros) * scales).astype(scale.dtype)]
