"""Programs on the devices of this process: their names, and what can be run as placed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation

from dfc.backends import pipeline, xla
from dfc.errors import Unimplemented
from dfc.ir.devices import ASSIGNED, REQUEST, DeviceName, local, parse_full, priority
from dfc.ir.op import error_at
from dfc.ir.ops.function import Func
from dfc.ir.ops.state import Group, Read, Variable, Write
from dfc.passes.colocation import nodes_of
from dfc.passes.compilable import SOURCES
from dfc.passes.costs import Costs
from dfc.passes.expected import Expected
from dfc.passes.partition import device_of
from dfc.passes.phases import Phase
from dfc.passes.place import Place, asks, place
from dfc.runtime.variables import Device, VariableState


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
    costs: Costs | None = None,
    settled: Mapping[str, DeviceName] = {},
) -> Expected | None:
    """The default passes up to phase clustered, in place, with ops placed on this process's devices where something
    asks for that, or where the placement is to be logged. With `costs` ops are placed by these, variables that are
    `settled` where those are, and what is expected is returned. Raises what they raise."""
    if costs is not None:
        pipeline.lower(program, start=start, to=Phase.GRAPH, passes=passes, observers=observers)
        expected = _place_by(costs, program, settled, soft, log)
        pipeline.lower(program, start=Phase.GRAPH, passes={**passes, Phase.PLACED: ""}, observers=observers)
        return expected
    asked = log or any(isinstance(func, Func) and asks(func) for func in program.ops)
    if asked and start in (Phase.TRACE, Phase.GRAPH):
        text = str(Place(tuple(map(str, local_devices())), soft=soft, log=log))
        passes = {**passes, Phase.PLACED: text}
        pipeline.lower(program, start=start, to=Phase.PLACED, passes=passes, observers=observers)
        start = Phase.PLACED
    if not asked:
        passes = {**passes, Phase.PLACED: ""}
    pipeline.lower(program, start=start, passes=passes, observers=observers)
    return None


def _place_by(
    costs: Costs, program: ModuleOp, settled: Mapping[str, DeviceName], soft: bool, log: bool
) -> Expected | None:
    """Place the program, at phase graph, by costs; what is expected of its last function."""
    expected = None
    for func in [op for op in program.ops if isinstance(op, Func)]:
        for op in nodes_of(func.block):
            if isinstance(op, Variable) and op.variable.data in settled and REQUEST not in op.attributes:
                op.attributes[ASSIGNED] = StringAttr(str(settled[op.variable.data]))
        done = place(func, list(local_devices()), soft=soft, costs=None if _only_writes(func) else costs)
        if not done.write():
            for op in nodes_of(func.block):
                op.attributes.pop(ASSIGNED, None)
        if log:
            print("\n".join(done.lines), file=sys.stderr)
        expected = done.expected
    return expected


def _only_writes(func: Func) -> bool:
    """Whether the function gives variables their values, and does nothing else with them: where it has them says
    nothing about where they are needed."""
    ops = list(nodes_of(func.block))
    return any(isinstance(op, Write) for op in ops) and not any(isinstance(op, Read) for op in ops)


def homes_of(variables: Mapping[str, VariableState]) -> dict[str, DeviceName]:
    """The devices of those variables that stay where they are, since a step over several devices has them there."""
    return {name: parse_full(name_of(state.device)) for name, state in variables.items() if state.is_settled}


def relocated(funcs: Sequence[Func], variables: Mapping[str, VariableState]) -> list[str]:
    """Bring variables where these functions, the parts of a step that was placed by costs, have them; which were
    elsewhere."""
    moved: list[str] = []
    if is_on_first(funcs):
        return moved
    for func in funcs:
        device = local_devices()[parse_full(device_of(func))]
        names = [op.variable.data for op in func.block.ops if isinstance(op, Variable)]
        for name in names:
            state = variables.get(name)
            if state is not None and state.device is not device and not state.is_settled:
                state.relocate(device)
                moved.append(name)
    return moved


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
