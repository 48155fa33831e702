"""Element types. One `DType` a type, the same object everywhere; needs only NumPy and ml_dtypes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np

from dfc.errors import InvalidType

Kind = Literal["bool", "int", "uint", "float", "complex", "string"]


@dataclass(frozen=True, eq=False, slots=True)
class DType:
    """An element type: its name (as in NumPy), its NumPy dtype, its kind and its width in bits (0 for strings).

    Equal to itself and to its own name: `x.dtype == "float32"`.
    """

    name: str
    numpy: np.dtype[Any]
    kind: Kind
    bits: int

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, str) and other == self.name)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"dfc.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return as_dtype, (self.name,)

    @property
    def is_floating(self) -> bool:
        return self.kind == "float"

    @property
    def is_inexact(self) -> bool:
        """Floating or complex: the dtypes that have gradients."""
        return self.kind in ("float", "complex")

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")

    @property
    def is_numeric(self) -> bool:
        return self.kind not in ("bool", "string")


def _make(name: str, kind: Kind, bits: int, numpy: Any = None) -> DType:
    return DType(name, np.dtype(numpy if numpy is not None else name), kind, bits)


bool_ = _make("bool", "bool", 1)
int8, int16, int32, int64 = (_make(f"int{n}", "int", n) for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (_make(f"uint{n}", "uint", n) for n in (8, 16, 32, 64))
float16, float32, float64 = (_make(f"float{n}", "float", n) for n in (16, 32, 64))
bfloat16 = _make("bfloat16", "float", 16, ml_dtypes.bfloat16)
complex64, complex128 = (_make(f"complex{n}", "complex", n) for n in (64, 128))
string = _make("string", "string", 0, object)

_PARTS = {complex64: float32, complex128: float64}
_WHOLES = {part: whole for whole, part in _PARTS.items()}


def part_of(dtype: DType) -> DType:
    """The dtype of a complex dtype's real and imaginary parts; every other dtype as it is."""
    return _PARTS.get(dtype, dtype)


def complex_of(dtype: DType) -> DType | None:
    """The complex dtype whose parts are of `dtype`; None where there is none."""
    return _WHOLES.get(dtype)


ALL: tuple[DType, ...] = (
    *(bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64),
    *(float16, bfloat16, float32, float64, complex64, complex128, string),
)
_BY_NAME = {d.name: d for d in ALL}
_BY_NUMPY = {d.numpy: d for d in ALL}
_BY_PYTHON: dict[Any, DType] = {bool: bool_, int: int32, float: float32, complex: complex64, str: string, bytes: string}


def as_dtype(value: Any) -> DType:
    """The DType of a DType, a name, a NumPy dtype or scalar type, or a Python scalar type.

    Raises InvalidType for anything else.
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, str) and value in _BY_NAME:
        return _BY_NAME[value]
    if isinstance(value, type) and value in _BY_PYTHON:
        return _BY_PYTHON[value]
    try:
        dtype = np.dtype(value)
    except TypeError:
        dtype = None
    if dtype is not None and dtype.kind in "SU":
        return string
    found = _BY_NUMPY.get(dtype) if dtype is not None else None
    if found is None:
        raise InvalidType(f"{value!r} is not a dtype of dfc", hint=f"dtypes: {', '.join(_BY_NAME)}")
    return found


def byte_strings(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array of `bytes`, as tensors of strings are, from one of str (as UTF-8) and bytes, NumPy's or Python's. Raises
    InvalidType for others.

    NumPy's own dtypes S and U lose zero bytes at the end of an element.
    """
    found = np.empty(array.size, object)
    for i, value in enumerate(array.ravel().tolist()):
        if not isinstance(value, str | bytes):
            raise InvalidType(f"an array of strings holds str and bytes, got a {type(value).__name__}")
        found[i] = value.encode() if isinstance(value, str) else value
    return found.reshape(array.shape)
