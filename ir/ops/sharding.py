"""How tensors are divided among the devices of a mesh."""

from __future__ import annotations

from typing import ClassVar

from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from dfc.errors import DfcError, InvalidArgument
from dfc.ir.attributes import Division
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import require_kind
from dfc.ir.sharding import Sharding, check_divisible
from dfc.ir.types import is_tensor, spec_of


def require_fitting(sharding: Sharding, shape: tuple[object, ...], label: str) -> None:
    """Raise InvalidArgument unless a tensor of this shape can be divided so."""
    try:
        sharding.check(len(shape))
        if sharding.mesh.is_fixed:
            check_divisible(shape, sharding.mesh.axes, sharding.divided)
    except DfcError as error:
        raise InvalidArgument(error.diagnostic.message, label=label) from None


@irdl_op_definition
class Shard(Op):
    """Its operand, divided among a mesh's devices as `sharding` says wherever the program runs on that mesh.

    C1: the operand is a tensor. C2: the sharding fits it: axes that the mesh has, each once, sizes that they divide.
    C3: of a dtype that devices hold.
    """

    name = "df.shard"
    x = operand_def()
    sharding = prop_def(Division)
    result = result_def()
    KINDS: ClassVar = ("bool", "int", "uint", "float", "complex")

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        if not is_tensor(operands[0]):
            raise InvalidArgument(f"the operand must be a tensor, got {operands[0]}", label="C1")
        spec = spec_of(operands[0])
        require_fitting(attributes["sharding"], spec.shape, "C2")
        require_kind(spec.dtype, Shard.KINDS, "C3")
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return operands
