"""When what happens in a step on several devices, by estimates, and what each thing waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from xdsl.ir import BlockArgument, Operation, SSAValue

from dfc.ir.cycles import is_from_later
from dfc.ir.devices import parse_full
from dfc.ir.op import Op
from dfc.ir.ops import dataflow as fl
from dfc.ir.ops.function import Func, Island, Return
from dfc.ir.ops.transfer import Recv, Send, Transfer
from dfc.passes.costs import Costs, bytes_of
from dfc.passes.frames import ROOT, Frame, Frames, has_frames
from dfc.passes.levels import levels_in
from dfc.passes.partition import device_of, inputs_of


@dataclass(eq=False)
class Entry:
    """An op in the timetable."""

    op: Operation
    part: int
    index: int
    """Its place in the part's block."""
    level: int
    frame: Frame
    seconds: float
    before: list[Entry] = field(default_factory=list)
    """What must have happened."""
    after: list[Entry] = field(default_factory=list)
    earliest: float = 0.0
    latest: float = 0.0
    """Its latest start that makes no step longer."""
    waits: int = 0
    """A bit for each thing from outside that it waits for: inputs, which may be given one by one, and what ops wait
    for that may wait for more than their operands."""
    enters: bool = False
    """Whether it leads into a loop, or out of the parts that are known."""

    @property
    def finish(self) -> float:
        return self.earliest + self.seconds

    @property
    def rank(self) -> tuple[int, int]:
        """The order in which a device works: what is of a lower level first, then as in the block."""
        return self.level, self.index


class Timetable:
    """The parts of one function at phase clustered. A device does one island at a time, in the order of `Entry.rank`,
    and one transfer does not slow down another.

    `is_complete` is False where that can't be, since something waits for itself: then there are no times.
    """

    def __init__(self, parts: Sequence[Func], costs: Costs) -> None:
        self.costs = costs
        self.of: dict[int, Entry] = {}
        self.islands: list[list[Entry]] = []
        """Of each part: those outside of loops, by rank."""
        self._bits: dict[object, int] = {}
        self._sent: dict[int, Entry] = {}
        """Of each receive: the send, where that is in one of the parts."""
        for number, part in enumerate(parts):
            self._enter(number, part)
        self._connect_transfers()
        for part in parts:
            self._connect(part)
        order = self._order()
        self.is_complete = len(order) == len(self.of)
        if self.is_complete:
            _set_times(order)
            self._set_waits(parts, order)

    def users(self, value: SSAValue) -> list[Entry]:
        """The ops that take a value, in the order of the block; not what returns it."""
        found = {id(use.operation): self.of[id(use.operation)] for use in value.uses if id(use.operation) in self.of}
        return sorted(found.values(), key=lambda entry: entry.index)

    def _enter(self, number: int, part: Func) -> None:
        device = parse_full(device_of(part))
        frames = Frames(part.block) if has_frames(part.block) else None
        levels = levels_in(part.block)
        islands = []
        for index, op in enumerate(part.block.ops):
            if type(op) is Return:
                continue
            seconds = 0.0
            if type(op) is Recv:
                seconds = self.costs.transfer(bytes_of(op.result))
            elif type(op) is Island:
                seconds = self.costs.seconds(op, device)
            frame = ROOT if frames is None else frames.of(op)
            entry = self.of[id(op)] = Entry(op, number, index, levels[id(op)], frame, seconds)
            if type(op) is Island:
                islands.append(entry)
        islands.sort(key=lambda entry: entry.rank)
        for one, next_ in pairwise(islands):
            _link(one, next_)
        self.islands.append([entry for entry in islands if entry.frame == ROOT])

    def _connect_transfers(self) -> None:
        sends = {_route(entry.op): entry for entry in self.of.values() if isinstance(entry.op, Send)}
        for entry in self.of.values():
            if isinstance(entry.op, Recv) and (sent := sends.get(_route(entry.op))) is not None:
                self._sent[id(entry.op)] = sent
                _link(sent, entry)

    def _connect(self, part: Func) -> None:
        for op in part.block.ops:
            for operand in op.operands if id(op) in self.of else ():
                if isinstance(operand.owner, Operation) and not is_from_later(op, operand):
                    _link(self.of[id(operand.owner)], self.of[id(op)])

    def _order(self) -> list[Entry]:
        """All that can happen, each after what it needs."""
        missing = {id(entry): len(entry.before) for entry in self.of.values()}
        order = [entry for entry in self.of.values() if not entry.before]
        for entry in order:  # which grows
            for user in entry.after:
                missing[id(user)] -= 1
                if not missing[id(user)]:
                    order.append(user)
        return order

    def _bit(self, what: object) -> int:
        return self._bits.setdefault(what, 1 << len(self._bits))

    def _set_waits(self, parts: Sequence[Func], order: list[Entry]) -> None:
        """What is waited for comes through the iterations of loops, too, so this goes on until nothing changes."""
        inputs = [inputs_of(part) for part in parts]
        changed = True
        while changed:
            changed = False
            for entry in order:
                op, sent = entry.op, self._sent.get(id(entry.op))
                from_outside = (isinstance(op, Op) and op.WAITS) or (type(op) is Recv and sent is None)
                waits = self._bit(op) if from_outside else 0 if sent is None else sent.waits
                for operand in op.operands:
                    if isinstance(operand, BlockArgument):
                        waits |= self._bit(inputs[entry.part][operand.index])
                    else:
                        waits |= self.of[id(operand.owner)].waits
                changed, entry.waits = changed or waits != entry.waits, waits
        for entry in reversed(order):
            takers = [user for result in entry.op.results for user in self.users(result)]
            if type(entry.op) is Send:
                takers += [user for user in entry.after if type(user.op) is Recv]
            sent_away = type(entry.op) is Send and not takers
            entry.enters = sent_away or type(entry.op) is fl.Enter or any(user.enters for user in takers)


def _route(op: Transfer) -> tuple[str, str, str]:
    return op.tensor.data, op.source.data, op.target.data


def _link(one: Entry, other: Entry) -> None:
    one.after.append(other)
    other.before.append(one)


def _set_times(order: list[Entry]) -> None:
    for entry in order:
        entry.earliest = max((before.finish for before in entry.before), default=0.0)
    end = max((entry.finish for entry in order), default=0.0)
    for entry in reversed(order):
        entry.latest = min((after.latest for after in entry.after), default=end) - entry.seconds
