"""Row A1: one dataflow graph holds maths, parameters and update rules."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.testing import assert_allclose

import dfc
from dfc.ir.ops.elementwise import Tanh
from dfc.ir.ops.function import Func, Gradients
from dfc.ir.ops.state import AssignSub, Read


def test_a1_maths_state_and_update_rules_are_one_graph() -> None:
    w = dfc.Variable([[0.5], [-0.25]], name="w")
    optimizer = dfc.train.SGD(0.1)

    @dfc.function
    def predict(x: Any) -> Any:
        return dfc.tanh(x @ w)

    @dfc.function
    def train(x: Any, y: Any) -> Any:
        loss = dfc.mean(dfc.square(predict(x) - y))
        optimizer.minimize(loss, [w])
        return loss

    graph = train.graph(dfc.TensorSpec((4, 2)), dfc.TensorSpec((4, 1)))
    functions = {op.sym_name.data: op for op in graph.module.ops if isinstance(op, Func)}
    assert list(functions) == ["train", "predict"]
    ops = {type(op) for function in functions.values() for op in function.block.ops}
    assert {Tanh, Read, Gradients, AssignSub} <= ops
    assert graph.variables == {"w": w}

    # Each part runs alone, on the same state; the step equals the formula.
    random = np.random.default_rng(0)
    x, y = random.normal(size=(4, 2)).astype(np.float32), random.normal(size=(4, 1)).astype(np.float32)
    before = w.numpy()
    assert_allclose(predict(x).numpy(), np.tanh(x @ before), rtol=1e-5)
    loss = train(x, y)
    output = np.tanh(x @ before)
    gradient = x.T @ ((1 - output**2) * 2 * (output - y) / 4)
    assert_allclose(loss.numpy(), np.mean((output - y) ** 2), rtol=1e-5)
    assert_allclose(w.numpy(), before - 0.1 * gradient, rtol=1e-5)
    assert_allclose(predict(x).numpy(), np.tanh(x @ w.numpy()), rtol=1e-5)
