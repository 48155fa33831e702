"""Train a recurrent network to predict the next character of a text, and let it write one.

    python examples/char_lm.py
    python examples/char_lm.py --text my.txt --steps 2000 --temperature 0.7

Without a file the text is the Python language reference as `pydoc` has it, half a megabyte of English that comes with
Python. Its last tenth is held out. A gated recurrent unit (Cho et al. 2014) is unrolled over a window of the text and
learns by truncated back-propagation: its state is carried from window to window, gradients stop at a window's start.
"""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import click
import numpy as np

import dfc

BATCH, WINDOW = 32, 32
UNITS, FEATURES = 192, 48


class Network(dfc.Module):
    """Scores of the next character after each of a window's, and the state after the window."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embedding = dfc.nn.Embedding(characters, FEATURES)
        self.cell = dfc.nn.GRUCell(FEATURES, UNITS)
        self.output = dfc.nn.Dense(UNITS, characters)

    def __call__(self, ids: dfc.Tensor, state: Any) -> tuple[dfc.Tensor, dfc.Tensor]:
        """Logits (batch, window, characters) of characters (batch, window) after a state (batch, units)."""
        vectors, hidden = self.embedding(ids), []
        for position in range(ids.shape[1]):
            h, state = self.cell(vectors[:, position], state)
            hidden.append(h)
        return self.output(dfc.stack(hidden, axis=1)), state


def read_text(file: Path | None) -> str:
    """The file's text, or all topics of pydoc, one after another."""
    return "\n\n".join(topics[name] for name in sorted(topics)) if file is None else file.read_text()


def windows(ids: np.ndarray[Any, Any]) -> list[tuple[Any, Any]]:
    """(characters, the ones after them), each (BATCH, WINDOW), such that each row continues in the next window."""
    length = (len(ids) - 1) // BATCH // WINDOW * WINDOW
    if length == 0:
        raise click.UsageError(f"each part of the text must have more than {BATCH * WINDOW} characters, got {len(ids)}")
    given, after = (ids[shift : shift + BATCH * length].reshape(BATCH, length) for shift in (0, 1))
    starts = range(0, length, WINDOW)
    return [(given[:, start : start + WINDOW], after[:, start : start + WINDOW]) for start in starts]


class Trainer:
    """The network, its optimiser, and the state that training carries from window to window."""

    def __init__(self, characters: int) -> None:
        self.network = Network(characters)
        self.state = dfc.Variable(np.zeros((BATCH, UNITS), np.float32), name="state", trainable=False)
        self.optimizer = dfc.train.Adam(3e-3)

    @dfc.function
    def step(self, ids: dfc.Tensor, after: dfc.Tensor) -> dfc.Tensor:
        """One step on a window; returns the mean loss before it, in nats per character."""
        logits, state = self.network(ids, self.state)
        self.state.assign(state)
        loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(after, logits))
        variables = self.network.trainable_variables
        gradients, _ = dfc.train.clip_by_global_norm(dfc.gradients(loss, variables), 1.0)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    @dfc.function
    def loss(self, ids: dfc.Tensor, after: dfc.Tensor, state: dfc.Tensor) -> tuple[dfc.Tensor, dfc.Tensor]:
        """The mean loss on a window, and the state after it."""
        logits, state = self.network(ids, state)
        return dfc.mean(dfc.nn.sparse_softmax_cross_entropy(after, logits)), state

    @dfc.function
    def draw(self, ids: dfc.Tensor, state: dfc.Tensor, temperature: dfc.Tensor) -> tuple[dfc.Tensor, dfc.Tensor]:
        """A random next character (1,) after characters (1, n), and the state."""
        logits, state = self.network(ids, state)
        return dfc.random.categorical(logits[:, -1] / temperature, dtype="int32"), state

    def train(self, data: list[tuple[Any, Any]], steps: int) -> None:
        """`steps` steps over the windows in order, again from the start of the text when it ends."""
        from tqdm import trange

        with trange(steps, desc="training", unit="step") as bar:
            for number in bar:
                if number % len(data) == 0:
                    self.state.assign(np.zeros((BATCH, UNITS), np.float32))
                loss = self.step(*data[number % len(data)])
                if number % 20 == 0:
                    bar.set_postfix(loss=f"{loss.item():.3f}")

    def evaluate(self, data: list[tuple[Any, Any]]) -> float:
        """The mean loss over the windows, in nats per character."""
        losses, state = [], np.zeros((BATCH, UNITS), np.float32)
        for ids, after in data:
            loss, state = self.loss(ids, after, state)
            losses.append(loss)
        return float(np.mean([loss.item() for loss in losses]))

    def write(self, characters: str, start: str, length: int, temperature: float) -> str:
        """`start` and what the network writes after it."""
        state: Any = np.zeros((1, UNITS), np.float32)
        ids = np.array([[characters.index(c) for c in start]], np.int32)
        drawn = []
        for _ in range(length):
            character, state = self.draw(ids, state, np.float32(temperature))
            drawn.append(character.item())
            ids = np.array([drawn[-1:]], np.int32)
        return start + "".join(characters[i] for i in drawn)


@click.command()
@click.option("--text", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="[default: pydoc's topics]")
@click.option("--steps", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--length", type=click.IntRange(min=0), default=400, show_default=True, help="Characters to write.")
@click.option("--temperature", type=click.FloatRange(min=0, min_open=True), default=0.7, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(text: Path | None, steps: int, length: int, temperature: float, seed: int) -> None:
    """Train on the first nine tenths of the text, print the loss on the last one, and write."""
    dfc.random.seed(seed)
    whole = read_text(text)
    characters = "".join(sorted(set(whole)))
    number = {c: i for i, c in enumerate(characters)}
    ids = np.array([number[c] for c in whole], np.int32)
    split = len(ids) - len(ids) // 10
    train, held_out = windows(ids[:split]), windows(ids[split:])
    click.echo(f"{split} characters to train on, {len(ids) - split} held out, {len(characters)} different ones")
    trainer = Trainer(len(characters))
    trainer.train(train, steps)
    click.echo(trainer.write(characters, whole[0], length, temperature))
    click.echo(f"validation loss: {trainer.evaluate(held_out):.3f} nats per character")


if __name__ == "__main__":
    main()
