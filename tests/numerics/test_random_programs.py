"""Random programs over all families: NumPy, the reference interpreter and XLA agree, and no pass changes a result.

`DFC_EXAMPLES` sets how many programs (50 unless given).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from dfc.backends import pipeline, reference, xla
from dfc.ir.dtypes import as_dtype
from dfc.ir.ops.function import Func
from dfc.ir.text import parse_program, print_program
from dfc.ir.types import Spec
from dfc.passes import manager
from dfc.passes.phases import Phase
from dfc.runtime.step import Step
from dfc.runtime.variables import VariableState
from tests.programs import RandomProgram, random_program

EXAMPLES = int(os.environ.get("DFC_EXAMPLES", "50"))
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}
PASSES = ("prune", "inline", "canonicalize", "cse", "prune, canonicalize, cse, canonicalize", "cse, cluster")
slow_is_fine = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)  # fmt: skip


def _finished(data: st.DataObject, dtype: str) -> tuple[RandomProgram, ModuleOp]:
    program = random_program(lambda n: data.draw(st.integers(0, n - 1)), dtype=dtype, smooth=False)
    return program, program.trace.finish(program.outputs, program.tokens)


def _func(module: ModuleOp) -> Func:
    return next(op for op in module.ops if isinstance(op, Func))


def _check(program: RandomProgram, outputs: list[Any], state: dict[str, Any], dtype: str, what: str) -> None:
    tolerance = TOLERANCE[dtype]
    for got, want in zip(outputs, program.expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=what)
    for name, want in program.state.items():
        np.testing.assert_allclose(state[name], want, rtol=tolerance, atol=tolerance, err_msg=f"{what}: {name}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@slow_is_fine
@given(st.data())
def test_reference_xla_and_numpy_agree(dtype: str, data: st.DataObject) -> None:
    program, module = _finished(data, dtype)
    _check(program, *reference.run(module, program.arguments, program.variables), dtype, "reference")
    pipeline.lower(module, to=Phase.CLUSTERED)
    states = {
        name: VariableState(name, Spec(value.shape, as_dtype(dtype)), value)
        for name, value in program.variables.items()
    }
    step = Step(_func(module), states)
    outputs = step([xla.to_device(a) for a in program.arguments])
    _check(program, [xla.to_numpy(o) for o in outputs], {n: s.numpy() for n, s in states.items()}, dtype, "XLA")


@slow_is_fine
@given(st.data())
def test_each_pass_leaves_results_unchanged(data: st.DataObject) -> None:
    program, module = _finished(data, "float64")
    text = print_program(module)
    assert print_program(parse_program(text)) == text
    for passes in PASSES:
        copy = module.clone()
        manager.run(copy, manager.parse_pipeline(passes))
        copy.verify()
        _check(program, *reference.run(copy, program.arguments, program.variables), "float64", passes)
