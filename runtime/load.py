"""Reading artifacts: `load(path).predict(images=array)`, with no model code and no compiler.

Two ways to run the same file. In the user's process values live on JAX's devices. `lean=True` is for the process of
`dfc run`: jaxlib alone, no jax, no xdsl, 0.6 s sooner. Members are mapped, checked against the manifest's digests when
first used, and never unpickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfc.errors import DataLoss, DfcError, FailedPrecondition, NotFound
from dfc.ir.dtypes import as_dtype
from dfc.runtime import plan as plans
from dfc.runtime.container import Reader
from dfc.runtime.feeding import Array, Run, named_inputs, rebuilt, run_batches
from dfc.runtime.here import Choice, choose
from dfc.runtime.manifest import (
    MANIFEST,
    VARIABLES,
    EntryInfo,
    Manifest,
    Sizes,
    executable_of,
    from_json,
    plan_member,
    program_of,
)
from dfc.runtime.plan import HostValue, Plan, ProgramCall
from dfc.runtime.tensor_file import TensorFile

if TYPE_CHECKING:
    from dfc.backends.lean import LeanExecutable

logger = logging.getLogger("dfc")


def load(path: str | Path, *, lean: bool = False, target: str | None = None) -> Model:
    """Open an artifact. Its entries are methods of the result; programs and weights are loaded when first used.

    `target` names the executables to load, and no others will do; "portable" compiles the portable program for this
    CPU. By default they are those for JAX's default device, where that is a TPU or a GPU that the artifact is made
    for, else those for CPUs that fit best, else the portable program is compiled, which is logged.

    `lean` runs it with jaxlib alone, on the CPU, and bars jax from this process. Raises NotFound, DataLoss for a
    damaged or truncated file, InvalidArgument for one of a newer format, and FailedPrecondition where what it was
    compiled for is not here.
    """
    return Model(path, lean=lean, target=target)


class _Replaceable:
    """A property that an attribute of the object, where it has one, stands before."""

    def __init__(self, get: Callable[[Any], dict[str, Entry]]) -> None:
        self._get = get
        self.__doc__ = get.__doc__

    def __get__(self, model: Any, owner: Any = None) -> dict[str, Entry]:
        return self._get(model)


class Model:
    """A loaded artifact: `model.predict(images=array)`, `model.entries`. May be used from any thread.

    Variables that entries write keep their new values as long as the model lives. An entry called `entry` or `entries`
    takes the place of what stands here under that name.
    """

    def __init__(self, path: str | Path, *, lean: bool = False, target: str | None = None) -> None:
        file = ArtifactFile(path)
        choice = choose(file.path, file.manifest.targets, target, lean=lean)
        process = _LeanProcess(file, choice) if lean else _JaxProcess(file, choice)
        self._path = file.path
        self._entries = {
            name: Entry(name, info, partial(process.program, name)) for name, info in file.manifest.entries.items()
        }
        vars(self).update({name: entry for name, entry in self._entries.items() if not name.startswith("_")})

    @_Replaceable
    def entries(self) -> dict[str, Entry]:
        """The entries by name."""
        return self._entries

    def entry(self, name: str) -> Entry:
        """The entry called `name`. Raises NotFound."""
        return find_entry(self._entries, name, self._path)

    def __getattr__(self, name: str) -> Entry:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return find_entry(self._entries, name, self._path)
        except NotFound as error:
            raise AttributeError(str(error)) from None

    def __repr__(self) -> str:
        return f"<dfc model {self._path}: {', '.join(self._entries)}>"


def entries_of(model: Model) -> dict[str, Entry]:
    """The entries of a model, whatever they are called."""
    return model._entries


def find_entry(entries: dict[str, Entry], name: str, path: str | Path) -> Entry:
    """The entry called `name`. Raises NotFound."""
    if name not in entries:
        raise NotFound(f"{path} has no entry {name!r}", hint=f"entries: {', '.join(entries)}")
    return entries[name]


class Entry:
    """A function of an artifact. Call it with arrays by position or name; it returns the original nest of NumPy arrays.

    Arrays must have the input's dtype; lists and numbers take it. A batch size that was not compiled is padded or
    split where that is proved to give the same rows. Raises InvalidArgument and InvalidType.
    """

    def __init__(self, name: str, info: EntryInfo, program: Callable[[Sizes], Run]) -> None:
        self.name, self.info = name, info
        self._program = program

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return rebuilt(self.info.structure, iter(self.flat(*args, **kwargs).values()))

    def flat(self, *args: Any, **kwargs: Any) -> dict[str, Array]:
        """The outputs by their flat names."""
        arrays = named_inputs(self.name, self.info, args, kwargs)
        results = run_batches(self.name, self.info, arrays, self._program)
        return {tensor.name: result for tensor, result in zip(self.info.outputs, results, strict=True)}

    def __repr__(self) -> str:
        inputs, outputs = (", ".join(f"{t.name}: {t}" for t in ts) for ts in (self.info.inputs, self.info.outputs))
        return f"<dfc entry {self.name}({inputs}) -> {outputs}>"


class ArtifactFile:
    """The members of an artifact, each checked against its digest when first used."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._reader = Reader(path)
        if MANIFEST not in self._reader.members:
            raise DataLoss(f"{path} is a zip without {MANIFEST}, so it is not a dfc artifact")
        self.manifest: Manifest = from_json(self._reader.checked(MANIFEST), self.path)
        self._checked: set[str] = set()
        self._weights: TensorFile | None = None
        self._told = False

    def member(self, name: str) -> memoryview:
        """A member's data, mapped. Raises DataLoss where it is missing or damaged."""
        content = self._reader[name]
        if name not in self._checked:
            if hashlib.sha256(content).hexdigest() != self.manifest.members.get(name):
                raise DataLoss(f"{self.path} is damaged: {name} does not have the digest that the manifest states")
            self._checked.add(name)
        return content

    def weight(self, name: str) -> Array:
        """The value of a variable, mapped."""
        if self._weights is None:
            self._weights = TensorFile(self.member(VARIABLES), f"{self.path}: {VARIABLES}")
        found, info = self._weights[name], self.manifest.variables[name]
        if found.shape != info.shape or as_dtype(found.dtype) != info.dtype:
            raise DataLoss(f"{self.path} is damaged: variable {name!r} is not the {info} that the manifest states")
        return found

    def plan(self, entry: str, sizes: Sizes) -> Plan:
        """How the entry runs at these sizes."""
        name = plan_member(entry, sizes)
        try:
            content = json.loads(bytes(self.member(name)))
        except ValueError as error:
            raise DataLoss(f"{self.path} is damaged: {name} is not JSON ({error})") from error
        return plans.from_json(content, f"{self.path}: {name}")

    def executables(
        self,
        entry: str,
        sizes: Sizes,
        plan: Plan,
        choice: Choice,
        load_blob: Callable[[bytes, ProgramCall], Any],
        compile_portable: Callable[[bytes, ProgramCall], Any],
        device: Any = None,
    ) -> list[Any]:
        """The entry's programs: the stored executables that fit `device`, the CPU by default, else compiled, saying so
        once. Raises FailedPrecondition for what was chosen by name and does not fit."""
        found = []
        for index, call in enumerate(plan.programs):
            loaded, why = self._stored(entry, sizes, index, choice, partial(_load_call, load_blob, call), device)
            if why and choice.strict:
                raise FailedPrecondition(f"{self.path}: {why}")
            if why:
                if not (self._told or choice.portable):
                    self._told = True
                    logger.warning("%s: %s; the portable program is compiled instead", self.path, why)
                loaded = compile_portable(bytes(self.member(program_of(entry, sizes, index))), call)
            found.append(loaded)
        return found

    def _stored(
        self, entry: str, sizes: Sizes, index: int, choice: Choice, load_blob: Callable[[bytes], Any], device: Any
    ) -> tuple[Any, str]:
        """The executable of the first target that fits, or why that of the first does not."""
        reasons = []
        for target in choice.targets:
            name = executable_of(entry, sizes, index, target.name)
            if name not in self.manifest.stamps:
                continue
            why = choice.mismatch(target, self.manifest.stamps[name], device)
            if not why:
                blob = bytes(self.member(name))
                try:
                    return load_blob(blob), ""
                except DfcError as error:
                    why = f"the executable can't be loaded: {error}"
            reasons.append(why)
        return None, reasons[0] if reasons else f"it holds no executable for {entry!r} on the CPU"


def _load_call(load_blob: Callable[[bytes, ProgramCall], Any], call: ProgramCall, blob: bytes) -> Any:
    return load_blob(blob, call)


class _Process:
    """Where programs run; `program` gives what runs an entry at given sizes, made once."""

    def __init__(self, file: ArtifactFile, choice: Choice) -> None:
        self.file, self.choice = file, choice
        self._programs: dict[tuple[str, tuple[tuple[str, int], ...]], Run] = {}
        self._lock = threading.RLock()

    def program(self, entry: str, sizes: Sizes) -> Run:
        key = (entry, tuple(sizes.items()))
        found = self._programs.get(key)
        if found is None:
            with self._lock:
                found = self._programs.get(key) or self._programs.setdefault(key, self.prepare(entry, sizes))
        return found

    def prepare(self, entry: str, sizes: Sizes) -> Run:
        """Load what the entry needs at these sizes."""
        raise NotImplementedError


class _JaxProcess(_Process):
    """On a device of JAX's, with variables as a training program has them."""

    def __init__(self, file: ArtifactFile, choice: Choice) -> None:
        super().__init__(file, choice)
        self._variables: dict[str, Any] = {}

    def prepare(self, entry: str, sizes: Sizes) -> Run:
        from dfc.backends import xla
        from dfc.backends.compile_cache import module_from_portable
        from dfc.ir.types import Spec
        from dfc.runtime.dispatch import PlanRun
        from dfc.runtime.programs import compile_module
        from dfc.runtime.variables import VariableState

        plan = self.file.plan(entry, sizes)
        device = self._device(entry, sizes)
        executables = self.file.executables(
            entry,
            sizes,
            plan,
            self.choice,
            lambda blob, call: xla.load_program(blob, call.signature, device=device, name=entry),
            lambda code, call: compile_module(module_from_portable(code), call.signature, device, entry),
            device,
        )
        for name in plan.variables:
            if name not in self._variables:
                value = self.file.weight(name)
                spec = Spec(value.shape, as_dtype(value.dtype))
                self._variables[name] = VariableState(name, spec, partial(self.file.weight, name), device=device)
        for program, executable in zip(plan.programs, executables, strict=True):
            for name, layout in zip(program.state, executable.layouts, strict=False):
                self._variables[name].settle(device, layout)
        run = PlanRun(plan, executables, self._variables, entry, device=device).run
        strings = [tensor.dtype == "string" for tensor in self.file.manifest.entries[entry].inputs]

        def call(arrays: list[Array]) -> list[Array]:
            feeds = [a if s else xla.fed(a, device) for a, s in zip(arrays, strings, strict=True)]
            return [r if isinstance(r, np.ndarray) else xla.to_numpy(r, copy=False) for r in run(feeds)]

        return call

    def _device(self, entry: str, sizes: Sizes) -> Any:
        """Where the entry runs: one device, or all of a target that has several, as the mesh that it was made for."""
        from dfc.backends import xla
        from dfc.backends.mesh import mesh_of

        devices = xla.devices(self.choice.platform)
        targets = self.choice.targets
        if not targets or targets[0].devices == 1:
            return devices[0]
        stamp = self.file.manifest.stamps.get(executable_of(entry, sizes, 0, targets[0].name), {})
        axes = stamp.get("mesh") or [["devices", targets[0].devices]]
        return mesh_of(tuple((str(name), int(size)) for name, size in axes), devices[: targets[0].devices])


class _LeanProcess(_Process):
    """With jaxlib alone. Calls that write variables take turns."""

    def __init__(self, file: ArtifactFile, choice: Choice) -> None:
        from dfc.backends.lean import lean_client

        super().__init__(file, choice)
        self._client = lean_client()
        self._buffers: dict[str, Any] = {}
        self._written = {name for info in file.manifest.entries.values() for name in info.writes}

    def prepare(self, entry: str, sizes: Sizes) -> Run:
        plan = self.file.plan(entry, sizes)
        executables = self.file.executables(
            entry,
            sizes,
            plan,
            self.choice,
            lambda blob, call: self._client.load_serialized(blob, call.signature, name=entry),
            lambda code, call: self._client.compile_portable(code, call.signature, name=entry),
        )
        for name in plan.variables:
            if name not in self._buffers:
                self._buffers[name] = self._client.put(self.file.weight(name), alias=name not in self._written)
        return partial(self._run, plan, executables)

    def _run(self, plan: Plan, executables: list[LeanExecutable], arrays: list[Array]) -> list[Array]:
        values: list[Any] = list(arrays)
        programs = iter(executables)
        with self._lock:
            for call in plan.calls:
                if isinstance(call, HostValue):
                    values.append(call.value)
                    continue
                assert isinstance(call, ProgramCall)
                state = [self._buffers[name] for name in call.state]
                results = next(programs).execute([*state, *(values[i] for i in call.inputs)])
                self._buffers.update(zip(call.state, results[: call.n_written], strict=False))
                values += results[call.n_written :]
        outputs = [values[i] for i in plan.outputs]
        return [executables[0].to_numpy(v) if not isinstance(v, np.ndarray) else v for v in outputs]
