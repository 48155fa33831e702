"""Meshes of devices, to programs and values one device each: a program runs on all of a mesh at once, and a value is
divided among its devices, or copied to each.

`Mesh` stands wherever the runtime takes a device. `Layout` is a mesh and a way to divide a value; to bring a value to
a mesh without saying how is to copy it to each device. Checked with jax and jaxlib 0.10.2.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from itertools import permutations
from math import prod
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfc.errors import Internal
from dfc.ir.sharding import Axes, Divided, divided_text, entries_of, parts

Array = NDArray[Any]
Device = Any


class Launches:
    """The order in which programs of several devices are handed to them: two that wait for each other's collectives in
    two orders would wait for ever, so whoever launches one holds `lock`.

    On CPUs one program is under way at a time. With jaxlib 0.10.2 several that are under way come to wait for each
    other for ever, their parts short of threads to meet in: JAX's own programs, too, a few hundred steps into a loop
    that reads nothing.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._under_way: Any = None

    def settle(self) -> None:
        """With the lock held, before a launch: wait for the last one, where that must be."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            with suppress(RuntimeError):  # whoever reads its results hears of what went wrong
                under_way.block_until_ready()

    def note(self, results: Sequence[Any]) -> None:
        """With the lock held, after a launch: these are its results. The smallest one is held until the next launch."""
        found = [array for array in results if hasattr(array, "block_until_ready")]
        if found:
            smallest = min(found, key=attrgetter("nbytes"))
            if next(iter(smallest.sharding.device_set)).platform == "cpu":
                self._under_way = smallest


launches = Launches()


class Mesh:
    """Devices in a grid with named axes. One object for each; made by `mesh_of`."""

    def __init__(self, axes: Axes, devices: tuple[Device, ...], number: int) -> None:
        self.axes, self.devices, self.id = axes, devices, number
        first = devices[0]
        self.client, self.device_kind, self.on_platform = first.client, first.device_kind, str(first.platform)
        self.platform = "mesh"
        self._layouts: dict[Divided, Layout] = {}

    def __repr__(self) -> str:
        return f"mesh:{self.id} ({', '.join(f'{name}={size}' for name, size in self.axes)})"

    @cached_property
    def jax_mesh(self) -> Any:
        from jax.sharding import Mesh as JaxMesh

        grid = np.array(self.devices, dtype=object).reshape([size for _, size in self.axes])
        return JaxMesh(grid, tuple(name for name, _ in self.axes))

    def layout(self, divided: Divided = ()) -> Layout:
        """How values of this mesh that are divided so lie; one object for each."""
        while divided and not divided[-1]:
            divided = divided[:-1]
        found = self._layouts.get(divided)
        return found if found is not None else self._layouts.setdefault(divided, Layout(self, divided))

    @property
    def sharding(self) -> Any:
        """Of values that are copied to each device."""
        return self.layout().sharding


class Layout:
    """How a value of a mesh is divided; made by `Mesh.layout`."""

    def __init__(self, mesh: Mesh, divided: Divided) -> None:
        self.mesh, self.divided = mesh, divided

    def __repr__(self) -> str:
        return f"{divided_text(self.divided)} on {self.mesh}"

    @cached_property
    def sharding(self) -> Any:
        """JAX's object for it."""
        from jax.sharding import NamedSharding, PartitionSpec

        spec = PartitionSpec(*entries_of(self.divided))  # type: ignore[no-untyped-call]
        return NamedSharding(self.mesh.jax_mesh, spec)

    @lru_cache(maxsize=64)  # noqa: B019 - layouts live as long as the process
    def pieces(self, shape: tuple[int, ...]) -> list[Any]:
        """Of an array of this shape, what each device has, as indices."""
        places = self.sharding.devices_indices_map(shape)
        return [places[device] for device in self.mesh.devices]


_meshes: dict[tuple[Axes, tuple[Device, ...]], Mesh] = {}
_by_jax_mesh: dict[Any, Mesh] = {}
_making = threading.Lock()


def mesh_of(axes: Axes, devices: Sequence[Device]) -> Mesh:
    """The mesh of these axes over these devices, in order."""
    key = (axes, tuple(devices))
    with _making:
        found = _meshes.get(key)
        if found is None:
            found = _meshes[key] = Mesh(axes, key[1], len(_meshes))
        return found


def meshes() -> list[Mesh]:
    """All meshes that were made, by number."""
    return list(_meshes.values())


def mesh_behind(array: Any) -> Mesh | None:
    """The mesh that an array is on; None for one that this process made no mesh for."""
    theirs = getattr(array.sharding, "mesh", None)
    if theirs is None:
        return None
    found = _by_jax_mesh.get(theirs)
    if found is None:
        found = next((mesh for mesh in meshes() if mesh.jax_mesh == theirs), None)
        if found is not None:
            _by_jax_mesh[theirs] = found
    return found


def axes_of(device: Any) -> Axes:
    """The axes of a mesh; none of one device."""
    return device.axes if isinstance(device, Mesh) else ()


def devices_behind(device: Any) -> tuple[Device, ...]:
    """The devices of a mesh, or the one device."""
    return device.devices if isinstance(device, Mesh) else (device,)


def layouts_of(
    loaded: Any, mesh: Mesh, arguments: Sequence[Any], results: Sequence[Any]
) -> tuple[tuple[Layout, ...], tuple[Layout, ...]]:
    """How the arguments of an executable must be divided, and how its results are; both given by their avals."""
    taken, given = loaded.get_parameter_shardings(), loaded.get_output_shardings()
    return _layouts(taken, mesh, arguments), _layouts(given, mesh, results)


def _layouts(shardings: Sequence[Any] | None, mesh: Mesh, avals: Sequence[Any]) -> tuple[Layout, ...]:
    if shardings is None or not avals:  # of a program without results there is one entry
        return tuple(mesh.layout() for _ in avals)
    found = []
    for sharding, aval in zip(shardings, avals, strict=True):
        divided = divided_by(sharding, mesh.axes, len(aval.shape))
        if divided is None:
            raise Internal(f"the axes of {mesh} don't give XLA's sharding {sharding}")
        found.append(mesh.layout(divided))
    return tuple(found)


def divided_by(sharding: Any, axes: Axes, rank: int) -> Divided | None:
    """How the partitions of an XLA sharding (`OpSharding`) divide a tensor over a mesh with these axes, as few and as
    early axes as do it; None for a sharding that no axes give."""
    from jaxlib import xla_client

    hlo = xla_client.HloSharding.from_proto(sharding)
    n_devices = prod(size for _, size in axes)
    if hlo.is_replicated() or n_devices == 1 or rank == 0:
        return ()
    counts = tuple(hlo.tile_assignment_dimensions())[:rank]
    owners = np.array(hlo.tile_assignment_devices()).reshape(hlo.tile_assignment_dimensions())
    owners = owners.reshape(*counts, -1)
    tile_of = np.empty(n_devices, dtype=np.int64)
    for index in np.ndindex(*counts):
        tile_of[owners[index]] = int(np.ravel_multi_index(index, counts))
    return _search(axes, counts, tile_of)


def _search(axes: Axes, counts: tuple[int, ...], tile_of: Array) -> Divided | None:
    """The division that gives device d the tile `tile_of[d]`, found by trying."""
    sizes = dict(axes)

    def tries(dimension: int, left: tuple[str, ...]) -> Iterator[Divided]:
        if dimension == len(counts):
            yield ()
            return
        for n in range(len(left) + 1):
            for chosen in permutations(left, n):
                if prod(sizes[name] for name in chosen) == counts[dimension]:
                    rest = tuple(name for name in left if name not in chosen)
                    yield from ((chosen, *others) for others in tries(dimension + 1, rest))

    dividing = tuple(name for name, size in axes if size > 1)
    return next((d for d in tries(0, dividing) if np.array_equal(_tiles(axes, counts, d), tile_of)), None)


def _tiles(axes: Axes, counts: tuple[int, ...], divided: Divided) -> Array:
    """Which tile each device has, by its number in the mesh."""
    grid = [size for _, size in axes]
    places = dict(zip((name for name, _ in axes), np.indices(grid).reshape(len(grid), -1), strict=True))
    sizes = dict(axes)
    rows = []
    for names in divided:
        row = np.zeros(prod(grid), dtype=np.int64)
        for name in names:
            row = row * sizes[name] + places[name]
        rows.append(row)
    assert parts(axes, divided, len(counts)) == counts
    return np.ravel_multi_index(tuple(rows), counts)
