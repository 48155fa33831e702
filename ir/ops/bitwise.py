"""Operations on the bits of numbers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from dfc.errors import InvalidType
from dfc.ir.attributes import Element
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import FLOAT, Array, Binary, Unary
from dfc.ir.types import spec_of, tensor_type

WHOLE = ("int", "uint")
STORED = ("int", "uint", "float")


def _unsigned(x: Array) -> Array:
    return x.view(f"u{x.dtype.itemsize}")


class Shift(Binary):
    """The bits of the first operand moved by the second, which counts as unsigned: a negative distance is a large one.

    C1: equal shapes and dtypes. C2: the dtype is of a kind that the op takes.
    """

    KINDS: ClassVar[tuple[str, ...]] = WHOLE

    @staticmethod
    def distance(x: Array, y: Array) -> tuple[Array, Array]:
        """The distance below the width, and where it was not below."""
        bits = x.dtype.itemsize * 8
        far = _unsigned(y) >= bits
        return np.where(far, np.zeros((), x.dtype), y), far


@irdl_op_definition
class ShiftLeft(Shift):
    """x times 2^y, wrapped; 0 from the width on."""

    name = "df.shift_left"

    @classmethod
    def compute(cls, x: Array, y: Array) -> Array:
        distance, far = cls.distance(x, y)
        return np.where(far, np.zeros((), x.dtype), np.left_shift(x, distance))


@irdl_op_definition
class ShiftRightArithmetic(Shift):
    """x / 2^y rounded down, for signed x: copies of the sign come in; 0 or -1 from the width on."""

    name = "df.shift_right_arithmetic"
    KINDS: ClassVar = ("int",)

    @classmethod
    def compute(cls, x: Array, y: Array) -> Array:
        distance, far = cls.distance(x, y)
        return np.where(far, np.where(x < 0, -1, 0), np.right_shift(x, distance))


@irdl_op_definition
class ShiftRightLogical(Shift):
    """The bits of x moved toward the lowest; zeros come in, and all are zero from the width on."""

    name = "df.shift_right_logical"

    @classmethod
    def compute(cls, x: Array, y: Array) -> Array:
        distance, far = cls.distance(x, y)
        moved = np.right_shift(_unsigned(x), _unsigned(distance)).view(x.dtype)
        return np.where(far, np.zeros((), x.dtype), moved)


@irdl_op_definition
class PopulationCount(Unary):
    """How many bits are one, a negative number in two's complement."""

    name = "df.population_count"
    KINDS: ClassVar = WHOLE

    @classmethod
    def compute(cls, x: Array) -> Array:
        return np.asarray(np.bitwise_count(_unsigned(x)))


@irdl_op_definition
class CountLeadingZeros(Unary):
    """How many bits are zero before the highest one; the width for 0."""

    name = "df.count_leading_zeros"
    KINDS: ClassVar = WHOLE

    @classmethod
    def compute(cls, x: Array) -> Array:
        bits, spread = x.dtype.itemsize * 8, _unsigned(x).copy()
        distance = 1
        while distance < bits:  # every bit below the highest one becomes one
            spread |= spread >> np.array(distance, spread.dtype)
            distance *= 2
        return np.asarray(bits - np.bitwise_count(spread).astype(np.int16))


@irdl_op_definition
class BitcastConvert(Op):
    """The same bits as another dtype. C1: both dtypes are int, uint or float. C2: they have the same width."""

    name = "df.bitcast_convert"
    dtype = prop_def(Element)
    x = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = STORED

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec, target = spec_of(operands[0]), attributes["dtype"]
        if not {spec.dtype.kind, target.kind} <= set(cls.KINDS):
            raise InvalidType(f"both dtypes must be int, uint or float, got {spec.dtype} and {target}", label="C1")
        if spec.dtype.bits != target.bits:
            raise InvalidType(f"both dtypes must have the same width, got {spec.dtype} and {target}", label="C2")
        return (tensor_type(spec.shape, target),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [np.ascontiguousarray(operands[0]).view(attributes["dtype"].numpy).reshape(operands[0].shape)]


@irdl_op_definition
class NextAfter(Binary):
    """The number next to the first operand in its dtype toward the second; the second where both are equal."""

    name = "df.next_after"
    KINDS: ClassVar = FLOAT
    NUMPY: ClassVar = np.nextafter


@irdl_op_definition
class CopySign(Binary):
    """The first operand with the second one's sign bit, that of zeros and NaNs too."""

    name = "df.copy_sign"
    KINDS: ClassVar = FLOAT
    NUMPY: ClassVar = np.copysign
