"""Gradients of scans. Each goes back along the axis by a linear recurrence, which divides by nothing and overflows
nowhere that the scan did not."""

from __future__ import annotations

from xdsl.ir import SSAValue

from dfc.ir.ops import cumulative as cu
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops.shape import Pad
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, rule, spec


def _shifted(value: SSAValue, axis: int, by: int, fill: float, b: RuleBuilder) -> SSAValue:
    """The value whose element i is element i - by, with `fill` where there is none; `by` is 1 or -1."""
    shape = spec(value).shape
    if shape[axis] == 0:
        return value
    none = [0] * len(shape)
    low, high = list(none), list(none)
    low[axis], high[axis] = by, -by
    return b(Pad, value, b.scalar(fill, value), low=tuple(low), high=tuple(high), interior=tuple(none))


def _back(op: cu.Cumulative, factor: SSAValue, g: SSAValue, b: RuleBuilder) -> SSAValue:
    """s[i] = g[i] + factor[i + 1] * s[i + 1]: what reaches element i from itself and from those after it."""
    following = _shifted(factor, op.axis.data, 1 if op.reverse.data else -1, 0, b)
    return b(cu.LinearRecurrence, following, g, axis=op.axis.data, reverse=not op.reverse.data)


def _before(op: cu.Cumulative | cu.LinearRecurrence, value: SSAValue, fill: float, b: RuleBuilder) -> SSAValue:
    """The value at the element before, in the scan's direction."""
    return _shifted(value, op.axis.data, -1 if op.reverse.data else 1, fill, b)


@rule(cu.CumSum)
def cumsum(op: cu.CumSum, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(cu.CumSum, grads[0], axis=op.axis.data, reverse=not op.reverse.data)]


@rule(cu.CumProd)
def cumprod(op: cu.CumProd, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The product of the elements before, times what the elements after make of g."""
    x = b.conj(op.operands[0])
    products = b(cu.CumProd, x, axis=op.axis.data, reverse=op.reverse.data)
    return [b(ew.Multiply, _before(op, products, 1, b), _back(op, x, grads[0], b))]


def _extreme(op: cu.Cumulative, grads: Grads, b: RuleBuilder, beats: str) -> list[Gradient]:
    """All that comes while an element is the extreme goes to it; of equals the first one is."""
    (g,), x, y = grads, op.operands[0], op.results[0]
    worst = float("-inf") if beats == "GT" else float("inf")
    leads = b(ew.Select, b.compare(beats, x, _before(op, y, worst, b)), b.full(1, x), b.full(0, x))
    first = _before(op, b.full(0, x), 1, b)  # 1 at the first element, which leads whatever it is
    leads = b(ew.Maximum, leads, first)
    stays = b(ew.Subtract, b.full(1, x), leads)
    return [b(ew.Multiply, leads, _back(op, stays, g, b))]


@rule(cu.CumMax)
def cummax(op: cu.CumMax, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return _extreme(op, grads, b, "GT")


@rule(cu.CumMin)
def cummin(op: cu.CumMin, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return _extreme(op, grads, b, "LT")


@rule(cu.CumLogSumExp)
def cumlogsumexp(op: cu.CumLogSumExp, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """exp(x[i] - y[j]) for all j after i, as a product of factors that are at most 1."""
    (g,), x, y = grads, op.operands[0], op.results[0]
    empty = b.compare("EQ", y, b.full(float("-inf"), y))  # nothing but exp(-inf) so far: no element has a share
    share = b(ew.Exponential, b(ew.Subtract, x, b(ew.Select, empty, x, y)))
    share = b(ew.Select, empty, b.full(0, x), share)
    before = _before(op, y, float("-inf"), b)
    falls = b(ew.Exponential, b(ew.Subtract, before, b(ew.Select, empty, b.full(0, y), y)))
    return [b(ew.Multiply, share, _back(op, falls, g, b))]


@rule(cu.LinearRecurrence)
def linear_recurrence(op: cu.LinearRecurrence, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), factor, y = grads, b.conj(op.operands[0]), op.results[0]
    axis, reverse = op.axis.data, op.reverse.data
    following = _shifted(factor, axis, 1 if reverse else -1, 0, b)
    by_term = b(cu.LinearRecurrence, following, g, axis=axis, reverse=not reverse)
    return [lambda: b(ew.Multiply, by_term, b.conj(_before(op, y, 0, b))), by_term]
