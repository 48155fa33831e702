"""Row G8: a recurrent network with state, trained end to end through every step of the sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

import dfc

STEPS, BATCH, UNITS = 10, 64, 24


def sequences(rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Random bits, one of which, in the first half, is marked; the answer is that bit: nothing but memory helps."""
    bits = rng.integers(0, 2, (BATCH, STEPS))
    marks, rows = np.zeros((BATCH, STEPS), np.int64), np.arange(BATCH)
    at = rng.integers(0, STEPS // 2, BATCH)
    marks[rows, at] = 1
    return np.stack([2 * bits - 1, marks], -1).astype(np.float32), bits[rows, at].astype(np.int32)


def test_g8_an_lstm_learns_to_remember() -> None:
    dfc.random.seed(0)
    cell, out = dfc.nn.LSTMCell(2, UNITS), dfc.nn.Dense(UNITS, 2)
    variables = [*cell.variables, *out.variables]
    optimizer, rng = dfc.train.Adam(0.02), np.random.default_rng(0)

    def logits(x: Any) -> Any:
        state = cell.initial_state(BATCH)
        for i in range(STEPS):
            h, state = cell(x[:, i], state)
        return out(h)

    @dfc.function
    def step(x: Any, y: Any) -> Any:
        loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(y, logits(x)))
        grads, _ = dfc.train.clip_by_global_norm(dfc.gradients(loss, variables), 1.0)
        optimizer.apply_gradients(zip(grads, variables, strict=True))
        return loss

    first = step(*sequences(rng)).item()
    losses = [step(*sequences(rng)) for _ in range(300)]
    x, y = sequences(rng)
    right = np.mean(dfc.function(logits)(x).numpy().argmax(1) == y)
    assert first > 0.6
    assert np.mean([loss.item() for loss in losses[-20:]]) < 0.1
    assert right > 0.95
