"""Modules and layers, against formulas in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType
from tests.frontend_support import error_of

initializers = dfc.nn.initializers
RNG = np.random.default_rng(0)


def draw(*size: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=size).astype(np.float32)


# ---- the tree


class Net(dfc.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = dfc.Variable(2.0)
        self.blocks = [dfc.nn.Dense(2, 3), dfc.nn.Dense(3, 2, use_bias=False)]
        self.tied = self.blocks[0]
        self.heads = {"a": dfc.nn.Dense(2, 1)}


def test_variables_have_the_names_of_their_paths() -> None:
    net = Net()
    names = ["scale", "blocks/0/weights", "blocks/0/bias", "blocks/1/weights", "heads/a/weights", "heads/a/bias"]
    assert list(net.named_variables()) == names
    assert [v.name for v in net.variables] == names
    assert net.trainable_variables == net.variables
    assert [type(m).__name__ for m in net.modules()] == ["Net", "Dense", "Dense", "Dense"]


def test_a_module_takes_its_place_in_a_larger_one() -> None:
    class Outer(dfc.Module):
        def __init__(self) -> None:
            super().__init__("gan")
            self.generator = Net()

    outer = Outer()
    assert list(outer.named_variables())[:2] == ["gan/generator/scale", "gan/generator/blocks/0/weights"]
    outer.generator.blocks.append(dfc.nn.Dense(1, 1))
    assert "gan/generator/blocks/2/bias" in outer.named_variables()


def test_a_model_is_saved_and_restored_by_these_names(tmp_path: Any) -> None:
    first, second = Net(), Net()
    path = dfc.train.Saver(first.named_variables()).save(tmp_path, 1)
    dfc.train.Saver(second.named_variables()).restore(path)
    for a, b in zip(first.variables, second.variables, strict=True):
        assert_array_equal(a.numpy(), b.numpy())


def test_a_graph_uses_the_names() -> None:
    net = Net()
    graph = dfc.function(lambda x: net.blocks[0](x)).graph(dfc.TensorSpec((4, 2)))
    assert list(graph.variables) == ["blocks/0/weights", "blocks/0/bias"]


def test_a_graph_made_by_hand_keeps_the_names() -> None:
    with dfc.Graph():
        net, other = Net(), dfc.nn.Dense(3, 2)
        net.blocks[0](dfc.zeros((4, 2)))
        other(dfc.zeros((4, 3)))
        names = ["scale", "blocks/0/weights", "blocks/0/bias", "blocks/1/weights", "heads/a/weights", "heads/a/bias"]
        assert list(net.named_variables()) == list(net.named_variables()) == names
        assert list(other.named_variables()) == ["weights", "bias"]

        def put() -> None:
            dfc.nn.Sequential(other)

        assert error_of(FailedPrecondition, put, __file__) == (
            "variable 'weights' of a graph keeps its name once it is used, and can't become 'layers/0/weights'\n"
            "  put layers into modules before they are called"
        )


# ---- initial values


@pytest.mark.parametrize(
    ("make", "variance"),
    [
        (initializers.glorot_uniform, 2 / (300 + 200)),
        (initializers.glorot_normal, 2 / (300 + 200)),
        (initializers.he_uniform, 2 / 300),
        (initializers.he_normal, 2 / 300),
        (initializers.lecun_uniform, 1 / 300),
        (initializers.lecun_normal, 1 / 300),
        (initializers.normal(0.3), 0.09),
        (initializers.uniform(-1, 1), 1 / 3),
        (initializers.truncated_normal(0.5), 0.25),
    ],
)
def test_initial_values_have_their_variance(make: Any, variance: float) -> None:
    dfc.random.seed(3)
    values = make((300, 200), "float32")
    assert values.dtype == np.float32
    assert abs(values.mean()) < 4 * np.sqrt(variance / values.size)
    assert_allclose(values.var(), variance, rtol=0.03)


def test_initial_values_are_repeatable_and_never_the_same_twice() -> None:
    dfc.random.seed(5)
    first, second = initializers.he_normal((4, 4), "float32"), initializers.he_normal((4, 4), "float32")
    dfc.random.seed(5)
    assert_array_equal(initializers.he_normal((4, 4), "float32"), first)
    assert (first != second).all()


def test_fans_count_the_kernel_and_truncation_holds() -> None:
    dfc.random.seed(1)
    assert_allclose(initializers.he_normal((3, 3, 64, 128), "float64").var(), 2 / (9 * 64), rtol=0.03)
    limit = 2 * 0.5 / 0.87962566103423978
    assert np.abs(initializers.truncated_normal(0.5)((10000,), "float64")).max() <= limit


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (2, 3, 5)])
def test_orthogonal_weights_are(shape: tuple[int, ...]) -> None:
    w = initializers.orthogonal(2.0)(shape, "float64").reshape(-1, shape[-1])
    small = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_what_is_no_initializer_is_refused() -> None:
    with pytest.raises(
        InvalidArgument, match="an initializer is a function of a shape and a dtype, or a number, got 'he'"
    ):
        dfc.nn.Dense(2, 3, weights="he")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"sizes of weights must be positive integers, got \(0, 3\)"):
        dfc.nn.Dense(0, 3)


# ---- layers


def test_dense() -> None:
    layer, x = dfc.nn.Dense(3, 2, dfc.nn.relu, bias=0.5), draw(4, 5, 3)
    assert_allclose(layer(x).numpy(), np.maximum(x @ layer.weights.numpy() + 0.5, 0), rtol=1e-5, atol=1e-6)


def test_layers_compute_in_another_dtype_than_their_weights() -> None:
    layer = dfc.nn.Dense(3, 2, compute_dtype="bfloat16")
    assert layer(draw(4, 3)).dtype is dfc.bfloat16
    assert layer.weights.dtype is dfc.float32


def test_embedding() -> None:
    layer = dfc.nn.Embedding(5, 3)
    assert_array_equal(layer(np.array([[4, 0], [1, 1]])).numpy(), layer.table.numpy()[[[4, 0], [1, 1]]])


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_conv_adds_its_bias_to_the_features(data_format: str) -> None:
    layer = dfc.nn.Conv(2, 3, (1, 1), bias=initializers.normal(1.0), data_format=data_format)
    x = draw(2, 4, 4, 2)
    expected = x @ layer.weights.numpy()[0, 0] + layer.bias.numpy()  # type: ignore[union-attr]
    if data_format == "NHWC":
        assert_allclose(layer(x).numpy(), expected, rtol=1e-5, atol=1e-6)
    else:
        assert_allclose(layer(x.transpose(0, 3, 1, 2)).numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)


def test_conv_transpose_makes_images_larger() -> None:
    assert dfc.nn.ConvTranspose(2, 3, (4, 4), strides=2)(draw(1, 5, 5, 2)).shape == (1, 10, 10, 3)
    with pytest.raises(InvalidArgument, match="Conv: groups must divide inputs and outputs, got 2 groups of 3 and 4"):
        dfc.nn.Conv(3, 4, (3, 3), groups=2)


def test_batch_norm_learns_its_averages_and_then_uses_them() -> None:
    layer, x = dfc.nn.BatchNorm(3, momentum=0.9), draw(64, 3) * 2 + 1
    train = dfc.function(lambda x: layer(x, training=True))
    y = train(x).numpy()
    mean, variance = x.mean(0), x.var(0)
    assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-4, atol=1e-5)
    assert_allclose(layer.mean.numpy(), 0.1 * mean, rtol=1e-4)
    assert_allclose(layer.variance.numpy(), 0.9 + 0.1 * variance, rtol=1e-4)
    expected = (x - layer.mean.numpy()) / np.sqrt(layer.variance.numpy() + 1e-5)
    assert_allclose(layer(x).numpy(), expected, rtol=1e-4, atol=1e-5)
    assert [v.name for v in layer.trainable_variables] == ["scale", "offset"]


def test_layer_norm() -> None:
    x = draw(4, 6)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    assert_allclose(dfc.nn.LayerNorm(6)(x).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_sequential_tells_those_who_ask_that_it_is_training() -> None:
    told = []

    def layer(x: Any, training: bool = False) -> Any:
        told.append(training)
        return x * 2

    net = dfc.nn.Sequential(layer, dfc.nn.relu, dfc.nn.BatchNorm(2), dfc.nn.Flatten(), dfc.nn.Dense(2, 4))
    x = draw(3, 2)
    assert net(x, training=True).shape == (3, 4)
    assert net(x).shape == (3, 4)
    assert told == [True, False]
    assert (len(net), list(net)[1]) == (5, dfc.nn.relu)
    assert list(net.named_variables())[-1] == "layers/4/bias"


def test_dropout_is_a_layer() -> None:
    layer, x = dfc.nn.Dropout(0.25), np.arange(1, 4001, dtype=np.float32).reshape(4, 1000)
    assert_array_equal(layer(x).numpy(), x)
    dfc.random.seed(1)
    first, second = (layer(x, training=True).numpy() for _ in range(2))
    for y in (first, second):
        assert_allclose(y[y != 0], x[y != 0] / 0.75, rtol=1e-6)
        assert abs((y == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / x.size)
    assert (first != second).any()
    dfc.random.seed(1)
    assert_array_equal(layer(x, training=True).numpy(), first)
    key = dfc.random.key(7)
    assert_array_equal(layer(x, training=True, key=key).numpy(), layer(x, training=True, key=key).numpy())
    told = dfc.function(lambda x, training: layer(x, training=training, key=key))
    assert_array_equal(told(x, dfc.asarray(False)).numpy(), x)
    assert_array_equal(told(x, dfc.asarray(True)).numpy(), layer(x, training=True, key=key).numpy())
    rows = dfc.nn.Dropout(0.5, noise_shape=(4, 1))(x, training=True).numpy() != 0
    assert (rows == rows[:, :1]).all()


def test_dropout_in_a_model() -> None:
    net, x = dfc.nn.Sequential(dfc.nn.Dense(2, 500, weights=1.0), dfc.nn.Dropout(0.5)), np.ones((1, 2), np.float32)
    assert repr(dfc.nn.Dropout(0.5)) == "Dropout(rate=0.5)"
    assert list(net.named_variables()) == ["layers/0/weights", "layers/0/bias"]
    assert set(np.unique(dfc.function(lambda x: net(x, training=True))(x).numpy())) == {0, 4}
    graph = dfc.function(lambda x: net(x)).graph(dfc.TensorSpec((1, 2)))
    assert list(graph.variables) == ["layers/0/weights", "layers/0/bias"]  # nothing is drawn
    assert (net(x).numpy() == 2).all()


@pytest.mark.parametrize("rate", [1, -0.1, float("nan")])
def test_a_rate_of_dropout_that_cannot_be(rate: float) -> None:
    text = f"Dropout: 0 <= rate < 1 must hold, got {rate}"
    assert error_of(InvalidArgument, lambda: dfc.nn.Dropout(rate), __file__) == text


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def test_lstm_cell() -> None:
    cell, x, h, c = dfc.nn.LSTMCell(3, 4), draw(2, 3), draw(2, 4), draw(2, 4)
    out, (new_h, new_c) = cell(x, (dfc.asarray(h), dfc.asarray(c)))
    i, f, g, o = np.split(x @ cell.kernel.numpy() + h @ cell.recurrent.numpy() + cell.bias.numpy(), 4, -1)
    expected_c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
    assert_allclose(new_c.numpy(), expected_c, rtol=1e-4, atol=1e-6)
    assert_allclose(new_h.numpy(), sigmoid(o) * np.tanh(expected_c), rtol=1e-4, atol=1e-6)
    assert_array_equal(out.numpy(), new_h.numpy())
    assert [s.shape for s in cell.initial_state(5)] == [(5, 4), (5, 4)]


def test_gru_cell() -> None:
    cell, x, h = dfc.nn.GRUCell(3, 4), draw(2, 3), draw(2, 4)
    cell.recurrent_bias.assign(draw(12))
    given = np.split(x @ cell.kernel.numpy() + cell.bias.numpy(), 3, -1)
    kept = np.split(h @ cell.recurrent.numpy() + cell.recurrent_bias.numpy(), 3, -1)
    z, r = sigmoid(given[0] + kept[0]), sigmoid(given[1] + kept[1])
    expected = z * h + (1 - z) * np.tanh(given[2] + r * kept[2])
    assert_allclose(cell(x, dfc.asarray(h))[0].numpy(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention(causal: bool) -> None:
    layer, x = dfc.nn.MultiHeadAttention(6, 2, causal=causal), draw(2, 4, 6)
    q, k, v = (x @ part.weights.numpy() for part in (layer.query, layer.key, layer.value))
    expected = np.zeros((2, 4, 6))
    for b, head in np.ndindex(2, 2):
        part = slice(3 * head, 3 * head + 3)
        scores = q[b, :, part] @ k[b, :, part].T / np.sqrt(3)
        if causal:
            scores[np.triu_indices(4, 1)] = -np.inf
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        expected[b, :, part] = weights @ v[b, :, part]
    assert_allclose(layer(x).numpy(), expected @ layer.out.weights.numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(InvalidArgument, match="MultiHeadAttention: heads must divide the size, got 4 heads of size 6"):
        dfc.nn.MultiHeadAttention(6, 4)


def test_attention_with_a_mask() -> None:
    q, k, v = draw(2, 3), draw(4, 3), draw(4, 5)
    mask = np.array([[True, False, True, False], [False] * 4])
    got = dfc.nn.dot_product_attention(q, k, v, mask).numpy()
    scores = (q @ k.T / np.sqrt(3))[0, [0, 2]]
    weights = np.exp(scores) / np.exp(scores).sum()
    assert_allclose(got[0], weights @ v[[0, 2]], rtol=1e-5)
    assert_array_equal(got[1], np.zeros(5))
    with pytest.raises(InvalidArgument, match="query and key must have one depth, got 3 and 5"):
        dfc.nn.dot_product_attention(q, v, v)


def test_a_tied_variable_keeps_its_first_name_whoever_looks() -> None:
    class Tied(dfc.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enc, self.dec = dfc.nn.Dense(2, 3), dfc.nn.Dense(3, 2)
            self.dec.weights = self.enc.weights

    net = Tied()
    for _ in range(2):
        repr(net.dec)
        assert list(net.named_variables()) == ["enc/weights", "enc/bias", "dec/bias"]
        assert list(net.dec.named_variables()) == ["enc/weights", "dec/bias"]


def test_two_variables_of_one_name_are_refused() -> None:
    net = dfc.Module()
    net.d = {1: dfc.Variable(0.0), "1": dfc.Variable(1.0)}
    with pytest.raises(InvalidArgument, match="two variables of Module are called 'd/1'"):
        net.named_variables()


def test_a_module_may_know_its_parent() -> None:
    net, child = dfc.Module(), dfc.Module()
    net.child = child
    child.parent = net
    child.w = dfc.Variable(0.0)
    assert list(net.named_variables()) == ["child/w"]
    assert net.modules() == [net, child]


# ---- mistakes


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: dfc.nn.Conv(3, 4, 3), "Conv: the kernel needs a size for each spatial axis, (3, 3) for images, got 3"),
        (
            lambda: dfc.nn.ConvTranspose(3, 4, ()),
            "ConvTranspose: the kernel needs a size for each spatial axis, (3, 3) for images, got ()",
        ),
        (lambda: dfc.nn.Conv(3, 4, (3, 3), groups=0), "Conv: groups must be a positive integer, got 0"),
        (lambda: dfc.nn.Conv(3, 4, (3, 3), groups=-1), "Conv: groups must be a positive integer, got -1"),
        (lambda: dfc.nn.MultiHeadAttention(8, 0), "MultiHeadAttention: heads must be a positive integer, got 0"),
        (lambda: dfc.nn.Flatten()(3.0), "Flatten: x must have a first axis, got float32[]"),
    ],
)
def test_arguments_that_no_layer_can_have(make: Any, text: str) -> None:
    assert error_of(InvalidArgument, make, __file__) == text


def test_a_rate_of_dropout_is_a_number() -> None:
    assert dfc.nn.Dropout(np.float32(0.5)).rate == 0.5  # type: ignore[arg-type]
    text = "Dropout: the rate must be a number, got '0.5'"
    assert error_of(InvalidType, lambda: dfc.nn.Dropout("0.5"), __file__) == text  # type: ignore[arg-type]
    text = "dropout: x must be floating, got int32[2]"
    call = lambda: dfc.nn.Dropout(0.5)(np.ones(2, np.int32), training=True)  # noqa: E731
    assert error_of(InvalidType, call, __file__) == text


def test_sequential_takes_only_what_can_be_called() -> None:
    assert error_of(InvalidType, lambda: dfc.nn.Sequential(dfc.nn.relu, 3), __file__) == (
        "Sequential: each must be a layer or a function of one tensor, got 3 as number 1"
    )
    assert error_of(InvalidType, lambda: dfc.nn.Sequential([dfc.nn.relu]), __file__).endswith(
        "as number 0\n  give the layers one by one: Sequential(*layers)"
    )


TAKES = [
    (dfc.nn.Dense(2, 3), (draw(1, 3),), "Dense: the last axis must have 2 features, got float32[1, 3]"),
    (dfc.nn.Dense(2, 3), (1.0,), "Dense: the last axis must have 2 features, got float32[]"),
    (dfc.nn.LayerNorm(4), (draw(2, 3),), "LayerNorm: the last axis must have 4 features, got float32[2, 3]"),
    (dfc.nn.BatchNorm(4), (draw(2, 3),), "BatchNorm: the last axis must have 4 features, got float32[2, 3]"),
    (dfc.nn.BatchNorm(4, axis=1), (draw(2, 3, 4),), "BatchNorm: axis 1 must have 4 features, got float32[2, 3, 4]"),
    (
        dfc.nn.Conv(3, 4, (3, 3)),
        (draw(5, 5, 3),),
        "Conv: x must have rank 4, for batch, 2 spatial axes and features, got float32[5, 5, 3]",
    ),
    (
        dfc.nn.Conv(4, 4, (3,), groups=2),
        (draw(1, 5, 3),),
        "Conv: the last axis must have 4 features, got float32[1, 5, 3]",
    ),
    (
        dfc.nn.ConvTranspose(3, 4, (3, 3), data_format="NCHW"),
        (draw(1, 5, 5, 3),),
        "ConvTranspose: axis 1 must have 3 features, got float32[1, 5, 5, 3]",
    ),
    (
        dfc.nn.GRUCell(2, 3),
        (draw(1, 3), draw(1, 3)),
        "GRUCell: the last axis of x must have 2 features, got float32[1, 3]",
    ),
    (
        dfc.nn.GRUCell(2, 3),
        (draw(1, 2), draw(1, 2)),
        "GRUCell: the last axis of the state must have 3 units, got float32[1, 2]",
    ),
    (
        dfc.nn.GRUCell(2, 3),
        (draw(4, 2), draw(5, 3)),
        "GRUCell: x and the state must have one batch, got float32[4, 2] and float32[5, 3]",
    ),
    (
        dfc.nn.LSTMCell(2, 3),
        (draw(1, 4), (draw(1, 3), draw(1, 3))),
        "LSTMCell: the last axis of x must have 2 features, got float32[1, 4]",
    ),
    (
        dfc.nn.LSTMCell(2, 3),
        (draw(1, 2), (draw(1, 3), draw(1, 4))),
        "LSTMCell: the last axis of the state must have 3 units, got float32[1, 4]",
    ),
    (dfc.nn.LSTMCell(2, 3), (draw(1, 2), draw(2, 3)), "LSTMCell: the state must be a pair (h, c), got float32[2, 3]"),
    (dfc.nn.LSTMCell(2, 3), (draw(1, 2), [draw(1, 3)]), "LSTMCell: the state must be a pair (h, c), got 1 parts"),
    (
        dfc.nn.MultiHeadAttention(4, 2),
        (draw(3, 4),),
        "MultiHeadAttention: query must have shape (batch, n, 4), got float32[3, 4]",
    ),
    (
        dfc.nn.MultiHeadAttention(4, 2),
        (draw(1, 3, 4), draw(1, 3, 5)),
        "MultiHeadAttention: key must have shape (batch, n, 4), got float32[1, 3, 5]",
    ),
    (
        dfc.nn.MultiHeadAttention(4, 2),
        (draw(1, 3, 4), draw(1, 3, 4), draw(1, 2, 4)),
        "MultiHeadAttention: key and value must have one length, got float32[1, 3, 4] and float32[1, 2, 4]",
    ),
]


@pytest.mark.parametrize(("layer", "given", "text"), TAKES)
@pytest.mark.parametrize("traced", [False, True])
def test_what_a_layer_does_not_take_is_said_in_its_own_words(layer: Any, given: Any, text: str, traced: bool) -> None:
    call = dfc.function(lambda given: layer(*given)) if traced else lambda given: layer(*given)
    assert error_of(InvalidArgument, lambda: call(given), __file__) == text


def test_an_embedding_takes_integers() -> None:
    layer = dfc.nn.Embedding(5, 3)
    assert error_of(InvalidType, lambda: layer(draw(2)), __file__) == "Embedding: ids must be integers, got float32[2]"
    assert layer([]).shape == (0, 3)


def test_layers_hold_for_any_batch_and_cells_for_one_row() -> None:
    net = dfc.nn.Sequential(dfc.nn.Conv(1, 2, (3, 3)), dfc.nn.BatchNorm(2), dfc.nn.LayerNorm(2), dfc.nn.Dense(2, 3))
    attention, cell = dfc.nn.MultiHeadAttention(4, 2), dfc.nn.GRUCell(2, 3)
    specs = [
        dfc.TensorSpec(("b", 4, 4, 1)),
        dfc.TensorSpec(("b", "n", 4)),
        dfc.TensorSpec(("b", 2)),
        dfc.TensorSpec((3,)),
    ]
    graph = dfc.function(lambda x, y, z, h: (net(x), attention(y), cell(z, h)[0])).graph(*specs)
    assert [str(spec) for spec in graph.output_specs] == ["float32[b, 4, 4, 3]", "float32[b, n, 4]", "float32[b, 3]"]
    assert cell(draw(2), draw(3))[0].shape == (3,)
