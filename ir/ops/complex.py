"""Complex numbers and their parts."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, result_def

from dfc.errors import InvalidType
from dfc.ir.dtypes import complex_of, part_of
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import Unary, require_equal, require_kind
from dfc.ir.types import spec_of, tensor_type

COMPLEX = ("complex",)


class Part(Op):
    """A real tensor from a complex one of the same shape. C1: x is complex."""

    z = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = COMPLEX

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        shape, dtype = spec_of(operands[0])
        require_kind(dtype, cls.KINDS, "C1")
        return (tensor_type(shape, part_of(dtype)),)


@irdl_op_definition
class Real(Part):
    """The real part."""

    name = "df.real"

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [np.array(operands[0].real)]


@irdl_op_definition
class Imag(Part):
    """The imaginary part."""

    name = "df.imag"

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [np.array(operands[0].imag)]


@irdl_op_definition
class Complex(Op):
    """re + i im, of two float32 or two float64 tensors.

    C1: equal shapes and dtypes. C2: the dtype is float32 or float64.
    """

    name = "df.complex"
    re = operand_def()
    im = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("float",)

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        re, im = (spec_of(t) for t in operands)
        require_equal([re, im], "C1")
        dtype = complex_of(re.dtype)
        if dtype is None:
            raise InvalidType(f"the dtype must be float32 or float64, got {re.dtype}", label="C2")
        return (tensor_type(re.shape, dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        re, im = operands
        result: np.ndarray[Any, Any] = np.empty(re.shape, np.result_type(re.dtype, np.complex64))
        result.real, result.imag = re, im  # a sum would make NaN of infinite parts
        return [result]


@irdl_op_definition
class Conj(Unary):
    """The complex conjugate: the imaginary part's sign changes."""

    name = "df.conj"
    KINDS: ClassVar = COMPLEX
    NUMPY: ClassVar = np.conjugate
