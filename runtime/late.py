"""Islands with sizes that nobody knows before they run, such as how many elements a queue had left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from xdsl.dialects.builtin import ModuleOp

from dfc.backends.kernels import kind_of
from dfc.backends.mesh import axes_of
from dfc.backends.xla import to_int
from dfc.errors import InvalidArgument
from dfc.ir import locations
from dfc.ir.builder import Builder, clone_into, create
from dfc.ir.collector import paused
from dfc.ir.dims import is_static, match
from dfc.ir.ops.function import Func, Island, Return, single_block_region
from dfc.ir.ops.state import Variable
from dfc.ir.types import Spec, is_tensor, spec_of, tensor_type
from dfc.passes.capacities import START
from dfc.passes.specialize import bound, specialized_region
from dfc.runtime.dispatch import ProgramRun, Values
from dfc.runtime.memory import UNLIMITED, Account, rooms_in
from dfc.runtime.planning import emitted, handed_over_in, program_call
from dfc.runtime.programs import compile_module
from dfc.runtime.variables import Device, VariableState

Sizes = tuple[tuple[int, ...], ...]


class Room:
    """How many iterations a loop may have, whose length is chosen: a power of two, more when that was not enough, and
    less when so much was not needed for long."""

    PATIENCE = 16
    """How many calls that need an eighth at most make the room smaller."""

    def __init__(self) -> None:
        self.size = START
        self._quiet, self._most = 0, 0

    def fits(self, count: int, given: int) -> bool:
        """Note what a call needed that had room for `given` iterations; whether that was enough."""
        if count > given:
            self.size = max(self.size, 1 << (count - 1).bit_length())
            self._quiet = self._most = 0
            return False
        if 8 * count > self.size or self.size == START:
            self._quiet = self._most = 0
            return True
        self._quiet, self._most = self._quiet + 1, max(self._most, count)
        if self._quiet == self.PATIENCE:
            self.size = max(START, 1 << (2 * self._most).bit_length())
            self._quiet = self._most = 0
        return True


class _Chosen(NamedTuple):
    """A program, and the rooms of its loops, the last one first, with what it gives each."""

    run: Callable[[Values], Values]
    rooms: list[tuple[Room, int]]


class LateProgram:
    """An island that is compiled when it is called, once for each set of shapes of its inputs and lengths of loops.

    Lengths are guessed. An island that needed more has changed nothing, and runs again.
    """

    def __init__(
        self,
        island: Island,
        variables: Mapping[str, VariableState],
        device: Device,
        name: str,
        memory: Account = UNLIMITED,
    ) -> None:
        self._island, self._variables, self._device, self._name = island, variables, device, name
        self._memory = memory
        self._handed_over = handed_over_in(island)
        self._specs = [spec_of(value.type) for value in island.inputs]
        self._programs: dict[tuple[Sizes, tuple[int, ...]], _Chosen] = {}
        self._rooms = {name: Room() for name in island.needed}
        is_known = all(is_static(spec.shape) for spec in self._specs)
        self._known: Sizes | None = tuple([tuple(map(int, spec.shape)) for spec in self._specs]) if is_known else None
        """The sizes of the inputs, where only lengths are not known."""
        self._usual: _Chosen | None = None
        """What is run then, as long as the rooms are what they are."""
        self._lock = threading.RLock()

    def run(self, values: Values) -> Values:
        """As `ProgramRun.run`. Raises InvalidArgument for sizes that don't fit together."""
        while True:
            run, rooms = self._usual or self._choose(values)
            outputs = run(values)
            fitting = True
            for room, given in rooms:
                count = to_int(outputs.pop())
                if count > given or given != START:
                    fitting = self._note(room, count, given) and fitting
            if fitting:
                return outputs

    def _choose(self, values: Values) -> _Chosen:
        sizes = self._known
        if sizes is None:
            sizes = tuple([tuple(value.shape) for value in values])
        with self._lock:
            lengths = tuple([room.size for room in self._rooms.values()])
            key = (sizes, lengths)
            chosen = self._programs.get(key)
            if chosen is None:
                rooms = list(zip(self._rooms.values(), lengths, strict=True))
                chosen = self._programs[key] = _Chosen(self._compile(sizes, lengths), rooms[::-1])
            if self._known is not None:
                self._usual = chosen
        return chosen

    def _note(self, room: Room, count: int, given: int) -> bool:
        with self._lock:
            size = room.size
            fits = room.fits(count, given)
            if room.size != size:
                self._usual = None
        return fits

    def _compile(self, sizes: Sizes, lengths: tuple[int, ...]) -> Callable[[Values], Values]:
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
        values = (*island.inputs, *(result for result in island.results if is_tensor(result.type)))
        if not all(is_static(spec_of(value.type).shape) for value in values):
            listed = ", ".join(map(str, self._specs)) or "nothing"
            raise InvalidArgument(
                f"the sizes of what is computed don't follow from those of what it is computed from: {listed}",
                op=self._name,
                location=locations.describe(self._island.location),
            )
        numbers = {value: i for i, value in enumerate(island.inputs)}
        call = program_call(island, numbers, handed_over=self._handed_over)
        (module,) = emitted([island], self._name, axes_of(self._device), kind_of(self._device), self._handed_over)
        executable = compile_module(module, call.signature, self._device, self._name)
        states = [self._variables[name] for name in call.state]
        program = ProgramRun(executable, states, call.n_written, self._name, call.overwritten)
        return self._memory.around(program.run, rooms_in(island))


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
