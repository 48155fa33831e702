"""The table of gradients: op class -> rule, or the reason why the op has none.

A rule turns the gradients of an op's results into those of its operands:

    @rule(Multiply)
    def multiply(op, grads, b):
        (g,), (x, y) = grads, op.operands
        return [lambda: b(Multiply, g, b.conj(y)), lambda: b(Multiply, g, b.conj(x))]

`grads` has one entry a result, None where nothing flows into it (never for an op with one result). The rule returns one
entry an operand: a value of the operand's type, None where no gradient passes, or a function that makes the value and
is called only where that gradient is needed. `b` builds in the right place; everything it builds must itself have a
rule, so that gradients of gradients work.

Complex numbers: the gradient of a real y by z is dy/dRe(z) + i dy/dIm(z), the direction of steepest ascent, as in
TensorFlow and PyTorch (JAX gives its conjugate). Rules therefore multiply by conjugates of derivatives: `b.conj`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from dfc.errors import AlreadyExists
from dfc.ir.attributes import Array
from dfc.ir.builder import Builder, OpT, clone_into
from dfc.ir.dims import Bindings
from dfc.ir.op import Op, end_of, short_name
from dfc.ir.ops.complex import Conj
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.elementwise import Compare
from dfc.ir.ops.shape import BroadcastInDim
from dfc.ir.types import Spec, spec_behind, spec_of, tensor_type
from dfc.passes.specialize import respecialized

Gradient = SSAValue | Callable[[], SSAValue | None] | None
Grads = Sequence[Any]  # SSAValue, or None for a result that nothing flows into
Rule = Callable[[Any, Grads, "RuleBuilder"], Sequence[Gradient]]
RuleT = TypeVar("RuleT", bound=Rule)

RULES: dict[type[Operation], Rule] = {}
NON_DIFFERENTIABLE: dict[type[Operation], str] = {}


def rule(op_class: type[Op], *, override: bool = False) -> Callable[[RuleT], RuleT]:
    """Register the decorated function as the gradient of `op_class`.

    `override=True` takes the place of what is registered; without it a second rule is AlreadyExists.
    """

    def register(function: RuleT) -> RuleT:
        _claim(op_class, override)
        RULES[op_class] = function
        return function

    return register


def non_differentiable(op_class: type[Op], why: str, *, override: bool = False) -> None:
    """Register that no gradient passes through `op_class`, and the reason."""
    _claim(op_class, override)
    NON_DIFFERENTIABLE[op_class] = why


def _claim(op_class: type[Op], override: bool) -> None:
    if not override and (op_class in RULES or op_class in NON_DIFFERENTIABLE):
        raise AlreadyExists(
            f"operation '{short_name(op_class)}' already has a gradient",
            hint="write rule(..., override=True) to take its place",
        )
    RULES.pop(op_class, None)
    NON_DIFFERENTIABLE.pop(op_class, None)


class RuleBuilder(Builder):
    """A builder in front of one request for gradients, with what rules need often. Constants are made once."""

    def __init__(self, request: Operation) -> None:
        block = request.parent
        assert block is not None, "the request must be in a block"
        super().__init__(block, before=request, location=request.location)
        self._start()

    @classmethod
    def at_end(cls, block: Block, location: LocationAttr) -> RuleBuilder:
        """A builder at the end of a block that has no terminator yet."""
        made = cls.__new__(cls)
        Builder.__init__(made, block, location=location)
        made._start()
        return made

    def _start(self) -> None:
        self.made = 0
        self.reached: Sequence[bool] = ()
        """Of the op whose rule is called, which operands an x reaches."""
        self._constants: dict[tuple[float, int], SSAValue] = {}

    def op(self, cls: type[OpT], *operands: SSAValue, regions: Sequence[Region] = (), **attributes: Any) -> OpT:
        self.made += 1
        return super().op(cls, *operands, regions=regions, **attributes)

    def scalar(self, value: float, like: SSAValue) -> SSAValue:
        """A scalar constant of like's dtype."""
        return self._scalar(value, tensor_type((), spec_of(like.type).dtype))

    def full(self, value: float, like: SSAValue) -> SSAValue:
        """A tensor of like's type with every element equal to `value`."""
        return self.full_of(value, like.type)

    def full_of(self, value: float, type: Attribute) -> SSAValue:
        """A tensor of this type (or of the variable's type, for a reference) full of `value`."""
        spec = spec_behind(type)
        scalar = self._scalar(value, tensor_type((), spec.dtype))
        if spec.shape == ():
            return scalar
        key = (value, id(type))
        found = self._constants.get(key)
        if found is None:
            found = self._constants[key] = self(BroadcastInDim, scalar, shape=spec.shape, dims=())
        return found

    def copy(self, block: Block, arguments: Sequence[SSAValue], bindings: Bindings | None = None) -> list[SSAValue]:
        """The ops of a block that ends in a yield, with `arguments` in the place of its own and `bindings` in that of
        symbols; the yielded values."""
        mapping: dict[SSAValue, SSAValue] = dict(zip(block.args, arguments, strict=True))
        last = end_of(block)
        for op in block.ops:
            if op is not last:
                if bindings:
                    self.add(respecialized(op, bindings, mapping))
                else:
                    clone_into(op, self, mapping)
                self.made += 1
        return [mapping[v] for v in last.operands]

    def compare(self, direction: str, x: SSAValue, y: SSAValue) -> SSAValue:
        return self(Compare, x, y, direction=direction)

    def conj(self, x: SSAValue) -> SSAValue:
        """The complex conjugate; real tensors as they are."""
        return self(Conj, x) if spec_of(x.type).dtype.kind == "complex" else x

    def _scalar(self, value: float, type: Attribute) -> SSAValue:
        key = (value, id(type))
        found = self._constants.get(key)
        if found is None:
            array = np.asarray(value, spec_of(type).dtype.numpy)
            found = self._constants[key] = self(ConstantOp, value=Array.of(array))
        return found


def spec(value: SSAValue) -> Spec:
    """Shape and dtype of a value."""
    return spec_behind(value.type)
