"""Devices, and arrays on them: what comes from the host, goes there, and goes from one device to another.

With `xla.py` and `compile_cache.py` all that touches the internals of JAX and jaxlib; checked with 0.10.2. Others use
it as `xla.to_device` and so on.
"""

from __future__ import annotations

import os
import struct
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dfc.backends.compile_cache import DTYPES
from dfc.backends.mesh import Layout, Mesh, launches, mesh_behind
from dfc.backends.status import translate
from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType, NotFound
from dfc.ir.sharding import divided_by_entries, entries_of

if TYPE_CHECKING:
    import jax

Array = NDArray[Any]
DLPACK_KINDS = "biufc"  # NumPy's own kinds; DLPack in NumPy has no bfloat16, float8 or int4 ("V" there)


_backend_lock = threading.Lock()
_backend_ready = False


def _cpu_devices_wanted() -> int:
    text = os.environ.get("DFC_CPU_DEVICES", "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise InvalidArgument(f"DFC_CPU_DEVICES must be a positive integer, got {text!r}")
    return int(text or 0)


def _prepare_backend() -> None:
    """Give JAX's CPU client as many devices as DFC_CPU_DEVICES says, once, before JAX starts it.

    The only setting of JAX that dfc ever changes, and only on that request (jax 0.10.2: `jax_num_cpu_devices`).
    """
    global _backend_ready
    with _backend_lock:
        if _backend_ready:
            return
        import jax
        from jax._src import xla_bridge

        wanted = _cpu_devices_wanted()
        forced = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
        if wanted and not forced and not xla_bridge.backends_are_initialized():
            configured: int = xla_bridge.num_cpu_devices.value
            jax.config.update("jax_num_cpu_devices", max(wanted, configured))  # type: ignore[no-untyped-call]
        if wanted and len(jax.devices("cpu")) < wanted:
            raise FailedPrecondition(
                f"DFC_CPU_DEVICES asks for {wanted} CPU devices, and JAX already runs with {len(jax.devices('cpu'))}",
                hint="set it, and not XLA_FLAGS=--xla_force_host_platform_device_count, before the first use of JAX",
            )
        _backend_ready = True


def devices(platform: str | None = None) -> list[jax.Device]:
    """This process's devices of `platform` ("cpu", "gpu", "tpu"), or of JAX's default one.

    Starts JAX's client; raises NotFound for a platform with no device here, FailedPrecondition if DFC_CPU_DEVICES
    comes too late.
    """
    _prepare_backend()
    import jax

    try:
        return list(jax.local_devices(backend=platform))
    except RuntimeError as error:
        raise NotFound(f"no device of platform {platform!r} here: {error}") from error


def default_device() -> jax.Device:
    """The first device of JAX's default platform."""
    return devices()[0]


@lru_cache(maxsize=256)
def sharding_on(device: Any) -> Any:
    """JAX's sharding of a value on a device, or a mesh, or laid out on one."""
    if isinstance(device, Mesh | Layout):
        return device.sharding
    from jax.sharding import SingleDeviceSharding

    return SingleDeviceSharding(device)


@lru_cache(maxsize=4096)
def aval_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    from jax._src import core

    return core.ShapedArray(shape, dtype)  # keeps 64-bit dtypes whatever jax_enable_x64 says


def uploadable(value: Any) -> Array:
    array = np.asarray(value)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype not in DTYPES:
        hint = "strings stay on the host; dfc.asarray makes a tensor of them" if array.dtype.kind in "US" else ""
        raise InvalidType(f"a device can't hold values of dtype {array.dtype}", hint=hint)
    return array


def upload(array: Array, aval: Any, sharding: Any, device: Any, *, alias: bool = False) -> Any:
    """jaxlib 0.10.2's `batched_device_put` straight: `jax.device_put` would turn float64 into float32 unless the user
    set jax_enable_x64, and entering `jax.enable_x64` costs ten times as much."""
    from jaxlib import _jax

    semantics = _jax.HostBufferSemantics
    use = semantics.ZERO_COPY if alias else semantics.IMMUTABLE_ONLY_DURING_CALL
    return _jax.batched_device_put(aval, sharding, [array], [device], True, not alias, use, True)


def to_device(value: Array, device: Any = None) -> jax.Array:
    """A `jax.Array` on `device`, which may be a mesh or a layout of one, with the shape and dtype of `value`, 64-bit
    ones included, whatever jax_enable_x64 says. The value is copied before the call returns, so its memory may be
    written or freed. InvalidType for dtypes that no device holds (strings, objects, dates)."""
    array = uploadable(value)
    device = device or default_device()
    aval = aval_of(array.shape, array.dtype)
    if isinstance(device, Mesh | Layout):
        return _divided(array, aval, device.layout() if isinstance(device, Mesh) else device)
    result: jax.Array = upload(array, aval, sharding_on(device), device)
    return result


def _divided(array: Array, aval: Any, layout: Layout) -> jax.Array:
    """An array from the host on a mesh."""
    from jaxlib import _jax

    semantics = _jax.HostBufferSemantics.IMMUTABLE_ONLY_DURING_CALL
    # Copies: jaxlib 0.10.2 raises `bad_function_call` where some devices, and not all, get the same memory.
    pieces = [np.array(array[index], order="C") for index in layout.pieces(array.shape)]
    devices = list(layout.mesh.devices)
    result: jax.Array = _jax.batched_device_put(aval, layout.sharding, pieces, devices, True, True, semantics, True)
    return result


class _Capsule:
    """What `np.from_dlpack` reads: 2 us, where `ArrayImpl.__array__` takes 45 (it re-enters Python to import NumPy)."""

    __slots__ = ("buffer",)

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer

    def __dlpack__(self, **_: object) -> Any:
        from jaxlib import _jax

        return _jax.buffer_to_dlpack_managed_tensor(self.buffer, None)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # the host


def host_view(array: Any, *, on_host: bool) -> Array:
    """A NumPy array of the value, which may alias the buffer; the buffer can't be donated while it lives."""
    array.block_until_ready()
    if on_host and array.aval.dtype.kind in DLPACK_KINDS:
        return np.from_dlpack(_Capsule(array))
    view: Array = array._single_device_array_to_np_array_did_copy()[0]
    return view


def to_numpy(array: jax.Array, copy: bool = True) -> Array:
    """The value as a NumPy array, once it is computed.

    The result owns its memory, so it stays valid, and donating `array` later stays a donation. `copy=False` is for
    arrays that nothing donates: it returns a read-only view where it can. Raises what the computation raised, and
    FailedPrecondition for a donated array.
    """
    value: Array
    try:
        memory = memoryview(array.block_until_ready())  # alone it crashes where the array is deleted
        value = np.array(memory, order="C") if copy else np.asarray(memory)
    except Exception:  # memory that is not the host's, a dtype that Python has no letter for, or something is wrong
        value = _viewed(array)
        if copy:
            return np.array(value, order="C")
    if not copy:
        value.flags.writeable = False
    return value


def wait(value: Any) -> None:
    """Until a device has computed the value; not at all for one of the host. Raises what the computation raised."""
    try:
        if hasattr(value, "block_until_ready"):
            value.block_until_ready()
    except RuntimeError as error:
        raise translate(error, "wait") from error


def truth(value: Any) -> bool:
    """The boolean in a scalar, once it is computed: of an array by its buffer, a third of `to_numpy`'s time."""
    try:
        if not isinstance(value, np.ndarray | np.generic):
            value.block_until_ready()  # see `to_numpy`
        return bool(np.asarray(value))
    except RuntimeError as error:
        raise translate(error, "truth") from error


def _viewed(array: jax.Array) -> Array:
    try:
        if not array.is_fully_addressable:
            raise InvalidArgument("part of the array lives in another process")
        if len(array.sharding.device_set) > 1:
            return np.asarray(array)
        return host_view(array, on_host=device_of(array).platform == "cpu")
    except RuntimeError as error:
        raise translate(error, "to_numpy") from error


_INT32 = struct.Struct("i").unpack


def to_int(array: Any) -> int:
    """The value of an int32 scalar, once it is computed: 0.3 us on the CPU. It must not be deleted (an array that only
    the caller has, such as a program's result, can't be): its buffer is taken as it is, which waits for it."""
    try:
        (value,) = _INT32(array)
    except Exception:  # as in to_numpy
        value = _viewed(array)
    return int(value)


def copy(array: jax.Array) -> jax.Array:
    """A copy in another buffer of the same device, not awaited: donating one leaves the other alone."""
    return transfer(array, device_of(array))


def transfer(array: jax.Array, device: Any) -> jax.Array:
    """A copy of `array` on `device`, not awaited; always another buffer. On a mesh it is divided as it was there, or
    copied to each device.

    jaxlib 0.10.2: 15 us on one device and 41 between two CPU devices, `jax.device_put` 156.
    """
    if isinstance(device, Mesh | Layout) or len(array.sharding.device_set) > 1:
        return _on_mesh(array, device)
    return _copied(array, (device,), sharding_on(device))


def _copied(array: jax.Array, devices: tuple[Any, ...], sharding: Any) -> jax.Array:
    """The array in other buffers, on one other device or divided as it is."""
    from jaxlib import _jax

    copied, semantics = _jax.batched_copy_array_to_devices_with_sharding, _jax.ArrayCopySemantics.ALWAYS_COPY
    try:
        result: jax.Array = copied([array], [_jax.DeviceList(devices)], [sharding], [semantics])[0]
        return result
    except RuntimeError as error:
        raise translate(error, "copy") from error


def _on_mesh(array: jax.Array, device: Any) -> jax.Array:
    """`transfer` to a mesh or from one."""
    wanted = sharding_on(device)
    if isinstance(device, Mesh) and mesh_behind(array) is device:
        wanted = array.sharding  # as it lies there
    if array.sharding is not wanted:
        shared = array.sharding.device_set & wanted.device_set
        array = _resharded(array, wanted)
        if not shared:
            return array  # else a device that both have has one buffer for both, whatever `may_alias` says
    theirs = getattr(wanted, "mesh", None)
    return _copied(array, tuple(wanted.device_set if theirs is None else theirs.devices.flat), wanted)


def _resharded(array: Any, sharding: Any) -> Any:
    """The value as JAX brings it to other devices or divides it in another way, which may take a program of all of
    them."""
    import jax

    try:
        with launches.lock:
            launches.settle()
            moved = jax.device_put(array, sharding)
            launches.note([moved])
            return moved
    except RuntimeError as error:
        raise translate(error, "copy") from error


def brought(value: Any, device: Any) -> Any:
    """A value on `device` alone, not awaited: itself where it is that already, or is the host's. 0.3 us if so. On a
    mesh it may be divided in any way."""
    sharding = getattr(value, "sharding", None)
    if sharding is None or sharding is sharding_on(device):
        return value
    if isinstance(device, Mesh | Layout) or len(sharding.device_set) > 1:
        return value if _is_there(value, device) else _resharded(value, sharding_on(device))
    return value if device in sharding.device_set else transfer(value, device)


def _is_there(value: Any, device: Any) -> bool:
    if isinstance(device, Mesh):
        return mesh_behind(value) is device
    same = isinstance(device, Layout) and value.sharding.device_set == device.sharding.device_set
    return same and value.sharding.is_equivalent_to(device.sharding, value.ndim)


def placed(value: Any, device: Any) -> Any:
    """As `brought`, with what the host has, too, but for strings."""
    is_numbers = isinstance(value, np.ndarray) and value.dtype != object
    return to_device(value, device) if is_numbers else brought(value, device)


def division_of(array: Any) -> tuple[Any, ...] | None:
    """The mesh axes that divide each dimension of an array: a name, several, or None; None for one that is on one
    device, or divided in another way."""
    spec = getattr(array.sharding, "spec", None)
    return None if spec is None else entries_of(divided_by_entries(spec), array.ndim)


def is_mesh(device: Any) -> bool:
    """Whether a device is a mesh of several."""
    return isinstance(device, Mesh)


def fed(value: Any, device: Any) -> Any:
    """As `placed`, for what a program on `device` takes: one on a mesh divides values itself."""
    return value if isinstance(device, Mesh) else placed(value, device)


def device_of(array: Any) -> Any:
    """Where an array is: its device, its mesh, or one of its devices where nothing here has made the mesh."""
    devices = array.sharding.device_set
    found = mesh_behind(array) if len(devices) > 1 else None
    return next(iter(devices)) if found is None else found
