"""`dfc.Module`: a named tree of variables, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dfc.frontend.variable import Variable


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

    def __init__(self, name: str = "") -> None:
        object.__setattr__(self, "_path", name)

    def __setattr__(self, key: str, value: Any) -> None:
        if "_path" not in vars(self):
            Module.__init__(self)
        object.__setattr__(self, key, value)
        if not key.startswith("_"):
            _name(self, self._path)  # whole, so that the first path to a variable is its name

    # ---- the tree

    def named_variables(self) -> dict[str, Variable]:
        """Every variable by its name, in order; one that is reached twice counts once, by its first path."""
        _name(self, self._path)
        found: dict[int, Variable] = {}
        for variable in _variables(self, set()):
            found.setdefault(id(variable), variable)
        return {variable.name: variable for variable in found.values()}

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
        found: dict[int, Module] = {}
        for module in _modules(self):
            found.setdefault(id(module), module)
        return list(found.values())

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


def _name(value: Any, path: str) -> None:
    """Give what hangs at `value` the names of its paths."""
    named: set[int] = set()

    def visit(value: Any, path: str) -> None:
        if isinstance(value, Variable | Module | list | tuple | dict):
            if id(value) in named:
                return
            named.add(id(value))
        if isinstance(value, Variable):
            value.rename(path)
            return
        if isinstance(value, Module):
            object.__setattr__(value, "_path", path)
        for key, child in _children(value):
            visit(child, _join(path, key))

    visit(value, path)


def _variables(value: Any, seen: set[int]) -> Iterator[Variable]:
    if isinstance(value, Variable):
        yield value
    elif isinstance(value, Module | list | tuple | dict) and id(value) not in seen:
        seen.add(id(value))
        for _, child in _children(value):
            yield from _variables(child, seen)


def _modules(value: Any) -> Iterator[Module]:
    if isinstance(value, Module):
        yield value
    for _, child in _children(value):
        yield from _modules(child)
