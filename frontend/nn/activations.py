"""Activations, made of primitive operations, which XLA fuses.

Every one is defined from minus to plus infinity, with the limit as its value there and the limit of its slope as its
gradient; NaN stays NaN. Integers become the default floating dtype where the result isn't one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from dfc.errors import InvalidArgument, Unimplemented
from dfc.frontend.defaults import default_float
from dfc.frontend.immediate import operation
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.elementwise import (
    abs,
    astype,
    exp,
    expm1,
    isfinite,
    log,
    sigmoid,
    sign,
    stop_gradient,
    tanh,
    where,
)
from dfc.frontend.ops.reduction import max as reduce_max
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.shape import axis_in, error_here, split
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.ir.ops.special import Softplus
from dfc.ir.types import spec_of

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _inexact(x: Operand) -> Tensor:
    tensor = asarray(x)
    return tensor if tensor.dtype.is_inexact else astype(tensor, default_float())


def _gated(x: Operand, function: Callable[[Tensor], Tensor], bound: float | None = None) -> Tensor:
    """x times something that goes from 0 to 1: `function` of finite x, or of |x| up to the bound where that something
    is 0 and 1. At infinity the product would be NaN, or its slope."""
    tensor = _inexact(x)
    inside = isfinite(tensor) if bound is None else abs(tensor) <= bound
    return where(inside, function(where(inside, tensor, 0)), relu(tensor))


@operation
def relu(x: Operand, /) -> Tensor:
    """max(x, 0), whose gradient at 0 is 0; NaN stays NaN."""
    tensor = asarray(x)
    return where(tensor <= 0, 0, tensor)


@operation
def relu6(x: Operand, /) -> Tensor:
    """min(max(x, 0), 6), whose gradient at 0 and 6 is 0."""
    tensor = asarray(x)
    return where(tensor <= 0, 0, where(tensor >= 6, 6, tensor))


@operation
def leaky_relu(x: Operand, /, *, negative_slope: float = 0.01) -> Tensor:
    """x where it is at least 0, else negative_slope * x; the gradient at 0 is 1."""
    tensor = _inexact(x)
    return where(tensor < 0, tensor * negative_slope, tensor)


@operation
def prelu(x: Operand, slope: Operand, /) -> Tensor:
    """As `leaky_relu`, with slopes that broadcast to x and have a gradient (He et al. 2015)."""
    tensor = _inexact(x)
    below = tensor < 0
    return where(below, where(below, tensor, 0) * slope, tensor)


@operation
def elu(x: Operand, /, *, alpha: float = 1.0) -> Tensor:
    """x where it is positive, else alpha * (exp(x) - 1) (Clevert et al. 2016)."""
    tensor = _inexact(x)
    above = tensor > 0
    return where(above, tensor, expm1(where(above, 0, tensor)) * alpha)


@operation
def selu(x: Operand, /) -> Tensor:
    """`elu` with the scale and alpha that keep mean 0 and variance 1 through layers (Klambauer et al. 2017)."""
    return elu(x, alpha=SELU_ALPHA) * SELU_SCALE


@operation
def gelu(x: Operand, /, *, approximate: bool = True) -> Tensor:
    """x * P(X <= x) of a standard normal X (Hendrycks and Gimpel 2016), by their approximation
    x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2. Raises Unimplemented for the exact function.
    """
    if not approximate:
        raise error_here(Unimplemented, "the exact function needs erf, which no df operation computes yet", "gelu")
    scale = math.sqrt(2 / math.pi)
    return _gated(x, lambda t: t * (tanh((t + t * t * t * 0.044715) * scale) + 1) * 0.5, bound=30.0)


@operation
def silu(x: Operand, /) -> Tensor:
    """x * sigmoid(x), also called swish."""
    return _gated(x, lambda t: t * sigmoid(t))


swish = silu


@operation
def mish(x: Operand, /) -> Tensor:
    """x * tanh(softplus(x)) (Misra 2019)."""
    return _gated(x, lambda t: t * tanh(softplus(t)))


@operation
def hard_sigmoid(x: Operand, /) -> Tensor:
    """relu6(x + 3) / 6: 0 up to -3, 1 from 3 on, a line between."""
    return relu6(_inexact(x) + 3) / 6


@operation
def hard_swish(x: Operand, /) -> Tensor:
    """x * hard_sigmoid(x)."""
    return _gated(x, lambda t: t * hard_sigmoid(t))


@operation
def softplus(x: Operand, /) -> Tensor:
    """log(1 + exp(x)) without overflow."""
    tensor = _inexact(x)
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    return trace.emit(Softplus, (tensor._value,))


@operation
def softsign(x: Operand, /) -> Tensor:
    """x / (1 + |x|)."""
    tensor = _inexact(x)
    finite = isfinite(tensor)
    safe = where(finite, tensor, 0)
    return where(finite, safe / (abs(safe) + 1), sign(tensor))


@operation
def log_sigmoid(x: Operand, /) -> Tensor:
    """log(sigmoid(x)) without underflow."""
    return -softplus(-_inexact(x))


@operation
def glu(x: Operand, /, *, axis: int = -1) -> Tensor:
    """The first half of x along `axis` times the sigmoid of the second (Dauphin et al. 2017).

    Raises InvalidArgument for an odd size.
    """
    tensor = _inexact(x)
    at = axis_in(axis, tensor.ndim, "glu")
    size = tensor.shape[at]
    if isinstance(size, int) and size % 2:
        raise error_here(InvalidArgument, f"the size of axis {at} must be even, got {spec_of(tensor._type)}", "glu")
    value, gate = split(tensor, 2, axis=at)
    return value * sigmoid(gate)


@operation
def clip(x: Operand, low: Operand | None = None, high: Operand | None = None, /) -> Tensor:
    """x brought into [low, high]; None is no bound, and where low exceeds high the result is high. The gradient passes
    to x where low <= x <= high, at the bounds too, as in `dfc.train.clip_by_value`; else to the bound."""
    result = asarray(x)
    if low is not None:
        result = where(result < low, low, result)
    if high is not None:
        result = where(result > high, high, result)
    return result


def shifted_logits(logits: Operand, axis: int) -> Tensor:
    """logits minus their largest along the axis, so that exp can't overflow; the shift has no gradient."""
    tensor = asarray(logits)
    return tensor - stop_gradient(reduce_max(tensor, axis=axis, keepdims=True))


@operation
def softmax(logits: Operand, /, *, axis: int = -1) -> Tensor:
    """exp(logits) divided by its sum along `axis`; large logits don't overflow."""
    exponentials = exp(shifted_logits(logits, axis))
    return exponentials / reduce_sum(exponentials, axis=axis, keepdims=True)


@operation
def log_softmax(logits: Operand, /, *, axis: int = -1) -> Tensor:
    """The logarithm of softmax, without the loss of precision of computing both."""
    shifted = shifted_logits(logits, axis)
    return shifted - log(reduce_sum(exp(shifted), axis=axis, keepdims=True))
