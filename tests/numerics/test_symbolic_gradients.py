"""Gradients, first and second, at symbolic sizes: a call, an artifact and the symbolic graph itself agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.backends import pipeline, reference
from dfc.errors import InvalidArgument
from dfc.ir.dims import symbol
from dfc.ir.ops.shape import Pad
from dfc.passes.phases import Phase
from dfc.passes.specialize import specialize
from tests.programs import Trace

SIZES = (1, 2, 5)
VALUES = np.float64([[0, 2, -3], [1.5, 0, 0.5], [0, -1, 2], [3, 3, -3], [-0.5, 2, 3]])

OPS: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: dfc.sum(x, axis=0),
    "prod": lambda x: dfc.prod(x, axis=0),
    "prod of all": dfc.prod,
    "prod of a middle axis": lambda x: dfc.prod(dfc.stack([x, x * 2], axis=2), axis=(0, 2)),
    "max": lambda x: dfc.max(x, axis=0),
    "min": lambda x: dfc.min(x, axis=0),
    "mean": lambda x: dfc.mean(x, axis=0),
    "var": lambda x: dfc.var(x, axis=0),
    "reshape": lambda x: dfc.reshape(x, (-1,)),
    "permute_dims": lambda x: dfc.permute_dims(x, (1, 0)),
    "broadcast_to": lambda x: dfc.broadcast_to(dfc.expand_dims(x, axis=0), (4, *x.shape)),
    "broadcast along the symbol": lambda x: x + dfc.sum(x, axis=0, keepdims=True),
    "concat": lambda x: dfc.concat([x, x * x, x[:1]], axis=0),
    "stack": lambda x: dfc.stack([x, x * x], axis=1),
    "slice": lambda x: x[1:],
    "every second": lambda x: x[::2],
    "every second but the first": lambda x: x[1::2],
    "every third, both axes": lambda x: x[1::3, ::2],
    "flip": lambda x: dfc.flip(x, axis=0),
    "pad": lambda x: dfc.pad(x, ((1, 2), (0, 1))),
}


def derivatives(op: Callable[[Any], Any]) -> Any:
    @dfc.function(signature=[dfc.TensorSpec(("b", 3), "float64")])
    def predict(x: Any) -> Any:
        y = op(x)
        (first,) = dfc.gradients(dfc.sum(y * y + y), x)
        (second,) = dfc.gradients(dfc.sum(first * first * 0.5 + first), x)
        return {"first": first, "second": second}

    return predict


@pytest.mark.parametrize("name", OPS)
def test_call_artifact_and_symbolic_graph_agree(name: str, tmp_path: Path) -> None:
    predict = derivatives(OPS[name])
    dfc.compile([predict], batch=SIZES).save(tmp_path / "model.dfc")
    model = dfc.load(tmp_path / "model.dfc")
    graph = specialize(predict.graph().module, {})
    pipeline.lower(graph, to=Phase.GRAPH)
    for size in SIZES:
        x = VALUES[:size]
        called = predict(x)
        loaded = model.predict(x)
        symbolic, _ = reference.run(specialize(graph, {"b": size}), [x])
        for i, order in enumerate(("first", "second")):
            want = called[order].numpy()
            assert want.shape == x.shape
            assert_array_equal(loaded[order], want)
            assert_allclose(symbolic[i], want, rtol=1e-12, atol=1e-12, err_msg=f"{order} at {size}")


def test_second_derivative_of_a_product_with_zeros(tmp_path: Path) -> None:
    """Of abc by a: row sums of the Hessian [[0, c, b], [c, 0, a], [b, a, 0]]."""

    @dfc.function(signature=[dfc.TensorSpec(("b",), "float32")])
    def predict(x: Any) -> Any:
        return dfc.gradients(dfc.sum(dfc.gradients(dfc.prod(x), x)[0]), x)[0]

    graph = specialize(predict.graph().module, {})
    pipeline.lower(graph, to=Phase.GRAPH)
    for a, b, c in ((0, 2, 3), (0, 0, 3), (0, 0, 0), (1, 2, 3)):
        x = np.float32([a, b, c])
        (found,), _ = reference.run(graph, [x])
        assert_array_equal(found, np.float32([b + c, a + c, a + b]))
    dfc.compile([predict], batch=3).save(tmp_path / "model.dfc")
    assert_array_equal(dfc.load(tmp_path / "model.dfc").predict(np.float32([0, 2, 3])), np.float32([5, 3, 2]))


def test_a_size_for_which_the_symbolic_type_does_not_hold() -> None:
    """Interior padding of b elements gives 3*b - 2, unless b is 0: then there is nothing to put anything between."""
    trace = Trace({"x": ((symbol("b"),), "float32")})
    program = trace.finish(
        [trace(Pad, trace.inputs[0], trace.constant(0.0, "float32"), low=(2,), high=(0,), interior=(2,))]
    )
    assert_array_equal(reference.run(specialize(program, {"b": 2}), [np.ones(2, "float32")])[0][0], [0, 0, 1, 0, 0, 1])
    with pytest.raises(InvalidArgument) as caught:
        specialize(program, {"b": 0})
    assert str(caught.value) == (
        "pad: at these sizes the result must be float32[0], as its symbolic type says, got float32[2]\n"
        "  at model.py:1:1\n"
        "  the formula for this dimension doesn't hold at these sizes: use a static dimension, or other sizes"
    )
