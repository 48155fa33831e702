"""What an artifact says of itself: `manifest.json`, as dataclasses whose fields are the file's keys.

The format number changes when an older reader would misunderstand a file; a reader refuses higher ones, and ignores
keys that it doesn't know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dfc.errors import DataLoss, InvalidArgument

FORMAT = 1
MANIFEST = "manifest.json"
GRAPH = "graph.mlir"
CONSTANTS = "resources/constants.safetensors"
VARIABLES = "variables.safetensors"

Dim = int | str
Sizes = dict[str, int]


@dataclass(frozen=True)
class TensorInfo:
    """An input, an output or a variable."""

    name: str
    """Nested inputs and outputs have dotted names: `batch.images.0`."""
    dtype: str
    """A dtype's name in dfc: `float32`, `bfloat16`, `string`."""
    shape: tuple[Dim, ...]
    """Sizes; a symbolic one is a string, a name or an expression such as `2*b`."""

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class EntryInfo:
    """A function that can be called."""

    inputs: tuple[TensorInfo, ...]
    """In the order of the function's parameters."""
    outputs: tuple[TensorInfo, ...]
    """In the order of the leaves of `structure`."""
    structure: Any
    """The nest of the results: "tensor", {"list": [...]}, {"tuple": [...]}, {"dict": {key: ...}}, {"static": value},
    {"namedtuple": name, "fields": {key: ...}} or {"dataclass": name, "fields": {key: ...}}."""
    reads: tuple[str, ...]
    """Variables that the entry uses, those in `writes` included."""
    writes: tuple[str, ...]
    """Variables that it changes. Changes last as long as the loaded model, and never reach the file."""
    rows_independent: bool
    """Proved: row i of every output depends on row i of every input alone, so a smaller batch may be padded with any
    rows, and a larger one split."""
    rows_reason: str
    """Why that was not proved, with the user's line; empty where it was, or where no size is symbolic."""
    input_axes: tuple[int | None, ...]
    """The axis of each input that runs over the rows, None where there is none."""
    output_axes: tuple[int | None, ...]
    """The same of each output."""
    sizes: tuple[Sizes, ...]
    """What is compiled: the size of each symbol, smallest first; one empty mapping for an entry without symbols."""
    ops: dict[str, int]
    """How often each op stands in the graph, for people."""


@dataclass(frozen=True)
class Manifest:
    """The whole file."""

    entries: dict[str, EntryInfo]
    """By name."""
    variables: dict[str, TensorInfo]
    """By name; the values are in variables.safetensors."""
    targets: tuple[str, ...]
    """What executables were made for: `cpu`, `tpu:v5e:2x2`."""
    members: dict[str, str]
    """The SHA-256 of every other member, in hexadecimal; a member is checked when it is first used."""
    stamps: dict[str, dict[str, Any]]
    """By executable: what it needs of the machine, see `dfc.backends.compile_cache.stamp`."""
    versions: dict[str, str]
    """What wrote the file: dfc, jaxlib, Python."""
    statistics: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By executable, for people: its size in `bytes`, the `memory` that it takes, by kind; `flops`, `transcendentals`
    and where they were `counted`; the `seconds` that compiling took, the `versions` of what compiled it, and whether it
    came `from_cache`. A file that was written before this was kept has none."""
    format: int = field(default=FORMAT)
    """The version of this format."""


def to_json(manifest: Manifest) -> bytes:
    """The file's content; equal manifests give equal bytes."""
    return json.dumps(asdict(manifest), indent=1).encode()


def from_json(content: bytes, source: str) -> Manifest:
    """The manifest in a file's content. Raises DataLoss for a damaged one and InvalidArgument for a newer format."""
    try:
        found = json.loads(content)
        version = int(found["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataLoss(f"{source} is damaged: its manifest can't be read ({error})") from error
    if version > FORMAT:
        raise InvalidArgument(
            f"{source} has format {version}, and this dfc reads formats up to {FORMAT}",
            hint=f"it was written by dfc {found.get('versions', {}).get('dfc', '(unknown)')}: install that or newer",
        )
    try:
        return Manifest(
            entries={name: _entry(entry) for name, entry in found["entries"].items()},
            variables={name: _tensor(entry) for name, entry in found["variables"].items()},
            targets=tuple(found["targets"]),
            members=dict(found["members"]),
            stamps=dict(found["stamps"]),
            versions=dict(found["versions"]),
            statistics=dict(found.get("statistics", {})),
            format=version,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataLoss(f"{source} is damaged: its manifest is not complete ({error!r})") from error


def _tensor(entry: Mapping[str, Any]) -> TensorInfo:
    return TensorInfo(entry["name"], entry["dtype"], tuple(entry["shape"]))


def _entry(entry: Mapping[str, Any]) -> EntryInfo:
    return EntryInfo(
        inputs=tuple(map(_tensor, entry["inputs"])),
        outputs=tuple(map(_tensor, entry["outputs"])),
        structure=entry["structure"],
        reads=tuple(entry["reads"]),
        writes=tuple(entry["writes"]),
        rows_independent=bool(entry["rows_independent"]),
        rows_reason=str(entry["rows_reason"]),
        input_axes=tuple(entry["input_axes"]),
        output_axes=tuple(entry["output_axes"]),
        sizes=tuple({str(k): int(v) for k, v in size.items()} for size in entry["sizes"]),
        ops={str(k): int(v) for k, v in entry["ops"].items()},
    )


def sizes_name(sizes: Mapping[str, int]) -> str:
    """The folder of an entry's program at these sizes: `b=8`, or `static`."""
    return ",".join(f"{symbol}={size}" for symbol, size in sorted(sizes.items())) or "static"


def folder_of(entry: str, sizes: Mapping[str, int]) -> str:
    """Where the members of an entry's program at these sizes stand."""
    return f"entries/{entry}/{sizes_name(sizes)}"


def program_of(entry: str, sizes: Mapping[str, int], index: int) -> str:
    """The member that holds a program's portable form."""
    return f"{folder_of(entry, sizes)}/islands/{index}.vhlo"


def executable_of(entry: str, sizes: Mapping[str, int], index: int, target: str) -> str:
    """The member that holds a program compiled for `target`."""
    return f"{folder_of(entry, sizes)}/islands/{index}.{target.replace(':', '-')}.exe"


def hlo_of(entry: str, sizes: Mapping[str, int], index: int, target: str) -> str:
    """The member that holds the optimised HLO of that."""
    return f"{executable_of(entry, sizes, index, target).removesuffix('.exe')}.hlo"


def plan_member(entry: str, sizes: Mapping[str, int]) -> str:
    """The member that says how an entry runs."""
    return f"{folder_of(entry, sizes)}/plan.json"
