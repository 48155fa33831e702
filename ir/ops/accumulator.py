"""Accumulators of gradients: the handle comes first, then data, then tokens; each op gives a token last.

What they do is `dfc.runtime.accumulators`.
"""

from __future__ import annotations

from typing import ClassVar

from xdsl.irdl import irdl_op_definition, prop_def

from dfc.errors import InvalidArgument
from dfc.ir.attributes import Flag
from dfc.ir.dtypes import int32
from dfc.ir.op import Attributes, Types
from dfc.ir.ops.elementwise import INEXACT, require_kind
from dfc.ir.ops.queue import Handle, QueueOp, TakingMany, require_count
from dfc.ir.types import is_tensor, spec_of, tensor_type

ACCUMULATOR = "accumulator"


@irdl_op_definition
class Accumulator(Handle):
    """The handle of an accumulator."""

    name = "df.accumulator"
    KIND: ClassVar = ACCUMULATOR
    KINDS: ClassVar = INEXACT


class AccumulatorOp(QueueOp):
    """An op on an accumulator."""

    KINDS_OF_HANDLE: ClassVar = (ACCUMULATOR,)


@irdl_op_definition
class AccumulatorApply(AccumulatorOp):
    """Adds a gradient that was computed at a local step, the last tensor, unless that is stale. The gradient is one
    tensor, or for a sparse accumulator rows, their indices and, where `shaped`, the shape.

    C3: a gradient and its local step, an integer scalar, are there. C4: a gradient is floating or complex.
    """

    name = "df.accumulator_apply"
    shaped = prop_def(Flag)
    COUNT: ClassVar = None
    KINDS: ClassVar = INEXACT

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        tensors = [t for t in operands[1:] if is_tensor(t)]
        shaped = attributes["shaped"]
        if len(tensors) not in ((4,) if shaped else (2, 3)):
            wanted = "rows, indices, shape" if shaped else "a tensor, or rows and indices,"
            raise InvalidArgument(f"{wanted} and a local step are needed, got {len(tensors)} tensors", label="C3")
        require_count(tensors[-1], "C3", "the local step")
        require_kind(spec_of(tensors[0]).dtype, cls.KINDS, "C4")
        return ()


@irdl_op_definition
class AccumulatorTake(TakingMany):
    """Takes the mean, or the sum, of all gradients once there are as many as the operand says: results of the types in
    `results`, one tensor, or rows, their indices and the shape.

    C4: a gradient is floating or complex.
    """

    name = "df.accumulator_take"
    KINDS_OF_HANDLE: ClassVar = (ACCUMULATOR,)
    KINDS: ClassVar = INEXACT

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        found = super().gives(operands, attributes)
        for spec in attributes["results"][:1]:
            require_kind(spec.dtype, cls.KINDS, "C4")
        return found


@irdl_op_definition
class AccumulatorSetStep(AccumulatorOp):
    """Sets the global step. C3: it is an integer scalar."""

    name = "df.accumulator_set_step"
    COUNT: ClassVar = 1
    KINDS: ClassVar = ("int", "uint")

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        require_count(operands[1], "C3", "the global step")
        return ()


@irdl_op_definition
class AccumulatorCount(AccumulatorOp):
    """The number of gradients since the last take, as int32."""

    name = "df.accumulator_count"
    KINDS: ClassVar = INEXACT

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        return (tensor_type((), int32),)
