"""Branches and loops without what nobody needs: results, carried values, what goes in, ops of their regions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from xdsl.ir import Block, Operation, SSAValue

from dfc.ir.builder import Builder, clone_into, erase, remade, replace_uses
from dfc.ir.construct import arrange_arguments
from dfc.ir.op import end_of
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.control import Branches, ControlFlow, Loop, Scan, While

SMALL = 64
"""Elements of constants that regions have copies of."""


Clean = Callable[[Block], object]
"""Erases what is unused in a block."""


def shrink(op: ControlFlow, clean: Clean) -> ControlFlow:
    """The op without results that have no use, and without what only these needed; equal operands are one, and small
    constants are inside. It is the op itself where there is nothing to take away."""
    if isinstance(op, Branches):
        return _branches(op, clean)
    assert isinstance(op, Loop)
    return _loop(op, clean)


# ---- branches


def _branches(op: Branches, clean: Clean) -> Branches:
    n, n_inputs = len(op.results_.data), op.n_inputs.data
    stays = [result.first_use is not None for result in op.results[:n]]
    if not all(stays):
        for block in op.blocks:
            last = end_of(block)
            last.operands = [v for k, v in enumerate(last.operands) if k >= n or stays[k]]
    for block in op.blocks:
        _fill_in(block, op.passed, range(n_inputs))
        clean(block)
    used = _used(op.blocks, op.passed)
    if all(stays) and len(used) == len(op.passed):
        return op
    for block in op.blocks:
        _keep(block, used)
    kept = sum(1 for i in used if i < n_inputs)
    made = remade(
        op,
        [op.selector, *(op.passed[i] for i in used), *op.tokens],
        n_inputs=kept,
        n_handles=len(used) - kept,
        results=tuple(s for s, stay in zip(op.results_.data, stays, strict=True) if stay),
    )
    _replace(op, made, {k: i for i, k in enumerate([k for k in range(n) if stays[k]])})
    return made


# ---- loops


def _loop(op: Loop, clean: Clean) -> Loop:
    n, n_xs = op.n_carried.data, len(op.xs)
    first_y = n + int(isinstance(op, While))
    ys = [k for k, y in enumerate(op.ys) if y.first_use is not None]
    carried = _needed(op, ys)
    same = [j for j in carried if op.yielded[j] is op.body_carried[j]]  # it never changes
    carried = [j for j in carried if j not in same]
    before = [*op.carried, *op.xs, *op.captured, *op.handles]
    last = end_of(op.body)
    if len(carried) < n or len(ys) < len(op.ys):
        values = op.yielded
        last.operands = [*(values[j] for j in carried), *(values[n + k] for k in ys), *values[n + len(op.ys) :]]
    for block in op.blocks:
        own = block.args
        for j in range(n):
            if j not in carried and j not in same and own[1 + j].first_use is not None:
                _drop_users(block, own[1 + j])
        first = 1 + n + n_xs
        _fill_in(block, [None, *before], [*(1 + j for j in same), *range(first, first + len(op.captured))])
        clean(block)
    captured = [*same, *range(n + n_xs, n + n_xs + op.n_captured.data)]
    rest = [*range(n, n + n_xs), *captured, *range(n + n_xs + op.n_captured.data, len(before))]
    used = _used(op.blocks, before, rest, offset=1)
    unchanged = len(carried) == n and len(ys) == len(op.ys) and len(used) == len(rest)
    if unchanged:
        return op
    xs = [i for i in used if n <= i < n + n_xs]
    kept = [i for i in used if i in captured]
    handles = [i for i in used if i >= n + n_xs + op.n_captured.data]
    for block in op.blocks:
        _keep(block, [0, *(1 + i for i in (*carried, *xs, *kept, *handles))])
    changes: dict[str, Any] = {"n_carried": len(carried), "n_captured": len(kept), "n_handles": len(handles)}
    changes["ys"] = tuple(op.ys_.data[k] for k in ys)
    count: list[SSAValue] = []
    if isinstance(op, Scan):
        changes["n_xs"] = len(xs)
        count = [op.count] if op.count is not None else []
        if not xs and not ys and count:
            changes["length"] = ()
    elif not ys and op.open_length is not None:
        changes["length"] = ()
    operands = [*count, *(before[i] for i in (*carried, *xs, *kept, *handles)), *op.tokens]
    made = remade(op, operands, **changes)
    places = {j: i for i, j in enumerate(carried)}
    extra = len(carried) + int(isinstance(op, While))
    if isinstance(op, While):
        places[n] = len(carried)
    places.update({first_y + k: extra + i for i, k in enumerate(ys)})
    replace_uses({op.results[j]: before[j] for j in same})
    _replace(op, made, places)
    return made


def _needed(op: Loop, ys: Sequence[int]) -> list[int]:
    """The carried values that something needs: a result with a use, the condition, an effect, or one that is needed."""
    n, n_ys = op.n_carried.data, len(op.ys)
    needed = {j for j in range(n) if op.finals[j].first_use is not None}
    ends: list[SSAValue] = [*(op.yielded[n + k] for k in ys), *op.yielded[n + n_ys :]]
    if isinstance(op, While):
        reached = _reached(op.condition, list(end_of(op.condition).operands))
        needed |= {j for j in range(n) if op.condition.args[1 + j] in reached}
    while True:
        reached = _reached(op.body, [*ends, *(op.yielded[j] for j in needed)])
        more = {j for j in range(n) if op.body.args[1 + j] in reached} - needed
        if not more:
            return sorted(needed)
        needed |= more


def _reached(block: Block, ends: Iterable[SSAValue]) -> set[SSAValue]:
    """The values that these need."""
    reached = set(ends)
    op = block.last_op
    op = None if op is None else op.prev_op
    while op is not None:
        if any(result in reached for result in op.results):
            reached.update(op.operands)
        op = op.prev_op
    return reached


def _drop_users(block: Block, value: SSAValue) -> None:
    """Erase the ops that use a value which nothing needs, and what uses these."""
    gone: set[SSAValue] = {value}
    ops: list[Operation] = []
    for op in block.ops:
        if any(o in gone for o in op.operands):
            gone.update(op.results)
            ops.append(op)
    for op in reversed(ops):
        erase(op)


# ---- what both need


def _fill_in(block: Block, operands: Sequence[SSAValue | None], indices: Iterable[int]) -> None:
    """Put copies of small constants in the place of the block's arguments for them."""
    for i in indices:
        operand = operands[i]
        owner = None if operand is None else operand.owner
        if isinstance(owner, ConstantOp) and _is_small(owner) and block.args[i].first_use is not None:
            first = block.first_op
            assert first is not None
            copy = clone_into(owner, Builder(block, before=first), {})
            block.args[i].replace_all_uses_with(copy.results[0])


def _is_small(op: ConstantOp) -> bool:
    return math.prod(op.value.data.shape) <= SMALL


def _used(
    blocks: Sequence[Block], operands: Sequence[SSAValue], indices: Iterable[int] | None = None, *, offset: int = 0
) -> list[int]:
    """Which operands a block uses by its argument at their number plus `offset`. Of equal ones the first counts; the
    arguments of the others are replaced."""
    first: dict[SSAValue, int] = {}
    found: list[int] = []
    for i in range(len(operands)) if indices is None else indices:
        if all(block.args[i + offset].first_use is None for block in blocks):
            continue
        known = first.setdefault(operands[i], i)
        if known == i:
            found.append(i)
            continue
        if blocks[0].args[known + offset].type is not blocks[0].args[i + offset].type:  # an x is seen by rows
            found.append(i)
            continue
        for block in blocks:
            block.args[i + offset].replace_all_uses_with(block.args[known + offset])
    return found


def _keep(block: Block, indices: Sequence[int]) -> None:
    """Leave the arguments with these numbers, in this order."""
    order = [block.args[i] for i in indices]
    for argument in [a for a in block.args if a not in order]:
        block.erase_arg(argument)
    arrange_arguments(block, order)


def _replace(op: ControlFlow, made: ControlFlow, places: dict[int, int]) -> None:
    """Put results of the new op, by number, in the place of the old one's."""
    values: dict[SSAValue, SSAValue] = {op.results[old]: made.results[new] for old, new in places.items()}
    if op.token is not None and made.token is not None:
        values[op.token] = made.token
    replace_uses(values)
    erase(op)
