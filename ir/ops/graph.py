"""What makes a graph more than a function: values that come from outside, and work that waits for other work."""

from __future__ import annotations

from typing import ClassVar

from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, var_operand_def

from dfc.errors import InvalidType
from dfc.ir.attributes import Dims, Element, Text
from dfc.ir.op import Arrays, Attributes, Effect, Op, Types
from dfc.ir.ops.state import require_tokens
from dfc.ir.types import is_tensor, tensor_type


@irdl_op_definition
class Placeholder(Op):
    """A value that each step is given from outside: a step that needs it and does not get it is an error."""

    name = "df.placeholder"
    shape = prop_def(Dims)
    dtype = prop_def(Element)
    result = result_def()
    EFFECT: ClassVar = Effect.STATEFUL

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        return (tensor_type(attributes["shape"], attributes["dtype"]),)


@irdl_op_definition
class Feed(Op):
    """The operand, or what a step is given in its place under the name `label`. Gradients pass through: a fed value
    counts as if it had been computed.

    C1: the operand is a tensor.
    """

    name = "df.feed"
    label = prop_def(Text)
    x = operand_def()
    result = result_def()
    EFFECT: ClassVar = Effect.STATEFUL

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_tensor(operands[0], "C1")
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [operands[0]]


@irdl_op_definition
class After(Op):
    """The first operand as it is, once all tokens have come.

    C1: the first operand is a tensor. C2: the rest are tokens.
    """

    name = "df.after"
    x = operand_def()
    tokens = var_operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_tensor(operands[0], "C1")
        require_tokens(operands[1:], "C2")
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [operands[0]]


def require_tensor(type: object, label: str) -> None:
    """Raise InvalidType unless the first operand is a tensor."""
    if not is_tensor(type):  # type: ignore[arg-type]
        raise InvalidType(f"the first operand must be a tensor, got {type}", label=label)
