"""Initial values of weights: functions from a shape and a dtype to a NumPy array.

`fan_in` and `fan_out` are the sizes that an element of a weight's result sums over, and feeds: for a shape
(..., inputs, outputs) the product of the leading axes, a kernel's window, times inputs or outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfc.errors import InvalidArgument
from dfc.frontend.generator import host_generator
from dfc.ir import locations
from dfc.ir.dtypes import as_dtype

Initializer = Callable[[Sequence[int], Any], NDArray[Any]]
Given = Initializer | float


def as_initializer(given: Given) -> Initializer:
    """A number stands for a constant. Raises InvalidArgument for anything else that can't be called."""
    if callable(given):
        return given
    if isinstance(given, int | float):
        return constant(given)
    raise InvalidArgument(
        f"an initializer is a function of a shape and a dtype, or a number, got {given!r}",
        location=locations.describe(locations.capture()),
        hint="for example dfc.nn.initializers.glorot_uniform",
    )


def constant(value: float) -> Initializer:
    """Every element `value`."""
    return lambda shape, dtype: np.full(tuple(shape), value, as_dtype(dtype).numpy)


def zeros(shape: Sequence[int], dtype: Any = "float32") -> NDArray[Any]:
    """Every element 0."""
    return constant(0)(shape, dtype)


def ones(shape: Sequence[int], dtype: Any = "float32") -> NDArray[Any]:
    """Every element 1."""
    return constant(1)(shape, dtype)


def normal(stddev: float = 0.05, mean: float = 0.0) -> Initializer:
    """Normally distributed."""
    return lambda shape, dtype: _cast(host_generator().normal(mean, stddev, tuple(shape)), dtype)


def uniform(low: float = -0.05, high: float = 0.05) -> Initializer:
    """Uniform in [low, high)."""
    return lambda shape, dtype: _cast(host_generator().uniform(low, high, tuple(shape)), dtype)


def truncated_normal(stddev: float = 0.05, mean: float = 0.0) -> Initializer:
    """Normally distributed, without what is beyond two standard deviations; `stddev` is that of what remains."""

    def draw(shape: Sequence[int], dtype: Any = "float32") -> NDArray[Any]:
        generator = host_generator()
        values = generator.standard_normal(tuple(shape))
        while (beyond := np.abs(values) > 2).any():
            values[beyond] = generator.standard_normal(int(beyond.sum()))
        return _cast(mean + values * (stddev / _STDDEV_WITHIN_TWO), dtype)

    return draw


_STDDEV_WITHIN_TWO = 0.87962566103423978
"""The standard deviation of a standard normal number that lies within two standard deviations."""


def scaled(mode: str, gain: float, shape_of_draw: str) -> Initializer:
    """Variance `gain / fan`, where `mode` says which fan: "in", "out" or their "average"; drawn from a "uniform" or a
    truncated "normal" distribution."""

    def draw(shape: Sequence[int], dtype: Any = "float32") -> NDArray[Any]:
        fan_in, fan_out = fans(shape)
        fan = {"in": fan_in, "out": fan_out, "average": (fan_in + fan_out) / 2}[mode]
        stddev = math.sqrt(gain / max(fan, 1))
        if shape_of_draw == "uniform":
            return uniform(-stddev * math.sqrt(3), stddev * math.sqrt(3))(shape, dtype)
        return truncated_normal(stddev)(shape, dtype)

    return draw


def fans(shape: Sequence[int]) -> tuple[float, float]:
    """fan_in and fan_out of a weight of this shape; a vector feeds each element alone."""
    if len(shape) < 2:
        size = float(shape[0]) if shape else 1.0
        return size, size
    window = math.prod(shape[:-2])
    return float(window * shape[-2]), float(window * shape[-1])


glorot_uniform = scaled("average", 1.0, "uniform")  # Glorot and Bengio 2010
glorot_normal = scaled("average", 1.0, "normal")
he_uniform = scaled("in", 2.0, "uniform")  # He et al. 2015
he_normal = scaled("in", 2.0, "normal")
lecun_uniform = scaled("in", 1.0, "uniform")  # LeCun et al. 1998
lecun_normal = scaled("in", 1.0, "normal")


def orthogonal(gain: float = 1.0) -> Initializer:
    """Rows, or columns where there are fewer of them, that are orthonormal times `gain` (Saxe et al. 2014); the axes
    before the last are one."""

    def draw(shape: Sequence[int], dtype: Any = "float32") -> NDArray[Any]:
        rows, columns = math.prod(shape[:-1]), shape[-1]
        square = host_generator().standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(square)
        q = q * np.sign(np.diag(r))  # so that every orthogonal matrix is equally likely
        return _cast(gain * (q if rows >= columns else q.T).reshape(tuple(shape)), dtype)

    return draw


def _cast(values: Any, dtype: Any) -> NDArray[Any]:
    return np.asarray(values).astype(as_dtype(dtype).numpy)


__all__ = [
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "scaled",
    "truncated_normal",
    "uniform",
    "zeros",
]
