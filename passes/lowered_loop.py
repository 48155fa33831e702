"""A df.while or a df.scan as a cycle of the graph: see `passes/lower_control_flow.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xdsl.ir import Block, Operation, SSAValue

from dfc.errors import Unimplemented
from dfc.ir.builder import Builder, erase, replace_uses
from dfc.ir.op import error_at
from dfc.ir.ops import dataflow as fl
from dfc.ir.ops.control import Loop, Scan, While
from dfc.ir.ops.elementwise import Add, Compare, Subtract
from dfc.ir.ops.indexing import DynamicSlice, Take
from dfc.ir.ops.shape import DimSize, Reshape
from dfc.ir.ops.state import Group
from dfc.ir.types import is_tensor, spec_of
from dfc.passes.cycle import Cycle
from dfc.passes.moving import Moved, Nested, after_all, number, once

Counts = dict[SSAValue, SSAValue | None]
"""Of what was packed of a stack: how many rows there are, None for as many as its type says."""


def is_handed_over(op: Loop, xs: SSAValue, counts: Counts) -> bool:
    """Whether the loop takes the rows of a stack as they come off it, and nobody else wants them."""
    pack = xs.owner
    if xs not in counts or not isinstance(op, Scan) or not isinstance(pack, fl.StackPack) or not xs.has_one_use():
        return False
    return op.reverse.data is not pack.reverse.data and op.count is counts[xs]


def lower_loop(op: Loop, frame: str, inside: Nested, counts: Counts, *, nested: bool) -> None:
    """Put a frame called `frame` in the place of the op. `inside` gets the ops with regions that come out of it;
    `nested` says that it came out of one itself, so that its operands may be dead. `counts` has what loops gave so far
    whose iterations yield what may go to the host's memory.

    Raises Unimplemented for a loop over rows whose number nothing tells.
    """
    make = Builder.before_op(op)
    stacks: dict[int, Operation] = {}
    for k, x in enumerate(op.xs):
        if inside.swap and is_handed_over(op, x, counts) and isinstance(x.owner, Operation):
            stacks[k] = x.owner
    anchor = [*op.tokens, *(pack.operands[2] for pack in stacks.values())]
    if nested and not anchor:
        anchor = [make(Group, next(o for o in op.operands if is_tensor(o.type)))]
    loop = _Loop(op, make, Cycle(make, frame, op.parallel_iterations.data), anchor, stacks)
    loop.carry()
    loop.condition(inside)
    loop.body(inside)
    results = loop.finish()
    if inside.swap and op.swap_memory.data:
        for y in op.ys:
            if y in results:
                counts[results[y]] = None if op.count is None else results.get(op.count, op.count)
    replace_uses(results)
    erase(op)
    for pack in stacks.values():
        erase(pack)


class _Loop:
    """The loop on its way. `anchor` are tokens that come when it is to run; `stacks` has those xs that are taken off a
    stack row by row."""

    def __init__(
        self,
        op: Loop,
        make: Builder,
        cycle: Cycle,
        anchor: Sequence[SSAValue],
        stacks: Mapping[int, Operation],
    ) -> None:
        self.op, self.make, self.cycle, self.anchor, self.taken = op, make, cycle, anchor, stacks
        self.packed = [k for k, y in enumerate(op.ys) if y.first_use is not None]
        """The ys that somebody uses."""
        self.has_effects = op.stateful.data or bool(self.packed) or bool(stacks)
        self.reverse = isinstance(op, Scan) and op.reverse.data
        self.index = self.effects = -1
        """Which carried values are the iteration's number, and what stands for its effects; -1 for none."""

    # ---- before the loop

    def carry(self) -> None:
        """What enters."""
        op, cycle = self.op, self.cycle
        specs = op.inside if isinstance(op, While) else [spec_of(v.type) for v in op.carried]
        self.limit = None if isinstance(op, While) else self._limit()
        self.stacks = [self._stack(k) for k in self.packed]
        if self.packed:
            self.length = (None if op.open_length else self._rows()) or number(self.make, -1)
        if self._is_counted():
            self.index = cycle.carry(self._start())
        if self.has_effects:
            self.effects = cycle.carry(after_all(self.make, number(self.make, True), self.anchor))
        start = list(op.carried)
        if self.index < 0 and self.effects < 0:
            start[0] = after_all(self.make, start[0], op.tokens)
        self.carried = [cycle.carry(v, spec) for v, spec in zip(start, specs, strict=True)]
        self.main = max(self.effects, self.index, 0)
        """Stands for the iteration."""
        self.xs = [cycle.constant(self.taken[k].operands[0] if k in self.taken else x) for k, x in enumerate(op.xs)]
        self.constants = [cycle.constant(v) for v in (*op.captured, *op.handles)]
        self.entered_stacks = [cycle.constant(s) for s in self.stacks]
        self.bound = None if self.limit is None or self.reverse else cycle.constant(self.limit)

    def _is_counted(self) -> bool:
        """Whether anybody asks for the number of the iteration."""
        op = self.op
        if not isinstance(op, While) or op.count.first_use is not None or not (op.carried or self.has_effects):
            return True
        return any(block.args[0].first_use is not None for block in op.blocks)

    def _start(self) -> SSAValue:
        make = self.make
        if not self.reverse:
            return after_all(make, number(make, 0), self.anchor)
        assert self.limit is not None
        return after_all(make, make(Subtract, self.limit, number(make, 1)), self.anchor)

    def _limit(self) -> SSAValue:
        """How many rows a scan visits."""
        op = self.op
        assert isinstance(op, Scan)
        if op.count is not None:
            return op.count
        found = self._rows()
        if found is not None:
            return found
        (length,) = op.length.data
        raise error_at(
            Unimplemented,
            op,
            f"nothing tells how many rows {length} are",
            "use a tensor of that size in the loop, or give it a number of rows",
        )

    def _rows(self) -> SSAValue | None:
        """How many rows xs and ys have; None where nothing tells."""
        op, make = self.op, self.make
        (length,) = op.length.data
        if isinstance(length, int):
            return number(make, length)
        for value in (*op.xs, *op.carried, *op.captured):
            if length in (shape := spec_of(value.type).shape):
                return make(DimSize, value, axis=shape.index(length))
        return None

    def _stack(self, index: int) -> SSAValue:
        spec = self.op.ys_.data[index]
        attributes = {"label": "rows", "dtype": spec.dtype, "swap_memory": self.op.swap_memory.data}
        return self.make(fl.Stack, number(self.make, -1), *self.anchor, **attributes)

    # ---- an iteration

    def condition(self, inside: Nested) -> None:
        """Whether there is an iteration."""
        op, cycle, make = self.op, self.cycle, self.make
        if isinstance(op, While):
            moved = self._moved(op.condition, [cycle.value(k) for k in range(cycle.count)], [], inside)
            instead = {self.effects: after_all(make, cycle.value(self.effects), moved.tokens)} if moved.tokens else {}
            cycle.close(moved.value(0), instead)
        elif self.reverse:
            cycle.close(make(Compare, cycle.value(self.index), number(make, 0), direction="GE"))
        else:
            assert self.bound is not None
            cycle.close(make(Compare, cycle.value(self.index), self.bound, direction="LT"))

    def body(self, inside: Nested) -> None:
        """What happens in an iteration, and what the next one gets."""
        op, cycle, make = self.op, self.cycle, self.make
        pops: list[SSAValue] = []
        rows = [self._popped(k, x, pops) if k in self.taken else self._row(x) for k, x in enumerate(self.xs)]
        moved = self._moved(op.body, [cycle.on(k) for k in range(cycle.count)], rows, inside)
        for index, k in enumerate(self.carried):
            cycle.following(k, moved.value(index))
        if self.index >= 0:
            step = Subtract if self.reverse else Add
            cycle.following(self.index, make(step, cycle.on(self.index), number(make, 1)))
        if self.effects >= 0:
            here = cycle.on(self.effects)
            tokens = [*moved.tokens, *pops]
            if self.packed:
                before = make(Group, here)
                for k, stack in zip(self.packed, self.entered_stacks, strict=True):
                    row = moved.value(len(self.carried) + k)
                    tokens.append(make.op(fl.StackPush, stack, row, before).results[-1])
            cycle.following(self.effects, after_all(make, here, tokens))

    def _moved(self, block: Block, values: list[SSAValue], rows: list[SSAValue], inside: Nested) -> Moved:
        """The region's ops, in the frame. `values` are those that the loop carries."""
        index = values[max(self.index, 0)]  # nobody takes it where there is none
        return Moved(
            block,
            [index, *(values[k] for k in self.carried), *rows, *self.constants],
            self.make,
            live=[*values, *rows],
            pivot=once(lambda: self.make(Group, values[self.main])),
            ordered=self.effects >= 0,
            nested=inside,
        )

    def _row(self, xs: SSAValue) -> SSAValue:
        make, shape = self.make, spec_of(xs.type).shape
        if shape[0] == 0:  # there is no row to slice; what a body that never runs would take is of no account
            return make(Take, xs, self.cycle.on(self.index), axis=0)
        starts = [self.cycle.on(self.index), *(number(make, 0) for _ in shape[1:])]
        return make(Reshape, make(DynamicSlice, xs, *starts, sizes=(1, *shape[1:])), shape=shape[1:])

    def _popped(self, k: int, stack: SSAValue, pops: list[SSAValue]) -> SSAValue:
        """The next row of a stack; `pops` gets the token."""
        element = self.taken[k].properties["element"].data  # type: ignore[attr-defined]
        before = self.make(Group, self.cycle.on(self.effects))
        row, token = self.make.op(fl.StackPop, stack, before, element=element).results
        pops.append(token)
        return row

    # ---- after the loop

    def finish(self) -> dict[SSAValue, SSAValue]:
        """What leaves the frame, for the op's results."""
        op, cycle, make = self.op, self.cycle, self.make
        results: dict[SSAValue, SSAValue] = {}
        for k, result in zip(self.carried, op.finals, strict=True):
            if result.first_use is not None:
                results[result] = cycle.last(k, spec_of(result.type))
        if isinstance(op, While) and op.count.first_use is not None:
            results[op.count] = cycle.last(self.index)
        if self.packed or (op.token is not None and op.token.first_use is not None):
            done = make(Group, cycle.last(self.effects))
            if op.token is not None:
                results[op.token] = done
            for k, stack in zip(self.packed, self.stacks, strict=True):
                attributes = {"element": (op.ys_.data[k],), "length": op.length.data, "reverse": self.reverse}
                results[op.ys[k]] = make(fl.StackPack, stack, self.length, done, **attributes)
        return results
