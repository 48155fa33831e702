"""dfc.function: signatures, nests, static arguments, symbolic sizes, methods, nested calls, threads, explain."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import dfc
from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType
from dfc.frontend.function import is_entry
from dfc.ir.ops.function import Call, Func
from tests.frontend_support import error_of

Spec = dfc.TensorSpec
Point = namedtuple("Point", "x y")


@dataclass
class Batch:
    images: Any
    labels: Any


@dataclass(frozen=True)
class Options:
    scale: float = 2.0


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def counted(body: Any, **options: Any) -> tuple[Any, list[int]]:
    """A dfc.function and the list that grows by one a trace."""
    traces: list[int] = []

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        traces.append(1)
        return body(*args, **kwargs)

    wrapped.__wrapped__ = body  # type: ignore[attr-defined]
    return dfc.function(**options)(wrapped), traces


def test_one_trace_a_shape_and_dtype() -> None:
    f, traces = counted(lambda x: x + x)
    for _ in range(3):
        f(ones(2))
        f(dfc.asarray(ones(2)))
    assert len(traces) == 1
    f(ones(3))
    f(np.ones(2))
    assert len(traces) == 3


def test_the_graph_is_the_trace_that_calls_run() -> None:
    f, traces = counted(lambda x: x + x)
    graph = f.graph(Spec((2,)))
    f(ones(2))
    assert f.graph(ones(2)) is graph
    assert len(traces) == 1


def test_nests_of_every_kind() -> None:
    @dfc.function
    def f(batch: Batch, pair: tuple[Any, ...], point: Point, table: dict[str, Any]) -> Any:
        return {
            "sum": batch.images + batch.labels + pair[0] + pair[1][0] + point.x + point.y + table["k"],
            "nest": [Point(batch.images, (table["k"],)), None, "text"],
            "batch": Batch(pair[0], 1.5),
        }

    one = [ones(1) * i for i in range(8)]
    result = f(Batch(one[1], one[2]), (one[3], [one[4]]), Point(one[5], one[6]), {"k": one[7]})
    assert result["sum"].item() == 28
    (point, nothing, text), batch = result["nest"], result["batch"]
    assert isinstance(point, Point) and point.x.item() == 1 and point.y[0].item() == 7
    assert (nothing, text) == (None, "text")
    assert isinstance(batch, Batch) and batch.labels.item() == 1.5


def test_sizes_as_values() -> None:
    @dfc.function(signature=[Spec(("b", "c"))])
    def f(x: Any) -> Any:
        b, c = x.shape
        return dfc.asarray(b), x * (b * c + 2 * b - 1), dfc.asarray([b, c, 7])

    size, scaled, listed = f(ones(3, 2))
    assert (size.item(), size.dtype) == (3, "int32")
    assert_array_equal(scaled.numpy(), np.full((3, 2), 11))
    assert listed.numpy().tolist() == [3, 2, 7]

    @dfc.function(signature=[Spec(("2*b",))])
    def no_such_input(x: Any) -> Any:
        return dfc.asarray(dfc.split(x, 2)[0].shape[0])

    assert error_of(InvalidArgument, no_such_input.graph, __file__) == (
        "asarray: the size b is of no input of 'no_such_input', so it can't be a value here\n"
        "  use dfc.dim_size(t, axis) on a tensor that has it"
    )


def test_names_of_inputs_and_outputs() -> None:
    @dfc.function(signature=[{"a": Spec((2,)), "b": [Spec((2,)), Spec((2,), name="third")]}, Spec((2,), name="images")])
    def f(x: Any, y: Any) -> Any:
        return {"sum": x["a"] + y, "parts": (x["b"][0], {"q": x["b"][1]})}

    assert f.input_names == ["x.a", "x.b.0", "third", "images"]
    assert f.output_names == ["sum", "parts.0", "parts.1.q"]
    assert f.name == "f"
    assert f.graph().input_names == f.input_names
    structure = f.graph().structure.to_json()
    assert json.loads(json.dumps(structure)) == {
        "dict": {"sum": "tensor", "parts": {"tuple": ["tensor", {"dict": {"q": "tensor"}}]}}
    }
    assert [str(s) for s in f.input_specs] == ["float32[2]"] * 4
    assert is_entry(f)


@pytest.mark.parametrize(
    ("body", "names", "structure"),
    [
        (lambda x: x, ["output_0"], "tensor"),
        (lambda x: (x, [x]), ["output_0", "output_1.0"], {"tuple": ["tensor", {"list": ["tensor"]}]}),
        (lambda x: [x, None], ["output_0"], {"list": ["tensor", {"static": None}]}),
        (lambda x: Point(x, x), ["x", "y"], {"namedtuple": "Point", "fields": {"x": "tensor", "y": "tensor"}}),
        (
            lambda x: Batch(x, 3),
            ["images", "labels"],
            {"dataclass": "Batch", "fields": {"images": "tensor", "labels": "tensor"}},
        ),
    ],
)
def test_structures_of_results(body: Any, names: list[str], structure: Any) -> None:
    f = dfc.function(signature=[Spec((2,))])(body)
    assert f.output_names == names
    assert f.graph().structure.to_json() == structure


def test_static_arguments_are_part_of_the_signature() -> None:
    f, traces = counted(lambda x, n, mode="a", options=Options(): x * n * options.scale)
    assert f(ones(1), 3).item() == 6
    assert f(ones(1), 3, mode="a").item() == 6
    assert len(traces) == 1
    assert f(ones(1), 4).item() == 8
    assert f(ones(1), 3.0).item() == 6
    assert f(ones(1), True).item() == 2
    assert f(ones(1), 3, options=Options(10.0)).item() == 30
    assert len(traces) == 5


def test_equal_static_values_of_other_types_are_other_signatures() -> None:
    f = dfc.function(lambda x, n: x + n)
    x = np.ones(1, np.int32)
    assert [f(x, n).dtype for n in (1, 1.0, True, 1)] == ["int32", "float32", "int32", "int32"]
    g = dfc.function(lambda x, n: x / n)
    assert [g(ones(1), n).item() for n in (0.0, -0.0)] == [np.inf, -np.inf]


def test_unhashable_arguments_are_refused() -> None:
    text = error_of(InvalidType, lambda: dfc.function(lambda x, s: x)(ones(1), {1, 2}), __file__)
    assert text == (
        "<lambda>: a set is neither a tensor nor hashable, so it can't be an argument or a result\n"
        "  both are tensors, arrays, nests of them, or hashable values such as numbers and strings"
    )


def test_keywords_defaults_and_variadic_parameters() -> None:
    @dfc.function
    def f(x: Any, /, *rest: Any, scale: Any = 2.0, **named: Any) -> Any:
        return x + sum(rest) * scale + named.get("bias", 0.0)

    assert f(ones(1)).item() == 1
    assert f(ones(1), ones(1), ones(1)).item() == 5
    assert f(ones(1), ones(1), scale=ones(1) * 10, bias=ones(1)).item() == 12
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        f()


def test_closures_and_constants() -> None:
    array, tensor, v = np.full(2, 3, np.float32), dfc.asarray([4.0, 4.0]), dfc.Variable([5.0, 5.0])
    f = dfc.function(lambda x: x + array + tensor + v)
    assert_array_equal(f(ones(2)).numpy(), [13, 13])
    v.assign([0.0, 0.0])
    assert_array_equal(f(ones(2)).numpy(), [8, 8])


def test_a_variable_may_be_an_argument() -> None:
    f, traces = counted(lambda v, x: v.assign_add(x).value())
    a, b = dfc.Variable([1.0]), dfc.Variable([10.0])
    assert f(a, ones(1)).item() == 2
    assert f(b, ones(1)).item() == 11
    assert f(a, ones(1)).item() == 3
    assert len(traces) == 2


def test_an_input_may_be_an_output_twice() -> None:
    x, y = dfc.function(lambda x: (x, x))(ones(2))
    assert_array_equal(x.numpy(), y.numpy())


def test_no_inputs_and_no_outputs() -> None:
    v = dfc.Variable(0.0)
    assert dfc.function(lambda: {"a": dfc.zeros(2)})()["a"].shape == (2,)

    @dfc.function
    def bump() -> None:
        v.assign_add(1.0)

    assert bump() is None
    assert v.item() == 1


# ---- symbolic sizes


def test_one_trace_for_all_sizes_of_a_symbol() -> None:
    f, traces = counted(lambda x, y: dfc.mean(x * y), signature=[Spec(("batch", 3)), Spec(("batch", 1))])
    assert f(ones(2, 3), ones(2, 1) * 5).item() == 5
    assert f(ones(4, 3), ones(4, 1) * 7).item() == 7
    assert len(traces) == 1
    assert f.graph().output_specs[0].shape == ()


def test_sizes_that_follow_from_a_symbol() -> None:
    @dfc.function(signature=[Spec(("b", 2)), Spec(("2*b",)), Spec((None,))])
    def f(x: Any, y: Any, z: Any) -> Any:
        return dfc.reshape(x, (-1,)) + y, dfc.shape(x), x[1:], x[-1], z, dfc.arange(x.shape[0]) * x.shape[0]

    results = f(ones(3, 2), np.arange(6, dtype=np.float32), ones(5))
    assert [str(s) for s in f.graph().output_specs] == [
        "float32[2*b]",
        "int32[2]",
        "float32[b - 1, 2]",
        "float32[2]",
        "float32[z_0]",
        "int32[b]",
    ]
    assert [r.shape for r in results] == [(6,), (2,), (2, 2), (2,), (5,), (3,)]
    assert_array_equal(results[0].numpy(), np.arange(6) + 1)
    assert_array_equal(results[1].numpy(), [3, 2])
    assert_array_equal(results[5].numpy(), [0, 3, 6])


@pytest.mark.parametrize(
    ("args", "kind", "text"),
    [
        ((ones(2, 4), ones(2)), InvalidArgument, "images must be float32[b, 3], got float32[2, 4]"),
        ((ones(2, 3), ones(5)), InvalidArgument, "y must be float32[b] with b = 2 by images, got float32[5]"),
        ((ones(2), ones(2)), InvalidArgument, "images must be float32[b, 3], got float32[2]"),
        (
            (np.ones((2, 3)), ones(2)),
            InvalidType,
            "images must be float32[b, 3], got float64[2, 3]\n  convert it with dfc.astype or .astype('float32')",
        ),
    ],
)
def test_arguments_that_do_not_fit_the_signature(args: Any, kind: Any, text: str) -> None:
    f = dfc.function(signature=[Spec(("b", 3), name="images"), Spec(("b",))])(lambda x, y: (x, y))
    assert error_of(kind, lambda: f(*args), __file__) == text


def test_numbers_and_lists_take_the_dtype_of_the_signature() -> None:
    f = dfc.function(signature=[Spec((2,), "float64"), [Spec((), "int8")]])(lambda x, y: (x, y[0]))
    x, y = f([1, 2], [7])
    assert (x.dtype, y.dtype) == ("float64", "int8")
    assert f(dfc.Variable([1.0, 2.0], dtype="float64"), [7])[0].numpy().tolist() == [1, 2]


def test_wrong_nests_and_signatures() -> None:
    f = dfc.function(signature=[[Spec(()), Spec(())]])(lambda pair: pair)
    with pytest.raises(InvalidArgument, match=r"pair must be a list as in the signature, .*, got 1.0"):
        f(1.0)
    with pytest.raises(InvalidArgument, match="the signature has 2 entries for the parameters x"):
        dfc.function(signature=[Spec(()), Spec(())])(lambda x: x).graph()
    with pytest.raises(InvalidType, match="a signature is a list with a TensorSpec for each parameter"):
        dfc.function(signature=Spec(()))(lambda x: x).graph()  # type: ignore[call-overload]
    with pytest.raises(InvalidArgument, match="two inputs would have the same name: a, a"):
        dfc.function(signature=[Spec((), name="a"), Spec((), name="a")])(lambda x, y: x).graph()
    with pytest.raises(InvalidArgument, match="a size is a non-negative int, a name or None, got -1"):
        Spec((-1,))
    with pytest.raises(InvalidArgument, match="a name must be a text without blanks and colons, got 'a b'"):
        Spec((), name="a b")
    with pytest.raises(InvalidType, match=r"dfc\.function needs a function, got 3"):
        dfc.function(3)  # type: ignore[call-overload]
    with pytest.raises(FailedPrecondition, match="'<lambda>' has no signature"):
        _ = dfc.function(lambda x: x).input_names


def test_a_dict_with_the_same_name_twice_in_its_results() -> None:
    f = dfc.function(lambda x: {"a": {"b": x}, "a.b": x})
    with pytest.raises(InvalidArgument, match=r"two results would have the same name: \['a.b', 'a.b'\]"):
        f(ones(1))


# ---- calls between functions


def test_a_nested_call_is_a_call_in_the_graph_traced_once() -> None:
    inner, traces = counted(lambda x, n: x * n)

    @dfc.function
    def outer(x: Any) -> Any:
        return inner(x, 2.0) + inner(x, 2.0) + inner(x, 3.0)

    graph = outer.graph(Spec((1,)))
    functions = [op for op in graph.module.ops if isinstance(op, Func)]
    assert [f.sym_name.data for f in functions] == ["outer", "wrapped", "wrapped_1"]
    assert len([op for op in functions[0].block.ops if isinstance(op, Call)]) == 3
    assert len(traces) == 2
    assert outer(ones(1)).item() == 7


def test_a_nested_function_may_use_the_callers_tensors() -> None:
    @dfc.function
    def outer(x: Any) -> Any:
        y = x * 2

        @dfc.function
        def inner(z: Any) -> Any:
            return y + z + x

        first = inner(x)
        y = x * 10
        return first, inner(x)

    assert [r.item() for r in outer(ones(1))] == [4, 12]


def test_effects_of_nested_calls_happen_in_program_order() -> None:
    v = dfc.Variable(1.0)
    read = dfc.function(lambda: v.read())

    @dfc.function
    def double() -> None:
        v.assign(v * 2)

    @dfc.function
    def program() -> Any:
        a = read()
        double()
        b = v.read()
        v.assign_add(1.0)
        c = read()
        double()
        return a, b, c, read()

    assert [r.item() for r in program()] == [1, 2, 3, 6]
    assert v.item() == 6


def test_a_nested_function_with_a_signature_takes_the_callers_sizes() -> None:
    @dfc.function(signature=[Spec(("n", 2))])
    def inner(x: Any) -> Any:
        return dfc.sum(x, axis=1)

    @dfc.function(signature=[Spec(("b", 2))])
    def outer(x: Any) -> Any:
        return inner(x) + inner(x * 2)

    assert_array_equal(outer(ones(3, 2)).numpy(), [6, 6, 6])
    assert str(outer.graph().output_specs[0]) == "float32[b]"
    wrong = dfc.function(lambda x: inner(x))
    assert (
        error_of(InvalidArgument, lambda: wrong(ones(3, 3)), __file__) == "x must be float32[n, 2], got float32[3, 3]"
    )


# ---- methods


class Model:
    def __init__(self, value: float) -> None:
        self.v = dfc.Variable(value)
        self.traces = 0

    @dfc.function
    def add(self, x: Any, n: int = 1) -> Any:
        self.traces += 1
        return self.v + x * n

    @dfc.function(signature=[Spec(("b",))])
    def total(self, x: Any) -> Any:
        return dfc.sum(x) * self.v


def test_methods_trace_once_an_instance() -> None:
    a, b = Model(1.0), Model(10.0)
    for _ in range(2):
        assert a.add(ones(1)).item() == 2
        assert b.add(ones(1)).item() == 11
    assert (a.traces, b.traces) == (1, 1)
    assert a.add(ones(1), n=3).item() == 4
    assert b.total(ones(3)).item() == 30
    assert a.total.graph().input_names == ["x"]
    assert repr(a.add).startswith("<dfc.function 'add' of <")
    assert isinstance(Model.add, dfc.Function)


def test_a_traced_method_does_not_keep_its_instance_alive() -> None:
    model = Model(1.0)
    model.add(ones(1))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_methods_of_classes_with_slots() -> None:
    class Small:
        __slots__ = ("n",)

        @dfc.function
        def scaled(self, x: Any) -> Any:
            return x * self.n

    small = Small()
    small.n = 4
    assert small.scaled(ones(1)).item() == 4


# ---- threads, explain, lowering


def test_threads_with_a_new_signature_trace_it_once() -> None:
    barrier = threading.Barrier(8)
    f, traces = counted(lambda x: dfc.exp(x) * 0.5 + x)
    results: list[Any] = []

    def work() -> None:
        barrier.wait()
        results.append(f(ones(5)).numpy())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(traces) == 1
    assert len(results) == 8
    assert all((r == results[0]).all() for r in results)


def test_explain_says_what_changed_and_where() -> None:
    @dfc.function
    def f(x: Any, n: Any = 1, *, options: Any = None) -> Any:
        return x

    assert f.explain() == "f has not been traced"
    f(ones(2))
    f(ones(3))
    f(ones(3), 2)
    f([ones(3)], 2, options="fast")
    lines = f.explain().splitlines()
    first = f.__wrapped__.__code__.co_firstlineno + 5  # type: ignore[attr-defined]
    assert lines[0] == "f was traced 4 times"
    reasons = [
        "the first signature (x: float32[2], n: 1, options: None)",
        "x changed from float32[2] to float32[3]",
        "n changed from 1 to 2",
        "x is gone, it was float32[3]; options changed from None to 'fast'; x.0 is new: float32[3]",
    ]
    for index, (line, reason) in enumerate(zip(lines[1:], reasons, strict=True)):
        assert line == f"  {index + 1}. at {__file__}:{first + index}:5: {reason}"


def test_lower_gives_stablehlo() -> None:
    text = dfc.function(lambda x: x + x).lower(Spec((2,))).text
    assert "stablehlo.add" in text
    assert "tensor<2xf32>" in text


def test_lower_takes_the_sizes_of_a_signature() -> None:
    f = dfc.function(signature=[Spec(("n", 2))])(lambda x: x + x)
    assert "tensor<3x2xf32>" in f.lower(Spec((3, 2))).text
    assert "tensor<5x2xf32>" in f.lower(np.zeros((5, 2), np.float32)).text
    with pytest.raises(InvalidArgument, match=r"x must be float32\[n, 2\], got float32\[3, 4\]"):
        f.lower(Spec((3, 4)))
    assert "tensor<2xf32>" in dfc.function(signature=[Spec((2,))])(lambda x: x + x).lower().text


def test_a_graph_prints_and_stays_as_traced() -> None:
    f = dfc.function(lambda x: dfc.identity(x * 2.0, name="twice"), name="double")
    graph = f.graph(Spec(("b",)))
    before = str(graph)
    f.graph(Spec((2,)))
    dfc.function(lambda x: f(x))(ones(2))
    assert str(graph) == before
    assert 'name = "twice"' in before
    assert repr(graph) == "<dfc.Graph 'double': 5 ops, 0 variables>"
    assert graph.name == "double"


def test_errors_of_the_users_own_code_pass_through() -> None:
    f = dfc.function(lambda x: {}[x])
    with pytest.raises(KeyError):
        f(ones(1))


def test_the_short_way_of_one_tensor_is_not_taken_for_another_signature() -> None:
    v = dfc.Variable(np.float32(1.0), name="short_way")

    @dfc.function
    def step(x: dfc.Tensor, twice: bool = False) -> dfc.Tensor:
        v.assign_add(x)
        return x * 2.0 if twice else x * 1.0

    x, y = dfc.asarray(np.float32(3.0)), dfc.asarray(np.float32([3.0, 4.0]))
    for _ in range(3):
        assert step(x, twice=True).item() == 6.0
        assert step(x).item() == 3.0
        assert step(x, True).item() == 6.0
    assert v.numpy() == 1.0 + 9 * 3.0
    with pytest.raises(dfc.errors.InvalidArgument):
        step(y)
    assert step(x).item() == 3.0


def test_functions_that_do_not_run_when_called_are_refused() -> None:
    def generator(x: Any) -> Any:
        yield x

    async def later(x: Any) -> Any:
        return x

    for python, kind in ((generator, "a generator"), (later, "an async function")):
        with pytest.raises(InvalidType) as caught:
            dfc.function(python)
        lines = str(caught.value).splitlines()
        assert lines.pop(1).startswith(f"  at {__file__}:")
        assert lines == [
            f"dfc.function: {python.__name__!r} is {kind}, whose body does not run when it is called",
            "  decorate a plain function that returns its results",
        ]


def test_an_error_has_no_other_one_in_its_traceback() -> None:
    @dfc.function
    def product(x: dfc.Tensor) -> dfc.Tensor:
        return x @ np.ones((3, 3), np.float32)

    with pytest.raises(InvalidArgument, match=r"contracting dimensions must match, got 2 and 3") as caught:
        product(dfc.asarray(np.ones((2, 2), np.float32)))
    assert caught.value.__context__ is None
