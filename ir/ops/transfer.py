"""Values that go from one device's graph to another's, by way of a rendezvous, and what holds them up."""

from __future__ import annotations

from typing import ClassVar

from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, var_operand_def

from dfc.errors import InvalidArgument
from dfc.ir.attributes import Specs, Text
from dfc.ir.devices import parse
from dfc.ir.op import Attributes, Effect, Op, Types
from dfc.ir.ops.state import require_tokens
from dfc.ir.types import CONTROL, is_tensor, tensor_type

LEVEL = "level"
"""An attribute: how many transfers are on the longest way to the op's results, those of a loop that it leaves included.
Work of different levels is in no island together, so that none waits for what waits for it."""

TURN = "turn"
"""An attribute: of receives of one level, in which turn this one is. Work of different turns is in no island together,
so that what is needed late can be received late."""

GUARD = "guard"
"""An attribute of what receives something that may be dead: values with one number are live together, wherever."""


def require_route(attributes: Attributes) -> None:
    """Raise InvalidArgument unless the op says which tensor goes from which device to which."""
    if not attributes["tensor"]:
        raise InvalidArgument("the tensor needs a name, got ''", label="C1")
    for end in ("source", "target"):
        if not parse(attributes[end]).is_full:
            raise InvalidArgument(f"the {end} must name one device, got {attributes[end]!r}", label="C2")


class Transfer(Op):
    """One end of the way of `tensor` from the device `source` to the device `target`, once an iteration of the frame.

    C1: the tensor has a name. C2: both devices have whole names.
    """

    tensor = prop_def(Text)
    source = prop_def(Text)
    target = prop_def(Text)
    EFFECT: ClassVar = Effect.STATEFUL
    HOST_ONLY: ClassVar = True


@irdl_op_definition
class Send(Transfer):
    """Offers its operand to the other device, dead or not; waits for nobody.

    C3: the operand is a tensor.
    """

    name = "df.send"
    x = operand_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_route(attributes)
        if not is_tensor(operands[0]):
            raise InvalidArgument(f"the operand must be a tensor, got {operands[0]}", label="C3")
        return ()


@irdl_op_definition
class Recv(Transfer):
    """What the other device sends, of the spec `result`, when it has come and all tokens have; dead where that is.

    C3: the operands are tokens.
    """

    name = "df.recv"
    result_ = prop_def(Specs, prop_name="result")
    tokens = var_operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_route(attributes)
        require_tokens(operands, "C3")
        (spec,) = attributes["result"]
        return (tensor_type(*spec),)


@irdl_op_definition
class Computed(Op):
    """A token that comes when the operand has been computed: other tokens come when that has been started.

    C1: the operand is a tensor.
    """

    name = "df.computed"
    x = operand_def()
    token = result_def()
    EFFECT: ClassVar = Effect.STATEFUL
    HOST_ONLY: ClassVar = True

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        if not is_tensor(operands[0]):
            raise InvalidArgument(f"the operand must be a tensor, got {operands[0]}", label="C1")
        return (CONTROL,)
