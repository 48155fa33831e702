"""Emission of scans: in a tree, combining neighbours first, so that the work is linear and the depth logarithmic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jaxlib.mlir import ir

from dfc.backends.stablehlo.elementwise import comparison
from dfc.backends.stablehlo.emit import Emitter, integer, integers
from dfc.backends.stablehlo.rules import Value, rule
from dfc.ir.dtypes import DType, bool_, float32
from dfc.ir.ops.cumulative import (
    CumLogSumExp,
    CumMax,
    CumMin,
    CumProd,
    CumSum,
    Cumulative,
    LinearRecurrence,
)
from dfc.ir.types import spec_of

Combine = Callable[[Sequence[Value], Sequence[Value]], list[Value]]
"""What two neighbouring stretches make together, the earlier one first; a stretch is one value or several."""


class Along:
    """Slices, padding and joining along one axis, of tensors that differ in its size alone."""

    def __init__(self, emitter: Emitter, shape: Sequence[int], axis: int, dtype: DType) -> None:
        self.emitter, self.shape, self.axis, self.dtype = emitter, list(shape), axis, dtype

    def type(self, size: int) -> ir.Type:
        return self.emitter.tensor([*self.shape[: self.axis], size, *self.shape[self.axis + 1 :]], self.dtype)

    def slice(self, x: Value, start: int, limit: int, stride: int = 1) -> Value:
        """Every `stride`-th element from `start` on and before `limit`."""
        current = list(ir.RankedTensorType(x.type).shape)
        starts, strides = [0] * len(current), [1] * len(current)
        starts[self.axis], current[self.axis], strides[self.axis] = start, limit, stride
        attributes = {
            "start_indices": integers(starts),
            "limit_indices": integers(current),
            "strides": integers(strides),
        }
        size = max(0, -(-(limit - start) // stride))
        return self.emitter.create("stablehlo.slice", self.type(size), [x], attributes)

    def join(self, first: Value, second: Value, size: int) -> Value:
        """One after the other."""
        along = {"dimension": integer(self.axis)}
        return self.emitter.create("stablehlo.concatenate", self.type(size), [first, second], along)

    def interleave(self, even: Value, odd: Value, size: int) -> Value:
        """Elements of `even` at the even places and of `odd` at the odd ones: their padded sum. Negative zero is what
        leaves every float as it is."""
        zero = self.emitter.scalar(-0.0 if self.dtype.is_floating else 0, self.dtype)
        spread = [self._spread(even, zero, 0, size % 2 == 0), self._spread(odd, zero, 1, size % 2 == 1)]
        return self.emitter.create("stablehlo.add", self.type(size), spread)

    def _spread(self, x: Value, zero: Value, low: int, trailing: bool) -> Value:
        rank, count = len(self.shape), list(ir.RankedTensorType(x.type).shape)[self.axis]
        pads = [[0] * rank for _ in range(3)]
        pads[0][self.axis], pads[1][self.axis], pads[2][self.axis] = low, int(trailing), 1
        names = ("edge_padding_low", "edge_padding_high", "interior_padding")
        attributes = {name: integers(pad) for name, pad in zip(names, pads, strict=True)}
        return self.emitter.create("stablehlo.pad", self.type(2 * count - 1 + low + trailing), [x, zero], attributes)

    def scan(self, values: list[Value], combine: Combine) -> list[Value]:
        """What each element makes with all before it."""
        size = list(ir.RankedTensorType(values[0].type).shape)[self.axis]
        if size < 2:
            return values
        firsts = [self.slice(v, 0, size - 1, 2) for v in values]
        seconds = [self.slice(v, 1, size, 2) for v in values]
        odd = self.scan(combine(firsts, seconds), combine)
        even = [self.slice(v, 0, 1) for v in values]
        if size > 2:
            n_odd = size // 2
            before = odd if size % 2 else [self.slice(v, 0, n_odd - 1) for v in odd]
            rest = combine(before, [self.slice(v, 2, size, 2) for v in values])
            even = [self.join(e, r, (size + 1) // 2) for e, r in zip(even, rest, strict=True)]
        return [self.interleave(e, o, size) for e, o in zip(even, odd, strict=True)]


def _emit(
    emitter: Emitter, op: Any, operands: Sequence[Value], make: Callable[[Emitter, DType], Combine], result: int = 0
) -> list[Value]:
    """The scan of an op with `axis` and `reverse`; 16-bit floats accumulate in float32."""
    shape, dtype = spec_of(op.results[0].type)
    sizes = [int(d) for d in shape]
    axis = op.axis.data
    if sizes[axis] == 0 or 0 in sizes:
        return [operands[-1]]
    inner = float32 if dtype.is_floating and dtype.bits == 16 else dtype
    type_ = emitter.tensor(shape, inner)
    values = list(operands)
    if inner is not dtype:
        values = [emitter.create("stablehlo.convert", type_, [v]) for v in values]
    turned = {"dimensions": integers([axis])}
    if op.reverse.data:
        values = [emitter.create("stablehlo.reverse", type_, [v], turned) for v in values]
    found = Along(emitter, sizes, axis, inner).scan(values, make(emitter, inner))[result]
    if op.reverse.data:
        found = emitter.create("stablehlo.reverse", type_, [found], turned)
    if inner is not dtype:
        found = emitter.create("stablehlo.convert", emitter.type(op.results[0].type), [found])
    return [found]


def _one(name: str) -> Callable[[Emitter, DType], Combine]:
    """Combining by one StableHLO op."""

    def make(emitter: Emitter, dtype: DType) -> Combine:
        return lambda a, b: [emitter.create(f"stablehlo.{name}", a[0].type, [a[0], b[0]])]

    return make


_COMBINE = {CumSum: _one("add"), CumProd: _one("multiply"), CumMax: _one("maximum"), CumMin: _one("minimum")}


@rule(CumSum, CumProd, CumMax, CumMin)
def cumulative(emitter: Emitter, op: Cumulative, operands: list[Value]) -> list[Value]:
    return _emit(emitter, op, operands, _COMBINE[type(op)])


@rule(CumLogSumExp)
def cumlogsumexp(emitter: Emitter, op: CumLogSumExp, operands: list[Value]) -> list[Value]:
    return _emit(emitter, op, operands, _log_add_exp)


def _log_add_exp(emitter: Emitter, dtype: DType) -> Combine:
    """max(a, b) + log(1 + exp(-|a - b|)); equal infinities, whose difference is NaN, stay as they are."""

    def combine(left: Sequence[Value], right: Sequence[Value]) -> list[Value]:
        (a,), (b,), type_ = left, right, left[0].type
        shape = list(ir.RankedTensorType(type_).shape)

        def make(name: str, *operands: Value) -> Value:
            return emitter.create(f"stablehlo.{name}", type_, operands)

        larger = make("maximum", a, b)
        distance = make("negate", make("abs", make("subtract", a, b)))
        total = make("add", larger, make("log_plus_one", make("exponential", distance)))
        equal = comparison(emitter, "EQ", dtype, a, b, emitter.tensor(shape, bool_))
        twice = make("add", larger, emitter.filled(0.6931471805599453, shape, dtype))
        return [make("select", equal, twice, total)]

    return combine


@rule(LinearRecurrence)
def linear_recurrence(emitter: Emitter, op: LinearRecurrence, operands: list[Value]) -> list[Value]:
    """A stretch is the line y -> factor * y + term that takes what comes before it to its end."""

    def make(emitter: Emitter, dtype: DType) -> Combine:
        def combine(first: Sequence[Value], second: Sequence[Value]) -> list[Value]:
            (f, t), (g, u), type_ = first, second, first[0].type
            through = emitter.create("stablehlo.multiply", type_, [g, t])
            return [
                emitter.create("stablehlo.multiply", type_, [f, g]),
                emitter.create("stablehlo.add", type_, [through, u]),
            ]

        return combine

    return _emit(emitter, op, operands, make, result=1)
