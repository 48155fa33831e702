"""Row L2: networks from declarative text; LeNet's prototxt loads and trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dfc
from dfc.errors import InvalidArgument, Unimplemented

LENET = (Path(__file__).parents[2] / "examples" / "models" / "lenet.prototxt").read_text()
SHAPES = {"data": (1, 28, 28)}


def layer(text: str, shape: tuple[int, ...] = (2, 5, 5)) -> Any:
    """A net of one layer from blob `x` to blob `y`."""
    return dfc.nn.from_config(f'input: "x" layer {{ name: "l" bottom: "x" top: "y" {text} }}', {"x": shape})


def test_l2_lenet_has_its_layers_and_sizes() -> None:
    net = dfc.nn.from_config(LENET, SHAPES)
    assert net.inputs == {"data": (1, 28, 28), "label": ()}
    assert {name: v.shape for name, v in net.named_variables().items()} == {
        "parts/conv1/weights": (5, 5, 1, 20),
        "parts/conv1/bias": (20,),
        "parts/conv2/weights": (5, 5, 20, 50),
        "parts/conv2/bias": (50,),
        "parts/ip1/weights": (800, 500),
        "parts/ip1/bias": (500,),
        "parts/ip2/weights": (500, 10),
        "parts/ip2/bias": (10,),
    }
    assert [net.multipliers[v] for v in net.variables] == [(1.0, 1.0), (2.0, 1.0)] * 4


def test_l2_lenet_trains() -> None:
    sklearn = pytest.importorskip("sklearn.datasets", reason="scikit-learn has the digits: pip install 'dfc[examples]'")
    digits = sklearn.load_digits()
    small = digits.images[:256].astype(np.float32) / 16
    images = np.pad(np.kron(small, np.ones((3, 3), np.float32)), ((0, 0), (2, 2), (2, 2)))[:, None]
    labels = digits.target[:256].astype(np.int32)
    dfc.random.seed(0)
    net, optimizer = dfc.nn.from_config(LENET, SHAPES), dfc.train.Momentum(0.02)

    @dfc.function
    def step(x: Any, y: Any) -> Any:
        loss = net({"data": x, "label": y}, training=True)["loss"]
        optimizer.minimize(loss, net.trainable_variables)
        return loss

    losses = [step(images[i : i + 64], labels[i : i + 64]).item() for _ in range(5) for i in range(0, 256, 64)]
    assert losses[-1] < 0.5 < losses[0]
    test = dfc.function(lambda x, y: net({"data": x, "label": y}))(images, labels)
    assert set(test) == {"loss", "accuracy"}
    assert test["accuracy"].item() > 0.85
    scores = dfc.function(lambda x: net(x)["ip2"])(images).numpy()  # no labels: what needs them is left out
    assert_allclose(np.mean(np.argmax(scores, 1) == labels), test["accuracy"].item(), atol=1e-6)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"), [(5, 2, 2, 0), (6, 3, 2, 0), (7, 3, 2, 1), (5, 3, 3, 1)]
)
@pytest.mark.parametrize("kind", ["MAX", "AVE"])
def test_l2_pooling_rounds_up_as_caffe_does(kind: str, size: int, kernel: int, stride: int, padding: int) -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, size, size)).astype(np.float32)
    numbers = f"kernel_size: {kernel} stride: {stride} pad: {padding}"
    net = layer(f'type: "Pooling" pooling_param {{ pool: {kind} {numbers} }}', (2, size, size))
    count = -(-(size + 2 * padding - kernel) // stride) + 1
    if padding and (count - 1) * stride >= size + padding:
        count -= 1
    expected = np.zeros((1, 2, count, count), np.float32)
    for c, i, j in np.ndindex(2, count, count):
        start = [n * stride - padding for n in (i, j)]
        end = [min(s + kernel, size + padding) for s in start]
        area = (end[0] - start[0]) * (end[1] - start[1])
        inside = x[0, c, max(start[0], 0) : min(end[0], size), max(start[1], 0) : min(end[1], size)]
        expected[0, c, i, j] = inside.max() if kind == "MAX" else inside.sum() / area
    assert_allclose(net(x)["y"].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ('type: "ReLU" relu_param { negative_slope: 0.1 }', lambda x: np.where(x > 0, x, 0.1 * x)),
        ('type: "ELU"', lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
        ('type: "Sigmoid"', lambda x: 1 / (1 + np.exp(-x))),
        ('type: "TanH"', np.tanh),
        ('type: "AbsVal"', np.abs),
        ('type: "BNLL"', lambda x: np.log1p(np.exp(x))),
        ('type: "Power" power_param { power: 2 scale: 0.5 shift: 1 }', lambda x: (0.5 * x + 1) ** 2),
        ('type: "Exp" exp_param { base: 2 scale: 3 shift: 1 }', lambda x: 2 ** (3 * x + 1)),
        ('type: "Softmax"', lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
        ('type: "PReLU"', lambda x: np.where(x > 0, x, 0.25 * x)),
        ('type: "Flatten"', lambda x: x.reshape(2, -1)),
        ('type: "Dropout" dropout_param { dropout_ratio: 0.4 }', lambda x: x),
        (
            'type: "Scale" scale_param { filler { value: 3 } bias_term: true bias_filler { value: 1 } }',
            lambda x: 3 * x + 1,
        ),
        ('type: "BatchNorm" batch_norm_param { eps: 3 }', lambda x: x / 2),
    ],
)
def test_l2_layers_compute_what_caffe_says(text: str, function: Any) -> None:
    x = np.random.default_rng(1).normal(size=(2, 2, 5, 5)).astype(np.float32)
    assert_allclose(layer(text)(x)["y"].numpy(), function(x), rtol=1e-5, atol=1e-6)


def test_l2_local_response_normalisation() -> None:
    x = np.random.default_rng(1).normal(size=(1, 6, 2, 2)).astype(np.float32)
    net = layer('type: "LRN" lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 k: 2 }', (6, 2, 2))
    squares = np.pad(x**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    total = squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]
    assert_allclose(net(x)["y"].numpy(), x / (2 + 0.5 / 3 * total) ** 0.75, rtol=1e-5)


def test_l2_graphs_join_and_split() -> None:
    net = dfc.nn.from_config(
        """
        input: "x" input_shape { dim: 1 dim: 2 dim: 3 dim: 3 }
        layer { name: "s" type: "Split" bottom: "x" top: "a" top: "b" }
        layer { name: "n" type: "Power" bottom: "b" top: "c" power_param { scale: -2 } }
        layer { name: "e" type: "Eltwise" bottom: "a" bottom: "c" top: "sum" eltwise_param { coeff: 1 coeff: 0.5 } }
        layer { name: "m" type: "Eltwise" bottom: "a" bottom: "c" top: "max" eltwise_param { operation: MAX } }
        layer { name: "j" type: "Concat" bottom: "sum" bottom: "max" top: "y" }
        layer { name: "l" type: "EuclideanLoss" bottom: "a" bottom: "c" top: "loss" }
        """
    )
    x = np.random.default_rng(2).normal(size=(4, 2, 3, 3)).astype(np.float32)
    got = net(x)
    assert set(got) == {"y", "loss"}
    assert_allclose(got["y"].numpy(), np.concatenate([0 * x, np.maximum(x, -2 * x)], 1), atol=1e-6)
    assert_allclose(got["loss"].item(), np.sum((3 * x) ** 2) / 8, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('layer { name: "a" type: "ReLU" bottom: "x" top: "y"', "line 1: expected a field's name or '}' for the brace"),
        ("layer { name: }", "line 1: expected a value, got '}'"),
        ("layer { name ^ 3 }", "line 1: can't read '^ 3 }'"),
        (
            'input: "x"\nlayer { name: "a" type: "ReLU" bottom: "z" top: "y" }',
            "line 2: layer 'a': no layer before it gives z",
        ),
        (
            'input: "x"\nlayer { name: "a" type: "InnerProduct" bottom: "x" top: "y" }',
            "line 2: layer 'a' needs num_output",
        ),
        ("name: 'empty'", "the text has no input"),
        (LENET, "line 3: the text does not say the shape of 'data'"),
    ],
)
def test_l2_what_is_wrong_is_named_with_its_line(text: str, message: str) -> None:
    shapes = {} if text == LENET else {"x": (2, 3, 3)}
    with pytest.raises(InvalidArgument) as caught:
        dfc.nn.from_config(text, shapes)
    assert message in str(caught.value)


def test_l2_a_layer_that_is_not_known() -> None:
    with pytest.raises(Unimplemented, match="line 1: layers of type 'Python' are not known"):
        layer('type: "Python"')
    with pytest.raises(InvalidArgument, match="has no input wrong"):
        layer('type: "ReLU"')({"wrong": np.zeros((1, 2, 5, 5), np.float32)})
