"""What tests of the host's ops share: the four ways in which an operation runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import dfc

X = np.array([1.0, -2.0, 3.0], np.float32)
VECTOR = dfc.TensorSpec((3,))


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass
class Fields:
    left: Any
    right: Any


def how(kind: str) -> Callable[..., Any]:
    """A caller of `body(*arrays)`: at once, in a function, in a function called by another, in a session, in one that
    compiles each operation by itself, or in a step that is submitted to one."""

    def call(body: Callable[..., Any], *arrays: Any) -> Any:
        if kind == "at once":
            return body(*arrays)
        if kind == "function":
            return dfc.function(body)(*arrays)
        if kind == "nested":
            inner = dfc.function(body)
            return dfc.function(lambda *xs: inner(*xs))(*arrays)
        with dfc.Graph() as graph:
            fetches = body(*map(dfc.asarray, arrays))
        with dfc.Session(graph, config=dfc.SessionConfig(cluster=kind != "separate")) as session:
            return session.submit(fetches).result() if kind == "submitted" else session.run(fetches)

    return call


EVERYWHERE = pytest.mark.parametrize("kind", ["at once", "function", "nested", "session", "separate", "submitted"])


def values(nest: Any) -> Any:
    """The nest with lists in the place of arrays and tensors."""
    if isinstance(nest, dict):
        return {key: values(item) for key, item in nest.items()}
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return type(nest)(*map(values, nest))
    if isinstance(nest, list | tuple):
        return type(nest)(map(values, nest))
    if isinstance(nest, Fields):
        return Fields(values(nest.left), values(nest.right))
    return np.asarray(nest).tolist()
