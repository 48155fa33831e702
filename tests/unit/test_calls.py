"""What a second call finds: programs kept by signature, and by what a call really passes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pytest

import dfc
from dfc.errors import Internal, InvalidArgument, InvalidType, Unimplemented
from dfc.frontend.function import HELD_INSTANCES
from tests.frontend_support import error_of


def test_a_number_that_a_signature_makes_an_input_is_one_at_the_second_call_too() -> None:
    v = dfc.Variable(np.zeros(2, np.float32))

    @dfc.function(signature=[dfc.TensorSpec((2,)), dfc.TensorSpec(())])
    def update(x: Any, step: Any) -> Any:
        v.assign_add(x)
        return dfc.sum(v.read()) * step

    x = np.ones(2, np.float32)
    assert [float(update(x, k)) for k in (1, 1, 2, 2)] == [2.0, 4.0, 12.0, 16.0]
    assert v.numpy().tolist() == [4.0, 4.0]


def test_an_array_default_is_an_input_at_every_call() -> None:
    @dfc.function
    def scaled(x: Any, by: Any = np.float32(3.0)) -> Any:  # noqa: B008
        return x * by, x

    x = np.ones(2, np.float32)
    for _ in range(3):
        assert [t.numpy().tolist() for t in scaled(x)] == [[3.0, 3.0], [1.0, 1.0]]
        assert [t.numpy().tolist() for t in scaled(x, np.float32(2.0))] == [[2.0, 2.0], [1.0, 1.0]]
        assert [t.numpy().tolist() for t in scaled(dfc.asarray(x))] == [[3.0, 3.0], [1.0, 1.0]]


def test_a_plan_refuses_another_number_of_inputs_before_it_runs_anything() -> None:
    v = dfc.Variable(np.zeros(2, np.float32))

    @dfc.function
    def update(x: Any, y: Any) -> Any:
        v.assign_add(x)
        return y, x

    x = dfc.asarray([1.0, 1.0])
    step = update.compiled_for(x, x).step
    with pytest.raises(Internal, match="a step of 2 inputs was given 1"):
        step._bound._execute([x._array])
    assert v.numpy().tolist() == [0.0, 0.0]


@dataclass(frozen=True)
class Options:
    scale: Any


@dataclass(frozen=True, eq=False)
class Handle:
    scale: Any


def _traced(*arguments: Any) -> tuple[list[str], int]:
    """The dtypes of results that depend on the first argument's type, and how many traces they took."""
    traces = []

    @dfc.function
    def body(nest: Any) -> Any:
        traces.append(nest)
        number = nest
        while not isinstance(number, int | float):
            if isinstance(number, dict):
                number = next(iter(number))
            else:
                number = number.scale if isinstance(number, Options | Handle) else next(iter(number))
        return dfc.asarray(number) if number == number else dfc.asarray(0.0)

    return [str(body(argument).dtype) for argument in arguments], len(traces)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda x: x,
        Options,
        lambda x: frozenset([x]),
        lambda x: frozenset([(x, "a")]),
        lambda x: {x: "a"},
        lambda x: Options((Options(x),)),
    ],
)
def test_equal_static_values_of_different_types_have_programs_of_their_own(wrapped: Any) -> None:
    given = [wrapped(x) for x in (2, 2.0, 2, 2.0)]
    assert _traced(*given) == (["int32", "float32", "int32", "float32"], 2)
    assert _traced(wrapped(1), wrapped(True), wrapped(1)) == (["int32", "bool", "int32"], 2)


def test_a_static_nan_is_traced_once_and_values_that_are_equal_to_themselves_alone_each() -> None:
    assert _traced(math.nan, float("nan"), np.nan)[1] == 1
    assert _traced(Options(math.nan), Options(math.nan))[1] == 1
    one, other = Handle(1), Handle(1)
    assert _traced(one, other, one)[1] == 2


def test_a_traced_method_as_an_argument_is_traced_once_an_instance() -> None:
    traces = []

    class Model:
        @dfc.function
        def score(self, x: Any) -> Any:
            return x + 1

    @dfc.function
    def apply(call: Any, x: Any) -> Any:
        traces.append(call)
        return call(x)

    model = Model()
    for _ in range(3):
        assert apply(model.score, 1.0).item() == 2.0
    assert apply(Model().score, 1.0).item() == 2.0
    assert len(traces) == 2


def test_a_call_that_does_not_fit_names_the_function_and_the_line() -> None:
    def step(x: Any, rate: Any) -> Any:
        return x * rate

    plain, given = dfc.function(step), dfc.function(signature=[dfc.TensorSpec((2,)), dfc.TensorSpec(())])(step)
    listed = "; the parameters are (x: 'Any', rate: 'Any') -> 'Any'"
    for function in (plain, given):
        text = error_of(InvalidType, lambda function=function: function([1.0, 2.0]), __file__)
        assert text == f"step: missing a required argument: 'rate'{listed}"
    assert error_of(InvalidType, lambda: plain(1, 2, 3), __file__) == f"step: too many positional arguments{listed}"
    one = dfc.function(signature=[dfc.TensorSpec((2,))])(step)
    assert error_of(InvalidArgument, lambda: one([1.0, 2.0], 1.0), __file__) == (
        "step: the signature has 1 entries for the parameters x, rate"
    )
    assert error_of(InvalidType, lambda: given([1.0, 2.0], object()), __file__) == (
        "step: rate: expected a tensor, an array, a number, a string or a nested list of them, got a object"
    )
    assert error_of(InvalidType, lambda: given([1.0, 2.0], "a"), __file__) == (
        "step: rate: strings don't convert to float32\n  use dfc.strings.to_number"
    )


def test_a_value_that_jax_traces_is_refused() -> None:
    double = dfc.function(lambda x: x * 2)
    text = error_of(Unimplemented, lambda: jax.jit(lambda x: double(x))(np.ones(2)), __file__)
    assert text == (
        "<lambda>: a value that jax is tracing can't be an input\n"
        "  call the function outside of jax.jit, jax.grad and jax.vmap"
    )


def test_instances_without_weak_references_are_not_kept_for_ever() -> None:
    class Slotted:
        __slots__ = ()

        @dfc.function
        def add(self, x: Any) -> Any:
            return x + 1

    add = vars(Slotted)["add"]
    for _ in range(HELD_INSTANCES + 10):
        assert Slotted().add is not None
    assert len(add._bound) == HELD_INSTANCES
    assert Slotted().add(1.0).item() == 2.0
