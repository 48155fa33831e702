"""The models of the `compile` benchmark, written once for dfc and once for JAX, with the same parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

LAYERS, WIDTH, BATCH, CHAIN = 20, 64, 32, 5_000


def mlp_parameters(layers: int = LAYERS) -> list[Any]:
    random = np.random.default_rng(0)
    parameters: list[Any] = []
    for _ in range(layers):
        parameters.append(random.normal(0, np.sqrt(2 / WIDTH), (WIDTH, WIDTH)).astype(np.float32))
        parameters.append(random.normal(0, 0.1, WIDTH).astype(np.float32))
    return parameters


def mlp_data() -> tuple[Any, Any]:
    random = np.random.default_rng(1)
    return random.normal(0, 1, (BATCH, WIDTH)).astype(np.float32), random.integers(0, WIDTH, BATCH).astype(np.int32)


def mlp_ours(parameters: list[Any], rate: float = 0.01) -> tuple[Callable[..., Any], list[Any]]:
    """A train step of the MLP on dfc variables (to be wrapped in dfc.function) and the variables."""
    import dfc

    variables = [dfc.Variable(p, name=f"p{i}") for i, p in enumerate(parameters)]
    optimizer = dfc.train.SGD(rate)

    def step(x: Any, labels: Any) -> Any:
        h = x
        for i in range(0, len(variables), 2):
            h = dfc.matmul(h, variables[i]) + variables[i + 1]
            if i + 2 < len(variables):
                h = dfc.nn.relu(h)
        loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(labels, h))
        optimizer.minimize(loss, variables)
        return loss

    return step, variables


def mlp_jax(rate: float = 0.01) -> Callable[..., Any]:
    """The same in JAX: (parameters, x, labels) -> (parameters, loss)."""
    import jax
    import jax.numpy as jnp

    def loss(parameters: list[Any], x: Any, labels: Any) -> Any:
        h = x
        for i in range(0, len(parameters), 2):
            h = jnp.matmul(h, parameters[i]) + parameters[i + 1]
            if i + 2 < len(parameters):
                h = jax.nn.relu(h)
        log_probabilities = jax.nn.log_softmax(h)
        return -jnp.mean(jnp.take_along_axis(log_probabilities, labels[:, None], axis=1))

    def step(parameters: list[Any], x: Any, labels: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(parameters, x, labels)
        return [p - rate * g for p, g in zip(parameters, gradients, strict=True)], value

    return step


def chain(length: int = CHAIN) -> Callable[..., Any]:
    """A chain of `length` alternating additions and multiplications; the same text serves both sides.

    Each value stays in a bounded range, so that results can be compared.
    """

    def run(x: Any, y: Any) -> Any:
        for _ in range(length // 2):
            x = x * y
            x = x + y
        return x

    return run
