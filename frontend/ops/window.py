"""Pooling for neural networks: `dfc.nn.max_pool` and its relatives. For layouts see `dfc.nn.conv`."""

from __future__ import annotations

import math
from typing import Any

from dfc.errors import InvalidArgument
from dfc.frontend.defaults import default_float
from dfc.frontend.immediate import operation
from dfc.frontend.ops.elementwise import astype, pow, square
from dfc.frontend.ops.reduction import max as reduce_max
from dfc.frontend.ops.reduction import mean
from dfc.frontend.ops.shape import axis_in, error_here
from dfc.frontend.promotion import tensor_in
from dfc.frontend.sliding import Padding, Sizes, layout, padding_of, per_axis
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.ir.dtypes import float32
from dfc.ir.op import Op
from dfc.ir.ops.window import WindowMax, WindowSum


def _own(x: Operand) -> Tensor:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    return tensor_in(trace, x)


def _windows(
    x: Tensor, window: Sizes, strides: Sizes | None, padding: Padding, dilation: Sizes, data_format: str, op: str
) -> dict[str, Any]:
    """The attributes of the window, over all axes of x."""
    _, spatial = layout(x.ndim, data_format, op)
    n = len(spatial)
    size = per_axis(window, n, "window", op)
    steps = size if strides is None else per_axis(strides, n, "strides", op)
    apart = per_axis(dilation, n, "dilation", op)
    low, high = padding_of(padding, tuple(x.shape[i] for i in spatial), size, steps, apart, op)
    return _over_axes(x.ndim, spatial, size, steps, low, high, apart)


def _over_axes(
    rank: int, axes: tuple[int, ...], size: Any, strides: Any, low: Any, high: Any, apart: Any
) -> dict[str, Any]:
    def spread(entries: Any, otherwise: int) -> Any:
        found = dict(zip(axes, entries, strict=True))
        return tuple(found.get(i, otherwise) for i in range(rank))

    return {
        "window": spread(size, 1),
        "strides": spread(strides, 1),
        "low": spread(low, 0),
        "high": spread(high, 0),
        "base_dilation": (1,) * rank,
        "window_dilation": spread(apart, 1),
    }


def _emit(cls: type[Op], x: Tensor, attributes: dict[str, Any]) -> Tensor:
    trace = x._trace
    assert trace is not None
    return trace.emit(cls, (x._value,), attributes)


@operation
def max_pool(
    x: Operand,
    /,
    window: Sizes,
    *,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    dilation: Sizes = 1,
    data_format: str = "NHWC",
) -> Tensor:
    """The largest element of each window, NaN if any is; padding is never the largest. x is (batch, spatial...,
    features), see `conv`; `strides` None means the window's sizes. The gradient goes to the first of equal elements.

    Raises InvalidArgument for ranks, formats and sizes that don't fit.
    """
    tensor = _own(x)
    return _emit(WindowMax, tensor, _windows(tensor, window, strides, padding, dilation, data_format, "max_pool"))


@operation
def avg_pool(
    x: Operand,
    /,
    window: Sizes,
    *,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    data_format: str = "NHWC",
    count_include_pad: bool = False,
) -> Tensor:
    """The mean of each window's elements; padding counts as zeros with `count_include_pad`, else not at all, as in
    TensorFlow. Of integers in the default floating dtype; 16-bit floats are summed in float32. See `max_pool`."""
    tensor = _own(x)
    dtype = tensor.dtype if tensor.dtype.is_inexact else default_float()
    wide = astype(tensor, float32 if dtype.bits == 16 else dtype)
    attributes = _windows(wide, window, strides, padding, 1, data_format, "avg_pool")
    total = _emit(WindowSum, wide, attributes)
    if count_include_pad or all(n == 0 for n in (*attributes["low"], *attributes["high"])):
        return astype(total / float(math.prod(attributes["window"])), dtype)
    _, spatial = layout(wide.ndim, data_format, "avg_pool")
    trace = wide._trace
    assert trace is not None
    one = trace.fill(1, wide.dtype, tuple(d if i in spatial else 1 for i, d in enumerate(wide.shape)))
    return astype(total / _emit(WindowSum, Tensor(one.type, trace, one), attributes), dtype)


@operation
def global_max_pool(x: Operand, /, *, data_format: str = "NHWC", keepdims: bool = False) -> Tensor:
    """The largest element over all spatial axes: (batch, features), or with `keepdims` spatial axes of size 1."""
    tensor = _own(x)
    return reduce_max(tensor, axis=layout(tensor.ndim, data_format, "global_max_pool")[1], keepdims=keepdims)


@operation
def global_avg_pool(x: Operand, /, *, data_format: str = "NHWC", keepdims: bool = False) -> Tensor:
    """The mean over all spatial axes: (batch, features), or with `keepdims` spatial axes of size 1."""
    tensor = _own(x)
    return mean(tensor, axis=layout(tensor.ndim, data_format, "global_avg_pool")[1], keepdims=keepdims)


@operation
def local_response_norm(
    x: Operand,
    /,
    *,
    depth_radius: int = 5,
    bias: float = 1.0,
    alpha: float = 1.0,
    beta: float = 0.5,
    axis: int = -1,
) -> Tensor:
    """x / (bias + alpha * s)**beta, where s is the sum of the squares of the 2 * depth_radius + 1 features around each
    along `axis` (fewer at the ends). AlexNet's normalisation (Krizhevsky et al. 2012, section 3.3), with TensorFlow's
    parameters. 16-bit floats are computed in float32.

    Raises InvalidArgument for a negative radius.
    """
    tensor = _own(x)
    if depth_radius < 0:
        raise error_here(
            InvalidArgument, f"depth_radius must not be negative, got {depth_radius}", "local_response_norm"
        )
    dtype = tensor.dtype if tensor.dtype.is_inexact else default_float()
    wide = astype(tensor, float32 if dtype.bits == 16 else dtype)
    at = axis_in(axis, tensor.ndim, "local_response_norm")
    r = (depth_radius,)
    attributes = _over_axes(tensor.ndim, (at,), (2 * depth_radius + 1,), (1,), r, r, (1,))
    total = _emit(WindowSum, square(wide), attributes)
    return astype(wide * pow(total * alpha + bias, -beta), dtype)
