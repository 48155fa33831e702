"""Gradients of reductions: the result's gradient goes back along the reduced axes."""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from dfc.ir.dims import is_static
from dfc.ir.dtypes import int32
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import reduction as red
from dfc.ir.ops.shape import BroadcastInDim, Concatenate, Iota, Pad, Reshape, Slice, Transpose
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule, spec


def _spread(value: SSAValue, op: red.Reduction, b: RuleBuilder) -> SSAValue:
    """A tensor of the result's shape, repeated along the reduced axes to the operand's shape."""
    return _along(value, op.operands[0], op.axes.data, b)


def _along(value: SSAValue, x: SSAValue, axes: tuple[int, ...], b: RuleBuilder) -> SSAValue:
    """What x without `axes` is, repeated along them to x's shape."""
    shape = spec(x).shape
    kept = tuple(axis for axis in range(len(shape)) if axis not in axes)
    return b(BroadcastInDim, value, shape=shape, dims=kept) if axes else value


@rule(red.ReduceSum)
def reduce_sum(op: red.ReduceSum, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [_spread(grads[0], op, b)]


@rule(red.ReduceProd)
def reduce_prod(op: red.ReduceProd, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The product of the other elements, right with any number of zeros among them and in every order of derivative.

    Axes whose sizes aren't known yet go one by one.
    """
    (x,), (g,), axes = op.operands, grads, op.axes.data
    if not axes:
        return [g]
    if is_static(spec(x).shape[axis] for axis in axes):
        return [_by_products(x, g, axes, b)]
    partial = [x]
    for axis in reversed(axes):
        partial.append(b(red.ReduceProd, partial[-1], axes=(axis,)))
    for axis, before in zip(axes, reversed(partial[:-1]), strict=True):
        static = isinstance(spec(before).shape[axis], int)
        g = _by_products(before, g, (axis,), b) if static else _by_leaving_out(before, g, axis, b)
    return [g]


def _by_products(x: SSAValue, g: SSAValue, axes: tuple[int, ...], b: RuleBuilder) -> SSAValue:
    """Multiply in a tree of halves, then walk it back down."""
    shape = spec(x).shape
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


def _by_leaving_out(x: SSAValue, g: SSAValue, axis: int, b: RuleBuilder) -> SSAValue:
    """For a size n that isn't known yet: n products, each with another element left out. A tree of halves needs to know
    how deep it is; this takes n * n multiplications, so programs should get their sizes before autodiff."""
    shape = spec(x).shape
    rank = len(shape)
    wide = (*shape, shape[axis])
    index, left_out = (b(Iota, shape=wide, dtype=int32, axis=at) for at in (axis, rank))
    factors = b(BroadcastInDim, x, shape=wide, dims=tuple(range(rank)))
    factors = b(ew.Select, b.compare("EQ", index, left_out), b.full(1, factors), factors)
    others = b(red.ReduceProd, factors, axes=(axis,))
    back = (*range(axis), rank - 1, *range(axis, rank - 1))
    return b(ew.Multiply, _along(g, x, (axis,), b), b.conj(b(Transpose, others, permutation=back)))


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


@rule(red.ReduceLogSumExp)
def reduce_logsumexp(op: red.ReduceLogSumExp, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """exp(x - result), the softmax; 0 for all where the result is -inf."""
    x, y = op.operands[0], op.results[0]
    if not op.axes.data:
        return [grads[0]]
    none = b.compare("EQ", y, b.full(-math.inf, y))
    shift = b(ew.Select, none, b.full(0, y), y)
    return [b(ew.Multiply, _spread(grads[0], op, b), b(ew.Exponential, b(ew.Subtract, x, _spread(shift, op, b))))]
