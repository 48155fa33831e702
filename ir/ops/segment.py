"""Sums and extremes over segments; partition and stitch.

How many rows a segment or a part has is data, so the sizes of results are bounds: `num_segments` for segments, all the
rows for each part of a partition.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, var_operand_def, var_result_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Dims, Int
from dfc.ir.dims import Dim, Shape, size
from dfc.ir.dtypes import int32
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import NUMERIC, REAL, require_kind
from dfc.ir.ops.indexing import position_text, require_in_range, require_integer
from dfc.ir.ops.reduction import highest, lowest
from dfc.ir.ops.shape import shape_text
from dfc.ir.types import Spec, spec_of, tensor_type


def require_size(size: Shape, label: str, name: str) -> Dim:
    """The one dimension that is an attribute. Raises InvalidArgument unless it is one and not negative."""
    if len(size) != 1 or (isinstance(size[0], int) and size[0] < 0):
        raise InvalidArgument(f"{name} must be one dimension, not negative, got {size}", label=label)
    return size[0]


def tail_of(data: Spec, ids: Spec, label: str, name: str) -> Shape:
    """The axes of data behind those of ids. Raises InvalidArgument unless the shape of ids begins that of data."""
    rank = len(ids.shape)
    if data.shape[:rank] != ids.shape:
        raise InvalidArgument(
            f"the shape of {name} must begin that of data, got {shape_text(ids.shape)} and {shape_text(data.shape)}",
            label=label,
        )
    return data.shape[rank:]


class Segment(Op):
    """Reduces the rows of data with one id to one row: shape (num_segments, *tail) for data of shape
    (*segment_ids.shape, *tail). Ids are in no order; rows with a negative one are left out. A segment without rows
    has the reduction's identity. `evaluate` raises OutOfRange for an id of num_segments or more, compiled code leaves
    its rows out.

    C1: the dtype is of a kind that the op takes. C2: ids are integers. C3: the shape of ids begins that of data. C4:
    `num_segments` is one dimension, not negative.
    """

    num_segments = prop_def(Dims)
    data = operand_def()
    segment_ids = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = NUMERIC
    NUMPY: ClassVar[np.ufunc]

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        data, ids = (spec_of(t) for t in operands)
        require_kind(data.dtype, cls.KINDS, "C1")
        require_integer(ids, "C2", "segment_ids")
        tail = tail_of(data, ids, "C3", "segment_ids")
        return (tensor_type((require_size(attributes["num_segments"], "C4", "num_segments"), *tail), data.dtype),)

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        (data, ids), (count,) = operands, attributes["num_segments"]
        require_in_range(ids, count, "segment_ids", from_zero=False)
        kept = (ids >= 0) & (ids < count)
        wide = data.astype(np.float32) if data.dtype.itemsize == 2 and data.dtype.kind not in "iu" else data
        result = np.full((count, *data.shape[ids.ndim :]), cls.identity(wide.dtype), wide.dtype)
        with np.errstate(all="ignore"):
            cls.NUMPY.at(result, ids[kept], wide[kept])
            return [result.astype(data.dtype)]

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        """The value of a segment without rows."""
        raise NotImplementedError


@irdl_op_definition
class SegmentSum(Segment):
    """The sums; integers wrap, 16-bit floats add up in float32."""

    name = "df.segment_sum"
    NUMPY: ClassVar = np.add

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        return 0


@irdl_op_definition
class SegmentProd(Segment):
    """The products; integers wrap, 16-bit floats multiply in float32."""

    name = "df.segment_prod"
    NUMPY: ClassVar = np.multiply

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        return 1


@irdl_op_definition
class SegmentMin(Segment):
    """The smallest; NaN if one is. Without rows the largest number of the dtype, infinity for floats."""

    name = "df.segment_min"
    KINDS: ClassVar = REAL
    NUMPY: ClassVar = np.minimum

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        return highest(dtype)


@irdl_op_definition
class SegmentMax(Segment):
    """The largest; NaN if one is. Without rows the smallest number of the dtype, minus infinity for floats."""

    name = "df.segment_max"
    KINDS: ClassVar = REAL
    NUMPY: ClassVar = np.maximum

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        return lowest(dtype)


@irdl_op_definition
class DynamicPartition(Op):
    """The rows of data by their partition: for each of `num_partitions` a buffer that has room for all rows, with the
    part's rows in order at its front and zeros behind, and last an int32 vector that has the number of rows of each.

    The shape of partitions begins that of data, (*partitions.shape, *tail); a buffer has shape (rows, *tail) with as
    many rows as partitions has elements. `evaluate` raises InvalidArgument for a partition that isn't in
    [0, num_partitions), compiled code leaves its rows out.

    C1: the dtype is of a kind that has a zero. C2: partitions are integers. C3: the shape of partitions begins that
    of data. C4: there is a partition.
    """

    name = "df.dynamic_partition"
    num_partitions = prop_def(Int)
    data = operand_def()
    partitions = operand_def()
    parts = var_result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("bool", *NUMERIC)

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        data, partitions = (spec_of(t) for t in operands)
        require_kind(data.dtype, cls.KINDS, "C1")
        require_integer(partitions, "C2", "partitions")
        tail = tail_of(data, partitions, "C3", "partitions")
        count = attributes["num_partitions"]
        if count < 1:
            raise InvalidArgument(f"at least one partition is needed, got {count}", label="C4")
        buffer = tensor_type((size(partitions.shape), *tail), data.dtype)
        return (*[buffer] * count, tensor_type((count,), int32))

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (data, partitions), count = operands, attributes["num_partitions"]
        require_partitions(partitions, count)
        rows, buffers = data.reshape(partitions.size, *data.shape[partitions.ndim :]), []
        counts = np.zeros(count, np.int32)
        for i in range(count):
            part = rows[partitions.ravel() == i]
            buffers.append(np.zeros_like(rows))
            buffers[-1][: len(part)] = part
            counts[i] = len(part)
        return [*buffers, counts]


def require_partitions(partitions: np.ndarray[Any, Any], count: int) -> None:
    """Raise InvalidArgument with the first partition that is not in [0, count)."""
    wrong = (partitions < 0) | (partitions >= count)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise InvalidArgument(f"{position_text('partitions', at)} = {partitions[at]} is not in [0, {count})")


@irdl_op_definition
class DynamicStitch(Op):
    """Rows brought to the places that indices name: merged[indices[m][i ...]] = data[m][i ...], for the first half of
    the operands as indices and the second as data. Of equal indices the last one wins, within one operand and among
    them; an index outside of [0, size) is left out; a row that none names is zero.

    C1: as many data as indices, at least one. C2: indices are integers. C3: data have one dtype, of a kind that has a
    zero. C4: the shapes of indices begin those of data, and the rest is the same for all. C5: `size` is one dimension,
    not negative.
    """

    name = "df.dynamic_stitch"
    size = prop_def(Dims)
    inputs = var_operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("bool", *NUMERIC)

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        specs = [spec_of(t) for t in operands]
        indices, data = specs[: len(specs) // 2], specs[len(specs) // 2 :]
        if not indices or len(indices) != len(data):
            raise InvalidArgument(f"as many data as indices are needed, got {len(specs)} operands", label="C1")
        for spec in indices:
            require_integer(spec, "C2")
        if any(d.dtype is not data[0].dtype for d in data):
            raise InvalidType(f"data must have one dtype, got {' and '.join(map(str, data))}", label="C3")
        require_kind(data[0].dtype, cls.KINDS, "C3")
        tails = [tail_of(d, i, "C4", "indices") for d, i in zip(data, indices, strict=True)]
        if any(t != tails[0] for t in tails):
            listed = " and ".join(map(shape_text, tails))
            raise InvalidArgument(f"the shapes of data behind those of indices must be equal, got {listed}", label="C4")
        return (tensor_type((require_size(attributes["size"], "C5", "size"), *tails[0]), data[0].dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (count,), half = attributes["size"], len(operands) // 2
        indices, data = operands[:half], operands[half:]
        result = np.zeros((count, *data[0].shape[indices[0].ndim :]), data[0].dtype)
        for places, rows in zip(indices, data, strict=True):
            kept = (places >= 0) & (places < count)
            result[places[kept]] = rows[kept]
        return [result]
