"""Losses, dropout and look-up of dfc.nn: values from formulas in float64, gradients, edges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, log_softmax, rel_entr

import dfc
from dfc.errors import InvalidArgument, InvalidType
from tests.frontend_support import error_of

Array = np.ndarray[Any, Any]
random = np.random.default_rng(0)
X = random.normal(0, 3, (4, 5))
P = random.dirichlet(np.ones(5), 4)
Q = random.dirichlet(np.ones(5), 4)
KEY = dfc.random.key(11)


# ---- dropout and look-up


def test_dropout_keeps_the_mean_and_scales_what_stays() -> None:
    x = np.ones((100, 100), np.float32)
    y = dfc.nn.dropout(x, 0.3, key=KEY).numpy()
    assert set(np.unique(y).tolist()) == {0.0, float(np.float32(1) / np.float32(0.7))}
    assert abs((y == 0).mean() - 0.3) < 0.02
    assert_array_equal(y, dfc.nn.dropout(x, 0.3, key=KEY).numpy())
    assert (y != dfc.nn.dropout(x, 0.3).numpy()).any()


def test_dropout_outside_training_is_nothing() -> None:
    assert_array_equal(dfc.nn.dropout(X, 0.5, training=False).numpy(), X)
    assert_array_equal(dfc.nn.dropout(X, 0.0).numpy(), X)
    for training in (True, False):
        y = dfc.nn.dropout(X, 0.5, key=KEY, training=dfc.asarray(training)).numpy()
        assert_array_equal(y, dfc.nn.dropout(X, 0.5, key=KEY, training=training).numpy())


def test_dropout_of_whole_parts_and_of_sixteen_bits() -> None:
    y = dfc.nn.dropout(np.ones((64, 8), np.float32), 0.5, key=KEY, noise_shape=(64, 1)).numpy()
    assert set(y.sum(axis=1).tolist()) == {0.0, 16.0}
    assert dfc.nn.dropout(dfc.ones(8, dtype="bfloat16"), dfc.asarray(0.5), key=KEY).dtype == "bfloat16"


def test_dropout_has_the_same_mask_in_its_gradient() -> None:
    @dfc.function
    def f(x: Any) -> Any:
        y = dfc.nn.dropout(x, 0.4)
        return y, dfc.gradients(y, x)[0]

    y, g = f(np.ones((20, 20), np.float32))
    assert_array_equal(y.numpy(), g.numpy())


def test_embedding_lookup() -> None:
    table = random.normal(size=(6, 2, 3))
    ids = np.array([[0, 5], [2, 2]])
    assert_array_equal(dfc.nn.embedding_lookup(table, ids).numpy(), table[ids])
    table[2] /= 4
    clipped = dfc.nn.embedding_lookup(table, ids, max_norm=1.5).numpy()
    norms = np.sqrt((table[ids] ** 2).sum(axis=(2, 3), keepdims=True))
    assert (norms > 1.5).any() and (norms < 1.5).any()
    assert_allclose(clipped, table[ids] * np.minimum(1, 1.5 / norms), rtol=1e-12)


def test_the_gradient_of_a_clipped_row_of_zeros_is_one() -> None:
    @dfc.function
    def f(table: Any) -> Any:
        return dfc.gradients(dfc.nn.embedding_lookup(table, [1, 1], max_norm=2.0), table)[0]

    assert_array_equal(f(np.zeros((2, 3))).numpy(), [[0, 0, 0], [2, 2, 2]])


# ---- losses of elements and rows

LOSSES: dict[str, tuple[Callable[..., Any], Array, Array, Array]] = {
    "sigmoid_cross_entropy": (
        dfc.nn.sigmoid_cross_entropy, P, X, -P * np.log(expit(X)) - (1 - P) * np.log(expit(-X)),
    ),
    "mean_squared_error": (dfc.nn.mean_squared_error, P, X, np.mean((P - X) ** 2)),
    "mean_absolute_error": (dfc.nn.mean_absolute_error, P, X, np.mean(np.abs(P - X))),
    "huber_loss": (
        dfc.nn.huber_loss, P, X, np.where(np.abs(X - P) <= 1, (X - P) ** 2 / 2, np.abs(X - P) - 0.5),
    ),
    "hinge_loss": (dfc.nn.hinge_loss, np.sign(P - 0.2) > 0, X, np.maximum(0, 1 - np.sign(P - 0.2) * X)),
    "kl_divergence": (dfc.nn.kl_divergence, P, Q, rel_entr(P, Q).sum(axis=-1)),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_loss(name: str) -> None:
    function, labels, values, expected = LOSSES[name]
    assert_allclose(function(labels, values).numpy(), expected, rtol=1e-12)
    single = function(labels.astype(np.float32), values.astype(np.float32))
    assert single.dtype == "float32"
    assert_allclose(single.numpy(), expected, rtol=2e-5)
    message = f"{name}: labels must have the shape of "
    assert error_of(InvalidArgument, lambda: function(labels[0], values), __file__).startswith(message)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_of_loss(name: str) -> None:
    function, labels, values, _ = LOSSES[name]

    @dfc.function
    def f(x: Any) -> Any:
        y = dfc.sum(function(labels, x))
        return y, dfc.gradients(y, x)[0]

    _, g = f(values)
    for index in ((0, 0), (1, 3), (3, 4)):
        moved = [np.array(values), np.array(values)]
        moved[0][index] += 1e-6
        moved[1][index] -= 1e-6
        slope = (f(moved[0])[0].item() - f(moved[1])[0].item()) / 2e-6
        assert_allclose(g.numpy()[index], slope, rtol=1e-5, atol=1e-7)


def test_large_logits_of_the_sigmoid() -> None:
    loss = dfc.nn.sigmoid_cross_entropy([1.0, 0.0, 1.0], [-1e4, -1e4, 1e4])
    assert loss.numpy().tolist() == [1e4, 0, 0]


def test_zeros_of_probabilities() -> None:
    found = dfc.nn.kl_divergence([[0.0, 1.0], [0.5, 0.5]], [[0.0, 1.0], [0.0, 1.0]]).numpy()
    assert found.tolist() == [0.0, math.inf]


def test_means_along_an_axis_and_half_the_squares() -> None:
    assert_allclose(dfc.nn.mean_squared_error(P, X, axis=0).numpy(), np.mean((P - X) ** 2, axis=0))
    assert_allclose(dfc.nn.l2_loss(X).numpy(), (X**2).sum() / 2)


def test_smooth_labels() -> None:
    assert_allclose(dfc.nn.smooth_labels([[0, 1, 0, 0]], 0.2).numpy(), [[0.05, 0.85, 0.05, 0.05]], rtol=1e-6)

    @dfc.function(signature=[dfc.TensorSpec(("b", "n"), "float64")])
    def f(labels: Any) -> Any:
        return dfc.nn.smooth_labels(labels, 0.1)

    assert_allclose(f(P).numpy(), P * 0.9 + 0.02)


# ---- CTC


def alignments(logits: Array, labels: list[int], blank: int) -> float:
    """-log of the probability of all alignments that read as the labels, one by one."""
    time, classes = logits.shape
    logs, total = log_softmax(logits, axis=-1), 0.0
    for path in itertools.product(range(classes), repeat=time):
        read = [label for label, _ in itertools.groupby(path) if label != blank]
        if read == labels:
            total += math.exp(sum(logs[t, c] for t, c in enumerate(path)))
    return -math.log(total) if total else math.inf


CTC_LABELS = np.array([[1, 2, 0], [1, 1, 0], [2, 0, 0], [0, 0, 0], [1, 2, 1]], np.int32)
LABEL_LENGTH = np.array([2, 2, 1, 0, 3], np.int32)
LOGIT_LENGTH = np.array([4, 4, 2, 3, 3], np.int32)
CTC_LOGITS = random.normal(size=(4, 5, 3))


@pytest.mark.parametrize("blank", [0, 2, -1])
def test_ctc_equals_the_sum_over_all_alignments(blank: int) -> None:
    at = blank % 3
    others = np.array([c for c in range(3) if c != at] + [at])
    labels = others[CTC_LABELS - 1] if at == 0 else np.where(CTC_LABELS == 2, 0, CTC_LABELS)
    expected = [
        alignments(CTC_LOGITS[:n, i], labels[i, :m].tolist(), at)
        for i, (n, m) in enumerate(zip(LOGIT_LENGTH, LABEL_LENGTH, strict=True))
    ]
    loss = dfc.nn.ctc_loss(labels, CTC_LOGITS, LABEL_LENGTH, LOGIT_LENGTH, blank_index=blank)
    assert (loss.shape, loss.dtype) == ((5,), "float64")
    assert_allclose(loss.numpy(), expected, rtol=1e-12)
    by_batch = dfc.nn.ctc_loss(
        labels, CTC_LOGITS.transpose(1, 0, 2), LABEL_LENGTH, LOGIT_LENGTH, logits_time_major=False, blank_index=blank
    )
    assert_array_equal(by_batch.numpy(), loss.numpy())


def test_ctc_without_a_possible_alignment_is_infinite_and_has_no_gradient() -> None:
    @dfc.function
    def f(logits: Any) -> Any:
        loss = dfc.nn.ctc_loss([[1, 1], [1, 2]], logits, [2, 2], [2, 2])
        return loss, dfc.gradients(loss, logits)[0]

    loss, gradient = f(CTC_LOGITS[:2, :2])
    assert math.isinf(loss.numpy()[0]) and math.isfinite(loss.numpy()[1])
    assert (gradient.numpy()[:, 0] == 0).all() and (gradient.numpy()[:, 1] != 0).all()


def test_ctc_classes_that_are_ruled_out() -> None:
    logits = CTC_LOGITS[:, :1].copy()
    logits[1, 0, 2] = -np.inf
    loss = dfc.nn.ctc_loss([[1, 2]], logits, [2], [4])
    assert_allclose(loss.numpy(), [alignments(logits[:, 0], [1, 2], 0)], rtol=1e-12)


def test_gradients_of_ctc_to_second_order() -> None:
    weights = random.normal(size=(4, 2, 3))

    @dfc.function
    def f(logits: Any) -> Any:
        loss = dfc.sum(dfc.nn.ctc_loss([[1, 2], [1, 1]], logits, [2, 2], [4, 3]))
        (first,) = dfc.gradients(loss, logits)
        (second,) = dfc.gradients(dfc.sum(first * weights), logits)
        return loss, dfc.sum(first * weights), first, second

    x = CTC_LOGITS[:, :2]
    _, _, first, second = f(x)
    assert_array_equal(first.numpy()[3, 1], 0)  # beyond the length
    for index in ((0, 0, 0), (1, 1, 1), (2, 0, 2), (2, 1, 0)):
        sides = []
        for step in (1e-5, -1e-5):
            moved = x.copy()
            moved[index] += step
            sides.append([y.item() for y in f(moved)[:2]])
        slopes = (np.array(sides[0]) - sides[1]) / 2e-5
        assert_allclose([first.numpy()[index], second.numpy()[index]], slopes, rtol=1e-5, atol=1e-8)


def test_ctc_of_symbolic_batches_and_sixteen_bits() -> None:
    specs = [dfc.TensorSpec(("b", 3), "int32"), dfc.TensorSpec((4, "b", 3), "bfloat16")]
    lengths = [dfc.TensorSpec(("b",), "int32")] * 2

    @dfc.function(signature=[*specs, *lengths])
    def f(labels: Any, logits: Any, label_length: Any, logit_length: Any) -> Any:
        return dfc.nn.ctc_loss(labels, logits, label_length, logit_length)

    half = dfc.astype(CTC_LOGITS, "bfloat16")
    loss = f(CTC_LABELS, half, LABEL_LENGTH, LOGIT_LENGTH)
    wide = dfc.nn.ctc_loss(CTC_LABELS, half.numpy().astype(np.float64), LABEL_LENGTH, LOGIT_LENGTH)
    assert loss.dtype == "bfloat16"
    assert_allclose(loss.numpy().astype(np.float64), wide.numpy(), rtol=0.01)


# ---- errors


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: dfc.nn.embedding_lookup([P, P], [0], partition_strategy="hash"),
            InvalidArgument,
            "embedding_lookup: Unrecognized partition strategy: 'hash'",
        ),
        (lambda: dfc.nn.dropout([1], 0.5), InvalidType, "dropout: x must be floating, got int32[1]"),
        (lambda: dfc.nn.dropout([1.0], 1.0), InvalidArgument, "dropout: 0 <= rate < 1 must hold, got 1.0"),
        (
            lambda: dfc.nn.embedding_lookup(np.ones((2, 2)), [0], max_norm=0.0),
            InvalidArgument,
            "embedding_lookup: max_norm must be positive, got 0.0",
        ),
        (lambda: dfc.nn.huber_loss(P, X, delta=0.0), InvalidArgument, "huber_loss: delta must be positive, got 0.0"),
        (
            lambda: dfc.nn.smooth_labels(P, 1.5),
            InvalidArgument,
            "smooth_labels: smoothing must be from 0 to 1, got 1.5",
        ),
        (
            lambda: dfc.nn.ctc_loss(CTC_LABELS, CTC_LOGITS, LABEL_LENGTH, LOGIT_LENGTH, blank_index=3),
            InvalidArgument,
            "ctc_loss: the blank must be one of 3 classes, got 3",
        ),
        (
            lambda: dfc.nn.ctc_loss(CTC_LABELS, CTC_LOGITS[0], LABEL_LENGTH, LOGIT_LENGTH),
            InvalidType,
            "ctc_loss: logits must be floating with three axes, got float64[5, 3]",
        ),
        (
            lambda: dfc.nn.ctc_loss(P, CTC_LOGITS, LABEL_LENGTH, LOGIT_LENGTH),
            InvalidType,
            "ctc_loss: labels must be integers, got float64[4, 5]",
        ),
        (
            lambda: dfc.nn.ctc_loss(CTC_LABELS[:2], CTC_LOGITS, LABEL_LENGTH, LOGIT_LENGTH),
            InvalidArgument,
            "ctc_loss: labels must be (batch, most labels) and both lengths (batch,), got int32[2, 3], "
            "float64[4, 5, 3], int32[5], int32[5]",
        ),
    ],
)
def test_errors(call: Callable[[], Any], kind: Any, message: str) -> None:
    assert error_of(kind, call, __file__) == message
