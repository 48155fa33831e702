"""The public operations against NumPy: in a trace, all of a family in one program, and outside a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc.errors import InvalidArgument

random = np.random.default_rng(0)
A = random.normal(0, 2, (3, 4)).astype(np.float32)
B = random.normal(0, 2, (3, 4)).astype(np.float32)
P = np.abs(A) + np.float32(0.1)
ROW = random.normal(0, 1, 4).astype(np.float32)
K = np.array([[-7, 7, 3, 0], [5, -5, 2, -1]], np.int32)
J = np.array([[2, -2, -2, 3], [3, 3, -3, 2]], np.int32)
U = np.array([0, 1, 200, 255], np.uint8)
BOOL, OTHER = np.array([True, False, True]), np.array([True, True, False])
ODD = np.array([np.nan, np.inf, -np.inf, -0.0, 1.5, -1.5, 2.5, -0.5], np.float32)
CUBE = random.normal(0, 1, (2, 3, 4)).astype(np.float32)

Case = tuple[Callable[..., Any], Any, tuple[Any, ...]]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


ELEMENTWISE: dict[str, Case] = {
    "add": (dfc.add, A + B, (A, B)),
    "add broadcast": (lambda x, y: x + y, A + ROW, (A, ROW)),
    "radd": (lambda x: 2 + x, 2 + A, (A,)),
    "subtract": (dfc.subtract, A - B, (A, B)),
    "rsub": (lambda x: 1.0 - x, 1 - A, (A,)),
    "multiply": (dfc.multiply, A * B, (A, B)),
    "divide": (dfc.divide, A / B, (A, B)),
    "divide ints": (dfc.divide, (K / J).astype(np.float32), (K, J)),
    "rtruediv": (lambda x: 1.0 / x, 1 / A, (A,)),
    "floor_divide": (dfc.floor_divide, np.floor_divide(A, B), (A, B)),
    "floor_divide ints": (lambda x, y: x // y, K // J, (K, J)),
    "floor_divide tenth": (lambda x: x // 0.1, np.floor_divide(np.float32(6.0), np.float32(0.1)), (np.float32(6.0),)),
    "floor_divide uints": (lambda x: x // 7, U // np.uint8(7), (U,)),
    "remainder": (dfc.remainder, np.remainder(A, B), (A, B)),
    "floor_divide ints by zero": (dfc.floor_divide, np.int32([-1, -1, -1]), (np.int32([-2, 0, 2]), np.int32([0] * 3))),
    "floor_divide uints by zero": (dfc.floor_divide, np.uint8([255, 255]), (np.uint8([0, 2]), np.uint8([0, 0]))),
    "remainder ints by zero": (dfc.remainder, np.int32([-2, 0, 2]), (np.int32([-2, 0, 2]), np.int32([0] * 3))),
    "remainder ints": (lambda x, y: x % y, K % J, (K, J)),
    "remainder uints": (lambda x: x % 7, U % np.uint8(7), (U,)),
    "pow": (dfc.pow, P**B, (P, B)),
    "pow 2": (lambda x: x**2, A * A, (A,)),
    "pow 3": (lambda x: x**3, A**3, (A,)),
    "rpow": (lambda x: 2.0**x, np.float32(2) ** A, (A,)),
    "maximum": (dfc.maximum, np.maximum(A, B), (A, B)),
    "minimum": (dfc.minimum, np.minimum(A, B), (A, B)),
    "atan2": (dfc.atan2, np.arctan2(A, B), (A, B)),
    "negative": (lambda x: -x, -A, (A,)),
    "negative uints": (dfc.negative, -U, (U,)),
    "positive": (lambda x: +x, A, (A,)),
    "abs": (abs, np.abs(A), (A,)),
    "abs uints": (dfc.abs, U, (U,)),
    "sign": (dfc.sign, np.sign(K), (K,)),
    "sign uints": (dfc.sign, np.sign(U), (U,)),
    "exp": (dfc.exp, np.exp(A), (A,)),
    "exp ints": (dfc.exp, np.exp(K.astype(np.float32)), (K,)),
    "expm1": (dfc.expm1, np.expm1(A), (A,)),
    "log": (dfc.log, np.log(P), (P,)),
    "log1p": (dfc.log1p, np.log1p(P), (P,)),
    "sqrt": (dfc.sqrt, np.sqrt(P), (P,)),
    "rsqrt": (dfc.rsqrt, 1 / np.sqrt(P), (P,)),
    "square": (dfc.square, A * A, (A,)),
    "sin": (dfc.sin, np.sin(A), (A,)),
    "cos": (dfc.cos, np.cos(A), (A,)),
    "tan": (dfc.tan, np.tan(A), (A,)),
    "tanh": (dfc.tanh, np.tanh(A), (A,)),
    "sigmoid": (dfc.sigmoid, sigmoid(A), (A,)),
    "floor": (dfc.floor, np.floor(ODD), (ODD,)),
    "floor ints": (dfc.floor, K, (K,)),
    "ceil": (dfc.ceil, np.ceil(ODD), (ODD,)),
    "round": (dfc.round, np.round(ODD), (ODD,)),
    "trunc": (dfc.trunc, np.trunc(ODD), (ODD,)),
    "isfinite": (dfc.isfinite, np.isfinite(ODD), (ODD,)),
    "isfinite ints": (dfc.isfinite, np.isfinite(K), (K,)),
    "isnan": (dfc.isnan, np.isnan(ODD), (ODD,)),
    "isinf": (dfc.isinf, np.isinf(ODD), (ODD,)),
    "isinf ints": (dfc.isinf, np.isinf(K), (K,)),
    "logical_and": (dfc.logical_and, BOOL & OTHER, (BOOL, OTHER)),
    "logical_or": (dfc.logical_or, BOOL | OTHER, (BOOL, OTHER)),
    "logical_xor": (dfc.logical_xor, BOOL ^ OTHER, (BOOL, OTHER)),
    "logical_not": (dfc.logical_not, ~BOOL, (BOOL,)),
    "and": (lambda x, y: x & y, K & J, (K, J)),
    "or": (lambda x, y: x | y, K | J, (K, J)),
    "xor": (lambda x, y: x ^ y, K ^ J, (K, J)),
    "invert": (lambda x: ~x, ~K, (K,)),
    "equal": (lambda x, y: x == y, K == J, (K, J)),
    "not_equal": (lambda x, y: x != y, K != J, (K, J)),
    "less": (lambda x, y: x < y, A < B, (A, B)),
    "less_equal": (lambda x: x <= 0, K <= 0, (K,)),
    "greater": (lambda x: x > 0, K > 0, (K,)),
    "greater_equal": (lambda x, y: x >= y, A >= B, (A, B)),
    "where": (lambda x, y: dfc.where(x > 0, x, y), np.where(A > 0, A, B), (A, B)),
    "where broadcast": (
        lambda c, y: dfc.where(c, 0, y),
        np.where(BOOL[:, None], np.float32(0), ROW),
        (BOOL[:, None], ROW),
    ),
    "astype": (lambda x: dfc.astype(x, "int32"), A.astype(np.int32), (A,)),
    "astype bool": (lambda x: dfc.astype(x, bool), K != 0, (K,)),
    "add_n": (lambda x, y: dfc.add_n([x, y, x]), A + B + A, (A, B)),
    "identity": (dfc.identity, A, (A,)),
    "stop_gradient": (dfc.stop_gradient, A, (A,)),
}

REDUCTIONS: dict[str, Case] = {
    "sum": (dfc.sum, CUBE.sum(), (CUBE,)),
    "sum axis": (lambda x: dfc.sum(x, axis=(0, -1)), CUBE.sum((0, 2)), (CUBE,)),
    "sum keepdims": (lambda x: dfc.sum(x, axis=1, keepdims=True), CUBE.sum(1, keepdims=True), (CUBE,)),
    "sum small ints": (dfc.sum, np.uint32(456), (U,)),
    "sum bools": (dfc.sum, np.int32(2), (BOOL,)),
    "sum dtype": (lambda x: dfc.sum(x, dtype="float32"), np.float32(K.sum()), (K,)),
    "sum no axes": (lambda x: dfc.sum(x, axis=()), CUBE, (CUBE,)),
    "prod": (lambda x: dfc.prod(x, axis=2), CUBE.prod(2), (CUBE,)),
    "max": (lambda x: dfc.max(x, axis=0), CUBE.max(0), (CUBE,)),
    "min": (dfc.min, CUBE.min(), (CUBE,)),
    "any": (lambda x: dfc.any(x, axis=1), np.any(K, 1), (K,)),
    "all": (lambda x: dfc.all(x, axis=1), np.all(K, 1), (K,)),
    "argmax": (lambda x: dfc.argmax(x, axis=1), CUBE.argmax(1).astype(np.int32), (CUBE,)),
    "argmax flat": (dfc.argmax, np.int32(CUBE.argmax()), (CUBE,)),
    "argmin keepdims": (
        lambda x: dfc.argmin(x, axis=-1, keepdims=True),
        CUBE.argmin(-1, keepdims=True).astype(np.int32),
        (CUBE,),
    ),
    "mean": (lambda x: dfc.mean(x, axis=(0, 1)), CUBE.mean((0, 1)), (CUBE,)),
    "mean ints": (dfc.mean, np.float32(K.mean()), (K,)),
    "var": (lambda x: dfc.var(x, axis=1), CUBE.var(1), (CUBE,)),
    "var correction": (
        lambda x: dfc.var(x, axis=2, correction=1, keepdims=True),
        CUBE.var(2, ddof=1, keepdims=True),
        (CUBE,),
    ),
    "std": (dfc.std, CUBE.std(), (CUBE,)),
    "matmul": (lambda x, y: x @ y, A @ B.T, (A, B.T.copy())),
    "matmul vectors": (dfc.matmul, ROW @ ROW, (ROW, ROW)),
    "matmul vector left": (dfc.matmul, BOOL.astype(np.float32) @ A, (BOOL.astype(np.float32), A)),
    "matmul vector right": (dfc.matmul, CUBE @ ROW, (CUBE, ROW)),
    "matmul batch": (dfc.matmul, CUBE @ CUBE.transpose(0, 2, 1), (CUBE, CUBE.transpose(0, 2, 1).copy())),
    "matmul batch broadcast": (dfc.matmul, CUBE @ A.T, (CUBE, A.T.copy())),
    "matmul broadcast left": (dfc.matmul, A @ CUBE.transpose(0, 2, 1), (A, CUBE.transpose(0, 2, 1).copy())),
    "matmul vector by batch": (dfc.matmul, ROW @ CUBE.transpose(0, 2, 1), (ROW, CUBE.transpose(0, 2, 1).copy())),
    "rmatmul": (lambda x: A @ x, A @ ROW, (ROW,)),
    "tensordot": (lambda x, y: dfc.tensordot(x, y, axes=1), np.tensordot(A, B.T, 1), (A, B.T.copy())),
    "tensordot axes": (
        lambda x, y: dfc.tensordot(x, y, axes=([2, 1], [1, 0])),
        np.tensordot(CUBE, A, ([2, 1], [1, 0])),
        (CUBE, A),
    ),
    "vecdot": (dfc.vecdot, (CUBE * A).sum(-1), (CUBE, A)),
}

SHAPES: dict[str, Case] = {
    "reshape": (lambda x: dfc.reshape(x, (4, -1)), CUBE.reshape(4, 6), (CUBE,)),
    "reshape scalar": (lambda x: dfc.reshape(x, -1), CUBE.ravel(), (CUBE,)),
    "permute_dims": (lambda x: dfc.permute_dims(x, (2, 0, -2)), CUBE.transpose(2, 0, 1), (CUBE,)),
    "mT": (lambda x: x.mT, CUBE.swapaxes(1, 2), (CUBE,)),
    "T": (lambda x: x.T, A.T, (A,)),
    "expand_dims": (lambda x: dfc.expand_dims(x, axis=(0, -1)), A[None, :, :, None], (A,)),
    "squeeze": (lambda x: dfc.squeeze(x, axis=(0, -1)), A, (A[None, :, :, None],)),
    "broadcast_to": (lambda x: dfc.broadcast_to(x, (2, 3, 4)), np.broadcast_to(ROW, (2, 3, 4)), (ROW,)),
    "concat": (lambda x, y: dfc.concat([x, y], axis=-1), np.concatenate([A, B], -1), (A, B)),
    "concat flat": (lambda x, y: dfc.concat([x, y], axis=None), np.concatenate([A, ROW], None), (A, ROW)),
    "concat promotes": (lambda x, y: dfc.concat([x, y]), np.concatenate([K[0], ROW]).astype(np.float32), (K[0], ROW)),
    "stack": (lambda x, y: dfc.stack([x, y], axis=1), np.stack([A, B], 1), (A, B)),
    "split": (lambda x: dfc.split(x, 2, axis=1)[1], A[:, 2:], (A,)),
    "split sizes": (lambda x: dfc.split(x, [1, 0, 3], axis=-1)[2], A[:, 1:], (A,)),
    "flip": (lambda x: dfc.flip(x, axis=(0, -1)), np.flip(A), (A,)),
    "pad": (
        lambda x: dfc.pad(x, [(1, 0), (0, 2)], constant_values=5),
        np.pad(A, [(1, 0), (0, 2)], constant_values=5),
        (A,),
    ),
    "pad all": (lambda x: dfc.pad(x, 1), np.pad(A, 1), (A,)),
    "dim_size": (lambda x: dfc.dim_size(x, -1), np.int32(4), (A,)),
    "shape": (dfc.shape, np.array([2, 3, 4], np.int32), (CUBE,)),
    "shape of a scalar": (dfc.shape, np.zeros(0, np.int32), (np.float32(1),)),
    "getitem int": (lambda x: x[1, -1], CUBE[1, -1], (CUBE,)),
    "getitem slice": (lambda x: x[:, 1:, ::2], CUBE[:, 1:, ::2], (CUBE,)),
    "getitem past the end": (lambda x: x[5:, -9:2], A[5:, -9:2], (A,)),
    "getitem reversed": (lambda x: x[::-1, 3:0:-2], A[::-1, 3:0:-2], (A,)),
    "getitem empty": (lambda x: x[2:1], A[2:1], (A,)),
    "getitem None": (lambda x: x[None, ..., 0, None], CUBE[None, ..., 0, None], (CUBE,)),
    "getitem all": (lambda x: x[...], A, (A,)),
    "iterate": (lambda x: [row * 2 for row in x][2], A[2] * 2, (A,)),
    "one_hot": (lambda x: dfc.one_hot(x, 4), np.eye(4, dtype=np.float32)[[3, 0, 1]], (np.array([3, 0, 1]),)),
    "one_hot outside": (
        lambda x: dfc.one_hot(x, 2, on_value=5, off_value=-1, dtype="int32", axis=0),
        np.array([[-1, 5], [-1, -1]], np.int32),
        (np.array([7, 0]),),
    ),
    "zeros_like": (dfc.zeros_like, np.zeros_like(K), (K,)),
    "ones_like": (lambda x: dfc.ones_like(x, dtype="float32"), np.ones((2, 4), np.float32), (K,)),
    "full_like": (lambda x: dfc.full_like(x, 7), np.full_like(K, 7), (K,)),
    "full of a tensor": (lambda x: dfc.full((2, 2), x), np.full((2, 2), 3, np.float32), (np.float32(3),)),
    "zeros": (lambda x: x + dfc.zeros((4,)), ROW, (ROW,)),
    "arange": (lambda x: dfc.arange(1, 9, 2) * x, np.arange(1, 9, 2, dtype=np.int32) * K[0], (K[0],)),
    "arange long": (lambda x: dfc.arange(100_000)[99_999] + x, np.int32(100_002), (np.int32(3),)),
    "asarray of tensors": (
        lambda x: dfc.asarray([[x[0], 1.0], [2.0, x[1]]]),
        np.array([[ROW[0], 1], [2, ROW[1]]], np.float32),
        (ROW,),
    ),
    "list of tensors": (lambda x: dfc.add(x[:2], [x[0], 1]), ROW[:2] + np.array([ROW[0], 1], np.float32), (ROW,)),
}

CASES = {**ELEMENTWISE, **REDUCTIONS, **SHAPES}


@pytest.mark.parametrize("family", ["ELEMENTWISE", "REDUCTIONS", "SHAPES"])
def test_operations_in_a_trace_equal_numpy(family: str) -> None:
    cases: dict[str, Case] = globals()[family]

    @dfc.function
    def every(inputs: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
        return {name: call(*inputs[name]) for name, (call, _, _) in cases.items()}

    results = every({name: operands for name, (_, _, operands) in cases.items()})
    for name, (_, expected, _) in cases.items():
        _agree(name, results[name], expected)


@pytest.mark.parametrize(
    "name",
    [
        "add",
        "radd",
        "rtruediv",
        "floor_divide ints",
        "pow 2",
        "abs",
        "where",
        "add_n",
        "argmax",
        "sum axis",
        "matmul",
        "split sizes",
        "getitem reversed",
        "concat promotes",
        "one_hot",
        "arange",
        "zeros",
        "list of tensors",
    ],
)
def test_operations_outside_a_trace_equal_numpy(name: str) -> None:
    call, expected, operands = CASES[name]
    _agree(name, call(*map(dfc.asarray, operands)), expected)


def _agree(name: str, result: Any, expected: Any) -> None:
    value, expected = result.numpy(), np.asarray(expected)
    assert (value.dtype, value.shape) == (expected.dtype, expected.shape), name
    if expected.dtype.kind == "f":
        assert_allclose(value, expected, rtol=2e-5, atol=2e-6, err_msg=name)
    else:
        assert_array_equal(value, expected, err_msg=name)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("int8", "int32", "int32"),
        ("uint8", "int8", "int16"),
        ("uint32", "int32", "int64"),
        ("uint8", "uint16", "uint16"),
        ("float16", "bfloat16", "float32"),
        ("bfloat16", "float32", "float32"),
        ("float32", "float64", "float64"),
        ("float64", "complex64", "complex128"),
        ("float32", "complex64", "complex64"),
        ("int64", "float16", "float16"),
        ("bool", "int8", "int8"),
        ("bool", "float32", "float32"),
    ],
)
def test_dtypes_of_tensors_meet(a: str, b: str, expected: str) -> None:
    assert dfc.result_type(getattr(dfc, a, dfc.bool_), b) == expected
    assert dfc.result_type(b, dfc.asarray(0, dtype=a)) == expected


@pytest.mark.parametrize(
    ("tensor", "number", "expected"),
    [
        ("float16", 2.5, "float16"),
        ("bfloat16", 2, "bfloat16"),
        ("int8", 2, "int8"),
        ("int8", 2.5, "float32"),
        ("bool", 2, "int32"),
        ("bool", True, "bool"),
        ("float64", 1j, "complex128"),
        ("float32", 1j, "complex64"),
        ("int32", 1j, "complex64"),
        ("float32", np.float64(2), "float64"),
    ],
)
def test_python_numbers_are_weak_and_numpys_are_not(tensor: str, number: Any, expected: str) -> None:
    assert dfc.result_type(dfc.asarray(1, dtype=tensor), number) == expected


def test_default_dtype_changes_what_python_numbers_become() -> None:
    with dfc.default_dtype("float64"), dfc.default_dtype("int64"):
        assert dfc.asarray([1.0]).dtype == "float64"
        assert dfc.asarray([1]).dtype == "int64"
        assert dfc.zeros(2).dtype == "float64"
        assert dfc.asarray(1j).dtype == "complex128"
    assert dfc.asarray([1.0]).dtype == "float32"
    with dfc.default_dtype(dfc.bfloat16):
        assert dfc.asarray(1.0).dtype == "bfloat16"


def test_sixteen_bit_floats_keep_their_dtype_and_mean_sums_in_float32() -> None:
    x = dfc.asarray(np.full(70_000, 2.0, np.float16))
    assert dfc.mean(x).dtype == "float16"
    assert dfc.mean(x).item() == 2.0
    y = dfc.asarray(np.array([1.0, 3.0], ml_dtypes.bfloat16))
    assert (y * 2 + 1).dtype == "bfloat16"
    assert_array_equal((y * 2 + 1).numpy(), np.array([3, 7], ml_dtypes.bfloat16))
    assert (y + x[:2]).dtype == "float32"


def test_creation_outside_a_trace() -> None:
    assert_array_equal(dfc.full((2, 3), 7).numpy(), np.full((2, 3), 7, np.int32))
    assert_array_equal(dfc.ones(2, dtype="int8").numpy(), np.ones(2, np.int8))
    assert_array_equal(dfc.arange(3).numpy(), np.arange(3, dtype=np.int32))
    assert_allclose(dfc.arange(0, 1, 0.25).numpy(), np.arange(0, 1, 0.25, dtype=np.float32))
    assert_array_equal(dfc.asarray([[1, 2], [3, 4]]).numpy(), np.array([[1, 2], [3, 4]], np.int32))
    assert_array_equal(dfc.asarray([1.7, -1.2], dtype="int32").numpy(), np.array([1, -1], np.int32))
    assert dfc.asarray(np.zeros(2)).dtype == "float64"
    two = dfc.asarray(2.0)
    assert dfc.asarray(two) is two
    assert_array_equal(dfc.asarray([two, two]).numpy(), np.array([2, 2], np.float32))


def test_negative_zero_and_zero_are_different_constants() -> None:
    @dfc.function
    def f(x: dfc.Tensor) -> tuple[dfc.Tensor, dfc.Tensor]:
        return x / 0.0, x / -0.0

    assert [r.item() for r in f(np.float32(1))] == [np.inf, -np.inf]
    one = dfc.asarray(1.0)
    assert [(one / 0.0).item(), (one / -0.0).item()] == [np.inf, -np.inf]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x: dfc.sum(x, axis=np.int64(0)), [4.0, 6.0]),
        (lambda x: dfc.sum(x, axis=(np.int8(-1),)), [3.0, 7.0]),
        (lambda x: dfc.reshape(x, (np.int64(1), -1)), [[1.0, 2.0, 3.0, 4.0]]),
        (lambda x: dfc.reshape(x, np.int64(4)), [1.0, 2.0, 3.0, 4.0]),
        (lambda x: dfc.squeeze(dfc.expand_dims(x, axis=np.int32(1)), np.int64(1)), [[1.0, 2.0], [3.0, 4.0]]),
        (lambda x: dfc.split(x, np.int64(2))[1], [[3.0, 4.0]]),
        (lambda x: dfc.dim_size(x, np.int64(1)), 2),
        (lambda x: dfc.full((np.int64(2),), np.float64(1.5)), [1.5, 1.5]),
        (lambda x: x[np.int64(1), np.int32(-1)], 4.0),
    ],
)
@pytest.mark.parametrize("traced", [False, True])
def test_numpy_integers_are_axes_sizes_and_indices(call: Any, expected: Any, traced: bool) -> None:
    x = dfc.asarray([[1.0, 2.0], [3.0, 4.0]])
    assert (dfc.function(call) if traced else call)(x).numpy().tolist() == expected


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: x * 10**400, "multiply: an integer of 1329 bits is outside the range of float32"),
        (lambda x: dfc.sum(x, axis=1.0), "sum: an axis is an int, got 1.0"),
        (lambda x: dfc.sum(x, axis=True), "sum: an axis is an int, got True"),
        (lambda x: dfc.zeros(1.5), "zeros: a size is an int or a symbolic dimension, got 1.5"),
        (lambda x: dfc.full((2,), [1, 2]), "full: fill_value must be a number or a scalar tensor, got [1, 2]"),
        (
            lambda x: dfc.asarray(2**70),
            "asarray: an integer is outside the range of int32\n  floats can be larger",
        ),
    ],
)
def test_what_is_no_axis_no_size_and_no_number_of_the_dtype(call: Any, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        call(dfc.asarray([1.0]))
    lines = str(caught.value).splitlines()
    assert lines.pop(1).startswith(f"  at {__file__}:")
    assert "\n".join(lines) == text
