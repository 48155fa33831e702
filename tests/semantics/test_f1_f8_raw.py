"""Rows F1 to F8: switches, merges, dead values, frames of loops, as users build them op by op."""

from __future__ import annotations

import _thread
import gc
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import Cancelled, DeadlineExceeded, FailedPrecondition, InvalidArgument, InvalidType, NoGradient
from dfc.runtime.frames import Frame, Turn
from tests.frontend_support import error_of

raw = dfc.raw
Build = Any


def counting(limit: int, parallel: int = 10, name: str = "loop", start: Any = 0) -> tuple[Any, Any, Any]:
    """A loop that counts from `start` to the limit: what leaves it, the merge, and the body's value."""
    i = raw.enter(start, name, parallel_iterations=parallel)
    merged = raw.merge(i)
    going = raw.loop_cond(dfc.less(merged.value, raw.enter(limit, name, is_constant=True)))
    done, on = raw.switch(merged.value, going)
    body = dfc.add(on, 1)
    merged.set_back_edge(raw.next_iteration(body))
    return raw.exit(done), merged, body


# ---- F1, F2, F3, F4


@pytest.mark.parametrize(("pred", "expected"), [(True, 11), (False, 20)])
def test_f1_one_side_of_a_switch_comes(pred: bool, expected: int) -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("int32", (), name="x")
        p = dfc.placeholder("bool", (), name="p")
        switched = raw.switch(x, p)
        merged = raw.merge(switched.if_false * 2, switched.if_true + 1)
    with dfc.Session(graph) as session:
        assert session.run(list(merged), {x: 10, p: pred}) == [expected, int(pred)]
        assert session.run(merged.value_index, {x: 10, p: pred}).dtype == np.int32


def test_f1_the_predicate_is_a_scalar_bool() -> None:
    with dfc.Graph():
        with pytest.raises(InvalidArgument) as caught:
            raw.switch(1.0, dfc.asarray([True, False]))
        assert str(caught.value).startswith("switch: The second input must be a scalar, got bool[2]\n  at ")
        assert "test_f1_f8_raw.py" in str(caught.value)
        with pytest.raises(InvalidType, match="The second input must be of dtype bool, got int32"):
            raw.switch(1.0, 1)


def test_f1_only_in_a_graph() -> None:
    with pytest.raises(FailedPrecondition, match=r"raw\.switch works only in `with dfc\.Graph"):
        raw.switch(1.0, True)
    with pytest.raises(FailedPrecondition, match=r"raw\.merge works only in"):
        dfc.function(lambda x: raw.merge(x)[0])(1.0)


def test_f2_what_takes_something_dead_does_not_run_by_data_or_by_control() -> None:
    with dfc.Graph() as graph:
        p = dfc.placeholder("bool", (), name="p")
        queue = dfc.FIFOQueue(10, "int32", shapes=[()])
        dead, live = raw.switch(5, p)
        chain = dead
        for _ in range(5):
            chain = chain + 1
        put = queue.enqueue(chain)
        with dfc.control_dependencies([dead]):
            by_control = queue.enqueue(100)
        with dfc.control_dependencies([by_control]):
            behind = queue.enqueue(200)
        always = raw.control_trigger(put, behind)
        with dfc.control_dependencies([always]):
            after = queue.enqueue(live)
        size = queue.size()
        taken = queue.dequeue()
    with dfc.Session(graph) as session:
        session.run(after, {p: True})
        assert session.run(size) == 1
        assert session.run(taken) == 5
        session.run([put, behind], {p: False})
        assert session.run(size) == 3


def test_f2_variables_on_a_way_that_is_not_taken_stay() -> None:
    with dfc.Graph() as graph:
        p = dfc.placeholder("bool", (), name="p")
        v = dfc.Variable(np.float32(1))
        no, yes = raw.switch(2.0, p)
        trigger = raw.control_trigger(v.assign_add(yes), v.assign_sub(no))
        init = dfc.initialize_all()
    with dfc.Session(graph) as session:
        session.run(init)
        session.run(trigger, {p: True})
        assert session.run(v) == 3
        session.run(trigger, {p: False})
        assert session.run(v) == 1


def test_f3_a_merge_is_dead_if_all_its_inputs_are() -> None:
    with dfc.Graph() as graph:
        p = dfc.placeholder("bool", (), name="p")
        q = dfc.placeholder("bool", (), name="q")
        _, a = raw.switch(1, p)
        _, b = raw.switch(2, q)
        merged = raw.merge(a, b)
        outer = raw.merge(merged.value, raw.switch(30, p).if_false)
    with dfc.Session(graph) as session:
        assert session.run(list(merged), {p: True, q: False}) == [1, 0]
        assert session.run(list(merged), {p: False, q: True}) == [2, 1]
        assert session.run(list(outer), {p: False, q: False}) == [30, 1]
        with pytest.raises(InvalidArgument, match=r"Retval\[0\] does not have value"):
            session.run(merged.value, {p: False, q: False})
        with pytest.raises(dfc.errors.Internal, match=r"Merge can not have more than one valid input\."):
            session.run(merged.value, {p: True, q: True})


def test_f3_inputs_of_a_merge_are_alike() -> None:
    with dfc.Graph():
        with pytest.raises(InvalidArgument, match="there must be an input, got none"):
            raw.merge()
        with pytest.raises(InvalidType, match="all inputs must be of the same dtype, got int32, float32"):
            raw.merge(1, 2.0)
        with pytest.raises(InvalidArgument, match="all inputs must be of the same rank"):
            raw.merge(1, dfc.asarray([1]))
        with pytest.raises(InvalidArgument, match=r"each input must fit int32\[3\], got int32\[2\]"):
            raw.merge(dfc.asarray([1, 2]), shape=(3,))
        assert raw.merge(dfc.asarray([1, 2]), dfc.asarray([1, 2, 3])).value.shape[0] not in (2, 3)
        merged = raw.merge(raw.enter(1, "f"))
        with pytest.raises(InvalidType, match="the back edge must be what next_iteration gives"):
            merged.set_back_edge(merged.value)
        with pytest.raises(InvalidArgument, match=r"the back edge must fit int32\[\], got int32\[1\]"):
            merged.set_back_edge(raw.next_iteration(dfc.reshape(merged.value, (1,))))


def test_f4_a_dead_tensor_can_not_be_fetched() -> None:
    with dfc.Graph() as graph:
        p = dfc.placeholder("bool", (), name="p")
        switched = raw.switch(dfc.asarray([1.0, 2.0]), p, name="branch")
        doubled = dfc.multiply(switched.if_true, 2.0)
    with dfc.Session(graph) as session:
        np.testing.assert_array_equal(session.run(doubled, {p: True}), [2, 4])
        with pytest.raises(InvalidArgument, match=r"Retval\[0\] does not have value") as caught:
            session.run(doubled, {p: False})
        assert "test_f1_f8_raw.py" in str(caught.value)
        with pytest.raises(InvalidArgument, match=r"Retval\[1\] does not have value"):
            session.run(list(switched), {p: False})


# ---- F5


@pytest.mark.parametrize("cluster", [True, False])
def test_f5_a_loop_counts_to_10(cluster: bool) -> None:
    with dfc.Graph() as graph:
        result, _, _ = counting(10)
        again = result * 2
    with dfc.Session(graph, config=dfc.SessionConfig(cluster=cluster)) as session:
        assert session.run(result) == 10
        assert session.run([again, result]) == [20, 10]


def test_f5_a_loop_that_is_not_entered() -> None:
    with dfc.Graph() as graph:
        result, _, _ = counting(0, start=7)
    with dfc.Session(graph) as session:
        assert session.run(result) == 7


def test_f5_constants_are_in_every_iteration_and_carried_values_change() -> None:
    """Powers: x * w, n times, with a constant matrix, fed and not."""
    with dfc.Graph() as graph:
        w = dfc.placeholder("float32", (2, 2), name="w")
        n = dfc.placeholder("int32", (), name="n")
        i = raw.merge(raw.enter(0, "power"))
        x = raw.merge(raw.enter(dfc.asarray([[1.0, 0.0], [0.0, 1.0]]), "power"))
        constant = raw.enter(w, "power", is_constant=True)
        going = raw.loop_cond(i.value < raw.enter(n, "power", is_constant=True))
        _, i_on = raw.switch(i.value, going)
        x_off, x_on = raw.switch(x.value, going)
        i.set_back_edge(raw.next_iteration(i_on + 1))
        x.set_back_edge(raw.next_iteration(dfc.matmul(x_on, constant) + dfc.zeros((2, 2))))
        result = raw.exit(x_off)
    matrix = np.array([[1, 1], [1, 0]], np.float32)
    with dfc.Session(graph) as session:
        for count in (0, 1, 2, 10):
            expected = np.linalg.matrix_power(matrix.astype(int), count)
            np.testing.assert_array_equal(session.run(result, {w: matrix, n: count}), expected)


def test_f5_variables_and_control_dependencies_in_a_frame() -> None:
    with dfc.Graph() as graph:
        v = dfc.Variable(np.int32(0))
        init = dfc.initialize_all()
        i = raw.merge(raw.enter(0, "loop", parallel_iterations=1))
        going = raw.loop_cond(i.value < raw.enter(10, "loop", is_constant=True))
        off, on = raw.switch(i.value, going)
        added = v.assign_add(on)
        with dfc.control_dependencies([added]):
            following = dfc.add(on, 1)
        i.set_back_edge(raw.next_iteration(following))
        result = raw.exit(off)
    with dfc.Session(graph) as session:
        session.run(init)
        assert session.run(result) == 10
        assert session.run(v) == 45


def nested(outer: int, parallel: int = 10) -> tuple[Any, Any]:
    """total = sum over i < outer of sum over j < i of (i + j), and i."""
    i = raw.merge(raw.enter(0, "outer", parallel_iterations=parallel))
    total = raw.merge(raw.enter(0, "outer", parallel_iterations=parallel))
    going = raw.loop_cond(i.value < raw.enter(outer, "outer", is_constant=True, parallel_iterations=parallel))
    i_off, i_on = raw.switch(i.value, going)
    total_off, total_on = raw.switch(total.value, going)
    with dfc.control_dependencies([i_on]):
        zero = dfc.multiply(i_on, 0)
    j = raw.merge(raw.enter(zero, "inner", parallel_iterations=parallel))
    part = raw.merge(raw.enter(total_on, "inner", parallel_iterations=parallel))
    bound = raw.enter(i_on, "inner", is_constant=True, parallel_iterations=parallel)
    inner = raw.loop_cond(j.value < bound)
    _, j_on = raw.switch(j.value, inner)
    part_off, part_on = raw.switch(part.value, inner)
    j.set_back_edge(raw.next_iteration(j_on + 1))
    part.set_back_edge(raw.next_iteration(part_on + j_on + bound))
    total.set_back_edge(raw.next_iteration(raw.exit(part_off)))
    i.set_back_edge(raw.next_iteration(i_on + 1))
    return raw.exit(total_off), raw.exit(i_off)


def nested_sum(outer: int) -> int:
    return sum(i + j for i in range(outer) for j in range(i))


@pytest.mark.parametrize("cluster", [True, False])
def test_f5_loops_in_loops(cluster: bool) -> None:
    with dfc.Graph() as graph:
        total, count = nested(12)
    with dfc.Session(graph, config=dfc.SessionConfig(cluster=cluster)) as session:
        assert session.run([total, count]) == [nested_sum(12), 12]


def test_f5_a_loop_whose_shapes_change() -> None:
    with dfc.Graph() as graph:
        i = raw.merge(raw.enter(0, "grow"))
        x = raw.merge(raw.enter(dfc.ones((1, 2)), "grow"), shape=(None, 2))
        going = raw.loop_cond(i.value < raw.enter(5, "grow", is_constant=True))
        _, i_on = raw.switch(i.value, going)
        x_off, x_on = raw.switch(x.value, going)
        i.set_back_edge(raw.next_iteration(i_on + 1))
        x.set_back_edge(raw.next_iteration(dfc.concat([x_on, x_on * 2])))
        result = raw.exit(x_off)
        total = dfc.sum(result * 2.0) / 2.0
    with dfc.Session(graph) as session:
        assert session.run(result).shape == (32, 2)
        assert session.run(total) == 2 * 3**5


def test_f5_a_merge_without_its_back_edge() -> None:
    with dfc.Graph() as graph:
        merged = raw.merge(raw.enter(dfc.asarray(np.int32(0)), "loop"))
        switched = raw.switch(merged.value, raw.loop_cond(merged.value < 10))
        raw.next_iteration(switched.if_true + 1)
        found = raw.exit(switched.if_false, name="found")
    with dfc.Session(graph) as session:
        assert error_of(InvalidArgument, lambda: session.run(found), __file__) == (
            "Retval[0] does not have value: the tensor 'found' is dead, on a branch that was not taken, or of a loop "
            "that it never left\n  the merge of a loop needs its back edge: set_back_edge"
        )


# ---- F6


def test_f6_an_operation_that_takes_values_of_two_frames() -> None:
    with dfc.Graph() as graph:
        result, merged, _ = counting(3)
        mixed = dfc.add(merged.value, dfc.placeholder("int32", (), name="outside"))
    with dfc.Session(graph) as session:
        with pytest.raises(InvalidArgument, match="has inputs from different frames") as caught:
            session.run(mixed, {"outside": 1})
        assert "add: " in str(caught.value)
        assert "test_f1_f8_raw.py" in str(caught.value)
        assert session.run(result) == 3, "other steps of the graph run"


def test_f6_what_is_in_a_frame_can_not_be_fetched() -> None:
    with dfc.Graph() as graph:
        _, merged, _ = counting(3)
        nowhere = raw.exit(dfc.placeholder("int32", (), name="x"))
    with dfc.Session(graph) as session:
        with pytest.raises(InvalidArgument, match="a value of frame 'loop' can't be returned"):
            session.run(merged.value)
        with pytest.raises(InvalidArgument, match="the operand is in no frame"):
            session.run(nowhere, {"x": 1})


# ---- F7


def test_f7_a_loop_on_a_way_that_is_not_taken() -> None:
    with dfc.Graph() as graph:
        p = dfc.placeholder("bool", (), name="p")
        queue = dfc.FIFOQueue(10, "int32", shapes=[()])
        no, yes = raw.switch(0, p)
        result, _, _ = counting(5, start=yes)
        merged = raw.merge(no - 1, result)
        put = queue.enqueue(result)
        both = raw.control_trigger(put)
        size = queue.size()
    with dfc.Session(graph) as session:
        for _ in range(3):
            assert session.run([*merged, both], {p: False}) == [-1, 0, None]
            assert session.run([*merged], {p: True}) == [5, 1]
        assert session.run(size) == 0
        session.run(both, {p: True})
        assert session.run(size) == 1


def test_f7_a_loop_in_a_loop_that_is_entered_now_and_then() -> None:
    """The inner loop runs for odd i alone: the sum of 10 * (i odd)."""
    with dfc.Graph() as graph:
        i = raw.merge(raw.enter(0, "outer"))
        total = raw.merge(raw.enter(0, "outer"))
        going = raw.loop_cond(i.value < raw.enter(7, "outer", is_constant=True))
        _, i_on = raw.switch(i.value, going)
        total_off, total_on = raw.switch(total.value, going)
        even, odd = raw.switch(total_on, dfc.equal(i_on % 2, 1))
        j = raw.merge(raw.enter(odd, "inner"))
        limit = raw.enter(odd + 10, "inner", is_constant=True)
        j_going = raw.loop_cond(j.value < limit)
        j_off, j_on = raw.switch(j.value, j_going)
        j.set_back_edge(raw.next_iteration(j_on + 1))
        total.set_back_edge(raw.next_iteration(raw.merge(even, raw.exit(j_off)).value))
        i.set_back_edge(raw.next_iteration(i_on + 1))
        result = raw.exit(total_off)
    with dfc.Session(graph) as session:
        assert session.run(result) == 30


# ---- F8


@pytest.mark.parametrize("parallel", [1, 2, 10, 32])
def test_f8_any_number_of_iterations_at_once_gives_the_same(parallel: int) -> None:
    with dfc.Graph() as graph:
        total, count = nested(9, parallel)
    with dfc.Session(graph) as session:
        for _ in range(3):
            assert session.run([total, count]) == [nested_sum(9), 9]


@pytest.mark.parametrize("parallel", [1, 4])
def test_f8_iterations_overlap_as_far_as_they_may(parallel: int) -> None:
    """The counter runs ahead of a body that waits for another step; how far is what parallel_iterations says."""
    with dfc.Graph() as graph:
        begun = dfc.FIFOQueue(100, "int32", shapes=[()], name="begun")
        gate = dfc.FIFOQueue(100, "int32", shapes=[()], name="gate")
        i = raw.merge(raw.enter(0, "loop", parallel_iterations=parallel))
        going = raw.loop_cond(i.value < raw.enter(8, "loop", is_constant=True, parallel_iterations=parallel))
        off, on = raw.switch(i.value, going)
        put = begun.enqueue(on)
        with dfc.control_dependencies([put]):
            waited = gate.dequeue()
        sink = raw.merge(raw.enter(0, "loop", parallel_iterations=parallel))
        sink_off, sink_on = raw.switch(sink.value, going)
        sink.set_back_edge(raw.next_iteration(sink_on + waited))
        i.set_back_edge(raw.next_iteration(on + 1))
        results = [raw.exit(off), raw.exit(sink_off)]
        size, let = begun.size(), gate.enqueue(10)
    with dfc.Session(graph) as session:
        step = session.submit(results)
        deadline = time.monotonic() + 10
        while session.run(size) < parallel and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.1)
        assert session.run(size) == parallel
        for _ in range(8):
            session.run(let)
        assert step.result(10) == [8, 80]


# ---- life


def test_f8_iterations_and_their_values_are_dropped_when_they_are_over() -> None:
    with dfc.Graph() as graph:
        result, _, _ = counting(500)
        total, _ = nested(8)
    made: list[weakref.ref[Any]] = []
    original = Turn.__init__
    most = 0

    def noting(self: Turn, *args: Any) -> None:
        nonlocal most
        original(self, *args)
        made.append(weakref.ref(self))
        if len(made) % 50 == 0:
            most = max(most, sum(ref() is not None for ref in made))

    with dfc.Session(graph) as session:
        session.run(result)
        Turn.__init__ = noting  # type: ignore[method-assign]
        gc.disable()
        try:
            assert session.run(result) == 500
            assert len(made) >= 500
            assert most <= 14, "an iteration lives no longer than it runs"
            session.run(total)
            del session
        finally:
            Turn.__init__ = original  # type: ignore[method-assign]
            gc.enable()
    gc.collect()
    assert not [ref for ref in made if ref() is not None]
    assert not [each for each in gc.get_objects() if isinstance(each, Frame)]


def endless() -> tuple[dfc.Graph, Any]:
    with dfc.Graph() as graph:
        i = raw.merge(raw.enter(0, "loop"))
        going = raw.loop_cond(i.value > raw.enter(-1, "loop", is_constant=True))
        off, on = raw.switch(i.value, going)
        i.set_back_edge(raw.next_iteration(on * 1))
        return graph, raw.exit(off)


def test_f8_a_time_limit_ends_a_loop() -> None:
    graph, result = endless()
    with dfc.Session(graph) as session:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            session.run(result, timeout=0.2)
        assert time.monotonic() - began < 5


def test_f8_a_loop_can_be_cancelled_and_closing_the_session_ends_it() -> None:
    graph, result = endless()
    session = dfc.Session(graph)
    threading.Timer(0.2, session.close).start()
    with pytest.raises(Cancelled):
        session.run(result, timeout=20)


def test_f8_control_c_ends_a_loop_at_once() -> None:
    graph, result = endless()
    with dfc.Session(graph) as session:
        began = time.monotonic()
        threading.Timer(0.3, _thread.interrupt_main).start()
        with pytest.raises(KeyboardInterrupt):
            session.run(result)
        assert time.monotonic() - began < 2
        assert len(session._state.running) == 0
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Frame)]


def test_f8_an_error_in_an_iteration_names_the_operation_and_the_line() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(1, "int32", shapes=[()], name="q")
        close = queue.close()
        i = raw.merge(raw.enter(0, "loop"))
        going = raw.loop_cond(i.value < raw.enter(5, "loop", is_constant=True))
        off, on = raw.switch(i.value, going)
        with dfc.control_dependencies([on]):
            taken = queue.dequeue()
        i.set_back_edge(raw.next_iteration(taken))
        result = raw.exit(off)
    with dfc.Session(graph) as session:
        session.run(close)
        with pytest.raises(dfc.errors.OutOfRange) as caught:
            session.run(result)
        assert "dequeue" in str(caught.value)
        assert "test_f1_f8_raw.py" in str(caught.value)


# ---- gradients


def test_f1_the_gradient_of_a_switch_is_a_merge_and_the_other_way_round() -> None:
    with dfc.Graph() as graph:
        p = dfc.placeholder("bool", (), name="p")
        x = dfc.placeholder("float32", (), name="x")
        y = dfc.placeholder("float32", (), name="y")
        x_no, x_yes = raw.switch(x, p)
        y_no, _ = raw.switch(y, p)
        merged = raw.merge(x_no * y_no, x_yes * x_yes)
        gradients = dfc.gradients(merged.value * 3.0, [x, y])
    with dfc.Session(graph) as session:
        assert session.run(gradients, {p: True, x: 5.0, y: 7.0}) == [30, 0]
        assert session.run(gradients, {p: False, x: 5.0, y: 7.0}) == [21, 15]


def test_f5_a_raw_loop_has_no_gradient() -> None:
    with dfc.Graph():
        x = dfc.placeholder("float32", (), name="x")
        merged = raw.merge(raw.enter(x, "loop"))
        going = raw.loop_cond(merged.value < raw.enter(10.0, "loop", is_constant=True))
        off, on = raw.switch(merged.value, going)
        merged.set_back_edge(raw.next_iteration(on * 2.0))
        result = raw.exit(off)
        with pytest.raises(NoGradient, match=r"write the loop as dfc\.while_loop"), dfc.Session() as session:
            session.run(dfc.gradients(result, [x]), {x: 1.0})
