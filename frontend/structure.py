"""Nested structures of tensors: taken apart into a flat list of leaves and put together again.

Lists, tuples, named tuples, dicts and dataclass instances are nodes; everything else is a leaf or, where `is_leaf`
says no, a static value that is part of the structure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dfc.errors import InvalidArgument, InvalidType


@dataclass(frozen=True, slots=True)
class Structure:
    """The shape of a nest without its leaves; equal where the programs traced for it would be the same.

    `kind` is leaf, static, list, tuple, dict, namedtuple or dataclass. `keys` name the children of the last three,
    `value` is the class of the last two or the static value. `mark` is what tells it from others, by `mark_of`.
    """

    kind: str
    keys: tuple[Any, ...] = ()
    children: tuple[Structure, ...] = ()
    value: Any = field(default=None, compare=False)
    mark: Any = None

    def to_json(self) -> Any:
        """A description for the artifact: `"tensor"`, `{"list": [...]}`, `{"tuple": [...]}`, `{"dict": {key: ...}}`,
        `{"namedtuple": name, "fields": {key: ...}}`, `{"dataclass": ...}` likewise, or `{"static": value}`.

        Raises InvalidType for keys that aren't strings and static values that JSON lacks.
        """
        match self.kind:
            case "leaf":
                return "tensor"
            case "static":
                if self.value is None or type(self.value) in (bool, int, float, str):
                    return {"static": self.value}
                raise InvalidType(f"an entry can't return {self.value!r}: only tensors, None, numbers and strings")
            case "list" | "tuple":
                return {self.kind: [child.to_json() for child in self.children]}
        if not all(isinstance(key, str) for key in self.keys):
            raise InvalidType(f"the keys of an entry's results must be strings, got {list(self.keys)}")
        fields = {key: child.to_json() for key, child in zip(self.keys, self.children, strict=True)}
        return {"dict": fields} if self.kind == "dict" else {self.kind: self.value.__name__, "fields": fields}

    def __str__(self) -> str:
        """As Python writes it, with a dot for each leaf: `(., {'a': .})`."""
        parts = [str(child) for child in self.children]
        match self.kind:
            case "leaf":
                return "."
            case "static":
                return repr(self.value)
            case "list":
                return f"[{', '.join(parts)}]"
            case "tuple":
                return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
            case "dict":
                return f"{{{', '.join(f'{k!r}: {p}' for k, p in zip(self.keys, parts, strict=True))}}}"
        return f"{self.value.__name__}({', '.join(f'{k}={p}' for k, p in zip(self.keys, parts, strict=True))})"


LEAF = Structure("leaf")


class Same:
    """A variable as a static value: equal to itself alone (its own `==` compares elements)."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)

    def __repr__(self) -> str:
        return repr(self.value)


class Fixed:
    """A field of a dataclass that is part of the structure though its value is a node: one with the metadata
    `{"static": True}`."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fixed) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return repr(self.value)


def static(value: Any) -> Structure:
    """A value that is part of the structure itself. Raises InvalidType if it can't be hashed."""
    if getattr(value, "__dfc_effect__", False):
        return static(None)  # what a graph does has no value outside it
    if hasattr(value, "__dfc_tensor__"):
        value = Same(value)
    try:
        hash(value)
    except TypeError:
        raise InvalidType(
            f"a {type(value).__name__} is neither a tensor nor hashable, so it can't be an argument or a result",
            hint="both are tensors, arrays, nests of them, or hashable values such as numbers and strings",
        ) from None
    return Structure("static", (), (), value, mark_of(value))


def mark_of(value: Any) -> Any:
    """What stands for a hashable value in comparisons: 1, 1.0 and True are equal, and 0.0 and -0.0 too, but trace to
    different programs, alone or deep in a value; NaN is not equal to itself, but traces to the same program."""
    kind = type(value)
    if kind in (bool, int, float, complex):
        return kind, repr(value)
    if kind in (str, bytes, type(None)):
        return kind, value
    if isinstance(value, tuple):
        return kind, tuple(mark_of(item) for item in value)
    if isinstance(value, frozenset):
        return kind, frozenset(mark_of(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return kind, value, tuple(mark_of(getattr(value, f.name)) for f in dataclasses.fields(value) if f.compare)
    return kind, value, repr(value) if isinstance(value, int | float | complex) else None


def flatten(nest: Any, is_leaf: Callable[[Any], bool]) -> tuple[list[Any], Structure]:
    """The leaves in order, and the structure around them."""
    leaves: list[Any] = []
    return leaves, _flatten(nest, is_leaf, leaves)


def _flatten(nest: Any, is_leaf: Callable[[Any], bool], leaves: list[Any]) -> Structure:
    if is_leaf(nest):
        leaves.append(nest)
        return LEAF
    node = children(nest)
    if node is None:
        return static(nest)
    kind, keys, items, cls = node
    before = len(leaves)
    parts = tuple(_flatten(item, is_leaf, leaves) for item in items)
    if kind == "dataclass" and len(leaves) == before:
        return static(nest)  # a plain options object
    return Structure(kind, keys, parts, cls, cls if kind != "dict" else mark_of(keys))


def children(nest: Any) -> tuple[str, tuple[Any, ...], Sequence[Any], Any] | None:
    """Kind, keys, items and class of a node; None for what is no node."""
    if isinstance(nest, list):
        return "list", (), nest, None
    if isinstance(nest, tuple):
        fields = getattr(nest, "_fields", None)
        return ("tuple", (), nest, None) if fields is None else ("namedtuple", tuple(fields), nest, type(nest))
    if isinstance(nest, dict):
        return "dict", tuple(nest), list(nest.values()), None
    if dataclasses.is_dataclass(nest) and not isinstance(nest, type):
        fields_ = [field for field in dataclasses.fields(nest) if field.init]
        items = [Fixed(v) if f.metadata.get("static") else v for f in fields_ for v in [getattr(nest, f.name)]]
        return "dataclass", tuple(f.name for f in fields_), items, type(nest)
    return None


def unflatten(structure: Structure, leaves: Iterator[Any]) -> Any:
    """The nest with its leaves taken from `leaves` in order."""
    if structure.kind == "leaf":
        return next(leaves)
    if structure.kind == "static":
        return structure.value.value if isinstance(structure.value, Same | Fixed) else structure.value
    items = [unflatten(child, leaves) for child in structure.children]
    match structure.kind:
        case "list":
            return items
        case "tuple":
            return tuple(items)
        case "dict":
            return dict(zip(structure.keys, items, strict=True))
        case "namedtuple":
            return structure.value(*items)
    return structure.value(**dict(zip(structure.keys, items, strict=True)))


def leaf_names(structure: Structure, prefix: str = "") -> list[str]:
    """The path of each leaf, `a.b.0`; `prefix` alone for a structure that is one leaf."""
    if structure.kind == "leaf":
        return [prefix]
    keys = structure.keys if structure.kind in ("dict", "namedtuple", "dataclass") else range(len(structure.children))
    names: list[str] = []
    for key, child in zip(keys, structure.children, strict=False):
        names += leaf_names(child, f"{prefix}.{key}" if prefix else str(key))
    return names


def output_names(structure: Structure) -> list[str]:
    """Names of results: a dict's keys at the top, else `output_0`, `output_1` ...; nests below flatten to `a.b.0`."""
    if structure.kind in ("dict", "namedtuple", "dataclass"):
        names = leaf_names(structure)
    elif structure.kind in ("list", "tuple"):
        names = []
        for index, child in enumerate(structure.children):
            names += leaf_names(child, f"output_{index}")
    else:
        names = leaf_names(structure, "output_0")
    if len(set(names)) != len(names):
        raise InvalidArgument(f"two results would have the same name: {names}")
    return names
