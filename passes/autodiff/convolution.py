"""Gradients of convolutions: convolutions."""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from dfc.ir.dims import Dim
from dfc.ir.ops.convolution import Convolution, slides
from dfc.ir.ops.shape import Reshape, Reverse, Transpose
from dfc.ir.windows import Sliding, dilated
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, rule, spec

Axes = tuple[int, ...]


@rule(Convolution)
def convolution(op: Convolution, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """By lhs: g, its elements as far apart as the strides were, convolved with the reversed kernel, whose inputs and
    outputs change places. By rhs: lhs convolved with g as the kernel, batch and features changing places in both.

    Only the numbers of axes change places; elements move where there are groups alone.
    """
    (g,), (lhs, rhs) = grads, op.operands
    values = op.values()
    places = slides(spec(lhs).shape, spec(rhs).shape, values)
    if any(0 in spec(v).shape for v in (lhs, rhs, g)):
        return [lambda: b.full(0, lhs), lambda: b.full(0, rhs)]
    return [lambda: _by_lhs(g, rhs, values, places, b), lambda: _by_rhs(g, lhs, values, places, b)]


def _by_lhs(g: SSAValue, rhs: SSAValue, values: dict[str, Any], places: list[Sliding], b: RuleBuilder) -> SSAValue:
    kernel, axes, groups = b.conj(rhs), values["rhs_axes"], values["feature_groups"] * values["batch_groups"]
    if groups > 1:  # an output sees its group's inputs alone: the groups go over to the axis of inputs
        kernel = _move_groups(kernel, groups, axes[0], axes[1], b)
    if any(s.size != 1 for s in places):
        kernel = b(Reverse, kernel, axes=axes[2:])
    low, high = [], []
    for s in places:
        before = s.span - s.low - 1
        low.append(before)
        high.append(dilated(s.extent, s.base_dilation) + s.span - 1 - dilated(s.positions, s.stride) - before)
    found = b(
        Convolution,
        g,
        kernel,
        lhs_axes=values["result_axes"],
        rhs_axes=(axes[1], axes[0], *axes[2:]),
        result_axes=values["lhs_axes"],
        strides=values["lhs_dilation"],
        low=tuple(low),
        high=tuple(high),
        lhs_dilation=values["strides"],
        rhs_dilation=values["rhs_dilation"],
        feature_groups=groups,
        batch_groups=1,
    )
    if values["batch_groups"] > 1:
        return _move_groups(found, groups, values["lhs_axes"][1], values["lhs_axes"][0], b)
    return found


def _by_rhs(g: SSAValue, lhs: SSAValue, values: dict[str, Any], places: list[Sliding], b: RuleBuilder) -> SSAValue:
    def exchanged(axes: Axes) -> Axes:
        return (axes[1], axes[0], *axes[2:])

    high: list[Dim] = [
        dilated(s.positions, s.stride) - dilated(s.extent, s.base_dilation) + s.span - 1 - s.low for s in places
    ]
    return b(
        Convolution,
        b.conj(lhs),
        g,
        lhs_axes=exchanged(values["lhs_axes"]),
        rhs_axes=exchanged(values["result_axes"]),
        result_axes=exchanged(values["rhs_axes"]),
        strides=values["rhs_dilation"],
        low=values["low"],
        high=tuple(high),
        lhs_dilation=values["lhs_dilation"],
        rhs_dilation=values["strides"],
        feature_groups=values["batch_groups"],
        batch_groups=values["feature_groups"],
    )


def _move_groups(x: SSAValue, groups: int, source: int, target: int, b: RuleBuilder) -> SSAValue:
    """Cut axis `source` into `groups` runs and put them one after another along axis `target`."""
    shape = spec(x).shape
    cut = (*shape[:source], groups, shape[source] // groups, *shape[source + 1 :])
    place = target + (target > source)  # of `target` among the axes of `cut`
    order = [axis for axis in range(len(cut)) if axis != source]
    order.insert(order.index(place), source)
    moved = b(Transpose, b(Reshape, x, shape=cut), permutation=tuple(order))
    merged = list(shape)
    merged[source], merged[target] = shape[source] // groups, groups * shape[target]
    return b(Reshape, moved, shape=tuple(merged))
