"""Placing by cost: a simulation of one step that gives each group of ops to the device that finishes it first."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from xdsl.ir import Block, Operation, SSAValue

from dfc.ir.devices import DeviceName
from dfc.ir.dims import Dim
from dfc.ir.ops.control import ControlFlow
from dfc.ir.ops.function import Func, Island, Return, Yield
from dfc.ir.ops.linalg import DotGeneral
from dfc.ir.types import is_tensor, spec_of
from dfc.passes.colocation import Groups, nodes_of

PRODUCTS = ("df.dot_general", "df.convolution")


@dataclass(frozen=True)
class Costs:
    """What work and transfers cost, in seconds, bytes and floating-point operations.

    `measured` gives the seconds of ops by name, which count before estimates; `speed` how fast a type of device is,
    against what the other figures say.
    """

    flops: float = 2e10
    memory: float = 1e10  # bytes a second
    link: float = 5e9  # bytes a second between two devices
    latency: float = 4e-5  # of one transfer (two CPU devices of a process: 41 us)
    overhead: float = 1e-6  # of one op
    measured: Mapping[str, float] = field(default_factory=dict)
    speed: Mapping[str, float] = field(default_factory=dict)

    def seconds(self, op: Operation, name: str, device: DeviceName) -> float:
        """The time of one op on the device; of one iteration, for a loop."""
        if name in self.measured:
            return self.measured[name]
        return self._estimate(op) / self.speed.get(device.kind or "", 1.0)

    def _estimate(self, op: Operation) -> float:
        if isinstance(op, ControlFlow):
            return sum(self._estimate(inner) for block in op.blocks for inner in nodes_of(block))
        if isinstance(op, Island):
            return self.overhead + sum(self._estimate(inner) for inner in op.block.ops if not isinstance(inner, Yield))
        moved = sum(bytes_of(v) for v in (*op.operands, *op.results))
        return self.overhead + moved / self.memory + _products(op) / self.flops

    def transfer(self, nbytes: float) -> float:
        """The time to bring a value from one device to another."""
        return self.latency + nbytes / self.link


def bytes_of(value: SSAValue) -> float:
    """The size of a tensor; a size that is not known counts as 1."""
    if not is_tensor(value.type):
        return 0
    spec = spec_of(value.type)
    return _known(spec.shape) * max(spec.dtype.bits // 8, 1)


def _elements(value: SSAValue) -> float:
    return _known(spec_of(value.type).shape)


def _products(op: Operation) -> float:
    """Multiplications and additions of a product of matrices or a convolution."""
    if op.name not in PRODUCTS:
        return 0
    left, right, out = op.operands[0], op.operands[1], op.results[0]
    if isinstance(op, DotGeneral):
        sizes = spec_of(left.type).shape
        return 2 * _elements(out) * _known(sizes[axis] for axis in op.lhs_contracting.data)
    shape = spec_of(right.type).shape
    return 2 * _elements(out) * _elements(right) / max((d for d in shape if isinstance(d, int)), default=1)


def _known(dims: Iterable[Dim]) -> float:
    """The product of sizes; one that is not known counts as 1."""
    return float(math.prod(d for d in dims if isinstance(d, int)))


@dataclass
class Expected:
    """What the simulation expects of a step: its time, how long each device works, and what moves."""

    seconds: float = 0.0
    busy: dict[DeviceName, float] = field(default_factory=dict)
    transfers: int = 0
    moved: float = 0.0  # bytes

    def __str__(self) -> str:
        work = ", ".join(f"{d} {s * 1e3:.3f} ms" for d, s in sorted(self.busy.items(), key=lambda item: str(item[0])))
        moved = f"{self.transfers} transfers, {self.moved:,.0f} bytes"
        return f"expected {self.seconds * 1e3:.3f} ms a step; at work: {work}; {moved}"


def schedule(groups: Groups, func: Func, costs: Costs) -> Expected:
    """Give each group a device, and say what is expected.

    List scheduling as in HEFT (Topcuoglu et al. 2002): of the ops whose inputs are there, the one with the longest way
    to the end comes first; it goes where it is done first, values that it needs brought there included. The first op of
    a group to be placed decides for all. Since this looks no step ahead, what is as far as possible on one device is
    simulated too, for each, and the best is taken.
    """
    ops = [op for op in func.block.ops if not isinstance(op, Return)]
    order = _in_order(groups, ops, costs)
    feasible = {id(groups.of(op)): groups.feasible(op) for op in ops}
    runs = [_Run(groups, costs, feasible, order)]
    runs += [_Run(groups, costs, feasible, order, prefer) for prefer in groups.devices]
    best = min(runs, key=lambda run: run.expected.seconds)
    for op in ops:
        groups.fix(op, best.device(op))
    return best.expected


def _in_order(groups: Groups, ops: list[Operation], costs: Costs) -> list[Operation]:
    """The ops, those with the longest way to the end first, each after what it needs."""
    inputs = {id(op): _inputs(op) for op in ops}
    ranks = _ranks(groups, ops, inputs, costs)
    position = {id(op): i for i, op in enumerate(ops)}
    users: dict[int, list[Operation]] = {id(op): [] for op in ops}
    waiting: dict[int, int] = {}
    for op in ops:
        makers = {id(v.owner) for v in inputs[id(op)] if position.get(id(v.owner), len(ops)) < position[id(op)]}
        waiting[id(op)] = len(makers)
        for maker in makers:
            users[maker].append(op)
    ready = [(-ranks[id(op)], position[id(op)], op) for op in ops if not waiting[id(op)]]
    heapq.heapify(ready)
    order: list[Operation] = []
    while ready:
        op = heapq.heappop(ready)[2]
        order.append(op)
        for user in users[id(op)]:
            waiting[id(user)] -= 1
            if not waiting[id(user)]:
                heapq.heappush(ready, (-ranks[id(user)], position[id(user)], user))
    return order


def _inputs(op: Operation) -> list[SSAValue]:
    return list(dict.fromkeys(op.operands))


def _ranks(
    groups: Groups, ops: list[Operation], inputs: Mapping[int, list[SSAValue]], costs: Costs
) -> dict[int, float]:
    """The time from the start of each op to the end of the step, transfers included, on average."""
    ranks = {id(op): 0.0 for op in ops}
    for op in reversed(ops):
        own = costs.seconds(op, groups.names[id(op)], groups.devices[0])
        total = ranks[id(op)] = ranks[id(op)] + own
        for value in inputs[id(op)]:
            if id(value.owner) in ranks:
                way = total + costs.transfer(bytes_of(value)) / 2
                ranks[id(value.owner)] = max(ranks[id(value.owner)], way)
    return ranks


class _Run:
    """A simulated step, with all that can be on `prefer` there, if that is given."""

    def __init__(
        self,
        groups: Groups,
        costs: Costs,
        feasible: Mapping[int, list[DeviceName]],
        order: list[Operation],
        prefer: DeviceName | None = None,
    ) -> None:
        self.groups, self.costs, self.feasible, self.prefer = groups, costs, feasible, prefer
        self.fixed: dict[int, DeviceName] = {}  # of groups
        self.free: dict[DeviceName, float] = {}
        self.done: dict[int, float] = {}  # of ops: when they were
        self.at: dict[tuple[SSAValue, DeviceName], float] = {}  # when a value is on a device that it was brought to
        self.expected = Expected()
        for op in order:
            self._take(op, _inputs(op))

    def device(self, op: Operation) -> DeviceName:
        """Where the op's group is."""
        return self.fixed[id(self.groups.of(op))]

    def _take(self, op: Operation, inputs: list[SSAValue]) -> None:
        """Place the op's group, unless it is, and run the op there."""
        group, name = id(self.groups.of(op)), self.groups.names[id(op)]
        choices = [self.fixed[group]] if group in self.fixed else self.feasible[group]
        if self.prefer in choices:
            choices = [self.prefer]
        finish, device = min(((self._finish(op, name, inputs, d), d) for d in choices), key=lambda pair: pair[0])
        self.fixed[group] = device
        seconds = self.costs.seconds(op, name, device)
        for value in inputs:
            if self._must_move(value, device) and (value, device) not in self.at:
                self.at[value, device] = self._arrival(value, device)
                self.expected.transfers += 1
                self.expected.moved += bytes_of(value)
        self.free[device] = self.done[id(op)] = finish
        self.expected.busy[device] = self.expected.busy.get(device, 0.0) + seconds
        self.expected.seconds = max(self.expected.seconds, finish)

    def _finish(self, op: Operation, name: str, inputs: list[SSAValue], device: DeviceName) -> float:
        start = max((self._arrival(v, device) for v in inputs), default=0.0)
        return max(start, self.free.get(device, 0.0)) + self.costs.seconds(op, name, device)

    def _arrival(self, value: SSAValue, device: DeviceName) -> float:
        known = self.at.get((value, device))
        if known is not None:
            return known
        made = self.done.get(id(value.owner), 0.0)
        return made + self.costs.transfer(bytes_of(value)) if self._must_move(value, device) else made

    def _must_move(self, value: SSAValue, device: DeviceName) -> bool:
        owner = value.owner
        if isinstance(owner, Block | Yield) or id(owner) not in self.done:
            return False
        return self.device(owner) != device
