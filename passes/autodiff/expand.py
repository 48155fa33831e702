"""The expansion of a request for gradients into backward ops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from dfc.errors import DfcError, InvalidArgument
from dfc.ir import locations
from dfc.ir.builder import replace
from dfc.ir.op import short_name
from dfc.ir.ops.elementwise import Add, AddN
from dfc.ir.ops.function import DENSE, Gradients
from dfc.ir.types import Spec, is_tensor, spec_behind, spec_of
from dfc.passes.autodiff.paths import Paths, carries
from dfc.passes.autodiff.rules import RULES, RuleBuilder
from dfc.passes.manager import Pass


def autodiff(program: ModuleOp) -> dict[str, int]:
    """Replace every df.gradients of the program by backward ops, in program order: an inner request first.

    Returns the numbers of requests expanded and of ops made. Raises NoGradient for an op on a path without a rule,
    FailedPrecondition for a call on one, and what rules raise, each with the user's line.
    """
    requests = list(_requests(program))
    made = sum(expand(request) for request in requests)
    return {"expanded": len(requests), "made": made} if requests else {}


def _requests(op: Operation) -> Iterator[Gradients]:
    """The requests inside `op`. (Most ops have no regions: xDSL's own walk costs 5 us for each.)"""
    for region in op.regions:
        for block in region.blocks:
            for inner in block.ops:
                if type(inner) is Gradients:
                    yield inner
                elif inner.regions:
                    yield from _requests(inner)


@dataclass(frozen=True)
class Autodiff(Pass):
    """Expands requests for gradients into backward ops.

    Requires: pass inline has run, so that no call is on a path. Ensures: no df.gradients is left; each new op has the
    position `grad(forward op)`.
    """

    name: ClassVar[str] = "autodiff"

    def apply(self, program: ModuleOp) -> dict[str, int]:
        return autodiff(program)


def expand(request: Gradients) -> int:
    """Put the gradients' ops in front of `request` and erase it. Returns how many were made.

    An x whose kind is dense gets a value of exactly its type, zeros where no gradient arrives after all.
    """
    wanted = [x for x, kind in zip(request.xs, request.kinds.data, strict=True) if kind == DENSE]
    paths = Paths(wanted)
    reaching = paths.reaching(request.prev_op, request.ys)
    active = paths.masks(reaching, paths.seeds)
    flow = _Flow(request)
    flow.seed(request, active)
    for op, operands in reaching.steps:
        targets = [o if o in active else None for o in operands]
        if any(targets):
            flow.through(op, targets)
    flow.b.location = locations.grad_location(request.location)
    replace(request, [flow.result(paths.source(x)) for x in wanted])
    return flow.made


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
        b.location = locations.grad_location(op.location)
        grads = [self._sum(r) if r in parts else None for r in op.results]
        if not any(grads):  # the rules of later ops passed nothing on
            return
        try:
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
