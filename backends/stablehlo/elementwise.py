"""Emission of elementwise ops. Most are one StableHLO op of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce

from jaxlib.mlir import ir

from dfc.backends.stablehlo.emit import Emitter
from dfc.backends.stablehlo.rules import Value, direct, rule
from dfc.ir.dims import Shape
from dfc.ir.dtypes import DType, bool_, part_of
from dfc.ir.ops.elementwise import (
    Abs,
    Add,
    AddN,
    And,
    Atan2,
    Ceil,
    Clamp,
    Compare,
    Convert,
    Cosine,
    Divide,
    Exponential,
    ExponentialMinusOne,
    Floor,
    Identity,
    IsFinite,
    Log,
    Logistic,
    LogPlusOne,
    Maximum,
    Minimum,
    Multiply,
    Negate,
    Not,
    Or,
    Power,
    Remainder,
    RoundNearestEven,
    Rsqrt,
    Select,
    Sign,
    Sine,
    Sqrt,
    StopGradient,
    Subtract,
    Tangent,
    Tanh,
    Unary,
    Xor,
)
from dfc.ir.types import spec_of

COMPARE_TYPES = {"bool": "UNSIGNED", "uint": "UNSIGNED", "int": "SIGNED", "float": "FLOAT", "complex": "FLOAT"}


def comparison(emitter: Emitter, direction: str, dtype: DType, lhs: Value, rhs: Value, type_: ir.Type) -> Value:
    """`stablehlo.compare` of operands of `dtype`; `type_` is the result's."""
    attributes = {
        "comparison_direction": ir.Attribute.parse(f"#stablehlo<comparison_direction {direction}>"),
        "compare_type": ir.Attribute.parse(f"#stablehlo<comparison_type {COMPARE_TYPES[dtype.kind]}>"),
    }
    return emitter.create("stablehlo.compare", type_, [lhs, rhs], attributes)


def _select(emitter: Emitter, pred: Value, on_true: Value, on_false: Value) -> Value:
    return emitter.create("stablehlo.select", on_true.type, [pred, on_true, on_false])


direct(Negate)


@rule(Abs)
def abs_(emitter: Emitter, op: Abs, operands: list[Value]) -> list[Value]:
    """Of complex numbers with an infinite part infinity, even where the other is NaN, as C and NumPy have it."""
    (shape, dtype), type_ = spec_of(op.x.type), emitter.type(op.result.type)
    size = emitter.create("stablehlo.abs", type_, operands)
    if dtype.kind != "complex":
        return [size]
    part, flags = part_of(dtype), emitter.tensor(shape, bool_)
    infinity = emitter.filled(float("inf"), shape, part)
    for name in ("real", "imag"):
        one = emitter.create("stablehlo.abs", type_, [emitter.create(f"stablehlo.{name}", type_, operands)])
        size = _select(emitter, comparison(emitter, "EQ", part, one, infinity, flags), infinity, size)
    return [size]


direct(Sign, Exponential, ExponentialMinusOne, Log, LogPlusOne, Sqrt, Rsqrt)


@rule(Sine)
def sine(emitter: Emitter, op: Sine, operands: list[Value]) -> list[Value]:
    """Of a + bi: sin a cosh b + i cos a sinh b, with sinh b from expm1 near zero, where XLA's own subtracts two
    exponentials (sin 1e-6i is off by 5 % in complex64, seen in jaxlib 0.10.2)."""
    (x,), (shape, dtype), type_ = operands, spec_of(op.result.type), emitter.type(op.result.type)
    if dtype.kind != "complex":
        return [emitter.create("stablehlo.sine", type_, operands)]
    part = part_of(dtype)
    real_type, flags = emitter.tensor(shape, part), emitter.tensor(shape, bool_)
    one, half = emitter.filled(1, shape, part), emitter.filled(0.5, shape, part)

    def real(name: str, *values: Value) -> Value:
        return emitter.create(f"stablehlo.{name}", real_type, values)

    a, b = real("real", x), real("imag", x)
    grown, shrunk, t = real("exponential", b), real("exponential", real("negate", b)), real("exponential_minus_one", b)
    cosh = real("multiply", half, real("add", grown, shrunk))
    near_zero = real("add", t, real("divide", t, real("add", t, one)))
    small = comparison(emitter, "LT", part, real("abs", b), one, flags)
    sinh = real("multiply", half, _select(emitter, small, near_zero, real("subtract", grown, shrunk)))
    parts = [real("multiply", real("sine", a), cosh), real("multiply", real("cosine", a), sinh)]
    return [emitter.create("stablehlo.complex", type_, parts)]


direct(Cosine)


@rule(Tangent)
def tangent(emitter: Emitter, op: Tangent, operands: list[Value]) -> list[Value]:
    return [emitter.create("stablehlo.tan", emitter.type(op.result.type), operands)]


direct(Tanh, Logistic, Floor, Ceil, RoundNearestEven, Not)


@rule(Identity, StopGradient)
def same(emitter: Emitter, op: Unary, operands: list[Value]) -> list[Value]:
    return operands


direct(IsFinite, Add, Subtract, Multiply, Divide, Remainder)


@rule(Power)
def power(emitter: Emitter, op: Power, operands: list[Value]) -> list[Value]:
    """Of integers by squaring: XLA's own power looks at six bits of the exponent only (seen in jaxlib 0.10.2)."""
    (shape, dtype), type_ = spec_of(op.result.type), emitter.type(op.result.type)
    if not dtype.is_integer:
        return [emitter.create("stablehlo.power", type_, operands)]
    x, y = operands
    flags = emitter.tensor(shape, bool_)
    zero, one = emitter.filled(0, shape, dtype), emitter.filled(1, shape, dtype)
    if dtype.kind == "uint":
        return [_by_squaring(emitter, x, y, zero, one, shape, dtype)]

    def equal(a: Value, b: Value) -> Value:
        return comparison(emitter, "EQ", dtype, a, b, flags)

    select = partial(_select, emitter)
    minus_one, negative = emitter.filled(-1, shape, dtype), comparison(emitter, "LT", dtype, y, zero, flags)
    even = equal(emitter.create("stablehlo.and", type_, [y, one]), zero)
    inverse = select(equal(x, one), one, select(equal(x, minus_one), select(even, one, minus_one), zero))
    return [select(negative, inverse, _by_squaring(emitter, x, select(negative, zero, y), zero, one, shape, dtype))]


def _by_squaring(emitter: Emitter, x: Value, y: Value, zero: Value, one: Value, shape: Shape, dtype: DType) -> Value:
    """x to the power of y >= 0, in as many steps as the largest exponent has bits."""
    type_, flags, flag = emitter.tensor(shape, dtype), emitter.tensor(shape, bool_), emitter.tensor((), bool_)

    def bits_left(values: Sequence[Value]) -> Sequence[Value]:
        left = comparison(emitter, "NE", dtype, values[1], zero, flags)
        either = partial(emitter.create, "stablehlo.or", flag)
        return emitter.reduce([left], [emitter.scalar(False, bool_)], range(len(shape)), [flag], lambda v: [either(v)])

    def step(values: Sequence[Value]) -> Sequence[Value]:
        base, bits, product = values
        odd = comparison(emitter, "NE", dtype, emitter.create("stablehlo.and", type_, [bits, one]), zero, flags)
        longer = emitter.create("stablehlo.multiply", type_, [product, base])
        return [
            emitter.create("stablehlo.multiply", type_, [base, base]),
            emitter.create("stablehlo.shift_right_logical", type_, [bits, one]),
            emitter.create("stablehlo.select", type_, [odd, longer, product]),
        ]

    return emitter.loop([x, y, one], bits_left, step)[2]


direct(Maximum, Minimum, Atan2, And, Or, Xor)


@rule(AddN)
def add_n(emitter: Emitter, op: AddN, operands: list[Value]) -> list[Value]:
    type_ = emitter.type(op.result.type)
    return [reduce(lambda x, y: emitter.create("stablehlo.add", type_, [x, y]), operands)]


@rule(Compare)
def compare(emitter: Emitter, op: Compare, operands: list[Value]) -> list[Value]:
    (lhs, rhs), dtype = operands, spec_of(op.lhs.type).dtype
    return [comparison(emitter, op.direction.data, dtype, lhs, rhs, emitter.type(op.result.type))]


direct(Select)


@rule(Convert)
def convert(emitter: Emitter, op: Convert, operands: list[Value]) -> list[Value]:
    (shape, source), target = spec_of(op.x.type), op.dtype.data
    if source is target:
        return operands
    type_ = emitter.type(op.result.type)
    if target is bool_:
        zero = emitter.filled(0, shape, source)
        return [comparison(emitter, "NE", source, operands[0], zero, type_)]
    return [emitter.create("stablehlo.convert", type_, operands)]


@rule(Clamp)
def clamp(emitter: Emitter, op: Clamp, operands: list[Value]) -> list[Value]:
    x, low, high = operands
    return [emitter.create("stablehlo.clamp", emitter.type(op.result.type), [low, x, high])]
