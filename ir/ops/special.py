"""Special functions. NumPy and SciPy give the values, 16-bit and 32-bit floats computed in float64."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, result_def

from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import FLOAT, INEXACT, Array, Binary, Unary, require_equal, require_kind
from dfc.ir.types import spec_of


def scipy_special() -> Any:
    """SciPy's module, loaded at the first use: it takes a quarter of a second, and only evaluation needs it."""
    from scipy import special

    return special


def _wide(operands: Arrays) -> list[Array]:
    return [x.astype(np.float64) if x.dtype.kind != "c" else x for x in operands]


class SpecialUnary(Unary):
    """A function of one real number. C1: the dtype is of a kind that the op takes."""

    KINDS: ClassVar[tuple[str, ...]] = FLOAT
    SCIPY: ClassVar[str]

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        with np.errstate(all="ignore"):
            return [np.asarray(cls.compute(*_wide(operands))).astype(operands[0].dtype)]

    @classmethod
    def compute(cls, x: Array) -> Array:
        """By `NUMPY`, or the function of SciPy's that `SCIPY` names."""
        return np.asarray(getattr(scipy_special(), cls.SCIPY)(x) if hasattr(cls, "SCIPY") else cls.NUMPY(x))


class SpecialBinary(Binary):
    """A function of two real numbers. C1: equal shapes and dtypes. C2: the dtype is of a kind that the op takes."""

    KINDS: ClassVar[tuple[str, ...]] = FLOAT

    SCIPY: ClassVar[str]

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        with np.errstate(all="ignore"):
            return [np.asarray(cls.compute(*_wide(operands))).astype(operands[0].dtype)]

    @classmethod
    def compute(cls, x: Array, y: Array) -> Array:
        """By `NUMPY`, or the function of SciPy's that `SCIPY` names."""
        return np.asarray(getattr(scipy_special(), cls.SCIPY)(x, y) if hasattr(cls, "SCIPY") else cls.NUMPY(x, y))


@irdl_op_definition
class Erf(SpecialUnary):
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""

    name = "df.erf"
    SCIPY: ClassVar = "erf"


@irdl_op_definition
class Erfc(SpecialUnary):
    """1 - erf(x), accurate where erf is near 1."""

    name = "df.erfc"
    SCIPY: ClassVar = "erfc"


@irdl_op_definition
class ErfInv(SpecialUnary):
    """The number whose erf is x; infinite at 1 and -1, NaN beyond."""

    name = "df.erf_inv"
    SCIPY: ClassVar = "erfinv"


@irdl_op_definition
class Lgamma(SpecialUnary):
    """log |Gamma(x)|; infinity at 0, at the negative integers and at both infinities, as in C."""

    name = "df.lgamma"

    @classmethod
    def compute(cls, x: Array) -> Array:
        return np.where(np.isneginf(x), np.inf, scipy_special().gammaln(x))


@irdl_op_definition
class Digamma(SpecialUnary):
    """The derivative of log Gamma(x); NaN at the negative integers, -inf at 0 and inf at -0."""

    name = "df.digamma"
    SCIPY: ClassVar = "digamma"


@irdl_op_definition
class Polygamma(SpecialBinary):
    """The n-th derivative of digamma at x > 0, for the first operand n = 0, 1, 2 ...; NaN for another n."""

    name = "df.polygamma"

    @classmethod
    def compute(cls, x: Array, y: Array) -> Array:
        n, x = x, y
        special, whole = scipy_special(), (n >= 0) & (n == np.floor(n))
        order = np.where(whole & np.isfinite(n), n, 1.0)
        sign = np.where(order % 2 == 0, -1.0, 1.0)
        higher = sign * special.gamma(order + 1) * special.zeta(order + 1, x)
        found = np.where(order == 0, special.digamma(x), higher)
        return np.where(whole, found, np.nan)


@irdl_op_definition
class Zeta(SpecialBinary):
    """Hurwitz's zeta function, the sum of (k + q)^-s over k = 0, 1, 2 ... of the operands s > 1 and q."""

    name = "df.zeta"
    SCIPY: ClassVar = "zeta"


@irdl_op_definition
class BesselI0e(SpecialUnary):
    """The modified Bessel function of the first kind and order 0, times exp(-|x|)."""

    name = "df.bessel_i0e"
    SCIPY: ClassVar = "i0e"


@irdl_op_definition
class BesselI1e(SpecialUnary):
    """The modified Bessel function of the first kind and order 1, times exp(-|x|)."""

    name = "df.bessel_i1e"
    SCIPY: ClassVar = "i1e"


class Inexact(SpecialUnary):
    """An elementary function of real or complex numbers. C1: the dtype is of a kind that the op takes."""

    KINDS: ClassVar[tuple[str, ...]] = INEXACT


@irdl_op_definition
class Asin(Inexact):
    """The angle, in radians, whose sine is x."""

    name = "df.asin"
    NUMPY: ClassVar = np.arcsin


@irdl_op_definition
class Acos(Inexact):
    """The angle, in radians, whose cosine is x."""

    name = "df.acos"
    NUMPY: ClassVar = np.arccos


@irdl_op_definition
class Atan(Inexact):
    """The angle, in radians, whose tangent is x."""

    name = "df.atan"
    NUMPY: ClassVar = np.arctan


@irdl_op_definition
class Sinh(Inexact):
    """Hyperbolic sine."""

    name = "df.sinh"
    NUMPY: ClassVar = np.sinh


@irdl_op_definition
class Cosh(Inexact):
    """Hyperbolic cosine."""

    name = "df.cosh"
    NUMPY: ClassVar = np.cosh


@irdl_op_definition
class Asinh(Inexact):
    """The number whose hyperbolic sine is x."""

    name = "df.asinh"
    NUMPY: ClassVar = np.arcsinh


@irdl_op_definition
class Acosh(Inexact):
    """The number whose hyperbolic cosine is x; NaN for real x below 1."""

    name = "df.acosh"
    NUMPY: ClassVar = np.arccosh


@irdl_op_definition
class Atanh(Inexact):
    """The number whose hyperbolic tangent is x; infinite at 1 and -1, NaN for real x beyond."""

    name = "df.atanh"
    NUMPY: ClassVar = np.arctanh


@irdl_op_definition
class Cbrt(SpecialUnary):
    """The real cube root."""

    name = "df.cbrt"
    NUMPY: ClassVar = np.cbrt


@irdl_op_definition
class Ndtri(SpecialUnary):
    """The quantile of the standard normal distribution; infinite at 0 and 1, NaN outside."""

    name = "df.ndtri"
    SCIPY: ClassVar = "ndtri"


@irdl_op_definition
class Igamma(SpecialBinary):
    """The regularized lower incomplete gamma function P(a, x) of the operands a > 0 and x >= 0; its limit 1 for a = 0
    and x > 0, NaN elsewhere."""

    name = "df.igamma"

    @classmethod
    def compute(cls, x: Array, y: Array) -> Array:
        return np.where((x > 0) | (x == 0) & (y > 0), scipy_special().gammainc(x, y), np.nan)


@irdl_op_definition
class Igammac(SpecialBinary):
    """The regularized upper incomplete gamma function Q(a, x) = 1 - P(a, x) of a > 0 and x >= 0; its limit 0 for
    a = 0 and x > 0, NaN elsewhere."""

    name = "df.igammac"

    @classmethod
    def compute(cls, x: Array, y: Array) -> Array:
        return np.where((x > 0) | (x == 0) & (y > 0), scipy_special().gammaincc(x, y), np.nan)


@irdl_op_definition
class Betainc(Op):
    """The regularized incomplete beta function of the operands a > 0, b > 0, both finite, and x in [0, 1]; NaN
    elsewhere. C1: equal shapes and dtypes. C2: the dtype is of a kind that the op takes."""

    name = "df.betainc"
    a = operand_def()
    b = operand_def()
    x = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = FLOAT

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_equal([spec_of(t) for t in operands], "C1")
        require_kind(spec_of(operands[0]).dtype, cls.KINDS, "C2")
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        a, b, x = _wide(operands)
        defined = (a > 0) & (b > 0) & np.isfinite(a) & np.isfinite(b)
        with np.errstate(all="ignore"):
            found = np.where(defined, scipy_special().betainc(a, b, x), np.nan)
        return [np.asarray(found).astype(operands[0].dtype)]
