"""Fourier transforms over the last axes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Ints
from dfc.ir.dtypes import DType, as_dtype, complex_of, part_of
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.shape import shape_text
from dfc.ir.types import spec_of, tensor_type

MOST_AXES = 3  # StableHLO's limit


def spectrum(lengths: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of a real signal's spectrum: the last axis has only the frequencies that are not negative."""
    return (*lengths[:-1], lengths[-1] // 2 + 1)


class Transform(Op):
    """A discrete Fourier transform over as many last axes as there are lengths, which are the sizes of the signal.
    Forward transforms are plain sums; inverse ones are divided by the product of the lengths.

    C1: the dtype is one that the op takes. C2: 1 to 3 lengths, and at least as many axes. C3: lengths are positive.
    C4: the last axes have the sizes that follow from the lengths.
    """

    lengths = prop_def(Ints)
    x = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("complex",)
    FUNCTION: ClassVar[str]
    """The name in scipy.fft."""

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        (shape, dtype), lengths = spec_of(operands[0]), attributes["lengths"]
        if dtype.kind not in cls.KINDS or dtype.bits == 16:
            allowed = "complex64 or complex128" if "complex" in cls.KINDS else "float32 or float64"
            raise InvalidType(f"the dtype must be {allowed}, got {dtype}", label="C1")
        if not 1 <= len(lengths) <= min(MOST_AXES, len(shape)):
            raise InvalidArgument(
                f"there must be 1 to {MOST_AXES} lengths, each for an axis, got {lengths} for {shape_text(shape)}",
                label="C2",
            )
        if min(lengths) < 1:
            raise InvalidArgument(f"lengths must be positive, got {lengths}", label="C3")
        taken, given = cls.sizes(lengths)
        if shape[-len(lengths) :] != taken:
            raise InvalidArgument(
                f"the last axes must have sizes {taken} for lengths {lengths}, got {shape_text(shape)}", label="C4"
            )
        return (tensor_type((*shape[: -len(lengths)], *given), cls.result_dtype(dtype)),)

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        import scipy.fft  # 0.3 s, for those who evaluate

        (x,), lengths = operands, attributes["lengths"]
        given = cls.sizes(lengths)[1]
        dtype = cls.result_dtype(as_dtype(x.dtype)).numpy
        if x.size == 0:
            return [np.zeros((*x.shape[: -len(lengths)], *given), dtype)]
        with np.errstate(all="ignore"):
            found = getattr(scipy.fft, cls.FUNCTION)(x, s=lengths, axes=tuple(range(-len(lengths), 0)))
        return [np.asarray(found, dtype)]

    @staticmethod
    def sizes(lengths: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The sizes of the transformed axes, of the operand and of the result."""
        return lengths, lengths

    @staticmethod
    def result_dtype(dtype: DType) -> DType:
        return dtype


@irdl_op_definition
class Fft(Transform):
    """From a complex signal to its spectrum: y[k] = sum over j of x[j] exp(-2 pi i j k / n)."""

    name = "df.fft"
    FUNCTION: ClassVar = "fftn"


@irdl_op_definition
class Ifft(Transform):
    """The inverse of df.fft."""

    name = "df.ifft"
    FUNCTION: ClassVar = "ifftn"


@irdl_op_definition
class Rfft(Transform):
    """As df.fft, of a real signal, without the negative frequencies of the last axis, which are the conjugates of the
    positive ones."""

    name = "df.rfft"
    KINDS: ClassVar = ("float",)
    FUNCTION: ClassVar = "rfftn"

    @staticmethod
    def sizes(lengths: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return lengths, spectrum(lengths)

    @staticmethod
    def result_dtype(dtype: DType) -> DType:
        return complex_of(dtype) or dtype


@irdl_op_definition
class Irfft(Transform):
    """The inverse of df.rfft. After the inverse transform of the other axes, the imaginary parts at frequency 0 and,
    for an even length, at the highest one do not count."""

    name = "df.irfft"
    FUNCTION: ClassVar = "irfftn"

    @staticmethod
    def sizes(lengths: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return spectrum(lengths), lengths

    @staticmethod
    def result_dtype(dtype: DType) -> DType:
        return part_of(dtype)
