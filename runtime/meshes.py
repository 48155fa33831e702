"""Programs on meshes of this process: which devices a mesh has, what it is called, and what is asked to be on it.

A program in which something is divided among a mesh's devices is on that mesh as a whole, but for what asks for another
place: `place` takes the mesh for one more device, and what is on it is compiled as one program for all its devices.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from math import prod
from typing import Any
from weakref import WeakSet

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation, SSAValue

from dfc.backends import xla
from dfc.backends.mesh import Mesh, mesh_behind, mesh_of, meshes
from dfc.errors import DfcError, FailedPrecondition, InvalidArgument, Unimplemented
from dfc.ir import locations
from dfc.ir.builder import create
from dfc.ir.devices import ASSIGNED, MESH, REQUEST, parse
from dfc.ir.op import error_at, short_name
from dfc.ir.ops.function import Func, Return
from dfc.ir.ops.sharding import Shard
from dfc.ir.ops.state import Variable
from dfc.ir.sharding import MeshSpec, Sharding, divided_by_entries
from dfc.passes.colocation import text_of
from dfc.runtime.asking import is_marked, is_tied, request
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


def sharding_of(array: Any) -> Sharding | None:
    """How an array on a mesh of this process is divided; None for one that no mesh's axes divide."""
    mesh, spec = mesh_behind(array), getattr(array.sharding, "spec", None)
    if mesh is None or spec is None:
        return None
    return Sharding(MeshSpec(mesh.axes, tuple(map(name_of, mesh.devices))), divided_by_entries(spec))


def divide_inputs(program: ModuleOp, name: str, inputs: Sequence[Sharding | None]) -> None:
    """Have the inputs of the program's function of that name come divided, but for those of which it says how."""
    for func in program.ops:
        if isinstance(func, Func) and func.sym_name.data == name:
            for argument, sharding in zip(func.block.args, inputs, strict=True):
                users = list(argument.uses)
                if sharding is None or any(isinstance(use.operation, Shard) for use in users):
                    continue
                op = create(Shard, [argument], {"sharding": sharding}, location=func.location)
                first = func.block.first_op
                assert first is not None, "a function ends with what it returns"
                func.block.insert_op_before(op, first)
                for use in users:
                    use.operation.operands[use.index] = op.results[0]


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
    """The mesh of several devices that something in the program is divided over. Raises Unimplemented for two."""
    found = [(op, mesh) for op, mesh in meshes_asked(program) if isinstance(mesh, Mesh)]
    if other := next(((op, mesh) for op, mesh in found if mesh is not found[0][1]), None):
        raise error_at(
            Unimplemented,
            other[0],
            f"a function is shown as a program of one mesh, and this one is on {found[0][1]} and {other[1]}",
        )
    return found[0][1] if found else None


def ask(program: ModuleOp, variables: Mapping[str, VariableState], default: Device | None = None) -> None:
    """Ask that what is divided be on its mesh, and all that asks for nothing on the first of these; where there is none
    on `default`, or where a variable lives that is on a mesh."""
    asked = [(op, mesh) for op, mesh in meshes_asked(program) if isinstance(mesh, Mesh)]
    for op, mesh in asked:
        if not is_marked(op):
            op.attributes[REQUEST] = StringAttr(name_of(mesh))
    if len({mesh for _, mesh in asked}) > 1:
        _follow(program, asked)
    lived_on = (state.device for state in variables.values() if state.is_settled and isinstance(state.device, Mesh))
    first = asked[0][1] if asked else default if isinstance(default, Mesh) else next(lived_on, None)
    if first is not None:
        request(program, name_of(first), variables)
        _warn(program, variables, first)


def _follow(program: ModuleOp, asked: Sequence[tuple[Operation, Mesh]]) -> None:
    """Where a program is on several meshes: ask that what asks for nothing be where its operands are, on that mesh of
    theirs which the program comes to last; and that variables be where they are first used."""
    order = {mesh: number for number, mesh in reversed(list(enumerate(mesh for _, mesh in asked)))}
    own = {id(op): mesh for op, mesh in asked}
    for func in program.ops:
        if not isinstance(func, Func):
            continue
        at: dict[SSAValue, Mesh] = {}
        for op in func.block.ops:
            inside = [own[id(inner)] for inner in op.walk() if id(inner) in own]
            found = [*inside, *(at[value] for value in op.operands if value in at)]
            if found:
                mesh = own.get(id(op)) or max(found, key=order.__getitem__)
                at.update(dict.fromkeys(op.results, mesh))
                if not is_marked(op) and not isinstance(op, Return) and not is_tied(op):
                    op.attributes[REQUEST] = StringAttr(name_of(mesh))
        for op in func.block.ops:
            if isinstance(op, Variable) and not is_marked(op):
                used = next((at[v] for v in _users_results(op) if v in at), None)
                if used is not None:
                    op.attributes[REQUEST] = StringAttr(name_of(used))


def _users_results(variable: Variable) -> Iterator[SSAValue]:
    """What is computed of the variable's value, in order."""
    for use in variable.ref.uses:
        for value in use.operation.results:
            for further in value.uses:
                yield from further.operation.results


_told: WeakSet[VariableState] = WeakSet()
TOLD_FROM = 1 << 16
"""A variable of so many bytes that is sent at each step is worth a warning."""


def _warn(program: ModuleOp, variables: Mapping[str, VariableState], mesh: Mesh) -> None:
    """Say once of each variable that a program on the mesh would fetch its value from elsewhere at each step."""
    for op in program.walk():
        if isinstance(op, Variable) and (state := variables.get(op.variable.data)) is not None:
            name = op.variable.data
            if state.is_settled and not isinstance(state.device, Mesh) and not state.is_offloaded:
                small = prod(map(int, state.spec.shape)) * state.spec.dtype.numpy.itemsize < TOLD_FROM
                if state not in _told and not is_marked(op) and not small:
                    logger.warning(
                        "variable %r lives on %s, where an earlier step has used it, so a step on %s has its value "
                        "sent there each time; dfc.shard(variable, (), mesh), before its first step, puts it there",
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
