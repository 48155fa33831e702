"""Clipping of gradients, made of primitive operations; lists of gradients keep their None entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dfc.errors import InvalidArgument
from dfc.frontend.immediate import operation
from dfc.frontend.indexed_slices import IndexedSlices, deduplicated
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.elementwise import add_n, astype, divide, maximum, multiply, sqrt, square, where
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.shape import error_here
from dfc.frontend.promotion import align
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.ir.ops.elementwise import Clamp
from dfc.ir.types import spec_of

Gradient = Tensor | IndexedSlices | None
Grads = Sequence[Any]
"""Tensors, IndexedSlices, or None."""


@operation
def clip_by_value(x: Operand, low: Operand, high: Operand, /) -> Tensor:
    """Every element brought into [low, high]. The gradient passes to x where low <= x <= high, at the bounds too, as
    in `dfc.nn.clip`; else to the bound."""
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    values = align(trace, "clip_by_value", (x, low, high))
    dtype = spec_of(values[0].type).dtype
    for i, bound in enumerate((low, high), 1):
        own = align(trace, "clip_by_value", (bound,), dtype)[0]
        values[i] = own if spec_of(own.type).shape == () else values[i]  # a scalar stays one
    return trace.emit(Clamp, values)


@operation
def clip_by_norm(x: Operand, limit: Operand, /, *, axis: int | Sequence[int] | None = None) -> Tensor:
    """x scaled down to the L2 norm `limit` where its norm is larger; the norm is over `axis`, or all of x."""
    tensor = asarray(x)
    squares = reduce_sum(square(tensor), axis=axis, keepdims=True)
    positive = squares > 0  # the root has no gradient at 0
    norm = where(positive, sqrt(where(positive, squares, 1)), 0)
    return multiply(tensor, divide(limit, maximum(norm, limit)))


def global_norm(grads: Grads) -> Tensor:
    """The L2 norm of all gradients together, in the first one's dtype; a sparse one counts as the tensor that it stands
    for. Raises InvalidArgument where there is none."""
    return _global_norm([deduplicated(g).values if isinstance(g, IndexedSlices) else g for g in grads if g is not None])


@operation
def _global_norm(grads: list[Operand]) -> Tensor:
    if not grads:
        raise error_here(InvalidArgument, "at least one gradient is needed", "global_norm")
    tensors = [asarray(g) for g in grads]
    return sqrt(add_n([astype(reduce_sum(square(t)), tensors[0].dtype) for t in tensors]))


def clip_by_global_norm(grads: Grads, limit: Operand, norm: Operand | None = None) -> tuple[list[Gradient], Tensor]:
    """The gradients, all scaled by one factor so that their norm together is at most `limit` (Pascanu et al. 2013), and
    what the norm was. Sparse ones stay sparse. A norm that is not finite makes them all NaN, so that it does not pass
    unseen."""
    known = asarray(norm) if norm is not None else global_norm(grads)

    def clipped(gradient: Any) -> Gradient:
        if isinstance(gradient, IndexedSlices):
            return IndexedSlices(_scaled(gradient.values, known, limit), gradient.indices, gradient.dense_shape)
        return None if gradient is None else _scaled(gradient, known, limit)

    return [clipped(g) for g in grads], known


@operation
def _scaled(gradient: Operand, norm: Operand, limit: Operand) -> Tensor:
    tensor, length = asarray(gradient), asarray(norm)
    factor = limit / maximum(length, limit) + (length - length)  # the last term is 0, or NaN where it isn't finite
    return tensor * astype(factor, tensor.dtype)


__all__ = ["clip_by_global_norm", "clip_by_norm", "clip_by_value", "global_norm"]
