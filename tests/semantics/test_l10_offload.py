"""Row L10: variables that live in the host's memory, and come to the device while a step computes with them."""

from __future__ import annotations

import gc
import itertools
import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

import dfc
from dfc.errors import DfcError, FailedPrecondition, ResourceExhausted
from dfc.runtime.memory import Account
from dfc.runtime.offloaded import _values as offloaded_values
from dfc.runtime.timeline import Span, covered, merged
from tests.device_support import CPUS

LAYERS = 8
HERE = "test_l10_offload.py"


class Model(NamedTuple):
    """A network of dense layers, Adam on it, and what it is fed."""

    graph: dfc.Graph
    loss: Any
    train: Any
    init: Any
    variables: list[dfc.Variable]
    feeds: dict[Any, Any]
    unit: int
    """Bytes of one layer's weights; with Adam's state it has three times that."""

    @property
    def nbytes(self) -> int:
        return 3 * LAYERS * self.unit

    def session(self, limit: int | None = None, **config: Any) -> dfc.Session:
        return dfc.Session(self.graph, config=dfc.SessionConfig(device_memory_limit=limit, **config))

    def losses(self, session: dfc.Session, n: int = 6) -> list[float]:
        session.run(self.init)
        return [float(session.run([self.loss, self.train], self.feeds)[0]) for _ in range(n)]


def model(offload: bool, width: int = 64, batch: int = 16) -> Model:
    random = np.random.default_rng(0)
    with dfc.Graph() as graph, dfc.offload(offload):
        x = dfc.placeholder("float32", (batch, width), name="x")
        h, weights = x, []
        for number in range(LAYERS):
            start = random.standard_normal((width, width), np.float32) / np.float32(np.sqrt(width))
            weights.append(dfc.Variable(start, name=f"w{number}"))
            h = dfc.tanh(h @ weights[-1])
        loss = dfc.mean((h - x) ** 2)
        train = dfc.train.Adam(1e-3).minimize(loss, weights)
        init = dfc.initialize_all()
    feeds = {x: random.standard_normal((batch, width), np.float32)}
    return Model(graph, loss, train, init, weights, feeds, 4 * width * width)


def account(session: dfc.Session) -> Account:
    return session._state.memory


def arrays_of_shape(*shape: int) -> int:
    """How many arrays of the shape are on devices."""
    gc.collect()
    return sum(array.shape == shape for array in jax.live_arrays())


# ---- the row


@pytest.mark.parametrize("cluster", [True, False])
def test_l10_a_model_of_four_times_the_memory_has_the_same_losses(cluster: bool) -> None:
    usual, offloaded = model(False), model(True)
    limit = usual.nbytes // 4 + 4  # and the number of steps, which is the device's
    with usual.session() as session:
        wanted = usual.losses(session)
    with offloaded.session(limit, cluster=cluster) as session:
        np.testing.assert_allclose(offloaded.losses(session), wanted, rtol=1e-5)
        assert account(session).taken == 0
        assert account(session).used == 4
        most = account(session).most_taken + 4
    assert most <= limit
    if cluster:
        assert most == limit, "all of it is used: two parts of three layers' weights, or one layer's and Adam's state"
    assert wanted[-1] < 0.9 * wanted[0]


def test_l10_without_offload_it_does_not_fit() -> None:
    usual = model(False)
    with usual.session(usual.nbytes // 4) as session:
        with pytest.raises(ResourceExhausted) as caught:
            usual.losses(session)
        message = str(caught.value)
    assert message.startswith(
        "393,220 bytes are needed on the device and device_memory_limit is 98,304; the largest: variable 'w0': 16,384 "
        "bytes; variable 'w1': 16,384 bytes; "
    )
    assert "make large variables with offload=True" in message
    assert HERE in message


def test_l10_between_steps_nothing_of_the_variables_is_on_the_device() -> None:
    width = 56  # a shape that nothing else has
    offloaded = model(True, width)
    before = arrays_of_shape(width, width)
    with offloaded.session(offloaded.nbytes // 4 + 4) as session:
        offloaded.losses(session, 2)
        assert arrays_of_shape(width, width) == before
    with offloaded.session() as session:
        offloaded.losses(session, 2)
        assert arrays_of_shape(width, width) == before
        assert account(session).most_taken == offloaded.nbytes, "without a limit all come at once"


def test_l10_initial_values_do_not_go_to_the_device() -> None:
    offloaded = model(True)
    with offloaded.session(4) as session:  # room for the number of steps alone
        session.run(offloaded.init)
        assert account(session).most_taken == 0
        values = session.run(offloaded.variables)
        assert account(session).most_taken == 0, "nor do values that are fetched"
        assert values[0].shape == (64, 64)


def common(a: Iterable[Span], b: Iterable[Span]) -> float:
    """The seconds in which one of either was under way."""
    pairs = itertools.product(*(merged((span.start, span.end) for span in spans) for spans in (a, b)))
    return sum(max(0.0, min(x[1], y[1]) - max(x[0], y[0])) for x, y in pairs)


def test_l10_variables_come_while_the_part_before_is_computed() -> None:
    offloaded = model(True, 384, batch=512)
    with offloaded.session(offloaded.nbytes // 4 + 4) as session:
        offloaded.losses(session, 2)
        with dfc.Timeline() as timeline:
            for _ in range(3):
                session.run([offloaded.loss, offloaded.train], offloaded.feeds)
    fetches = [span for span in timeline.spans if span.name == "fetch"]
    evicts = [span for span in timeline.spans if span.name == "evict"]
    islands = timeline.of(CPUS[0])
    assert len(fetches) == len(islands) == 3 * 11, "three parts forward, of which one begins the way back, and eight"
    for moves in (fetches, evicts):  # half and more on an idle machine; none where moving and computing take turns
        assert common(moves, islands) > covered(moves) / 10
        assert sum(common([move], islands) > 0 for move in moves) >= 6


def test_l10_what_loops_keep_has_its_place_under_the_limit() -> None:
    """Where there is room for less, there is for more."""
    with dfc.Graph() as graph, dfc.offload():
        x = dfc.placeholder("float32", (4, 64), name="x")
        v, w = (dfc.Variable(np.eye(64, dtype=np.float32) * 0.9, name=name) for name in "vw")
        h = dfc.fori_loop(0, 5, lambda i, h: dfc.tanh(h @ v @ w), x)
        loss = dfc.mean(h**2)
        step, init = dfc.train.Momentum(0.1, 0.9).minimize(loss), dfc.initialize_all()
    fits = []
    for limit in (30_000, 40_000, 48_128, 52_000, 56_000, 60_000, 70_000, 100_000, 120_000):
        with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=limit)) as session:
            session.run(init)
            try:
                session.run([loss, step], {x: np.ones((4, 64), np.float32)})
            except ResourceExhausted:
                fits.append(False)
            else:
                fits.append(True)
    assert fits == [False] + [True] * 8


# ---- refused


def test_l10_one_variable_that_is_too_large() -> None:
    with dfc.Graph() as graph:
        v = dfc.Variable(np.zeros((32, 32), np.float32), name="v", offload=True)
        w = dfc.Variable(np.zeros((4,), np.float32), name="w")
        y = dfc.sum(v * 2.0) + dfc.sum(w)
        init = dfc.initialize_all()
    with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=4000)) as session:
        session.run(init)
        with pytest.raises(ResourceExhausted) as caught:
            session.run(y)
    message, where, hint = str(caught.value).split("\n")
    assert message == (
        "multiply: 4,096 bytes of variables in the host's memory are needed on the device at once and "
        "device_memory_limit is 4,000, of which other variables take 16; the largest: variable 'v': 4,096 bytes"
    )
    assert HERE in where
    assert "y = dfc.sum(v * 2.0)" in where
    assert hint == "  raise device_memory_limit, or make several smaller variables of a large one"


def test_l10_a_step_in_a_signal_handler_is_refused() -> None:
    v = dfc.Variable(np.zeros((400, 400), np.float32), name="v", offload=True)

    @dfc.function
    def long(x: dfc.Tensor) -> dfc.Tensor:
        for _ in range(40):
            x = dfc.tanh(x @ v)
        v.assign_add(x)
        return dfc.sum(x)

    @dfc.function
    def short() -> None:
        v.assign_add(1.0)

    x = dfc.asarray(np.ones((400, 400), np.float32))
    short()
    long(x)
    seen: list[Any] = []

    def handler(*_: Any) -> None:
        seen.append(v.numpy()[0, 0])
        try:
            short()
        except DfcError as error:
            seen.append(error)

    old = signal.signal(signal.SIGALRM, handler)
    try:
        for _ in range(20):
            seen.clear()
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            long(x)
            signal.setitimer(signal.ITIMER_REAL, 0)
            if len(seen) == 2:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert isinstance(seen[1], FailedPrecondition)
    assert "was called from a signal handler or a finaliser that interrupted one on the same variables" in str(seen[1])
    short()


def test_l10_a_variable_without_a_value() -> None:
    v = dfc.Variable(dfc.TensorSpec((2,), "float32"), name="v", offload=True)

    @dfc.function
    def double() -> dfc.Tensor:
        return v * 2.0

    with pytest.raises(FailedPrecondition, match="read: Attempting to use uninitialized value 'v'"):
        double()
    v.assign([1.0, 2.0])
    assert double().numpy().tolist() == [2, 4]


# ---- what else is as with other variables


def test_l10_a_function_and_reads_and_writes_from_outside() -> None:
    v = dfc.Variable([1.0, 2.0], name="v", offload=True)

    @dfc.function
    def step(x: dfc.Tensor) -> tuple[dfc.Tensor, dfc.Tensor]:
        before = v.read()
        v.assign_add(x)
        return before, v * 10.0

    before, after = step(dfc.asarray([1.0, 1.0]))
    assert (before.numpy().tolist(), after.numpy().tolist()) == ([1, 2], [20, 30])
    assert v.numpy().tolist() == [2, 3]
    array = v.numpy()
    array[:] = 0  # the caller's own
    assert v.read().numpy().tolist() == [2, 3]
    v.assign([5.0, 6.0])
    v.assign_sub([1.0, 1.0])
    v.scatter_update([1], [9.0])
    assert (v + 1.0).numpy().tolist() == [5, 10]
    assert float(dfc.sum(v)) == 13


def test_l10_gradients_and_the_state_of_optimisers() -> None:
    def losses(offload: bool) -> tuple[list[float], Any, list[dfc.Variable]]:
        with dfc.offload(offload):
            layer = dfc.nn.Dense(3, 2)
        optimizer = dfc.train.Momentum(0.1)
        variables = list(layer.variables)

        @dfc.function
        def step(x: dfc.Tensor) -> dfc.Tensor:
            loss = dfc.sum(layer(x) ** 2)
            optimizer.minimize(loss, variables)
            return loss

        for variable in variables:
            variable.assign(np.linspace(-1, 1, int(np.prod(variable.shape)), dtype=np.float32).reshape(variable.shape))
        x = dfc.asarray([[1.0, 2.0, 3.0]])
        return [float(step(x)) for _ in range(4)], optimizer, variables

    wanted, _, _ = losses(False)
    found, optimizer, variables = losses(True)
    assert found == wanted
    assert [v.offload for v in variables] == [True, True]
    assert [v.offload for v in optimizer.variables] == [True, True]
    average = dfc.train.ExponentialMovingAverage(0.9)
    average.apply(variables)
    assert average.average(variables[0]).offload


def test_l10_the_value_goes_with_the_variable() -> None:
    gc.collect()
    before = len(offloaded_values)
    v = dfc.Variable([1.0, 2.0], offload=True)
    v.assign_add(1.0)
    assert len(offloaded_values) == before + 1
    del v
    gc.collect()
    assert len(offloaded_values) == before


def test_l10_scopes() -> None:
    with dfc.offload():
        a = dfc.Variable(1.0)
        with dfc.offload(False):
            b = dfc.Variable(1.0)
        c, d = dfc.Variable(1.0, offload=False), dfc.random.Generator(0).state
    assert [v.offload for v in (a, b, c, d, dfc.Variable(1.0))] == [True, False, False, False, False]


def test_l10_variables_of_the_device_beside_those_of_the_host() -> None:
    """Biases and averages stay on the device; all of a step is as it was."""

    def values(offload: bool, limit: int | None) -> dict[str, Any]:
        random = np.random.default_rng(0)
        with dfc.Graph() as graph:
            x = dfc.placeholder("float32", (4, 32), name="x")
            h, trained = x, []
            for number in range(4):
                w = dfc.Variable(random.standard_normal((32, 32), np.float32) / 6, name=f"w{number}", offload=offload)
                b = dfc.Variable(np.zeros(32, np.float32), name=f"b{number}")
                seen = dfc.Variable(np.zeros(32, np.float32), name=f"seen{number}", trainable=False)
                with dfc.control_dependencies([seen.assign(0.9 * seen.read() + 0.1 * dfc.mean(h, axis=0))]):
                    h = dfc.tanh(h @ w + b)
                trained += [w, b]
            loss = dfc.mean(h**2) + dfc.sum(dfc.abs(seen))
            train = dfc.train.Momentum(0.1).minimize(loss, trained)
            init = dfc.initialize_all()
        feeds = {x: random.standard_normal((4, 32), np.float32)}
        with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=limit)) as session:
            session.run(init)
            losses = [session.run([loss, train], feeds)[0] for _ in range(3)]
            every = session.variables()
            return {"losses": losses, **dict(zip([v.name for v in every], session.run(every), strict=True))}

    wanted, found = values(False, None), values(True, 12 * 128 + 4 * 4096)
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_l10_checkpoints(tmp_path: Path) -> None:
    offloaded = model(True)
    saver = dfc.train.Saver()
    with offloaded.session(offloaded.nbytes // 4 + 4) as session:
        offloaded.losses(session, 3)
        path = saver.save(tmp_path, 3, session)
        wanted = [float(session.run([offloaded.loss, offloaded.train], offloaded.feeds)[0]) for _ in range(2)]
    with offloaded.session() as session:
        saver.restore(path, session)
        found = [float(session.run([offloaded.loss, offloaded.train], offloaded.feeds)[0]) for _ in range(2)]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_l10_an_artifact_has_its_value(tmp_path: Path) -> None:
    v = dfc.Variable([1.0, 2.0], name="v", offload=True)

    @dfc.function(signature=[dfc.TensorSpec((2,), name="x")])
    def predict(x: dfc.Tensor) -> dfc.Tensor:
        return x * v

    dfc.compile([predict]).save(tmp_path / "model.dfc")
    loaded = dfc.load(tmp_path / "model.dfc")
    assert loaded.predict(x=np.array([3.0, 4.0], np.float32)).tolist() == [3, 8]


def test_l10_a_device_each() -> None:
    """A variable goes to the device of what uses it, wherever that is."""
    with dfc.Graph() as graph, dfc.offload():
        x = dfc.placeholder("float32", (2, 4), name="x")
        with dfc.device("/cpu:1"):
            a = dfc.Variable(np.eye(4, dtype=np.float32), name="a")
            h = dfc.tanh(x @ a)
        with dfc.device("/cpu:2"):
            b = dfc.Variable(np.eye(4, dtype=np.float32), name="b")
            h = dfc.tanh(h @ b)
        loss = dfc.mean(h**2)
        train, init = dfc.train.SGD(0.5).minimize(loss), dfc.initialize_all()
    feeds = {x: np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)}
    found = []
    for limit in (None, 64, 128):
        with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=limit)) as session:
            session.run(init)
            found.append([float(session.run([loss, train], feeds)[0]) for _ in range(3)])
            assert account(session).taken == 0
    assert found[0][2] < found[0][0]
    np.testing.assert_allclose(found[1:], [found[0]] * 2, rtol=1e-6)


def test_l10_loops_and_branches() -> None:
    v = dfc.Variable(np.float32(1.0), name="v", offload=True)

    @dfc.function
    def compiled(n: dfc.Tensor) -> dfc.Tensor:
        def body(i: dfc.Tensor) -> dfc.Tensor:
            v.assign_add(1.0)
            return i + 1

        return dfc.while_loop(lambda i: i < n, body, [dfc.asarray(0)])[0]

    @dfc.function
    def on_the_host(n: dfc.Tensor) -> dfc.Tensor:
        def body(i: dfc.Tensor) -> dfc.Tensor:
            v.assign_add(1.0)
            dfc.print(dfc.strings.as_string(i))
            return i + 1

        dfc.cond(n > 1, lambda: v.assign_add(10.0).value(), lambda: v.assign_add(100.0).value())
        return dfc.while_loop(lambda i: i < n, body, [dfc.asarray(0)])[0]

    compiled(dfc.asarray(3))
    assert float(v) == 4
    on_the_host(dfc.asarray(2))
    assert float(v) == 16


# ---- many at once


@pytest.mark.parametrize("limit", [None, 1000])
def test_l10_updates_of_many_threads_all_count(limit: int | None) -> None:
    with dfc.Graph() as graph, dfc.offload():
        v, w = dfc.Variable(np.zeros(3, np.float32), name="v"), dfc.Variable(np.float32(0), name="w")
        add, assign = v.assign_add(np.ones(3, np.float32)), w.assign(w.read() + 1.0)
        both, init = dfc.group(add, assign), dfc.initialize_all()
    with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=limit)) as session:
        session.run(init)
        session.run([add, assign, both])

        def work() -> None:
            for _ in range(25):
                session.run(add)
                session.run(assign)
                session.run(both)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for submitted in [session.submit(both) for _ in range(50)]:
            submitted.result(timeout=60)
        assert session.run(v).tolist() == [1 + 8 * 25 * 2 + 50] * 3
        assert session.run(w) == 1 + 8 * 25 * 2 + 50
        assert account(session).taken == 0


def test_l10_who_reads_sees_all_writes_of_a_step_or_none() -> None:
    with dfc.offload():
        a, b = dfc.Variable(np.zeros(100_000, np.float32)), dfc.Variable(np.zeros(100_000, np.float32))

    @dfc.function
    def step() -> None:
        a.assign_add(1.0)
        b.assign_add(1.0)

    @dfc.function
    def difference() -> dfc.Tensor:
        return dfc.max(dfc.abs(a - b))

    def write() -> None:
        for _ in range(60):
            step()

    step()
    difference()
    thread = threading.Thread(target=write)
    thread.start()
    seen = []
    while thread.is_alive():
        seen.append(float(difference()))
    thread.join()
    assert seen
    assert set(seen) == {0}
    assert a.numpy()[0] == b.numpy()[0] == 61


def test_l10_an_assignment_from_outside_is_not_lost() -> None:
    """It counts as done after the step that is under way."""
    v = dfc.Variable(np.zeros((300, 300), np.float32), name="v", offload=True)
    x = dfc.asarray(np.ones((300, 300), np.float32))

    @dfc.function
    def long() -> None:
        y = v.read()
        for _ in range(60):
            y = dfc.tanh(y @ x)
        v.assign(y)

    long()
    thread = threading.Thread(target=long)
    thread.start()
    time.sleep(0.01)
    v.assign(np.full((300, 300), 7, np.float32))
    thread.join()
    assert set(np.unique(v.numpy())) <= {7, np.float32(np.tanh(300.0))}
    v.assign(np.full((300, 300), 7, np.float32))
    assert v.numpy()[0, 0] == 7


def test_l10_a_step_that_waits_keeps_nobody_from_the_variable() -> None:
    """What is not there yet is waited for before the variable is taken."""
    with dfc.Graph() as graph:
        v = dfc.Variable(np.float32(0), name="v", offload=True)
        queue = dfc.FIFOQueue(2, ["float32"], [()])
        add = v.assign_add(queue.dequeue())
        put = queue.enqueue(v.read() + 5.0)
        init, more = dfc.initialize_all(), v.assign_add(1.0)
    with dfc.Session(graph) as session:
        session.run(init)
        waiting = session.submit(add)
        for _ in range(3):
            session.run(more, timeout=60)
        session.run(put, timeout=60)
        waiting.result(timeout=60)
        assert session.run(v) == 3 + 8


def test_l10_a_partial_run_holds_nothing_between_its_calls() -> None:
    with dfc.Graph() as graph:
        a, b = dfc.placeholder("float32", (), name="a"), dfc.placeholder("float32", (), name="b")
        v = dfc.Variable(np.float32(1), name="v", offload=True)
        first = a + 1.0
        added = v.assign_add(first * b)
        more, init = v.assign_add(100.0), dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)
        handle = session.partial_run_setup([first, added], [a, b])
        assert session.partial_run(handle, first, {a: 1.0}) == 2
        session.run(more, timeout=60)
        session.partial_run(handle, added, {b: 3.0})
        session.run(more, timeout=60)
        assert session.run(v) == 207


def test_l10_a_step_that_fails_has_changed_nothing() -> None:
    with dfc.Graph() as graph, dfc.offload():
        v = dfc.Variable(np.arange(4, dtype=np.float32), name="v")
        n = dfc.placeholder("int32", (), name="n")
        late = dfc.py_call(lambda k: np.zeros(int(k), np.float32), [n], dfc.TensorSpec((4,), "float32"))
        step, init = v.assign_add(late), dfc.initialize_all()
        more = v.assign_add(1.0)
    with dfc.Session(graph) as session:
        session.run(init)
        with pytest.raises(DfcError):
            session.run(step, {n: 3})
        assert session.run(v).tolist() == [0, 1, 2, 3]
        session.run(more, timeout=60)
        assert session.run(v).tolist() == [1, 2, 3, 4]
