"""Names: scopes, explicit names, default names by program order, clashes, feeds by name through passes."""

from __future__ import annotations

from typing import Any

import pytest
from xdsl.dialects.builtin import StringAttr

import dfc
from dfc.backends import pipeline
from dfc.errors import InvalidArgument
from dfc.frontend.names import Names
from dfc.ir.ops.control import If, While
from dfc.ir.text import parse_program
from dfc.passes.phases import Phase
from dfc.passes.prune import prune
from dfc.passes.specialize import specialize

Spec = dfc.TensorSpec


def names_in(body: Any, *specs: Any) -> list[Any]:
    """What `body` returns, for one trace of it."""
    found: list[Any] = []

    @dfc.function
    def f(*args: Any) -> Any:
        found.extend(body(*args))
        return args

    f.graph(*specs)
    return found


def test_default_names_follow_the_order_of_the_program() -> None:
    def body(x: dfc.Tensor) -> list[Any]:
        a, b = x + x, x * x
        c = a + b
        return [c.name, a.name, b.name, x.name, (c + c).name]

    assert names_in(body, Spec((2,))) == ["add_1", "add", "multiply", "args.0", "add_2"]


def test_names_do_not_depend_on_when_they_are_asked_for() -> None:
    def early(x: dfc.Tensor) -> list[Any]:
        a = x + x
        first = a.name
        b = a + a
        return [first, b.name, a.name]

    assert names_in(early, Spec((2,))) == ["add", "add_1", "add"]


def test_explicit_names_and_scopes() -> None:
    def body(x: dfc.Tensor) -> list[Any]:
        with dfc.name_scope("layer") as whole:
            h = dfc.identity(x, name="h")
            with dfc.name_scope("inner"):
                s = x + x
            t = x + x
        again = dfc.identity(x, name="h")
        return [whole, h.name, s.name, t.name, again.name]

    assert names_in(body, Spec((2,))) == ["layer", "layer/h", "layer/inner/add", "layer/add", "h"]


def test_a_clash_gets_a_number() -> None:
    def body(x: dfc.Tensor) -> list[Any]:
        return [dfc.identity(x, name="h").name for _ in range(3)] + [(x + x).name, dfc.identity(x, name="add").name]

    assert names_in(body, Spec((2,))) == ["h", "h_1", "h_2", "add", "add_1"]


def test_results_after_the_first_have_an_index() -> None:
    two = dfc.function(lambda x: (x + x, x * x))
    found = names_in(lambda x: [r.name for r in two(x)], Spec((2,)))
    assert found == ["call", "call:1"]


def test_a_variable_is_named_by_its_own_name() -> None:
    v = dfc.Variable([1.0], name="w")

    def body() -> list[Any]:
        return [v.read().name, (v + v).name]

    assert names_in(body) == ["read", "add"]
    graph = dfc.function(lambda: v.read()).graph()
    first = graph.func.block.first_op
    assert first is not None
    assert Names(graph.func.block, graph.input_names).of_op(first) == "w"


def test_a_scope_ends_with_its_function() -> None:
    inner = dfc.function(lambda x: dfc.identity(x, name="h"))

    @dfc.function
    def outer(x: dfc.Tensor) -> dfc.Tensor:
        with dfc.name_scope("a"):
            return inner(x)

    text = str(outer.graph(Spec((2,))))
    assert 'name = "h"}' in text
    assert 'stateful = false, scope = "a"' in text


def test_named_values_can_be_fetched_by_passes() -> None:
    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        with dfc.name_scope("layer"):
            h = dfc.identity(x * 2.0, name="h")
        return dfc.exp(h) + dfc.identity(x, name="h")

    program = specialize(f.graph(Spec((2,))).module, {})
    prune(program, ("layer/h", "h"))
    assert "exponential" not in str(program)
    assert str(program).count("df.identity") == 2


@pytest.mark.parametrize("name", ["", "a b", "a:0", "/a", "a/", "a\n"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="a name must"), dfc.name_scope(name):
        pass
    with pytest.raises(InvalidArgument, match="a name must"):
        dfc.identity(1.0, name=name)


def test_a_branch_and_a_loop_keep_their_scopes_through_their_gradients() -> None:
    @dfc.function
    def f(x: Any) -> Any:
        with dfc.name_scope("layer"):
            y = dfc.cond(x > 0, dfc.tanh, dfc.negative, x)
            _, y = dfc.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, dfc.tanh(y)), (0, y))
        return dfc.gradients(y, [x])

    program = parse_program(str(f.graph(Spec((), "float32"))))
    pipeline.lower(program, start=Phase.TRACE, to=Phase.GRAPH)
    forward, loop, backward = (op for op in program.walk() if isinstance(op, If | While))
    assert forward.attributes["scope"] == loop.attributes["scope"] == StringAttr("layer")
    assert "scope" not in backward.attributes
