"""Activations, made of primitive operations."""

from __future__ import annotations

from dfc.frontend.immediate import operation
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.elementwise import exp, log, stop_gradient, where
from dfc.frontend.ops.reduction import max as reduce_max
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.tensor import Operand, Tensor


@operation
def relu(x: Operand, /) -> Tensor:
    """max(x, 0), whose gradient at 0 is 0; NaN stays NaN."""
    tensor = asarray(x)
    return where(tensor <= 0, 0, tensor)


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
