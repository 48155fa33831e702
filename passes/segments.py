"""Cutting an island whose variables in the host's memory do not fit the device at once: what is computed in which part.

First an order in which each variable is updated as soon as its gradient is there: ops that lead to few updates, and to
nothing else, come before those that lead to many. Then parts, as long as what they need of variables is not more than
half of the room, so that the next part's variables can come while one is computed.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.ir import BlockArgument, Operation, SSAValue

from dfc.errors import ResourceExhausted
from dfc.ir.op import end_of, error_at
from dfc.ir.ops.control import open_lengths
from dfc.ir.ops.function import Island, Yield
from dfc.ir.types import nbytes, spec_of
from dfc.passes.capacities import kept_by
from dfc.passes.compilable import SOURCES
from dfc.passes.late import symbols_of

NAMED = 5
"""How many variables an error names."""
SMALL = 4096
"""Bytes. What is not larger may be kept for long."""
LONGEST = 256
"""How many ops are looked at to see whether they had better be together."""


@dataclass(eq=False)
class Segment:
    """A part of an island: its ops, in order, and of the references, by number, those whose value it needs and those
    whose new value it makes."""

    ops: list[Operation] = field(default_factory=list)
    uses: dict[int, None] = field(default_factory=dict)
    gives: dict[int, None] = field(default_factory=dict)
    nbytes: int = 0
    """What the variables in the host's memory among them take on the device, and what its loops may keep."""
    keeps: bool = False
    """Whether its loops keep something of their iterations."""
    again: bool = False
    """Whether it may have to run again, with more room for a loop's iterations: then new values can't take the place of
    old ones."""


@dataclass(frozen=True)
class Room:
    """How many bytes of a device there are for variables in the host's memory: `limit`, of which other variables have
    `taken` some."""

    limit: int
    taken: int = 0

    @property
    def free(self) -> int:
        return max(0, self.limit - self.taken)

    def exceeded(self, op: Operation, needed: Mapping[str, int]) -> ResourceExhausted:
        """The error for an op, or an island, that needs these variables at once."""
        largest = sorted(needed.items(), key=lambda item: -item[1])[:NAMED]
        listed = "; ".join(f"variable {name!r}: {size:,} bytes" for name, size in largest)
        others = f", of which other variables take {self.taken:,}" if self.taken else ""
        return error_at(
            ResourceExhausted,
            op,
            f"{sum(needed.values()):,} bytes of variables in the host's memory are needed on the device at once and "
            f"device_memory_limit is {self.limit:,}{others}; the largest: {listed}",
            "raise device_memory_limit, or make several smaller variables of a large one",
        )


class Parts:
    """What an island's block says about its references: `offloaded` are the numbers of those to variables in the
    host's memory. Numbers behind those of the references stand for values that an earlier island had of such variables:
    the inputs that `lent` indexes, which are in the host's memory as well."""

    def __init__(self, island: Island, offloaded: Iterable[int], lent: Sequence[int] = ()) -> None:
        self.island, self.lent = island, tuple(lent)
        n_refs = len(island.refs)
        self.offloaded = frozenset([*offloaded, *range(n_refs, n_refs + len(self.lent))])
        self._number = {index: n_refs + k for k, index in enumerate(self.lent)}
        self.n_inputs, self.n_results = island.n_inputs.data, len(island.results_.data)
        self.written: tuple[int, ...] = island.written.data
        self.ops = [op for op in island.block.ops if not isinstance(op, (Yield, *SOURCES))]
        self.lengths = {id(op): names for op in self.ops if op.regions and (names := open_lengths([op]))}
        """Of ops, by id, the symbols of lengths of loops in them that are chosen when they run."""
        self.kept = {id(op): size for op in self.ops if op.regions and (size := kept_by(op))}
        """Of ops, by id, the bytes that loops in them may keep of all their iterations while they run."""
        self.behind = {id(op): {id(o.owner) for o in op.operands} for op in self.ops}
        """Of each op what it takes something of, or has a size of, by id."""
        self.sized_by: dict[int, list[Operation]] = {}
        """Of loops, by id, the ops that have their lengths for sizes."""
        if self.lengths:
            self._note_lengths()

    def _note_lengths(self) -> None:
        loops = {name: number for number, names in self.lengths.items() for name in names}
        for op in self.ops:
            sources = (o.owner for o in op.operands if isinstance(o.owner, SOURCES))
            for name in symbols_of(op).union(*map(symbols_of, sources)) & loops.keys():
                if loops[name] != id(op):
                    self.behind[id(op)].add(loops[name])
                    self.sized_by.setdefault(loops[name], []).append(op)

    def reference(self, value: SSAValue) -> int | None:
        """The number of the reference whose value this is before the island."""
        if not isinstance(value, BlockArgument):
            return None
        return value.index - self.n_inputs if value.index >= self.n_inputs else self._number.get(value.index)

    def before(self, number: int) -> SSAValue:
        """The value before the island, in its block."""
        n_refs = len(self.island.refs)
        return self.island.block.args[self.n_inputs + number if number < n_refs else self.lent[number - n_refs]]

    def uses(self, op: Operation) -> list[int]:
        """The references whose values the op takes."""
        return [number for o in op.operands if (number := self.reference(o)) is not None]

    def gives(self, op: Operation) -> list[int]:
        """The references whose new values the op makes."""
        return [self.written[slot] for slot in self._slots(op) if 0 <= slot < len(self.written)]

    def _slots(self, op: Operation) -> Iterator[int]:
        """Where the island yields results of the op: from 0 on new values, below it results."""
        for result in op.results:
            for use in result.uses:
                if isinstance(use.operation, Yield):
                    yield use.index - self.n_results

    def reach(self) -> dict[int, int]:
        """For each op, by id, the new values that it leads to, a bit each, and one more bit for everything else that
        leaves the island."""
        other = 1 << len(self.written)
        found: dict[int, int] = {}
        for op in reversed(self.ops):
            bits = 0
            for slot in self._slots(op):
                bits |= 1 << slot if 0 <= slot < len(self.written) else other
            for result in op.results:
                for use in result.uses:
                    bits |= found.get(id(use.operation), 0)
            found[id(op)] = bits
        return found

    def counts(self) -> dict[str, SSAValue] | None:
        """For each length that is chosen, how many iterations there were; None unless each is of one op, which is given
        or gives the number."""
        names = self.island.needed
        values = end_of(self.island.block).operands[self.n_results + len(self.written) :]
        found = dict(zip(names, values, strict=True))
        of_ops = [(name, op) for op in self.ops for name in self.lengths.get(id(op), ())]
        if sorted(name for name, _ in of_ops) != sorted(names):
            return None
        here = all(found[name].owner is op or found[name] in op.operands for name, op in of_ops)
        return found if here else None

    def needed(self, ops: Sequence[Operation], *, again: bool) -> dict[int, int]:
        """By number, what variables in the host's memory take while the ops run: their values, or what is made in the
        place of these, and both where the ops may have to run `again`."""
        uses = {n for op in ops for n in self.uses(op)}
        gives = {n for op in ops for n in self.gives(op)}
        both = uses & gives if again else set[int]()
        return {n: size * (1 + (n in both)) for n in sorted(uses | gives) if (size := self.nbytes(n))}

    def nbytes(self, number: int) -> int:
        """What the variable takes on a device, if it is in the host's memory."""
        return nbytes(spec_of(self.before(number).type)) if number in self.offloaded else 0


def cut(parts: Parts, room: Room, names: Sequence[str], halved: int = 0) -> list[Segment]:
    """The segments of an island, in order; `names` are those of its references. They leave place for what loops may
    keep, `halved` so often. Raises ResourceExhausted for an op that alone needs more than there is."""
    segments: list[Segment] = []
    for run in _runs(parts, _in_order(parts), room.free // 2):
        kept = sum(parts.kept.get(id(op), 0) for op in run) >> halved if parts.kept else 0
        touched, again = _touched(parts, run), id(run[0]) in parts.lengths
        needed = parts.needed(run, again=again)
        total = sum(needed.values())
        if total + kept > room.free:
            raise room.exceeded(run[-1], {names[n]: size for n, size in needed.items()})
        last = segments[-1] if segments else None
        if last is None or again or last.again or last.nbytes + kept + _more(parts, last, touched) > room.free // 2:
            last = Segment(again=again)
            segments.append(last)
        last.nbytes += kept + (total if again else _more(parts, last, touched))
        last.keeps |= kept > 0
        for op in run:
            last.ops.append(op)
            last.uses.update(dict.fromkeys(parts.uses(op)))
            last.gives.update(dict.fromkeys(parts.gives(op)))
    return segments


def _touched(parts: Parts, run: Iterable[Operation]) -> dict[int, None]:
    return dict.fromkeys(number for op in run for number in (*parts.uses(op), *parts.gives(op)))


def _more(parts: Parts, segment: Segment, touched: Iterable[int]) -> int:
    """The bytes that these references add to the segment's."""
    return sum(parts.nbytes(n) for n in touched if n not in segment.uses and n not in segment.gives)


# ---- runs: ops that had better be in one segment


def _runs(parts: Parts, order: list[Operation], most: int) -> Iterator[list[Operation]]:
    """The ops in groups: what leads to no more updates than the first op of a group, one update of a variable and its
    optimiser's state, say, is in it where it needs no more bytes than `most`; else each op is one, and so is what may
    have to run again."""
    reach = parts.reach()
    start = 0
    while start < len(order):
        end = _end_of_run(parts, order, start, reach, most)
        yield order[start:end]
        start = end


def _end_of_run(parts: Parts, order: list[Operation], start: int, reach: dict[int, int], most: int) -> int:
    first = reach[id(order[start])]
    if id(order[start]) in parts.lengths:
        return start + 1
    touched: dict[int, None] = {}
    total = 0
    for end in range(start, min(start + LONGEST, len(order))):
        op = order[end]
        if reach[id(op)] | first != first or id(op) in parts.lengths:
            return end
        for number in (*parts.uses(op), *parts.gives(op)):
            if number not in touched:
                touched[number] = None
                total += parts.nbytes(number)
        total += parts.kept.get(id(op), 0)
        if total > most:
            return start + 1
    return len(order) if len(order) <= start + LONGEST else start + 1


# ---- the order


def _in_order(parts: Parts) -> list[Operation]:
    """The island's ops in an order in which updates come early.

    They come as they stand, but for those of the backward pass and of updates that lead to a part of the updates alone:
    once such an op is done, what takes its result is next, and among several ops the one that leads to the fewest. Some
    come when they are needed.
    """
    reach = parts.reach()
    everything = 0
    for bits in reach.values():
        everything |= bits
    everything &= (1 << len(parts.written)) - 1
    late = _late(parts, reach, everything)
    position = {id(op): index for index, op in enumerate(parts.ops)}
    lacking = {id(op): len((parts.behind[id(op)] & position.keys()) - late) for op in parts.ops}
    placed: dict[int, Operation] = {}
    ready: list[tuple[int, int]] = []  # of what an op just made possible: to how many updates it leads, its position

    def key(op: Operation) -> tuple[int, int]:
        return reach[id(op)].bit_count(), position[id(op)]

    def place(op: Operation) -> None:
        for each in _needed(parts, op, late, placed, position):
            placed[id(each)] = each
        placed[id(op)] = op
        goes_on = _is_part(reach[id(op)], everything)
        users = [use.operation for result in op.results for use in result.uses]
        for user in dict.fromkeys([*users, *parts.sized_by.get(id(op), ())]):
            if id(user) in lacking:
                lacking[id(user)] -= 1
                if goes_on and not lacking[id(user)] and id(user) not in late:
                    heapq.heappush(ready, key(user))

    for op in parts.ops:
        if id(op) in late:
            continue
        while ready and id(op) not in placed and ready[0][0] <= key(op)[0]:
            following = parts.ops[heapq.heappop(ready)[1]]
            if id(following) not in placed:
                place(following)
        if id(op) not in placed:
            place(op)
    for op in parts.ops:
        placed.setdefault(id(op), op)
    return list(placed.values())


def _late(parts: Parts, reach: Mapping[int, int], everything: int) -> set[int]:
    """Ops, by id, that are best done when they are needed: made of what is there from the start, and small, as the
    number of the step is, or of variables and constants alone and a part of some updates."""
    found: set[int] = set()
    for op in parts.ops:
        made_of = [o for o in op.operands if not isinstance(o.owner, SOURCES) and id(o.owner) not in found]
        if not all(isinstance(o, BlockArgument) for o in made_of):
            continue
        is_small = sum(nbytes(spec_of(value.type)) for value in (*op.operands, *op.results)) <= SMALL
        of_variables = all(parts.reference(o) is not None for o in made_of)
        if is_small or (of_variables and _is_part(reach[id(op)], everything)):
            found.add(id(op))
    return found


def _is_part(reach: int, everything: int) -> bool:
    """Whether what leads to this leads to some of the updates, and to nothing else."""
    return reach < everything and reach | everything == everything


def _needed(
    parts: Parts, op: Operation, late: set[int], placed: Mapping[int, Operation], position: Mapping[int, int]
) -> list[Operation]:
    """What the op needs first of the late ones, in their order."""
    found: set[int] = set()
    pending = [op]
    while pending:
        for owner in parts.behind[id(pending.pop())] & late:
            index = position[owner]
            if owner not in placed and index not in found:
                found.add(index)
                pending.append(parts.ops[index])
    return [parts.ops[index] for index in sorted(found)]
