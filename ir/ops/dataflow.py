"""Control flow as dataflow: values that come only on one of two ways, and loops that are cycles of the graph.

A value that does not come is *dead*. An op one of whose inputs is dead, a token included, does not run, and all its
results are dead; merges and control triggers are the exceptions. What is between enters and exits of one name is a
frame: its ops run once an iteration. In a block with such ops an operand may be defined later, by a next_iteration.
"""

from __future__ import annotations

from typing import ClassVar

from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, var_operand_def, var_result_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Dims, Element, Flag, Int, Specs, Text
from dfc.ir.dims import Dim
from dfc.ir.dtypes import bool_, int32
from dfc.ir.op import Attributes, Effect, Op, Types
from dfc.ir.ops.control import fits, require_scalar
from dfc.ir.ops.queue import require_count, require_handle, require_tensors_then_tokens
from dfc.ir.ops.state import require_tokens
from dfc.ir.types import CONTROL, ControlType, ResourceType, is_tensor, resource_type, spec_of, tensor_type

STACK = "stack"


def require_value(type: Attribute, label: str) -> None:
    """Raise InvalidType unless values of this type go from op to op: tensors, and handles that a step makes."""
    if not is_tensor(type) and not isinstance(type, ResourceType):
        raise InvalidType(f"the operand must be a tensor or a handle, got {type}", label=label)


class Gate(Op):
    """An op of control flow: the host does it, whatever holds the value."""

    HOST_ONLY: ClassVar = True


@irdl_op_definition
class Switch(Gate):
    """`data` on its second result where `pred` is true, else on the first; the other one is dead.

    C1: data is a tensor or a handle. C2: pred is a scalar of dtype bool.
    """

    name = "df.switch"
    data = operand_def()
    pred = operand_def()
    if_false = result_def()
    if_true = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_value(operands[0], "C1")
        require_scalar(operands[1], (bool_,), "the second operand", "C2")
        return (operands[0], operands[0])


@irdl_op_definition
class Merge(Gate):
    """The operand that comes first, and its number, int32; dead if all are. `result` is its spec, with a symbol for
    each size in which operands may differ.

    C1: there is an operand, and all are tensors that fit the spec.
    """

    name = "df.merge"
    result_ = prop_def(Specs, prop_name="result")
    inputs = var_operand_def()
    value = result_def()
    value_index = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        (spec,) = attributes["result"]
        if not operands or not all(is_tensor(t) and fits(spec_of(t), spec) for t in operands):
            listed = ", ".join(map(str, operands))
            raise InvalidArgument(f"the operands, one at least, must fit {spec}, got ({listed})", label="C1")
        return (tensor_type(*spec), tensor_type((), int32))


@irdl_op_definition
class Enter(Gate):
    """The operand in the first iteration of the frame `frame` below the present one; in every iteration where it is
    `is_constant`. At most `parallel_iterations` of the frame are under way at once.

    C1: the operand is a tensor or a handle. C2: the frame has a name. C3: one iteration at least is under way.
    """

    name = "df.enter"
    frame = prop_def(Text)
    is_constant = prop_def(Flag)
    parallel_iterations = prop_def(Int)
    x = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_value(operands[0], "C1")
        if not attributes["frame"]:
            raise InvalidArgument("a frame needs a name, got ''", label="C2")
        if attributes["parallel_iterations"] < 1:
            got = attributes["parallel_iterations"]
            raise InvalidArgument(f"parallel_iterations must be 1 at least, got {got}", label="C3")
        return (operands[0],)


class Passing(Gate):
    """Hands its operand on.

    C1: the operand is a tensor or a handle.
    """

    x = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_value(operands[0], "C1")
        return (operands[0],)


@irdl_op_definition
class Exit(Passing):
    """The operand in the frame around this one, when it comes; dead there if it never does."""

    name = "df.exit"


@irdl_op_definition
class NextIteration(Passing):
    """The operand in the next iteration; there is none where it is dead."""

    name = "df.next_iteration"


@irdl_op_definition
class LoopCond(Gate):
    """The operand, which says whether the frame goes on.

    C1: the operand is a scalar of dtype bool.
    """

    name = "df.loop_cond"
    x = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_scalar(operands[0], (bool_,), "the operand", "C1")
        return (operands[0],)


@irdl_op_definition
class ControlTrigger(Gate):
    """A token that comes when all tokens have come, dead ones included, and is never dead.

    C1: the operands are tokens.
    """

    name = "df.control_trigger"
    tokens = var_operand_def()
    token = result_def()
    EFFECT: ClassVar = Effect.STATEFUL

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        for t in operands:
            if not isinstance(t, ControlType):
                raise InvalidType(f"the operands must be control tokens, got {t}", label="C1")
        return (CONTROL,)


@irdl_op_definition
class Stack(Gate):
    """A new stack of the step, when all tokens have come, for tensors of one dtype, with room for `max_size` elements,
    or any number where that is negative. It may move elements to the host's memory where `swap_memory` is true and the
    device's is short. `label` is what errors call it.

    C1: max_size is an integer scalar. C2: the rest are tokens.
    """

    name = "df.stack"
    label = prop_def(Text)
    dtype = prop_def(Element)
    swap_memory = prop_def(Flag)
    max_size = operand_def()
    tokens = var_operand_def()
    handle = result_def()
    EFFECT: ClassVar = Effect.STATEFUL

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_count(operands[0], "C1", "max_size")
        require_tokens(operands[1:], "C2")
        return (resource_type(STACK),)


class StackOp(Gate):
    """An op on a stack.

    C1: the first operand is a handle of a stack. C2: the tensors that the op takes, and then tokens, follow.
    """

    arguments = var_operand_def()
    outputs = var_result_def()
    EFFECT: ClassVar = Effect.STATEFUL
    COUNT: ClassVar[int] = 0

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_handle(operands, (STACK,), "C1")
        require_tensors_then_tokens(operands[1:], "C2", cls.COUNT)
        return (*cls.gives(operands, attributes), CONTROL)

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        return ()


@irdl_op_definition
class StackPush(StackOp):
    """Puts a tensor on the stack, and gives it and a token."""

    name = "df.stack_push"
    COUNT: ClassVar = 1

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        return (operands[1],)


@irdl_op_definition
class StackPop(StackOp):
    """Takes the newest element, of the spec `element`, and gives it and a token."""

    name = "df.stack_pop"
    element = prop_def(Specs)

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        (spec,) = attributes["element"]
        return (tensor_type(*spec),)


@irdl_op_definition
class StackPack(StackOp):
    """Takes all elements, of the spec `element`, as one tensor of `length` rows, the oldest first, or the newest with
    `reverse`; rows of zeros follow where they are fewer. The tensor behind the handle is the length; where it is
    negative, the next power of two will do. Gives a token too.
    C3: the length is an integer scalar.
    """

    name = "df.stack_pack"
    element = prop_def(Specs)
    length = prop_def(Dims)
    reverse = prop_def(Flag)
    COUNT: ClassVar = 1

    @classmethod
    def gives(cls, operands: Types, attributes: Attributes) -> Types:
        require_count(operands[1], "C3", "the length")
        (spec,) = attributes["element"]
        length: Dim = attributes["length"][0]
        return (tensor_type((length, *spec.shape), spec.dtype),)


@irdl_op_definition
class StackClose(StackOp):
    """Gives up the stack and what is on it; gives a token."""

    name = "df.stack_close"
