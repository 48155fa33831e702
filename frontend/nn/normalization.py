"""Normalisation, made of primitive operations. 16-bit floats are computed in float32; results have x's dtype."""

from __future__ import annotations

from collections.abc import Sequence

from dfc.errors import InvalidArgument
from dfc.frontend.defaults import default_float
from dfc.frontend.immediate import operation
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.elementwise import astype, rsqrt, square
from dfc.frontend.ops.reduction import mean as reduce_mean
from dfc.frontend.ops.shape import axes_in, axis_in, error_here, reshape
from dfc.frontend.tensor import Operand, Tensor
from dfc.ir.dtypes import DType, float32
from dfc.ir.types import spec_of


def _wide(x: Operand) -> tuple[Tensor, DType]:
    """x in the dtype that is computed in, and the dtype of the result."""
    tensor = asarray(x)
    dtype = tensor.dtype if tensor.dtype.is_inexact else default_float()
    return astype(tensor, float32 if dtype.bits == 16 else dtype), dtype


def _moments(x: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean and variance over the axes, which stay with size 1."""
    mean = reduce_mean(x, axis=axes, keepdims=True)
    return mean, reduce_mean(square(x - mean), axis=axes, keepdims=True)


def _placed(parameter: Operand, x: Tensor, axes: Sequence[int], name: str, op: str) -> Tensor:
    """A parameter whose axes are these of x, ready to broadcast. Raises InvalidArgument for another shape."""
    tensor = asarray(parameter)
    if tensor.shape != tuple(x.shape[a] for a in axes):
        raise error_here(
            InvalidArgument,
            f"{name} must have the sizes of axes {tuple(axes)} of x, got {spec_of(tensor._type)} for "
            f"{spec_of(x._type)}",
            op,
        )
    wide = astype(tensor, x.dtype)
    return (
        wide
        if tuple(axes) == tuple(range(x.ndim - len(axes), x.ndim))
        else reshape(wide, tuple(d if i in axes else 1 for i, d in enumerate(x.shape)))
    )


def _scaled(
    y: Tensor, scale: Operand | None, offset: Operand | None, axes: Sequence[int], dtype: DType, op: str
) -> Tensor:
    if scale is not None:
        y = y * _placed(scale, y, axes, "scale", op)
    if offset is not None:
        y = y + _placed(offset, y, axes, "offset", op)
    return astype(y, dtype)


@operation
def batch_norm(
    x: Operand,
    /,
    scale: Operand | None = None,
    offset: Operand | None = None,
    *,
    mean: Operand | None = None,
    variance: Operand | None = None,
    epsilon: float = 1e-5,
    axis: int = -1,
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, mean, variance) with y = (x - mean) / sqrt(variance + epsilon) * scale + offset.

    Mean and variance are over all axes but `axis`, that of features (Ioffe and Szegedy 2015): of this batch, for
    training, or those given, for inference. They come back as vectors with one entry a feature, in float32 for 16-bit
    x, for moving averages; the variance is the mean of squared distances (no correction).

    Raises InvalidArgument where one of mean and variance is given without the other, or for vectors of another size.
    """
    if (mean is None) != (variance is None):
        raise error_here(InvalidArgument, "mean and variance must be given together", "batch_norm")
    wide, dtype = _wide(x)
    at = axis_in(axis, wide.ndim, "batch_norm")
    if mean is None or variance is None:
        others = [a for a in range(wide.ndim) if a != at]
        centre, spread = _moments(wide, others)
        size = (wide.shape[at],)
        statistics = reshape(centre, size), reshape(spread, size)
    else:
        centre = _placed(mean, wide, (at,), "mean", "batch_norm")
        spread = _placed(variance, wide, (at,), "variance", "batch_norm")
        statistics = astype(mean, wide.dtype), astype(variance, wide.dtype)
    y = (wide - centre) * rsqrt(spread + epsilon)
    return _scaled(y, scale, offset, (at,), dtype, "batch_norm"), *statistics


@operation
def layer_norm(
    x: Operand,
    /,
    scale: Operand | None = None,
    offset: Operand | None = None,
    *,
    axis: int | Sequence[int] = -1,
    epsilon: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, each example by itself: mean and variance are over `axis`
    (Ba et al. 2016), and scale and offset have the sizes of these axes. Raises InvalidArgument for other sizes."""
    wide, dtype = _wide(x)
    axes = axes_in(axis, wide.ndim, "layer_norm")
    mean, variance = _moments(wide, axes)
    y = (wide - mean) * rsqrt(variance + epsilon)
    return _scaled(y, scale, offset, axes, dtype, "layer_norm")


@operation
def rms_norm(
    x: Operand, /, scale: Operand | None = None, *, axis: int | Sequence[int] = -1, epsilon: float = 1e-6
) -> Tensor:
    """x / sqrt(mean of squares + epsilon) * scale, over `axis` (Zhang and Sennrich 2019). See `layer_norm`."""
    wide, dtype = _wide(x)
    axes = axes_in(axis, wide.ndim, "rms_norm")
    y = wide * rsqrt(reduce_mean(square(wide), axis=axes, keepdims=True) + epsilon)
    return _scaled(y, scale, None, axes, dtype, "rms_norm")


@operation
def group_norm(
    x: Operand,
    /,
    scale: Operand | None = None,
    offset: Operand | None = None,
    *,
    groups: int,
    axis: int = -1,
    epsilon: float = 1e-5,
) -> Tensor:
    """As `layer_norm`, over each of `groups` runs of features (along `axis`) and all spatial axes of an example (Wu and
    He 2018); axis 0 is the batch. scale and offset have one entry a feature.

    One group a feature is instance normalisation. Raises InvalidArgument where groups don't divide the features.
    """
    wide, dtype = _wide(x)
    at = axis_in(axis, wide.ndim, "group_norm")
    features = wide.shape[at]
    if at == 0 or groups < 1 or not isinstance(features, int) or features % groups:
        raise error_here(
            InvalidArgument,
            f"groups must divide the features along an axis other than 0, got {groups} groups along axis {at} of "
            f"{spec_of(wide._type)}",
            "group_norm",
        )
    cut = reshape(wide, (*wide.shape[:at], groups, features // groups, *wide.shape[at + 1 :]))
    mean, variance = _moments(cut, [a for a in range(1, cut.ndim) if a != at])
    y = reshape((cut - mean) * rsqrt(variance + epsilon), wide.shape)
    return _scaled(y, scale, offset, (at,), dtype, "group_norm")
