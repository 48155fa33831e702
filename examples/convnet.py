"""Train a small convolutional network with batch normalisation on scikit-learn's handwritten digits.

    python examples/convnet.py --epochs 8

The data are those of `digits.py`. Training normalises by the statistics of each batch and keeps their moving averages,
by which `predict` normalises.
"""

from __future__ import annotations

from typing import Any

import click
import numpy as np
from digits import load_data

import dfc

FEATURES, CLASSES, DECAY = (16, 32), 10, 0.9
_random = np.random.default_rng(0)


class Layer:
    """A 3 x 3 convolution, batch normalisation, relu, and the largest of each 2 x 2 pixels."""

    def __init__(self, name: str, inputs: int, outputs: int) -> None:
        kernel = _random.normal(0, np.sqrt(2 / (9 * inputs)), (3, 3, inputs, outputs)).astype(np.float32)
        zeros, ones = np.zeros(outputs, np.float32), np.ones(outputs, np.float32)
        self.kernel = dfc.Variable(kernel, name=f"{name}/kernel")
        self.scale, self.offset = dfc.Variable(ones, name=f"{name}/scale"), dfc.Variable(zeros, name=f"{name}/offset")
        self.mean, self.variance = dfc.Variable(zeros, name=f"{name}/mean"), dfc.Variable(ones, name=f"{name}/variance")

    def __call__(self, x: Any, training: bool) -> Any:
        h = dfc.nn.conv(x, self.kernel, padding="SAME")
        if training:
            h, mean, variance = dfc.nn.batch_norm(h, self.scale, self.offset)
            self.mean.assign(self.mean * DECAY + mean * (1 - DECAY))
            self.variance.assign(self.variance * DECAY + variance * (1 - DECAY))
        else:
            h, _, _ = dfc.nn.batch_norm(h, self.scale, self.offset, mean=self.mean, variance=self.variance)
        return dfc.nn.max_pool(dfc.nn.relu(h), 2)


layers = [Layer("first", 1, FEATURES[0]), Layer("second", *FEATURES)]
weights = dfc.Variable(_random.normal(0, 0.1, (FEATURES[1], CLASSES)).astype(np.float32), name="output/weights")
bias = dfc.Variable(np.zeros(CLASSES, np.float32), name="output/bias")
trained = [v for layer in layers for v in (layer.kernel, layer.scale, layer.offset)] + [weights, bias]
optimizer = dfc.train.Momentum(0.05, momentum=0.9)


def network(images: Any, training: bool) -> Any:
    """Logits (batch, 10) of images (batch, 64) with pixels from 0 to 16."""
    h = dfc.reshape(images / 16.0, (-1, 8, 8, 1))
    for layer in layers:
        h = layer(h, training)
    return dfc.matmul(dfc.nn.global_avg_pool(h), weights) + bias


@dfc.function(signature=[dfc.TensorSpec(("batch", 64), "float32", name="images")])
def predict(images: Any) -> Any:
    """The digit in each image."""
    return dfc.argmax(network(images, training=False), axis=-1)


@dfc.function
def train_step(images: Any, labels: Any) -> Any:
    """One step on a batch; returns the mean loss before it."""
    loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(labels, network(images, training=True)))
    optimizer.minimize(loss, trained)
    return loss


@click.command()
@click.option("--epochs", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--batch", type=click.IntRange(min=2), default=32, show_default=True)
def main(epochs: int, batch: int) -> None:
    """Train, then print the accuracy on the held-out images."""
    (images, labels), (held_images, held_labels) = load_data()
    order = np.random.default_rng(1)
    for epoch in range(epochs):
        shuffled = order.permutation(len(images))
        starts = range(0, len(images) - batch + 1, batch)
        losses = [train_step(images[rows], labels[rows]) for rows in (shuffled[i : i + batch] for i in starts)]
        click.echo(f"epoch {epoch + 1}: loss {np.mean([loss.item() for loss in losses]):.4f}")
    accuracy = np.mean(predict(held_images).numpy() == held_labels)
    click.echo(f"accuracy on {len(held_labels)} held-out images: {accuracy:.3f}")


if __name__ == "__main__":
    main()
