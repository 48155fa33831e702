"""Row K9: a model that is cut over devices has the losses that it has on one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import dfc

LAYERS = 4


@contextmanager
def layer(number: int, devices: int) -> Iterator[None]:
    """What is made inside is of this layer's device; of no device in particular where there is one."""
    if devices == 1:
        yield
        return
    with dfc.device(f"/cpu:{number % devices}"):
        yield


def losses(graph: dfc.Graph, loss: Any, step: Any, init: Any, batches: list[dict[Any, Any]]) -> list[float]:
    with dfc.Session(graph) as session:
        session.run(init, timeout=60)
        return [float(session.run([loss, step], feeds, timeout=60)[0]) for feeds in batches]


def digits(devices: int) -> list[float]:
    """The losses of a network of four layers on scikit-learn's digits, a layer a device."""
    load = pytest.importorskip("sklearn.datasets", reason="scikit-learn, which has the digits, is not installed")
    images, labels = load.load_digits(return_X_y=True)
    images, labels = (images / 16).astype(np.float32), labels.astype(np.int32)
    random, sizes = np.random.default_rng(0), (64, 48, 32, 32, 10)
    with dfc.Graph() as graph:
        x, t = dfc.placeholder("float32", (64, 64), name="x"), dfc.placeholder("int32", (64,), name="t")
        h = x
        for number in range(LAYERS):
            with layer(number, devices):
                start = random.standard_normal(sizes[number : number + 2]) / np.sqrt(sizes[number])
                w = dfc.Variable(start.astype(np.float32), name=f"w{number}")
                b = dfc.Variable(np.zeros(sizes[number + 1], np.float32), name=f"b{number}")
                h = h @ w + b
                h = dfc.tanh(h) if number < LAYERS - 1 else h
        with layer(LAYERS - 1, devices):
            loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(t, h))
        step, init = dfc.train.Momentum(0.03, 0.9).minimize(loss), dfc.initialize_all()
    batches = [{x: images[i : i + 64], t: labels[i : i + 64]} for i in range(0, 25 * 64, 64)]
    return losses(graph, loss, step, init, batches)


def lstm(devices: int) -> list[float]:
    """The losses of four LSTM layers over a sequence, a layer a device."""
    random, size = np.random.default_rng(1), 8
    with dfc.Graph() as graph:
        x, t = dfc.placeholder("float32", (6, 4, size), name="x"), dfc.placeholder("float32", (4, size), name="t")
        weights = []
        for number in range(LAYERS):
            with layer(number, devices):
                start = random.standard_normal((2 * size, 4 * size)).astype(np.float32) * 0.5
                weights.append(dfc.Variable(start, name=f"w{number}"))

        def row(carried: tuple[Any, ...], h: Any) -> tuple[tuple[Any, ...], Any]:
            following: list[Any] = []
            for number, w in enumerate(weights):
                cell, state = carried[2 * number : 2 * number + 2]
                with layer(number, devices):
                    gates = dfc.concat([h, state], axis=1) @ w
                    i, f, g, o = (gates[:, k * size : (k + 1) * size] for k in range(4))
                    cell = dfc.sigmoid(f + 1) * cell + dfc.sigmoid(i) * dfc.tanh(g)
                    h = dfc.sigmoid(o) * dfc.tanh(cell)
                following += [cell, h]
            return tuple(following), h

        _, rows = dfc.scan(row, (dfc.zeros((4, size)),) * (2 * LAYERS), x)
        with layer(LAYERS - 1, devices):
            loss = dfc.mean((rows[-1] - t) ** 2)
        step, init = dfc.train.SGD(1.0).minimize(loss), dfc.initialize_all()
    feeds = {x: random.standard_normal((6, 4, size)).astype(np.float32), t: np.full((4, size), 0.5, np.float32)}
    return losses(graph, loss, step, init, [feeds] * 8)


@pytest.mark.parametrize("devices", [2, 4])
@pytest.mark.parametrize("model", [digits, lstm])
def test_k9_a_model_cut_over_devices_has_the_losses_of_one(model: Any, devices: int) -> None:
    alone, cut = model(1), model(devices)
    assert alone[-1] < 0.95 * alone[0], "it learns"
    np.testing.assert_allclose(cut, alone, rtol=2e-4)
