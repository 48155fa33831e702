"""`dfc inspect`: what an artifact holds, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfc.backends.statistics import memory_of, size
from dfc.backends.targets import known_targets, parse_target
from dfc.errors import NotFound
from dfc.runtime.manifest import EntryInfo, Manifest, Sizes, executable_of

if TYPE_CHECKING:
    from dfc.runtime.load import ArtifactFile


@click.command()
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--graph", is_flag=True, help="Print the df program at phase `graph`.")
@click.option("--hlo", metavar="TARGET", help="Print the optimised HLO of the executables for this target.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
def inspect(artifact: Path, graph: bool, hlo: str | None, as_json: bool) -> None:
    """Show what ARTIFACT holds: entries with inputs and outputs, compiled sizes, what each target's executables take,
    variables, ops."""
    from dfc.runtime import manifest
    from dfc.runtime.load import ArtifactFile

    file = ArtifactFile(artifact)
    if graph:
        click.echo(bytes(file.member(manifest.GRAPH)).decode(), nl=False)
    elif hlo is not None:
        click.echo("\n".join(hlo_texts(file, hlo)), nl=False)
    elif as_json:
        click.echo(manifest.to_json(file.manifest).decode())
    else:
        click.echo(summary(file.manifest, str(artifact), artifact.stat().st_size))


def summary(found: Manifest, name: str, file_size: int) -> str:
    """The manifest as a page of text."""
    versions = ", ".join(f"{package} {version}" for package, version in sorted(found.versions.items()))
    lines = [
        f"{name}: format {found.format}, {file_size:,} bytes, {len(found.members) + 1} members, written by {versions}",
        f"targets: {', '.join(found.targets) or 'none, only the portable program'}",
        *([""] if found.statistics else []),
        *table(found),
    ]
    for entry_name, entry in found.entries.items():
        inputs, outputs = (", ".join(f"{t.name}: {t}" for t in tensors) for tensors in (entry.inputs, entry.outputs))
        lines += ["", f"entry {entry_name}({inputs})", f"  returns {outputs or 'nothing'}", f"  {_sizes(entry)}"]
        lines.append(f"  ops: {', '.join(f'{op} {count}' for op, count in entry.ops.items()) or 'none'}")
        if entry.reads:
            lines.append(f"  variables: {', '.join(entry.reads)}")
        if entry.writes:
            lines.append(f"  writes: {', '.join(entry.writes)}")
    elements = sum(prod(int(d) for d in variable.shape) for variable in found.variables.values())
    lines += ["", f"variables: {len(found.variables)} with {elements:,} elements"]
    lines += [f"  {variable.name}: {variable}" for variable in found.variables.values()]
    return "\n".join(lines)


def hlo_texts(file: ArtifactFile, target: str) -> Iterator[str]:
    """The optimised HLO of each executable for a target, each after a line that says what it is of. Raises NotFound."""
    found, name = file.manifest, parse_target(target).name
    if name not in found.targets:
        listed = ", ".join(found.targets) or "none"
        raise NotFound(f"{file.path} has no executables for {name}", hint=f"targets: {listed}")
    for entry, sizes in _compiled(found):
        for executable in _executables(found, entry, sizes, name):
            member = executable.removesuffix(".exe") + ".hlo"
            if member not in found.members:
                raise NotFound(f"{file.path} was written by a dfc that kept no HLO")
            yield f"// {member}\n{bytes(file.member(member)).decode()}"


COLUMNS = ("entry", "target", "bytes", "memory", "FLOPs", "compiled in", "by")


def table(found: Manifest) -> list[str]:
    """What the executables for each target take, a line an entry, size and target.

    Bytes, FLOPs and seconds are summed over an entry's programs; memory (arguments, results, temporaries and code) is
    the largest program's, on each of its devices.
    """
    rows = [COLUMNS]
    for entry, sizes in _compiled(found):
        title = " ".join([entry, *(f"{symbol}={size}" for symbol, size in sizes.items())])
        for target in found.targets:
            known = [found.statistics[name] for name in _executables(found, entry, sizes, target)]
            if known:
                rows.append((title, target, *_totals(known)))
    if len(rows) == 1:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if any(row[4].endswith("*") for row in rows):
        lines.append("* counted in the whole program: the target's compiler does not count in what it makes")
    return [*lines, *_divisions(found)]


def _divisions(found: Manifest) -> list[str]:
    """A line for each target of several devices: the mesh that its programs are divided over."""
    lines = []
    for target in (target for target in known_targets(found.targets) if target.devices > 1):
        names = [name for entry, sizes in _compiled(found) for name in _executables(found, entry, sizes, target.name)]
        meshes = [found.stamps[name].get("mesh") for name in names]
        divided = dict.fromkeys(", ".join(f"{axis}={size}" for axis, size in mesh) for mesh in meshes if mesh)
        if divided:
            lines.append(
                f"{target.name}: divided over the mesh {'; '.join(divided)}; memory and FLOPs are one device's"
            )
        if not all(meshes):
            which = "some programs divide nothing" if divided else "nothing is divided"
            lines.append(f"{target.name}: {which}, so each device computes all of it")
    return lines


def _totals(known: list[dict[str, Any]]) -> tuple[str, str, str, str, str]:
    versions = {package: version for each in known for package, version in each["versions"].items()}
    cached = " (cached)" if any(each["from_cache"] for each in known) else ""
    mark = "*" if any(each["counted"] == "program" for each in known) else ""
    return (
        f"{sum(each['bytes'] for each in known):,}",
        size(max(map(memory_of, known))),
        f"{sum(each['flops'] for each in known):,}{mark}",
        f"{sum(each['seconds'] for each in known):.2f} s{cached}",
        ", ".join(f"{package} {version}" for package, version in versions.items()),
    )


def _compiled(found: Manifest) -> Iterator[tuple[str, Sizes]]:
    return ((name, sizes) for name, entry in found.entries.items() for sizes in entry.sizes)


def _executables(found: Manifest, entry: str, sizes: Sizes, target: str) -> Iterator[str]:
    """The executables of an entry for a target that there are statistics of."""
    for index in count():
        name = executable_of(entry, sizes, index, target)
        if name not in found.statistics:
            return
        yield name


def _sizes(entry: EntryInfo) -> str:
    if entry.sizes == ({},):
        return "compiled for its one size"
    (symbol,) = entry.sizes[0]
    listed = ", ".join(str(sizes[symbol]) for sizes in entry.sizes)
    others = "padded or split" if entry.rows_independent else "refused: its rows were not proved independent"
    return f"compiled for {symbol} = {listed}; other sizes are {others}"
