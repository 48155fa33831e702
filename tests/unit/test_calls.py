"""What a second call finds: programs kept by signature, and by what a call really passes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import Internal


def test_a_number_that_a_signature_makes_an_input_is_one_at_the_second_call_too() -> None:
    v = dfc.Variable(np.zeros(2, np.float32))

    @dfc.function(signature=[dfc.TensorSpec((2,)), dfc.TensorSpec(())])
    def update(x: Any, step: Any) -> Any:
        v.assign_add(x)
        return dfc.sum(v.read()) * step

    x = np.ones(2, np.float32)
    assert [float(update(x, k)) for k in (1, 1, 2, 2)] == [2.0, 4.0, 12.0, 16.0]
    assert v.numpy().tolist() == [4.0, 4.0]


def test_an_array_default_is_an_input_at_every_call() -> None:
    @dfc.function
    def scaled(x: Any, by: Any = np.float32(3.0)) -> Any:  # noqa: B008
        return x * by, x

    x = np.ones(2, np.float32)
    for _ in range(3):
        assert [t.numpy().tolist() for t in scaled(x)] == [[3.0, 3.0], [1.0, 1.0]]
        assert [t.numpy().tolist() for t in scaled(x, np.float32(2.0))] == [[2.0, 2.0], [1.0, 1.0]]
        assert [t.numpy().tolist() for t in scaled(dfc.asarray(x))] == [[3.0, 3.0], [1.0, 1.0]]


def test_a_plan_refuses_another_number_of_inputs_before_it_runs_anything() -> None:
    v = dfc.Variable(np.zeros(2, np.float32))

    @dfc.function
    def update(x: Any, y: Any) -> Any:
        v.assign_add(x)
        return y, x

    x = dfc.asarray([1.0, 1.0])
    step = update.compiled_for(x, x).step
    with pytest.raises(Internal, match="a step of 2 inputs was given 1"):
        step._bound._run_all([x._array])
    assert v.numpy().tolist() == [0.0, 0.0]
