"""GoogLeNet (Szegedy et al. 2015, table 1) as a train step with momentum, once for dfc and once for JAX: the main tower
without dropout and auxiliary classifiers, images (batch, 224, 224, 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# An inception block: outputs of 1x1; of 1x1 and 3x3; of 1x1 and 5x5; of 1x1 after pooling. "pool" halves the image.
BLOCKS: tuple[Any, ...] = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    "pool",
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    "pool",
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)
SMALL: tuple[Any, ...] = ((4, 4, 6, 2, 4, 4), "pool", (6, 4, 8, 2, 4, 4))
BATCH, IMAGE, CLASSES, RATE, MOMENTUM = 16, 224, 1000, 0.01, 0.9


def parameters(
    blocks: tuple[Any, ...] = BLOCKS, stem: tuple[int, int] = (64, 192), classes: int = CLASSES
) -> list[Any]:
    """Kernel and bias of each layer, in the order in which the models take them."""
    random, found = np.random.default_rng(0), list[Any]()

    def layer(*shape: int) -> int:
        found.append(random.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape).astype(np.float32))
        found.append(random.normal(0, 0.1, shape[-1]).astype(np.float32))
        return shape[-1]

    layer(7, 7, 3, stem[0])
    layer(1, 1, stem[0], stem[0])
    features = layer(3, 3, stem[0], stem[1])
    for block in blocks:
        if block != "pool":
            a, b, c, d, e, f = block
            single = layer(1, 1, features, a)
            layer(1, 1, features, b)
            triple = layer(3, 3, b, c)
            layer(1, 1, features, d)
            features = single + triple + layer(5, 5, d, e) + layer(1, 1, features, f)
    layer(features, classes)
    return found


def data(batch: int = BATCH, image: int = IMAGE, classes: int = CLASSES) -> tuple[Any, Any]:
    random = np.random.default_rng(1)
    return random.normal(0, 1, (batch, image, image, 3)).astype(np.float32), random.integers(
        0, classes, batch, np.int32
    )


def tower(x: Any, weights: Iterator[Any], blocks: tuple[Any, ...], conv: Any, pool: Any, concat: Any) -> Any:
    """The layers up to the last mean, for either side's `conv(x, kernel, bias, stride)` with relu, `pool(x, stride)`
    and `concat`."""

    def layer(x: Any, stride: int = 1) -> Any:
        return conv(x, next(weights), next(weights), stride)

    x = pool(layer(x, 2), 2)
    x = pool(layer(layer(x)), 2)
    for block in blocks:
        if block == "pool":
            x = pool(x, 2)
        else:
            single, triple, quintuple = layer(x), layer(layer(x)), layer(layer(x))
            x = concat([single, triple, quintuple, layer(pool(x, 1))])
    return x


def ours(arrays: list[Any], blocks: tuple[Any, ...] = BLOCKS) -> tuple[Callable[..., Any], list[Any]]:
    """A train step on dfc variables (to be wrapped in dfc.function) and the variables."""
    import dfc

    variables = [dfc.Variable(p, name=f"p{i}") for i, p in enumerate(arrays)]
    optimizer = dfc.train.Momentum(RATE, MOMENTUM)

    def conv(x: Any, kernel: Any, bias: Any, stride: int) -> Any:
        return dfc.nn.relu(dfc.nn.conv(x, kernel, strides=stride) + bias)

    def pool(x: Any, stride: int) -> Any:
        return dfc.nn.max_pool(x, 3, strides=stride, padding="SAME")

    def step(x: Any, labels: Any) -> Any:
        weights = iter(variables)
        h = tower(x, weights, blocks, conv, pool, lambda parts: dfc.concat(parts, axis=3))
        logits = dfc.matmul(dfc.mean(h, axis=(1, 2)), next(weights)) + next(weights)
        loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(labels, logits))
        optimizer.minimize(loss, variables)
        return loss

    return step, variables


def in_jax(blocks: tuple[Any, ...] = BLOCKS) -> Callable[..., Any]:
    """The same in JAX: (parameters, velocities, x, labels) -> (parameters, velocities, loss)."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    numbers = ("NHWC", "HWIO", "NHWC")

    def conv(x: Any, kernel: Any, bias: Any, stride: int) -> Any:
        y = lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=numbers)
        return jax.nn.relu(y + bias)

    def pool(x: Any, stride: int) -> Any:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, stride, stride, 1), "SAME")

    def loss(parameters: list[Any], x: Any, labels: Any) -> Any:
        weights = iter(parameters)
        h = tower(x, weights, blocks, conv, pool, lambda parts: lax.concatenate(parts, 3))
        logits = jnp.matmul(jnp.mean(h, axis=(1, 2)), next(weights)) + next(weights)
        log_probabilities = jax.nn.log_softmax(logits)
        return -jnp.mean(jnp.take_along_axis(log_probabilities, labels[:, None], axis=1))

    def step(parameters: list[Any], velocities: list[Any], x: Any, labels: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(parameters, x, labels)
        moved = [MOMENTUM * v + g for v, g in zip(velocities, gradients, strict=True)]
        return [p - RATE * v for p, v in zip(parameters, moved, strict=True)], moved, value

    return step
