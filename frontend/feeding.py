"""What steps are fed: keys to values of the graph, and given values to arrays that fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import DfcError, InvalidArgument, InvalidType
from dfc.frontend import interop
from dfc.frontend.graph import Graph
from dfc.frontend.tensor import Tensor
from dfc.ir import locations
from dfc.ir.dims import match
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.op import Op, short_name
from dfc.ir.types import Spec, spec_of

Fed = list[tuple[SSAValue, Any]]
ACCEPTED = {"bool": "b", "int": "iu", "uint": "iu", "float": "iuf", "complex": "iufc"}
"""NumPy's kinds of numbers that a tensor of a kind of dtype takes."""


def resolved(graph: Graph, feeds: Mapping[Any, Any] | None) -> Fed:
    """Each fed value of the graph with the array for it. Raises InvalidType and InvalidArgument (spec row B4)."""
    fed: Fed = []
    if feeds is None:
        return fed
    if not isinstance(feeds, Mapping):
        raise InvalidType(f"feeds are a dict of values by tensors or their names, got {_short(feeds)}")
    for key, given in feeds.items():
        value = key_in(graph, key)
        if any(value is other for other, _ in fed):
            raise InvalidArgument(f"Tensor {graph.name_of(value)} is fed twice")
        fed.append((value, array_for(graph, value, given)))
    return fed


def key_in(graph: Graph, key: Any) -> SSAValue:
    """The value of the graph that a feed's key names: a tensor or its name."""
    try:
        if isinstance(key, str):
            value = graph.named_value(key)
        elif isinstance(key, Tensor):
            value = graph.value_of(key)
        else:
            raise InvalidType(f"it is a {type(key).__name__}, and neither a tensor nor a name")
    except DfcError as error:
        raise InvalidType(
            f"Cannot interpret feed_dict key as Tensor: {error.diagnostic.message}", hint=error.diagnostic.hint
        ) from None
    if not graph.may_be_fed(value):
        raise unfit(graph, value, "may not be fed")
    return value


def unfit(graph: Graph, value: SSAValue, why: str) -> InvalidArgument:
    """What to raise for a tensor that a step can't take or give."""
    around = graph.op_around(value)
    if around is None:
        return InvalidArgument(f"Tensor {graph.name_of(value)} {why}.")
    op = value.owner if isinstance(value.owner, Op) else None
    return InvalidArgument(
        f"Tensor {short_name(op) if op else 'input'} {why}: it is inside {around}, which runs its ops never, once or "
        "many times",
        location=locations.describe(op.location) if op else "",
        hint=f"return it from {around}",
    )


def array_for(graph: Graph, value: SSAValue, given: Any) -> Any:
    """What is given for a tensor, as an array of its dtype and a shape that it may have.

    Numbers and arrays take the tensor's dtype where its kind holds theirs and no integer is out of range. Raises
    InvalidType for another kind and for a tensor of a graph, InvalidArgument for another shape.
    """
    spec = spec_of(value.type)
    if isinstance(given, Tensor) and given._trace is None:
        given = given._array
    elif interop.is_jax_array(given):
        given = interop.to_tensor(given)._array  # one that several devices hold becomes one of one device
    if isinstance(given, Tensor) or hasattr(given, "__dfc_tensor__"):
        raise InvalidType(
            "The value of a feed cannot be a Tensor object of a graph, or a variable",
            hint="numbers, strings, lists, arrays and tensors that have a value are",
        )
    array = given if _is_ready(given, spec.dtype) else _converted(graph, value, spec, given)
    if len(array.shape) != len(spec.shape) or not _fits(spec, array.shape, {}):
        shown = f"({', '.join(map(str, spec.shape))}{',' if len(spec.shape) == 1 else ''})"
        raise InvalidArgument(
            f"Cannot feed value of shape {tuple(array.shape)!r} for Tensor {graph.name_of(value)!r}, "
            f"which has shape {shown}"
        )
    return array


def _is_ready(given: Any, dtype: DType) -> bool:
    is_array = isinstance(given, np.ndarray) or interop.is_jax_array(given)
    return is_array and dtype.kind != "string" and bool(given.dtype == dtype.numpy)


def _converted(graph: Graph, value: SSAValue, spec: Spec, given: Any) -> np.ndarray[Any, Any]:
    dtype = spec.dtype
    name = graph.name_of(value)
    if dtype.kind == "string":
        try:
            return interop.to_numpy(given, dtype)
        except InvalidArgument:
            raise InvalidType(
                f"Type of feed value {_short(given)} is not compatible with Tensor type string of {name!r}"
            ) from None
    try:
        array = np.asarray(given)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArgument(f"Cannot feed {_short(given)} for Tensor {name!r}: {error}") from None
    huge = array.dtype == object and all(type(item) is int for item in array.ravel().tolist())
    known = np.dtype(dtype.numpy) == array.dtype or array.dtype.kind in ACCEPTED[dtype.kind] or huge
    known = known or (not array.size and isinstance(given, list | tuple))
    if not known and not (dtype.is_inexact and array.dtype.kind == "V" and as_dtype(array.dtype).is_floating):
        raise InvalidType(
            f"Type of feed value {_short(given)}, {array.dtype}, is not compatible with Tensor type {dtype} of {name!r}"
        )
    with np.errstate(all="ignore"):
        try:
            made = array.astype(dtype.numpy)
        except OverflowError:
            made = None
    if made is None or (dtype.is_integer and not bool((made == array).all())):
        raise InvalidType(
            f"Type of feed value {_short(given)} is not compatible with Tensor type {dtype} of {name!r}: "
            "it is out of range",
            hint="give the placeholder a larger type, such as int64",
        )
    return made


def _short(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _fits(spec: Spec, shape: Sequence[int], bindings: dict[str, int]) -> bool:
    return all(match(dim, size, bindings) for dim, size in zip(spec.shape, shape, strict=True))


def bindings(graph: Graph, fed: Fed) -> dict[str, int]:
    """The size of each symbol. Raises InvalidArgument where two feeds need different ones."""
    sizes: dict[str, int] = {}
    for value, array in fed:
        known = dict(sizes)
        if not _fits(spec_of(value.type), array.shape, sizes):
            spec = spec_of(value.type)
            with_sizes = ", ".join(f"{name} = {size}" for name, size in known.items())
            raise InvalidArgument(
                f"Cannot feed value of shape {tuple(array.shape)!r} for Tensor {graph.name_of(value)!r}, which has "
                f"shape ({', '.join(map(str, spec.shape))}), where {with_sizes} by other feeds"
            )
    return sizes
