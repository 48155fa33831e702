"""Products in scans that need not be made one row at a time.

A product of a row with what does not change is made of all rows at once, before the scan. A sum over the iterations of
products is one product after it, over the rows as well: that is what gradients of weights are. Both are the same work
in fewer and larger pieces, and the second spares the sum's memory traffic in each iteration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from dfc.ir.attributes import Array
from dfc.ir.builder import Builder, erase, placement_of, remade, replace, replace_uses
from dfc.ir.dims import Shape
from dfc.ir.dtypes import int32
from dfc.ir.op import Op, end_of
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.control import Scan
from dfc.ir.ops.elementwise import Add, Compare, Select
from dfc.ir.ops.function import specs_of
from dfc.ir.ops.linalg import DotGeneral
from dfc.ir.ops.shape import BroadcastInDim, Iota, Reshape, Transpose
from dfc.ir.types import Spec, nbytes, spec_of
from dfc.passes.manager import Pass

LARGEST = 256 << 20
"""Bytes that one product of all rows may take."""


@dataclass(frozen=True)
class LoopProducts(Pass):
    """Make products of rows before a scan, and sums of products after it, where that is the same in fewer pieces.

    Requires: phase trace or graph.
    Ensures: in a scan without a count no df.dot_general is left of a row, on its left and without batch axes, with a
    captured value, unless the product of all rows takes more than LARGEST bytes; in any scan no carried value is a sum
    of products alone, unless what must be kept for it is larger than the sum. Loops with `swap_memory` stay as they
    are. Rounding may differ, since sums are added up in another order.
    """

    name: ClassVar[str] = "loop-products"

    def apply(self, program: ModuleOp) -> dict[str, int]:
        scans = [op for op in _scans(program) if not op.swap_memory.data]
        before = after = 0
        for op in scans:
            op, n = _made_before(op)
            before += n
            after += _made_after(op)
        return {"made before loops": before, "made after loops": after}


def _scans(op: Operation) -> Iterator[Scan]:
    """The scans in the op's regions, inner ones first."""
    for region in op.regions:
        for block in region.blocks:
            for inner in block.ops:
                if inner.regions:
                    yield from _scans(inner)
                    if isinstance(inner, Scan):
                        yield inner


def _bytes(spec: Spec, rows: Shape = ()) -> int:
    return nbytes(Spec((*rows, *spec.shape), spec.dtype))


# ---- before


def _made_before(op: Scan) -> tuple[Scan, int]:
    """The scan with products of its rows among the xs, and how many."""
    if op.count is not None or not op.length.data:
        return op, 0
    rows, captured = op.body_xs, op.body_captured
    found = [
        dot
        for dot in op.body.ops
        if isinstance(dot, DotGeneral)
        and dot.lhs in rows
        and dot.rhs in captured
        and not dot.lhs_batch.data
        and _bytes(spec_of(dot.result.type), op.length.data) <= LARGEST
    ]
    if not found:
        return op, 0
    n, n_xs = op.n_carried.data, op.n_xs.data
    made = []
    for dot in found:
        x, w = op.xs[rows.index(dot.lhs)], op.captured[captured.index(dot.rhs)]
        contracting = tuple(1 + a for a in dot.lhs_contracting.data)
        attributes = {**dot.values(), "lhs_contracting": contracting}
        made.append(_before(op, dot).op(DotGeneral, x, w, **attributes).result)
    for k, dot in enumerate(found):
        argument = op.body.insert_arg(dot.result.type, 1 + n + n_xs + k)
        dot.result.replace_all_uses_with(argument)
        erase(dot)
    operands = [*op.carried, *op.xs, *made, *op.operands[n + n_xs :]]
    scan = remade(op, operands, n_xs=n_xs + len(made))
    replace(op, scan.results)
    return scan, len(made)


def _before(op: Operation, like: Op, loop: Operation | None = None) -> Builder:
    """For what is made for an op of a loop: where that was asked to be, or else the loop."""
    assert op.parent is not None
    where = placement_of(like) or placement_of(loop or op)
    return Builder(op.parent, before=op, location=like.location, annotations=where)


# ---- after


@dataclass
class _Sum:
    """A carried value that is a sum of products: `product` and what is done with it, the first op last."""

    number: int
    product: DotGeneral
    then: list[Op]


def _made_after(op: Scan) -> int:
    """Make sums of products after the scan, which keeps what these are of; how many."""
    if not op.length.data:
        return 0
    sums = [s for j in range(op.n_carried.data) if (s := _sum_at(op, j)) is not None]
    new: list[SSAValue] = []
    chosen: list[_Sum] = []
    for s in sums:
        more = [v for v in dict.fromkeys((s.product.lhs, s.product.rhs)) if not _is_kept(op, v, new)]
        room = sum(_bytes(spec_of(v.type)) for v in more)
        rows = op.length.data
        of_all = sum(_bytes(spec_of(v.type), rows) for v in more)
        if room < _bytes(spec_of(op.carried[s.number].type)) and of_all <= LARGEST:
            new += more
            chosen.append(s)
    if not chosen:
        return 0
    n, n_ys = op.n_carried.data, len(op.ys)
    last = end_of(op.body)
    values = list(op.yielded)
    for s in chosen:
        values[s.number] = op.body_carried[s.number]  # nothing is added; without other uses it is pruned
    last.operands = [*values[: n + n_ys], *new, *values[n + n_ys :]]
    slices = [*op.yielded[n : n + n_ys], *new]
    rows_of = {v: op.xs[k] for k, v in enumerate(op.body_xs)}
    made = remade(op, ys=specs_of(slices))
    replace(op, [*made.results[: n + n_ys], *made.results[n + n_ys + len(new) :]])
    stacked = dict(zip(slices, made.ys, strict=True))
    follows = made.next_op
    assert follows is not None, "a block ends in another op"
    for s in chosen:
        _add_up(made, s, rows_of, stacked, _before(follows, s.product, made))
    return len(chosen)


def _sum_at(op: Scan, number: int) -> _Sum | None:
    """How a carried value is a sum of products and nothing else uses it; None where it is not so."""
    argument, total = op.body_carried[number], op.yielded[number]
    add = total.owner
    if (
        not isinstance(add, Add)
        or not argument.has_one_use()
        or not total.has_one_use()
        or argument not in add.operands
    ):
        return None
    value = add.operands[1] if add.operands[0] is argument else add.operands[0]
    then: list[Op] = []
    while isinstance(value.owner, Transpose | Reshape) and value.has_one_use():
        then.append(value.owner)
        value = value.owner.operands[0]
    dot = value.owner
    if not isinstance(dot, DotGeneral) or dot.lhs_batch.data or not value.has_one_use() or dot.parent is not op.body:
        return None
    constant = {*op.body_captured, op.body.args[0]}
    return None if dot.lhs in constant or dot.rhs in constant else _Sum(number, dot, then)


def _is_kept(op: Scan, value: SSAValue, new: Sequence[SSAValue]) -> bool:
    n = op.n_carried.data
    return value in op.body_xs or value in op.yielded[n : n + len(op.ys)] or value in new


def _add_up(
    op: Scan, s: _Sum, rows_of: dict[SSAValue, SSAValue], stacked: dict[SSAValue, SSAValue], make: Builder
) -> None:
    """The sum after the scan, in the place of what was carried; the product and what followed it are gone."""
    dot = s.product
    sides = [stacked.get(v) or _visited(op, rows_of[v], make) for v in (dot.lhs, dot.rhs)]
    attributes = dot.values()
    for name in ("lhs_contracting", "rhs_contracting"):
        attributes[name] = (0, *(1 + a for a in attributes[name]))
    value = make.op(DotGeneral, *sides, **attributes).result
    for step in reversed(s.then):
        value = make.op(type(step), value, **step.values()).results[0]
    replace_uses({op.finals[s.number]: make(Add, op.carried[s.number], value)})


def _visited(op: Scan, rows: SSAValue, make: Builder) -> SSAValue:
    """The rows, zeros for those that a count leaves out, whatever is there."""
    if op.count is None:
        return rows
    spec = spec_of(rows.type)
    place = make.op(Iota, shape=spec.shape[:1], dtype=int32, axis=0).results[0]
    count = make.op(BroadcastInDim, op.count, shape=spec.shape[:1], dims=()).results[0]
    inside = make.op(Compare, place, count, direction="LT").results[0]
    everywhere = make.op(BroadcastInDim, inside, shape=spec.shape, dims=(0,)).results[0]
    zero = make.op(ConstantOp, value=Array.of(np.zeros((), spec.dtype.numpy))).results[0]
    zeros = make.op(BroadcastInDim, zero, shape=spec.shape, dims=()).results[0]
    return make.op(Select, everywhere, rows, zeros).results[0]
