"""Special functions, against C's mathematical library, extended precision, series and integrals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from dfc.ir.ops import special as sp
from tests.families.complex import split
from tests.families.rows import Broken, GradientCase, P, Q, Rows, X, kinds, unequal
from tests.numerics.values import COMPLEX, FLOATS, Case, array, edges, unary

ROWS = Rows()
row = ROWS.row

INF, NAN = math.inf, math.nan
PI = np.longdouble("3.14159265358979323846264338327950288")
RNG = np.random.default_rng(11)
BROAD = [*RNG.normal(0, 4, 200), *(RNG.normal(0, 4, 200) * 10.0 ** RNG.uniform(-8, 2, 200)), 1e-300, -1e-300, 1e5, -1e5]


def uniform(low: float, high: float, size: int) -> list[float]:
    return [float(v) for v in np.random.default_rng(size).uniform(low, high, size)]


def tabulated(
    function: Callable[..., Any],
    *points: Sequence[float],
    units: float,
    xla_units: float = 0,
    scale: float = 0,
    dtypes: Sequence[str] = FLOATS,
) -> list[Case]:
    """Cases of a function of Python floats; values around zeros of the function are held to `scale`."""
    found = []
    for dtype in dtypes:
        operands = tuple(array(p, dtype) for p in points)
        shapes = [operands]
        if dtype == "float32":
            shapes += [tuple(x[1].reshape(()) for x in operands), tuple(x[:0].reshape(0, 3) for x in operands)]
        for xs in shapes:
            rows = zip(*(x.astype(np.float64).ravel().tolist() for x in xs), strict=True)
            with np.errstate(all="ignore"):
                values = np.array([function(*r) for r in rows], np.longdouble).reshape(xs[0].shape)
                expected = values.astype(np.float64).astype(xs[0].dtype)
            found.append(Case(xs, (expected,), units=units, xla_units=xla_units, scale=scale))
    return found


def on_floats(function: Callable[[float], Any], more: Sequence[float] = BROAD, **tolerances: Any) -> list[Case]:
    return tabulated(function, [*edges("float64").tolist(), *more], **tolerances)


def erf_inv(x: float) -> float:
    """Newton's steps from the normal quantile; with erfc near the ends, where erf has lost the digits."""
    if not abs(x) < 1 or x == 0:
        return x if x == 0 else math.copysign(INF, x) if abs(x) == 1 else NAN
    size = abs(x)
    y = NormalDist().inv_cdf((1 + size) / 2) / math.sqrt(2) if size < 1 - 1e-15 else 5.8
    y = size * math.sqrt(math.pi) / 2 if size < 1e-3 else y
    for _ in range(4):
        miss = (1 - size) - math.erfc(y) if size > 0.5 else math.erf(y) - size
        y -= miss / (2 / math.sqrt(math.pi) * math.exp(-y * y))
    return math.copysign(y, x)


def lgamma(x: float) -> float:
    pole = math.isinf(x) or (x <= 0 and x == math.floor(x))
    return INF if pole or x > 2e305 else math.lgamma(x)  # C's overflows from 2.6e305 on


def digamma(x: float) -> Any:
    """Reflection to the positive half, recurrence up to 20, then the asymptotic series."""
    if x == 0:
        return -math.copysign(INF, x)
    if math.isinf(x) or math.isnan(x) or (x < 0 and x == math.floor(x)):
        return INF if x == INF else NAN
    wide = np.longdouble(x)
    if x < 0:
        return digamma_above(1 - wide) - PI / np.tan(PI * (wide - round(x)))
    return digamma_above(wide)


def digamma_above(x: Any) -> Any:
    total = np.longdouble(0)
    while x < 20:
        total -= 1 / x
        x = x + 1
    inverse = 1 / (x * x)
    series = inverse * (1 / np.longdouble(12) - inverse * (1 / np.longdouble(120) - inverse * (
        1 / np.longdouble(252) - inverse * (1 / np.longdouble(240) - inverse / np.longdouble(132)))))  # fmt: skip
    return total + np.log(x) - 1 / (2 * x) - series


BERNOULLI = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6]


def zeta(s: float, q: float) -> Any:
    """Euler and Maclaurin's sum, for s > 1 and q > 0."""
    if math.isnan(s) or math.isnan(q) or s < 1:
        return NAN
    if s == 1:
        return INF
    ls, lq, n = np.longdouble(s), np.longdouble(q), 30
    total = np.sum((lq + np.arange(n, dtype=np.longdouble)) ** -ls)
    edge = lq + n
    total += edge ** (1 - ls) / (ls - 1) + edge**-ls / 2
    factor = ls * edge ** (-ls - 1)
    for k, bernoulli in enumerate(BERNOULLI, 1):
        total += np.longdouble(bernoulli) * factor / math.factorial(2 * k)
        factor = factor * (ls + 2 * k - 1) * (ls + 2 * k) / (edge * edge)
    return total


def polygamma(n: float, x: float) -> Any:
    if n < 0 or n != math.floor(n):
        return NAN
    return digamma(x) if n == 0 else (-1) ** (int(n) + 1) * math.factorial(int(n)) * zeta(n + 1, x)


def bessel_e(order: int, x: float) -> Any:
    """exp(-|x|) I_n(x): the power series near zero, the integral over a period, the asymptotic series far out."""
    if math.isnan(x) or math.isinf(x):
        return NAN if math.isnan(x) else math.copysign(0.0, x) if order else 0.0
    size, sign = np.longdouble(abs(x)), -1 if order and x < 0 else 1
    if size < 3:
        terms = [(size / 2) ** (2 * k + order) / math.factorial(k) / math.factorial(k + order) for k in range(30)]
        return sign * np.exp(-size) * sum(terms)
    if size < 2000:
        angles = (np.arange(1000, dtype=np.longdouble) + 0.5) * PI / 1000
        return sign * np.mean(np.exp(size * (np.cos(angles) - 1)) * np.cos(order * angles))
    total = term = np.longdouble(1)
    for k in range(1, 8):
        term = term * ((2 * k - 1) ** 2 - 4 * order**2) / (8 * k * size)
        total += term
    return sign * total / np.sqrt(2 * PI * size)


ROWS["erf"] = lambda: on_floats(math.erf, units=2, xla_units=4)
ROWS["erfc"] = lambda: [  # far out exp(-x^2) multiplies x's rounding by x^2
    *on_floats(math.erfc, [x for x in BROAD if not x > 3], units=12, xla_units=16),
    *tabulated(math.erfc, uniform(3, 26, 200), units=400, xla_units=800),
]
ROWS["erf_inv"] = lambda: on_floats(erf_inv, [*uniform(-1, 1, 400), 1e-9, -1e-20, 0.9999999],
                                    units=4, xla_units=16)  # fmt: skip
ROWS["lgamma"] = lambda: on_floats(lgamma, units=6, xla_units=16, scale=4)
ROWS["digamma"] = lambda: on_floats(digamma, units=40, xla_units=16, scale=4)
ORDERS = [0.0, 1.0, 2.0, 3.0, 5.0, 8.0, -1.0, 1.5]


@row("polygamma")
def polygamma_cases() -> list[Case]:
    xs = [x for x in [*uniform(0.3, 20, 60), 0.5, 1.0, 2.0] for _ in ORDERS]
    ns = [n for _ in range(63) for n in ORDERS]
    kept = tabulated(polygamma, ns, xs, units=8, xla_units=60, scale=1, dtypes=("float32", "float64"))
    small = [x for x in (0.5, 1.0, 2.0, 7.5) for _ in range(4)], [0.0, 1.0, 2.0, 3.0] * 4
    return [*kept, *tabulated(polygamma, small[1], small[0], units=2, scale=1, dtypes=("float16", "bfloat16"))]


@row("zeta")
def zeta_cases() -> list[Case]:
    s = [*uniform(1.1, 20, 400), 2.0, 3.0, 1.0, 0.5, NAN, 2.0, 50.0]
    q = [*uniform(0.4, 20, 400)[::-1], 1.0, 1.0, 1.0, 1.0, 1.0, NAN, 2.0]
    return [
        *tabulated(zeta, s, q, units=16, xla_units=60, dtypes=("float32", "float64")),
        *tabulated(zeta, [2.0, 3.0, 1.5, 4.0], [1.0, 2.5, 0.5, 10.0], units=2, dtypes=("float16", "bfloat16")),
    ]


ROWS["bessel_i0e"] = lambda: on_floats(lambda x: bessel_e(0, x), units=8, xla_units=8)
ROWS["bessel_i1e"] = lambda: on_floats(lambda x: bessel_e(1, x), units=8, xla_units=12)


def inverse(function: Callable[[Any], Any], *, low: float = -1, high: float = 1, xla_units: float = 4) -> list[Case]:
    """An inverse function where it is real, out of its range, and of complex numbers."""
    points = [*edges("float64").tolist(), *uniform(low, high, 400), low, high]
    return [*tabulated(lambda x: function(np.longdouble(x)), points, units=2, xla_units=xla_units), *plane(function)]


def plane(function: Callable[[Any], Any], xla_units: float = 40) -> list[Case]:
    """Complex numbers off the cuts."""
    found = []
    for dtype in COMPLEX:
        z = array(np.random.default_rng(5).normal(0, 2, 200) + 1j * np.random.default_rng(6).normal(0, 2, 200), dtype)
        for x in (z, z[3].reshape(()), z[:0].reshape(0, 2)):
            expected = np.asarray(function(x.astype(np.clongdouble))).astype(x.dtype)
            found.append(Case((x,), (expected,), units=8, xla_units=xla_units))
    return found


ROWS["asin"] = lambda: inverse(np.arcsin)
ROWS["acos"] = lambda: inverse(np.arccos)
ROWS["atan"] = lambda: inverse(np.arctan, low=-50, high=50)
ROWS["sinh"] = lambda: inverse(np.sinh, low=-80, high=80, xla_units=12)
ROWS["cosh"] = lambda: inverse(np.cosh, low=-80, high=80, xla_units=12)
ROWS["asinh"] = lambda: inverse(np.arcsinh, low=-50, high=50)
ROWS["acosh"] = lambda: inverse(np.arccosh, low=1, high=50)
ROWS["atanh"] = lambda: inverse(np.arctanh, xla_units=100)
ROWS["cbrt"] = lambda: unary(FLOATS, np.cbrt, units=2)


def ndtri(p: float) -> float:
    """Wichura's algorithm, as the standard library has it."""
    if p in (0.0, 1.0):
        return math.copysign(INF, p - 0.5)
    return NormalDist().inv_cdf(p) if 0 < p < 1 else NAN


def upper_gamma(a: float, x: float) -> float:
    """Q(a, x) for whole a and a + 1/2: a finite sum, from exp(-x) or from erfc(sqrt(x))."""
    if math.isnan(a) or math.isnan(x) or a < 0 or x < 0 or (math.isinf(a) and math.isinf(x)) or a == x == 0:
        return NAN
    if a == 0:
        return 0.0
    if x == 0 or math.isinf(x):
        return float(x == 0)
    start = a % 1
    total = math.erfc(math.sqrt(x)) if start else math.exp(-x)
    term = math.exp(-x) * (math.sqrt(x / math.pi) * 2 if start else x)
    for k in range(int(a - (start or 1))):
        total += term
        term *= x / (k + 2 - start)
    return total


def beta(a: float, b: float, x: float) -> float:
    """I(a, b, x) for whole a and b: the binomial distribution's tail."""
    if any(map(math.isnan, (a, b, x))) or a <= 0 or b <= 0 or not 0 <= x <= 1:
        return NAN
    n = int(a + b) - 1
    return math.fsum(math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(int(a), n + 1))


SHAPES = [1.0, 2.0, 3.0, 7.0, 20.0, 0.5, 1.5, 4.5, 12.5]
ZEROS, AT_ZERO = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.0], [0.0, -0.0, 0.01, INF, -1.0, NAN, 700.0]
GAMMA_POINTS = (
    [a for a in SHAPES for _ in range(40)] + [1.0, 2.5, 3.0, -1.0, 0.0, 2.0, NAN, 1.0, INF, *ZEROS],
    [x for _ in SHAPES for x in uniform(0.01, 30, 40)] + [0.0, INF, -1.0, 1.0, 1.0, NAN, 1.0, 1e-9, INF, *AT_ZERO],
)
BETA_POINTS = (
    [float(a) for a in (1, 2, 5, 12, 30) for _ in range(80)] + [1.0, 2.0, -1.0, 2.0, 0.0, NAN, 1.0],
    [float(b) for _ in range(5) for b in (1, 3, 8, 25) for _ in range(20)] + [1.0, 2.0, 1.0, 2.0, 1.0, 1.0, 1.0],
    [*uniform(0, 1, 400), 0.0, 1.0, 0.5, 1.5, 0.5, 0.5, NAN],
)
ROWS["ndtri"] = lambda: on_floats(ndtri, [*uniform(0, 1, 400), 1e-10, 1e-300, 0.02425, 0.999999], units=8, xla_units=16,
                                  scale=1)  # fmt: skip
ROWS["igamma"] = lambda: tabulated(lambda a, x: 1 - upper_gamma(a, x), *GAMMA_POINTS, units=8, xla_units=200, scale=1)
ROWS["igammac"] = lambda: tabulated(upper_gamma, *GAMMA_POINTS, units=8, xla_units=200, scale=1)
ROWS["betainc"] = lambda: tabulated(beta, *BETA_POINTS, units=8, xla_units=1000, scale=1)

# ---- broken constraints

BROKEN: list[Broken] = [
    *(kinds(f"{name}-C1", "int32[2]", "float", "int32") for name in (
        "erf", "erfc", "erf_inv", "lgamma", "digamma", "bessel_i0e", "bessel_i1e", "cbrt", "ndtri")),
    *(kinds(f"{name}-C1", "int32[2]", "float or complex", "int32") for name in (
        "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh")),
    *(unequal(f"{name}-C1") for name in ("igamma", "igammac")),
    *(kinds(f"{name}-C2", "int32[2] ; int32[2]", "float", "int32") for name in ("igamma", "igammac")),
    unequal("betainc-C1", "float32[2] ; float32[2] ; float32[3]"),
    kinds("betainc-C2", "int32[2] ; int32[2] ; int32[2]", "float", "int32"),
    unequal("polygamma-C1"),
    kinds("polygamma-C2", "int32[2] ; int32[2]", "float", "int32"),
    unequal("zeta-C1", "float32[2] ; float64[2]"),
    kinds("zeta-C2", "complex64[2] ; complex64[2]", "float", "complex64"),
]  # fmt: skip

# ---- gradients

INSIDE = np.tanh(X) * 0.9
WHOLE = np.full((2, 3), 2.0)
ANALYTIC = (sp.Asin, sp.Acos, sp.Atan, sp.Sinh, sp.Cosh, sp.Asinh, sp.Acosh, sp.Atanh)

GRADIENTS = [
    GradientCase(sp.Erf, [X]),
    GradientCase(sp.Erfc, [X]),
    GradientCase(sp.ErfInv, [INSIDE]),
    GradientCase(sp.Lgamma, [P]),
    GradientCase(sp.Digamma, [P]),
    GradientCase(sp.Polygamma, [P], build=lambda t, x: t(sp.Polygamma, t.constant(WHOLE), x)),
    GradientCase(sp.Zeta, [P], build=lambda t, x: t(sp.Zeta, t.constant(WHOLE + 0.5), x)),
    GradientCase(sp.BesselI0e, [X]),
    GradientCase(sp.BesselI1e, [X]),
    GradientCase(sp.Asin, [INSIDE]),
    GradientCase(sp.Acos, [INSIDE]),
    GradientCase(sp.Atan, [X]),
    GradientCase(sp.Sinh, [X]),
    GradientCase(sp.Cosh, [X]),
    GradientCase(sp.Asinh, [X]),
    GradientCase(sp.Acosh, [P + 1]),
    GradientCase(sp.Atanh, [INSIDE]),
    GradientCase(sp.Cbrt, [P]),
    *(GradientCase(op, [P, Q], build=split(op)) for op in ANALYTIC),
    GradientCase(sp.Ndtri, [(INSIDE + 1) / 2]),
    GradientCase(sp.Igamma, [P], build=lambda t, x: t(sp.Igamma, t.constant(WHOLE + 0.3), x)),
    GradientCase(sp.Igammac, [P], build=lambda t, x: t(sp.Igammac, t.constant(WHOLE + 0.3), x)),
    GradientCase(
        sp.Betainc, [(INSIDE + 1) / 2], build=lambda t, x: t(sp.Betainc, t.constant(WHOLE), t.constant(WHOLE + 1.3), x)
    ),
]
