"""Connectionist temporal classification (Graves et al. 2006)."""

from __future__ import annotations

from typing import Any

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.immediate import operation
from dfc.frontend.nn.activations import log_softmax
from dfc.frontend.ops.arrangement import pad
from dfc.frontend.ops.constant import arange, full
from dfc.frontend.ops.elementwise import add_n, astype, compare, exp, log, logical_and, maximum, stop_gradient, where
from dfc.frontend.ops.indexing import gather_nd
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.shape import concat, error_here, expand_dims, permute_dims, reshape, stack
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.ir.ops.shape import Iota
from dfc.ir.types import spec_of

IMPOSSIBLE = -1e30
"""The logarithm of probability zero: minus infinity would make its gradients NaN."""


@operation
def ctc_loss(
    labels: Operand,
    logits: Operand,
    label_length: Operand,
    logit_length: Operand,
    /,
    *,
    logits_time_major: bool = True,
    blank_index: int = 0,
) -> Tensor:
    """-log of the probability of the labels, summed over their alignments with the frames: (batch,).

    `logits` is (time, batch, classes), or (batch, time, classes) unless `logits_time_major`; a soft-max makes
    probabilities of them. `labels` is (batch, most labels), integers; of each row the first `label_length` count, of
    the logits the first `logit_length` frames. In an alignment each frame has a label or the blank, class `blank_index`
    (negative: from the end); repetitions count once, then blanks are left out. Where no alignment is possible (too few
    frames) the loss is infinite and its gradient zero. 16-bit logits are computed in float32.

    The recursion over time is unrolled: `time` must be static, and compiling takes about a tenth of a second a frame.
    Raises InvalidArgument for a symbolic time and for shapes that don't fit, InvalidType for wrong dtypes.
    """
    trace = current()
    assert trace is not None
    targets, scores = tensor_in(trace, labels), tensor_in(trace, logits)
    lengths = [tensor_in(trace, label_length), tensor_in(trace, logit_length)]
    _check(targets, scores, lengths, logits_time_major)
    if not logits_time_major:
        scores = permute_dims(scores, (1, 0, 2))
    wide = astype(scores, "float32") if scores.dtype.bits == 16 else scores
    classes: Any = scores.shape[2]
    blank = blank_index + classes if blank_index < 0 else blank_index
    if not 0 <= blank < classes:
        raise error_here(InvalidArgument, f"the blank must be one of {classes} classes, got {blank_index}", "ctc_loss")
    loss = _loss(targets, wide, lengths[0], lengths[1], blank)
    return astype(loss, scores.dtype)


def _check(labels: Tensor, logits: Tensor, lengths: list[Tensor], time_major: bool) -> None:
    for tensor, what in ((labels, "labels"), (lengths[0], "label_length"), (lengths[1], "logit_length")):
        if not tensor.dtype.is_integer:
            raise error_here(InvalidType, f"{what} must be integers, got {spec_of(tensor._type)}", "ctc_loss")
    if not logits.dtype.is_floating or logits.ndim != 3:
        given = spec_of(logits._type)
        raise error_here(InvalidType, f"logits must be floating with three axes, got {given}", "ctc_loss")
    time, batch = (logits.shape[i] for i in ((0, 1) if time_major else (1, 0)))
    if labels.ndim != 2 or any(t.shape != (batch,) for t in lengths) or labels.shape[0] != batch:
        listed = ", ".join(str(spec_of(t._type)) for t in (labels, logits, *lengths))
        raise error_here(
            InvalidArgument, f"labels must be (batch, most labels) and both lengths (batch,), got {listed}", "ctc_loss"
        )
    if not all(isinstance(d, int) for d in (time, labels.shape[1], logits.shape[2])):
        got = f"{spec_of(logits._type)} and {spec_of(labels._type)}"
        raise error_here(InvalidArgument, f"only the batch may have a symbolic size, got {got}", "ctc_loss")


def _loss(labels: Tensor, logits: Tensor, label_length: Tensor, logit_length: Tensor, blank: int) -> Tensor:
    """By the forward recursion over states: blank, first label, blank, second label ... blank."""
    time, batch, _ = logits.shape
    n_labels: Any = labels.shape[1]
    n_states = 2 * n_labels + 1
    blanks = full((batch, n_labels + 1, 1), blank, dtype=labels.dtype)
    pairs = concat([blanks[:, :n_labels], expand_dims(labels, axis=2)], axis=2)
    states = concat([reshape(pairs, (batch, 2 * n_labels)), blanks[:, n_labels]], axis=1)
    # A label may follow the one before without a blank between, unless it is the same.
    two_before = pad(states, [(0, 0), (2, 0)], constant_values=blank)[:, :n_states]
    skips = logical_and(compare("NE", states, blank, ""), compare("NE", states, two_before, ""))
    chosen = _of_states(log_softmax(logits), states)
    position = arange(n_states)
    # Before the first frame: at the first blank, so that the first frame has that or the first label.
    alpha = where(position < 1, 0.0, IMPOSSIBLE) + full((batch, n_states), 0, dtype=logits.dtype)
    for t in range(time):
        moved = _log_sum([alpha, _shifted(alpha, 1), where(skips, _shifted(alpha, 2), IMPOSSIBLE)])
        alpha = where(expand_dims(t < logit_length, axis=1), moved + chosen[t], alpha)
    last = expand_dims(label_length * 2, axis=1)
    ends = [_at(alpha, position, last), _at(alpha, position, last - 1)]
    total = _log_sum(ends)
    return where(total < IMPOSSIBLE / 2, float("inf"), -total)


def _of_states(log_probabilities: Tensor, states: Tensor) -> Tensor:
    """The log-probabilities of the states' classes, at least IMPOSSIBLE: (time, batch, states)."""
    trace = current()
    assert trace is not None
    row = trace.emit(Iota, (), {"shape": states.shape, "dtype": states.dtype, "axis": 0})
    found = gather_nd(permute_dims(log_probabilities, (1, 2, 0)), stack([row, states], axis=-1))
    return maximum(permute_dims(found, (2, 0, 1)), IMPOSSIBLE)


def _shifted(alpha: Tensor, by: int) -> Tensor:
    n_states: Any = alpha.shape[1]
    return pad(alpha, [(0, 0), (by, 0)], constant_values=IMPOSSIBLE)[:, :n_states]


def _at(alpha: Tensor, position: Tensor, index: Tensor) -> Tensor:
    """alpha[index] for each row, IMPOSSIBLE outside."""
    hit = compare("EQ", position, index, "ctc_loss")
    inside = reduce_sum(where(hit, alpha, 0), axis=1)
    return where(reduce_sum(astype(hit, "int32"), axis=1) > 0, inside, IMPOSSIBLE)


def _log_sum(terms: list[Tensor]) -> Tensor:
    """log of the sum of exp of the terms; what is taken out so that exp can't overflow has no gradient."""
    largest = terms[0]
    for term in terms[1:]:
        largest = maximum(largest, term)
    largest = stop_gradient(largest)
    return largest + log(add_n([exp(term - largest) for term in terms]))
