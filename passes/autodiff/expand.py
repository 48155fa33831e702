"""The expansion of a request for gradients into backward ops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from dfc.errors import DfcError, InvalidArgument
from dfc.ir import locations
from dfc.ir.builder import erase, placement_of, replace
from dfc.ir.dims import size
from dfc.ir.op import short_name
from dfc.ir.ops.elementwise import Add, AddN, Convert
from dfc.ir.ops.function import DENSE, NONE, SPARSE, Checkpoint, CustomGradient, Gradients
from dfc.ir.ops.indexing import Take
from dfc.ir.ops.shape import Concatenate, Reshape
from dfc.ir.types import Spec, is_tensor, spec_behind, spec_of
from dfc.passes.autodiff.paths import Paths, carries
from dfc.passes.autodiff.plan import plan
from dfc.passes.autodiff.rules import RULES, RuleBuilder
from dfc.passes.autodiff.sparse import Takes, takes_of
from dfc.passes.manager import Pass
from dfc.passes.specialize import symbols_of_types


def autodiff(program: ModuleOp) -> dict[str, int]:
    """Replace every df.gradients of the program by backward ops, in program order: an inner request first. Then put the
    values of each df.custom_gradient, and the region of each df.checkpoint, in its place.

    Returns the numbers of requests expanded and of ops made. Raises NoGradient for an op on a path without a rule,
    FailedPrecondition for a call on one, and what rules raise, each with the user's line.
    """
    token = _lengths.set(Lengths(program))
    try:
        return _autodiff(program)
    finally:
        _lengths.reset(token)


def _autodiff(program: ModuleOp) -> dict[str, int]:
    requests = list(_requests(program))
    # Before the first expansion: a later request's paths lead through earlier ones, and must be what they were when its
    # rows were counted.
    rows = [takes_of(request) for request in requests]
    made = sum(expand(request, takes) for request, takes in zip(requests, rows, strict=True))
    _dissolve(program)
    return {"expanded": len(requests), "made": made} if requests else {}


class Lengths:
    """Symbols for lengths of loops that nobody knows."""

    def __init__(self, program: ModuleOp | None = None) -> None:
        self._program = program
        self._taken: set[str] | None = None

    def fresh(self) -> str:
        """A symbol that the program does not have."""
        if self._taken is None:
            self._taken = set() if self._program is None else symbols_of_types(self._program)
        name = next(n for i in count(1) if (n := f"length_{i}") not in self._taken)
        self._taken.add(name)
        return name


_lengths: ContextVar[Lengths] = ContextVar("dfc_lengths")


def fresh_length() -> str:
    """A symbol for the length of a loop that is being differentiated."""
    return _lengths.get().fresh()


def _requests(op: Operation) -> Iterator[Gradients]:
    """The requests inside `op`. (Most ops have no regions: xDSL's own walk costs 5 us for each.)"""
    for region in op.regions:
        for block in region.blocks:
            for inner in block.ops:
                if type(inner) is Gradients:
                    yield inner
                elif inner.regions:
                    yield from _requests(inner)


def _dissolve(op: Operation) -> None:
    """Take what only gradients needed to know out of the regions of `op`."""
    for region in op.regions:
        for block in region.blocks:
            for inner in list(block.ops):
                if not inner.regions:
                    continue
                _dissolve(inner)
                if isinstance(inner, CustomGradient):
                    replace(inner, inner.ys)
                elif isinstance(inner, Checkpoint):
                    _unfold(inner)


def _unfold(op: Checkpoint) -> None:
    """Move the region's ops in front of `op`, which goes."""
    block, last = op.parent, op.block.last_op
    assert block is not None and last is not None
    for argument, operand in zip(op.block.args, op.operands, strict=True):
        argument.replace_all_uses_with(operand)
    for inner in list(op.block.ops):
        if inner is not last:
            op.block.detach_op(inner)
            block.insert_op_before(inner, op)
    for result, value in zip(op.results, last.operands, strict=True):
        result.replace_all_uses_with(value)  # not builder.replace: the value's own position says where it is made
    erase(op)


@dataclass(frozen=True)
class Autodiff(Pass):
    """Expands requests for gradients into backward ops.

    Requires: pass inline has run, so that no call is on a path. Ensures: no df.gradients, df.custom_gradient or
    df.checkpoint is left; each new op has the position `grad(forward op)`, one that computes again what a checkpoint
    held its own.
    """

    name: ClassVar[str] = "autodiff"

    def apply(self, program: ModuleOp) -> dict[str, int]:
        return autodiff(program)


def expand(request: Gradients, takes: Takes | None = None) -> int:
    """Put the gradients' ops in front of `request` and erase it. Returns how many were made.

    An x whose kind is dense gets a value of exactly its type, zeros where no gradient arrives after all; one whose kind
    is sparse gets rows and indices. `takes` are the ops that take its rows, where earlier expansions may have changed
    the paths since they were counted.
    """
    values, made = _values(request, takes_of(request) if takes is None else takes)
    replace(request, values)
    return made


def backward(ys: Sequence[SSAValue], xs: Sequence[SSAValue], seeds: Sequence[SSAValue], b: RuleBuilder) -> list[Any]:
    """For rules that differentiate what they build: the gradients of ys, weighted by seeds, by xs; None where no path
    leads. Made where `b` builds."""
    kinds = plan(ys, xs)
    request = b.op(Gradients, *ys, *xs, *seeds, n_ys=len(ys), n_xs=len(xs), kinds=kinds)
    values, made = _values(request, {})
    b.made += made - 1
    erase(request)
    found = iter(values)
    return [next(found) if kind == DENSE else None for kind in kinds]


def _values(request: Gradients, takes: Takes) -> tuple[list[SSAValue], int]:
    """The values that take the place of the request's results, and how many ops were made for them."""
    wanted = [(x, kind) for x, kind in zip(request.xs, request.kinds.data, strict=True) if kind != NONE]
    targets = [x for x, kind in wanted if kind == DENSE]
    targets += [op.results[0] for x, kind in wanted if kind == SPARSE for op in takes[x]]
    paths = Paths(targets)
    reaching = paths.reaching(request.prev_op, request.ys)
    active = paths.masks(reaching, paths.seeds)
    flow = _Flow(request)
    flow.seed(request, active)
    for op, operands in reaching.steps:
        reached = [o if o in active else None for o in operands]
        if any(reached):
            flow.through(op, reached)
    flow.b.location = locations.grad_location(request.location)
    rows = iter(request.rows.data if request.rows is not None else ())
    values: list[SSAValue] = []
    for x, kind in wanted:
        values += [flow.result(paths.source(x))] if kind == DENSE else flow.rows(takes[x], next(rows))
    return values, flow.made


class _Flow:
    """The gradients on their way back: for each value the parts that have arrived so far, then their sum."""

    def __init__(self, request: Gradients) -> None:
        self.b = RuleBuilder(request)
        self._parts: dict[SSAValue, list[SSAValue]] = {}

    @property
    def made(self) -> int:
        return self.b.made

    def seed(self, request: Gradients, active: dict[SSAValue, int]) -> None:
        """Start with grad_ys, or ones, at each y that an x reaches."""
        grads: Sequence[SSAValue | None] = request.grad_ys or [None] * len(request.ys)
        for y, grad in zip(request.ys, grads, strict=True):
            if y not in active or not carries(y.type):
                continue
            if grad is None:
                owner = y.owner
                forward = owner.location if isinstance(owner, Operation) else request.location
                self.b.location = locations.grad_location(forward)
                grad = self.b.full(1, y)
            self._parts.setdefault(y, []).append(grad)

    def through(self, op: Operation, operands: Sequence[SSAValue | None]) -> None:
        """Turn the gradients of the op's results into parts for `operands`; None stands for one without gradient."""
        parts = self._parts
        b = self.b
        b.location, b.annotations = locations.grad_location(op.location), placement_of(op)
        grads = [self._sum(r) if r in parts else None for r in op.results]
        if not any(grads):  # the rules of later ops passed nothing on
            return
        try:
            b.reached = [operand is not None for operand in operands]
            found = RULES[type(op)](op, grads, b)
            if len(found) != len(operands):
                raise InvalidArgument(
                    f"the gradient rule must give one entry an operand, got {len(found)} for {len(operands)}"
                )
            for i, (operand, grad) in enumerate(zip(operands, found, strict=True)):
                if operand is None or grad is None:
                    continue
                value = grad() if callable(grad) else grad
                if value is not None:
                    if value.type is not operand.type:
                        _require_type(i, value, operand)
                    parts.setdefault(operand, []).append(value)
        except DfcError as error:
            raise error.at(op=short_name(op), location=locations.describe(op.location)) from None

    def result(self, x: SSAValue) -> SSAValue:
        """All of x's gradient."""
        return self._sum(x) if x in self._parts else self.b.full_of(0, x.type)

    def rows(self, takes: Sequence[Take], spec: Spec) -> list[SSAValue]:
        """The gradients of all rows that were taken, and their indices, concatenated."""
        b, values, indices = self.b, list[SSAValue](), list[SSAValue]()
        for op in takes:
            x, index = op.operands
            n = size(spec_of(index.type).shape)
            values.append(b(Reshape, self.result(op.results[0]), shape=(n, *spec_of(x.type).shape[1:])))
            flat = b(Reshape, index, shape=(n,))
            indices.append(flat if spec_of(flat.type).dtype is spec.dtype else b(Convert, flat, dtype=spec.dtype))
        return [v[0] if len(v) == 1 else b(Concatenate, *v, axis=0) for v in (values, indices)]

    def _sum(self, value: SSAValue) -> SSAValue:
        parts = self._parts[value]
        if len(parts) > 1:
            total = self.b(Add, *parts) if len(parts) == 2 else self.b(AddN, *parts)
            parts = self._parts[value] = [total]
        return parts[0]


def _require_type(index: int, value: SSAValue, operand: SSAValue) -> None:
    want: Spec = spec_behind(operand.type)
    got = spec_of(value.type) if is_tensor(value.type) else value.type
    if got != want:
        raise InvalidArgument(f"the gradient rule must give {want} for operand {index}, got {got}")
