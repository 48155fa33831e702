"""Two towers on two CPU devices, placed by costs, beside the same step placed by the rules, which is all on the first.

Each tower is an LSTM over its own sequence, which one core does, step after step. Their last outputs meet in products
of all pairs of a batch, and a loss that wants each with its own partner. `forward` is the loss, `train` a step of SGD
too. `naive` is the training step with the layers of both towers dealt out to the devices in turn, as one does by hand
who does not look at what needs what.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness import Case, Effort, Result, agree, alternate

LIMIT = 1.0
"""Of the time of the rules' placement."""


class Sizes(NamedTuple):
    batch: int = 8
    steps: int = 256
    features: int = 64
    units: int = 64


Dealt = Callable[[int], AbstractContextManager[None]]


class Model(NamedTuple):
    graph: Any
    fetches: list[Any]
    init: Any
    feeds: dict[Any, Any]


def two_towers(sizes: Sizes, train: bool, where: Dealt = lambda number: nullcontext()) -> Model:
    """The graph. `where` gives the scope in which layer 0, 1, 2 ... is made."""
    import dfc

    random = np.random.default_rng(0)

    def start(*shape: int) -> Any:
        return (random.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    units, feeds, ends = sizes.units, {}, []
    with dfc.Graph() as graph:
        for tower in range(2):
            with where(2 * tower):
                x = dfc.placeholder("float32", (sizes.steps, sizes.batch, sizes.features), name=f"x{tower}")
                kernel = dfc.Variable(start(sizes.features, 4 * units), name=f"kernel{tower}")
                gates = x @ kernel
            with where(2 * tower + 1):
                recurrent = dfc.Variable(start(units, 4 * units), name=f"recurrent{tower}")

                def row(state: Any, gates: Any, recurrent: Any = recurrent) -> Any:
                    h, c = state
                    gates = gates + h @ recurrent
                    i, f, g, o = (gates[:, k * units : (k + 1) * units] for k in range(4))
                    c = dfc.sigmoid(f + 1) * c + dfc.sigmoid(i) * dfc.tanh(g)
                    h = dfc.sigmoid(o) * dfc.tanh(c)
                    return (h, c), h

                zeros = dfc.zeros((sizes.batch, units))
                (end, _), _ = dfc.scan(row, (zeros, zeros), gates)
            feeds[x] = random.standard_normal((sizes.steps, sizes.batch, sizes.features)).astype(np.float32)
            ends.append(end)
        pairs = ends[0] @ dfc.matrix_transpose(ends[1])
        loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(dfc.arange(sizes.batch), pairs))
        fetches = [loss, dfc.train.SGD(0.1).minimize(loss)] if train else [loss]
        init = dfc.initialize_all()
    return Model(graph, fetches, init, feeds)


def session(model: Model, **config: Any) -> tuple[Any, Callable[[], float]]:
    """A session of the model, and a function that runs a step and gives the loss."""
    import dfc

    made = dfc.Session(model.graph, config=dfc.SessionConfig(**config))
    made.run(model.init)
    call = made.make_callable(model.fetches, list(model.feeds))
    arrays = list(model.feeds.values())
    return made, lambda: float(call(*arrays)[0])


def _case(name: str, sizes: Sizes, effort: Effort, costs: Any) -> Case:
    import dfc

    train = name != "forward"

    def dealt(layer: int) -> AbstractContextManager[None]:
        return dfc.device(f"/cpu:{layer % 2}")

    model = two_towers(sizes, train)
    _, by_rules = session(two_towers(sizes, train, dealt) if name == "naive" else two_towers(sizes, train))
    if costs is None:
        measuring, _ = session(model)
        costs = measuring.measure(model.fetches, model.feeds)
    by_costs, ours = session(model, placement="costs", costs=costs)
    agree(name, [ours() for _ in range(3)], [by_rules() for _ in range(3)], 1e-4)
    expected = by_costs.expected(model.fetches, model.feeds)
    peer = "dealt out" if name == "naive" else "rules"
    case = alternate(name, _repeated(ours), _repeated(by_rules), effort, peer_name=peer, limit=LIMIT)
    case.note = f"expected {expected.seconds * 1e3:.2f} ms, fastest {min(case.ours) * 1e3:.2f}"
    return case


def _repeated(step: Callable[[], float]) -> Callable[[int], None]:
    def run(calls: int) -> None:
        for _ in range(calls):
            step()

    return run


def run(effort: Effort, only: tuple[str, ...] = ()) -> Result:
    """Cases forward, train, measured (train, with the times of its ops measured) and naive."""
    os.environ.setdefault("DFC_CPU_DEVICES", "2")
    import dfc

    result = Result("placement")
    sizes = Sizes(batch=2, steps=4, features=4, units=4) if effort.smoke else Sizes()
    for name in ("forward", "train", "measured", "naive"):
        if not only or name.startswith(only):
            result.cases.append(_case(name, sizes, effort, None if name == "measured" else dfc.Costs()))
    return result
