"""Train a two-layer network on scikit-learn's handwritten digits, and export its `predict`.

    python examples/digits.py --out build/digits
    dfc compile examples/digits.py --checkpoint build/digits/checkpoints -o build/digits/model.dfc --batch 1,360

The data are 1,797 images of 8 x 8 pixels (Alpaydin and Kaynak, UCI 1998), which come with scikit-learn. One image in
five is held out: they are written to `held_out.npz` with the answers, and `examples/score.py` scores an artifact
on them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

import dfc

PIXELS, HIDDEN, CLASSES = 64, 128, 10
_random = np.random.default_rng(0)


def _weights(rows: int, columns: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """He's initial weights: normal with variance 2 / rows."""
    return _random.normal(0.0, np.sqrt(2.0 / rows), (rows, columns)).astype(np.float32)


w1 = dfc.Variable(_weights(PIXELS, HIDDEN), name="hidden/weights")
b1 = dfc.Variable(np.zeros(HIDDEN, np.float32), name="hidden/bias")
w2 = dfc.Variable(_weights(HIDDEN, CLASSES), name="output/weights")
b2 = dfc.Variable(np.zeros(CLASSES, np.float32), name="output/bias")
variables = [w1, b1, w2, b2]
optimizer = dfc.train.Momentum(0.1, momentum=0.9)


def network(images: dfc.Tensor) -> dfc.Tensor:
    """Logits (batch, 10) of images (batch, 64) with pixels from 0 to 16."""
    hidden = dfc.nn.relu(dfc.matmul(images / 16.0, w1) + b1)
    return dfc.matmul(hidden, w2) + b2


@dfc.function(signature=[dfc.TensorSpec(("batch", PIXELS), "float32", name="images")])
def predict(images: dfc.Tensor) -> dict[str, dfc.Tensor]:
    """The digit in each image and the probability of each digit."""
    logits = network(images)
    return {"digit": dfc.argmax(logits, axis=-1), "probabilities": dfc.nn.softmax(logits)}


@dfc.function
def train_step(images: dfc.Tensor, labels: dfc.Tensor) -> dfc.Tensor:
    """One step of momentum SGD on a batch; returns the mean loss before it."""
    loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(labels, network(images)))
    optimizer.minimize(loss, variables)
    return loss


def load_data() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """((images, labels) to train on, (images, labels) held out): 1,437 and 360."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images, labels = digits.data.astype(np.float32), digits.target.astype(np.int32)
    x, held_x, y, held_y = train_test_split(images, labels, test_size=0.2, random_state=0, stratify=labels)
    return (x, y), (held_x, held_y)


def train(epochs: int = 40, batch: int = 32) -> float:
    """Train for `epochs` passes over the data with a progress bar; returns the accuracy on the held-out images."""
    from tqdm import trange

    (images, labels), (held_images, held_labels) = load_data()
    order = np.random.default_rng(1)
    with trange(epochs, desc="training", unit="epoch") as bar:
        for _ in bar:
            losses = []
            shuffled = order.permutation(len(images))
            for start in range(0, len(images) - batch + 1, batch):
                rows = shuffled[start : start + batch]
                losses.append(train_step(images[rows], labels[rows]))
            bar.set_postfix(loss=f"{np.mean([loss.item() for loss in losses]):.4f}")
    digit = predict(held_images)["digit"].numpy()
    return float(np.mean(digit == held_labels))


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/digits"), show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=40, show_default=True)
def main(out: Path, epochs: int) -> None:
    """Train, then write a checkpoint, the held-out images and what the network says of them to OUT."""
    accuracy = train(epochs)
    out.mkdir(parents=True, exist_ok=True)
    dfc.train.Saver(variables).save(out / "checkpoints", step=epochs)
    held_images, held_labels = load_data()[1]
    answers = {name: value.numpy() for name, value in predict(held_images).items()}
    np.savez(out / "held_out.npz", images=held_images, labels=held_labels, **answers)
    click.echo(f"accuracy on {len(held_labels)} held-out images: {accuracy:.3f}")


if __name__ == "__main__":
    main()
