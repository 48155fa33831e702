"""How many islands a second the executor runs: a thousand of `x + 1` on a scalar, one after the other, kept apart by
`SessionConfig(cluster=False)`."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import Effort, Result, agree, alternate

ISLANDS = 1000
LIMIT = 10_000


def run(effort: Effort, only: tuple[str, ...] = ()) -> Result:
    """Case one_device."""
    result = Result("executor")
    if not only or "one_device".startswith(only):
        n = 50 if effort.smoke else ISLANDS
        case = alternate("one_device", _one_device(n), None, effort, limit=LIMIT, units=n, unit="islands/s")
        result.cases.append(case)
    return result


def _one_device(n: int) -> Any:
    import dfc

    with dfc.Graph() as graph:
        x = y = dfc.placeholder("float32", (), name="x")
        for _ in range(n):
            y = y + 1.0
    session = dfc.Session(graph, config=dfc.SessionConfig(cluster=False))
    step, one = session.make_callable(y, [x]), np.array(1.0, np.float32)
    agree("one_device", [step(one)], [1.0 + n], 0.0)

    def ours(calls: int) -> None:
        for _ in range(calls):
            step(one)

    return ours
