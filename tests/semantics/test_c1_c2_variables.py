"""Rows C1 (the variable operation) and C2 (updates in place)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import FailedPrecondition
from dfc.ir.ops.state import Variable as VariableOp
from dfc.ir.types import RefType


def test_c1_a_variable_has_no_inputs_and_yields_a_reference() -> None:
    v = dfc.Variable([1.0, 2.0], name="v")
    op = dfc.function(lambda: v.read()).graph().func.block.first_op
    assert isinstance(op, VariableOp)
    assert len(op.operands) == 0
    assert isinstance(op.ref.type, RefType)
    assert op.variable.data == "v"


def test_c1_later_reads_see_an_assign_add() -> None:
    state = dfc.Variable(np.arange(3, dtype=np.float32))
    x = np.array([10, 20, 30], np.float32)

    @dfc.function
    def add(x: Any) -> Any:
        before = state.read()
        state.assign_add(x)
        return before, state.read()

    for k in range(3):
        before, after = add(x)
        assert before.numpy().tolist() == (np.arange(3) + k * x).tolist()
        assert after.numpy().tolist() == (np.arange(3) + (k + 1) * x).tolist()
    assert state.numpy().tolist() == (np.arange(3) + 3 * x).tolist()


def test_c1_the_value_is_shared_by_every_function_and_outlives_them() -> None:
    v = dfc.Variable(0.0)
    for _ in range(2):
        dfc.function(lambda: v.assign_add(1.0))()
    reader = dfc.function(lambda: v * 1.0)
    assert reader().item() == 2
    v.assign(7.0)
    assert reader().item() == 7


def test_c1_an_uninitialised_read_is_failed_precondition() -> None:
    v = dfc.Variable(dfc.TensorSpec((2,), "float32"), name="weights")
    read = dfc.function(lambda: v * 2)
    for attempt in (v.read, v.numpy, read, lambda: v.assign_add([1.0, 1.0])):
        with pytest.raises(FailedPrecondition, match="Attempting to use uninitialized value 'weights'"):
            attempt()
    v.assign(np.ones(2, np.float32))
    assert read().numpy().tolist() == [2, 2]


def test_c2_an_update_touches_the_buffer_without_a_copy() -> None:
    v = dfc.Variable(np.zeros(1 << 20, np.float32))
    x = dfc.asarray(np.ones(1 << 20, np.float32))

    @dfc.function
    def step(x: Any) -> Any:
        v.assign_add(x)
        v.assign_sub(x * 0.5)
        return v[0]

    def address() -> int:
        holder, index = v.state.locate()
        return int(holder.buffers[index].unsafe_buffer_pointer())

    step(x).item()
    before = address()
    for _ in range(5):
        step(x).item()
        v.assign_add(x)
        v.numpy()
    assert address() == before
    assert v.numpy()[:2].tolist() == [8, 8]


def test_c2_values_handed_out_do_not_change_with_the_variable() -> None:
    v = dfc.Variable(np.zeros(8, np.float32))
    tensor, array = v.read(), v.numpy()
    returned = dfc.function(lambda: v.read())()
    v.assign_add(np.ones(8, np.float32))
    dfc.function(lambda: v.assign_add(np.ones(8, np.float32)))()
    assert v.numpy().tolist() == [2] * 8
    for value in (tensor.numpy(), array, returned.numpy()):
        assert value.tolist() == [0] * 8
