"""Row E10: loops in which several devices take part, and variables on several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidArgument
from dfc.ir.ops import dataflow as fl
from dfc.ir.ops.function import Func
from dfc.ir.ops.transfer import Recv
from tests.device_support import CPUS, PARALLEL, X, ops, parts, routes, run, split

raw = dfc.raw


# ---- E10: loops


def counted(devices: Sequence[str], parallel: int, nested: bool, branches: bool, dtype: str = "float64") -> dfc.Graph:
    """A loop whose body goes over the devices; `""` asks for none. Its outputs: the count, the value, the gradient."""

    def scope(number: int) -> Any:
        return dfc.device(devices[number % len(devices)] or None)

    def inner(a: Any) -> Any:
        with scope(1):
            a = dfc.sin(a) * 2
        if branches:
            kept = a

            def yes() -> Any:
                with scope(2):
                    return dfc.cos(kept) + 1

            def no() -> Any:
                with scope(3):
                    return dfc.tanh(kept) - 1

            a = dfc.cond(dfc.sum(a) > 1.5, yes, no)
        with scope(0):
            return a * 0.75 + 0.125

    def f(x: Any, n: Any) -> Any:
        def body(i: Any, a: Any) -> Any:
            a = inner(a)
            if nested:
                _, a = dfc.while_loop(
                    lambda j, b: j < 2, lambda j, b: (j + 1, inner(b)), (0, a), parallel_iterations=parallel
                )
            with scope(2):
                return i + 1, dfc.cos(a)

        i, y = dfc.while_loop(lambda i, a: i < n, body, (0, x), parallel_iterations=parallel)
        return [i, y, dfc.gradients(dfc.sum(y), [x])[0]]

    return dfc.function(f).graph(dfc.TensorSpec((2,), dtype, name="x"), dfc.TensorSpec((), "int32", name="n"))


def runs_of(graph: dfc.Graph, counts: Sequence[int]) -> list[Any]:
    found = []
    with dfc.Session(graph) as session:
        fetches = [graph.tensor(name) for name in graph.output_names]
        for count in counts:
            found.append(session.run(fetches, {"x": X.astype(np.float64), "n": np.int32(count)}, timeout=20))
    return found


@pytest.mark.parametrize("parallel", PARALLEL)
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize(("nested", "branches"), [(False, False), (True, False), (False, True), (True, True)])
def test_e10_a_split_loop_is_as_on_one_device(nested: bool, branches: bool, count: int, parallel: int) -> None:
    counts = (0, 1, 3)
    wanted = runs_of(counted([""], parallel, nested, branches), counts)
    found = runs_of(counted([f"/cpu:{i}" for i in range(count)], parallel, nested, branches), counts)
    for got, want in zip(found, wanted, strict=True):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10)


def loop_of(device: str, other: str = "") -> dfc.Graph:
    """A raw loop on a device; if there is another, a part of the body is there."""
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (), name="x")
        with dfc.device(device):
            value = raw.enter(x, "frame")
            merged = raw.merge(value)
            going = raw.loop_cond(merged.value < 100)
            done, on = raw.switch(merged.value, going)
            with dfc.device(other or device):
                body = dfc.sin(on) + on
            merged.set_back_edge(raw.next_iteration(body * 2))
            left = raw.exit(done)
        with dfc.device("/cpu:1"):
            dfc.identity(left * 2, name="end")
    return graph


def gates(func: Func) -> Counter[str]:
    kinds = (fl.Enter, fl.Merge, fl.Switch, fl.NextIteration, fl.Exit, fl.LoopCond)
    return Counter(op.name for op in func.block.ops if isinstance(op, kinds))


def test_e10_nothing_is_added_for_a_frame_on_one_device() -> None:
    module = split(loop_of("/cpu:0"))
    found = parts(module)
    assert not gates(found[CPUS[1]]) and not any(op.operands for op in ops(module, Recv))
    assert gates(found[CPUS[0]]) == dict.fromkeys(
        ("df.enter", "df.merge", "df.switch", "df.next_iteration", "df.exit", "df.loop_cond"), 1
    )
    assert routes(module) == [(0, 1)]


def test_e10_each_device_of_a_loop_keeps_step_with_its_condition() -> None:
    module = split(loop_of("/cpu:0", "/cpu:2"))
    found = parts(module)
    assert gates(found[CPUS[2]]) == dict.fromkeys(("df.enter", "df.merge", "df.switch", "df.next_iteration"), 1)
    assert gates(found[CPUS[0]])["df.merge"] == 1 and not gates(found[CPUS[1]])
    arrivals = [op for op in found[CPUS[2]].block.ops if type(op) is Recv]
    assert len(arrivals) >= 2, "the condition, and the value"
    (merge,) = [op for op in found[CPUS[2]].block.ops if type(op) is fl.Merge]
    for op in arrivals:
        (token,) = op.operands
        assert token.owner.operands[0] is merge.results[0], "a recv in the frame waits for the iteration to begin"


def test_e10_a_raw_loop_over_two_devices_runs() -> None:
    want = np.float32(0.5)
    while want < 100:
        want = (np.sin(want) + want) * 2
    for other in ("", "/cpu:1", "/cpu:2"):
        graph = loop_of("/cpu:0", other)
        np.testing.assert_allclose(run(graph, graph.tensor("end"), {"x": np.float32(0.5)}), want * 2, rtol=1e-4)


def test_e10_a_loop_over_devices_needs_a_condition() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (), name="x")
        with dfc.device("/cpu:0"):
            merged = raw.merge(raw.enter(x, "frame"))
            done, on = raw.switch(merged.value, merged.value < 100)
            with dfc.device("/cpu:1"):
                body = dfc.exp(on)
            merged.set_back_edge(raw.next_iteration(body))
            left = raw.exit(done)
    with pytest.raises(InvalidArgument, match="A cross-device loop must have a pivot predicate: ") as raised:
        run(graph, left, {x: np.float32(0.5)})
    assert "frame" in str(raised.value) and "test_e10_loops_over_devices.py" in str(raised.value)


# ---- whole steps


def test_e10_variables_of_several_devices_in_a_step() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        variables = []
        for index in range(4):
            with dfc.device(f"/cpu:{index}"):
                variables.append(dfc.Variable(np.full(2, index, np.float32), name=f"v{index}"))
        total = variables[0] + variables[1] + variables[2] + variables[3]
        writes = [v.assign_add(x * (index + 1)) for index, v in enumerate(variables)]
        with dfc.control_dependencies(writes), dfc.device("/cpu:3"):
            after = variables[0].read() + variables[2].read()
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init, timeout=20)
        np.testing.assert_array_equal(session.run(total, timeout=20), [6, 6])
        np.testing.assert_allclose(session.run(after, {x: X}, timeout=20), 2 + X * 4, rtol=1e-6)
        for index, value in enumerate(session.run(variables, timeout=20)):
            np.testing.assert_allclose(value, index + X * (index + 1), rtol=1e-6)


def test_e10_a_variable_in_a_loop_on_another_device() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        with dfc.device("/cpu:2"):
            w = dfc.Variable(np.float32([1.5, 0.5]), name="w")

        def body(i: Any, a: Any) -> Any:
            with dfc.device("/cpu:1"):
                b = dfc.sin(a)
            with dfc.device("/cpu:2"):
                return i + 1, b * w

        y = dfc.while_loop(lambda i, a: i < 4, body, (0, x))[1]
        grads = dfc.gradients(dfc.sum(y), [x, w])
        init = dfc.initialize_all()
    want, by_x = X.astype(np.float64), np.ones(2)
    scale = np.array([1.5, 0.5])
    for _ in range(4):
        by_x *= np.cos(want) * scale
        want = np.sin(want) * scale
    with dfc.Session(graph) as session:
        session.run(init, timeout=20)
        found = session.run([y, *grads], {x: X}, timeout=20)
        np.testing.assert_allclose(found[0], want, rtol=1e-5)
        np.testing.assert_allclose(found[1], by_x, rtol=1e-4)
        assert np.all(np.isfinite(found[2]))
