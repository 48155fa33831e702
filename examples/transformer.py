"""A transformer block over a mesh of devices, trained with its batches, its weights or both divided among them.

    python examples/transformer.py                        # data-parallel: four devices, a quarter of each batch each
    python examples/transformer.py --data 1 --model 4     # tensor-parallel: a head and a quarter of the layer each
    python examples/transformer.py --data 2 --model 2     # both
    python examples/transformer.py --data 1 --model 1     # one device

scikit-learn's handwritten digits are read as eight rows of pixels, one position each. Data-parallel steps sum gradients
over the devices. For tensor-parallel ones (Shoeybi et al. 2019, arXiv:1909.08053) the weights that make queries, keys,
values and the hidden layer are divided by columns, and those after them by rows, so that only what comes back into the
residual stream is summed over devices. Nothing else is said: which collectives that takes, and where, XLA works out.
The losses are those of one device.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import click
import numpy as np

os.environ.setdefault("DFC_CPU_DEVICES", "4")

import dfc

POSITIONS, PIXELS, CLASSES, HEADS = 8, 8, 10, 4


class Block(dfc.Module):
    """Attention and a layer of four times the size, each added to what it reads (batch, positions, size)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.before_attention, self.attention = dfc.nn.LayerNorm(size), dfc.nn.MultiHeadAttention(size, HEADS)
        self.before_hidden = dfc.nn.LayerNorm(size)
        self.hidden = dfc.nn.Dense(size, 4 * size, activation=dfc.nn.gelu)
        self.back = dfc.nn.Dense(4 * size, size)

    def divide(self, mesh: Any) -> None:
        """Divide the weights over the mesh's axis `model`."""
        for layer in (self.attention.query, self.attention.key, self.attention.value, self.hidden):
            dfc.shard(layer.weights, (None, "model"), mesh)
            dfc.shard(layer.bias, ("model",), mesh)
        for layer in (self.attention.out, self.back):
            dfc.shard(layer.weights, ("model", None), mesh)

    def __call__(self, x: dfc.Tensor) -> dfc.Tensor:
        x = x + self.attention(self.before_attention(x))
        return x + self.back(self.hidden(self.before_hidden(x)))


class Network(dfc.Module):
    """Logits of images (batch, 64), by one block over the rows of their pixels."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.embed, self.block = dfc.nn.Dense(PIXELS, size), Block(size)
        self.positions = dfc.Variable(np.zeros((POSITIONS, size), np.float32), name="positions")
        self.output = dfc.nn.Dense(size, CLASSES)

    def __call__(self, images: dfc.Tensor) -> dfc.Tensor:
        rows = dfc.reshape(images, (images.shape[0], POSITIONS, PIXELS))
        x = self.block(self.embed(rows) + self.positions)
        return self.output(dfc.mean(x, axis=1))


def training_step(network: Network, optimizer: Any, mesh: Any) -> Any:
    """A function of images (batch, 64) and labels that does a step and returns the mean loss."""

    @dfc.function
    def step(images: dfc.Tensor, labels: dfc.Tensor) -> dfc.Tensor:
        images, labels = dfc.shard(images, ("data", None), mesh), dfc.shard(labels, ("data",), mesh)
        loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(labels, network(images)))
        optimizer.minimize(loss, network.trainable_variables)
        return loss

    return step


def made(data: int, model: int, size: int) -> tuple[Network, Any]:
    """The network and its training step, over `data` times `model` devices."""
    mesh = dfc.mesh({"data": data, "model": model})
    network = Network(size)
    network.block.divide(mesh)
    return network, training_step(network, dfc.train.Adam(3e-3), mesh)


def batches(steps: int, batch: int) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Digits at random, with pixels from 0 to 1."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).astype(np.float32), labels.astype(np.int32)
    random = np.random.default_rng(0)
    for _ in range(steps):
        rows = random.integers(0, len(images), batch)
        yield images[rows], labels[rows]


@click.command()
@click.option("--data", type=click.IntRange(min=1), default=4, show_default=True, help="Parts of a batch.")
@click.option("--model", type=click.IntRange(1, HEADS), default=1, show_default=True, help="Parts of the weights.")
@click.option("--steps", type=click.IntRange(min=1), default=60, show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--size", type=click.IntRange(min=HEADS), default=32, show_default=True)
def main(data: int, model: int, steps: int, batch: int, size: int) -> None:
    """Train on DATA times MODEL devices; prints losses and the time of a step."""
    dfc.random.seed(0)
    _, step = made(data, model, size)
    seconds = []
    for number, (images, labels) in enumerate(batches(steps, batch), 1):
        start = time.perf_counter()
        loss = step(images, labels).item()
        seconds.append(time.perf_counter() - start)
        if number % 20 == 0 or number == steps:
            click.echo(f"step {number}: loss {loss:.4f}")
    if len(seconds) > 1:
        usual = np.median(seconds[1:]) * 1e3  # the first one compiles
        click.echo(f"{usual:.1f} ms a step on {data * model} device{'s' if data * model > 1 else ''}")


if __name__ == "__main__":
    main()
