"""Gradients of ops that move elements: each moves the gradient back and sums what was repeated."""

from __future__ import annotations

from xdsl.ir import SSAValue

from dfc.ir.dims import Dim
from dfc.ir.dtypes import bool_
from dfc.ir.ops import shape as sh
from dfc.ir.ops.elementwise import Select
from dfc.ir.ops.reduction import ReduceSum
from dfc.ir.types import tensor_type
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule, spec


@rule(sh.Reshape)
def reshape(op: sh.Reshape, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(sh.Reshape, grads[0], shape=spec(op.operands[0]).shape)]


@rule(sh.Transpose)
def transpose(op: sh.Transpose, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    permutation = op.permutation.data
    back = tuple(sorted(range(len(permutation)), key=permutation.__getitem__))
    return [b(sh.Transpose, grads[0], permutation=back)]


@rule(sh.BroadcastInDim)
def broadcast_in_dim(op: sh.BroadcastInDim, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    source, target, dims = spec(op.operands[0]).shape, op.shape.data, op.dims.data
    kept = {d for size, d in zip(source, dims, strict=True) if size == target[d]}
    summed = tuple(axis for axis in range(len(target)) if axis not in kept)
    g = b(ReduceSum, grads[0], axes=summed) if summed else grads[0]
    return [g if spec(g).shape == source else b(sh.Reshape, g, shape=source)]


@rule(sh.Concatenate)
def concatenate(op: sh.Concatenate, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), axis = grads, op.axis.data
    shape = spec(g).shape

    def part(start: Dim, size: Dim) -> SSAValue:
        starts: list[Dim] = [0] * len(shape)
        limits = list(shape)
        starts[axis], limits[axis] = start, start + size
        return b(sh.Slice, g, starts=tuple(starts), limits=tuple(limits), strides=(1,) * len(shape))

    parts: list[Gradient] = []
    offset: Dim = 0
    for operand in op.operands:
        size = spec(operand).shape[axis]
        parts.append(lambda start=offset, size=size: part(start, size))  # type: ignore[misc]
        offset = offset + size
    return parts


@rule(sh.Slice)
def slice_(op: sh.Slice, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), (x,) = grads, op.operands
    starts, limits, strides = op.starts.data, op.limits.data, op.strides.data
    high: list[Dim] = []
    interior: list[int] = []
    for axis, (size, start, limit, stride) in enumerate(zip(spec(x).shape, starts, limits, strides, strict=True)):
        taken = spec(g).shape[axis]
        if stride == 1:
            covered = limit - start
        elif isinstance(taken, int):
            covered = (taken - 1) * stride + 1 if taken else 0
        else:
            g, covered = _blocks(g, axis, stride, b), taken * stride
        high.append(size - start - covered)
        interior.append(stride - 1 if isinstance(taken, int) else 0)
    return [b(sh.Pad, g, b.scalar(0, g), low=starts, high=tuple(high), interior=tuple(interior))]


def _blocks(g: SSAValue, axis: int, stride: int, b: RuleBuilder) -> SSAValue:
    """Each element of the axis, then `stride - 1` zeros. Interior padding puts none after the last element, so how many
    it gives is not one formula for an axis that may turn out to be empty."""
    shape = spec(g).shape
    before, size, after = shape[:axis], shape[axis], shape[axis + 1 :]
    none = (0,) * (len(shape) + 1)
    blocks = b(sh.Reshape, g, shape=(*before, size, 1, *after))
    high = (*none[: axis + 1], stride - 1, *none[axis + 2 :])
    blocks = b(sh.Pad, blocks, b.scalar(0, g), low=none, high=high, interior=none)
    return b(sh.Reshape, blocks, shape=(*before, size * stride, *after))


@rule(sh.Pad)
def pad(op: sh.Pad, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), (x, _) = grads, op.operands
    low, high, interior = op.low.data, op.high.data, op.interior.data

    def by_x() -> SSAValue:
        # Padding by the opposite also puts zeros where negative padding had removed elements.
        found: SSAValue = g
        if any(n != 0 for n in (*low, *high)):
            removed, none = (tuple(-n for n in low), tuple(-n for n in high)), (0,) * len(low)
            found = b(sh.Pad, g, b.scalar(0, g), low=removed[0], high=removed[1], interior=none)
        if any(interior):
            strides = tuple(n + 1 for n in interior)
            found = b(sh.Slice, found, starts=(0,) * len(low), limits=spec(found).shape, strides=strides)
        return found

    def by_value() -> SSAValue:
        flags = b.full_of(False, tensor_type(spec(x).shape, bool_))
        padding = b(sh.Pad, flags, b.scalar(True, flags), low=low, high=high, interior=interior)
        return b(ReduceSum, b(Select, padding, g, b.full(0, g)), axes=tuple(range(len(low))))

    return [by_x, by_value]


@rule(sh.Reverse)
def reverse(op: sh.Reverse, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(sh.Reverse, grads[0], axes=op.axes.data)]


non_differentiable(sh.Iota, "has no inputs")
non_differentiable(sh.DimSize, "gives a size, which no element changes")


@rule(sh.Tile)
def tile(op: sh.Tile, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The sum over the copies."""
    shape = spec(op.operands[0]).shape
    pairs = tuple(d for pair in zip(op.repetitions.data, shape, strict=True) for d in pair)
    return [b(ReduceSum, b(sh.Reshape, grads[0], shape=pairs), axes=tuple(range(0, len(pairs), 2)))]


@rule(sh.Roll)
def roll(op: sh.Roll, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(sh.Roll, grads[0], shifts=tuple(-n for n in op.shifts.data), axes=op.axes.data)]
