"""Row K9: micro-batches that follow each other over devices, and several steps at once on one device."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.backends.pipeline import PIPELINE
from dfc.ir.ops.control import Scan
from dfc.ir.ops.dataflow import NextIteration
from dfc.ir.ops.function import Island
from dfc.passes.phases import Phase
from tests.device_support import CPUS, parts, split
from tests.examples_support import load

MICRO = 6


def in_threads(n: int, function: Callable[[], object]) -> None:
    """Run it in so many threads at once."""
    threads = [threading.Thread(target=function) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive()


def work(x: Any, w: Any, n: int = 1500) -> Any:
    return dfc.fori_loop(0, n, lambda i, h: dfc.tanh(h @ w), x)


def pipeline(weights: list[dfc.Variable], parallel: int) -> Any:
    """The sum of what two stages, on a device each, make of micro-batches."""
    first, second = CPUS[:2]

    @dfc.function
    def step(x: dfc.Tensor) -> dfc.Tensor:
        def body(i: dfc.Tensor, total: dfc.Tensor) -> Any:
            with dfc.device(first):
                h = work(x[i], weights[0])
            with dfc.device(second):
                total = total + dfc.mean(work(h, weights[1]) ** 2)
            return i + 1, total

        with dfc.device(second):
            zero = dfc.zeros(())
        return dfc.while_loop(lambda i, _: i < MICRO, body, (0, zero), parallel_iterations=parallel)[1]

    return step


def made() -> tuple[list[dfc.Variable], Any]:
    random = np.random.default_rng(0)
    weights = []
    for name, device in zip(("first", "second"), CPUS, strict=False):
        with dfc.device(device):
            weights.append(dfc.Variable((random.standard_normal((64, 64)) / 8).astype(np.float32), name=name))
    return weights, random.standard_normal((MICRO, 64, 64)).astype(np.float32)


def test_k9_a_stage_is_at_the_next_micro_batch_while_the_following_one_works() -> None:
    weights, x = made()
    step = pipeline(weights, 4)
    before = step(x).item()
    with dfc.Timeline() as timeline:
        assert step(x).item() == before
    stages = [[s for s in timeline.of(device) if s.name.startswith("scan")] for device in CPUS[:2]]
    assert [len(spans) for spans in stages] == [MICRO, MICRO]
    both = [
        ahead.start < behind.end and behind.start < ahead.end
        for ahead, behind in zip(stages[0][1:], stages[1], strict=False)
    ]
    assert sum(both) >= MICRO // 2
    assert timeline.overlap(*CPUS[:2]) > 0.15 * sum(s.seconds for s in stages[1])


@pytest.mark.parametrize("parallel", [1, 2, 10])
def test_k9_the_pipeline_has_the_values_of_one_device(parallel: int) -> None:
    weights, x = made()
    found = pipeline(weights, parallel)(x).item()
    expected = sum(float(np.mean(_plain(xi, *(w.numpy() for w in weights)) ** 2)) for xi in x)
    assert found == pytest.approx(expected, rel=1e-3)


def _plain(h: Any, *weights: Any) -> Any:
    for w in weights:
        for _ in range(1500):
            h = np.tanh(h @ w)
    return h


@pytest.mark.parametrize("stages", [2, 4])
def test_k9_training_in_a_pipeline_has_the_losses_of_one_device(stages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn.datasets", reason="scikit-learn, which has the digits, is not installed")
    example = load("pipeline", monkeypatch)
    losses = []
    for devices in (1, stages):
        dfc.random.seed(0)
        step = example.training_step(example.Network(8, devices), dfc.train.Adam(1e-2), 4)
        losses.append([step(images, labels).item() for images, labels in example.batches(6, 3, 8)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-4)


def test_k9_the_counter_of_a_loop_does_not_wait_for_its_body() -> None:
    weights, x = made()
    spec = dfc.TensorSpec(x.shape, "float32", name="x")
    module = split(pipeline(weights, 4).graph(spec), PIPELINE[Phase.PARTITIONED], Phase.CLUSTERED)
    first = parts(module)[CPUS[0]]
    scans = [op for op in first.block.ops if isinstance(op, Island) and any(isinstance(o, Scan) for o in op.block.ops)]
    nexts = [op for op in first.block.ops if isinstance(op, NextIteration)]
    assert len(scans) == 1 and nexts
    assert all(op.operands[0].owner is not scans[0] for op in nexts)


@pytest.mark.parametrize("other", [CPUS[0], CPUS[1]])
def test_k9_no_update_is_lost_where_the_condition_reads_what_the_body_writes(other: str) -> None:
    """What reads and writes a variable is one island, though the next iteration waits for part of it."""
    with dfc.device(CPUS[0]):
        v = dfc.Variable(np.zeros((64, 64), np.float32))

    @dfc.function
    def train(m: dfc.Tensor) -> Any:
        def body(i: dfc.Tensor, _: dfc.Tensor) -> Any:
            with dfc.device(CPUS[0]):
                value = v.read()
                loss, zero = value[0, 0], value * m
                for _ in range(6):
                    zero = zero @ m
                v.assign(value + 1.0 + zero)
            with dfc.device(other):
                return dfc.py_call(lambda a: a, [i], dfc.TensorSpec((), "int32"), stateful=False) + 1, loss

        return dfc.while_loop(lambda i, loss: (i < 30) & (loss < 1e9), body, (np.int32(0), np.float32(0)))

    zeros = dfc.asarray(np.zeros((64, 64), np.float32))
    train(zeros)[0].numpy()
    v.assign(np.zeros((64, 64), np.float32))
    in_threads(3, lambda: [train(zeros)[0].numpy() for _ in range(2)])
    assert v.numpy()[0, 0] == 3 * 2 * 30


def test_k9_what_comes_from_another_device_keeps_no_other_work_waiting() -> None:
    """A device does one thing after the other: an island that waits for a value would be in the way of those behind."""

    def wait(a: Any) -> Any:
        time.sleep(0.01)
        return a

    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (64, 64), name="x")
        w = np.eye(64, dtype=np.float32)
        with dfc.device(CPUS[1]):
            long = work(x, w, 20_000)
        with dfc.device(CPUS[0]):
            after = dfc.exp(long)
            short = work(dfc.py_call(wait, [x], dfc.TensorSpec((64, 64), "float32")), w, 5)
    feeds = {x: np.eye(64, dtype=np.float32)}
    with dfc.Session(graph) as session:
        session.run([after, short], feeds)
        with dfc.Timeline() as timeline:
            session.run([after, short], feeds)
    (computing,) = [s for s in timeline.of(CPUS[1]) if s.name.startswith("scan")]
    (other,) = [s for s in timeline.of(CPUS[0]) if s.name.startswith("scan")]
    assert other.end < computing.end


def test_k9_several_steps_keep_a_device_busier_than_one() -> None:
    """Each waits for its input while others compute."""

    def read(a: Any) -> Any:
        time.sleep(0.02)
        return a

    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (64, 64), name="x")
        w = np.eye(64, dtype=np.float32)
        y = dfc.sum(work(dfc.py_call(read, [x], dfc.TensorSpec((64, 64), "float32")), w, 1500))
    feeds = {x: np.eye(64, dtype=np.float32)}
    with dfc.Session(graph) as session:
        session.run(y, feeds)
        idle = []
        for threads in (1, 4):
            with dfc.Timeline() as timeline:
                in_threads(threads, lambda n=12 // threads: [session.run(y, feeds) for _ in range(n)])
            assert len(timeline.of(CPUS[0])) == 12
            idle.append(1 - timeline.busy()[CPUS[0]])
    assert idle[0] > 0.3, "a step alone leaves the device idle while it reads"
    assert idle[1] < 0.8 * idle[0]
