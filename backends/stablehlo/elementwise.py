"""Emission of elementwise ops. Most are one StableHLO op of the same name."""

from __future__ import annotations

from functools import reduce

from jaxlib.mlir import ir

from dfc.backends.stablehlo.emit import Emitter
from dfc.backends.stablehlo.rules import Value, direct, rule
from dfc.ir.dtypes import DType, bool_
from dfc.ir.ops.elementwise import (
    Abs,
    Add,
    AddN,
    And,
    Atan2,
    Ceil,
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

direct(Negate, Abs, Sign, Exponential, ExponentialMinusOne, Log, LogPlusOne, Sqrt, Rsqrt, Sine, Cosine)


@rule(Tangent)
def tangent(emitter: Emitter, op: Tangent, operands: list[Value]) -> list[Value]:
    return [emitter.create("stablehlo.tan", emitter.type(op.result.type), operands)]


direct(Tanh, Logistic, Floor, Ceil, RoundNearestEven, Not)


@rule(Identity, StopGradient)
def same(emitter: Emitter, op: Unary, operands: list[Value]) -> list[Value]:
    return operands


direct(IsFinite, Add, Subtract, Multiply, Divide, Remainder, Power, Maximum, Minimum, Atan2, And, Or, Xor)


@rule(AddN)
def add_n(emitter: Emitter, op: AddN, operands: list[Value]) -> list[Value]:
    type_ = emitter.type(op.result.type)
    return [reduce(lambda x, y: emitter.create("stablehlo.add", type_, [x, y]), operands)]


COMPARE_TYPES = {"bool": "UNSIGNED", "uint": "UNSIGNED", "int": "SIGNED", "float": "FLOAT", "complex": "FLOAT"}


def comparison(emitter: Emitter, direction: str, dtype: DType, lhs: Value, rhs: Value, type_: ir.Type) -> Value:
    """`stablehlo.compare` of operands of `dtype`; `type_` is the result's."""
    attributes = {
        "comparison_direction": ir.Attribute.parse(f"#stablehlo<comparison_direction {direction}>"),
        "compare_type": ir.Attribute.parse(f"#stablehlo<comparison_type {COMPARE_TYPES[dtype.kind]}>"),
    }
    return emitter.create("stablehlo.compare", type_, [lhs, rhs], attributes)


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
