"""Variables and what reads and writes them. Tokens order the effects: an op waits for those it takes and gives one."""

from __future__ import annotations

from typing import ClassVar

from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, var_operand_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Dims, Element, Text
from dfc.ir.dims import is_static
from dfc.ir.op import Attributes, Effect, Op, Types
from dfc.ir.ops.elementwise import NUMERIC, require_kind
from dfc.ir.types import CONTROL, ControlType, RefType, Spec, ref_type, spec_behind, spec_of, tensor_type


def require_tokens(operands: Types, label: str) -> None:
    """Raise InvalidType unless every operand is a control token."""
    for t in operands:
        if not isinstance(t, ControlType):
            raise InvalidType(f"only control tokens may follow the data operands, got {t}", label=label)


def require_ref(type: Attribute, label: str) -> Spec:
    """The spec of the variable behind a reference; InvalidType for another type."""
    if not isinstance(type, RefType):
        raise InvalidType(f"the first operand must be a reference to a variable, got {type}", label=label)
    return spec_behind(type)


@irdl_op_definition
class Variable(Op):
    """The handle of the variable called `variable`, unique in the program. C1: its shape is static."""

    name = "df.variable"
    variable = prop_def(Text)
    shape = prop_def(Dims)
    dtype = prop_def(Element)
    ref = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec = Spec(attributes["shape"], attributes["dtype"])
        if not is_static(spec.shape):
            raise InvalidArgument(f"a variable needs a static shape, got {spec}", label="C1")
        return (ref_type(spec),)


@irdl_op_definition
class Read(Op):
    """The variable's value when all tokens have come, and a token.

    C1: the first operand is a reference. C2: the rest are tokens.
    """

    name = "df.read"
    ref = operand_def()
    tokens = var_operand_def()
    value = result_def()
    token = result_def()
    EFFECT: ClassVar = Effect.READS

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec = require_ref(operands[0], "C1")
        require_tokens(operands[1:], "C2")
        return (tensor_type(*spec), CONTROL)


class Update(Op):
    """Writes a variable from a value of its type and gives a token.

    C1: the first operand is a reference. C2: tokens follow the value. C3: the value has the variable's shape and
    dtype. C4: adding and subtracting needs a numeric dtype.
    """

    ref = operand_def()
    value = operand_def()
    tokens = var_operand_def()
    token = result_def()
    EFFECT: ClassVar = Effect.WRITES
    ARITHMETIC: ClassVar[bool] = False

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        variable, value = require_ref(operands[0], "C1"), spec_of(operands[1])
        require_tokens(operands[2:], "C2")
        if variable != value:
            raise InvalidArgument(f"the value must match the variable, {variable}, got {value}", label="C3")
        if cls.ARITHMETIC:
            require_kind(variable.dtype, NUMERIC, "C4")
        return (CONTROL,)


@irdl_op_definition
class Assign(Update):
    """Sets the variable to the value."""

    name = "df.assign"


@irdl_op_definition
class AssignAdd(Update):
    """Adds the value to the variable."""

    name = "df.assign_add"
    ARITHMETIC: ClassVar = True


@irdl_op_definition
class AssignSub(Update):
    """Subtracts the value from the variable."""

    name = "df.assign_sub"
    ARITHMETIC: ClassVar = True


@irdl_op_definition
class Group(Op):
    """One token that comes when all of its tokens have. C1: the operands are tokens."""

    name = "df.group"
    tokens = var_operand_def()
    token = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_tokens(operands, "C1")
        return (CONTROL,)
