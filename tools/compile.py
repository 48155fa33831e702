"""`dfc compile`: from MODEL.py to an artifact, or to the text of the program at a phase."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from dfc.backends.compiling import TIME_LIMIT
from dfc.backends.targets import check_compiler, parse_target
from dfc.errors import DfcError, FailedPrecondition, InvalidArgument, NotFound
from dfc.frontend import aot
from dfc.frontend.function import Function, is_entry
from dfc.ir import locations
from dfc.ir.text import print_program
from dfc.passes import manager
from dfc.passes.phases import Phase
from dfc.runtime.artifact import phase_texts
from dfc.runtime.container import check_folder


def _batch(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[int]:
    sizes = value.split(",") if value else []
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise click.BadParameter(f"expected positive integers, as in 1,8,32, got {value!r}")
    return [int(size) for size in sizes]


def _targets(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(parse_target(text).name for text in value))
    except DfcError as error:
        raise click.BadParameter(str(error)) from error


@click.command("compile")
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The artifact. [MODEL.dfc here]")
@click.option("--entry", "entries", multiple=True, metavar="NAME", help="Only this entry; may be given again.")
@click.option(
    "--checkpoint", "directory", type=click.Path(path_type=Path), help="Take the variables' values from here."
)
@click.option("--batch", callback=_batch, metavar="N,N", help="Sizes to compile for the symbolic dimension.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    default=("cpu",),
    callback=_targets,
    metavar="TARGET",
    help="What to compile for, see `dfc targets`; may be given again. [cpu]",
)
@click.option(
    "--time-limit", type=click.FloatRange(0, min_open=True), default=TIME_LIMIT, help="Seconds for each target. [1800]"
)
@click.option("--to", type=click.Choice([phase.value for phase in Phase]), help="Stop at this phase and print it.")
@click.option("--print-ir-after-all", is_flag=True, help="Print the program after each pass, to standard error.")
@click.option("--time-passes", is_flag=True, help="Say what each pass took and changed, on standard error.")
def compile_command(
    model: Path,
    output: Path | None,
    entries: tuple[str, ...],
    directory: Path | None,
    batch: list[int],
    targets: tuple[str, ...],
    time_limit: float,
    to: str | None,
    print_ir_after_all: bool,
    time_passes: bool,
) -> None:
    """Compile the entries of MODEL into one artifact.

    MODEL is a Python file, which is imported. Its entries are the functions at its top level made by
    `@dfc.function(signature=...)`.
    """
    started = time.perf_counter()
    output = output or Path(model.with_suffix(".dfc").name)
    if to is None:
        check_folder(output)
    for target in targets:
        check_compiler(parse_target(target))
    if to == Phase.EXECUTABLE.value and targets != ("cpu",):
        raise click.UsageError("--to executable prints what is made for this CPU; `dfc inspect --hlo TARGET` any other")
    report = manager.Report()
    observers: list[manager.Observer] = [lambda entry, _: report.entries.append(entry)]
    if print_ir_after_all:
        observers.append(_print_after)
    texts: list[str] = []
    failures: Mapping[str, DfcError] = {}
    with redirect_stdout(sys.stderr):  # what the model prints must not come between what this prints
        functions = find_entries(import_model(model), model, entries)
        click.echo(f"imported {model}: {', '.join(functions)} ({time.perf_counter() - started:.1f} s)", err=True)
        with _users_errors(model):
            if to is not None:
                specs, shown = aot.entry_specs(functions, batch), parse_target(targets[0])
                texts = [text for spec in specs for text in phase_texts(spec, Phase(to), observers, shown)]
            else:
                given: dict[str, Any] = {"target": targets, "batch": batch, "checkpoint": directory}
                given |= {"apart": True, "time_limit": time_limit}
                made = aot.build(functions, **given, observers=observers, progress=_progress)
                made.save(output)
                failures = made.failures
                seconds = time.perf_counter() - started
                click.echo(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB) in {seconds:.1f} s", err=True)
    click.echo("// -----\n".join(texts), nl=False)
    if time_passes:
        click.echo(str(report), err=True)
    if failures:
        listed = "\n".join(map(str, failures.values()))
        raise click.ClickException(f"{output} has nothing for {', '.join(failures)}:\n{listed}")


def _progress(line: str) -> None:
    click.echo(line, err=True)


def _print_after(entry: manager.Entry, program: Any) -> None:
    click.echo(f"// ----- after {entry.text}\n{print_program(program)}", err=True, nl=False)


def import_model(path: Path) -> ModuleType:
    """Import a file under its own name, with its folder importable as for a script.

    Raises InvalidArgument, with the line, where the file's own code fails.
    """
    name = path.stem if path.stem.isidentifier() and path.stem not in sys.modules else f"dfc_model_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidArgument(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except DfcError:
        raise
    except SystemExit as stop:
        raise InvalidArgument(
            f"importing {path} ended with sys.exit({stop.code!r})", hint='put it under `if __name__ == "__main__":`'
        ) from stop
    except Exception as error:
        raise _import_failure(path, str(module.__file__), error) from error
    return module


def _import_failure(path: Path, file: str, error: Exception) -> InvalidArgument:
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
        return InvalidArgument(f"{path} is not valid Python: {error.msg}", location=place)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    place = _users_place(error) or (f"{file}:{frames[-1].lineno}" if frames else "")
    return InvalidArgument(f"importing {path} failed: {type(error).__name__}: {error}", location=place)


@contextmanager
def _users_errors(model: Path) -> Iterator[None]:
    """Turn what the model's own code raises, in the functions that are traced, into InvalidArgument with its line."""
    try:
        yield
    except (DfcError, click.ClickException):
        raise
    except Exception as error:
        place = _users_place(error)
        if not place:
            raise
        raise InvalidArgument(f"{model} failed: {type(error).__name__}: {error}", location=place) from error


def _users_place(error: Exception) -> str:
    """The innermost line of the user's code, unless dfc's own code went wrong below it; libraries count for whoever
    called them."""
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        if locations.is_internal(frame.f_code):
            return ""
        if not file.startswith(("<", *(os.path.join(folder, "") for folder in libraries))):
            return f"{file}:{line}"
    return ""


def find_entries(module: ModuleType, path: Path, wanted: Sequence[str]) -> dict[str, Function[..., Any]]:
    """The entries of a module by name, all or those `wanted`. Raises NotFound and FailedPrecondition."""
    every = {name: value for name, value in vars(module).items() if is_entry(value)}
    for name in wanted:
        if name in every:
            continue
        if isinstance(getattr(module, name, None), Function):
            hint = "give one: @dfc.function(signature=[dfc.TensorSpec(...)])"
            raise FailedPrecondition(f"{name!r} in {path} has no signature, so it can't be an entry", hint=hint)
        raise NotFound(f"{path} has no entry {name!r}", hint=manager.did_you_mean(name, every, "entries"))
    if not every:
        raise NotFound(
            f"{path} has no entry", hint="an entry is a function at the top level with @dfc.function(signature=[...])"
        )
    chosen = {name: every[name] for name in (dict.fromkeys(wanted) or every)}
    first = {id(function): name for name, function in reversed(chosen.items())}  # one function may have two names
    return {name: function for name, function in chosen.items() if wanted or first[id(function)] == name}
