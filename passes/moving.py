"""Taking the ops of a region out of it, to where they run only sometimes, or again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from xdsl.ir import Block, Operation, SSAValue

from dfc.ir.attributes import Array
from dfc.ir.builder import Builder, replace_uses
from dfc.ir.op import Effect, Op
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.control import ControlFlow, Loop
from dfc.ir.ops.function import Yield
from dfc.ir.ops.graph import After
from dfc.ir.ops.state import Group
from dfc.ir.types import CONTROL, is_tensor
from dfc.passes.compilable import structured

Token = Callable[[], SSAValue]
"""Makes a token at its first call."""
ORDERED = (Effect.READS, Effect.WRITES, Effect.STATEFUL)


def once(function: Token) -> Token:
    """The same, called once."""
    return cache(function)


def after_all(make: Builder, value: SSAValue, tokens: Sequence[SSAValue]) -> SSAValue:
    """The value, once all of the tokens have come."""
    return make(After, value, *tokens) if tokens else value


def number(make: Builder, value: bool | int) -> SSAValue:
    """A scalar constant, of dtype bool or int32."""
    return make(ConstantOp, value=Array.of(np.array(value, np.bool_ if isinstance(value, bool) else np.int32)))


@dataclass
class Nested:
    """The ops with regions that come out of one. With `swap` loops may be lowered that a device could run, with `large`
    any op."""

    swap: bool
    large: bool = False
    ops: list[ControlFlow] = field(default_factory=list)

    def may_be_lowered(self, op: ControlFlow) -> bool:
        """Whether the op may become gates."""
        return not structured(op) or self.large or (self.swap and isinstance(op, Loop))


class Moved:
    """The ops of `block` now stand before the op at which `make` builds, `arguments` in the place of the block's.

    Of the arguments, those in `live` come only when the region runs. What hangs on none of them waits for `pivot`, a
    token that comes then: ops with an effect, ops with regions, and values that the region yields. With `ordered` the
    first effects wait for it in any case. `nested` gets the ops with regions.
    """

    def __init__(
        self,
        block: Block,
        arguments: Sequence[SSAValue],
        make: Builder,
        *,
        live: Sequence[SSAValue],
        pivot: Token,
        ordered: bool,
        nested: Nested,
    ) -> None:
        self._make, self._pivot, self._ordered, self._nested = make, pivot, ordered, nested
        self._live = set(live)
        self._chained = set[SSAValue]()  # tokens that come after those of an effect that waits for the pivot
        replace_uses({a: value for a, value in zip(block.args, arguments, strict=True) if a.first_use is not None})
        last = block.last_op
        assert isinstance(last, Yield)
        self._yielded = list(last.operands)
        last.operands = []
        for op in list(block.ops):
            if op is not last:
                block.detach_op(op)
                self._place(op)

    @property
    def tokens(self) -> list[SSAValue]:
        """The tokens that the region yields."""
        return [v for v in self._yielded if v.type is CONTROL]

    def value(self, index: int) -> SSAValue:
        """What the region yields there; it comes only when the region runs."""
        value = self._yielded[index]
        if value in self._live or not is_tensor(value.type):
            return value
        return self._make(After, value, self._pivot())

    def _place(self, op: Operation) -> None:
        live = any(o in self._live for o in op.operands)
        if isinstance(op, ControlFlow):
            self._nested.ops.append(op)
            if self._nested.may_be_lowered(op):  # what it begins with must be of this region
                count = len(op.operands) if isinstance(op, Loop) else 1
                op.operands = [*(self._here(o) for o in op.operands[:count]), *op.operands[count:]]
        waits = isinstance(op, ControlFlow) or (isinstance(op, Op) and op.EFFECT in ORDERED)
        has_effect = waits and (not isinstance(op, ControlFlow) or op.stateful.data or bool(op.n_handles.data))
        if waits and (not live or (has_effect and self._must_be_ordered(op))):
            op.operands = [*op.operands, self._pivot()]
            live = True
        if has_effect or (isinstance(op, Group | After) and any(o in self._chained for o in op.operands)):
            self._chained.update(r for r in op.results if r.type is CONTROL)
        if live:
            self._live.update(op.results)
        assert self._make.before is not None
        self._make.block.insert_op_before(op, self._make.before)

    def _must_be_ordered(self, op: Operation) -> bool:
        """Whether an effect must wait for the pivot though it hangs on something: a read that a variable's value in a
        loop is made of, too."""
        if isinstance(op, ControlFlow) and op.n_handles.data and structured(op):
            return True
        return self._ordered and not any(o in self._chained for o in op.operands)

    def _here(self, value: SSAValue) -> SSAValue:
        if value in self._live or not is_tensor(value.type):
            return value
        waiting = self._make(After, value, self._pivot())
        self._live.add(waiting)
        return waiting
