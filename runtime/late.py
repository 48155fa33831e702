"""Islands with sizes that nobody knows before they run, such as how many elements a queue had left."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from xdsl.dialects.builtin import ModuleOp

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
from dfc.runtime.plan import ProgramCall
from dfc.runtime.planning import emitted, island_call
from dfc.runtime.programs import compile_module
from dfc.runtime.variables import Device, VariableState

Sizes = tuple[tuple[int, ...], ...]


class LateProgram:
    """An island that is compiled when it is called, once for each set of shapes of its inputs."""

    def __init__(self, island: Island, variables: Mapping[str, VariableState], device: Device, name: str) -> None:
        self._island, self._variables, self._device, self._name = island, variables, device, name
        self._specs = [spec_of(value.type) for value in island.inputs]
        self._programs: dict[Sizes, ProgramRun] = {}
        self._lock = threading.RLock()

    def run(self, values: Values) -> Values:
        """As `ProgramRun.run`. Raises InvalidArgument for sizes that don't fit together."""
        sizes = tuple([tuple(value.shape) for value in values])
        program = self._programs.get(sizes)
        if program is None:
            with self._lock:
                program = self._programs.get(sizes) or self._programs.setdefault(sizes, self._compile(sizes))
        return program.run(values)

    def _compile(self, sizes: Sizes) -> ProgramRun:
        bindings: dict[str, int] = {}
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
        call = island_call(island, {value: i for i, value in enumerate(island.inputs)})
        if not isinstance(call, ProgramCall):
            listed = ", ".join(map(str, self._specs)) or "nothing"
            raise InvalidArgument(
                f"the sizes of what is computed don't follow from those of what it is computed from: {listed}",
                op=self._name,
                location=locations.describe(self._island.location),
            )
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
