"""Row K9, data and tensor parallelism: programs over the four CPU devices that tests have, as meshes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.frontend import sharding
from tests.examples_support import load

NDArray = np.ndarray[Any, Any]
COLLECTIVE = re.compile(r" (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)(?:-start)?\(")
X = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(16, 12)).astype(np.float32)


@pytest.fixture(autouse=True)
def only_these_meshes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Meshes of other tests don't make it unclear which one is meant."""
    monkeypatch.setattr(sharding, "_made", {})


def programs(function: Any, *arguments: Any) -> list[Any]:
    """The executables of a call."""
    found: list[Any] = function.compiled_for(*map(dfc.asarray, arguments)).step.executables
    return found


def collectives(function: Any, *arguments: Any) -> Counter[str]:
    return Counter(name for each in programs(function, *arguments) for name in COLLECTIVE.findall(each.hlo))


# ---- training


def trained(
    monkeypatch: pytest.MonkeyPatch, data: int, model: int, steps: int = 6
) -> tuple[Any, Any, list[float], Any]:
    """The network, its step, the losses of some steps, and a batch."""
    example = load("transformer", monkeypatch)
    dfc.random.seed(0)
    network, step = example.made(data, model, 32)
    batches = list(example.batches(steps, 32))
    losses = [step(*batch).item() for batch in batches]
    return network, step, losses, batches[0]


@pytest.mark.parametrize(("data", "model"), [(4, 1), (1, 4), (2, 2)])
def test_k9_a_transformer_block_has_one_devices_losses(monkeypatch: pytest.MonkeyPatch, data: int, model: int) -> None:
    alone, _, expected, _ = trained(monkeypatch, 1, 1)
    network, _, losses, _ = trained(monkeypatch, data, model)
    assert expected[-1] < expected[0] - 0.1
    assert_allclose(losses, expected, rtol=2e-5)
    for one, other in zip(alone.trainable_variables, network.trainable_variables, strict=True):
        if one.name.endswith("key/bias"):
            continue  # its gradient is zero but for rounding, of which Adam makes steps
        assert_allclose(other.numpy(), one.numpy(), atol=2e-5, err_msg=one.name)
        assert other.device.startswith("mesh:")


def test_k9_data_parallel_steps_have_one_sum_over_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    _, step, _, batch = trained(monkeypatch, 4, 1, 1)
    assert collectives(step, *batch) == {"all-reduce": 1}
    (program,) = programs(step, *batch)
    (line,) = [line for line in program.hlo.splitlines() if COLLECTIVE.search(line)]
    n_variables = len(load("transformer", monkeypatch).made(1, 1, 32)[0].trainable_variables)
    reduced = line.partition(" all-reduce(")[0].count("f32[")
    assert reduced in (n_variables, n_variables + 1)  # each gradient, and the loss


def test_k9_tensor_parallel_steps_have_two_sums_forwards_and_two_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    network, step, _, batch = trained(monkeypatch, 1, 4, 1)
    assert collectives(step, *batch) == {"all-reduce": 4}
    weights = network.block.hidden.weights
    assert weights.read().sharding == (None, "model")
    quarter = [shard.data.shape for shard in weights.state.buffer.addressable_shards]
    assert quarter == [(32, 32)] * 4  # of (32, 128)


def test_k9_what_optimisers_keep_is_divided_as_the_variable_is() -> None:
    dfc.mesh({"model": 4})
    v = dfc.shard(dfc.Variable(W, name="v"), (None, "model"))
    optimizer = dfc.train.Adam(0.1)

    @dfc.function
    def step() -> dfc.Tensor:
        loss = dfc.sum(v * v)
        optimizer.minimize(loss, [v])
        return loss

    step()
    slots = [variable for variable in optimizer.variables if variable.shape == v.shape]
    assert len(slots) == 2
    assert [slot.read().sharding for slot in slots] == [(None, "model")] * 2


def test_k9_the_stablehlo_says_how_values_are_divided() -> None:
    mesh = dfc.mesh({"data": 2, "model": 2})
    w = dfc.shard(dfc.Variable(W, name="w"), (None, "model"), mesh)

    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        y = dfc.shard(x, ("data", None), mesh) @ w
        w.assign_add(dfc.ones(w.shape))
        return dfc.shard(y, (("data", "model"), None), mesh)

    text = f.lower(dfc.TensorSpec((8, 16), "float32")).text
    assert "mhlo.num_partitions = 4" in text
    assert 'sdy.mesh @mesh = <["data"=2, "model"=2]>' in text
    signature = next(line for line in text.splitlines() if "@main" in line)
    taken, _, given = signature.partition("->")
    assert re.findall(r"\[\{.*?\}\]", taken) == ['[{}, {"model"}]', '[{"data"}, {}]']
    assert re.findall(r"\[\{.*?\}\]", given) == ['[{}, {"model"}]', '[{"data", "model"}, {}]']
    assert text.count("sdy.sharding_constraint") == 2
    assert_allclose(f(X).numpy(), X @ W, rtol=1e-4, atol=1e-5)
    assert f(X).sharding == (("data", "model"), None)
    assert_allclose(w.numpy(), W + 2, rtol=1e-6)


# ---- values


def chain(mesh: Any, x: Any, w: Any) -> Any:
    y = dfc.tanh(dfc.shard(x, ("a",), mesh) @ dfc.shard(w, (None, "b"), mesh))
    folded = dfc.reshape(dfc.shard(y, (None, ("a", "b")), mesh), (8, 4, 3))
    return dfc.concat([dfc.shard(dfc.sum(folded, axis=2), ("b", "a"), mesh), dfc.cumulative_sum(y, axis=1)], axis=1)


def looped(mesh: Any, x: Any, w: Any) -> Any:
    def body(i: Any, a: Any) -> Any:
        a = dfc.cond(dfc.sum(a) > 0, lambda: dfc.shard(a, ("b",), mesh) * 0.5, lambda: a - 1.0)
        return i + 1, dfc.shard(dfc.tanh(a @ (w @ dfc.matrix_transpose(w))), (None, "a"), mesh)

    return dfc.while_loop(lambda i, _: i < 3, body, (np.int32(0), dfc.shard(x, ("a", "b"), mesh)))[1]


def sorted_rows(mesh: Any, x: Any, w: Any) -> Any:
    keys = dfc.shard(dfc.sort(x, axis=1), (("b", "a"),), mesh)
    return dfc.einsum("ij,jk->ki", keys, dfc.shard(w, ("a", "b"), mesh))


@pytest.mark.parametrize("axes", [{"a": 4, "b": 1}, {"a": 2, "b": 2}, {"a": 1, "b": 4}, {"a": 2, "b": 1}])
@pytest.mark.parametrize("f", [chain, looped, sorted_rows])
def test_k9_values_and_gradients_are_those_of_one_device(f: Callable[..., Any], axes: dict[str, int]) -> None:
    mesh = dfc.mesh(axes)

    def loss(m: Any, x: Any, w: Any) -> Any:
        return dfc.sum(dfc.square(f(m, x, w)))

    def both(m: Any) -> Any:
        return dfc.function(lambda x, w: (f(m, x, w), *dfc.grad(lambda x, w: loss(m, x, w), (0, 1))(x, w)))

    for got, expected in zip(both(mesh)(X, W), both(dfc.mesh({"a": 1, "b": 1}))(X, W), strict=True):
        assert got.device.startswith("mesh:")
        assert expected.device == "cpu:0"
        close = 5e-5 * np.abs(expected.numpy()).max()
        assert_allclose(got.numpy(), expected.numpy(), rtol=2e-4, atol=close)


@pytest.mark.parametrize("dtype", ["float64", "int64", "complex64", "bool", "uint8", "bfloat16"])
def test_k9_dtypes(dtype: str) -> None:
    mesh = dfc.mesh({"a": 2, "b": 2})
    x = dfc.astype(dfc.asarray((X > 0) * 3), dtype).numpy()
    f = dfc.function(lambda x: dfc.shard(dfc.flip(dfc.shard(x, ("a", "b"), mesh), axis=0), (None, "a"), mesh))
    got = f(x).numpy()
    assert got.dtype == x.dtype
    assert_array_equal(got, x[::-1])


@pytest.mark.parametrize("divided", [(), ("a",), (None, "a")])
@pytest.mark.parametrize("axis", [0, 1])
def test_k9_fourier_transforms_of_divided_axes(axis: int, divided: tuple[str | None, ...]) -> None:
    """XLA ends the process on some, if they are left to it."""
    mesh = dfc.mesh({"a": 4})
    f = dfc.function(lambda x: dfc.fft.fft(dfc.shard(x, divided, mesh), axis=axis))
    assert_allclose(f(X[:4, :8]).numpy(), np.fft.fft(X[:4, :8], axis=axis), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 4, 16), (2, 2, 2, 16), (128,), (4, 32), (16, 8)])
def test_k9_results_of_which_nothing_is_said(shape: tuple[int, ...]) -> None:
    mesh = dfc.mesh({"a": 4})
    f = dfc.function(lambda x: dfc.reshape(dfc.shard(x, ("a",), mesh) * 2.0, shape))
    assert_array_equal(f(X).numpy(), (X * 2).reshape(shape))


def test_k9_inputs_come_from_anywhere() -> None:
    mesh, other = dfc.mesh({"a": 4}), dfc.mesh({"b": 2})
    f = dfc.function(lambda x: dfc.sum(dfc.shard(x, (None, "a"), mesh) * 2.0, axis=1))
    expected = (X * 2).sum(axis=1)
    with dfc.device("cpu:1"):
        there = dfc.asarray(X) + 0.0
    theirs = jax.sharding.Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("p", "q"))
    values = [
        X,
        dfc.asarray(X),
        there,
        dfc.shard(X, ("a",), mesh),
        dfc.shard(X, ("b",), other),
        jax.device_put(X, NamedSharding(theirs, PartitionSpec("p", "q"))),
    ]
    for value in [*values, *values]:  # and once more, as compiled
        result = f(value)
        assert_allclose(result.numpy(), expected, rtol=1e-5)
        assert result.device == dfc.shard(X, (), mesh).device


def test_k9_results_are_used_by_what_is_not_divided() -> None:
    mesh = dfc.mesh({"a": 4})
    y = dfc.function(lambda x: dfc.shard(x, ("a",), mesh) + 1.0)(X)
    assert y.sharding == ("a", None)
    f = dfc.function(lambda y, z: dfc.tanh(y * 2.0 - z))  # which says nothing of a mesh
    turned = dfc.shard(y, (None, "a"), mesh)
    for got, division, expected in [
        (y * 2.0, ("a", None), (X + 1) * 2),
        (turned * 2.0, (None, "a"), (X + 1) * 2),
        (y + y, ("a", None), (X + 1) * 2),
        (f(y, y), ("a", None), np.tanh(X + 1)),
        (f(turned, 1.0), (None, "a"), np.tanh((X + 1) * 2 - 1)),
        (f(y, X), ("a", None), np.tanh((X + 1) * 2 - X)),
    ]:
        assert (got.sharding, got.device) == (division, y.device)
        assert_allclose(got.numpy(), expected, rtol=1e-6, atol=1e-6)
    assert_array_equal(dfc.function(lambda y: y[:2, ::3])(y).numpy(), (X + 1)[:2, ::3])
    with dfc.device("cpu:2"):
        moved = y * 2
    assert moved.device == "cpu:2"
    assert_array_equal(moved.numpy(), (X + 1) * 2)
    assert_array_equal(np.asarray(y), X + 1)
    assert [float(v) for v in y[0, :3]] == [float(v) for v in (X + 1)[0, :3]]


def test_k9_constants_are_divided() -> None:
    mesh = dfc.mesh({"a": 4})
    assert dfc.function(lambda: dfc.shard(X, ("a",), mesh))().sharding == ("a", None)


def test_k9_many_axes_of_size_one() -> None:
    mesh = dfc.mesh({**dict.fromkeys("efghijklm", 1), "a": 4})
    f = dfc.function(lambda x: dfc.matrix_transpose(dfc.shard(x, ("a",), mesh)) * 2.0)
    assert f(X).sharding == (None, "a")
    assert_array_equal(f(X).numpy(), X.T * 2)


def test_k9_values_are_put_on_a_mesh_at_once() -> None:
    mesh = dfc.mesh({"a": 2, "b": 2})
    y = dfc.shard(X, (("b", "a"), None), mesh)
    assert y.sharding == (("b", "a"), None)
    assert_array_equal(y.numpy(), X)
    owners = [shard.device.id for shard in sorted(y._array.addressable_shards, key=lambda s: s.index[0].start)]
    assert owners == [0, 2, 1, 3]  # b is the outer one, a the inner one
    assert dfc.shard(X, (), mesh).sharding == (None, None)
    assert dfc.shard(y, ("a",), mesh).sharding == ("a", None)
    assert dfc.asarray(X).sharding is None


# ---- variables


def test_k9_variables_live_divided() -> None:
    mesh = dfc.mesh({"a": 4})
    v = dfc.shard(dfc.Variable(X, name="v"), ("a",), mesh)
    count = dfc.Variable(0, name="count")
    assert repr(v) == "<dfc.Variable 'v' float32[8, 16] divided [a]>"

    @dfc.function
    def add(x: dfc.Tensor) -> dfc.Tensor:
        v.assign_add(x)
        count.assign_add(1)
        return dfc.sum(v.read())

    assert_allclose(add(X).item(), 2 * X.sum(), rtol=1e-4)
    assert (v.read().sharding, v.sharding, v.device) == (("a", None), ("a", None), count.device)
    assert count.sharding is None
    assert [shard.data.shape for shard in v.state.buffer.addressable_shards] == [(2, 16)] * 4
    v.assign(X * 3)
    assert v.read().sharding == ("a", None)
    v.assign(dfc.asarray(X * 3))
    v.assign_add(np.ones_like(X))  # a program of its own
    v.scatter_add([1, 1], np.ones((2, 16), np.float32))
    expected = X * 3 + 1
    expected[1] += 2
    assert_allclose(v.numpy(), expected, rtol=1e-6)
    assert_allclose(add(X).item(), (expected + X).sum(), rtol=1e-3)
    assert (count.item(), v.read().sharding) == (2, ("a", None))


def test_k9_what_is_assigned_stays_whole() -> None:
    """A step donates the variable's buffers: none of them may be another value's."""
    wide, narrow = dfc.mesh({"a": 4}), dfc.mesh({"b": 2})
    with dfc.device("cpu:2"):
        there = dfc.asarray(X) + 0.0
    sources = [dfc.asarray(X), there, dfc.shard(X, (), wide), dfc.shard(X, ("a",), wide), dfc.shard(X, (), narrow)]
    targets = [(axes, mesh) for mesh, axis in ((wide, "a"), (narrow, "b")) for axes in ((), (axis,))]
    for axes, mesh in targets:
        v = dfc.shard(dfc.Variable(X), axes, mesh)
        step = dfc.function(lambda v=v: v.assign_add(dfc.ones(v.shape)))
        step()
        for source in sources:
            v.assign(source)
            step()
            assert_array_equal(v.numpy(), X + 1)
            assert_array_equal(source.numpy(), X)
    alone = dfc.Variable(X)
    step = dfc.function(lambda: alone.assign_add(dfc.ones(alone.shape)))
    step()
    for source in sources:
        alone.assign(source)
        step()
        assert_array_equal(source.numpy(), X)


def test_k9_offloaded_variables_in_steps_of_a_mesh() -> None:
    mesh = dfc.mesh({"a": 4})
    v = dfc.Variable(X, name="v", offload=True)
    w = dfc.shard(dfc.Variable(W, name="w"), (None, "a"), mesh)
    add = dfc.function(lambda x: v.assign_add(dfc.shard(x, ("a",), mesh)))
    add(X)
    add(X)
    assert_allclose(v.numpy(), 3 * X, rtol=1e-6)
    optimizer = dfc.train.Adam(0.1)

    @dfc.function
    def train(x: dfc.Tensor) -> dfc.Tensor:
        loss = dfc.mean(dfc.square((dfc.shard(x, ("a",), mesh) + v) @ w))
        optimizer.minimize(loss, [v, w])
        return loss

    losses = [train(X).item() for _ in range(5)]
    assert losses[-1] < losses[0]


def test_k9_what_uses_variables_of_a_mesh_is_on_it() -> None:
    mesh = dfc.mesh({"a": 4})
    weights, bias = dfc.Variable(W, name="weights"), dfc.Variable(np.ones(12, np.float32), name="bias")
    trained = dfc.function(lambda x: dfc.sum(dfc.shard(x, ("a",), mesh) @ weights + bias))
    trained(X)
    assert (weights.device, bias.device) == (trained(X).device,) * 2
    evaluated = dfc.function(lambda x: dfc.tanh(x @ weights + bias))  # which says nothing of a mesh
    result = evaluated(X)
    assert result.device == weights.device
    assert_allclose(result.numpy(), np.tanh(X @ W + 1), rtol=1e-4, atol=1e-5)
    assert len(evaluated.compiled_for(dfc.asarray(X)).step.executables) == 1
    with dfc.device("cpu:3"):
        assert_allclose(weights.read().numpy(), W)


def test_k9_checkpoints_hold_whole_values(tmp_path: Any) -> None:
    mesh = dfc.mesh({"a": 4})
    first = dfc.shard(dfc.Variable(X, name="v"), ("a",), mesh)
    dfc.function(lambda: first.assign_add(dfc.ones(first.shape)))()
    path = dfc.train.Saver({"v": first}).save(str(tmp_path / "c"), 1)
    whole = dfc.Variable(np.zeros_like(X), name="v")
    other = dfc.shard(dfc.Variable(np.zeros_like(X), name="v"), (None, "a"), mesh)
    for variable in (whole, other):
        dfc.train.Saver({"v": variable}).restore(path)
        assert_array_equal(variable.numpy(), X + 1)
    assert_allclose(dfc.function(lambda: dfc.sum(other.read()))().item(), (X + 1).sum(), rtol=1e-4)
    assert other.read().sharding == (None, "a")


def test_k9_a_variable_that_lives_elsewhere_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    mesh = dfc.mesh({"a": 4})
    v, small = dfc.Variable(np.ones((8, 1 << 14), np.float32), name="lives_on_one_device"), dfc.Variable(0.0)
    dfc.function(lambda: (v.assign_add(dfc.ones(v.shape)), small.assign_add(1.0)))()
    f = dfc.function(lambda x: dfc.sum(dfc.shard(x, ("a",), mesh) @ v) + small)
    wide = np.ones((4, 8), np.float32)
    assert f(wide).item() == 4 * 8 * 2 * (1 << 14) + 1
    assert dfc.function(lambda x: dfc.max(dfc.shard(x, ("a",), mesh) @ v + small))(wide).item() == 17
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert told[0].startswith("variable 'lives_on_one_device' lives on /job:localhost/replica:0/task:0/device:CPU:0")
    assert "dfc.shard(variable, (), mesh)" in told[0]
