"""Row G4: every optimiser beside optax's of the same name, for 50 steps of a problem with curvature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc

optax = pytest.importorskip("optax", reason="optax, the peer, is not installed: pip install optax")

STEPS = 50
RNG = np.random.default_rng(5)
START = RNG.normal(size=(4, 3))
SCALE = RNG.uniform(0.2, 3.0, size=(4, 3))
NOISE = RNG.normal(size=(STEPS, 4, 3))

PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "sgd": (lambda: dfc.train.SGD(0.1), lambda: optax.sgd(0.1)),
    "momentum": (lambda: dfc.train.Momentum(0.05), lambda: optax.sgd(0.05, momentum=0.9)),
    "nesterov": (
        lambda: dfc.train.Momentum(0.05, use_nesterov=True),
        lambda: optax.sgd(0.05, momentum=0.9, nesterov=True),
    ),
    "adagrad": (lambda: dfc.train.AdaGrad(0.1), lambda: optax.adagrad(0.1)),
    "adadelta": (lambda: dfc.train.AdaDelta(0.5), lambda: optax.adadelta(0.5)),
    "rmsprop": (lambda: dfc.train.RMSProp(0.02), lambda: optax.rmsprop(0.02)),
    "rmsprop centered": (lambda: dfc.train.RMSProp(0.02, centered=True), lambda: optax.rmsprop(0.02, centered=True)),
    "rmsprop momentum": (
        lambda: dfc.train.RMSProp(0.02, momentum=0.8, use_nesterov=True),
        lambda: optax.rmsprop(0.02, momentum=0.8, nesterov=True),
    ),
    "adam": (lambda: dfc.train.Adam(0.05), lambda: optax.adam(0.05)),
    "adam roots": (
        lambda: dfc.train.Adam(0.05, 0.8, 0.95, epsilon=1e-3, epsilon_root=1e-4),
        lambda: optax.adam(0.05, 0.8, 0.95, eps=1e-3, eps_root=1e-4),
    ),
    "adamw": (lambda: dfc.train.AdamW(0.05, weight_decay=0.1), lambda: optax.adamw(0.05, weight_decay=0.1)),
    "lion": (lambda: dfc.train.Lion(0.01), lambda: optax.lion(0.01)),
}


def gradient(w: Any, step: int) -> Any:
    """Of a bowl, with noise."""
    return SCALE * w + 0.1 * NOISE[step]


def by_optax(optimizer: Any, dtype: str) -> list[np.ndarray[Any, Any]]:
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        w = jnp.asarray(START, dtype)
        state, values = optimizer.init(w), []
        for i in range(STEPS):
            updates, state = optimizer.update(jnp.asarray(gradient(np.asarray(w), i), dtype), state, w)
            w = optax.apply_updates(w, updates)
            values.append(np.asarray(w))
    return values


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "outside"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PAIRS)
def test_g4_steps_equal_optax(name: str, dtype: str, traced: bool) -> None:
    make, peer = PAIRS[name]
    optimizer, w = make(), dfc.Variable(START.astype(dtype), name="w")

    def apply(g: Any) -> None:
        optimizer.apply_gradients([(g, w)])

    step = dfc.function(apply) if traced else apply
    tolerance = 1e-9 if dtype == "float64" else 2e-4
    for i, expected in enumerate(by_optax(peer(), dtype)):
        step(dfc.asarray(gradient(w.numpy(), i).astype(dtype)))
        assert_allclose(w.numpy(), expected, rtol=tolerance, atol=tolerance, err_msg=f"step {i}")
