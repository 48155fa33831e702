"""How a tensor is divided among the devices of a mesh: what `dfc.shard` asks for.

A mesh is a grid of devices with named axes. A tensor's sharding names, for each of its dimensions, the mesh axes among
which that dimension is divided; along the other axes each device has a copy. The scheme and the words are Shardy's and
GSPMD's (Xu et al. 2021, arXiv:2105.04663).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from dfc.errors import InvalidArgument

Axes = tuple[tuple[str, int], ...]
"""Names and sizes of a mesh's axes, in order; the last one changes fastest over the devices."""
Divided = tuple[tuple[str, ...], ...]
"""For each dimension of a tensor the mesh axes that divide it, the outermost first."""
ALL = -1
"""As the size of an axis: as many as the devices allow."""
AXIS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class MeshSpec:
    """A mesh before it is known which devices there are: its axes, one of which may have size -1, and the names of its
    devices in order, none for the first ones of this process. `str` gives the text that `parse_mesh` reads."""

    axes: Axes
    devices: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = ",".join(f"{name}={size}" for name, size in self.axes)
        return f"{text}@{','.join(self.devices)}" if self.devices else text

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.axes)

    @property
    def known_size(self) -> int:
        """The product of the sizes that are known."""
        return prod(size for _, size in self.axes if size != ALL)

    @property
    def is_fixed(self) -> bool:
        """Whether all sizes are known."""
        return all(size != ALL for _, size in self.axes)

    def on(self, n_devices: int) -> Axes:
        """The axes with their sizes over so many devices. Raises InvalidArgument where these can't be arranged so."""
        known = self.known_size
        if (n_devices != known) if self.is_fixed else (n_devices % known or not n_devices):
            wanted = f"{known}" if self.is_fixed else f"a multiple of {known}"
            listed = ", ".join(f"{name}={size}" for name, size in self.axes)
            raise InvalidArgument(f"the mesh ({listed}) takes {wanted} devices, and here it has {n_devices}")
        return tuple((name, n_devices // known if size == ALL else size) for name, size in self.axes)


def checked_mesh(axes: Mapping[str, int], devices: Sequence[str] = ()) -> MeshSpec:
    """The mesh with these axes. Raises InvalidArgument for what is none."""
    for name, size in axes.items():
        if not isinstance(name, str) or not AXIS_NAME.fullmatch(name):
            raise InvalidArgument(f"a mesh axis is called by a name such as 'data', got {name!r}")
        if not hasattr(size, "__index__") or isinstance(size, bool) or (int(size) < 1 and size != ALL):
            raise InvalidArgument(f"the size of mesh axis {name!r} must be a positive int, or -1, got {size!r}")
    if not axes:
        raise InvalidArgument("a mesh needs at least one axis, as in {'data': 4}")
    if sum(size == ALL for size in axes.values()) > 1:
        raise InvalidArgument(f"only one axis of a mesh may be as large as the devices allow, got {dict(axes)}")
    spec = MeshSpec(tuple((name, int(size)) for name, size in axes.items()), tuple(devices))
    if devices:
        if len(set(devices)) != len(devices):
            raise InvalidArgument(f"a mesh has each device once, got {', '.join(devices)}")
        spec = MeshSpec(spec.on(len(devices)), spec.devices)
    return spec


def parse_mesh(text: str) -> MeshSpec:
    """The mesh that `str` of one gave. Raises InvalidArgument for other text."""
    axes_text, _, devices = text.partition("@")
    axes: dict[str, int] = {}
    for entry in axes_text.split(","):
        name, _, size = entry.partition("=")
        if not re.fullmatch(r"-?\d+", size) or name in axes:
            raise InvalidArgument(f"a mesh reads NAME=SIZE,..., got {text!r}")
        axes[name] = int(size)
    return checked_mesh(axes, tuple(devices.split(",")) if devices else ())


@dataclass(frozen=True)
class Sharding:
    """A mesh and, by dimension, the axes that divide the tensor; dimensions beyond those listed are whole. `str` gives
    the text that `parse` reads: `data=4,model=2 [data, -, data+model]`."""

    mesh: MeshSpec
    divided: Divided

    def __str__(self) -> str:
        return f"{self.mesh} {divided_text(self.divided)}"

    @classmethod
    def parse(cls, text: str) -> Sharding:
        mesh, _, listed = text.partition(" ")
        if not (listed.startswith("[") and listed.endswith("]")):
            raise InvalidArgument(f"a sharding reads MESH [AXES, ...], got {text!r}")
        return cls(parse_mesh(mesh), parse_divided(listed))

    def check(self, rank: int) -> None:
        """Raise InvalidArgument unless a tensor of this rank can be divided so."""
        if len(self.divided) > rank:
            raise InvalidArgument(f"the sharding {divided_text(self.divided)} is for rank {len(self.divided)} or more")
        seen: set[str] = set()
        for name in (name for axes in self.divided for name in axes):
            if name not in self.mesh.names:
                raise InvalidArgument(f"the mesh has no axis {name!r}, only {', '.join(self.mesh.names)}")
            if name in seen:
                raise InvalidArgument(f"mesh axis {name!r} can divide one dimension only, once")
            seen.add(name)


def entries_of(divided: Divided, rank: int | None = None) -> tuple[str | tuple[str, ...] | None, ...]:
    """What a user writes for it, an entry a dimension, of all `rank` if that is given: a name, several, or None."""
    short = [axes[0] if len(axes) == 1 else (axes or None) for axes in divided]
    return (*short, *([None] * ((len(short) if rank is None else rank) - len(short))))


def divided_by_entries(entries: Sequence[str | Sequence[str] | None]) -> Divided:
    """The other way round."""
    return tuple((axes,) if isinstance(axes, str) else tuple(axes or ()) for axes in entries)


def divided_text(divided: Divided) -> str:
    """`[data, -, data+model]`."""
    return f"[{', '.join('+'.join(axes) or '-' for axes in divided)}]"


def parse_divided(text: str) -> Divided:
    """What `divided_text` gave."""
    inner = text[1:-1].strip()
    entries = [entry.strip() for entry in inner.split(",")] if inner else []
    return tuple(() if entry == "-" else tuple(entry.split("+")) for entry in entries)


def parts(axes: Axes, divided: Divided, rank: int) -> tuple[int, ...]:
    """Into how many parts each dimension of a tensor of this rank is divided."""
    sizes = dict(axes)
    counts = [prod(sizes[name] for name in names) for names in divided]
    return tuple(counts + [1] * (rank - len(counts)))


def check_divisible(shape: Sequence[object], axes: Axes, divided: Divided) -> None:
    """Raise InvalidArgument where a known size of `shape` can't be divided evenly; sizes not known are left alone."""
    for dimension, (size, count) in enumerate(zip(shape, parts(axes, divided, len(shape)), strict=True)):
        if isinstance(size, int) and size % count:
            among = "+".join(f"{name}={dict(axes)[name]}" for name in divided[dimension])
            raise InvalidArgument(f"dimension {dimension} of size {size} can't be divided evenly among {among}")
