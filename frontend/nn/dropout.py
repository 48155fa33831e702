"""Dropout (Srivastava et al. 2014)."""

from __future__ import annotations

from typing import Any

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.immediate import operation
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
