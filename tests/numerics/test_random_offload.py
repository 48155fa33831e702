"""Random programs on variables in the host's memory: however an island is cut, the results are those of the whole.

A quarter of `DFC_EXAMPLES` (50 unless given) sets how many programs: each is compiled five times.
"""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import pytest
from xdsl.ir import SSAValue

import dfc
from dfc.backends import pipeline, reference, xla
from dfc.errors import ResourceExhausted
from dfc.ir.dtypes import as_dtype
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import state
from dfc.ir.ops.function import Func, Island
from dfc.ir.ops.offload import Fetch
from dfc.ir.ops.reduction import ReduceSum
from dfc.ir.ops.shape import BroadcastInDim
from dfc.ir.types import Spec
from dfc.passes import manager
from dfc.passes.phases import Phase
from dfc.passes.verify import verify
from dfc.runtime.host import Binding
from dfc.runtime.memory import Account
from dfc.runtime.offloaded import OffloadedState
from dfc.runtime.step import Step
from dfc.runtime.variables import VariableState
from tests.numerics.test_random_control_flow import (
    PARALLEL,
    START,
    WEIGHTS,
    State,
    Traced,
    W,
    agree,
    by_python,
    random_program,
)
from tests.programs import Trace

EXAMPLES = int(os.environ.get("DFC_EXAMPLES", "50")) // 4
WIDTH = 512
ROWS = (0, 0, 2, 3)
"""Variables are vectors of 4 KiB, or so many of them."""


class Program:
    """Some arithmetic on vectors and variables, of which some are in the host's memory."""

    def __init__(self, seed: int) -> None:
        self.random, self.numbers = random.Random(seed), np.random.default_rng(seed)
        self.trace = Trace({"x": ((WIDTH,), "float64"), "y": ((WIDTH,), "float64")})
        self.pool: list[SSAValue] = list(self.trace.inputs)
        self.offloaded: set[str] = set()
        self.values: dict[str, Any] = {}
        self.refs: dict[str, SSAValue] = {}
        self.tokens: dict[str, list[SSAValue]] = {}
        for number in range(self.random.randint(1, 6)):
            self.variable(f"v{number}")
        for _ in range(self.random.randint(5, 40)):
            self.random.choice((self.compute, self.compute, self.read, self.write))()
        outputs = self.random.sample(self.pool, k=min(len(self.pool), self.random.randint(0, 3)))
        ends = [token for tokens in self.tokens.values() for token in tokens]
        self.module = self.trace.finish(outputs, ends)
        self.arguments = [self.numbers.normal(size=WIDTH) for _ in range(2)]

    def variable(self, name: str) -> None:
        rows = self.random.choice(ROWS)
        shape = (rows, WIDTH) if rows else (WIDTH,)
        self.values[name] = self.numbers.normal(size=shape)
        is_offloaded = self.random.random() < 0.8
        self.offloaded |= {name} if is_offloaded else set()
        attributes = {"variable": name, "shape": shape, "dtype": as_dtype("float64")}
        self.refs[name] = self.trace(state.Variable, **attributes, **({"offload": True} if is_offloaded else {}))
        self.tokens[name] = []

    def compute(self) -> None:
        cls = self.random.choice((ew.Add, ew.Multiply, ew.Subtract, ew.Tanh))
        operands = self.random.choices(self.pool, k=1 if cls is ew.Tanh else 2)
        made = self.trace(cls, *operands)
        self.pool.append(self.trace(ew.Tanh, made) if cls is ew.Multiply else made)

    def read(self) -> None:
        name = self.random.choice(list(self.refs))
        value, token = self.trace.op(state.Read, self.refs[name], *self.tokens[name]).results
        self.tokens[name] = [*self.tokens[name], token]
        self.pool.append(self.trace(ReduceSum, value, axes=(0,)) if self.values[name].ndim > 1 else value)

    def write(self) -> None:
        name, value = self.random.choice(list(self.refs)), self.random.choice(self.pool)
        shape = self.values[name].shape
        if len(shape) > 1:
            value = self.trace(BroadcastInDim, value, shape=shape, dims=(1,))
        cls = self.random.choice((state.Assign, state.AssignAdd, state.AssignSub))
        self.tokens[name] = [self.trace(cls, self.refs[name], value, *self.tokens[name])]

    def states(self) -> dict[str, VariableState]:
        kinds = {name: OffloadedState if name in self.offloaded else VariableState for name in self.values}
        spec = {name: Spec(value.shape, as_dtype("float64")) for name, value in self.values.items()}
        return {name: kinds[name](name, spec[name], value) for name, value in self.values.items()}


def lowered(program: Program, limit: int) -> Func:
    module = program.module.clone()
    pipeline.lower(module, passes={Phase.CLUSTERED: "cluster"})
    manager.run(module, manager.parse_pipeline(f"offload{{limit={limit}}}"))
    verify(module)
    return next(op for op in module.ops if isinstance(op, Func))


def n_segments(func: Func) -> int:
    fetches = {op for op in func.block.ops if isinstance(op, Fetch) and not op.on_host.data}
    return sum(isinstance(op, Island) and any(o.owner in fetches for o in op.operands) for op in func.block.ops)


def run(func: Func, program: Program, limit: int) -> tuple[list[Any], dict[str, Any]]:
    """The outputs and the variables after it, of a device with so much memory."""
    states, memory = program.states(), Account(limit or None)
    step = Step(func, states, binding=Binding(states, memory=memory))
    outputs = step([xla.to_device(a) for a in program.arguments])
    assert memory.taken == 0
    return [xla.to_numpy(output) for output in outputs], {name: s.numpy() for name, s in states.items()}


def test_cutting_an_island_changes_nothing() -> None:
    cut = refused = 0
    for seed in range(EXAMPLES):
        program = Program(seed)
        wanted = reference.run(program.module, program.arguments, program.values)
        for limit in (0, 1 << 20, 40_000, 25_000, 16_384):
            try:
                func = lowered(program, limit)
            except ResourceExhausted:
                assert limit and limit < 40_000
                refused += 1
                continue
            cut += n_segments(func) > 1
            for got in (reference.run(func, program.arguments, program.values), run(func, program, limit)):
                for a, b in zip(got[0], wanted[0], strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=f"seed {seed}, limit {limit}")
                for name, value in wanted[1].items():
                    np.testing.assert_allclose(got[1][name], value, rtol=1e-9, atol=1e-9, err_msg=f"{seed}: {name}")
    assert cut > EXAMPLES / 4, "some of them are cut"
    assert refused < EXAMPLES


@pytest.mark.parametrize("seed", range(3))
def test_the_same_program_is_always_cut_alike(seed: int) -> None:
    texts = {str(lowered(Program(seed + 5), 25_000)) for _ in range(2)}
    assert len(texts) == 1


# ---- branches and loops


HANDED_ON = 74
"""A program with a branch that is not taken and would give what it was given."""


class Heavy(Traced):
    """Takes its weights, wherever it needs some, from one of these variables: they are the mean of its columns."""

    def __init__(self, variables: list[dfc.Variable], parallel: int, seed: int) -> None:
        self.variables, self.dice, self.parallel = variables, random.Random(seed), parallel

    @property
    def w(self) -> Any:
        return dfc.mean(self.dice.choice(self.variables), axis=1)

    @w.setter
    def w(self, value: Any) -> None:
        raise AttributeError


def heavy(block: list[Any], parallel: int, seed: int) -> tuple[dfc.Graph, list[dfc.Variable], list[Any]]:
    """A graph of the state after the block and of gradients, which takes those of its variables away from them; the
    variables, and what they begin with."""
    numbers = np.random.default_rng(seed)
    noise = [numbers.normal(size=(3, WIDTH)) for _ in range(5)]
    starts = [W[:, None] + each - each.mean(axis=1, keepdims=True) for each in noise]
    variables = [dfc.Variable(start, name=f"w{k}", offload=True) for k, start in enumerate(starts)]

    def f(s: Any, v: Any, m: Any) -> Any:
        x = Heavy(variables, parallel, seed).block(block, State(s, v, m))
        loss = x.s + dfc.sum(x.v * dfc.asarray(WEIGHTS[0])) + dfc.sum(x.m * dfc.asarray(WEIGHTS[1]))
        grads = dfc.gradients(loss, [s, v, m, *variables])
        for variable, grad in zip(variables, grads[3:], strict=True):
            if grad is not None:
                variable.assign_sub(grad)
        grads = [dfc.zeros_like(t) if g is None else g for t, g in zip((s, v, m), grads[:3], strict=True)]
        return [*x, *grads, *(variable.read() for variable in variables)]

    specs = [dfc.TensorSpec(np.shape(x), "float64", name=n) for x, n in zip(START, "svm", strict=True)]
    return dfc.function(f).graph(*specs), variables, starts


@pytest.mark.parametrize("cluster", [True, False])
def test_branches_and_loops_on_variables_that_do_not_fit_leave_values_and_gradients(cluster: bool) -> None:
    """Each variable has 12 KiB, and there is room for two of the five, or three, and the little that loops keep."""
    found = 0
    for seed in (*range(EXAMPLES), HANDED_ON):
        draw = random.Random(seed).randrange
        block = random_program(draw)
        graph, variables, starts = heavy(block, PARALLEL[draw(3)], seed)
        limit = (2 + draw(2)) * 8 * 3 * WIDTH + 4096
        config = dfc.SessionConfig(device_memory_limit=limit, cluster=cluster)
        with dfc.Session(graph, config=config) as session, dfc.Timeline() as timeline:
            feeds = dict(zip("svm", START, strict=True))
            values = session.run([graph.tensor(name) for name in graph.output_names], feeds, timeout=60)
            memory = session._state.memory
            assert memory.taken == 0
            assert memory.most_taken <= limit
        moved = [start - variable.numpy() for start, variable in zip(starts, variables, strict=True)]
        agree([*values[:6], sum(each.sum(axis=1) for each in moved)], by_python(block), f"seed {seed}, limit {limit}")
        found += sum(span.name == "fetch" for span in timeline.spans)
    assert found > 5 * EXAMPLES
