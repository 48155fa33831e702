"""Exponentials and logarithms to other bases, and sums of exponentials."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dfc.ir.ops import logarithm as lo
from tests.families.rows import Broken, GradientCase, P, Q, Rows, X, Y, kinds, unequal
from tests.families.special import INF, NAN, on_floats, tabulated, uniform
from tests.numerics.values import Case, edges

ROWS = Rows()
Wide = np.longdouble
PAIRS = tuple(zip(*itertools.product(edges("float64").tolist(), repeat=2), strict=True))
RNG = np.random.default_rng(21)
MORE = RNG.normal(0, 5, (2, 200))
COUPLES = tuple((*pair, *more) for pair, more in zip(PAIRS, MORE.tolist(), strict=True))


def wide(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of longdoubles."""
    return lambda *xs: function(*(Wide(x) for x in xs))


def log_add(x: Any, y: Any) -> Any:
    if x != x or y != y:
        return NAN
    high, low = max(x, y), min(x, y)
    return high if math.isinf(high) else high + np.log1p(np.exp(low - high))


def logit(x: Any) -> Any:
    if x in (0, 1):
        return -INF if x == 0 else INF
    if not 0 < x < 1:
        return NAN
    return np.log1p((2 * x - 1) / (1 - x)) if abs(x - 0.5) < 0.2 else np.log(x / (1 - x))


def product(logarithm: Callable[[Any], Any]) -> Callable[[float, float], Any]:
    def of(x: float, y: float) -> Any:
        if x != x or y != y:
            return NAN
        return 0.0 if x == 0 else Wide(x) * logarithm(Wide(y))

    return of


def hypot(x: float, y: float) -> Any:
    return INF if math.inf in (abs(x), abs(y)) else np.sqrt(Wide(x) ** 2 + Wide(y) ** 2)


def moderate(low: float, high: float) -> list[float]:
    return [*uniform(low, high, 400), *range(-20, 21)]


POWERS_OF_TWO, POWERS_OF_TEN = ([b**n for n in range(4)] for b in (2.0, 10.0))
ROWS["exp2"] = lambda: on_floats(wide(np.exp2), moderate(-100, 100), units=2, xla_units=4)
ROWS["exp10"] = lambda: on_floats(wide(lambda x: Wide(10) ** x), moderate(-30, 30), units=4, xla_units=4)
ROWS["log2"] = lambda: on_floats(wide(np.log2), [*uniform(0, 100, 400), *POWERS_OF_TWO], units=2, xla_units=4)
ROWS["log10"] = lambda: on_floats(wide(np.log10), [*uniform(0, 100, 400), *POWERS_OF_TEN], units=2, xla_units=4)
ROWS["log_add_exp"] = lambda: tabulated(wide(log_add), *COUPLES, units=2, xla_units=4, scale=1)
ROWS["softplus"] = lambda: on_floats(wide(lambda x: log_add(x, Wide(0))), units=2, xla_units=8)
ROWS["log_logistic"] = lambda: on_floats(wide(lambda x: -log_add(-x, Wide(0))), units=2, xla_units=8)
ROWS["logit"] = lambda: on_floats(wide(logit), [*uniform(0, 1, 400), 1e-9, 0.499999, 0.500001], units=4, xla_units=64)
ROWS["xlogy"] = lambda: tabulated(product(np.log), *COUPLES, units=2, xla_units=4)
ROWS["xlog1py"] = lambda: tabulated(product(np.log1p), *COUPLES, units=2, xla_units=10_000)  # as log_plus_one


@ROWS.row("hypot")
def hypot_cases() -> list[Case]:
    return tabulated(hypot, *COUPLES, units=2, xla_units=4)


ONE = ("exp2", "exp10", "log2", "log10", "softplus", "log_logistic", "logit")
TWO = ("log_add_exp", "xlogy", "xlog1py", "hypot")
BROKEN: list[Broken] = [
    *(kinds(f"{name}-C1", "int32[2]", "float", "int32") for name in ONE),
    *(unequal(f"{name}-C1") for name in TWO),
    *(kinds(f"{name}-C2", "complex64[2] ; complex64[2]", "float", "complex64") for name in TWO),
]

INSIDE = (np.tanh(X) * 0.9 + 1) / 2
GRADIENTS = [
    GradientCase(lo.Exp2, [X]),
    GradientCase(lo.Exp10, [X / 4]),
    GradientCase(lo.Log2, [P]),
    GradientCase(lo.Log10, [P]),
    GradientCase(lo.LogAddExp, [X, Y]),
    GradientCase(lo.Softplus, [X]),
    GradientCase(lo.LogLogistic, [X]),
    GradientCase(lo.Logit, [INSIDE]),
    GradientCase(lo.Xlogy, [X, P]),
    GradientCase(lo.Xlog1py, [X, P]),
    GradientCase(lo.Hypot, [X, Q]),
]
