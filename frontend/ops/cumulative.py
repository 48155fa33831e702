"""Scans along an axis: cumulative sums, products and extremes."""

from __future__ import annotations

from typing import Any

from dfc.frontend.immediate import operation
from dfc.frontend.ops.constant import full
from dfc.frontend.ops.elementwise import astype
from dfc.frontend.ops.reduction import _accumulated
from dfc.frontend.ops.shape import axis_in, concat, reshape
from dfc.frontend.promotion import result_type, tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import require_trace
from dfc.ir.op import Op
from dfc.ir.ops import cumulative as ir


def _scan(cls: type[Op], x: Tensor, axis: int | None, reverse: bool, name: str) -> Tensor:
    trace = require_trace(name)
    flat = reshape(x, (-1,)) if axis is None else x
    at = 0 if axis is None else axis_in(axis, x.ndim, name)
    return trace.emit(cls, (flat._value,), {"axis": at, "reverse": reverse})


@operation
def cumulative_sum(
    x: Operand, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False, reverse: bool = False
) -> Tensor:
    """Sums of the elements so far along `axis` (None: of the flattened x); of small integers and booleans in int32.

    `include_initial` puts a 0 before them, so that the axis is one longer; `reverse` sums from the end.
    """
    summed = _accumulated(tensor_in(require_trace("cumulative_sum"), x), dtype)
    return _with_initial(_scan(ir.CumSum, summed, axis, reverse, "cumulative_sum"), axis, include_initial, reverse, 0)


@operation
def cumulative_prod(
    x: Operand, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False, reverse: bool = False
) -> Tensor:
    """Products of the elements so far; see `cumulative_sum`. `include_initial` puts a 1 before them."""
    given = _accumulated(tensor_in(require_trace("cumulative_prod"), x), dtype)
    return _with_initial(_scan(ir.CumProd, given, axis, reverse, "cumulative_prod"), axis, include_initial, reverse, 1)


def _with_initial(found: Tensor, axis: int | None, include: bool, reverse: bool, value: int) -> Tensor:
    if not include:
        return found
    at = 0 if axis is None else axis % found.ndim
    shape = (*found.shape[:at], 1, *found.shape[at + 1 :])
    parts = [full(shape, value, dtype=found.dtype), found]
    return concat(parts[::-1] if reverse else parts, axis=at)


@operation
def cumulative_max(x: Operand, /, *, axis: int | None = None, reverse: bool = False) -> Tensor:
    """The largest element so far; NaN from the first NaN on."""
    return _scan(ir.CumMax, tensor_in(require_trace("cumulative_max"), x), axis, reverse, "cumulative_max")


@operation
def cumulative_min(x: Operand, /, *, axis: int | None = None, reverse: bool = False) -> Tensor:
    """The smallest element so far; NaN from the first NaN on."""
    return _scan(ir.CumMin, tensor_in(require_trace("cumulative_min"), x), axis, reverse, "cumulative_min")


@operation
def cumulative_logsumexp(x: Operand, /, *, axis: int | None = None, reverse: bool = False) -> Tensor:
    """log(sum(exp(...))) of the elements so far, without overflow. x is floating."""
    given = tensor_in(require_trace("cumulative_logsumexp"), x)
    return _scan(ir.CumLogSumExp, given, axis, reverse, "cumulative_logsumexp")


@operation
def linear_recurrence(factor: Operand, term: Operand, /, *, axis: int = 0, reverse: bool = False) -> Tensor:
    """y[i] = factor[i] * y[i - 1] + term[i] along `axis`, from y[-1] = 0: a scan that takes logarithmically many steps.
    With `reverse` from the end. The operands have one shape and meet in one floating or complex dtype."""
    trace = require_trace("linear_recurrence")
    a, b = tensor_in(trace, factor), tensor_in(trace, term)
    dtype = result_type(a, b)
    at = axis_in(axis, a.ndim, "linear_recurrence")
    values = (astype(a, dtype)._value, astype(b, dtype)._value)
    return trace.emit(ir.LinearRecurrence, values, {"axis": at, "reverse": reverse})
