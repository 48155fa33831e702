"""Emission of special functions: by chlo's polynomials, which `emit` turns into StableHLO, or by hand where those are
missing or less accurate. 16-bit floats compute in float32,
and the incomplete gamma and beta functions, whose parts cancel, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from dfc.backends.stablehlo.elementwise import comparison
from dfc.backends.stablehlo.emit import Emitter
from dfc.backends.stablehlo.rules import RULES, Value, rule
from dfc.ir.dims import Shape
from dfc.ir.dtypes import DType, bool_, float32, float64
from dfc.ir.op import Op, short_name
from dfc.ir.ops.special import (
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    BesselI0e,
    BesselI1e,
    Betainc,
    Cbrt,
    Cosh,
    Digamma,
    Erf,
    Erfc,
    ErfInv,
    Igamma,
    Igammac,
    Lgamma,
    Ndtri,
    Polygamma,
    Sinh,
    Zeta,
)
from dfc.ir.types import spec_of

HUGE = 1e30
EPSILONS = {float32: 6e-8, float64: 1.2e-16}


class Formula:
    """Makes elementwise StableHLO ops on tensors of one shape and dtype."""

    def __init__(self, emitter: Emitter, shape: Shape, dtype: DType) -> None:
        self.emitter, self.shape, self.dtype = emitter, shape, dtype
        self.type, self.flags = emitter.tensor(shape, dtype), emitter.tensor(shape, bool_)

    def __call__(self, name: str, *operands: Value) -> Value:
        return self.emitter.create(f"stablehlo.{name}", self.type, operands)

    def full(self, value: float) -> Value:
        return self.emitter.filled(value, self.shape, self.dtype)

    def where(self, direction: str, x: Value, y: Value, on_true: Value, on_false: Value) -> Value:
        pred = comparison(self.emitter, direction, self.dtype, x, y, self.flags)
        return self("select", pred, on_true, on_false)

    def chebyshev(self, t: Value, coefficients: Sequence[float]) -> Value:
        """The sum of c_k T_k(t), the first coefficient halved, by Clenshaw's recurrence."""
        twice = self("add", t, t)
        last, before = self.full(0), self.full(0)
        for c in reversed(coefficients[1:]):
            last, before = self("add", self("subtract", self("multiply", twice, last), before), self.full(c)), last
        return self("add", self("subtract", self("multiply", t, last), before), self.full(coefficients[0] / 2))

    def polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        """The polynomial with these coefficients, the constant first."""
        total = self.full(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            total = self("add", self("multiply", total, x), self.full(c))
        return total

    def apart(self, x: Value) -> Value:
        """x, or a tiny number where it is zero, so that continued fractions can go on."""
        return self.where("EQ", x, self.full(0), self.full(1 / HUGE), x)


def widened(
    emitter: Emitter,
    op: Op,
    operands: list[Value],
    body: Callable[[Formula, list[Value]], Value],
    least: DType = float32,
) -> Value:
    """`body` of the operands; floats narrower than `least` go there, and the result becomes what they were."""
    shape, dtype = spec_of(op.results[0].type)
    wide = least if dtype.kind == "float" and dtype.bits < least.bits else dtype
    formula = Formula(emitter, shape, wide)
    if wide is dtype:
        return body(formula, operands)
    result = body(formula, [formula("convert", x) for x in operands])
    return emitter.create("stablehlo.convert", emitter.type(op.results[0].type), [result])


def _by_chlo(*classes: type[Op]) -> None:
    """Register ops that are one chlo op of the same name."""
    for cls in classes:
        RULES[cls] = _chlo_rule(f"chlo.{short_name(cls)}")


def _chlo_rule(name: str) -> Callable[[Emitter, Any, list[Value]], list[Value]]:
    def emit(emitter: Emitter, op: Op, operands: list[Value]) -> list[Value]:
        emitter.uses_chlo = True
        return [widened(emitter, op, operands, lambda f, xs: emitter.create(name, f.type, xs))]

    return emit


_by_chlo(Erf, Erfc)


@rule(ErfInv)
def erf_inv(emitter: Emitter, op: ErfInv, operands: list[Value]) -> list[Value]:
    """chlo's; in float64, where near 1 it keeps half of the digits only, with one step of Newton's method after it."""
    emitter.uses_chlo = True

    def body(f: Formula, xs: list[Value]) -> Value:
        def chlo(name: str, x: Value) -> Value:
            return emitter.create(f"chlo.{name}", f.type, [x])

        (x,) = xs
        if f.dtype is not float64:
            return chlo("erf_inv", x)
        size, half = f("abs", x), f.full(0.5)
        y = chlo("erf_inv", size)
        upper = f("subtract", f("subtract", f.full(1), size), chlo("erfc", y))
        miss = f.where("GT", size, half, upper, f("subtract", chlo("erf", y), size))
        slope = f("multiply", f.full(2 / math.sqrt(math.pi)), f("exponential", f("negate", f("multiply", y, y))))
        refined = f.where("LT", size, f.full(1), f("subtract", y, f("divide", miss, slope)), y)
        return f.where("EQ", x, f.full(0), x, f("multiply", f("sign", x), refined))

    return [widened(emitter, op, operands, body)]


_by_chlo(Lgamma)


@rule(Digamma)
def digamma(emitter: Emitter, op: Digamma, operands: list[Value]) -> list[Value]:
    """chlo's, but around the pole at zero, where that reflects and cancels, psi(x + 1) - 1 / x."""
    emitter.uses_chlo = True

    def body(f: Formula, xs: list[Value]) -> Value:
        (x,) = xs
        size, half, one = f("abs", x), f.full(0.5), f.full(1)
        found = emitter.create("chlo.digamma", f.type, [f.where("LT", size, half, f("add", x, one), x)])
        return f.where("LT", size, half, f("subtract", found, f("divide", one, x)), found)

    return [widened(emitter, op, operands, body)]


_by_chlo(Polygamma, Zeta)

# Chebyshev series of exp(-x) I0(x) in x / 4 - 1 for x in [0, 8], and of sqrt(x) exp(-x) I0(x) in 16 / x - 1 above.
I0E_NEAR = (
    0.6767952744094761, -0.3046826723431984, 0.17162090152220877, -0.09490109704804764, 0.04930528423967071,
    -0.02373741480589947, 0.010546460394594998, -0.004324309995050576, 0.0016394756169413357, -0.0005763755745385826,
    0.0001885028850958419, -5.754195010082087e-05, 1.6448448070728862e-05, -4.416738358458667e-06,
    1.117387539120046e-06, -2.670793853940311e-07, 6.046995022549829e-08, -1.3000250100088825e-08,
    2.659823724907829e-09, -5.189795604321298e-10, 9.67580902462428e-11, -1.7268263425088137e-11,
    2.9550523872015314e-12, -4.856442878533071e-13, 7.676192791697015e-14, -1.1685407536468011e-14,
    1.7153132454166153e-15, -2.4255710769391677e-16, 3.348829460264602e-17, -4.3834896168129216e-18,
)  # fmt: skip
I0E_FAR = (
    0.8044904110141088, 0.003369116478255694, 6.889758346916829e-05, 2.8913705208347236e-06, 2.0489185894692888e-07,
    2.2666689904943303e-08, 3.3962320257340593e-09, 4.940602388737569e-10, 1.188914711038741e-11,
    -3.149916521464225e-11, -1.3215811892277219e-11, -1.7941785210306982e-12, 7.180124262485361e-13,
    3.8527785223784437e-13, 1.5400832879832967e-14, -4.1505691841369624e-14, -9.554816248098785e-15,
    3.811546618690681e-15, 1.7726525526635706e-15, -3.4261296870310293e-16, -2.827137632885942e-16,
    3.4462382491988464e-17, 4.464901247390549e-17, -4.919567357652976e-18, -7.087971702623985e-18,
)  # fmt: skip


@rule(BesselI0e)
def bessel_i0e(emitter: Emitter, op: BesselI0e, operands: list[Value]) -> list[Value]:
    def body(f: Formula, xs: list[Value]) -> Value:
        size = f("abs", xs[0])
        one, edge = f.full(1), f.full(8)
        near = f.chebyshev(f("subtract", f("multiply", f("minimum", size, edge), f.full(0.25)), one), I0E_NEAR)
        above = f("maximum", size, edge)
        far = f.chebyshev(f("subtract", f("divide", f.full(16), above), one), I0E_FAR)
        return f.where("LE", size, edge, near, f("divide", far, f("sqrt", above)))

    return [widened(emitter, op, operands, body)]


_by_chlo(BesselI1e, Asin, Acos, Atan)


def _halves(f: Formula, x: Value) -> tuple[Value, Value]:
    """|x| and half of exp(|x|) as a product of roots, which is accurate until it overflows."""
    size = f("abs", x)
    root = f("exponential", f("multiply", size, f.full(0.5)))
    return size, f("multiply", f("multiply", f.full(0.5), root), root)


def _or_chlo(name: str, body: Callable[[Formula, list[Value]], Value]) -> Callable[[Formula, list[Value]], Value]:
    """`body` on real numbers, chlo's op on complex ones."""

    def either(f: Formula, xs: list[Value]) -> Value:
        if f.dtype.kind != "complex":
            return body(f, xs)
        f.emitter.uses_chlo = True
        return f.emitter.create(f"chlo.{name}", f.type, xs)

    return either


@rule(Sinh)
def sinh(emitter: Emitter, op: Sinh, operands: list[Value]) -> list[Value]:
    def body(f: Formula, xs: list[Value]) -> Value:
        (x,) = xs
        size, grown = _halves(f, x)
        t, one = f("exponential_minus_one", f("minimum", size, f.full(20))), f.full(1)
        near = f("multiply", f.full(0.5), f("add", t, f("divide", t, f("add", t, one))))
        return f("multiply", f("sign", x), f.where("LT", size, f.full(20), near, grown))

    return [widened(emitter, op, operands, _or_chlo("sinh", body))]


@rule(Cosh)
def cosh(emitter: Emitter, op: Cosh, operands: list[Value]) -> list[Value]:
    def body(f: Formula, xs: list[Value]) -> Value:
        _, grown = _halves(f, xs[0])
        return f("add", grown, f("divide", f.full(0.25), grown))

    return [widened(emitter, op, operands, _or_chlo("cosh", body))]


_by_chlo(Asinh, Acosh, Atanh)


@rule(Cbrt)
def cbrt(emitter: Emitter, op: Cbrt, operands: list[Value]) -> list[Value]:
    return [widened(emitter, op, operands, lambda f, xs: f("cbrt", *xs))]


def _far_quantile(f: Formula, q: Value, y: Value) -> Value:
    """The upper quantile of tiny q by iterating q = exp(-y^2 / 2) / (y sqrt(2 pi)) (1 - 1/y^2 + 3/y^4 ...)."""
    constant = f("add", f("log", q), f.full(math.log(2 * math.pi) / 2))
    for _ in range(6):
        series = f.polynomial(f("divide", f.full(1), f("multiply", y, y)), (1, -1, 3, -15, 105))
        exponent = f("add", constant, f("subtract", f("log", y), f("log", series)))
        y = f("sqrt", f("multiply", f.full(-2), exponent))
    return y


@rule(Ndtri)
def ndtri(emitter: Emitter, op: Ndtri, operands: list[Value]) -> list[Value]:
    """A rational approximation of the upper quantile (Abramowitz and Stegun 26.2.23), then Halley's steps."""
    emitter.uses_chlo = True

    def body(f: Formula, xs: list[Value]) -> Value:
        (p,) = xs
        half, one, zero = f.full(0.5), f.full(1), f.full(0)
        q = f("minimum", p, f("subtract", one, p))
        t = f("sqrt", f("multiply", f.full(-2), f("log", q)))
        top = f.polynomial(t, (2.515517, 0.802853, 0.010328))
        y = start = f("subtract", t, f("divide", top, f.polynomial(t, (1, 1.432788, 0.189269, 0.001308))))
        for _ in range(3):
            tail = f("multiply", half, emitter.create("chlo.erfc", f.type, [f("multiply", y, f.full(math.sqrt(0.5)))]))
            bell = f("exponential", f("multiply", f("multiply", y, y), f.full(-0.5)))
            ratio = f("divide", f("multiply", f("subtract", tail, q), f.full(math.sqrt(2 * math.pi))), bell)
            curved = f("subtract", one, f("multiply", f("multiply", half, ratio), y))
            y = f("add", y, f("divide", ratio, curved))
        if f.dtype is float64:  # erfc of such quantiles is subnormal
            y = f.where("LT", q, f.full(1e-290), _far_quantile(f, q, start), y)
        y = f.where("EQ", q, zero, f.full(math.inf), y)
        return f.where("LT", p, half, f("negate", y), y)

    return [widened(emitter, op, operands, body)]


def _unfinished(f: Formula, factor: Value, n: Value) -> Value:
    """Where the last factor of a continued fraction, or 1 plus the last term, is not yet 1; at most 2000 steps."""
    miss = f("abs", f("subtract", factor, f.full(1)))
    far = comparison(f.emitter, "GT", f.dtype, miss, f.full(EPSILONS[f.dtype]), f.flags)
    more = comparison(f.emitter, "LT", f.dtype, n, f.full(2000), f.flags)
    return f.emitter.create("stablehlo.and", f.flags, [far, more])


def _repeat(f: Formula, initial: list[Value], step: Callable[[list[Value]], list[Value]]) -> list[Value]:
    """`step` until no element is unfinished; the first value is the step's number, the second the last factor."""
    flag = f.emitter.tensor((), bool_)

    def condition(values: Sequence[Value]) -> Sequence[Value]:
        def either(pair: Sequence[Value]) -> Sequence[Value]:
            return [f.emitter.create("stablehlo.or", flag, pair)]

        left, axes = _unfinished(f, values[1], values[0]), range(len(f.shape))
        return f.emitter.reduce([left], [f.emitter.scalar(False, bool_)], axes, [flag], either)

    def counted(values: Sequence[Value]) -> Sequence[Value]:
        return [f("add", values[0], f.full(1)), *step(list(values))]

    return f.emitter.loop(initial, condition, counted)


def _gamma_halves(f: Formula, a: Value, x: Value) -> tuple[Value, Value]:
    """P(a, x) by its power series, right for x <= a + 1, and Q(a, x) by its continued fraction, right above."""
    one, zero = f.full(1), f.full(0)
    log_gamma = f.emitter.create("chlo.lgamma", f.type, [a])
    exponent = f("subtract", f("subtract", f("multiply", a, f("log", x)), x), log_gamma)
    scale, edge = f("exponential", exponent), f("add", a, one)
    low, high = f("minimum", x, edge), f("maximum", x, edge)

    def term(values: list[Value]) -> list[Value]:
        n, _, last, total = values
        next_term = f("divide", f("multiply", last, low), f("add", a, n))
        total = f("add", total, next_term)
        return [f("add", one, f("divide", next_term, total)), next_term, total]

    lower = _repeat(f, [one, zero, one, one], term)[3]

    def fraction(values: list[Value]) -> list[Value]:
        n, _, c, d, h = values
        b = f("add", f("subtract", f("add", high, one), a), f("add", n, n))
        numerator = f("multiply", n, f("subtract", a, n))
        d = f("divide", one, f.apart(f("add", f("multiply", numerator, d), b)))
        c = f.apart(f("add", b, f("divide", numerator, c)))
        factor = f("multiply", c, d)
        return [factor, c, d, f("multiply", h, factor)]

    first = f("divide", one, f("subtract", f("add", high, one), a))
    upper = _repeat(f, [one, zero, f.full(HUGE), first, first], fraction)[4]
    return f("multiply", scale, f("divide", lower, a)), f("multiply", scale, upper)


def _incomplete_gamma(upper: bool) -> Callable[[Formula, list[Value]], Value]:
    def body(f: Formula, xs: list[Value]) -> Value:
        (a, x), (one, zero, infinity) = xs, (f.full(1), f.full(0), f.full(math.inf))
        series, fraction = _gamma_halves(f, a, x)
        at_zero, at_infinity = (one, zero) if upper else (zero, one)
        if upper:
            series = f("subtract", one, series)
        else:
            fraction = f("subtract", one, fraction)
        found = f.where("LE", x, f("add", a, one), series, fraction)
        found = f.where("EQ", a, infinity, f.where("EQ", x, x, at_zero, x), found)
        infinite = f.where("EQ", a, infinity, f.full(math.nan), at_infinity)
        found = f.where("EQ", x, zero, at_zero, f.where("EQ", x, infinity, infinite, found))
        limit = f.where("EQ", a, zero, f.where("GT", x, zero, at_infinity, f.full(math.nan)), f.full(math.nan))
        defined = f.where("GT", a, zero, found, limit)
        return f.where("GE", x, zero, defined, f.full(math.nan))

    return body


@rule(Igamma)
def igamma(emitter: Emitter, op: Igamma, operands: list[Value]) -> list[Value]:
    emitter.uses_chlo = True
    return [widened(emitter, op, operands, _incomplete_gamma(False), float64)]


@rule(Igammac)
def igammac(emitter: Emitter, op: Igammac, operands: list[Value]) -> list[Value]:
    emitter.uses_chlo = True
    return [widened(emitter, op, operands, _incomplete_gamma(True), float64)]


def _beta_fraction(f: Formula, a: Value, b: Value, x: Value) -> Value:
    """The continued fraction of the incomplete beta function, two of its steps at a time."""
    one, both = f.full(1), f("add", a, b)

    def half(numerator: Value, c: Value, d: Value) -> tuple[Value, Value]:
        d = f("divide", one, f.apart(f("add", one, f("multiply", numerator, d))))
        return f.apart(f("add", one, f("divide", numerator, c))), d

    def step(values: list[Value]) -> list[Value]:
        n, _, c, d, h = values
        at = f("add", a, f("add", n, n))
        even = f("multiply", f("multiply", n, f("subtract", b, n)), x)
        c, d = half(f("divide", even, f("multiply", f("subtract", at, one), at)), c, d)
        h = f("multiply", h, f("multiply", c, d))
        odd = f("multiply", f("multiply", f("add", a, n), f("add", both, n)), x)
        c, d = half(f("negate", f("divide", odd, f("multiply", at, f("add", at, one)))), c, d)
        factor = f("multiply", c, d)
        return [factor, c, d, f("multiply", h, factor)]

    ratio = f("divide", f("multiply", both, x), f("add", a, one))
    first = f("divide", one, f.apart(f("subtract", one, ratio)))
    return _repeat(f, [one, f.full(0), one, first, first], step)[4]


@rule(Betainc)
def betainc(emitter: Emitter, op: Betainc, operands: list[Value]) -> list[Value]:
    """By the continued fraction where that converges fast, else by that of 1 - I(b, a, 1 - x)."""
    emitter.uses_chlo = True

    def body(f: Formula, xs: list[Value]) -> Value:
        (a, b, x), one, zero, nan = xs, f.full(1), f.full(0), f.full(math.nan)
        lgamma = [emitter.create("chlo.lgamma", f.type, [v]) for v in (a, b, f("add", a, b))]
        log_beta = f("subtract", f("add", lgamma[0], lgamma[1]), lgamma[2])
        powers = f("add", f("multiply", a, f("log", x)), f("multiply", b, f("log_plus_one", f("negate", x))))
        scale = f("exponential", f("subtract", powers, log_beta))
        limit = f("divide", f("add", a, one), f("add", f("add", a, b), f.full(2)))
        p, q = f.where("LT", x, limit, a, b), f.where("LT", x, limit, b, a)
        near = f.where("LT", x, limit, x, f("subtract", one, x))
        part = f("divide", f("multiply", scale, _beta_fraction(f, p, q, near)), p)
        found = f.where("LT", x, limit, part, f("subtract", one, part))
        found = f.where("EQ", x, zero, zero, f.where("EQ", x, one, one, found))
        found = f.where("LE", x, one, f.where("GE", x, zero, found, nan), nan)
        for v in (a, b):
            found = f.where("GT", v, zero, f.where("LT", v, f.full(math.inf), found, nan), nan)
        return found

    return [widened(emitter, op, operands, body, float64)]
