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
from dfc.ir.op import short_name
from dfc.ir.ops.function import Call, Checkpoint, CustomGradient, Func, Gradients
from dfc.ir.ops.state import Read, Variable
from dfc.ir.types import ControlType, spec_behind
from dfc.passes.autodiff.rules import NON_DIFFERENTIABLE, RULES

INEXACT = ("float", "complex")
BODIES = (Call, Checkpoint)
"""Ops whose results come from a block of their own."""

Masks = dict[SSAValue, int]
"""For each value that an x reaches: bit i is set where xs[i] does."""


class Reaching(NamedTuple):
    """What leads to the ys: each op, latest first, with the values that its gradients may go to (its operands, with
    handles replaced by their `source`), and all values on the way."""

    steps: Sequence[tuple[Operation, Sequence[SSAValue]]]
    values: set[SSAValue]


def carries(type: Attribute) -> bool:
    """Whether gradients flow through values of this type: floating and complex tensors, references to such."""
    return type.__class__ is not ControlType and spec_behind(type).dtype.kind in INEXACT


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
        self._body_inputs: dict[Any, tuple[int, ...]] = {}
        self._body_outputs: dict[Any, tuple[int, ...]] = {}

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
        return (*op.ys, *op.grad_ys) if type(op) is Gradients else operands

    # ---- bodies: the function that is called, and the region of a checkpoint, are looked through; answers are kept,
    # since a function may be called often

    def _passing(self, op: Operation, wanted: set[SSAValue]) -> Sequence[SSAValue]:
        """The inputs of a body from which a path leads to those of its outputs that are wanted."""
        outputs = tuple(i for i, r in enumerate(op.results) if r in wanted)
        return [op.operands[i] for i in self._inputs_of_body(op, outputs)]

    def _inputs_of_body(self, op: Operation, outputs: tuple[int, ...]) -> tuple[int, ...]:
        key = (_body_key(op), outputs)
        found = self._body_inputs.get(key)
        if found is None:
            block, returned = self._body(op)
            wanted = self.reaching(block.last_op, [returned[i] for i in outputs]).values
            found = tuple(i for i, argument in enumerate(block.args) if argument in wanted)
            self._body_inputs[key] = found
        return found

    def _mask_body(self, op: Operation, wanted: set[SSAValue], masks: Masks) -> None:
        outputs = tuple(i for i, r in enumerate(op.results) if r in wanted)
        block, values = self._body(op)
        arguments = tuple(masks.get(o, 0) for o in op.operands[: len(block.args)])
        key = (_body_key(op), outputs, arguments)
        found = self._body_outputs.get(key)
        if found is None:
            returned = [values[i] for i in outputs]
            # Handles among the seeds stay: they stand for variables, which a function shares.
            handles = {v: m for v, m in self.seeds.items() if isinstance(v.owner, Variable)}
            reaching = self.reaching(block.last_op, returned)
            inner = self.masks(reaching, {**handles, **dict(zip(block.args, arguments, strict=True))})
            found = self._body_outputs[key] = tuple(inner.get(v, 0) for v in returned)
        for i, mask in zip(outputs, found, strict=True):
            if mask:
                result = op.results[i]
                masks[result] = masks.get(result, 0) | mask

    def _body(self, op: Operation) -> tuple[Block, Sequence[SSAValue]]:
        """The block and what it gives for the op's results."""
        if isinstance(op, Call):
            func = self.function(op)
            return func.block, func.outputs
        assert isinstance(op, Checkpoint)
        last = op.block.last_op
        assert last is not None, "a region ends in a yield"
        return op.block, list(last.operands)

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
