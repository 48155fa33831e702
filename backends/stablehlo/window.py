"""Emission of reductions over windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from dfc.backends.stablehlo.elementwise import comparison
from dfc.backends.stablehlo.emit import Emitter, integer, integers, pairs
from dfc.backends.stablehlo.rules import Rule, Value, rule
from dfc.ir.dims import size
from dfc.ir.dtypes import DType, bool_, float32, int32, int64
from dfc.ir.ops.reduction import highest, lowest
from dfc.ir.ops.window import Selecting, Window, WindowGather, WindowMax, WindowMin, WindowScatter, WindowSum, slides
from dfc.ir.types import spec_of

Attributes = dict[str, ir.Attribute]


def _window_attributes(values: dict[str, Any]) -> Attributes:
    found = {
        "window_dimensions": integers(values["window"]),
        "window_strides": integers(values["strides"]),
        "padding": pairs(list(zip(values["low"], values["high"], strict=True))),
    }
    if "base_dilation" in values:
        found["base_dilations"] = integers(values["base_dilation"])
    found["window_dilations"] = integers(values["window_dilation"])
    return found


def _wide(dtype: DType) -> DType:
    return float32 if dtype.is_floating and dtype.bits == 16 else dtype


def _convert(emitter: Emitter, x: Value, shape: Sequence[Any], dtype: DType) -> Value:
    return emitter.create("stablehlo.convert", emitter.tensor(shape, dtype), [x])


def _window(combine: str, identity: Callable[[DType], Any], *, wide: bool = False) -> Rule:
    """A rule that combines by `stablehlo.<combine>`; `wide` accumulates 16-bit floats in float32."""

    def emit(emitter: Emitter, op: Window, operands: list[Value]) -> list[Value]:
        (x,), (shape, dtype), result = operands, spec_of(op.x.type), spec_of(op.result.type)
        if not shape:
            return operands
        inner = _wide(dtype) if wide else dtype
        if inner is not dtype:
            x = _convert(emitter, x, shape, inner)
        scalar = emitter.tensor((), inner)

        def body(values: Sequence[Value]) -> Sequence[Value]:
            return [emitter.create(f"stablehlo.{combine}", scalar, values)]

        reduced = emitter.with_bodies(
            "stablehlo.reduce_window",
            [emitter.tensor(result.shape, inner)],
            [x, emitter.scalar(identity(inner), inner)],
            _window_attributes(op.values()),
            [([scalar, scalar], body)],
        )
        return reduced if inner is dtype else [_convert(emitter, reduced[0], *result)]

    return emit


rule(WindowSum)(_window("add", lambda dtype: 0, wide=True))
rule(WindowMax)(_window("maximum", lambda dtype: lowest(dtype.numpy)))
rule(WindowMin)(_window("minimum", lambda dtype: highest(dtype.numpy)))


@rule(WindowScatter)
def window_scatter(emitter: Emitter, op: WindowScatter, operands: list[Value]) -> list[Value]:
    """The index of the winner of each window, and a scatter. XLA's `select_and_scatter` becomes the same two, but
    compares in an order of its own, so that of equal elements any may win. Windows of padding alone have an index
    beyond the end, which `scatter` leaves out."""
    (x, source), (shape, dtype), places = operands, spec_of(op.x.type), spec_of(op.source.type).shape
    if not shape:
        return [source]
    if 0 in shape or 0 in places:
        return [emitter.filled(0, shape, dtype)]
    inner, n, m = _wide(dtype), size(shape), size(places)
    if inner is not dtype:
        source = _convert(emitter, source, places, inner)
    (index,), index_dtype = _winners(emitter, op, x, dtype, ())
    scalar = emitter.tensor((), inner)
    numbers = stablehlo.ScatterDimensionNumbers.get(
        update_window_dims=[],
        inserted_window_dims=[0],
        input_batching_dims=[],
        scatter_indices_batching_dims=[],
        scattered_dims_to_operand_dims=[0],
        index_vector_dim=1,
    )

    def add(values: Sequence[Value]) -> Sequence[Value]:
        return [emitter.create("stablehlo.add", scalar, values)]

    flat = emitter.with_bodies(
        "stablehlo.scatter",
        [emitter.tensor((n,), inner)],
        [
            emitter.filled(0, (n,), inner),
            emitter.create("stablehlo.reshape", emitter.tensor((m, 1), index_dtype), [index]),
            emitter.create("stablehlo.reshape", emitter.tensor((m,), inner), [source]),
        ],
        {"scatter_dimension_numbers": numbers},
        [([scalar, scalar], add)],
    )[0]
    made = emitter.create("stablehlo.reshape", emitter.tensor(shape, inner), [flat])
    return [made if inner is dtype else _convert(emitter, made, shape, dtype)]


@rule(WindowGather)
def window_gather(emitter: Emitter, op: WindowGather, operands: list[Value]) -> list[Value]:
    (x, source), (shape, dtype) = operands, spec_of(op.x.type)
    if not shape or 0 in shape:
        return [emitter.filled(0, spec_of(op.result.type).shape, dtype)] if shape else [source]
    return [_winners(emitter, op, x, dtype, (source,))[0][0]]


def _winners(
    emitter: Emitter, op: Selecting, x: Value, dtype: DType, carried: tuple[Value, ...]
) -> tuple[list[Value], DType]:
    """The elements of `carried` (of x's shape and dtype) where x wins in each window, or without any the index of that
    place in the flattened x; and the dtype of indices. What wins is better or NaN, and between equals the lower index:
    so any order of combination gives the first."""
    shape, result = spec_of(op.operands[0].type).shape, slides(spec_of(op.operands[0].type).shape, op.values())
    count = size(shape)
    assert isinstance(count, int)
    index = int32 if count < 2**31 - 1 else int64
    better, worst = ("GT", lowest) if op.extreme.data == "max" else ("LT", highest)
    scalar, scalar_index, flag = (emitter.tensor((), d) for d in (dtype, index, bool_))
    flat = emitter.create("stablehlo.iota", emitter.tensor((count,), index), [], {"iota_dimension": integer(0)})
    positions = emitter.create("stablehlo.reshape", emitter.tensor(shape, index), [flat])

    def wins(a: Value, b: Value) -> Value:
        is_better = comparison(emitter, better, dtype, a, b, flag)
        if not dtype.is_floating:
            return is_better
        return emitter.create("stablehlo.or", flag, [is_better, comparison(emitter, "NE", dtype, a, a, flag)])

    def body(values: Sequence[Value]) -> Sequence[Value]:
        a, b = values[: len(values) // 2], values[len(values) // 2 :]
        a_wins, b_wins = wins(a[0], b[0]), wins(b[0], a[0])
        tie = comparison(emitter, "EQ", bool_, a_wins, b_wins, flag)
        earlier = comparison(emitter, "LT", index, a[1], b[1], flag)
        take = emitter.create("stablehlo.select", flag, [tie, earlier, a_wins])
        return [emitter.create("stablehlo.select", t, [take, p, q]) for t, p, q in zip(types, a, b, strict=True)]

    types = [scalar, scalar_index, *(scalar for _ in carried)]
    sizes = [s.positions for s in result]
    found = emitter.with_bodies(
        "stablehlo.reduce_window",
        [emitter.tensor(sizes, d) for d in (dtype, index, *(dtype for _ in carried))],
        [
            *(x, positions, *carried),
            emitter.scalar(worst(dtype.numpy), dtype),
            emitter.scalar(highest(index.numpy), index),
            *(emitter.scalar(0, dtype) for _ in carried),
        ],
        _window_attributes(op.values()),
        [(types * 2, body)],
    )
    return (found[2:] if carried else found[1:2]), index
