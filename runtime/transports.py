"""How a value goes from one device to another: one table, by where the two are and what they are.

The choice is made once, when a step is compiled, and stands in a timeline beside each transfer. What is between
processes and between hosts is not in this table: no transfer of one process needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dfc.backends import xla
from dfc.errors import Unimplemented
from dfc.ir.devices import DeviceName


class Relation(Enum):
    """Where two devices are, seen from each other."""

    SAME_DEVICE = "same device"
    SAME_PROCESS = "same process"
    OTHER_PROCESS = "other process"


@dataclass(frozen=True)
class Transport:
    """A way to bring a value: `move(value, device)`, not awaited. It names the runtime that carries the bytes."""

    name: str
    move: Callable[[Any, Any], Any]


HANDED_OVER = Transport("handed over", lambda value, device: value)
HOST_COPY = Transport("copy in host memory", xla.brought)
UPLOAD = Transport("copy from host to device", xla.brought)
DOWNLOAD = Transport("copy from device to host", xla.brought)
PEER_COPY = Transport("copy between devices", xla.brought)

TRANSPORTS: dict[tuple[Relation, str, str], Transport] = {
    (Relation.SAME_DEVICE, "CPU", "CPU"): HANDED_OVER,
    (Relation.SAME_DEVICE, "GPU", "GPU"): HANDED_OVER,
    (Relation.SAME_DEVICE, "TPU", "TPU"): HANDED_OVER,
    (Relation.SAME_PROCESS, "CPU", "CPU"): HOST_COPY,
    (Relation.SAME_PROCESS, "CPU", "GPU"): UPLOAD,
    (Relation.SAME_PROCESS, "CPU", "TPU"): UPLOAD,
    (Relation.SAME_PROCESS, "GPU", "CPU"): DOWNLOAD,
    (Relation.SAME_PROCESS, "TPU", "CPU"): DOWNLOAD,
    (Relation.SAME_PROCESS, "GPU", "GPU"): PEER_COPY,
    (Relation.SAME_PROCESS, "TPU", "TPU"): PEER_COPY,
}
"""By relation, type of the source and type of the target; types that are not here copy from device to device. PJRT
makes the copies. Only those between CPU devices have run and been measured (`benchmarks/run.py transfer`)."""


def relation(source: DeviceName, target: DeviceName) -> Relation:
    """Where two devices, by their whole names, are, seen from each other."""
    if source == target:
        return Relation.SAME_DEVICE
    if (source.job, source.replica, source.task) == (target.job, target.replica, target.task):
        return Relation.SAME_PROCESS
    return Relation.OTHER_PROCESS


def transport_between(source: DeviceName, target: DeviceName) -> Transport:
    """How a value goes from `source` to `target`. Raises Unimplemented where nothing carries it."""
    where = relation(source, target)
    if where is Relation.OTHER_PROCESS:
        raise Unimplemented(f"nothing carries a value from {source} to {target}, of another process", op="send")
    known = HANDED_OVER if where is Relation.SAME_DEVICE else PEER_COPY
    return TRANSPORTS.get((where, source.kind or "", target.kind or ""), known)
