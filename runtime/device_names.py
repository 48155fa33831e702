"""The devices and meshes of this process by their names."""

from __future__ import annotations

from functools import cache
from typing import Any

from dfc.backends import xla
from dfc.backends.kernels import kind_of
from dfc.backends.mesh import Mesh, meshes
from dfc.errors import NotFound
from dfc.ir.devices import MESH, DeviceName, listed, local

Device = Any
"""A `jax.Device`, or a `Mesh`."""


@cache
def local_devices() -> dict[DeviceName, Device]:
    """This process's devices by name, those of JAX's default platform and of the CPU."""
    platforms = [xla.devices()]
    if all(device.platform != "cpu" for device in platforms[0]):
        platforms.append(xla.devices("cpu"))
    return {local(kind_of(device), index): device for devices in platforms for index, device in enumerate(devices)}


def device_named(name: DeviceName) -> Device:
    """The device, or the mesh, of that whole name. Raises NotFound."""
    found = local_devices().get(name)
    if found is None:
        found = next((mesh for mesh in meshes() if _mesh_name(mesh) == name), None)
    if found is None:
        raise NotFound(f"there is no device {name} here, only {listed(local_devices())}")
    return found


def name_of(device: Device) -> str:
    """The device's name, or JAX's for one that has none here."""
    if isinstance(device, Mesh):
        return str(_mesh_name(device))
    return next((str(name) for name, found in local_devices().items() if found is device), str(device))


def _mesh_name(mesh: Mesh) -> DeviceName:
    return local(MESH, mesh.id)
