"""Rows E1 to E8: a step on several devices is one graph a device; values, tokens and dead ones go between them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

import dfc
from dfc.backends import xla
from dfc.errors import Cancelled, DeadlineExceeded, DfcError, InvalidArgument
from dfc.ir.dtypes import bfloat16
from dfc.ir.ops.elementwise import Convert
from dfc.ir.ops.graph import After
from dfc.ir.ops.state import Group
from dfc.ir.ops.transfer import Recv, Send
from dfc.passes import manager
from dfc.passes.phases import Phase
from dfc.runtime.partitioned import PartitionedStep
from dfc.runtime.rendezvous import INCARNATION, Key, LocalRendezvous, Receiving, parse_key, prefix_of
from tests.device_support import CPUS, X, key, ops, parts, routes, run, split, traced, vector

raw = dfc.raw


# ---- E1: a split edge


def test_e1_a_split_edge_is_one_send_and_one_recv() -> None:
    def f(x: Any) -> Any:
        with dfc.device("/cpu:0"):
            y = dfc.tanh(x)
        with dfc.device("/cpu:1"):
            return dfc.exp(y)

    module = traced(f, vector())
    assert list(parts(module)) == CPUS[:2]
    (send,), (recv,) = ops(module, Send), ops(module, Recv)
    assert len(send.operands) == 1 and not send.results
    assert len(recv.results) == 1 and not recv.operands
    assert send.x.owner.name == "df.tanh" and recv.result.type == send.x.type
    assert send.tensor == recv.tensor and send.tensor.data.startswith("edge_0_")
    assert [send.parent_op(), recv.parent_op()] == [parts(module)[d] for d in CPUS[:2]]
    assert {op.name for op in parts(module)[CPUS[1]].block.ops} == {"df.recv", "df.exponential", "df.return"}


def test_e1_a_chain_over_three_devices_runs() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        a = dfc.tanh(x)
        with dfc.device("/cpu:2"):
            b = dfc.exp(a)
        with dfc.device("/cpu:0"):
            c = dfc.exp(b)
        with dfc.device("/cpu:1"):
            d = c + a
    with dfc.Session(graph) as session:
        for feed in (X, X + 1, xla.to_device(X)):
            found = session.run([a, b, c, d], {x: feed}, timeout=20)
            first = np.tanh(np.asarray(feed))
            wanted = [first, np.exp(first), np.exp(np.exp(first)), np.exp(np.exp(first)) + first]
            for got, want in zip(found, wanted, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-5)
        np.testing.assert_allclose(session.run(b, {x: X}, timeout=20), np.exp(np.tanh(X)), rtol=1e-5)
        np.testing.assert_array_equal(session.run(d, {x: X, c: X, a: X}, timeout=20), X + X)


def test_e1_to_and_fro_between_two_devices() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        y = x
        for step in range(12):
            with dfc.device(f"/cpu:{step % 2}"):
                y = dfc.sin(y) + x
    want = X
    for _ in range(12):
        want = np.sin(want) + X
    np.testing.assert_allclose(run(graph, y, {x: X}), want, rtol=1e-5)


def test_e1_on_one_device_nothing_is_split() -> None:
    def f(x: Any) -> Any:
        with dfc.device("/cpu:3"):
            return dfc.exp(dfc.tanh(x))

    module = traced(f, vector())
    assert list(parts(module)) == [CPUS[3]] and not ops(module, Send) and not ops(module, Recv)
    with dfc.Graph() as graph, dfc.device("/cpu:3"):
        x = dfc.placeholder("float32", (2,), name="x")
        y = dfc.exp(x)
    np.testing.assert_allclose(run(graph, y, {x: X}), np.exp(X), rtol=1e-6)


# ---- E2: keys


def test_e2_a_key_has_five_parts_and_comes_back_from_its_text() -> None:
    made = Key(CPUS[0], 0xDEAD_BEEF, CPUS[1], "edge_3_add", "outer.2/inner", 5)
    assert str(made) == f"{CPUS[0]};00000000deadbeef;{CPUS[1]};edge_3_add;outer.2/inner:5"
    assert parse_key(str(made)) == made
    assert str(parse_key(str(made))) == str(made)
    assert str(made).count(";") == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{CPUS[0]};1;{CPUS[1]};x",
        f"{CPUS[0]};1;{CPUS[1]};x;0:0;more",
        f"{CPUS[0]};no;{CPUS[1]};x;0:0",
        f"{CPUS[0]};1;{CPUS[1]};x;0",
        f"{CPUS[0]};1;{CPUS[1]};x;0:-1",
        f"{CPUS[0]};1;{CPUS[1]};;0:0",
        f";1;{CPUS[1]};x;0:0",
    ],
)
def test_e2_what_is_no_key(text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_key(text)
    assert type(raised.value) is InvalidArgument
    assert raised.value.diagnostic.message == f"Invalid  rendezvous key: {text}"


def test_e2_what_another_incarnation_has_sent_is_not_taken() -> None:
    meeting = LocalRendezvous()
    meeting.send(f"{prefix_of(CPUS[0], INCARNATION ^ 1, CPUS[1], 'x')}0:0", 1)
    with pytest.raises(DeadlineExceeded):
        meeting.wait(key(), timeout=0.05)
    meeting.send(key(), 2)
    assert meeting.wait(key(), timeout=5) == (2, False)
    assert 0 <= INCARNATION < 2**64


# ---- E3: dead values


@pytest.mark.parametrize("pred", [True, False])
def test_e3_a_branch_on_another_device_that_is_not_taken(pred: bool) -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        p = dfc.placeholder("bool", (), name="p")
        switched = raw.switch(x, p)
        with dfc.device("/cpu:1"):
            yes = dfc.exp(switched.if_true)
        with dfc.device("/cpu:2"):
            no = dfc.sin(switched.if_false)
        with dfc.device("/cpu:0"):
            merged = raw.merge(no, yes)
    with dfc.Session(graph) as session:
        value, index = session.run(list(merged), {x: X, p: pred}, timeout=20)
        np.testing.assert_allclose(value, np.exp(X) if pred else np.sin(X), rtol=1e-6)
        assert index == int(pred)
        with pytest.raises(InvalidArgument, match=r"Retval\[0\] does not have value"):
            session.run(no if pred else yes, {x: X, p: pred}, timeout=20)


@pytest.mark.parametrize("devices", [(a, b, c, d) for a in (0, 1) for b in (0, 1) for c in (0, 1) for d in (0, 1)])
def test_e3_where_a_cond_and_its_branches_are_makes_no_difference(devices: tuple[int, int, int, int]) -> None:
    of_p, of_cond, of_yes, of_no = (f"/cpu:{i}" for i in devices)
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        s = dfc.placeholder("float32", (), name="s")
        with dfc.device(of_p):
            p = s > 0

        def yes() -> Any:
            with dfc.device(of_yes):
                return dfc.cos(x)

        def no() -> Any:
            with dfc.device(of_no):
                return dfc.sin(x)

        with dfc.device(of_cond):
            y = dfc.cond(p, yes, no)
        (grad,) = dfc.gradients(dfc.sum(y), [x])
    with dfc.Session(graph) as session:
        for number in (1, -1, 1):
            found = session.run([y, grad], {x: X, s: np.float32(number)}, timeout=20)
            wanted = [np.cos(X), -np.sin(X)] if number > 0 else [np.sin(X), np.cos(X)]
            np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_e3_a_dead_value_of_a_dead_loop_crosses() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        p = dfc.placeholder("bool", (), name="p")

        def body(i: Any, a: Any) -> Any:
            with dfc.device("/cpu:1"):
                a = dfc.sin(a)
            with dfc.device("/cpu:2"):
                return i + 1, a * 2

        def far() -> Any:
            return dfc.while_loop(lambda i, a: i < 3, body, (0, x))[1]

        y = dfc.cond(p, far, lambda: x)
    want = X
    for _ in range(3):
        want = np.sin(want) * 2
    with dfc.Session(graph) as session:
        np.testing.assert_allclose(session.run(y, {x: X, p: True}, timeout=20), want, rtol=1e-5)
        np.testing.assert_array_equal(session.run(y, {x: X, p: False}, timeout=20), X)


def test_e3_dead_as_the_rendezvous_hands_it_on() -> None:
    meeting = LocalRendezvous()
    meeting.send(key(), "ignored", is_dead=True)
    assert meeting.wait(key(), timeout=5) == (None, True)
    assert len(meeting) == 0


# ---- E4: order and timing


def test_e4_asked_after_and_in_the_order_of_sending() -> None:
    meeting = LocalRendezvous()
    for number in range(5):
        meeting.send(key(), number)
    meeting.send(key("y"), "other")
    assert [meeting.wait(key(), timeout=5) for _ in range(5)] == [(n, False) for n in range(5)]
    assert meeting.wait(key("y"), timeout=5) == ("other", False)
    assert len(meeting) == 0


def test_e4_asked_before_and_in_the_order_of_asking() -> None:
    meeting = LocalRendezvous()
    come: list[Receiving] = []
    attempts = [meeting.receive(key(), come.append) for _ in range(3)]
    assert [meeting.submit(attempt) for attempt in attempts] == [False] * 3
    for number in range(3):
        meeting.send(key(), number)
        assert come == attempts[: number + 1]
    assert [attempt.result for attempt in attempts] == [(0,), (1,), (2,)]
    assert len(meeting) == 0


def test_e4_asked_before_by_a_thread() -> None:
    meeting = LocalRendezvous()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(meeting.wait(key(), timeout=20)))
    thread.start()
    meeting.send(key(), 7)
    thread.join(20)
    assert not thread.is_alive() and found == [(7, False)]


def test_e4_a_timeout() -> None:
    meeting = LocalRendezvous()
    with pytest.raises(DeadlineExceeded) as raised:
        meeting.wait(key("late"), timeout=0.05)
    assert raised.value.diagnostic.message == "Timed out waiting for notification"
    assert len(meeting) == 0, "who has given up takes nothing"
    meeting.send(key("late"), 1)
    assert meeting.wait(key("late"), timeout=5) == (1, False)


def test_e4_abort_fails_all_that_wait_and_all_who_will() -> None:
    meeting = LocalRendezvous()
    error = Cancelled("the step is over", op="step")
    come: list[Receiving] = []
    attempts = [meeting.receive(key(name), come.append) for name in "xxy"]
    assert not any(map(meeting.submit, attempts))
    meeting.send(key("z"), 1)
    meeting.abort(error)
    meeting.abort(InvalidArgument("the second one does not count"))
    assert sorted(map(id, come)) == sorted(map(id, attempts))
    assert all(attempt.error is error and attempt.result is None for attempt in attempts)
    for call in (lambda: meeting.wait(key("z"), timeout=5), lambda: meeting.send(key("w"), 1)):
        with pytest.raises(Cancelled) as raised:
            call()
        assert raised.value is error
    assert len(meeting) == 0


def test_e4_a_wait_that_is_called_off() -> None:
    meeting = LocalRendezvous()
    attempt = meeting.receive(key(), lambda _: None)
    assert not meeting.submit(attempt)
    assert meeting.cancel(attempt) and not meeting.cancel(attempt)
    assert isinstance(attempt.error, Cancelled)
    meeting.send(key(), 3)
    assert attempt.result is None and meeting.wait(key(), timeout=5) == (3, False)


# ---- E5: one transfer a device


def test_e5_three_users_on_a_device_share_one_transfer() -> None:
    def f(x: Any) -> Any:
        with dfc.device("/cpu:0"):
            y = dfc.tanh(x)
        with dfc.device("/cpu:1"):
            there = [dfc.exp(y), dfc.sin(y), y * y]
        with dfc.device("/cpu:2"):
            return [*there, dfc.cos(y)]

    module = traced(f, vector())
    assert Counter(routes(module, Send)) == Counter(routes(module)) == {(0, 1): 1, (0, 2): 1}


def test_e5_constants_and_inputs_are_not_sent() -> None:
    def f(x: Any) -> Any:
        two = dfc.asarray(np.float32([2, 3]))
        with dfc.device("/cpu:0"):
            a = x * two
        with dfc.device("/cpu:1"):
            return [a, x + two]

    module = traced(f, vector())
    assert not ops(module, Send)
    assert all(len(func.block.args) == 1 for func in parts(module).values())


# ---- E6: control edges


def test_e6_a_control_edge_is_an_empty_tensor() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        with dfc.device("/cpu:0"):
            v = dfc.Variable(np.float32([1, 2]), name="v")
            write = v.assign_add(x)
        with dfc.device("/cpu:1"), dfc.control_dependencies([write]):
            dfc.exp(x)
    module = split(graph)
    sends = [op for op in ops(module, Send) if type(op.x.owner) is After]
    assert len(sends) == 1
    (sent,) = sends
    assert str(sent.x.type) == "tensor<0xf32>" and sent.x.owner.operands[0].owner.name == "df.constant"
    (recv,) = [op for op in ops(module, Recv) if op.tensor == sent.tensor]
    assert [type(use.operation) for use in recv.result.uses] == [Group]


def test_e6_the_order_is_kept_across_devices() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (), name="x")
        with dfc.device("/cpu:0"):
            v = dfc.Variable(np.float32(1), name="v")
        with dfc.device("/cpu:1"):
            w = dfc.Variable(np.float32(0), name="w")
        with dfc.device("/cpu:0"):
            write = v.assign(x * 10)
        with dfc.device("/cpu:1"), dfc.control_dependencies([write]):
            copied = w.assign(v.read() + 1)
        with dfc.device("/cpu:2"), dfc.control_dependencies([copied]):
            end = dfc.identity(w.read() * 2)
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init, timeout=20)
        for number in (3, 5, 8):
            assert session.run(end, {x: np.float32(number)}, timeout=20) == (number * 10 + 1) * 2
            assert session.run([v, w], timeout=20) == [number * 10, number * 10 + 1]


# ---- E8: fewer bytes


def test_e8_values_are_rounded_on_their_way_only() -> None:
    def f(x: Any) -> Any:
        with dfc.device("/cpu:0"):
            y = dfc.tanh(x)
            stays = y * 3
        with dfc.device("/cpu:1"):
            return [stays, y * 3, dfc.astype(dfc.astype(y, "int32") + 1, "int32")]

    module = split(dfc.function(f).graph(vector()), how="partition{wire=bfloat16}")
    (send,), (recv,) = ops(module, Send), ops(module, Recv)
    assert type(send.x.owner) is Convert and "bf16" in str(send.x.type) == str(recv.result.type)
    (back,) = [use.operation for use in recv.result.uses]
    assert type(back) is Convert and "f32" in str(back.results[0].type)
    down = [op for op in ops(module, Convert) if "bf16" in str(op.results[0].type)]
    assert down == [send.x.owner]


def test_e8_whole_numbers_and_tokens_are_not_rounded() -> None:
    def f(x: Any) -> Any:
        with dfc.device("/cpu:0"):
            y = dfc.astype(x, "int32") + 1
        with dfc.device("/cpu:1"):
            return y * 2

    module = split(dfc.function(f).graph(vector()), how="partition{wire=bfloat16}")
    assert len(ops(module, Send)) == 1 and not any("bf16" in str(op.results[0].type) for op in ops(module, Convert))


def test_e8_an_unknown_wire() -> None:
    with pytest.raises(InvalidArgument, match="wire must be bfloat16 or nothing, got 'float16'"):
        manager.run(ModuleOp([]), manager.parse_pipeline("partition{wire=float16}"))
    assert bfloat16.name == "bfloat16"


@pytest.mark.parametrize("wire", ["", "{wire=bfloat16}"])
def test_e8_the_error_is_that_of_rounding_once(wire: str) -> None:
    values = np.random.default_rng(0).uniform(1, 100, 1000).astype(np.float32)

    def f(x: Any) -> Any:
        with dfc.device("/cpu:0"):
            y = x * 3
        with dfc.device("/cpu:1"):
            return [y, y * 2]

    graph = dfc.function(f).graph(vector(size=1000))
    made = parts(split(graph, how=f"partition{wire}", to=Phase.CLUSTERED))
    step = PartitionedStep(list(made.values()), xla.devices()[:2], {}, "step")
    exact, rounded = (xla.to_numpy(x) for x in step([xla.to_device(values)]))
    np.testing.assert_array_equal(exact, values * 3)
    error = float(np.max(np.abs(rounded / (values * 6) - 1)))
    assert error < 2**-8
    assert (error > 2**-12) is bool(wire)


# ---- whole steps


def test_e1_a_function_over_devices() -> None:
    @dfc.function
    def f(x: Any) -> Any:
        with dfc.device("/cpu:1"):
            y = dfc.sin(x)
        with dfc.device("/cpu:2"):
            return y * 2

    want = np.sin(X) * 2
    for feed in (X, xla.to_device(X)):
        np.testing.assert_allclose(f(feed).numpy(), want, rtol=1e-6)
    np.testing.assert_allclose(f(f(X)).numpy(), np.sin(want) * 2, rtol=1e-5)


def mlp(devices: Sequence[str]) -> list[float]:
    """The losses of a few steps of an MLP of a layer a device."""
    rng = np.random.default_rng(0)
    data, wanted = rng.normal(size=(16, 8)).astype(np.float32), rng.normal(size=(16, 1)).astype(np.float32)
    sizes = (8, 16, 16, 8, 1)
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (16, 8), name="x")
        t = dfc.placeholder("float32", (16, 1), name="t")
        weights, y = [], x
        for layer in range(4):
            start = (rng.normal(size=sizes[layer : layer + 2]) / np.sqrt(sizes[layer])).astype(np.float32)
            with dfc.device(devices[layer] or None):
                weights.append(dfc.Variable(start, name=f"w{layer}"))
                y = dfc.matmul(y, weights[-1])
                y = dfc.tanh(y) if layer < 3 else y
        loss = dfc.mean((y - t) * (y - t))
        grads = dfc.gradients(loss, weights)
        step = [w.assign_sub(0.1 * g) for w, g in zip(weights, grads, strict=True)]
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init, timeout=20)
        losses = []
        for _ in range(5):
            losses.append(float(session.run(loss, {x: data, t: wanted}, timeout=20)))
            session.run(step, {x: data, t: wanted}, timeout=20)
    return losses


def test_e1_an_mlp_on_four_devices_learns_as_on_one() -> None:
    found, wanted = mlp([f"/cpu:{i}" for i in range(4)]), mlp([""] * 4)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert found[-1] < found[0]


# ---- errors


def test_e4_an_error_on_a_device_ends_the_step_with_it_and_the_next_one_runs() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("int32", (), name="x")
        with dfc.device("/cpu:1"):
            v = dfc.Variable(np.float32(3), name="v")
            bad = v + 1
        with dfc.device("/cpu:2"):
            y = bad * 2
        with dfc.device("/cpu:0"):
            end = y + dfc.astype(x, "float32")
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        for _ in range(2):
            with pytest.raises(DfcError) as raised:
                session.run(end, {x: np.int32(1)}, timeout=20)
            assert not isinstance(raised.value, DeadlineExceeded) and "v" in raised.value.diagnostic.message
        session.run(init, timeout=20)
        assert session.run(end, {x: np.int32(1)}, timeout=20) == 9


def test_e4_an_error_while_the_step_runs() -> None:
    with dfc.Graph() as graph:
        p = dfc.placeholder("bool", (), name="p")
        q = dfc.placeholder("bool", (), name="q")
        with dfc.device("/cpu:1"):
            a = raw.switch(1, p).if_true
        with dfc.device("/cpu:2"):
            b = raw.switch(2, q).if_true
        with dfc.device("/cpu:0"):
            merged = raw.merge(a, b).value
        with dfc.device("/cpu:3"):
            end = merged + 1
    with dfc.Session(graph) as session:
        for _ in range(2):
            with pytest.raises(dfc.errors.Internal, match=r"Merge can not have more than one valid input\."):
                session.run(end, {p: True, q: True}, timeout=20)
            assert session.run(end, {p: False, q: True}, timeout=20) == 3


def test_e4_a_step_that_waits_for_a_queue_ends_at_its_timeout() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(10, "int32", shapes=[()])
        with dfc.device("/cpu:1"):
            y = queue.dequeue() + 1
        with dfc.device("/cpu:2"):
            end = y * 2
        put = queue.enqueue(4)
    with dfc.Session(graph) as session:
        with pytest.raises(DeadlineExceeded):
            session.run(end, timeout=0.3)
        session.run(put, timeout=20)
        assert session.run(end, timeout=20) == 10


def test_e1_what_the_host_gives_a_function_over_devices_is_on_a_device() -> None:
    @dfc.function
    def f(x: Any) -> Any:
        with dfc.device("/cpu:1"):
            y = x + 1
        return dfc.py_call(lambda v: v * 2, [y], dfc.TensorSpec((2,), "float32"))

    found = f(X)
    np.testing.assert_array_equal(found.numpy(), (X + 1) * 2)
    np.testing.assert_array_equal((found * 1).numpy(), (X + 1) * 2, "another function takes it")


def test_e2_a_name_with_a_semicolon_makes_no_other_key() -> None:
    with dfc.Graph() as graph:
        with dfc.device("/cpu:1"):
            taken = dfc.FIFOQueue(1, "float32", shapes=[()]).dequeue()
        with dfc.name_scope("a;b"):
            y = dfc.exp(taken * 1)
        with dfc.device("/cpu:2"):
            z = y + 1
    with dfc.Session(graph) as session, pytest.raises(DeadlineExceeded):
        session.run(z, timeout=0.3)
