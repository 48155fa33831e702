"""Branches and loops that no device can run as a whole become switches, merges and frames, which the host runs.

A value that a branch takes goes through a switch, and a merge takes what the branch gives that was taken. A loop is a
frame: what it carries enters, and comes to a merge in each iteration; a switch sends it on to the body, or out.

Where there are effects, a loop carries a boolean along that stands for them: the first effects of an iteration wait for
it, and it goes to the next iteration once the last ones have happened.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, SSAValue

from dfc.ir.builder import Builder, erase, replace_uses
from dfc.ir.ops import dataflow as fl
from dfc.ir.ops.control import Branches, ControlFlow, If, Loop, While
from dfc.ir.ops.elementwise import Compare
from dfc.ir.ops.function import Func
from dfc.ir.ops.graph import After
from dfc.ir.ops.state import Group, Read, Variable
from dfc.ir.types import CONTROL, is_tensor, nbytes, spec_behind, spec_of
from dfc.passes.capacities import behind_gates, kept_by, kept_on_stacks
from dfc.passes.compilable import structured
from dfc.passes.cycle import frame_names
from dfc.passes.frames import EVERYWHERE, enter_constants, has_frames, has_gates
from dfc.passes.lowered_loop import Counts, is_handed_over, lower_loop
from dfc.passes.manager import Pass
from dfc.passes.moving import Moved, Nested, after_all, number, once


@dataclass(frozen=True)
class LowerControlFlow(Pass):
    """Turn branches and loops that no device can run as a whole into dataflow.

    Requires: phase graph; block order is a valid order of effects.
    Ensures: each df.if, df.case, df.while and df.scan that is left is one that a device can run: what is in it is
    compilable and uses variables at most. The others are gates of dfc.ir.ops.dataflow around their regions' ops, which
    keep their positions; results and tokens come as those of the op did. Values that are known without running anything
    enter the frames in which they are used.

    With `swap` a loop with `swap_memory` whose iterations yield something is lowered in any case: what they yield goes
    to a stack, which may move it to the host's memory. A loop that takes it back, last to first, takes it off it.

    With a `limit` in bytes, of which other variables have `taken` some, a branch or loop is lowered in any case whose
    variables in the host's memory don't fit on the device together and with what it, and others that are lowered, keep
    of their iterations: its body is an island then, which can be cut.
    """

    name: ClassVar[str] = "lower-control-flow"
    swap: bool = False
    limit: int = 0
    taken: int = 0

    def apply(self, program: ModuleOp) -> dict[str, int]:
        room = max(0, self.limit - self.taken) if self.limit else None
        return lower_control_flow(program, swap=self.swap, room=room)


def lower_control_flow(program: ModuleOp, *, swap: bool = False, room: int | None = None) -> dict[str, int]:
    """Lower each function; `room` is what there is for variables in the host's memory, if that is limited. Raises
    Unimplemented for a loop over rows whose number nothing tells."""
    lowered = 0
    for func in program.ops:
        if isinstance(func, Func):
            lowered += _Function(func.block, swap, room).lower()
            if has_frames(func.block):
                enter_constants(func.block)
    return {"lowered": lowered}


class _Function:
    """The block of a function while it is lowered."""

    def __init__(self, block: Block, swap: bool, room: int | None) -> None:
        self.block, self.swap, self.room = block, swap, room
        self.pending = deque(op for op in block.ops if isinstance(op, ControlFlow))
        self.counts: Counts = {}
        self.stacks = 0
        """Bytes that those which were lowered may keep of their iterations."""
        self.nested: set[int] = set()
        """Those that come from a region: values that enter them are there only when they run."""

    def lower(self) -> int:
        """Lower what must be; returns how much that was."""
        gated = bool(self.pending) and has_gates(self.block)
        count = self._lower_pending(gated)
        while self.room is not None and (kept := kept_on_stacks(self.block, self.room)) > self.stacks:
            self.stacks = kept  # so there is less room for others
            self.pending.extend(op for op in self.block.ops if isinstance(op, ControlFlow))
            count += self._lower_pending(gated)
        return count

    def _lower_pending(self, gated: bool) -> int:
        count = 0
        while self.pending:
            op = self.pending.popleft()
            if structured(op) and not (self.swap and self._is_swapped(op)) and not self._is_too_large(op):
                continue
            count += 1
            if gated and id(op) not in self.nested:
                self._tie(op)
            inside = Nested(self.swap, self.room is not None)
            if isinstance(op, Branches):
                _Branches(op, inside).lower()
            else:
                assert isinstance(op, Loop)
                nested = id(op) in self.nested
                lower_loop(op, self._frame(op), inside, self.counts, nested=nested)
            self.nested.update(map(id, inside.ops))
            self.pending.extendleft(reversed(inside.ops))
        return count

    def _is_swapped(self, op: ControlFlow) -> bool:
        if not isinstance(op, Loop):
            return False
        yields = op.swap_memory.data and any(y.first_use is not None for y in op.ys)
        return yields or any(is_handed_over(op, x, self.counts) for x in op.xs)

    def _is_too_large(self, op: ControlFlow) -> bool:
        """Whether there is no room for all variables in the host's memory that it uses."""
        if self.room is None or not (used := offloaded_in(op)):
            return False
        return sum(used.values()) + kept_by(op) > self.room - self.stacks

    def _frame(self, op: Loop) -> str:
        taken = frame_names(list(self.block.ops))
        base = "while" if isinstance(op, While) else "scan"
        return next(name for k in range(len(taken) + 1) if (name := f"{base}_{k}") not in taken)

    def _tie(self, op: ControlFlow) -> None:
        """Have each value come only if all of them do: some may be dead."""
        make = Builder.before_op(op)
        waits = [o for o in op.operands if o.type is CONTROL or is_tensor(o.type)]
        token = make(Group, *waits)
        op.operands = [make(After, o, token) if is_tensor(o.type) else o for o in op.operands]
        self.nested.add(id(op))


def offloaded_in(op: ControlFlow) -> dict[str, int]:
    """The variables in the host's memory whose values, or handles, the op takes, by name; and the bytes of each."""
    found: dict[str, int] = {}
    for operand in op.operands:
        if operand.type is CONTROL:
            continue
        owner = behind_gates(operand).owner
        owner = owner.ref.owner if isinstance(owner, Read) else owner
        if isinstance(owner, Variable) and owner.offload is not None and owner.offload.data:
            found[owner.variable.data] = nbytes(spec_behind(owner.ref.type))
    return found


# ---- branches


class _Branches:
    """A df.if or a df.case."""

    def __init__(self, op: Branches, nested: Nested) -> None:
        self.op, self.nested = op, nested
        self.make = Builder.before_op(op)
        self.selector = after_all(self.make, op.selector, op.tokens)
        self.predicates = [self.selector] if isinstance(op, If) else self._comparisons()
        self.taken = self._ways(self.selector)

    def _comparisons(self) -> list[SSAValue]:
        """For each region but the last, which any other selector means, whether it is taken."""
        numbers = range(len(self.op.regions) - 1)
        return [self.make(Compare, self.selector, number(self.make, k), direction="EQ") for k in numbers]

    def _ways(self, value: SSAValue) -> list[SSAValue]:
        """The value for each region; it comes to the one that is taken."""
        found = []
        for predicate in self.predicates:
            switch = self.make.op(fl.Switch, value, predicate)
            found.append(switch.if_true)
            value = switch.if_false
        return [*found, value]

    def lower(self) -> None:
        op, blocks = self.op, self.op.blocks
        arguments: list[list[SSAValue]] = [[] for _ in blocks]
        live: list[list[SSAValue]] = [[taken] for taken in self.taken]
        for index, value in enumerate(op.passed):
            used = any(block.args[index].first_use is not None for block in blocks)
            stays = isinstance(value.owner, EVERYWHERE) or not used
            ways = [value] * len(blocks) if stays else self._ways(value)
            for given, own, way in zip(arguments, live, ways, strict=True):
                given.append(way)
                if not stays:
                    own.append(way)
        moved = [
            Moved(
                block,
                given,
                self.make,
                live=own,
                pivot=once(lambda taken=taken: self.make(Group, taken)),  # type: ignore[misc]
                ordered=False,
                nested=self.nested,
            )
            for block, given, own, taken in zip(blocks, arguments, live, self.taken, strict=True)
        ]
        self._finish(moved)

    def _finish(self, moved: list[Moved]) -> None:
        op, results = self.op, dict[SSAValue, SSAValue]()
        for index, result in enumerate(op.data):
            if result.first_use is not None:
                results[result] = self._merged([m.value(index) for m in moved], result)
        if op.token is not None and op.token.first_use is not None:
            done = [after_all(self.make, taken, m.tokens) for taken, m in zip(self.taken, moved, strict=True)]
            results[op.token] = self.make(Group, self._merged(done, self.selector))
        replace_uses(results)
        erase(op)

    def _merged(self, values: list[SSAValue], like: SSAValue) -> SSAValue:
        """Of these, which belong to the regions, the one that comes. A merge counts the other way round where the first
        region is for true."""
        ordered = values[::-1] if isinstance(self.op, If) else values
        return self.make.op(fl.Merge, *ordered, result=(spec_of(like.type),)).value
