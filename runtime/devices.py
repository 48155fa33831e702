"""What the runtime needs of a device: memory, copies to and from the host, and running a kernel.

`PjrtDevice` is every device that PJRT knows: CPU, GPU, TPU. Another kind of device is a subclass of `DeviceInterface`
with the same three methods; `DeviceStep` runs a model on any.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfc.backends import reference, xla
from dfc.errors import InvalidArgument, NotFound, Unimplemented
from dfc.ir.devices import DeviceName, listed
from dfc.ir.ops.function import Func, Island
from dfc.runtime.device_names import local_devices
from dfc.runtime.plan import ProgramCall
from dfc.runtime.planning import emitted, plan_of
from dfc.runtime.programs import compile_module

Array = NDArray[Any]
Buffer = Any
"""Memory of a device, as the device has it."""
ArraySpec = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and dtype."""


class Kernel:
    """A program for a device, in three forms: df (`island`), StableHLO (`module`) and NumPy (`evaluate`).

    It takes the values of the variables that it uses, those that it writes first, then its inputs, and gives the new
    values of those written, then its results.
    """

    def __init__(self, func: Func, island: Island, call: ProgramCall, name: str) -> None:
        self._func, self.island, self.call, self.name = func, island, call, name

    @property
    def inputs(self) -> Sequence[ArraySpec]:
        return self.call.signature.inputs

    @property
    def outputs(self) -> Sequence[ArraySpec]:
        return self.call.signature.results

    @cached_property
    def module(self) -> Any:
        """The program as StableHLO."""
        return emitted([self.island], self.name)[0]

    def evaluate(self, arguments: Sequence[Array]) -> list[Array]:
        """The outputs, computed by the meaning of each op."""
        call, island = self.call, self.island
        written = list(island.written.data)
        order = [*written, *(i for i in range(len(call.state)) if i not in written)]
        state: list[Any] = [None] * len(order)
        for index, value in zip(order, arguments, strict=False):
            state[index] = value
        yielded = reference.run_island(self._func, island, [*arguments[len(order) :], *state])
        n_results = len(yielded) - call.n_written
        return [*yielded[n_results:], *yielded[:n_results]]


class DeviceInterface(ABC):
    """A device. These three methods are all that the runtime asks of one."""

    name: DeviceName

    @abstractmethod
    def allocate(self, spec: ArraySpec, *, host: bool = False) -> Buffer:
        """Memory for an array of this shape and dtype, of any content: the device's, or the host's that the device can
        reach."""

    @abstractmethod
    def copy(self, source: Any, target: Any) -> Any:
        """Copy from the host to the device or back: one of the two is a NumPy array. What holds the copy: `target`, or
        memory that takes its place."""

    @abstractmethod
    def issue(self, kernel: Kernel, inputs: Sequence[Buffer]) -> list[Buffer]:
        """Start the kernel; its outputs, for which to wait is to copy them to the host."""


class PjrtDevice(DeviceInterface):
    """A device of PJRT: CPU, GPU or TPU."""

    def __init__(self, name: DeviceName, device: Any) -> None:
        self.name, self.device = name, device
        self._programs: dict[int, tuple[Kernel, Any]] = {}

    def allocate(self, spec: ArraySpec, *, host: bool = False) -> Buffer:
        zeros = np.zeros(*spec)
        return zeros if host else xla.to_device(zeros, self.device)

    def copy(self, source: Any, target: Any) -> Any:
        if isinstance(target, np.ndarray):
            np.copyto(target, xla.to_numpy(source))
            return target
        return xla.to_device(source, self.device)

    def issue(self, kernel: Kernel, inputs: Sequence[Buffer]) -> list[Buffer]:
        _, program = self._programs.get(id(kernel)) or self._compiled(kernel)
        n = len(kernel.call.state)
        state, outputs = program(list(inputs[:n]), list(inputs[n:]))
        return [*state, *outputs]

    def _compiled(self, kernel: Kernel) -> tuple[Kernel, Any]:
        program = compile_module(kernel.module, kernel.call.signature, self.device, kernel.name)
        return self._programs.setdefault(id(kernel), (kernel, program))


def device(name: DeviceName) -> PjrtDevice:
    """This process's device of that name. Raises NotFound."""
    found = local_devices().get(name)
    if found is None:
        raise NotFound(f"there is no device {name} here, only {listed(local_devices())}")
    return PjrtDevice(name, found)


class DeviceStep:
    """A function at phase clustered, of one island and nothing else, on any device; its variables live there.

    Raises Unimplemented for a function with work for the host, or with sizes that are not known.
    """

    def __init__(self, func: Func, device: DeviceInterface, variables: dict[str, Array]) -> None:
        self.device, self.name = device, func.sym_name.data
        plan, islands, _ = plan_of(func)
        calls = list(plan.calls)
        if len(calls) != 1 or not isinstance(calls[0], ProgramCall):
            raise Unimplemented(
                f"a step on a device by itself is one program of known sizes, got {len(calls)} calls", op=self.name
            )
        self._call = calls[0]
        self._outputs = [number - plan.n_inputs for number in plan.outputs]  # below 0: an input as it is
        self.kernel = Kernel(func, islands[0], self._call, self.name)
        self.state = {
            name: device.copy(variables[name], device.allocate(spec))
            for name, spec in zip(self._call.state, self.kernel.inputs, strict=False)
        }

    def __call__(self, *feeds: Array) -> list[Array]:
        """One step; raises InvalidArgument for feeds of another shape or dtype."""
        specs = self.kernel.inputs[len(self._call.state) :]
        given = [feeds[number] for number in self._call.inputs]
        for value, spec in zip(given, specs, strict=True):
            if (value.shape, value.dtype) != spec:
                raise InvalidArgument(f"an input must be {spec}, got {(value.shape, value.dtype)}", op=self.name)
        buffers = [self.device.copy(v, self.device.allocate(s)) for v, s in zip(given, specs, strict=True)]
        done = self.device.issue(self.kernel, [*(self.state[name] for name in self._call.state), *buffers])
        n = self._call.n_written
        self.state.update(zip(self._call.state[:n], done[:n], strict=True))
        results, into = done[n:], self.kernel.outputs[n:]
        arrays = [self.device.copy(r, self.device.allocate(s, host=True)) for r, s in zip(results, into, strict=True)]
        return [arrays[index] if index >= 0 else feeds[index].copy() for index in self._outputs]

    def value(self, variable: str) -> Array:
        """A copy of the variable's value."""
        spec = self.kernel.inputs[self._call.state.index(variable)]
        found: Array = self.device.copy(self.state[variable], self.device.allocate(spec, host=True))
        return found
