"""dfc.Tensor: what it is, reading its value, meeting other libraries, and operators."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import dfc
from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.dims import symbol
from tests.frontend_support import error_of


def test_a_tensor_says_what_it_is() -> None:
    t = dfc.asarray([[1.0, 2.0]])
    assert (t.shape, t.dtype, t.ndim, t.size, t.device, t.name) == ((1, 2), dfc.float32, 2, 2, "cpu:0", None)
    assert repr(t) == "<dfc.Tensor float32[1, 2] [[1., 2.]]>"


def test_a_symbolic_tensor_says_what_it_is() -> None:
    seen: list[Any] = []

    @dfc.function(signature=[dfc.TensorSpec(("b", 2))])
    def f(x: dfc.Tensor) -> dfc.Tensor:
        doubled = x + x
        seen.extend([doubled.shape, doubled.dtype, doubled.size, doubled.device, repr(doubled)])
        return doubled

    f.graph()
    b = symbol("b")
    assert seen == [(b, 2), dfc.float32, 2 * b, None, "<dfc.Tensor add float32[b, 2] in the trace of f>"]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "bfloat16", "float64", "complex64"])
def test_values_come_back_as_numpy_in_their_own_dtype(dtype: str) -> None:
    array = np.array([[0, 1], [1, 0]]).astype(dfc.asarray(0, dtype=dtype).dtype.numpy)
    back = dfc.asarray(array).numpy()
    assert back.dtype == array.dtype
    assert_array_equal(back, array)


def test_python_conversions() -> None:
    assert dfc.asarray(2.5).item() == 2.5
    assert float(dfc.asarray(2.5)) == 2.5
    assert int(dfc.asarray([7])) == 7
    assert complex(dfc.asarray(2j)) == 2j
    assert bool(dfc.asarray(3) > 2) is True
    assert [10, 20, 30][dfc.asarray(1)] == 20
    assert len(dfc.zeros((3, 2))) == 3
    assert [x.item() for x in dfc.arange(3)] == [0, 1, 2]


def test_the_value_handed_out_is_the_callers_own() -> None:
    t = dfc.asarray(np.zeros(3, np.float32))
    t.numpy()[:] = 5
    assert_array_equal(t.numpy(), np.zeros(3))


def test_the_array_given_may_change_afterwards() -> None:
    array = np.zeros(1000, np.float32)
    t = dfc.asarray(array)
    array[:] = 5
    assert_array_equal(t.numpy(), np.zeros(1000))


def test_numpy_and_tensors_mix() -> None:
    t, array = dfc.asarray([1.0, 2.0]), np.array([10.0, 20.0], np.float32)
    for result in (array + t, t + array):
        assert isinstance(result, dfc.Tensor)
        assert_array_equal(result.numpy(), [11, 22])
    assert_array_equal(np.asarray(t), [1, 2])
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    assert_array_equal((np.float64(2) * t).numpy(), [2.0, 4.0])


def test_dlpack_both_ways() -> None:
    t = dfc.asarray([1.0, 2.0])
    assert_array_equal(np.from_dlpack(t), [1, 2])
    assert_array_equal(dfc.asarray(jnp.arange(3)).numpy(), [0, 1, 2])
    assert dfc.asarray(jnp.ones(2, jnp.bfloat16)).numpy().dtype == ml_dtypes.bfloat16

    class Foreign:
        def __init__(self) -> None:
            self.array = np.arange(2, dtype=np.float64)

        def __dlpack__(self, **options: Any) -> Any:
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return self.array.__dlpack_device__()

    assert_array_equal(dfc.asarray(Foreign()).numpy(), [0, 1])
    assert dfc.function(lambda x: x * 2)(Foreign()).dtype == "float64"


def test_arrays_of_the_other_byte_order() -> None:
    swapped = np.array([1.0, 2.0], ">f4")
    f = dfc.function(lambda x: x * 2)
    for _ in range(2):
        assert_array_equal(f(swapped).numpy(), [2, 4])
    assert dfc.asarray(swapped).dtype == "float32"
    assert_array_equal(dfc.asarray(swapped).numpy(), [1, 2])


def test_a_tensor_is_a_dict_key() -> None:
    a, b = dfc.asarray([1.0]), dfc.asarray([1.0])
    assert {a: 1, b: 2}[b] == 2


def test_operators_read_variables() -> None:
    v = dfc.Variable([1.0, 2.0])
    t = dfc.asarray([10.0, 10.0])
    assert_array_equal((t + v).numpy(), [11, 12])
    assert_array_equal((v * 2 - t).numpy(), [-8, -6])
    assert_array_equal(v[1:].numpy(), [2])
    assert_array_equal((-v).numpy(), [-1, -2])
    assert (v[0] < v[1]).item() is True


def errors(call: Any, kind: Any = InvalidArgument) -> str:
    return error_of(kind, call, __file__)


def test_shapes_that_do_not_broadcast() -> None:
    a, b = dfc.zeros((2, 3)), dfc.zeros((4, 1))
    assert (
        errors(lambda: a * b) == "multiply: shapes (2, 3) and (4, 1) don't broadcast: 2 and 4 differ, and neither is 1"
    )


def test_dtypes_without_a_common_one() -> None:
    a, b = dfc.asarray(np.uint64(1)), dfc.asarray(np.int64(1))
    assert errors(lambda: a + b, InvalidType) == (
        "add: uint64 and int64 have no common dtype: no integer holds both\n  convert one of them with dfc.astype"
    )


def test_a_number_outside_the_range() -> None:
    small = dfc.asarray(np.int8(1))
    assert errors(lambda: small + 300) == "add: 300 is outside the range of int8, -128 to 127"
    assert errors(lambda: dfc.asarray(2**40)) == (
        "asarray: an integer is outside the range of int32\n  give a dtype, such as int64"
    )


def test_what_is_no_tensor() -> None:
    assert errors(lambda: dfc.asarray({1}), InvalidType) == (
        "asarray: expected a tensor, an array, a number, a string or a nested list of them, got a set"
    )
    assert errors(lambda: dfc.asarray([1, [2]])).startswith("asarray: the nested list is not an array: ")
    assert errors(lambda: dfc.zeros(2) + object(), InvalidType) == (
        "add: expected a tensor, an array, a number, a string or a nested list of them, got a object"
    )


@pytest.mark.parametrize(
    ("key", "kind", "text"),
    [
        (5, dfc.errors.OutOfRange, "getitem: index 5 is outside axis 0 of size 2"),
        ((0, 0), InvalidArgument, "getitem: 2 indices are too many for shape (2)"),
        ((..., ...), InvalidArgument, "getitem: an index can have one ... only"),
        (slice(None, None, 0), InvalidArgument, "getitem: a slice's step must not be zero"),
        ("a", InvalidType, "getitem: an index is an int, a slice, None, ... or an array, got 'a'"),
        (
            [0.0, 1.0],
            InvalidType,
            "getitem: an array of indices must be of integers or booleans, got float32",
        ),
    ],
)
def test_wrong_indices(key: Any, kind: Any, text: str) -> None:
    t = dfc.asarray([1.0, 2.0])
    assert errors(lambda: t[key], kind) == text


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: dfc.reshape([1.0, 2.0], (-1, 3)),
            "reshape: one size of -1 must follow from the others, got (2) and (-1, 3)",
        ),
        (lambda: dfc.reshape([1.0], "a"), "reshape: a size is an int or a symbolic dimension, got 'a'"),
        (lambda: dfc.squeeze(np.zeros((2, 1)), axis=0), "squeeze: axis 0 must have size 1, got float64[2, 1]"),
        (lambda: dfc.sum(np.zeros(2), axis=1), "sum: the axis must be within rank 1, got 1"),
        (lambda: dfc.sum(np.zeros((2, 2)), axis=(0, -2)), "sum: axes must be distinct, got (0, -2)"),
        (lambda: dfc.sum(np.zeros(2), axis="a"), "sum: an axis is an int, got 'a'"),
        (lambda: dfc.split(np.zeros(3), 2), "split: axis 0 of float64[3] can't be split into 2"),
        (
            lambda: dfc.stack([np.zeros(2), np.zeros(3)]),
            "stack: the shapes must be equal, got float64[2] and float64[3]",
        ),
        (lambda: dfc.concat([]), "concat: at least one tensor is needed"),
        (
            lambda: dfc.broadcast_to(np.zeros((2, 2)), (2,)),
            "broadcast_to: broadcasting can't remove axes, got (2, 2) to (2)",
        ),
        (
            lambda: dfc.pad(np.zeros(2), [(1, 2), (3, 4)]),
            "pad: pad_width must have a pair of non-negative ints for 1 axes, got [(1, 2), (3, 4)]",
        ),
        (lambda: dfc.matrix_transpose(np.zeros(2)), "matrix_transpose: at least two axes are needed, got float64[2]"),
        (
            lambda: dfc.matmul(2.0, np.zeros(2)),
            "matmul: a scalar can't be an operand, got shapes () and (2)\n  use * for scalars",
        ),
        (
            lambda: dfc.matmul(np.zeros((2, 3, 4)), np.zeros((2, 3, 4))),
            "matmul: contracting dimensions must match, got 4 and 3 of shapes (2, 3, 4) and (2, 3, 4)",
        ),
        (
            lambda: dfc.matmul(np.zeros((2, 3, 4)), np.zeros((5, 4, 3))),
            "matmul: shapes (2) and (5) don't broadcast: 2 and 5 differ, and neither is 1, in (2, 3, 4) and (5, 4, 3)",
        ),
        (
            lambda: dfc.vecdot(np.zeros(2), np.zeros(3)),
            "vecdot: sizes along axis -1 must match, got 2 and 3 of shapes (2) and (3)",
        ),
        (
            lambda: dfc.vecdot(np.zeros(2), np.zeros(2), axis=0),
            "vecdot: the axis must be negative and within both ranks, got 0",
        ),
        (lambda: dfc.tensordot(np.zeros(2), np.zeros(2), axes=2), "tensordot: axes must be within both ranks, got 2"),
        (lambda: dfc.full((-1,), 0), "full: sizes must not be negative, got (-1,)"),
        (lambda: dfc.arange(0, 3, 0), "arange: the step must not be zero"),
        (lambda: dfc.arange("a"), "arange: start, stop and step are Python numbers, got 'a'"),
        (lambda: dfc.zeros((symbol("b"),)), "full: outside a trace sizes must be ints, got (b,)"),
        (lambda: dfc.var(np.zeros(2, np.complex64)), "var: the dtype must be real, got complex64"),
        (lambda: dfc.one_hot(np.zeros(2), 3), "one_hot: indices must be integers, got float64"),
        (
            lambda: dfc.logical_and(1, 2),
            "logical_and: the operands must be bool, got int32\n"
            "  compare with zero first, or use dfc.bitwise_and and its like on integers",
        ),
        (
            lambda: dfc.nn.sparse_softmax_cross_entropy([1.0], [[1.0, 2.0]]),
            "sparse_softmax_cross_entropy: labels must be integers, got float32[1] and float32[1, 2]",
        ),
        (
            lambda: dfc.nn.sparse_softmax_cross_entropy([1, 2], [[1.0, 2.0]]),
            "sparse_softmax_cross_entropy: labels must have the shape of logits without the last axis, "
            "got int32[2] and float32[1, 2]",
        ),
        (
            lambda: dfc.nn.softmax_cross_entropy([1.0], [[1.0, 2.0]]),
            "softmax_cross_entropy: labels must have the shape of logits, got float32[1] and float32[1, 2]\n"
            "  integer labels go to dfc.nn.sparse_softmax_cross_entropy",
        ),
    ],
)
def test_wrong_arguments(call: Any, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        call()
    lines = str(caught.value).splitlines()
    assert lines.pop(1).startswith(f"  at {__file__}:")
    assert "\n".join(lines) == text


def test_transposes_that_are_not_there() -> None:
    with pytest.raises(InvalidArgument, match=r"T needs a matrix, got float32\[2\]"):
        _ = dfc.zeros(2).T
    assert errors(lambda: bool(dfc.zeros(2) > 0)) == (
        "bool: one element is needed, got bool[2]\n  use dfc.any or dfc.all"
    )
    assert errors(lambda: dfc.zeros(0).item()) == "item(): one element is needed, got float32[0]"
    with pytest.raises(InvalidType, match="a scalar has no len"):
        len(dfc.asarray(1.0))
    with pytest.raises(InvalidType, match="a scalar can't be iterated over"):
        iter(dfc.asarray(1.0))
    with pytest.raises(InvalidType, match=r"an index needs an integer, got float32\[\]"):
        [1][dfc.asarray(0.0)]
    with pytest.raises(InvalidType, match="can't be shared with NumPy without a copy"):
        dfc.asarray(0.0).__array__(copy=False)
    with pytest.raises(InvalidType, match=r"a default dtype is floating or a signed integer, got uint8"):
        dfc.default_dtype("uint8")


def test_indices_of_a_concrete_tensor_are_inputs_of_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(24).reshape(4, 3, 2)
    x = dfc.asarray(values)
    monkeypatch.setattr("dfc.frontend.operators.getitem", lambda x, key: pytest.fail(f"a program for {key}"))
    keys: list[Any] = [2, -4, (1, 2), (0, 1, -1), slice(1, 3), slice(-3, None), slice(5, 9), (slice(None), 0)]
    for key in keys:
        found = x[key]
        assert found.dtype is x.dtype and found.shape == values[key].shape
        np.testing.assert_array_equal(found.numpy(), values[key])
    for row, expected in zip(x, values, strict=True):
        np.testing.assert_array_equal(row.numpy(), expected)


def test_a_tensor_is_not_changed_in_place() -> None:
    x: Any = dfc.asarray([1.0, 2.0])

    def assign(key: Any, value: Any) -> None:
        x[key] = value

    text = "setitem: a tensor can't be changed in place\n  x.at[{}].set({}) gives a new tensor"
    assert error_of(InvalidType, lambda: assign(0, 1), __file__) == text.format(0, 1)
    assert error_of(InvalidType, lambda: assign(slice(1), x[:1]), __file__) == text.format("key", "values")
    assert x.numpy().tolist() == [1, 2]
