"""When each value is live, where some may be dead: which ops of a block always run, or do not run, together.

A *guard* is a set of conditions that must all hold. Values with equal guards, in one frame, are live in the same
iterations. What is not recognised gets a condition of its own, so that it counts as different from all else: that is
always right, and costs an island at most.

    (predicate, port)                a switch went that way
    "turn", frame, guard, kind       in each iteration of a frame that was entered where the guard holds; kinds tell
                                     loops apart whose values go on under different conditions
    "first", frame, guard            in the first iteration alone
    "constant", frame, guard         in each iteration, as a turn, of a frame that it entered where the guard holds
    "left", frame, guard             a value with this guard has left the frame
    "one of", guards                 one of these holds
    "received", number               what made the value live on the device that sent it
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from xdsl.ir import Block, Operation, SSAValue

from dfc.ir.ops import dataflow as fl
from dfc.ir.ops.transfer import GUARD, Recv
from dfc.passes.colocation import text_of
from dfc.passes.frames import Frame, Frames, after

Guard = frozenset[Hashable]
ALWAYS: Guard = frozenset()


class Guards:
    """The guards of a block's ops and values."""

    def __init__(self, block: Block, frames: Frames) -> None:
        self._block, self._frames = block, frames
        self._kinds: dict[int, int] = {}  # of each merge of a loop
        self._n_kinds = 0
        self._turns: dict[Frame, set[tuple[Guard, int]]] = {}  # of each frame: the turns that were found
        self._onward: dict[tuple[Frame, Guard, int], Guard] = {}  # of each turn: when there is a next one
        while True:
            self._op: dict[int, Guard] = {}
            self._ports: dict[SSAValue, Guard] = {}
            for op in block.ops:
                self._visit(op)
            if not self._refine():
                return

    def of(self, op: Operation) -> Guard:
        """When the op runs."""
        return self._op.get(id(op), ALWAYS)

    def of_value(self, value: SSAValue) -> Guard:
        """When the value is live."""
        found = self._ports.get(value)
        owner = value.owner
        return found if found is not None else self.of(owner) if isinstance(owner, Operation) else ALWAYS

    def _visit(self, op: Operation) -> None:
        if type(op) is fl.Merge:
            guard = self._merge(op)
        elif type(op) is fl.ControlTrigger:
            guard = frozenset({("one of", id(op))}) if self._frames.of(op) else ALWAYS
        else:
            guard = self._all(self.of_value(o) for o in self._frames.taken(op))
            if type(op) is Recv and (sent := text_of(op, GUARD)):
                guard |= {("received", sent)}
        if guard:
            self._op[id(op)] = guard
        if type(op) is fl.Switch:
            for port, result in enumerate(op.results):
                self._ports[result] = guard | {(id(op.pred), port)}
        elif type(op) is fl.Enter:
            self._ports[op.result] = self._enter(op, guard)
        elif type(op) is fl.Exit:
            self._ports[op.result] = self._exit(op, guard)

    def _all(self, guards: Iterable[Guard]) -> Guard:
        """All of them hold."""
        found = ALWAYS
        for guard in guards:
            if not guard <= found:
                found = found | guard if found else guard
        return self._without_implied(found) if len(found) > 1 else found

    def _without_implied(self, guard: Guard) -> Guard:
        """A constant of a frame is there in each of its turns, if it enters under no further condition."""
        turns = [c for c in guard if isinstance(c, tuple) and c[0] == "turn"]
        constants = [c for c in guard if isinstance(c, tuple) and c[0] == "constant"]
        implied = {c for c in constants if any(t[1] == c[1] and c[2] <= t[2] for t in turns)}
        return guard - implied if implied else guard

    # ---- frames

    def _enter(self, op: fl.Enter, guard: Guard) -> Guard:
        inside = after(op, self._frames.of(op))
        assert inside is not None
        if not op.is_constant.data:
            return frozenset({("first", inside, guard)})
        turns = self._turns.get(inside, set())
        if len(turns) == 1:
            ((found, kind),) = turns
            if found == guard:
                return frozenset({("turn", inside, guard, kind)})
        return frozenset({("constant", inside, guard)})

    def _exit(self, op: fl.Exit, guard: Guard) -> Guard:
        """A loop that was entered comes to its end, and then gives what leaves where it would have gone on."""
        frame = self._frames.of(op)
        for entered, kind in self._turns.get(frame, ()):
            turn = ("turn", frame, entered, kind)
            onward = self._onward.get((frame, entered, kind), ALWAYS)
            others = [c for c in onward if c != turn]
            other = _other_way(others[0]) if turn in onward and len(others) == 1 else None
            if other is not None and guard == {turn, other}:
                return entered
        return frozenset({("left", frame, guard)})

    # ---- merges

    def _merge(self, op: fl.Merge) -> Guard:
        if (start := _start_of_loop(op)) is not None:
            (enter,) = self.of_value(start)
            assert isinstance(enter, tuple)
            return frozenset({("turn", enter[1], enter[2], self._kinds.get(id(op), 0))})
        found = _reduced({self.of_value(o) for o in op.operands if type(o.owner) is not fl.NextIteration})
        if len(found) == 1 and all(type(o.owner) is not fl.NextIteration for o in op.operands):
            return next(iter(found))
        if len(found) == 1 or any(type(o.owner) is fl.NextIteration for o in op.operands):
            return frozenset({("one of", id(op))})
        return frozenset({("one of", frozenset(found))})

    def _new_kind(self) -> int:
        self._n_kinds += 1
        return self._n_kinds

    def _refine(self) -> bool:
        """Tell merges of one turn apart that go on under different conditions. Whether anything has changed."""
        classes: dict[tuple[Frame, Guard, int], dict[Guard, list[int]]] = {}
        for op in self._block.ops:
            if type(op) is fl.Merge and (start := _start_of_loop(op)) is not None:
                (enter,) = self.of_value(start)
                assert isinstance(enter, tuple)
                following = next(o for o in op.operands if o is not start)
                key = (enter[1], enter[2], self._kinds.get(id(op), 0))
                classes.setdefault(key, {}).setdefault(self.of_value(following), []).append(id(op))
        kinds, turns, onward = dict[int, int](), dict[Frame, set[tuple[Guard, int]]](), {}
        for (frame, guard, kind), found in classes.items():
            for number, (condition, merges) in enumerate(found.items()):
                new = kind if number == 0 else self._new_kind()
                kinds.update(dict.fromkeys(merges, new))
                turns.setdefault(frame, set()).add((guard, new))
                onward[frame, guard, new] = condition
        changed = (kinds, turns, onward) != (self._kinds, self._turns, self._onward)
        self._kinds, self._turns, self._onward = kinds, turns, onward
        return changed


def _other_way(condition: Hashable) -> tuple[int, int] | None:
    """The condition that a switch went the other way; None for a condition that is about no switch."""
    if isinstance(condition, tuple) and isinstance(condition[0], int):
        return condition[0], 1 - condition[1]
    return None


def _start_of_loop(op: fl.Merge) -> SSAValue | None:
    """What the merge takes in the first iteration, if it is the beginning of a cycle of the usual form."""
    if len(op.operands) != 2:
        return None
    found = [o for o in op.operands if type(o.owner) is fl.Enter and not o.owner.is_constant.data]
    following = [o for o in op.operands if type(o.owner) is fl.NextIteration]
    return found[0] if len(found) == len(following) == 1 else None


def _reduced(guards: set[Guard]) -> set[Guard]:
    """The guards, with one in the place of two that differ only in which way a switch went: either will do."""
    found = set(guards)
    while True:
        for guard in found:
            for condition in guard:
                way = _other_way(condition)
                if way is not None and (other := (guard - {condition}) | {way}) in found:
                    found = (found - {guard, other}) | {guard - {condition}}
                    break
            else:
                continue
            break
        else:
            return found
