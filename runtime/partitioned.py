"""A step on several devices of this process: one graph a device, which hand values to each other.

Each device's graph is a step of its own, made once; a run starts all of them on one rendezvous, and one thread drives
them in turn: what takes time is done by the devices and by threads of their own.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dfc.backends import xla
from dfc.errors import DfcError, Internal
from dfc.ir.devices import parse_full
from dfc.ir.ops.function import Func
from dfc.passes.partition import device_of, inputs_of, outputs_of
from dfc.runtime.device_names import device_named
from dfc.runtime.dispatch import run_once
from dfc.runtime.executor import PATIENCE, Driving, Execution, look_at
from dfc.runtime.flow import Node, Values
from dfc.runtime.host import Binding
from dfc.runtime.participants import MEETINGS, LocalParticipant, StartStep, participant
from dfc.runtime.rendezvous import Receiving
from dfc.runtime.step import Step
from dfc.runtime.variables import Device, VariableState


class Part(NamedTuple):
    """A device's step, where and as what it is registered, and which of the whole's inputs and outputs its own are."""

    at: LocalParticipant
    number: int
    step: Step
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def registered(
        cls, func: Func, device: Device, variables: Mapping[str, VariableState], name: str, binding: Binding | None
    ) -> Part:
        at = participant(device)
        number = at.register(func, variables, name, binding)
        return cls(at, number, at.step(number), inputs_of(func), outputs_of(func))


class PartitionedStep:
    """The functions that `partition` has made of one, each compiled for its device. As `Step`."""

    is_direct = False
    direct = None
    device = None
    """Inputs may be anywhere: each is brought to where it is used."""

    def __init__(
        self,
        funcs: Sequence[Func],
        devices: Sequence[Device],
        variables: Mapping[str, VariableState],
        name: str,
        binding: Binding | None = None,
    ) -> None:
        self.name = name
        self.parts: list[Part] = []
        weakref.finalize(self, _forget, self.parts)
        for func, device in zip(funcs, devices, strict=True):
            self.parts.append(Part.registered(func, device, variables, name, binding))
        self.takers: dict[int, list[tuple[int, int]]] = {}
        """Of each input: the parts that take it, and as which of theirs."""
        self.givers: dict[int, tuple[int, int]] = {}
        """Of each output: the part that gives it, and as which of its own."""
        for number, part in enumerate(self.parts):
            for own, index in enumerate(part.inputs):
                self.takers.setdefault(index, []).append((number, own))
            for own, index in enumerate(part.outputs):
                self.givers[index] = (number, own)
        self.n_outputs = len(self.givers)
        self.output_devices: list[Device] = [self.parts[self.givers[i][0]].step.device for i in range(self.n_outputs)]
        self.kept = {i for i, takers in self.takers.items() for n, own in takers if own in self.parts[n].step.kept}
        self.variables = list(dict.fromkeys(name for part in self.parts for name in part.step.variables))

    def start(self) -> JointExecution:
        """A new run, to be fed and driven."""
        return JointExecution(self)

    def run(self, feeds: Values) -> Values:
        """One run; the outputs, each on the device that has made it, are not awaited."""
        found = run_once(self.start(), feeds)
        return [xla.placed(value, device) for value, device in zip(found, self.output_devices, strict=True)]

    def __call__(self, feeds: Values) -> Values:
        return self.run(feeds)

    recorded = run


def _forget(parts: Sequence[Part]) -> None:
    for part in parts:
        part.at.forget(part.number)


AnyStep = Step | PartitionedStep


def step_of(
    funcs: Sequence[Func],
    variables: Mapping[str, VariableState],
    name: str,
    binding: Binding,
    device: Device | None = None,
) -> AnyStep:
    """A function that has become these, compiled and bound to its variables, on this process's devices. What may be
    anywhere is on `device`, by default the first one."""
    devices = [device_named(parse_full(text)) if (text := device_of(func)) else device for func in funcs]
    if len(funcs) == 1:
        return Step(funcs[0], variables, devices[0], name, binding)
    return PartitionedStep(funcs, devices, variables, name, binding)


class JointExecution(Driving):
    """The runs of a step's parts, driven as one."""

    def __init__(self, step: PartitionedStep) -> None:
        super().__init__(step.name, step.n_outputs)
        self._step, self._number = step, MEETINGS.next()
        self._rendezvous = MEETINGS.of(self._number)
        self._members: list[Execution] = []
        try:
            for part in step.parts:
                self._members.append(part.at.start(StartStep(self._number, part.number).pack()))
        except BaseException:
            self.close()
            raise
        for member in self._members:
            member.on_arrival, member.begun = self._notify, 0.0
        self._missing = len(step.takers)
        """How many inputs have not come."""

    def feed(self, index: int, value: Any) -> None:
        takers = self._step.takers[index]
        self._missing -= 1
        for number, own in takers:
            member = self._members[number]
            member.feed(own, xla.brought(value, member.flow.device))

    def has(self, wanted: Sequence[int]) -> bool:
        held = all(member.has(()) for member in self._members)  # else something is held that others wait for
        return held and all(self._members[n].has((own,)) for n, own in map(self._step.givers.__getitem__, wanted))

    def outputs(self, wanted: Sequence[int]) -> Values:
        return [self._members[n].outputs((own,))[0] for n, own in map(self._step.givers.__getitem__, wanted)]

    @property
    def is_idle(self) -> bool:
        return all(member.is_idle for member in self._members)

    @property
    def is_waiting(self) -> bool:
        return any(member.is_waiting for member in self._members)

    @property
    def has_news(self) -> bool:
        return any(member.has_news for member in self._members)

    def waiting_for(self) -> list[Node]:
        return [node for member in self._members for node in member.waiting_for()]

    def advance(self) -> None:
        members = self._members
        for member in members:
            member.deadline = self.deadline
        while self.error is None:
            for member in members:
                member.proceed()
                if member.error is not None:
                    self.stop(member.error)
                    return
            if self.has_news:
                continue
            unsure = [member for member in members if member.is_unsure]
            if not unsure:
                self._require_progress()
                return
            if not look_at(members, PATIENCE):
                for member in unsure:
                    member.wait_in_threads()

    def _require_progress(self) -> None:
        """Stop with Internal where all that is under way waits for the others, which would be for ever."""
        waits = [attempt for member in self._members for attempt in member.attempts]
        if waits and self._missing == 0 and all(isinstance(attempt, Receiving) for attempt in waits):
            listed = ", ".join(map(str, self.waiting_for()[:5]))
            self.stop(Internal(f"the devices of the step wait for each other: {listed}", op=self.name))

    def stop(self, error: DfcError) -> None:
        self.error = error
        self._rendezvous.abort(error)
        for member in self._members:
            if member.error is None:
                member.stop(error)

    def _withdraw(self, error: DfcError) -> None:
        for member in self._members:
            member.cancel(error)

    def close(self) -> None:
        super().close()
        MEETINGS.close(self._number)
        for member in self._members:
            member.close()
