"""Symbolic dimensions: an int, or a polynomial over symbols in one canonical form.

`b`, `2*b`, `b - 1`, `49*b*h` are polynomials; a quotient that isn't exact becomes an atom, `floordiv(b - 1, 2)`, which
behaves as a symbol until `b` is known. Two dimensions are equal when their canonical texts are.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from keyword import iskeyword
from typing import Any

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import locations

Monomial = tuple[str, ...]
Bindings = Mapping[str, "Dim"]


class SymbolicDim:
    """A polynomial with integer coefficients over symbols that stand for sizes not known yet.

    `==` asks whether two dimensions are the same expression, so `b == 2` is False; what needs the number raises
    InvalidType.
    """

    __slots__ = ("_hash", "terms", "text")
    terms: tuple[tuple[Monomial, int], ...]
    text: str

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self.text = _render(terms)
        self._hash = hash(self.text)

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SymbolicDim) and other.text == self.text

    def __add__(self, other: Dim) -> Dim:
        if not isinstance(other, int | SymbolicDim):
            return self._not_a_size("+", other)
        return _from_terms([*self.terms, *_terms(other)])

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        if not isinstance(other, int | SymbolicDim):
            return self._not_a_size("-", other)
        return self + (-other)

    def __rsub__(self, other: int) -> Dim:
        if not isinstance(other, int):
            return self._not_a_size("-", other)
        return (-self) + other

    def __mul__(self, other: Dim) -> Dim:
        if not isinstance(other, int | SymbolicDim):
            return self._not_a_size("*", other)
        return _from_terms(
            [(tuple(sorted(m + n)), c * d) for m, c in self.terms for n, d in _terms(other)],
        )

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        if not isinstance(other, int | SymbolicDim):
            return self._not_a_size("//", other)
        exact = _divide(self, other)
        if exact is not None:
            return exact
        return _from_terms([((f"floordiv({self}, {other})",), 1)])

    def __rfloordiv__(self, other: int) -> Dim:
        exact = _divide(other, self)
        return exact if exact is not None else _from_terms([((f"floordiv({other}, {self})",), 1)])

    # ---- what needs the number

    def _unknown(self, what: str) -> InvalidType:
        return InvalidType(
            f"{what} needs the size {self}, which is known at run time only",
            location=locations.describe(locations.capture()),
            hint="dfc.dim_size(x, axis) and dfc.shape(x) are sizes as tensors",
        )

    def _not_a_size(self, operation: str, other: object) -> Any:
        """For an operand that is no size: a tensor knows what to do with this one, a float does not."""
        if isinstance(other, float | complex):
            raise self._unknown(f"{operation} with {other!r}")
        return NotImplemented

    def __bool__(self) -> bool:
        raise self._unknown("bool()")

    def __index__(self) -> int:
        raise self._unknown("a Python number, as range() and int() take it,")

    def __float__(self) -> float:
        raise self._unknown("float()")

    def __lt__(self, other: object) -> Any:
        raise self._unknown("an ordering")

    __le__ = __gt__ = __ge__ = __lt__

    def __truediv__(self, other: object) -> Any:
        return NotImplemented if _is_array(other) else self._raise("/")

    __rtruediv__ = __truediv__

    def __pow__(self, other: object) -> Any:
        return NotImplemented if _is_array(other) else self._raise("**")

    __rpow__ = __pow__

    def __mod__(self, other: object) -> Any:
        return NotImplemented if _is_array(other) else self._raise("%")

    __rmod__ = __mod__

    def _raise(self, what: str) -> Any:
        raise self._unknown(what)

    @property
    def symbols(self) -> frozenset[str]:
        """The names that the dimension depends on, those inside quotients included."""
        return frozenset().union(*(_atom_symbols(a) for m, _ in self.terms for a in m))

    def substitute(self, bindings: Bindings) -> Dim:
        """The dimension with the symbols in `bindings` replaced; an int once every symbol is."""
        total: Dim = 0
        for monomial, coefficient in self.terms:
            term: Dim = coefficient
            for atom in monomial:
                term = term * _substitute_atom(atom, bindings)
            total = total + term
        return total


RESERVED = frozenset({"floordiv", "max"})
"""Functions of dimensions, there now or to come."""


def _is_array(value: object) -> bool:
    return hasattr(value, "shape") or hasattr(value, "__dfc_tensor__")


Dim = int | SymbolicDim
Shape = tuple[Dim, ...]


def symbol(name: str) -> SymbolicDim:
    """The dimension that is the symbol `name`: a Python identifier that means nothing else in a dimension's text."""
    if not name.isidentifier():
        raise InvalidArgument(f"a symbolic dimension needs a name that is an identifier, got {name!r}")
    if iskeyword(name) or name in RESERVED:
        raise InvalidArgument(
            f"a symbolic dimension can't be called {name!r}: dimensions are written as Python expressions, where that "
            "has a meaning",
            hint=f"take another name, for example {name}_size",
        )
    return SymbolicDim((((name,), 1),))


@lru_cache(maxsize=4096)
def parse_dim(text: str) -> Dim:
    """The dimension written as `text`, for example `2*b + 1`. Raises InvalidArgument for anything else."""
    if iskeyword(text) or text in RESERVED:
        return symbol(text)  # the error for a name
    try:
        return _evaluate(ast.parse(text, mode="eval").body, symbol)
    except InvalidArgument:
        raise
    except (SyntaxError, KeyError, TypeError, ValueError) as error:
        raise InvalidArgument(f"{text!r} is not a dimension: expected integers, names, + - * and floordiv") from error


def substitute(shape: Iterable[Dim], bindings: Bindings) -> Shape:
    """`shape` with the symbols in `bindings` replaced."""
    return tuple(d if isinstance(d, int) else d.substitute(bindings) for d in shape)


def is_static(shape: Iterable[Dim]) -> bool:
    return all(isinstance(d, int) for d in shape)


def size(shape: Iterable[Dim]) -> Dim:
    """The number of elements."""
    total: Dim = 1
    for d in shape:
        total = total * d
    return total


def divides(divisor: Dim, dividend: Dim) -> Dim | None:
    """`dividend / divisor` where that is exact for every value of the symbols, else None."""
    if isinstance(divisor, int) and isinstance(dividend, int):
        return dividend // divisor if divisor and dividend % divisor == 0 else None
    return _divide(dividend, divisor)


def match(pattern: Dim, value: int, bindings: dict[str, int]) -> bool:
    """Unify one dimension with a size: bind the symbol of `b` or `k*b`, or check what is bound already.

    A pattern whose symbols are still unknown and can't be solved for is left to a later check: True.
    """
    if isinstance(pattern, int):
        return pattern == value
    known = pattern.substitute(bindings)
    if isinstance(known, int):
        return known == value
    unknown = known.terms
    constant = sum(c for m, c in unknown if not m)
    rest = [(m, c) for m, c in unknown if m]
    if len(rest) == 1 and len(rest[0][0]) == 1 and rest[0][0][0].isidentifier():
        (name,), factor = rest[0]
        if (value - constant) % factor or (value - constant) // factor < 0:
            return False
        bindings[name] = (value - constant) // factor
    return True


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    return (((), dim),) if isinstance(dim, int) else dim.terms


def _from_terms(terms: Iterable[tuple[Monomial, int]]) -> Dim:
    merged: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        merged[monomial] = merged.get(monomial, 0) + coefficient
    kept = tuple(sorted(((m, c) for m, c in merged.items() if c), key=lambda t: (-len(t[0]), t[0])))
    if not kept:
        return 0
    if len(kept) == 1 and kept[0][0] == ():
        return kept[0][1]
    return SymbolicDim(kept)


def _render(terms: Iterable[tuple[Monomial, int]]) -> str:
    text = ""
    for monomial, coefficient in terms:
        magnitude = abs(coefficient)
        factors = [str(magnitude)] if magnitude != 1 or not monomial else []
        sign = ("-" if coefficient < 0 else "") if not text else (" - " if coefficient < 0 else " + ")
        text += sign + "*".join([*factors, *monomial])
    return text


def _divide(dividend: Dim, divisor: Dim) -> Dim | None:
    """Exact division by an int or a single term."""
    parts = _terms(divisor)
    if len(parts) != 1 or parts[0][1] == 0:
        return 1 if dividend == divisor and divisor != 0 else None
    (monomial, factor) = parts[0]
    quotient = []
    for term, coefficient in _terms(dividend):
        rest = list(term)
        for atom in monomial:
            if atom not in rest:
                return None
            rest.remove(atom)
        if coefficient % factor:
            return None
        quotient.append((tuple(rest), coefficient // factor))
    return _from_terms(quotient)


def _floordiv(a: Dim, b: Dim) -> Dim:
    return a // b


def _evaluate(node: ast.expr, name: Callable[[str], Dim]) -> Dim:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=identifier):
            return name(identifier)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, name)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _evaluate(left, name), _evaluate(right, name)
            if isinstance(op, ast.Add):
                return a + b
            if isinstance(op, ast.Sub):
                return a - b
            if isinstance(op, ast.Mult):
                return a * b
        case ast.Call(func=ast.Name(id="floordiv"), args=[left, right]):
            return _floordiv(_evaluate(left, name), _evaluate(right, name))
    raise ValueError(ast.dump(node))


@lru_cache(maxsize=4096)
def _parsed_atom(atom: str) -> Any:
    return ast.parse(atom, mode="eval").body


def _substitute_atom(atom: str, bindings: Bindings) -> Dim:
    if atom in bindings:
        return bindings[atom]
    if atom.isidentifier():
        return symbol(atom)
    return _evaluate(_parsed_atom(atom), lambda name: bindings[name] if name in bindings else symbol(name))


def _atom_symbols(atom: str) -> frozenset[str]:
    return frozenset(n.id for n in ast.walk(_parsed_atom(atom)) if isinstance(n, ast.Name) and n.id != "floordiv")


def ceildiv(a: Dim, b: int) -> Dim:
    """The quotient rounded up."""
    return _floordiv(a + (b - 1), b)
