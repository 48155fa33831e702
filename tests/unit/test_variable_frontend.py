"""dfc.Variable: initial values, reads and writes in and out of traces, names, errors."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import dfc
from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType
from dfc.frontend.variable import alive_variables
from dfc.ir.ops.state import Read
from tests.frontend_support import error_of


@pytest.mark.parametrize(
    ("initial", "dtype", "expected"),
    [
        (1.5, None, np.float32(1.5)),
        ([1, 2], None, np.array([1, 2], np.int32)),
        (np.zeros(2), None, np.zeros(2)),
        ([1, 2], "float64", np.array([1.0, 2.0])),
        (lambda: np.ones((2, 1), np.float32), None, np.ones((2, 1), np.float32)),
        (lambda: dfc.zeros(3) + 1, "int8", np.ones(3, np.int8)),
    ],
)
def test_initial_values(initial: Any, dtype: Any, expected: Any) -> None:
    v = dfc.Variable(initial, dtype=dtype)
    assert v.dtype == expected.dtype.name
    assert v.shape == expected.shape
    assert_array_equal(v.numpy(), expected)


def test_a_given_array_may_change_afterwards() -> None:
    array = np.zeros(2, np.float32)
    v = dfc.Variable(array)
    array[:] = 9
    assert_array_equal(v.numpy(), [0, 0])
    value = v.numpy()
    value[:] = 9
    assert_array_equal(v.numpy(), [0, 0])


def test_an_initial_function_is_called_once_when_first_needed() -> None:
    calls: list[int] = []

    def initial() -> Any:
        calls.append(1)
        return np.ones(2, np.float32)

    v = dfc.Variable(initial, name="lazy")
    assert calls == []
    threads = [threading.Thread(target=v.numpy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_array_equal(dfc.function(lambda: v * 2)().numpy(), [2, 2])
    assert calls == [1]


def test_an_initial_function_runs_outside_the_trace_that_needs_it() -> None:
    other = dfc.Variable([3.0])
    v = dfc.Variable(lambda: other.read() + 1)
    assert dfc.function(lambda: v + 1)().item() == 5


def test_an_initial_value_that_needs_itself() -> None:
    v: dfc.Variable = dfc.Variable(lambda: v.read(), name="loop")
    with pytest.raises(FailedPrecondition, match="the initial value of variable 'loop' needs the variable itself"):
        v.numpy()


def test_writes_outside_a_trace_happen_at_once() -> None:
    v = dfc.Variable([1.0, 2.0])
    before = v.read()
    assert_array_equal(v.assign([5.0, 6.0]).value().numpy(), [5, 6])
    assert_array_equal(v.assign_add([1.0, 1.0]).value().numpy(), [6, 7])
    assert_array_equal(v.assign_sub(2.0).value().numpy(), [4, 5])
    assert_array_equal(v.assign_add(dfc.Variable([1.0, 0.0]), use_locking=True).value().numpy(), [5, 5])
    assert_array_equal(before.numpy(), [1, 2])


def test_reads_and_writes_in_a_trace_are_in_program_order() -> None:
    v = dfc.Variable(1.0)

    @dfc.function
    def f() -> Any:
        a = v.read()
        first = v.assign(v * 10).value()
        b = v + 0
        second = v.assign_add(5.0).value()
        v.assign_sub(1.0)
        return a, first, b, second, v.read()

    assert [x.item() for x in f()] == [1, 10, 10, 15, 14]
    assert v.item() == 14
    assert [x.item() for x in f()] == [14, 140, 140, 145, 144]


def test_reads_between_two_writes_are_one_read() -> None:
    v = dfc.Variable(1.0)

    @dfc.function
    def f() -> Any:
        a = v + v.read() * v
        v.assign(a)
        return v * v

    reads = [op for op in f.graph().func.block.ops if isinstance(op, Read)]
    assert len(reads) == 2
    assert [len(op.tokens) for op in reads] == [0, 1]
    assert f().item() == 4


def test_python_conversions_and_representation() -> None:
    v = dfc.Variable(2.0, name="two")
    assert (float(v), int(v), bool(v), v.item(), v.ndim) == (2.0, 2, True, 2.0, 0)
    assert repr(v) == "<dfc.Variable 'two' float32[]>"
    assert len(dfc.Variable([1, 2, 3])) == 3
    assert np.asarray(v).item() == 2
    assert_array_equal((np.ones(2, np.float32) * dfc.Variable([3.0, 4.0])).numpy(), [3, 4])
    assert repr(v.assign(3.0)) == "<dfc.Operation 'two/assign'>"


def test_representation_says_where_the_value_is() -> None:
    with dfc.device("/device:CPU:1"):
        placed = dfc.Variable(np.zeros((2, 3), np.float32), name="w", offload=True)
    assert (placed.device, placed.offload) == ("cpu:1", True)
    assert repr(placed) == "<dfc.Variable 'w' float32[2, 3] on cpu:1, offloaded>"
    with dfc.Graph():
        assert repr(dfc.Variable(0.0, name="v")) == "<dfc.Variable 'v' float32[]>"
        with dfc.device("cpu:1"):
            assert repr(dfc.Variable(0.0, name="u")) == "<dfc.Variable 'u' float32[] on /device:CPU:1>"
        assert repr(dfc.Variable(0.0, name="t", offload=True)) == "<dfc.Variable 't' float32[] offloaded>"


def test_names() -> None:
    first, second = dfc.Variable(0.0), dfc.Variable(0.0)
    assert first.name.startswith("variable") and second.name.startswith("variable_")
    assert first.name != second.name
    with dfc.name_scope("layer"), dfc.name_scope("inner"):
        assert dfc.Variable(0.0, name="w").name == "layer/inner/w"
    with pytest.raises(InvalidArgument, match="a name must be a text without blanks and colons, got 'a:b'"):
        dfc.Variable(0.0, name="a:b")


def test_two_variables_of_one_name_are_two_in_a_graph() -> None:
    a, b = dfc.Variable(1.0, name="w"), dfc.Variable(10.0, name="w")
    f = dfc.function(lambda: (a.assign_add(1.0).value(), b.assign_add(1.0).value()))
    assert f.graph().variables == {"w": a, "w_1": b}
    assert [x.item() for x in f()] == [2, 11]


def test_a_variable_without_a_value() -> None:
    v = dfc.Variable(dfc.TensorSpec((2,), "float32"), name="later")
    assert (v.shape, v.dtype) == ((2,), "float32")
    with pytest.raises(FailedPrecondition, match="Attempting to use uninitialized value 'later'"):
        v.numpy()
    v.assign([1.0, 2.0])
    assert_array_equal(v.numpy(), [1, 2])
    with pytest.raises(InvalidArgument, match="variable 'open' needs a static shape"):
        dfc.Variable(dfc.TensorSpec(("b",)), name="open").numpy()


def test_a_variable_that_is_gone_is_not_listed() -> None:
    v = dfc.Variable(0.0, name="listed")
    v.assign_add(1.0)
    assert any(other is v for other in alive_variables())
    gone = weakref.ref(v)
    gc.collect()
    gc.disable()  # reference counts alone must free it
    try:
        del v
        assert gone() is None
    finally:
        gc.enable()
    assert not any(other.name == "listed" for other in alive_variables())


def errors(kind: Any, call: Callable[[], Any]) -> str:
    return error_of(kind, call, __file__)


def test_values_that_do_not_fit() -> None:
    v = dfc.Variable(np.zeros(3, np.float32), name="v")
    inside = dfc.function(lambda x: v.assign_add(x))
    assert errors(InvalidArgument, lambda: v.assign([1.0])) == "assign: variable 'v' holds float32[3], got float32[1]"
    assert errors(InvalidType, lambda: v.assign_sub(np.zeros(3))) == (
        "assign_sub: variable 'v' holds float32[3], got float64[3]\n  convert it with dfc.astype"
    )
    assert errors(InvalidArgument, lambda: inside(np.zeros((2, 3), np.float32))) == (
        "assign_add: variable 'v' holds float32[3], got float32[2, 3]"
    )
    assert_array_equal(v.numpy(), [0, 0, 0])


def test_an_overwritten_value_is_not_given() -> None:
    v = dfc.Variable(0.0, name="v")

    @dfc.function
    def f() -> Any:
        op = v.assign_add(1.0)
        v.assign(5.0)
        return op.value()

    assert errors(FailedPrecondition, f) == (
        "the value after assign_add on 'v' was overwritten by a later write\n  call .value() before the next write"
    )


def test_an_initial_value_from_inside_a_trace() -> None:
    @dfc.function
    def f(x: Any) -> Any:
        return dfc.Variable(x * 2).read()

    assert errors(InvalidType, lambda: f(np.float32(1))) == (
        "Variable: an initial value must not depend on the function being traced\n"
        "  give an array, or a function of no arguments that returns one"
    )


def test_a_variable_made_in_a_trace_keeps_its_value() -> None:
    made: list[dfc.Variable] = []

    @dfc.function
    def f() -> Any:
        if not made:
            made.append(dfc.Variable(1.0))
        return made[0].assign_add(1.0).value()

    assert [f().item(), f().item()] == [2, 3]
    assert made[0].item() == 3


def test_the_update_of_another_variable_type_error_names_the_operation() -> None:
    group = dfc.train.SGD(0.1).apply_gradients([(np.float32(1), dfc.Variable(1.0))])
    with pytest.raises(FailedPrecondition, match="the operation 'SGD' has no value"):
        group.value()


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(
    ("initial", "value", "dtype"), [(0, 2.7, "int32"), (0, [1.5], "int32"), (True, 2, "bool"), (1.0, 1j, "float32")]
)
def test_numbers_are_not_cut_down_to_a_narrower_kind(initial: Any, value: Any, dtype: str, traced: bool) -> None:
    v = dfc.Variable(initial)
    text = f"assign: {value!r} can't become {dtype} without loss\n  convert it with dfc.astype"
    call = lambda: v.assign(value)  # noqa: E731
    assert error_of(InvalidType, dfc.function(call) if traced else call, __file__) == text
    assert v.numpy() == initial


def test_a_signature_does_not_cut_floats_down_and_numbers_of_the_kind_fit() -> None:
    f = dfc.function(signature=[dfc.TensorSpec((), "int32")])(lambda x: x + 1)
    with pytest.raises(InvalidType, match=r"2\.9 can't become int32 without loss"):
        f(2.9)
    assert f(2).item() == 3 and f(True).item() == 2
    half = dfc.Variable(1.0, dtype="bfloat16")
    half.assign(2)
    half.assign_add(0.5)
    assert float(half) == 2.5


def test_what_is_added_is_broadcast_and_what_is_assigned_is_not() -> None:
    v = dfc.Variable([[1.0, 2.0], [3.0, 4.0]])
    for add in (v.assign_add, dfc.function(lambda x: v.assign_add(x) and None)):
        add(dfc.asarray([1.0, 0.0]))
        add(dfc.asarray(1.0))
    assert v.numpy().tolist() == [[5.0, 4.0], [7.0, 6.0]]
    with pytest.raises(InvalidArgument, match="assign"):
        v.assign(dfc.asarray([1.0, 0.0]))


def test_an_uninitialised_variable_is_named_with_the_line_that_made_it_in_a_compiled_call_too() -> None:
    v = dfc.Variable(dfc.TensorSpec((1,)), name="v")
    expected = "Attempting to use uninitialized value 'v'\n  assign it a value or restore a checkpoint"
    call = dfc.function(lambda: v.read() + 1)
    for read in (v.numpy, call):
        text = error_of(FailedPrecondition, read, __file__)
        assert text.removeprefix("<lambda>: ") == expected
    v.assign([1.0])
    assert call().numpy().tolist() == [2.0]


def test_an_assignment_in_place_does_not_silently_rebind_the_name() -> None:
    v = dfc.Variable(1.0, name="v")

    def wrong() -> None:
        nonlocal v
        v += 1

    assert error_of(InvalidArgument, wrong, __file__) == (
        "an assignment such as += would make the name stand for a tensor, not change variable 'v'\n"
        "  use v.assign_add(x), v.assign_sub(x) or v.assign(x); or write v = v + x"
    )
    assert f"{v:.2f} {v + 0.5:.1f}" == "1.00 1.5"
    assert round(v + 0.126, 2) == 1.13
    assert f"{dfc.asarray(2)}" == "<dfc.Tensor int32[] 2>"
