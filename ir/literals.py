"""Text of numbers and strings inside attributes: exact both ways, infinities and NaN included."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from xdsl.parser import AttrParser

from dfc.ir.dtypes import DType


def float_text(value: float) -> str:
    if math.isfinite(value):
        text = repr(float(value))
        return text if "." in text else text.replace("e", ".0e")  # MLIR's grammar wants the point: 1.0e-300
    return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")


def parse_float(parser: AttrParser) -> float:
    negative = parser.parse_optional_punctuation("-") is not None
    word = parser.parse_optional_keyword("nan") or parser.parse_optional_keyword("inf")
    value = float(word) if word else float(parser.parse_number(allow_boolean=False))
    return -value if negative else value


def _scalar_text(value: Any, dtype: DType) -> str:
    match dtype.kind:
        case "bool":
            return "true" if value else "false"
        case "float":
            return float_text(float(value))
        case "complex":
            return f"({float_text(float(value.real))}, {float_text(float(value.imag))})"
        case "string":
            return json.dumps(bytes(value).decode("latin-1"), ensure_ascii=False) if _plain(value) else _hex(value)
        case _:
            return str(int(value))


def _plain(value: bytes) -> bool:
    return all(0x20 <= b < 0x7F and b not in (0x22, 0x5C) for b in bytes(value))


def _hex(value: bytes) -> str:
    return "hex" + json.dumps(bytes(value).hex())


def elements_text(array: np.ndarray[Any, Any], dtype: DType) -> str:
    """The elements in C order, `[1.0, 2.0]`; one element, or the same everywhere, without brackets."""
    flat = array.ravel()
    parts = flat.view(flat.real.dtype) if dtype.kind == "complex" else flat
    if dtype.is_inexact and flat.size and np.isnan(parts).any() and not _canonical_nans(parts):
        return f'raw "{flat.tobytes().hex()}"'
    texts = [_scalar_text(v, dtype) for v in flat]
    if texts and all(t == texts[0] for t in texts):
        return texts[0]
    return f"[{', '.join(texts)}]"


def _canonical_nans(flat: np.ndarray[Any, Any]) -> bool:
    nans = flat[np.isnan(flat)]
    return bool(nans.tobytes() == np.full(nans.shape, np.nan, flat.dtype).tobytes())


def parse_elements(parser: AttrParser, dtype: DType, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    if parser.parse_optional_keyword("raw"):
        data = bytes.fromhex(parser.parse_str_literal())
        return np.frombuffer(data, dtype.numpy).reshape(shape)
    values = parser.parse_optional_comma_separated_list(parser.Delimiter.SQUARE, lambda: _parse_scalar(parser, dtype))
    array = np.empty(shape, dtype.numpy)
    if values is None:
        array[...] = _parse_scalar(parser, dtype)
    else:
        flat = np.empty(len(values), dtype.numpy)
        for i, value in enumerate(values):
            flat[i] = value
        array = flat.reshape(shape)
    return array


def _parse_scalar(parser: AttrParser, dtype: DType) -> Any:
    match dtype.kind:
        case "bool":
            return parser.parse_boolean()
        case "float":
            return parse_float(parser)
        case "complex":
            real, imag = parser.parse_comma_separated_list(parser.Delimiter.PAREN, lambda: parse_float(parser))
            return complex(real, imag)
        case "string":
            if parser.parse_optional_keyword("hex"):
                return bytes.fromhex(parser.parse_str_literal())
            return parser.parse_str_literal().encode("latin-1")
        case _:
            return parser.parse_integer()
