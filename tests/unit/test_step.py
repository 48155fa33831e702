"""Steps: values against NumPy, donation, shared variables, failures, threads, interrupts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from dfc.backends import pipeline, xla
from dfc.errors import FailedPrecondition, NotFound, ResourceExhausted, Unimplemented
from dfc.ir.dtypes import as_dtype
from dfc.ir.ops.elementwise import Add, Compare, Identity, Multiply, Select
from dfc.ir.ops.function import Func
from dfc.ir.ops.shape import BroadcastInDim
from dfc.ir.ops.state import Assign, AssignAdd, Read
from dfc.ir.types import Spec
from dfc.runtime.dispatch import ProgramRun
from dfc.runtime.step import Step
from dfc.runtime.variables import VariableState
from tests.programs import Trace

ROOT = Path(__file__).resolve().parents[2]
F32 = "float32"


def variables(**values: Any) -> dict[str, VariableState]:
    arrays = {name: np.asarray(value, np.float32) for name, value in values.items()}
    return {name: VariableState(name, Spec(a.shape, as_dtype(F32)), a) for name, a in arrays.items()}


def step_of(program: ModuleOp, states: dict[str, VariableState], name: str = "train") -> Step:
    pipeline.lower(program)
    (func,) = (op for op in program.ops if isinstance(op, Func))
    return Step(func, states, name=name)


def update(adds: Sequence[str], reads: Sequence[str], states: dict[str, VariableState]) -> Step:
    """A step that adds its input to some variables and returns the sum of others, as they are after that."""
    trace = Trace({"x": ((4,), F32)})
    (x,) = trace.inputs
    refs = {name: trace.variable(name, (4,), F32) for name in dict.fromkeys([*reads, *adds])}
    tokens = {name: trace.op(AssignAdd, refs[name], x).token for name in adds}
    total = x
    for name in reads:
        total = trace(Add, total, trace.op(Read, refs[name], *([tokens[name]] if name in tokens else [])).value)
    return step_of(trace.finish([total], list(tokens.values())), states)


def feed(value: float) -> Any:
    return xla.to_device(np.full(4, value, np.float32))


def program_of(step: Step) -> ProgramRun:
    (program,) = step._bound.programs
    return program


def test_a_step_reads_writes_and_returns() -> None:
    states = variables(w=[1, 2, 3, 4], rate=[2, 2, 2, 2])
    trace = Trace({"x": ((4,), F32)})
    w, rate = trace.variable("w", (4,), F32), trace.variable("rate", (4,), F32)
    old = trace.op(Read, w)
    scaled = trace(Multiply, trace.op(Read, rate).value, trace.inputs[0])
    token = trace.op(Assign, w, trace(Add, old.value, scaled), old.token).token
    step = step_of(trace.finish([old.value, scaled], [token]), states)
    assert [call.state for call in step.plan.programs] == [("w", "rate")]  # what it writes comes first
    before, product = (xla.to_numpy(y) for y in step([feed(10)]))
    np.testing.assert_array_equal(before, [1, 2, 3, 4])
    np.testing.assert_array_equal(product, [20, 20, 20, 20])
    np.testing.assert_array_equal(states["w"].numpy(), [21, 22, 23, 24])
    np.testing.assert_array_equal(states["rate"].numpy(), [2, 2, 2, 2])


def test_the_new_value_takes_the_old_ones_memory() -> None:
    states = variables(w=np.zeros(4))
    step = update(["w"], [], states)
    step([feed(1)])
    holder, index = states["w"].locate()
    address = holder.buffers[index].unsafe_buffer_pointer()
    view = states["w"].numpy()
    for _ in range(3):
        step([feed(1)])
    assert holder.buffers[index].unsafe_buffer_pointer() == address
    np.testing.assert_array_equal(view, np.ones(4))
    np.testing.assert_array_equal(states["w"].numpy(), np.full(4, 4))


def test_read_only_variables_are_not_donated() -> None:
    states = variables(w=np.ones(4), b=np.ones(4))
    step = update([], ["w", "b"], states)
    assert step.executables[0].signature.donated == {}
    for _ in range(2):
        np.testing.assert_array_equal(xla.to_numpy(step([feed(1)])[0]), np.full(4, 3))


def test_steps_with_other_orders_share_variables() -> None:
    names = ["a", "b", "c", "d"]
    states = variables(**{name: np.full(4, i) for i, name in enumerate(names)})
    expected = {name: float(i) for i, name in enumerate(names)}
    steps = [
        (["a"], ["a"]),  # a holder of its own at first
        (["d", "b"], ["c"]),
        (["a", "b", "c", "d"], ["a", "d"]),  # uses both holders
        (["c", "a"], []),
        ([], ["d", "a"]),
    ]
    made = [(adds, reads, update(adds, reads, states)) for adds, reads in steps]
    rng = np.random.default_rng(0)
    for index in [*range(len(made)), *rng.integers(0, len(made), 40)]:
        adds, reads, step = made[index]
        for name in adds:
            expected[name] += 2.0
        total = 2.0 + sum(expected[name] for name in reads)
        np.testing.assert_array_equal(xla.to_numpy(step([feed(2)])[0]), np.full(4, total))
    for name in names:
        np.testing.assert_array_equal(states[name].numpy(), np.full(4, expected[name]))
    assert len({id(states[name].locate()[0]) for name in names}) == 2


def test_a_step_joins_many_holders_that_others_use() -> None:
    names = "abcdef"
    states = variables(**{name: np.zeros(4) for name in names})
    alone = [update([name], [name], states) for name in names]
    for step in alone:
        step([feed(1)])
    assert len({id(states[name].locate()[0]) for name in names}) == len(names)
    every = update(list(names), [], states)  # moves the others' variables
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(names, 1.0)
    for index in [len(names), *rng.integers(0, len(names) + 1, 40)]:
        (every if index == len(names) else alone[index])([feed(1)])
        for name in names if index == len(names) else names[index]:
            counts[name] += 1
    for name in names:
        np.testing.assert_array_equal(states[name].numpy(), np.full(4, counts[name]))
    assert len({id(states[name].locate()[0]) for name in names}) == 1


@pytest.mark.parametrize("writes", [True, False])
def test_a_failed_step_over_two_holders_leaves_them_usable(writes: bool) -> None:
    states = variables(a=np.zeros(4), b=np.ones(4))
    for name in "ab":
        update([name], [], states)([feed(1)])
    both = update(["a", "b"], [], states) if writes else update([], ["a", "b"], states)
    both([feed(1)])
    gone = feed(1)
    gone.delete()
    with pytest.raises(FailedPrecondition, match=r"^train: input 0 was deleted or donated before the call"):
        both([gone])
    both([feed(1)])
    np.testing.assert_array_equal(states["b"].numpy(), np.full(4, 4 if writes else 2))
    update(["a"], [], states)([feed(1)])


def test_a_step_that_writes_its_whole_holder_passes_the_list_as_it_is() -> None:
    states = variables(a=np.zeros(4), b=np.zeros(4))
    step = update(["a", "b"], [], states)
    step([feed(1)])
    holder, gather, _, positions = program_of(step)._binding
    assert gather is None
    assert positions == list(range(len(holder.buffers))) == [0, 1]


def test_inputs_and_constants_that_pass_through() -> None:
    trace = Trace({"x": ((4,), F32), "y": ((4,), F32)})
    x, y = trace.inputs
    trace.constant(0.0, F32)
    step = step_of(trace.finish([y, trace(Multiply, x, x), x]), {})
    out = [xla.to_numpy(o) for o in step([feed(3), feed(5)])]
    np.testing.assert_array_equal(np.stack(out), np.stack([np.full(4, v, np.float32) for v in (5, 9, 3)]))


def test_host_ops_run_between_islands_on_numpy() -> None:
    trace = Trace({"x": ((4,), F32)})
    words = trace.constant(np.array([b"one", b"two\0"], object), "string")
    same = trace(Identity, words)
    step = step_of(trace.finish([same, trace(Add, trace.inputs[0], trace.inputs[0])]), {})
    strings, doubled = step([feed(2)])
    assert strings.tolist() == [b"one", b"two\0"]
    np.testing.assert_array_equal(xla.to_numpy(doubled), np.full(4, 4))


def test_host_ops_take_what_islands_give() -> None:
    trace = Trace({"x": ((2,), F32), "words": ((2,), "string")})
    x, words = trace.inputs
    positive = trace(Compare, x, trace.constant([0, 0], F32), direction="GT")
    step = step_of(trace.finish([trace(Select, positive, words, trace.constant([b"-", b"-"], "string"))]), {})
    assert [type(call).__name__ for call in step.plan.calls].count("HostCall") == 1
    (chosen,) = step([xla.to_device(np.array([1, -1], np.float32)), np.array([b"a", b"b"], object)])
    assert chosen.tolist() == [b"a", b"-"]


def test_variables_of_strings_are_refused_at_their_line() -> None:
    trace = Trace({})
    trace.at(30)
    program = trace.finish([trace.op(Read, trace.variable("names", (2,), "string")).value])
    with pytest.raises(Unimplemented) as caught:
        step_of(program, {})
    assert str(caught.value) == (
        "read: the host can't run ops on variables, and no device holds strings\n  at model.py:30:1"
    )


def test_a_variable_that_was_not_given_is_named() -> None:
    with pytest.raises(NotFound) as caught:
        update(["w"], [], {})
    assert str(caught.value) == "train: the step needs a variable 'w', which it was not given"


def test_a_failed_step_that_took_no_memory_leaves_its_variables_alone() -> None:
    states = variables(w=np.ones(4))
    step = update(["w"], [], states)
    gone = feed(1)
    gone.delete()
    for call in (step, update([], ["w"], states)):
        with pytest.raises(FailedPrecondition) as caught:
            call([gone])
        assert str(caught.value) == "train: input 0 was deleted or donated before the call"
    np.testing.assert_array_equal(states["w"].numpy(), np.ones(4))
    step([feed(1)])
    np.testing.assert_array_equal(states["w"].numpy(), np.full(4, 2))


def test_a_failed_step_that_took_memory_marks_its_variables_lost() -> None:
    states = variables(w=np.ones(4), untouched=np.ones(4))
    trace = Trace({"x": ((4,), F32)})
    w = trace.variable("w", (4,), F32)
    new = trace.op(Read, w, trace.op(AssignAdd, w, trace.inputs[0]).token)
    huge = trace(BroadcastInDim, new.value, shape=(1 << 20, 1 << 20, 4), dims=(2,))
    step = step_of(trace.finish([huge], [new.token]), states, name="explode")
    other = update(["untouched"], ["w"], states)
    other([feed(0)])
    with pytest.raises(ResourceExhausted, match=r"^explode: XLA: RESOURCE_EXHAUSTED: Out of memory"):
        step([feed(1)])
    lost = (
        "the value of variable 'w' is lost: step 'explode' failed after it had taken the variable's memory (XLA: "
        "RESOURCE_EXHAUSTED: Out of memory allocating 17592186044416 bytes.)\n"
        "  assign it a value or restore a checkpoint"
    )
    calls: list[tuple[str, Callable[[], Any]]] = [("", states["w"].numpy), ("train: ", lambda: other([feed(1)]))]
    for prefix, call in calls:
        with pytest.raises(FailedPrecondition) as caught:
            call()
        assert str(caught.value) == prefix + lost
    np.testing.assert_array_equal(states["untouched"].numpy(), np.ones(4))
    assert not states["w"].is_initialized
    states["w"].assign(np.zeros(4, np.float32))
    np.testing.assert_array_equal(xla.to_numpy(other([feed(1)])[0]), np.ones(4))


def test_b5_threads_that_share_variables_lose_nothing() -> None:
    seconds, n_threads = 3.0, 8
    states = variables(a=np.zeros(4), b=np.zeros(4), c=np.zeros(4))
    both, one, look = update(["a", "b"], [], states), update(["c"], ["a"], states), update([], ["b", "a"], states)
    stop, failures = threading.Event(), []
    counts = [0] * n_threads
    one_feed, zero = feed(1), feed(0)

    def work(index: int) -> None:
        try:
            while not stop.is_set():
                if index < 3:
                    both([one_feed])
                elif index < 5:
                    one([one_feed])
                elif index < 7:
                    (value,) = look([zero])  # a and b change together, so their sum is even
                    assert xla.to_numpy(value)[0] % 2 == 0
                else:
                    assert states["a"].numpy()[0] >= 0
                counts[index] += 1
        except BaseException as error:
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(n_threads)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    assert min(counts) > 10
    np.testing.assert_array_equal(states["a"].numpy(), np.full(4, sum(counts[:3])))
    np.testing.assert_array_equal(states["c"].numpy(), np.full(4, sum(counts[3:5])))


INTERRUPTED = """
import signal
import numpy as np
from tests.unit.test_step import feed, update, variables

armed = False

def interrupt(number, frame):  # as Ctrl-C does, but not while the test itself looks
    global armed
    if armed:
        armed = False
        raise KeyboardInterrupt

signal.signal(signal.SIGINT, interrupt)
states = variables(**{name: np.zeros(4) for name in "abcde"})
# Four layouts: the whole holder, a part of it in one piece, scattered, and in two holders.
steps = [update(["a", "b", "c"], [], states), update(["a"], [], states), update(["c", "a"], [], states)]
one = feed(1)
for name in "de":
    update([name], [], states)([one])
steps.append(update(["e", "d"], [], states))
for step in steps:
    step([one])
assert states["d"].locate()[0] is not states["e"].locate()[0]
print("ready", flush=True)
lowest = both = 0
for interrupts in range(150):
    try:
        armed = True
        while True:
            for step in steps:
                step([one])
    except KeyboardInterrupt:
        pass
    values = [states[name].numpy()[0] for name in "abcde"]  # raises if a buffer was lost
    assert values[0] >= lowest and values[3] >= both, "an update was undone"
    assert values[3] == values[4], "a step was done by half"
    lowest, both = values[0], values[3]
print("survived", lowest > 150, flush=True)
"""


def test_an_interrupt_never_loses_a_variable() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    rng = np.random.default_rng(0)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)
        time.sleep(rng.uniform(0.001, 0.006))
    if process.poll() is None:
        process.kill()
    output, errors = process.communicate(timeout=10)
    assert output == "survived True\n", errors
