"""Row L1: an optimiser of a user's own, in one file of public names only, against its paper's formula in NumPy."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc

pytest.importorskip("sklearn", reason="needs the extra `examples`")
FILE = Path(__file__).resolve().parents[2] / "examples" / "own_optimizer.py"
Array = np.ndarray[Any, Any]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FILE.parent))
    spec = importlib.util.spec_from_file_location("example_own_optimizer", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Formula:
    """AdaBelief as algorithm 2 of Zhuang et al. 2020 has it, in float64."""

    def __init__(self, w: Array, rate: float) -> None:
        self.w, self.rate, self.t = w.astype(np.float64), rate, 0
        self.m, self.s = np.zeros(w.shape), np.zeros(w.shape)

    def step(self, g: Array, rows: Any = ...) -> None:
        """For all of w, or for some rows with their gradients."""
        self.t += 1
        self.m[rows] = 0.9 * self.m[rows] + 0.1 * g
        self.s[rows] = 0.999 * self.s[rows] + 0.001 * (g - self.m[rows]) ** 2 + 1e-8
        m, s = self.m[rows] / (1 - 0.9**self.t), self.s[rows] / (1 - 0.999**self.t)
        self.w[rows] -= self.rate * m / (np.sqrt(s) + 1e-8)


def loss_gradients(images: Array, labels: Array, values: list[Array]) -> list[Array]:
    """Of the digits' network at these weights, by the chain rule."""
    w1, b1, w2, b2 = values
    x = images.astype(np.float64) / 16
    hidden = x @ w1 + b1
    active = np.maximum(hidden, 0)
    logits = active @ w2 + b2
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    d = (e / e.sum(axis=1, keepdims=True) - np.eye(10)[labels]) / len(x)
    back = d @ w2.T * (hidden > 0)
    return [x.T @ back, back.sum(axis=0), active.T @ d, d.sum(axis=0)]


def test_l1_own_optimizer_steps_as_its_formula_on_the_digits(example: Any) -> None:
    """At each of 50 steps: from the weights that dfc has, with gradients that NumPy finds, to the ones it has next."""
    (images, labels), _ = example.load_data()
    optimizer, variables = example.AdaBelief(3e-3), example.variables

    @dfc.function
    def train_step(images: Any, labels: Any) -> Any:
        loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(labels, example.network(images)))
        optimizer.minimize(loss, variables)
        return loss

    theirs = [Formula(v.numpy(), 3e-3) for v in variables]
    losses = []
    for number in range(50):
        rows = np.arange(number * 28, number * 28 + 32) % len(images)
        before = [v.numpy().astype(np.float64) for v in variables]
        losses.append(train_step(images[rows], labels[rows]).item())
        for formula, value, gradient in zip(
            theirs, before, loss_gradients(images[rows], labels[rows], before), strict=True
        ):
            formula.w = value.copy()
            formula.step(gradient)
        for formula, variable in zip(theirs, variables, strict=True):
            assert_allclose(variable.numpy(), formula.w, rtol=0, atol=2e-6)
            assert_allclose(optimizer.slot(variable, "mean").numpy(), formula.m, rtol=1e-4, atol=1e-7)
            assert_allclose(optimizer.slot(variable, "spread").numpy(), formula.s, rtol=1e-4, atol=1e-11)
    assert np.mean(losses[-10:]) < 0.5 * losses[0]
    assert optimizer.iterations.item() == 50


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "outside"])
def test_l1_own_optimizer_moves_only_the_rows_of_a_sparse_gradient(example: Any, traced: bool) -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=(8, 3)).astype(np.float32)
    table, optimizer, theirs = dfc.Variable(start, name="table"), example.AdaBelief(0.1), Formula(start, 0.1)

    def apply(values: Any, ids: Any) -> None:
        optimizer.apply_gradients([(dfc.IndexedSlices(values, ids, (8, 3)), table)])

    step = dfc.function(apply) if traced else apply
    for _ in range(20):
        ids, values = random.integers(0, 6, 5).astype(np.int32), random.normal(size=(5, 3)).astype(np.float32)
        step(dfc.asarray(values), dfc.asarray(ids))
        rows, places = np.unique(ids, return_inverse=True)
        summed = np.zeros((len(rows), 3))
        np.add.at(summed, places, values)
        theirs.step(summed, rows)
        assert_allclose(table.numpy(), theirs.w, rtol=1e-4, atol=1e-5)
    assert_array_equal(table.numpy()[6:], start[6:])


def test_l1_own_optimizer_is_one_file_of_public_names() -> None:
    """dfc alone, no module of its inside, and nothing of dfc that begins with an underscore."""
    tree = ast.parse(FILE.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in imported if name.startswith("dfc")} == {"dfc"}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not [name for name in attributes if name.startswith("_") and name != "__init__"]
