"""Special functions. Integers and booleans become the default floating dtype first; operands of two meet in one dtype
and one shape. Functions of complex numbers say so; all others raise InvalidType for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from dfc.errors import InvalidType
from dfc.frontend.defaults import default_float
from dfc.frontend.immediate import elementwise, operation
from dfc.frontend.ops import elementwise as e
from dfc.frontend.ops.shape import axes_in, error_here, expand_dims
from dfc.frontend.promotion import align, tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir.op import Op
from dfc.ir.ops import special as ir
from dfc.ir.ops.reduction import ReduceLogSumExp


def in_trace() -> Trace:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    return trace


def inexact(name: str, *operands: Operand, kinds: Sequence[str] = ("float",)) -> list[Tensor]:
    """The operands in one shape and one dtype, which is of one of `kinds`."""
    trace = in_trace()
    if len(operands) == 1:
        values = [tensor_in(trace, operands[0])._value]
    else:
        values = align(trace, name, operands)
    tensors = [Tensor(v.type, trace, v) for v in values]
    if not tensors[0].dtype.is_inexact:
        tensors = [e.astype(t, default_float()) for t in tensors]
    if tensors[0].dtype.kind not in kinds:
        raise error_here(InvalidType, f"the operands must be real, got {tensors[0].dtype}", name)
    return tensors


def unary(cls: type[Op], x: Operand, name: str, *, kinds: Sequence[str] = ("float",)) -> Tensor:
    (tensor,) = inexact(name, x, kinds=kinds)
    return in_trace().emit(cls, (tensor._value,))


BOTH = ("float", "complex")


# ---- elementary functions


@elementwise
def asin(x: Operand, /) -> Tensor:
    """The angle in radians whose sine is x; of real or complex numbers, NaN for real ones beyond 1."""
    return unary(ir.Asin, x, "asin", kinds=BOTH)


@elementwise
def acos(x: Operand, /) -> Tensor:
    """The angle in radians whose cosine is x; of real or complex numbers, NaN for real ones beyond 1."""
    return unary(ir.Acos, x, "acos", kinds=BOTH)


@elementwise
def atan(x: Operand, /) -> Tensor:
    """The angle in radians whose tangent is x; of real or complex numbers."""
    return unary(ir.Atan, x, "atan", kinds=BOTH)


@elementwise
def sinh(x: Operand, /) -> Tensor:
    """Hyperbolic sine of real or complex numbers."""
    return unary(ir.Sinh, x, "sinh", kinds=BOTH)


@elementwise
def cosh(x: Operand, /) -> Tensor:
    """Hyperbolic cosine of real or complex numbers."""
    return unary(ir.Cosh, x, "cosh", kinds=BOTH)


@elementwise
def asinh(x: Operand, /) -> Tensor:
    """The number whose hyperbolic sine is x; of real or complex numbers."""
    return unary(ir.Asinh, x, "asinh", kinds=BOTH)


@elementwise
def acosh(x: Operand, /) -> Tensor:
    """The number whose hyperbolic cosine is x; of real or complex numbers, NaN for real ones below 1."""
    return unary(ir.Acosh, x, "acosh", kinds=BOTH)


@elementwise
def atanh(x: Operand, /) -> Tensor:
    """The number whose hyperbolic tangent is x; of real or complex numbers, NaN for real ones beyond 1."""
    return unary(ir.Atanh, x, "atanh", kinds=BOTH)


@elementwise
def cbrt(x: Operand, /) -> Tensor:
    """The real cube root."""
    return unary(ir.Cbrt, x, "cbrt")


@elementwise
def sinc(x: Operand, /) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0."""
    (tensor,) = inexact("sinc", x)
    angle = tensor * math.pi
    small = e.less(e.abs(angle), 0.05)
    square = e.square(angle)  # Taylor's series near 0 keeps the gradients right there
    near = 1 - square / 6 * (1 - square / 20 * (1 - square / 42))
    safe = e.where(small, 1.0, angle)
    return e.where(small, near, e.sin(safe) / safe)


# ---- error functions and the normal distribution


@elementwise
def erf(x: Operand, /) -> Tensor:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return unary(ir.Erf, x, "erf")


@elementwise
def erfc(x: Operand, /) -> Tensor:
    """1 - erf(x), accurate where erf is near 1."""
    return unary(ir.Erfc, x, "erfc")


@elementwise
def erfinv(x: Operand, /) -> Tensor:
    """The number whose erf is x; infinite at 1 and -1, NaN beyond."""
    return unary(ir.ErfInv, x, "erfinv")


@elementwise
def ndtr(x: Operand, /) -> Tensor:
    """The cumulative distribution function of the standard normal distribution."""
    (tensor,) = inexact("ndtr", x)
    return 0.5 * erfc(tensor * -math.sqrt(0.5))


@elementwise
def log_ndtr(x: Operand, /) -> Tensor:
    """log(ndtr(x)), finite far below zero, where ndtr itself is zero."""
    (tensor,) = inexact("log_ndtr", x)
    low = -20.0 if tensor.dtype.bits == 64 else -8.0
    below, above = e.less(tensor, low), e.greater(tensor, 5.0)
    middle = e.log(ndtr(e.minimum(e.maximum(tensor, low), 5.0)))
    far = e.where(below, tensor, low)
    inverse = 1 / e.square(far)
    series = 1.0 - inverse * 0
    for k in (17, 15, 13, 11, 9, 7, 5, 3, 1):  # 1 - 1/x^2 + 3/x^4 - 15/x^6 ...
        series = 1 - k * inverse * series
    tail = -e.square(far) / 2 - e.log(-far) - 0.5 * math.log(2 * math.pi) + e.log(series)
    top = -ndtr(-e.where(above, tensor, 5.0))
    return e.where(below, tail, e.where(above, top, middle))


@elementwise
def ndtri(p: Operand, /) -> Tensor:
    """The quantile of the standard normal distribution, the inverse of ndtr."""
    return unary(ir.Ndtri, p, "ndtri")


# ---- gamma and beta functions


@elementwise
def gammaln(x: Operand, /) -> Tensor:
    """log |Gamma(x)|; infinity at 0 and at the negative integers."""
    return unary(ir.Lgamma, x, "gammaln")


@elementwise
def digamma(x: Operand, /) -> Tensor:
    """The derivative of gammaln; NaN at the negative integers."""
    return unary(ir.Digamma, x, "digamma")


@elementwise
def polygamma(n: Operand, x: Operand, /) -> Tensor:
    """The n-th derivative of digamma, for n = 0, 1, 2 ... and x > 0. A gradient passes to x alone."""
    a, b = inexact("polygamma", n, x)
    return in_trace().emit(ir.Polygamma, (a._value, b._value))


@elementwise
def zeta(x: Operand, q: Operand, /) -> Tensor:
    """Hurwitz's zeta function, the sum of (k + q)^-x over k = 0, 1, 2 ... A gradient passes to q alone."""
    a, b = inexact("zeta", x, q)
    return in_trace().emit(ir.Zeta, (a._value, b._value))


@elementwise
def gammainc(a: Operand, x: Operand, /) -> Tensor:
    """The regularized lower incomplete gamma function of a > 0 and x >= 0, 1 for a = 0 and x > 0. A gradient passes
    to x alone."""
    values = inexact("gammainc", a, x)
    return in_trace().emit(ir.Igamma, [t._value for t in values])


@elementwise
def gammaincc(a: Operand, x: Operand, /) -> Tensor:
    """The regularized upper incomplete gamma function, 1 - gammainc(a, x). A gradient passes to x alone."""
    values = inexact("gammaincc", a, x)
    return in_trace().emit(ir.Igammac, [t._value for t in values])


@elementwise
def betainc(a: Operand, b: Operand, x: Operand, /) -> Tensor:
    """The regularized incomplete beta function of a > 0, b > 0 and x in [0, 1]. A gradient passes to x alone."""
    values = inexact("betainc", a, b, x)
    return in_trace().emit(ir.Betainc, [t._value for t in values])


# ---- Bessel functions


@elementwise
def i0e(x: Operand, /) -> Tensor:
    """exp(-|x|) i0(x), which does not overflow."""
    return unary(ir.BesselI0e, x, "i0e")


@elementwise
def i1e(x: Operand, /) -> Tensor:
    """exp(-|x|) i1(x), which does not overflow."""
    return unary(ir.BesselI1e, x, "i1e")


@elementwise
def i0(x: Operand, /) -> Tensor:
    """The modified Bessel function of the first kind and order 0."""
    return _grown(i0e, x, "i0")


@elementwise
def i1(x: Operand, /) -> Tensor:
    """The modified Bessel function of the first kind and order 1."""
    return _grown(i1e, x, "i1")


def _grown(scaled: Callable[[Operand], Tensor], x: Operand, name: str) -> Tensor:
    """exp(|x|) scaled(x), where infinity times zero is infinity."""
    (tensor,) = inexact(name, x)
    infinite = e.isinf(tensor)
    safe = e.where(infinite, 0.0, tensor)
    root = e.exp(e.abs(safe) / 2)  # twice, since exp(|x|) may overflow before the product does
    return e.where(infinite, tensor if name == "i1" else e.abs(tensor), root * scaled(safe) * root)


# ---- entropy and logarithms of probabilities


@elementwise
def expit(x: Operand, /) -> Tensor:
    """1 / (1 + exp(-x)): `dfc.sigmoid` under the name that statistics gives it."""
    return e.sigmoid(x)


@operation
def logsumexp(x: Operand, /, *, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) along `axis` (all axes for None), which overflows no more than its result."""
    (tensor,) = inexact("logsumexp", x)
    axes = axes_in(axis, tensor.ndim, "logsumexp")
    total = in_trace().emit(ReduceLogSumExp, (tensor._value,), {"axes": axes})
    return expand_dims(total, axis=axes) if keepdims and axes else total
