"""`dfc.Module`: a named tree of variables, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import ReferenceType, ref

from dfc.errors import InvalidArgument
from dfc.frontend.variable import Variable
from dfc.ir import locations


class Module:
    """Base of layers and models. Variables and modules that are attributes, alone or in lists, tuples and dicts, belong
    to it; their names are the path to them.

        class Net(dfc.Module):
            def __init__(self):
                super().__init__()
                self.hidden = dfc.nn.Dense(64, 128)
                self.out = dfc.nn.Dense(128, 10)

            def __call__(self, x):
                return self.out(dfc.nn.relu(self.hidden(x)))

        Net().named_variables()          # hidden/weights, hidden/bias, out/weights, out/bias

    `name` stands before the names of a whole model: give one where a program has several models.
    """

    _path: str
    _parent: tuple[ReferenceType[Module], str] | None

    def __init__(self, name: str = "") -> None:
        object.__setattr__(self, "_path", name)
        object.__setattr__(self, "_parent", None)

    def __setattr__(self, key: str, value: Any) -> None:
        if "_path" not in vars(self):
            Module.__init__(self)
        object.__setattr__(self, key, value)
        if not key.startswith("_"):
            _settle(self)

    # ---- the tree

    def named_variables(self) -> dict[str, Variable]:
        """Every variable by its name, in order. One that is reached twice counts once, and keeps the name of the module
        that had it first. Raises InvalidArgument where two have one name."""
        _settle(self)
        found: dict[str, Variable] = {}
        for variable in _variables(self, set()):
            if found.setdefault(variable.name, variable) is not variable:
                raise InvalidArgument(
                    f"two variables of {type(self).__name__} are called {variable.name!r}",
                    location=locations.describe(locations.capture()),
                    hint="a dict's keys must differ as text too",
                )
        return found

    @property
    def variables(self) -> list[Variable]:
        """Every variable, in the order in which attributes were set."""
        return list(self.named_variables().values())

    @property
    def trainable_variables(self) -> list[Variable]:
        """The variables that optimisers update."""
        return [v for v in self.variables if v.trainable]

    def modules(self) -> list[Module]:
        """This module and every one below it, parents first."""
        return list(_modules(self, set()))

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}({self._described()})"]
        for name, variable in self.named_variables().items():
            lines.append(f"  {name}: {variable.spec}{'' if variable.trainable else ', not trainable'}")
        return "\n".join(lines)

    def _described(self) -> str:
        """The settings that a repr shows."""
        plain = {k: v for k, v in vars(self).items() if not k.startswith("_") and isinstance(v, int | float | str)}
        return ", ".join(f"{k}={v!r}" for k, v in plain.items())


def _join(path: str, key: Any) -> str:
    return f"{path}/{key}" if path else str(key)


def _children(value: Any) -> Iterator[tuple[Any, Any]]:
    """What may hold variables in a module, list, tuple or dict, with its key."""
    if isinstance(value, Module):
        yield from ((k, v) for k, v in vars(value).items() if not k.startswith("_"))
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif isinstance(value, dict):
        yield from value.items()


def _settle(module: Module) -> None:
    """Give what hangs at a module its names: variables that no other module had first, and modules without a parent."""

    def visit(value: Any, path: str) -> None:
        if isinstance(value, Variable):
            owner, local = value.owner or (ref(module), path)
            if owner() is module or owner() is None:
                value.owner = (ref(module), local)
                value.rename(_join(module._path, local))
        elif isinstance(value, Module):
            parent, local = (None, path) if value._parent is None else (value._parent[0](), value._parent[1])
            if parent is module or (parent is None and not _holds(value, module)):
                object.__setattr__(value, "_parent", (ref(module), local))
                object.__setattr__(value, "_path", _join(module._path, local))
                _settle(value)
        else:
            for key, child in _children(value):
                visit(child, _join(path, key))

    for key, value in _children(module):
        visit(value, str(key))


def _holds(module: Module, other: Module) -> bool:
    """Whether `other` is `module` or hangs below it: a module that refers to its parent does not become its parent."""
    return any(m is other for m in _modules(module, set()))


def _variables(value: Any, seen: set[int]) -> Iterator[Variable]:
    if isinstance(value, Variable):
        yield value
    elif isinstance(value, Module | list | tuple | dict) and id(value) not in seen:
        seen.add(id(value))
        for _, child in _children(value):
            yield from _variables(child, seen)


def _modules(value: Any, seen: set[int]) -> Iterator[Module]:
    if isinstance(value, Module | list | tuple | dict):
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, Module):
            yield value
        for _, child in _children(value):
            yield from _modules(child, seen)
