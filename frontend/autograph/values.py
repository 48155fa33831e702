"""Values of Python variables where control flow depends on tensors: what can go through a branch or a loop of the
graph, and what stands for a variable that has no value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import structure
from dfc.frontend.structure import Structure
from dfc.frontend.subtrace import is_result
from dfc.frontend.tensor import Tensor
from dfc.ir import locations
from dfc.ir.types import spec_of

RESULT = "the returned value"


def failed(
    kind: type[InvalidArgument], message: str, op: str, hint: str = "", location: str | None = None
) -> InvalidArgument:
    """An error at the user's line, or at the one given."""
    place = locations.describe(locations.capture()) if location is None else location
    return kind(message, op=op, location=place, hint=hint)


class Undefined:
    """Stands for a variable without a value. With a `reason` there was one, in some branch or in a loop's body, that
    does not hold afterwards: reading the variable says why."""

    __slots__ = ("hint", "location", "name", "op", "reason")

    def __init__(self, name: str, reason: str = "", op: str = "", hint: str = "") -> None:
        self.name, self.reason, self.op, self.hint = name, reason, op, hint
        self.location = locations.describe(locations.capture()) if reason else ""

    def read(self) -> NoReturn:
        if not self.reason:
            raise UnboundLocalError(
                f"cannot access local variable {self.name!r} where it is not associated with a value"
            )
        here = locations.describe(locations.capture())
        if self.name == RESULT or here == self.location:  # a return's own line says less than where it parts
            raise failed(InvalidType, self.reason, self.op, self.hint, self.location)
        raise failed(InvalidType, f"{self.reason} (the {self.op} at {self.location})", self.op, self.hint, here)

    def __repr__(self) -> str:
        return f"<{self.name} has no value>"


def _reads(self: Undefined, *others: Any) -> NoReturn:
    self.read()


for _name in (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
):
    setattr(Undefined, f"__i{_name}__", _reads)  # `x += 1` reads x without a call of `load`


@dataclass
class Parts:
    """A variable's value taken apart: the leaves are tensors and Python numbers."""

    leaves: list[Any]
    nest: Structure

    def built(self, leaves: Iterator[Any]) -> Any:
        return structure.unflatten(self.nest, leaves)


def parts_of(value: Any) -> Parts:
    """A value taken apart; an object that no nest holds is static."""
    try:
        return Parts(*structure.flatten(value, is_result))
    except InvalidType:
        return Parts([], structure.static(_Opaque(value)))


class _Opaque:
    """An object as a static value, equal to itself alone."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Opaque) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)

    def __repr__(self) -> str:
        return f"an object of {type(self.value).__name__}"


def is_same(one: Any, other: Any) -> bool:
    """Whether a variable has the same value, so that nothing needs to be chosen or carried."""
    if one is other:
        return True
    if isinstance(one, Undefined) and isinstance(other, Undefined):
        return not one.reason and not other.reason
    return (
        type(one) is type(other) and type(one) in (bool, int, float, complex, str, bytes) and repr(one) == repr(other)
    )


def described(value: Any) -> str:
    """A value for an error: a spec for a tensor, else as Python writes it, a dot for each tensor in a nest."""
    if isinstance(value, Tensor):
        return str(spec_of(value._type))
    if is_result(value):
        return repr(value)
    text = str(parts_of(value).nest)
    return text if len(text) <= 60 else text[:57] + "..."


class State:
    """The variables that a block of the user's code may give another value."""

    def __init__(
        self, get: Callable[[], tuple[Any, ...]], put: Callable[[tuple[Any, ...]], None], names: tuple[str, ...]
    ) -> None:
        self.get, self.put, self.names = get, put, names

    def after(self, before: tuple[Any, ...], block: Callable[[], Any]) -> tuple[Any, ...]:
        """The values after the block, begun with these."""
        self.put(before)
        block()
        return self.get()


def is_container(value: Any) -> bool:
    """Whether a variable is one of Python's containers, which a block that is traced once must not change."""
    return isinstance(value, list | dict | set | bytearray) or type(value).__name__ in ("deque", "ndarray")


Changed = dict[str, tuple[int, Callable[[], Any]]]


def refuse_changes(changed: Changed | None, what: str) -> None:
    """Raise where a block of the graph changes a Python container from outside it in place."""
    for name, (line, read) in (changed or {}).items():
        value = peek(read, name)
        if not is_container(value):
            continue
        file = locations.describe(locations.capture()).rsplit(":", 2)[0]
        kind = type(value).__name__
        if what == "if":
            text = "both branches are traced, whatever the tensor is"
            hint = "give the variable a new value in both branches, such as [*items, x]"
        else:
            text = "the body is traced once, however often it runs"
            hint = (
                "write to a dfc.TensorArray or to a tensor, out[i] = x, or use dfc.scan, which stacks results; "
                "a loop over list(range(n)) is unrolled"
            )
        raise failed(
            InvalidType,
            f"the {kind} {name!r} can't be changed in place where it depends on a tensor: {text}",
            what,
            hint,
            f"{file}:{line}",
        )


def peek(read: Callable[[], Any], name: str) -> Any:
    """A variable's value, or Undefined where it has none."""
    try:
        return read()
    except (NameError, AttributeError):
        return Undefined(name)
