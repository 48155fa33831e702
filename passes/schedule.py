"""Placing by cost: a simulation of one step that gives each group of ops to the device that finishes it first."""

from __future__ import annotations

import heapq

from xdsl.ir import Operation, SSAValue

from dfc.ir.devices import DeviceName
from dfc.ir.ops.function import Func, Return
from dfc.ir.ops.state import Read, Variable
from dfc.passes.cheap import CHEAP
from dfc.passes.colocation import Groups
from dfc.passes.costs import Costs, Times
from dfc.passes.expected import Expected, expected_of
from dfc.passes.homes import is_replicated

MARGIN = 0.05
"""How much less a step on several devices must be expected to take than on one: what is expected may be wrong."""

DEARER = (1, 4, 16)
"""How many times what they cost transfers are taken to cost, in tries."""


def schedule(groups: Groups, func: Func, costs: Costs) -> Expected:
    """Give groups their devices, and say what is expected of the step.

    List scheduling as in HEFT (Topcuoglu et al. 2002): of the ops whose inputs are there, the one with the longest way
    to the end comes first; it goes where it is done first, values that it needs brought there included. The first op of
    a group to be placed decides for all. An op that costs less than to bring what it takes stays where some of that is.
    What takes variables and inputs of the function alone, and costs next to nothing, goes where it is used first.

    Since this looks no step ahead, and knows nothing of the programs that ops become, the same with dearer transfers is
    tried too, and what is as far as possible on one device, for each. Of these the simulation of those programs takes
    one.
    """
    ops = [op for op in func.block.ops if not isinstance(op, Return) and not is_replicated(op)]
    times = Times(costs, groups.names)
    step = _Step(groups, ops, costs, times)
    tried = [_Run(step, prefer) for prefer in groups.devices]
    tried += [_Run(_Step(groups, ops, costs.with_dearer_cuts(by), times), None) for by in DEARER]
    found = [(expected_of(groups, ops, run.devices, costs, times), run) for run in tried]
    expected, best = min(found, key=lambda pair: pair[0].seconds * (1 + MARGIN * (len(pair[0].busy) > 1)))
    for op in ops:
        groups.fix(op, best.devices[id(op)])
    return expected


class _Step:
    """What is the same in all runs: the ops in the order in which they are placed, and what is known of each."""

    def __init__(self, groups: Groups, ops: list[Operation], costs: Costs, times: Times) -> None:
        self.groups, self.costs, self.times = groups, costs, times
        self.inputs = {id(op): [v for v in dict.fromkeys(op.operands) if _comes(v)] for op in ops}
        first = groups.devices[0]
        self.seconds = {id(op): times.on(op, first) for op in ops}
        self.feasible = {id(groups.of(op)): groups.feasible(op) for op in ops}
        self.light = {id(op) for op in ops if self.seconds[id(op)] < costs.island + self._bringing(op)}
        """Those that cost less than a program of their own that gets what they take from another device."""
        self.order = self._in_order(ops)

    def _bringing(self, op: Operation) -> float:
        return self.costs.transfer(sum(map(self.costs.sent, self.inputs[id(op)])))

    def _in_order(self, ops: list[Operation]) -> list[Operation]:
        """The ops, those with the longest way to the end first, each after what it needs."""
        ranks = self._ranks(ops)
        position = {id(op): i for i, op in enumerate(ops)}
        users: dict[int, list[Operation]] = {id(op): [] for op in ops}
        waiting: dict[int, int] = {}
        for op in ops:
            owners = {id(v.owner) for v in self.inputs[id(op)]}
            makers = {maker for maker in owners if position.get(maker, len(ops)) < position[id(op)]}
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

    def _ranks(self, ops: list[Operation]) -> dict[int, float]:
        """The time from the start of each op to the end of the step, transfers included, on average."""
        ranks = {id(op): 0.0 for op in ops}
        for op in reversed(ops):
            total = ranks[id(op)] = ranks[id(op)] + self.seconds[id(op)]
            for value in self.inputs[id(op)]:
                if id(value.owner) in ranks:
                    way = total + self.costs.transfer(self.costs.sent(value)) / 2
                    ranks[id(value.owner)] = max(ranks[id(value.owner)], way)
        return ranks


def _comes(value: SSAValue) -> bool:
    """Whether the value is some op's, and not one that each device has for itself."""
    return isinstance(value.owner, Operation) and not is_replicated(value.owner)


class _Run:
    """Ops placed one by one, with all that can be on `prefer` there, if that is given. `devices` is where each is."""

    def __init__(self, step: _Step, prefer: DeviceName | None) -> None:
        self._step, self._groups, self._prefer = step, step.groups, prefer
        self._fixed: dict[int, DeviceName] = {}  # of groups
        self._free: dict[DeviceName, float] = {}
        self._done: dict[int, float] = {}  # of ops: when they were
        self._moved: set[tuple[SSAValue, DeviceName]] = set()
        self._open: set[int] = set()  # ops that go where they are used first
        for op in step.order:
            if not self._stays_open(op):
                self._place(op, self._choice(op))
        for op in step.order:
            if id(op) in self._open:
                self._place(op, self._choice(op))
        self.devices = {id(op): self._fixed[id(step.groups.of(op))] for op in step.order}

    def _stays_open(self, op: Operation) -> bool:
        light = isinstance(op, Variable | Read) or type(op) in CHEAP
        owners = (v.owner for v in self._step.inputs[id(op)])
        if self._at(op) is None and light and all(id(owner) in self._open for owner in owners):
            self._open.add(id(op))
            return True
        return False

    def _at(self, op: Operation) -> DeviceName | None:
        return self._fixed.get(id(self._groups.of(op)))

    def _choices(self, op: Operation) -> list[DeviceName]:
        group = id(self._groups.of(op))
        choices = [self._fixed[group]] if group in self._fixed else self._step.feasible[group]
        if self._prefer in choices:
            return [self._prefer]
        if id(op) in self._step.light:
            near = {self._at(v.owner) for v in self._step.inputs[id(op)] if isinstance(v.owner, Operation)}
            return [device for device in choices if device in near] or choices
        return choices

    def _choice(self, op: Operation) -> DeviceName:
        """Where the op is done first."""
        return min(((self._finish(op, device), i, device) for i, device in enumerate(self._choices(op))))[2]

    def _finish(self, op: Operation, device: DeviceName) -> float:
        """When the op would be done there. What has to be brought leaves one after the other when all of it is there,
        as programs have it."""
        ready = bringing = 0.0
        for value in self._step.inputs[id(op)]:
            if (done := self._done.get(id(value.owner))) is not None:
                ready = max(ready, done)
                if self._must_move(value, device):
                    bringing += self._step.costs.transfer(self._step.costs.sent(value))
        return max(ready + bringing, self._free.get(device, 0.0)) + self._step.times.on(op, device)

    def _must_move(self, value: SSAValue, device: DeviceName) -> bool:
        owner = value.owner
        return isinstance(owner, Operation) and self._at(owner) != device and (value, device) not in self._moved

    def _place(self, op: Operation, device: DeviceName) -> None:
        """The op's group is here from now on, and so is what goes where it is used first."""
        self._open.discard(id(op))
        for value in self._step.inputs[id(op)]:
            owner = value.owner
            if id(owner) in self._open and isinstance(owner, Operation):
                choices = self._choices(owner)
                self._place(owner, device if device in choices else choices[0])
        finish = self._finish(op, device)
        self._moved.update((value, device) for value in self._step.inputs[id(op)])
        self._fixed[id(self._groups.of(op))] = device
        self._free[device] = self._done[id(op)] = finish
