"""Row K9, data and tensor parallelism: programs on meshes with the rest of dfc."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.backends.mesh import launches
from dfc.errors import Unimplemented
from tests.semantics.test_k9_sharding import W, X


def test_k9_graphs_and_sessions() -> None:
    mesh = dfc.mesh({"a": 4})
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", ("b", 16), name="x")
        w = dfc.Variable(W, name="w")
        h = dfc.shard(x, ("a",), mesh) @ w
        loss = dfc.mean(dfc.square(h))
        train = dfc.train.Momentum(0.1, 0.9).minimize(loss, [w])
        init = dfc.initialize_all()
    with dfc.Graph() as alone:
        y = dfc.placeholder("float32", ("b", 16), name="y")
        v = dfc.Variable(W, name="w")
        expected = dfc.mean(dfc.square(y @ v))
        step = dfc.train.Momentum(0.1, 0.9).minimize(expected, [v])
        start = dfc.initialize_all()
    with dfc.Session(graph) as session, dfc.Session(alone) as other:
        session.run(init)
        other.run(start)
        for rows in (8, 16, 8):
            feed = np.concatenate([X] * (rows // 8))
            got, wanted = session.run([loss, train], {x: feed})[0], other.run([expected, step], {y: feed})[0]
            assert_allclose(got, wanted, rtol=1e-5)
        compiled = session.stats.compiled
        assert_allclose(session.run(w), other.run(v), rtol=1e-5, atol=1e-6)
        session.run([loss, train], {x: X})
        assert session.stats.compiled == compiled + 1  # what fetches w


def test_k9_each_operation_by_itself() -> None:
    mesh = dfc.mesh({"a": 4})
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (8, 16), name="x")
        w = dfc.shard(dfc.Variable(W, name="w"), (None, "a"), mesh)
        loss = dfc.mean(dfc.square(dfc.shard(x, ("a",), mesh) @ w))
        train = dfc.train.Momentum(0.1, 0.9).minimize(loss, [w])
        init = dfc.initialize_all()
    found = []
    for cluster in (True, False):
        with dfc.Session(graph, config=dfc.SessionConfig(cluster=cluster)) as session:
            session.run(init)
            found.append([session.run([loss, train], {x: X})[0] for _ in range(3)])
    assert_allclose(found[1], found[0], rtol=1e-5)


def test_k9_queues_loops_and_messages_of_one_program(capsys: pytest.CaptureFixture[str]) -> None:
    mesh = dfc.mesh({"a": 4})
    queue = dfc.FIFOQueue(10, ["float32"], shapes=[(8, 16)])

    @dfc.function
    def f(n: dfc.Tensor) -> dfc.Tensor:
        def body(i: Any, total: Any) -> Any:
            return i + 1, total + dfc.sum(dfc.shard(queue.dequeue(), ("a",), mesh), axis=0)

        total = dfc.while_loop(lambda i, _: i < n, body, (np.int32(0), dfc.zeros((16,))))[1]
        dfc.print("took", n)
        return total

    for _ in range(3):
        queue.enqueue(X)
    assert_allclose(f(np.int32(3)).numpy(), 3 * X.sum(axis=0), rtol=1e-4, atol=1e-5)
    assert "took 3" in capsys.readouterr().out


def test_k9_a_part_of_a_program_on_another_device() -> None:
    mesh = dfc.mesh({"a": 2}, ["/job:localhost/replica:0/task:0/device:CPU:1", dfc.devices()[3]])
    assert mesh.devices == [dfc.devices()[1], dfc.devices()[3]]

    @dfc.function
    def f(x: dfc.Tensor) -> Any:
        y = dfc.shard(x, ("a",), mesh) * 2.0
        with dfc.device("/device:CPU:2"):
            z = dfc.sum(y, axis=0) + 1.0
        return y, z, dfc.shard(dfc.reshape(z, (2, 8)), ("a",), mesh)

    y, z, back = f(X)
    assert (y.device, z.device, back.device) == (back.device, "cpu:2", y.device)
    assert_array_equal(y.numpy(), X * 2)
    assert_allclose(z.numpy(), (X * 2).sum(axis=0) + 1, rtol=1e-5)
    assert_allclose(back.numpy(), ((X * 2).sum(axis=0) + 1).reshape(2, 8), rtol=1e-5)


def test_k9_two_meshes_follow_each_other() -> None:
    """What comes after a division is on its mesh, and weights are where they are used: a pipeline of meshes."""
    first, second = dfc.mesh({"a": 2}, ["cpu:0", "cpu:1"]), dfc.mesh({"b": 2}, ["cpu:2", "cpu:3"])
    inner, outer = dfc.Variable(W, name="inner"), dfc.Variable(W.T.copy(), name="outer")

    @dfc.function
    def network(x: dfc.Tensor) -> dfc.Tensor:
        hidden = dfc.tanh(dfc.shard(x, ("a",), first) @ inner)
        return dfc.tanh(dfc.shard(hidden, ("b",), second) @ outer)

    @dfc.function
    def train(x: dfc.Tensor) -> dfc.Tensor:
        loss = dfc.mean(dfc.square(network(x) - 0.5))
        dfc.train.SGD(0.1).minimize(loss, [inner, outer])
        return loss

    result, (a, b) = network(X), (dfc.shard(X, (), mesh).device for mesh in (first, second))
    assert (inner.device, outer.device, result.device, result.sharding) == (a, b, b, ("b", None))
    assert_allclose(result.numpy(), np.tanh(np.tanh(X @ W) @ W.T), rtol=1e-4, atol=1e-5)
    losses = [train(X).item() for _ in range(4)]
    assert losses[-1] < losses[0]
    assert (inner.device, outer.device) == (a, b)


def test_k9_two_meshes_in_one_program() -> None:
    wide, narrow = dfc.mesh({"a": 4}), dfc.mesh({"b": 2})

    @dfc.function
    def f(x: dfc.Tensor) -> Any:
        return dfc.shard(dfc.shard(x, ("a",), wide) * 2.0, (None, "b"), narrow) + 1.0

    assert_array_equal(f(X).numpy(), X * 2 + 1)
    with pytest.raises(Unimplemented, match=r"is shown as a program of one mesh, and this one is on mesh:\d+ \(a=4\)"):
        f.lower(dfc.TensorSpec((8, 16), "float32"))


def test_k9_a_mesh_of_one_device_divides_nothing() -> None:
    mesh = dfc.mesh({"a": 1, "b": 1})
    f = dfc.function(lambda x: dfc.shard(x, ("a", "b"), mesh) + 1.0)
    assert f(X).device == "cpu:0"
    assert "sdy" not in f.lower(dfc.TensorSpec((8, 16), "float32")).text
    assert dfc.shard(X, ("a",), mesh).device == "cpu:0"


def test_k9_a_mesh_as_large_as_the_devices_allow() -> None:
    mesh = dfc.mesh({"a": -1, "b": 2})
    assert (mesh.axes, mesh.shape) == ({"a": -1, "b": 2}, {"a": 2, "b": 2})
    assert mesh.devices == dfc.devices("cpu")[:4]
    assert dfc.mesh({"a": -1, "b": 2}) is mesh
    assert_array_equal(dfc.function(lambda x: dfc.shard(x, ("a", "b"), mesh) + 1.0)(X).numpy(), X + 1)


def test_k9_later_calls_compile_nothing() -> None:
    mesh = dfc.mesh({"a": 4})
    f = dfc.function(lambda x: dfc.shard(x, ("a",), mesh) + 1.0)
    f(X)
    step = f.compiled_for(dfc.asarray(X)).step
    for value in (X, dfc.asarray(X), dfc.shard(X, ("a",), mesh)):
        f(value)
        assert f.explain().startswith("<lambda> was traced once")
    assert f.compiled_for(dfc.asarray(X)).step is step


def test_k9_programs_of_many_threads_don_t_wait_for_each_other_crosswise() -> None:
    meshes = [dfc.mesh({"a": 4}), dfc.mesh({"b": 4}, dfc.devices()[3::-1]), dfc.mesh({"c": 2})]
    totals = [
        dfc.shard(dfc.Variable(np.zeros(4, np.float32)), (axis,), m) for axis, m in zip("abc", meshes, strict=True)
    ]

    def made(axis: str, mesh: Any, total: dfc.Variable) -> Any:
        @dfc.function
        def f(x: dfc.Tensor) -> dfc.Tensor:
            x = dfc.shard(x, (axis,), mesh)
            for _ in range(4):
                x = dfc.shard(x - dfc.mean(x), (axis,), mesh)  # each a sum over the devices
            total.assign_add(dfc.shard(dfc.ones((4,)), (axis,), mesh))
            return dfc.sum(dfc.square(x))

        return f

    functions = [made(axis, m, total) for axis, m, total in zip("abc", meshes, totals, strict=True)]
    x = np.arange(64, dtype=np.float32)
    expected = functions[0](x).item()
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(40):
                assert functions[(number + i) % 3](x).item() == pytest.approx(expected, rel=1e-4)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
    assert sum(total.numpy()[0] for total in totals) == 241


def test_k9_steps_that_nobody_waits_for_come_to_an_end() -> None:
    """XLA's CPU client hangs where many programs with collectives are under way, as in a loop that reads no loss."""
    mesh = dfc.mesh({"a": 4})
    w, optimizer = dfc.Variable(W * 0.1, name="w"), dfc.train.Adam(0.01)

    @dfc.function
    def step(x: dfc.Tensor) -> dfc.Tensor:
        loss = dfc.mean(dfc.square(dfc.shard(x, ("a",), mesh) @ w - 1.0))
        optimizer.minimize(loss, [w])
        return loss

    losses = []

    def train() -> None:
        first, last = step(X), [step(X) for _ in range(800)][-1]
        losses.extend([first.item(), last.item()])

    thread = threading.Thread(target=train, daemon=True)
    thread.start()
    thread.join(180)
    assert not thread.is_alive()
    assert losses[1] < losses[0] / 10


def test_k9_programs_on_meshes_are_launched_one_after_the_other() -> None:
    mesh = dfc.mesh({"a": 4})
    v = dfc.shard(dfc.Variable(X), ("a",), mesh)

    @dfc.function
    def updating(x: dfc.Tensor) -> dfc.Tensor:
        v.assign_add(x)
        return dfc.sum(x)

    functions = [dfc.function(lambda x: dfc.sum(dfc.shard(x, ("a",), mesh))), updating]
    for f in functions:
        expected = f(X).item()
        started, ended = threading.Event(), threading.Event()

        def work(f: Any = f, started: Any = started, ended: Any = ended) -> None:
            started.set()
            f(X)
            ended.set()

        with launches.lock:
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            assert started.wait(10)
            assert not ended.wait(0.2)
        assert ended.wait(60)
        assert f(X).item() == pytest.approx(expected)
