"""Elementwise operations: arithmetic, functions, comparison, selection, conversion.

Operands are tensors, variables, arrays or Python numbers; they meet in one dtype (`dfc.result_type`) and one shape
(NumPy's broadcasting). Every operation works on 0-d to n-d operands and gives a tensor of the broadcast shape. A wrong
dtype is InvalidType, shapes that don't broadcast are InvalidArgument.
"""

from __future__ import annotations

import builtins
from typing import Any

from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import promotion
from dfc.frontend.defaults import default_float
from dfc.frontend.immediate import elementwise, operation
from dfc.frontend.promotion import align, tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir import locations
from dfc.ir.dtypes import DType, as_dtype, bool_
from dfc.ir.op import Op
from dfc.ir.ops import elementwise as ir
from dfc.ir.ops.complex import Imag, Real
from dfc.ir.types import spec_of


def _trace() -> Trace:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    return trace


def _unary(cls: type[Op], x: Operand, name: str, *, inexact: bool = False) -> Tensor:
    """The op on x; with `inexact`, integers and booleans become the default floating dtype first."""
    trace = _trace()
    tensor = x if type(x) is Tensor and x._trace is trace else tensor_in(trace, x)
    value = tensor._value
    if inexact and not spec_of(value.type).dtype.is_inexact:
        value = trace.convert(value, default_float())
    return trace.emit(cls, (value,))


def _binary(cls: type[Op], x1: Operand, x2: Operand, name: str) -> Tensor:
    trace = _trace()
    if type(x1) is Tensor and x1._trace is trace:  # the usual cases, without `align`
        if type(x2) is Tensor:
            if x2._trace is trace and x2._type is x1._type:
                return trace.emit(cls, (x1._value, x2._value))
        elif type(x2) is float:
            spec = spec_of(x1._type)
            if spec.dtype.is_floating:
                return trace.emit(cls, (x1._value, trace.fill(x2, spec.dtype, spec.shape)))
    return trace.emit(cls, align(trace, name, (x1, x2)))


def _pair(x1: Operand, x2: Operand, name: str) -> tuple[Tensor, Tensor]:
    """Both operands in one dtype and shape."""
    trace = _trace()
    a, b = align(trace, name, (x1, x2))
    return Tensor(a.type, trace, a), Tensor(b.type, trace, b)


def _own(x: Operand) -> Tensor:
    return tensor_in(_trace(), x)


def _wrap(value: SSAValue) -> Tensor:
    return Tensor(value.type, _trace(), value)


# ---- functions of one operand


@elementwise
def negative(x: Operand, /) -> Tensor:
    """-x; integers wrap, unsigned ones modulo 2^bits. Not of booleans."""
    tensor = _own(x)
    if tensor.dtype.kind == "uint":
        return _binary(ir.Subtract, _filled(tensor, 0), tensor, "negative")
    return _unary(ir.Negate, tensor, "negative")


@elementwise
def positive(x: Operand, /) -> Tensor:
    """x itself."""
    return _own(x)


@elementwise
def abs(x: Operand, /) -> Tensor:
    """|x|; of complex numbers the distance from 0, which is real."""
    tensor = _own(x)
    return tensor if tensor.dtype.kind == "uint" else _unary(ir.Abs, tensor, "abs")


@elementwise
def sign(x: Operand, /) -> Tensor:
    """-1, 0 or 1; NaN stays NaN."""
    tensor = _own(x)
    if tensor.dtype.kind == "uint":
        return _binary(ir.Minimum, tensor, _filled(tensor, 1), "sign")
    return _unary(ir.Sign, tensor, "sign")


@elementwise
def exp(x: Operand, /) -> Tensor:
    """e to the power of x."""
    return _unary(ir.Exponential, x, "exp", inexact=True)


@elementwise
def expm1(x: Operand, /) -> Tensor:
    """exp(x) - 1, accurate near zero."""
    return _unary(ir.ExponentialMinusOne, x, "expm1", inexact=True)


@elementwise
def log(x: Operand, /) -> Tensor:
    """Natural logarithm."""
    return _unary(ir.Log, x, "log", inexact=True)


@elementwise
def log1p(x: Operand, /) -> Tensor:
    """log(1 + x), accurate near zero."""
    return _unary(ir.LogPlusOne, x, "log1p", inexact=True)


@elementwise
def sqrt(x: Operand, /) -> Tensor:
    """Square root; NaN below zero."""
    return _unary(ir.Sqrt, x, "sqrt", inexact=True)


@elementwise
def rsqrt(x: Operand, /) -> Tensor:
    """1 / sqrt(x)."""
    return _unary(ir.Rsqrt, x, "rsqrt", inexact=True)


@elementwise
def square(x: Operand, /) -> Tensor:
    """x * x."""
    tensor = _own(x)
    return _binary(ir.Multiply, tensor, tensor, "square")


@elementwise
def sin(x: Operand, /) -> Tensor:
    """Sine of x in radians."""
    return _unary(ir.Sine, x, "sin", inexact=True)


@elementwise
def cos(x: Operand, /) -> Tensor:
    """Cosine of x in radians."""
    return _unary(ir.Cosine, x, "cos", inexact=True)


@elementwise
def tan(x: Operand, /) -> Tensor:
    """Tangent of x in radians."""
    return _unary(ir.Tangent, x, "tan", inexact=True)


@elementwise
def tanh(x: Operand, /) -> Tensor:
    """Hyperbolic tangent."""
    return _unary(ir.Tanh, x, "tanh", inexact=True)


@elementwise
def sigmoid(x: Operand, /) -> Tensor:
    """1 / (1 + exp(-x))."""
    return _unary(ir.Logistic, x, "sigmoid", inexact=True)


@elementwise
def floor(x: Operand, /) -> Tensor:
    """The largest integer not above x, in x's dtype; integers stay."""
    tensor = _own(x)
    return tensor if tensor.dtype.is_integer else _unary(ir.Floor, tensor, "floor")


@elementwise
def ceil(x: Operand, /) -> Tensor:
    """The smallest integer not below x, in x's dtype; integers stay."""
    tensor = _own(x)
    return tensor if tensor.dtype.is_integer else _unary(ir.Ceil, tensor, "ceil")


@elementwise
def round(x: Operand, /) -> Tensor:
    """The nearest integer, halves to the even one, in x's dtype; integers stay."""
    tensor = _own(x)
    return tensor if tensor.dtype.is_integer else _unary(ir.RoundNearestEven, tensor, "round")


@elementwise
def trunc(x: Operand, /) -> Tensor:
    """The integer next to x toward zero, in x's dtype; integers stay."""
    tensor = _own(x)
    if tensor.dtype.is_integer:
        return tensor
    below = compare("LT", tensor, _filled(tensor, 0), "trunc")
    return _select(below, _unary(ir.Ceil, tensor, "trunc"), _unary(ir.Floor, tensor, "trunc"))


def _parts(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The real and the imaginary part."""
    return _unary(Real, tensor, "real"), _unary(Imag, tensor, "imag")


@elementwise
def isfinite(x: Operand, /) -> Tensor:
    """True where x is neither infinite nor NaN: where both parts of a complex x are."""
    tensor = _own(x)
    if tensor.dtype.kind == "complex":
        return logical_and(*map(isfinite, _parts(tensor)))
    if not tensor.dtype.is_floating:
        return _constant_bool(tensor, True)
    return _unary(ir.IsFinite, tensor, "isfinite")


@elementwise
def isnan(x: Operand, /) -> Tensor:
    """True where x is NaN."""
    tensor = _own(x)
    return compare("NE", tensor, tensor, "isnan")


@elementwise
def isinf(x: Operand, /) -> Tensor:
    """True where x is infinite: where a part of a complex x is."""
    tensor = _own(x)
    if tensor.dtype.kind == "complex":
        return logical_or(*map(isinf, _parts(tensor)))
    if not tensor.dtype.is_floating:
        return _constant_bool(tensor, False)
    return compare("EQ", abs(tensor), _filled(tensor, float("inf")), "isinf")


@operation
def identity(x: Operand, /, *, name: str | None = None) -> Tensor:
    """x itself, as an operation of its own, called `name` in the present name scope."""
    trace = _trace()
    tensor = _own(x)
    annotations = None if name is None else trace.named(name)
    return _wrap(trace.emit_op(ir.Identity, (tensor._value,), annotations=annotations).results[0])


@operation
def stop_gradient(x: Operand, /) -> Tensor:
    """x itself; its gradient is None."""
    return _unary(ir.StopGradient, x, "stop_gradient")


# ---- of two operands


@elementwise
def add(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 + x2; integers wrap."""
    return _binary(ir.Add, x1, x2, "add")


@elementwise
def subtract(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 - x2; integers wrap."""
    return _binary(ir.Subtract, x1, x2, "subtract")


@elementwise
def multiply(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 * x2; integers wrap."""
    return _binary(ir.Multiply, x1, x2, "multiply")


@elementwise
def divide(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 / x2; integers become the default floating dtype first."""
    trace = _trace()
    if type(x1) is Tensor and type(x2) is Tensor and x1._type is x2._type and x1.dtype.is_inexact:
        return _binary(ir.Divide, x1, x2, "divide")
    a, b = align(trace, "divide", (x1, x2))
    if not spec_of(a.type).dtype.is_inexact:
        a, b = trace.convert(a, default_float()), trace.convert(b, default_float())
    return trace.emit(ir.Divide, (a, b))


@elementwise
def floor_divide(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 / x2 rounded to the integer below, in the operands' dtype.

    Integers divided by zero give -1 (the largest value of an unsigned dtype), where NumPy gives 0 and a warning; floats
    give what x1 / x2 is.
    """
    a, b = _pair(x1, x2, "floor_divide")
    if a.dtype.kind == "uint":
        return _binary(ir.Divide, a, b, "floor_divide")
    rest = _binary(ir.Remainder, a, b, "floor_divide")
    differs = _opposite(rest, b)
    if a.dtype.kind == "int":
        quotient = _binary(ir.Divide, a, b, "floor_divide")
        return _select(differs, quotient - 1, quotient)
    quotient = (a - rest) / b  # an integer but for rounding
    nearest = _unary(ir.RoundNearestEven, _select(differs, quotient - 1, quotient), "floor_divide")
    return _select(compare("EQ", b, _filled(b, 0), "floor_divide"), a / b, nearest)


@elementwise
def remainder(x1: Operand, x2: Operand, /) -> Tensor:
    """The remainder of the division rounded to the integer below; it has the sign of x2.

    Where x2 is zero the remainder of integers is x1, where NumPy gives 0 and a warning, and that of floats NaN.
    """
    a, b = _pair(x1, x2, "remainder")
    rest = _binary(ir.Remainder, a, b, "remainder")
    return rest if a.dtype.kind == "uint" else _select(_opposite(rest, b), rest + b, rest)


def _opposite(rest: Tensor, divisor: Tensor) -> Tensor:
    """Where a remainder rounded toward zero is not zero and has the other sign than the divisor."""
    zero = _filled(rest, 0)
    signs = _binary(ir.Multiply, _unary(ir.Sign, rest, ""), _unary(ir.Sign, divisor, ""), "")
    return compare("LT", signs, zero, "")


@operation
def pow(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 to the power of x2; for integers a negative exponent gives 0 (1 for 1; 1 or -1 for -1)."""
    if type(x2) is int and x2 == 2:
        return square(x1)
    return _binary(ir.Power, x1, x2, "pow")


@elementwise
def maximum(x1: Operand, x2: Operand, /) -> Tensor:
    """The larger; NaN if either is."""
    return _binary(ir.Maximum, x1, x2, "maximum")


@elementwise
def minimum(x1: Operand, x2: Operand, /) -> Tensor:
    """The smaller; NaN if either is."""
    return _binary(ir.Minimum, x1, x2, "minimum")


@elementwise
def atan2(x1: Operand, x2: Operand, /) -> Tensor:
    """The angle of the point (x2, x1), in radians."""
    return _binary(ir.Atan2, x1, x2, "atan2")


@elementwise
def logical_and(x1: Operand, x2: Operand, /) -> Tensor:
    """True where both are; for booleans."""
    return _logical(ir.And, x1, x2, "logical_and")


@elementwise
def logical_or(x1: Operand, x2: Operand, /) -> Tensor:
    """True where either is; for booleans."""
    return _logical(ir.Or, x1, x2, "logical_or")


@elementwise
def logical_xor(x1: Operand, x2: Operand, /) -> Tensor:
    """True where exactly one is; for booleans."""
    return _logical(ir.Xor, x1, x2, "logical_xor")


@elementwise
def logical_not(x: Operand, /) -> Tensor:
    """True where x is not; for booleans."""
    tensor = _own(x)
    _require_bool(tensor, "logical_not")
    return _unary(ir.Not, tensor, "logical_not")


def _logical(cls: type[Op], x1: Operand, x2: Operand, name: str) -> Tensor:
    a, b = _pair(x1, x2, name)
    _require_bool(a, name)
    return _binary(cls, a, b, name)


def _require_bool(x: Tensor, name: str) -> None:
    if x.dtype is not bool_:
        raise InvalidType(
            f"the operands must be bool, got {x.dtype}",
            op=name,
            location=locations.describe(locations.capture()),
            hint="compare with zero first, or use dfc.bitwise_and and its like on integers",
        )


@elementwise
def bitwise_and(x1: Operand, x2: Operand, /) -> Tensor:
    """Bitwise and of integers, logical and of booleans."""
    return _binary(ir.And, x1, x2, "bitwise_and")


@elementwise
def bitwise_or(x1: Operand, x2: Operand, /) -> Tensor:
    """Bitwise or of integers, logical or of booleans."""
    return _binary(ir.Or, x1, x2, "bitwise_or")


@elementwise
def bitwise_xor(x1: Operand, x2: Operand, /) -> Tensor:
    """Bitwise exclusive or of integers, logical of booleans."""
    return _binary(ir.Xor, x1, x2, "bitwise_xor")


@elementwise
def bitwise_invert(x: Operand, /) -> Tensor:
    """Bitwise not of integers, logical not of booleans."""
    return _unary(ir.Not, x, "bitwise_invert")


@operation
def add_n(inputs: Any, /) -> Tensor:
    """The sum of a list of tensors of one shape and dtype. Raises InvalidArgument for an empty list."""
    trace = _trace()
    return trace.emit(ir.AddN, [tensor_in(trace, x)._value for x in inputs])


# ---- comparison, selection, conversion


def compare(direction: str, x1: Operand, x2: Operand, name: str) -> Tensor:
    """`df.compare` of operands that meet in one dtype and shape."""
    trace = _trace()
    return trace.emit(ir.Compare, align(trace, name, (x1, x2)), {"direction": direction})


@elementwise
def equal(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 == x2."""
    return compare("EQ", x1, x2, "equal")


@elementwise
def not_equal(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 != x2; NaN differs from everything."""
    return compare("NE", x1, x2, "not_equal")


@elementwise
def less(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 < x2."""
    return compare("LT", x1, x2, "less")


@elementwise
def less_equal(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 <= x2."""
    return compare("LE", x1, x2, "less_equal")


@elementwise
def greater(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 > x2."""
    return compare("GT", x1, x2, "greater")


@elementwise
def greater_equal(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 >= x2."""
    return compare("GE", x1, x2, "greater_equal")


@operation
def where(condition: Operand, x1: Operand, x2: Operand, /) -> Tensor:
    """x1 where the boolean `condition` holds, else x2; all three broadcast."""
    trace = _trace()
    pred = tensor_in(trace, condition)
    a, b = align(trace, "where", (x1, x2))
    if pred.shape:
        try:
            shape = promotion.broadcast_shapes(pred.shape, spec_of(a.type).shape)
        except InvalidArgument as error:
            raise error.at(op="where", location=locations.describe(locations.capture())) from None
        a, b = trace.broadcast(a, shape), trace.broadcast(b, shape)
        pred = _wrap(trace.broadcast(pred._value, shape))
    return trace.emit(ir.Select, (pred._value, a, b))


@operation
def astype(x: Operand, dtype: Any, /) -> Tensor:
    """x in another dtype. Floats go to integers toward zero and saturate, NaN becomes 0; bool is x != 0."""
    trace = _trace()
    return _wrap(trace.convert(tensor_in(trace, x)._value, as_dtype(dtype)))


def result_type(*operands: Any) -> DType:
    """The dtype that tensors, variables, arrays, dtypes and Python numbers meet in.

    Among tensors of one kind: the Array API's table, with bfloat16 and float16 meeting in float32. A bool takes the
    other's dtype, an integer meeting a float or a complex number the latter's. A Python number is weak: it takes the
    tensors' dtype, unless it is of a higher kind (a float meeting integers), which gives the default dtype of that
    kind. Raises InvalidType where there is no common dtype (uint64 and int64; strings and numbers).
    """
    return promotion.result_type(*(x.dtype if hasattr(x, "dtype") else x for x in operands))


def _select(pred: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return _trace().emit(ir.Select, (pred._value, a._value, b._value))


def _filled(like: Tensor, number: builtins.bool | int | float) -> Tensor:
    """The number in the shape and dtype of `like`."""
    return _wrap(_trace().fill(number, like.dtype, like.shape))


def _constant_bool(like: Tensor, value: bool) -> Tensor:
    return _wrap(_trace().fill(value, bool_, like.shape))
