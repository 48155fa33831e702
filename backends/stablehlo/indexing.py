"""Emission of reads and writes at indices that are data.

StableHLO's scatter drops what is out of range, which is what df asks for; its gather moves the index into the range
instead, so that what a gather gives for an index out of range is replaced by zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from dfc.backends.stablehlo.elementwise import comparison
from dfc.backends.stablehlo.emit import Body, Emitter, integer, integers
from dfc.backends.stablehlo.rules import Rule, Value, rule
from dfc.ir.dims import size
from dfc.ir.dtypes import DType, bool_, int32, int64
from dfc.ir.ops.indexing import (
    DynamicSlice,
    DynamicUpdateSlice,
    GatherNd,
    LastOccurrence,
    Nonzero,
    Take,
    TakeAlongAxis,
    TensorScatter,
    TensorScatterAdd,
    TensorScatterDiv,
    TensorScatterMax,
    TensorScatterMin,
    TensorScatterMul,
    TensorScatterUpdate,
)
from dfc.ir.types import Spec, spec_of

INT32_LIMIT = 2**31


def positions(emitter: Emitter, indices: Value, spec: Spec, sizes: Sequence[Any]) -> tuple[Value, Spec]:
    """Indices as int32, or int64 where the sizes or the dtype need it. An unsigned index beyond int64 becomes its
    largest number, which is out of every range too."""
    dtype = spec.dtype
    wanted = int64 if max(sizes) >= INT32_LIMIT or dtype.bits == 64 or dtype.name == "uint32" else int32
    if dtype is wanted:
        return indices, spec
    if dtype.kind == "uint" and dtype.bits == 64:
        largest = emitter.filled(2**63 - 1, spec.shape, dtype)
        indices = emitter.create("stablehlo.minimum", emitter.tensor(*spec), [indices, largest])
    converted = Spec(spec.shape, wanted)
    return emitter.create("stablehlo.convert", emitter.tensor(*converted), [indices]), converted


def in_range(emitter: Emitter, indices: Value, spec: Spec, sizes: Sequence[Any]) -> Value:
    """Where 0 <= index < size, by the last axis of indices one for each of `sizes`: for all of them."""
    flags = emitter.tensor(spec.shape, bool_)
    row = emitter.constant(np.array(sizes, spec.dtype.numpy), spec.dtype)
    last = {"broadcast_dimensions": integers([len(spec.shape) - 1])}
    limits = emitter.create("stablehlo.broadcast_in_dim", emitter.tensor(*spec), [row], last)
    zeros = emitter.filled(0, spec.shape, spec.dtype)
    above = comparison(emitter, "GE", spec.dtype, indices, zeros, flags)
    below = comparison(emitter, "LT", spec.dtype, indices, limits, flags)
    both = emitter.create("stablehlo.and", flags, [above, below])
    rows = emitter.tensor(spec.shape[:-1], bool_)
    if len(sizes) == 1:
        return emitter.create("stablehlo.reshape", rows, [both])
    flag = emitter.tensor((), bool_)

    def conjunction(values: Sequence[Value]) -> Sequence[Value]:
        return [emitter.create("stablehlo.and", flag, values)]

    return emitter.reduce([both], [emitter.scalar(True, bool_)], [len(spec.shape) - 1], [rows], conjunction)[0]


def with_last_axis(emitter: Emitter, indices: Value, spec: Spec) -> tuple[Value, Spec]:
    """Indices with a last axis of size 1."""
    longer = Spec((*spec.shape, 1), spec.dtype)
    return emitter.create("stablehlo.reshape", emitter.tensor(*longer), [indices]), longer


def gather(
    emitter: Emitter, x: Value, x_spec: Spec, indices: Value, spec: Spec, result: Spec, axes: Sequence[int], at: int
) -> Value:
    """The parts of x at the rows of the last axis of `indices`, which index the ascending `axes` of x; the other axes
    of indices stand at axis `at` of the result. Zeros where an index is out of range."""
    sizes = [x_spec.shape[a] for a in axes]
    if size(x_spec.shape) == 0 or size(result.shape) == 0:
        return emitter.filled(0, result.shape, result.dtype)
    indices, spec = positions(emitter, indices, spec, sizes)
    batch = len(spec.shape) - 1
    numbers = stablehlo.GatherDimensionNumbers.get(
        offset_dims=[i for i in range(len(result.shape)) if not at <= i < at + batch],
        collapsed_slice_dims=list(axes),
        operand_batching_dims=[],
        start_indices_batching_dims=[],
        start_index_map=list(axes),
        index_vector_dim=batch,
    )
    attributes = {
        "dimension_numbers": numbers,
        "slice_sizes": integers([1 if i in axes else d for i, d in enumerate(x_spec.shape)]),
        "indices_are_sorted": ir.BoolAttr.get(False),
    }
    type_ = emitter.tensor(*result)
    taken = emitter.create("stablehlo.gather", type_, [x, indices], attributes)
    valid = in_range(emitter, indices, spec, sizes)
    along = {"broadcast_dimensions": integers(range(at, at + batch))}
    mask = emitter.create("stablehlo.broadcast_in_dim", emitter.tensor(result.shape, bool_), [valid], along)
    return emitter.create("stablehlo.select", type_, [mask, taken, emitter.filled(0, result.shape, result.dtype)])


def scatter(
    emitter: Emitter, x: Value, x_spec: Spec, indices: Value, spec: Spec, updates: Value, combine: str, unique: bool
) -> Value:
    """x with `updates` brought into the parts that the rows of the last axis of `indices` name, by
    `stablehlo.<combine>`, or in the place of what is there where that is empty."""
    depth = spec.shape[-1]
    assert isinstance(depth, int)
    if size(x_spec.shape) == 0 or size(spec.shape) == 0:
        return x
    indices, spec = positions(emitter, indices, spec, x_spec.shape[:depth])
    batch, tail = len(spec.shape) - 1, len(x_spec.shape) - depth
    numbers = stablehlo.ScatterDimensionNumbers.get(
        update_window_dims=list(range(batch, batch + tail)),
        inserted_window_dims=list(range(depth)),
        input_batching_dims=[],
        scatter_indices_batching_dims=[],
        scattered_dims_to_operand_dims=list(range(depth)),
        index_vector_dim=batch,
    )
    attributes = {
        "scatter_dimension_numbers": numbers,
        "indices_are_sorted": ir.BoolAttr.get(False),
        "unique_indices": ir.BoolAttr.get(unique),
    }
    scalar = emitter.tensor((), x_spec.dtype)

    def body(values: Sequence[Value]) -> Sequence[Value]:
        return [emitter.create(f"stablehlo.{combine}", scalar, values) if combine else values[1]]

    operands = [x, indices, updates]
    bodies: list[tuple[Sequence[ir.Type], Body]] = [([scalar, scalar], body)]
    return emitter.with_bodies("stablehlo.scatter", [emitter.tensor(*x_spec)], operands, attributes, bodies)[0]


def sort(emitter: Emitter, columns: Sequence[Value], dtypes: Sequence[DType], n_keys: int) -> list[Value]:
    """Vectors in the ascending order of the first `n_keys` of them, the first counting most; equal keys stay in
    order."""
    flag = emitter.tensor((), bool_)

    def body(values: Sequence[Value]) -> Sequence[Value]:
        less: Value | None = None
        for i in reversed(range(n_keys)):
            x, y = values[2 * i], values[2 * i + 1]
            smaller = comparison(emitter, "LT", dtypes[i], x, y, flag)
            if less is not None:
                equal = comparison(emitter, "EQ", dtypes[i], x, y, flag)
                less = emitter.create(
                    "stablehlo.or", flag, [smaller, emitter.create("stablehlo.and", flag, [equal, less])]
                )
            else:
                less = smaller
        assert less is not None
        return [less]

    attributes = {"dimension": integer(0), "is_stable": ir.BoolAttr.get(True)}
    scalars = [emitter.tensor((), dtype) for dtype in dtypes for _ in range(2)]
    return emitter.with_bodies("stablehlo.sort", [c.type for c in columns], columns, attributes, [(scalars, body)])


def last_occurrences(emitter: Emitter, indices: Value, spec: Spec) -> Value:
    """Where no later row of the last axis of `indices` is equal: in sorted order, where the next one differs."""
    count, depth = size(spec.shape[:-1]), spec.shape[-1]
    assert isinstance(count, int) and isinstance(depth, int)
    result = emitter.tensor(spec.shape[:-1], bool_)
    if count < 2:
        return emitter.filled(True, spec.shape[:-1], bool_)
    rows = emitter.create("stablehlo.reshape", emitter.tensor((count, depth), spec.dtype), [indices])
    columns = []
    for i in range(depth):
        column = cut(emitter, rows, Spec((count, depth), spec.dtype), [0, i], [count, i + 1])
        columns.append(emitter.create("stablehlo.reshape", emitter.tensor((count,), spec.dtype), [column]))
    counted = emitter.create("stablehlo.iota", emitter.tensor((count,), int32), [], {"iota_dimension": integer(0)})
    *keys, order = sort(emitter, [*columns, counted], [spec.dtype] * depth + [int32], depth)
    vector, shorter = Spec((count,), spec.dtype), emitter.tensor((count - 1,), bool_)
    differs: Value | None = None
    for key in keys:
        here, after = cut(emitter, key, vector, [0], [count - 1]), cut(emitter, key, vector, [1], [count])
        each = comparison(emitter, "NE", spec.dtype, here, after, shorter)
        differs = each if differs is None else emitter.create("stablehlo.or", shorter, [differs, each])
    assert differs is not None
    flags = emitter.tensor((count,), bool_)
    along = {"dimension": integer(0)}
    last = emitter.create("stablehlo.concatenate", flags, [differs, emitter.filled(True, (1,), bool_)], along)
    places, place_spec = with_last_axis(emitter, order, Spec((count,), int32))
    nothing = emitter.filled(False, (count,), bool_)
    back = scatter(emitter, nothing, Spec((count,), bool_), places, place_spec, last, "", True)
    return emitter.create("stablehlo.reshape", result, [back])


def cut(emitter: Emitter, x: Value, spec: Spec, starts: Sequence[int], limits: Sequence[int]) -> Value:
    """`stablehlo.slice` with strides of 1."""
    attributes = {
        "start_indices": integers(starts),
        "limit_indices": integers(limits),
        "strides": integers([1] * len(starts)),
    }
    shape = [b - a for a, b in zip(starts, limits, strict=True)]
    return emitter.create("stablehlo.slice", emitter.tensor(shape, spec.dtype), [x], attributes)


@rule(Take)
def take(emitter: Emitter, op: Take, operands: list[Value]) -> list[Value]:
    (x, indices), axis = operands, op.axis.data
    indices, spec = with_last_axis(emitter, indices, spec_of(op.indices.type))
    return [gather(emitter, x, spec_of(op.x.type), indices, spec, spec_of(op.result.type), [axis], axis)]


@rule(GatherNd)
def gather_nd(emitter: Emitter, op: GatherNd, operands: list[Value]) -> list[Value]:
    (x, indices), spec = operands, spec_of(op.indices.type)
    depth = spec.shape[-1]
    assert isinstance(depth, int)
    return [gather(emitter, x, spec_of(op.x.type), indices, spec, spec_of(op.result.type), range(depth), 0)]


@rule(TakeAlongAxis)
def take_along_axis(emitter: Emitter, op: TakeAlongAxis, operands: list[Value]) -> list[Value]:
    (x, indices), axis = operands, op.axis.data
    x_spec, result = spec_of(op.x.type), spec_of(op.result.type)
    if size(x_spec.shape) == 0 or size(result.shape) == 0:
        return [emitter.filled(0, result.shape, result.dtype)]
    rank = len(result.shape)
    indices, spec = with_last_axis(emitter, indices, spec_of(op.indices.type))
    indices, spec = positions(emitter, indices, spec, [x_spec.shape[axis]])
    others = [a for a in range(rank) if a != axis]
    numbers = stablehlo.GatherDimensionNumbers.get(
        offset_dims=[],
        collapsed_slice_dims=[axis],
        operand_batching_dims=others,
        start_indices_batching_dims=others,
        start_index_map=[axis],
        index_vector_dim=rank,
    )
    attributes = {
        "dimension_numbers": numbers,
        "slice_sizes": integers([1] * rank),
        "indices_are_sorted": ir.BoolAttr.get(False),
    }
    type_ = emitter.tensor(*result)
    taken = emitter.create("stablehlo.gather", type_, [x, indices], attributes)
    valid = in_range(emitter, indices, spec, [x_spec.shape[axis]])
    return [emitter.create("stablehlo.select", type_, [valid, taken, emitter.filled(0, *result)])]


@rule(TensorScatterUpdate)
def tensor_scatter_update(emitter: Emitter, op: TensorScatterUpdate, operands: list[Value]) -> list[Value]:
    """The order of StableHLO's scatter is open, so the rows that a later one overwrites are sent out of range."""
    x, indices, updates = operands
    spec, x_spec = spec_of(op.indices.type), spec_of(op.x.type)
    depth = spec.shape[-1]
    assert isinstance(depth, int)
    if not op.unique.data and size(spec.shape) and size(x_spec.shape):
        indices, spec = positions(emitter, indices, spec, x_spec.shape[:depth])
        wins = last_occurrences(emitter, indices, spec)
        along = {"broadcast_dimensions": integers(range(len(spec.shape) - 1))}
        mask = emitter.create("stablehlo.broadcast_in_dim", emitter.tensor(spec.shape, bool_), [wins], along)
        nowhere = emitter.filled(-1, spec.shape, spec.dtype)
        indices = emitter.create("stablehlo.select", emitter.tensor(*spec), [mask, indices, nowhere])
    return [scatter(emitter, x, x_spec, indices, spec, updates, "", True)]


def _scatter(combine: str) -> Rule:
    def emit(emitter: Emitter, op: TensorScatter, operands: list[Value]) -> list[Value]:
        x, indices, updates = operands
        return [scatter(emitter, x, spec_of(op.x.type), indices, spec_of(op.indices.type), updates, combine, False)]

    return emit


rule(TensorScatterAdd)(_scatter("add"))
rule(TensorScatterMul)(_scatter("multiply"))
rule(TensorScatterDiv)(_scatter("divide"))
rule(TensorScatterMin)(_scatter("minimum"))
rule(TensorScatterMax)(_scatter("maximum"))


@rule(LastOccurrence)
def last_occurrence(emitter: Emitter, op: LastOccurrence, operands: list[Value]) -> list[Value]:
    return [last_occurrences(emitter, operands[0], spec_of(op.indices.type))]


@rule(DynamicSlice)
def dynamic_slice(emitter: Emitter, op: DynamicSlice, operands: list[Value]) -> list[Value]:
    if not op.sizes.data:
        return operands
    attributes = {"slice_sizes": integers(op.sizes.data)}
    return [emitter.create("stablehlo.dynamic_slice", emitter.type(op.result.type), operands, attributes)]


@rule(DynamicUpdateSlice)
def dynamic_update_slice(emitter: Emitter, op: DynamicUpdateSlice, operands: list[Value]) -> list[Value]:
    if len(operands) == 2:
        return [operands[1]]
    return [emitter.create("stablehlo.dynamic_update_slice", emitter.type(op.result.type), operands)]


@rule(Nonzero)
def nonzero(emitter: Emitter, op: Nonzero, operands: list[Value]) -> list[Value]:
    """The places of what isn't zero, the others replaced by the number of elements, in ascending order."""
    (x,), spec, (wanted,) = operands, spec_of(op.x.type), op.size.data
    count, rank, fill = size(spec.shape), len(spec.shape), op.fill.data
    assert isinstance(count, int) and isinstance(wanted, int)
    if count == 0 or wanted == 0:
        return [emitter.filled(fill, (wanted, rank), int32)]
    flat, flags = emitter.tensor((count,), spec.dtype), emitter.tensor((count,), bool_)
    zeros = emitter.filled(0, (count,), spec.dtype)
    hit = comparison(emitter, "NE", spec.dtype, emitter.create("stablehlo.reshape", flat, [x]), zeros, flags)
    dtype = int32 if count < INT32_LIMIT else int64
    vector = emitter.tensor((count,), dtype)
    places = emitter.create("stablehlo.iota", vector, [], {"iota_dimension": integer(0)})
    nowhere = emitter.filled(count, (count,), dtype)
    (ordered,) = sort(emitter, [emitter.create("stablehlo.select", vector, [hit, places, nowhere])], [dtype], 1)
    if wanted <= count:
        first = cut(emitter, ordered, Spec((count,), dtype), [0], [wanted])
    else:
        rest = emitter.filled(count, (wanted - count,), dtype)
        along = {"dimension": integer(0)}
        first = emitter.create("stablehlo.concatenate", emitter.tensor((wanted,), dtype), [ordered, rest], along)
    column, missing = emitter.tensor((wanted,), dtype), emitter.tensor((wanted,), bool_)
    absent = comparison(emitter, "EQ", dtype, first, emitter.filled(count, (wanted,), dtype), missing)
    columns, rest_size = [], count
    for extent in spec.shape:
        assert isinstance(extent, int)
        inner = rest_size // extent
        index = first
        if rest_size != count:
            index = emitter.create("stablehlo.remainder", column, [first, emitter.filled(rest_size, (wanted,), dtype)])
        index = emitter.create("stablehlo.divide", column, [index, emitter.filled(inner, (wanted,), dtype)])
        index = emitter.create("stablehlo.convert", emitter.tensor((wanted,), int32), [index])
        filled = emitter.filled(fill, (wanted,), int32)
        index = emitter.create("stablehlo.select", emitter.tensor((wanted,), int32), [absent, filled, index])
        columns.append(emitter.create("stablehlo.reshape", emitter.tensor((wanted, 1), int32), [index]))
        rest_size = inner
    return [emitter.create("stablehlo.concatenate", emitter.type(op.result.type), columns, {"dimension": integer(1)})]


def row_at(emitter: Emitter, x: Value, spec: Spec, index: Value) -> Value:
    """The row of `x` along the first axis at an int32 scalar; the nearest one for an index out of range."""
    sizes = [1, *spec.shape[1:]]
    starts = [index, *[emitter.scalar(0, int32)] * (len(sizes) - 1)]
    attributes = {"slice_sizes": integers(sizes)}
    row = emitter.create("stablehlo.dynamic_slice", emitter.tensor(sizes, spec.dtype), [x, *starts], attributes)
    return emitter.create("stablehlo.reshape", emitter.tensor(spec.shape[1:], spec.dtype), [row])


def with_row_at(emitter: Emitter, x: Value, spec: Spec, row: Value, index: Value) -> Value:
    """`x` with another row at an int32 scalar; see `row_at`."""
    row = emitter.create("stablehlo.reshape", emitter.tensor([1, *spec.shape[1:]], spec.dtype), [row])
    starts = [index, *[emitter.scalar(0, int32)] * (len(spec.shape) - 1)]
    return emitter.create("stablehlo.dynamic_update_slice", emitter.tensor(*spec), [x, row, *starts])
