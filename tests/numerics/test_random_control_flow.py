"""Random programs of branches and loops in each other, values and gradients: four ways to run them agree.

Compiled as a whole, lowered to switches, merges and frames that the executor runs, by the reference interpreter, and by
plain Python, whose gradients are by complex steps. `DFC_EXAMPLES` sets how many programs (50 unless given).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import dfc
from dfc.backends import pipeline, reference
from dfc.ir.ops.control import ControlFlow
from dfc.passes import compilable, functionalise, lower_control_flow, moving
from dfc.passes.phases import Phase

EXAMPLES = int(os.environ.get("DFC_EXAMPLES", "50"))
PARALLEL = (1, 2, 10)


class State(NamedTuple):
    """What a program works on: one tensor of each shape that there is."""

    s: Any  # ()
    v: Any  # (3,)
    m: Any  # (2, 3)


START = (np.float64(0.7), np.array([0.3, -0.8, 1.1]), np.array([[0.2, -0.4, 0.9], [-1.2, 0.5, 0.1]]))
W = np.array([0.6, -0.5, 0.25])
WEIGHTS = (np.array([1.0, -2.0, 0.5]), np.array([[0.3, 1.0, -0.7], [0.2, -0.4, 1.5]]))

# Each of `n`, NumPy or dfc (whose names are the same), a state, the weights and a number; smooth and bounded.
SCALARS: list[Callable[..., Any]] = [
    lambda n, x, w, c: n.sin(x.s * c + x.v[0]),
    lambda n, x, w, c: n.tanh(x.s) + w[1] * c,
    lambda n, x, w, c: n.tanh(n.sum(x.v * w) + x.s) * 1.5,
    lambda n, x, w, c: n.cos(n.sum(x.m) * c),
]
VECTORS: list[Callable[..., Any]] = [
    lambda n, x, w, c: n.tanh(x.v * x.s + w),
    lambda n, x, w, c: n.cos(x.v) * c + n.sin(x.m[1]),
    lambda n, x, w, c: n.tanh(n.matmul(x.v[:2], x.m)),
]
MATRICES: list[Callable[..., Any]] = [
    lambda n, x, w, c: n.tanh(x.m + x.v) * c,
    lambda n, x, w, c: n.sin(x.m * x.s + w),
]
FORMULAS = {"s": SCALARS, "v": VECTORS, "m": MATRICES}


# ---- programs


def random_program(choose: Callable[[int], int]) -> list[Any]:
    """Branches and loops two deep, now and then three."""
    return random_block(choose, 3 if choose(5) == 4 else 2)


def random_block(choose: Callable[[int], int], deep: int, depth: int = 0) -> list[Any]:
    """Statements: a kind, a number, a choice, and the blocks inside."""
    kinds = ["s", "v", "m", "s", "v", "map", "fold"]
    if depth < deep:
        kinds += ["if", "case", "while", "for", "scan"] * 2
    block = []
    for _ in range(1 + choose(2 if depth else 3)):
        kind = kinds[choose(len(kinds))]
        inside = {"if": 2, "case": 3, "while": 1, "for": 1, "scan": 1}.get(kind, 0)
        number, choice = 0.5 + choose(4) / 4, choose(12)
        block.append((kind, number, choice, [random_block(choose, deep, depth + 1) for _ in range(inside)]))
    return block


def in_python(block: list[Any], x: State, w: Any) -> State:
    for kind, c, k, inner in block:
        if kind in FORMULAS:
            x = x._replace(**{kind: FORMULAS[kind][k % len(FORMULAS[kind])](np, x, w, c)})
        elif kind == "map":
            x = x._replace(m=np.stack([np.tanh(row * x.s + w) for row in x.m]))
        elif kind == "fold":
            v = x.v
            for row in x.m[::-1] if k % 2 else x.m:
                v = np.sin(v * c + row)
            x = x._replace(v=v)
        elif kind == "if":
            x = in_python(inner[0 if np.sin(3 * x.s).real > c - 1 else 1], x, w)
        elif kind == "case":
            x = in_python(inner[min(int(abs(x.s.real) * 4), 2)], x, w)
        elif kind == "while":
            i, most = 0, min(int(abs(x.s.real) * 3), 3) + k % 3
            while i < most and x.v[0].real < c:
                x = in_python(inner[0], x._replace(s=np.sin(x.s + w[0] * i)), w)
                i += 1
        elif kind == "for":
            for i in range(k % 3 if k < 6 else min(int(abs(x.s.real) * 3), 3)):
                x = in_python(inner[0], x._replace(s=np.sin(x.s + c * i)), w)
        else:
            rows: list[Any] = [None, None]
            before = x.m
            for i in (1, 0) if k % 2 else (0, 1):
                x = in_python(inner[0], x._replace(v=np.tanh(x.v + before[i])), w)
                rows[i] = x.v * x.s
            x = x._replace(m=np.tanh(x.m + np.stack(rows)))
    return x


class Traced:
    """The same of tensors."""

    def __init__(self, w: Any, parallel: int) -> None:
        self.w, self.parallel = w, parallel

    def block(self, block: list[Any], x: State) -> State:
        for kind, number, choice, inner in block:
            if kind in FORMULAS:
                value = FORMULAS[kind][choice % len(FORMULAS[kind])](dfc, x, self.w, number)
                x = x._replace(**{kind: value})
            else:
                x = getattr(self, f"_{kind}")(x, number, choice, inner)
        return x

    def _map(self, x: State, c: float, k: int, inner: Any) -> State:
        return x._replace(m=dfc.map(lambda row: dfc.tanh(row * x.s + self.w), x.m))

    def _fold(self, x: State, c: float, k: int, inner: Any) -> State:
        return x._replace(v=dfc.fold(lambda v, row: dfc.sin(v * c + row), x.v, x.m, reverse=k % 2 == 1))

    def _if(self, x: State, c: float, k: int, inner: Any) -> State:
        yes, no = inner
        return dfc.cond(dfc.sin(3 * x.s) > c - 1, lambda: self.block(yes, x), lambda: self.block(no, x))

    def _case(self, x: State, c: float, k: int, inner: Any) -> State:
        return dfc.case(_whole(x.s, 4), [lambda b=b: self.block(b, x) for b in inner])

    def _while(self, x: State, c: float, k: int, inner: Any) -> State:
        most = dfc.minimum(_whole(x.s, 3), 3) + k % 3

        def body(i: Any, x: State) -> Any:
            return i + 1, self.block(inner[0], x._replace(s=dfc.sin(x.s + self.w[0] * dfc.astype(i, "float64"))))

        def holds(i: Any, x: State) -> Any:
            return dfc.logical_and(i < most, x.v[0] < c)

        return dfc.while_loop(holds, body, (0, x), parallel_iterations=self.parallel, swap_memory=k > 5)[1]

    def _for(self, x: State, c: float, k: int, inner: Any) -> State:
        most = k % 3 if k < 6 else dfc.minimum(_whole(x.s, 3), 3)

        def body(i: Any, x: State) -> State:
            return self.block(inner[0], x._replace(s=dfc.sin(x.s + c * dfc.astype(i, "float64"))))

        return dfc.fori_loop(0, most, body, x, swap_memory=k > 8)

    def _scan(self, x: State, c: float, k: int, inner: Any) -> State:
        def step(x: State, row: Any) -> tuple[State, Any]:
            x = self.block(inner[0], x._replace(v=dfc.tanh(x.v + row)))
            return x, x.v * x.s

        x, rows = dfc.scan(step, x, x.m, reverse=k % 2 == 1, swap_memory=k > 5)
        return x._replace(m=dfc.tanh(x.m + rows))


def _whole(x: Any, times: int) -> Any:
    return dfc.astype(dfc.abs(x) * times, "int32")


# ---- ways to run them


def function(block: list[Any], parallel: int) -> Any:
    """A function of the state and the weights: the state afterwards, and the gradients of a weighted sum of it."""

    def f(s: Any, v: Any, m: Any, w: Any) -> Any:
        x = Traced(w, parallel).block(block, State(s, v, m))
        loss = x.s + dfc.sum(x.v * dfc.asarray(WEIGHTS[0])) + dfc.sum(x.m * dfc.asarray(WEIGHTS[1]))
        grads = dfc.gradients(loss, [s, v, m, w])
        zeros = [dfc.zeros_like(t) for t in (s, v, m, w)]
        return [*x, *(z if g is None else g for z, g in zip(zeros, grads, strict=True))]

    return dfc.function(f)


def by_python(block: list[Any]) -> list[Any]:
    values = in_python(block, State(*START), W)

    def loss(inputs: list[Any]) -> Any:
        x = in_python(block, State(*inputs[:3]), inputs[3])
        return x.s + np.sum(x.v * WEIGHTS[0]) + np.sum(x.m * WEIGHTS[1])

    inputs, grads = [*START, W], []
    for number, start in enumerate(inputs):
        grad = np.zeros(np.shape(start))
        for index in np.ndindex(grad.shape):
            moved = np.array(start, np.complex128)
            moved[index] += 1e-30j
            grad[index] = loss([*inputs[:number], moved[()], *inputs[number + 1 :]]).imag / 1e-30
        grads.append(grad)
    return [*values, *grads]


def by_reference(graph: dfc.Graph) -> list[Any]:
    module = graph.module.clone()
    pipeline.lower(module, to=Phase.GRAPH)
    return reference.run(module, [*map(np.asarray, START), W])[0]


def by_executor(graph: dfc.Graph, **config: Any) -> list[Any]:
    with dfc.Session(graph, config=dfc.SessionConfig(**config)) as session:
        inputs = dict(zip("svmw", [*START, W], strict=True))
        return session.run([graph.tensor(name) for name in graph.output_names], inputs)


def agree(found: list[Any], wanted: list[Any], what: str) -> None:
    names = ["s", "v", "m", "by s", "by v", "by m", "by w"]
    for name, got, want in zip(names, found, wanted, strict=True):
        assert_allclose(np.asarray(got), want, rtol=1e-8, atol=1e-9, err_msg=f"{what}: {name}")


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Have the host run all branches and loops, or only those that it must."""
    was = compilable.structured

    def switch(all_of_them: bool) -> None:
        for module in (compilable, functionalise, lower_control_flow, moving):
            monkeypatch.setattr(module, "structured", (lambda op: False) if all_of_them else was)

    return switch


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_compiled_lowered_reference_and_python_agree(lowered: Callable[[bool], None], data: st.DataObject) -> None:
    block = random_program(lambda n: data.draw(st.integers(0, n - 1)))
    wanted = by_python(block)
    specs = [dfc.TensorSpec(np.shape(x), "float64", name=n) for x, n in zip([*START, W], "svmw", strict=True)]
    lowered(False)
    compiled = function(block, 10)
    agree([t.numpy() for t in compiled(*START, W)], wanted, "compiled")
    agree(by_reference(compiled.graph(*specs)), wanted, "reference")
    lowered(True)
    for parallel in PARALLEL:
        graph = function(block, parallel).graph(*specs)
        config: dict[str, Any] = {"cluster": parallel == 10, "device_memory_limit": 2**20 if parallel == 1 else None}
        agree(by_executor(graph, **config), wanted, f"lowered, {parallel} iterations at once")


def test_the_host_runs_all_of_them_where_it_is_asked_to(lowered: Callable[[bool], None]) -> None:
    """What the test above stands on: nothing structured is left when a program is lowered, else all of it is."""
    block = [("while", 1.5, 2, [[("if", 1.0, 0, [[("scan", 1.0, 1, [[("s", 1.0, 0, [])]])], [("v", 1.0, 0, [])]])]])]
    specs = [dfc.TensorSpec(np.shape(x), "float64", name=n) for x, n in zip([*START, W], "svmw", strict=True)]
    for all_of_them in (False, True):
        lowered(all_of_them)
        module = function(block, 1).graph(*specs).module.clone()
        pipeline.lower(module, to=Phase.PARTITIONED)
        names = {op.name for op in module.walk()}
        assert any(isinstance(op, ControlFlow) for op in module.walk()) is not all_of_them
        assert {"df.switch", "df.enter", "df.merge"} <= names if all_of_them else "df.switch" not in names
