"""Ops that move elements without computing on them, and sizes as values."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, var_operand_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Dims, Element, Int, Ints
from dfc.ir.dims import Dim, ceildiv, size
from dfc.ir.dtypes import int32
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.types import Spec, spec_of, tensor_type


def shape_text(shape: tuple[Dim, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


@irdl_op_definition
class Reshape(Op):
    """The same elements in C order in another shape. C1: as many elements."""

    name = "df.reshape"
    shape = prop_def(Dims)
    x = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec, shape = spec_of(operands[0]), attributes["shape"]
        if size(spec.shape) != size(shape):
            raise InvalidArgument(
                f"the shapes must hold equally many elements, got {shape_text(spec.shape)} with {size(spec.shape)} "
                f"and {shape_text(shape)} with {size(shape)}",
                label="C1",
            )
        return (tensor_type(shape, spec.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [operands[0].reshape(attributes["shape"])]


@irdl_op_definition
class Transpose(Op):
    """Axis i of the result is axis permutation[i] of x. C1: `permutation` has each axis once."""

    name = "df.transpose"
    permutation = prop_def(Ints)
    x = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec, permutation = spec_of(operands[0]), attributes["permutation"]
        if sorted(permutation) != list(range(len(spec.shape))):
            raise InvalidArgument(
                f"permutation must name each of {len(spec.shape)} axes once, got {permutation}", label="C1"
            )
        return (tensor_type(tuple(spec.shape[a] for a in permutation), spec.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [operands[0].transpose(attributes["permutation"])]


@irdl_op_definition
class BroadcastInDim(Op):
    """Repeats x to `shape`; axis i of x becomes axis dims[i] of the result.

    C1: one ascending axis in range for each axis of x. C2: a size of x is 1 or the result's.
    """

    name = "df.broadcast_in_dim"
    shape = prop_def(Dims)
    dims = prop_def(Ints)
    x = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec, shape, dims = spec_of(operands[0]), attributes["shape"], attributes["dims"]
        if (
            len(dims) != len(spec.shape)
            or list(dims) != sorted(set(dims))
            or any(not 0 <= d < len(shape) for d in dims)
        ):
            raise InvalidArgument(
                f"dims must name an ascending axis of {shape_text(shape)} for each of {len(spec.shape)} axes, "
                f"got {dims}",
                label="C1",
            )
        for i, d in enumerate(dims):
            if spec.shape[i] != 1 and spec.shape[i] != shape[d]:
                raise InvalidArgument(
                    f"shape {shape_text(spec.shape)} doesn't broadcast to {shape_text(shape)}: "
                    f"{spec.shape[i]} is neither 1 nor {shape[d]}",
                    label="C2",
                )
        return (tensor_type(shape, spec.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (x,) = operands
        aligned = [1] * len(attributes["shape"])
        for i, d in enumerate(attributes["dims"]):
            aligned[d] = x.shape[i]
        return [np.broadcast_to(x.reshape(aligned), attributes["shape"])]


@irdl_op_definition
class Concatenate(Op):
    """The operands one after another along `axis`.

    C1: at least one operand. C2: equal dtypes. C3: the axis is in range. C4: equal sizes of the other axes.
    """

    name = "df.concatenate"
    axis = prop_def(Int)
    inputs = var_operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        axis = attributes["axis"]
        if not operands:
            raise InvalidArgument("at least one operand is needed", label="C1")
        specs = [spec_of(t) for t in operands]
        first = specs[0]
        if any(s.dtype is not first.dtype for s in specs):
            raise InvalidType(f"operands must have equal dtypes, got {_list(specs)}", label="C2")
        if not 0 <= axis < len(first.shape):
            raise InvalidArgument(f"axis must be within rank {len(first.shape)}, got {axis}", label="C3")
        rests = {(*s.shape[:axis], *s.shape[axis + 1 :]) for s in specs}
        if len(rests) != 1 or any(len(s.shape) != len(first.shape) for s in specs):
            raise InvalidArgument(f"sizes must match outside axis {axis}, got {_list(specs)}", label="C4")
        total: Dim = 0
        for s in specs:
            total = total + s.shape[axis]
        return (tensor_type((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [np.concatenate(list(operands), axis=attributes["axis"])]


def _list(specs: list[Spec]) -> str:
    return " and ".join(map(str, specs))


@irdl_op_definition
class Slice(Op):
    """Elements starts, starts + strides ... below limits, an axis.

    C1: one start, limit and stride an axis. C2: 0 <= start <= limit <= size, where that can be told. C3: strides are
    positive.
    """

    name = "df.slice"
    starts = prop_def(Dims)
    limits = prop_def(Dims)
    strides = prop_def(Ints)
    x = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec = spec_of(operands[0])
        starts, limits, strides = attributes["starts"], attributes["limits"], attributes["strides"]
        if not len(starts) == len(limits) == len(strides) == len(spec.shape):
            raise InvalidArgument(
                f"one start, limit and stride an axis of {spec} is needed, got {starts}, {limits}, {strides}",
                label="C1",
            )
        for start, limit, extent in zip(starts, limits, spec.shape, strict=True):
            ordered = [(0, start), (start, limit), (limit, extent)]
            if any(isinstance(a, int) and isinstance(b, int) and a > b for a, b in ordered):
                raise InvalidArgument(
                    f"0 <= start <= limit <= size must hold, got {start}, {limit}, {extent}", label="C2"
                )
        if any(s < 1 for s in strides):
            raise InvalidArgument(f"strides must be positive, got {strides}", label="C3")
        sizes = [ceildiv(b - a, s) for a, b, s in zip(starts, limits, strides, strict=True)]
        return (tensor_type(tuple(sizes), spec.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        triples = zip(attributes["starts"], attributes["limits"], attributes["strides"], strict=True)
        return [operands[0][tuple(slice(a, b, s) for a, b, s in triples)]]


@irdl_op_definition
class Pad(Op):
    """x with `value` put `low` times before, `high` times after and `interior` times between elements, an axis;
    negative low and high remove elements.

    C1: `value` is a scalar of x's dtype. C2: one low, high and interior an axis. C3: interior is not negative.
    C4: no size becomes negative. The type takes a symbolic size not to be 0 where there is interior padding, as its
    formula doesn't hold there; `specialize` refuses a size that makes it 0.
    """

    name = "df.pad"
    low = prop_def(Dims)
    high = prop_def(Dims)
    interior = prop_def(Ints)
    x = operand_def()
    value = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec, value = (spec_of(t) for t in operands)
        low, high, interior = attributes["low"], attributes["high"], attributes["interior"]
        if value != Spec((), spec.dtype):
            raise InvalidType(f"the value must be a scalar of {spec.dtype}, got {value}", label="C1")
        if not len(low) == len(high) == len(interior) == len(spec.shape):
            raise InvalidArgument(
                f"one low, high and interior an axis of {spec} is needed, got {low}, {high}, {interior}", label="C2"
            )
        if any(i < 0 for i in interior):
            raise InvalidArgument(f"interior padding must not be negative, got {interior}", label="C3")
        sizes: list[Dim] = []
        for d, a, b, i in zip(spec.shape, low, high, interior, strict=True):
            inner = d if i == 0 or d == 0 else d + (d - 1) * i
            sizes.append(inner + a + b)
            total = sizes[-1]
            if isinstance(total, int) and total < 0:
                raise InvalidArgument(f"padding {a} and {b} removes more than the {inner} elements", label="C4")
        return (tensor_type(tuple(sizes), spec.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        x, value = operands
        low, high, interior = attributes["low"], attributes["high"], attributes["interior"]
        inner = [d if i == 0 or d == 0 else d + (d - 1) * i for d, i in zip(x.shape, interior, strict=True)]
        spread = np.full(inner, value, x.dtype)
        spread[tuple(slice(None, None, i + 1) for i in interior)] = x
        outer = [max(a, 0) + n + max(b, 0) for n, a, b in zip(inner, low, high, strict=True)]
        padded = np.full(outer, value, x.dtype)
        padded[tuple(slice(max(a, 0), max(a, 0) + n) for a, n in zip(low, inner, strict=True))] = spread
        keep = [slice(max(-a, 0), n - max(-b, 0)) for a, b, n in zip(low, high, outer, strict=True)]
        return [padded[tuple(keep)]]


@irdl_op_definition
class Reverse(Op):
    """x with the order along `axes` reversed. C1: the axes are distinct and in range."""

    name = "df.reverse"
    axes = prop_def(Ints)
    x = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec, axes = spec_of(operands[0]), attributes["axes"]
        if len(set(axes)) != len(axes) or any(not 0 <= a < len(spec.shape) for a in axes):
            raise InvalidArgument(f"axes must be distinct and within rank {len(spec.shape)}, got {axes}", label="C1")
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [np.flip(operands[0], attributes["axes"])]


@irdl_op_definition
class Iota(Op):
    """The index along `axis`, as `dtype`. C1: the axis is in range. C2: the dtype is numeric."""

    name = "df.iota"
    shape = prop_def(Dims)
    dtype = prop_def(Element)
    axis = prop_def(Int)
    result = result_def()
    KINDS: ClassVar = ("int", "uint", "float", "complex")

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        shape, dtype, axis = attributes["shape"], attributes["dtype"], attributes["axis"]
        if not 0 <= axis < len(shape):
            raise InvalidArgument(f"axis must be within rank {len(shape)}, got {axis}", label="C1")
        if dtype.kind not in cls.KINDS:
            raise InvalidType(f"the dtype must be numeric, got {dtype}", label="C2")
        return (tensor_type(shape, dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        shape, axis = attributes["shape"], attributes["axis"]
        index = np.arange(shape[axis]).astype(attributes["dtype"].numpy)
        return [np.broadcast_to(index.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)]


@irdl_op_definition
class DimSize(Op):
    """The size of one axis of x, as an int32 scalar. C1: the axis is in range."""

    name = "df.dim_size"
    axis = prop_def(Int)
    x = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec, axis = spec_of(operands[0]), attributes["axis"]
        if not 0 <= axis < len(spec.shape):
            raise InvalidArgument(f"axis must be within rank {len(spec.shape)}, got {axis}", label="C1")
        return (tensor_type((), int32),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [np.asarray(operands[0].shape[attributes["axis"]], np.int32)]


@irdl_op_definition
class Tile(Op):
    """x `repetitions` times one after another along each axis. C1: one repetition an axis, none negative."""

    name = "df.tile"
    repetitions = prop_def(Ints)
    x = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec, repetitions = spec_of(operands[0]), attributes["repetitions"]
        if len(repetitions) != len(spec.shape) or any(n < 0 for n in repetitions):
            raise InvalidArgument(
                f"one repetition an axis of {spec} is needed and none negative, got {repetitions}", label="C1"
            )
        return (tensor_type(tuple(d * n for d, n in zip(spec.shape, repetitions, strict=True)), spec.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [np.tile(operands[0], attributes["repetitions"])]


@irdl_op_definition
class Roll(Op):
    """x moved by shifts[i] places along axes[i]; what leaves at one end comes in at the other.

    C1: the axes are distinct and in range. C2: one shift an axis.
    """

    name = "df.roll"
    shifts = prop_def(Ints)
    axes = prop_def(Ints)
    x = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        rank, shifts, axes = len(spec_of(operands[0]).shape), attributes["shifts"], attributes["axes"]
        if any(not 0 <= a < rank for a in axes) or len(set(axes)) != len(axes):
            raise InvalidArgument(f"axes must be distinct and within rank {rank}, got {axes}", label="C1")
        if len(shifts) != len(axes):
            raise InvalidArgument(f"one shift an axis is needed, got {shifts} for {axes}", label="C2")
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (x,), shifts = operands, attributes["shifts"]
        return [np.roll(x, shifts, attributes["axes"]) if shifts else x]
