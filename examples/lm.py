"""Train a language model of words, judge it by its perplexity on held-out lines, and let it write some.

    python examples/lm.py --out build/lm
    python examples/lm.py --text my.txt --softmax sampled

Without a file the lines are the paragraphs of the Python language reference as `pydoc` has it, which comes with Python,
each one once. One line in ten is held out. The vocabulary is the most frequent words of the others; what is not in it
is `<unk>`, and `</s>` ends a line.

The network is a recurrent one (long short-term memory; Hochreiter and Schmidhuber 1997) whose table of word vectors is
also its output layer (Press and Wolf 2017). A batch of lines is read in chunks of at most `--steps` words, and each
chunk stops at its longest line (`dfc.nn.rnn`, a loop in the compiled step). The state is carried from chunk to chunk;
gradients stop at a chunk's start. With `--softmax sampled` a step scores a sample of the words instead of all, which
pays where the vocabulary is large; held-out lines are always judged with all words.

What training leaves in OUT, `examples/beam_search.py` decodes from.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import click
import numpy as np

import dfc

WORDS, UNITS, BATCH, SAMPLED, LONGEST = 2000, 256, 16, 200, 60
UNKNOWN, END = 0, 1
DROPPED = 0.5
RATE = 5e-3

Array = np.ndarray[Any, Any]
State = tuple[dfc.Tensor, dfc.Tensor]


class Network(dfc.Module):
    """What comes after each word of lines: as features, and as scores of all words."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = dfc.nn.Embedding(WORDS, UNITS, table=dfc.nn.initializers.normal(0.1))
        self.cell = dfc.nn.LSTMCell(UNITS, UNITS)
        self.bias = dfc.Variable(np.zeros(WORDS, np.float32), name="bias")
        self.dropout = dfc.nn.Dropout(DROPPED)

    def features(self, ids: Any, lengths: Any, state: Any, training: bool = False) -> tuple[dfc.Tensor, State]:
        """Features (batch, time, units) after words (batch, time) and a state, two of (batch, units); and the state
        after the last word of each line, which has `lengths` (batch,) of them."""
        vectors = self.dropout(self.embedding(ids), training=training)
        found, state = dfc.nn.rnn(self.cell, vectors, lengths, initial_state=state)
        return self.dropout(found, training=training), state

    def scores(self, features: dfc.Tensor) -> dfc.Tensor:
        """Logits (..., words) of features (..., units)."""
        return dfc.matmul(features, dfc.matrix_transpose(self.embedding.table)) + self.bias

    def next(self, ids: Any, state: Any) -> tuple[dfc.Tensor, State]:
        """Logits (batch, words) of what comes after the words (batch,), and the state after these."""
        features, state = self.cell(self.embedding(ids), state)
        return self.scores(features), state


dfc.random.seed(0)
network = Network()


# ---- the text


class Lines(NamedTuple):
    """Lines as numbers of words, each with END at its end; and the words."""

    train: list[Array]
    held_out: list[Array]
    words: list[str]


def read_lines(file: Path | None) -> list[str]:
    """The file's lines, or the paragraphs of pydoc's topics, each one once; no empty ones."""
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise click.UsageError(f"{file} must be text in UTF-8: {error}") from None
    else:
        whole = "\n\n".join(topics[name] for name in sorted(topics))
        lines = list(dict.fromkeys(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", whole)))
    return [line for line in lines if line.strip()]


def split_words(line: str) -> list[str]:
    """Words, and other characters one by one, in small letters."""
    return re.findall(r"\w+|[^\w\s]", line.lower())


def prepare(lines: Sequence[str], seed: int) -> Lines:
    """A tenth of the lines, drawn at random, held out; the most frequent words of the others, most frequent first."""
    if len(lines) < 10:
        raise click.UsageError(f"the text must have at least 10 lines, one to hold out, got {len(lines)}")
    split = [split_words(line) for line in lines]
    order = np.random.default_rng(seed).permutation(len(split))
    held_out, train = (sorted(part) for part in np.split(order, [len(split) // 10]))
    counts = Counter(word for i in train for word in split[i])
    words = ["<unk>", "</s>", *(word for word, _ in counts.most_common(WORDS - 2))]
    number = {word: i for i, word in enumerate(words)}

    def numbered(parts: Sequence[int]) -> list[Array]:
        return [np.array([*(number.get(word, UNKNOWN) for word in split[i]), END], np.int32) for i in parts]

    return Lines(numbered(train), numbered(held_out), words)


def batches(lines: Sequence[Array], random: np.random.Generator | None = None) -> Iterator[list[Array]]:
    """BATCH lines of similar length after another; with `random`, other ones in another order each time."""
    lengths = np.array([len(line) for line in lines], float)
    if random is not None:
        lengths += random.uniform(0, 0.2 * lengths)
    order = np.argsort(lengths, kind="stable")
    starts = np.arange(0, len(lines), BATCH)
    for start in starts if random is None else random.permutation(starts):
        yield [lines[i] for i in order[start : start + BATCH]]


class Chunk(NamedTuple):
    """A part of a batch: words, the ones after them, and how many there are in each line."""

    ids: Array
    after: Array
    lengths: Array


def chunks(batch: Sequence[Array], steps: int) -> Iterator[Chunk]:
    """A batch cut every `steps` words, each chunk padded to a multiple of 8 words: few shapes, so few compilations."""
    lengths = np.zeros(BATCH, np.int32)
    lengths[: len(batch)] = [len(line) for line in batch]
    longest = int(lengths.max())
    padded = np.full((BATCH, longest + 1 + 8 * steps), END, np.int32)  # END stands before the first word, too
    for row, line in zip(padded, batch, strict=False):
        row[1 : 1 + len(line)] = line
    for start in range(0, longest, steps):
        width = min(steps, -(longest - start) // 8 * -8)
        stop = start + width
        yield Chunk(padded[:, start:stop], padded[:, start + 1 : stop + 1], np.clip(lengths - start, 0, width))


# ---- training


def initial_state(batch: int = BATCH) -> Any:
    """The state before a line."""
    return np.zeros((batch, UNITS), np.float32), np.zeros((batch, UNITS), np.float32)


def total(losses: dfc.Tensor, lengths: dfc.Tensor) -> dfc.Tensor:
    """The sum over the words that there are of losses (batch, time)."""
    there = dfc.arange(losses.shape[1]) < dfc.expand_dims(lengths, axis=1)
    return dfc.sum(dfc.where(there, losses, 0.0))


@dfc.function
def evaluate(ids: Any, after: Any, lengths: Any, state: Any) -> tuple[dfc.Tensor, State]:
    """The sum of the losses on a chunk, in nats, and the state after it."""
    features, state = network.features(ids, lengths, state)
    return total(dfc.nn.sparse_softmax_cross_entropy(after, network.scores(features)), lengths), state


class Trainer:
    """The optimiser, and the steps of training."""

    def __init__(self, softmax: str, updates: int) -> None:
        self.softmax = softmax
        self.optimizer = dfc.train.Adam(dfc.train.schedules.CosineDecay(RATE, updates))

    @dfc.function
    def step(self, ids: Any, after: Any, lengths: Any, state: Any) -> tuple[dfc.Tensor, State]:
        """One step on a chunk; returns the sum of its losses before it, in nats, and the state after it."""
        features, state = network.features(ids, lengths, state, training=True)
        if self.softmax == "full":
            losses = dfc.nn.sparse_softmax_cross_entropy(after, network.scores(features))
        else:
            flat = dfc.reshape(features, (-1, UNITS))
            losses = dfc.nn.sampled_softmax_loss(
                network.embedding.table, network.bias, dfc.reshape(after, (-1,)), flat, SAMPLED, WORDS
            )
            losses = dfc.reshape(losses, after.shape)
        loss = total(losses, lengths)
        variables = network.trainable_variables
        mean = loss / dfc.astype(dfc.sum(lengths), "float32")
        gradients, _ = dfc.train.clip_by_global_norm(dfc.gradients(mean, variables), 1.0)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss, state


def perplexity(lines: Sequence[Array], steps: int) -> float:
    """exp of the mean loss of a word, END included."""
    losses = []
    for batch in batches(lines):
        state = initial_state()
        for chunk in chunks(batch, steps):
            loss, state = evaluate(*chunk, state)
            losses.append(loss)
    return float(np.exp(sum(loss.item() for loss in losses) / sum(map(len, lines))))


def train(data: Lines, epochs: int, steps: int, softmax: str) -> float:
    """Train for `epochs` passes over the lines; after each, print the perplexity of the held-out ones. Returns the last
    one."""
    from tqdm import tqdm

    random = np.random.default_rng(1)
    plan = [[[*chunks(batch, steps)] for batch in batches(data.train, random)] for _ in range(epochs)]
    trainer = Trainer(softmax, updates=sum(len(batch) for epoch in plan for batch in epoch))
    found = float("nan")
    for number, epoch in enumerate(plan, 1):
        began, losses = time.monotonic(), []
        words = sum(map(len, data.train))
        with tqdm(total=words, desc=f"epoch {number}", unit="word", leave=False) as bar:
            for batch in epoch:
                state = initial_state()
                for chunk in batch:
                    loss, state = trainer.step(*chunk, state)
                    losses.append(loss)
                    bar.update(int(chunk.lengths.sum()))
                bar.set_postfix(loss=f"{loss.item() / max(chunk.lengths.sum(), 1):.2f}")
        seconds = time.monotonic() - began
        found = perplexity(data.held_out, steps)
        click.echo(f"epoch {number}: {words / seconds:.0f} words/s, validation perplexity {found:.2f}")
    return found


# ---- writing


@dfc.function
def draw_line(temperature: Any) -> dfc.Tensor:
    """The words of a line, at most LONGEST, drawn one after the other as often as the network thinks them likely to
    the power of 1 / temperature. `<unk>` is never drawn."""

    def draw(length: Any, last: Any, state: Any, words: dfc.TensorArray) -> Any:
        logits, state = network.next(last, state)
        logits = dfc.where(dfc.arange(WORDS) == UNKNOWN, -np.inf, logits / temperature)
        word = dfc.random.categorical(logits, dtype="int32")
        return length + 1, word, state, words.write(length, word[0])

    def goes_on(length: Any, last: Any, state: Any, words: dfc.TensorArray) -> Any:
        return (length == 0) | ((length < LONGEST) & (last[0] != END))

    nothing = dfc.TensorArray("int32", LONGEST, ())
    length, _, _, words = dfc.while_loop(goes_on, draw, (0, np.array([END], np.int32), initial_state(1), nothing))
    return dfc.where(dfc.arange(LONGEST) < length, words.stack(), END)


def join_words(words: Sequence[str]) -> str:
    """Words with a space between two, but not before a comma and the like, or after what opens."""
    return re.sub(r" ([.,:;?!)\]}])", r"\1", re.sub(r"([(\[{]) ", r"\1", " ".join(words)))


@click.command()
@click.option("--text", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="[default: pydoc's topics]")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/lm"), show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=12, show_default=True, help="Passes over the lines.")
@click.option("--steps", type=click.IntRange(min=1), default=32, show_default=True, help="Words in a chunk, at most.")
@click.option("--softmax", type=click.Choice(["full", "sampled"]), default="full", show_default=True)
@click.option("--lines", type=click.IntRange(min=0), default=5, show_default=True, help="Lines to write.")
@click.option("--temperature", type=click.FloatRange(min=0, min_open=True), default=0.8, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is held out, dropped and drawn.")
def main(
    text: Path | None, out: Path, epochs: int, steps: int, softmax: str, lines: int, temperature: float, seed: int
) -> None:
    """Train, write some lines, and leave a checkpoint, the words and the lines in OUT."""
    dfc.random.seed(seed)
    data = prepare(read_lines(text), seed)
    counted = [sum(map(len, part)) for part in (data.train, data.held_out)]
    click.echo(f"{counted[0]} words to train on, {counted[1]} held out, {len(data.words)} different ones")
    found = train(data, epochs, steps, softmax)
    out.mkdir(parents=True, exist_ok=True)
    dfc.train.Saver(network.trainable_variables).save(out / "checkpoints", step=epochs)
    (out / "words.txt").write_text("".join(f"{word}\n" for word in data.words))
    drawn = [draw_line(np.float32(temperature)).numpy() for _ in range(lines)]
    written = [join_words([data.words[i] for i in line if i != END]) for line in drawn]
    (out / "sample.txt").write_text("".join(f"{line}\n" for line in written))
    for line in written:
        click.echo(line)
    click.echo(f"validation perplexity: {found:.2f}")


if __name__ == "__main__":
    main()
