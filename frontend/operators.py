"""Python's operators on tensors: each is the operation of the Array API that Python's data model names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dfc.frontend.indexing import getitem
from dfc.frontend.ops import elementwise as e
from dfc.frontend.ops.bitwise import bitwise_left_shift, bitwise_right_shift
from dfc.frontend.ops.linalg import matmul
from dfc.frontend.tensor import Tensor

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
OTHER = {"getitem": getitem}


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
