"""Gradients of reads and writes at indices that are data: a read's gradient is written there, a write's is read."""

from __future__ import annotations

from xdsl.ir import SSAValue

from dfc.ir.dtypes import float32
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import indexing as ix
from dfc.ir.ops.shape import BroadcastInDim, Concatenate, Iota, Reshape, Transpose
from dfc.ir.types import Spec, tensor_type
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule, spec


def added_at(g: SSAValue, indices: SSAValue, into: Spec, b: RuleBuilder) -> SSAValue:
    """Zeros of shape and dtype `into` with the rows of g added at the rows of indices; 16-bit floats add up in
    float32."""
    shape, dtype = into
    wide = float32 if dtype.is_floating and dtype.bits == 16 else dtype
    if wide is not dtype:
        g = b(ew.Convert, g, dtype=wide)
    total = b(ix.TensorScatterAdd, b.full_of(0, tensor_type(shape, wide)), indices, g)
    return total if wide is dtype else b(ew.Convert, total, dtype=dtype)


@rule(ix.Take)
def take(op: ix.Take, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """Dense: zeros, and the gradient of each index added at its place."""
    (g,), (x, indices), axis = grads, op.operands, op.axis.data
    shape, places = spec(x).shape, spec(indices).shape

    def by_x() -> SSAValue:
        rows = b(Reshape, indices, shape=(*places, 1))
        if axis == 0:
            return added_at(g, rows, spec(x), b)
        front = (*range(axis, axis + len(places)), *range(axis), *range(axis + len(places), len(spec(g).shape)))
        moved = b(Transpose, g, permutation=front)
        forth = (axis, *(a for a in range(len(shape)) if a != axis))
        into = Spec(tuple(shape[a] for a in forth), spec(x).dtype)
        back = tuple(sorted(range(len(forth)), key=forth.__getitem__))
        return b(Transpose, added_at(moved, rows, into, b), permutation=back)

    return [by_x, None]


@rule(ix.GatherNd)
def gather_nd(op: ix.GatherNd, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), (x, indices) = grads, op.operands
    return [lambda: added_at(g, indices, spec(x), b), None]


@rule(ix.TakeAlongAxis)
def take_along_axis(op: ix.TakeAlongAxis, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), (x, indices), axis = grads, op.operands, op.axis.data
    shape, dtype = spec(indices)

    def by_x() -> SSAValue:
        parts = []
        for a in range(len(shape)):
            index = indices if a == axis else b(Iota, shape=shape, dtype=dtype, axis=a)
            parts.append(b(Reshape, index, shape=(*shape, 1)))
        return added_at(g, b(Concatenate, *parts, axis=len(shape)), spec(x), b)

    return [by_x, None]


@rule(ix.TensorScatterUpdate)
def tensor_scatter_update(op: ix.TensorScatterUpdate, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """What was overwritten, in x or by a later row, gets zero."""
    (g,), (_, indices, updates) = grads, op.operands
    unique = op.unique.data

    def by_updates() -> SSAValue:
        found = b(ix.GatherNd, g, indices)
        if unique:
            return found
        wins = b(ix.LastOccurrence, indices)
        shape = spec(updates).shape
        if len(shape) > len(spec(wins).shape):
            wins = b(BroadcastInDim, wins, shape=shape, dims=tuple(range(len(spec(wins).shape))))
        return b(ew.Select, wins, found, b.full(0, updates))

    return [lambda: b(ix.TensorScatterUpdate, g, indices, b.full(0, updates), unique=unique), None, by_updates]


@rule(ix.TensorScatterAdd)
def tensor_scatter_add(op: ix.TensorScatterAdd, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), (_, indices, _) = grads, op.operands
    return [g, None, lambda: b(ix.GatherNd, g, indices)]


@rule(ix.TensorScatterMul)
def tensor_scatter_mul(op: ix.TensorScatterMul, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """x's gradient is g times the product of its updates, an update's is g times x and the other updates of its place,
    right at zeros. Second derivatives by two updates of one place of which one is zero are zero, not right."""
    (g,), (x, indices, updates) = grads, op.operands

    def by_x() -> SSAValue:
        product = b(ix.TensorScatterMul, b.full(1, x), indices, updates)
        return b(ew.Multiply, g, b.conj(product))

    def by_updates() -> SSAValue:
        one, zero = b.full(1, updates), b.full(0, updates)
        is_zero = b.compare("EQ", updates, zero)
        safe = b(ew.Select, is_zero, one, updates)
        zeros = b(ew.Select, is_zero, one, zero)
        product = b(ix.TensorScatterMul, b(ew.Multiply, g, b.conj(x)), indices, b.conj(safe))
        others = b(ew.Subtract, b(ix.GatherNd, added_at(zeros, indices, spec(x), b), indices), zeros)
        quotient = b(ew.Divide, b(ix.GatherNd, product, indices), b.conj(safe))
        return b(ew.Select, b.compare("EQ", others, zero), quotient, zero)

    return [by_x, None, by_updates]


@rule(ix.TensorScatterDiv)
def tensor_scatter_div(op: ix.TensorScatterDiv, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """x's gradient is divided as x is; an update's is -g times the quotient, divided by the update once more."""
    (g,), (_, indices, updates), y = grads, op.operands, op.results[0]
    divisor = b.conj(updates)

    def by_updates() -> SSAValue:
        found = b(ix.GatherNd, b(ew.Multiply, g, b.conj(y)), indices)
        return b(ew.Negate, b(ew.Divide, found, divisor))

    return [lambda: b(ix.TensorScatterDiv, g, indices, divisor), None, by_updates]


def _extreme(op: ix.TensorScatter, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """What equals the extreme, of x and of the updates of a place, shares its gradient equally."""
    (g,), (x, indices, updates), y = grads, op.operands, op.results[0]
    by_x = b.compare("EQ", x, y)
    by_updates = b.compare("EQ", updates, b(ix.GatherNd, y, indices))
    dtype = spec(x).dtype
    own, of_updates = (b(ew.Convert, holds, dtype=dtype) for holds in (by_x, by_updates))
    count = b(ix.TensorScatterAdd, own, indices, of_updates)
    share = b(ew.Divide, g, count)
    return [
        lambda: b(ew.Select, by_x, share, b.full(0, x)),
        None,
        lambda: b(ew.Select, by_updates, b(ix.GatherNd, share, indices), b.full(0, updates)),
    ]


rule(ix.TensorScatterMin)(_extreme)
rule(ix.TensorScatterMax)(_extreme)
non_differentiable(ix.LastOccurrence, "takes integers and gives booleans")


@rule(ix.DynamicSlice)
def dynamic_slice(op: ix.DynamicSlice, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    x, *starts = op.operands
    return [lambda: b(ix.DynamicUpdateSlice, b.full(0, x), grads[0], *starts), *([None] * len(starts))]


@rule(ix.DynamicUpdateSlice)
def dynamic_update_slice(op: ix.DynamicUpdateSlice, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), (_, update, *starts) = grads, op.operands
    return [
        lambda: b(ix.DynamicUpdateSlice, g, b.full(0, update), *starts),
        lambda: b(ix.DynamicSlice, g, *starts, sizes=spec(update).shape),
        *([None] * len(starts)),
    ]


non_differentiable(ix.Nonzero, "gives indices")
