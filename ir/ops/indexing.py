"""Reading and writing parts of a tensor at indices that are data.

An index counts from the front, 0 <= index < size; wrapping of negative ones is the frontend's. Outside of that range
`evaluate` raises OutOfRange, while compiled code reads zeros and drops what would be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, var_operand_def

from dfc.errors import InvalidArgument, InvalidType, OutOfRange
from dfc.ir.attributes import Dims, Flag, Int
from dfc.ir.dims import Shape
from dfc.ir.dtypes import bool_, int32
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import ANY, INEXACT, NUMERIC, ORDERED, require_kind
from dfc.ir.ops.shape import shape_text
from dfc.ir.types import Spec, spec_of, tensor_type

Array = np.ndarray[Any, Any]


def require_integer(spec: Spec, label: str, what: str = "indices") -> None:
    """Raise InvalidType unless the dtype is an integer one."""
    if not spec.dtype.is_integer:
        raise InvalidType(f"{what} must be integers, got {spec.dtype}", label=label)


def depth_of(x: Spec, indices: Spec, label: str) -> int:
    """How many axes of x the last axis of `indices` names. Raises InvalidArgument unless 1 <= depth <= rank."""
    depth = indices.shape[-1] if indices.shape else None
    if not isinstance(depth, int) or not 1 <= depth <= len(x.shape):
        raise InvalidArgument(
            f"the last axis of indices must have a size from 1 to {len(x.shape)}, got {indices}", label=label
        )
    return depth


def position_text(name: str, position: tuple[int, ...]) -> str:
    """`name[2]`, `name[1,0]`, or the name alone for a scalar."""
    return f"{name}[{','.join(map(str, position))}]" if position else name


def require_in_range(indices: Array, size: int, name: str = "indices", *, from_zero: bool = True) -> None:
    """Raise OutOfRange with the first index that is not in [0, size); negative ones may pass where not `from_zero`."""
    wrong = indices >= size
    if from_zero:
        wrong |= indices < 0
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise OutOfRange(f"{position_text(name, at)} = {indices[at]} is not in [0, {size})")


def require_rows_in_range(indices: Array, sizes: tuple[int, ...]) -> None:
    """Raise OutOfRange with the first row of `indices` that is outside of `sizes`."""
    wrong = ((indices < 0) | (indices >= np.array(sizes))).any(axis=-1)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        row = ", ".join(str(i) for i in indices[at])
        raise OutOfRange(f"{position_text('indices', at)} = [{row}] does not index into shape {shape_text(sizes)}")


@irdl_op_definition
class Take(Op):
    """The parts of x at `indices` along `axis`: the axes of `indices` stand in the place of that axis.

    C1: the axis is in range. C2: indices are integers.
    """

    name = "df.take"
    axis = prop_def(Int)
    x = operand_def()
    indices = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ANY

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        x, indices = (spec_of(t) for t in operands)
        axis = attributes["axis"]
        if not 0 <= axis < len(x.shape):
            raise InvalidArgument(f"axis must be within rank {len(x.shape)}, got {axis}", label="C1")
        require_integer(indices, "C2")
        return (tensor_type((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (x, indices), axis = operands, attributes["axis"]
        require_in_range(indices, x.shape[axis])
        shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
        if indices.size == 0:  # NumPy refuses to take nothing from an empty axis
            return [np.empty(shape, x.dtype)]
        return [np.asarray(np.take(x, indices, axis), x.dtype).reshape(shape)]


@irdl_op_definition
class GatherNd(Op):
    """For each row (i, j ...) of the last axis of `indices` the part x[i, j ...]: shape
    (*indices.shape[:-1], *x.shape[depth:]).

    C1: indices are integers. C2: the depth, the size of the last axis of indices, is 1 to x's rank.
    """

    name = "df.gather_nd"
    x = operand_def()
    indices = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ANY

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        x, indices = (spec_of(t) for t in operands)
        require_integer(indices, "C1")
        depth = depth_of(x, indices, "C2")
        return (tensor_type((*indices.shape[:-1], *x.shape[depth:]), x.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        x, indices = operands
        depth = indices.shape[-1]
        require_rows_in_range(indices, x.shape[:depth])
        return [np.asarray(x[tuple(np.moveaxis(indices, -1, 0))], x.dtype)]


@irdl_op_definition
class TakeAlongAxis(Op):
    """Each element of the result is x's at the same place but for `axis`, where the index stands.

    C1: the axis is in range. C2: indices are integers. C3: indices have x's rank and, but for the axis, its sizes.
    """

    name = "df.take_along_axis"
    axis = prop_def(Int)
    x = operand_def()
    indices = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ANY

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        x, indices = (spec_of(t) for t in operands)
        axis = attributes["axis"]
        if not 0 <= axis < len(x.shape):
            raise InvalidArgument(f"axis must be within rank {len(x.shape)}, got {axis}", label="C1")
        require_integer(indices, "C2")
        if (*x.shape[:axis], *indices.shape[axis : axis + 1], *x.shape[axis + 1 :]) != indices.shape:
            raise InvalidArgument(f"sizes must match outside axis {axis}, got {x} and {indices}", label="C3")
        return (tensor_type(indices.shape, x.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (x, indices), axis = operands, attributes["axis"]
        require_in_range(indices, x.shape[axis])
        return [np.take_along_axis(x, indices.astype(np.int64), axis)]


class TensorScatter(Op):
    """x with `updates`, of shape (*indices.shape[:-1], *x.shape[depth:]), brought into the parts that the rows of the
    last axis of `indices` name.

    C1: the dtype is of a kind that the op takes. C2: updates have x's dtype. C3: indices are integers. C4: the depth,
    the size of the last axis of indices, is 1 to x's rank. C5: the shape of updates follows from the others.
    """

    x = operand_def()
    indices = operand_def()
    updates = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = NUMERIC
    NUMPY: ClassVar[np.ufunc]

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        x, indices, updates = (spec_of(t) for t in operands)
        require_kind(x.dtype, cls.KINDS, "C1")
        if updates.dtype is not x.dtype:
            raise InvalidType(f"updates must have the dtype {x.dtype}, got {updates.dtype}", label="C2")
        require_integer(indices, "C3")
        shape: Shape = (*indices.shape[:-1], *x.shape[depth_of(x, indices, "C4") :])
        if updates.shape != shape:
            raise InvalidArgument(
                f"updates must have the shape {shape_text(shape)} for indices into {x} of shape "
                f"{shape_text(indices.shape)}, got {shape_text(updates.shape)}",
                label="C5",
            )
        return (operands[0],)

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        x, indices, updates = operands
        depth = indices.shape[-1]
        require_rows_in_range(indices, x.shape[:depth])
        result = np.array(x)
        with np.errstate(all="ignore"):
            cls.scatter(result, tuple(np.moveaxis(indices, -1, 0)), updates)
        return [result]

    @classmethod
    def scatter(cls, result: Array, places: tuple[Array, ...], updates: Array) -> None:
        """Bring the updates into `result`."""
        cls.NUMPY.at(result, places, updates)


@irdl_op_definition
class TensorScatterUpdate(TensorScatter):
    """The parts that are named are replaced; of equal indices the last one wins. With `unique`, a promise that no two
    rows of indices are equal, compiled code doesn't look for them, and which one wins is open."""

    name = "df.tensor_scatter_update"
    unique = prop_def(Flag)
    KINDS: ClassVar = ANY

    @classmethod
    def scatter(cls, result: Array, places: tuple[Array, ...], updates: Array) -> None:
        flat = [p.ravel() for p in places]
        result[tuple(flat)] = updates.reshape(len(flat[0]), *result.shape[len(places) :])


@irdl_op_definition
class TensorScatterAdd(TensorScatter):
    """Updates are added; those of equal indices all are. Integers wrap; 16-bit floats round after each."""

    name = "df.tensor_scatter_add"
    NUMPY: ClassVar = np.add


@irdl_op_definition
class TensorScatterMul(TensorScatter):
    """The parts that are named are multiplied by updates, by all of equal indices. Integers wrap."""

    name = "df.tensor_scatter_mul"
    NUMPY: ClassVar = np.multiply


@irdl_op_definition
class TensorScatterDiv(TensorScatter):
    """The parts that are named are divided by updates, by all of equal indices one after the other."""

    name = "df.tensor_scatter_div"
    KINDS: ClassVar = INEXACT
    NUMPY: ClassVar = np.divide


@irdl_op_definition
class TensorScatterMin(TensorScatter):
    """The smaller of x and updates; NaN if either is."""

    name = "df.tensor_scatter_min"
    KINDS: ClassVar = ORDERED
    NUMPY: ClassVar = np.minimum


@irdl_op_definition
class TensorScatterMax(TensorScatter):
    """The larger of x and updates; NaN if either is."""

    name = "df.tensor_scatter_max"
    KINDS: ClassVar = ORDERED
    NUMPY: ClassVar = np.maximum


@irdl_op_definition
class LastOccurrence(Op):
    """For each row of the last axis of `indices`, True where no later row is equal: the one that wins when rows are
    written in order. C1: indices are integers. C2: there is a last axis, of static size 1 or more."""

    name = "df.last_occurrence"
    indices = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("int", "uint")

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        indices = spec_of(operands[0])
        require_integer(indices, "C1")
        depth = indices.shape[-1] if indices.shape else None
        if not isinstance(depth, int) or depth < 1:
            raise InvalidArgument(f"indices need a last axis of static size 1 or more, got {indices}", label="C2")
        return (tensor_type(indices.shape[:-1], bool_),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (indices,) = operands
        rows = indices.reshape(-1, indices.shape[-1])
        last = {tuple(row): i for i, row in enumerate(rows.tolist())}
        wins = np.zeros(len(rows), bool)
        wins[list(last.values())] = True
        return [wins.reshape(indices.shape[:-1])]


def require_starts(starts: list[Spec], rank: int, labels: tuple[str, str]) -> None:
    """Raise unless there is one start an axis (the first label), all integer scalars of one dtype (the second)."""
    if len(starts) != rank:
        raise InvalidArgument(f"one start an axis is needed, got {len(starts)} for rank {rank}", label=labels[0])
    if any(s.shape or not s.dtype.is_integer or s.dtype is not starts[0].dtype for s in starts):
        listed = " and ".join(map(str, starts))
        raise InvalidType(f"starts must be integer scalars of one dtype, got {listed}", label=labels[1])


def window(starts: Arrays, sizes: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    """The window of these sizes, moved into `shape` where it reaches beyond."""
    begins = [min(max(int(s), 0), n - size) for s, size, n in zip(starts, sizes, shape, strict=True)]
    return tuple(slice(a, a + size) for a, size in zip(begins, sizes, strict=True))


@irdl_op_definition
class DynamicSlice(Op):
    """The window of `sizes` at starts that are data. A start from which the window would reach beyond x is moved.

    C1: one start an axis. C2: starts are integer scalars of one dtype. C3: one size an axis, at most that of x where
    that can be told.
    """

    name = "df.dynamic_slice"
    sizes = prop_def(Dims)
    x = operand_def()
    starts = var_operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ANY

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        x, *starts = (spec_of(t) for t in operands)
        sizes = attributes["sizes"]
        require_starts(starts, len(x.shape), ("C1", "C2"))
        if len(sizes) != len(x.shape) or not fits(sizes, x.shape):
            raise InvalidArgument(f"sizes must be within {shape_text(x.shape)}, got {shape_text(sizes)}", label="C3")
        return (tensor_type(sizes, x.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        x, *starts = operands
        return [x[window(starts, attributes["sizes"], x.shape)]]


def fits(sizes: Shape, shape: Shape) -> bool:
    """Whether a window fits into a shape, as far as that can be told."""
    pairs = zip(sizes, shape, strict=True)
    return all(not (isinstance(a, int) and isinstance(b, int)) or 0 <= a <= b for a, b in pairs)


@irdl_op_definition
class DynamicUpdateSlice(Op):
    """x with `update` in the place of the window of its shape at starts that are data. A start from which the window
    would reach beyond x is moved.

    C1: equal dtypes. C2: update has x's rank and is not larger, where that can be told. C3: one start an axis.
    C4: starts are integer scalars of one dtype.
    """

    name = "df.dynamic_update_slice"
    x = operand_def()
    update = operand_def()
    starts = var_operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ANY

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        x, update, *starts = (spec_of(t) for t in operands)
        if x.dtype is not update.dtype:
            raise InvalidType(f"operands must have equal dtypes, got {x.dtype} and {update.dtype}", label="C1")
        if len(update.shape) != len(x.shape) or not fits(update.shape, x.shape):
            raise InvalidArgument(f"the update must fit into {x}, got {update}", label="C2")
        require_starts(starts, len(x.shape), ("C3", "C4"))
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        x, update, *starts = operands
        result = np.array(x)
        result[window(starts, update.shape, x.shape)] = update
        return [result]


@irdl_op_definition
class Nonzero(Op):
    """The indices of the elements that aren't zero (NaN isn't), in C order, as int32 rows of shape (size, rank): the
    first `size` of them, and rows of `fill` where there are fewer.

    C1: x is not a scalar. C2: the dtype is of a kind that can be zero. C3: `size` is one dimension, not negative.
    """

    name = "df.nonzero"
    size = prop_def(Dims)
    fill = prop_def(Int)
    x = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("bool", *NUMERIC)

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        x, size = spec_of(operands[0]), attributes["size"]
        if not x.shape:
            raise InvalidArgument(f"x must have an axis, got {x}", label="C1")
        require_kind(x.dtype, cls.KINDS, "C2")
        if len(size) != 1 or (isinstance(size[0], int) and size[0] < 0):
            raise InvalidArgument(f"size must be one dimension, not negative, got {size}", label="C3")
        return (tensor_type((size[0], len(x.shape)), int32),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (x,), (size,) = operands, attributes["size"]
        rows = np.argwhere(x != 0)[:size]
        result = np.full((size, x.ndim), attributes["fill"], np.int32)
        result[: len(rows)] = rows
        return [result]
