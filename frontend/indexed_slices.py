"""`dfc.IndexedSlices`: rows of a tensor that is zero elsewhere, the form of sparse gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import operators
from dfc.frontend.immediate import operation
from dfc.frontend.ops.constant import zeros, zeros_like
from dfc.frontend.ops.elementwise import equal, logical_and, where
from dfc.frontend.ops.indexing import take, tensor_scatter_add, tensor_scatter_update
from dfc.frontend.ops.reduction import max as max_
from dfc.frontend.ops.shape import expand_dims, reshape
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.ir import locations
from dfc.ir.dims import Shape
from dfc.ir.dtypes import DType, int32
from dfc.ir.ops.shape import Iota
from dfc.ir.types import Spec


@dataclass(frozen=True, eq=False)
class IndexedSlices:
    """A tensor of shape `dense_shape` that is zero but for the rows `values[i]` at `indices[i]` of its first axis; rows
    of equal indices add up. As TensorFlow's.

    `values` has shape (n, *dense_shape[1:]), `indices` is n integers, `dense_shape` a sequence of ints or a concrete
    vector: sizes are static, as of every tensor. Works as argument and result of `dfc.function`. An operation that
    takes it for a tensor gets `to_dense()`. Raises InvalidArgument for shapes that don't fit, InvalidType for other
    indices than integers.
    """

    values: Tensor
    indices: Tensor
    dense_shape: Shape = field(metadata={"static": True})

    def __post_init__(self) -> None:
        object.__setattr__(self, "dense_shape", _shape(self.dense_shape))
        values, indices = _tensor(self.values), _tensor(self.indices)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "indices", indices)
        if not indices.dtype.is_integer:
            raise _error(InvalidType, f"indices must be integers, got {indices.dtype}")
        if indices.ndim != 1 or not self.dense_shape or values.shape != (*indices.shape, *self.dense_shape[1:]):
            raise _error(
                InvalidArgument,
                "values must have a row of the dense shape for each of a vector of indices, got values of shape "
                f"{values.shape} and indices of shape {indices.shape} for {self.dense_shape}",
            )

    @property
    def shape(self) -> Shape:
        """The dense shape."""
        return self.dense_shape

    @property
    def spec(self) -> Spec:
        return Spec(self.dense_shape, self.dtype)

    @property
    def dtype(self) -> DType:
        return self.values.dtype

    @property
    def ndim(self) -> int:
        return len(self.dense_shape)

    def to_dense(self) -> Tensor:
        """The tensor, with every row."""
        return _dense(self.values, self.indices, self.dense_shape)

    def __dfc_tensor__(self) -> Tensor:
        return self.to_dense()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.to_dense().__array__(dtype, copy)

    __array_ufunc__ = None

    def numpy(self) -> Any:
        """The dense tensor as a NumPy array."""
        return self.to_dense().numpy()

    def __repr__(self) -> str:
        return f"IndexedSlices(values={self.values!r}, indices={self.indices!r}, dense_shape={self.dense_shape})"


operators.install(IndexedSlices)


def deduplicated(slices: IndexedSlices) -> IndexedSlices:
    """The same tensor with the rows of equal indices added up: at the last of them stands the sum, at the others zeros.
    Shapes and indices stay, so that sizes are static.

    What is computed from these rows belongs into `scatter_update`, where the last of equal indices wins: each row that
    is named is then updated once, for the sum of its gradients. Indices that name no row get zeros. The work is the
    smaller of n * n comparisons and a vector of as many integers as the dense tensor has rows.
    """
    values = _deduplicated(slices.values, slices.indices, slices.dense_shape[0])
    return IndexedSlices(values, slices.indices, slices.dense_shape)


@operation
def _dense(values: Operand, indices: Operand, shape: Any) -> Tensor:
    given = _tensor(values)
    return tensor_scatter_add(zeros(shape, dtype=given.dtype), expand_dims(indices, axis=1), given)


@operation
def _deduplicated(values: Operand, indices: Operand, n_rows: Any) -> Tensor:
    trace = current()
    assert trace is not None
    given, places = _tensor(values), _tensor(indices)
    n = places.shape[0]
    inside = logical_and(places >= 0, places < n_rows)  # other indices stand for no row
    given = where(reshape(inside, (n, *[1] * (given.ndim - 1))), given, 0)
    order = trace.emit(Iota, (), {"shape": (n,), "axis": 0, "dtype": int32})
    if isinstance(n, int) and n * n <= n_rows:
        last = max_(where(equal(reshape(places, (n, 1)), reshape(places, (1, n))), order, -1), axis=1)
    else:
        owners = tensor_scatter_update(zeros((n_rows,), dtype=int32), expand_dims(places, axis=1), order)
        last = take(owners, places, axis=0)
    return tensor_scatter_add(zeros_like(given), expand_dims(last, axis=1), given)


def _tensor(value: Operand) -> Tensor:
    if isinstance(value, Tensor):
        return value
    trace = current()
    if trace is not None:
        return tensor_in(trace, value)
    from dfc.frontend.interop import to_tensor

    return to_tensor(value)


def _shape(given: Any) -> Shape:
    if isinstance(given, Sequence):
        return tuple(given)
    if isinstance(given, Tensor) and given._trace is not None:
        raise _error(InvalidType, "the dense shape must be known while tracing: give a sequence of ints")
    from dfc.frontend.interop import to_numpy

    return tuple(int(d) for d in to_numpy(given))


def _error(kind: type[InvalidArgument], message: str) -> InvalidArgument:
    return kind(message, op="IndexedSlices", location=locations.describe(locations.capture()))
