"""Emission of sorting. What XLA sorts is stable, by a comparison that puts NaN last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from dfc.backends.stablehlo.cumulative import Along
from dfc.backends.stablehlo.elementwise import comparison
from dfc.backends.stablehlo.emit import Emitter, integer, integers
from dfc.backends.stablehlo.rules import Value, rule
from dfc.ir.dtypes import DType, bool_, int32
from dfc.ir.ops.sorting import ArgSort, SearchSorted, Sort, TopK, Unique
from dfc.ir.types import spec_of


def precedes(emitter: Emitter, dtype: DType, x: Value, y: Value, shape: Sequence[Any] = ()) -> Value:
    """Whether x comes before y in ascending order: less, or a number before NaN."""
    flag = emitter.tensor(shape, bool_)
    less = comparison(emitter, "LT", dtype, x, y, flag)
    if not dtype.is_floating:
        return less
    y_nan = comparison(emitter, "NE", dtype, y, y, flag)
    x_number = comparison(emitter, "EQ", dtype, x, x, flag)
    before_nan = emitter.create("stablehlo.and", flag, [x_number, y_nan])
    return emitter.create("stablehlo.or", flag, [less, before_nan])


def sorted_by(emitter: Emitter, operands: Sequence[Value], axis: int, descending: bool, dtype: DType) -> list[Value]:
    """The operands in the order of the first, whose dtype is `dtype`."""
    scalars = [ir.RankedTensorType.get([], ir.RankedTensorType(v.type).element_type) for v in operands]
    types = [t for t in scalars for _ in range(2)]

    def body(values: Sequence[Value]) -> Sequence[Value]:
        first, second = values[:2]
        return [precedes(emitter, dtype, *((second, first) if descending else (first, second)))]

    attributes = {"dimension": integer(axis), "is_stable": ir.BoolAttr.get(True)}
    results = [v.type for v in operands]
    return emitter.with_bodies("stablehlo.sort", results, operands, attributes, [(types, body)])


def positions(emitter: Emitter, shape: Sequence[Any], axis: int, dtype: DType) -> Value:
    along = {"iota_dimension": integer(axis)}
    return emitter.create("stablehlo.iota", emitter.tensor(shape, dtype), [], along)


@rule(Sort)
def sort(emitter: Emitter, op: Sort, operands: list[Value]) -> list[Value]:
    return sorted_by(emitter, operands, op.axis.data, op.descending.data, spec_of(op.operands[0].type).dtype)


@rule(ArgSort)
def argsort(emitter: Emitter, op: ArgSort, operands: list[Value]) -> list[Value]:
    (shape, dtype), axis = spec_of(op.x.type), op.axis.data
    origins = positions(emitter, shape, axis, op.dtype.data)
    return sorted_by(emitter, [*operands, origins], axis, op.descending.data, dtype)[1:]


@rule(TopK)
def top_k(emitter: Emitter, op: TopK, operands: list[Value]) -> list[Value]:
    shape, dtype = spec_of(op.x.type)
    axis, sizes = len(shape) - 1, [int(d) for d in shape]
    found = sorted_by(emitter, [*operands, positions(emitter, shape, axis, int32)], axis, True, dtype)
    return [
        Along(emitter, sizes, axis, kind).slice(value, 0, op.k.data)
        for value, kind in zip(found, (dtype, int32), strict=True)
    ]


def elements_at(emitter: Emitter, x: Value, indices: Value, shape: Sequence[Any], dtype: DType) -> Value:
    """The elements of a vector at indices, a tensor of this shape in int32; XLA brings each index into range."""
    rank = len(shape)
    numbers = stablehlo.GatherDimensionNumbers.get(
        offset_dims=[],
        collapsed_slice_dims=[0],
        operand_batching_dims=[],
        start_indices_batching_dims=[],
        start_index_map=[0],
        index_vector_dim=rank,
    )
    attributes = {"dimension_numbers": numbers, "slice_sizes": integers([1])}
    return emitter.create("stablehlo.gather", emitter.tensor(shape, dtype), [x, indices], attributes)


def places(emitter: Emitter, ordered: Value, values: Value, shape: Sequence[Any], dtype: DType, right: bool) -> Value:
    """Where values belong in a sorted vector: bisection, all values at once."""
    (size,) = ir.RankedTensorType(ordered.type).shape
    index = emitter.tensor(shape, int32)
    low, high = (emitter.filled(n, shape, int32) for n in (0, size))
    one = emitter.filled(1, shape, int32)
    for _ in range(math.ceil(math.log2(size + 1))):
        distance = emitter.create("stablehlo.subtract", index, [high, low])
        half = emitter.create("stablehlo.shift_right_logical", index, [distance, one])
        middle = emitter.create("stablehlo.add", index, [low, half])
        element = elements_at(emitter, ordered, middle, shape, dtype)
        flag = emitter.tensor(shape, bool_)
        if right:
            after = emitter.create("stablehlo.not", flag, [precedes(emitter, dtype, values, element, shape)])
        else:
            after = precedes(emitter, dtype, element, values, shape)
        some = comparison(emitter, "LT", int32, low, high, flag)
        after = emitter.create("stablehlo.and", flag, [after, some])
        following = emitter.create("stablehlo.add", index, [middle, one])
        low = emitter.create("stablehlo.select", index, [after, following, low])
        high = emitter.create("stablehlo.select", index, [after, high, middle])
    return low


@rule(Unique)
def unique(emitter: Emitter, op: Unique, operands: list[Value]) -> list[Value]:
    """Sort with the origins; an element is new where it differs from the one before; the sum of these marks numbers the
    distinct ones, and looking a number up in the sums finds its first element."""
    (shape, dtype), size = spec_of(op.x.type), op.size.data
    length = int(shape[0])
    some, scalar = (emitter.tensor(s, int32) for s in ((size,), ()))
    if length == 0:
        first = emitter.filled(0, (size,), int32)
        return [
            emitter.filled(0, (size,), dtype),
            first,
            positions(emitter, shape, 0, int32),
            first,
            emitter.scalar(0, int32),
        ]
    ordered, origins = sorted_by(emitter, [operands[0], positions(emitter, shape, 0, int32)], 0, False, dtype)
    numbers = _numbers(emitter, ordered, length, dtype)
    along = Along(emitter, [length], 0, int32)
    last = emitter.create("stablehlo.reshape", scalar, [along.slice(numbers, length - 1, length)])
    total = emitter.create("stablehlo.add", scalar, [last, emitter.scalar(1, int32)])
    inverse = sorted_by(emitter, [origins, numbers], 0, False, int32)[1]
    wanted = positions(emitter, (size,), 0, int32)
    starts = places(emitter, numbers, wanted, (size,), int32, right=False)
    ends = places(emitter, numbers, wanted, (size,), int32, right=True)
    exists = comparison(emitter, "LT", int32, starts, ends, emitter.tensor((size,), bool_))

    def where_exists(value: Value, other: Any, kind: DType) -> Value:
        filled = emitter.filled(other, (size,), kind)
        return emitter.create("stablehlo.select", emitter.tensor((size,), kind), [exists, value, filled])

    return [
        where_exists(elements_at(emitter, ordered, starts, (size,), dtype), 0, dtype),
        where_exists(elements_at(emitter, origins, starts, (size,), int32), length, int32),
        inverse,
        emitter.create("stablehlo.subtract", some, [ends, starts]),
        total,
    ]


def _numbers(emitter: Emitter, ordered: Value, length: int, dtype: DType) -> Value:
    """For each element of a sorted vector, which of the distinct ones it is."""
    along = Along(emitter, [length], 0, dtype)
    before, after = along.slice(ordered, 0, length - 1), along.slice(ordered, 1, length)
    # Sorted, so that elements differ where the earlier one precedes the later: NaN does not precede NaN.
    new = precedes(emitter, dtype, before, after, (length - 1,))
    marks = emitter.create("stablehlo.convert", emitter.tensor((length - 1,), int32), [new])
    counts = Along(emitter, [length], 0, int32)
    marks = counts.join(emitter.filled(0, (1,), int32), marks, length)
    return counts.scan([marks], lambda a, b: [emitter.create("stablehlo.add", a[0].type, [a[0], b[0]])])[0]


@rule(SearchSorted)
def searchsorted(emitter: Emitter, op: SearchSorted, operands: list[Value]) -> list[Value]:
    (shape, _), dtype = spec_of(op.wanted.type), spec_of(op.ordered.type).dtype
    ordered, wanted = operands
    return [places(emitter, ordered, wanted, shape, dtype, right=op.right.data)]
