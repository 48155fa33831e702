"""Contractions. Operands meet in one dtype, as in elementwise operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dfc.errors import InvalidArgument
from dfc.frontend import promotion
from dfc.frontend.immediate import operation
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.shape import axis_in, broadcast_to, error_here
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir.dims import Shape
from dfc.ir.ops.linalg import DotGeneral
from dfc.ir.ops.shape import shape_text


def _pair(x1: Operand, x2: Operand) -> tuple[Trace, Tensor, Tensor]:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    a, b = tensor_in(trace, x1), tensor_in(trace, x2)
    if a.dtype is not b.dtype:
        dtype = promotion.result_type(a, b)
        a, b = (Tensor(v.type, trace, v) for v in (trace.convert(t._value, dtype) for t in (a, b)))
    return trace, a, b


def _dot(
    trace: Trace,
    a: Tensor,
    b: Tensor,
    contracting: tuple[Sequence[int], Sequence[int]],
    batch: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> Tensor:
    attributes = {
        "lhs_batch": tuple(batch[0]),
        "rhs_batch": tuple(batch[1]),
        "lhs_contracting": tuple(contracting[0]),
        "rhs_contracting": tuple(contracting[1]),
    }
    return trace.emit(DotGeneral, (a._value, b._value), attributes)


@operation
def matmul(x1: Operand, x2: Operand, /) -> Tensor:
    """The matrix product of the last two axes, (..., m, k) by (..., k, n); the axes before broadcast.

    A vector on the left is a row, one on the right a column, and its axis is gone from the result. Raises
    InvalidArgument for scalars and for sizes that don't match.
    """
    trace, a, b = _pair(x1, x2)
    if not a.ndim or not b.ndim:
        raise error_here(
            InvalidArgument,
            f"a scalar can't be an operand, got shapes {shape_text(a.shape)} and {shape_text(b.shape)}",
            "matmul",
            hint="use * for scalars",
        )
    contract_b = max(b.ndim - 2, 0)
    if b.ndim <= 2:
        return _dot(trace, a, b, ((a.ndim - 1,), (contract_b,)))
    if a.ndim == 1:
        return _dot(trace, a, b, ((0,), (contract_b,)))
    batch = _batch_shape(a.shape, b.shape)
    a, b = (broadcast_to(t, (*batch, *t.shape[-2:])) for t in (a, b))
    axes = range(len(batch))
    return _dot(trace, a, b, ((a.ndim - 1,), (b.ndim - 2,)), (axes, axes))


def _batch_shape(a: Shape, b: Shape) -> Shape:
    if a[-1] != b[-2]:
        raise error_here(
            InvalidArgument,
            f"contracting dimensions must match, got {a[-1]} and {b[-2]} of shapes {shape_text(a)} and {shape_text(b)}",
            "matmul",
        )
    try:
        return promotion.broadcast_shapes(a[:-2], b[:-2])
    except InvalidArgument as error:
        raise error_here(
            InvalidArgument, f"{error.diagnostic.message}, in {shape_text(a)} and {shape_text(b)}", "matmul"
        ) from None


@operation
def tensordot(x1: Operand, x2: Operand, /, *, axes: Any = 2) -> Tensor:
    """Sums of products over axes: the last `axes` of x1 with the first of x2, or a pair of lists of axes."""
    trace, a, b = _pair(x1, x2)
    if isinstance(axes, int):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise error_here(InvalidArgument, f"axes must be within both ranks, got {axes}", "tensordot")
        left, right = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    else:
        first, second = axes
        left = tuple(axis_in(i, a.ndim, "tensordot") for i in first)
        right = tuple(axis_in(i, b.ndim, "tensordot") for i in second)
    return _dot(trace, a, b, (left, right))


@operation
def vecdot(x1: Operand, x2: Operand, /, *, axis: int = -1) -> Tensor:
    """Sums of products along one axis; the others broadcast."""
    _, a, b = _pair(x1, x2)
    if not -min(a.ndim, b.ndim) <= axis < 0:
        raise error_here(InvalidArgument, f"the axis must be negative and within both ranks, got {axis}", "vecdot")
    if a.shape[axis] != b.shape[axis]:
        raise error_here(
            InvalidArgument,
            f"sizes along axis {axis} must match, got {a.shape[axis]} and {b.shape[axis]} of shapes "
            f"{shape_text(a.shape)} and {shape_text(b.shape)}",
            "vecdot",
        )
    return reduce_sum(a * b, axis=axis, dtype=a.dtype)
