"""Writing artifacts: `model.dfc`, one file with executables, the portable program and the weights.

    manifest.json                             entries, variables, targets, digests, versions: see `runtime/manifest.py`
    graph.mlir                                the df program at phase `graph`, one function an entry
    resources/constants.safetensors           the large constants of graph.mlir, by digest
    variables.safetensors                     the variables' values
    entries/NAME/SIZES/plan.json              which programs the entry calls: see `runtime/plan.py`
    entries/NAME/SIZES/islands/K.vhlo         the K-th program as a StableHLO portable artifact
    entries/NAME/SIZES/islands/K.TARGET.exe   the same compiled for a target
    entries/NAME/SIZES/islands/K.TARGET.hlo   the optimised HLO of that, as text

SIZES is `static`, or the sizes of symbolic dimensions, `b=8`. `runtime/load.py` reads it all back.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from dfc.backends import pipeline, xla
from dfc.backends.compiling import TIME_LIMIT
from dfc.backends.targets import Target, check_compiler, parse_target
from dfc.errors import AlreadyExists, DfcError, InvalidArgument, NotFound, Unimplemented
from dfc.ir import locations
from dfc.ir.attributes import Array, Constant
from dfc.ir.builder import Builder, clone_into
from dfc.ir.collector import paused
from dfc.ir.dims import SymbolicDim
from dfc.ir.op import Op, short_name
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.function import Func, Return
from dfc.ir.ops.host import PyCall
from dfc.ir.ops.state import Group
from dfc.ir.text import parse_program, print_program
from dfc.ir.types import Spec, spec_of
from dfc.passes.batch import rows_independent
from dfc.passes.compilable import has_strings
from dfc.passes.partition import parts_of
from dfc.passes.phases import Phase
from dfc.passes.specialize import specialize
from dfc.runtime import tensor_file
from dfc.runtime.container import Reader, Writer
from dfc.runtime.executables import DEVICE_PLATFORMS, Executables, mesh_axes_for
from dfc.runtime.manifest import (
    CONSTANTS,
    GRAPH,
    MANIFEST,
    VARIABLES,
    EntryInfo,
    Manifest,
    Sizes,
    TensorInfo,
    plan_member,
    sizes_name,
    to_json,
)
from dfc.runtime.placing import lower
from dfc.runtime.plan import Plan
from dfc.runtime.plan import to_json as plan_json
from dfc.runtime.planning import modules_of, plan_of
from dfc.runtime.programs import compile_module
from dfc.runtime.step import clustered
from dfc.runtime.variables import VariableState

THIS_CPU = Target("cpu")


@dataclass(frozen=True)
class EntrySpec:
    """A function to be put into an artifact.

    `program` holds the function `func` (by default called `name`), at `phase` trace or graph; it is not changed.
    `variables` has the state of each variable that it uses, by its name in the program. `structure` is the nest of its
    results, see `EntryInfo.structure`; by default a dict by the results' names. `batch` lists the sizes to compile for
    its one symbolic dimension; ignored where it has none.
    """

    name: str
    program: ModuleOp
    variables: Mapping[str, VariableState]
    structure: Any = None
    batch: Sequence[int] = ()
    func: str | None = None
    phase: Phase = Phase.TRACE


@dataclass(frozen=True, repr=False)
class Artifact:
    """An artifact in memory: its members in order, but for the manifest, which lists them. `failures` has the targets
    that were asked for and could not be compiled, each with its error: the artifact is whole without them."""

    manifest: Manifest
    members: Mapping[str, bytes]
    failures: Mapping[str, DfcError] = field(default_factory=dict)

    def __repr__(self) -> str:
        size = sum(map(len, self.members.values()))
        return f"<dfc artifact of {', '.join(self.manifest.entries)}: {size / 1e6:.2f} MB>"

    def save(self, path: str | Path) -> None:
        """Write the file; it appears whole or not at all. Raises NotFound where its folder does not exist."""
        writer = Writer(path)
        try:
            writer.add(MANIFEST, to_json(self.manifest))
            for name, content in self.members.items():
                aligned = name in (VARIABLES, CONSTANTS)
                writer.add(name, content, data_at=tensor_file.data_start(content) if aligned else 0)
            writer.close()
        except BaseException:
            writer.abandon()
            raise


def build_artifact(
    entries: Sequence[EntrySpec],
    *,
    targets: Sequence[str] = ("cpu",),
    values: Mapping[str, Any] | None = None,
    observers: Sequence[Any] = (),
    progress: Callable[[str], None] = lambda line: None,
    apart: bool = False,
    time_limit: float = TIME_LIMIT,
) -> Artifact:
    """Compile the entries for their sizes and put everything that running them needs into one artifact.

    Variables take their present values unless `values` has others, by name. `observers` see the passes at work;
    `progress` is given a line a program and one a target. `apart` says that XLA is to run in another process even for
    `cpu` alone; `time_limit` is what a target has there, in seconds.

    Raises InvalidArgument for an entry whose sizes are not given, NotFound for an unknown target, AlreadyExists where
    two entries, or two variables, have the same name, Unimplemented for ops that only Python can run and for a target
    that lacks its compiler here, and what the passes and XLA raise. Of several targets those that a compiler fails on
    are in `failures` of the result.
    """
    states = _checked_states(entries, values or {})
    parsed = _checked_targets(targets)
    executables = Executables(parsed, apart, time_limit)
    graph, infos, programs = ModuleOp([]), dict[str, EntryInfo](), _Programs(executables, observers)
    for entry in entries:
        with paused():
            func = _add_to(graph, entry, observers)
        symbol = batch_symbol(entry, func)
        all_sizes: list[Sizes] = [{symbol: size} for size in sorted(set(entry.batch))] if symbol else [{}]
        compiled = []
        for sizes in all_sizes:
            started = perf_counter()
            compiled.append(programs.add(entry, func, sizes))
            progress(f"compiled {entry.name} for {sizes_name(sizes)} ({perf_counter() - started:.1f} s)")
        infos[entry.name] = _info(entry, func, symbol, all_sizes, compiled)
    executables.finish(progress)
    names = list(dict.fromkeys(name for info in infos.values() for name in info.reads))
    arrays = {name: values[name] if values and name in values else states[name].numpy() for name in names}
    members = {
        GRAPH: print_program(graph).encode(),
        CONSTANTS: tensor_file.pack(large_constants(graph)),
        VARIABLES: tensor_file.pack(arrays),
        **executables.members,
    }
    manifest = Manifest(
        entries=infos,
        variables={name: _tensor_info(name, states[name].spec) for name in names},
        targets=tuple(target.name for target in parsed if target.name not in executables.failures),
        members={name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
        stamps=executables.stamps,
        versions=_versions(),
        statistics=executables.statistics,
    )
    return Artifact(manifest, members, executables.failures)


def _checked_targets(targets: Sequence[str]) -> list[Target]:
    """The targets, each once. Raises for what does not exist or can't be compiled for here."""
    found = list({target.name: target for target in map(parse_target, targets)}.values())
    for target in found:
        check_compiler(target)
    return found


def _checked_states(entries: Sequence[EntrySpec], values: Mapping[str, Any]) -> dict[str, VariableState]:
    """The variables of all entries by name, once it is clear that names and values fit together."""
    if not entries:
        raise InvalidArgument("an artifact needs at least one entry")
    seen: set[str] = set()
    states: dict[str, VariableState] = {}
    for entry in entries:
        if not entry.name.isidentifier():
            raise InvalidArgument(f"an entry's name must be an identifier, got {entry.name!r}")
        if entry.name in seen:
            raise AlreadyExists(f"two entries are called {entry.name!r}")
        seen.add(entry.name)
        for name, state in entry.variables.items():
            if states.setdefault(name, state) is not state:
                raise AlreadyExists(
                    f"two variables of the artifact are called {name!r}; entry {entry.name!r} uses the second",
                    hint="give each variable a name of its own",
                )
    for name in values.keys() & states.keys():
        given, spec = values[name], states[name].spec
        if given.shape != spec.shape or given.dtype != spec.dtype.numpy:
            got = f"{given.dtype}[{', '.join(map(str, given.shape))}]"
            raise InvalidArgument(f"variable {name!r} is {spec}, and the value given for it is {got}")
    return states


def _add_to(graph: ModuleOp, entry: EntrySpec, observers: Sequence[Any]) -> Func:
    """The entry's function at phase graph, under the entry's name, as a new function of `graph`."""
    lowered = specialize(entry.program, {})  # a copy
    if entry.phase is not Phase.GRAPH:
        pipeline.lower(lowered, to=Phase.GRAPH, start=entry.phase, observers=observers)
    wanted = entry.func or entry.name
    try:
        (op,) = parts_of(lowered, wanted)
    except NotFound:
        raise NotFound(f"the program of entry {entry.name!r} has no function {wanted!r}") from None
    copy = clone_into(op, Builder(graph.body.block), {})
    copy.properties["sym_name"] = type(op.sym_name).new(entry.name)
    return copy


def batch_symbol(entry: EntrySpec, func: Func) -> str | None:
    """The one symbol in the shapes of the inputs, or None."""
    dims = [dim for argument in func.block.args for dim in spec_of(argument.type).shape]
    symbols = sorted({symbol for dim in dims if isinstance(dim, SymbolicDim) for symbol in dim.symbols})
    if not symbols:
        return None
    if len(symbols) > 1:
        raise InvalidArgument(
            f"entry {entry.name!r} has the symbolic dimensions {', '.join(symbols)}; only one can get batch sizes"
        )
    if not entry.batch:
        raise InvalidArgument(
            f"entry {entry.name!r} has the symbolic dimension {symbols[0]}, and no size for it was given",
            hint="name the sizes to compile, for example --batch 1,8,32",
        )
    if min(entry.batch) < 1:
        raise InvalidArgument(f"batch sizes must be positive, got {min(entry.batch)}")
    return symbols[0]


@dataclass
class _Programs:
    """Takes entries through the passes to programs."""

    executables: Executables
    observers: Sequence[Any]

    def add(self, entry: EntrySpec, func: Func, sizes: Sizes) -> Plan:
        """Compile an entry, at phase graph `func`, for these sizes."""
        name = wanted = entry.name
        start = Phase.GRAPH
        with paused():
            program = ModuleOp([])
            clone_into(func, Builder(program.body.block), {})
        if sizes and entry.phase is Phase.TRACE:
            # From the start again: with sizes known, gradients and what is simplified are as good as in a call.
            program, wanted, start = entry.program, entry.func or entry.name, Phase.TRACE
        lowered = clustered(program, wanted, sizes, start=start, observers=self.observers)
        plan, islands, host_ops = plan_of(lowered)
        if host_ops:
            raise _needs_host(name, host_ops)
        self.executables.add(name, sizes, lowered, plan, islands)
        self.executables.members[plan_member(name, sizes)] = json.dumps(plan_json(plan), sort_keys=True).encode()
        return plan


def _needs_host(entry: str, ops: Sequence[Op]) -> Unimplemented:
    """The error for an entry with ops that no program of a device runs; those that order others are not named."""
    ops = [op for op in ops if not isinstance(op, Group)] or ops
    first = next((op for op in ops if isinstance(op, PyCall)), ops[0])
    if isinstance(first, PyCall):
        what = f"calls Python, the function {first.function.data.name!r}"
    elif all(has_strings([*op.operands, *op.results]) for op in ops):
        what = f"needs the host for {len(ops)} ops on strings"
    else:
        what = f"needs the host for {len(ops)} ops ({', '.join(sorted(set(map(short_name, ops))))})"
    return Unimplemented(
        f"entry {entry!r} {what}, and an artifact holds compiled programs and string constants only",
        location=locations.describe(first.location),
    )


def phase_texts(
    spec: EntrySpec, phase: Phase, observers: Sequence[Any] = (), target: Target = THIS_CPU
) -> Iterator[str]:
    """The entry at `phase`: df text, StableHLO text as for `target`, or XLA's optimised HLO for this CPU; one text a
    compiled size and island."""
    symbolic = specialize(spec.program, {})  # a copy
    if phase.position <= Phase.CLUSTERED.position:
        lower(symbolic, to=phase, observers=observers)
        yield print_program(symbolic)
        return
    pipeline.lower(symbolic, to=Phase.GRAPH, observers=observers)
    (func,) = parts_of(symbolic, spec.func or spec.name)
    symbol = batch_symbol(spec, func)
    all_sizes: list[Sizes] = [{symbol: size} for size in spec.batch] if symbol else [{}]
    for sizes in all_sizes:
        lowered = clustered(symbolic, func.sym_name.data, sizes, start=Phase.GRAPH, observers=observers)
        axes, kind = mesh_axes_for(lowered, target.devices), DEVICE_PLATFORMS[target.platform]
        plan, modules, _ = modules_of(lowered, spec.name, axes, kind)
        for module, call in zip(modules, plan.programs, strict=True):
            if phase is Phase.STABLEHLO:
                yield f"{module}\n"
            else:
                device = xla.devices("cpu")[0]
                yield f"{compile_module(module, call.signature, device, spec.name).hlo}\n"


def _info(entry: EntrySpec, func: Func, symbol: str | None, sizes: list[Sizes], plans: list[Plan]) -> EntryInfo:
    names = list(func.result_names.data)
    outputs = [_tensor_info(name, spec_of(value.type)) for name, value in zip(names, func.outputs, strict=True)]
    inputs = [
        _tensor_info(name, spec_of(argument.type))
        for name, argument in zip(func.arg_names.data, func.block.args, strict=True)
    ]
    rows = rows_independent(func)
    counts = Counter(short_name(op) for op in func.walk() if isinstance(op, Op) and not isinstance(op, Func | Return))
    return EntryInfo(
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        structure=entry.structure if entry.structure is not None else {"dict": dict.fromkeys(names, "tensor")},
        reads=tuple(dict.fromkeys(name for plan in plans for name in plan.variables)),
        writes=tuple(dict.fromkeys(name for plan in plans for name in plan.written)),
        rows_independent=rows.independent,
        rows_reason=rows.reason if symbol else "",
        input_axes=rows.input_axes,
        output_axes=rows.output_axes,
        sizes=tuple(sizes),
        ops=dict(sorted(counts.items())),
    )


def _tensor_info(name: str, spec: Spec) -> TensorInfo:
    return TensorInfo(name, spec.dtype.name, tuple(d if isinstance(d, int) else str(d) for d in spec.shape))


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("dfc", "jaxlib"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # dfc run from its source folder
            found[package] = "source"
    return found


def large_constants(program: ModuleOp) -> dict[str, Any]:
    """The constants that the program's text names by digest only."""
    arrays = [op.value.data for op in program.walk() if isinstance(op, ConstantOp)]
    return {array.digest: array.value for array in arrays if array.value.size > Constant.PRINTED_ELEMENTS}


def read_graph(path: str | Path) -> ModuleOp:
    """The df program of an artifact, its large constants filled in. Raises DataLoss for a damaged file."""
    reader = Reader(path)
    program = parse_program(bytes(reader[GRAPH]).decode(), name=f"{path}/{GRAPH}")
    constants = tensor_file.TensorFile(reader[CONSTANTS], f"{path}/{CONSTANTS}")
    for op in program.walk():
        if isinstance(op, ConstantOp) and not op.value.data.known:
            known = op.value.data
            value = constants[known.digest]
            op.properties["value"] = Constant.new(Array(value, known.dtype, known.shape, known.digest))
    return program
