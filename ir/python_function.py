"""A Python function that a program calls, and its name where it has one by which it can be found again."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import reduce
from typing import Any

from dfc.errors import FailedPrecondition


class PythonFunction:
    """A Python callable in a program, or, read back from text, what that says of it.

    `text` is `module:qualname` where that leads to the callable, else its repr, which says what it was and leads
    nowhere. Equal where the callable, or what is known of it, is.
    """

    __slots__ = ("_function", "_text")

    def __init__(self, function: Callable[..., Any] | None, text: str = "") -> None:
        self._function, self._text = function, text

    @property
    def text(self) -> str:
        return self._text if self._function is None else _name_of(self._function) or repr(self._function)

    @property
    def name(self) -> str:
        """Its short name, for errors."""
        function = self._function
        if function is None:
            return self._text.rpartition(":")[2]
        return str(getattr(function, "__name__", type(function).__name__))

    def resolve(self) -> Callable[..., Any]:
        """The callable; one that is known by name is imported. Raises FailedPrecondition where there is none."""
        if self._function is not None:
            return self._function
        module, colon, name = self._text.partition(":")
        missing = f"the Python function {self._text!r} is not there"
        if not colon or not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
            raise FailedPrecondition(
                f"{missing}: a program's text keeps no Python code, and that is no name to import",
                hint="call a function at the top of a module, which text names module:function",
            )
        try:
            found = _lookup(importlib.import_module(module), name)
        except ImportError as error:
            raise FailedPrecondition(f"{missing}: the module {module!r} can't be imported: {error}") from error
        except AttributeError as error:
            raise FailedPrecondition(f"{missing}: {error}") from error
        if not callable(found):
            raise FailedPrecondition(f"{missing}: it is a {type(found).__name__}, which can't be called")
        return found  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PythonFunction) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"PythonFunction({self.text!r})"

    @property
    def _key(self) -> Any:
        return self._text if self._function is None else id(self._function)


def _lookup(module: Any, name: str) -> Any:
    return reduce(getattr, name.split("."), module)


def _name_of(function: Any) -> str:
    """`module:qualname` if the function is found there, else nothing."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    try:
        if _lookup(sys.modules[str(module)], str(name)) is function:
            return f"{module}:{name}"
    except (KeyError, AttributeError):
        pass
    return ""
