"""Rows A2 (dense tensors only) and A4 (operations: inputs, outputs, attributes; polymorphic and variadic)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.utils.exceptions import VerifyException

import dfc
from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import attributes
from dfc.ir.attributes import Int, Ints
from dfc.ir.ops.elementwise import AddN
from dfc.ir.ops.reduction import ReduceSum
from dfc.ir.types import ControlType, RefType, is_tensor


def test_a2_every_value_is_a_dense_tensor_a_reference_or_a_token() -> None:
    v = dfc.Variable(np.zeros((3, 2), np.float32))

    @dfc.function
    def step(x: Any, labels: Any) -> Any:
        loss = dfc.mean(dfc.nn.sparse_softmax_cross_entropy(labels, x @ v))
        dfc.train.Momentum(0.1).minimize(loss, [v])
        return loss

    graph = step.graph(dfc.TensorSpec(("b", 3)), dfc.TensorSpec(("b",), "int64"))
    types = [result.type for op in graph.func.block.ops for result in op.results]
    assert len(types) > 20
    assert all(is_tensor(t) or isinstance(t, RefType | ControlType) for t in types)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "bfloat16", "float16", "float64", "complex128"])
def test_a2_tensors_of_every_primitive_dtype(dtype: str) -> None:
    x = np.array([[0, 1, 1]]).astype(getattr(dfc, dtype if dtype != "bool" else "bool_").numpy)
    y = dfc.function(lambda x: dfc.concat([x, x]))(x)
    assert y.dtype == dtype
    assert (y.numpy() == np.concatenate([x, x])).all()


def test_a4_add_n_is_variadic_and_polymorphic() -> None:
    add = dfc.function(lambda *xs: dfc.add_n(xs))
    for dtype in (np.float32, np.int64, np.complex64):
        for n in (1, 2, 5):
            assert add(*[np.full(2, i + 1, dtype) for i in range(n)]).numpy().tolist() == [n * (n + 1) / 2] * 2


def test_a4_add_n_rejects_no_operands_and_unequal_ones() -> None:
    with pytest.raises(InvalidArgument, match="at least one operand is needed"):
        dfc.add_n([])
    with pytest.raises(InvalidArgument, match="operands must have equal shapes and dtypes"):
        dfc.add_n([np.zeros(2, np.float32), np.zeros(3, np.float32)])
    with pytest.raises(InvalidType, match="the dtype must be int or uint or float or complex, got bool"):
        dfc.add_n([np.zeros(2, bool)])


def test_a4_the_verifier_rejects_a_wrong_attribute() -> None:
    graph = dfc.function(lambda x: dfc.sum(x, axis=1)).graph(dfc.TensorSpec((2, 3)))
    graph.module.verify()
    (op,) = (op for op in graph.func.block.ops if isinstance(op, ReduceSum))
    op.properties["axes"] = attributes.make(Ints, (5,))
    with pytest.raises(VerifyException, match="axes must be distinct, ascending and within rank 2"):
        op.verify()
    op.properties["axes"] = attributes.make(Int, 1)
    with pytest.raises(VerifyException):
        op.verify()


def test_a4_the_verifier_rejects_a_wrong_type() -> None:
    graph = dfc.function(lambda x, y: dfc.add_n([x, y])).graph(dfc.TensorSpec((2,)), dfc.TensorSpec((2,)))
    (op,) = (op for op in graph.func.block.ops if isinstance(op, AddN))
    other = dfc.function(lambda x: x).graph(dfc.TensorSpec((3,)))
    op.operands = [op.operands[0], other.func.block.args[0]]
    with pytest.raises(VerifyException, match="equal shapes and dtypes"):
        op.verify()


def test_a4_constants_have_a_dtype_a_value_and_no_inputs() -> None:
    graph = dfc.function(lambda: dfc.asarray([1.5, 2.5])).graph()
    op = graph.func.block.first_op
    assert op is not None
    assert op.name == "df.constant"
    assert len(op.operands) == 0
    value = op.properties["value"].data  # type: ignore[attr-defined]
    assert (value.dtype, value.shape, value.value.tolist()) == ("float32", (2,), [1.5, 2.5])
