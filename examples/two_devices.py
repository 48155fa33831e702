"""The network of `digits.py`, cut over two devices: the hidden layer is on one, the output layer on the other.

    python examples/two_devices.py

Each layer's variables, their gradients and their updates are where the layer is; what goes from layer to layer, and its
gradient back, is sent between the devices. The same network is trained on one device too: its losses are the same.
`DFC_CPU_DEVICES`, which this program sets to 2 unless it is set, makes several devices of a CPU.
"""

from __future__ import annotations

import os
from typing import Any

import click
import numpy as np

import dfc

PIXELS, HIDDEN, CLASSES, BATCH = 64, 128, 10, 32


class Network:
    """Two layers, each on the device of its name in `devices`, and the step that trains them."""

    def __init__(self, devices: list[str]) -> None:
        random = np.random.default_rng(0)
        self.devices = devices
        self.layers = []
        for device, rows, columns in zip(devices, (PIXELS, HIDDEN), (HIDDEN, CLASSES), strict=True):
            start = random.normal(0.0, np.sqrt(2.0 / rows), (rows, columns)).astype(np.float32)
            with dfc.device(device):
                self.layers.append((dfc.Variable(start), dfc.Variable(np.zeros(columns, np.float32))))
        self.optimizer = dfc.train.Momentum(0.1, momentum=0.9)

    def logits(self, images: dfc.Tensor) -> dfc.Tensor:
        """(batch, 10) of images (batch, 64) with pixels from 0 to 16."""
        (w1, b1), (w2, b2) = self.layers
        with dfc.device(self.devices[0]):
            hidden = dfc.nn.relu(dfc.matmul(images / 16.0, w1) + b1)
        with dfc.device(self.devices[1]):
            return dfc.matmul(hidden, w2) + b2

    @dfc.function
    def train_step(self, images: dfc.Tensor, labels: dfc.Tensor) -> dfc.Tensor:
        """One step of momentum SGD on a batch; the mean loss before it."""
        logits = self.logits(images)
        with dfc.device(self.devices[1]):
            loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(labels, logits))
        self.optimizer.minimize(loss, [variable for layer in self.layers for variable in layer])
        return loss

    def train(self, images: Any, labels: Any, epochs: int) -> list[float]:
        """The mean loss of each pass over the data."""
        order, means = np.random.default_rng(1), []
        for _ in range(epochs):
            shuffled = order.permutation(len(images))
            batches = [shuffled[start : start + BATCH] for start in range(0, len(images) - BATCH + 1, BATCH)]
            losses = [self.train_step(images[rows], labels[rows]) for rows in batches]
            means.append(float(np.mean([loss.item() for loss in losses])))
        return means


@click.command()
@click.option("--epochs", type=click.IntRange(min=1), default=5, show_default=True, help="Passes over the data.")
def main(epochs: int) -> None:
    """Train on two devices and on one; print where the variables are, and both losses of each pass."""
    from sklearn.datasets import load_digits

    os.environ.setdefault("DFC_CPU_DEVICES", "2")
    first, second, *_ = [*dfc.devices(), ""]
    if not second:
        raise click.UsageError("two devices are needed: DFC_CPU_DEVICES=2 makes two of the CPU")
    digits = load_digits()
    images, labels = digits.data.astype(np.float32), digits.target.astype(np.int32)
    cut, whole = Network([first, second]), Network([first, first])
    losses = list(zip(cut.train(images, labels, epochs), whole.train(images, labels, epochs), strict=True))
    for (weights, _), name in zip(cut.layers, ("hidden", "output"), strict=True):
        click.echo(f"the {name} layer is on {weights.device}")
    for number, (on_two, on_one) in enumerate(losses, 1):
        click.echo(f"pass {number}: loss {on_two:.5f} on two devices, {on_one:.5f} on one")
    click.echo(f"largest difference: {max(abs(a - b) for a, b in losses):.1e}")


if __name__ == "__main__":
    main()
