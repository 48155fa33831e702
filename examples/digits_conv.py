"""Train a convolutional network of layers on scikit-learn's handwritten digits, and export its `predict`.

    python examples/digits_conv.py --out build/digits_conv
    dfc compile examples/digits_conv.py --checkpoint build/digits_conv/checkpoints \\
        -o build/digits_conv/model.dfc --batch 1,360
    python examples/score.py build/digits_conv/model.dfc build/digits_conv/held_out.npz

The data are those of `digits.py`. Each step shifts its images by up to a pixel, at random and in the graph. Training
normalises by the statistics of each batch and keeps their moving averages, by which `predict` normalises. `predict`
divides its images among all devices that there are, here or of a target: `--target cpu:4`, `--target tpu:v5e:2x2`.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from digits import load_data

import dfc

PIXELS, CLASSES, EPOCHS, BATCH = 64, 10, 30, 32


class Block(dfc.Module):
    """A 3 x 3 convolution, batch normalisation, relu, and the largest of each 2 x 2 pixels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = dfc.nn.Conv(inputs, outputs, (3, 3), use_bias=False)
        self.norm = dfc.nn.BatchNorm(outputs, momentum=0.9)
        self.pool = dfc.nn.MaxPool(2)

    def __call__(self, x: dfc.Tensor, training: bool) -> dfc.Tensor:
        return self.pool(dfc.nn.relu(self.norm(self.conv(x), training=training)))


class Network(dfc.Module):
    """Logits (batch, 10) of images (batch, 64) with pixels from 0 to 16."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [Block(1, 32), Block(32, 64)]
        self.output = dfc.nn.Dense(2 * 2 * 64, CLASSES)

    def __call__(self, images: dfc.Tensor, training: bool = False) -> dfc.Tensor:
        h = dfc.reshape(images / 16.0, (-1, 8, 8, 1))
        for block in self.blocks:
            h = block(h, training)
        h = dfc.nn.dropout(dfc.reshape(h, (-1, 2 * 2 * 64)), 0.5, training=training)
        return self.output(h)


mesh = dfc.mesh({"data": -1})
dfc.random.seed(0)
network = Network()
steps = EPOCHS * (1437 // BATCH)
optimizer = dfc.train.Adam(dfc.train.schedules.CosineDecay(3e-3, steps))


@dfc.function(signature=[dfc.TensorSpec(("batch", PIXELS), "float32", name="images")])
def predict(images: dfc.Tensor) -> dict[str, dfc.Tensor]:
    """The digit in each image and the probability of each digit."""
    logits = network(dfc.shard(images, ("data",), mesh))
    return {"digit": dfc.argmax(logits, axis=-1), "probabilities": dfc.nn.softmax(logits)}


def shifted(images: dfc.Tensor) -> dfc.Tensor:
    """Every image moved by -1, 0 or 1 pixels along each axis, each by itself; what moves in is empty."""
    batch = images.shape[0]
    wide = dfc.pad(dfc.reshape(images, (batch, 8, 8)), ((0, 0), (1, 1), (1, 1)))
    rows, columns = (dfc.random.integers(0, 3, (batch, 1)) + dfc.arange(8) for _ in range(2))
    image = dfc.reshape(dfc.arange(batch), (batch, 1, 1))
    return dfc.reshape(wide[image, rows[:, :, None], columns[:, None, :]], (batch, PIXELS))


@dfc.function
def train_step(images: dfc.Tensor, labels: dfc.Tensor) -> dfc.Tensor:
    """One step of Adam on a batch; returns the mean loss before it."""
    logits = network(shifted(images), training=True)
    loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(labels, logits))
    optimizer.minimize(loss, network.trainable_variables)
    return loss


def train(epochs: int = EPOCHS) -> float:
    """Train for `epochs` passes over the data with a progress bar; returns the accuracy on the held-out images."""
    from tqdm import trange

    (images, labels), (held_images, held_labels) = load_data()
    order = np.random.default_rng(1)
    with trange(epochs, desc="training", unit="epoch") as bar:
        for _ in bar:
            batches = order.permutation(len(images))[: len(images) // BATCH * BATCH].reshape(-1, BATCH)
            losses = [train_step(images[rows], labels[rows]) for rows in batches]
            bar.set_postfix(loss=f"{np.mean([loss.item() for loss in losses]):.4f}")
    return float(np.mean(predict(held_images)["digit"].numpy() == held_labels))


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/digits_conv"), show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=EPOCHS, show_default=True)
def main(out: Path, epochs: int) -> None:
    """Train, then write a checkpoint, the held-out images and what the network says of them to OUT."""
    accuracy = train(epochs)
    out.mkdir(parents=True, exist_ok=True)
    dfc.train.Saver(network.variables).save(out / "checkpoints", step=epochs)
    held_images, held_labels = load_data()[1]
    answers = {name: value.numpy() for name, value in predict(held_images).items()}
    np.savez(out / "held_out.npz", images=held_images, labels=held_labels, **answers)
    click.echo(f"accuracy on {len(held_labels)} held-out images: {accuracy:.3f}")


if __name__ == "__main__":
    main()
