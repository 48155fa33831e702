"""Row H7: the sampled soft-max against its formula, its candidates, and the rows that its gradient touches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import dfc
from dfc.errors import InvalidArgument
from tests.frontend_support import error_of

Array = np.ndarray[Any, Any]
random = np.random.default_rng(3)
CLASSES, WIDTH, BATCH = 50, 4, 6
WEIGHTS = random.normal(size=(CLASSES, WIDTH))
BIASES = random.normal(size=CLASSES)
INPUTS = random.normal(size=(BATCH, WIDTH))
LABELS = random.integers(0, 10, (BATCH, 2))
SAMPLED = np.array([0, 3, 7, 1, 20, 49], np.int32)
EXPECTED = (random.uniform(0.1, 0.9, (BATCH, 2)), random.uniform(0.1, 0.9, len(SAMPLED)))


def formula(labels: Array, masked: bool) -> list[float]:
    """Row by row, class by class."""
    losses = []
    for i, row in enumerate(labels):
        logits = [INPUTS[i] @ WEIGHTS[c] + BIASES[c] - np.log(EXPECTED[0][i, j]) for j, c in enumerate(row)]
        for c, expected in zip(SAMPLED, EXPECTED[1], strict=True):
            if not (masked and c in row):
                logits.append(INPUTS[i] @ WEIGHTS[c] + BIASES[c] - np.log(expected))
        log_total = np.log(np.sum(np.exp(logits)))
        losses.append(float(np.mean([log_total - logit for logit in logits[: len(row)]])))
    return losses


@pytest.mark.parametrize("masked", [True, False])
def test_h7_with_given_candidates_it_equals_the_formula(masked: bool) -> None:
    assert any(c in row for c in SAMPLED for row in LABELS)  # there are accidental hits
    values = (SAMPLED, *EXPECTED)
    loss = dfc.nn.sampled_softmax_loss(
        WEIGHTS, BIASES, LABELS, INPUTS, len(SAMPLED), CLASSES, sampled_values=values, remove_accidental_hits=masked
    )
    assert (loss.shape, loss.dtype) == ((BATCH,), "float64")
    assert_allclose(loss.numpy(), formula(LABELS, masked), rtol=1e-10)


def test_h7_one_true_class_may_be_a_vector() -> None:
    values = (SAMPLED, EXPECTED[0][:, :1], EXPECTED[1])
    loss = dfc.nn.sampled_softmax_loss(
        WEIGHTS, BIASES, LABELS[:, 0], INPUTS, len(SAMPLED), CLASSES, sampled_values=values
    )
    assert_allclose(loss.numpy(), formula(LABELS[:, :1], True), rtol=1e-10)


def test_h7_all_classes_without_correction_are_the_whole_softmax() -> None:
    every, ones = np.arange(CLASSES, dtype=np.int32), np.ones(CLASSES)
    values = (every, np.ones((BATCH, 1)), ones)
    loss = dfc.nn.sampled_softmax_loss(WEIGHTS, BIASES, LABELS[:, 0], INPUTS, CLASSES, CLASSES, sampled_values=values)
    whole = dfc.nn.sparse_softmax_cross_entropy(LABELS[:, 0], INPUTS @ WEIGHTS.T + BIASES)
    assert_allclose(loss.numpy(), whole.numpy(), rtol=1e-10)


@pytest.mark.parametrize("strategy", ["mod", "div"])
def test_h7_tables_may_be_in_parts(strategy: str) -> None:
    places = np.arange(CLASSES)
    owners = places % 4 if strategy == "mod" else np.repeat(np.arange(4), [13, 13, 12, 12])
    parts = [[table[owners == i] for i in range(4)] for table in (WEIGHTS, BIASES)]
    loss = dfc.nn.sampled_softmax_loss(
        *parts, LABELS, INPUTS, len(SAMPLED), CLASSES, sampled_values=(SAMPLED, *EXPECTED), partition_strategy=strategy
    )
    assert_allclose(loss.numpy(), formula(LABELS, True), rtol=1e-10)


def probability(k: Array, classes: int) -> Array:
    return np.log((k + 2) / (k + 1)) / np.log(classes + 1)


def test_h7_candidates_are_distinct_and_their_counts_follow_from_the_draws() -> None:
    true = np.array([[0, 5], [49, 1]])
    for seed in range(5):
        sampled, by_true, by_sampled = (
            x.numpy() for x in dfc.nn.log_uniform_candidate_sampler(true, 20, 50, key=dfc.random.key(seed))
        )
        assert len(set(sampled.tolist())) == 20 and sampled.min() >= 0 and sampled.max() < 50
        # One number of draws explains all counts: 1 - (1 - P)^n.
        p = probability(sampled.astype(np.float64), 50)
        n = np.log1p(-by_sampled.astype(np.float64)) / np.log1p(-p)
        draws = round(float(np.median(n)))
        assert draws >= 20
        assert_allclose(by_sampled, 1 - (1 - p) ** draws, rtol=1e-5)
        assert_allclose(by_true, 1 - (1 - probability(true, 50)) ** draws, rtol=1e-5)


def test_h7_draws_are_log_uniform() -> None:
    sampled, by_true, by_sampled = dfc.nn.log_uniform_candidate_sampler(
        [0], 20_000, 10, unique=False, key=dfc.random.key(1)
    )
    p = probability(np.arange(10), 10)
    assert_allclose(p.sum(), 1)
    assert stats.chisquare(np.bincount(sampled.numpy(), minlength=10), 20_000 * p).pvalue > 0.001
    assert_allclose(by_true.numpy(), 20_000 * p[:1], rtol=1e-5)
    assert_allclose(by_sampled.numpy(), 20_000 * p[sampled.numpy()], rtol=1e-5)

    @dfc.function
    def first(number: Any) -> Any:
        key = dfc.random.fold_in(dfc.random.key(8), number)
        return dfc.nn.log_uniform_candidate_sampler([0], 3, 10, key=key)[0][0]

    firsts = [first(np.int32(i)).item() for i in range(400)]
    observed = np.bincount(firsts, minlength=10)
    assert stats.chisquare(observed, 400 * p).pvalue > 0.001


def test_h7_the_gradient_touches_true_and_sampled_rows_only() -> None:
    classes, number, batch = 40_000, 512, 8
    weights = dfc.Variable(np.zeros((classes, 3), np.float32), name="weights")
    biases = dfc.Variable(np.zeros(classes, np.float32), name="biases")
    key = dfc.random.key(2)

    @dfc.function
    def step(labels: Any, inputs: Any) -> Any:
        loss = dfc.nn.sampled_softmax_loss(weights, biases, labels, inputs, number, classes, key=key)
        sampled, _, _ = dfc.nn.log_uniform_candidate_sampler(labels, number, classes, key=key)
        return loss, sampled, dfc.gradients(loss, [weights, biases])

    labels = random.integers(0, classes, batch)
    loss, sampled, gradients = step(labels, random.normal(size=(batch, 3)).astype(np.float32))
    assert loss.shape == (batch,)
    expected = sorted({*labels.tolist(), *sampled.numpy().tolist()})
    assert len(expected) <= batch + number
    for gradient in gradients:
        dense = np.asarray(dfc.asarray(gradient).numpy())
        touched = np.flatnonzero(np.abs(dense).reshape(classes, -1).sum(axis=1))
        assert_array_equal(touched, expected)


def test_h7_training_with_it_lowers_the_whole_softmax() -> None:
    rng = np.random.default_rng(0)
    weights = dfc.Variable(np.zeros((200, 8), np.float32), name="weights")
    biases = dfc.Variable(np.zeros(200, np.float32), name="biases")
    labels = (rng.zipf(1.5, 64) % 200).astype(np.int32)
    inputs = rng.normal(size=(64, 8)).astype(np.float32) * 2
    optimizer, noise = dfc.train.SGD(0.5), dfc.random.Generator(0)

    @dfc.function
    def step() -> Any:
        loss = dfc.nn.sampled_softmax_loss(weights, biases, labels, inputs, 30, 200, key=noise.key())
        optimizer.minimize(dfc.mean(loss), [weights, biases])
        logits = inputs @ dfc.matrix_transpose(weights) + biases
        return dfc.mean(dfc.nn.sparse_softmax_cross_entropy(labels, logits))

    whole = [step().item() for _ in range(60)]
    assert whole[-1] < 0.5 * np.log(200)


def test_h7_errors() -> None:
    def few() -> Any:
        return dfc.nn.log_uniform_candidate_sampler([0], 5, 3)

    def shapes() -> Any:
        return dfc.nn.sampled_softmax_loss(WEIGHTS, BIASES, LABELS[:3], INPUTS, 5, CLASSES)

    assert error_of(InvalidArgument, few, __file__) == (
        "log_uniform_candidate_sampler: the number of candidates must be from 1 to that of classes, got 5 of 3"
    )
    assert error_of(InvalidArgument, shapes, __file__) == (
        "sampled_softmax_loss: inputs must be (batch, width), labels (batch, num_true), "
        "got float64[6, 4] and int64[3, 2]"
    )
