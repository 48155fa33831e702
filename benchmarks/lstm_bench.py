"""A train step of LSTM-512-512 on words: embedding, LSTM, a soft-max over 40,000 words, full or sampled (512), SGD;
20 steps of 32 sequences. Against the faster of PyTorch in eager mode and JAX, in words a second."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness import Case, Effort, Result, agree, alternate

RATE = 0.1


class Sizes(NamedTuple):
    batch: int = 32
    steps: int = 20
    words: int = 40_000
    units: int = 512
    sampled: int = 512


Array = np.ndarray[Any, Any]
Weights = dict[str, Array]


def start(sizes: Sizes) -> Weights:
    """The same start for all sides. Gates are input, forget, cell, output."""
    rng = np.random.default_rng(0)

    def uniform(*shape: int) -> Array:
        return rng.uniform(-0.05, 0.05, shape).astype(np.float32)

    return {
        "embedding": uniform(sizes.words, sizes.units),
        "kernel": uniform(sizes.units, 4 * sizes.units),
        "recurrent": uniform(sizes.units, 4 * sizes.units),
        "bias": np.zeros(4 * sizes.units, np.float32),
        "weights": uniform(sizes.words, sizes.units),
        "biases": np.zeros(sizes.words, np.float32),
    }


def text(sizes: Sizes) -> tuple[Array, Array, Array]:
    """Words (steps, batch), the words after them, and a sample of words: frequent ones more often."""
    rng = np.random.default_rng(1)
    drawn = np.minimum(rng.zipf(1.3, (sizes.steps + 1, sizes.batch)), sizes.words) - 1
    sampled = rng.choice(sizes.words, sizes.sampled, replace=False)
    return drawn[:-1].astype(np.int32), drawn[1:].astype(np.int32), sampled.astype(np.int32)


def expected(sizes: Sizes, ids: Array) -> Array:
    """How often a sample of `sampled` words has each of these, log-uniformly."""
    p = np.log((ids + 2.0) / (ids + 1.0)) / np.log(sizes.words + 1.0)
    return -np.expm1(sizes.sampled * np.log1p(-p)).astype(np.float32)


Step = Callable[[], Any]
"""One train step; returns the loss, which is not awaited."""


def ours(sizes: Sizes, full: bool) -> Step:
    """dfc: one compiled function, its weights in variables; the rows of tables that a step doesn't touch it leaves."""
    import dfc

    w = {name: dfc.Variable(value, name=name) for name, value in start(sizes).items()}
    cell = dfc.nn.LSTMCell(sizes.units, sizes.units)
    cell.kernel, cell.recurrent, cell.bias = w["kernel"], w["recurrent"], w["bias"]
    optimizer = dfc.train.SGD(RATE)

    @dfc.function
    def step(words: Any, following: Any, sampled: Any, of_true: Any, of_sampled: Any) -> Any:
        x = dfc.nn.embedding_lookup(w["embedding"], words)
        outputs, _ = dfc.nn.rnn(cell, x, time_major=True)
        flat, labels = dfc.reshape(outputs, (-1, sizes.units)), dfc.reshape(following, (-1,))
        if full:
            logits = dfc.matmul(flat, dfc.matrix_transpose(w["weights"])) + w["biases"]
            losses = dfc.nn.sparse_softmax_cross_entropy(labels, logits)
        else:
            losses = dfc.nn.sampled_softmax_loss(
                w["weights"], w["biases"], labels, flat, sizes.sampled, sizes.words,
                sampled_values=(sampled, of_true, of_sampled), remove_accidental_hits=False,
            )  # fmt: skip
        loss = dfc.mean(losses)
        optimizer.minimize(loss, list(w.values()))
        return loss

    words, following, sampled = text(sizes)
    of_true, of_sampled = expected(sizes, following.reshape(-1, 1)), expected(sizes, sampled)
    feeds = [dfc.asarray(a) for a in (words, following, sampled, of_true, of_sampled)]
    return lambda: step(*feeds)


def with_jax(sizes: Sizes, full: bool) -> Step:
    """JAX: one jitted step, the weights donated; gates +1 on the forget gate, as in dfc."""
    import jax
    import jax.numpy as jnp

    words, following, sampled = (jnp.asarray(a) for a in text(sizes))
    of_true, of_sampled = (jnp.asarray(expected(sizes, np.asarray(a).reshape(-1))) for a in (following, sampled))

    def loss_of(w: dict[str, Any]) -> Any:
        x = w["embedding"][words] @ w["kernel"] + w["bias"]

        def cell(state: Any, gates: Any) -> Any:
            h, c = state
            i, f, g, o = jnp.split(gates + h @ w["recurrent"], 4, axis=-1)
            c = jax.nn.sigmoid(f + 1) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((sizes.batch, sizes.units), jnp.float32)
        flat = jax.lax.scan(cell, (zeros, zeros), x)[1].reshape(-1, sizes.units)
        labels = following.reshape(-1)
        if full:
            logits = flat @ w["weights"].T + w["biases"]
            picked = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
        else:
            picked = jnp.sum(flat * w["weights"][labels], axis=1) + w["biases"][labels] - jnp.log(of_true)
            others = flat @ w["weights"][sampled].T + w["biases"][sampled] - jnp.log(of_sampled)
            logits = jnp.concatenate([picked[:, None], others], axis=1)
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked)

    def step(w: dict[str, Any]) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(w)
        return {name: w[name] - RATE * grads[name] for name in w}, loss

    jitted = jax.jit(step, donate_argnums=0)
    state = [{name: jnp.asarray(value) for name, value in start(sizes).items()}]

    def run() -> Any:
        state[0], loss = jitted(state[0])
        return loss

    return run


def with_torch(sizes: Sizes, full: bool) -> Step | None:
    """PyTorch, eager: its own LSTM, sparse gradients of the tables where only rows are used."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch
    from torch.nn import functional

    units = sizes.units
    w = {name: torch.tensor(value) for name, value in start(sizes).items()}
    lstm = torch.nn.LSTM(units, units)
    forget = torch.zeros(4 * units)
    forget[units : 2 * units] = 1
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(w["kernel"].T)
        lstm.weight_hh_l0.copy_(w["recurrent"].T)
        lstm.bias_ih_l0.copy_(forget)
        lstm.bias_hh_l0.zero_()
    lstm.bias_hh_l0.requires_grad_(False)  # it is the other one again
    embedding = torch.nn.Embedding(sizes.words, units, sparse=True, _weight=w["embedding"])
    output = torch.nn.Embedding(sizes.words, units, sparse=not full, _weight=w["weights"])
    biases = torch.nn.Embedding(sizes.words, 1, sparse=not full, _weight=w["biases"][:, None])
    every = [*embedding.parameters(), *lstm.parameters(), *output.parameters(), *biases.parameters()]
    parameters = [p for p in every if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, RATE)
    words, following, sampled = (torch.tensor(a.astype(np.int64)) for a in text(sizes))
    labels = following.reshape(-1)
    of_true, of_sampled = (torch.tensor(expected(sizes, a.numpy())) for a in (labels, sampled))

    def step() -> Any:
        optimizer.zero_grad()
        flat = lstm(embedding(words))[0].reshape(-1, units)
        if full:
            loss = functional.cross_entropy(flat @ output.weight.T + biases.weight[:, 0], labels)
        else:
            picked = (flat * output(labels)).sum(1) + biases(labels)[:, 0] - of_true.log()
            others = flat @ output(sampled).T + biases(sampled)[:, 0] - of_sampled.log()
            logits = torch.cat([picked[:, None], others], 1)
            loss = functional.cross_entropy(logits, torch.zeros(len(labels), dtype=torch.int64))
        loss.backward()
        optimizer.step()
        return loss

    return lambda: step().detach()


def run(effort: Effort, only: tuple[str, ...] = ()) -> Result:
    """Cases full and sampled; the figure is dfc's time by the faster peer's."""
    result = Result("lstm", packages=("dfc", "jax", "jaxlib", "torch", "numpy"))
    sizes = Sizes(batch=2, steps=3, words=50, units=8, sampled=8) if effort.smoke else Sizes()
    for name in ("full", "sampled"):
        if not only or name.startswith(only):
            result.cases.append(_case(name, sizes, effort))
    return result


def _case(name: str, sizes: Sizes, effort: Effort) -> Case:
    full = name == "full"
    mine = ours(sizes, full)
    peers = {"jax": with_jax(sizes, full), "torch": with_torch(sizes, full)}
    losses = [float(np.asarray(mine().numpy())) for _ in range(3)]
    found: list[tuple[float, str, Step]] = []
    for peer_name, step in peers.items():
        if step is None:
            continue
        agree(f"{name}, {peer_name}", losses, [float(step()) for _ in range(3)], 1e-4)
        timed = alternate(peer_name, _repeated(step), None, Effort(3, effort.seconds))
        found.append((min(timed.ours), peer_name, step))
    _, peer_name, peer = min(found)
    words = sizes.batch * sizes.steps
    note = f"{words} words a step; " + ", ".join(f"{n} {words / s:,.0f} words/s" for s, n, _ in found)
    return alternate(name, _repeated(mine), _repeated(peer), effort, peer_name=peer_name, limit=1.0, note=note)


def _repeated(step: Step) -> Callable[[int], None]:
    def run(calls: int) -> None:
        for _ in range(calls):
            loss = step()
        float(loss.item())

    return run
