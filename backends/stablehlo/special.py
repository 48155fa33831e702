"""Emission of special functions: by chlo's polynomials, which `emit` turns into StableHLO, or by hand where those are
missing or less accurate. 16-bit floats compute in float32."""

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
    Cbrt,
    Cosh,
    Digamma,
    Erf,
    Erfc,
    ErfInv,
    Lgamma,
    Polygamma,
    Sinh,
    Zeta,
)
from dfc.ir.types import spec_of


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


def in_float32(emitter: Emitter, op: Op, operands: list[Value], body: Callable[[Formula, list[Value]], Value]) -> Value:
    """`body` of the operands; 16-bit ones become float32, and the result becomes what they were."""
    shape, dtype = spec_of(op.results[0].type)
    wide = float32 if dtype.kind == "float" and dtype.bits == 16 else dtype
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
        return [in_float32(emitter, op, operands, lambda f, xs: emitter.create(name, f.type, xs))]

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

    return [in_float32(emitter, op, operands, body)]


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

    return [in_float32(emitter, op, operands, body)]


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

    return [in_float32(emitter, op, operands, body)]


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

    return [in_float32(emitter, op, operands, _or_chlo("sinh", body))]


@rule(Cosh)
def cosh(emitter: Emitter, op: Cosh, operands: list[Value]) -> list[Value]:
    def body(f: Formula, xs: list[Value]) -> Value:
        _, grown = _halves(f, xs[0])
        return f("add", grown, f("divide", f.full(0.25), grown))

    return [in_float32(emitter, op, operands, _or_chlo("cosh", body))]


_by_chlo(Asinh, Acosh, Atanh)


@rule(Cbrt)
def cbrt(emitter: Emitter, op: Cbrt, operands: list[Value]) -> list[Value]:
    return [in_float32(emitter, op, operands, lambda f, xs: f("cbrt", *xs))]
