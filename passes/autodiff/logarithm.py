"""Gradients of exponentials, logarithms and their sums."""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import logarithm as lo
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, rule


def _power(op: lo.Exp2 | lo.Exp10, grads: Grads, b: RuleBuilder, base: float) -> list[Gradient]:
    y = op.results[0]
    return [b(ew.Multiply, grads[0], b(ew.Multiply, y, b.full(math.log(base), y)))]


@rule(lo.Exp2)
def exp2(op: lo.Exp2, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return _power(op, grads, b, 2)


@rule(lo.Exp10)
def exp10(op: lo.Exp10, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return _power(op, grads, b, 10)


def _logarithm(op: lo.Log2 | lo.Log10, grads: Grads, b: RuleBuilder, base: float) -> list[Gradient]:
    x = op.operands[0]
    return [b(ew.Divide, grads[0], b(ew.Multiply, x, b.full(math.log(base), x)))]


@rule(lo.Log2)
def log2(op: lo.Log2, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return _logarithm(op, grads, b, 2)


@rule(lo.Log10)
def log10(op: lo.Log10, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return _logarithm(op, grads, b, 10)


@rule(lo.LogAddExp)
def log_add_exp(op: lo.LogAddExp, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """Each gets its share, exp(x - y) of the result y; equal infinities, whose difference is NaN, share alike."""
    (g,), (x, y) = grads, op.operands
    equal = b.compare("EQ", x, y)
    apart = b(ew.Select, equal, b.full(0, x), b(ew.Subtract, x, y))

    def share(difference: SSAValue) -> SSAValue:
        return b(ew.Multiply, g, b(ew.Logistic, difference))

    return [lambda: share(apart), lambda: share(b(ew.Negate, apart))]


@rule(lo.Softplus)
def softplus(op: lo.Softplus, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Multiply, grads[0], b(ew.Logistic, op.operands[0]))]


@rule(lo.LogLogistic)
def log_logistic(op: lo.LogLogistic, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Multiply, grads[0], b(ew.Logistic, b(ew.Negate, op.operands[0])))]


@rule(lo.Logit)
def logit(op: lo.Logit, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    x = op.operands[0]
    return [b(ew.Divide, grads[0], b(ew.Multiply, x, b(ew.Subtract, b.full(1, x), x)))]


@rule(lo.Xlogy)
def xlogy(op: lo.Xlogy, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """By x: log(y). By y: x / y, and 0 where x is 0."""
    (g,), (x, y) = grads, op.operands

    def by_y() -> SSAValue:
        none = b.compare("EQ", x, b.full(0, x))
        return b(ew.Multiply, g, b(ew.Divide, x, b(ew.Select, none, b.full(1, y), y)))

    return [lambda: b(ew.Multiply, g, b(ew.Log, y)), by_y]


@rule(lo.Xlog1py)
def xlog1py(op: lo.Xlog1py, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """By x: log(1 + y). By y: x / (1 + y), and 0 where x is 0."""
    (g,), (x, y) = grads, op.operands

    def by_y() -> SSAValue:
        none = b.compare("EQ", x, b.full(0, x))
        above = b(ew.Add, y, b.full(1, y))
        return b(ew.Multiply, g, b(ew.Divide, x, b(ew.Select, none, b.full(1, y), above)))

    return [lambda: b(ew.Multiply, g, b(ew.LogPlusOne, y)), by_y]


@rule(lo.Hypot)
def hypot(op: lo.Hypot, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """x / result, and 0 at the origin."""
    (g,), (x, y), result = grads, op.operands, op.results[0]
    origin = b.compare("EQ", result, b.full(0, result))
    length = b(ew.Select, origin, b.full(1, result), result)
    return [lambda: b(ew.Multiply, g, b(ew.Divide, x, length)), lambda: b(ew.Multiply, g, b(ew.Divide, y, length))]
