"""What goes into an entry of an artifact and what comes out: names, checks, batches, nested results.

Part of `dfc run`'s start, so it imports NumPy and little else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.dtypes import as_dtype
from dfc.runtime.manifest import EntryInfo, Sizes, TensorInfo, sizes_name

Array = NDArray[Any]
Run = Callable[[list[Array]], list[Array]]


def named_inputs(entry: str, info: EntryInfo, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Array]:
    """The arrays of a call in the order of the entry's inputs.

    Arguments go by position or by name; a nest stands for the inputs with its dotted names. Raises InvalidArgument
    for missing, unknown and superfluous inputs, and what `checked` raises.
    """
    known = [tensor.name for tensor in info.inputs]
    parameters = list(dict.fromkeys(name if name in kwargs else name.partition(".")[0] for name in known))
    if len(args) > len(parameters):
        raise InvalidArgument(f"entry {entry!r} takes {len(parameters)} arguments, got {len(args)}")
    given = dict(zip(parameters, args, strict=False))
    for name in kwargs:
        if name in given:
            raise InvalidArgument(f"entry {entry!r} got input {name!r} by position and by name")
    leaves: dict[str, Any] = {}
    for name, value in {**given, **kwargs}.items():
        leaves.update(_leaves(name, value, known))
    listed = "; ".join(f"{tensor.name} {tensor}" for tensor in info.inputs) or "none"
    for name in leaves:
        if name not in known:
            raise InvalidArgument(f"entry {entry!r} has no input {name!r}", hint=f"inputs: {listed}")
    missing = [name for name in known if name not in leaves]
    if missing:
        raise InvalidArgument(f"entry {entry!r} needs input {', '.join(map(repr, missing))}", hint=f"inputs: {listed}")
    return [checked(entry, tensor, leaves[tensor.name]) for tensor in info.inputs]


def _leaves(name: str, value: Any, known: list[str]) -> Iterator[tuple[str, Any]]:
    """The parts of a nest under their dotted names, as deep as the known names go."""
    if name in known or not any(other.startswith(f"{name}.") for other in known):
        yield name, value
        return
    if hasattr(value, "_asdict"):
        value = value._asdict()
    elif isinstance(value, list | tuple):
        value = dict(enumerate(value))
    elif not isinstance(value, Mapping):
        value = getattr(value, "__dict__", {})
    for key, item in value.items():
        yield from _leaves(f"{name}.{key}", item, known)


def checked(entry: str, tensor: TensorInfo, value: Any) -> Array:
    """The value as an array of the input's dtype and rank.

    Lists and numbers take the input's dtype where that keeps what they are: whole numbers for an integer input, and in
    its range. An array must have the dtype. Raises InvalidType and InvalidArgument.
    """
    dtype = as_dtype(tensor.dtype)
    if not hasattr(value, "dtype") and dtype != "string":
        value = _converted(entry, tensor, value)
    array = np.asarray(value)
    if array.dtype.kind == "V" and dtype == "bfloat16" and array.dtype.itemsize == 2:
        array = array.view(dtype.numpy)  # what np.load makes of it
    got = f"{array.dtype}[{', '.join(map(str, array.shape))}]"
    if dtype == "string":
        array = _strings(entry, tensor, array)
    elif array.dtype != dtype.numpy:
        raise InvalidType(f"input {tensor.name!r} of {entry!r} must be {tensor}, got {got}")
    if array.ndim != len(tensor.shape):
        raise InvalidArgument(f"input {tensor.name!r} of {entry!r} must be {tensor}, got {got}")
    return array


_ACCEPTED = {"bool": "b", "int": "iu", "uint": "iu", "float": "iuf", "complex": "iufc"}
"""NumPy's kinds of the numbers that an input of a kind of dtype takes."""


def _converted(entry: str, tensor: TensorInfo, value: Any) -> Array:
    """Numbers and nested lists in the input's dtype."""
    dtype = as_dtype(tensor.dtype)
    text = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}..."
    try:
        given = np.array(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidType(f"input {tensor.name!r} of {entry!r} must be {tensor}, got {text}: {error}") from error
    huge = given.dtype.kind == "O" and all(type(e) is int for e in given.ravel().tolist())
    if given.size and given.dtype.kind not in _ACCEPTED[dtype.kind] and not huge:
        raise InvalidType(f"input {tensor.name!r} of {entry!r} must be {tensor}, got {text}")
    with np.errstate(all="ignore"):
        try:
            made = given.astype(dtype.numpy)
        except OverflowError:
            made = None
        if dtype.is_integer:
            fits = made is not None and bool((made == given).all())
        else:
            fits = made is not None and (huge or bool((np.isfinite(made) | ~np.isfinite(given)).all()))
    if made is None or not fits:
        raise InvalidArgument(f"input {tensor.name!r} of {entry!r} must be {tensor}, which {text} does not fit")
    return made


def _strings(entry: str, tensor: TensorInfo, array: Array) -> Array:
    flat = [e.encode() if isinstance(e, str) else e for e in array.ravel().tolist()]
    if not all(isinstance(e, bytes) for e in flat):
        raise InvalidType(f"input {tensor.name!r} of {entry!r} must be {tensor}, got an array of {array.dtype}")
    made = np.empty(len(flat), object)
    made[:] = flat
    return made.reshape(array.shape)


def bound_sizes(entry: str, info: EntryInfo, arrays: Sequence[Array]) -> Sizes:
    """The size of each symbol in a call. Raises InvalidArgument for shapes that don't fit, together or at all."""
    sizes: Sizes = {}
    for tensor, array in zip(info.inputs, arrays, strict=True):
        for dim, size in zip(tensor.shape, array.shape, strict=True):
            if not _fits(dim, size, sizes):
                with_sizes = f", where {sizes_name(sizes).replace('=', ' = ')}" if sizes else ""
                raise InvalidArgument(
                    f"input {tensor.name!r} of {entry!r} must be {tensor}{with_sizes}, got "
                    f"{tensor.dtype}[{', '.join(map(str, array.shape))}]"
                )
    return sizes


def _fits(dim: int | str, size: int, sizes: Sizes) -> bool:
    if isinstance(dim, int):
        return dim == size
    if dim.isidentifier():
        return sizes.setdefault(dim, size) == size
    from dfc.ir.dims import match, parse_dim  # rare, and costs an import of Python's parser

    return match(parse_dim(dim), size, sizes)


def run_batches(entry: str, info: EntryInfo, arrays: list[Array], program: Callable[[Sizes], Run]) -> list[Array]:
    """Run an entry on any batch that it can take; `program` gives what runs one of the compiled sizes.

    A size that is not compiled is padded with copies of the last row to the next larger one, or split into the
    largest; InvalidArgument where that was not proved to be the same.
    """
    sizes = bound_sizes(entry, info, arrays)
    if sizes in info.sizes:
        return program(sizes)(arrays)
    ((symbol, rows),) = sizes.items()  # the writer allows one symbol
    compiled = sorted(each[symbol] for each in info.sizes)
    if not info.rows_independent:
        raise InvalidArgument(
            f"entry {entry!r} is compiled for {symbol} = {', '.join(map(str, compiled))}, got {rows}; it can be "
            f"neither padded nor split, because its rows may depend on each other: {info.rows_reason}",
            hint=f"compile it with --batch {','.join(map(str, sorted({*compiled, rows})))}",
        )
    parts: list[list[Array]] = []
    for start in range(0, max(rows, 1), compiled[-1]):
        n = min(rows - start, compiled[-1])
        size = next(each for each in compiled if each >= n)
        inputs = [_rows(a, axis, start, n, size) for a, axis in zip(arrays, info.input_axes, strict=True)]
        results = program({symbol: size})(inputs)
        parts.append([_rows(r, axis, 0, n, n) for r, axis in zip(results, info.output_axes, strict=True)])
    if len(parts) == 1:
        return parts[0]
    columns = zip(*parts, strict=True)
    return [
        c[0] if axis is None else np.concatenate(c, axis) for c, axis in zip(columns, info.output_axes, strict=True)
    ]


def _rows(array: Array, axis: int | None, start: int, n: int, size: int) -> Array:
    """`n` rows from `start` on, padded to `size`, along `axis`."""
    if axis is None:
        return array
    before = (slice(None),) * axis
    taken = array[(*before, slice(start, start + n))]
    if size == n:
        return taken
    shape = [*array.shape[:axis], size - n, *array.shape[axis + 1 :]]
    last = taken[(*before, slice(n - 1, n))] if n else np.zeros(1, array.dtype)
    return np.concatenate([taken, np.broadcast_to(last, shape)], axis)


def constants(structure: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The results that are the same at every call, numbers and strings, under flat names as the tensors have."""
    if structure == "tensor":
        return
    if "static" in structure:
        if structure["static"] is not None:
            yield path or "output_0", structure["static"]
        return
    listed = structure.get("list", structure.get("tuple"))
    if listed is not None:
        children = [(str(i) if path else f"output_{i}", child) for i, child in enumerate(listed)]
    else:
        children = list(structure.get("dict", structure.get("fields")).items())
    for key, child in children:
        yield from constants(child, f"{path}.{key}" if path else key)


def rebuilt(structure: Any, leaves: Iterator[Any]) -> Any:
    """The nest that `EntryInfo.structure` describes, with its leaves in order. Named tuples and dataclasses are made
    anew with the same name and fields."""
    if structure == "tensor":
        return next(leaves)
    if "static" in structure:
        return structure["static"]
    if "list" in structure:
        return [rebuilt(child, leaves) for child in structure["list"]]
    if "tuple" in structure:
        return tuple(rebuilt(child, leaves) for child in structure["tuple"])
    if "dict" in structure:
        return {key: rebuilt(child, leaves) for key, child in structure["dict"].items()}
    fields = {key: rebuilt(child, leaves) for key, child in structure["fields"].items()}
    if "namedtuple" in structure:
        from collections import namedtuple

        return namedtuple(structure["namedtuple"], fields)(**fields)
    from dataclasses import make_dataclass

    return make_dataclass(structure["dataclass"], fields)(**fields)
