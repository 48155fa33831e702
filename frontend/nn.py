"""Layers and losses as functions, made of primitive operations."""

from __future__ import annotations

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.immediate import operation
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.elementwise import astype, compare, exp, log, stop_gradient, where
from dfc.frontend.ops.reduction import max as reduce_max
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.shape import axis_in, dim_size, error_here, expand_dims
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.ir.ops.shape import Iota
from dfc.ir.types import spec_of


@operation
def relu(x: Operand, /) -> Tensor:
    """max(x, 0), whose gradient at 0 is 0; NaN stays NaN."""
    tensor = asarray(x)
    return where(tensor <= 0, 0, tensor)


def _shifted(logits: Operand, axis: int) -> Tensor:
    """logits minus their largest along the axis, so that exp can't overflow; the shift has no gradient."""
    tensor = asarray(logits)
    return tensor - stop_gradient(reduce_max(tensor, axis=axis, keepdims=True))


@operation
def softmax(logits: Operand, /, *, axis: int = -1) -> Tensor:
    """exp(logits) divided by its sum along `axis`; large logits don't overflow."""
    exponentials = exp(_shifted(logits, axis))
    return exponentials / reduce_sum(exponentials, axis=axis, keepdims=True)


@operation
def log_softmax(logits: Operand, /, *, axis: int = -1) -> Tensor:
    """The logarithm of softmax, without the loss of precision of computing both."""
    shifted = _shifted(logits, axis)
    return shifted - log(reduce_sum(exp(shifted), axis=axis, keepdims=True))


@operation
def softmax_cross_entropy(labels: Operand, logits: Operand, /, *, axis: int = -1) -> Tensor:
    """-sum(labels * log_softmax(logits)) along `axis`; labels are probabilities in the shape of logits.

    The result has logits' shape without `axis`. Raises InvalidArgument for other shapes.
    """
    probabilities, scores = asarray(labels), asarray(logits)
    if probabilities.shape != scores.shape:
        raise error_here(
            InvalidArgument,
            f"labels must have the shape of logits, got {spec_of(probabilities._type)} and {spec_of(scores._type)}",
            "softmax_cross_entropy",
            hint="integer labels go to dfc.nn.sparse_softmax_cross_entropy",
        )
    terms = astype(probabilities, scores.dtype) * log_softmax(scores, axis=axis)
    # 0 * -inf is NaN, but a class of probability zero costs nothing
    return -reduce_sum(where(compare("EQ", probabilities, 0, ""), 0, terms), axis=axis)


@operation
def sparse_softmax_cross_entropy(labels: Operand, logits: Operand, /) -> Tensor:
    """-log_softmax(logits)[label] for each row: labels are class numbers (...), logits have shape (..., classes).

    A label outside the classes gives NaN. Raises InvalidType for labels that aren't integers, InvalidArgument for
    shapes that don't fit.
    """
    classes, scores = asarray(labels), asarray(logits)
    name = "sparse_softmax_cross_entropy"
    specs = f"{spec_of(classes._type)} and {spec_of(scores._type)}"
    if not classes.dtype.is_integer:
        raise error_here(InvalidType, f"labels must be integers, got {specs}", name)
    if not scores.ndim or classes.shape != scores.shape[:-1]:
        raise error_here(
            InvalidArgument, f"labels must have the shape of logits without the last axis, got {specs}", name
        )
    trace = current()
    assert trace is not None
    at = axis_in(-1, scores.ndim, name)
    positions = trace.emit(Iota, (), {"shape": scores.shape, "dtype": classes.dtype, "axis": at})
    hit = compare("EQ", expand_dims(classes, axis=-1), positions, name)
    shifted = _shifted(scores, -1)
    chosen = reduce_sum(where(hit, shifted, 0), axis=-1)
    loss = log(reduce_sum(exp(shifted), axis=-1)) - chosen
    n_classes = scores.shape[-1]
    known = (classes >= 0) & (classes < (n_classes if isinstance(n_classes, int) else dim_size(scores, -1)))
    return where(known, loss, float("nan"))


__all__ = [name for name, value in vars().items() if name[0] != "_" and getattr(value, "__module__", "") == __name__]
