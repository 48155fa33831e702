"""Sizes that are known when a step runs only: what needs them, islands compiled once for each, errors at the line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.ir import Operation

import dfc
from dfc.backends import xla
from dfc.errors import InvalidArgument, Unimplemented
from dfc.ir.dims import parse_dim
from dfc.ir.dtypes import float32
from dfc.ir.ops.elementwise import Add
from dfc.ir.ops.function import Func, Island
from dfc.ir.text import parse_program
from dfc.ir.types import tensor_type
from dfc.passes import late as sizes
from dfc.passes.cluster import cluster
from dfc.runtime import late
from tests.frontend_support import error_of
from tests.programs import Trace
from tests.waiting_support import in_threads

FILE = __file__


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The argument shapes of each late program that is compiled."""
    made: list[Any] = []
    compile_module = late.compile_module

    def noting(module: Any, signature: Any, *rest: Any) -> Any:
        made.append([shape for shape, _ in signature.inputs])
        return compile_module(module, signature, *rest)

    monkeypatch.setattr(late, "compile_module", noting)
    return made


class Rows:
    """A queue of rows of three, from which a step takes as many as there are, up to four."""

    def __init__(self, n: int = 4) -> None:
        self.graph = dfc.Graph()
        with self.graph:
            queue = dfc.FIFOQueue(-1, "float32", shapes=[(3,)], name="q")
            self.x = dfc.placeholder("float32", ("n", 3), name="x")
            self.put, self.size = queue.enqueue_many(self.x), queue.size()
            self.close = queue.close()
            self.rows = queue.dequeue_up_to(n)


def test_matmuls_and_gradients_compile_once_for_each_size(compiled: list[Any]) -> None:
    rows = Rows()
    with rows.graph:
        w = dfc.Variable(np.ones((3, 2), np.float32), name="w")
        loss = dfc.mean(dfc.matmul(rows.rows, w) ** 2)
        train = dfc.train.SGD(0.01).minimize(loss, [w])
        init = dfc.initialize_all()
    x = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    expected = np.ones((3, 2))
    with dfc.Session(rows.graph) as session:
        session.run(init)
        session.run(rows.put, {rows.x: x})
        session.run(rows.close)
        for part in (x[:4], x[4:8], x[8:]):
            found, _ = session.run([loss, train])
            y = part @ expected
            np.testing.assert_allclose(found, (y**2).mean(), rtol=1e-5)
            expected = expected - 0.01 * part.T @ (2 * y / y.size)
            np.testing.assert_allclose(session.run(w), expected, rtol=1e-5)
    assert sorted(compiled) == [[(3, 2), (3, 3)], [(3, 2), (4, 3)]], "4 twice, and 3"


def test_threads_that_bring_the_same_size_compile_once(compiled: list[Any]) -> None:
    with dfc.Graph() as graph:
        queue = dfc.PaddingFIFOQueue(-1, "float32", shapes=[(None,)])
        x = dfc.placeholder("float32", ("n",))
        put, total = queue.enqueue(x), dfc.sum(queue.dequeue() * 2)
    with dfc.Session(graph) as session:
        for k in range(40):
            session.run(put, {x: np.ones(1 + k % 5)})
        found = in_threads(8, lambda index: [float(session.run(total)) for _ in range(5)])
    assert sorted(v for part in found for v in part) == sorted([2.0, 4.0, 6.0, 8.0, 10.0] * 8)
    assert sorted(compiled) == [[(n,)] for n in range(1, 6)]


def test_no_elements_at_all(compiled: list[Any]) -> None:
    rows = Rows(0)
    with rows.graph:
        y = dfc.matmul(rows.rows, np.ones((3, 2), np.float32))
        total = dfc.sum(y)
    with dfc.Session(rows.graph) as session:
        found = session.run([y, total])
        assert found[0].shape == (0, 2) and found[1] == 0


@pytest.mark.parametrize("cluster", [True, False])
def test_what_has_a_size_needs_the_op_that_tells_it(cluster: bool) -> None:
    """Nothing leads from the dequeue to these by a value, alone or together."""
    rows = Rows(3)
    with rows.graph:
        k = rows.rows.shape[0]
        made = {
            "zeros": (dfc.zeros((k, 2)), np.zeros((3, 2))),
            "like": (dfc.ones_like(rows.rows), np.ones((3, 3))),
            "range": (dfc.arange(k), np.arange(3)),
            "further": (dfc.arange(k) * 2 + 1, np.array([1, 3, 5])),
            "twice": (dfc.zeros((2 * k + 1,)), np.zeros(7)),
            "sum": (dfc.sum(dfc.ones((k, 5))), np.float32(15)),
            "eye": (dfc.astype(dfc.arange(k)[:, None] == dfc.arange(k), "int32"), np.eye(3)),
        }
    x = np.ones((3, 3), np.float32)
    with dfc.Session(rows.graph, config=dfc.SessionConfig(cluster=cluster)) as session:
        for name, (fetch, expected) in made.items():
            session.run(rows.put, {rows.x: x})
            np.testing.assert_array_equal(session.run(fetch), expected, err_msg=name)
            assert session.run(rows.size) == 0, "so it was dequeued"
            np.testing.assert_array_equal(session.run(fetch, {rows.rows: x}), expected, err_msg=name)
        session.run(rows.put, {rows.x: x})
        found = session.run({name: fetch for name, (fetch, _) in made.items()})
        for name, (_, expected) in made.items():
            np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_the_size_of_a_placeholder_needs_its_feed() -> None:
    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", ("n", 2), name="x")
        zeros = dfc.zeros((x.shape[0],))
    with dfc.Session(graph) as session:
        assert session.run(zeros, {x: np.ones((3, 2))}).shape == (3,)
        with pytest.raises(InvalidArgument, match="You must feed a value for placeholder tensor 'x'"):
            session.run(zeros)
    step = dfc.function(lambda x: dfc.zeros((x.shape[0],)), signature=[dfc.TensorSpec(("n", 2), name="x")])
    with dfc.Session(step) as session:
        assert session.run("output_0", {"x": np.ones((3, 2))}).shape == (3,)
        with pytest.raises(InvalidArgument, match="You must feed a value for placeholder tensor 'x'"):
            session.run("output_0")


def test_gradients_spread_over_the_rows() -> None:
    """The gradient of a sum is ones in the shape of what was summed, and needs no value of it."""
    rows = Rows(3)
    with rows.graph:
        b = dfc.Variable(np.zeros(3, np.float32))
        (slope,) = dfc.gradients([dfc.sum(rows.rows + b)], [b])
        init = dfc.initialize_all()
    with dfc.Session(rows.graph) as session:
        session.run(init)
        session.run(rows.put, {rows.x: np.ones((3, 3))})
        np.testing.assert_array_equal(session.run(slope), [3, 3, 3])
        assert session.run(rows.size) == 0


def test_results_of_functions_have_the_sizes_that_came() -> None:
    queue = dfc.FIFOQueue(-1, ["float32", "string"], shapes=[(2,), ()])

    @dfc.function
    def some(n: Any) -> Any:
        x, s = queue.dequeue_up_to(n)
        return {"x": x, "twice": dfc.concat([x, x]), "s": s, "total": dfc.sum(x)}

    @dfc.function
    def single(n: Any) -> Any:
        return queue.dequeue_up_to(n)[0]

    queue.enqueue_many([np.ones((9, 2), np.float32), [str(k) for k in range(9)]])
    for n in (2, 3):
        found = some(np.int32(n))
        assert {k: v.shape for k, v in found.items()} == {"x": (n, 2), "twice": (2 * n, 2), "s": (n,), "total": ()}
        assert (found["x"] + found["x"]).shape == (n, 2), "as any other tensor"
    for n in (1, 2, 1):
        found = single(np.int32(n))
        assert found.shape == (n, 2) and dfc.sum(found).item() == 2 * n


def test_ops_of_the_host_take_sizes_from_their_operands() -> None:
    queue = dfc.FIFOQueue(-1, "string", shapes=[()])

    @dfc.function
    def some(n: Any) -> Any:
        s = queue.dequeue_up_to(n)
        return dfc.reshape(s, (-1, 1)), dfc.broadcast_to(s, (2, *s.shape)), dfc.strings.length(s)

    queue.enqueue_many(["a", "bc", "def"])
    for expected in ([b"a", b"bc"], [b"def"]):
        column, twice, lengths = some(np.int32(len(expected)))
        assert column.numpy().tolist() == [[s] for s in expected]
        assert twice.numpy().tolist() == [expected, expected]
        assert lengths.numpy().tolist() == [len(s) for s in expected]


def test_a_size_that_strings_alone_tell() -> None:
    queue = dfc.FIFOQueue(-1, "string", shapes=[()], name="words")
    ones = dfc.function(lambda: dfc.ones(queue.dequeue_up_to(3).shape))
    text = error_of(Unimplemented, ones, FILE)
    assert text == (
        "broadcast_in_dim: the size words_1 is known of strings only, which no device holds\n"
        "  take a tensor of numbers of that size along"
    )


# ---- errors


def test_sizes_that_an_op_does_not_accept_are_at_its_line() -> None:
    rows = Rows(3)
    with rows.graph:
        rest = rows.rows[2:] + 1
    with dfc.Session(rows.graph) as session:
        session.run(rows.put, {rows.x: np.ones((3, 3))})
        assert session.run(rest).shape == (1, 3)
        session.run(rows.put, {rows.x: np.ones((1, 3))})
        session.run(rows.close)
        text = error_of(InvalidArgument, lambda: session.run(rest), FILE)
        assert text == "slice: 0 <= start <= limit <= size must hold, got 2, 1, 1 [C2]"


def late_program(text_of_inputs: list[str]) -> late.LateProgram:
    """A program that adds its inputs, two vectors."""
    trace = Trace({name: ((parse_dim(d),), "float32") for name, d in zip("xy", text_of_inputs, strict=True)})
    x, y = trace.inputs
    program = trace.finish([trace(Add, x, x), trace(Add, y, y)])
    cluster(program)
    (func,) = (op for op in program.ops if isinstance(op, Func))
    (island,) = (op for op in func.block.ops if isinstance(op, Island))
    return late.LateProgram(island, {}, xla.default_device(), "step")


def test_sizes_that_do_not_fit_together() -> None:
    program = late_program(["k", "2*k"])

    def run(n: int, m: int) -> list[tuple[int, ...]]:
        return [y.shape for y in program.run([xla.to_device(np.ones(s, np.float32)) for s in (n, m)])]

    assert run(2, 4) == [(2,), (4,)]
    for n, m in ((2, 3), (3, 4)):
        with pytest.raises(InvalidArgument) as caught:
            run(n, m)
        assert str(caught.value).splitlines()[0] == (
            "step: the sizes of what is computed from don't fit together: (float32[k], float32[2*k]) are needed, "
            f"got (({n},), ({m},))"
        )
    assert run(1, 2) == [(1,), (2,)]


# ---- passes/late.py

PROGRAM = """builtin.module {
  df.func {sym_name = "f", arg_names = ["x"], result_names = ["y"]} ({
  ^bb0(%x: tensor<?xf32, ["n"]>):
    %q = df.queue {resource = "q", description = "a queue"} : () -> !df.resource<"queue">
    %c = df.constant {value = int32[] 3} : () -> tensor<i32>
    %s, %a, %b, %t = df.dequeue_up_to %q, %c {results = [tensor<?x!df.string, ["k"]>, tensor<?x?xf32, ["k", "n"]>, tensor<?xf32, ["2*m"]>]} : (!df.resource<"queue">, tensor<i32>) -> (tensor<?x!df.string, ["k"]>, tensor<?x?xf32, ["k", "n"]>, tensor<?xf32, ["2*m"]>, !df.control)
    %d, %t1 = df.dequeue %q {results = [tensor<?x?xf32, ["k", "m"]>]} : (!df.resource<"queue">) -> (tensor<?x?xf32, ["k", "m"]>, !df.control)
    %f = df.feed %a {label = "a"} : tensor<?x?xf32, ["k", "n"]>
    %i = df.iota {shape = ["k*m + n"], axis = 0, dtype = float32} : () -> tensor<?xf32, ["k*m + n"]>
    %z = df.slice %i {starts = [0], limits = ["m"], strides = [1]} : (tensor<?xf32, ["k*m + n"]>) -> tensor<?xf32, ["m"]>
    df.return %z : (tensor<?xf32, ["m"]>) -> ()
  }) : () -> ()
}
"""  # noqa: E501


def parsed() -> dict[str, Operation]:
    program = parse_program(PROGRAM)
    (func,) = (op for op in program.ops if isinstance(op, Func))
    ops = {op.name.removeprefix("df."): op for op in func.block.ops}
    ops["func"] = func
    return ops


def test_definers() -> None:
    """Not of what an argument has, nor of what an operand has; numbers rather than strings; the first op."""
    ops = parsed()
    found = sizes.definers(ops["func"].regions[0].block)
    assert dict(found) == {"k": ops["dequeue_up_to"].results[1], "m": ops["dequeue"].results[0]}
    assert sizes.needed_by(ops["iota"], found) == [found["k"], found["m"]]
    assert sizes.needed_by(ops["slice"], found) == [], "its operand needs them"
    assert sizes.needed_by(ops["feed"], found) == []
    assert sizes.needed_by(ops["constant"], found) == []
    assert sizes.symbols_of(ops["slice"]) == {"m"} and sizes.symbols_of(ops["constant"]) == set()


@pytest.mark.parametrize(
    ("shape", "told"),
    [("k", "k"), ("2*k", "k"), ("3*k + 1", "k"), ("k*m", ""), ("k + m", ""), ("7", ""), ("floordiv(k, 2)", "")],
)
def test_which_sizes_tell_a_symbol(shape: str, told: str) -> None:
    trace = Trace({"x": ((parse_dim(shape),), "float32")})
    assert sizes.alone_in(trace.inputs) == ({told} if told else set())
    assert trace.inputs[0].type is tensor_type((parse_dim(shape),), float32)
