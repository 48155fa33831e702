"""Random graphs with dequeues in them: who waits for what, and the same values however they are clustered."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

import dfc
from dfc.backends import pipeline
from dfc.ir import locations
from dfc.ir.ops.function import Func, Island
from dfc.ir.ops.state import Read
from dfc.passes.cluster import cluster
from dfc.passes.extract import extract
from dfc.passes.phases import Phase
from dfc.passes.verify import verify
from tests.waiting_support import until_waiting

HERE = locations.file_location("step.py", 1, 1)
SEEDS = range(40)


class Programs:
    """A random graph of float32 scalars: fed ones, what is dequeued, what variables hold, and sums of these. `values`
    are what they will be; `waits` are the queues that each needs."""

    def __init__(self, seed: int) -> None:
        choose = random.Random(seed)
        self.values: list[float] = []
        self.waits: list[set[int]] = []
        self.graph = dfc.Graph()
        with self.graph:
            self.x = dfc.placeholder("float32", ())
            self.queues = [dfc.FIFOQueue(-1, "float32", shapes=[()]) for _ in range(3)]
            self.put = [queue.enqueue(float(k + 2)) for k, queue in enumerate(self.queues)]
            variables = [dfc.Variable(float(k), name=f"v{k}") for k in range(2)]
            self.tensors: list[dfc.Tensor] = []
            self._add(self.x, 1.0, set())
            left = list(range(3))
            for _ in range(choose.randrange(5, 30)):
                kind = choose.random()
                if kind < 0.15 and left:
                    k = left.pop(choose.randrange(len(left)))
                    on = choose.randrange(len(self.tensors))
                    with dfc.control_dependencies([self.tensors[on]] if choose.random() < 0.5 else None):
                        found = self.queues[k].dequeue()
                    waited = self.waits[on] if has_to_wait(found) else set()
                    self._add(found, k + 2.0, {k} | waited)
                elif kind < 0.3:
                    k = choose.randrange(2)
                    self._add(variables[k].read(), float(k), set())
                else:
                    i, j = choose.randrange(len(self.tensors)), choose.randrange(len(self.tensors))
                    total = self.tensors[i] * 0.5 - self.tensors[j]
                    self._add(total, self.values[i] * 0.5 - self.values[j], self.waits[i] | self.waits[j])
            self.init = dfc.initialize_all()

    def _add(self, tensor: dfc.Tensor, value: float, waits: set[int]) -> None:
        self.tensors.append(tensor)
        self.values.append(float(np.float32(value)))
        self.waits.append(waits)


def has_to_wait(dequeued: dfc.Tensor) -> bool:
    """Whether the dequeue was given a token to wait for."""
    owner = dequeued._value.owner
    assert isinstance(owner, Operation)
    return len(owner.operands) > 1


def waits_behind(op: Operation, known: dict[int, frozenset[int]]) -> frozenset[int]:
    """The dequeues that the op needs, itself included."""
    found = known.get(id(op))
    if found is None:
        behind = [waits_behind(o.owner, known) for o in op.operands if isinstance(o.owner, Operation)]
        own = {id(op)} if op.name == "df.dequeue" else set()
        found = known[id(op)] = frozenset(own.union(*behind))
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_an_island_waits_for_what_all_of_it_needs(seed: int) -> None:
    """Of ops that are no reads, nor computed from reads alone."""
    made = Programs(seed)
    program = ModuleOp([])
    outputs = [(f"y{i}", tensor._value) for i, tensor in enumerate(made.tensors)]
    feeds = [("x", made.x._value)]
    extract(made.graph.func, program, name="step", outputs=outputs, feeds=feeds, location=HERE)
    pipeline.lower(program, to=Phase.GRAPH)
    (func,) = (op for op in program.ops if isinstance(op, Func))
    known: dict[int, frozenset[int]] = {}
    waits: dict[Any, frozenset[int]] = {}  # by position, which each op keeps
    reading: set[Any] = set()
    for number, op in enumerate(func.block.ops):
        operands = [operand.owner for operand in op.operands if isinstance(operand.owner, Operation)]
        op.location = locations.file_location("op.py", number + 1, 1)
        waits[op.location] = waits_behind(op, known)
        if isinstance(op, Read) or any(owner.location in reading for owner in operands):
            reading.add(op.location)
    cluster(program)
    verify(program)
    for island in (op for op in func.block.ops if isinstance(op, Island)):
        inside = [op.location for op in island.block.ops if op.location in waits and op.operands]
        assert len({waits[place] for place in inside if place not in reading}) <= 1
        most = max((waits[place] for place in inside), key=len, default=frozenset())
        assert all(waits[place] <= most for place in inside)


@pytest.mark.parametrize("cluster", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_values(seed: int, cluster: bool) -> None:
    made = Programs(seed)
    chosen = random.Random(seed).sample(range(len(made.tensors)), min(4, len(made.tensors)))
    needed = set().union(*(made.waits[i] for i in chosen))
    with dfc.Session(made.graph, config=dfc.SessionConfig(cluster=cluster)) as session:
        session.run(made.init)
        step = session.submit([made.tensors[i] for i in chosen], {made.x: 1.0})
        if len(needed) == 1:
            until_waiting(session)
        assert not needed or not step.done()
        for k in needed:
            session.run(made.put[k])
        found = step.result(60)
        np.testing.assert_allclose(found, [made.values[i] for i in chosen], rtol=1e-6, atol=1e-6)
        assert [session.run(queue_size) for queue_size in sizes(made)] == [0, 0, 0]


def sizes(made: Programs) -> list[dfc.Tensor]:
    with made.graph:
        return [queue.size() for queue in made.queues]
