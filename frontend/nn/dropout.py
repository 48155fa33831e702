"""Dropout (Srivastava et al. 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.immediate import operation
from dfc.frontend.module import Module
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.elementwise import astype, where
from dfc.frontend.ops.random import bernoulli
from dfc.frontend.ops.shape import error_here
from dfc.frontend.tensor import Operand, Tensor
from dfc.ir.types import spec_of


@operation
def dropout(
    x: Operand, /, rate: Operand, *, key: Operand | None = None, training: Any = True, noise_shape: Any = None
) -> Tensor:
    """x with each element set to zero with probability `rate`, the others divided by 1 - rate; x itself where
    `training`, a bool or a boolean scalar, is false.

    `noise_shape`, which broadcasts to x's shape, drops whole parts together: 1 where an axis shares one decision.
    Raises InvalidType for an x that isn't floating, InvalidArgument for a rate below 0, or 1 and above.
    """
    tensor = asarray(x)
    if not tensor.dtype.is_floating:
        raise error_here(InvalidType, f"x must be floating, got {spec_of(tensor._type)}", "dropout")
    if isinstance(rate, int | float) and not 0 <= rate < 1:
        raise error_here(InvalidArgument, f"0 <= rate < 1 must hold, got {rate}", "dropout")
    if training is False or (isinstance(rate, int | float) and rate == 0):
        return tensor
    kept = bernoulli(1 - rate, tensor.shape if noise_shape is None else noise_shape, key=key)
    dropped = where(kept, tensor / (1 - rate), 0)
    return astype(dropped if training is True else where(training, dropped, tensor), tensor.dtype)


class Dropout(Module):
    """`dfc.nn.dropout` as a layer: in training each element is set to zero with probability `rate` and the others are
    divided by 1 - rate; else x is left as it is. Raises InvalidArgument for a rate below 0, or 1 and above."""

    def __init__(self, rate: float, *, noise_shape: Sequence[Any] | None = None) -> None:
        super().__init__()
        if isinstance(rate, bool) or not isinstance(rate, Real):
            raise error_here(InvalidType, f"the rate must be a number, got {rate!r}", "Dropout")
        if not 0 <= rate < 1:
            raise error_here(InvalidArgument, f"0 <= rate < 1 must hold, got {rate}", "Dropout")
        self.rate: float = float(rate)
        self._noise_shape: Sequence[Any] | None = noise_shape

    def __call__(self, x: Operand, *, training: Any = False, key: Operand | None = None) -> Tensor:
        """`training` is a bool or a boolean scalar. Without a key the default generator of `dfc.random` gives one."""
        return dropout(x, self.rate, key=key, training=training, noise_shape=self._noise_shape)
