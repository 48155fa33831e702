"""`dfc inspect`: what an artifact holds, for people and for programs."""

from __future__ import annotations

from math import prod
from pathlib import Path

import click

from dfc.runtime.manifest import EntryInfo, Manifest


@click.command()
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--graph", is_flag=True, help="Print the df program at phase `graph`.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
def inspect(artifact: Path, graph: bool, as_json: bool) -> None:
    """Show what ARTIFACT holds: entries with inputs and outputs, compiled sizes, targets, variables, ops."""
    from dfc.runtime import manifest
    from dfc.runtime.load import ArtifactFile

    file = ArtifactFile(artifact)
    if graph:
        click.echo(bytes(file.member(manifest.GRAPH)).decode(), nl=False)
    elif as_json:
        click.echo(manifest.to_json(file.manifest).decode())
    else:
        click.echo(summary(file.manifest, str(artifact), artifact.stat().st_size))


def summary(found: Manifest, name: str, size: int) -> str:
    """The manifest as a page of text."""
    versions = ", ".join(f"{package} {version}" for package, version in sorted(found.versions.items()))
    lines = [
        f"{name}: format {found.format}, {size:,} bytes, {len(found.members) + 1} members, written by {versions}",
        f"targets: {', '.join(found.targets)}",
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


def _sizes(entry: EntryInfo) -> str:
    if entry.sizes == ({},):
        return "compiled for its one size"
    (symbol,) = entry.sizes[0]
    listed = ", ".join(str(sizes[symbol]) for sizes in entry.sizes)
    others = "padded or split" if entry.rows_independent else "refused: its rows were not proved independent"
    return f"compiled for {symbol} = {listed}; other sizes are {others}"
