"""Elementwise ops: unary, binary, comparison, selection, conversion. Shapes of operands are equal; broadcasting is an
op of its own (`df.broadcast_in_dim`)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, var_operand_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Element, Text
from dfc.ir.dtypes import DType, bool_, part_of
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.types import Spec, spec_of, tensor_type

Array = np.ndarray[Any, Any]
FLOAT = ("float",)
INEXACT = ("float", "complex")
REAL = ("int", "uint", "float")
NUMERIC = ("int", "uint", "float", "complex")
SIGNED = ("int", "float", "complex")
INTEGRAL = ("bool", "int", "uint")
ORDERED = ("bool", "int", "uint", "float")
ANY = ("bool", "int", "uint", "float", "complex", "string")


def require_kind(dtype: DType, kinds: tuple[str, ...], label: str) -> None:
    """Raise InvalidType unless the dtype is one of `kinds`."""
    if dtype.kind not in kinds:
        raise InvalidType(f"the dtype must be {' or '.join(kinds)}, got {dtype}", label=label)


def require_equal(specs: list[Spec], label: str) -> None:
    """Raise InvalidArgument unless all shapes and dtypes are equal."""
    if any(s != specs[0] for s in specs[1:]):
        raise InvalidArgument(
            f"operands must have equal shapes and dtypes, got {' and '.join(map(str, specs))}", label=label
        )


class Unary(Op):
    """One operand, one result of the same type. C1: the dtype is of a kind that the op takes."""

    x = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = INEXACT
    NUMPY: ClassVar[Callable[..., Any]]

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_kind(spec_of(operands[0]).dtype, cls.KINDS, "C1")
        return operands

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        with np.errstate(all="ignore"):
            return [np.asarray(cls.compute(*operands), operands[0].dtype)]

    @classmethod
    def compute(cls, x: Array) -> Array:
        """The result as NumPy gives it."""
        return np.asarray(cls.NUMPY(x))


@irdl_op_definition
class Negate(Unary):
    """-x; integers wrap."""

    name = "df.negate"
    KINDS: ClassVar = SIGNED
    NUMPY: ClassVar = np.negative


@irdl_op_definition
class Abs(Unary):
    """|x|, which is real for complex x. The smallest integer stays as it is."""

    name = "df.abs"
    KINDS: ClassVar = SIGNED
    NUMPY: ClassVar = np.abs

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        shape, dtype = spec_of(operands[0])
        require_kind(dtype, cls.KINDS, "C1")
        return operands if dtype.kind != "complex" else (tensor_type(shape, part_of(dtype)),)

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        with np.errstate(all="ignore"):
            return [np.asarray(np.abs(operands[0]))]


@irdl_op_definition
class Sign(Unary):
    """-1, 0 or 1; NaN stays NaN, and negative zero negative zero."""

    name = "df.sign"
    KINDS: ClassVar = ("int", "float")

    @staticmethod
    def compute(x: Array) -> Array:
        return np.where(x == 0, x, np.sign(x)) if x.dtype.kind != "i" else np.sign(x)


@irdl_op_definition
class Exponential(Unary):
    """e to the power of x."""

    name = "df.exponential"
    NUMPY: ClassVar = np.exp


@irdl_op_definition
class ExponentialMinusOne(Unary):
    """exp(x) - 1, accurate near zero."""

    name = "df.exponential_minus_one"
    KINDS: ClassVar = FLOAT
    NUMPY: ClassVar = np.expm1


@irdl_op_definition
class Log(Unary):
    """Natural logarithm."""

    name = "df.log"
    NUMPY: ClassVar = np.log


@irdl_op_definition
class LogPlusOne(Unary):
    """log(1 + x), accurate near zero."""

    name = "df.log_plus_one"
    KINDS: ClassVar = FLOAT
    NUMPY: ClassVar = np.log1p


@irdl_op_definition
class Sqrt(Unary):
    """Square root; NaN below zero."""

    name = "df.sqrt"
    NUMPY: ClassVar = np.sqrt


@irdl_op_definition
class Rsqrt(Unary):
    """1 / sqrt(x)."""

    name = "df.rsqrt"
    KINDS: ClassVar = FLOAT

    @staticmethod
    def compute(x: Array) -> Array:
        return 1 / np.sqrt(x)


@irdl_op_definition
class Sine(Unary):
    """Sine of x in radians."""

    name = "df.sine"
    NUMPY: ClassVar = np.sin


@irdl_op_definition
class Cosine(Unary):
    """Cosine of x in radians."""

    name = "df.cosine"
    NUMPY: ClassVar = np.cos


@irdl_op_definition
class Tangent(Unary):
    """Tangent of x in radians."""

    name = "df.tangent"
    NUMPY: ClassVar = np.tan


@irdl_op_definition
class Tanh(Unary):
    """Hyperbolic tangent."""

    name = "df.tanh"
    NUMPY: ClassVar = np.tanh


@irdl_op_definition
class Logistic(Unary):
    """1 / (1 + exp(-x)), the sigmoid."""

    name = "df.logistic"
    KINDS: ClassVar = FLOAT

    @staticmethod
    def compute(x: Array) -> Array:
        from scipy.special import expit  # a quarter of a second, which no program that only compiles should pay

        wide = x.astype(np.float64) if x.dtype.itemsize < 8 else x
        return np.asarray(expit(wide))


@irdl_op_definition
class Floor(Unary):
    """The largest integer not above x, in x's dtype."""

    name = "df.floor"
    KINDS: ClassVar = FLOAT
    NUMPY: ClassVar = np.floor


@irdl_op_definition
class Ceil(Unary):
    """The smallest integer not below x, in x's dtype."""

    name = "df.ceil"
    KINDS: ClassVar = FLOAT
    NUMPY: ClassVar = np.ceil


@irdl_op_definition
class RoundNearestEven(Unary):
    """The nearest integer, halves to the even one, in x's dtype."""

    name = "df.round_nearest_even"
    KINDS: ClassVar = FLOAT
    NUMPY: ClassVar = np.rint


@irdl_op_definition
class Not(Unary):
    """Logical not of booleans, bitwise not of integers."""

    name = "df.not"
    KINDS: ClassVar = INTEGRAL
    NUMPY: ClassVar = np.invert


@irdl_op_definition
class Identity(Unary):
    """x itself, of any dtype: a place for a name, a feed or a fetch."""

    name = "df.identity"
    KINDS: ClassVar = ANY

    @staticmethod
    def compute(x: Array) -> Array:
        return x


@irdl_op_definition
class StopGradient(Unary):
    """x itself; no gradient passes."""

    name = "df.stop_gradient"
    KINDS: ClassVar = ANY

    @staticmethod
    def compute(x: Array) -> Array:
        return x


@irdl_op_definition
class IsFinite(Op):
    """True where x is neither infinite nor NaN. C1: x is floating."""

    name = "df.is_finite"
    x = operand_def()
    result = result_def()
    KINDS: ClassVar = FLOAT

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec = spec_of(operands[0])
        require_kind(spec.dtype, cls.KINDS, "C1")
        return (tensor_type(spec.shape, bool_),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [np.asarray(np.isfinite(operands[0]))]


class Binary(Op):
    """Two operands of one type. C1: equal shapes and dtypes. C2: the dtype is of a kind that the op takes."""

    lhs = operand_def()
    rhs = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = NUMERIC
    NUMPY: ClassVar[Callable[..., Any]]

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        lhs, rhs = operands
        if lhs is not rhs:
            require_equal([spec_of(lhs), spec_of(rhs)], "C1")
        require_kind(spec_of(lhs).dtype, cls.KINDS, "C2")
        return (lhs,)

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        with np.errstate(all="ignore"):
            return [np.asarray(cls.compute(*operands), operands[0].dtype)]

    @classmethod
    def compute(cls, x: Array, y: Array) -> Array:
        """The result as NumPy gives it."""
        return np.asarray(cls.NUMPY(x, y))


@irdl_op_definition
class Add(Binary):
    """x + y; integers wrap."""

    name = "df.add"
    NUMPY: ClassVar = np.add


@irdl_op_definition
class Subtract(Binary):
    """x - y; integers wrap."""

    name = "df.subtract"
    NUMPY: ClassVar = np.subtract


@irdl_op_definition
class Multiply(Binary):
    """x * y; integers wrap."""

    name = "df.multiply"
    NUMPY: ClassVar = np.multiply


@irdl_op_definition
class Divide(Binary):
    """x / y; of integers the quotient rounded toward zero, where a division by zero gives -1 (all bits set) and the
    smallest integer by -1 itself."""

    name = "df.divide"

    @staticmethod
    def compute(x: Array, y: Array) -> Array:
        return _truncated(x, y)[0] if x.dtype.kind in "iu" else np.divide(x, y)


@irdl_op_definition
class Remainder(Binary):
    """The remainder of the division rounded toward zero, with the sign of x; x itself where an integer y is zero."""

    name = "df.remainder"
    KINDS: ClassVar = REAL

    @staticmethod
    def compute(x: Array, y: Array) -> Array:
        return _truncated(x, y)[1] if x.dtype.kind in "iu" else np.fmod(x, y)


def _truncated(x: Array, y: Array) -> tuple[Array, Array]:
    """Quotient rounded toward zero and remainder of integers, with XLA's values at the edges."""
    one = np.ones((), x.dtype)
    overflow = (x == np.iinfo(x.dtype).min) & (y == -1) if x.dtype.kind == "i" else np.zeros(x.shape, bool)
    safe = np.where((y == 0) | overflow, one, y)
    remainder = np.fmod(x, safe)
    quotient = (x - remainder) // safe
    quotient = np.where(y == 0, np.array(-1).astype(x.dtype), np.where(overflow, x, quotient))
    return quotient, np.where(y == 0, x, np.where(overflow, np.zeros((), x.dtype), remainder))


@irdl_op_definition
class Power(Binary):
    """x to the power of y. A negative integer exponent gives 0, but 1 for x = 1 and 1 or -1 for x = -1."""

    name = "df.power"

    @staticmethod
    def compute(x: Array, y: Array) -> Array:
        if x.dtype.kind not in "iu":
            return np.asarray(np.power(x, y))
        negative = y < 0
        result = np.power(x, np.where(negative, np.zeros((), y.dtype), y))
        odd = (y & np.ones((), y.dtype)) == 1
        unit = np.where(x == 1, 1, np.where(x == -1, np.where(odd, -1, 1), 0)).astype(x.dtype)
        return np.where(negative, unit, result)


@irdl_op_definition
class Maximum(Binary):
    """The larger; NaN if either is."""

    name = "df.maximum"
    KINDS: ClassVar = ORDERED
    NUMPY: ClassVar = np.maximum


@irdl_op_definition
class Minimum(Binary):
    """The smaller; NaN if either is."""

    name = "df.minimum"
    KINDS: ClassVar = ORDERED
    NUMPY: ClassVar = np.minimum


@irdl_op_definition
class Atan2(Binary):
    """The angle of the point (y, x) = (first, second operand), in radians."""

    name = "df.atan2"
    KINDS: ClassVar = FLOAT
    NUMPY: ClassVar = np.arctan2


@irdl_op_definition
class And(Binary):
    """Logical and of booleans, bitwise and of integers."""

    name = "df.and"
    KINDS: ClassVar = INTEGRAL
    NUMPY: ClassVar = np.bitwise_and


@irdl_op_definition
class Or(Binary):
    """Logical or of booleans, bitwise or of integers."""

    name = "df.or"
    KINDS: ClassVar = INTEGRAL
    NUMPY: ClassVar = np.bitwise_or


@irdl_op_definition
class Xor(Binary):
    """Logical exclusive or of booleans, bitwise of integers."""

    name = "df.xor"
    KINDS: ClassVar = INTEGRAL
    NUMPY: ClassVar = np.bitwise_xor


@irdl_op_definition
class AddN(Op):
    """The sum of one or more tensors of one type. C1: at least one operand. C2: equal shapes and dtypes.
    C3: the dtype is numeric."""

    name = "df.add_n"
    inputs = var_operand_def()
    result = result_def()
    KINDS: ClassVar = NUMERIC

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        if not operands:
            raise InvalidArgument("at least one operand is needed", label="C1")
        require_equal([spec_of(t) for t in operands], "C2")
        require_kind(spec_of(operands[0]).dtype, cls.KINDS, "C3")
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        with np.errstate(all="ignore"):
            return [np.asarray(reduce(operator.add, operands), operands[0].dtype)]


COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "EQ": np.equal,
    "NE": np.not_equal,
    "LT": np.less,
    "LE": np.less_equal,
    "GT": np.greater,
    "GE": np.greater_equal,
}


@irdl_op_definition
class Compare(Op):
    """`direction` is EQ, NE, LT, LE, GT or GE; the result is boolean. A NaN is unequal to everything.

    C1: equal shapes and dtypes. C2: a known direction. C3: complex numbers have no order.
    """

    name = "df.compare"
    direction = prop_def(Text)
    lhs = operand_def()
    rhs = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        lhs, rhs = (spec_of(t) for t in operands)
        direction = attributes["direction"]
        require_equal([lhs, rhs], "C1")
        if direction not in COMPARISONS:
            raise InvalidArgument(f"direction must be one of {', '.join(COMPARISONS)}, got {direction!r}", label="C2")
        if direction not in ("EQ", "NE"):
            require_kind(lhs.dtype, ORDERED, "C3")
        return (tensor_type(lhs.shape, bool_),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        with np.errstate(all="ignore"):
            return [np.asarray(COMPARISONS[attributes["direction"]](*operands), np.bool_)]


@irdl_op_definition
class Select(Op):
    """`on_true` where `pred` holds, else `on_false`; pred has their shape or is a scalar.

    C1: pred is boolean. C2: equal types of on_true and on_false. C3: pred is a scalar or of their shape.
    """

    name = "df.select"
    pred = operand_def()
    on_true = operand_def()
    on_false = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        pred, on_true, on_false = (spec_of(t) for t in operands)
        require_kind(pred.dtype, ("bool",), "C1")
        require_equal([on_true, on_false], "C2")
        if pred.shape not in ((), on_true.shape):
            raise InvalidArgument(
                f"pred must be a scalar or have the shape of the branches, got {pred} for {on_true}", label="C3"
            )
        return (operands[1],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [np.asarray(np.where(*operands), operands[1].dtype)]


@irdl_op_definition
class Convert(Op):
    """x in another dtype. Floats go to integers toward zero and saturate, NaN becomes 0; to bool: x != 0.

    C1: neither dtype is string. C2: a complex number converts to complex or bool only.
    """

    name = "df.convert"
    dtype = prop_def(Element)
    x = operand_def()
    result = result_def()
    KINDS: ClassVar = ("bool", *NUMERIC)

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec, target = spec_of(operands[0]), attributes["dtype"]
        if "string" in (spec.dtype.kind, target.kind):
            raise InvalidType(f"strings don't convert to numbers or back, got {spec.dtype} to {target}", label="C1")
        if spec.dtype.kind == "complex" and target.kind not in ("complex", "bool"):
            raise InvalidType(f"a complex number doesn't convert to {target}: take its real part", label="C2")
        return (tensor_type(spec.shape, target),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (x,) = operands
        target: DType = attributes["dtype"]
        with np.errstate(all="ignore"):
            if target.kind == "bool":
                return [np.asarray(x != 0)]
            if target.is_integer and x.dtype.kind not in "iub":
                limits = np.iinfo(target.numpy)
                wide = np.trunc(np.nan_to_num(x.astype(np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf))
                low, high = wide <= float(limits.min), wide >= float(limits.max)
                inside = np.where(low | high, 0.0, wide).astype(target.numpy)
                return [np.where(low, limits.min, np.where(high, limits.max, inside)).astype(target.numpy)]
            return [x.astype(target.numpy)]


@irdl_op_definition
class Clamp(Op):
    """min(max(x, low), high); NaN if any is. C1: one dtype, a bound a scalar or of x's shape. C2: x's kind is taken."""

    name = "df.clamp"
    x, low, high = operand_def(), operand_def(), operand_def()
    result = result_def()
    KINDS: ClassVar = ORDERED

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        x, *bounds = (spec_of(t) for t in operands)
        if any(b.dtype is not x.dtype or b.shape not in ((), x.shape) for b in bounds):
            raise InvalidArgument(f"bounds are scalars or like {x}, got {bounds[0]} and {bounds[1]}", label="C1")
        require_kind(x.dtype, cls.KINDS, "C2")
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        with np.errstate(all="ignore"):
            return [np.asarray(np.minimum(np.maximum(operands[0], operands[1]), operands[2]))]
