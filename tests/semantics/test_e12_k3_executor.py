"""Rows E12 and K3: a graph that lacks something is refused; what is ready runs, whatever else is waiting."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
import warnings
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from dfc.runtime.executor import Execution
from dfc.runtime.flow import Flow, HostOp
from dfc.runtime.plan import HostCall, HostValue, Plan


def host(name: str, run: Any) -> HostOp:
    return HostOp(name, f"model.py:{len(name)}:1", run)


def noting(k: int, ran: list[int]) -> Any:
    """The sum of the operands, modulo 97; notes that it ran."""

    def run(xs: Any) -> Any:
        ran.append(k)
        return (np.array(sum(float(x) for x in xs) % 97),)

    return run


def test_e12_an_operand_that_nothing_gives() -> None:
    plan = Plan(1, (HostCall(0, (0, 7, 9), 1),), (1,))
    with pytest.raises(InvalidArgument) as caught:
        Flow(plan, [], [host("merge", sum)], None, "step")
    assert str(caught.value) == "step: Incomplete graph, missing 2 inputs for merge\n  at model.py:5:1"
    with pytest.raises(InvalidArgument, match="Incomplete graph, missing 1 inputs for outputs"):
        Flow(Plan(1, (), (3,)), [], [], None, "step")


def test_k3_each_node_runs_once_after_what_it_needs() -> None:
    """A random graph of host ops: values, and an order that respects data and control."""
    random = np.random.default_rng(0)
    for _ in range(20):
        calls: list[Any] = [HostValue(np.array(1.0))]
        ops, ran = [], list[int]()
        expected, known = [2.0, 3.0, 1.0], 3  # two inputs and the constant
        for k in range(30):
            inputs = tuple(int(i) for i in random.integers(0, known, random.integers(1, 4)))
            after = tuple(int(i) for i in random.integers(0, len(calls), random.integers(0, 3)))
            calls.append(HostCall(k, inputs, 1, after))
            ops.append(host(f"op{k}", noting(k, ran)))
            expected.append(sum(expected[i] for i in inputs) % 97)
            known += 1
        flow = Flow(Plan(2, tuple(calls), (known - 1, 2, known - 2)), [], ops, None, "step")
        execution = Execution(flow)
        execution.feed(1, np.array(3.0))
        execution.feed(0, np.array(2.0))
        found = execution.run(range(3))
        assert [float(x) for x in found] == [expected[-1], 1.0, expected[-2]]
        assert sorted(ran) == list(range(30))
        place = {k: i for i, k in enumerate(ran)}
        for k, call in enumerate(calls[1:]):
            needs = [v - 3 for v in call.inputs if v >= 3] + [c - 1 for c in call.after if c >= 1]
            assert all(place[n] < place[k] for n in needs)


def test_k3_a_value_lives_until_its_last_user_has_it() -> None:
    class Big(np.ndarray[Any, Any]):
        alive = 0

    def make(xs: Any) -> Any:
        Big.alive += 1
        return (np.zeros(3).view(Big),)

    def seen(xs: Any) -> Any:
        counts.append(Big.alive)
        return (np.zeros(()),)

    Big.__del__ = lambda self: setattr(Big, "alive", Big.alive - 1)  # type: ignore[attr-defined]
    counts: list[int] = []
    chain = [HostCall(0, (0,), 1)]
    ops = [HostOp("make", "", make, arrays=False)]
    for k in range(1, 6):  # each big array is used by one op, which gives the next
        chain.append(HostCall(k, (k,), 1))
        ops.append(HostOp("step", "", lambda xs: (seen(xs), make(xs))[1], arrays=False))
    flow = Flow(Plan(1, tuple(chain), (6,)), [], ops, None, "step")
    execution = Execution(flow)
    execution.feed(0, np.zeros(()))
    execution.run([0])
    assert max(counts) <= 2, "no more than an array and the one that is made of it"


def test_k3_what_is_ready_runs_while_other_parts_of_the_step_wait() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(1, "float32", shapes=[()])
        x = dfc.placeholder("float32", (), name="x")
        v = dfc.Variable(0.0, name="v")
        put, add = queue.enqueue(x), v.assign_add(x * 3)
        both = [queue.dequeue() * 10, add]
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)
        step = session.submit(both, {x: 2.0})
        deadline = time.monotonic() + 10
        while session.run(v) != 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert session.run(v) == 6 and not step.done()
        session.run(put, {x: 5.0})
        assert step.result(10) == [50, None]


def test_k3_an_error_stops_the_step_and_names_the_operation_and_the_line() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(1, "float32", shapes=[()])
        text = dfc.placeholder("string", (), name="text")
        number = dfc.strings.to_number(text)  # this line
        both = [queue.dequeue(), number * 2]
    with dfc.Session(graph) as session:
        start = time.monotonic()
        with pytest.raises(InvalidArgument) as caught:
            session.run(both, {text: "twelve"})
        assert time.monotonic() - start < 1, "what waits does not hold it up"
        message = str(caught.value)
        assert message.startswith("string_to_number: ") and "twelve" in message
        assert "number = dfc.strings.to_number(text)  # this line" in message
        assert session.run(number, {text: "12"}) == 12


def test_k3_a_time_limit_names_what_was_waited_for() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(1, "float32", shapes=[()])
        taken = queue.dequeue()
    with dfc.Session(graph) as session:
        for run in (lambda: session.run(taken, timeout=0.1), lambda: session.make_callable(taken)(timeout=0.1)):
            start = time.monotonic()
            with pytest.raises(DeadlineExceeded) as caught:
                run()
            assert time.monotonic() - start < 1
            assert "the time limit passed while the step waited for dequeue at" in str(caught.value)
            assert f"{os.path.basename(__file__)}" in str(caught.value)
        with pytest.raises(DeadlineExceeded):
            session.submit(taken, timeout=0.1).result(10)
        assert len(session._state.running) == 0


def test_k3_a_time_limit_holds_for_devices_too() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (1500, 1500), name="x")
        y = x
        for _ in range(12):
            y = dfc.matmul(y, x) * 1e-3
        total = dfc.sum(y)
    with dfc.Session(graph) as session:
        ones = np.ones((1500, 1500), np.float32)
        session.run(total, {x: ones})
        with pytest.raises(DeadlineExceeded, match="the time limit passed while a device computed"):
            session.run(total, {x: ones}, timeout=0.005)
        session.run(total, {x: ones})


def test_k3_ctrl_c_ends_a_waiting_step_within_a_second() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(1, "float32", shapes=[()])
        x = dfc.placeholder("float32", (), name="x")
        put, taken = queue.enqueue(x), queue.dequeue()
    with dfc.Session(graph) as session:
        timer = threading.Timer(0.3, _thread.interrupt_main, (signal.SIGINT,))
        timer.start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            session.run(taken)
        assert time.monotonic() - start < 1.3
        assert len(session._state.running) == 0
        session.run(put, {x: 3.0})
        assert session.run(taken) == 3, "the step that was interrupted takes nothing more"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_k3_use_after_a_fork_is_a_clear_error() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (), name="x")
        y = x + 1
    with dfc.Session(graph) as session:
        assert session.run(y, {x: 1}) == 2
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's and JAX's own about forks
            child = os.fork()
        if child == 0:
            try:
                session.run(y, {x: 1})
                os.write(writer, b"ran")
            except FailedPrecondition as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            message = pipe.read().decode()
        os.waitpid(child, 0)
        assert message.startswith("the session was made before this process was forked")
        assert session.run(y, {x: 2}) == 3
