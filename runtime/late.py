"""Islands with sizes that nobody knows before they run, such as how many elements a queue had left."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from dfc.backends import xla
from dfc.errors import InvalidArgument
from dfc.ir import locations
from dfc.ir.builder import Builder, clone_into, create
from dfc.ir.collector import paused
from dfc.ir.dims import match
from dfc.ir.ops.function import Func, Island, Return, single_block_region
from dfc.ir.ops.state import Variable
from dfc.ir.types import Spec, spec_of, tensor_type
from dfc.passes.specialize import bound, specialized_region
from dfc.runtime.dispatch import ProgramRun, Values
from dfc.runtime.planning import emitted, program_call
from dfc.runtime.programs import compile_module
from dfc.runtime.variables import Device, VariableState

Sizes = tuple[tuple[int, ...], ...]


class Room:
    """How many iterations a loop may have, whose length is chosen: a power of two, more when that was not enough, and
    less when so much was not needed for long."""

    START = 32
    PATIENCE = 16
    """How many calls that need an eighth at most make the room smaller."""

    def __init__(self) -> None:
        self.size = self.START
        self._quiet, self._most = 0, 0

    def fits(self, count: int) -> bool:
        """Note what a call needed; whether there was room for it."""
        if count > self.size:
            self.size = 1 << (count - 1).bit_length()
            self._quiet = self._most = 0
            return False
        if 8 * count > self.size or self.size == self.START:
            self._quiet = self._most = 0
            return True
        self._quiet, self._most = self._quiet + 1, max(self._most, count)
        if self._quiet == self.PATIENCE:
            self.size = max(self.START, 1 << (2 * self._most).bit_length())
            self._quiet = self._most = 0
        return True


class LateProgram:
    """An island that is compiled when it is called, once for each set of shapes of its inputs and lengths of loops.

    Lengths are guessed. An island that needed more has changed nothing, and runs again.
    """

    def __init__(self, island: Island, variables: Mapping[str, VariableState], device: Device, name: str) -> None:
        self._island, self._variables, self._device, self._name = island, variables, device, name
        self._specs = [spec_of(value.type) for value in island.inputs]
        self._programs: dict[tuple[Sizes, tuple[int, ...]], ProgramRun] = {}
        self._rooms = {name: Room() for name in island.needed}
        self._lock = threading.RLock()

    def run(self, values: Values) -> Values:
        """As `ProgramRun.run`. Raises InvalidArgument for sizes that don't fit together."""
        sizes = tuple([tuple(value.shape) for value in values])
        rooms = self._rooms.values()
        if not rooms:
            return self._program(sizes, ()).run(values)
        while True:
            outputs = self._program(sizes, tuple([room.size for room in rooms])).run(values)
            counts = [xla.to_int(count) for count in outputs[-len(rooms) :]]
            fitting = [room.fits(count) for room, count in zip(rooms, counts, strict=True)]  # each takes note
            if all(fitting):
                return outputs[: -len(rooms)]

    def _program(self, sizes: Sizes, lengths: tuple[int, ...]) -> ProgramRun:
        key = (sizes, lengths)
        program = self._programs.get(key)
        if program is None:
            with self._lock:
                program = self._programs.get(key) or self._programs.setdefault(key, self._compile(sizes, lengths))
        return program

    def _compile(self, sizes: Sizes, lengths: tuple[int, ...]) -> ProgramRun:
        bindings: dict[str, int] = dict(zip(self._rooms, lengths, strict=True))
        for spec, shape in zip(self._specs, sizes, strict=True):
            if not all(match(dim, size, bindings) for dim, size in zip(spec.shape, shape, strict=True)):
                wanted, got = (", ".join(map(str, all_)) for all_ in (self._specs, sizes))
                raise InvalidArgument(
                    f"the sizes of what is computed from don't fit together: ({wanted}) are needed, got ({got})",
                    op=self._name,
                    location=locations.describe(self._island.location),
                )
        with paused():
            island = specialized(self._island, bindings)
        call = program_call(island, {value: i for i, value in enumerate(island.inputs)})
        (module,) = emitted([island], self._name)
        executable = compile_module(module, call.signature, self._device, self._name)
        states = [self._variables[name] for name in call.state]
        return ProgramRun(executable, states, call.n_written, self._name, call.overwritten)


def specialized(island: Island, bindings: Mapping[str, int]) -> Island:
    """The island with its sizes known, in a function of its own; it waits for nothing."""
    specs: list[Spec] = [bound(spec_of(value.type), bindings) for value in island.inputs]
    region, block = single_block_region([tensor_type(*spec) for spec in specs])
    builder = Builder(block, location=island.location)
    refs = []
    for ref in island.refs:
        assert isinstance(ref.owner, Variable), "a reference comes from df.variable"
        refs.append(clone_into(ref.owner, builder, {}).ref)
    attributes: dict[str, Any] = {name: bound(value, bindings) for name, value in island.values().items()}
    inside = specialized_region(island.body, bindings)
    made = builder.op(Island, *block.args, *refs, regions=[inside], **attributes)
    block.add_op(create(Return, (), location=island.location))
    names = {"sym_name": "late", "arg_names": tuple(f"x{i}" for i in range(len(specs))), "result_names": ()}
    ModuleOp([create(Func, (), names, location=island.location, regions=[region])])
    return made
