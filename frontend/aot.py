"""Ahead of time: traced functions to one file, and back."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dfc.backends.compiling import TIME_LIMIT
from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.function import Function
from dfc.frontend.generator import GeneratorState
from dfc.runtime import checkpoint as checkpoints
from dfc.runtime.artifact import Artifact, EntrySpec, build_artifact

logger = logging.getLogger("dfc")

Functions = Function[..., Any] | Iterable[Function[..., Any]] | Mapping[str, Function[..., Any]]


def compile(
    functions: Functions,
    *,
    target: str | Sequence[str] = ("cpu",),
    batch: int | Iterable[int] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    observers: Sequence[Any] = (),
    progress: Callable[[str], None] = lambda line: None,
    apart: bool = False,
    time_limit: float = TIME_LIMIT,
) -> Artifact:
    """Compile functions that have a signature into an artifact; `artifact.save("model.dfc")` writes the file.

    `functions` is one, several, or a dict of the names that the entries get.

    `target` names what executables are made for, see `dfc targets`: `cpu`, `cpu:x86-64-v3`, `tpu:v5e`, `cuda:a100:4`.
    Every target but `cpu` alone is compiled in a process of its own (`apart` asks for that in any case), with a
    `time_limit` in seconds. Where one of several fails, the artifact has the others, `artifact.failures` the errors,
    and a warning is logged. `batch` lists the sizes of the symbolic dimension. Variables have their
    present values, or those of `checkpoint`: a checkpoint, or a directory of them, that holds these variables. It may
    hold others, such as an optimiser's state, and lack the states of generators of random numbers, which keep their
    present values; `progress` is told.
    Raises InvalidArgument for a function without a signature and for sizes where no function has a symbolic dimension,
    and what `build_artifact` raises.
    """
    made = build(
        functions,
        target=target,
        batch=batch,
        checkpoint=checkpoint,
        observers=observers,
        progress=progress,
        apart=apart,
        time_limit=time_limit,
    )
    for name, error in made.failures.items():
        logger.warning("the artifact has nothing for %s: %s", name, error)
    return made


def build(
    functions: Functions,
    *,
    target: str | Sequence[str] = ("cpu",),
    batch: int | Iterable[int] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> Artifact:
    """`compile` for whoever reports `failures` in another way."""
    listed = _listed(functions)
    entries = _entries(listed, batch)
    values = None
    if checkpoint is not None:
        variables = {n: v for _, function in listed for n, v in function.graph().variables.items()}
        generators = {name for name, variable in variables.items() if isinstance(variable, GeneratorState)}
        values, unused = checkpoint_values(checkpoint, variables, generators)
        if kept := sorted(generators - set(values)):
            progress(f"the checkpoint lacks {', '.join(kept)}: the state of a generator keeps its present value")
        if unused:
            progress(f"the checkpoint has {len(unused)} more, which no entry uses: {checkpoints.listed(unused)}")
    targets = (target,) if isinstance(target, str) else tuple(target)
    return build_artifact(entries, targets=targets, values=values, progress=progress, **options)


def entry_specs(functions: Functions, batch: int | Iterable[int] = ()) -> list[EntrySpec]:
    """The functions as entries of an artifact, traced. Raises InvalidType for what is no dfc.function, and
    InvalidArgument for one without a signature, and for sizes that no function has a dimension for."""
    return _entries(_listed(functions), batch)


Named = list[tuple[str | None, Function[..., Any]]]


def _listed(functions: Functions) -> Named:
    if isinstance(functions, Function):
        functions = [functions]
    return list(functions.items() if isinstance(functions, Mapping) else ((None, function) for function in functions))


def _entries(listed: Named, batch: int | Iterable[int]) -> list[EntrySpec]:
    sizes = (batch,) if isinstance(batch, int) else tuple(batch)
    entries = [_entry(function, sizes, name) for name, function in listed]
    shapes = [spec.shape for _, function in listed for spec in function.input_specs]
    if entries and sizes and all(isinstance(size, int) for shape in shapes for size in shape):
        raise InvalidArgument(
            f"sizes are given ({', '.join(map(str, sizes))}), and no entry has a symbolic dimension",
            hint='name a dimension in the signature, as in dfc.TensorSpec(("batch", 4)), or leave the sizes out',
        )
    return entries


def _entry(function: Function[..., Any], sizes: tuple[int, ...], name: str | None) -> EntrySpec:
    if not isinstance(function, Function):
        raise InvalidType(f"an entry must be a dfc.function, got {function!r}")
    if function.signature is None:
        raise InvalidArgument(
            f"{function.name!r} has no signature, so it can't be an entry",
            hint="give one: @dfc.function(signature=[dfc.TensorSpec(...)])",
        )
    graph = function.graph()
    states = {name: variable.state for name, variable in graph.variables.items()}
    return EntrySpec(name or function.name, graph.module, states, graph.structure.to_json(), sizes, func=graph.name)


def checkpoint_values(
    path: str | os.PathLike[str], names: Iterable[str], optional: Iterable[str] = ()
) -> tuple[Mapping[str, Any], list[str]]:
    """The arrays called `names` in a checkpoint, or in the latest one of a directory of checkpoints; and what other
    names it has.

    Raises NotFound where there is no checkpoint, and where names are missing that are not `optional`, with all of them.
    """
    found = checkpoints.latest_checkpoint(str(path)) or str(path)
    wanted, present = set(names), set(checkpoints.names_in(found))
    needed = sorted(wanted - set(optional))
    if not present.issuperset(needed):
        raise checkpoints.lacking(found, needed, sorted(present), limit=len(needed))
    return checkpoints.restore(found, sorted(wanted & present)), sorted(present - wanted)
