"""Row E9: receives do not start too early, so that they hold no memory; nothing waits for itself because of that."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

import dfc
from dfc.backends import pipeline, xla
from dfc.errors import InvalidArgument
from dfc.ir.locations import describe
from dfc.ir.ops.function import Island
from dfc.ir.ops.transfer import TURN, Computed, Recv
from dfc.ir.text import parse_program, print_program
from dfc.passes import manager
from dfc.passes.colocation import text_of
from dfc.passes.phases import Phase
from dfc.runtime.partitioned import PartitionedStep
from tests.device_support import CPUS, X, ops, parts, run, split

raw = dfc.raw
ROWS, COLUMNS, COUNT = 2048, 64, 20
MEGABYTES = 4 * ROWS * ROWS >> 20
"""Of each of the values that are received."""
PLAIN = "cluster"
ALWAYS = "divide-receives{least=0 always=true}, cluster, schedule-receives{prefetch=1 least=0 always=true}"
STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def layers(count: int = COUNT, rows: int = ROWS) -> dfc.Graph:
    """A device makes many large values at once, another uses one after the other; all are fetched, too."""

    def f(h: Any, scale: Any) -> list[Any]:
        with dfc.device("/cpu:1"):
            weights = [dfc.full((rows, rows), 1e-4 * (i + 1), dtype="float32") * scale for i in range(count)]
        with dfc.device("/cpu:0"):
            for w in weights:
                h = dfc.tanh(dfc.matmul(w, h))
        return [h, *weights]

    specs = dfc.TensorSpec((rows, COLUMNS), "float32"), dfc.TensorSpec((), "float32")
    return dfc.function(f).graph(*specs)


def clustered(graph: dfc.Graph, passes: str = pipeline.PIPELINE[Phase.CLUSTERED]) -> ModuleOp:
    how = pipeline.PIPELINE[Phase.PARTITIONED]
    return split(graph, how=how, to=Phase.CLUSTERED, clustered=passes)


def step(module: ModuleOp) -> PartitionedStep:
    made = parts(module)
    return PartitionedStep(list(made.values()), [xla.devices()[CPUS.index(d)] for d in made], {}, "step")


def timed(step: PartitionedStep) -> tuple[float, list[Any]]:
    """The seconds of a run, and what it gives, computed."""
    feeds = [xla.to_device(np.ones((ROWS, COLUMNS), np.float32)), xla.to_device(np.float32(1))]
    start = perf_counter()
    found = step(feeds)
    for value in found:
        xla.wait(value)
    return perf_counter() - start, found


def process_memory(key: str) -> int:
    """In MiB: VmRSS as it is, VmHWM at most."""
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(key)]
    return int(line.split()[1]) >> 10


def most_on_target(step: PartitionedStep) -> int:
    """How many MiB more the process has in a run, at most, than before, without what is made on the other device: that
    is fetched, and so is there in any case."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = process_memory("VmRSS")
    PEAK.write_text("5")
    _, found = timed(step)
    most = process_memory("VmHWM")
    del found
    return most - before - COUNT * MEGABYTES


def can_measure() -> bool:
    try:
        PEAK.write_text("5")
    except OSError:
        return False
    return hasattr(ctypes.CDLL(None), "malloc_trim")


# ---- memory


@pytest.mark.skipif(not can_measure(), reason="only Linux says what a process had at most")
def test_e9_the_target_holds_less_than_half_as_much_and_is_not_slower() -> None:
    graph = layers()
    plain, scheduled = step(clustered(graph, PLAIN)), step(clustered(graph))
    expected, got = timed(plain)[1], timed(scheduled)[1]
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_allclose(xla.to_numpy(one), xla.to_numpy(other), rtol=1e-5)
    del expected, got, one, other
    without, with_it = (min(most_on_target(step) for _ in range(3)) for step in (plain, scheduled))
    assert without > 0.9 * COUNT * MEGABYTES, "all that is received is there before the one program begins"
    assert with_it < without / 2
    times: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(5):
        for i, each in enumerate((plain, scheduled)):
            times[i].append(timed(each)[0])
    assert min(times[1]) < 1.5 * min(times[0])


def test_e9_turns_alone_save_nothing_and_waiting_for_a_start_would_not() -> None:
    """What holds a receive up is the end of work, not its start: a device is given islands long before it runs them."""
    module = clustered(layers())
    part = parts(module)[CPUS[0]]
    tokens = [op.operands[0].owner for op in ops(module, Recv) if op.operands]
    assert tokens and all(type(op) is Computed and type(op.x.owner) is Island for op in tokens)
    assert sum(type(op) is Island for op in part.block.ops) == COUNT * MEGABYTES // 32


def test_e9_a_session_puts_receives_off_by_itself() -> None:
    with dfc.Graph() as graph:
        h = dfc.placeholder("float32", (ROWS, COLUMNS), name="h")
        scale = dfc.placeholder("float32", (), name="scale")
        y = h
        with dfc.device("/cpu:1"):
            weights = [dfc.full((ROWS, ROWS), 1e-4 * (i + 1), dtype="float32") * scale for i in range(12)]
        with dfc.device("/cpu:0"):
            for w in weights:
                y = dfc.tanh(dfc.matmul(w, y))
    start = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)
    want = start
    for i in range(12):
        want = np.tanh(np.broadcast_to(np.float32(1e-4 * (i + 1)) * want.sum(0), (ROWS, COLUMNS)))
    with dfc.Session(graph) as session:
        for _ in range(3):
            found = session.run(y, {h: start, scale: np.float32(1)}, timeout=60)
            np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-4)


# ---- what is put off, and what is not


def routes_of(module: ModuleOp) -> list[tuple[str, bool]]:
    """Of each receive: its turn, and whether something holds it up."""
    return [(text_of(op, TURN), bool(op.operands)) for op in ops(module, Recv)]


def test_e9_two_turns_are_ahead() -> None:
    found = routes_of(clustered(layers()))
    assert [turn for turn, _ in found] == [str(i // 2) if i > 1 else "" for i in range(COUNT)]
    assert [held for _, held in found] == [i >= 4 for i in range(COUNT)]


def test_e9_small_values_and_those_that_are_needed_soon_are_left_alone() -> None:
    for graph in (layers(COUNT, 64), layers(3)):
        assert print_program(clustered(graph)) == print_program(clustered(graph, PLAIN))


def test_e9_where_the_work_would_not_cover_the_transfer_nothing_changes() -> None:
    def f(x: Any) -> Any:
        with dfc.device("/cpu:1"):
            parts = [dfc.full((ROWS, ROWS), i, dtype="float32") * x for i in range(COUNT)]
        with dfc.device("/cpu:0"):
            return [dfc.sum(part[:4, :4]) for part in parts]

    graph = dfc.function(f).graph(dfc.TensorSpec((), "float32"))
    assert print_program(clustered(graph)) == print_program(clustered(graph, PLAIN))


def test_e9_what_is_used_until_the_end_is_not_divided() -> None:
    def f(h: Any, scale: Any) -> Any:
        with dfc.device("/cpu:1"):
            weights = [dfc.full((ROWS, ROWS), 1e-4 * (i + 1), dtype="float32") * scale for i in range(COUNT)]
        with dfc.device("/cpu:0"):
            for w in weights:
                h = dfc.tanh(dfc.matmul(w, h))
            for w in reversed(weights):
                h = dfc.tanh(dfc.matmul(w, h))
        return h

    graph = dfc.function(f).graph(dfc.TensorSpec((ROWS, COLUMNS), "float32"), dfc.TensorSpec((), "float32"))
    assert not any(turn for turn, _ in routes_of(clustered(graph)))


def test_e9_what_is_put_off_keeps_the_users_position() -> None:
    module = clustered(layers())
    text = Path(__file__).read_text(encoding="utf-8").splitlines()
    tokens = ops(module, Computed)
    assert tokens
    for op in tokens:
        assert describe(op.location) == describe(op.x.owner.location) != ""
    lines = {describe(op.location).split(":")[1] for op in ops(module, Recv)}
    assert all("dfc.full" in text[int(line) - 1] for line in lines)


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        ("schedule-receives{prefetch=0}", "prefetch must be at least 1, got 0"),
        ("divide-receives{window=0}", "window must be a positive number of bytes, got 0"),
    ],
)
def test_e9_options_that_make_no_sense(passes: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        manager.run(ModuleOp([]), manager.parse_pipeline(passes))
    assert raised.value.diagnostic.message == message
    assert raised.value.diagnostic.op == passes.partition("{")[0]


# ---- nothing waits for itself


A, B = (f"/job:a/replica:0/task:0/device:CPU:{i}" for i in range(2))


def island(result: str, *operands: str) -> str:
    arguments = ", ".join(f"%{o}_in: tensor<2xf32>" for o in operands)
    types = ", ".join("tensor<2xf32>" for _ in operands)
    return f"""
    %{result}, %t_{result} = df.island {", ".join(f"%{o}" for o in operands)}
        {{n_inputs = {len(operands)}, n_refs = 0, written = [], results = [tensor<2xf32>]}} ({{
    ^bb0({arguments}):
      %{result}_in = df.tanh %{operands[0]}_in : tensor<2xf32>
      df.yield %{result}_in : (tensor<2xf32>) -> ()
    }}) : ({types}) -> (tensor<2xf32>, !df.control)"""


def recv(name: str, source: str, target: str, level: int) -> str:
    route = f'tensor = "{name}", source = "{source}", target = "{target}"'
    return f"""
    %{name} = df.recv {{result = [tensor<2xf32>], {route}, level = "{level}"}} : () -> tensor<2xf32>"""


def send(name: str, source: str, target: str) -> str:
    return f"""
    df.send %{name} {{tensor = "{name}", source = "{source}", target = "{target}"}} : (tensor<2xf32>) -> ()"""


def part(device: str, body: str, given: Sequence[str] = (), inputs: Sequence[int] = (), end: str = "") -> str:
    names = ", ".join(f'"{name}"' for name in given)
    head = f"\n  ^bb0({', '.join(f'%{name}: tensor<2xf32>' for name in given)}):" if given else ""
    results = 'result_names = ["y"]' if end else "result_names = []"
    numbers = f"part_inputs = {list(inputs)}, part_results = {[0] if end else []}"
    last = f"df.return %{end} : (tensor<2xf32>) -> ()" if end else "df.return : () -> ()"
    properties = f'sym_name = "f@{device}", arg_names = [{names}], {results}, {numbers}, assigned = "{device}"'
    return f"""
  df.func {{{properties}}} ({{{head}{body}
    {last}
  }}) : () -> ()"""


def scheduled(*functions: str) -> set[str]:
    """What is put off where that is possible."""
    program = parse_program(f"builtin.module {{{''.join(functions)}\n}}\n")
    manager.run(program, manager.parse_pipeline("schedule-receives{prefetch=1 least=0 always=true}"))
    program.verify()
    return {op.tensor.data for op in ops(program, Recv) if op.operands}


def test_e9_an_island_that_comes_of_the_receive_by_way_of_another_device() -> None:
    """Of the levels: `late` stands before the first island that takes x, and needs x by way of the last one and B."""
    given = recv("x", B, A, 1) + recv("back", B, A, 3) + recv("other", B, A, 3)
    first = given + island("late", "back") + island("first", "x", "other") + island("gone", "x") + send("gone", A, B)
    of_b = send("x", B, A) + send("other", B, A) + recv("gone", A, B, 2) + island("back", "gone") + send("back", B, A)
    assert scheduled(part(A, first, end="first"), part(B, of_b, ["x", "other"], [0, 0])) == {"other"}
    sends = send("x", B, A) + send("other", B, A) + send("back", B, A)
    apart = part(B, sends, ["x", "other", "back"], [0, 0, 0])
    lower = first.replace('level = "3"', 'level = "1"').replace(send("gone", A, B), "")
    assert scheduled(part(A, lower, end="first"), apart) == {"x", "other"}, "without the way back both are put off"


def test_e9_inputs_that_may_be_given_one_by_one() -> None:
    """The receive may be what the input is made of: a partial run feeds it once it has what comes of the receive."""
    there = part(B, send("x", B, A), ["x"], [0])
    one = island("before", "u") + recv("x", B, A, 1) + island("y", "x")
    assert scheduled(part(A, one, ["u"], [1], end="y"), there) == set()
    assert scheduled(part(A, one, ["u"], [0], end="y"), there) == {"x"}, "it waits for that in any case"
    both = island("before", "u") + recv("x", B, A, 1) + island("y", "before", "x")
    assert scheduled(part(A, both, ["u"], [1], end="y"), there) == {"x"}


def test_e9_a_receive_of_what_no_part_here_sends_may_wait_for_anything() -> None:
    body = recv("u", B, A, 1) + island("before", "u") + recv("x", B, A, 1) + island("y", "x")
    assert scheduled(part(A, body, end="y")) == set()
    assert scheduled(part(A, body, end="y"), part(B, send("x", B, A) + send("u", B, A), ["x", "u"], [0, 0])) == {"x"}


def test_e9_programs_that_wait_for_themselves_are_left_as_they_are() -> None:
    there = part(B, recv("x", A, B, 0) + send("x", B, A).replace('"x"', '"u"'))
    here = part(A, recv("u", B, A, 0) + island("a", "u") + island("x", "a") + send("x", A, B), end="x")
    assert scheduled(here, there) == set()


def test_e9_what_leads_into_a_loop_is_not_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pipeline.PIPELINE, Phase.CLUSTERED, ALWAYS)

    def f(x: Any) -> Any:
        with dfc.device("/cpu:1"):
            into, past = dfc.sin(x), dfc.cos(x)
        with dfc.device("/cpu:0"):
            y = dfc.tanh(x)
            start = y + into

            def body(i: Any, a: Any) -> Any:
                with dfc.device("/cpu:2"):
                    a = a * 2
                with dfc.device("/cpu:0"):
                    return i + 1, a + y

            return y, dfc.while_loop(lambda i, a: i < 3, body, (0, start))[1], dfc.exp(y + past)

    graph = dfc.function(f).graph(dfc.TensorSpec((2,), "float32", name="x"))
    module = clustered(graph, ALWAYS)
    held = {
        op.tensor.data.split("_")[2]: type(op.operands[0].owner) is Computed for op in ops(module, Recv) if op.operands
    }
    assert held["cosine"] and not any(held[name] for name in held if name != "cosine")
    assert {"sine", "cosine"} < {op.tensor.data.split("_")[2] for op in ops(module, Recv)}
    y, found, last = run(graph, list(map(graph.tensor, graph.output_names)), {"x": X})
    want = y + np.sin(X)
    for _ in range(3):
        want = want * 2 + y
    np.testing.assert_allclose(found, want, rtol=1e-5)
    np.testing.assert_allclose(last, np.exp(y + np.cos(X)), rtol=1e-5)


def test_e9_a_queue_that_the_same_step_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is taken out is used before what is put in has been received."""
    monkeypatch.setitem(pipeline.PIPELINE, Phase.CLUSTERED, ALWAYS)
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        queue = dfc.FIFOQueue(10, "float32", shapes=[(2,)])
        with dfc.device("/cpu:1"):
            sent = dfc.sin(x)
        with dfc.device("/cpu:0"):
            taken = dfc.tanh(queue.dequeue())
            put = queue.enqueue(dfc.exp(sent))
    with dfc.Session(graph) as session:
        for _ in range(3):
            found, _ = session.run([taken, put], {x: X}, timeout=20)
            np.testing.assert_allclose(found, np.tanh(np.exp(np.sin(X))), rtol=1e-5)


@pytest.mark.parametrize("pred", [True, False])
def test_e9_the_island_waited_for_is_on_a_branch_that_is_not_taken(pred: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pipeline.PIPELINE, Phase.CLUSTERED, ALWAYS)
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        p = dfc.placeholder("bool", (), name="p")
        with dfc.device("/cpu:1"):
            sent = dfc.sin(x)
        with dfc.device("/cpu:0"):
            switched = raw.switch(x, p)
            yes = dfc.exp(switched.if_true)
            merged = raw.merge(switched.if_false, yes).value
            end = dfc.cos(sent) + merged
    held = [op for op in ops(clustered(graph, ALWAYS), Recv) if op.operands]
    assert [type(op.operands[0].owner) for op in held] == [Computed]
    found = run(graph, [end], {x: X, p: pred})[0]
    np.testing.assert_allclose(found, np.cos(np.sin(X)) + (np.exp(X) if pred else X), rtol=1e-5)
