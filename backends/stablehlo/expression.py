"""StableHLO arithmetic written as formulas: for rules that are many ops long."""

from __future__ import annotations

from typing import Any

from jaxlib.mlir import ir

from dfc.backends.stablehlo.emit import Emitter, integers
from dfc.backends.stablehlo.rules import Value
from dfc.ir.dims import Shape
from dfc.ir.dtypes import DType, bool_

_COMPARE_TYPES = {"bool": "UNSIGNED", "uint": "UNSIGNED", "int": "SIGNED", "float": "FLOAT"}


class Expression:
    """A value with operators. The other operand is an expression of the same shape and dtype, or a number."""

    __slots__ = ("dtype", "emitter", "shape", "value")

    def __init__(self, emitter: Emitter, value: Value, shape: Shape, dtype: DType) -> None:
        self.emitter, self.value, self.shape, self.dtype = emitter, value, shape, dtype

    def call(self, name: str, *others: Expression | float) -> Expression:
        """The StableHLO op `name` on this and other operands of its type."""
        operands = [self.value, *(self.lift(other).value for other in others)]
        return self._with(self.emitter.create(f"stablehlo.{name}", self.value.type, operands))

    def lift(self, other: Expression | float) -> Expression:
        """A number as a tensor of this shape and dtype; an expression as it is."""
        if isinstance(other, Expression):
            return other
        return self._with(self.emitter.filled(other, self.shape, self.dtype))

    def _with(self, value: Value) -> Expression:
        return Expression(self.emitter, value, self.shape, self.dtype)

    def __add__(self, other: Expression | float) -> Expression:
        return self.call("add", other)

    def __sub__(self, other: Expression | float) -> Expression:
        return self.call("subtract", other)

    def __rsub__(self, other: float) -> Expression:
        return self.lift(other) - self

    def __mul__(self, other: Expression | float) -> Expression:
        return self.call("multiply", other)

    def __truediv__(self, other: Expression | float) -> Expression:
        return self.call("divide", other)

    def __rtruediv__(self, other: float) -> Expression:
        return self.lift(other) / self

    def __mod__(self, other: Expression | float) -> Expression:
        return self.call("remainder", other)

    def __and__(self, other: Expression | float) -> Expression:
        return self.call("and", other)

    def __or__(self, other: Expression | float) -> Expression:
        return self.call("or", other)

    def __xor__(self, other: Expression | float) -> Expression:
        return self.call("xor", other)

    def __lshift__(self, bits: int) -> Expression:
        return self.call("shift_left", bits)

    def __rshift__(self, bits: int) -> Expression:
        return self.call("shift_right_logical", bits)

    def __invert__(self) -> Expression:
        return self.call("not")

    def __neg__(self) -> Expression:
        return self.call("negate")

    def __lt__(self, other: Expression | float) -> Expression:
        return self.compare("LT", other)

    def __le__(self, other: Expression | float) -> Expression:
        return self.compare("LE", other)

    def __gt__(self, other: Expression | float) -> Expression:
        return self.compare("GT", other)

    def __ge__(self, other: Expression | float) -> Expression:
        return self.compare("GE", other)

    def compare(self, direction: str, other: Expression | float) -> Expression:
        attributes = {
            "comparison_direction": ir.Attribute.parse(f"#stablehlo<comparison_direction {direction}>"),
            "compare_type": ir.Attribute.parse(f"#stablehlo<comparison_type {_COMPARE_TYPES[self.dtype.kind]}>"),
        }
        type_ = self.emitter.tensor(self.shape, bool_)
        value = self.emitter.create("stablehlo.compare", type_, [self.value, self.lift(other).value], attributes)
        return Expression(self.emitter, value, self.shape, bool_)

    def where(self, on_true: Expression, on_false: Expression | float) -> Expression:
        """`on_true` where this holds, else `on_false`."""
        other = on_true.lift(on_false)
        value = self.emitter.create("stablehlo.select", on_true.value.type, [self.value, on_true.value, other.value])
        return on_true._with(value)

    def to(self, dtype: DType) -> Expression:
        """Converted."""
        return self._cast("stablehlo.convert", dtype)

    def bits(self, dtype: DType) -> Expression:
        """The same bits as another dtype."""
        return self._cast("stablehlo.bitcast_convert", dtype)

    def _cast(self, name: str, dtype: DType) -> Expression:
        if dtype is self.dtype:
            return self
        value = self.emitter.create(name, self.emitter.tensor(self.shape, dtype), [self.value])
        return Expression(self.emitter, value, self.shape, dtype)

    def broadcast(self, shape: Shape) -> Expression:
        """A scalar in another shape."""
        if shape == self.shape:
            return self
        attributes = {"broadcast_dimensions": integers(())}
        type_ = self.emitter.tensor(shape, self.dtype)
        value = self.emitter.create("stablehlo.broadcast_in_dim", type_, [self.value], attributes)
        return Expression(self.emitter, value, shape, self.dtype)

    def reshape(self, shape: Shape) -> Expression:
        """The same elements in another shape."""
        if shape == self.shape:
            return self
        value = self.emitter.create("stablehlo.reshape", self.emitter.tensor(shape, self.dtype), [self.value])
        return Expression(self.emitter, value, shape, self.dtype)

    def element(self, index: int) -> Expression:
        """One element of a vector, as a scalar."""
        attributes = {
            "start_indices": integers((index,)),
            "limit_indices": integers((index + 1,)),
            "strides": integers((1,)),
        }
        type_ = self.emitter.tensor((1,), self.dtype)
        value = self.emitter.create("stablehlo.slice", type_, [self.value], attributes)
        return Expression(self.emitter, value, (1,), self.dtype).reshape(())


def scalar(emitter: Emitter, value: Any, dtype: DType) -> Expression:
    """A constant of rank 0."""
    return Expression(emitter, emitter.scalar(value, dtype), (), dtype)


def polynomial(x: Expression, coefficients: tuple[float, ...]) -> Expression:
    """The sum of coefficients[i] * x**i, by Horner's scheme."""
    total = x.lift(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
