"""Variables and what reads and writes them. Tokens order the effects: an op waits for those it takes and gives one."""

from __future__ import annotations

from typing import ClassVar

from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, var_operand_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Dims, Division, Element, Flag, Text
from dfc.ir.dims import is_static
from dfc.ir.dtypes import bool_
from dfc.ir.op import Attributes, Effect, Op, Types
from dfc.ir.ops.elementwise import ANY, INEXACT, NUMERIC, ORDERED, require_kind
from dfc.ir.ops.indexing import require_integer
from dfc.ir.ops.sharding import require_fitting
from dfc.ir.types import (
    CONTROL,
    ControlType,
    RefType,
    Spec,
    is_tensor,
    ref_type,
    spec_behind,
    spec_of,
    tensor_type,
)


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
    """The handle of the variable called `variable`, unique in the program. With `offload` its value lives in the host's
    memory and is on a device only while something computes with it; with `sharding` it is divided among the devices of
    a mesh. C1: its shape is static. C2: the sharding fits it."""

    name = "df.variable"
    variable = prop_def(Text)
    shape = prop_def(Dims)
    dtype = prop_def(Element)
    offload = opt_prop_def(Flag)
    sharding = opt_prop_def(Division)
    ref = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec = Spec(attributes["shape"], attributes["dtype"])
        if not is_static(spec.shape):
            raise InvalidArgument(f"a variable needs a static shape, got {spec}", label="C1")
        if "sharding" in attributes:
            require_fitting(attributes["sharding"], spec.shape, "C2")
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


@irdl_op_definition
class InitialValue(Op):
    """What the variable called `variable` starts from, an array that the program's text does not hold.

    C1: its shape is static.
    """

    name = "df.initial_value"
    variable = prop_def(Text)
    shape = prop_def(Dims)
    dtype = prop_def(Element)
    value = result_def()
    HOST_ONLY: ClassVar = True

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec = Spec(attributes["shape"], attributes["dtype"])
        if not is_static(spec.shape):
            raise InvalidArgument(f"a variable needs a static shape, got {spec}", label="C1")
        return (tensor_type(*spec),)


@irdl_op_definition
class IsInitialized(Op):
    """Whether the variable has a value, when all tokens have come, and a token.

    C1: the first operand is a reference. C2: the rest are tokens.
    """

    name = "df.is_initialized"
    ref = operand_def()
    tokens = var_operand_def()
    value = result_def()
    token = result_def()
    EFFECT: ClassVar = Effect.READS
    HOST_ONLY: ClassVar = True

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        require_ref(operands[0], "C1")
        require_tokens(operands[1:], "C2")
        return (tensor_type((), bool_), CONTROL)


@irdl_op_definition
class InitializedValue(Op):
    """The variable's value when all tokens have come, or `initial` while it has none, and a token.

    C1: the first operand is a reference. C2: tokens follow `initial`. C3: `initial` has the variable's shape and dtype.
    """

    name = "df.initialized_value"
    ref = operand_def()
    initial = operand_def()
    tokens = var_operand_def()
    value = result_def()
    token = result_def()
    EFFECT: ClassVar = Effect.READS
    HOST_ONLY: ClassVar = True

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        variable, initial = require_ref(operands[0], "C1"), spec_of(operands[1])
        require_tokens(operands[2:], "C2")
        if variable != initial:
            raise InvalidArgument(f"the initial value must match the variable, {variable}, got {initial}", label="C3")
        return (tensor_type(*variable), CONTROL)


class Write(Op):
    """Writes a variable, its first operand, when all tokens have come; gives a token."""

    token = result_def()
    EFFECT: ClassVar = Effect.WRITES


class Update(Write):
    """Writes a variable from a value of its type and gives a token.

    C1: the first operand is a reference. C2: tokens follow the value. C3: the value has the variable's shape and
    dtype. C4: adding and subtracting needs a numeric dtype.
    """

    ref = operand_def()
    value = operand_def()
    tokens = var_operand_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        variable, value = require_ref(operands[0], "C1"), spec_of(operands[1])
        require_tokens(operands[2:], "C2")
        if variable != value:
            raise InvalidArgument(f"the value must match the variable, {variable}, got {value}", label="C3")
        require_kind(variable.dtype, cls.KINDS, "C4")
        return (CONTROL,)


@irdl_op_definition
class Assign(Update):
    """Sets the variable to the value."""

    name = "df.assign"


@irdl_op_definition
class AssignAdd(Update):
    """Adds the value to the variable."""

    name = "df.assign_add"
    KINDS: ClassVar = NUMERIC


@irdl_op_definition
class AssignSub(Update):
    """Subtracts the value from the variable."""

    name = "df.assign_sub"
    KINDS: ClassVar = NUMERIC


class Scatter(Write):
    """Writes the rows of a variable, its parts along the first axis, that `indices` name, and gives a token. `updates`
    has a row for each index. Rows that are not named stay as they are; indices out of range are an error of `evaluate`
    and change nothing in compiled code.

    C1: the first operand is a reference. C2: tokens follow the updates. C3: the variable has rows. C4: indices are
    integers. C5: updates have the shape (*indices.shape, *variable.shape[1:]) and the variable's dtype. C6: the dtype
    is of a kind that the op takes.
    """

    ref = operand_def()
    indices = operand_def()
    updates = operand_def()
    tokens = var_operand_def()
    KINDS: ClassVar[tuple[str, ...]] = NUMERIC

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        variable, indices, updates = require_ref(operands[0], "C1"), spec_of(operands[1]), spec_of(operands[2])
        require_tokens(operands[3:], "C2")
        if not variable.shape:
            raise InvalidArgument(f"a scatter needs a variable with rows, got {variable}", label="C3")
        require_integer(indices, "C4")
        wanted = Spec((*indices.shape, *variable.shape[1:]), variable.dtype)
        if updates != wanted:
            raise InvalidArgument(
                f"updates must be {wanted} for indices {indices} into a variable {variable}, got {updates}", label="C5"
            )
        require_kind(variable.dtype, cls.KINDS, "C6")
        return (CONTROL,)


@irdl_op_definition
class ScatterUpdate(Scatter):
    """Sets rows; of equal indices the last one wins."""

    name = "df.scatter_update"
    KINDS: ClassVar = ANY


@irdl_op_definition
class ScatterAdd(Scatter):
    """Adds to rows; updates of equal indices all count."""

    name = "df.scatter_add"


@irdl_op_definition
class ScatterSub(Scatter):
    """Subtracts from rows; updates of equal indices all count."""

    name = "df.scatter_sub"


@irdl_op_definition
class ScatterMul(Scatter):
    """Multiplies rows, by all updates of equal indices."""

    name = "df.scatter_mul"


@irdl_op_definition
class ScatterDiv(Scatter):
    """Divides rows, by all updates of equal indices."""

    name = "df.scatter_div"
    KINDS: ClassVar = INEXACT


@irdl_op_definition
class ScatterMin(Scatter):
    """The smaller of rows and updates; NaN if either is."""

    name = "df.scatter_min"
    KINDS: ClassVar = ORDERED


@irdl_op_definition
class ScatterMax(Scatter):
    """The larger of rows and updates; NaN if either is."""

    name = "df.scatter_max"
    KINDS: ClassVar = ORDERED


@irdl_op_definition
class Group(Op):
    """One token that comes when all tensors are computed and all tokens have come.

    C1: the operands are tensors and tokens.
    """

    name = "df.group"
    operands_ = var_operand_def()
    token = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        for t in operands:
            if not isinstance(t, ControlType) and not is_tensor(t):
                raise InvalidType(f"the operands must be tensors and tokens, got {t}", label="C1")
        return (CONTROL,)
