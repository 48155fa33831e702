"""`@dfc.function(autograph=True)`: which loops are the graph's, what is traced how often, effects, places, errors."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dfc
from dfc import TensorSpec
from dfc.errors import DfcError, InvalidType
from dfc.ir import locations

XS = np.array([1.0, -2.0, 3.0, 4.0], np.float32)
TWO = np.float32(2.0)
graph_function = dfc.function(autograph=True)


def ops_of(graph: Any, name: str = "") -> list[Any]:
    return [op for op in graph.func.walk() if op.name.startswith("df.") and op.name.endswith(name)]


def line_of(function: Callable[..., Any], text: str) -> int:
    """The number of the line of a function's source that has the text."""
    lines, first = inspect.getsourcelines(inspect.unwrap(function))
    return first + next(i for i, line in enumerate(lines) if text in line)


def test_the_default_leaves_python_as_it_is() -> None:
    @dfc.function
    def plain(x: Any) -> Any:
        return x if x > 0 else -x

    assert not plain.autograph
    with pytest.raises(InvalidType, match="Python's `if`, `while`, `and`, `or` and `not` need the value"):
        plain(TWO)


# ---- which loops are the graph's


def test_loops_over_tensors_and_over_sizes_of_tensors_are_loops_and_others_are_unrolled() -> None:
    @graph_function
    def sizes(xs: Any) -> Any:
        total = 0.0
        for x in xs:
            total += x
        for i in range(len(xs)):
            total += xs[i]
        for i in range(1, xs.shape[0] - 1):
            total += xs[i]
        for i, (a, b) in enumerate(zip(xs, xs, strict=True)):
            total += a * b * i
        return total

    @graph_function
    def numbers(xs: Any) -> Any:
        total = 0.0
        for i in range(3):
            total += xs[i]
        for i in list(range(len(xs))):
            total += xs[i]
        for scale in (2.0, 3.0):
            total += scale * xs[0]
        return sum([x * 1.0 for x in xs], total)

    graph = sizes.graph(TensorSpec((4,), "float32"))
    assert len(ops_of(graph, "scan")) == 4 and not ops_of(graph, "while")
    graph = numbers.graph(TensorSpec((4,), "float32"))
    assert not ops_of(graph, "scan") and not ops_of(graph, "while")
    assert len(ops_of(graph, "add")) == 3 + 4 + 2 + 4
    assert_allclose(sizes(XS).numpy(), 6 + 6 + 1 + 1 * 4 + 2 * 9 + 3 * 16)
    assert_allclose(numbers(XS).numpy(), 2 + 6 + 5 + 6)


def test_constant_tensors_make_loops_too() -> None:
    table = dfc.asarray(XS)

    @graph_function
    def run(x: Any) -> Any:
        for row in table:
            x = x + row
        for i in range(dfc.asarray(np.int64(3))):
            x = x + i
        return x

    graph = run.graph(TensorSpec((), "float32"))
    assert len(ops_of(graph, "scan")) == 2
    assert run(TWO).item() == 2 + 6 + 3


def test_f11_the_graph_does_not_grow_with_the_number_of_iterations_and_a_body_is_traced_once() -> None:
    traced = []

    def run(xs: Any) -> Any:
        state = 0.0
        out = dfc.zeros((len(xs),))
        for i in range(len(xs)):
            traced.append(i)
            state, out[i] = state + xs[i], state * 2.0
        n = 0
        while n < dfc.sum(out):
            traced.append(n)
            n += 1
        return out, n

    counts = {size: len(ops_of(graph_function(run).graph(TensorSpec((size,), "float32")))) for size in (3, 3000)}
    assert counts[3] == counts[3000] and len(traced) == 4


def test_one_program_serves_all_sizes() -> None:
    @dfc.function(signature=[TensorSpec(("n",), "float32")], autograph=True)
    def run(xs: Any) -> Any:
        total, seen = 0.0, 0
        for i in range(len(xs) - 1):
            if xs[i] > 3.0:
                break
            total, seen = total * 0.5 + xs[i + 1], seen + 1
        for x in reversed(xs):
            total += x
        return total, seen

    for size in (0, 1, 2, 7):
        xs = np.arange(size, dtype=np.float32)
        total, seen = 0.0, 0
        for i in range(size - 1):
            if xs[i] > 3.0:
                break
            total, seen = total * 0.5 + xs[i + 1], seen + 1
        found = run(xs)
        assert_allclose(found[0].numpy(), total + xs.sum())
        assert found[1].item() == seen


def test_sizes_are_ints() -> None:
    seen = []

    @graph_function
    def run(xs: Any) -> Any:
        n, m = xs.shape
        seen.append((n, n + 1, 2 * m, n // 2, n == 4, int(n), isinstance(n, int), n / 2))
        return dfc.reshape(xs, (m, n)) / n + n * dfc.sum(xs) - xs.shape[1]

    xs = XS.reshape(4, 1)
    assert_allclose(run(xs).numpy(), xs.reshape(1, 4) / 4 + 4 * 6 - 1)
    assert seen == [(4, 5, 2, 2, True, 4, True, 2.0)]
    assert type(seen[0][5]) is int and type(seen[0][4]) is bool


def test_sizes_are_weak_numbers_to_operations() -> None:
    @graph_function
    def run(small: Any, flag: Any) -> Any:
        n = len(small)
        if flag:
            n = n + 1
        return small * len(small), n, dfc.full((len(small), 1), len(small)), small // len(small), len(small)

    found = run(np.ones(3, np.int8), np.bool_(True))
    assert [v.dtype.name for v in found] == ["int8", "int32", "int32", "int8", "int32"]
    assert found[1].item() == 4 and found[4].item() == 3


def test_variables_are_looped_over_too() -> None:
    v = dfc.Variable(XS)

    @graph_function
    def run(scale: Any) -> Any:
        total = 0.0
        for row in v:
            total += row * scale
        for i in range(v.shape[0]):
            total += v[i]
        return total

    assert len(ops_of(run.graph(TensorSpec((), "float32")), "scan")) == 2
    assert run(TWO).item() == 18.0


def test_built_ins_on_tensors() -> None:
    @graph_function
    def run(x: Any) -> Any:
        return int(x), float(int(x)), bool(x), max(x, 1.0), min(1.0, x), len([x]), max(1, 2), int("3"), abs(x)

    found = [v.item() for v in run(np.float32(2.75))]
    assert found == [2, 2.0, True, 2.75, 1.0, 1, 2, 3, 2.75]


# ---- state and effects


def test_f9_only_the_branch_taken_writes_variables_and_loops_write_each_time() -> None:
    count, last = dfc.Variable(np.float32(0)), dfc.Variable(np.float32(-1))

    @graph_function
    def run(xs: Any) -> Any:
        for x in xs:
            if x > 0.0:
                count.assign_add(1.0)
                last.assign(x)
            else:
                count.assign_add(0.25)
        return count

    assert run(XS).item() == 3.25 and last.numpy() == 4.0


def test_a_tensor_array_is_written_by_items() -> None:
    @graph_function
    def run(xs: Any) -> Any:
        squares = dfc.TensorArray("float32", size=len(xs), element_shape=())
        for i in range(len(xs)):
            if xs[i] > 3.0:
                break
            squares[i] = xs[i] * xs[i]
        return squares.stack(), squares[1]

    stacked, second = run(XS)
    assert_array_equal(stacked.numpy(), [1, 4, 9, 0])
    assert second.item() == 4


def test_attributes_are_variables_too() -> None:
    class Holder:
        def __init__(self) -> None:
            self.__scale = 2.0
            self.total: Any = 0.0

        @graph_function
        def run(self, xs: Any) -> Any:
            self.total = 0.0
            for x in xs:
                if x > 0.0:
                    self.total = self.total + self.__scaled(x)
                else:
                    self.total = self.total - 1.0
            return self.total

        def __scaled(self, x: Any) -> Any:
            return x * self.__scale if x > 1.0 else x

    assert Holder().run(XS).item() == 1.0 - 1.0 + 6.0 + 8.0


def test_super_defaults_and_keywords() -> None:
    class Base:
        def run(self, x: Any, *, shift: float = 1.0) -> Any:
            if x > 0.0:
                return x + shift
            return x - shift

    class Derived(Base):
        @graph_function
        def run(self, x: Any, *, shift: float = 3.0) -> Any:
            if x < 100.0:
                y = super().run(x)
            else:
                y = super().run(x, shift=shift)
            return y

    assert Derived().run(TWO).item() == 3.0
    assert Derived().run(np.float32(100.0)).item() == 103.0
    assert Derived().run(np.float32(-1.0), shift=9.0).item() == -2.0


# ---- what is called


def absolute(x: Any) -> Any:
    if x > 0.0:
        return x
    return -x


@dfc.autograph.do_not_convert
def as_it_is(x: Any) -> Any:
    return x if x > 0.0 else -x


class Layer(dfc.Module):
    def __call__(self, x: Any) -> Any:
        return absolute(x) if x < 10.0 else x


def test_functions_that_are_called_are_converted() -> None:
    @graph_function
    def run(x: Any) -> Any:
        partial = functools.partial(absolute, x)
        return Layer()(x), partial(), [f(x) for f in (absolute, lambda v: v if v > 0.0 else v - 1.0)]

    first, second, (third, fourth) = run(np.float32(-2.0))
    assert [v.item() for v in (first, second, third, fourth)] == [2.0, 2.0, 2.0, -3.0]


def test_functions_given_to_functions_of_dfc_are_converted() -> None:
    @graph_function
    def run(xs: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            if x > 0.0:
                carry = carry + x
            return carry, carry

        return dfc.scan(step, 0.0, xs), dfc.map(absolute, xs), dfc.grad(absolute)(xs[1])

    (last, sums), positive, slope = run(XS)
    assert last.item() == 8.0 and slope.item() == -1.0
    assert_array_equal(sums.numpy(), [1, 1, 4, 8])
    assert_array_equal(positive.numpy(), np.abs(XS))


def test_do_not_convert_and_functions_of_libraries_stay_as_they_are() -> None:
    @graph_function
    def run(x: Any, call: Callable[[Any], Any]) -> Any:
        return call(x)

    with pytest.raises(InvalidType, match="isn't known while 'run' is traced"):
        run(TWO, as_it_is)
    assert run(TWO, absolute).item() == 2.0


def test_a_function_without_source_is_called_as_it_is_and_an_error_in_it_says_why() -> None:
    namespace: dict[str, Any] = {}
    exec("def bare(x):\n    return x + 1\ndef branching(x):\n    return x if x > 0 else -x", namespace)

    @graph_function
    def run(x: Any, name: str) -> Any:
        return namespace[name](x)

    assert run(TWO, "bare").item() == 3.0
    with pytest.raises(InvalidType) as caught:
        run(TWO, "branching")
    assert caught.value.__notes__ == [
        "'branching' was called as it is, since it can't be converted: its source is not to be had: <string> can't be "
        "read"
    ]


def test_python_values_stay_python() -> None:
    seen: list[Any] = []

    @graph_function
    def run(x: Any, options: Any, verbose: bool = False) -> Any:
        names = []
        for key, value in zip(("a", "b"), options, strict=True):
            if value is None or not value > 1:
                continue
            names.append(key)
            x = x * value
        seen.append((names, "yes" if verbose and names else "no", 1 < len(names) <= 2, names and names[0]))
        while len(names) < 4:
            names.append("c")
        assert names, "never empty"
        return x

    assert run(TWO, (2.0, None)).item() == 4.0
    assert run(TWO, (2.0, 3.0), verbose=True).item() == 12.0
    assert [(s[1], s[2], s[3]) for s in seen] == [("no", False, "a"), ("yes", True, "a")]
    assert seen[0][0] == ["a", "c", "c", "c"]


# ---- places and tracebacks


def test_operations_have_the_places_of_the_source() -> None:
    @graph_function
    def run(xs: Any) -> Any:
        total = 0.0
        for x in xs:
            if x > 1.0:
                total = total + dfc.exp(x)
        while total > 1.0:
            total = total * 0.5
        return total

    graph = run.graph(TensorSpec((4,), "float32"))
    found = {op.name: locations.describe(op.location).rsplit(":", 2)[1:] for op in ops_of(graph)}
    source = inspect.getsource(run.python_function).splitlines()
    for name, text, part in (
        ("df.scan", "for x in xs", "for"),
        ("df.if", "if x > 1.0", "if"),
        ("df.while", "while total", "while"),
        ("df.exponential", "dfc.exp(x)", "dfc.exp"),
        ("df.multiply", "total * 0.5", "total * 0.5"),
    ):
        line = line_of(run.python_function, text)
        column = next(s for s in source if text in s).index(part) + 1
        assert found[name] == [str(line), str(column)], name
    files = {locations.describe(op.location).rsplit(":", 2)[0] for op in ops_of(graph)}
    assert files == {__file__}


def test_an_error_in_converted_code_shows_the_line_and_the_name_of_the_source() -> None:
    @graph_function
    def run(xs: Any) -> Any:
        total = dfc.zeros((3,))
        for x in xs:
            if x > 1.0:
                total = dfc.matmul(total, dfc.zeros((4, 3)))
        return total

    with pytest.raises(DfcError) as caught:
        run(XS)
    line = line_of(run.python_function, "dfc.matmul")
    assert f"{__file__}:{line}:" in str(caught.value)
    frames = [f for f in traceback.extract_tb(caught.value.__traceback__) if f.filename == __file__]
    assert {f.name for f in frames[1:]} == {"run"}
    assert frames[-1].lineno == line and frames[-1].line == "total = dfc.matmul(total, dfc.zeros((4, 3)))"


def test_to_code_shows_what_a_function_becomes() -> None:
    text = dfc.autograph.to_code(absolute)
    assert "def absolute(x):" in text and "if_(x > 0.0, block_if, block_else" in text
    assert dfc.autograph.to_code(graph_function(absolute)) == text
    with pytest.raises(InvalidType, match="a Python function is needed, got 3"):
        dfc.autograph.to_code(3)  # type: ignore[arg-type]
