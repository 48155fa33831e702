"""Layers of weights: modules that are called with a tensor. Each makes its variables when it is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.module import Module
from dfc.frontend.nn.initializers import Given, as_initializer, glorot_uniform, normal
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.elementwise import astype
from dfc.frontend.ops.indexing import take
from dfc.frontend.ops.linalg import matmul
from dfc.frontend.ops.shape import axis_in, error_here, is_index, reshape
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.variable import Variable
from dfc.ir import locations
from dfc.ir.dims import Dim
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.types import spec_of

Activation = Callable[[Tensor], Tensor]


def weight(shape: Sequence[int], initializer: Given, dtype: Any, trainable: bool = True) -> Variable:
    """A variable of a layer; the module that takes it names it. Sizes must be positive integers."""
    if any(not isinstance(size, int) or size < 1 for size in shape):
        raise InvalidArgument(
            f"sizes of weights must be positive integers, got {tuple(shape)}",
            location=locations.describe(locations.capture()),
        )
    return Variable(as_initializer(initializer)(tuple(shape), dtype), trainable=trainable)


def positive(number: Any, name: str, op: str) -> None:
    """Raises InvalidArgument for a number of parts that is no positive integer."""
    if not is_index(number) or number < 1:
        raise error_here(InvalidArgument, f"{name} must be a positive integer, got {number!r}", op)


def require_features(x: Tensor, count: Dim, op: str, axis: int = -1, what: str = "features", of: str = "") -> None:
    """Raises InvalidArgument unless x has so many features along the axis; `of` names x where a layer takes several."""
    at = axis_in(axis, max(x.ndim, 1), op)
    if x.ndim and x.shape[at] == count:
        return
    place = "the last axis" if at == max(x.ndim, 1) - 1 else f"axis {at}"
    message = f"{place}{of and f' of {of}'} must have {count} {what}, got {spec_of(x._type)}"
    raise error_here(InvalidArgument, message, op)


class Layer(Module):
    """Base of layers with weights. `compute_dtype` is what they compute in, bfloat16 for instance: weights and inputs
    are cast to it, and the weights stay in `dtype`."""

    def __init__(self, dtype: Any = "float32", compute_dtype: Any = None) -> None:
        super().__init__()
        self._dtype = as_dtype(dtype)
        self._compute_dtype: DType | None = None if compute_dtype is None else as_dtype(compute_dtype)

    @property
    def _op(self) -> str:
        """What its errors call it."""
        return type(self).__name__

    def cast(self, x: Operand) -> Tensor:
        """x as the layer computes with it."""
        tensor = asarray(x)
        return tensor if self._compute_dtype is None else astype(tensor, self._compute_dtype)


class Dense(Layer):
    """`activation(x @ weights + bias)` on the last axis: (..., inputs) to (..., outputs). Raises InvalidArgument for
    another number of inputs."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: Activation | None = None,
        *,
        use_bias: bool = True,
        weights: Given = glorot_uniform,
        bias: Given = 0.0,
        dtype: Any = "float32",
        compute_dtype: Any = None,
    ) -> None:
        super().__init__(dtype, compute_dtype)
        self.weights = weight((inputs, outputs), weights, dtype)
        self.bias = weight((outputs,), bias, dtype) if use_bias else None
        self.activation = activation

    def __call__(self, x: Operand) -> Tensor:
        tensor = asarray(x)
        require_features(tensor, self.weights.shape[0], self._op)
        y = matmul(self.cast(tensor), self.cast(self.weights))
        if self.bias is not None:
            y = y + self.cast(self.bias)
        return y if self.activation is None else self.activation(y)


class Embedding(Layer):
    """Rows of a table by their number: integers of any shape to that shape and `size`. Its gradient is sparse.
    Raises InvalidType for other dtypes."""

    def __init__(
        self,
        count: int,
        size: int,
        *,
        table: Given = normal(0.05),  # noqa: B008 - a function, made once
        dtype: Any = "float32",
        compute_dtype: Any = None,
    ) -> None:
        super().__init__(dtype, compute_dtype)
        self.table = weight((count, size), table, dtype)

    def __call__(self, ids: Operand) -> Tensor:
        tensor = asarray(ids)
        if not tensor.dtype.is_integer and not (isinstance(ids, list | tuple) and tensor.size == 0):
            raise error_here(InvalidType, f"ids must be integers, got {spec_of(tensor._type)}", self._op)
        return self.cast(take(self.table, ids, axis=0))


class Flatten(Module):
    """All axes but the first in one."""

    def __call__(self, x: Operand) -> Tensor:
        tensor = asarray(x)
        if not tensor.ndim:
            raise error_here(InvalidArgument, f"x must have a first axis, got {spec_of(tensor._type)}", "Flatten")
        return reshape(tensor, (tensor.shape[0], -1))


class Sequential(Module):
    """Layers, or functions of one tensor, one after the other. Those that take `training` are told. Raises InvalidType
    for what can't be called."""

    def __init__(self, *layers: Callable[..., Tensor], name: str = "") -> None:
        super().__init__(name)
        for i, layer in enumerate(layers):
            if not callable(layer):
                hint = "give the layers one by one: Sequential(*layers)" if isinstance(layer, list | tuple) else ""
                message = f"each must be a layer or a function of one tensor, got {layer!r} as number {i}"
                raise error_here(InvalidType, message, "Sequential", hint)
        self.layers = list(layers)

    def __call__(self, x: Operand, *, training: bool = False) -> Tensor:
        y: Any = x
        for layer in self.layers:
            y = layer(y, training=training) if takes_training(layer) else layer(y)
        return asarray(y)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Callable[..., Tensor]:
        return self.layers[index]

    def __iter__(self) -> Iterator[Callable[..., Tensor]]:
        return iter(self.layers)


def takes_training(layer: Callable[..., Any]) -> bool:
    """Whether a layer behaves otherwise in training: whether its call has a parameter `training`."""
    return _takes_training(type(layer) if isinstance(layer, Module) else layer)


@cache
def _takes_training(layer: Any) -> bool:
    call = layer.__call__ if isinstance(layer, type) else layer
    try:
        return "training" in inspect.signature(call).parameters
    except (TypeError, ValueError):
        return False
