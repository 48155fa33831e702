"""An optimiser that dfc does not have, in this one file, trained on the network of `digits.py`.

    python examples/own_optimizer.py --epochs 20

AdaBelief (Zhuang et al. 2020, "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients") steps far
where gradients are as their average m foretells, and little where they differ from it:

    m = beta1 m + (1 - beta1) g
    s = beta2 s + (1 - beta2) (g - m)^2 + epsilon
    w = w - learning_rate (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + epsilon)      at step t = 1, 2, ...

`step` says just this, for a whole variable; where a gradient is sparse, it gets the rows that the gradient names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import numpy as np
from digits import load_data, network, predict, variables

import dfc


class AdaBelief(dfc.train.Optimizer):
    """AdaBelief, with the paper's defaults."""

    SLOTS = ("mean", "spread")

    def __init__(
        self, learning_rate: Any = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        super().__init__(learning_rate)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def step(
        self, gradient: dfc.Tensor, value: dfc.Tensor, slots: Mapping[str, dfc.Tensor], rate: Any
    ) -> tuple[dfc.Tensor, dict[str, dfc.Tensor]]:
        """What to subtract from `value`, and the new slots."""
        mean = self.beta1 * slots["mean"] + (1 - self.beta1) * gradient
        spread = self.beta2 * slots["spread"] + (1 - self.beta2) * (gradient - mean) ** 2 + self.epsilon
        number = self.steps(gradient)
        expected = mean / (1 - self.beta1**number)
        deviation = dfc.sqrt(spread / (1 - self.beta2**number))
        return rate * expected / (deviation + self.epsilon), {"mean": mean, "spread": spread}


optimizer = AdaBelief(3e-3)


@dfc.function
def train_step(images: dfc.Tensor, labels: dfc.Tensor) -> dfc.Tensor:
    """One step of AdaBelief on a batch; returns the mean loss before it."""
    loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(labels, network(images)))
    optimizer.minimize(loss, variables)
    return loss


@click.command()
@click.option("--epochs", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True)
def main(epochs: int, batch: int) -> None:
    """Train, then print the accuracy on the held-out images."""
    from tqdm import trange

    (images, labels), (held_images, held_labels) = load_data()
    order = np.random.default_rng(1)
    with trange(epochs, desc="training", unit="epoch") as bar:
        for _ in bar:
            shuffled = order.permutation(len(images))
            starts = range(0, len(images) - batch + 1, batch)
            losses = [train_step(images[rows], labels[rows]) for rows in (shuffled[i : i + batch] for i in starts)]
            bar.set_postfix(loss=f"{np.mean([loss.item() for loss in losses]):.4f}")
    accuracy = np.mean(predict(held_images)["digit"].numpy() == held_labels)
    click.echo(f"accuracy on {len(held_labels)} held-out images: {accuracy:.3f}")


if __name__ == "__main__":
    main()
