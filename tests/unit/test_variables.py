"""Variables: values in and out, initial values, sharing of holders."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from dfc.backends import xla
from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType
from dfc.ir.dtypes import as_dtype
from dfc.ir.types import Spec
from dfc.runtime.variables import Holder, Lost, StandIn, VariableState, join

ROOT = Path(__file__).resolve().parents[2]


def variable(name: str, value: Any, **options: Any) -> VariableState:
    array = np.asarray(value)
    return VariableState(name, Spec(array.shape, as_dtype(array.dtype)), array, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_, np.complex128, ml_dtypes.bfloat16])
def test_a_value_comes_back_in_its_own_dtype(dtype: Any) -> None:
    value = np.array([[1, 0], [3, 1]]).astype(dtype)
    made = variable("v", value)
    made.initialize()
    assert made.numpy().dtype == value.dtype
    np.testing.assert_array_equal(made.numpy(), value)


def test_an_initial_array_is_copied_when_the_variable_is_made() -> None:
    value = np.zeros(3, np.float32)
    made = variable("v", value)
    value += 7
    np.testing.assert_array_equal(made.numpy(), np.zeros(3))


def test_numpy_never_aliases_the_variable() -> None:
    made = variable("v", np.zeros(3, np.float32))
    for _ in range(2):  # before and after the value is on the device
        seen = made.numpy()
        seen += 1
        np.testing.assert_array_equal(made.numpy(), np.zeros(3))
        made.initialize()


def test_assigning_a_device_array_copies_it() -> None:
    made, given = variable("v", np.zeros(3, np.float32)), xla.to_device(np.full(3, 2, np.float32))
    made.assign(given)
    given.delete()
    np.testing.assert_array_equal(made.numpy(), np.full(3, 2))


def test_read_gives_a_copy_on_the_device() -> None:
    made = variable("v", np.arange(3, dtype=np.float32))
    read = made.read()
    made.assign(np.zeros(3, np.float32))
    np.testing.assert_array_equal(xla.to_numpy(read), [0, 1, 2])


def test_an_initial_function_runs_once_at_the_first_use_whatever_the_threads() -> None:
    calls: list[int] = []
    start = threading.Barrier(8)

    def initial() -> Any:
        calls.append(1)
        return np.full(4, 5, np.float32)

    made = VariableState("v", Spec((4,), as_dtype("float32")), initial)
    assert not calls
    assert not made.is_initialized
    seen: list[Any] = []

    def look() -> None:
        start.wait()
        seen.append(made.numpy())

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]
    assert made.is_initialized
    np.testing.assert_array_equal(np.stack(seen), np.full((8, 4), 5))


def test_an_initial_function_that_fails_is_called_again() -> None:
    outcomes: list[Any] = [OSError("no data yet"), np.ones(2, np.float32)]

    def initial() -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    made = VariableState("v", Spec((2,), as_dtype("float32")), initial)
    with pytest.raises(OSError, match="no data yet"):
        made.numpy()
    np.testing.assert_array_equal(made.numpy(), [1, 1])


def test_an_initial_function_that_needs_the_variable_itself_is_an_error() -> None:
    made = VariableState("v", Spec((2,), as_dtype("float32")), lambda: made.numpy())
    with pytest.raises(FailedPrecondition) as caught:
        made.numpy()
    assert str(caught.value) == "the initial value of variable 'v' needs the variable itself"


def test_c1_reading_an_uninitialised_variable_is_an_error_until_it_is_assigned() -> None:
    made = VariableState("v", Spec((2,), as_dtype("float32")), None)
    with pytest.raises(FailedPrecondition) as caught:
        made.numpy()
    assert str(caught.value) == (
        "Attempting to use uninitialized value 'v'\n  assign it a value or restore a checkpoint"
    )
    made.assign(np.ones(2, np.float32))
    np.testing.assert_array_equal(made.numpy(), [1, 1])


def test_an_assignment_before_the_first_use_wins_over_the_initial_function() -> None:
    made = VariableState("v", Spec((2,), as_dtype("float32")), lambda: np.zeros(2, np.float32))
    made.assign(np.ones(2, np.float32))
    np.testing.assert_array_equal(made.numpy(), [1, 1])


def test_a_value_of_another_shape_or_dtype_is_refused() -> None:
    made = variable("weights", np.zeros((2, 3), np.float32))
    with pytest.raises(InvalidArgument) as shape:
        made.assign(np.zeros((3, 2), np.float32))
    assert str(shape.value) == "variable 'weights' holds float32[2, 3], got shape (3, 2)"
    with pytest.raises(InvalidType) as dtype:
        made.assign(np.zeros((2, 3)))
    assert str(dtype.value) == "variable 'weights' holds float32[2, 3], got dtype float64\n  convert the value first"
    np.testing.assert_array_equal(made.numpy(), np.zeros((2, 3)))


def test_join_puts_a_writing_steps_variables_first_and_keeps_all_values() -> None:
    a, b, c, d = (variable(name, np.full(2, i, np.float32)) for i, name in enumerate("abcd"))
    for each in (a, b, c, d):
        each.initialize()
    join([b, a], 0)
    assert [x.locate()[1] for x in (b, a)] == [0, 1]
    join([d, a, c, b], 3)  # writes more than the two that were together: its own order
    assert [x.locate()[1] for x in (d, a, c, b)] == [0, 1, 2, 3]
    assert len({id(x.locate()[0]) for x in (a, b, c, d)}) == 1
    for i, each in enumerate((a, b, c, d)):
        np.testing.assert_array_equal(each.numpy(), np.full(2, i))


def test_join_keeps_the_order_of_the_larger_holder() -> None:
    a, b, c = (variable(name, np.full(2, i, np.float32)) for i, name in enumerate("abc"))
    join([b, a], 2)
    join([c, a], 1)
    assert [x.locate()[1] for x in (b, a, c)] == [0, 1, 2]


def test_a_holder_that_was_left_with_pending_buffers_settles_at_the_next_use() -> None:
    made = variable("v", np.zeros(2, np.float32))
    made.initialize()
    holder, index = made.locate()
    holder.expect([index])  # where a KeyboardInterrupt leaves a step between its dispatch and the last store
    holder.pending = [xla.to_device(np.full(2, 9, np.float32))]
    np.testing.assert_array_equal(made.numpy(), [9, 9])
    assert not holder.attention


FAILS_LATER = """
import jax
import jax.numpy as jnp
import numpy as np
from tests.unit.test_variables import variable

def fail(x):
    raise ValueError("no")

ones = jnp.ones((3000, 3000)).block_until_ready()
late = jax.jit(lambda x: x @ x @ x @ x @ x)(ones)  # not computed yet when the next call is dispatched
failing = jax.jit(lambda x: jax.pure_callback(fail, jax.ShapeDtypeStruct((2,), np.float32), x))(late[0, :2])
made = variable("v", np.ones(2, np.float32))
made.initialize()
holder, index = made.locate()
holder.buffers[index] = failing
try:
    made.numpy()
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_value_whose_computation_failed_is_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILS_LATER],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    first, second = done.stdout.splitlines()
    assert first.startswith(
        "FailedPrecondition the value of variable 'v' is lost: the step that wrote it failed (to_numpy: XLA: INTERNAL: "
    )
    assert second == "  assign it a value or restore a checkpoint"


def test_a_variable_that_is_gone_leaves_no_buffer_behind() -> None:
    kept, gone = variable("kept", np.zeros(2, np.float32)), variable("gone", np.zeros(2, np.float32))
    for each in (kept, gone):
        each.initialize()
    join([kept, gone], 2)
    holder: Holder = kept.locate()[0]
    del gone, each
    gc.collect()
    assert [buffer is None for buffer in holder.buffers] == [False, True]


def test_a_variable_goes_to_another_device_with_or_without_a_value() -> None:
    devices = xla.devices()
    first, second = variable("a", np.float32([1, 2])), variable("b", np.float32([3, 4]))
    first.initialize()
    join([first, second], 2)
    for made in (first, second):
        made.settle(devices[1])
        assert made.device is devices[1]
    second.initialize()
    for made, value in ((first, [1, 2]), (second, [3, 4])):
        assert made.read().devices() == {devices[1]}
        np.testing.assert_array_equal(made.numpy(), value)


def test_a_variable_that_is_lost_stays_so_elsewhere() -> None:
    made = variable("v", np.float32([1, 2]))
    made.initialize()
    holder, index = made.locate()
    holder.buffers[index] = Lost("step", "why")
    made.settle(xla.devices()[1])
    with pytest.raises(FailedPrecondition, match="the value of variable 'v' is lost: step 'step' failed"):
        made.read()
    made.assign(np.float32([5, 6]))
    assert made.read().devices() == {xla.devices()[1]}


def test_a_stand_in_gives_its_value_once_and_others_wait_for_that() -> None:
    made = variable("v", np.float32([1, 2]))
    stand_in = StandIn(made)
    stand_in.assign(np.float32([3, 4]))
    assert not made._has_value()
    threads = [threading.Thread(target=stand_in.hand_over) for _ in range(2)]
    with made.locate()[0].lock:  # the first can't give it yet
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(0.1)
        assert all(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join(60)
    np.testing.assert_array_equal(made.numpy(), [3, 4])
    made.settle(xla.devices()[1])
    stand_in.hand_over()
    np.testing.assert_array_equal(made.numpy(), [3, 4])
    stand_in.assign(np.float32([5, 6]))
    stand_in.hand_over()
    np.testing.assert_array_equal(made.numpy(), [5, 6])
    assert made.read().devices() == {xla.devices()[1]}


def test_a_stand_in_whose_value_is_lost_gives_none() -> None:
    made = variable("v", np.float32([1, 2]))
    stand_in = StandIn(made)
    holder, index = stand_in.locate()
    holder.buffers[index] = Lost("step", "why")
    stand_in.hand_over()
    np.testing.assert_array_equal(made.numpy(), [1, 2])
