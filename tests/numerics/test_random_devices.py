"""Random programs whose ops are on random devices: values and gradients are those of plain Python and of one device.

The programs are those of `test_random_control_flow.py`: branches, loops and scans in each other. `DFC_EXAMPLES` sets
how many (50 unless given).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dfc
from dfc.backends import pipeline
from dfc.ir.ops.control import NeedLength
from dfc.ir.ops.transfer import Computed
from dfc.passes.phases import Phase
from tests.device_support import ops, split
from tests.numerics.test_random_control_flow import (
    FORMULAS,
    PARALLEL,
    START,
    WEIGHTS,
    State,
    Traced,
    W,
    agree,
    by_executor,
    by_python,
    random_program,
)

EXAMPLES = int(os.environ.get("DFC_EXAMPLES", "50"))
NAMES = "svmw"
STRAIGHT = ("s", "v", "m")


class Somewhere:
    """The functions of dfc, each call on a device that `pick` says."""

    def __init__(self, pick: Callable[[], str]) -> None:
        self._pick = pick

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            with dfc.device(self._pick()):
                return getattr(dfc, name)(*args, **kwargs)

        return call


class Scattered(Traced):
    """Every op where the dice say, among so many devices."""

    def __init__(self, w: Any, parallel: int, devices: int, seed: int) -> None:
        super().__init__(w, parallel)
        dice = Random(seed)
        self.pick = lambda: f"/cpu:{dice.randrange(devices)}"
        self.somewhere = Somewhere(self.pick)

    def block(self, block: list[Any], x: State) -> State:
        for kind, number, choice, inner in block:
            with dfc.device(self.pick()):
                if kind in FORMULAS:
                    value = FORMULAS[kind][choice % len(FORMULAS[kind])](self.somewhere, x, self.w, number)
                    x = x._replace(**{kind: value})
                else:
                    x = getattr(self, f"_{kind}")(x, number, choice, inner)
        return x


def graph_of(block: list[Any], parallel: int, devices: int, seed: int) -> dfc.Graph:
    """A graph of the state after the block, and of the gradients of a weighted sum of it."""

    def f(s: Any, v: Any, m: Any, w: Any) -> Any:
        x = Scattered(w, parallel, devices, seed).block(block, State(s, v, m))
        loss = x.s + dfc.sum(x.v * dfc.asarray(WEIGHTS[0])) + dfc.sum(x.m * dfc.asarray(WEIGHTS[1]))
        grads = dfc.gradients(loss, [s, v, m, w])
        zeros = [dfc.zeros_like(t) for t in (s, v, m, w)]
        return [*x, *(z if g is None else g for z, g in zip(zeros, grads, strict=True))]

    specs = [dfc.TensorSpec(np.shape(x), "float64", name=n) for x, n in zip([*START, W], NAMES, strict=True)]
    return dfc.function(f).graph(*specs)


def in_step(graph: dfc.Graph, **config: Any) -> list[Any]:
    """As `by_executor`, and no run may hang."""
    with dfc.Session(graph, config=dfc.SessionConfig(**config)) as session:
        feeds = dict(zip(NAMES, [*START, W], strict=True))
        return session.run([graph.tensor(name) for name in graph.output_names], feeds, timeout=60)


slow_is_fine = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)  # fmt: skip


@slow_is_fine
@given(data=st.data())
def test_devices_at_random_leave_values_and_gradients_of_branches_and_loops(data: st.DataObject) -> None:
    draw = lambda n: data.draw(st.integers(0, n - 1))  # noqa: E731
    block = random_program(draw)
    devices, seed, parallel = 2 + draw(3), draw(1000), PARALLEL[draw(3)]
    wanted = by_python(block)
    graph = graph_of(block, parallel, devices, seed)
    agree(in_step(graph), wanted, f"{devices} devices, {parallel} iterations at once")


@slow_is_fine
@given(data=st.data())
def test_devices_at_random_leave_values_and_gradients_of_straight_programs(data: st.DataObject) -> None:
    draw = lambda n: data.draw(st.integers(0, n - 1))  # noqa: E731
    block = [(STRAIGHT[draw(3)], 0.5 + draw(4) / 4, draw(12), []) for _ in range(3 + draw(6))]
    devices, seed = 1 + draw(4), draw(1000)
    agree(in_step(graph_of(block, 10, devices, seed)), by_python(block), f"{devices} devices")


def test_devices_at_random_leave_values_and_gradients_where_each_op_is_a_program() -> None:
    found = 0
    for seed in range(EXAMPLES // 5):
        draw = Random(seed).randrange
        block = [*random_program(draw), ("for", 0.75, 6, [[]])]  # the last one on one device, its length unknown
        devices, dice, parallel = 1 + draw(4), draw(1000), PARALLEL[draw(3)]
        graph = graph_of(block, parallel, devices, dice)
        found += len(ops(split(graph, how=pipeline.PIPELINE[Phase.PARTITIONED]), NeedLength))
        agree(in_step(graph, cluster=False), by_python(block), f"program {seed} on {devices} devices")
    assert found >= EXAMPLES // 5


@pytest.mark.parametrize("kind", ["branches and loops", "straight"])
def test_receives_put_off_wherever_they_can_be_leave_values_and_hang_nothing(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each receive is a turn of its own and waits for the island before its first user, however small it is."""
    put_off = "divide-receives{least=0 always=true}, cluster, schedule-receives{prefetch=1 least=0 always=true}"
    monkeypatch.setitem(pipeline.PIPELINE, Phase.CLUSTERED, put_off)
    found = 0
    for seed in range(EXAMPLES // 5):
        draw = Random(seed).randrange
        straight = [(STRAIGHT[draw(3)], 0.5 + draw(4) / 4, draw(12), []) for _ in range(3 + draw(12))]
        block = straight if kind == "straight" else random_program(draw)
        devices, dice, parallel = 2 + draw(3), draw(1000), PARALLEL[draw(3)]
        graph = graph_of(block, parallel, devices, dice)
        found += len(ops(split(graph, how=pipeline.PIPELINE[Phase.PARTITIONED], to=Phase.CLUSTERED), Computed))
        wanted = by_python(block)
        agree(in_step(graph), wanted, f"program {seed} on {devices} devices")
        agree(in_step(graph, cluster=False), wanted, f"program {seed} on {devices} devices, op by op")
    assert found > EXAMPLES


@pytest.mark.parametrize("parallel", PARALLEL)
@pytest.mark.parametrize("devices", [1, 2, 3, 4])
def test_a_loop_with_branches_inside_as_on_one_device(devices: int, parallel: int) -> None:
    inner = [("if", 1.0, 0, [[("v", 1.0, 0, []), ("m", 0.5, 1, [])], [("s", 1.0, 2, [])]]), ("v", 1.25, 1, [])]
    block = [("s", 1.0, 1, []), ("while", 1.25, 2, [[("while", 1.25, 2, [inner]), ("m", 1.0, 0, [])]])]
    for seed in range(3):
        found = in_step(graph_of(block, parallel, devices, seed))
        agree(found, by_executor(graph_of(block, parallel, 1, 0)), f"{devices} devices, dice {seed}")
