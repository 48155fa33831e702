"""Row G5: a sparse gradient moves only the rows that it names, and their slots, by the sum of each row's gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc

RNG = np.random.default_rng(2)
ROWS, DEPTH = 8, 3
TABLE = RNG.normal(size=(ROWS, DEPTH)).astype(np.float32)
STEPS = [np.array(ids, np.int32) for ids in ([1, 5, 1, 1], [5, 0, 2, 5], [1, 2, 2, 7])]
UPDATES = [RNG.normal(size=(4, DEPTH)).astype(np.float32) for _ in STEPS]

OPTIMIZERS: dict[str, Callable[[], dfc.train.Optimizer]] = {
    "sgd": lambda: dfc.train.SGD(0.1),
    "momentum": lambda: dfc.train.Momentum(0.1),
    "adagrad": lambda: dfc.train.AdaGrad(0.1),
    "adadelta": lambda: dfc.train.AdaDelta(0.5),
    "rmsprop": lambda: dfc.train.RMSProp(0.1, centered=True, momentum=0.5),
    "adam": lambda: dfc.train.Adam(0.1),
    "adamw": lambda: dfc.train.AdamW(0.1, weight_decay=0.1),
    "lion": lambda: dfc.train.Lion(0.1),
}


def summed(ids: np.ndarray[Any, Any], updates: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    dense = np.zeros((ROWS, DEPTH), np.float32)
    np.add.at(dense, ids, updates)
    return dense


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "outside"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_g5_touched_rows_move_as_dense_ones_and_the_others_stay(name: str, traced: bool) -> None:
    """Beside a dense step, whose effect on rows without gradients is undone: that is what sparse means."""
    sparse, dense = dfc.Variable(TABLE, name="t"), dfc.Variable(TABLE, name="t")
    ours, theirs = OPTIMIZERS[name](), OPTIMIZERS[name]()

    def apply(values: Any, ids: Any) -> None:
        ours.apply_gradients([(dfc.IndexedSlices(values, ids, (ROWS, DEPTH)), sparse)])

    step = dfc.function(apply) if traced else apply
    for ids, updates in zip(STEPS, UPDATES, strict=True):
        before = {v.name: v.numpy() for v in [dense, *theirs.variables]}
        step(dfc.asarray(updates), dfc.asarray(ids))
        theirs.apply_gradients([(summed(ids, updates), dense)])
        untouched = np.setdiff1d(np.arange(ROWS), ids)
        for variable in [dense, *theirs.variables]:
            if variable.shape == (ROWS, DEPTH):
                start = before.get(variable.name)
                value = variable.numpy()
                initial = 0.1 if name == "adagrad" else 0.0
                value[untouched] = initial if start is None else start[untouched]
                variable.assign(value)
        for got, expected in zip([sparse, *ours.variables], [dense, *theirs.variables], strict=True):
            assert got.name == expected.name
            assert_allclose(got.numpy(), expected.numpy(), rtol=2e-5, atol=1e-6)
    never = [3, 4, 6]
    assert_array_equal(sparse.numpy()[never], TABLE[never])
    for slot in ours.variables:
        if slot.shape == (ROWS, DEPTH):
            assert_array_equal(slot.numpy()[never], np.full((3, DEPTH), 0.1 if name == "adagrad" else 0, np.float32))


def test_g5_an_embedding_trains_by_its_rows() -> None:
    layer, optimizer = dfc.nn.Embedding(ROWS, DEPTH), dfc.train.Adam(0.1)
    before = layer.table.numpy()

    @dfc.function
    def step(ids: Any) -> Any:
        loss = dfc.sum(dfc.square(layer(ids) - 1.0))
        (gradient,) = dfc.gradients(loss, [layer.table])
        assert isinstance(gradient, dfc.IndexedSlices)
        optimizer.minimize(loss, [layer.table])
        return loss

    losses = [step(np.array([2, 6, 2], np.int32)).item() for _ in range(60)]
    after = layer.table.numpy()
    assert losses[-1] < 0.05 * losses[0]
    assert_array_equal(np.delete(after, [2, 6], 0), np.delete(before, [2, 6], 0))
    m = next(v for v in optimizer.variables if v.name.endswith("/m")).numpy()
    assert not m[[0, 1, 3, 4, 5, 7]].any() and m[[2, 6]].all()


def test_g5_a_rule_with_its_own_update_gets_whole_tensors() -> None:
    class Plain(dfc.train.Optimizer):
        def update(self, gradient: dfc.Tensor, variable: dfc.Variable) -> None:
            assert isinstance(gradient, dfc.Tensor)
            variable.assign_sub(gradient)

    table = dfc.Variable(TABLE)
    Plain(1.0).apply_gradients([(dfc.IndexedSlices(UPDATES[0], STEPS[0], (ROWS, DEPTH)), table)])
    assert_allclose(table.numpy(), TABLE - summed(STEPS[0], UPDATES[0]), rtol=1e-5, atol=1e-6)


def test_g5_clipping_by_the_norm_of_all_keeps_gradients_sparse() -> None:
    slices = dfc.IndexedSlices(UPDATES[0], STEPS[0], (ROWS, DEPTH))
    dense = summed(STEPS[0], UPDATES[0])
    (clipped,), norm = dfc.train.clip_by_global_norm([slices], 0.5)
    assert isinstance(clipped, dfc.IndexedSlices)
    assert_allclose(norm.item(), np.linalg.norm(dense), rtol=1e-5)
    assert_allclose(clipped.to_dense().numpy(), dense * 0.5 / np.linalg.norm(dense), rtol=1e-5, atol=1e-6)
