"""dfc.nn: values and gradients against float64 NumPy, and behaviour at large logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import log_softmax, softmax

import dfc

random = np.random.default_rng(0)
LOGITS = random.normal(0, 3, (4, 5)).astype(np.float32)
LABELS = np.array([0, 4, 2, 2], np.int32)
PROBABILITIES = softmax(random.normal(size=(4, 5)), axis=-1).astype(np.float32)


def test_relu() -> None:
    assert dfc.nn.relu([-1.0, 0.0, 2.5]).numpy().tolist() == [0, 0, 2.5]
    assert dfc.nn.relu(np.array([-3, 4])).numpy().tolist() == [0, 4]


@pytest.mark.parametrize("axis", [-1, 0])
def test_softmax_and_its_logarithm(axis: int) -> None:
    wide = LOGITS.astype(np.float64)
    assert_allclose(dfc.nn.softmax(LOGITS, axis=axis).numpy(), softmax(wide, axis=axis), rtol=1e-5)
    assert_allclose(dfc.nn.log_softmax(LOGITS, axis=axis).numpy(), log_softmax(wide, axis=axis), rtol=1e-5, atol=1e-6)


def test_large_logits_neither_overflow_nor_lose_the_small_class() -> None:
    huge = np.array([1e4, -1e4, 0.0], np.float32)
    assert dfc.nn.softmax(huge).numpy().tolist() == [1, 0, 0]
    assert dfc.nn.log_softmax(huge).numpy().tolist() == [0, -2e4, -1e4]
    losses = dfc.nn.sparse_softmax_cross_entropy([0, 1, 2], np.stack([huge] * 3))
    assert losses.numpy().tolist() == [0, 2e4, 1e4]


def test_softmax_cross_entropy() -> None:
    expected = -np.sum(PROBABILITIES * log_softmax(LOGITS.astype(np.float64), axis=-1), axis=-1)
    assert_allclose(dfc.nn.softmax_cross_entropy(PROBABILITIES, LOGITS).numpy(), expected, rtol=1e-5)
    impossible = np.array([[0.0, -np.inf]], np.float32)
    assert dfc.nn.softmax_cross_entropy([[1.0, 0.0]], impossible).numpy().tolist() == [0]


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_sparse_softmax_cross_entropy(dtype: str) -> None:
    expected = -log_softmax(LOGITS.astype(np.float64), axis=-1)[np.arange(4), LABELS]
    assert_allclose(dfc.nn.sparse_softmax_cross_entropy(LABELS.astype(dtype), LOGITS).numpy(), expected, rtol=1e-5)


def test_a_label_outside_the_classes_gives_nan() -> None:
    losses = dfc.nn.sparse_softmax_cross_entropy([-1, 5, 1, 1], LOGITS).numpy()
    assert np.isnan(losses).tolist() == [True, True, False, False]


def test_gradients_of_the_losses() -> None:
    @dfc.function
    def f(logits: Any) -> Any:
        sparse = dfc.nn.sparse_softmax_cross_entropy(LABELS, logits)
        dense = dfc.nn.softmax_cross_entropy(PROBABILITIES, logits)
        return dfc.gradients(sparse, logits) + dfc.gradients(dense, logits)

    by_sparse, by_dense = f(LOGITS)
    p = softmax(LOGITS.astype(np.float64), axis=-1)
    assert_allclose(by_sparse.numpy(), p - np.eye(5)[LABELS], rtol=1e-4, atol=1e-6)
    assert_allclose(by_dense.numpy(), p - PROBABILITIES, rtol=1e-4, atol=1e-6)


def test_symbolic_batches_and_sixteen_bits() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b", "classes"), "bfloat16"), dfc.TensorSpec(("b",), "int32")])
    def f(logits: Any, labels: Any) -> Any:
        return dfc.nn.softmax(logits), dfc.nn.sparse_softmax_cross_entropy(labels, logits)

    probabilities, losses = f(dfc.astype(LOGITS, "bfloat16"), LABELS)
    assert (probabilities.dtype, losses.dtype) == ("bfloat16", "bfloat16")
    assert_allclose(probabilities.numpy().astype(np.float64), softmax(LOGITS, axis=-1), rtol=0.05, atol=0.01)
