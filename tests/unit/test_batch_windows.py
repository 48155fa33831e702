"""What the batch analysis says of convolutions and windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from xdsl.ir import SSAValue

import dfc
from dfc.ir.dims import symbol
from dfc.ir.ops.convolution import Convolution
from dfc.ir.ops.function import Func
from dfc.ir.ops.window import WindowGather, WindowMax, WindowScatter, WindowSum
from dfc.passes.batch import BatchResult, rows_independent
from tests.families.convolution import attributes as conv
from tests.families.window import attributes as window
from tests.families.window import selecting
from tests.programs import Trace

B = symbol("b")


def analyse(make: Callable[[Trace, SSAValue], SSAValue]) -> BatchResult:
    trace = Trace({"x": ((B, 4, 6), "float32")})
    trace.at(9)
    program = trace.finish([make(trace, trace.inputs[0])])
    (func,) = (op for op in program.ops if isinstance(op, Func))
    return rows_independent(func)


def kernel(t: Trace, *shape: int) -> SSAValue:
    return t.constant(np.ones(shape), "float32")


TURNED = {"lhs_axes": (1, 0, 2), "rhs_axes": (1, 0, 2)}


@pytest.mark.parametrize(
    ("make", "axis"),
    [
        pytest.param(lambda t, x: t(Convolution, x, kernel(t, 5, 4, 3), **conv(1)), 0, id="batch"),
        pytest.param(
            lambda t, x: t(Convolution, x, kernel(t, 6, 2, 3), **conv(1, feature_groups=2, result_axes=(2, 1, 0))),
            2,
            id="groups of features, another layout",
        ),
        pytest.param(lambda t, x: t(Convolution, kernel(t, 2, 4, 9), x, **conv(1)), 1, id="rows are kernels"),
        pytest.param(lambda t, x: t(WindowSum, x, **window((1, 2, 3), low=(0, 1, 1))), 0, id="sum"),
        pytest.param(lambda t, x: t(WindowMax, x, **window((1, 1, 3), strides=(1, 2, 2))), 0, id="max"),
        pytest.param(lambda t, x: t(WindowScatter, x, x, **selecting((1, 1, 1), "max")), 0, id="scatter"),
        pytest.param(lambda t, x: t(WindowGather, x, x, **selecting((1, 2, 2), "min")), 0, id="gather"),
    ],
)
def test_rows_stay_rows(make: Callable[[Trace, SSAValue], SSAValue], axis: int) -> None:
    assert analyse(make) == BatchResult(True, "b", (0,), (axis,))


ALONG = "it sums over the batch or moves a window along it"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda t, x: t(Convolution, x, kernel(t, 5, 4, 2), **conv(1, lhs_axes=(2, 1, 0))), f"convolution: {ALONG}"),
        (lambda t, x: t(Convolution, x, x, **conv(1)), f"convolution: {ALONG}"),
        (
            lambda t, x: t(Convolution, kernel(t, 2, 4, 9), x, **conv(1, rhs_axes=(2, 1, 0))),
            f"convolution: {ALONG}",
        ),
        (lambda t, x: t(WindowSum, x, **window((2, 1, 1))), "window_sum: it moves a window along the batch"),
        (
            lambda t, x: t(WindowMax, x, **window((1, 1, 1), low=(1, 0, 0))),
            "window_max: it moves a window along the batch",
        ),
    ],
)
def test_what_mixes_rows_is_named(make: Callable[[Trace, SSAValue], SSAValue], reason: str) -> None:
    result = analyse(make)
    name, _, why = reason.partition(": ")
    assert (result.independent, result.reason) == (False, f"{name} at model.py:9:1: {why}")


def test_a_convolutional_network_serves_any_batch() -> None:
    w = np.ones((3, 3, 1, 2), np.float32)

    @dfc.function(signature=[dfc.TensorSpec(("b", 8, 8, 1), "float32")])
    def predict(x: Any) -> Any:
        h = dfc.nn.max_pool(dfc.nn.relu(dfc.nn.conv(x, w)), 2)
        return dfc.nn.avg_pool(dfc.nn.local_response_norm(h), 3, strides=1, padding="SAME")

    assert rows_independent(predict.graph().func) == BatchResult(True, "b", (0,), (0,))
