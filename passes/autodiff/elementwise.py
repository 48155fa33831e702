"""Gradients of elementwise ops. Where the result helps, it is used instead of computing the function again."""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from dfc.ir.ops import elementwise as ew
from dfc.ir.ops.complex import Complex, Imag, Real
from dfc.ir.ops.reduction import ReduceSum
from dfc.ir.ops.shape import BroadcastInDim
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, non_differentiable, rule, spec
from dfc.passes.folding import splat

PIECEWISE = "piecewise constant: the derivative is zero wherever it exists"


@rule(ew.Negate)
def negate(op: ew.Negate, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Negate, grads[0])]


@rule(ew.Abs)
def abs_(op: ew.Abs, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), x, size = grads, op.operands[0], op.results[0]
    if spec(x).dtype.kind != "complex":
        return [b(ew.Multiply, g, b(ew.Sign, x))]  # 0 at 0
    at_zero = b.compare("EQ", size, b.full(0, size))
    scaled = b(ew.Divide, g, b(ew.Select, at_zero, b.full(1, size), size))
    return [b(Complex, b(ew.Multiply, scaled, b(Real, x)), b(ew.Multiply, scaled, b(Imag, x)))]


non_differentiable(ew.Sign, PIECEWISE)


@rule(ew.Exponential)
def exponential(op: ew.Exponential, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Multiply, grads[0], b.conj(op.results[0]))]


@rule(ew.ExponentialMinusOne)
def exponential_minus_one(op: ew.ExponentialMinusOne, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    y = op.results[0]
    return [b(ew.Multiply, grads[0], b(ew.Add, y, b.full(1, y)))]


@rule(ew.Log)
def log(op: ew.Log, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Divide, grads[0], b.conj(op.operands[0]))]


@rule(ew.LogPlusOne)
def log_plus_one(op: ew.LogPlusOne, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    x = op.operands[0]
    return [b(ew.Divide, grads[0], b(ew.Add, x, b.full(1, x)))]


@rule(ew.Sqrt)
def sqrt(op: ew.Sqrt, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), y = grads, op.results[0]
    return [b(ew.Divide, b(ew.Multiply, g, b.full(0.5, y)), b.conj(y))]


@rule(ew.Rsqrt)
def rsqrt(op: ew.Rsqrt, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), x, y = grads, op.operands[0], op.results[0]
    return [b(ew.Multiply, b(ew.Multiply, g, b.full(-0.5, y)), b(ew.Divide, y, x))]


@rule(ew.Sine)
def sine(op: ew.Sine, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Multiply, grads[0], b(ew.Cosine, b.conj(op.operands[0])))]


@rule(ew.Cosine)
def cosine(op: ew.Cosine, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(ew.Negate, b(ew.Multiply, grads[0], b(ew.Sine, b.conj(op.operands[0]))))]


@rule(ew.Tangent)
def tangent(op: ew.Tangent, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    y = b.conj(op.results[0])
    return [b(ew.Multiply, grads[0], b(ew.Add, b(ew.Multiply, y, y), b.full(1, y)))]


@rule(ew.Tanh)
def tanh(op: ew.Tanh, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    y = b.conj(op.results[0])
    return [b(ew.Multiply, grads[0], b(ew.Subtract, b.full(1, y), b(ew.Multiply, y, y)))]


@rule(ew.Logistic)
def logistic(op: ew.Logistic, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    y = op.results[0]
    return [b(ew.Multiply, grads[0], b(ew.Multiply, y, b(ew.Subtract, b.full(1, y), y)))]


non_differentiable(ew.Floor, PIECEWISE)
non_differentiable(ew.Ceil, PIECEWISE)
non_differentiable(ew.RoundNearestEven, PIECEWISE)
non_differentiable(ew.Not, "takes and gives booleans or integers")


@rule(ew.Identity)
def identity(op: ew.Identity, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [grads[0]]


non_differentiable(ew.StopGradient, "stops gradients on purpose")
non_differentiable(ew.IsFinite, PIECEWISE)


@rule(ew.Add)
def add(op: ew.Add, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [grads[0], grads[0]]


@rule(ew.Subtract)
def subtract(op: ew.Subtract, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [grads[0], lambda: b(ew.Negate, grads[0])]


@rule(ew.Multiply)
def multiply(op: ew.Multiply, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), (x, y) = grads, op.operands
    return [lambda: b(ew.Multiply, g, b.conj(y)), lambda: b(ew.Multiply, g, b.conj(x))]


@rule(ew.Divide)
def divide(op: ew.Divide, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), (_, y), result = grads, op.operands, op.results[0]
    by_x = b(ew.Divide, g, b.conj(y))
    return [by_x, lambda: b(ew.Negate, b(ew.Multiply, by_x, b.conj(result)))]


@rule(ew.Remainder)
def remainder(op: ew.Remainder, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), (x, y), result = grads, op.operands, op.results[0]

    def by_y() -> SSAValue:
        # x = n * y + result with an integer n, and the derivative by y is -n. Rounding finds n even where the
        # quotient x / y itself would round up to the next integer.
        n = b(ew.RoundNearestEven, b(ew.Divide, b(ew.Subtract, x, result), y))
        return b(ew.Negate, b(ew.Multiply, g, n))

    return [g, by_y]


@rule(ew.Power)
def power(op: ew.Power, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """By x: y * x^(y-1), 0 where x and y are 0. By y: x^y * log(x), 0 where x is 0, NaN where x is negative."""
    (g,), (x, y), result = grads, op.operands, op.results[0]

    def by_x() -> SSAValue:
        repeated = splat(y)
        exponent = None if repeated is None else repeated.item()
        if exponent == 2:
            return b(ew.Multiply, g, b.conj(b(ew.Multiply, y, x)))
        if exponent is not None and exponent != 0:
            return b(ew.Multiply, g, b.conj(b(ew.Multiply, y, b(ew.Power, x, b.full(exponent - 1, y)))))
        zero, one = b.full(0, x), b.full(1, x)
        hole = b(ew.And, b.compare("EQ", x, zero), b.compare("EQ", y, zero))  # 0 * 0^-1 would be NaN
        slope = b(ew.Multiply, y, b(ew.Power, b(ew.Select, hole, one, x), b(ew.Subtract, y, one)))
        return b(ew.Multiply, g, b.conj(slope))

    def by_y() -> SSAValue:
        zero = b.full(0, x)
        hole = b.compare("EQ", x, zero)
        slope = b(ew.Multiply, result, b(ew.Log, b(ew.Select, hole, b.full(1, x), x)))
        return b(ew.Multiply, g, b.conj(b(ew.Select, hole, zero, slope)))

    return [by_x, by_y]


def _extreme(wins: str) -> Any:
    """Maximum and minimum: the gradient goes to the operand that wins, halves to both where they are equal."""

    def extreme(op: ew.Binary, grads: Grads, b: RuleBuilder) -> list[Gradient]:
        (g,), (x, y) = grads, op.operands
        if x is y:
            half = b(ew.Multiply, g, b.full(0.5, g))
            return [half, half]
        tied = b(ew.Select, b.compare("EQ", x, y), b(ew.Multiply, g, b.full(0.5, g)), b.full(0, g))
        return [
            lambda: b(ew.Select, b.compare(wins, x, y), g, tied),
            lambda: b(ew.Select, b.compare(wins, y, x), g, tied),
        ]

    return extreme


rule(ew.Maximum)(_extreme("GT"))
rule(ew.Minimum)(_extreme("LT"))


@rule(ew.Atan2)
def atan2(op: ew.Atan2, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), (y, x) = grads, op.operands
    scaled = b(ew.Divide, g, b(ew.Add, b(ew.Multiply, x, x), b(ew.Multiply, y, y)))
    return [lambda: b(ew.Multiply, scaled, x), lambda: b(ew.Negate, b(ew.Multiply, scaled, y))]


non_differentiable(ew.And, "takes and gives booleans or integers")
non_differentiable(ew.Or, "takes and gives booleans or integers")
non_differentiable(ew.Xor, "takes and gives booleans or integers")


@rule(ew.AddN)
def add_n(op: ew.AddN, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [grads[0]] * len(op.operands)


non_differentiable(ew.Compare, PIECEWISE)


@rule(ew.Select)
def select(op: ew.Select, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    (g,), pred = grads, op.operands[0]
    zero = b.full(0, g)
    return [None, lambda: b(ew.Select, pred, g, zero), lambda: b(ew.Select, pred, zero, g)]


@rule(ew.Convert)
def convert(op: ew.Convert, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    source, target = spec(op.operands[0]).dtype, spec(op.results[0]).dtype
    if target.kind == "complex" and source.kind != "complex":
        return [b(ew.Convert, b(Real, grads[0]), dtype=source)]
    return [b(ew.Convert, grads[0], dtype=source)]


@rule(ew.Clamp)
def clamp(op: ew.Clamp, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """To x inside and at the bounds; outside to the bound that holds, which is `high` where both do."""
    (g,), (x, *bounds), zero = grads, op.operands, b.full(0, grads[0])
    shape = spec(x).shape
    low, high = (v if spec(v).shape == shape else b(BroadcastInDim, v, shape=shape, dims=()) for v in bounds)
    below, above = b.compare("LT", x, low), b.compare("GT", x, high)

    def to_bound(held: SSAValue, bound: SSAValue) -> SSAValue:
        found = b(ew.Select, held, g, zero)
        return found if spec(bound).shape == shape else b(ReduceSum, found, axes=tuple(range(len(shape))))

    return [
        lambda: b(ew.Select, b(ew.Or, below, above), zero, g),
        lambda: to_bound(b(ew.And, below, b.compare("LE", low, high)), bounds[0]),
        lambda: to_bound(b(ew.Or, above, b.compare("GT", low, high)), bounds[1]),
    ]
