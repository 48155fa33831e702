"""The devices that take part in steps on several: each keeps its part of a graph, and a small message starts a run.

Parts are registered once, when a step is compiled. What starts a run then says which part and which run, and nothing
of the graph; values go by the rendezvous of the run. Between tasks the same message goes over a wire.
"""

from __future__ import annotations

import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from itertools import count
from typing import NamedTuple

from dfc.errors import InvalidArgument, NotFound
from dfc.ir.ops.function import Func
from dfc.runtime.executor import Execution
from dfc.runtime.host import Binding
from dfc.runtime.rendezvous import LocalRendezvous
from dfc.runtime.step import Step
from dfc.runtime.variables import Device, VariableState

_FORMAT = struct.Struct("<QQ")


class StartStep(NamedTuple):
    """The message that starts a run on a participant: which run, and which of the parts registered there."""

    step: int
    part: int

    def pack(self) -> bytes:
        """As bytes, always as many."""
        return _FORMAT.pack(*self)

    @classmethod
    def unpack(cls, message: bytes) -> StartStep:
        """What the bytes say. Raises InvalidArgument for others than `pack` gives."""
        if len(message) != _FORMAT.size:
            raise InvalidArgument(f"a message that starts a step has {_FORMAT.size} bytes, got {len(message)}")
        return cls(*_FORMAT.unpack(message))


class Participant(ABC):
    """What the runtime asks of a device that takes part: the same in a process and between tasks."""

    @abstractmethod
    def register(self, func: Func, variables: Mapping[str, VariableState], name: str, binding: Binding | None) -> int:
        """Take over a device's part of a graph: compile it and bind it to its variables. The number by which runs of
        it are asked for."""

    @abstractmethod
    def forget(self, part: int) -> None:
        """Let go of a part."""

    @abstractmethod
    def start(self, message: bytes) -> Execution:
        """A run, as a packed `StartStep` asks for it, to be fed and driven. Raises NotFound for a part that is not
        registered."""


class Meetings:
    """The rendezvous of the runs under way in this process, by the numbers of the runs. There is no lock, since a
    finaliser may close a run in the middle of anything."""

    def __init__(self) -> None:
        self._open: dict[int, LocalRendezvous] = {}
        self._numbers = count(1)

    def next(self) -> int:
        """A number that no run has had."""
        return next(self._numbers)

    def of(self, step: int) -> LocalRendezvous:
        """The rendezvous of a run; who asks first opens it."""
        return self._open.get(step) or self._open.setdefault(step, LocalRendezvous())

    def close(self, step: int) -> None:
        """The run is over."""
        self._open.pop(step, None)

    def __len__(self) -> int:
        return len(self._open)


MEETINGS = Meetings()


class LocalParticipant(Participant):
    """A device of this process."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.messages = self.received = self.registered = 0
        """How many messages came, of how many bytes; and how many parts were ever registered."""
        self._steps: dict[int, Step] = {}
        self._lock = threading.Lock()

    def register(
        self, func: Func, variables: Mapping[str, VariableState], name: str, binding: Binding | None = None
    ) -> int:
        step = Step(func, variables, self.device, name, binding)
        with self._lock:
            self.registered += 1
            self._steps[self.registered] = step
            return self.registered

    def forget(self, part: int) -> None:
        self._steps.pop(part, None)

    def step(self, part: int) -> Step:
        """A registered part. Raises NotFound."""
        found = self._steps.get(part)
        if found is None:
            raise NotFound(f"no part {part} of a graph is registered on {self.device}")
        return found

    def start(self, message: bytes) -> Execution:
        asked = StartStep.unpack(message)
        self.messages += 1
        self.received += len(message)
        return self.step(asked.part).execution(MEETINGS.of(asked.step))

    def __len__(self) -> int:
        """How many parts are registered."""
        return len(self._steps)


@cache
def participant(device: Device) -> LocalParticipant:
    """The one of a device of this process."""
    return LocalParticipant(device)
