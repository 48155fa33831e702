"""Programs on the devices of this process: their names, and what can be run as placed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation

from dfc.backends import pipeline, xla
from dfc.errors import DfcError, Unimplemented
from dfc.ir import locations
from dfc.ir.devices import ASSIGNED, MESH, DeviceName, parse_full, priority
from dfc.ir.op import error_at, short_name
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.function import Func, Island
from dfc.ir.ops.state import Assign, Group, InitializedValue, IsInitialized, Read, Variable, Write
from dfc.passes.colocation import nodes_of, text_of
from dfc.passes.compilable import SOURCES
from dfc.passes.costs import Costs
from dfc.passes.expected import Expected
from dfc.passes.partition import device_of
from dfc.passes.phases import Phase
from dfc.passes.place import Place, asks, place
from dfc.runtime.device_names import device_named, local_devices, name_of
from dfc.runtime.meshes import ask, layout_asked, named_in
from dfc.runtime.variables import Device, VariableState


def lower(
    program: ModuleOp,
    *,
    to: Phase = Phase.CLUSTERED,
    start: Phase = Phase.TRACE,
    passes: Mapping[Phase, str] = {},
    observers: Sequence[Any] = (),
    soft: bool = True,
    log: bool = False,
    variables: Mapping[str, VariableState] = {},
    costs: Costs | None = None,
    meshes: bool = True,
    mesh: Device | None = None,
) -> Expected | None:
    """The default passes up to phase `to`, in place, with ops placed on this process's devices where something asks for
    that, or where the placement is to be logged. `variables` live from then on where the program has them, and stay
    where another has them already. With `costs` ops are placed by these, what is expected is returned, and variables
    that the program only gives values to may be elsewhere yet. What asks for nothing is on the program's mesh, if it
    has one, or on `mesh`; without `meshes` that is left alone. Raises what the passes raise."""
    expected = None
    options: dict[str, Any] = {"passes": passes, "observers": observers}
    if to.position >= Phase.PLACED.position and start in (Phase.TRACE, Phase.GRAPH):
        pipeline.lower(program, start=start, to=Phase.GRAPH, **options)
        for state in variables.values():
            _ = state.device  # which other variables may tell: no lock may be held meanwhile
        with _placing:
            if meshes:
                ask(program, variables, mesh)
            elsewhere = _keep(program, variables, always=costs is not None)
            passing: set[str] = set()
            on_meshes = named_in(program) if meshes or elsewhere else []
            if costs is not None:
                if on_meshes:
                    raise Unimplemented(
                        "a program on a mesh can't be placed by costs", hint="leave placement='costs' out"
                    )
                passing = _only_given(program)
                expected = _place_by(costs, program, soft, log)
            elif elsewhere or log or any(isinstance(func, Func) and asks(func) for func in program.ops):
                by_rules = Place((*map(str, local_devices()), *on_meshes), soft=soft, log=log)
                options["passes"] = {**passes, Phase.PLACED: str(by_rules)}
                pipeline.lower(program, start=Phase.GRAPH, to=Phase.PLACED, **options)
            _settle(program, {name: state for name, state in variables.items() if name not in passing})
        start = Phase.PLACED
    pipeline.lower(program, start=start, to=to, **options)
    return expected


_placing = threading.RLock()
"""Two programs are placed one after the other, so that the second finds variables where the first has them."""


def _variables(program: ModuleOp, states: Mapping[str, VariableState]) -> Iterator[tuple[Variable, VariableState]]:
    if states:
        for op in program.walk():
            if isinstance(op, Variable) and op.variable.data in states:
                yield op, states[op.variable.data]


def _keep(program: ModuleOp, states: Mapping[str, VariableState], always: bool) -> bool:
    """Have variables stay where they are, said where it matters or `always`; whether one of them is elsewhere than on
    the first device."""
    found = [(op, state.device) for op, state in _variables(program, states) if state.is_settled]
    elsewhere = any(device is not xla.default_device() for _, device in found)
    if elsewhere or always or any(isinstance(func, Func) and asks(func) for func in program.ops):
        for op, device in found:
            op.attributes[ASSIGNED] = StringAttr(name_of(device))
    return elsewhere


def _settle(program: ModuleOp, states: Mapping[str, VariableState]) -> None:
    for op, state in _variables(program, states):
        at = text_of(op, ASSIGNED)
        device = device_named(parse_full(at)) if at else xla.default_device()
        try:
            state.settle(device, layout_asked(op, device))
        except DfcError as error:
            raise error.at(op=short_name(op), location=locations.describe(op.location)) from None


def _place_by(costs: Costs, program: ModuleOp, soft: bool, log: bool) -> Expected | None:
    """Place the program, at phase graph, by costs; what is expected of its last function. One that only gives variables
    their values says nothing about where they are needed, and goes by the rules."""
    expected = None
    for func in [op for op in program.ops if isinstance(op, Func)]:
        done = place(func, list(local_devices()), soft=soft, costs=None if _only_gives(func) else costs)
        done.write()
        if log:
            print("\n".join(done.lines), file=sys.stderr)
        expected = done.expected
    return expected


def _only_gives(func: Func) -> bool:
    """Whether the function gives variables values, and reads none."""
    return any(isinstance(op, Assign) for op in nodes_of(func.block)) and not _reads(func)


def _reads(func: Func) -> bool:
    return any(isinstance(op, Read | Write) and not isinstance(op, Assign) for op in nodes_of(func.block))


def _only_given(program: ModuleOp) -> set[str]:
    """The variables that the program gives values, or asks the host about, and does nothing else with, if it reads none
    at all."""
    given, used = set[str](), set[str]()
    if not any(isinstance(func, Func) and _reads(func) for func in program.ops):
        for op in program.walk():
            if isinstance(op, Variable):
                only = all(isinstance(use.operation, Assign | IsInitialized | InitializedValue) for use in op.ref.uses)
                (given if only else used).add(op.variable.data)
    return given - used


def first_device() -> DeviceName:
    """The one where everything is that asks for nothing."""
    return min(local_devices(), key=priority)


@cache
def device_for(asked: DeviceName) -> Device:
    """The device for what asks for this one: the first that fits, or where none does, as soft placement has it, the
    first of all."""
    names = sorted(local_devices(), key=priority)
    if asked.kind == MESH and asked.is_full:
        return device_named(asked)
    return local_devices()[next((name for name in names if asked.covers(name)), names[0])]


def is_on_first(funcs: Sequence[Func]) -> bool:
    """Whether a function that has become these is on the first device alone."""
    return len(funcs) == 1 and device_of(funcs[0]) in ("", str(first_device()))


def is_anywhere(funcs: Sequence[Func]) -> bool:
    """Whether a function that has become these does nothing that has a place: it hands on what it takes, and gives
    constants."""
    (*others, func) = funcs
    return not others and all(isinstance(op, ConstantOp | Island) for op in nodes_of(func.block))


def _is_work(op: Operation) -> bool:
    """Whether the op is the user's, and not what each device has for itself or what holds others."""
    return ASSIGNED in op.attributes and not isinstance(op, (Group, *SOURCES))


def alone(funcs: Sequence[Func]) -> Func:
    """The function, if it is on the first device alone. Raises Unimplemented."""
    if is_on_first(funcs):
        return funcs[0]
    elsewhere = [func for func in funcs if not is_on_first([func])]
    example = next((op for func in elsewhere for op in nodes_of(func.block) if _is_work(op)), elsewhere[0])
    listing, first = ", ".join(device_of(func) for func in funcs), first_device()
    hint = f"ask for one device only, {first}, or for none"
    if first.kind == "CPU":  # where there is one device only, requests for others give way
        hint += "; or set DFC_CPU_DEVICES=1 in the environment, and what dfc.device asks for gives way to that device"
    raise error_at(
        Unimplemented,
        example,
        f"a program outside of this process is on one device, and this one was placed on {listing}",
        hint,
    )
