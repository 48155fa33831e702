"""What a lit test can't show: bits of special values, limits, positions, counts, and that one walk reaches the end."""

from __future__ import annotations

import random
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from dfc.backends import reference
from dfc.ir.attributes import Array
from dfc.ir.dtypes import as_dtype
from dfc.ir.locations import describe, file_location
from dfc.ir.op import Op
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.elementwise import Add, AddN, Convert, Divide, Exponential, Identity, Multiply, Negate, Not, Subtract
from dfc.ir.ops.function import Func
from dfc.ir.ops.shape import BroadcastInDim, Concatenate, Pad, Reshape, Reverse, Slice, Transpose
from dfc.passes.canonicalize import canonicalize
from dfc.passes.folding import FOLD_LIMIT
from dfc.passes.manager import parse_pipeline, run
from tests.programs import Trace, random_program

NDArray = np.ndarray[Any, Any]


def ops(program: ModuleOp) -> list[str]:
    (func,) = (op for op in program.ops if isinstance(op, Func))
    return [op.name.removeprefix("df.") for op in func.block.ops][:-1]


def constant(program: ModuleOp) -> NDArray:
    """The value of the program's only op, a constant."""
    (func,) = (op for op in program.ops if isinstance(op, Func))
    op = func.block.first_op
    assert isinstance(op, ConstantOp), ops(program)
    return op.value.data.value


SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, 3.5]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "uint32", "complex64"])
@pytest.mark.parametrize("op", [Add, Subtract, Multiply, Divide])
@pytest.mark.parametrize("number", [0.0, -0.0, 1.0])
@pytest.mark.parametrize("side", ["left", "right"])
def test_no_identity_changes_a_bit(op: type[Op], number: float, side: str, dtype: str) -> None:
    if dtype == "uint32" and number < 0:
        pytest.skip("no negative numbers")
    numpy = as_dtype(dtype).numpy
    with np.errstate(all="ignore"):
        values = np.array([1, 0, 7, 255 if dtype == "uint32" else -8, 100] if "int" in dtype else SPECIAL).astype(numpy)
    trace = Trace({"x": (values.shape, dtype)})
    known = trace(BroadcastInDim, trace.constant(number, dtype), shape=values.shape, dims=())
    operands = (known, trace.inputs[0]) if side == "left" else (trace.inputs[0], known)
    program = trace.finish([trace(op, *operands)])
    (before,), _ = reference.run(program, [values])
    canonicalize(program)
    (after,), _ = reference.run(program, [values])
    nan = before != before
    assert np.array_equal(nan, after != after)
    assert before[~nan].tobytes() == after[~nan].tobytes()


@pytest.mark.parametrize(
    ("op", "number", "gone"),
    [(Add, -0.0, True), (Add, 0.0, False), (Subtract, 0.0, True), (Subtract, -0.0, False), (Multiply, 1.0, True)],
)
def test_neutral_elements_of_bfloat16(op: type[Op], number: float, gone: bool) -> None:
    trace = Trace({"x": ((), "bfloat16")})
    program = trace.finish([trace(op, trace.inputs[0], trace.constant(number, "bfloat16"))])
    assert canonicalize(program)["simplified"] == gone
    assert bool(ops(program)) is not gone


def test_complex_times_one_stays() -> None:
    """(inf + 0i)(1 + 0i) has a NaN part: inf * 0."""
    trace = Trace({"x": ((), "complex64")})
    program = trace.finish([trace(Multiply, trace.inputs[0], trace.constant(1.0, "complex64"))])
    assert canonicalize(program) == {"folded": 0, "simplified": 0, "erased": 0}


# ---- folding


def test_a_fold_is_the_ops_meaning_at_its_position() -> None:
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    trace = Trace({})
    trace.at(3)
    value = trace(Exponential, trace.constant(x, "float32"))
    trace.at(4)
    program = trace.finish([trace(Transpose, value, permutation=(1, 0))])
    assert canonicalize(program) == {"folded": 2, "simplified": 0, "erased": 2}
    assert np.array_equal(constant(program), np.exp(x).T)
    assert constant(program).flags.c_contiguous
    (func,) = (op for op in program.ops if isinstance(op, Func))
    assert describe(next(iter(func.block.ops)).location) == "model.py:4:1"


@pytest.mark.parametrize(("elements", "folds"), [(FOLD_LIMIT, True), (FOLD_LIMIT + 1, False)])
def test_large_results_stay_ops(elements: int, folds: bool) -> None:
    trace = Trace({})
    program = trace.finish([trace(Negate, trace.constant(np.arange(elements), "int32"))])
    assert canonicalize(program)["folded"] == folds


def test_the_limit_is_an_option() -> None:
    trace = Trace({})
    program = trace.finish([trace(Negate, trace.constant(np.arange(10), "int32"))])
    run(program, parse_pipeline("canonicalize{limit=9}"))
    assert ops(program) == ["constant", "negate"]
    run(program, parse_pipeline("canonicalize{limit=10}"))
    assert ops(program) == ["constant"]


def test_data_does_not_grow_by_much() -> None:
    """An outer sum of 100 and 100 elements has 10,000: kept as it is. Of 8 and 8 it has 64: folded."""
    for n, folds in ((100, False), (8, True)):
        trace = Trace({})
        a, b = (trace.constant(np.arange(n) + i, "int32") for i in range(2))
        rows = trace(BroadcastInDim, a, shape=(n, n), dims=(0,))
        columns = trace(BroadcastInDim, b, shape=(n, n), dims=(1,))
        program = trace.finish([trace(Add, rows, columns)])
        canonicalize(program)
        assert (ops(program) == ["constant"]) is folds
        if folds:
            assert np.array_equal(constant(program), np.add.outer(np.arange(8), np.arange(8) + 1))


def test_an_elided_constant_is_left_alone() -> None:
    trace = Trace({})
    unknown = trace(ConstantOp, value=Array(None, as_dtype("int32"), (3,), "00" * 16))
    program = trace.finish([trace(Add, unknown, unknown)])
    assert canonicalize(program) == {"folded": 0, "simplified": 0, "erased": 0}


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_folds_keep_narrow_dtypes(dtype: Any) -> None:
    trace = Trace({})
    name = as_dtype(dtype).name
    program = trace.finish([trace(Divide, trace.constant(1, name), trace.constant(3, name))])
    canonicalize(program)
    assert constant(program).dtype == dtype
    assert constant(program) == dtype(1) / dtype(3)


def test_signed_zeros_and_nans_survive_folding() -> None:
    trace = Trace({})
    values = np.array([-0.0, np.nan, np.inf], np.float32)
    program = trace.finish([trace(Negate, trace(Negate, trace.constant(values, "float32")))])
    canonicalize(program)
    assert constant(program)[[0, 2]].tobytes() == values[[0, 2]].tobytes()
    assert np.isnan(constant(program)[1])


# ---- one walk


def test_a_chain_of_identities_goes_in_one_run() -> None:
    trace = Trace({"x": ((2, 3), "float32")})
    value = trace.inputs[0]
    for _ in range(50):
        value = trace(Reshape, trace(Identity, value), shape=(3, 2))
        value = trace(Transpose, value, permutation=(1, 0))
        value = trace(Transpose, trace(Convert, value, dtype=as_dtype("float32")), permutation=(1, 0))
        value = trace(Reshape, trace(AddN, value), shape=(2, 3))
    program = trace.finish([value])
    canonicalize(program)
    assert ops(program) == []
    assert canonicalize(program) == {"folded": 0, "simplified": 0, "erased": 0}


def test_a_removed_op_leaves_its_line() -> None:
    trace = Trace({"x": ((), "bool")})
    trace.at(10)
    inner = trace(Not, trace.inputs[0])
    trace.at(11)
    program = trace.finish([trace(Identity, inner)])
    canonicalize(program)
    (func,) = (op for op in program.ops if isinstance(op, Func))
    (kept, _) = func.block.ops
    lines = [file_location("model.py", n, 1) for n in (10, 11)]
    assert list(kept.location.locations.data) == lines  # type: ignore[attr-defined]


def moved(trace: Trace, x: SSAValue, choose: random.Random) -> SSAValue:
    """x through one random op on shapes; many do nothing."""
    shape = tuple(x.type.get_shape())  # type: ignore[attr-defined]
    rank = len(shape)
    kind = choose.randrange(7)
    if kind == 0:
        return trace(Transpose, x, permutation=tuple(choose.sample(range(rank), rank)))
    if kind == 1:
        return trace(Reshape, x, shape=tuple(choose.sample(shape, rank)))
    if kind == 2 and rank < 4:
        where = choose.randrange(rank + 1)
        dims = tuple(i for i in range(rank + 1) if i != where)
        return trace(BroadcastInDim, x, shape=(*shape[:where], choose.randrange(1, 3), *shape[where:]), dims=dims)
    if kind == 3 and rank:
        limits = tuple(n - choose.randrange(2) * (n > 1) for n in shape)
        return trace(Slice, x, starts=(0,) * rank, limits=limits, strides=(1,) * rank)
    if kind == 4:
        low = tuple(choose.randrange(2) for _ in shape)
        zero = trace.constant(0.0, "float32")
        return trace(Pad, x, zero, low=low, high=(0,) * rank, interior=(0,) * rank)
    if kind == 5 and rank:
        return trace(Reverse, x, axes=tuple(a for a in range(rank) if choose.randrange(2)))
    return trace(Concatenate, x, axis=0) if rank else trace(Negate, x)


@pytest.mark.parametrize("seed", range(60))
def test_random_shape_programs_keep_their_values(seed: int) -> None:
    choose = random.Random(seed)
    trace = Trace({"x": ((2, 3), "float32")})
    values = [
        trace.inputs[0],
        trace(BroadcastInDim, trace.constant(2.0, "float32"), shape=(2, 3), dims=()),
        trace.constant(np.arange(6).reshape(2, 3), "float32"),
    ]
    outputs = []
    for value in values:
        for _ in range(choose.randrange(8)):
            value = moved(trace, value, choose)
        outputs.append(value)
    program = trace.finish(outputs)
    x = np.array([[-0.0, 1, np.inf], [np.nan, -2, 5]], np.float32)
    before, _ = reference.run(program, [x])
    canonicalize(program)
    program.verify()
    after, _ = reference.run(program, [x])
    for a, b in zip(before, after, strict=True):
        assert np.array_equal(np.signbit(a), np.signbit(b))
        np.testing.assert_array_equal(a, b)
    assert canonicalize(program) == {"folded": 0, "simplified": 0, "erased": 0}


@pytest.mark.parametrize("seed", range(8))
def test_a_second_run_finds_nothing(seed: int) -> None:
    """What lets the manager leave out a run since which nothing has changed."""
    made = random_program(random.Random(seed).randrange, n_ops=40, smooth=False)
    program = made.trace.finish(made.outputs, made.tokens)
    canonicalize(program)
    assert not any(canonicalize(program).values())
