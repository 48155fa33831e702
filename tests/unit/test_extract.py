"""`passes/extract.py`: what a step takes of a graph, and where it is cut. What is fed is the test's business; running
the programs is the sessions'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

import dfc
from dfc.backends import pipeline
from dfc.ir import locations
from dfc.ir.ops.function import Func
from dfc.ir.text import print_program
from dfc.passes.extract import ancestors, extract
from dfc.passes.phases import Phase
from dfc.passes.verify import verify

HERE = locations.file_location("step.py", 1, 1)


def step(
    graph: dfc.Graph, fetches: Sequence[Any], feeds: dict[str, Any] | None = None, **options: Any
) -> tuple[Func, list[str]]:
    """The step's function, and the names of its ops; the graph's text stays as it is."""
    before = str(graph)
    program = ModuleOp([])
    named = [(f"y{i}", fetch._value) for i, fetch in enumerate(fetches) if isinstance(fetch, dfc.Tensor)]
    tokens = [fetch._token for fetch in fetches if isinstance(fetch, dfc.Operation)]
    given = [(name, tensor._value) for name, tensor in (feeds or {}).items()]
    extract(graph.func, program, name="step", outputs=named, tokens=tokens, feeds=given, location=HERE, **options)
    verify(program)
    assert str(graph) == before
    func = next(op for op in program.ops if isinstance(op, Func))
    return func, [op.name.removeprefix("df.") for op in func.block.ops]


@pytest.fixture
def graph() -> dfc.Graph:
    with dfc.Graph() as made:
        x = dfc.placeholder("float32", ("n", 2), name="x")
        w = dfc.Variable(np.ones(2, np.float32), name="w")
        with dfc.name_scope("net"):
            h = dfc.tanh(x * w)
        dfc.identity(dfc.sum(h), name="loss")
        w.assign_add([1.0, 1.0])
    return made


def test_what_the_fetches_need(graph: dfc.Graph) -> None:
    x, loss = graph.tensor("x"), graph.tensor("loss")
    func, ops = step(graph, [loss], {"x": x})
    assert func.arg_names.data == ("x",) and func.result_names.data == ("y0",)
    assert ops == ["variable", "read", "broadcast_in_dim", "multiply", "tanh", "reduce_sum", "identity", "return"]
    _, ops = step(graph, [graph.operation("w/assign_add")])
    assert ops == ["variable", "constant", "assign_add", "return"]
    _, ops = step(graph, [x], {"x": x})
    assert ops == ["return"], "what is fetched and fed is passed on"


def test_a_fed_tensor_cuts_what_leads_to_it(graph: dfc.Graph) -> None:
    hidden = graph.tensor("net/tanh")
    func, ops = step(graph, [graph.tensor("loss")], {"net/tanh": hidden})
    assert ops == ["reduce_sum", "identity", "return"] and func.arg_names.data == ("net/tanh",)
    func, ops = step(graph, [hidden, graph.tensor("loss")], {"net/tanh": hidden})
    assert ops == ["reduce_sum", "identity", "return"] and func.outputs[0] is func.block.args[0]


def test_positions_and_names_stay(graph: dfc.Graph) -> None:
    func, _ = step(graph, [graph.tensor("loss")], {"x": graph.tensor("x")})
    assert all(locations.describe(op.location).startswith(__file__) for op in list(func.block.ops)[:-1])
    assert func.terminator.location is HERE
    assert 'scope = "net"' in print_program(func.parent_op()) and 'name = "loss"' in print_program(func.parent_op())  # type: ignore[arg-type]


def test_effects_are_outputs_where_they_may_be_awaited_one_by_one(graph: dfc.Graph) -> None:
    x, bump = graph.tensor("x"), graph.operation("w/assign_add")
    func, ops = step(graph, [graph.tensor("loss"), bump], {"x": x}, tokens_as_outputs=True)
    assert func.result_names.data == ("y0", "done_1") and func.tokens == []
    assert ops[-3:] == ["constant", "after", "return"]


def test_one_result_of_an_op_is_fed_and_another_is_needed() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(4, ["float32", "float32"], shapes=[(), ()])
        a, b = queue.dequeue()
        total = a + b
    func, ops = step(graph, [total], {"a": a})
    assert ops == ["queue", "dequeue", "add", "return"]
    add = list(func.block.ops)[-2]
    dequeue = list(func.block.ops)[1]
    assert list(add.operands) == [func.block.args[0], dequeue.results[1]]
    _, ops = step(graph, [total], {"a": a, "b": b})
    assert ops == ["add", "return"]


# ---- gradients need what leads to a fed value


@pytest.fixture
def differentiated() -> dfc.Graph:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (2,), name="x")
        w = dfc.Variable(np.ones(2, np.float32), name="w")
        h = dfc.identity(x * w, name="h")
        loss = dfc.identity(dfc.sum(h * h), name="loss")
        (slope,) = dfc.gradients([loss], [w])
        dfc.identity(slope, name="slope")
    return graph


def test_with_gradients_the_cut_is_made_later(differentiated: dfc.Graph) -> None:
    graph = differentiated
    feeds = {"x": graph.tensor("x"), "h": graph.tensor("h")}
    func, ops = step(graph, [graph.tensor("slope")], feeds)
    assert func.arg_names.data == ("x",), "what comes from outside is an input at once"
    assert ops.count("feed") == 1 and ops[ops.index("feed") - 1] == "identity"
    feed = next(op for op in func.block.ops if op.name == "df.feed")
    assert feed.properties["label"].data == "h"  # type: ignore[attr-defined]
    assert all(use.operation is not feed.operands[0].owner for use in feed.results[0].uses)
    program = func.parent_op()
    assert isinstance(program, ModuleOp)
    pipeline.lower(program, to=Phase.GRAPH)
    assert func.arg_names.data == ("x", "h")
    names = [op.name for op in func.block.ops]
    assert "df.feed" not in names and "df.read" not in names, "the slope is 2 h x, with h as it is fed"


def test_without_the_request_the_cut_is_made_at_once(differentiated: dfc.Graph) -> None:
    _, ops = step(differentiated, [differentiated.tensor("loss")], {"h": differentiated.tensor("h")})
    assert ops == ["multiply", "reduce_sum", "identity", "return"]


# ---- functions


def test_callees_come_along_each_once() -> None:
    inner = dfc.function(lambda x: x * 2, name="inner")
    outer = dfc.function(lambda x: inner(x) + inner(x + 1), name="outer")
    unused = dfc.function(lambda x: x - 1, name="unused")
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (), name="x")
        y = outer(x)
        unused(x)
        inner(x)
    func, ops = step(graph, [y], {"x": x})
    program = func.parent_op()
    assert isinstance(program, ModuleOp)
    assert ops == ["call", "return"]
    assert [op.sym_name.data for op in program.ops if isinstance(op, Func)] == ["step", "outer", "inner"]


def test_inputs_of_a_function_that_are_not_fed_are_placeholders() -> None:
    made = dfc.function(lambda x, y: (x * 2, y + 1)).graph(dfc.TensorSpec((2,)), dfc.TensorSpec(("b",)))
    program = ModuleOp([])
    x = made.func.block.args[0]
    extract(made.func, program, name="step", outputs=[("y0", made.func.outputs[0])], feeds=[("x", x)], location=HERE)
    (func,) = (op for op in program.ops if isinstance(op, Func))
    (unfed,) = (op for op in func.block.ops if op.name == "df.placeholder")
    assert unfed.attributes["name"].data == "y"  # type: ignore[attr-defined]


# ---- sizes


def test_who_tells_a_size_comes_along() -> None:
    with dfc.Graph() as graph:
        queue = dfc.FIFOQueue(4, "float32", shapes=[(2,)])
        rows, other = queue.dequeue_up_to(3), queue.dequeue_up_to(3)
        zeros = dfc.zeros((rows.shape[0],))
    func, ops = step(graph, [zeros])
    assert ops.count("dequeue_up_to") == 1
    program = func.parent_op()
    assert isinstance(program, ModuleOp)
    pipeline.lower(program, to=Phase.GRAPH)
    assert sum(op.name == "df.dequeue_up_to" for op in func.block.ops) == 1, "and stays"
    _, ops = step(graph, [zeros], {"rows": rows})
    assert "dequeue_up_to" not in ops, "the feed tells it"
    assert other.shape != rows.shape


def test_ancestors(graph: dfc.Graph) -> None:
    ends: list[SSAValue] = [graph.tensor("loss")._value]
    found = [op.name for op in ancestors(ends, {}).values()]
    assert "df.placeholder" in found and "df.assign_add" not in found
    assert ancestors(ends, {ends[0]: None}) == {}
