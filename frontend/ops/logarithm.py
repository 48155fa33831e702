"""Exponentials and logarithms to other bases, and sums of exponentials without overflow. Integers and booleans become
the default floating dtype first; operands of two meet in one dtype and one shape."""

from __future__ import annotations

import math

from dfc.frontend.immediate import elementwise
from dfc.frontend.ops import elementwise as e
from dfc.frontend.ops.special import BOTH, in_trace, inexact, unary
from dfc.frontend.tensor import Operand, Tensor
from dfc.ir.op import Op
from dfc.ir.ops import logarithm as ir


def _binary(cls: type[Op], x1: Operand, x2: Operand, name: str) -> Tensor:
    a, b = inexact(name, x1, x2)
    return in_trace().emit(cls, (a._value, b._value))


@elementwise
def exp2(x: Operand, /) -> Tensor:
    """2 to the power of x."""
    return unary(ir.Exp2, x, "exp2")


@elementwise
def exp10(x: Operand, /) -> Tensor:
    """10 to the power of x."""
    return unary(ir.Exp10, x, "exp10")


@elementwise
def log2(x: Operand, /) -> Tensor:
    """The logarithm to base 2, of real or complex numbers; exact at real powers of 2."""
    (tensor,) = inexact("log2", x, kinds=BOTH)
    return e.log(tensor) / math.log(2) if tensor.dtype.kind == "complex" else unary(ir.Log2, tensor, "log2")


@elementwise
def log10(x: Operand, /) -> Tensor:
    """The logarithm to base 10, of real or complex numbers; exact at the real powers of 10 that the dtype holds."""
    (tensor,) = inexact("log10", x, kinds=BOTH)
    return e.log(tensor) / math.log(10) if tensor.dtype.kind == "complex" else unary(ir.Log10, tensor, "log10")


@elementwise
def logaddexp(x1: Operand, x2: Operand, /) -> Tensor:
    """log(exp(x1) + exp(x2)), which overflows no more than its result."""
    return _binary(ir.LogAddExp, x1, x2, "logaddexp")


@elementwise
def softplus(x: Operand, /) -> Tensor:
    """log(1 + exp(x)) without overflow."""
    return unary(ir.Softplus, x, "softplus")


@elementwise
def log_sigmoid(x: Operand, /) -> Tensor:
    """log(sigmoid(x)) without underflow."""
    return unary(ir.LogLogistic, x, "log_sigmoid")


@elementwise
def logit(x: Operand, /) -> Tensor:
    """log(x / (1 - x)), the inverse of expit."""
    return unary(ir.Logit, x, "logit")


@elementwise
def xlogy(x: Operand, y: Operand, /) -> Tensor:
    """x log(y), and 0 where x is 0 and y is not NaN; of real or complex numbers."""
    a, b = inexact("xlogy", x, y, kinds=BOTH)
    if a.dtype.kind != "complex":
        return in_trace().emit(ir.Xlogy, (a._value, b._value))
    none = e.logical_and(e.equal(a, 0), e.logical_not(e.isnan(b)))
    return e.where(none, 0, a * e.log(e.where(none, 1, b)))


@elementwise
def xlog1py(x: Operand, y: Operand, /) -> Tensor:
    """x log(1 + y), and 0 where x is 0 and y is not NaN."""
    return _binary(ir.Xlog1py, x, y, "xlog1py")


@elementwise
def entr(x: Operand, /) -> Tensor:
    """-x log(x), an outcome's share of the entropy: 0 at 0, -infinity below."""
    (tensor,) = inexact("entr", x)
    return e.where(e.less(tensor, 0), -math.inf, -xlogy(tensor, e.where(e.less(tensor, 0), 1.0, tensor)))


@elementwise
def hypot(x1: Operand, x2: Operand, /) -> Tensor:
    """sqrt(x1^2 + x2^2), whose squares don't overflow; its gradient at (0, 0) is 0."""
    return _binary(ir.Hypot, x1, x2, "hypot")
