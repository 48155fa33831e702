"""The dtypes that Python numbers get where nothing else decides."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from dfc.errors import InvalidType
from dfc.ir import dtypes
from dfc.ir.dtypes import DType

_float: ContextVar[DType] = ContextVar("dfc_default_float", default=dtypes.float32)
_int: ContextVar[DType] = ContextVar("dfc_default_int", default=dtypes.int32)

default_float = _float.get
default_int = _int.get


def default_complex() -> DType:
    return dtypes.complex128 if _float.get().bits == 64 else dtypes.complex64


class default_dtype:
    """`dfc.default_dtype("float64")` sets the dtype of Python floats, `dfc.default_dtype("int64")` that of ints, from
    here on in this thread; `with dfc.default_dtype(...):` until the block ends. A traced function keeps what held
    when it was traced.

    Raises InvalidType for a dtype that is neither floating nor a signed integer.
    """

    def __init__(self, dtype: Any) -> None:
        found = dtypes.as_dtype(dtype)
        if found.kind not in ("float", "int"):
            raise InvalidType(f"a default dtype is floating or a signed integer, got {found}")
        self._variable = _float if found.is_floating else _int
        self._token = self._variable.set(found)

    def __enter__(self) -> default_dtype:
        return self

    def __exit__(self, *exception: object) -> None:
        self._variable.reset(self._token)
