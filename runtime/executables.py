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
from dfc.backends.targets import Target, compiler_packages, installed
from dfc.errors import DfcError, Unimplemented
from dfc.ir import locations
from dfc.ir.op import Op, short_name
from dfc.ir.ops.function import Func
from dfc.runtime.manifest import Sizes, executable_of, hlo_of, program_of
from dfc.runtime.plan import Plan, ProgramCall
from dfc.runtime.programs import compile_module

DEVICE_PLATFORMS = {"cpu": "cpu", "tpu": "tpu", "cuda": "gpu"}
"""By a target's platform, that of the devices of `Op.DEVICES`."""


@dataclass(frozen=True)
class _Waiting:
    """A program that `finish` compiles."""

    entry: str
    sizes: Sizes
    index: int
    program: Program


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

    def add(self, entry: str, sizes: Sizes, func: Func, plan: Plan, modules: Sequence[Any]) -> None:
        """The programs of an entry at these sizes: `func` is the clustered function that they were emitted from."""
        for target in self.targets:
            if error := _unsupported(entry, func, target):
                self.failures.setdefault(target.name, error)
        for index, (module, call) in enumerate(zip(modules, plan.programs, strict=True)):
            self.members[program_of(entry, sizes, index)] = compile_cache.portable_artifact(module)
            if self._in_process:
                self._compile_here(entry, sizes, index, module, call)
                continue
            compile_cache.mark_donated(module, call.signature.donated, len(call.signature.inputs))
            code = compile_cache.portable_artifact(module, locations=True)
            program = Program(entry, code, _argument_names(func, plan, call))
            self._waiting.append(_Waiting(entry, sizes, index, program))

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
        try:
            made = compile_apart(target, [each.program for each in self._waiting], time_limit=self.time_limit)
        except DfcError as error:
            self.failures[target.name] = error
            return
        for each, compiled in zip(self._waiting, made, strict=True):
            member = executable_of(each.entry, each.sizes, each.index, target.name)
            self.members[member] = compiled.blob
            self.members[hlo_of(each.entry, each.sizes, each.index, target.name)] = compiled.hlo.encode()
            self.stamps[member] = dict(compiled.stamp)
            self.statistics[member] = {"bytes": len(compiled.blob), **compiled.statistics}
        progress(f"compiled for {target.name} ({perf_counter() - started:.1f} s)")


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
