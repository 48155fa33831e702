"""Constants: computing an op of known operands, and splats, tensors whose elements are all the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from dfc.errors import DfcError
from dfc.ir.attributes import Array
from dfc.ir.builder import Builder
from dfc.ir.dims import is_static, size
from dfc.ir.dtypes import DType
from dfc.ir.op import Effect, Op
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.shape import BroadcastInDim, Iota
from dfc.ir.ops.sharding import Shard
from dfc.ir.types import spec_of

FOLD_LIMIT = 65536
"""Results with more elements stay ops: they would only make the program's data larger."""
SMALL = 64
"""Results of up to so many elements always fold, broadcasts and iota included."""
GROWTH = 4
"""A larger result folds only if it has at most so many times the elements of the constants that it comes from."""


@cache
def foldable(cls: type[Op]) -> bool:
    """True for classes whose results are a function of their operands' values, with a meaning in NumPy. Where a value
    is divided is not in the value."""
    plain = getattr(cls.evaluate, "__func__", cls.evaluate) is not Op.evaluate
    return plain and cls.EFFECT is Effect.PURE and cls not in (ConstantOp, Shard)


def fold(op: Any, limit: int = FOLD_LIMIT) -> SSAValue | None:
    """A constant in front of the op that has its value, or None where the op isn't known or the value is too large."""
    data = 0
    for operand in op.operands:
        known = _data_behind(operand)
        if known is None:
            return None
        data += known
    if len(op.results) != 1 or op.regions:
        return None
    spec = spec_of(op.results[0].type)
    elements = size(spec.shape)
    if not isinstance(elements, int) or elements > limit:
        return None
    if elements > SMALL and (elements > GROWTH * data or isinstance(op, BroadcastInDim)):
        return None
    try:
        return constant_before(op, _evaluate(op)[0], spec.dtype)
    except DfcError:  # what it means for these operands is what the compiled program does
        return None


KNOWN = (ConstantOp, BroadcastInDim, Iota)
"""Ops whose values are known here, if their operands' are."""


def touches_known(op: Operation) -> bool:
    """Whether an operand comes from an op of `KNOWN`, as every constant does."""
    for operand in op._operands:  # noqa: SIM110  # `any` takes twice as long
        if type(operand.owner) in KNOWN:
            return True
    return False


def constant_before(op: Operation, value: Any, dtype: DType) -> SSAValue:
    """A constant in front of the op, at its position."""
    array = np.array(value, dtype.numpy, order="C")
    return Builder.before_op(op)(ConstantOp, value=Array.of(array))


def _data_behind(value: SSAValue) -> int | None:
    """How many elements of constants the value comes from; None where it isn't known."""
    owner = value.owner
    cls = type(owner)
    if cls is ConstantOp:
        array = owner.value.data  # type: ignore[union-attr]
        return int(np.prod(array.shape, dtype=np.int64)) if array.known else None
    if cls is BroadcastInDim:
        return _data_behind(owner.operands[0]) if is_static(spec_of(value.type).shape) else None  # type: ignore[union-attr]
    if cls is Iota:
        return 1 if is_static(spec_of(value.type).shape) else None
    return None


def _evaluate(op: Op) -> Any:
    operands = [_evaluate(v.owner)[v.index] for v in op.operands]  # type: ignore[arg-type,attr-defined]
    with np.errstate(all="ignore"):
        return op.evaluate(operands, op.values())


def splat(value: SSAValue) -> Any:
    """The element, a NumPy scalar, that a constant or a broadcast of one repeats; None for another value."""
    owner = value.owner
    while type(owner) is BroadcastInDim:
        owner = owner.operands[0].owner
    if type(owner) is not ConstantOp:
        return None
    return owner.value.data.splat
