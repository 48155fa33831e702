"""What a Python function gives back to a program: its nest taken apart, and each part an array of what was promised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dfc.errors import DfcError, InvalidArgument, InvalidType
from dfc.ir.dims import match
from dfc.ir.dtypes import DType, as_dtype, byte_strings
from dfc.ir.types import Spec

Array = np.ndarray[Any, Any]
_WIDTH = {"b": 0, "u": 1, "i": 1, "f": 2, "V": 2, "c": 3}  # by NumPy's kinds; V is bfloat16
PYTHON = (bool, int, float, complex, str, bytes, list, tuple, range)


def arrays_of(returned: Any, nest: Any, specs: Sequence[Spec], name: str) -> list[Array]:
    """The parts of what the function `name` returned, as new arrays that fit the specs.

    `nest` is as `Structure.to_json` of the frontend says it. Arrays must have the dtype that is promised; Python's
    numbers and strings, and lists of them, take it where its kind holds theirs. A symbol in the specs is any size, the
    same wherever it stands. Raises InvalidArgument and InvalidType for what does not fit.
    """
    parts = list(_parts(nest, returned, "", name))
    assert len(parts) == len(specs), "the nest has a place for each spec"
    sizes: dict[str, int] = {}
    return [
        _fitted(part, spec, sizes, f"result {path!r} of {name}" if path else f"the result of {name}")
        for (path, part), spec in zip(parts, specs, strict=True)
    ]


def _parts(nest: Any, value: Any, path: str, name: str) -> Iterator[tuple[str, Any]]:
    if nest == "tensor":
        yield path, value
        return
    inner = nest.get("list", nest.get("tuple"))
    if inner is not None:
        if value is None and not inner:
            return
        fits = isinstance(value, list | tuple) and len(value) == len(inner)
        keyed = list(zip(map(str, range(len(inner))), inner, value, strict=True)) if fits else []
        wanted = f"{len(inner)} values" if inner else "nothing"
    else:
        fields = nest.get("fields", nest.get("dict"))
        found = _fields(value, list(fields), "dict" in nest)
        fits = found is not None
        keyed = [(key, part, (found or {})[key]) for key, part in fields.items()] if fits else []
        wanted = f"a {next(iter(nest))} of {', '.join(fields)}"
    if not fits:
        what = f"result {path!r} of {name}" if path else name
        raise InvalidArgument(f"{what} must {'be' if path else 'return'} {wanted}, got {_shown(value)}")
    for key, part, item in keyed:
        yield from _parts(part, item, f"{path}.{key}" if path else key, name)


def _fields(value: Any, keys: list[str], is_dict: bool) -> Mapping[str, Any] | None:
    """What a dict, or an object or tuple with fields, has under these keys; None where it has others."""
    if isinstance(value, Mapping):
        return value if set(value) == set(keys) else None
    if is_dict:
        return None
    if isinstance(value, list | tuple):
        return dict(zip(keys, value, strict=True)) if len(value) == len(keys) else None
    return {key: getattr(value, key) for key in keys} if all(hasattr(value, key) for key in keys) else None


def _fitted(value: Any, spec: Spec, sizes: dict[str, int], what: str) -> Array:
    try:
        array = _array(value, spec.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        why = error.diagnostic.message if isinstance(error, DfcError) else str(error)
        raise InvalidType(f"{what} must be {spec}, got {_shown(value)}{why and f': {why}'}") from None
    if array.dtype != spec.dtype.numpy:
        raise InvalidType(
            f"{what} must be {spec}, got {_spec_text(array)}",
            hint=f"convert it in the function: array.astype({spec.dtype.name!r})",
        )
    known = dict(sizes)
    fits = array.ndim == len(spec.shape)
    if not fits or not all(match(dim, size, sizes) for dim, size in zip(spec.shape, array.shape, strict=True)):
        listed = ", ".join(f"{symbol} = {size}" for symbol, size in known.items())
        raise InvalidArgument(f"{what} must be {spec}{f' with {listed}' if listed else ''}, got {_spec_text(array)}")
    return array


def _array(value: Any, dtype: DType) -> Array:
    """A new array of the value's elements: Python's in `dtype`, those of an array in its own."""
    if isinstance(value, PYTHON) and not isinstance(value, np.generic):
        return _from_python(value, dtype)
    if isinstance(value, np.ndarray | np.generic):
        array = np.array(value, order="C")
    elif hasattr(value, "__array__"):
        array = np.array(np.asarray(value), order="C")
    elif hasattr(value, "__dlpack__"):
        array = np.array(np.from_dlpack(value), order="C")
    else:
        raise InvalidType("")
    if array.dtype.kind in "SUO":
        return byte_strings(array)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _from_python(value: Any, dtype: DType) -> Array:
    if dtype.kind == "string":
        return byte_strings(np.array(value, object))
    given = np.array(value)
    if given.dtype == object and all(isinstance(item, int) for item in given.flat):
        raise OverflowError(f"an integer is outside the range of {dtype}")
    if given.size and _WIDTH.get(given.dtype.kind, 4) > _WIDTH[dtype.numpy.kind]:
        raise InvalidType("")
    with np.errstate(all="ignore"):
        made = given.astype(dtype.numpy)
    if dtype.is_integer and not bool((made == given).all()):
        raise OverflowError(f"an integer is outside the range of {dtype}")
    return made


def _spec_text(array: Array) -> str:
    try:
        name = as_dtype(array.dtype).name
    except InvalidType:
        name = str(array.dtype)
    return f"{name}[{', '.join(map(str, array.shape))}]"


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        return f"object{list(array.shape)}" if array.dtype == object else _spec_text(array)
    text = repr(value)
    return f"{text[:60]}..." if len(text) > 60 else text
