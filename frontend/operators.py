"""Python's operators on tensors: each is the operation of the Array API that Python's data model names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dfc.frontend.indexing import getitem
from dfc.frontend.names import placement
from dfc.frontend.ops import elementwise as e
from dfc.frontend.ops.bitwise import bitwise_left_shift, bitwise_right_shift
from dfc.frontend.ops.linalg import matmul
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import current
from dfc.ir.types import mark_of, marked, tensor_type

Binary = Callable[[Any, Any], Tensor]

BINARY: dict[str, Binary] = {
    "add": e.add,
    "sub": e.subtract,
    "mul": e.multiply,
    "truediv": e.divide,
    "floordiv": e.floor_divide,
    "mod": e.remainder,
    "pow": e.pow,
    "matmul": matmul,
    "and": e.bitwise_and,
    "or": e.bitwise_or,
    "xor": e.bitwise_xor,
    "lshift": bitwise_left_shift,
    "rshift": bitwise_right_shift,
}
COMPARISONS: dict[str, Binary] = {
    "lt": e.less,
    "le": e.less_equal,
    "gt": e.greater,
    "ge": e.greater_equal,
    "eq": e.equal,
    "ne": e.not_equal,
}
UNARY: dict[str, Callable[[Any], Tensor]] = {
    "neg": e.negative,
    "pos": e.positive,
    "abs": e.abs,
    "invert": e.bitwise_invert,
}


def item(x: Any, key: Any) -> Tensor:
    """x[key]; see `dfc.frontend.indexing.getitem`.

    Of a concrete tensor, ints and plain slices go to the device as inputs of one program a shape: a loop over indices
    needs no program for each.
    """
    if type(x) is not Tensor or x._trace is not None or current() is not None or placement():
        return getitem(x, key)
    if not _is_plain(key, x._array.shape):
        return getitem(x, key)
    found = x._array[key]
    if isinstance(x._array, np.ndarray):  # strings are NumPy's
        found = np.asarray(found, x._array.dtype)
    type_, device = tensor_type(tuple(found.shape), x.dtype), mark_of(x._type)
    return Tensor(type_ if device is None else marked(type_, device), None, found)


def _is_plain(key: Any, shape: tuple[int, ...]) -> bool:
    """Whether a key has ints within their axes and slices of step 1 only."""
    entries = key if type(key) is tuple else (key,)
    if len(entries) > len(shape):
        return False
    for entry, size in zip(entries, shape, strict=False):
        if type(entry) is slice:
            if entry.step is not None or not all(b is None or type(b) is int for b in (entry.start, entry.stop)):
                return False
        elif not ((type(entry) is int or isinstance(entry, np.integer)) and -size <= entry < size):
            return False
    return True


OTHER = {"getitem": item}


def swapped(operation: Binary) -> Binary:
    def reflected(self: Any, other: Any) -> Tensor:
        return operation(other, self)

    return reflected


def install(cls: type) -> None:
    """Give `cls` all operators, reflected ones included."""
    for name, operation in BINARY.items():
        setattr(cls, f"__{name}__", operation)
        setattr(cls, f"__r{name}__", swapped(operation))
    for name, operation in COMPARISONS.items():
        setattr(cls, f"__{name}__", operation)
    for name, method in {**UNARY, **OTHER}.items():
        setattr(cls, f"__{name}__", method)


install(Tensor)

__all__ = ["Tensor", "install"]
