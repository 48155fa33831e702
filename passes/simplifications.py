"""Identities: what an op is, said more simply. One rule a function, in a table by op class.

A rule gets an op and returns the value that can stand for its result, or None. It may put new ops in front of the op,
and only for a simpler program: the walk looks at them again. No rule changes a NaN, an infinity or the sign of a zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.ir.builder import Builder
from dfc.ir.devices import COLOCATE, REQUEST
from dfc.ir.dialect import family_ops
from dfc.ir.dims import is_static
from dfc.ir.op import Op
from dfc.ir.ops.elementwise import (
    Add,
    AddN,
    Convert,
    Divide,
    Identity,
    Multiply,
    Negate,
    Not,
    Select,
    StopGradient,
    Subtract,
)
from dfc.ir.ops.function import split_tokens
from dfc.ir.ops.host import Assert
from dfc.ir.ops.reduction import Reduction
from dfc.ir.ops.shape import (
    BroadcastInDim,
    Concatenate,
    DimSize,
    Pad,
    Reshape,
    Reverse,
    Slice,
    Transpose,
)
from dfc.ir.ops.state import Group
from dfc.ir.types import spec_of
from dfc.passes.folding import constant_before, splat

Rule = Callable[[Any], SSAValue | None]
RULES: dict[type[Op], list[Rule]] = {}
"""Op class, or a base of op classes -> its rules, tried in order."""
OF_CONSTANTS: set[Rule] = set()
"""Rules that apply only where an operand is a constant, or a broadcast of one (`folding.KNOWN`)."""


def simplifies(*classes: type[Op], of_constants: bool = False) -> Callable[[Rule], Rule]:
    """Put a rule in the table for these classes and their subclasses, and in `OF_CONSTANTS` where that is said."""

    def register(rule: Rule) -> Rule:
        for cls in classes:
            RULES.setdefault(cls, []).append(rule)
        if of_constants:
            OF_CONSTANTS.add(rule)
        return rule

    return register


@cache
def rules_of(cls: type[Op]) -> tuple[Rule, ...]:
    """The rules for an op class, its bases' included."""
    return tuple(rule for base in cls.__mro__ for rule in RULES.get(base, ()))


def _owner(value: SSAValue, cls: type[Op]) -> Any:
    """The op behind the value if it is of the class."""
    owner = value.owner
    return owner if type(owner) is cls else None


# ---- elementwise


@simplifies(Identity, StopGradient)
def same_value(op: Op) -> SSAValue | None:
    """identity(x) = stop_gradient(x) = x, once gradients are taken; but what asks for a place is a copy there."""
    return None if REQUEST in op.attributes or COLOCATE in op.attributes else op.operands[0]


@simplifies(Negate, Not)
def twice(op: Op) -> SSAValue | None:
    """-(-x) = x; not not x = x."""
    inner = _owner(op.operands[0], type(op))
    return None if inner is None else inner.operands[0]


def _is_exactly(value: SSAValue, number: float) -> bool:
    """True for a real tensor of which each element is `number`, the sign of a zero included where there is one."""
    element = splat(value)
    if element is None or element != number:
        return False
    kind = spec_of(value.type).dtype.kind
    return kind in ("int", "uint") or (kind == "float" and bool(np.signbit(element) == np.signbit(number)))


@simplifies(Add, of_constants=True)
def plus_zero(op: Op) -> SSAValue | None:
    """x + 0 = x for integers; for floats only x + (-0.0), as -0.0 + 0.0 is 0.0."""
    lhs, rhs = op.operands
    if _is_exactly(rhs, -0.0):
        return lhs
    return rhs if _is_exactly(lhs, -0.0) else None


@simplifies(Subtract, of_constants=True)
def minus_zero(op: Op) -> SSAValue | None:
    """x - 0 = x."""
    lhs, rhs = op.operands
    return lhs if _is_exactly(rhs, 0.0) else None


@simplifies(Multiply, of_constants=True)
def times_one(op: Op) -> SSAValue | None:
    """x * 1 = x. (x * 0 is not 0: x may be NaN, infinite or negative.)"""
    lhs, rhs = op.operands
    if _is_exactly(rhs, 1.0):
        return lhs
    return rhs if _is_exactly(lhs, 1.0) else None


@simplifies(Divide, of_constants=True)
def over_one(op: Op) -> SSAValue | None:
    """x / 1 = x."""
    lhs, rhs = op.operands
    return lhs if _is_exactly(rhs, 1.0) else None


@simplifies(Select)
def known_choice(op: Op) -> SSAValue | None:
    """select(true, x, y) = x; select(false, x, y) = y; select(p, x, x) = x."""
    pred, on_true, on_false = op.operands
    if on_true is on_false:
        return on_true
    element = splat(pred)
    if element is None:
        return None
    return on_true if element else on_false


@simplifies(Convert)
def same_dtype(op: Convert) -> SSAValue | None:
    """convert(x) = x where x has the dtype already."""
    (x,) = op.operands
    return x if x.type is op.results[0].type else None


@simplifies(AddN, Concatenate)
def only_one(op: Op) -> SSAValue | None:
    """The sum, or the concatenation, of one tensor is that tensor."""
    return op.operands[0] if len(op.operands) == 1 else None


@simplifies(*family_ops("elementwise"), of_constants=True)
def elementwise_of_splats(op: Op) -> SSAValue | None:
    """An elementwise op of repeated elements is the repeated result: one element is computed, none is stored."""
    elements = []
    for operand in op.operands:
        element = splat(operand)
        if element is None:
            return None
        elements.append(element)
    spec = spec_of(op.results[0].type)
    if not spec.shape:
        return None
    with np.errstate(all="ignore"):
        (element,) = op.evaluate([np.asarray(e) for e in elements], op.values())
    return Builder.before_op(op)(BroadcastInDim, constant_before(op, element, spec.dtype), shape=spec.shape, dims=())


# ---- shapes


@simplifies(Reshape, Transpose, BroadcastInDim, Slice, Reverse)
def moved_splat(op: Op) -> SSAValue | None:
    """Moving equal elements about gives a broadcast of the element."""
    inner = _owner(op.operands[0], BroadcastInDim)
    if inner is None or spec_of(inner.operands[0].type).shape:
        return None
    shape = spec_of(op.results[0].type).shape
    return Builder.before_op(op)(BroadcastInDim, inner.operands[0], shape=shape, dims=())


@simplifies(Reshape, BroadcastInDim)
def same_shape(op: Op) -> SSAValue | None:
    """Reshaping or broadcasting to the shape that x has is x: axes keep their order in both."""
    (x,) = op.operands
    return x if x.type is op.results[0].type else None


@simplifies(Reshape)
def reshape_of_reshape(op: Reshape) -> SSAValue | None:
    """Only the last shape counts."""
    inner = _owner(op.operands[0], Reshape)
    return None if inner is None else Builder.before_op(op)(Reshape, inner.operands[0], shape=op.shape.data)


@simplifies(Transpose)
def transpose_in_order(op: Transpose) -> SSAValue | None:
    """A transpose that leaves every axis in its place is x."""
    permutation = op.permutation.data
    return op.operands[0] if permutation == tuple(range(len(permutation))) else None


@simplifies(Transpose)
def transpose_of_transpose(op: Transpose) -> SSAValue | None:
    """Two permutations are one."""
    inner = _owner(op.operands[0], Transpose)
    if inner is None:
        return None
    permutation = tuple(inner.permutation.data[axis] for axis in op.permutation.data)
    return Builder.before_op(op)(Transpose, inner.operands[0], permutation=permutation)


@simplifies(BroadcastInDim)
def broadcast_of_broadcast(op: BroadcastInDim) -> SSAValue | None:
    """Two broadcasts are one, to the larger shape."""
    inner = _owner(op.operands[0], BroadcastInDim)
    if inner is None:
        return None
    dims = tuple(op.dims.data[axis] for axis in inner.dims.data)
    return Builder.before_op(op)(BroadcastInDim, inner.operands[0], shape=op.shape.data, dims=dims)


@simplifies(Slice)
def whole_slice(op: Slice) -> SSAValue | None:
    """A slice of everything is x."""
    (x,) = op.operands
    shape = spec_of(x.type).shape
    whole = op.starts.data == (0,) * len(shape) and op.limits.data == shape and op.strides.data == (1,) * len(shape)
    return x if whole else None


@simplifies(Pad)
def pad_of_nothing(op: Pad) -> SSAValue | None:
    """Padding by nothing is x."""
    return None if any(n != 0 for n in (*op.low.data, *op.high.data, *op.interior.data)) else op.operands[0]


@simplifies(Reduction)
def reduction_of_no_axes(op: Reduction) -> SSAValue | None:
    """Reducing no axis is x."""
    return None if op.axes.data else op.operands[0]


@simplifies(Reverse)
def reverse_of_no_axes(op: Reverse) -> SSAValue | None:
    """Reversing along no axis is x."""
    return None if op.axes.data else op.operands[0]


@simplifies(DimSize)
def known_size(op: DimSize) -> SSAValue | None:
    """The size of a static axis is a constant."""
    dim = spec_of(op.operands[0].type).shape[op.axis.data]
    return constant_before(op, dim, spec_of(op.results[0].type).dtype) if is_static((dim,)) else None


# ---- checks


@simplifies(Assert, of_constants=True)
def holds(op: Assert) -> SSAValue | None:
    """An assertion of what is true waits for what it waits for, and does nothing."""
    if splat(op.condition) is None or not splat(op.condition):
        return None
    return Builder.before_op(op)(Group, *split_tokens(tuple(op.operands))[1])
