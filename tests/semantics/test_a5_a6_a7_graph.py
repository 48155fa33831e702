"""Rows A5 (control edges), A6 (static shapes with unknown dimensions) and A7 (trace once, run many times)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidArgument
from dfc.ir.ops.state import Assign, AssignAdd, Read, Update

Spec = dfc.TensorSpec


def test_a5_effects_wait_for_those_before_them() -> None:
    v, other = dfc.Variable(1.0, name="v"), dfc.Variable(0.0, name="other")

    @dfc.function
    def program() -> Any:
        a = v.read()
        v.assign(a * 2)
        other.assign_add(1.0)
        b = v.read()
        v.assign_add(3.0)
        return a, b, v.read()

    block = program.graph().func.block
    reads = [op for op in block.ops if isinstance(op, Read)]
    set_, count, add = (op for op in block.ops if isinstance(op, Update))
    assert (type(set_), type(count), type(add)) == (Assign, AssignAdd, AssignAdd)
    assert list(set_.tokens) == [reads[0].token]
    assert list(count.tokens) == []  # no edge between different variables
    assert list(reads[1].tokens) == [set_.token]
    assert list(add.tokens) == [set_.token, reads[1].token]
    last = block.last_op
    assert last is not None
    assert list(last.operands[3:]) == [add.token, count.token]  # what the call must do, in order of first use

    for start in (1.0, 5.0):
        assert [x.item() for x in program()] == [start, start * 2, start * 2 + 3]


def test_a5_an_effect_happens_though_nothing_of_it_is_returned() -> None:
    log = dfc.Variable(np.zeros(3, np.float32))

    @dfc.function
    def f(x: Any) -> Any:
        log.assign_add([1.0, 0.0, 0.0])
        log.assign(log * 2)
        log.assign_add([0.0, 1.0, 0.0])
        return x

    f(np.float32(1))
    assert log.numpy().tolist() == [2, 1, 0]
    f(np.float32(1))
    assert log.numpy().tolist() == [6, 3, 0]


CASES: list[tuple[Any, list[Spec], str]] = [
    (lambda x: x * 2, [Spec(("b", 4))], "float32[b, 4]"),
    (lambda x, y: x @ y, [Spec(("b", 4)), Spec((4, "n"))], "float32[b, n]"),
    (lambda x, y: dfc.concat([x, y]), [Spec(("b", 4)), Spec(("c", 4))], "float32[b + c, 4]"),
    (lambda x: dfc.reshape(x, (-1, 2)), [Spec(("b", 4))], "float32[2*b, 2]"),
    (lambda x: dfc.reshape(x, (x.shape[0], 2, -1)), [Spec(("b", 4))], "float32[b, 2, 2]"),
    (lambda x: dfc.sum(x, axis=0), [Spec(("b", "c"))], "float32[c]"),
    (lambda x: dfc.expand_dims(x, axis=0) + dfc.zeros((3, 1, 1)), [Spec(("b", 4))], "float32[3, b, 4]"),
    (lambda x: x[1:, ::2], [Spec(("b", 5))], "float32[b - 1, 3]"),
    (lambda x: dfc.pad(x, [(1, 2), (0, 0)]), [Spec(("b", 4))], "float32[b + 3, 4]"),
    (lambda x: dfc.split(x, 2)[0], [Spec(("2*b", 4))], "float32[b, 4]"),
    (lambda x: dfc.one_hot(x, 10), [Spec((None,), "int32", name="ids")], "float32[ids_0, 10]"),
    (lambda x: dfc.permute_dims(x, (1, 0)), [Spec(("b", None), name="x")], "float32[x_1, b]"),
    (lambda x: dfc.broadcast_to(x, (x.shape[0], 3)), [Spec(("b", 1))], "float32[b, 3]"),
]


@pytest.mark.parametrize(("body", "specs", "expected"), CASES)
def test_a6_shapes_with_unknown_sizes(body: Any, specs: list[Spec], expected: str) -> None:
    graph = dfc.function(body).graph(*specs)
    assert str(graph.output_specs[0]) == expected
    graph.module.verify()


@pytest.mark.parametrize("size", [2, 4])
def test_a6_the_sizes_come_true_when_the_program_runs(size: int) -> None:
    @dfc.function(signature=[Spec(("b", 4))])
    def f(x: Any) -> Any:
        return [
            body(x) for body, specs, _ in CASES if len(specs) == 1 and specs[0] in (Spec(("b", 4)), Spec(("b", "c")))
        ]

    x = np.arange(size * 4, dtype=np.float32).reshape(size, 4)
    expected = [
        x * 2,
        x.reshape(-1, 2),
        x.reshape(size, 2, 2),
        x.sum(0),
        x[None] + np.zeros((3, 1, 1)),
        np.pad(x, [(1, 2), (0, 0)]),
    ]
    for result, value in zip(f(x), expected, strict=True):
        np.testing.assert_array_equal(result.numpy(), value)


def test_a6_sizes_that_contradict_each_other_are_found_in_the_trace() -> None:
    with pytest.raises(InvalidArgument, match="contracting dimensions must match, got 4 and 5"):
        dfc.function(lambda x, y: x @ y).graph(Spec(("b", 4)), Spec((5, "n")))
    with pytest.raises(InvalidArgument, match="nothing says that b and c are equal"):
        dfc.function(lambda x, y: x + y).graph(Spec(("b",)), Spec(("c",)))


def test_a7_a_function_is_traced_once_and_run_many_times() -> None:
    traces: list[int] = []
    v = dfc.Variable(0.0)

    @dfc.function
    def inner(x: Any) -> Any:
        traces.append(2)
        return x + v

    @dfc.function
    def step(x: Any) -> Any:
        traces.append(1)
        v.assign_add(1.0)
        return inner(x) * inner(x)

    for i in range(1, 21):
        assert step(np.float32(1)).item() == (1 + i) ** 2
    assert traces == [1, 2]


def test_a7_one_trace_serves_every_batch_size() -> None:
    traces: list[int] = []

    @dfc.function(signature=[Spec(("b",))])
    def f(x: Any) -> Any:
        traces.append(1)
        return dfc.sum(x)

    for size in (1, 2, 3, 2, 1):
        assert f(np.ones(size, np.float32)).item() == size
    assert traces == [1]
