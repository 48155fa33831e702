"""What a placed step will take: a simulation of the programs that its ops become, and of the transfers between them."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.ir import Operation, SSAValue

from dfc.ir.devices import DeviceName
from dfc.ir.op import Op
from dfc.ir.ops.state import Group
from dfc.ir.types import CONTROL
from dfc.passes.colocation import Groups
from dfc.passes.compilable import STRUCTURE, class_compilable
from dfc.passes.costs import FREE, Costs, Times
from dfc.passes.urgency import waves

LEVEL = 1 << 20
"""What a transfer adds to a stage; alternations of device and host count less."""


@dataclass
class Expected:
    """What the simulation expects of a step: its time, how long each device works, what moves, how many programs there
    are, and the device of each op by the op's name."""

    seconds: float = 0.0
    busy: dict[str, float] = field(default_factory=dict)
    transfers: int = 0
    moved: int = 0  # bytes
    islands: int = 0
    devices: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        work = ", ".join(f"{device} {seconds * 1e3:.3f} ms" for device, seconds in sorted(self.busy.items()))
        moved = f"{self.transfers} transfers, {self.moved:,.0f} bytes"
        return f"expected {self.seconds * 1e3:.3f} ms a step; at work: {work}; {moved}"


@dataclass(eq=False)
class _Unit:
    """The ops of an island to be, or one op of the host."""

    device: DeviceName
    position: int
    seconds: float = 0.0
    works: bool = False
    """Whether it is more than variables and tokens."""
    before: dict[_Unit, float] = field(default_factory=dict)
    """What it needs of others, and how long after they are done that is there."""
    users: list[_Unit] = field(default_factory=list)


_Key = tuple[DeviceName, int, int, int]
"""What ops of one island have in common, as in `passes/cluster.py`: the device, the stage, what they wait for, and
their wave."""


def expected_of(
    groups: Groups, ops: Sequence[Operation], devices: Mapping[int, DeviceName], costs: Costs, times: Times
) -> Expected:
    """What the step is expected to take if the ops, each after what it needs, are on these devices, by id.

    An island begins when all that it takes is there and its device has nothing before it; what it gives leaves when all
    of it is done. That is where a cut costs more than a transfer.
    """
    units = _Units(ops, devices, costs, times)
    expected = units.expected
    expected.seconds = _finish(units.made) + costs.part * (len(expected.busy) - 1 if expected.busy else 0)
    expected.islands = sum(unit.works for unit in units.islands.values())
    expected.devices = {groups.names[id(op)]: str(devices[id(op)]) for op in ops}
    return expected


class _Units:
    """The islands and the ops of the host of a placed step."""

    def __init__(self, ops: Sequence[Operation], devices: Mapping[int, DeviceName], costs: Costs, times: Times) -> None:
        self._devices, self._costs = devices, costs
        self._inputs = {id(op): [v for v in dict.fromkeys(op.operands) if id(v.owner) in devices] for op in ops}
        self._keys: dict[int, _Key] = {}
        self._hosts = {id(op) for op in ops if _is_hosts(op)}
        self._apart = self._hosts | {id(op) for op in ops if isinstance(op, Group)}  # in no island
        self._seconds = {id(op): times.on(op, devices[id(op)]) for op in ops}
        self.made: list[_Unit] = []
        self.islands: dict[_Key, _Unit] = {}
        self.expected = Expected()
        for op in ops:
            self._keys[id(op)] = self._key(op)
        later = self._waves(ops)
        self._unit = {id(op): self._unit_of(op, later.get(id(op), 0)) for op in ops}
        self._there: dict[tuple[_Unit, DeviceName], float] = {}  # how long what a unit sends to a device takes
        self._sent: dict[tuple[SSAValue, DeviceName], float] = {}
        for op in ops:
            self._connect(op)

    def _key(self, op: Operation) -> _Key:
        device, stage, waits = self._devices[id(op)], 0, 0
        hosts = id(op) in self._hosts
        for value in self._inputs[id(op)]:
            owner = value.owner
            if isinstance(owner, Operation) and id(owner) in self._keys:
                at, reached, bits, _ = self._keys[id(owner)]
                reached += id(owner) in self._hosts and not hosts
                stage = max(stage, reached if at == device else (reached // LEVEL + 1) * LEVEL)
                waits |= bits
        if hosts and isinstance(op, Op) and op.WAITS:
            waits |= 1 << len(self._keys)
        return device, stage, waits, 0

    def _waves(self, ops: Sequence[Operation]) -> dict[int, int]:
        """In which of several programs each op is, since other devices wait for what is made of some."""
        sent: dict[tuple[SSAValue, DeviceName], tuple[Operation, int]] = {}
        for op in ops:
            for value in self._inputs[id(op)]:
                owner, device = value.owner, self._devices[id(op)]
                assert isinstance(owner, Operation)
                if self._devices[id(owner)] != device and value.type is not CONTROL:
                    sent[value, device] = (owner, self._keys[id(owner)][1])
        keys = {number: key for number, key in self._keys.items() if number not in self._apart}
        seconds = self._seconds
        return waves(ops, keys, self._behind, list(sent.values()), lambda op: seconds[id(op)], self._costs.island)

    def _behind(self, op: Operation) -> list[Operation]:
        return [v.owner for v in self._inputs[id(op)] if isinstance(v.owner, Operation)]

    def _unit_of(self, op: Operation, wave: int) -> _Unit:
        device, stage, waits, _ = self._keys[id(op)]
        key = (device, stage, waits, wave)
        unit = None if id(op) in self._apart else self.islands.get(key)
        if unit is None:
            unit = _Unit(device, len(self.made))
            self.made.append(unit)
            if id(op) not in self._apart:
                self.islands[key] = unit
        if not unit.works and not isinstance(op, FREE):
            unit.works = True
            unit.seconds += 0.0 if id(op) in self._hosts else self._costs.island
        unit.seconds += self._seconds[id(op)]
        busy = self.expected.busy
        busy[str(device)] = busy.get(str(device), 0.0) + self._seconds[id(op)]
        return unit

    def _connect(self, op: Operation) -> None:
        unit = self._unit[id(op)]
        for value in self._inputs[id(op)]:
            source = self._unit[id(value.owner)]
            if source is not unit:
                delay = self._delay(value, source, unit.device)
                if source not in unit.before:
                    source.users.append(unit)
                unit.before[source] = max(unit.before.get(source, 0.0), delay)

    def _delay(self, value: SSAValue, source: _Unit, device: DeviceName) -> float:
        """How long after its unit is done the value is on the device: what one sends goes one after the other."""
        if source.device == device:
            return 0.0
        if (value, device) not in self._sent:
            sent = self._costs.sent(value)
            total = self._there.get((source, device), 0.0) + self._costs.transfer(sent)
            self._there[source, device] = self._sent[value, device] = total
            self.expected.transfers += 1
            self.expected.moved += sent
        return self._sent[value, device]


def _is_hosts(op: Operation) -> bool:
    """Whether the op is work for the host."""
    return not isinstance(op, STRUCTURE) and not class_compilable(type(op))


def _finish(units: Sequence[_Unit]) -> float:
    """When all are done, each device taking up what is there first."""
    waiting = {id(unit): len(unit.before) for unit in units}
    ready = [(0.0, unit.position, unit) for unit in units if not unit.before]
    heapq.heapify(ready)
    free: dict[DeviceName, float] = {}
    done: dict[int, float] = {}
    while ready:
        start, _, unit = heapq.heappop(ready)
        finish = max(start, free.get(unit.device, 0.0)) + unit.seconds
        free[unit.device] = done[id(unit)] = finish
        for user in unit.users:
            waiting[id(user)] -= 1
            if not waiting[id(user)]:
                there = max(done[id(source)] + delay for source, delay in user.before.items())
                heapq.heappush(ready, (there, user.position, user))
    return max(done.values(), default=0.0)
