"""Load and run a compiled program with jaxlib alone: the process of `dfc run` and `dfc serve`, which never imports jax.

jax takes 0.6 s to import, and jaxlib imports it with the first array wherever it is installed; `lean_client` bars it
from this process first. What touches jaxlib besides its client is in `dfc.backends.xla`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from dfc.backends import xla
from dfc.backends.xla import Array, Signature
from dfc.errors import FailedPrecondition, InvalidArgument


@dataclass(frozen=True, slots=True)
class Aval:
    """What jaxlib reads of JAX's type of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    weak_type: bool = False


_lock = threading.Lock()
_clients: dict[int, LeanClient] = {}


def lean_client(num_devices: int = 1) -> LeanClient:
    """This process's jax-free client of the CPU, made at the first call (about 20 ms) and then kept.

    From then on `import jax` fails in this process. FailedPrecondition if jax is imported already.
    """
    with _lock:
        if sys.modules.get("jax") is not None:
            raise FailedPrecondition(
                "a lean client needs a process that has not imported jax", hint="use dfc.backends.xla.load_program"
            )
        if num_devices not in _clients:
            sys.modules["jax"] = None  # type: ignore[assignment]  # what makes `import jax` raise ModuleNotFoundError
            client, sharding_type = _make_backend(num_devices)
            _clients[num_devices] = LeanClient(client, sharding_type)
        return _clients[num_devices]


class LeanClient:
    """Loads programs and holds their arguments on the CPU; may be used from any thread."""

    def __init__(self, client: Any, sharding_type: Any) -> None:
        self._client = client
        self.devices: list[Any] = list(client.local_devices())
        self._shardings = {device.id: sharding_type(device) for device in self.devices}

    def put(self, value: Array, *, device: Any = None, alias: bool = False) -> Any:
        """A buffer with the value, to pass to executables many times.

        With `alias` the buffer uses the memory of `value` itself where that is aligned to 64 bytes (weights mapped
        from a file): it must then never change, and the buffer must not be an argument that a program donates.
        """
        array = xla.uploadable(value)
        device = device or self.devices[0]
        aval = _aval(array.shape, array.dtype)
        return xla.upload(array, aval, self._shardings[device.id], device, alias=alias)

    def load_serialized(
        self, blob: bytes, signature: Signature, *, device: Any = None, name: str = "main"
    ) -> LeanExecutable:
        """The executable in a blob of `xla.serialize_executable`, about 1 ms. Compare stamps first (`stamp_mismatch`):
        loading does not, and it runs the blob's machine code. InvalidArgument or Internal for a damaged blob."""
        device = device or self.devices[0]
        return self._assemble(xla.load_blob(self._client, device, blob, name), signature, device, name, True)

    def compile_portable(
        self, artifact: bytes, signature: Signature, *, device: Any = None, name: str = "main"
    ) -> LeanExecutable:
        """Compile a StableHLO portable artifact, or take it from the disk cache. Raises XLA's errors as dfc's."""
        device = device or self.devices[0]
        loaded, blob = xla.compile_cached(self._client, device, artifact, artifact, name)
        return self._assemble(loaded, signature, device, name, blob is not None)

    def _assemble(self, loaded: Any, signature: Signature, device: Any, name: str, from_cache: bool) -> LeanExecutable:
        handlers = xla.result_handlers([_aval(*spec) for spec in signature.results], self._shardings[device.id])
        return LeanExecutable(self, loaded, handlers, signature, device, name, from_cache)


@lru_cache(maxsize=1024)
def _aval(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Aval:
    return Aval(shape, dtype)


@dataclass(frozen=True, eq=False)
class LeanExecutable:
    """A loaded program. Its arguments are NumPy arrays or buffers of `LeanClient.put`, mixed at will."""

    client: LeanClient
    loaded: Any = field(repr=False)
    handlers: list[Any] = field(repr=False)
    signature: Signature
    device: Any
    name: str = "main"
    from_cache: bool = False

    def __call__(self, arguments: Sequence[Any]) -> list[Array]:
        """Run on NumPy arrays or buffers; returns the results as NumPy arrays, read-only, once they are computed.
        InvalidArgument where count, shape or dtype differ from the signature's."""
        return [xla.to_host_view(result, self.name) for result in self.execute(arguments)]

    def execute(self, arguments: Sequence[Any]) -> list[Any]:
        """Run on NumPy arrays or buffers; returns buffers, not awaited. A buffer that the program donates is gone
        afterwards: pass on the one returned in its place."""
        inputs = self.signature.inputs
        if len(arguments) != len(inputs):
            raise InvalidArgument(f"expects {len(inputs)} arguments, got {len(arguments)}", op=self.name)
        xla.check_specs(arguments, inputs, self.name)
        put, device = self.client.put, self.device
        buffers = [put(each, device=device) if isinstance(each, np.ndarray) else each for each in arguments]
        return xla.execute(self.loaded, self.handlers, buffers, self.name)

    def to_numpy(self, buffer: Any) -> Array:
        """The value of a buffer that `execute` returned: read-only, may alias it; waits for it."""
        return xla.to_host_view(buffer, self.name)

    def put(self, value: Array, *, alias: bool = False) -> Any:
        """A buffer with the value on this program's device; see `LeanClient.put`."""
        return self.client.put(value, device=self.device, alias=alias)


def _make_backend(num_devices: int) -> tuple[Any, type[Any]]:
    """A CPU client made by jaxlib alone, and the type of sharding its arrays take. 20 ms.

    jaxlib 0.10.2: `batched_device_put` reads `_to_xla_hlo_sharding` and `memory_kind`, which jax's Python subclass of
    the sharding adds; there is no other way in that keeps bfloat16, float8 and int4 (DLPack of NumPy has none).
    """
    from jaxlib import _jax, xla_client

    class LeanSharding(_jax.SingleDeviceSharding):  # type: ignore[misc]  # jaxlib has no stubs
        """All of an array on one device."""

        memory_kind = None
        _replicated = xla_client.HloSharding.replicate()

        def _to_xla_hlo_sharding(self, _: int) -> Any:
            return self._replicated

    return xla_client.make_cpu_client(num_devices=num_devices), LeanSharding
