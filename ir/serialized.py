"""A tensor as bytes, of one documented layout:

4 bytes     "dfT1"
1 byte      the length of the dtype's name, and then the name in ASCII, such as "float32"
1 byte      the rank, and then each size as a little-endian uint64
the rest    the elements in C order, little-endian, a bool as one byte 0 or 1; of strings first their n + 1 offsets
            as little-endian uint64, then their bytes end to end
"""

from __future__ import annotations

import sys
from math import prod
from typing import Any

import numpy as np

from dfc.errors import DataLoss, DfcError
from dfc.ir.dtypes import DType, as_dtype

MAGIC = b"dfT1"
Array = np.ndarray[Any, Any]


def dtype_of(array: Array) -> DType:
    return as_dtype(array.dtype)


def pack(array: Array) -> bytes:
    """The bytes of an array of a dtype of dfc; strings are objects of class bytes."""
    name = dtype_of(array).name.encode()
    header = MAGIC + bytes([len(name)]) + name + bytes([array.ndim])
    sizes = np.array(array.shape, "<u8").tobytes()
    if array.dtype != object:
        return header + sizes + to_little_endian(array)
    elements = array.ravel().tolist()
    offsets = np.cumsum([0, *map(len, elements)]).astype("<u8").tobytes()
    return b"".join([header, sizes, offsets, *elements])


def unpack(data: bytes) -> Array:
    """The array that `pack` wrote. Raises DataLoss for anything else; nothing in it is executed."""
    try:
        return _unpack(data)
    except (ValueError, IndexError, UnicodeDecodeError, DfcError) as error:
        raise DataLoss(f"the string of {len(data)} bytes holds no tensor: {error}") from None


def _unpack(data: bytes) -> Array:
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError(f"it starts with {data[:4]!r}, not {MAGIC!r}")
    at = len(MAGIC) + 1 + data[len(MAGIC)]
    dtype = as_dtype(data[len(MAGIC) + 1 : at].decode("ascii"))
    rank, at = data[at], at + 1
    shape = tuple(int(d) for d in _numbers(data[at : at + 8 * rank], rank))
    n, rest = prod(shape), data[at + 8 * rank :]
    if dtype.kind != "string":
        if len(rest) != n * dtype.numpy.itemsize:
            raise ValueError(f"{n} elements of {dtype} can't be {len(rest)} bytes")
        return from_little_endian(rest, dtype.numpy).reshape(shape)
    offsets = [int(o) for o in _numbers(rest[: 8 * (n + 1)], n + 1)]
    body = rest[8 * (n + 1) :]
    if offsets[0] != 0 or offsets[-1] != len(body) or offsets != sorted(offsets):
        raise ValueError("the offsets of its strings are wrong")
    found = np.empty(n, object)
    for i in range(n):
        found[i] = body[offsets[i] : offsets[i + 1]]
    return found.reshape(shape)


def _numbers(data: bytes, count: int) -> Array:
    if len(data) != 8 * count:
        raise ValueError("it ends too early")
    return np.frombuffer(data, "<u8")


def to_little_endian(array: Array) -> bytes:
    """The elements' bytes in C order."""
    return (array if sys.byteorder == "little" else array.byteswap()).tobytes()


def from_little_endian(data: bytes, dtype: np.dtype[Any]) -> Array:
    """A vector of these elements, which owns its memory."""
    if dtype.kind == "b":
        return np.asarray(np.frombuffer(data, np.uint8) != 0)
    found = np.frombuffer(data, dtype)
    return found.copy() if sys.byteorder == "little" else found.byteswap()
