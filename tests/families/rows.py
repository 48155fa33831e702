"""What the rows of a family are made of: values at the edges, broken constraints, gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xdsl.ir import Attribute, SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.dims import parse_dim
from dfc.ir.op import Op
from dfc.ir.types import CONTROL, Spec, ref_type, resource_type, tensor_type
from tests.numerics.values import Case
from tests.programs import NDArray, Trace

# ---- values


class Rows(dict[str, Callable[[], list[Case]]]):
    """By an op's name, a function that makes its cases: operands at the edges and what must come out, by another way
    than the op's `evaluate`."""

    def row(self, name: str) -> Callable[[Callable[[], list[Case]]], Callable[[], list[Case]]]:
        """Register the decorated function as the row of the op called `name`, without the dialect."""

        def register(function: Callable[[], list[Case]]) -> Callable[[], list[Case]]:
            self[name] = function
            return function

        return register


# ---- broken constraints

Broken = tuple[str, str, Mapping[str, Any], type[InvalidArgument], str]
"""`op-label`, operands, attributes, the error's class and its text. Operands are written `dtype[sizes]`, apart by
" ; "; see `type_of`."""

NUMBERS = "int or uint or float or complex"


def type_of(text: str) -> Attribute:
    """`float32[2,b]`, `ref float32[2]`, `handle queue` or `token`."""
    if text == "token":
        return CONTROL
    if text.startswith("handle "):
        return resource_type(text.removeprefix("handle "))
    is_ref, (name, sizes) = text.startswith("ref "), text.removeprefix("ref ").rstrip("]").split("[")
    spec = Spec(tuple(parse_dim(d) for d in sizes.split(",") if d), dtypes.as_dtype(name))
    return ref_type(spec) if is_ref else tensor_type(*spec)


def kinds(name: str, operand: str, allowed: str, got: str) -> Broken:
    """A dtype of a kind that the op does not take."""
    return name, operand, {}, InvalidType, f"the dtype must be {allowed}, got {got}"


def unequal(name: str, operands: str = "float32[2] ; float32[3]") -> Broken:
    """Operands that should be alike and aren't."""
    listed = " and ".join(operands.split(" ; "))
    return name, operands, {}, InvalidArgument, f"operands must have equal shapes and dtypes, got {listed}"


# ---- gradients

Build = Callable[..., SSAValue]


@dataclass
class GradientCase:
    """An op on inputs near which it is smooth; `build(trace, *inputs)` where it takes more than the inputs."""

    op: type[Op]
    inputs: Sequence[NDArray]
    attributes: dict[str, Any] = field(default_factory=dict)
    build: Build | None = None
    orders: int = 2

    def __call__(self, trace: Trace, *xs: SSAValue) -> SSAValue:
        return self.build(trace, *xs) if self.build else trace(self.op, *xs, **self.attributes)


def normal(*size: int, seed: int = 0) -> NDArray:
    return np.asarray(np.random.default_rng(seed).normal(size=size))


def positive(*size: int, seed: int = 0) -> NDArray:
    return np.asarray(np.random.default_rng(seed).uniform(0.5, 2.0, size=size))


X, Y = normal(2, 3, seed=1), normal(2, 3, seed=2)
P, Q = positive(2, 3, seed=3), positive(2, 3, seed=4)
