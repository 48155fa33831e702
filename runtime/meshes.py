"""Programs on meshes of this process: which devices a mesh has, what it is called, and what is asked to be on it.

A program in which something is divided among a mesh's devices is on that mesh as a whole, but for what asks for another
place: `place` takes the mesh for one more device, and what is on it is compiled as one program for all its devices.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from weakref import WeakSet

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation

from dfc.backends import xla
from dfc.backends.mesh import Mesh, mesh_of, meshes
from dfc.errors import DfcError, FailedPrecondition, InvalidArgument
from dfc.ir import locations
from dfc.ir.devices import ASSIGNED, MESH, REQUEST, parse
from dfc.ir.op import short_name
from dfc.ir.ops.sharding import Shard
from dfc.ir.ops.state import Variable
from dfc.ir.sharding import MeshSpec, Sharding
from dfc.passes.colocation import text_of
from dfc.runtime.asking import is_marked, request
from dfc.runtime.device_names import local_devices, name_of
from dfc.runtime.variables import Device, VariableState

logger = logging.getLogger("dfc")


@cache
def mesh_for(spec: MeshSpec) -> Device:
    """The mesh of this process that is meant; its one device where it has no more. Raises InvalidArgument where there
    are too few devices, or names that don't fit one each."""
    if spec.devices:
        chosen = [_only_device(name) for name in spec.devices]
        if len(set(chosen)) < len(chosen):
            raise InvalidArgument(f"a mesh has each device once, got {', '.join(spec.devices)}")
    else:
        every = xla.devices()
        chosen = every[: spec.known_size] if spec.is_fixed else every
        if len(chosen) < spec.known_size:
            kind = every[0].platform
            more = f"DFC_CPU_DEVICES={spec.known_size} in the environment makes as many of the CPU"
            have = f"here {'is' if len(every) == 1 else 'are'} {len(every)} of type {kind}"
            raise InvalidArgument(
                f"the mesh ({spec}) needs {spec.known_size} devices, and {have}", hint=more if kind == "cpu" else ""
            )
    axes = spec.on(len(chosen))
    return chosen[0] if len(chosen) == 1 else mesh_of(axes, chosen)


def _only_device(text: str) -> Device:
    """The one device that the name, or part of one, fits. Raises InvalidArgument."""
    name = parse(text)
    found = [device for known, device in local_devices().items() if name.covers(known)]
    if len(found) != 1:
        raise InvalidArgument(
            f"{text!r} fits {len(found)} devices, and a mesh takes names of one each",
            hint=f"devices: {', '.join(map(str, local_devices()))}",
        )
    return found[0]


def sharding_in(op: Operation) -> Sharding | None:
    """How the op divides what it gives, if it does."""
    if type(op) is Shard:
        return op.sharding.data
    return op.sharding.data if type(op) is Variable and op.sharding is not None else None


def meshes_asked(program: ModuleOp) -> Iterator[tuple[Operation, Device]]:
    """The ops that divide something, each with its mesh. Raises InvalidArgument, at the op's line, for a mesh that this
    process has not."""
    for func in program.ops:
        for op, sharding in _divisions(func):
            try:
                yield op, mesh_for(sharding.mesh)
            except DfcError as error:
                raise error.at(op=short_name(op), location=locations.describe(op.location)) from None


def _divisions(around: Operation) -> Iterator[tuple[Operation, Sharding]]:
    """The ops inside that divide something. (`walk` takes three times as long, and every program is looked at.)"""
    for region in around.regions:
        for block in region.blocks:
            op = block.first_op
            while op is not None:
                if (sharding := sharding_in(op)) is not None:
                    yield op, sharding
                if op.regions:
                    yield from _divisions(op)
                op = op._next_op


def mesh_of_program(program: ModuleOp) -> Mesh | None:
    """The first mesh of several devices that something in the program is divided over."""
    return next((mesh for _, mesh in meshes_asked(program) if isinstance(mesh, Mesh)), None)


def ask(program: ModuleOp, variables: Mapping[str, VariableState], default: Device | None = None) -> None:
    """Ask that what is divided be on its mesh, and all that asks for nothing on the first of these; where there is none
    on `default`, or where a variable lives that is on a mesh."""
    asked = [(op, mesh) for op, mesh in meshes_asked(program) if isinstance(mesh, Mesh)]
    for op, mesh in asked:
        if not is_marked(op):
            op.attributes[REQUEST] = StringAttr(name_of(mesh))
    lived_on = (state.device for state in variables.values() if state.is_settled and isinstance(state.device, Mesh))
    first = asked[0][1] if asked else default if isinstance(default, Mesh) else next(lived_on, None)
    if first is not None:
        request(program, name_of(first), variables)
        _warn(program, variables, first)


_told: WeakSet[VariableState] = WeakSet()


def _warn(program: ModuleOp, variables: Mapping[str, VariableState], mesh: Mesh) -> None:
    """Say once of each variable that a program on the mesh would fetch its value from elsewhere at each step."""
    for op in program.walk():
        if isinstance(op, Variable) and (state := variables.get(op.variable.data)) is not None:
            name = op.variable.data
            if state.is_settled and not isinstance(state.device, Mesh) and not state.is_offloaded:
                if state not in _told and not is_marked(op):
                    logger.warning(
                        "variable %r lives on %s, where an earlier step has used it, so a step on %s has its value "
                        "sent there each time; dfc.shard(variable, ()) before its first step puts it on the mesh",
                        name,
                        name_of(state.device),
                        mesh,
                    )
                _told.add(state)


def named_in(program: ModuleOp) -> list[str]:
    """The names of all meshes, if something in the program asks for one, or is on one."""
    asked = meshes() and any(
        f"/device:{MESH}" in text_of(op, key) for op in program.walk() for key in (REQUEST, ASSIGNED)
    )
    return [name_of(mesh) for mesh in meshes()] if asked else []


def layout_asked(op: Variable, device: Device) -> Any:
    """How the variable lies on the device that it is on: of a mesh, as it says."""
    if not isinstance(device, Mesh):
        return device
    sharding = sharding_in(op)
    if sharding is not None and mesh_for(sharding.mesh) is not device:
        raise FailedPrecondition(f"variable {op.variable.data!r} is divided over another mesh than {device}")
    return device.layout(sharding.divided if sharding is not None else ())
