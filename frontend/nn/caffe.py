"""The layers of Caffe's prototxt, as `from_config` builds them: each from its message and the shapes of its bottoms.

Blobs are (batch, channels, height, width); shapes here are without the batch. What Caffe computes, to the letter of its
rounding of sizes: pooling rounds up, and its last window starts inside the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument
from dfc.frontend.module import Module
from dfc.frontend.nn import activations, initializers
from dfc.frontend.nn.dropout import dropout
from dfc.frontend.nn.initializers import Initializer
from dfc.frontend.nn.layers import Dense, Layer, weight
from dfc.frontend.nn.losses import sigmoid_cross_entropy, sparse_softmax_cross_entropy
from dfc.frontend.nn.normalization import batch_norm
from dfc.frontend.nn.prototxt import Message
from dfc.frontend.nn.vision import Conv
from dfc.frontend.ops import elementwise as ew
from dfc.frontend.ops.arrangement import pad
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.logarithm import softplus
from dfc.frontend.ops.reduction import argmax, mean
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.shape import concat, reshape
from dfc.frontend.ops.sorting import top_k
from dfc.frontend.ops.window import avg_pool, local_response_norm, max_pool
from dfc.frontend.tensor import Operand, Tensor

Shape = tuple[int, ...]
Made = tuple[Callable[..., Any], Shape]
Maker = Callable[[Message, list[Shape]], Made]

LAYERS: dict[str, Maker] = {}


def layer(name: str) -> Callable[[Maker], Maker]:
    """Register the decorated function as the maker of layers of this type."""

    def register(make: Maker) -> Maker:
        LAYERS[name] = make
        return make

    return register


def required(message: Message, name: str, of: Message) -> Any:
    """A field that must be there."""
    value = message.get(name)
    if value is None:
        raise InvalidArgument(f"line {of.line}: layer {of.get('name')!r} needs {name}")
    return value


def per_axis(message: Message, name: str, stem: str, default: int | None, of: Message) -> tuple[int, int]:
    """A size for height and width: `kernel_size` once or twice, or `kernel_h` and `kernel_w`."""
    listed = message.all(name)
    height, width = message.get(f"{stem}_h"), message.get(f"{stem}_w")
    if height is not None and width is not None:
        return int(height), int(width)
    if listed:
        return int(listed[0]), int(listed[-1])
    if default is None:
        raise InvalidArgument(f"line {of.line}: layer {of.get('name')!r} needs {name}")
    return default, default


def image(shape: Shape, of: Message) -> tuple[int, int, int]:
    """A shape that must be that of an image."""
    if len(shape) != 3:
        raise InvalidArgument(f"line {of.line}: layer {of.get('name')!r} needs images, got shape {shape}")
    return shape


def filler(message: Message, default: float) -> Initializer:
    """The initial values that a filler describes."""
    kind = message.get("type", "constant")
    if kind == "constant":
        return initializers.constant(float(message.get("value", default)))
    if kind == "gaussian":
        return initializers.normal(float(message.get("std", 1.0)), float(message.get("mean", 0.0)))
    if kind == "uniform":
        return initializers.uniform(float(message.get("min", 0.0)), float(message.get("max", 1.0)))
    norms = {"FAN_IN": "in", "FAN_OUT": "out", "AVERAGE": "average"}
    mode = norms.get(str(message.get("variance_norm", "FAN_IN")), "in")
    if kind == "xavier":
        return initializers.scaled(mode, 1.0, "uniform")
    if kind == "msra":
        return initializers.scaled(mode, 2.0, "normal")
    raise InvalidArgument(f"line {message.line}: fillers of type {kind!r} are not known")


@layer("Convolution")
def convolution(of: Message, bottoms: list[Shape]) -> Made:
    p, (channels, height, width) = of.message("convolution_param"), image(bottoms[0], of)
    kernel = per_axis(p, "kernel_size", "kernel", None, of)
    stride, padding = per_axis(p, "stride", "stride", 1, of), per_axis(p, "pad", "pad", 0, of)
    dilation, outputs = per_axis(p, "dilation", "dilation", 1, of), int(required(p, "num_output", of))
    made = Conv(
        channels,
        outputs,
        kernel,
        strides=stride,
        padding=[(n, n) for n in padding],
        dilation=dilation,
        groups=int(p.get("group", 1)),
        use_bias=bool(p.get("bias_term", True)),
        weights=filler(p.message("weight_filler"), 0.0),
        bias=filler(p.message("bias_filler"), 0.0),
        data_format="NCHW",
    )
    sizes = [
        (n + 2 * q - (d * (k - 1) + 1)) // s + 1
        for n, q, d, k, s in zip((height, width), padding, dilation, kernel, stride, strict=True)
    ]
    return Quiet(made), (outputs, *sizes)


@layer("InnerProduct")
def inner_product(of: Message, bottoms: list[Shape]) -> Made:
    p = of.message("inner_product_param")
    outputs, inputs = int(required(p, "num_output", of)), math.prod(bottoms[0])
    made = Dense(
        inputs,
        outputs,
        use_bias=bool(p.get("bias_term", True)),
        weights=filler(p.message("weight_filler"), 0.0),
        bias=filler(p.message("bias_filler"), 0.0),
    )
    return Quiet(made, flat=True), (outputs,)


class Quiet:
    """A layer that is called with `training` and does not mind."""

    def __init__(self, module: Layer, flat: bool = False) -> None:
        self.module, self._flat = module, flat

    def __call__(self, x: Operand, *, training: bool = False) -> Tensor:
        tensor = asarray(x)
        if self._flat and tensor.ndim > 2:
            tensor = reshape(tensor, (tensor.shape[0], -1))
        made: Tensor = self.module(tensor)  # type: ignore[operator]
        return made


@layer("Pooling")
def pooling(of: Message, bottoms: list[Shape]) -> Made:
    p, (channels, *sizes) = of.message("pooling_param"), image(bottoms[0], of)
    if p.get("global_pooling", False):
        kernel, stride, padding = (sizes[0], sizes[1]), (1, 1), (0, 0)
    else:
        kernel = per_axis(p, "kernel_size", "kernel", None, of)
        stride, padding = per_axis(p, "stride", "stride", 1, of), per_axis(p, "pad", "pad", 0, of)
    counts, extra = [], []
    for n, k, s, q in zip(sizes, kernel, stride, padding, strict=True):
        count = math.ceil((n + 2 * q - k) / s) + 1
        if q and (count - 1) * s >= n + q:
            count -= 1  # the last window would start in the padding
        counts.append(count)
        extra.append(max(0, (count - 1) * s + k - n - 2 * q))
    kind = p.get("pool", "MAX")
    if kind == "MAX":
        edges = [(q, q + e) for q, e in zip(padding, extra, strict=True)]

        def pooled(x: Operand, *, training: bool = False) -> Tensor:
            return max_pool(x, kernel, strides=stride, padding=edges, data_format="NCHW")
    elif kind == "AVE":

        def pooled(x: Operand, *, training: bool = False) -> Tensor:
            # Caffe's mean counts its own padding, but not what rounding up adds.
            tensor = asarray(x)
            if any(padding):
                tensor = pad(tensor, [(0, 0), (0, 0), *((q, q) for q in padding)])
            beyond = [(0, e) for e in extra]
            return avg_pool(tensor, kernel, strides=stride, padding=beyond, data_format="NCHW")
    else:
        raise InvalidArgument(f"line {of.line}: pooling by {kind!r} is not known")
    return pooled, (channels, *counts)


def _function(compute: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda x, *, training=False: compute(asarray(x))


def _pointwise(make: Callable[[Message], Callable[[Tensor], Tensor]]) -> Maker:
    return lambda of, bottoms: (_function(make(of)), bottoms[0])


def _relu(of: Message) -> Callable[[Tensor], Tensor]:
    slope = float(of.message("relu_param").get("negative_slope", 0.0))
    return activations.relu if slope == 0 else lambda x: activations.leaky_relu(x, negative_slope=slope)


def _elu(of: Message) -> Callable[[Tensor], Tensor]:
    alpha = float(of.message("elu_param").get("alpha", 1.0))
    return lambda x: activations.elu(x, alpha=alpha)


def _power(of: Message) -> Callable[[Tensor], Tensor]:
    p = of.message("power_param")
    power, scale, shift = (float(p.get(k, d)) for k, d in (("power", 1.0), ("scale", 1.0), ("shift", 0.0)))
    return lambda x: (x * scale + shift) ** power if power != 1 else x * scale + shift


def _exp(of: Message) -> Callable[[Tensor], Tensor]:
    p = of.message("exp_param")
    base, scale, shift = (float(p.get(k, d)) for k, d in (("base", -1.0), ("scale", 1.0), ("shift", 0.0)))
    rate = 1.0 if base == -1 else math.log(base)
    return lambda x: ew.exp((x * scale + shift) * rate)


def _log(of: Message) -> Callable[[Tensor], Tensor]:
    p = of.message("log_param")
    base, scale, shift = (float(p.get(k, d)) for k, d in (("base", -1.0), ("scale", 1.0), ("shift", 0.0)))
    rate = 1.0 if base == -1 else 1 / math.log(base)
    return lambda x: ew.log(x * scale + shift) * rate


LAYERS["ReLU"] = _pointwise(_relu)
LAYERS["ELU"] = _pointwise(_elu)
LAYERS["Sigmoid"] = _pointwise(lambda of: ew.sigmoid)
LAYERS["TanH"] = _pointwise(lambda of: ew.tanh)
LAYERS["AbsVal"] = _pointwise(lambda of: ew.abs)
LAYERS["BNLL"] = _pointwise(lambda of: softplus)
LAYERS["Power"] = _pointwise(_power)
LAYERS["Exp"] = _pointwise(_exp)
LAYERS["Log"] = _pointwise(_log)
LAYERS["Softmax"] = _pointwise(lambda of: lambda x: activations.softmax(x, axis=1))


@layer("PReLU")
def prelu(of: Message, bottoms: list[Shape]) -> Made:
    class PReLU(Module):
        """A learned slope a channel, or one for all."""

        def __init__(self) -> None:
            super().__init__()
            shared = bool(of.message("prelu_param").get("channel_shared", False))
            self.slope = weight((1 if shared else bottoms[0][0],), 0.25, "float32")

        def __call__(self, x: Operand, *, training: bool = False) -> Tensor:
            tensor = asarray(x)
            slope = reshape(self.slope.read(), (-1, *(1,) * (tensor.ndim - 2)))
            return ew.where(tensor > 0, tensor, tensor * slope)

    return PReLU(), bottoms[0]


@layer("LRN")
def lrn(of: Message, bottoms: list[Shape]) -> Made:
    p = of.message("lrn_param")
    if p.get("norm_region", "ACROSS_CHANNELS") != "ACROSS_CHANNELS":
        raise InvalidArgument(f"line {of.line}: LRN is known across channels only")
    size, alpha = int(p.get("local_size", 5)), float(p.get("alpha", 1.0))
    beta, k = float(p.get("beta", 0.75)), float(p.get("k", 1.0))
    options: dict[str, Any] = {"depth_radius": size // 2, "bias": k, "alpha": alpha / size, "beta": beta, "axis": 1}
    return _function(lambda x: local_response_norm(x, **options)), bottoms[0]


@layer("Dropout")
def drop(of: Message, bottoms: list[Shape]) -> Made:
    rate = float(of.message("dropout_param").get("dropout_ratio", 0.5))
    return (lambda x, *, training=False: dropout(x, rate, training=training)), bottoms[0]


@layer("BatchNorm")
def batch_normalization(of: Message, bottoms: list[Shape]) -> Made:
    p = of.message("batch_norm_param")

    class BatchNorm(Module):
        """Normalisation without scale and offset, which Caffe leaves to a layer of type Scale."""

        def __init__(self) -> None:
            super().__init__()
            self.epsilon, self.fraction = float(p.get("eps", 1e-5)), float(p.get("moving_average_fraction", 0.999))
            self.mean = weight((bottoms[0][0],), 0.0, "float32", trainable=False)
            self.variance = weight((bottoms[0][0],), 1.0, "float32", trainable=False)

        def __call__(self, x: Operand, *, training: bool = False) -> Tensor:
            if not p.get("use_global_stats", not training):
                y, now, spread = batch_norm(x, axis=1, epsilon=self.epsilon)
                for average, value in ((self.mean, now), (self.variance, spread)):
                    moved = average.assign_add((value - average) * (1 - self.fraction))
                    y = moved.implied_by(y)
                return y
            fixed = self.mean.read(), self.variance.read()
            return batch_norm(x, mean=fixed[0], variance=fixed[1], axis=1, epsilon=self.epsilon)[0]

    return BatchNorm(), bottoms[0]


@layer("Scale")
def scale(of: Message, bottoms: list[Shape]) -> Made:
    p = of.message("scale_param")

    class Scale(Module):
        """A factor, and a term with `bias_term`, for each channel."""

        def __init__(self) -> None:
            super().__init__()
            self.weights = weight((bottoms[0][0],), filler(p.message("filler"), 1.0), "float32")
            self.bias = None
            if p.get("bias_term", False):
                self.bias = weight((bottoms[0][0],), filler(p.message("bias_filler"), 0.0), "float32")

        def __call__(self, x: Operand, *, training: bool = False) -> Tensor:
            tensor = asarray(x)
            shape = (-1, *(1,) * (tensor.ndim - 2))
            scaled = tensor * reshape(self.weights.read(), shape)
            return scaled if self.bias is None else scaled + reshape(self.bias.read(), shape)

    return Scale(), bottoms[0]


@layer("Concat")
def concatenation(of: Message, bottoms: list[Shape]) -> Made:
    p = of.message("concat_param")
    axis = int(p.get("axis", p.get("concat_dim", 1)))
    total = sum(shape[axis - 1] for shape in bottoms)
    shape = (*bottoms[0][: axis - 1], total, *bottoms[0][axis:])
    return (lambda *xs, training=False: concat(list(xs), axis=axis)), shape


@layer("Eltwise")
def eltwise(of: Message, bottoms: list[Shape]) -> Made:
    p = of.message("eltwise_param")
    kind, factors = p.get("operation", "SUM"), [float(c) for c in p.all("coeff")] or [1.0] * len(bottoms)

    def combined(*xs: Operand, training: bool = False) -> Tensor:
        tensors = [asarray(x) for x in xs]
        if kind == "SUM":
            return ew.add_n([x if c == 1 else x * c for x, c in zip(tensors, factors, strict=True)])
        found = tensors[0]
        for other in tensors[1:]:
            found = found * other if kind == "PROD" else ew.maximum(found, other)
        return found

    return combined, bottoms[0]


@layer("Flatten")
def flatten(of: Message, bottoms: list[Shape]) -> Made:
    return _function(lambda x: reshape(x, (x.shape[0], -1))), (math.prod(bottoms[0]),)


@layer("Split")
def split(of: Message, bottoms: list[Shape]) -> Made:
    count = len(of.all("top"))
    return (lambda x, *, training=False: (asarray(x),) * count), bottoms[0]


# ---- losses: one number for the batch


def _loss(compute: Callable[..., Tensor]) -> Maker:
    def make(of: Message, bottoms: list[Shape]) -> Made:
        factor = float(of.get("loss_weight", 1.0))

        def loss(scores: Operand, labels: Operand, *, training: bool = False) -> Tensor:
            found = compute(asarray(scores), asarray(labels))
            return found if factor == 1 else found * factor

        return loss, ()

    return make


def _integers(labels: Tensor) -> Tensor:
    return labels if labels.dtype.is_integer else ew.astype(labels, "int32")


LAYERS["SoftmaxWithLoss"] = _loss(lambda s, y: mean(sparse_softmax_cross_entropy(_integers(y), s)))
LAYERS["SigmoidCrossEntropyLoss"] = _loss(lambda s, y: _per_example(sigmoid_cross_entropy(ew.astype(y, s.dtype), s)))
LAYERS["EuclideanLoss"] = _loss(lambda s, y: _per_example(ew.square(s - y)) * 0.5)


def _per_example(terms: Tensor) -> Tensor:
    """The sum over all elements divided by the size of the batch."""
    rows = reshape(terms, (terms.shape[0], -1))
    return mean(reduce_sum(rows, axis=1))


@layer("Accuracy")
def accuracy(of: Message, bottoms: list[Shape]) -> Made:
    k = int(of.message("accuracy_param").get("top_k", 1))

    def share(scores: Operand, labels: Operand, *, training: bool = False) -> Tensor:
        given, wanted = asarray(scores), _integers(asarray(labels))
        if k == 1:
            return mean(ew.astype(argmax(given, axis=1) == wanted, np.float32))
        found = top_k(given, k).indices == reshape(wanted, (-1, 1))
        return mean(reduce_sum(ew.astype(found, np.float32), axis=1))

    return share, ()
