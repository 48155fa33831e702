"""Complex numbers and their parts. Real operands are complex numbers without an imaginary part."""

from __future__ import annotations

from dfc.errors import InvalidType
from dfc.frontend.immediate import elementwise
from dfc.frontend.ops.constant import zeros_like
from dfc.frontend.ops.elementwise import atan2
from dfc.frontend.ops.shape import error_here
from dfc.frontend.promotion import align, result_type, tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir.dtypes import complex_of
from dfc.ir.ops import complex as ir


def _trace() -> Trace:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    return trace


@elementwise
def real(x: Operand, /) -> Tensor:
    """The real part: float32 of complex64, float64 of complex128; a real x itself."""
    trace = _trace()
    tensor = tensor_in(trace, x)
    return trace.emit(ir.Real, (tensor._value,)) if tensor.dtype.kind == "complex" else tensor


@elementwise
def imag(x: Operand, /) -> Tensor:
    """The imaginary part: float32 of complex64, float64 of complex128; zeros for a real x."""
    trace = _trace()
    tensor = tensor_in(trace, x)
    return trace.emit(ir.Imag, (tensor._value,)) if tensor.dtype.kind == "complex" else zeros_like(tensor)


@elementwise
def complex(re: Operand, im: Operand, /) -> Tensor:
    """re + i im, broadcast: complex64 of two float32 operands, complex128 of float64 ones.

    Raises InvalidType for dtypes other than float32 and float64.
    """
    trace = _trace()
    dtype = result_type(*(x if type(x) in (bool, int, float) else tensor_in(trace, x) for x in (re, im)))
    if complex_of(dtype) is None:
        raise error_here(
            InvalidType,
            f"the parts must be float32 or float64, got {dtype}",
            "complex",
            hint="convert them with dfc.astype",
        )
    return trace.emit(ir.Complex, align(trace, "complex", (re, im)))


@elementwise
def conj(x: Operand, /) -> Tensor:
    """The complex conjugate; a real x itself."""
    trace = _trace()
    tensor = tensor_in(trace, x)
    return trace.emit(ir.Conj, (tensor._value,)) if tensor.dtype.kind == "complex" else tensor


@elementwise
def angle(x: Operand, /) -> Tensor:
    """The angle of a complex number to the positive real axis, in radians from -pi to pi: pi for negative reals."""
    return atan2(imag(x), real(x))
