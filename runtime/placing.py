"""Programs on the devices of this process: their names, and what can be run as placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from dfc.backends import pipeline, xla
from dfc.errors import DfcError, Unimplemented
from dfc.ir.devices import ASSIGNED, DeviceName, listed, local, priority
from dfc.ir.op import error_at
from dfc.ir.ops.function import Func
from dfc.passes.colocation import nodes_of, text_of
from dfc.passes.phases import Phase
from dfc.passes.place import Place, asks, is_work, spans
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
    asks for that, or where the placement is to be logged. Raises what they raise, and Unimplemented for a program on
    devices on which it can't run yet."""
    asked = log or any(isinstance(func, Func) and asks(func) for func in program.ops)
    if asked and start in (Phase.TRACE, Phase.GRAPH):
        place = Place(tuple(map(str, local_devices())), soft=soft, log=log)
        passes = {**passes, Phase.PLACED: str(place)}
        pipeline.lower(program, start=start, to=Phase.PLACED, passes=passes, observers=observers)
        start = Phase.PLACED
    if asked:
        require_one_device(program)
    else:
        passes = {**passes, Phase.PLACED: ""}
    pipeline.lower(program, start=start, passes=passes, observers=observers)


def require_one_device(program: ModuleOp, default: DeviceName | None = None) -> None:
    """Raise Unimplemented for a placed program that is on another device than the first, or on several: such a one is
    never run as if it were on one."""
    found = spans(program)
    if not found:
        return
    first = default or min(local_devices(), key=priority)
    if found == [first]:
        return
    raise _not_yet(program, found, first)


def _not_yet(program: ModuleOp, found: Sequence[DeviceName], first: DeviceName) -> DfcError:
    example = next(
        op
        for func in program.ops
        if isinstance(func, Func)
        for op in nodes_of(func.block)
        if is_work(op) and text_of(op, ASSIGNED) not in ("", str(first))
    )
    what = "several devices" if len(found) > 1 else "another device than the first"
    return error_at(
        Unimplemented,
        example,
        f"a step on {what} can't run yet: it was placed on {listed(found)}",
        f"ask for one device only, {first}, or for none",
    )
