"""What the batch analysis proves, and on random functions that what it proves is so."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from dfc.backends import reference
from dfc.ir.dims import symbol
from dfc.ir.dtypes import as_dtype
from dfc.ir.ops.complex import Imag
from dfc.ir.ops.elementwise import Add, Convert, Identity, Maximum, Select, Tanh
from dfc.ir.ops.factorization import Qr
from dfc.ir.ops.fft import Rfft
from dfc.ir.ops.function import Call, Func
from dfc.ir.ops.indexing import GatherNd, Take, TakeAlongAxis
from dfc.ir.ops.linalg import DotGeneral
from dfc.ir.ops.reduction import ArgMax, ReduceMax, ReduceSum
from dfc.ir.ops.shape import (
    BroadcastInDim,
    Concatenate,
    DimSize,
    Iota,
    Pad,
    Reshape,
    Reverse,
    Slice,
    Transpose,
)
from dfc.ir.ops.state import Assign, AssignAdd, Read
from dfc.ir.types import spec_of
from dfc.passes.batch import BatchResult, rows_independent
from tests.programs import Trace

B = symbol("b")
F32 = as_dtype("float32")
I32 = as_dtype("int32")
MATMUL = {"lhs_batch": (), "rhs_batch": (), "lhs_contracting": (1,), "rhs_contracting": (0,)}


def func_of(program: ModuleOp) -> Func:
    (func,) = (op for op in program.ops if isinstance(op, Func))
    return func


def analyse(make: Callable[[Trace, SSAValue], SSAValue], shape: tuple[Any, ...] = (B, 4)) -> BatchResult:
    """The analysis of `make` on one input x of this shape; the op of interest stands on line 9."""
    trace = Trace({"x": (shape, "float32")})
    trace.at(9)
    return rows_independent(func_of(trace.finish([make(trace, trace.inputs[0])])))


def table(t: Trace) -> SSAValue:
    return t.constant(np.ones((7, 6)), "float32")


def whole(t: Trace, x: SSAValue) -> SSAValue:
    return t(Convert, x, dtype=I32)


def turned(t: Trace, x: SSAValue) -> SSAValue:
    return t(Transpose, x, permutation=(1, 0))


def zero(t: Trace) -> SSAValue:
    return t.constant(0.0, "float32")


@pytest.mark.parametrize(
    ("make", "axis"),
    [
        pytest.param(lambda t, x: t(Tanh, x), 0, id="elementwise"),
        pytest.param(lambda t, x: t(Add, x, t(BroadcastInDim, zero(t), shape=(B, 4), dims=())), 0, id="broadcast"),
        pytest.param(lambda t, x: t(DotGeneral, x, t.constant(np.ones((4, 5)), "float32"), **MATMUL), 0, id="x @ w"),
        pytest.param(
            lambda t, x: t(
                DotGeneral, t.constant(np.ones((5, 4)), "float32"), t(Transpose, x, permutation=(1, 0)), **MATMUL
            ),
            1,
            id="w @ x.T",
        ),
        pytest.param(
            lambda t, x: t(
                DotGeneral, x, x, lhs_batch=(0,), rhs_batch=(0,), lhs_contracting=(1,), rhs_contracting=(1,)
            ),
            0,
            id="row by row",
        ),
        pytest.param(lambda t, x: t(ReduceSum, x, axes=(1,)), 0, id="reduce"),
        pytest.param(lambda t, x: t(ReduceMax, t(Transpose, x, permutation=(1, 0)), axes=(0,)), 0, id="reduce before"),
        pytest.param(lambda t, x: t(ArgMax, x, axis=1, dtype=I32), 0, id="argmax"),
        pytest.param(lambda t, x: t(Transpose, x, permutation=(1, 0)), 1, id="transpose"),
        pytest.param(lambda t, x: t(Reshape, x, shape=(B, 2, 2)), 0, id="reshape"),
        pytest.param(lambda t, x: t(Reshape, x, shape=(1, B, 4)), 1, id="new axis"),
        pytest.param(lambda t, x: t(BroadcastInDim, x, shape=(3, B, 4), dims=(1, 2)), 1, id="repeat"),
        pytest.param(lambda t, x: t(Concatenate, x, x, axis=1), 0, id="concatenate"),
        pytest.param(lambda t, x: t(Slice, x, starts=(0, 1), limits=(B, 3), strides=(1, 1)), 0, id="slice"),
        pytest.param(lambda t, x: t(Pad, x, zero(t), low=(0, 1), high=(0, 0), interior=(0, 2)), 0, id="pad"),
        pytest.param(lambda t, x: t(Reverse, x, axes=(1,)), 0, id="reverse"),
        pytest.param(lambda t, x: t(Add, x, t(Iota, shape=(B, 4), dtype=F32, axis=1)), 0, id="iota"),
        pytest.param(lambda t, x: t(Take, table(t), whole(t, x), axis=0), 0, id="rows of a table"),
        pytest.param(lambda t, x: t(Take, table(t), whole(t, x), axis=1), 1, id="columns of a table"),
        pytest.param(lambda t, x: t(Take, x, t.constant([[1, 0]], "int32"), axis=1), 0, id="take behind the batch"),
        pytest.param(lambda t, x: t(Take, turned(t, x), t.constant([[1]], "int32"), axis=0), 2, id="take before it"),
        pytest.param(lambda t, x: t(GatherNd, t.constant(np.ones((2,) * 4)), whole(t, x)), 0, id="gather_nd"),
        pytest.param(lambda t, x: t(TakeAlongAxis, x, whole(t, x), axis=1), 0, id="take_along_axis"),
        pytest.param(lambda t, x: t(Qr, t(Reshape, x, shape=(B, 2, 2))), 0, id="matrices"),
        pytest.param(lambda t, x: t(Imag, t(Rfft, x, lengths=(4,))), 0, id="signals"),
        pytest.param(lambda t, x: t(DimSize, x, axis=1), None, id="static size"),
        pytest.param(lambda t, x: zero(t), None, id="constant"),
    ],
)
def test_rows_stay_rows(make: Callable[[Trace, SSAValue], SSAValue], axis: int | None) -> None:
    assert analyse(make) == BatchResult(True, "b", (0,), (axis,))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda t, x: t(ReduceSum, x, axes=(0,)), "reduce_sum at model.py:9:1: it reduces the batch"),
        (
            lambda t, x: t(Take, x, t.constant([0], "int32"), axis=0),
            "take at model.py:9:1: it picks rows of the batch by index",
        ),
        (lambda t, x: t(Take, x, whole(t, x), axis=1), "take at model.py:9:1: it pairs each row with every other one"),
        (
            lambda t, x: t(GatherNd, x, t.constant([[0]], "int32")),
            "gather_nd at model.py:9:1: it picks from the batch by index",
        ),
        (
            lambda t, x: t(TakeAlongAxis, x, whole(t, x), axis=0),
            "take_along_axis at model.py:9:1: it picks from the batch by index",
        ),
        (lambda t, x: t(ArgMax, x, axis=0, dtype=I32), "argmax at model.py:9:1: it searches along the batch"),
        (
            lambda t, x: t(DotGeneral, x, x, lhs_batch=(), rhs_batch=(), lhs_contracting=(0,), rhs_contracting=(0,)),
            "dot_general at model.py:9:1: it sums over the batch",
        ),
        (
            lambda t, x: t(DotGeneral, x, x, lhs_batch=(), rhs_batch=(), lhs_contracting=(1,), rhs_contracting=(1,)),
            "dot_general at model.py:9:1: it pairs each row with every other one",
        ),
        (lambda t, x: t(Reverse, x, axes=(0, 1)), "reverse at model.py:9:1: it reverses the batch"),
        (lambda t, x: t(Concatenate, x, x, axis=0), "concatenate at model.py:9:1: it joins along the batch"),
        (
            lambda t, x: t(Slice, x, starts=(0, 0), limits=(B - 1, 4), strides=(1, 1)),
            "slice at model.py:9:1: it takes some rows of the batch",
        ),
        (
            lambda t, x: t(Pad, x, zero(t), low=(1, 0), high=(0, 0), interior=(0, 0)),
            "pad at model.py:9:1: it pads the batch",
        ),
        (
            lambda t, x: t(Pad, zero_vector(t), zero(t), low=(0,), high=(B,), interior=(0,)),
            "pad at model.py:9:1: its amounts depend on the batch's size",
        ),
        (
            lambda t, x: t(Slice, t.constant(np.ones(9), "float32"), starts=(B,), limits=(B + 1,), strides=(1,)),
            "slice at model.py:9:1: its bounds depend on the batch's size",
        ),
        (
            lambda t, x: t(Reshape, x, shape=(4 * B,)),
            "reshape at model.py:9:1: the new shape doesn't keep the batch as an axis",
        ),
        (
            lambda t, x: t(Reshape, x, shape=(4, B)),
            "reshape at model.py:9:1: the new shape doesn't keep the batch as an axis",
        ),
        (lambda t, x: t(DimSize, x, axis=0), "dim_size at model.py:9:1: it gives the batch's size"),
        (
            lambda t, x: t(Iota, shape=(B, 4), dtype=F32, axis=0),
            "iota at model.py:9:1: it numbers the rows of the batch",
        ),
        (
            lambda t, x: t(BroadcastInDim, zero(t), shape=(B, B), dims=()),
            "broadcast_in_dim at model.py:9:1: the result has the batch's size on several axes",
        ),
        (
            lambda t, x: t(BroadcastInDim, x, shape=(B, B, 4), dims=(1, 2)),
            "broadcast_in_dim at model.py:9:1: "
            "the result float32[b, b, 4] has b elsewhere than on the axis of its rows",
        ),
        (
            lambda t, x: t.op(Call, x, callee="g", results=(spec_of(x.type),), stateful=False).results[0],
            "call at model.py:9:1: no rule says what it does to rows",
        ),
    ],
)
def test_what_mixes_rows_is_named(make: Callable[[Trace, SSAValue], SSAValue], reason: str) -> None:
    result = analyse(make)
    assert (result.independent, result.reason) == (False, reason)


def zero_vector(t: Trace) -> SSAValue:
    return t.constant([0.0, 1.0], "float32")


def test_the_first_cause_is_named() -> None:
    """A mean over the batch, subtracted from each row, on line 9; what follows isn't to blame."""

    def centred(t: Trace, x: SSAValue) -> SSAValue:
        total = t(ReduceSum, x, axes=(0,))
        t.at(10)
        return t(Tanh, t(Add, x, t(BroadcastInDim, total, shape=(B, 4), dims=(1,))))

    assert analyse(centred).reason == "reduce_sum at model.py:9:1: it reduces the batch"


def test_what_no_output_needs_does_not_count() -> None:
    def unused(t: Trace, x: SSAValue) -> SSAValue:
        t(ReduceSum, x, axes=(0,))
        return t(Tanh, x)

    assert analyse(unused).independent


@pytest.mark.parametrize(
    ("inputs", "symbol_name", "reason"),
    [
        ({"x": ((3, 4), "float32")}, None, "inputs must share one symbolic leading dimension, got none"),
        (
            {"x": ((B, 4), "float32"), "y": ((symbol("n"),), "float32")},
            None,
            "inputs must share one symbolic leading dimension, got 2: b, n",
        ),
        (
            {"x": ((B, 4), "float32"), "y": ((4, B), "float32")},
            "b",
            "input 'y' must have b as its leading dimension only, got float32[4, b]",
        ),
        (
            {"x": ((B, 4), "float32"), "y": ((2 * B,), "float32")},
            "b",
            "input 'y' must have b as its leading dimension only, got float32[2*b]",
        ),
    ],
)
def test_inputs_must_show_the_batch(inputs: dict[str, Any], symbol_name: str | None, reason: str) -> None:
    trace = Trace(inputs)
    none = (None,) * len(inputs)
    expected = BatchResult(False, symbol_name, none, (None,), reason)
    assert rows_independent(func_of(trace.finish([trace.inputs[0]]))) == expected


def test_an_input_without_the_batch_is_the_same_for_all_rows() -> None:
    trace = Trace({"x": ((B, 4), "float32"), "scale": ((4,), "float32"), "on": ((), "bool")})
    x, scale, on = trace.inputs
    scaled = trace(Add, x, trace(BroadcastInDim, scale, shape=(B, 4), dims=(1,)))
    program = trace.finish([trace(Select, on, scaled, x), trace(Tanh, scale)])
    assert rows_independent(func_of(program)) == BatchResult(True, "b", (0, None, None), (0, None))


def test_reading_a_variable_is_fine_and_writing_one_is_not() -> None:
    trace = Trace({"x": ((B, 4), "float32")})
    w = trace.variable("w", (4,), "float32")
    read = trace.op(Read, w)
    y = trace(Add, trace.inputs[0], trace(BroadcastInDim, read.value, shape=(B, 4), dims=(1,)))
    trace.at(12)
    program = trace.finish([y], [trace(AssignAdd, w, read.value, read.token)])
    result = rows_independent(func_of(program))
    assert not result.independent
    assert result.output_axes == (0,)
    assert result.reason == (
        "assign_add at model.py:12:1: a batch that is split would write the variable more than once"
    )


def test_what_a_batch_wrote_is_mixed() -> None:
    trace = Trace({"x": ((B, 4), "float32")})
    w = trace.variable("w", (4,), "float32")
    trace.at(5)
    total = trace(ReduceSum, trace.inputs[0], axes=(0,))
    read = trace.op(Read, w, trace(Assign, w, total))
    assert rows_independent(func_of(trace.finish([read.value]))).reason.startswith("reduce_sum at model.py:5:1: ")


# ---- on random functions: what is proved, holds


def random_function(choose: random.Random) -> ModuleOp:
    """One input of shape (b, 3), ops that keep or mix its rows, every value returned."""
    trace = Trace({"x": ((B, 3), "float32")})
    values = [trace.inputs[0]]
    for _ in range(choose.randrange(2, 9)):
        x = choose.choice(values)
        shape = spec_of(x.type).shape
        rank = len(shape)
        axis = choose.randrange(rank) if rank else 0
        kind = choose.randrange(12)
        if kind == 0:
            values.append(trace(choose.choice([Tanh, Identity]), x))
        elif kind == 1:
            other = choose.choice([v for v in values if v.type is x.type])
            values.append(trace(choose.choice([Add, Maximum]), x, other))
        elif kind == 2 and rank:
            values.append(trace(choose.choice([ReduceSum, ReduceMax]), x, axes=(axis,)))
        elif kind == 3 and rank:
            values.append(trace(Transpose, x, permutation=tuple(choose.sample(range(rank), rank))))
        elif kind == 4:
            where = choose.randrange(rank + 1)
            dims = tuple(i for i in range(rank + 1) if i != where)
            size = choose.choice([1, 2, B])
            values.append(trace(BroadcastInDim, x, shape=(*shape[:where], size, *shape[where:]), dims=dims))
        elif kind == 5 and rank:
            values.append(trace(Concatenate, x, x, axis=axis))
        elif kind == 6 and rank:
            values.append(trace(Reverse, x, axes=(axis,)))
        elif kind == 7 and rank:
            low = tuple(int(i == axis) for i in range(rank))
            values.append(trace(Pad, x, zero(trace), low=low, high=(0,) * rank, interior=(0,) * rank))
        elif kind == 8 and rank:
            values.append(trace(Add, x, trace(Iota, shape=shape, dtype=F32, axis=axis)))
        elif kind == 9:
            values.append(trace(Reshape, x, shape=tuple(choose.sample(shape, rank))))
        elif kind == 10 and rank:
            other = choose.choice([v for v in values if spec_of(v.type).shape])
            where = choose.randrange(len(spec_of(other.type).shape))
            if spec_of(other.type).shape[where] == shape[axis]:
                contracting = {"lhs_contracting": (axis,), "rhs_contracting": (where,)}
                values.append(trace(DotGeneral, x, other, lhs_batch=(), rhs_batch=(), **contracting))
        elif kind == 11 and rank:
            ends = tuple(d if i != axis or d == 1 else d - 1 for i, d in enumerate(shape))
            values.append(trace(Slice, x, starts=(0,) * rank, limits=ends, strides=(1,) * rank))
        if len(spec_of(values[-1].type).shape) > 4:
            values.pop()
    return trace.finish(values)


@pytest.mark.parametrize("seed", range(150))
def test_proved_rows_follow_permutation_padding_and_splitting(seed: int) -> None:
    choose = random.Random(seed)
    func = func_of(random_function(choose))
    generator = np.random.default_rng(seed)
    x = generator.uniform(0.5, 1.5, (5, 3)).astype(np.float32)
    order = generator.permutation(5)
    padded = np.concatenate([x, np.full((2, 3), 77.0, np.float32)])

    def run(batch: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        return reference.run(func, [batch])[0]

    whole, permuted, longer, left, right = (run(a) for a in (x, x[order], padded, x[:2], x[2:]))
    proved = axes_of_each_output(func)
    for i, axis in enumerate(proved):
        if axis == "mixed":
            continue
        close: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}
        if axis is None:
            for other in (permuted, longer, left, right):
                np.testing.assert_allclose(other[i], whole[i], **close)
            continue
        assert isinstance(axis, int)
        np.testing.assert_allclose(permuted[i], np.take(whole[i], order, axis), **close)
        np.testing.assert_allclose(np.take(longer[i], range(5), axis), whole[i], **close)
        np.testing.assert_allclose(np.concatenate([left[i], right[i]], axis), whole[i], **close)


def axes_of_each_output(func: Func) -> list[int | str | None]:
    """The analysis of each output alone: its batch axis, None, or "mixed"."""
    every, found = list(func.terminator.operands), []
    for output in every:
        func.terminator.operands = [output]
        result = rows_independent(func)
        found.append(result.output_axes[0] if result.independent else "mixed")
    func.terminator.operands = every
    return found


def test_random_functions_prove_enough() -> None:
    """The property above would hold for an analysis that never proves anything."""
    axes = [a for seed in range(150) for a in axes_of_each_output(func_of(random_function(random.Random(seed))))]
    assert sum(a == "mixed" for a in axes) > 100
    assert sum(isinstance(a, int) for a in axes) > 300
