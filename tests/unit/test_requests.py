"""While gradients are asked for, no pass merges or folds what they are of, in any function that calls connect."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from dfc.backends import reference
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops.function import Call, Func
from dfc.ir.types import spec_of
from dfc.passes.manager import parse_pipeline, run
from dfc.passes.requests import without_requests
from tests.programs import Trace


def call(trace: Trace, callee: str, *operands: SSAValue) -> SSAValue:
    return trace(Call, *operands, callee=callee, results=(spec_of(operands[0].type),), stateful=False)


def stopped_in_the_callee() -> ModuleOp:
    """d (x * stop(x)) / dx = x = 3."""
    inner = Trace({"a": ((), "float32")}, name="inner")
    (a,) = inner.inputs
    inner.finish([inner(ew.Multiply, a, inner(ew.StopGradient, a))])
    main = Trace({"x": ((), "float32")}, name="main", module=inner.module)
    return main.finish(main.gradients([call(main, "inner", *main.inputs)], main.inputs, ["dense"]))


def asked_in_the_callee() -> ModuleOp:
    """d (a * b) / da = b = 3, though the caller gives the same value for both."""
    inner = Trace({"a": ((), "float32"), "b": ((), "float32")}, name="inner")
    a, b = inner.inputs
    inner.finish(inner.gradients([inner(ew.Multiply, a, b)], [a], ["dense"]))
    main = Trace({"x": ((), "float32")}, name="main", module=inner.module)
    (x,) = main.inputs
    return main.finish([call(main, "inner", main(ew.Identity, x), main(ew.Identity, x))])


@pytest.mark.parametrize("make", [stopped_in_the_callee, asked_in_the_callee])
@pytest.mark.parametrize("first", ["", "canonicalize, ", "cse, ", "canonicalize, cse, canonicalize, "])
def test_gradients_do_not_depend_on_when_passes_run(make: Callable[[], ModuleOp], first: str) -> None:
    program = make()
    run(program, parse_pipeline(f"{first}inline, autodiff, canonicalize, cse"))
    assert reference.run(program, [np.float32(3)])[0] == [np.float32(3)]


def test_functions_that_no_call_connects_are_free() -> None:
    program = stopped_in_the_callee()
    outer = Trace({"x": ((), "float32")}, name="outer", module=program)
    outer.finish([call(outer, "main", *outer.inputs)])
    other = Trace({"x": ((), "float32")}, name="other", module=program)
    other.finish([other(ew.Identity, *other.inputs)])
    assert [f.sym_name.data for f in without_requests(program)] == ["other"]
    assert len([op for op in program.ops if isinstance(op, Func)]) == 4
