"""Sorting, selection and sets. NaN is larger than every number, and comes last in ascending order."""

from __future__ import annotations

from typing import NamedTuple

from dfc.errors import InvalidArgument
from dfc.frontend.defaults import default_int
from dfc.frontend.immediate import operation
from dfc.frontend.ops.elementwise import astype, floor, logical_and, logical_not, where
from dfc.frontend.ops.indexing import take
from dfc.frontend.ops.reduction import any as reduce_any
from dfc.frontend.ops.shape import axis_in, dim_size, error_here, expand_dims, permute_dims, reshape
from dfc.frontend.promotion import result_type, tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import require_trace
from dfc.ir.ops import sorting as ir


class TopK(NamedTuple):
    """What `top_k` gives."""

    values: Tensor
    indices: Tensor


class Unique(NamedTuple):
    """What `unique` gives; `number` is how many distinct elements there are, whatever the size."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor
    number: Tensor


def _given(x: Operand, name: str) -> Tensor:
    return tensor_in(require_trace(name), x)


@operation
def sort(x: Operand, /, *, axis: int = -1, descending: bool = False) -> Tensor:
    """The elements in order along `axis`; gradients go back to where each came from."""
    tensor = _given(x, "sort")
    attributes = {"axis": axis_in(axis, tensor.ndim, "sort"), "descending": descending}
    return require_trace("sort").emit(ir.Sort, (tensor._value,), attributes)


@operation
def sort_by(keys: Operand, /, *others: Operand, axis: int = -1, descending: bool = False) -> tuple[Tensor, ...]:
    """The keys in order along `axis`, and every other tensor, of the keys' shape, in the same order."""
    trace, tensor = require_trace("sort_by"), _given(keys, "sort_by")
    values = [tensor._value, *(_given(other, "sort_by")._value for other in others)]
    attributes = {"axis": axis_in(axis, tensor.ndim, "sort_by"), "descending": descending}
    results = trace.emit_op(ir.Sort, values, attributes).results
    return tuple(Tensor(result.type, trace, result) for result in results)


@operation
def argsort(x: Operand, /, *, axis: int = -1, descending: bool = False) -> Tensor:
    """The indices, in the default int, that put x in order along `axis`; those of equal elements ascend."""
    tensor = _given(x, "argsort")
    attributes = {"axis": axis_in(axis, tensor.ndim, "argsort"), "descending": descending, "dtype": default_int()}
    return require_trace("argsort").emit(ir.ArgSort, (tensor._value,), attributes)


@operation
def top_k(x: Operand, k: int, /) -> TopK:
    """The k largest elements along the last axis, from the largest on, and their indices, int32.

    NaN is the largest; of equal elements the first comes first. Raises InvalidArgument for a k that is negative or
    larger than the axis.
    """
    trace, tensor = require_trace("top_k"), _given(x, "top_k")
    op = trace.emit_op(ir.TopK, (tensor._value,), {"k": k})
    return TopK(*(Tensor(result.type, trace, result) for result in op.results))


@operation
def unique(x: Operand, /, *, size: int) -> Unique:
    """The distinct elements of x, flattened, in ascending order: the first `size` of them.

    `values`, `indices` (of first occurrences) and `counts` have `size` elements, which are 0, the number of elements of
    x, and 0 where x has fewer distinct ones; `inverse_indices` has the shape of x and says which distinct element each
    is. Sizes have to be known before the data are, so `size` must be given; `number` says whether it was enough.
    """
    trace, tensor = require_trace("unique"), _given(x, "unique")
    op = trace.emit_op(ir.Unique, (reshape(tensor, (-1,))._value,), {"size": size})
    found = Unique(*(Tensor(result.type, trace, result) for result in op.results))
    return found._replace(inverse_indices=reshape(found.inverse_indices, tensor.shape))


@operation
def searchsorted(ordered: Operand, wanted: Operand, /, *, side: str = "left") -> Tensor:
    """Where each wanted value belongs in the sorted vector, int32: how many of its elements are smaller
    (`side="left"`), or not larger (`"right"`)."""
    if side not in ("left", "right"):
        raise error_here(InvalidArgument, f"side must be 'left' or 'right', got {side!r}", "searchsorted")
    line, values = _given(ordered, "searchsorted"), _given(wanted, "searchsorted")
    dtype = result_type(line, values)
    operands = (astype(line, dtype)._value, astype(values, dtype)._value)
    return require_trace("searchsorted").emit(ir.SearchSorted, operands, {"right": side == "right"})


@operation
def isin(x: Operand, elements: Operand, /) -> Tensor:
    """Whether each element of x is one of `elements`."""
    tensor, listed = _given(x, "isin"), reshape(_given(elements, "isin"), (-1,))
    return reduce_any(expand_dims(tensor, axis=-1) == listed, axis=-1)


@operation
def quantile(x: Operand, q: Operand, /, *, axis: int | None = None) -> Tensor:
    """The q-quantiles along `axis` (None: of all elements), between two elements on the line through them; q, from 0 to
    1, is a scalar or a vector, whose axis comes first in the result. NaN where x has one, where x is empty, and for q
    outside of [0, 1]."""
    tensor, wanted = _given(x, "quantile"), _given(q, "quantile")
    if not tensor.dtype.is_floating:
        raise error_here(InvalidArgument, f"x must be floating, got {tensor.dtype}", "quantile")
    if wanted.ndim > 1:
        raise error_here(InvalidArgument, f"q must be a scalar or a vector, got rank {wanted.ndim}", "quantile")
    flat = reshape(tensor, (-1,)) if axis is None else tensor
    at = 0 if axis is None else axis_in(axis, flat.ndim, "quantile")
    last = permute_dims(flat, (*(i for i in range(flat.ndim) if i != at), at))
    ordered, at_end = sort(last), last.ndim - 1
    wide = "float64" if tensor.dtype.bits == 64 else "float32"
    part, count = astype(reshape(wanted, (-1,)), "float64"), dim_size(last, at_end)
    place = part * astype(count - 1, "float64")  # in x's own dtype it could be off by whole elements
    low = floor(place)
    lower, upper = (astype(take(ordered, astype(p, "int32"), axis=at_end), wide) for p in (low, low + (place > low)))
    found = where(place == low, lower, lower + (upper - lower) * astype(place - low, wide))
    defined = logical_and(logical_and(part >= 0, part <= 1), count > 0)
    number = logical_and(defined, logical_not(reduce_any(last != last, axis=-1, keepdims=True)))
    found = astype(where(number, found, float("nan")), tensor.dtype)
    moved = permute_dims(found, (found.ndim - 1, *range(found.ndim - 1)))
    return reshape(moved, moved.shape[1:]) if wanted.ndim == 0 else moved


@operation
def median(x: Operand, /, *, axis: int | None = None) -> Tensor:
    """The median along `axis` (None: of all elements); of an even number of elements the mean of the middle two."""
    return quantile(x, 0.5, axis=axis)
