"""Reductions: each removes its axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Element, Int, Ints
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import FLOAT, NUMERIC, ORDERED, require_kind
from dfc.ir.types import spec_of, tensor_type


class Reduction(Op):
    """Reduces `axes`. C1: the axes are distinct, ascending and in range. C2: the dtype is of a kind that the op
    takes. An empty reduction gives the op's identity element; without axes the result is x."""

    axes = prop_def(Ints)
    x = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = NUMERIC
    NUMPY: ClassVar[Callable[..., Any]]

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec, axes = spec_of(operands[0]), attributes["axes"]
        if any(not 0 <= a < len(spec.shape) for a in axes) or list(axes) != sorted(set(axes)):
            raise InvalidArgument(
                f"axes must be distinct, ascending and within rank {len(spec.shape)}, got {axes}", label="C1"
            )
        require_kind(spec.dtype, cls.KINDS, "C2")
        return (tensor_type(tuple(d for i, d in enumerate(spec.shape) if i not in axes), spec.dtype),)

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        (x,), axes = operands, attributes["axes"]
        if not axes:
            return [x]
        wide = x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x
        with np.errstate(all="ignore"):
            reduced = cls.NUMPY(wide, axis=axes, initial=cls.identity(wide.dtype))
            return [np.asarray(reduced).astype(x.dtype)]

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        """The value that changes nothing."""
        raise NotImplementedError


@irdl_op_definition
class ReduceSum(Reduction):
    """The sum; integers wrap."""

    name = "df.reduce_sum"
    NUMPY: ClassVar = np.sum

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        return 0


@irdl_op_definition
class ReduceProd(Reduction):
    """The product; integers wrap."""

    name = "df.reduce_prod"
    NUMPY: ClassVar = np.prod

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        return 1


@irdl_op_definition
class ReduceMax(Reduction):
    """The largest; NaN if any is. Of nothing: minus infinity or the dtype's smallest value."""

    name = "df.reduce_max"
    KINDS: ClassVar = ORDERED
    NUMPY: ClassVar = np.max

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        return lowest(dtype)


@irdl_op_definition
class ReduceMin(Reduction):
    """The smallest; NaN if any is. Of nothing: infinity or the dtype's largest value."""

    name = "df.reduce_min"
    KINDS: ClassVar = ORDERED
    NUMPY: ClassVar = np.min

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        return highest(dtype)


@irdl_op_definition
class ReduceAnd(Reduction):
    """True where all are. Of nothing: True."""

    name = "df.reduce_and"
    KINDS: ClassVar = ("bool",)
    NUMPY: ClassVar = np.logical_and.reduce

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        return True


@irdl_op_definition
class ReduceOr(Reduction):
    """True where any is. Of nothing: False."""

    name = "df.reduce_or"
    KINDS: ClassVar = ("bool",)
    NUMPY: ClassVar = np.logical_or.reduce

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        return False


def lowest(dtype: np.dtype[Any]) -> Any:
    """Minus infinity, the smallest integer, or False."""
    if dtype.kind == "b":
        return False
    return np.iinfo(dtype).min if dtype.kind in "iu" else dtype.type(-np.inf)


def highest(dtype: np.dtype[Any]) -> Any:
    """Infinity, the largest integer, or True."""
    if dtype.kind == "b":
        return True
    return np.iinfo(dtype).max if dtype.kind in "iu" else dtype.type(np.inf)


class ArgReduction(Op):
    """The index along `axis` of the first extreme element (of the first NaN if there is one), as `dtype`.

    C1: the axis is in range and not empty. C2: the dtype of x is ordered. C3: `dtype` is an integer.
    """

    axis = prop_def(Int)
    dtype = prop_def(Element)
    x = operand_def()
    result = result_def()
    KINDS: ClassVar = ORDERED
    NUMPY: ClassVar[Callable[..., Any]]

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec, axis, dtype = spec_of(operands[0]), attributes["axis"], attributes["dtype"]
        if not 0 <= axis < len(spec.shape) or spec.shape[axis] == 0:
            raise InvalidArgument(f"the axis must be in range and not empty, got axis {axis} of {spec}", label="C1")
        require_kind(spec.dtype, cls.KINDS, "C2")
        if not dtype.is_integer:
            raise InvalidType(f"an index has an integer dtype, got {dtype}", label="C3")
        return (tensor_type((*spec.shape[:axis], *spec.shape[axis + 1 :]), dtype),)

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        (x,) = operands
        return [np.asarray(cls.NUMPY(x, axis=attributes["axis"])).astype(attributes["dtype"].numpy)]


@irdl_op_definition
class ArgMax(ArgReduction):
    """The index of the largest element."""

    name = "df.argmax"
    NUMPY: ClassVar = np.argmax


@irdl_op_definition
class ArgMin(ArgReduction):
    """The index of the smallest element."""

    name = "df.argmin"
    NUMPY: ClassVar = np.argmin


@irdl_op_definition
class ReduceLogSumExp(Reduction):
    """log(sum(exp(x))), which overflows no more than its result. Of nothing, and of -inf alone: -inf."""

    name = "df.reduce_logsumexp"
    KINDS: ClassVar = FLOAT

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        (x,), axes = operands, attributes["axes"]
        if not axes:
            return [x]
        wide = x.astype(np.float64)
        largest = np.max(wide, axis=axes, initial=-np.inf, keepdims=True)
        shift = np.where(np.isfinite(largest), largest, 0)
        with np.errstate(all="ignore"):
            total = np.log(np.sum(np.exp(wide - shift), axis=axes)) + np.squeeze(shift, axis=axes)
            return [np.asarray(total).astype(x.dtype)]
