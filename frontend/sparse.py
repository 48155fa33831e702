"""`dfc.sparse`: tensors of which only some elements are written down, as a tuple of dense tensors (indices, values,
shape). The IR knows no sparse values: every operation here is made of dense ones, so it compiles, and gradients pass to
the values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import strings
from dfc.frontend.immediate import located, operation
from dfc.frontend.ops.constant import arange, asarray, zeros
from dfc.frontend.ops.elementwise import astype, where
from dfc.frontend.ops.indexing import argwhere, gather_nd, take, tensor_scatter_add
from dfc.frontend.ops.reduction import all as reduce_all
from dfc.frontend.ops.reduction import sum as dense_sum
from dfc.frontend.ops.segment import segment_sum
from dfc.frontend.ops.shape import axis_in, concat, error_here, expand_dims, reshape, stack
from dfc.frontend.ops.sorting import argsort, unique
from dfc.frontend.promotion import result_type
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.ir.dtypes import DType, int64


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """A tensor of shape `shape` that is zero but for `values[i]` at `indices[i]`.

    `indices` has shape (m, n) and is converted to int64, `values` has shape (m,), `shape` is n ints, which are static.
    Elements that stand at one place more than once add up, wherever the tensor is read. Order is free; `reorder` and
    `coalesce` make it that of C. Works as argument and result of `dfc.function`; `SparseTensor(*parts)` of the parts
    gives it back. Indices outside the shape are left out by compiled code. Raises InvalidArgument for shapes that
    don't fit, InvalidType for other indices than integers.
    """

    indices: Tensor
    values: Tensor
    shape: tuple[int, ...] = field(metadata={"static": True})

    def __post_init__(self) -> None:
        sizes = self.shape.numpy().tolist() if isinstance(self.shape, Tensor) else self.shape
        object.__setattr__(self, "shape", tuple(int(size) for size in sizes))
        indices, values = asarray(self.indices), asarray(self.values)
        if not indices.dtype.is_integer:
            raise error_here(InvalidType, f"indices must be integers, got {indices.dtype}", "SparseTensor")
        if indices.ndim != 2 or indices.shape[1] != len(self.shape) or values.shape != indices.shape[:1]:
            raise error_here(
                InvalidArgument,
                "indices must have shape (m, n) and values (m,) for a shape of n sizes, got "
                f"{indices.shape}, {values.shape} and {self.shape}",
                "SparseTensor",
            )
        object.__setattr__(self, "indices", astype(indices, int64))
        object.__setattr__(self, "values", values)

    @property
    def dtype(self) -> DType:
        return self.values.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __iter__(self) -> Any:
        """The parts: indices, values, shape."""
        return iter((self.indices, self.values, self.shape))

    def to_dense(self) -> Tensor:
        """See `dfc.sparse.to_dense`."""
        return to_dense(self)

    def __add__(self, other: SparseTensor) -> SparseTensor:
        return add(self, other)

    def __matmul__(self, other: Operand) -> Tensor:
        return matmul(self, other)

    def __repr__(self) -> str:
        return f"SparseTensor(indices={self.indices!r}, values={self.values!r}, shape={self.shape})"


def _require(x: object, name: str) -> SparseTensor:
    if not isinstance(x, SparseTensor):
        raise error_here(InvalidType, f"a SparseTensor is needed, got a {type(x).__name__}", name)
    return x


def _flat(indices: Tensor, shape: Sequence[int]) -> Tensor:
    """The place of each element in C order, as int64."""
    strides = [prod(shape[i + 1 :]) for i in range(len(shape))]
    return dense_sum(indices * asarray(strides, dtype=int64), axis=1, dtype=int64)


def _places(flat: Tensor, shape: Sequence[int]) -> Tensor:
    """The indices of places in C order."""
    columns = [flat // prod(shape[i + 1 :]) % size for i, size in enumerate(shape)]
    return stack(columns, axis=1)


@located
def from_dense(x: Operand, /, *, size: int) -> SparseTensor:
    """The elements of x that aren't zero, in C order: the first `size` of them. Where there are fewer, the rest are
    zeros at the place of the first element."""
    return _from_dense(x, size)


@operation
def _from_dense(x: Operand, size: int) -> SparseTensor:
    tensor = asarray(x)
    places = argwhere(tensor, size=size, fill_value=-1)
    known = places[:, 0] >= 0
    places = where(expand_dims(known, axis=1), places, 0)
    return SparseTensor(places, where(known, gather_nd(tensor, places), 0), _static(tensor.shape, "from_dense"))


def _static(shape: Sequence[Any], name: str) -> tuple[int, ...]:
    if any(not isinstance(size, int) for size in shape):
        raise error_here(InvalidArgument, f"a sparse tensor has a static shape, got {tuple(shape)}", name)
    return tuple(shape)


@operation
def to_dense(x: SparseTensor, /) -> Tensor:
    """The tensor with every element; those that stand at one place add up."""
    _require(x, "to_dense")
    return tensor_scatter_add(zeros(x.shape, dtype=x.dtype), x.indices, x.values)


@operation
def add(x: SparseTensor, y: SparseTensor, /) -> SparseTensor:
    """The sum: the elements of both, one after another; `coalesce` joins those of one place."""
    if _require(x, "add").shape != _require(y, "add").shape:
        raise error_here(InvalidArgument, f"the shapes must be equal, got {x.shape} and {y.shape}", "add")
    dtype = result_type(x.values, y.values)
    values = concat([astype(x.values, dtype), astype(y.values, dtype)])
    return SparseTensor(concat([x.indices, y.indices]), values, x.shape)


@operation
def matmul(x: SparseTensor, y: Operand, /) -> Tensor:
    """The dense product of a sparse matrix (r, c) and a dense one (c, k), or a vector (c,). The work goes with the
    number of elements times k. Gradients pass to the values and to y."""
    if _require(x, "matmul").ndim != 2:
        raise error_here(InvalidArgument, f"a sparse matrix is needed, got shape {x.shape}", "matmul")
    dense = asarray(y)
    if dense.ndim not in (1, 2) or dense.shape[0] != x.shape[1]:
        raise error_here(
            InvalidArgument, f"the inner sizes must be equal, got shapes {x.shape} and {dense.shape}", "matmul"
        )
    dtype = result_type(x.values, dense)
    values, rows = astype(x.values, dtype), take(astype(dense, dtype), x.indices[:, 1], axis=0)
    terms = rows * (values if dense.ndim == 1 else expand_dims(values, axis=1))
    return segment_sum(terms, x.indices[:, 0], x.shape[0])


@operation
def reduce_sum(x: SparseTensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The sum along `axis`, one or several or all, as a dense tensor."""
    rank = _require(x, "reduce_sum").ndim
    listed = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
    axes = {axis_in(a, rank, "reduce_sum") for a in listed}
    kept = [i for i in range(rank) if i not in axes]
    shape = [x.shape[i] for i in kept]
    if kept:
        rows = take(x.indices, asarray(kept, dtype=int64), axis=1)
        total = tensor_scatter_add(zeros(tuple(shape), dtype=x.dtype), rows, x.values)
    else:
        total = dense_sum(x.values, dtype=x.dtype)
    return reshape(total, tuple(1 if i in axes else n for i, n in enumerate(x.shape))) if keepdims else total


@operation
def slice(x: SparseTensor, start: Sequence[int], size: Sequence[int], /) -> SparseTensor:
    """The part of `size` from `start` on, each an int an axis. It has as many elements as x: those outside of it become
    zeros at its first place."""
    if len(start) != _require(x, "slice").ndim or len(size) != x.ndim:
        raise error_here(InvalidArgument, f"one start and size an axis of {x.shape} is needed", "slice")
    if any(a < 0 or n < 0 or a + n > d for a, n, d in zip(start, size, x.shape, strict=True)):
        raise error_here(
            InvalidArgument, f"the part {tuple(size)} from {tuple(start)} on must lie within {x.shape}", "slice"
        )
    moved = x.indices - asarray(list(start), dtype=int64)
    inside = reduce_all((moved >= 0) & (moved < asarray(list(size), dtype=int64)), axis=1)
    places = where(expand_dims(inside, axis=1), moved, 0)
    return SparseTensor(places, where(inside, x.values, 0), tuple(size))


@operation
def transpose(x: SparseTensor, /, axes: Sequence[int] | None = None) -> SparseTensor:
    """Axis i of the result is axis axes[i] of x; without `axes` their order is reversed."""
    rank = _require(x, "transpose").ndim
    order = list(reversed(range(rank))) if axes is None else [axis_in(a, rank, "transpose") for a in axes]
    if sorted(order) != list(range(rank)):
        raise error_here(InvalidArgument, f"axes must name each of {rank} axes once, got {axes}", "transpose")
    columns = take(x.indices, asarray(order, dtype=int64), axis=1)
    return SparseTensor(columns, x.values, tuple(x.shape[a] for a in order))


@operation
def reorder(x: SparseTensor, /) -> SparseTensor:
    """The same elements in C order of their places; those of one place keep their order."""
    order = argsort(_flat(_require(x, "reorder").indices, x.shape))
    return SparseTensor(take(x.indices, order, axis=0), take(x.values, order, axis=0), x.shape)


@operation
def coalesce(x: SparseTensor, /, *, size: int | None = None) -> SparseTensor:
    """Each place once, in C order, with the sum of its elements: the first `size` places, as many as x has elements
    unless it is given. Where there are fewer, the rest are zeros at the place of the first element."""
    m = _require(x, "coalesce").indices.shape[0]
    wanted = m if size is None else size
    if not isinstance(wanted, int):
        raise error_here(InvalidArgument, f"the size must be given where the number of elements is {m}", "coalesce")
    found = unique(_flat(x.indices, x.shape), size=wanted)
    sums = segment_sum(x.values, found.inverse_indices, wanted)
    known = arange(wanted) < found.number
    places = _places(found.values, x.shape)
    return SparseTensor(where(expand_dims(known, axis=1), places, 0), where(known, sums, 0), x.shape)


def map_values(function: Callable[..., Tensor], x: SparseTensor, /, *others: Operand) -> SparseTensor:
    """`function` of the values, and of `others`, at the same places. It has to take 0 to 0 where x has zeros that fill
    up its size, and sums to sums where places are named more than once."""
    values = asarray(function(_require(x, "map_values").values, *others))
    return SparseTensor(x.indices, values, x.shape)


# ---- the other encoding: strings


@operation
def serialize_sparse(x: SparseTensor, /) -> Tensor:
    """A vector of three strings, for indices (int64), values, and shape (int64), each in the layout of
    `dfc.ir.serialized`."""
    _require(x, "serialize_sparse")
    parts = (x.indices, x.values, asarray(list(x.shape), dtype=int64))
    return stack([strings.serialize_tensor(part) for part in parts])


@located
def deserialize_sparse(x: Operand, /, *, size: int, shape: Sequence[int], dtype: Any) -> SparseTensor:
    """The sparse tensor that `serialize_sparse` wrote, which must have this many elements, this shape and this dtype.

    Raises InvalidArgument where it has others, DataLoss for strings that are damaged. In a trace the shape that the
    third string holds is not known, and only its length is compared.
    """
    return _deserialized(asarray(x), size, tuple(shape), dtype)


def _deserialized(x: Tensor, size: int, shape: tuple[int, ...], dtype: Any) -> SparseTensor:
    if x.shape != (3,):
        raise error_here(InvalidArgument, f"a vector of three strings is needed, got {x.shape}", "deserialize_sparse")
    indices = strings.parse_tensor(x[0], shape=(size, len(shape)), dtype=int64)
    values = strings.parse_tensor(x[1], shape=(size,), dtype=dtype)
    written = strings.parse_tensor(x[2], shape=(len(shape),), dtype=int64)
    if current() is None and tuple(written.numpy().tolist()) != shape:
        raise error_here(
            InvalidArgument,
            f"the shape must be the one that was written, {tuple(written.numpy().tolist())}, got {shape}",
            "deserialize_sparse",
        )
    return SparseTensor(indices, values, shape)


__all__ = [
    "SparseTensor",
    "add",
    "coalesce",
    "deserialize_sparse",
    "from_dense",
    "map_values",
    "matmul",
    "reduce_sum",
    "reorder",
    "serialize_sparse",
    "slice",
    "to_dense",
    "transpose",
]
