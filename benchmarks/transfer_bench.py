"""How long a value of 4 bytes and one of 100 MB takes from device to device, by each transport of the table in
`runtime/transports.py` that this machine has devices for, against `jax.device_put`; the other cases say so."""

from __future__ import annotations

import os

import numpy as np

from benchmarks.harness import Case, Effort, Result, agree, alternate

SIZES = {"4B": 1, "100MB": 25_000_000}
PAIRS = (("cpu", 0, "cpu", 0), ("cpu", 0, "cpu", 1), ("cpu", 0, "gpu", 0), ("gpu", 0, "cpu", 0), ("gpu", 0, "gpu", 1))


def run(effort: Effort, only: tuple[str, ...] = ()) -> Result:
    """Cases `cpu0_cpu1_4B`, `cpu0_cpu1_100MB` and so on, for each pair of devices."""
    os.environ.setdefault("DFC_CPU_DEVICES", "2")
    result = Result("transfer")
    for pair in PAIRS:
        for label, elements in SIZES.items():
            name = f"{pair[0]}{pair[1]}_{pair[2]}{pair[3]}_{label}"
            if not only or name.startswith(only):
                small = elements // 100 or 1
                result.cases.append(_case(name, pair, small if effort.smoke else elements, effort))
    return result


def _case(name: str, pair: tuple[str, int, str, int], elements: int, effort: Effort) -> Case:
    import jax

    from dfc.ir.devices import local
    from dfc.runtime.device_names import local_devices
    from dfc.runtime.transports import transport_between

    source, target = local(pair[0], pair[1]), local(pair[2], pair[3])
    transport, devices = transport_between(source, target), local_devices()
    missing = sorted({str(d) for d in (source, target) if d not in devices})
    if missing:
        return Case(name, [], [], "", note=f"{transport.name}: not run here, there is no {', '.join(missing)}")
    value = jax.device_put(np.arange(elements, dtype=np.float32), devices[source])
    there = devices[target]
    agree(name, [transport.move(value, there)], [jax.device_put(value, there)], 0.0)

    def ours(calls: int) -> None:
        for _ in range(calls):
            transport.move(value, there).block_until_ready()

    def peer(calls: int) -> None:
        for _ in range(calls):
            jax.device_put(value, there, may_alias=None if source == target else False).block_until_ready()

    note = f"{transport.name}, {value.nbytes:,} bytes"
    return alternate(name, ours, peer, effort, peer_name="jax.device_put", note=note)
