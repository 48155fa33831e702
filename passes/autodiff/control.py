"""Gradients of branches and loops.

The body is differentiated where it stands, then cut in two: its forward part stays and gives, beside its results, what
the backward part needs of it; the backward part becomes the body of another op. Of a loop that is a scan over what each
iteration kept, last to first. Gradients by captured values add up over the iterations. Both are ops like any other, so
gradients of gradients need nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import Block, Operation, Region, SSAValue

from dfc.errors import NoGradient
from dfc.ir import locations
from dfc.ir.attributes import Array
from dfc.ir.builder import Builder, erase, remade, replace
from dfc.ir.construct import append
from dfc.ir.dims import Dim, symbol
from dfc.ir.op import end_of, short_name
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.control import INDEX, Branches, Case, If, Loop, NeedLength, Scan, While
from dfc.ir.ops.elementwise import Add
from dfc.ir.ops.function import Yield, specs_of
from dfc.ir.types import Spec, nbytes, spec_behind, spec_of, tensor_type
from dfc.passes.autodiff.expand import backward, fresh_length
from dfc.passes.autodiff.paths import Paths, bodies_of, carries
from dfc.passes.autodiff.residuals import Residuals, choose, rerun
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule

LARGEST_KNOWN_ROOM = 64 << 20
"""Bytes. Of a loop that has at most so many iterations all of them get room, if that is not more; else the room is what
turns out to be needed."""


class _Cut:
    """A block that was differentiated: its gradients, and the backward ops, which are at its end until `move`."""

    def __init__(self, block: Block, ys: Sequence[SSAValue], xs: Sequence[SSAValue]) -> None:
        """Differentiate ys, values of the block, by xs. The gradients of ys are arguments of the block for now."""
        self.block = block
        last = end_of(block)
        self.seeds = [block.insert_arg(y.type, len(block.args)) for y in ys]
        b = RuleBuilder(last)
        start = b.op(ConstantOp, value=Array.of(np.zeros(())))
        self.grads: list[SSAValue | None] = list(backward(ys, xs, self.seeds, b)) if ys else [None] * len(xs)
        self.ops = _between(start, last)
        erase(start)

    def choose(self, free: Sequence[SSAValue]) -> Residuals:
        """What the backward ops need of the block. `free` are arguments that are at hand there too."""
        results = [g for g in self.grads if g is not None]
        found = choose(self.block, self.ops, results, {*free, *self.seeds})
        for seed in self.seeds:
            found.arguments.pop(seed, None)
        return found

    def drop(self) -> None:
        """Take the backward ops away."""
        for op in self.ops:
            op.operands = []
        for op in self.ops:
            erase(op)
        for seed in self.seeds:
            self.block.erase_arg(seed)

    def move(self, target: Block, mapping: dict[SSAValue, SSAValue], found: Residuals) -> list[SSAValue | None]:
        """Put the backward ops, and copies of what they need again, into another block; the gradients there."""
        make = Builder(target)
        rerun(found, make, mapping)
        for op in self.ops:
            self.block.detach_op(op)
            op.operands = [mapping.get(o, o) for o in op.operands]
            append(target, op)
        for seed in self.seeds:
            self.block.erase_arg(seed)
        return [None if g is None else mapping.get(g, g) for g in self.grads]


def _between(first: Operation, last: Operation) -> list[Operation]:
    ops: list[Operation] = []
    op = first.next_op
    while op is not None and op is not last:
        ops.append(op)
        op = op.next_op
    return ops


@rule(If)
def if_(op: If, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The gradients of the branch that was taken; zeros by what only others use."""
    return _branches(op, grads, b)


@rule(Case)
def case(op: Case, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return _branches(op, grads, b)


@rule(While)
def while_(op: While, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """A scan over the iterations that there were."""
    if op.invariants is not None:
        raise NoGradient(
            "no gradient passes through a loop in which sizes change from iteration to iteration",
            op=short_name(op),
            location=locations.describe(op.location),
            hint="keep the sizes: pad to the largest one",
        )
    return _loop(op, grads, b)


@rule(Scan)
def scan(op: Scan, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """The same in the other direction."""
    return _loop(op, grads, b)


non_differentiable(NeedLength, "has no results")


# ---- loops


def _loop(op: Loop, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    n, n_xs, n_captured = op.n_carried.data, len(op.xs), op.n_captured.data
    start = len(op.operands) - len(op.tokens) - op.n_handles.data - n_captured - n_xs - n
    reached = b.reached[start : len(op.operands) - len(op.tokens)]
    first_y = n + int(isinstance(op, While))
    of_ys = list(grads[first_y : first_y + len(op.ys)])
    active, arguments = _flowing(op, list(grads[:n]), of_ys, reached)
    carried = [j for j in range(n) if j in active]
    if not arguments:
        return [None] * len(op.operands)
    given = [k for k, g in enumerate(of_ys) if g is not None and carries(op.ys[k].type)]
    others = [a for a in arguments if a > n]  # of the body's arguments, after its number and what is carried
    cut = _Cut(
        op.body,
        [*(op.yielded[j] for j in carried), *(op.yielded[n + k] for k in given)],
        [*(op.body.args[1 + j] for j in carried), *(op.body.args[a] for a in others)],
    )
    free = [op.body.args[0], *op.body.args[1 + n : len(op.body.args) - len(cut.seeds)]]
    found = cut.choose(free)
    forward = _keeping(op, found)
    made, sums, slices = _backward_scan(
        forward, cut, found, [grads[j] for j in carried], [of_ys[k] for k in given], carried, others, b
    )
    by_argument: dict[int, SSAValue] = {1 + j: made[i] for i, j in enumerate(carried)}
    by_argument.update(sums)
    by_argument.update(slices)
    body = range(1, 1 + n + n_xs + n_captured + op.n_handles.data)
    return [*[None] * start, *(by_argument.get(a) for a in body), *[None] * len(op.tokens)]


def _flowing(op: Loop, finals: list[Any], of_ys: list[Any], reached: Sequence[bool]) -> tuple[set[int], list[int]]:
    """Which carried values have a gradient, and which of the body's arguments one flows to: those that an x reaches, in
    some iteration, and that reach a result with a gradient."""
    (body,) = bodies_of(op)
    n, args = op.n_carried.data, body.block.args
    paths = Paths([])
    outputs = {j for j, g in enumerate(finals) if g is not None and carries(op.finals[j].type)}
    ys = {n + k for k, g in enumerate(of_ys) if g is not None and carries(op.ys[k].type)}
    while True:
        reaching = paths.reaching(body.block.last_op, [body.returned[k] for k in sorted(outputs | ys)])
        more = {j for j in range(n) if args[1 + j] in reaching.values and carries(args[1 + j].type)}
        if more <= outputs:
            break
        outputs |= more
    seeds: dict[SSAValue, int] = {args[1 + i]: 1 for i, r in enumerate(reached) if r and carries(args[1 + i].type)}
    while True:
        masks = paths.masks(reaching, seeds)
        more = {j for j in outputs if masks.get(body.returned[j]) and args[1 + j] not in seeds}
        if not more:
            break
        seeds |= {args[1 + j]: 1 for j in more}
    active = {j for j in outputs if args[1 + j] in seeds}
    arguments = [a for a in range(1, len(args)) if args[a] in seeds and args[a] in reaching.values]
    return active, [a for a in arguments if a > n or a - 1 in active]


def _keeping(op: Loop, found: Residuals) -> Loop:
    """The loop with what was chosen among its ys, in the place of `op`."""
    n, n_ys = op.n_carried.data, len(op.ys)
    arguments = [a for a in found.arguments if 1 <= a.index <= n]  # carried values, at the start of an iteration
    values: list[SSAValue] = [*arguments, *found.kept]
    last = op.body.last_op
    assert isinstance(last, Yield)
    slices = op.yielded[n : n + n_ys]
    new = [v for v in values if v not in slices]
    last.operands = [*op.yielded[: n + n_ys], *new, *op.yielded[n + n_ys :]]
    ys = specs_of([*slices, *new])
    made = remade(op, ys=ys, length=(_room(op, ys),) if new else op.length.data)
    end = n + int(isinstance(op, While)) + n_ys
    replace(op, [*made.results[:end], *made.results[end + len(new) :]])
    return made


def _room(op: Loop, ys: Sequence[Spec]) -> Dim:
    """The number of rows of what is kept: a number where the most is known and not large, else a new symbol."""
    if op.length.data:
        (length,) = op.length.data
        if not isinstance(op, While) or not isinstance(length, int) or op.ys:
            return length
        row = sum(nbytes(spec, LARGEST_KNOWN_ROOM) for spec in ys)
        if length * row <= LARGEST_KNOWN_ROOM:
            return length
    return symbol(fresh_length())


def _backward_scan(
    op: Loop,
    cut: _Cut,
    found: Residuals,
    finals: Sequence[Any],
    of_ys: Sequence[Any],
    carried: Sequence[int],
    others: Sequence[int],
    b: RuleBuilder,
) -> tuple[list[SSAValue], dict[int, SSAValue], dict[int, SSAValue]]:
    """The scan from the last iteration to the first: the gradients of the carried values; by argument of the forward
    body those of captured values and handles, summed up; and likewise those of xs, row by row."""
    n, n_xs = op.n_carried.data, len(op.xs)
    arguments = list(found.arguments)
    slices = [a for a in others if a <= n + n_xs]
    summed = [a for a in others if a > n + n_xs]
    saved: list[SSAValue] = [*(a for a in arguments if 1 <= a.index <= n), *found.kept]
    rows_used = [a for a in arguments if n < a.index <= n + n_xs]
    captured_used = [a for a in arguments if a.index > n + n_xs]
    forward_slices = op.yielded[n : n + len(op.ys)]
    xs = [*of_ys, *(op.ys[forward_slices.index(v)] for v in saved), *(op.xs[a.index - 1 - n] for a in rows_used)]
    captured = [op.captured[a.index - 1 - n - n_xs] for a in captured_used]
    gradients = [b.full(0, op.carried[j]) if g is None else g for j, g in zip(carried, finals, strict=True)]
    sums = [b.full_of(0, op.body.args[a].type) for a in summed]
    row_types = [tensor_type(s.shape[1:], s.dtype) for s in map(_spec, xs)]
    block = Block(arg_types=[INDEX, *(v.type for v in (*gradients, *sums)), *row_types, *(v.type for v in captured)])
    own = iter(block.args)
    mapping: dict[SSAValue, SSAValue] = {op.body.args[0]: next(own)}
    mapping.update(zip(cut.seeds[: len(carried)], own, strict=False))
    totals = [next(own) for _ in summed]
    mapping.update(zip([*cut.seeds[len(carried) :], *saved, *rows_used, *captured_used], own, strict=True))
    made = cut.move(block, mapping, found)
    end = RuleBuilder.at_end(block, b.location)
    next_gradients = [end.full(0, v) if g is None else g for g, v in zip(made, gradients, strict=False)]
    of_others = dict(zip(others, made[len(carried) :], strict=True))
    added = [t if (g := of_others[a]) is None else end(Add, t, g) for a, t in zip(summed, totals, strict=True)]
    rows = [g if (g := of_others[a]) is not None else end.full_of(0, op.body.args[a].type) for a in slices]
    end.op(Yield, *next_gradients, *added, *rows)
    count = op.count
    scanned = b.op(
        Scan,
        *([] if count is None else [count]),
        *gradients,
        *sums,
        *xs,
        *captured,
        regions=[Region([block])],
        n_carried=len(gradients) + len(sums),
        n_xs=len(xs),
        n_captured=len(captured),
        n_handles=0,
        stateful=False,
        length=op.length.data if xs or slices or count is None else (),
        counted=count is not None,
        reverse=not (isinstance(op, Scan) and op.reverse.data),
        ys=specs_of(rows),
        parallel_iterations=op.parallel_iterations.data,
        swap_memory=op.swap_memory.data,
    )
    finals_made = scanned.finals
    by_sum = dict(zip(summed, finals_made[len(gradients) :], strict=True))
    return finals_made[: len(gradients)], by_sum, dict(zip(slices, scanned.ys, strict=True))


def _spec(value: SSAValue) -> Spec:
    return spec_of(value.type)


# ---- branches


def _branches(op: Branches, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    n = len(op.results_.data)
    flowing = [k for k in range(n) if grads[k] is not None and carries(op.results[k].type)]
    inputs = [i for i, r in enumerate(b.reached[1 : 1 + len(op.passed)]) if r and carries(op.passed[i].type)]
    if not flowing or not inputs:
        return [None] * len(op.operands)
    cuts, residuals = [], []
    for block in op.blocks:
        last = end_of(block)
        n_args = len(block.args)
        cut = _Cut(block, [last.operands[k] for k in flowing], [block.args[i] for i in inputs])
        cuts.append(cut)
        residuals.append(cut.choose(block.args[:n_args]))
    wanted = [k for k in range(len(inputs)) if any(cut.grads[k] is not None for cut in cuts)]
    if not wanted:
        for cut in cuts:
            cut.drop()
        return [None] * len(op.operands)
    slots, places = _slots([found.kept for found in residuals])
    forward = _with_slots(op, slots, places, residuals)
    kept = forward.results[n : n + len(slots)]
    passed = sorted({a.index for found in residuals for a in found.arguments if a.index < len(op.passed)})
    seeds = [grads[k] for k in flowing]
    operands = [*kept, *(forward.passed[i] for i in passed), *seeds]
    results = tuple(spec_behind(forward.passed[inputs[k]].type) for k in wanted)
    regions = [
        _backward_branch(cut, found, place, [v.type for v in operands], passed, len(slots), wanted, results, b)
        for cut, found, place in zip(cuts, residuals, places, strict=True)
    ]
    made = b.op(
        type(op),
        forward.selector,
        *operands,
        regions=regions,
        n_inputs=len(operands),
        n_handles=0,
        stateful=False,
        results=results,
    )
    found_by = {inputs[k]: made.results[i] for i, k in enumerate(wanted)}
    return [None, *(found_by.get(i) for i in range(len(forward.passed))), *[None] * len(forward.tokens)]


def _slots(kept: Sequence[Sequence[SSAValue]]) -> tuple[list[Spec], list[list[int]]]:
    """Results for what the branches keep: values of one spec in different branches share one. The specs, and where each
    value of each branch is."""
    slots: list[Spec] = []
    places: list[list[int]] = []
    for values in kept:
        taken: set[int] = set()
        place: list[int] = []
        for value in values:
            spec = spec_of(value.type)
            free = (i for i, s in enumerate(slots) if s == spec and i not in taken)
            index = next(free, len(slots))
            if index == len(slots):
                slots.append(spec)
            taken.add(index)
            place.append(index)
        places.append(place)
    return slots, places


def _with_slots(
    op: Branches, slots: Sequence[Spec], places: Sequence[Sequence[int]], residuals: Sequence[Residuals]
) -> Branches:
    """The op with the slots among its results, in the place of `op`; a branch that does not use one gives zeros."""
    n = len(op.results_.data)
    for block, place, found in zip(op.blocks, places, residuals, strict=True):
        last = block.last_op
        assert isinstance(last, Yield)
        values: dict[int, SSAValue] = dict(zip(place, found.kept, strict=True))
        make = RuleBuilder(last)
        filled = [values[i] if i in values else make.full_of(0, tensor_type(*s)) for i, s in enumerate(slots)]
        last.operands = [*last.operands[:n], *filled, *last.operands[n:]]
    made = remade(op, results=(*op.results_.data, *slots))
    replace(op, [*made.results[:n], *made.results[n + len(slots) :]])
    return made


def _backward_branch(
    cut: _Cut,
    found: Residuals,
    place: Sequence[int],
    types: Sequence[Any],
    passed: Sequence[int],
    n_slots: int,
    wanted: Sequence[int],
    results: Sequence[Spec],
    b: RuleBuilder,
) -> Region:
    block = Block(arg_types=list(types))
    mapping: dict[SSAValue, SSAValue] = {value: block.args[i] for value, i in zip(found.kept, place, strict=True)}
    forward = cut.block.args
    mapping.update({forward[i]: block.args[n_slots + k] for k, i in enumerate(passed)})
    mapping.update(zip(cut.seeds, block.args[n_slots + len(passed) :], strict=True))
    grads = cut.move(block, mapping, found)
    end = RuleBuilder.at_end(block, b.location)
    found_grads = zip((grads[k] for k in wanted), results, strict=True)
    end.op(Yield, *(end.full_of(0, tensor_type(*s)) if g is None else g for g, s in found_grads))
    return Region([block])
