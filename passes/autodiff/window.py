"""Gradients of reductions over windows."""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from dfc.ir.ops import window as win
from dfc.ir.ops.reduction import highest, lowest
from dfc.ir.ops.shape import Pad, Slice
from dfc.ir.windows import dilated
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, rule, spec


@rule(win.WindowSum)
def window_sum(op: win.WindowSum, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """Each element of x takes the sum of the gradients of the windows that it is in: g, spread by the strides, summed
    over the same window, which moves by x's dilation."""
    (g,), (x,) = grads, op.operands
    values, rank = op.values(), len(spec(x).shape)
    places = win.slides(spec(x).shape, values)
    if 0 in spec(x).shape or 0 in spec(g).shape:
        return [b.full(0, x)]
    low = tuple(s.span - 1 - s.low for s in places)
    high = tuple(
        dilated(s.extent, s.base_dilation) + s.span - 1 - dilated(s.positions, s.stride) - before
        for s, before in zip(places, low, strict=True)
    )
    spread = b(Pad, g, b.scalar(0, g), low=low, high=high, interior=tuple(s.stride - 1 for s in places))
    none, one = (0,) * rank, (1,) * rank
    moves = {"strides": values["base_dilation"], "low": none, "high": none, "base_dilation": one}
    window = {"window": values["window"], "window_dilation": values["window_dilation"]}
    return [b(win.WindowSum, spread, **window, **moves)]


def _extreme(name: str) -> Any:
    """The gradient goes to the element that wins: the first of equal ones, as in TensorFlow."""

    def extreme(op: win.Window, grads: Grads, b: RuleBuilder) -> list[Gradient]:
        (g,), (x,) = grads, op.operands
        values = op.values()
        dilation = values.pop("base_dilation")
        if all(d == 1 for d in dilation):
            return [b(win.WindowScatter, x, g, extreme=name, **values)]
        return [_through_holes(x, g, name, dilation, values, b)]

    return extreme


def _through_holes(
    x: SSAValue, g: SSAValue, name: str, dilation: tuple[int, ...], values: dict[str, Any], b: RuleBuilder
) -> SSAValue:
    """Holes between the elements become elements that never win against a finite one."""
    shape = spec(x).shape
    worst = (lowest if name == "max" else highest)(spec(x).dtype.numpy)
    none = (0,) * len(shape)
    wide = b(Pad, x, b.scalar(worst, x), low=none, high=none, interior=tuple(d - 1 for d in dilation))
    by_wide = b(win.WindowScatter, wide, g, extreme=name, **values)
    return b(Slice, by_wide, starts=none, limits=spec(wide).shape, strides=dilation)


rule(win.WindowMax)(_extreme("max"))
rule(win.WindowMin)(_extreme("min"))


@rule(win.WindowScatter)
def window_scatter(op: win.WindowScatter, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """Which element wins changes only where two are equal, so no gradient passes to x."""
    return [None, b(win.WindowGather, op.operands[0], grads[0], **op.values())]


@rule(win.WindowGather)
def window_gather(op: win.WindowGather, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [None, b(win.WindowScatter, op.operands[0], grads[0], **op.values())]
