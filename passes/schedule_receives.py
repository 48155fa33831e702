"""Receives that begin when their values will be needed soon, and hold no memory before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from dfc.errors import InvalidArgument
from dfc.ir.builder import Builder
from dfc.ir.ops.function import Func
from dfc.ir.ops.transfer import Computed, Recv
from dfc.ir.types import is_tensor
from dfc.passes.costs import Costs, bytes_of
from dfc.passes.divide_receives import LARGE, partitioned
from dfc.passes.frames import ROOT
from dfc.passes.manager import Pass
from dfc.passes.timetable import Entry, Timetable


@dataclass(frozen=True)
class ScheduleReceives(Pass):
    """Put off receives until the device is done with the island that is `prefetch` before the first use of the value.

    Requires: phase clustered.
    Ensures: a receive outside of loops, of at least `least` bytes, which leads into no loop, may have a token that
    df.computed gives: where by the estimates of `passes/costs.py` the value would be there earlier, and still comes in
    time. It then stands before the first op that uses it. No circle is made: see `_Scheduling.anchor`.

    With `always` that is so wherever it can be, whether it pays or not.
    """

    name: ClassVar[str] = "schedule-receives"
    prefetch: int = 2
    least: int = LARGE
    always: bool = False

    def apply(self, program: ModuleOp) -> dict[str, int]:
        if self.prefetch < 1:
            raise InvalidArgument(f"prefetch must be at least 1, got {self.prefetch}", op=self.name)
        wholes: dict[str, list[Func]] = {}
        for func in partitioned(program):
            wholes.setdefault(func.sym_name.data.partition("@/")[0], []).append(func)
        return {"receives put off": sum(schedule(parts, self) for parts in wholes.values())}


def schedule(parts: Sequence[Func], how: ScheduleReceives) -> int:
    """Put off receives of one function's parts. How many."""
    large = [op for part in parts for op in part.block.ops if type(op) is Recv and bytes_of(op.result) >= how.least]
    if not large:
        return 0
    table = Timetable(parts, Costs())
    return _Scheduling(table, large, how).run() if table.is_complete else 0


class _Scheduling:
    """The receives of one function while they are put off."""

    def __init__(self, table: Timetable, receives: list[Recv], how: ScheduleReceives) -> None:
        self.table, self.how = table, how
        self.by_user: dict[int, list[Entry]] = {}
        """What is received for each op that is the first to use it."""
        for op in receives:
            entry, users = table.of[id(op)], table.users(op.result)
            if users and entry.frame == ROOT and not entry.enters:
                self.by_user.setdefault(id(users[0].op), []).append(entry)
        self.tokens: dict[int, SSAValue] = {}

    def run(self) -> int:
        found: list[tuple[Entry, Entry, Entry]] = []
        for user_id, receives in self.by_user.items():
            user = self.table.of[user_id]
            together = sum(self.table.costs.transfer(bytes_of(entry.op.results[0])) for entry in receives)
            for entry in receives:
                anchor = self.anchor(entry, user, together)
                if anchor is not None:
                    found.append((entry, user, anchor))
        for entry, user, anchor in found:
            _put_off(entry.op, user.op, self._token(anchor))
        return len(found)

    def anchor(self, receive: Entry, user: Entry, seconds: float) -> Entry | None:
        """The island to wait for, if it is worth it, where what `user` receives takes so many seconds.

        Waiting for it closes no circle:
        - It stands before `user` in the block, and so does the receive when it is put off: the block stays an order in
          which the part can run. It is of no higher level than the receive: along all that waits for something levels
          still never fall, and each transfer raises them. So a circle would be of one level, hence within one part, and
          there the block is an order.
        - A loop has circles of its own, and what leaves it may wait for all that enters it, but the receive leads into
          none, by what is put off behind others neither.
        - Something from outside that it waits for (an element of a queue, a call of Python, an input given later) may
          be there only when work that needs the receive has been done, in ways that no graph shows. But then each op
          that uses the value waits for that, too, and such a circle was there before.
        """
        line = self.table.islands[user.part]
        behind = sum(entry.rank < user.rank for entry in line)
        common = ~0
        for each in self.table.users(receive.op.results[0]):
            common &= each.waits
        for island in reversed(line[: max(behind - self.how.prefetch + 1, 0)]):
            if not self.how.always and island.finish <= receive.earliest:
                return None  # the value is not there before in any case
            if (
                island.index < user.index
                and island.level <= receive.level
                and not island.waits & ~common
                and any(is_tensor(result.type) for result in island.op.results)
                and (self.how.always or island.finish + seconds <= user.latest)
            ):
                return island
        return None

    def _token(self, island: Entry) -> SSAValue:
        """The token for an island to have been computed: for the smallest value that it gives, since one is when all
        are."""
        found = self.tokens.get(id(island))
        if found is None:
            op = island.op
            block = op.parent
            assert block is not None
            value = min((r for r in op.results if is_tensor(r.type)), key=bytes_of)
            make = Builder(block, before=op.next_op, location=op.location)
            found = self.tokens[id(island)] = make(Computed, value)
        return found


def _put_off(receive: Operation, user: Operation, token: SSAValue) -> None:
    receive.operands = [*receive.operands, token]
    block = receive.parent
    assert block is not None
    block.detach_op(receive)
    block.insert_op_before(receive, user)
