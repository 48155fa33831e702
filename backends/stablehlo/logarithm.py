"""Emission of exponentials, logarithms and their sums. 16-bit floats compute in float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dfc.backends.stablehlo.emit import Emitter
from dfc.backends.stablehlo.rules import Value, rule
from dfc.backends.stablehlo.special import Formula, widened
from dfc.ir.op import Op
from dfc.ir.ops.logarithm import (
    Exp2,
    Exp10,
    Hypot,
    Log2,
    Log10,
    LogAddExp,
    Logit,
    LogLogistic,
    Softplus,
    Xlog1py,
    Xlogy,
)

Body = Callable[[Formula, list[Value]], Value]


def _by(body: Body) -> Callable[[Emitter, Any, list[Value]], list[Value]]:
    def emit(emitter: Emitter, op: Op, operands: list[Value]) -> list[Value]:
        return [widened(emitter, op, operands, body)]

    return emit


def _power(base: float) -> Body:
    return lambda f, xs: f("power", f.full(base), xs[0])


rule(Exp2)(_by(_power(2)))
rule(Exp10)(_by(_power(10)))


def _logarithm(base: float) -> Body:
    """log(x) / log(base), but the whole number next to it where that is the answer."""

    def body(f: Formula, xs: list[Value]) -> Value:
        found = f("divide", f("log", xs[0]), f.full(math.log(base)))
        whole = f("round_nearest_even", found)
        return f.where("EQ", f("power", f.full(base), whole), xs[0], whole, found)

    return body


rule(Log2)(_by(_logarithm(2)))
rule(Log10)(_by(_logarithm(10)))


def _sum(f: Formula, x: Value, y: Value) -> Value:
    """max(x, y) + log(1 + exp(-|x - y|)); equal infinities, whose difference is NaN, stay as they are."""
    apart = f.where("EQ", x, y, f.full(0), f("subtract", x, y))
    smaller = f("exponential", f("negate", f("abs", apart)))
    return f("add", f("maximum", x, y), f("log_plus_one", smaller))


rule(LogAddExp)(_by(lambda f, xs: _sum(f, xs[0], xs[1])))
rule(Softplus)(_by(lambda f, xs: _sum(f, xs[0], f.full(0))))
rule(LogLogistic)(_by(lambda f, xs: f("negate", _sum(f, f("negate", xs[0]), f.full(0)))))


def _logit(f: Formula, xs: list[Value]) -> Value:
    (x,), one = xs, f.full(1)
    rest = f("subtract", one, x)
    excess = f("subtract", f("add", x, x), one)  # exact near 1/2, which x - (1 - x) would not be
    around = f("log_plus_one", f("divide", excess, rest))
    outside = f("log", f("divide", x, rest))
    return f.where("LT", f("abs", f("subtract", x, f.full(0.5))), f.full(0.02), around, outside)


rule(Logit)(_by(_logit))


def _product(logarithm: str) -> Body:
    """x times a logarithm of y, and 0 where x is 0 and y a number."""

    def body(f: Formula, xs: list[Value]) -> Value:
        x, y = xs
        zero = f.full(0)
        nothing = f.where("EQ", y, y, zero, y)
        return f.where("EQ", x, zero, nothing, f("multiply", x, f(logarithm, y)))

    return body


rule(Xlogy)(_by(_product("log")))
rule(Xlog1py)(_by(_product("log_plus_one")))


def _hypot(f: Formula, xs: list[Value]) -> Value:
    x, y = (f("abs", v) for v in xs)
    long, short, infinity = f("maximum", x, y), f("minimum", x, y), f.full(math.inf)
    zero, one = f.full(0), f.full(1)
    ratio = f("divide", short, f.where("EQ", long, zero, one, long))
    length = f("multiply", long, f("sqrt", f("add", one, f("multiply", ratio, ratio))))
    length = f.where("EQ", x, infinity, infinity, length)
    return f.where("EQ", y, infinity, infinity, length)


rule(Hypot)(_by(_hypot))
