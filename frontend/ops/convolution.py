"""Convolutions for neural networks: `dfc.nn.conv` and its relatives.

x is (batch, spatial..., features), or (batch, features, spatial...) with a `data_format` of features first, and has 1
to 3 spatial axes. A kernel is (spatial..., inputs, outputs), as in TensorFlow; with `kernel_format="OIHW"` it is
(outputs, inputs, spatial...), as in PyTorch. No format costs a transpose. Kernels aren't reversed. Operands meet in one
dtype.
"""

from __future__ import annotations

from typing import Any

from dfc.errors import InvalidArgument
from dfc.frontend import promotion
from dfc.frontend.immediate import operation
from dfc.frontend.ops.shape import error_here, reshape
from dfc.frontend.promotion import tensor_in
from dfc.frontend.sliding import Padding, Sizes, explicit, layout, padding_of, per_axis
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.ir.dims import Dim, divides
from dfc.ir.ops.convolution import Convolution
from dfc.ir.ops.shape import Reverse
from dfc.ir.types import spec_of
from dfc.ir.windows import dilated

KERNELS = ("HWIO", "OIHW")


def _operands(x: Operand, w: Operand, kernel_format: str, op: str) -> tuple[Tensor, Tensor]:
    """Both in one dtype; their ranks and the kernel's format are checked."""
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    a, b = tensor_in(trace, x), tensor_in(trace, w)
    if kernel_format not in KERNELS:
        raise error_here(InvalidArgument, f"kernel_format must be 'HWIO' or 'OIHW', got {kernel_format!r}", op)
    if a.ndim != b.ndim:
        raise error_here(
            InvalidArgument,
            f"x and the kernel must have as many axes, got {spec_of(a._type)} and {spec_of(b._type)}",
            op,
        )
    if a.dtype is not b.dtype:
        dtype = promotion.result_type(a, b)
        a, b = (Tensor(v.type, trace, v) for v in (trace.convert(t._value, dtype) for t in (a, b)))
    return a, b


def _kernel_axes(rank: int, kernel_format: str) -> tuple[int, ...]:
    """(outputs, inputs, spatial...)."""
    return tuple(range(rank)) if kernel_format == "OIHW" else (rank - 1, rank - 2, *range(rank - 2))


@operation
def conv(
    x: Operand,
    w: Operand,
    /,
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    dilation: Sizes = 1,
    groups: int = 1,
    data_format: str = "NHWC",
    kernel_format: str = "HWIO",
) -> Tensor:
    """The convolution of x with the kernel w, in 1 to 3 dimensions by the rank of x.

    `padding` is "SAME" (the result is ceil(size / stride) long), "VALID" (none), an int, or (before, after) for each
    spatial axis. `dilation` is how far the kernel's elements are apart. With `groups`, features and outputs come in so
    many runs, each output sees its run of features only, and w's inputs are features / groups.

    Raises InvalidArgument for ranks, formats and numbers of features that don't fit.
    """
    a, b = _operands(x, w, kernel_format, "conv")
    feature, spatial = layout(a.ndim, data_format, "conv")
    kernel = _kernel_axes(a.ndim, kernel_format)
    steps = per_axis(strides, len(spatial), "strides", "conv")
    apart = per_axis(dilation, len(spatial), "dilation", "conv")
    extents, window = tuple(a.shape[i] for i in spatial), tuple(b.shape[i] for i in kernel[2:])
    low, high = padding_of(padding, extents, window, steps, apart, "conv")
    return _emit(a, b, (0, feature, *spatial), kernel, steps, low, high, (1,) * len(steps), apart, groups)


@operation
def depthwise_conv(
    x: Operand,
    w: Operand,
    /,
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    dilation: Sizes = 1,
    data_format: str = "NHWC",
) -> Tensor:
    """Convolves each feature with kernels of its own: w is (spatial..., features, multiplier), and the result has
    features * multiplier features, those of one feature side by side. For the rest see `conv`."""
    a, b = _operands(x, w, "HWIO", "depthwise_conv")
    feature, _ = layout(a.ndim, data_format, "depthwise_conv")
    features = a.shape[feature]
    if not isinstance(features, int) or b.shape[-2] != features:
        raise error_here(
            InvalidArgument,
            f"the kernel needs an entry for each feature, got {spec_of(b._type)} for {features} features",
            "depthwise_conv",
        )
    kernel = reshape(b, (*b.shape[:-2], 1, features * b.shape[-1]))
    return conv(
        a, kernel, strides=strides, padding=padding, dilation=dilation, groups=features, data_format=data_format
    )


@operation
def conv_transpose(
    x: Operand,
    w: Operand,
    /,
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    output_padding: Sizes | None = None,
    dilation: Sizes = 1,
    data_format: str = "NHWC",
    kernel_format: str = "HWIO",
) -> Tensor:
    """The transpose of `conv` by its input: what its gradient does. w is the kernel of that convolution, so its
    *outputs* are the features of x and its *inputs* those of the result (TensorFlow's conv2d_transpose; PyTorch's with
    `kernel_format="OIHW"`).

    The result's size is size * stride with padding "SAME", size * stride + max(span - stride, 0) with "VALID", and
    (size - 1) * stride + span - before - after + output_padding with pairs, where span is the dilated kernel's size.
    `output_padding`, below the stride, goes with pairs and ints only.
    """
    op = "conv_transpose"
    a, b = _operands(x, w, kernel_format, op)
    feature, spatial = layout(a.ndim, data_format, op)
    kernel = _kernel_axes(a.ndim, kernel_format)
    steps = per_axis(strides, len(spatial), "strides", op)
    apart = per_axis(dilation, len(spatial), "dilation", op)
    spans = [dilated(b.shape[i], d) for i, d in zip(kernel[2:], apart, strict=True)]
    low, high = _transposed_padding(padding, output_padding, spans, steps, op)
    trace = a._trace
    assert trace is not None
    flipped = b if all(s == 1 for s in spans) else trace.emit(Reverse, (b._value,), {"axes": kernel[2:]})
    exchanged = (kernel[1], kernel[0], *kernel[2:])
    return _emit(a, flipped, (0, feature, *spatial), exchanged, (1,) * len(steps), low, high, steps, apart, 1)


def _transposed_padding(
    padding: Padding, output_padding: Sizes | None, spans: list[Dim], steps: tuple[int, ...], op: str
) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
    """The padding of x, whose elements are `steps` apart: span - 1 on both sides gives every product, less what the
    padding of the other convolution took."""
    extra: tuple[int, ...] = (0,) * len(steps)
    if output_padding is not None:
        extra = (output_padding,) * len(steps) if isinstance(output_padding, int) else tuple(output_padding)
        fits = len(extra) == len(steps) and all(0 <= e < s for e, s in zip(extra, steps, strict=True))
        if isinstance(padding, str) or not fits:
            raise error_here(
                InvalidArgument,
                "output_padding must be below the stride and goes with explicit padding, got "
                f"{output_padding} for strides {steps} and padding {padding!r}",
                op,
            )
    if padding in ("SAME", "VALID"):
        low, high = [], []
        for span, stride in zip(spans, steps, strict=True):
            if not isinstance(span, int):
                raise error_here(InvalidArgument, f"the kernel's sizes must be known, got {span}", op)
            taken = max(span - stride, 0) if padding == "SAME" else 0
            low.append(span - 1 - taken // 2)
            high.append(span - 1 - (taken - taken // 2) + max(stride - span, 0))
        return tuple(low), tuple(high)
    before, after = explicit(padding, len(steps), op)
    return (
        tuple(span - 1 - n for span, n in zip(spans, before, strict=True)),
        tuple(span - 1 - n + e for span, n, e in zip(spans, after, extra, strict=True)),
    )


def _emit(
    x: Tensor,
    w: Tensor,
    axes: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    low: tuple[Dim, ...],
    high: tuple[Dim, ...],
    lhs_dilation: tuple[int, ...],
    rhs_dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    features, inputs, outputs = x.shape[axes[1]], w.shape[kernel[1]], w.shape[kernel[0]]
    if groups < 1 or features != inputs * groups or divides(groups, outputs) is None:
        raise InvalidArgument(
            f"the kernel's inputs times groups must be x's features, and groups must divide its outputs, got "
            f"{features} features, {inputs} inputs, {outputs} outputs and {groups} groups for {spec_of(x._type)} and "
            f"{spec_of(w._type)}"
        )
    trace = x._trace
    assert trace is not None
    attributes: dict[str, Any] = {
        "lhs_axes": axes,
        "rhs_axes": kernel,
        "result_axes": axes,
        "strides": strides,
        "low": low,
        "high": high,
        "lhs_dilation": lhs_dilation,
        "rhs_dilation": rhs_dilation,
        "feature_groups": groups,
        "batch_groups": 1,
    }
    return trace.emit(Convolution, (x._value, w._value), attributes)
