"""dfc.nn.conv and its relatives, against scipy.signal.correlate; layouts, padding, symbolic sizes, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.signal import correlate

import dfc
from dfc.errors import DfcError, InvalidArgument, Unimplemented

random = np.random.default_rng(3)
Array = np.ndarray[Any, Any]


def normal(*shape: int) -> Array:
    return random.normal(size=shape).astype(np.float32)


def by_scipy(x: Array, w: Array, strides: Any, pairs: Any, dilation: Any = None, groups: int = 1) -> Array:
    """The convolution of (batch, spatial..., features) with (spatial..., inputs, outputs), in float64."""
    n, outputs, inputs = w.ndim - 2, w.shape[-1], w.shape[-2]
    dilation = dilation or (1,) * n
    sizes = [(k - 1) * d + 1 for k, d in zip(w.shape, dilation, strict=False)]
    wide = np.zeros((*sizes, *w.shape[-2:]))
    wide[tuple(slice(None, None, d) for d in dilation)] = w
    padded = np.pad(x.astype(np.float64), [(0, 0), *pairs, (0, 0)])
    rows = []
    for image in padded:
        maps = []
        for o in range(outputs):
            first = o // (outputs // groups) * inputs
            maps.append(
                sum(correlate(image[..., first + c], wide[..., c, o], "valid", method="direct") for c in range(inputs))
            )
        rows.append(np.stack(maps, -1)[tuple(slice(None, None, s) for s in strides)])
    return np.stack(rows)


def same(sizes: Any, window: Any, strides: Any, dilation: Any) -> list[tuple[int, int]]:
    pairs = []
    for n, k, s, d in zip(sizes, window, strides, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        pairs.append((total // 2, total - total // 2))
    return pairs


CASES = [
    ((2, 9, 3), (3, 3, 4), (1,), (1,), 1),
    ((2, 7, 8, 3), (3, 2, 3, 5), (1, 1), (1, 1), 1),
    ((2, 7, 8, 3), (3, 3, 3, 2), (2, 3), (1, 1), 1),
    ((1, 7, 8, 4), (3, 3, 2, 6), (1, 2), (2, 1), 2),
    ((1, 5, 5, 2), (1, 1, 2, 3), (2, 2), (1, 1), 1),
    ((1, 4, 5, 6, 2), (2, 3, 2, 2, 3), (1, 2, 1), (1, 1, 2), 1),
]


@pytest.mark.parametrize("padding", ["SAME", "VALID", "pairs"])
@pytest.mark.parametrize(("shape", "kernel", "strides", "dilation", "groups"), CASES)
def test_conv(shape: Any, kernel: Any, strides: Any, dilation: Any, groups: int, padding: str) -> None:
    x, w, n = normal(*shape), normal(*kernel), len(strides)
    pairs: Any = [(2, 1)] * n if padding == "pairs" else [(0, 0)] * n
    if padding == "SAME":
        pairs = same(shape[1:-1], kernel[:-2], strides, dilation)
    got = dfc.nn.conv(
        x, w, strides=strides, padding=pairs if padding == "pairs" else padding, dilation=dilation, groups=groups
    )
    assert_allclose(got.numpy(), by_scipy(x, w, strides, pairs, dilation, groups), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_features_first_and_kernels_outputs_first_give_the_same_without_a_transpose(n: int) -> None:
    x, w = normal(2, *(6, 5, 4)[:n], 3), normal(*(3, 2, 2)[:n], 3, 4)
    last = dfc.nn.conv(x, w, strides=2).numpy()
    names = [("NCW", "NCHW", "NCDHW")[n - 1], "NCHW"]
    for name in names:
        function = dfc.function(
            lambda x, w, name=name: dfc.nn.conv(x, w, strides=2, data_format=name, kernel_format="OIHW")
        )
        first, kernel = np.moveaxis(x, -1, 1).copy(), np.moveaxis(w, (-1, -2), (0, 1)).copy()
        assert_allclose(np.moveaxis(function(first, kernel).numpy(), 1, -1), last, rtol=1e-5, atol=1e-6)
        specs = (dfc.TensorSpec(first.shape, "float32"), dfc.TensorSpec(kernel.shape, "float32"))
        assert "transpose" not in function.lower(*specs).text


def test_depthwise() -> None:
    x, w = normal(2, 6, 5, 3), normal(3, 2, 3, 2)
    got = dfc.nn.depthwise_conv(x, w, strides=(1, 2), padding="VALID").numpy()
    for c in range(3):
        expected = by_scipy(x[..., c : c + 1], w[:, :, c : c + 1, :], (1, 2), [(0, 0), (0, 0)])
        assert_allclose(got[..., 2 * c : 2 * c + 2], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("padding", ["SAME", "VALID", [(1, 0), (0, 2)]])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_conv_transpose_is_the_gradient_of_conv(padding: Any, strides: Any) -> None:
    x, w = normal(2, 7 if padding == "VALID" else 6, 6, 3), normal(3, 2, 3, 4)

    def forward(x: Any) -> Any:
        return dfc.nn.conv(x, w, strides=strides, padding=padding)

    y = normal(*forward(x).numpy().shape)

    @dfc.function
    def gradient(x: Any) -> Any:
        return dfc.gradients(dfc.sum(forward(x) * y), x)[0]

    expected = gradient(x).numpy()
    extra: Any = {}
    if not isinstance(padding, str):
        rows = zip(padding, (3, 2), strides, strict=True)
        extra["output_padding"] = tuple((6 + before + after - k) % s for (before, after), k, s in rows)
    got = dfc.nn.conv_transpose(y, w, strides=strides, padding=padding, **extra).numpy()
    assert got.shape == x.shape
    assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_conv_transpose_sizes_where_the_stride_exceeds_the_kernel() -> None:
    x, w = np.ones((1, 3, 1), np.float32), np.ones((2, 1, 1), np.float32)
    assert dfc.nn.conv_transpose(x, w, strides=4, padding="SAME").numpy()[0, :, 0].tolist() == [1, 1, 0, 0] * 3
    assert dfc.nn.conv_transpose(x, w, strides=4, padding="VALID").shape == (1, 12, 1)
    assert dfc.nn.conv_transpose(x, w, strides=1, padding="VALID").numpy()[0, :, 0].tolist() == [1, 2, 2, 1]


def test_gradients_through_xla_are_those_of_the_kernel_taps() -> None:
    """A convolution is a sum over the kernel's elements of shifted inputs, which needs no convolution to compute."""
    x, w = normal(2, 7, 6, 3), normal(3, 2, 3, 4)

    def taps(x: Any, w: Any) -> Any:
        padded = dfc.pad(x, [(0, 0), (1, 1), (0, 1), (0, 0)])
        terms = []
        for i in range(3):
            for j in range(2):
                seen = padded[:, i : i + 7 : 2, j : j + 6, :]
                terms.append(dfc.tensordot(seen, w[i, j], axes=([3], [0])))
        return dfc.add_n(terms)

    def both(f: Any) -> Any:
        def loss(x: Any, w: Any) -> Any:
            by_x, by_w = dfc.gradients(dfc.sum(dfc.sin(f(x, w))), [x, w])
            return [by_x, by_w, *dfc.gradients(dfc.sum(dfc.square(by_x)) + dfc.sum(dfc.cos(by_w)), [x, w])]

        return [t.numpy() for t in dfc.function(loss)(x, w)]

    ours = both(lambda x, w: dfc.nn.conv(x, w, strides=(2, 1), padding=[(1, 1), (0, 1)]))
    for got, expected in zip(ours, both(taps), strict=True):
        assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_symbolic_sizes() -> None:
    w = normal(3, 3, 2, 3)

    @dfc.function(signature=[dfc.TensorSpec(("b", "h", 8, 2), "float32")])
    def f(x: Any) -> Any:
        y = dfc.nn.conv(x, w, strides=2)
        assert str(y.shape[0]) == "b"
        return y, dfc.gradients(dfc.sum(dfc.square(y)), x)[0]

    for b, h in ((1, 6), (3, 7)):
        x = normal(b, h, 8, 2)
        y, by_x = f(x)
        pairs = same((h, 8), (3, 3), (2, 2), (1, 1))
        assert_allclose(y.numpy(), by_scipy(x, w, (2, 2), pairs), rtol=1e-5, atol=1e-5)
        again = dfc.nn.conv_transpose(2 * y.numpy(), w, strides=2, padding=pairs, output_padding=(
            (h + sum(pairs[0]) - 3) % 2, (8 + sum(pairs[1]) - 3) % 2))  # fmt: skip
        assert_allclose(by_x.numpy(), again.numpy(), rtol=1e-4, atol=1e-4)


def test_dtypes_meet() -> None:
    assert dfc.nn.conv(np.ones((1, 3, 1), np.float32), np.ones((1, 1, 1))).dtype == dfc.float64
    half = dfc.nn.conv(np.full((1, 3, 200), 20, np.float16), np.ones((1, 200, 1), np.float16))
    assert half.dtype == dfc.float16 and half.numpy()[0, :, 0].tolist() == [4000] * 3
    assert dfc.nn.conv(np.arange(3)[None, :, None], np.array([[[2]]])).numpy()[0, :, 0].tolist() == [0, 2, 4]


def error(function: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(DfcError) as caught:
        function(*args, **options)
    assert isinstance(caught.value, InvalidArgument | Unimplemented)
    return str(caught.value).splitlines()[0]


def test_errors() -> None:
    x, w = normal(2, 5, 5, 4), normal(3, 3, 4, 6)
    assert error(dfc.nn.conv, x, w[0]) == (
        "conv: x and the kernel must have as many axes, got float32[2, 5, 5, 4] and float32[3, 4, 6]"
    )
    assert error(dfc.nn.conv, x[0, 0], w[0, 0]) == (
        "conv: x needs a batch axis, a feature axis and 1 to 3 spatial ones, got rank 2"
    )
    assert error(dfc.nn.conv, x, w, data_format="NDHWC") == (
        "conv: data_format must be 'NHWC' or 'NCHW' for rank 4, got 'NDHWC'"
    )
    assert error(dfc.nn.conv, x, w, kernel_format="IOHW") == "conv: kernel_format must be 'HWIO' or 'OIHW', got 'IOHW'"
    assert error(dfc.nn.conv, x, w, strides=(1, 2, 3)) == (
        "conv: strides must be a positive int, or one for each of 2 spatial axes, got (1, 2, 3)"
    )
    assert error(dfc.nn.conv, x, w, padding="FULL") == (
        "conv: padding must be 'SAME', 'VALID', an int or a pair of ints for each of 2 spatial axes, none "
        "negative, got 'FULL'"
    )
    assert error(dfc.nn.conv, x, w, groups=2) == (
        "conv: the kernel's inputs times groups must be x's features, and groups must divide its outputs, got "
        "4 features, 4 inputs, 6 outputs and 2 groups for float32[2, 5, 5, 4] and float32[3, 3, 4, 6]"
    )
    assert error(dfc.nn.depthwise_conv, x, w[:, :, :3]) == (
        "depthwise_conv: the kernel needs an entry for each feature, got float32[3, 3, 3, 6] for 4 features"
    )
    assert error(dfc.nn.conv_transpose, x, w, output_padding=1) == (
        "conv_transpose: output_padding must be below the stride and goes with explicit padding, got 1 for strides "
        "(1, 1) and padding 'SAME'"
    )


def test_same_padding_of_a_size_that_is_not_known() -> None:
    @dfc.function(signature=[dfc.TensorSpec((1, "h", 2), "float32")])
    def f(x: Any) -> Any:
        return dfc.nn.conv(x, normal(2, 2, 1), strides=3)

    assert error(f, normal(1, 9, 2)) == (
        "conv: padding 'SAME' of a size that isn't known needs a window no smaller than the stride, got 2 and 3 for (h)"
    )
