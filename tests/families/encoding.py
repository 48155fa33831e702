"""Numbers, characters and tensors as bytes in strings."""

from __future__ import annotations

import struct

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.dims import parse_dim
from tests.families.rows import Broken, Rows
from tests.families.strings import EMPTY, NEGATIVE, SAMPLES, not_strings, numbers, one, text
from tests.numerics.values import EVERY, Array, Case, counted, edges, numpy_dtype

ROWS = Rows()
row = ROWS.row

PLAIN = text(["", "f", "fo", "foo", "foob", b"\xfb\xff\xfe"])
"""The test vectors of RFC 4648, section 10, and one that needs the last two letters of the alphabet."""


@row("encode_base64")
def encode_base64() -> list[Case]:
    return [
        Case((PLAIN,), (text(["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "-__-"]),), {"pad": True}),
        Case((PLAIN,), (text(["", "Zg", "Zm8", "Zm9v", "Zm9vYg", "-__-"]),), {"pad": False}),
        Case((EMPTY,), (EMPTY,), {"pad": False}),
    ]


@row("decode_base64")
def decode_base64() -> list[Case]:
    return [
        Case((text(["", "Zg==", "Zm8", "Zm9v", "Zm9vYg==", "-__-"]),), (PLAIN,)),
        Case((one("Zg"),), (one("f"),)),
    ]


def packed(x: Array) -> Array:
    """Each row by `struct`, of dtypes that it knows."""
    code = {"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q"}
    code |= {"f2": "e", "f4": "f", "f8": "d", "b1": "?"}
    letter = code[x.dtype.str[1:]]
    rows = [struct.pack(f"<{x.shape[-1]}{letter}", *row) for row in x.reshape(-1, x.shape[-1]).tolist()]
    return text(rows).reshape(x.shape[:-1])


RAW = [
    *(edges(dtype) for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")),
    *(np.array([[1.5, -0.0], [np.inf, 0.1]], dtype) for dtype in ("float16", "float32", "float64")),
]


@row("decode_raw")
def decode_raw() -> list[Case]:
    found = [Case((packed(x),), (x,), {"dtype": dtypes.as_dtype(x.dtype), "size": x.shape[-1]}) for x in RAW]
    bfloat16 = np.array([1.0, -2.0], numpy_dtype("bfloat16"))
    found.append(Case((one(b"\x80\x3f\x00\xc0"),), (bfloat16,), {"dtype": dtypes.bfloat16, "size": 2}))
    halves = one(struct.pack("<4f", 1, 2, 3, -4))
    found.append(Case((halves,), (np.array([1 + 2j, 3 - 4j], np.complex64),), {"dtype": dtypes.complex64, "size": 2}))
    found.append(Case((text(["", ""]),), (np.zeros((2, 0), np.int32),), {"dtype": dtypes.int32, "size": 0}))
    return found


@row("encode_raw")
def encode_raw() -> list[Case]:
    found = [Case((x,), (packed(x),)) for x in RAW]
    found.append(Case((np.array([1.0, -2.0], numpy_dtype("bfloat16")),), (one(b"\x80\x3f\x00\xc0"),)))
    found.append(Case((np.array([1 + 2j]),), (one(struct.pack("<2d", 1, 2)),)))
    found.append(Case((np.zeros((2, 0), np.int32),), (text(["", ""]),)))
    found.append(Case((np.zeros((0, 2), np.int32),), (text([]),)))
    return found


@row("unicode_decode")
def unicode_decode() -> list[Case]:
    x = text(["aß", "日\U0001f600\0", ""])
    points = [[97, 223, -1], [26085, 128512, 0], [-1, -1, -1]]
    return [
        Case((x,), (numbers(points), numbers([2, 3, 0])), {"size": 3}),
        Case((x,), (numbers(points)[:, :1], numbers([2, 3, 0])), {"size": 1}),
        Case((one("é"),), (numbers([233]), numbers(1)), {"size": 1}),
    ]


@row("unicode_encode")
def unicode_encode() -> list[Case]:
    points = numbers([[97, 223, -1], [-1, 26085, 128512], [-1, -1, -1]])
    return [
        Case((points,), (text([b"a\xc3\x9f", b"\xe6\x97\xa5\xf0\x9f\x98\x80", b""]),)),
        Case((numbers([65]),), (one("A"),)),
        Case((np.zeros((0, 2), np.int32),), (text([]),)),
    ]


def header(dtype: str, *shape: int) -> bytes:
    name = dtype.encode()
    return b"dfT1" + struct.pack("B", len(name)) + name + struct.pack(f"<B{len(shape)}Q", len(shape), *shape)


def written() -> list[tuple[Array, Array]]:
    """Tensors of every dtype, and their bytes."""
    found = []
    for dtype in EVERY:
        x = counted((2, 3), dtype)
        found.append((x, one(header(dtype, 2, 3) + x.tobytes())))
    found.append((np.array(1.5, np.float32), one(header("float32") + struct.pack("<f", 1.5))))
    found.append((np.zeros((0, 2), np.int64), one(header("int64", 0, 2))))
    strings = text(["ab", "", b"\0\xff"])
    found.append((strings, one(header("string", 3) + struct.pack("<4Q", 0, 2, 2, 4) + b"ab\0\xff")))
    found.append((one("x"), one(header("string") + struct.pack("<2Q", 0, 1) + b"x")))
    found.append((EMPTY, one(header("string", 0, 3) + struct.pack("<Q", 0))))
    total = sum(map(len, SAMPLES))
    ends = np.cumsum([0, *map(len, SAMPLES)])
    assert ends[-1] == total
    body = struct.pack(f"<{len(ends)}Q", *ends) + b"".join(SAMPLES)
    return [*found, (SAMPLES, one(header("string", len(SAMPLES)) + body))]


@row("serialize_tensor")
def serialize_tensor() -> list[Case]:
    return [Case((x,), (data,)) for x, data in written()]


@row("parse_tensor")
def parse_tensor() -> list[Case]:
    return [Case((data,), (x,), {"dtype": dtypes.as_dtype(x.dtype), "shape": x.shape}) for x, data in written()]


# ---- broken constraints

BROKEN: list[Broken] = [
    not_strings("encode_base64", pad=False),
    not_strings("decode_base64"),
    not_strings("decode_raw", dtype=dtypes.int32, size=1),
    ("decode_raw-C2", "string[2]", {"dtype": dtypes.string, "size": 1}, InvalidType,
     "the dtype must be bool or int or uint or float or complex, got string"),
    ("decode_raw-C3", "string[2]", {"dtype": dtypes.int32, "size": -1}, InvalidArgument, NEGATIVE),
    ("encode_raw-C1", "string[2]", {}, InvalidType,
     "the dtype must be bool or int or uint or float or complex, got string"),
    ("encode_raw-C2", "int32[]", {}, InvalidArgument, "x needs an axis whose numbers become one string, got int32[]"),
    not_strings("unicode_decode", size=1),
    ("unicode_decode-C2", "string[2]", {"size": -1}, InvalidArgument, NEGATIVE),
    ("unicode_encode-C1", "int64[2]", {}, InvalidType, "code points must be int32, got int64"),
    ("unicode_encode-C2", "int32[]", {}, InvalidArgument,
     "x needs an axis whose code points become one string, got int32[]"),
    ("parse_tensor-C1", "string[1]", {"dtype": dtypes.int32, "shape": ()}, InvalidType,
     "x must be one string, got string[1]"),
    ("parse_tensor-C2", "string[]", {"dtype": dtypes.int32, "shape": (parse_dim("b"),)}, InvalidArgument,
     "the shape must be static, got int32[b]"),
]  # fmt: skip
