"""Gradients of control flow that is dataflow: of a switch a merge, and of a merge switches. Loops that are cycles have
none: write them as `dfc.while_loop`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import NoGradient
from dfc.ir import locations
from dfc.ir.attributes import Array
from dfc.ir.op import short_name
from dfc.ir.ops import dataflow as fl
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.shape import Reshape
from dfc.ir.types import spec_of
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule


@rule(fl.Switch)
def switch(op: fl.Switch, grads: Grads, b: RuleBuilder) -> Sequence[Gradient]:
    """What comes on the way that was taken; zeros where nothing flows into that one."""

    def merged() -> SSAValue:
        sides = list(grads)
        if None in sides:
            zeros = b.op(fl.Switch, b.full(0, op.data), op.pred)
            sides = [zero if g is None else g for g, zero in zip(sides, zeros.results, strict=True)]
        return b.op(fl.Merge, *sides, result=(spec_of(op.data.type),)).value

    return [merged, None]


@rule(fl.Merge)
def merge(op: fl.Merge, grads: Grads, b: RuleBuilder) -> Sequence[Gradient]:
    """The gradient of the operand that came; those of the others are dead."""
    g = grads[0]

    def taken(index: int) -> SSAValue:
        number = b(ConstantOp, value=Array.of(np.array(index, np.int32)))
        value = b.op(fl.Switch, g, b.compare("EQ", op.value_index, number)).if_true
        operand = op.operands[index]
        if operand.type == value.type:
            return value
        return b(Reshape, value, shape=spec_of(operand.type).shape)  # sizes that the merge does not know

    if g is None:
        return [None] * len(op.operands)
    return [lambda index=index: taken(index) for index in range(len(op.operands))]  # type: ignore[misc]


def _in_loop(op: fl.Gate, grads: Grads, b: RuleBuilder) -> NoReturn:
    raise NoGradient(
        f"No gradient passes through '{short_name(op)}': a loop that is a cycle of the graph has none",
        location=locations.describe(op.location),
        hint="write the loop as dfc.while_loop",
    )


rule(fl.Enter)(_in_loop)
rule(fl.Exit)(_in_loop)
rule(fl.NextIteration)(_in_loop)
non_differentiable(fl.LoopCond, "gives a boolean")
non_differentiable(fl.ControlTrigger, "gives a token only")
STACK = "is a stack of the step: what comes off it may have been put there by anything"
non_differentiable(fl.Stack, STACK)
non_differentiable(fl.StackPush, "hands its operand on, for what needs it on the stack")
non_differentiable(fl.StackPop, STACK)
non_differentiable(fl.StackPack, STACK)
non_differentiable(fl.StackClose, "gives a token only")
