"""Layers of networks on images, sound and volumes: convolutions, pooling, normalisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from dfc.errors import InvalidArgument
from dfc.frontend.module import Module
from dfc.frontend.nn.initializers import Given, as_initializer, he_normal
from dfc.frontend.nn.layers import Activation, Layer, positive, require_features, weight
from dfc.frontend.nn.normalization import batch_norm, layer_norm
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.convolution import conv, conv_transpose
from dfc.frontend.ops.elementwise import astype
from dfc.frontend.ops.shape import error_here, reshape
from dfc.frontend.ops.window import avg_pool, max_pool
from dfc.frontend.sliding import layout
from dfc.frontend.tensor import Operand, Tensor
from dfc.ir.dims import Dim
from dfc.ir.types import spec_of

Sizes = int | Sequence[int]
Padding = str | Sequence[tuple[int, int]]


class Conv(Layer):
    """Convolution of (batch, *spatial, inputs) to (batch, *spatial, outputs); `kernel` has a size for each of 1 to 3
    spatial axes. `data_format="NCHW"` puts the features second. Weights are (*kernel, inputs / groups, outputs)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Sequence[int],
        *,
        strides: Sizes = 1,
        padding: Padding = "SAME",
        dilation: Sizes = 1,
        groups: int = 1,
        activation: Activation | None = None,
        use_bias: bool = True,
        weights: Given = he_normal,
        bias: Given = 0.0,
        data_format: str = "NHWC",
        dtype: Any = "float32",
        compute_dtype: Any = None,
    ) -> None:
        super().__init__(dtype, compute_dtype)
        positive(groups, "groups", "Conv")
        if inputs % groups or outputs % groups:
            raise error_here(
                InvalidArgument,
                f"groups must divide inputs and outputs, got {groups} groups of {inputs} and {outputs}",
                "Conv",
            )
        self.weights = weight((*_window(kernel, "Conv"), inputs // groups, outputs), weights, dtype)
        self.bias = weight((outputs,), bias, dtype) if use_bias else None
        self.activation = activation
        self._options: dict[str, Any] = {
            "strides": strides,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "data_format": data_format,
        }

    def __call__(self, x: Operand) -> Tensor:
        tensor = asarray(x)
        _require_images(self, tensor, int(self.weights.shape[-2]) * self._options["groups"])
        y = conv(self.cast(tensor), self.cast(self.weights), **self._options)
        return _finished(self, y, self._options["data_format"])


class ConvTranspose(Layer):
    """The transpose of a convolution: with strides it makes images larger. Weights are those of the convolution that it
    transposes, (*kernel, outputs, inputs)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Sequence[int],
        *,
        strides: Sizes = 1,
        padding: Padding = "SAME",
        activation: Activation | None = None,
        use_bias: bool = True,
        weights: Given = he_normal,
        bias: Given = 0.0,
        data_format: str = "NHWC",
        dtype: Any = "float32",
        compute_dtype: Any = None,
    ) -> None:
        super().__init__(dtype, compute_dtype)
        initial = as_initializer(weights)
        turned: Given = lambda shape, dtype: initial((*shape[:-2], *shape[:-3:-1]), dtype).swapaxes(-1, -2)  # noqa: E731
        self.weights = weight((*_window(kernel, "ConvTranspose"), outputs, inputs), turned, dtype)
        self.bias = weight((outputs,), bias, dtype) if use_bias else None
        self.activation = activation
        self._options: dict[str, Any] = {"strides": strides, "padding": padding, "data_format": data_format}

    def __call__(self, x: Operand) -> Tensor:
        tensor = asarray(x)
        _require_images(self, tensor, self.weights.shape[-1])
        y = conv_transpose(self.cast(tensor), self.cast(self.weights), **self._options)
        return _finished(self, y, self._options["data_format"])


def _window(kernel: Any, op: str) -> tuple[int, ...]:
    """The sizes of a kernel. Raises InvalidArgument for other than 1 to 3 of them: one number would not say how many
    spatial axes there are."""
    if isinstance(kernel, Sequence) and not isinstance(kernel, str) and 1 <= len(kernel) <= 3:
        return tuple(kernel)
    message = f"the kernel needs a size for each spatial axis, (3, 3) for images, got {kernel!r}"
    raise error_here(InvalidArgument, message, op)


def _require_images(layer: Conv | ConvTranspose, x: Tensor, features: Dim) -> None:
    """Raises InvalidArgument unless x has the axes and the features that the layer was made for."""
    rank = len(layer.weights.shape)
    if x.ndim != rank:
        spatial = f"{rank - 2} spatial axes" if rank > 3 else "1 spatial axis"
        message = f"x must have rank {rank}, for batch, {spatial} and features, got {spec_of(x._type)}"
        raise error_here(InvalidArgument, message, layer._op)
    axis, _ = layout(rank, layer._options["data_format"], layer._op)
    require_features(x, features, layer._op, axis)


def _finished(layer: Conv | ConvTranspose, y: Tensor, data_format: str) -> Tensor:
    """With bias and activation."""
    if layer.bias is not None:
        bias = layer.cast(layer.bias)
        y = y + (bias if data_format.endswith("C") else reshape(bias, (-1, *(1,) * (y.ndim - 2))))
    return y if layer.activation is None else layer.activation(y)


class Pooling(Module):
    """Base of pooling: `window` has a size for each spatial axis, or one for all; strides default to the window."""

    POOL: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        window: Sizes,
        strides: Sizes | None = None,
        padding: Padding = "VALID",
        data_format: str = "NHWC",
    ) -> None:
        super().__init__()
        self._options: dict[str, Any] = {"strides": strides, "padding": padding, "data_format": data_format}
        self._window = window

    def __call__(self, x: Operand) -> Tensor:
        return type(self).POOL(x, self._window, **self._options)


class MaxPool(Pooling):
    """The largest of each window; see `dfc.nn.max_pool`."""

    POOL: ClassVar = max_pool


class AvgPool(Pooling):
    """The mean of each window, of what is inside the image; see `dfc.nn.avg_pool`."""

    POOL: ClassVar = avg_pool


class BatchNorm(Layer):
    """Batch normalisation (Ioffe and Szegedy 2015) of the features along `axis`. In training it uses the batch's mean
    and variance and moves its averages towards them by `1 - momentum`; else it uses the averages."""

    def __init__(
        self,
        features: int,
        *,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-5,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(dtype)
        self.axis, self.momentum, self.epsilon = axis, momentum, epsilon
        self.scale, self.offset = weight((features,), 1.0, dtype), weight((features,), 0.0, dtype)
        self.mean = weight((features,), 0.0, dtype, trainable=False)
        self.variance = weight((features,), 1.0, dtype, trainable=False)

    def __call__(self, x: Operand, *, training: bool = False) -> Tensor:
        tensor = asarray(x)
        require_features(tensor, self.scale.shape[0], self._op, self.axis)
        options: dict[str, Any] = {"axis": self.axis, "epsilon": self.epsilon}
        if not training:
            options |= {"mean": self.mean.read(), "variance": self.variance.read()}
            return batch_norm(tensor, self.scale.read(), self.offset.read(), **options)[0]
        y, mean, variance = batch_norm(tensor, self.scale.read(), self.offset.read(), **options)
        for average, now in ((self.mean, mean), (self.variance, variance)):
            moved = average.assign_add((astype(now, average.dtype) - average) * (1 - self.momentum))
            y = moved.implied_by(y)
        return y


class LayerNorm(Layer):
    """Layer normalisation (Ba et al. 2016) over the last axis, of size `features`."""

    def __init__(self, features: int, *, epsilon: float = 1e-5, dtype: Any = "float32") -> None:
        super().__init__(dtype)
        self.epsilon = epsilon
        self.scale, self.offset = weight((features,), 1.0, dtype), weight((features,), 0.0, dtype)

    def __call__(self, x: Operand) -> Tensor:
        tensor = asarray(x)
        require_features(tensor, self.scale.shape[0], self._op)
        return layer_norm(tensor, self.scale.read(), self.offset.read(), epsilon=self.epsilon)
