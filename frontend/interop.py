"""Arrays of other libraries, and Python numbers and lists, as NumPy arrays and as device arrays."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType, Unimplemented
from dfc.frontend import locality
from dfc.frontend.defaults import default_complex, default_float, default_int
from dfc.frontend.tensor import Tensor
from dfc.ir.dtypes import DType, as_dtype, byte_strings, string
from dfc.ir.types import tensor_type

ArrayLike = Any


def is_array(value: Any) -> bool:
    """Whether `value` is an array of some library: NumPy's (scalars included), or one with DLPack."""
    return isinstance(value, np.ndarray | np.generic) or (hasattr(value, "__dlpack__") and not isinstance(value, type))


def is_jax_array(value: Any) -> bool:
    kind = getattr(sys.modules.get("jax"), "Array", None)  # another thread may be importing it
    return kind is not None and isinstance(value, kind)


def known(value: Any) -> Any:
    """An array of this machine's byte order whose dtype is NumPy's: one of another library becomes a tensor."""
    if isinstance(value, np.ndarray | np.generic):
        return value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
    if type(value) is Tensor:
        return value
    if is_jax_array(value):
        if isinstance(value, sys.modules["jax"].core.Tracer):
            raise Unimplemented(
                "a value that jax is tracing can't be an input",
                hint="call the function outside of jax.jit, jax.grad and jax.vmap",
            )
        return value
    return put(np.from_dlpack(value)) if is_array(value) else value


def to_numpy(value: Any, dtype: DType | None = None) -> np.ndarray[Any, Any]:
    """A NumPy array of the elements that nobody else writes to: Python numbers and lists get the default dtypes, arrays
    keep theirs; with `dtype`, that one. Raises InvalidType for what is neither numbers nor an array."""
    if isinstance(value, Tensor):
        array = value.numpy()
    elif isinstance(value, np.ndarray | np.generic):
        array = np.array(known(value))
    elif is_array(value):
        array = np.array(value) if hasattr(value, "__array__") else np.from_dlpack(value).copy()
    else:
        return _from_python(value, dtype)
    own = as_dtype(array.dtype)
    if own is string:
        array = byte_strings(array)
    if dtype is None or dtype is own:
        return array
    if string in (own, dtype):
        raise InvalidType(
            f"strings don't convert to numbers or back, got {own} for {dtype}",
            hint="use dfc.strings.to_number or dfc.strings.as_string",
        )
    return array.astype(dtype.numpy)


def _holds_strings(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_strings(item) for item in value)
    return isinstance(value, str | bytes)


_WIDTH = {"b": 0, "u": 1, "i": 1, "O": 1, "f": 2, "V": 2, "c": 3}  # by NumPy's kinds: O are huge ints, V bfloat16


def fitting(value: Any, dtype: DType) -> np.ndarray[Any, Any]:
    """Python numbers and lists of them in a dtype that something else fixes. Raises InvalidType where its kind can't
    hold theirs: a float never loses its fraction to become an integer."""
    try:
        given = np.array(value).dtype.kind
    except (ValueError, TypeError):
        given = "b"  # to_numpy says what is wrong
    if _WIDTH.get(given, 0) > _WIDTH.get(dtype.numpy.kind, 3):
        raise InvalidType(f"{value!r} can't become {dtype} without loss", hint="convert it with dfc.astype")
    return to_numpy(value, dtype)


def _from_python(value: Any, dtype: DType | None) -> np.ndarray[Any, Any]:
    if hasattr(value, "__dfc_tensor__"):
        return to_numpy(value.__dfc_tensor__(), dtype)
    if not isinstance(value, bool | int | float | complex | str | bytes | list | tuple | range):
        raise InvalidType(
            f"expected a tensor, an array, a number, a string or a nested list of them, got a {type(value).__name__}"
        )
    if dtype is string or _holds_strings(value):
        return _strings_from_python(value, dtype)
    weak = not _holds_arrays(value)
    try:
        array = np.array(value, None if dtype is None else dtype.numpy)
    except (ValueError, TypeError, OverflowError) as error:
        what = "the nested list is not an array" if isinstance(value, list | tuple) else f"{type(value).__name__} value"
        raise InvalidArgument(f"{what}: {error}") from None
    if array.dtype == object:
        if all(isinstance(number, int) for number in array.flat):
            raise InvalidArgument(f"an integer is outside the range of {default_int()}", hint="floats can be larger")
        raise InvalidArgument("the nested list is not an array of numbers")
    if dtype is not None or not weak:
        return array
    return _weakened(array)


def _strings_from_python(value: Any, dtype: DType | None) -> np.ndarray[Any, Any]:
    if dtype not in (None, string):
        raise InvalidType(f"strings don't convert to {dtype}", hint="use dfc.strings.to_number")
    try:
        return byte_strings(np.array(value, object))
    except (ValueError, InvalidType):
        raise InvalidArgument("the nested list is not an array of strings") from None


def _weakened(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array of Python numbers in the default dtype of its kind."""
    if array.dtype.kind in "iu":
        target = default_int()
        limits = np.iinfo(target.numpy)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise InvalidArgument(f"an integer is outside the range of {target}", hint="give a dtype, such as int64")
        return array.astype(target.numpy)
    if array.dtype.kind == "f":
        return array.astype(default_float().numpy)
    return array.astype(default_complex().numpy) if array.dtype.kind == "c" else array


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_arrays(item) for item in value)
    return isinstance(value, np.ndarray | np.generic | Tensor)


def put(array: np.ndarray[Any, Any], device: Any = None) -> Tensor:
    """A concrete tensor with the elements of `array`: on `device`, by default that which `dfc.device` around asks for,
    or else the first; strings on the host."""
    if array.dtype == object:
        return Tensor(tensor_type(array.shape, string), None, array)
    from dfc.backends.xla import to_device

    type, chosen = tensor_type(array.shape, as_dtype(array.dtype)), device or locality.here()
    return Tensor(type if chosen is None else locality.type_at(type, chosen), None, to_device(array, chosen))


def moved(tensor: Tensor, device: Any) -> Tensor:
    """A concrete tensor on `device`: itself where it is there, or holds strings."""
    if isinstance(tensor._array, np.ndarray) or locality.device_of_type(tensor._type) is device:
        return tensor
    from dfc.backends.xla import transfer

    return Tensor(locality.type_at(locality.plain(tensor._type), device), None, transfer(tensor._array, device))


def to_tensor(value: ArrayLike, dtype: DType | None = None) -> Tensor:
    """A concrete tensor; a jax.Array on one device of this process is taken as it is, without a copy."""
    if type(value) is Tensor and (dtype is None or value.dtype is dtype):
        return value
    if dtype is None and is_jax_array(value) and value.is_fully_addressable and len(value.devices()) == 1:
        return Tensor(locality.type_of_array(value), None, value)
    return put(to_numpy(value, dtype))
