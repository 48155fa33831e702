"""Room for what loops keep of each iteration, where only running them tells how many there are.

Such a loop has a symbol for a length. Whoever runs the program chooses its value, and learns at the end how many
iterations there were at most: if it was too small, the program runs again with more. What a loop keeps is garbage
then, so a loop whose end may depend on that ends at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from xdsl.ir import Block, Operation, SSAValue

from dfc.ir.attributes import Array
from dfc.ir.builder import Builder, erase, remade, replace
from dfc.ir.construct import arrange_arguments
from dfc.ir.dims import SymbolicDim, symbol
from dfc.ir.dtypes import int32
from dfc.ir.op import end_of
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.control import INDEX, Branches, ControlFlow, Loop, NeedLength, Scan, While
from dfc.ir.ops.dataflow import Enter, Stack, StackPack, StackPush, Switch
from dfc.ir.ops.elementwise import And, Compare, Maximum, Select
from dfc.ir.ops.function import Island, Yield
from dfc.ir.ops.graph import After
from dfc.ir.ops.indexing import TensorScatter
from dfc.ir.ops.shape import BroadcastInDim, DimSize
from dfc.ir.types import Spec, nbytes, spec_of
from dfc.passes.moving import number

START = 32
"""How many iterations a loop has room for at first."""
WORTH_SWAPPING = 2048
"""Bytes. What is on a stack and not larger stays where it is."""
FULL = 0.7
"""The part of the device's memory from which on elements of stacks go to the host's, if they may."""
Needs = Mapping[str, SSAValue]
"""By symbol the number of iterations, in the block at hand."""
COUNT = Spec((), int32)


def add_needs(block: Block) -> None:
    """Say at the end of the block how much room each of its loops, and those inside, needed."""
    make = Builder.before_op(end_of(block))
    for op in list(block.ops):
        if isinstance(op, ControlFlow):
            for name, count in _needs_of(op)[1]:
                make.op(NeedLength, count, length=(symbol(name),))


def add_need(needs: dict[str, SSAValue], op: NeedLength, count: SSAValue, make: Builder) -> None:
    """Note in an island's block what the op says, by the count that stands there for its own: of several the most."""
    name = str(op.length.data[0])
    needs[name] = count if name not in needs else make(Maximum, needs[name], count)


def whose_length(op: NeedLength, counted: Iterable[Scan]) -> Operation | None:
    """The loop, or what it is inside of, that the op is about; `counted` are the loops of the block that are given how
    many iterations they have. None for a count that something else has made."""
    owner = op.count.owner
    if isinstance(owner, ControlFlow):
        return owner
    name = op.length.data[0].text if isinstance(op.length.data[0], SymbolicDim) else None
    return next((scan for scan in counted if scan.count is op.count and scan.open_length == name), None)


def _needs(block: Block) -> Needs:
    found: dict[str, SSAValue] = {}
    for op in list(block.ops):
        if isinstance(op, ControlFlow):
            made, needs = _needs_of(op)
            for name, count in needs:
                found[name] = count if name not in found else _larger(made, found[name], count)
    return found


def _needs_of(op: ControlFlow) -> tuple[ControlFlow, list[tuple[str, SSAValue]]]:
    """The op, in its own place, with what says how much room it needed; and that."""
    inner = [_needs(block) for block in op.blocks]
    names = list(dict.fromkeys(name for needs in inner for name in needs))
    made, found = op, list[tuple[str, SSAValue]]()
    if names:
        made, counts = _with_counts(op, inner, names)
        found += zip(names, counts, strict=True)
    if isinstance(made, Loop) and (own := made.open_length) is not None:
        assert made.count is not None, "a loop of unknown length has a count"
        found.append((own, made.count))
    return made, found


def _larger(op: Operation, a: SSAValue, b: SSAValue) -> SSAValue:
    """The larger one, computed behind the op."""
    following, block = op.next_op, op.parent
    assert following is not None and block is not None
    return Builder(block, before=following, location=op.location)(Maximum, a, b)


def _with_counts(op: ControlFlow, inner: Sequence[Needs], names: list[str]) -> tuple[ControlFlow, list[SSAValue]]:
    """The op, in its own place, with the largest counts of what is in its regions among its results."""
    made = _branches(op, inner, names) if isinstance(op, Branches) else _loop(op, inner[-1], names)
    results: list[SSAValue] = list(made.results)
    n = len(names)
    end = made.n_carried.data if isinstance(made, Loop) else len(results)
    replace(op, [*results[: end - n], *results[end:]])
    return made, results[end - n : end]


def _branches(op: Branches, inner: Sequence[Needs], names: list[str]) -> Branches:
    for block, needs in zip(op.blocks, inner, strict=True):
        last = end_of(block)
        none = None if all(name in needs for name in names) else number(Builder.before_op(last), 0)
        last.operands = [*last.operands, *(needs.get(name, none) for name in names)]  # type: ignore[list-item]
    return remade(op, results=(*op.results_.data, *[COUNT] * len(names)))


def _loop(op: ControlFlow, needs: Needs, names: list[str]) -> Loop:
    assert isinstance(op, Loop)
    n, start = len(names), 1 + op.n_carried.data
    for block in op.blocks:
        added = [block.insert_arg(INDEX, len(block.args), op.location) for _ in names]
        own = list(block.args[:-n])
        arrange_arguments(block, [*own[:start], *added, *own[start:]])
    last = end_of(op.body)
    make, counts = Builder.before_op(last), op.body.args[start : start + n]
    totals = [make(Maximum, before, needs[name]) for before, name in zip(counts, names, strict=True)]
    last.operands = [*last.operands[: start - 1], *totals, *last.operands[start - 1 :]]
    if isinstance(op, While):
        _end_without_room(op, names, start)
    zeros = [number(Builder.before_op(op), 0)] * n
    count = [op.count] if isinstance(op, Scan) and op.count is not None else []
    operands = [*count, *op.carried, *zeros, *op.xs, *op.captured]
    return remade(op, operands, n_carried=op.n_carried.data + n)


def _end_without_room(op: While, names: list[str], start: int) -> None:
    """Let the loop go on only while there was room enough in its iterations so far."""
    last = end_of(op.condition)
    make, holds = Builder.before_op(last), last.operands[0]
    for count, name in zip(op.condition.args[start : start + len(names)], names, strict=True):
        holds = make(And, holds, make(Compare, count, _room(make, name), direction="LE"))
    last.operands = [holds]


def guarded(make: Builder, needs: Needs, written: Sequence[tuple[SSAValue, SSAValue]]) -> list[SSAValue]:
    """What variables become, from (value written, value before) of each: as before where there was too little room."""
    if not needs or not written:
        return [value for value, _ in written]
    holds: SSAValue | None = None
    for name, count in needs.items():
        fits = make(Compare, count, _room(make, name), direction="LE")
        holds = fits if holds is None else make(And, holds, fits)
    assert holds is not None
    return [_guarded(make, holds, value, before) for value, before in written]


def _guarded(make: Builder, holds: SSAValue, value: SSAValue, before: SSAValue) -> SSAValue:
    """A write to rows of a large variable names no row then, so that it need not be copied."""
    op = value.owner
    if isinstance(op, TensorScatter) and op.operands[0] is before and op.result.first_use is None:
        indices = op.operands[1]
        spec = spec_of(indices.type)
        if spec.dtype.kind == "int":
            none = make(ConstantOp, value=Array.of(np.array(-1, spec.dtype.numpy)))
            nowhere = make(BroadcastInDim, none, shape=spec.shape, dims=())
            indices = make(Select, _spread(make, holds, spec), indices, nowhere)
            return make(type(op), before, indices, *op.operands[2:], **op.values())
    spec = spec_of(value.type)
    return make(Select, _spread(make, holds, spec), value, before)


def guards(op: Select) -> bool:
    """Whether the op, in an island, is what `guarded` made for a variable."""
    user = op.result.first_use
    return user is not None and isinstance(user.operation, Yield)


def without_guards(island: Island) -> None:
    """Take out what `guarded` made: of an island whose writes wait until it is known that there was room enough."""
    end = end_of(island.block)
    for index in range(len(island.results_.data), len(end.operands) - len(island.needed)):
        op = end.operands[index].owner
        if isinstance(op, Select) and _is_guard(op.operands[0], island.needed):
            end.operands[index] = op.operands[1]
        if isinstance(op, TensorScatter):
            where = op.operands[1].owner
            if isinstance(where, Select) and _is_guard(where.operands[0], island.needed):
                op.operands[1] = where.operands[1]
    for op in reversed(list(island.block.ops)):
        if op is not end and all(result.first_use is None for result in op.results):
            erase(op)


def _is_guard(value: SSAValue, names: Sequence[str]) -> bool:
    """Whether the value says that there was room enough."""
    op = value.owner
    if isinstance(op, BroadcastInDim | And):
        return all(_is_guard(o, names) for o in op.operands)
    if not isinstance(op, Compare) or not isinstance(size := op.operands[1].owner, DimSize):
        return False
    full = size.operands[0].owner
    return isinstance(full, BroadcastInDim) and [str(d) for d in full.shape.data] in [[name] for name in names]


def _spread(make: Builder, holds: SSAValue, spec: Spec) -> SSAValue:
    return make(BroadcastInDim, holds, shape=spec.shape, dims=()) if spec.shape else holds


def _room(make: Builder, name: str) -> SSAValue:
    """The size that was chosen for the symbol."""
    return make(DimSize, make(BroadcastInDim, number(make, 0), shape=(symbol(name),), dims=()), axis=0)


# ---- stacks


def kept_by(op: Operation) -> int:
    """The bytes that loops in the op may keep of all their iterations while a device runs it."""
    return sum(nbytes(spec_of(y.type), START) for loop in op.walk() if isinstance(loop, Loop) for y in loop.ys)


def kept_on_stacks(block: Block, limit: int) -> int:
    """The bytes that loops which the host runs keep of all their iterations, as far as can be told, on a device of
    `limit` bytes."""
    rows = {op.operands[0]: op.length.data[0] for op in block.ops if isinstance(op, StackPack)}
    kept = swapped = 0
    for op in block.ops:
        if isinstance(op, StackPush) and isinstance(stack := behind_gates(op.operands[0]).owner, Stack):
            length = rows.get(stack.handle)
            element = nbytes(spec_of(op.operands[1].type), START)
            size = element * (length if isinstance(length, int) else START)
            if stack.swap_memory.data and element > WORTH_SWAPPING:
                swapped += size
            else:
                kept += size
    return kept + min(swapped, int(FULL * limit))


def behind_gates(value: SSAValue) -> SSAValue:
    """What is this value wherever it is live."""
    while isinstance(owner := value.owner, Enter | Switch | After):
        value = owner.operands[0]
    return value
