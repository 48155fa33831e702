"""`dfc run`: one call of an entry of an artifact, with jaxlib alone.

How fast this process starts is a benchmark: nothing is imported here but what the call needs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--entry", metavar="NAME", help="Which entry; may be left out where there is one.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=@FILE", help="A .npy file, FILE.npz:KEY, or JSON text.")
@click.option("--target", metavar="TARGET", help="Which executables; `portable` compiles the portable program.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the results to this .npz file.")
def run(artifact: Path, entry: str | None, inputs: tuple[str, ...], target: str | None, output: Path | None) -> None:
    """Call an entry of ARTIFACT.

    Inputs are `NAME=@file.npy`, `NAME=@file.npz:key`, or a value in JSON, `NAME=[1, 2]`. Without --output the results
    are printed.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's, which idle but take time to start; XLA has its own
    import numpy as np

    from dfc.errors import InvalidArgument
    from dfc.runtime.feeding import constants
    from dfc.runtime.load import entries_of, find_entry, load

    cpus = 1 if target is None or target == "portable" else _cpu_devices(target)
    if cpus > 1:
        os.environ.setdefault("DFC_CPU_DEVICES", str(cpus))
    lean = "jax" not in sys.modules and cpus == 1
    entries = entries_of(load(artifact, lean=lean, target=target))
    if entry is None and len(entries) != 1:
        raise InvalidArgument(f"{artifact} has the entries {', '.join(entries)}: choose one with --entry")
    chosen = find_entry(entries, entry or next(iter(entries)), artifact)
    feeds: dict[str, Any] = {}
    for text in inputs:
        name, separator, source = text.partition("=")
        if not separator or not name:
            raise click.UsageError(f"--input must be NAME=@FILE or NAME=JSON, got {text!r}")
        if name in feeds:
            raise click.UsageError(f"--input {name!r} is given twice")
        feeds[name] = read_input(name, source)
    results = {**chosen.flat(**feeds), **{name: np.array(value) for name, value in constants(chosen.info.structure)}}
    if output is not None:
        write_npz(output, results)
        return
    for name, value in results.items():
        dtype = "string" if value.dtype.kind in "OU" else value.dtype
        click.echo(f"{name} {dtype}[{', '.join(map(str, value.shape))}]")
        click.echo(f"  {np.array2string(value, threshold=50, prefix='  ')}")


def _cpu_devices(target: str) -> int:
    """How many CPU devices a target has; 0 for one of another platform."""
    from dfc.backends.targets import parse_target

    found = parse_target(target)
    return found.devices if found.platform == "cpu" else 0


def read_input(name: str, source: str) -> Any:
    """The value of an --input. Nothing is unpickled. Raises NotFound, DataLoss and InvalidArgument."""
    from dfc.errors import InvalidArgument

    if not source.startswith("@"):
        import json

        try:
            return json.loads(source)
        except ValueError as error:
            hint = "a file is written as NAME=@FILE"
            raise InvalidArgument(f"input {name!r}: {source!r} is neither @FILE nor JSON", hint=hint) from error
    path, _, key = source[1:].partition(".npz:")
    return read_array(name, f"{path}.npz" if key else path, key)


def read_array(name: str, path: str, key: str) -> Any:
    """The array of a .npy file, or the one called `key` of a .npz file. Raises NotFound and DataLoss."""
    from dfc.errors import DataLoss, NotFound

    try:
        return _read_array(name, path, key)
    except FileNotFoundError as error:
        raise NotFound(f"input {name!r}: there is no file {path}") from error
    except _damage() as error:
        why = "it holds Python objects, which are never loaded" if "Object arrays" in str(error) else str(error)
        raise DataLoss(f"input {name!r}: {path} is not a whole .npy or .npz file of numbers ({why})") from error


def _damage() -> tuple[type[Exception], ...]:
    """What reading a damaged .npy or .npz file raises."""
    import zipfile
    import zlib

    return ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error


def _read_array(name: str, path: str, key: str) -> Any:
    import numpy as np

    from dfc.errors import NotFound

    with open(path, "rb") as file:  # np.load, given the name, leaves a file open that it can't read
        if not file.read(6).startswith((b"\x93NUMPY", b"PK\3\4", b"PK\5\6")):
            raise ValueError("it begins as neither of them does")
        file.seek(0)
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        if not key and len(content.files) == 1:
            (key,) = content.files
        if key not in content.files:
            listed = ", ".join(content.files)
            raise NotFound(f"input {name!r}: {path} has no array {key!r}", hint=f"write {path}:KEY; keys: {listed}")
        return content[key]


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays as `np.savez` does, under any name. bfloat16, which .npz can't hold, is widened to float32."""
    import zipfile

    import numpy as np

    with zipfile.ZipFile(path, "w") as file:
        for name, value in arrays.items():
            if value.dtype.kind == "V":
                value = value.astype(np.float32)
            elif value.dtype == object:
                value = value.astype("S")
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, value, allow_pickle=False)
