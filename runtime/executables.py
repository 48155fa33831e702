"""Making the executables of an artifact: every program for every target, with what is known of each.

For this CPU alone a program is compiled in this process, from the compile cache where it is there; otherwise each
target's programs are compiled in a process of their own, so that a compiler which crashes takes only its target along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from dfc.backends import compile_cache, statistics, xla
from dfc.backends.compiling import TIME_LIMIT, Program, compile_apart
from dfc.backends.kernels import KERNELS
from dfc.backends.targets import Target, compiler_packages, installed
from dfc.errors import DfcError, Unimplemented
from dfc.ir import locations
from dfc.ir.op import Op, short_name
from dfc.ir.ops.function import Func, Island
from dfc.ir.sharding import Axes
from dfc.runtime.manifest import Sizes, executable_of, hlo_of, program_of
from dfc.runtime.meshes import sharding_in
from dfc.runtime.plan import Plan, ProgramCall
from dfc.runtime.planning import emitted
from dfc.runtime.programs import compile_module

DEVICE_PLATFORMS = {"cpu": "cpu", "tpu": "tpu", "cuda": "gpu"}
"""By a target's platform, that of the devices of `Op.DEVICES`."""


@dataclass(frozen=True)
class _Waiting:
    """A program that `finish` compiles."""

    target: str
    entry: str
    sizes: Sizes
    index: int
    program: Program
    mesh: Axes


@dataclass
class Executables:
    """The members of all programs, with stamps and statistics by executable, and what went wrong, by target."""

    targets: Sequence[Target]
    apart: bool = False
    time_limit: float = TIME_LIMIT
    members: dict[str, bytes] = field(default_factory=dict)
    stamps: dict[str, dict[str, Any]] = field(default_factory=dict)
    statistics: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, DfcError] = field(default_factory=dict)
    _waiting: list[_Waiting] = field(default_factory=list)

    def add(self, entry: str, sizes: Sizes, func: Func, plan: Plan, islands: Sequence[Island]) -> None:
        """The programs of an entry at these sizes: `func` is the clustered function that `islands` are of.

        The portable programs are for one device of any kind. For a target of several they are emitted for its devices
        as the mesh that the function divides something over, if it does; and with the kernels of its kind.
        """
        for index, module in enumerate(modules := emitted(islands, entry)):
            self.members[program_of(entry, sizes, index)] = compile_cache.portable_artifact(module)
        made: dict[tuple[Axes, str], list[Any]] = {}
        for target in self.targets:
            error: DfcError | None = _unsupported(entry, func, target)
            try:
                mesh, kind = mesh_axes_for(func, target.devices), DEVICE_PLATFORMS[target.platform]
                if error is None and (mesh, kind) not in made:
                    made[mesh, kind] = emitted(islands, entry, mesh, kind) if mesh or KERNELS else modules
            except DfcError as unfit:
                error = unfit
            if error is not None:
                self.failures.setdefault(target.name, error)
                continue
            for index, (module, call) in enumerate(zip(made[mesh, kind], plan.programs, strict=True)):
                if self._in_process:
                    self._compile_here(entry, sizes, index, module, call)
                else:
                    program = _program(entry, func, plan, call, module)
                    self._waiting.append(_Waiting(target.name, entry, sizes, index, program, mesh))

    @property
    def _in_process(self) -> bool:
        return not self.apart and [target.name for target in self.targets] == ["cpu"]

    def _compile_here(self, entry: str, sizes: Sizes, index: int, module: Any, call: ProgramCall) -> None:
        device = xla.devices("cpu")[0]
        started = perf_counter()
        executable = compile_module(module, call.signature, device, entry)
        blob = xla.serialize_executable(executable)
        seconds = round(perf_counter() - started, 3)
        member = executable_of(entry, sizes, index, "cpu")
        self.members[member], self.stamps[member] = blob, compile_cache.stamp(blob, device)
        found = statistics.of(executable.loaded, module)
        made = {"seconds": seconds, "from_cache": executable.from_cache}
        versions = installed(compiler_packages(self.targets[0]))
        self.statistics[member] = {"bytes": len(blob), **found, **made, "versions": versions}
        # Equal programs share an executable, which has the source lines of the first one.
        hlo = statistics.hlo_text(executable.loaded, lines=False)
        self.members[hlo_of(entry, sizes, index, "cpu")] = hlo.encode()

    def finish(self, progress: Callable[[str], None]) -> None:
        """Compile what waits for a process of its own. A target that can't be compiled is in `failures`, and has no
        executable; raises its error where there is no other target."""
        for target in self.targets if self._waiting else ():
            if target.name not in self.failures:
                self._compile_apart(target, progress)
        if self.failures and len(self.failures) == len(self.targets):
            raise next(iter(self.failures.values()))

    def _compile_apart(self, target: Target, progress: Callable[[str], None]) -> None:
        started = perf_counter()
        waiting = [each for each in self._waiting if each.target == target.name]
        try:
            made = compile_apart(target, [each.program for each in waiting], time_limit=self.time_limit)
        except DfcError as error:
            self.failures[target.name] = error
            return
        for each, compiled in zip(waiting, made, strict=True):
            member = executable_of(each.entry, each.sizes, each.index, target.name)
            self.members[member] = compiled.blob
            self.members[hlo_of(each.entry, each.sizes, each.index, target.name)] = compiled.hlo.encode()
            self.stamps[member] = {**compiled.stamp, **({"mesh": list(map(list, each.mesh))} if each.mesh else {})}
            self.statistics[member] = {"bytes": len(compiled.blob), **compiled.statistics}
        progress(f"compiled for {target.name} ({perf_counter() - started:.1f} s)")


def _program(entry: str, func: Func, plan: Plan, call: ProgramCall, module: Any) -> Program:
    """A program for another process; one module may be for several targets."""
    compile_cache.mark_donated(module, call.signature.donated, len(call.signature.inputs))
    code = compile_cache.portable_artifact(module, locations=True)
    return Program(entry, code, _argument_names(func, plan, call))


def mesh_axes_for(func: Func, n_devices: int) -> Axes:
    """The axes over so many devices of the mesh that the function divides something over; none for one device, or where
    it divides nothing. Raises InvalidArgument, with the line, where the mesh is for another number of devices, and
    Unimplemented for several meshes."""
    if n_devices == 1:
        return ()
    asked = [(op, sharding.mesh) for op in func.walk() if (sharding := sharding_in(op)) is not None]
    if not asked:
        return ()
    op, mesh = asked[0]
    place = locations.describe(op.location)
    other = next((o for o, m in asked if m != mesh), None)
    if other is not None:
        raise Unimplemented(
            f"an artifact's entry is divided over one mesh, and this is over ({mesh}) and another",
            op=short_name(other),
            location=locations.describe(other.location),
        )
    try:
        return mesh.on(n_devices)
    except DfcError as error:
        raise error.at(op=short_name(op), location=place) from None


def _argument_names(func: Func, plan: Plan, call: ProgramCall) -> list[str]:
    inputs = list(func.arg_names.data)
    given = [f"input {inputs[i]!r}" if i < plan.n_inputs else "made by another program" for i in call.inputs]
    return [*(f"variable {name!r}" for name in call.state), *given]


def _unsupported(entry: str, func: Func, target: Target) -> Unimplemented | None:
    platform = DEVICE_PLATFORMS[target.platform]
    for op in func.walk():
        if isinstance(op, Op) and not op.HOST_ONLY and platform not in op.DEVICES:
            return Unimplemented(
                f"entry {entry!r} can't be compiled for {target.name}: {short_name(op)} is implemented for "
                f"{', '.join(op.DEVICES)} only",
                location=locations.describe(op.location),
            )
    return None
