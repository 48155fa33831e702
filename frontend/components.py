"""Components of elements: what users give for them, as arrays and values, and what is known of their shapes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import interop
from dfc.frontend.promotion import holds_tensors, tensor_in
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace
from dfc.ir.dims import Shape
from dfc.ir.dtypes import DType, string
from dfc.ir.types import Spec, spec_of

Sizes = tuple[int | None, ...]
"""A shape; None is a size that nobody knows yet."""


# ---- shapes


def shape_given(given: Any) -> Sizes:
    """A shape as users write it. Raises InvalidArgument for anything else."""
    if isinstance(given, int):
        given = (given,)
    if not isinstance(given, list | tuple) or any(not (d is None or isinstance(d, int)) for d in given):
        raise InvalidArgument(f"a shape is a list of ints and Nones, got {given!r}")
    return tuple(given)


def shapes_given(given: Any, n_components: int) -> tuple[Sizes, ...] | None:
    """A shape for each component; of one component it may be the shape itself."""
    if given is None:
        return None
    is_list = isinstance(given, list | tuple) and len(given) > 0 and all(isinstance(s, list | tuple) for s in given)
    return tuple(map(shape_given, [given] if n_components == 1 and not is_list else given))


def sizes_text(shape: Sequence[int | None] | None) -> str:
    """`[2, ?]`, or `[...]` where nothing is known."""
    return "[...]" if shape is None else f"[{', '.join('?' if d is None else str(d) for d in shape)}]"


def shown(shape: Sequence[Any]) -> str:
    """A shape in errors, as Python writes a tuple: `(2,)`, `(n, None)`."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def may_fit(shape: Shape, expected: Sequence[int | None]) -> bool:
    """Whether a shape with symbols in it may be one of those expected."""
    pairs = zip(shape, expected, strict=False)
    return len(shape) == len(expected) and all(e is None or not isinstance(d, int) or d == e for d, e in pairs)


class Seen:
    """What is known of the shape of a component by what is put in, in the programs so far: `sizes`, or None where
    nothing is, or where not even the ranks are equal."""

    def __init__(self) -> None:
        self.sizes: Sizes | None = None
        self._unlike = False

    def add(self, shape: Sequence[Any]) -> None:
        """Another shape: a size in which they differ is not known."""
        sizes = tuple(d if isinstance(d, int) else None for d in shape)
        if self.sizes is None:
            self.sizes = None if self._unlike else sizes
        elif len(sizes) != len(self.sizes):
            self.sizes, self._unlike = None, True
        else:
            self.sizes = tuple(a if a == b else None for a, b in zip(self.sizes, sizes, strict=True))


def common(seen: Sequence[Seen]) -> Seen:
    """What all of these have in common; nothing where one is not known."""
    found = Seen()
    if all(each.sizes is not None for each in seen):
        for each in seen:
            found.add(each.sizes or ())
    return found


def spec_of_sizes(trace: Trace, base: str, sizes: Sequence[int | None], dtype: DType) -> Spec:
    """A tensor of these sizes, with a new symbol for each that nobody knows."""
    return Spec(tuple(trace.program.fresh_dimension(base) if d is None else d for d in sizes), dtype)


# ---- values


def array_of(component: Any, dtype: DType) -> Any:
    """A component outside a trace: a device array, NumPy's for strings."""
    if is_plain(component):
        return interop.put(fitting(component, dtype))._array
    if hasattr(component, "__dfc_tensor__"):
        component = component.__dfc_tensor__()
    return interop.to_tensor(component)._array


def tensor_of(trace: Trace, component: Any, dtype: DType) -> Tensor:
    """A component in a trace. Python's numbers and strings take the dtype; others keep theirs."""
    if is_plain(component):
        return trace.constant(fitting(component, dtype))
    return tensor_in(trace, component)


def whole(value: Any, what: str) -> int:
    """An integer outside a trace. Raises InvalidType for anything else."""
    if hasattr(value, "__dfc_tensor__"):
        value = value.__dfc_tensor__()
    if isinstance(value, Tensor):
        if value.ndim or not value.dtype.is_integer:
            raise InvalidType(f"{what} must be an integer scalar, got {spec_of(value._type)}")
        return int(value)
    try:
        return operator.index(value)
    except TypeError:
        raise InvalidType(f"{what} must be an integer, got {value!r}") from None


def whole_in(trace: Trace, value: Any, dtype: DType, what: str) -> SSAValue:
    """An integer in a trace; Python's take the dtype. The op that takes it refuses other tensors."""
    if isinstance(value, bool | int | float | complex | str | np.generic):
        value = whole(value, what)
    return tensor_in(trace, value, dtype)._value


def is_plain(component: Any) -> bool:
    """Whether it is made of Python's numbers or strings."""
    kinds = (bool, int, float, complex, list, tuple, str, bytes)
    return isinstance(component, kinds) and not holds_tensors(component)


def fitting(component: Any, dtype: DType) -> np.ndarray[Any, Any]:
    """Python's numbers or strings in a dtype. Raises InvalidType where that can't hold them."""
    return interop.to_numpy(component, string) if dtype.kind == "string" else interop.fitting(component, dtype)


def holds_arrays(element: Sequence[Any]) -> bool:
    """Whether there are NumPy's arrays or numbers in a list."""
    return any(isinstance(item, np.ndarray | np.generic) for item in element)
