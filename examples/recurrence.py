"""A recurrence written as Python writes it: a loop over time, a state, one output a step.

    python examples/recurrence.py --steps 400

The cell sees one number a step and is to say the number of two steps ago, so that its state has to remember two. Under
`@dfc.function(autograph=True)` the loop over `len(inputs)` becomes one loop of the graph, and so does its gradient: the
program is as large for a sequence of a thousand numbers as for one of ten, and one trace serves all lengths.
"""

from __future__ import annotations

import click
import numpy as np

import dfc

UNITS = 16
DELAY = 2
BATCH = 32


def initial(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)


class Cell(dfc.Module):
    """An Elman cell: state = tanh(state recurrent + x given + bias), output = state out."""

    def __init__(self) -> None:
        self.recurrent = dfc.Variable(initial(UNITS, UNITS))
        self.given = dfc.Variable(initial(1, UNITS))
        self.bias = dfc.Variable(np.zeros(UNITS, np.float32))
        self.out = dfc.Variable(initial(UNITS, 1))

    def __call__(self, state: dfc.Tensor, x: dfc.Tensor) -> tuple[dfc.Tensor, dfc.Tensor]:
        state = dfc.tanh(dfc.matmul(state, self.recurrent) + dfc.matmul(x, self.given) + self.bias)
        return state, dfc.matmul(state, self.out)


cell = Cell()
optimizer = dfc.train.Adam(1e-2)


@dfc.function(signature=[dfc.TensorSpec(("length", BATCH, 1), "float32", name="inputs")], autograph=True)
def predict(inputs: dfc.Tensor) -> dfc.Tensor:
    """The output of each step, (length, BATCH, 1)."""
    out = dfc.zeros_like(inputs)
    state = dfc.zeros((BATCH, UNITS))
    for i in range(len(inputs)):
        state, out[i] = cell(state, inputs[i])
    return out


@dfc.function
def train_step(inputs: dfc.Tensor) -> dfc.Tensor:
    """One step of Adam; returns the mean squared error before it."""
    loss = dfc.mean((predict(inputs)[DELAY:] - inputs[:-DELAY]) ** 2)
    optimizer.minimize(loss, cell.trainable_variables)
    return loss


@click.command()
@click.option("--steps", type=click.IntRange(min=1), default=400, show_default=True)
@click.option("--length", type=click.IntRange(min=DELAY + 1), default=20, show_default=True)
def main(steps: int, length: int) -> None:
    """Train on sequences of LENGTH numbers, and try the cell on sequences of ten times as many."""
    rng = np.random.default_rng(0)
    for step in range(1, steps + 1):
        loss = train_step(rng.uniform(-1, 1, (length, BATCH, 1)).astype(np.float32))
        if step % 100 == 0 or step == steps:
            click.echo(f"step {step}: mean squared error {loss.item():.4f}")
    longer = rng.uniform(-1, 1, (10 * length, BATCH, 1)).astype(np.float32)
    error = np.mean((predict(longer).numpy()[DELAY:] - longer[:-DELAY]) ** 2)
    click.echo(f"mean squared error on sequences of {10 * length}: {error:.4f}")


if __name__ == "__main__":
    main()
