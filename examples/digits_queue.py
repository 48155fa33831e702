"""One graph, three clients at once: one fills an input queue, one trains from it, one evaluates meanwhile.

    python examples/digits_queue.py

The graph holds an input queue that shuffles, a training step that takes a batch from it, and an evaluation step that is
fed. Each client runs its own part of the same graph in one session, from a thread of its own: a step computes what its
fetches need and nothing else, which the counters in the graph show, and the variables and the queue are all that the
clients share. Training ends when the queue is closed and empty.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import click
import numpy as np

import dfc

PIXELS, HIDDEN, CLASSES, BATCH = 64, 128, 10, 32


class Parts(NamedTuple):
    """The tensors and operations of the graph that the clients run."""

    graph: dfc.Graph
    images: dfc.Tensor
    labels: dfc.Tensor
    enqueue: dfc.Operation
    close: dfc.Operation
    queued: dfc.Tensor
    train: dfc.Operation
    loss: dfc.Tensor
    accuracy: dfc.Tensor
    counts: dict[str, dfc.Variable]
    initialize: dfc.Operation


def build() -> Parts:
    """The whole program: input, network, training and evaluation."""
    random = np.random.default_rng(0)
    with dfc.Graph() as graph:
        images = dfc.placeholder("float32", ("batch", PIXELS), name="images")
        labels = dfc.placeholder("int32", ("batch",), name="labels")
        counts = {
            name: dfc.Variable(0, name=f"count/{name}", trainable=False) for name in ("fill", "train", "evaluate")
        }
        queue = dfc.RandomShuffleQueue(
            512, min_after_dequeue=128, dtypes=["float32", "int32"], shapes=[(PIXELS,), ()], seed=1, name="input"
        )
        with dfc.control_dependencies([counts["fill"].assign_add(1)]):
            enqueue = queue.enqueue_many([images / 16.0, labels])

        weights = [
            dfc.Variable(random.normal(0, np.sqrt(2 / n), (n, m)).astype("float32"), name=f"{name}/weights")
            for name, n, m in (("hidden", PIXELS, HIDDEN), ("output", HIDDEN, CLASSES))
        ]
        biases = [
            dfc.Variable(np.zeros(m, np.float32), name=f"{name}/bias") for name, m in (("h", HIDDEN), ("o", CLASSES))
        ]

        def network(x: dfc.Tensor) -> dfc.Tensor:
            hidden = dfc.nn.relu(dfc.matmul(x, weights[0]) + biases[0])
            return dfc.matmul(hidden, weights[1]) + biases[1]

        x, y = queue.dequeue_many(BATCH)
        loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(y, network(x)))
        optimizer = dfc.train.Momentum(0.1, momentum=0.9)
        with dfc.control_dependencies([optimizer.minimize(loss, [*weights, *biases])]):
            train = counts["train"].assign_add(1)

        with dfc.control_dependencies([counts["evaluate"].assign_add(1)]):
            found = dfc.argmax(network(images / 16.0), axis=-1)
        accuracy = dfc.mean(dfc.astype(found == labels, "float32"))
        return Parts(
            graph, images, labels, enqueue, queue.close(), queue.size(), train, loss, accuracy, counts,
            dfc.initialize_all(),
        )  # fmt: skip


def load_data() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """((images, labels) to train on, (images, labels) held out), of scikit-learn's handwritten digits."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images, labels = digits.data.astype(np.float32), digits.target.astype(np.int32)
    x, held_x, y, held_y = train_test_split(images, labels, test_size=0.2, random_state=0, stratify=labels)
    return (x, y), (held_x, held_y)


def run(
    epochs: int = 30, say: Callable[[str], None] = lambda line: None
) -> tuple[float, dict[str, int], dict[str, int]]:
    """Let the three clients work until the data is used up. The accuracy at the end; how often each client ran its
    step; and what the counters in the graph say of that."""
    (images, labels), held_out = load_data()
    parts = build()
    ran = {"fill": 0, "train": 0, "evaluate": 0}
    over = threading.Event()
    failures: list[BaseException] = []

    with dfc.Session(parts.graph) as session:
        session.run(parts.initialize)

        def fill() -> None:
            order = np.random.default_rng(1)
            for _ in range(epochs):
                rows = order.permutation(len(images))
                for some in np.array_split(rows, 12):
                    session.run(parts.enqueue, {parts.images: images[some], parts.labels: labels[some]})
                    ran["fill"] += 1
            session.run(parts.close)

        def train() -> None:
            try:
                while True:
                    session.run(parts.train)
                    ran["train"] += 1
            except dfc.errors.OutOfRange:  # the queue is closed, and has no whole batch left
                over.set()

        def evaluate() -> None:
            feeds = {parts.images: held_out[0], parts.labels: held_out[1]}
            while not over.is_set():
                accuracy = session.run(parts.accuracy, feeds)
                ran["evaluate"] += 1
                say(f"after {ran['train']:5d} training steps: accuracy {accuracy:.3f}")
                over.wait(0.1)

        def guarded(client: Callable[[], None]) -> None:
            try:
                client()
            except BaseException as error:
                failures.append(error)
                over.set()
                session.close()

        threads = [threading.Thread(target=guarded, args=(client,)) for client in (fill, train, evaluate)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        counted = {name: int(session.run(variable)) for name, variable in parts.counts.items()}
        accuracy = session.run(parts.accuracy, {parts.images: held_out[0], parts.labels: held_out[1]})
        return float(accuracy), ran, counted


@click.command()
@click.option("--epochs", type=click.IntRange(min=1), default=30, show_default=True, help="Passes over the data.")
def main(epochs: int) -> None:
    """Fill, train and evaluate at once; print what each client did."""
    start = time.monotonic()
    accuracy, ran, counted = run(epochs, click.echo)
    for name, times in ran.items():
        click.echo(f"{name:8}: {times} steps; the graph counted {counted[name]}")
    click.echo(f"accuracy on held-out images after {time.monotonic() - start:.1f} s: {accuracy:.3f}")


if __name__ == "__main__":
    main()
