"""What a device receives is taken in turns, so that what it needs late need not be there early."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation, SSAValue

from dfc.errors import InvalidArgument
from dfc.ir.devices import parse_full
from dfc.ir.ops.elementwise import Convert
from dfc.ir.ops.function import Func, Return
from dfc.ir.ops.transfer import TURN, Recv
from dfc.passes.costs import Costs, bytes_of
from dfc.passes.frames import ROOT, Frames, has_frames
from dfc.passes.levels import levels_in
from dfc.passes.manager import Pass
from dfc.passes.partition import device_of

LARGE = 1 << 16
"""Bytes from which on a receive is looked at."""
AHEAD = 2
"""How many turns are on the device at once: one that is used, and the next."""


@dataclass(frozen=True)
class DivideReceives(Pass):
    """Give the receives of a device turns, of about `window` bytes, in the order in which their values are used.

    Requires: phase partitioned; block order is about the order in which a device works.
    Ensures: receives outside of loops, of values of at least `least` bytes, may have the attribute `turn`. A turn is
    begun where the work since the last one covers its transfers, and turns are only given where that many bytes less
    are on the device, by a quarter or more, when `schedule-receives` has put off what is not needed yet. Clustering
    keeps work of different turns apart.

    With `always` each receive has a turn of its own, whether that pays or not.
    """

    name: ClassVar[str] = "divide-receives"
    window: int = 1 << 25
    least: int = LARGE
    always: bool = False

    def apply(self, program: ModuleOp) -> dict[str, int]:
        if self.window < 1:
            raise InvalidArgument(f"window must be a positive number of bytes, got {self.window}", op=self.name)
        turns = 0
        for func in partitioned(program):
            turns += divide(func, self.window, self.least, always=self.always)
        return {"turns": turns}


def partitioned(program: ModuleOp) -> Iterator[Func]:
    """The functions that are one device's part of another."""
    return (func for func in program.ops if isinstance(func, Func) and func.part_inputs is not None)


def divide(func: Func, window: int, least: int, *, always: bool = False) -> int:
    """Give receives turns. How many turns are begun."""
    lives = [_Life(op, bytes_of(op.result)) for op in func.block.ops if type(op) is Recv]
    lives = [life for life in lives if life.nbytes >= least]
    if len(lives) < 2 or not (always or sum(life.nbytes for life in lives) > window):
        return 0
    if has_frames(func.block):
        frames = Frames(func.block)
        lives = [life for life in lives if frames.of(life.op) == ROOT]
    positions = {id(op): number for number, op in enumerate(func.block.ops)}
    levels = levels_in(func.block)
    by_level: dict[int, list[_Life]] = {}
    for life in lives:
        life.measure(positions)
        by_level.setdefault(levels[id(life.op)], []).append(life)
    begun = 0
    for level, found in by_level.items():
        found.sort(key=lambda life: life.first)
        if always:
            begun += _take_turns(found, 0, lambda *_: True)
        elif _is_worth_it(found, window):
            work = _Work(func, lambda op: levels[id(op)] == level and type(op) not in (Recv, Return))  # noqa: B023
            begun += _take_turns(found, window, work.covers)
    return begun


@dataclass(eq=False)
class _Life:
    """A received value: how large it is, and from where to where in the block it is used."""

    op: Recv
    nbytes: float
    first: int = 0
    last: int = 0

    def measure(self, positions: dict[int, int]) -> None:
        end = len(positions)
        used = [end if type(user) is Return else positions[id(user)] for user in _users(self.op.result)]
        self.first, self.last = min(used, default=end), max(used, default=end)


def _users(value: SSAValue) -> Iterator[Operation]:
    """The ops that use a value, for as many times as it is converted first."""
    for use in value.uses:
        user = use.operation
        if type(user) is Convert:
            yield from _users(user.results[0])
        else:
            yield user


def _is_worth_it(lives: list[_Life], window: int) -> bool:
    """Whether much less is on the device at a time, at most, than all: what is used early and late is on it anyway."""
    changes = sorted(
        [*((life.first, life.nbytes) for life in lives), *((life.last + 1, -life.nbytes) for life in lives)]
    )
    held = most = 0.0
    for _, change in changes:
        held += change
        most = max(most, held)
    return most + AHEAD * window <= 0.75 * sum(life.nbytes for life in lives)


class _Work:
    """The work of some of a function's ops, in the order of the block."""

    def __init__(self, func: Func, counts: Callable[[Operation], bool]) -> None:
        self.costs, device = Costs(), parse_full(device_of(func))
        seconds = (self.costs.seconds(op, device) if counts(op) else 0.0 for op in func.block.ops)
        self.before = list(accumulate(seconds, initial=0.0))
        """The time of what comes before each position."""

    def covers(self, turn: list[_Life], following: _Life) -> bool:
        """Whether the transfers of a turn are done while the device works from its beginning until what follows."""
        between = self.before[following.first] - self.before[turn[0].first]
        return between >= sum(self.costs.transfer(life.nbytes) for life in turn)


def _take_turns(lives: list[_Life], window: int, covers: Callable[[list[_Life], _Life], bool]) -> int:
    """Note turns in the ops, those of the first turn excepted. How many there are."""
    number, turn = 0, list[_Life]()
    for life in lives:
        nbytes = sum(each.nbytes for each in turn) + life.nbytes
        if turn and nbytes > window and covers(turn, life):
            number, turn = number + 1, []
        turn.append(life)
        if number:
            life.op.attributes[TURN] = StringAttr(str(number))
    return number
