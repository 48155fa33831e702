"""A recurrent network over several devices, trained on micro-batches that follow each other like goods on a line.

    python examples/pipeline.py                                   # four GRU layers on two CPU devices
    python examples/pipeline.py --stages 4 --timeline trace.json
    dfc timeline trace.json -o trace.svg

scikit-learn's handwritten digits are read pixel by pixel. Each layer is a stage, on a device of its own. A training
step is a loop over micro-batches whose body goes through all stages, forwards and backwards, and adds up gradients.
While a stage works on one micro-batch, the stage before it is at the next: the loop is one loop on all devices, and
PARALLEL of its iterations are under way at once. The losses are those of one device (`--stages 1` has all layers on
one).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

LAYERS, PIXELS, CLASSES = 4, 64, 10
os.environ.setdefault("DFC_CPU_DEVICES", str(LAYERS))

import dfc  # noqa: E402 - after the devices were chosen


@contextmanager
def stage(layer: int, stages: int) -> Iterator[None]:
    """What is made inside is on the device of this layer."""
    with dfc.device(f"/device:CPU:{layer * stages // LAYERS}"):
        yield


class Network(dfc.Module):
    """Logits of images (batch, 64), by GRU layers that read their pixels one after the other."""

    def __init__(self, units: int, stages: int) -> None:
        super().__init__()
        self.stages, self.layers = stages, []
        for layer in range(LAYERS):
            with stage(layer, stages):
                self.layers.append(dfc.nn.GRUCell(units if layer else 1, units))
        with stage(LAYERS - 1, stages):
            self.output = dfc.nn.Dense(units, CLASSES)

    def __call__(self, images: dfc.Tensor) -> dfc.Tensor:
        h = dfc.permute_dims(images, (1, 0))[:, :, None]  # pixels, batch, 1
        for layer, cell in enumerate(self.layers):
            with stage(layer, self.stages):

                def step(state: Any, x: Any, cell: Any = cell) -> Any:
                    return cell(x, state)[::-1]

                h = dfc.scan(step, cell.initial_state(images.shape[0]), h)[1]
        with stage(LAYERS - 1, self.stages):
            return self.output(h[-1])


def training_step(network: Network, optimizer: Any, parallel: int) -> Any:
    """A function of images (micro-batches, batch, 64) and labels that does a step and returns the mean loss."""

    @dfc.function
    def step(images: dfc.Tensor, labels: dfc.Tensor) -> dfc.Tensor:
        n, variables = images.shape[0], network.trainable_variables

        def body(i: dfc.Tensor, total: dfc.Tensor, *sums: dfc.Tensor) -> Any:
            logits = network(images[i])
            with stage(LAYERS - 1, network.stages):
                loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(labels[i], logits)) / np.float32(n)
                total = total + loss
            added = []
            for variable, part, gradient in zip(variables, sums, dfc.gradients(loss, variables), strict=True):
                with dfc.colocate_with(variable):
                    added.append(part + gradient)
            return i + 1, total, *added

        with stage(LAYERS - 1, network.stages):
            zero = dfc.zeros(())
        zeros = []
        for variable in variables:
            with dfc.colocate_with(variable):
                zeros.append(dfc.zeros(variable.shape))
        _, loss, *gradients = dfc.while_loop(lambda i, *_: i < n, body, (0, zero, *zeros), parallel_iterations=parallel)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    return step


def batches(steps: int, micro: int, batch: int) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Digits at random, with pixels from 0 to 1, in micro-batches."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).astype(np.float32), labels.astype(np.int32)
    random = np.random.default_rng(0)
    for _ in range(steps):
        rows = random.integers(0, len(images), (micro, batch))
        yield images[rows], labels[rows]


@click.command()
@click.option("--stages", type=click.IntRange(1, LAYERS), default=2, show_default=True, help="Devices to use.")
@click.option("--steps", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--micro-batches", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, help="Images of a micro-batch.")
@click.option("--units", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--parallel", type=click.IntRange(min=1), default=4, show_default=True, help="Micro-batches at once.")
@click.option("--timeline", type=click.Path(path_type=Path), help="Record one more step to this file.")
def main(
    stages: int, steps: int, micro_batches: int, batch: int, units: int, parallel: int, timeline: Path | None
) -> None:
    """Train on STAGES devices; prints losses, the time of a step and, of a recorded one, how busy each device was."""
    dfc.random.seed(0)
    network = Network(units, stages)
    step = training_step(network, dfc.train.Adam(3e-3), parallel)
    seconds = []
    for number, (images, labels) in enumerate(batches(steps, micro_batches, batch), 1):
        start = time.perf_counter()
        loss = step(images, labels).item()
        seconds.append(time.perf_counter() - start)
        if number % 5 == 0 or number == steps:
            click.echo(f"step {number}: loss {loss:.4f}")
    if len(seconds) > 1:
        usual = np.median(seconds[1:]) * 1e3  # the first one compiles
        click.echo(f"{usual:.1f} ms a step of {micro_batches} micro-batches on {stages} devices")
    if timeline is not None:
        images, labels = next(batches(1, micro_batches, batch))
        with dfc.Timeline() as recorded:
            step(images, labels).numpy()
        recorded.save(timeline)
        busy = ", ".join(f"{name.rpartition('/device:')[2]} {part:.0%}" for name, part in recorded.busy().items())
        click.echo(f"busy: {busy}; wrote {timeline}")


if __name__ == "__main__":
    main()
