"""Gradients of reductions: the result's gradient goes back along the reduced axes."""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from dfc.ir.dims import is_static
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import reduction as red
from dfc.ir.ops.shape import BroadcastInDim, Concatenate, Pad, Reshape, Slice, Transpose
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule, spec


def _spread(value: SSAValue, op: red.Reduction, b: RuleBuilder) -> SSAValue:
    """A tensor of the result's shape, repeated along the reduced axes to the operand's shape."""
    shape, axes = spec(op.operands[0]).shape, op.axes.data
    kept = tuple(axis for axis in range(len(shape)) if axis not in axes)
    return b(BroadcastInDim, value, shape=shape, dims=kept) if axes else value


@rule(red.ReduceSum)
def reduce_sum(op: red.ReduceSum, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [_spread(grads[0], op, b)]


@rule(red.ReduceProd)
def reduce_prod(op: red.ReduceProd, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The product of the other elements, right with any number of zeros among them."""
    (x,), (g,) = op.operands, grads
    reduced = [spec(x).shape[axis] for axis in op.axes.data]
    if not op.axes.data:
        return [g]
    if is_static(reduced):
        return [_by_products(x, g, op, b)]
    return [_by_counting_zeros(x, g, op, b)]


def _by_products(x: SSAValue, g: SSAValue, op: red.ReduceProd, b: RuleBuilder) -> SSAValue:
    """Multiply in a tree of halves, then walk it back down: right at zeros in every order of derivative."""
    shape, axes = spec(x).shape, op.axes.data
    permutation = (*(axis for axis in range(len(shape)) if axis not in axes), *axes)
    rest = tuple(shape[axis] for axis in permutation[: len(shape) - len(axes)])
    count = math.prod(d for axis in axes if isinstance(d := shape[axis], int))
    if count == 0:
        return b.full(0, x)
    moved = b(Transpose, x, permutation=permutation)
    level = b(Reshape, moved, shape=(*rest, count))
    none = (0,) * len(rest)

    halves: list[tuple[SSAValue, SSAValue, int]] = []
    width = count
    while width > 1:
        if width % 2:
            level = b(Pad, level, b.scalar(1, x), low=(*none, 0), high=(*none, 1), interior=(*none, 0))
        half = (width + 1) // 2
        first = _columns(level, 0, half, b)
        second = _columns(level, half, 2 * half, b)
        halves.append((first, second, width))
        level, width = b(ew.Multiply, first, second), half

    grad = b(Reshape, g, shape=(*rest, 1))
    for first, second, before in reversed(halves):
        pair = (b(ew.Multiply, grad, b.conj(second)), b(ew.Multiply, grad, b.conj(first)))
        grad = b(Concatenate, *pair, axis=len(rest))
        if before % 2:
            grad = _columns(grad, 0, before, b)
    back = tuple(sorted(range(len(shape)), key=permutation.__getitem__))
    grad = b(Reshape, grad, shape=spec(moved).shape)
    return b(Transpose, grad, permutation=back)


def _columns(x: SSAValue, start: int, limit: int, b: RuleBuilder) -> SSAValue:
    """A range of the last axis."""
    shape = spec(x).shape
    starts, limits = (0,) * (len(shape) - 1), shape[:-1]
    return b(Slice, x, starts=(*starts, start), limits=(*limits, limit), strides=(1,) * len(shape))


def _by_counting_zeros(x: SSAValue, g: SSAValue, op: red.ReduceProd, b: RuleBuilder) -> SSAValue:
    """For sizes that aren't known yet. With one zero only its own derivative isn't zero. The formula itself can't be
    differentiated by an element that is zero: second derivatives there are zero, not right."""
    axes = op.axes.data
    one, zero = b.full(1, x), b.full(0, x)
    is_zero = b.compare("EQ", x, zero)
    safe = b(ew.Select, is_zero, one, x)
    product = b(ew.Multiply, g, b.conj(b(red.ReduceProd, safe, axes=axes)))
    zeros = b(red.ReduceSum, b(ew.Select, is_zero, one, zero), axes=axes)
    others = b(ew.Subtract, _spread(zeros, op, b), b(ew.Select, is_zero, one, zero))
    quotient = b(ew.Divide, _spread(product, op, b), b.conj(safe))
    return b(ew.Select, b.compare("EQ", others, zero), quotient, zero)


def _extreme(op: red.Reduction, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The elements that equal the extreme share its gradient equally."""
    (x,), (g,) = op.operands, grads
    holds = b.compare("EQ", x, _spread(op.results[0], op, b))
    count = b(red.ReduceSum, b(ew.Convert, holds, dtype=spec(x).dtype), axes=op.axes.data)
    return [b(ew.Select, holds, _spread(b(ew.Divide, g, count), op, b), b.full(0, x))]


rule(red.ReduceMax)(_extreme)
rule(red.ReduceMin)(_extreme)
non_differentiable(red.ReduceAnd, "takes and gives booleans")
non_differentiable(red.ReduceOr, "takes and gives booleans")
non_differentiable(red.ArgMax, "gives an index")
non_differentiable(red.ArgMin, "gives an index")
