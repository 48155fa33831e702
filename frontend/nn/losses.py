"""Losses, made of primitive operations."""

from __future__ import annotations

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.defaults import default_float
from dfc.frontend.immediate import operation
from dfc.frontend.nn.activations import log_softmax, relu, shifted_logits
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.elementwise import abs, astype, compare, exp, log, square, where
from dfc.frontend.ops.logarithm import softplus
from dfc.frontend.ops.reduction import Axis, mean
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.shape import axis_in, dim_size, error_here, expand_dims
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.ir.ops.shape import Iota
from dfc.ir.types import spec_of


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
    shifted = shifted_logits(scores, -1)
    chosen = reduce_sum(where(hit, shifted, 0), axis=-1)
    loss = log(reduce_sum(exp(shifted), axis=-1)) - chosen
    n_classes = scores.shape[-1]
    known = (classes >= 0) & (classes < (n_classes if isinstance(n_classes, int) else dim_size(scores, -1)))
    return where(known, loss, float("nan"))


@operation
def sigmoid_cross_entropy(labels: Operand, logits: Operand, /) -> Tensor:
    """-labels * log(sigmoid(logits)) - (1 - labels) * log(1 - sigmoid(logits)) for each element, without overflow.

    Labels are probabilities, 0 to 1, in the shape of logits; raises InvalidArgument for another one.
    """
    probabilities, scores = _pair(labels, logits, "logits", "sigmoid_cross_entropy")
    return scores * (1 - probabilities) + softplus(-scores)


def _pair(labels: Operand, values: Operand, what: str, op: str) -> tuple[Tensor, Tensor]:
    """Labels in the dtype of the floating `values`, both of one shape."""
    wanted, given = asarray(labels), asarray(values)
    if not given.dtype.is_floating:
        given = astype(given, default_float())
    if wanted.shape != given.shape:
        specs = f"{spec_of(wanted._type)} and {spec_of(given._type)}"
        raise error_here(InvalidArgument, f"labels must have the shape of {what}, got {specs}", op)
    return astype(wanted, given.dtype), given


@operation
def l2_loss(x: Operand, /) -> Tensor:
    """Half the sum of squares, a scalar."""
    tensor = asarray(x)
    return reduce_sum(square(tensor)) / 2


@operation
def mean_squared_error(labels: Operand, predictions: Operand, /, *, axis: Axis = None) -> Tensor:
    """The mean of (predictions - labels)^2 over axes, all unless told otherwise. Raises InvalidArgument for shapes that
    differ."""
    wanted, given = _pair(labels, predictions, "predictions", "mean_squared_error")
    return mean(square(given - wanted), axis=axis)


@operation
def mean_absolute_error(labels: Operand, predictions: Operand, /, *, axis: Axis = None) -> Tensor:
    """The mean of |predictions - labels| over axes, all unless told otherwise. Raises InvalidArgument for shapes that
    differ."""
    wanted, given = _pair(labels, predictions, "predictions", "mean_absolute_error")
    return mean(abs(given - wanted), axis=axis)


@operation
def huber_loss(labels: Operand, predictions: Operand, /, *, delta: float = 1.0) -> Tensor:
    """For each element e^2 / 2 where |e| <= delta, else delta * (|e| - delta / 2), with e = predictions - labels (Huber
    1964). Raises InvalidArgument for shapes that differ and for a delta that isn't positive."""
    if not delta > 0:
        raise error_here(InvalidArgument, f"delta must be positive, got {delta}", "huber_loss")
    wanted, given = _pair(labels, predictions, "predictions", "huber_loss")
    error = given - wanted
    size = abs(error)
    return where(size <= delta, square(error) / 2, delta * (size - delta / 2))


@operation
def hinge_loss(labels: Operand, logits: Operand, /) -> Tensor:
    """max(0, 1 - y * logits) for each element, with y = 1 for labels of 1 and -1 for labels of 0. Raises
    InvalidArgument for shapes that differ."""
    wanted, given = _pair(labels, logits, "logits", "hinge_loss")
    return relu(1 - (2 * wanted - 1) * given)


@operation
def kl_divergence(labels: Operand, predictions: Operand, /, *, axis: int = -1) -> Tensor:
    """sum(labels * log(labels / predictions)) along `axis`, both probabilities of one shape; a class with label 0
    costs nothing, one with prediction 0 and a label above it infinity. Raises InvalidArgument where shapes differ."""
    wanted, given = _pair(labels, predictions, "predictions", "kl_divergence")
    some = wanted > 0
    ratio = log(where(some, wanted, 1)) - log(where(some, given, 1))
    return reduce_sum(wanted * ratio, axis=axis)


@operation
def smooth_labels(labels: Operand, smoothing: float, /, *, axis: int = -1) -> Tensor:
    """(1 - smoothing) * labels + smoothing / classes, for probabilities over the classes of `axis` (Szegedy et al.
    2016). Raises InvalidArgument unless 0 <= smoothing <= 1."""
    if not 0 <= smoothing <= 1:
        raise error_here(InvalidArgument, f"smoothing must be from 0 to 1, got {smoothing}", "smooth_labels")
    given = asarray(labels)
    given = given if given.dtype.is_floating else astype(given, default_float())
    size = given.shape[axis_in(axis, given.ndim, "smooth_labels")]
    share = smoothing / size if isinstance(size, int) else smoothing / astype(dim_size(given, axis), given.dtype)
    return given * (1 - smoothing) + share
