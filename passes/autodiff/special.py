"""Gradients of special functions."""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import special as sp
from dfc.passes.autodiff.rules import Gradient, Grads, Rule, RuleBuilder, rule


def _bell(x: SSAValue, scale: float, b: RuleBuilder) -> SSAValue:
    """scale * exp(-x^2), the slope of the error functions."""
    return b(ew.Multiply, b.full(scale, x), b(ew.Exponential, b(ew.Negate, b(ew.Multiply, x, x))))


@rule(sp.Erf)
def erf(op: sp.Erf, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Multiply, grads[0], _bell(op.operands[0], 2 / math.sqrt(math.pi), b))]


@rule(sp.Erfc)
def erfc(op: sp.Erfc, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Multiply, grads[0], _bell(op.operands[0], -2 / math.sqrt(math.pi), b))]


@rule(sp.ErfInv)
def erf_inv(op: sp.ErfInv, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    y = op.results[0]
    slope = b(ew.Multiply, b.full(math.sqrt(math.pi) / 2, y), b(ew.Exponential, b(ew.Multiply, y, y)))
    return [b(ew.Multiply, grads[0], slope)]


@rule(sp.Lgamma)
def lgamma(op: sp.Lgamma, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Multiply, grads[0], b(sp.Digamma, op.operands[0]))]


@rule(sp.Digamma)
def digamma(op: sp.Digamma, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    x = op.operands[0]
    return [b(ew.Multiply, grads[0], b(sp.Polygamma, b.full(1, x), x))]


@rule(sp.Polygamma)
def polygamma(op: sp.Polygamma, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """By x alone: the order is an integer."""
    n, x = op.operands
    return [None, lambda: b(ew.Multiply, grads[0], b(sp.Polygamma, b(ew.Add, n, b.full(1, n)), x))]


@rule(sp.Zeta)
def zeta(op: sp.Zeta, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """By q: -s zeta(s + 1, q). By s there is no closed form, and None is given, as the field's libraries do."""
    s, q = op.operands

    def by_q() -> SSAValue:
        next_term = b(sp.Zeta, b(ew.Add, s, b.full(1, s)), q)
        return b(ew.Negate, b(ew.Multiply, grads[0], b(ew.Multiply, s, next_term)))

    return [None, by_q]


@rule(sp.BesselI0e)
def bessel_i0e(op: sp.BesselI0e, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """i1e(x) - sign(x) i0e(x)."""
    (g,), x, y = grads, op.operands[0], op.results[0]
    return [b(ew.Multiply, g, b(ew.Subtract, b(sp.BesselI1e, x), b(ew.Multiply, b(ew.Sign, x), y)))]


@rule(sp.BesselI1e)
def bessel_i1e(op: sp.BesselI1e, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """i0e(x) - i1e(x) (sign(x) + 1 / x), which is 1/2 at 0."""
    (g,), x, y = grads, op.operands[0], op.results[0]
    at_zero = b.compare("EQ", x, b.full(0, x))
    inverse = b(ew.Divide, b.full(1, x), b(ew.Select, at_zero, b.full(1, x), x))
    slope = b(ew.Subtract, b(sp.BesselI0e, x), b(ew.Multiply, y, b(ew.Add, b(ew.Sign, x), inverse)))
    return [b(ew.Multiply, g, b(ew.Select, at_zero, b.full(0.5, x), slope))]


def _square(x: SSAValue, b: RuleBuilder) -> SSAValue:
    return b(ew.Multiply, x, x)


def _around_one(x: SSAValue, b: RuleBuilder) -> tuple[SSAValue, SSAValue]:
    """1 - x and 1 + x, exact near the ends where 1 - x^2 would cancel."""
    one = b.full(1, x)
    return b(ew.Subtract, one, x), b(ew.Add, one, x)


def _half_circle(x: SSAValue, b: RuleBuilder) -> SSAValue:
    """sqrt(1 - x) sqrt(1 + x); the product of roots is right on all of the complex plane but the cuts."""
    below, above = _around_one(x, b)
    return b(ew.Multiply, b(ew.Sqrt, below), b(ew.Sqrt, above))


@rule(sp.Asin)
def asin(op: sp.Asin, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Divide, grads[0], b.conj(_half_circle(op.operands[0], b)))]


@rule(sp.Acos)
def acos(op: sp.Acos, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Negate, b(ew.Divide, grads[0], b.conj(_half_circle(op.operands[0], b))))]


@rule(sp.Atan)
def atan(op: sp.Atan, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    x = op.operands[0]
    return [b(ew.Divide, grads[0], b.conj(b(ew.Add, b.full(1, x), _square(x, b))))]


@rule(sp.Sinh)
def sinh(op: sp.Sinh, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Multiply, grads[0], b(sp.Cosh, b.conj(op.operands[0])))]


@rule(sp.Cosh)
def cosh(op: sp.Cosh, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Multiply, grads[0], b(sp.Sinh, b.conj(op.operands[0])))]


@rule(sp.Asinh)
def asinh(op: sp.Asinh, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    x = op.operands[0]
    return [b(ew.Divide, grads[0], b.conj(b(ew.Sqrt, b(ew.Add, b.full(1, x), _square(x, b)))))]


@rule(sp.Acosh)
def acosh(op: sp.Acosh, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    x = op.operands[0]
    one = b.full(1, x)
    root = b(ew.Multiply, b(ew.Sqrt, b(ew.Subtract, x, one)), b(ew.Sqrt, b(ew.Add, x, one)))
    return [b(ew.Divide, grads[0], b.conj(root))]


@rule(sp.Atanh)
def atanh(op: sp.Atanh, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    below, above = _around_one(op.operands[0], b)
    return [b(ew.Divide, grads[0], b.conj(b(ew.Multiply, below, above)))]


@rule(sp.Cbrt)
def cbrt(op: sp.Cbrt, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    y = op.results[0]
    return [b(ew.Divide, grads[0], b(ew.Multiply, b.full(3, y), _square(y, b)))]


@rule(sp.Ndtri)
def ndtri(op: sp.Ndtri, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """sqrt(2 pi) exp(y^2 / 2)."""
    y = op.results[0]
    half = b(ew.Multiply, b.full(0.5, y), _square(y, b))
    return [b(ew.Multiply, grads[0], b(ew.Multiply, b.full(math.sqrt(2 * math.pi), y), b(ew.Exponential, half)))]


def _log_power(exponent: SSAValue, base: SSAValue, b: RuleBuilder) -> SSAValue:
    """log of base^(exponent - 1), 0 where the exponent is 1 even if the base is 0."""
    one = b.full(1, exponent)
    flat = b.compare("EQ", exponent, one)
    return b(ew.Multiply, b(ew.Subtract, exponent, one), b(ew.Log, b(ew.Select, flat, one, base)))


def _gamma_density(op: sp.Igamma | sp.Igammac, b: RuleBuilder) -> SSAValue:
    """x^(a - 1) exp(-x) / Gamma(a)."""
    a, x = op.operands
    exponent = b(ew.Subtract, b(ew.Subtract, _log_power(a, x, b), x), b(sp.Lgamma, a))
    return b(ew.Exponential, exponent)


@rule(sp.Igamma)
def igamma(op: sp.Igamma, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """By x alone: by a there is no closed form, and None is given, as PyTorch refuses it."""
    return [None, lambda: b(ew.Multiply, grads[0], _gamma_density(op, b))]


@rule(sp.Igammac)
def igammac(op: sp.Igammac, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """By x alone, as `igamma`."""
    return [None, lambda: b(ew.Negate, b(ew.Multiply, grads[0], _gamma_density(op, b)))]


@rule(sp.Betainc)
def betainc(op: sp.Betainc, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """By x alone, x^(a - 1) (1 - x)^(b - 1) / B(a, b): by a and b there is no closed form."""
    p, q, x = op.operands

    def by_x() -> SSAValue:
        powers = b(ew.Add, _log_power(p, x, b), _log_power(q, b(ew.Subtract, b.full(1, x), x), b))
        log_beta = b(ew.Subtract, b(ew.Add, b(sp.Lgamma, p), b(sp.Lgamma, q)), b(sp.Lgamma, b(ew.Add, p, q)))
        return b(ew.Multiply, grads[0], b(ew.Exponential, b(ew.Subtract, powers, log_beta)))

    return [None, None, by_x]


def _by_constant(scale: float) -> Rule:
    """The rule of a logarithm: g scale / x."""

    def logarithm(op: sp.Log2 | sp.Log10, grads: Grads, b: RuleBuilder) -> list[Gradient]:
        x = op.operands[0]
        return [b(ew.Divide, b(ew.Multiply, grads[0], b.full(scale, x)), b.conj(x))]

    return logarithm


@rule(sp.Exp2)
def exp2(op: sp.Exp2, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    y = op.results[0]
    return [b(ew.Multiply, grads[0], b(ew.Multiply, b.full(math.log(2), y), y))]


rule(sp.Log2)(_by_constant(1 / math.log(2)))
rule(sp.Log10)(_by_constant(1 / math.log(10)))


@rule(sp.Softplus)
def softplus(op: sp.Softplus, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Multiply, grads[0], b(ew.Logistic, op.operands[0]))]


@rule(sp.Hypot)
def hypot(op: sp.Hypot, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """x / hypot and y / hypot; 0 at (0, 0)."""
    (g,), (x, y), size = grads, op.operands, op.results[0]
    safe = b(ew.Select, b.compare("EQ", size, b.full(0, size)), b.full(1, size), size)
    return [lambda: b(ew.Multiply, g, b(ew.Divide, x, safe)), lambda: b(ew.Multiply, g, b(ew.Divide, y, safe))]


@rule(sp.LogAddExp)
def log_add_exp(op: sp.LogAddExp, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The logistic function of x - y and of y - x; equal infinities share equally."""
    (g,), (x, y) = grads, op.operands
    same = b(ew.And, b.compare("EQ", x, y), b(ew.Not, b(ew.IsFinite, x)))
    p, q = (b(ew.Select, same, b.full(0, v), v) for v in (x, y))
    return [
        lambda: b(ew.Multiply, g, b(ew.Logistic, b(ew.Subtract, p, q))),
        lambda: b(ew.Multiply, g, b(ew.Logistic, b(ew.Subtract, q, p))),
    ]


def _unless(x: SSAValue, y: SSAValue, edge: SSAValue, safe: float, b: RuleBuilder) -> SSAValue:
    """y, or `safe` where x is 0 and y is `edge`."""
    zero = b.compare("EQ", x, b.full(0, x))
    return b(ew.Select, b(ew.And, zero, b.compare("EQ", y, edge)), b.full(safe, y), y)


@rule(sp.Xlogy)
def xlogy(op: sp.Xlogy, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """log(y) by x, but 0 at x = 0, as TensorFlow has it, where log(y) may be infinite; x / y by y, 0 at (0, 0)."""
    (g,), (x, y) = grads, op.operands
    return [
        lambda: b(ew.Multiply, g, b.conj(b(ew.Log, _unless(x, y, y, 1, b)))),
        lambda: b(ew.Multiply, g, b.conj(b(ew.Divide, x, _unless(x, y, b.full(0, y), 1, b)))),
    ]


@rule(sp.Xlog1py)
def xlog1py(op: sp.Xlog1py, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """As `xlogy`."""
    (g,), (x, y) = grads, op.operands

    def by_y() -> SSAValue:
        safe = _unless(x, y, b.full(-1, y), 0, b)
        return b(ew.Multiply, g, b(ew.Divide, x, b(ew.Add, safe, b.full(1, y))))

    return [lambda: b(ew.Multiply, g, b(ew.LogPlusOne, _unless(x, y, y, 0, b))), by_y]


@rule(sp.Logit)
def logit(op: sp.Logit, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """1 / (x (1 - x))."""
    x = op.operands[0]
    return [b(ew.Divide, grads[0], b(ew.Multiply, x, b(ew.Subtract, b.full(1, x), x)))]
