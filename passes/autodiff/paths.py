"""Which ops lie on a differentiable path from xs to ys: what `plan` decides by and `expand` visits.

Two sweeps over a block. Backward from the ys: which values reach one. Forward from the xs: which of those are reached
by which xs, as a bit mask. Gradients flow through values with a floating or complex dtype only, through every op
that isn't declared non-differentiable, from references through reads, and never along control tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from dfc.errors import NoGradient, NotFound
from dfc.ir import locations
from dfc.ir.op import end_of, short_name
from dfc.ir.ops.control import Branches, Case, ControlFlow, If, Loop, Scan, While
from dfc.ir.ops.function import Call, Checkpoint, CustomGradient, Func, Gradients
from dfc.ir.ops.state import Read, Variable
from dfc.ir.types import ControlType, ResourceType, spec_behind
from dfc.passes.autodiff.rules import NON_DIFFERENTIABLE, RULES

INEXACT = ("float", "complex")
BODIES = (Call, Checkpoint, If, Case, While, Scan)
"""Ops whose results come from blocks of their own."""

Masks = dict[SSAValue, int]
"""For each value that an x reaches: bit i is set where xs[i] does."""


NO_TENSOR = (ControlType, ResourceType)


class Body(NamedTuple):
    """A block of an op: which of the op's operands and results belong to its arguments and to what it returns, and for
    a loop the arguments that what is returned comes back to."""

    block: Block
    operands: Sequence[int]
    """By argument the operand's number; -1 for none."""
    returned: Sequence[SSAValue]
    results: Sequence[int]
    """By returned value the result's number."""
    back: Sequence[int]
    """By returned value the argument's number in the next run of the block; -1 for none."""


class Reaching(NamedTuple):
    """What leads to the ys: each op, latest first, with the values that its gradients may go to (its operands, with
    handles replaced by their `source`), and all values on the way."""

    steps: Sequence[tuple[Operation, Sequence[SSAValue]]]
    values: set[SSAValue]


def carries(type: Attribute) -> bool:
    """Whether gradients flow through values of this type: floating and complex tensors, references to such."""
    return type.__class__ not in NO_TENSOR and spec_behind(type).dtype.kind in INEXACT


class Paths:
    """Paths from `xs`. A reference stands for its variable: every handle of the same name is the same x."""

    def __init__(self, xs: Sequence[SSAValue]) -> None:
        self.seeds: Masks = {}
        self._handles: dict[str, SSAValue] = {}
        for i, x in enumerate(xs):
            if isinstance(owner := x.owner, Variable):
                self._handles.setdefault(owner.variable.data, x)
            if carries(x.type):
                source = self.source(x)
                self.seeds[source] = self.seeds.get(source, 0) | 1 << i
        self._functions: dict[str, Func] | None = None
        self._body_inputs: dict[Any, set[int]] = {}
        self._body_outputs: dict[Any, dict[int, int]] = {}

    def source(self, value: SSAValue) -> SSAValue:
        """The value itself; for a handle the one among xs to the same variable, if there is one."""
        if type(owner := value.owner) is Variable:
            return self._handles.get(owner.variable.data, value)
        return value

    def reaching(self, last: Operation | None, ys: Iterable[SSAValue]) -> Reaching:
        """The ops up to `last`, and the values, from which a gradient path leads to one of `ys`."""
        wanted = {y for y in ys if carries(y.type)}
        steps: list[tuple[Operation, Sequence[SSAValue]]] = []
        op = last
        while op is not None:
            for result in op.results:
                if result in wanted:
                    if (cls := type(op)) not in NON_DIFFERENTIABLE:
                        operands = self._operands(op)
                        steps.append((op, operands))
                        passing = self._passing(op, wanted) if cls in BODIES else operands
                        wanted.update([o for o in passing if carries(o.type)])
                    break
            op = op.prev_op
        return Reaching(steps, wanted)

    def masks(self, reaching: Reaching, seeds: Masks) -> Masks:
        """Which xs reach the values in `reaching`, `seeds` included.

        Raises NoGradient for an op on a path that has no rule.
        """
        masks = dict(seeds)
        get = masks.get
        for op, operands in reversed(reaching.steps):
            if type(op) in BODIES:
                self._mask_body(op, reaching.values, masks)
                continue
            mask = 0
            for operand in operands:
                mask |= get(operand, 0)
            if mask:
                if type(op) not in RULES:
                    raise no_gradient(op)
                for result in op.results:
                    if carries(result.type):
                        masks[result] = get(result, 0) | mask
        return masks

    def _operands(self, op: Operation) -> Sequence[SSAValue]:
        operands = tuple(op.operands)
        if type(op) is Read:
            return (self.source(operands[0]), *operands[1:])
        if type(op) is CustomGradient:
            return tuple(self.source(x) for x in op.differentiated)
        if isinstance(op, ControlFlow) and op.n_handles.data:
            return tuple(self.source(o) for o in operands)
        return (*op.ys, *op.grad_ys) if type(op) is Gradients else operands

    # ---- bodies: what is in them is looked through; answers are kept, since a function may be called often

    def _passing(self, op: Operation, wanted: set[SSAValue]) -> Sequence[SSAValue]:
        """The operands from which a path leads through a body to those results that are wanted."""
        results = tuple(i for i, r in enumerate(op.results) if r in wanted)
        found = {i for body in self._bodies(op) for i in self._inputs_of_body(op, body, results)}
        operands = self._operands(op)
        return [operands[i] for i in sorted(found)]

    def _inputs_of_body(self, op: Operation, body: Body, results: tuple[int, ...]) -> set[int]:
        key = (_body_key(op), id(body.block), results)
        found = self._body_inputs.get(key)
        if found is None:
            found = self._body_inputs[key] = self._find_inputs(body, results)
        return found

    def _find_inputs(self, body: Body, results: tuple[int, ...]) -> set[int]:
        """The operands' numbers. Of a loop what is carried is wanted if what it becomes is, or has become."""
        outputs = {k for k, result in enumerate(body.results) if result in results}
        while True:
            wanted = self.reaching(body.block.last_op, [body.returned[k] for k in outputs]).values
            again = {k for k, a in enumerate(body.back) if a >= 0 and body.block.args[a] in wanted}
            if again <= outputs:
                break
            outputs |= again
        found = {body.operands[i] for i, argument in enumerate(body.block.args) if argument in wanted}
        found |= {body.operands[body.back[k]] for k in outputs if body.back[k] >= 0}  # if it runs never
        return found - {-1}

    def _mask_body(self, op: Operation, wanted: set[SSAValue], masks: Masks) -> None:
        results = tuple(i for i, r in enumerate(op.results) if r in wanted)
        operands = self._operands(op)
        for body in self._bodies(op):
            arguments = tuple(masks.get(operands[i], 0) if i >= 0 else 0 for i in body.operands)
            key = (_body_key(op), id(body.block), results, arguments)
            found = self._body_outputs.get(key)
            if found is None:
                found = self._body_outputs[key] = self._find_masks(body, results, arguments)
            for i, mask in found.items():
                if mask and carries(op.results[i].type):
                    masks[op.results[i]] = masks.get(op.results[i], 0) | mask

    def _find_masks(self, body: Body, results: tuple[int, ...], arguments: tuple[int, ...]) -> dict[int, int]:
        """By result, those that are wanted, which xs reach it."""
        current = list(arguments)
        # Handles among the seeds stay: they stand for variables, which a function shares.
        handles = {v: m for v, m in self.seeds.items() if isinstance(v.owner, Variable)}
        outputs = [k for k, r in enumerate(body.results) if r in results or body.back[k] >= 0]
        returned = [body.returned[k] for k in outputs]
        reaching = self.reaching(body.block.last_op, returned)
        while True:
            inner = self.masks(reaching, {**handles, **dict(zip(body.block.args, current, strict=True))})
            before = list(current)
            for k in outputs:
                if (a := body.back[k]) >= 0:
                    current[a] |= inner.get(body.returned[k], 0)
            if current == before:
                break
        found = dict.fromkeys(results, 0)
        for k in outputs:
            if body.results[k] in found:
                a = body.back[k]
                found[body.results[k]] |= inner.get(body.returned[k], 0) | (current[a] if a >= 0 else 0)
        return found

    def _bodies(self, op: Operation) -> list[Body]:
        if isinstance(op, Call):
            func = self.function(op)
            return [_plain_body(func.block, func.outputs)]
        if isinstance(op, ControlFlow):
            return bodies_of(op)
        assert isinstance(op, Checkpoint)
        return [_plain_body(op.block, end_of(op.block).operands)]

    def function(self, op: Call) -> Func:
        """The function that is called. Raises NotFound for one that the program lacks."""
        if self._functions is None:
            self._functions = _functions(op)
        if op.callee.data not in self._functions:
            raise NotFound(
                f"the program has no function @{op.callee.data}",
                op=short_name(op),
                location=locations.describe(op.location),
            )
        return self._functions[op.callee.data]


def bodies_of(op: ControlFlow) -> list[Body]:
    """The blocks of a branch or a loop, conditions excepted: no gradient passes through these."""
    n_handles = op.n_handles.data
    if isinstance(op, Branches):
        first = range(1, 1 + op.n_inputs.data + n_handles)
        n = len(op.results_.data)
        return [Body(b, first, end_of(b).operands[:n], range(n), [-1] * n) for b in op.blocks]
    assert isinstance(op, Loop)
    n, n_ys = op.n_carried.data, len(op.ys_.data)
    start = int(isinstance(op, Scan) and bool(op.counted.data))
    operands = [-1, *range(start, start + n + len(op.xs) + op.n_captured.data + n_handles)]
    first_y = n + int(isinstance(op, While))
    results = [*range(n), *range(first_y, first_y + n_ys)]
    return [Body(op.body, operands, op.yielded[: n + n_ys], results, [*range(1, 1 + n), *[-1] * n_ys])]


def _plain_body(block: Block, returned: Sequence[SSAValue]) -> Body:
    n = len(returned)
    return Body(block, range(len(block.args)), returned, range(n), [-1] * n)


def _body_key(op: Operation) -> Any:
    return op.callee.data if isinstance(op, Call) else id(op)


def no_gradient(op: Operation) -> NoGradient:
    return NoGradient(
        f"No gradient defined for operation '{short_name(op)}'",
        location=locations.describe(op.location),
        hint="register a rule for it, or keep gradients out with dfc.stop_gradient",
    )


def _functions(op: Operation) -> dict[str, Func]:
    """The functions of the program that the op is in, by name."""
    parent: Operation | None = op
    while parent is not None and not isinstance(parent, ModuleOp):
        parent = parent.parent_op()
    if parent is None:
        return {}
    return {f.sym_name.data: f for f in parent.ops if isinstance(f, Func)}


def block_of(value: SSAValue) -> Block | None:
    """The block that defines the value."""
    owner = value.owner
    return owner if isinstance(owner, Block) else owner.parent
