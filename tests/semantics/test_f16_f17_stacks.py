"""Rows F16 and F17: stacks, their errors, and moving what is on them to the host's memory."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.backends.xla import to_device
from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType, ResourceExhausted
from dfc.runtime.memory import Account
from dfc.runtime.stacks import StepStack

raw = dfc.raw


def chain(graph_ops: Any) -> Any:
    return dfc.control_dependencies([graph_ops])


# ---- F16


def test_f16_what_is_pushed_comes_off_last_to_first() -> None:
    with dfc.Graph() as graph:
        stack = raw.stack("float32", 10)
        with chain(raw.stack_push(stack, 1.0)), chain(raw.stack_push(stack, 2.0)):
            a = raw.stack_pop(stack)
            with chain(a):
                b = raw.stack_pop(stack)
    with dfc.Session(graph) as session:
        for _ in range(2):
            assert session.run([a, b]) == [2, 1], "each step has a stack of its own"


def test_f16_a_stack_that_is_full() -> None:
    with dfc.Graph() as graph:
        stack = raw.stack("float32", 1, name="small")
        with chain(raw.stack_push(stack, 1.0)):
            pushed = raw.stack_push(stack, 2.0)
    with dfc.Session(graph) as session:
        with pytest.raises(InvalidArgument) as caught:
            session.run(pushed)
        assert str(caught.value).startswith("stack_push: Stack[small] overflowed its max_size (1)\n  at ")
        assert "test_f16_f17_stacks.py" in str(caught.value)


def test_f16_a_stack_that_is_empty() -> None:
    with dfc.Graph() as graph:
        popped = raw.stack_pop(raw.stack("float32", name="s"))
    with (
        dfc.Session(graph) as session,
        pytest.raises(
            InvalidArgument, match=r"stack_pop: Stack\[s\] is empty when calling Pop\(\)\.\n  at .*test_f16_f17"
        ),
    ):
        session.run(popped)


def test_f16_a_stack_that_is_closed() -> None:
    with dfc.Graph() as graph:
        stack = raw.stack("float32", name="s")
        with chain(raw.stack_close(stack)):
            pushed, popped, closed = raw.stack_push(stack, 1.0), raw.stack_pop(stack), raw.stack_close(stack)
    with dfc.Session(graph) as session:
        for fetch in (pushed, popped, closed):
            with pytest.raises(InvalidArgument, match=r"Stack\[s\] has already been closed\."):
                session.run(fetch)


def test_f16_what_does_not_fit() -> None:
    with dfc.Graph() as graph:
        stack = raw.stack("float32")
        with pytest.raises(InvalidType, match="the stack takes float32, got int32"):
            raw.stack_push(stack, dfc.asarray(1))
        with pytest.raises(InvalidType, match="a stack is needed, got 5"):
            raw.stack_pop(5)  # type: ignore[arg-type]
        with chain(raw.stack_push(stack, dfc.ones((3,)))):
            popped = raw.stack_pop(stack, (2,))
    with dfc.Graph(), pytest.raises(FailedPrecondition, match="the stack belongs to another graph"):
        raw.stack_pop(stack)
    with dfc.Session(graph) as session, pytest.raises(InvalidArgument, match=r"must be float32\[2\].*got float32\[3\]"):
        session.run(popped)


def test_f16_a_stack_in_a_loop() -> None:
    """Rows of a stack that a loop pushes, and another one takes off."""
    with dfc.Graph() as graph:
        stack = raw.stack("int32")

        def loop(name: str, start: Any, body: Any) -> tuple[Any, Any]:
            i, total = raw.merge(raw.enter(start, name)), raw.merge(raw.enter(0, name))
            handle = raw.enter(stack, name, is_constant=True)
            going = raw.loop_cond(i.value < raw.enter(5, name, is_constant=True))
            _, i_on = raw.switch(i.value, going)
            total_off, total_on = raw.switch(total.value, going)
            value = body(handle, i_on, total_on)
            total.set_back_edge(raw.next_iteration(value))
            with dfc.control_dependencies([value]):
                i.set_back_edge(raw.next_iteration(dfc.add(i_on, 1)))
            return raw.exit(total_off)

        pushed = loop("push", 0, lambda s, i, t: t + raw.stack_push(s, i * i))

        def taking(s: Any, i: Any, t: Any) -> Any:
            with dfc.control_dependencies([i]):
                return t * 10 + raw.stack_pop(s)

        with dfc.control_dependencies([pushed]):
            start = dfc.multiply(pushed, 0)
        taken = loop("pop", start, taking)
    with dfc.Session(graph) as session:
        assert session.run([pushed, taken]) == [30, (((16 * 10 + 9) * 10 + 4) * 10 + 1) * 10]


# ---- F17: the stack itself


def arrays(count: int, n: int = 1024) -> list[Any]:
    return [to_device(np.full(n, k, np.float32)) for k in range(count)]


def test_f17_the_oldest_goes_to_the_host_but_not_the_first() -> None:
    account = Account(5 * 4096)
    stack = StepStack("s", -1, True, account)
    for k, array in enumerate(arrays(8)):
        stack.push(array)
        # 70 % of five elements are three
        assert stack.n_swapped == max(0, k - 2)
        assert account.taken == min(k + 1, 3) * 4096
    on_device = [element.is_on_device for element in stack._elements]
    assert on_device == [True, *[False] * 5, True, True]
    found = [np.asarray(stack.pop())[0] for _ in range(8)]
    assert found == [7, 6, 5, 4, 3, 2, 1, 0]
    assert account.taken == 0


def test_f17_the_most_recent_comes_back_when_there_is_room() -> None:
    account = Account(5 * 4096)
    stack = StepStack("s", -1, True, account)
    for array in arrays(6):
        stack.push(array)
    assert [e.is_on_device for e in stack._elements] == [True, False, False, False, True, True]
    stack.pop()
    assert [e.is_on_device for e in stack._elements] == [True, False, False, True, True]
    stack.pop()
    assert [e.is_on_device for e in stack._elements] == [True, False, True, True]


def test_f17_aliases_of_the_first_element_and_small_ones_stay() -> None:
    account = Account(4096)
    stack = StepStack("s", -1, True, account)
    (first,) = arrays(1, 512)
    for _ in range(5):
        stack.push(first)
    assert stack.n_swapped == 0
    assert account.taken == 2048, "one buffer counts once"
    small = StepStack("t", -1, True, account)
    for array in arrays(3, 100):
        small.push(array)
    assert small.n_swapped == 0


def test_f17_without_swapping_the_memory_runs_out() -> None:
    account = Account(3 * 4096)
    stack = StepStack("rows", -1, False, account, "model.py:3:1")
    for array in arrays(3):
        stack.push(array)
    with pytest.raises(ResourceExhausted) as caught:
        stack.push(arrays(1)[0])
    assert str(caught.value) == (
        "16,384 bytes are needed on the device and device_memory_limit is 12,288; the largest: "
        + "; ".join(["an element of stack 'rows': 4,096 bytes at model.py:3:1"] * 4)
        + "\n  raise device_memory_limit, make large variables with offload=True, or let loops keep what "
        "gradients need in the host's memory with swap_memory=True"
    )
    stack.close()
    assert account.taken == 0
    stack.close()


# ---- F17: in a session


def network(n: int, swap: bool, host: bool = False) -> tuple[dfc.Graph, Any, Any]:
    """A recurrent network over n steps, and the gradient of its loss."""
    with dfc.Graph() as graph:
        w = dfc.Variable(np.eye(32, dtype=np.float32) * 0.9, name="w")
        queue = dfc.FIFOQueue(1000, "int32", shapes=[()])

        def body(i: Any, x: Any) -> Any:
            if host:
                queue.enqueue(i)
            return i + 1, dfc.tanh(dfc.matmul(x, w.read()))

        _, y = dfc.while_loop(lambda i, x: i < n, body, (0, dfc.ones((32, 32))), swap_memory=swap)
        (gradient,) = dfc.gradients(dfc.sum(y * y), [w])
        init = dfc.initialize_all()
    return graph, init, gradient


LIMIT = 100_000  # the 60 states that the gradient needs take 245,760


def test_f17_a_long_loop_fits_with_swapping_and_does_not_without() -> None:
    expected = None
    for swap, host, limit in ((False, False, None), (True, False, LIMIT), (True, True, LIMIT)):
        graph, init, gradient = network(60, swap, host)
        with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=limit)) as session:
            session.run(init)
            found = session.run(gradient)
            assert session._state.memory.taken == 0
        if expected is None:
            expected = found
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    graph, init, gradient = network(60, False, host=True)
    with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=LIMIT)) as session:
        session.run(init)
        with pytest.raises(
            ResourceExhausted, match=r"device_memory_limit is 100,000; the largest: .*4,096 bytes"
        ) as caught:
            session.run(gradient)
        assert "variable 'w'" in str(caught.value)
        assert "test_f16_f17_stacks.py" in str(caught.value)
        gc.collect()
        assert session._state.memory.taken == 0, "a step gives everything back, however it ends"
        assert session._state.memory.used == 4096


@pytest.mark.parametrize("known", [True, False])
def test_f17_what_a_compiled_loop_keeps_is_in_the_account(known: bool) -> None:
    """Whether its room is known before or chosen as needed."""
    with dfc.Graph() as graph:
        w, n = dfc.Variable(np.eye(32, dtype=np.float32) * 0.9, name="w"), dfc.placeholder("int32", ())
        bound = 60 if known else n
        _, y = dfc.while_loop(
            lambda i, x: i < bound, lambda i, x: (i + 1, dfc.tanh(dfc.matmul(x, w.read()))), (0, dfc.ones((32, 32))),
            maximum_iterations=60 if known else None,
        )  # fmt: skip
        (gradient,) = dfc.gradients(dfc.sum(y * y), [w])
        init = dfc.initialize_all()
    limit = LIMIT if known else 300_000  # it starts with room for 32 iterations
    with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=limit)) as session:
        session.run(init)
        with pytest.raises(ResourceExhausted) as caught:
            session.run(gradient, {n: 60})
        text = str(caught.value)
        rows = 60 if known else 64
        assert f"while keeps float32[{rows}, 32, 32]: {rows * 4096:,} bytes at " in text
        assert "test_f16_f17_stacks.py:" in text and "variable 'w'" in text
        assert session._state.memory.taken == 0
    with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=1 << 20)) as session:
        session.run(init)
        assert session.run(gradient, {n: 60}).shape == (32, 32)


def test_f17_a_long_recurrence_fits_with_swapping_and_does_not_without() -> None:
    def built(swap: bool) -> tuple[Any, Any, Any]:
        dfc.random.seed(1)
        with dfc.Graph() as graph:
            cell = dfc.nn.LSTMCell(8, 32)
            x = dfc.placeholder("float32", (32, 200, 8), name="x")
            outputs, _ = dfc.nn.rnn(cell, x, swap_memory=swap)
            grads = dfc.gradients(dfc.sum(outputs * outputs), [cell.kernel, cell.recurrent])
            return graph, dfc.initialize_all(), ({"x": x}, grads)

    x = np.random.default_rng(0).normal(size=(32, 200, 8)).astype(np.float32)
    limit = 250_000
    found = {}
    for swap, allowed in ((False, None), (True, limit)):
        graph, init, (inputs, grads) = built(swap)
        with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=allowed)) as session:
            session.run(init)
            found[swap] = session.run(grads, {inputs["x"]: x})
    for a, b in zip(found[False], found[True], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    graph, init, (inputs, grads) = built(False)
    with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=limit)) as session:
        session.run(init)
        with pytest.raises(
            ResourceExhausted, match=r"scan keeps float32\[200, 32, \d+\]: [\d,]+ bytes at .*stacks.py:"
        ):
            session.run(grads, {inputs["x"]: x})


def test_f17_variables_are_in_the_account() -> None:
    with dfc.Graph() as graph:
        v = dfc.Variable(np.zeros(1000, np.float32), name="large")
        init = dfc.initialize_all()
    with (
        dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=3999)) as session,
        pytest.raises(
            ResourceExhausted, match=r"4,000 bytes are needed .* is 3,999; the largest: variable 'large': 4,000 bytes"
        ),
    ):
        session.run(init)
    with dfc.Session(graph, config=dfc.SessionConfig(device_memory_limit=4000)) as session:
        session.run(init)
        assert session.run(v).shape == (1000,)


def test_f17_a_limit_is_a_number_of_bytes() -> None:
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(InvalidArgument, match="device_memory_limit must be a positive int or None"):
            dfc.SessionConfig(device_memory_limit=wrong)  # type: ignore[arg-type]
