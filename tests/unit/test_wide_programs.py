"""Passes take time in proportion to a program, also where one op, or the interface, is as wide as it is long."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from dfc.backends import pipeline, reference
from dfc.ir.collector import paused
from dfc.ir.locations import describe
from dfc.ir.ops.elementwise import AddN, Identity, Multiply, Sine
from dfc.ir.ops.function import Func, Island
from dfc.ir.ops.state import Assign, Read
from tests.programs import Trace

SMALL, LARGE = 2500, 10000


def gradients_of_a_sum(width: int) -> ModuleOp:
    trace = Trace({f"x{i}": ((), "float32") for i in range(width)})
    return trace.finish(trace.gradients([trace(AddN, *trace.inputs)], trace.inputs, ["dense"] * width))


def sum_of_constants(width: int) -> ModuleOp:
    trace = Trace({"x": ((2,), "float32")})
    constants = [trace.constant([i, i + 1], "float32") for i in range(width)]
    return trace.finish([trace(AddN, *trace.inputs, *constants)])


def sum_of_one_value(width: int) -> ModuleOp:
    trace = Trace({"x": ((), "float32")})
    return trace.finish([trace(AddN, *(trace(Sine, *trace.inputs) for _ in range(width)))])


def sum_of_identities(width: int) -> ModuleOp:
    trace = Trace({"x": ((), "float32")})
    return trace.finish([trace(AddN, *(trace(Identity, *trace.inputs) for _ in range(width)))])


def sum_of_reads(width: int) -> ModuleOp:
    trace = Trace({})
    variable = trace.variable("v", (), "float32")
    reads = [trace.op(Read, variable) for _ in range(width)]
    total = trace(AddN, *(read.results[0] for read in reads))
    return trace.finish([], trace.op(Assign, variable, total, *(read.results[1] for read in reads)).results)


def many_outputs(width: int) -> ModuleOp:
    trace = Trace({f"x{i}": ((), "float32") for i in range(width)})
    return trace.finish([trace(Multiply, x, x) for x in trace.inputs])


def seconds(make: Callable[[int], ModuleOp], width: int) -> float:
    """The least of three, of this process alone."""
    times = []
    for _ in range(3):
        with paused():
            program = make(width)
            start = process_time()
            pipeline.lower(program)
            times.append(process_time() - start)
    return min(times)


@pytest.mark.parametrize(
    "make",
    [gradients_of_a_sum, sum_of_constants, sum_of_one_value, sum_of_identities, sum_of_reads, many_outputs],
    ids=lambda make: make.__name__,
)
def test_time_is_linear_in_the_width(make: Callable[[int], ModuleOp]) -> None:
    """Four times as wide takes about four times as long; it took more than seven times while each changed operand
    copied all operands of its op."""
    assert seconds(make, LARGE) < 7 * seconds(make, SMALL)


def test_what_wide_programs_become() -> None:
    for make, ops in ((sum_of_one_value, ["sine", "add_n"]), (sum_of_identities, ["add_n"])):
        program = make(5)
        pipeline.lower(program)
        (func,) = (op for op in program.ops if isinstance(op, Func))
        (island,) = (op for op in func.block.ops if isinstance(op, Island))
        assert [op.name.removeprefix("df.") for op in island.block.ops] == [*ops, "yield"]
        assert all(describe(op.location) for op in island.block.ops)
        x = np.float32(0.5)
        want = 5 * np.sin(x) if "sine" in ops else 5 * x
        np.testing.assert_allclose(reference.run(program, [x])[0][0], want, rtol=1e-6)
