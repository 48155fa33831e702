"""How many islands a second the executor runs: a thousand of `x + 1` on a scalar, one after the other, kept apart by
`SessionConfig(cluster=False)`; on one device, and on two in turn, each hop a send and a receive more."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from benchmarks.harness import Effort, Result, agree, alternate

ISLANDS = 1000
LIMIT = 10_000


def run(effort: Effort, only: tuple[str, ...] = ()) -> Result:
    """Cases one_device, two_devices."""
    os.environ.setdefault("DFC_CPU_DEVICES", "2")
    result = Result("executor")
    for devices, name in enumerate(("one_device", "two_devices"), 1):
        if not only or any(name.startswith(each) for each in only):
            n = 50 if effort.smoke else ISLANDS
            calls = _on(devices, n, name)
            result.cases.append(alternate(name, calls, None, effort, limit=LIMIT, units=n, unit="islands/s"))
    return result


def _on(devices: int, n: int, name: str) -> Any:
    import dfc

    with dfc.Graph() as graph:
        x = y = dfc.placeholder("float32", (), name="x")
        for hop in range(n):
            with dfc.device(f"/cpu:{hop % devices}"):
                y = y + 1.0
    session = dfc.Session(graph, config=dfc.SessionConfig(cluster=False))
    step, one = session.make_callable(y, [x]), np.array(1.0, np.float32)
    agree(name, [step(one)], [1.0 + n], 0.0)

    def ours(calls: int) -> None:
        for _ in range(calls):
            step(one)

    return ours
