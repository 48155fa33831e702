"""Arithmetic of symbolic dimensions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dfc
from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.dims import Dim, ceildiv, divides, is_static, match, parse_dim, size, substitute, symbol
from tests.frontend_support import error_of

b, h = symbol("b"), symbol("h")


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (b + b, "2*b"),
        (b * 49 * h, "49*b*h"),
        (h * b, "b*h"),
        (b - 1, "b - 1"),
        (1 - b, "-b + 1"),
        ((b + 1) * (b - 1), "b*b - 1"),
        (ceildiv(b, 2), "floordiv(b + 1, 2)"),
        ((b * 6) // 3, "2*b"),
        ((b * h) // b, "h"),
        (7 // b, "floordiv(7, b)"),
    ],
)
def test_canonical_text(dim: Dim, text: str) -> None:
    assert str(dim) == text
    assert parse_dim(text) == dim


def test_what_cancels_is_an_int() -> None:
    assert b - b == 0
    assert (b + 3) - b == 3
    assert isinstance((b + 3) - b, int)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 6), st.integers(-5, 5))
def test_substitution_agrees_with_integers(x: int, y: int, k: int, c: int) -> None:
    def formula(b: Dim, h: Dim) -> Dim:
        return ceildiv(b * h * k + c - h, k) + (b + c) * 2

    symbolic = formula(b, h)
    assert not isinstance(symbolic, int)
    assert symbolic.substitute({"b": x, "h": y}) == formula(x, y)
    partly = symbolic.substitute({"b": x})
    assert (partly if isinstance(partly, int) else partly.substitute({"h": y})) == formula(x, y)


def test_symbols_include_those_inside_quotients() -> None:
    assert (ceildiv(b, 2) + h).symbols == {"b", "h"}  # type: ignore[union-attr]


def test_divides_only_where_exact() -> None:
    assert divides(b, b * 12) == 12
    assert divides(4, b * 12) == b * 3
    assert divides(5, b * 12) is None
    assert divides(h, b * 12) is None
    assert divides(0, 12) is None
    assert divides(5, 10) == 2


@pytest.mark.parametrize(("pattern", "value", "ok", "bound"), [
    (b, 8, True, {"b": 8}),
    (b * 2, 8, True, {"b": 4}),
    (b * 2, 7, False, {}),
    (b + 3, 8, True, {"b": 5}),
    (b + 3, 2, False, {}),
    (4, 4, True, {}),
    (4, 5, False, {}),
])  # fmt: skip
def test_match_solves_for_the_symbol(pattern: Dim, value: int, ok: bool, bound: dict[str, int]) -> None:
    bindings: dict[str, int] = {}
    assert match(pattern, value, bindings) is ok
    assert bindings == bound


def test_match_checks_what_is_bound() -> None:
    bindings = {"b": 4}
    assert match(b * 3, 12, bindings)
    assert not match(b, 5, bindings)


def test_shapes() -> None:
    assert size((b, 4, 2)) == b * 8
    assert substitute((b, 4, b * h), {"b": 2, "h": 5}) == (2, 4, 10)
    assert is_static((1, 2))
    assert not is_static((1, b))


@pytest.mark.parametrize("text", ["b/2", "b**2", "", "f(b)", "1.5", "b +"])
def test_not_a_dimension(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a dimension"):
        parse_dim(text)


def test_a_symbol_is_an_identifier() -> None:
    with pytest.raises(InvalidArgument, match="identifier, got '2b'"):
        symbol("2b")


@pytest.mark.parametrize("name", ["class", "in", "None", "floordiv", "max"])
def test_a_name_that_means_something_else(name: str) -> None:
    for make in (symbol, parse_dim, lambda n: parse_dim(f"2*{n}")):
        with pytest.raises(InvalidArgument) as caught:
            make(name)
        if make is symbol or make is parse_dim:
            assert str(caught.value) == (
                f"a symbolic dimension can't be called {name!r}: dimensions are written as Python expressions, where "
                f"that has a meaning\n  take another name, for example {name}_size"
            )


HINT = "\n  dfc.dim_size(x, axis) and dfc.shape(x) are sizes as tensors"


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (lambda b: range(b), "a Python number, as range() and int() take it,"),
        (lambda b: int(b), "a Python number, as range() and int() take it,"),
        (lambda b: float(b), "float()"),
        (lambda b: bool(b), "bool()"),
        (lambda b: b > 3, "an ordering"),
        (lambda b: b >= 3, "an ordering"),
        (lambda b: 1.0 / b, "/"),
        (lambda b: b**0.5, "**"),
        (lambda b: b % 2, "%"),
        (lambda b: b * 0.5, "* with 0.5"),
        (lambda b: 0.5 - b, "- with 0.5"),
    ],
)
def test_what_needs_the_number_says_that_the_size_is_known_at_run_time_only(use: Any, what: str) -> None:
    def body(x: Any) -> Any:
        return use(x.shape[0])

    function = dfc.function(body)
    text = error_of(InvalidType, lambda: function.graph(dfc.TensorSpec(("b",))), __file__)
    assert text == f"{what} needs the size b, which is known at run time only{HINT}"


def test_a_size_and_a_tensor_meet_as_a_tensor_and_equality_is_of_expressions() -> None:
    @dfc.function(signature=[dfc.TensorSpec(("b",))])
    def body(x: Any) -> Any:
        b = x.shape[0]
        assert b == x.shape[0] and b != 2
        return [b * x, b + x, b - x, b / x, x / b, x % b]

    assert [t.numpy().tolist() for t in body([1.0, 4.0])] == [
        [2.0, 8.0],
        [3.0, 6.0],
        [1.0, -2.0],
        [2.0, 0.5],
        [0.5, 2.0],
        [1.0, 0.0],
    ]
