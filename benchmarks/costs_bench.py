"""The figures that placing by costs starts from, `dfc.Costs`, as this machine's CPU devices have them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import Case, Effort, Result, agree, alternate


def _flops(effort: Effort) -> Case:
    """Products as in a recurrence, 16 x 128 by 128 x 512 and back."""
    import dfc

    times = 5 if effort.smoke else 200
    w, v = (dfc.asarray(np.eye(*shape, dtype=np.float32)) for shape in ((128, 512), (512, 128)))
    call = dfc.function(lambda h: dfc.fori_loop(0, times, lambda i, h: (h @ w) @ v, h))
    h = dfc.asarray(np.ones((16, 128), np.float32))
    agree("flops", [call(h).numpy()], [h.numpy()], 0.0)
    return alternate("flops", _awaited(call, h), None, effort, units=4 * 16 * 128 * 512 * times / 1e9, unit="GFLOP/s")


def _memory(effort: Effort) -> Case:
    """A sum of 16 MB, read and written."""
    import dfc

    x, call = dfc.asarray(np.ones(4 << 20, np.float32)), dfc.function(lambda x: x + 1.0)
    agree("memory", [call(x).numpy()], [x.numpy() + 1], 0.0)
    return alternate("memory", _awaited(call, x), None, effort, units=(32 << 20) / 1e6, unit="MB/s")


def _link(effort: Effort) -> Case:
    """16 MB from one device to another."""
    import dfc
    from dfc.backends import xla

    x, other = dfc.asarray(np.ones(4 << 20, np.float32))._array, xla.devices()[1]
    agree("link", [xla.to_numpy(xla.transfer(x, other))], [xla.to_numpy(x)], 0.0)

    def run(calls: int) -> None:
        for _ in range(calls):
            xla.transfer(x, other).block_until_ready()

    return alternate("link", run, None, effort, units=(16 << 20) / 1e6, unit="MB/s")


def _overhead(effort: Effort) -> Case:
    """A small op in a loop: to sort four numbers."""
    import dfc

    times = 5 if effort.smoke else 2000
    call = dfc.function(lambda h: dfc.fori_loop(0, times, lambda i, h: dfc.sort(h), h))
    h = dfc.asarray(np.arange(4, dtype=np.float32))
    agree("overhead", [call(h).numpy()], [h.numpy()], 0.0)
    return alternate("overhead", _awaited(call, h), None, effort, units=times, unit="ops/s")


def _hops(name: str, devices: int, effort: Effort) -> Case:
    """Islands of one op in a row, on one device or on two in turn."""
    import dfc

    n = 5 if effort.smoke else 200
    with dfc.Graph() as graph:
        x = y = dfc.placeholder("float32", (), name="x")
        for hop in range(n):
            with dfc.device(f"/cpu:{hop % devices}"):
                y = y + 1.0
    made = dfc.Session(graph, config=dfc.SessionConfig(cluster=False))
    step, one = made.make_callable(y, [x]), np.array(1.0, np.float32)
    agree(name, [step(one)], [1.0 + n], 0.0)
    return alternate(name, _repeated(lambda: step(one)), None, effort, units=n, unit="islands/s")


def _parts(effort: Effort) -> Case:
    """A step of one op a device, on two devices; on one it takes what an island does, and a third more."""
    import dfc

    with dfc.Graph() as graph:
        x, ys = dfc.placeholder("float32", (2,), name="x"), []
        for device in range(2):
            with dfc.device(f"/cpu:{device}"):
                ys.append(-x)
    step, one = dfc.Session(graph).make_callable(ys, [x]), np.ones(2, np.float32)
    agree("part", step(one), [-one, -one], 0.0)
    return alternate("part", _repeated(lambda: step(one)), None, effort, units=1, unit="steps/s")


def _repeated(call: Callable[[], Any]) -> Callable[[int], None]:
    def run(calls: int) -> None:
        for _ in range(calls):
            call()

    return run


def _awaited(call: Callable[[Any], Any], x: Any) -> Callable[[int], None]:
    return _repeated(lambda: call(x)._array.block_until_ready())


FIGURES: dict[str, Callable[[Effort], Case]] = {
    "flops": _flops,
    "memory": _memory,
    "link": _link,
    "overhead": _overhead,
    "island": lambda effort: _hops("island", 1, effort),
    "latency": lambda effort: _hops("latency", 2, effort),
    "part": _parts,
}
"""What measures each figure. What `latency` has is an island and a hop, what `part` has is two of a step's parts."""


def run(effort: Effort, only: tuple[str, ...] = ()) -> Result:
    """A case for each figure, with what `dfc.Costs` has in its note."""
    os.environ.setdefault("DFC_CPU_DEVICES", "2")
    import dfc

    result = Result("costs")
    for name, measure in FIGURES.items():
        if not only or name.startswith(only):
            case = measure(effort)
            case.note = f"dfc.Costs().{name} is {getattr(dfc.Costs(), name):g}"
            result.cases.append(case)
    return result
