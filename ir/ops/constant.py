"""Constants."""

from __future__ import annotations

from xdsl.irdl import irdl_op_definition, prop_def, result_def

from dfc.ir.attributes import Constant
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.types import tensor_type


@irdl_op_definition
class ConstantOp(Op):
    """A tensor whose elements are known, strings included."""

    name = "df.constant"
    value = prop_def(Constant)
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        array = attributes["value"]
        return (tensor_type(array.shape, array.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [attributes["value"].value]
