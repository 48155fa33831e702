"""prune, inline, cse and specialize: counts, positions and limits that a lit test can't show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from dfc.backends import reference
from dfc.errors import InvalidArgument, NotFound
from dfc.ir import attributes
from dfc.ir.dims import symbol
from dfc.ir.dtypes import as_dtype
from dfc.ir.locations import describe, is_known
from dfc.ir.ops.elementwise import Add, Multiply, Negate, Tanh
from dfc.ir.ops.function import Call, Func
from dfc.ir.ops.reduction import ReduceSum
from dfc.ir.ops.shape import Reshape, Slice
from dfc.ir.ops.state import Assign, AssignAdd, Read
from dfc.ir.text import print_program
from dfc.ir.types import Spec, spec_of
from dfc.passes.cluster import cluster
from dfc.passes.cse import cse
from dfc.passes.inline import inline
from dfc.passes.manager import parse_pipeline, run
from dfc.passes.prune import prune
from dfc.passes.specialize import specialize
from tests.programs import Trace

F32 = as_dtype("float32")
B = symbol("b")


def func_of(program: ModuleOp) -> Func:
    (func,) = (op for op in program.ops if isinstance(op, Func))
    return func


def work(program: ModuleOp) -> list[Operation]:
    return list(func_of(program).block.ops)[:-1]


def lines(program: ModuleOp) -> list[str]:
    return [f"{op.name.removeprefix('df.')} {describe(op.location)}" for op in work(program)]


# ---- cse


@pytest.mark.parametrize("duplicates", [0, 1, 7, 500])
def test_k_duplicates_are_k_ops_fewer(duplicates: int) -> None:
    trace = Trace({"x": ((4,), "float32")})
    (x,) = trace.inputs
    program = trace.finish([trace(Multiply, x, x) for _ in range(duplicates + 1)])
    before = len(work(program))
    assert cse(program) == {"merged": duplicates}
    assert len(work(program)) == before - duplicates


def test_a_merged_op_has_the_lines_of_both() -> None:
    trace = Trace({"x": ((4,), "float32")})
    outputs = []
    for line in (3, 8):
        trace.at(line)
        outputs.append(trace(Tanh, trace.inputs[0]))
    program = trace.finish(outputs)
    cse(program)
    assert print_program(program).count('loc(fused["model.py":3:1, "model.py":8:1])') == 1


def test_attributes_keep_the_sign_of_zero() -> None:
    signs = [math.copysign(1, attributes.make(attributes.Float, zero).data) for zero in (0.0, -0.0)]
    assert signs == [1.0, -1.0]


# ---- prune


def test_pruned_ops_are_counted() -> None:
    trace = Trace({"x": ((4,), "float32")})
    (x,) = trace.inputs
    kept = trace(Tanh, x)
    trace(Negate, trace(Negate, kept))
    assert prune(trace.finish([kept])) == {"erased": 2, "functions dropped": 0}


def test_an_unknown_fetch_leaves_the_program_as_it_was() -> None:
    trace = Trace({"x": ((4,), "float32")})
    trace.at(2)
    program = trace.finish([trace(Tanh, trace.inputs[0])])
    text = print_program(program)
    with pytest.raises(NotFound) as raised:
        prune(program, ("output_0", "output_9"))
    assert str(raised.value) == (
        "@f: there is no output and no op called 'output_9' to fetch\n"
        "  at model.py:1:1\n"
        "  did you mean 'output_0'? names: output_0"
    )
    assert print_program(program) == text


def test_b2_an_effect_upstream_of_a_fetch_stays_and_others_go() -> None:
    trace = Trace({"x": ((), "float32")})
    (x,) = trace.inputs
    counter, other = trace.variable("counter", (), "float32"), trace.variable("other", (), "float32")
    bumped = trace(AssignAdd, counter, x)
    read = trace.op(Read, counter, bumped)
    written = trace(Assign, other, x)
    program = trace.finish([read.value, x], [bumped, written])
    prune(program, ("output_0",))
    variables = {"counter": np.float32(1), "other": np.float32(5)}
    outputs, state = reference.run(program, [np.array(2, np.float32)], {k: np.asarray(v) for k, v in variables.items()})
    assert [float(o) for o in outputs] == [3.0]
    assert (float(state["counter"]), float(state["other"])) == (3.0, 5.0)


# ---- inline


def nested(depth: int) -> ModuleOp:
    """f0 calls f1 twice, f1 calls f2 twice ..., the last one negates."""
    program = None
    for k in range(depth + 1):
        trace = Trace({"x": ((4,), "float32")}, name=f"f{k}", module=program)
        program, (value,) = trace.module, trace.inputs
        trace.at(10 + k)
        for _ in range(2 if k < depth else 1):
            if k < depth:
                call = trace.op(Call, value, callee=f"f{k + 1}", results=(Spec((4,), F32),), stateful=False)
                value = call.results[0]
            else:
                value = trace(Negate, value)
        trace.finish([value])
    assert program is not None
    return program


def test_nested_calls_become_one_function_with_the_callees_lines() -> None:
    program = nested(3)
    assert inline(program) == {"inlined": 6}
    assert lines(program) == ["negate model.py:13:1"] * 8
    assert inline(program) == {"inlined": 0}


def test_a_called_functions_state_is_the_callers() -> None:
    """bump adds its input to w; called twice, in the order that the tokens give."""
    bump = Trace({"a": ((), "float32")}, name="bump")
    w = bump.variable("w", (), "float32")
    read = bump.op(Read, w)
    program = bump.finish(
        [read.value], [bump(Assign, w, bump(Add, bump(Add, read.value, read.value), bump.inputs[0]), read.token)]
    )
    main = Trace({"x": ((), "float32")}, name="main", module=program)
    call = {"callee": "bump", "results": (Spec((), F32),), "stateful": True}
    first = main.op(Call, main.inputs[0], **call)
    second = main.op(Call, main.inputs[0], first.results[1], **call)
    main.finish([first.results[0], second.results[0]], [second.results[1]])
    arguments, variables = [np.array(3, np.float32)], {"w": np.array(1, np.float32)}
    by_calls = reference.run(program, arguments, variables)
    inline(program)
    inlined = reference.run(program, arguments, variables)
    cluster(program)
    clustered = reference.run(program, arguments, variables)
    for outputs, state in (by_calls, inlined, clustered):
        assert [float(o) for o in outputs] == [1.0, 5.0]  # w: 1 -> 2*1 + 3 = 5 -> 2*5 + 3 = 13
        assert float(state["w"]) == 13.0


# ---- specialize


def symbolic() -> ModuleOp:
    trace = Trace({"x": ((B, 4), "float32")})
    trace.at(5)
    flat = trace(Reshape, trace.inputs[0], shape=(4 * B,))
    trace.at(6)
    head = trace(Slice, flat, starts=(0,), limits=(B - 2,), strides=(1,))
    return trace.finish([trace(ReduceSum, head, axes=(0,)), head])


def test_sizes_replace_symbols_in_a_copy() -> None:
    program = symbolic()
    text = print_program(program)
    made = specialize(program, {"b": 5})
    made.verify()
    assert print_program(program) == text
    assert [spec_of(op.results[0].type).shape for op in work(made)] == [(20,), (3,), ()]
    assert lines(made) == lines(program)
    assert all(is_known(op.location) for op in func_of(made).walk())
    x = np.arange(20, dtype=np.float32).reshape(5, 4)
    (total, head), _ = reference.run(made, [x])
    assert (float(total), head.tolist()) == (3.0, [0.0, 1.0, 2.0])


def test_a_negative_size_is_an_error_at_the_users_line() -> None:
    with pytest.raises(InvalidArgument) as raised:
        specialize(symbolic(), {"b": 1})
    assert str(raised.value) == ("slice: 0 <= start <= limit <= size must hold, got 0, -1, 4 [C2]\n  at model.py:6:1")


def test_an_input_must_not_become_negative() -> None:
    trace = Trace({"x": ((B - 2,), "float32")})
    program = trace.finish([trace(Tanh, trace.inputs[0])])
    with pytest.raises(InvalidArgument) as raised:
        specialize(program, {"b": 1})
    assert str(raised.value) == ("func: the dimension b - 2 becomes -1, and a size is not negative\n  at model.py:1:1")


def test_a_size_is_not_negative() -> None:
    with pytest.raises(InvalidArgument) as raised:
        specialize(symbolic(), {"b": -1})
    assert str(raised.value) == "a dimension is not negative, got b = -1"


@pytest.mark.parametrize("binding", ["b", "b:", "b:x", "b:-1"])
def test_a_binding_is_a_symbol_and_a_size(binding: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        run(symbolic(), parse_pipeline(f'specialize{{bindings="{binding}"}}'))
    assert str(raised.value) == f"a binding is symbol:size, as in b:8, got {binding!r}"


def test_without_sizes_the_copy_is_the_same() -> None:
    program = symbolic()
    assert print_program(specialize(program, {})) == print_program(program)


@pytest.mark.parametrize("before", ["", "cluster"])
def test_clustered_or_not_the_sizes_are_the_same(before: str) -> None:
    program = symbolic()
    run(program, parse_pipeline(before))
    x: Any = np.arange(12, dtype=np.float32).reshape(3, 4)
    made = specialize(program, {"b": 3})
    made.verify()
    (total, head), _ = reference.run(made, [x])
    assert (float(total), head.tolist()) == (0.0, [0.0])
