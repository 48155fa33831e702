"""Programs on the devices of this process: their names, and what can be run as placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from dfc.backends import pipeline, xla
from dfc.errors import Unimplemented
from dfc.ir.devices import ASSIGNED, DeviceName, local, priority
from dfc.ir.op import error_at
from dfc.ir.ops.function import Func
from dfc.ir.ops.state import Group
from dfc.passes.colocation import nodes_of
from dfc.passes.compilable import SOURCES
from dfc.passes.partition import device_of
from dfc.passes.phases import Phase
from dfc.passes.place import Place, asks
from dfc.runtime.variables import Device


@cache
def local_devices() -> dict[DeviceName, Device]:
    """This process's devices by name, those of JAX's default platform and of the CPU."""
    platforms = [xla.devices()]
    if all(device.platform != "cpu" for device in platforms[0]):
        platforms.append(xla.devices("cpu"))
    return {
        local("gpu" if device.platform in ("cuda", "rocm") else device.platform, index): device
        for devices in platforms
        for index, device in enumerate(devices)
    }


def name_of(device: Device) -> str:
    """The device's name, or JAX's for one that has none here."""
    return next((str(name) for name, found in local_devices().items() if found is device), str(device))


def lower(
    program: ModuleOp,
    *,
    start: Phase = Phase.TRACE,
    passes: Mapping[Phase, str] = {},
    observers: Sequence[Any] = (),
    soft: bool = True,
    log: bool = False,
) -> None:
    """The default passes up to phase clustered, in place, with ops placed on this process's devices where something
    asks for that, or where the placement is to be logged. Raises what they raise."""
    asked = log or any(isinstance(func, Func) and asks(func) for func in program.ops)
    if asked and start in (Phase.TRACE, Phase.GRAPH):
        place = Place(tuple(map(str, local_devices())), soft=soft, log=log)
        passes = {**passes, Phase.PLACED: str(place)}
        pipeline.lower(program, start=start, to=Phase.PLACED, passes=passes, observers=observers)
        start = Phase.PLACED
    if not asked:
        passes = {**passes, Phase.PLACED: ""}
    pipeline.lower(program, start=start, passes=passes, observers=observers)


def first_device() -> DeviceName:
    """The one where everything is that asks for nothing."""
    return min(local_devices(), key=priority)


def is_on_first(funcs: Sequence[Func]) -> bool:
    """Whether a function that has become these is on the first device alone."""
    return len(funcs) == 1 and device_of(funcs[0]) in ("", str(first_device()))


def _is_work(op: Operation) -> bool:
    """Whether the op is the user's, and not what each device has for itself or what holds others."""
    return ASSIGNED in op.attributes and not isinstance(op, (Group, *SOURCES))


def alone(funcs: Sequence[Func]) -> Func:
    """The function, if it is on the first device alone. Raises Unimplemented."""
    if is_on_first(funcs):
        return funcs[0]
    elsewhere = [func for func in funcs if not is_on_first([func])]
    example = next((op for func in elsewhere for op in nodes_of(func.block) if _is_work(op)), elsewhere[0])
    listing = ", ".join(device_of(func) for func in funcs)
    raise error_at(
        Unimplemented,
        example,
        f"a program outside of this process is on one device, and this one was placed on {listing}",
        f"ask for one device only, {first_device()}, or for none",
    )
