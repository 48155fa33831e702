"""Strings: variable-length bytes, on the host."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from tests.families.rows import Broken, Rows
from tests.numerics.values import FLOATS, INTS, UINTS, Array, Case, array

ROWS = Rows()
row = ROWS.row


def text(values: Any, *shape: int) -> Array:
    """A tensor of strings, a vector unless a shape is given; str becomes UTF-8."""
    flat = [value.encode() if isinstance(value, str) else value for value in values]
    found = np.empty(len(flat), object)
    for i, value in enumerate(flat):
        found[i] = value
    return found.reshape(shape) if shape else found


def one(value: Any) -> Array:
    return text([value]).reshape(())


def numbers(values: Any, dtype: str = "int32") -> Array:
    return np.array(values, dtype)


EMPTY = text([]).reshape(0, 3)
SAMPLES = text([b"", b"a", b"Hello, World", b"\x00\xff\n", "größe", "日本 語", b"  two words\t\n", b"x\0"])


@row("string_length")
def string_length() -> list[Case]:
    return [
        Case((SAMPLES,), (numbers([0, 1, 12, 3, 7, 10, 13, 2]),), {"unit": "byte"}),
        Case((text(["", "größe", "日本 語", "\U0001f600"]),), (numbers([0, 5, 4, 1]),), {"unit": "character"}),
        Case((one("ab"),), (numbers(2),), {"unit": "byte"}),
        Case((EMPTY,), (np.zeros((0, 3), np.int32),), {"unit": "byte"}),
    ]


def letters(ascii_only: list[str], unicode: list[str]) -> list[Case]:
    given = ["", "aZ09_~", "größe ÉÀ", "ǆ"]
    return [
        Case((text(given),), (text(ascii_only),), {"unicode": False}),
        Case((text(given),), (text(unicode),), {"unicode": True}),
        Case((one(b"\xff"),), (one(b"\xff"),), {"unicode": False}),
        Case((EMPTY,), (EMPTY,), {"unicode": False}),
    ]


@row("string_upper")
def string_upper() -> list[Case]:
    return letters(["", "AZ09_~", "GRößE ÉÀ", "ǆ"], ["", "AZ09_~", "GRÖSSE ÉÀ", "Ǆ"])


@row("string_lower")
def string_lower() -> list[Case]:
    return letters(["", "az09_~", "größe ÉÀ", "ǆ"], ["", "az09_~", "größe éà", "ǆ"])


@row("string_strip")
def string_strip() -> list[Case]:
    given = ["", "  ", " a b\t", "\r\n\x0b\x0cx", "\u00a0y", b"\0z\0"]
    return [
        Case((text(given),), (text(["", "", "a b", "x", "\u00a0y", b"\0z\0"]),)),
        Case((one(" q "),), (one("q"),)),
        Case((EMPTY,), (EMPTY,)),
    ]


@row("substring")
def substring() -> list[Case]:
    x = text(["hello", "", "日本語"])
    by_byte, by_character = {"unit": "byte"}, {"unit": "character"}
    return [
        Case((x, numbers(1), numbers(3)), (text(["ell", "", b"\x97\xa5\xe6"]),), by_byte),
        Case((x, numbers(1), numbers(5)), (text(["ello", "", "本語"]),), by_character),
        Case((x, numbers([-2, 0, -9]), numbers([9, 9, 2])), (text(["lo", "", "日本"]),), by_character),
        Case((x, numbers([7, 7, 1], "int64"), numbers([1, 1, -1], "int64")), (text(["", "", ""]),), by_byte),
        Case((one("abc"), numbers(1, "uint8"), numbers(1, "uint8")), (one("b"),), by_byte),
    ]


@row("string_find")
def string_find() -> list[Case]:
    x = text(["banana", "", "größe"])
    return [
        Case((x, one("an")), (numbers([1, -1, -1]),)),
        Case((x, text(["na", "", "ß"])), (numbers([2, 0, 4]),)),
        Case((EMPTY, one("x")), (np.zeros((0, 3), np.int32),)),
    ]


@row("string_join")
def string_join() -> list[Case]:
    a, b, c = text(["a", "", "é", b"\xff"], 2, 2), text(["1", "2", "", b"\0"], 2, 2), text("wxyz", 2, 2)
    return [
        Case((a, b, c), (text(["a1w", "2x", "éy", b"\xff\0z"], 2, 2),), {"separator": ""}),
        Case((a, b), (text(["a→1", "→2", "é→", b"\xff\xe2\x86\x92\0"], 2, 2),), {"separator": "→"}),
        Case((a,), (a,), {"separator": '\\"\n'}),
        Case((one("x"), one("y")), (one("x, y"),), {"separator": ", "}),
        Case((EMPTY, EMPTY), (EMPTY,), {"separator": "-"}),
    ]


@row("string_reduce_join")
def string_reduce_join() -> list[Case]:
    x = text("abcdefgh", 2, 2, 2)
    return [
        Case((x,), (text(["ab", "cd", "ef", "gh"], 2, 2),), {"axes": (2,), "separator": ""}),
        Case((x,), (text(["ae", "bf", "cg", "dh"], 2, 2),), {"axes": (0,), "separator": ""}),
        Case((x,), (text(["a-b-e-f", "c-d-g-h"]),), {"axes": (0, 2), "separator": "-"}),
        Case((x,), (one("abcdefgh"),), {"axes": (0, 1, 2), "separator": ""}),
        Case((x,), (x,), {"axes": (), "separator": "-"}),
        Case((one("a"),), (one("a"),), {"axes": (), "separator": "-"}),
        Case((EMPTY,), (text(["", "", ""]),), {"axes": (0,), "separator": "-"}),
        Case((EMPTY,), (text([]),), {"axes": (1,), "separator": "-"}),
    ]


@row("string_split")
def string_split() -> list[Case]:
    x = text(["a,b,,c", "", ",", "one"])
    words = text(["", "  ", " a  b\tc\nd ", "one"])
    return [
        Case(
            (x,),
            (text(["a", "b", "", "", "", "", "", "", "", "one", "", ""], 4, 3), numbers([4, 1, 2, 1])),
            {"separator": ",", "size": 3},
        ),
        Case(
            (words,),
            (text(["", "", "", "", "a", "b", "one", ""], 4, 2), numbers([0, 0, 4, 1])),
            {"separator": "", "size": 2},
        ),
        Case((one("a--b"),), (text(["a", "b", ""]), numbers(2)), {"separator": "--", "size": 3}),
        Case((x,), (text([]).reshape(4, 0), numbers([4, 1, 2, 1])), {"separator": ",", "size": 0}),
        Case((EMPTY,), (text([]).reshape(0, 3, 2), np.zeros((0, 3), np.int32)), {"separator": ",", "size": 2}),
    ]


@row("regex_full_match")
def regex_full_match() -> list[Case]:
    return [
        Case((text(["12", "1a", "", "12\n"]),), (np.array([True, False, False, False]),), {"pattern": r"\d+"}),
        Case((text(["ab", "b", "ba"]),), (np.array([True, False, True]),), {"pattern": "ab|ba"}),
        Case((text(["é", "e"]),), (np.array([True, False]),), {"pattern": "é"}),
        Case((one(b"\xff\0"),), (np.array(True),), {"pattern": "(?s).."}),
    ]


@row("regex_replace")
def regex_replace() -> list[Case]:
    x = text(["a1b22", "", "333"])
    return [
        Case((x,), (text(["a#b#", "", "#"]),), {"pattern": r"\d+", "rewrite": "#", "count": 0}),
        Case((x,), (text(["a#b22", "", "#33"]),), {"pattern": r"\d", "rewrite": "#", "count": 1}),
        Case((x,), (text(["1ab22", "", "333"]),), {"pattern": "([a-z])([0-9])", "rewrite": r"\2\1", "count": 1}),
        Case((one("größe"),), (one("gr[ö]ße"),), {"pattern": "ö", "rewrite": r"[\g<0>]", "count": 0}),
    ]


@row("string_to_hash_bucket")
def string_to_hash_bucket() -> list[Case]:
    """Digests as `b2sum -l 64` of coreutils prints them."""
    digests = {"": "e4a6a0577479b2b4", "a": "40f89e395b66422f", "hello": "a7b6eda801e5347d"}
    whole = [int.from_bytes(bytes.fromhex(digest), "little") for digest in digests.values()]
    x = text(list(digests))
    return [
        Case((x,), (numbers([w % n for w in whole], "int64"),), {"n_buckets": n}) for n in (1, 10, 2**31, 2**63 - 1)
    ]


@row("string_to_number")
def string_to_number() -> list[Case]:
    found = []
    for dtype in (*INTS, *UINTS):
        info = np.iinfo(dtype)
        x = text([str(info.min), str(info.max), " 7\n", "+3", "0012"])
        found.append(Case((x,), (numbers([info.min, info.max, 7, 3, 12], dtype),), {"dtype": dtypes.as_dtype(dtype)}))
    for dtype in FLOATS:
        x = text(["1.5", "-0.0", "1e2", " .25", "inf", "-Infinity", "nan", "1e-400", "1e400"])
        expected = array([1.5, -0.0, 100, 0.25, np.inf, -np.inf, np.nan, 0, np.inf], dtype)
        found.append(Case((x,), (expected,), {"dtype": dtypes.as_dtype(dtype)}))
    found.append(Case((EMPTY,), (np.zeros((0, 3), np.float32),), {"dtype": dtypes.float32}))
    return found


@row("as_string")
def as_string() -> list[Case]:
    shortest = {"precision": -1}
    low, high = np.iinfo(np.int64).min, np.iinfo(np.uint64).max
    return [
        Case((np.array([0, -1, low]),), (text(["0", "-1", "-9223372036854775808"]),), shortest),
        Case((np.array([high], np.uint64),), (text(["18446744073709551615"]),), shortest),
        Case((np.array([True, False]),), (text(["true", "false"]),), shortest),
        Case((np.array([0.1, 1e300, -0.0]),), (text(["0.1", "1e+300", "-0.0"]),), shortest),
        Case((np.array([-np.inf, np.nan]),), (text(["-inf", "nan"]),), shortest),
        Case((np.array([0.1, 16777216, 1e-45], np.float32),), (text(["0.1", "16777216.0", "1e-45"]),), shortest),
        Case((np.array([0.1, -2], np.float16),), (text(["0.1", "-2.0"]),), shortest),
        Case((np.array([1.5, 0.1], ml_dtypes.bfloat16),), (text(["1.5", "0.1"]),), shortest),
        Case((np.array([0.125, -2, 1e10]),), (text(["0.12", "-2.00", "10000000000.00"]),), {"precision": 2}),
        Case((np.array([0.5, 1.5], np.float32),), (text(["0", "2"]),), {"precision": 0}),
        Case((np.zeros((0, 2), np.int8),), (text([]).reshape(0, 2),), shortest),
    ]


# ---- broken constraints


def not_strings(name: str, rest: str = "", **attributes: Any) -> Broken:
    return f"{name}-C1", f"int32[2]{rest}", attributes, InvalidType, "the dtype must be string, got int32"


WRONG_PATTERN = "the pattern '(' is wrong: missing ), unterminated subpattern at position 0"
NEGATIVE = "size must not be negative, got -1"

BROKEN: list[Broken] = [
    not_strings("string_length", unit="byte"),
    ("string_length-C2", "string[2]", {"unit": "word"}, InvalidArgument, "unit must be byte or character, got 'word'"),
    not_strings("string_upper", unicode=False),
    not_strings("string_lower", unicode=False),
    not_strings("string_strip"),
    not_strings("substring", " ; int32[] ; int32[]", unit="byte"),
    ("substring-C2", "string[2] ; int32[] ; int32[]", {"unit": ""}, InvalidArgument,
     "unit must be byte or character, got ''"),
    ("substring-C3", "string[2] ; int32[3] ; int32[]", {"unit": "byte"}, InvalidArgument,
     "position must be integers, a scalar or one for each of string[2], got int32[3]"),
    not_strings("string_find", " ; string[]"),
    ("string_find-C2", "string[2] ; string[3]", {}, InvalidArgument,
     "wanted must be a scalar or one for each of string[2], got string[3]"),
    ("string_join-C1", "", {"separator": ""}, InvalidArgument, "at least one operand is needed"),
    ("string_join-C2", "string[2] ; bool[2]", {"separator": ""}, InvalidType, "the dtype must be string, got bool"),
    ("string_join-C3", "string[2] ; string[3]", {"separator": ""}, InvalidArgument,
     "operands must have one shape, got string[2] and string[3]"),
    not_strings("string_reduce_join", axes=(), separator=""),
    ("string_reduce_join-C2", "string[2]", {"axes": (1,), "separator": ""}, InvalidArgument,
     "axes must be distinct, ascending and within rank 1, got (1,)"),
    not_strings("string_split", separator="", size=1),
    ("string_split-C2", "string[2]", {"separator": "", "size": -1}, InvalidArgument, NEGATIVE),
    not_strings("regex_full_match", pattern=""),
    ("regex_full_match-C2", "string[2]", {"pattern": "("}, InvalidArgument, WRONG_PATTERN),
    not_strings("regex_replace", pattern="", rewrite="", count=0),
    ("regex_replace-C2", "string[2]", {"pattern": "(", "rewrite": "", "count": 0}, InvalidArgument, WRONG_PATTERN),
    ("regex_replace-C3", "string[2]", {"pattern": "", "rewrite": "", "count": -1}, InvalidArgument,
     "count must not be negative, got -1"),
    ("regex_replace-C4", "string[2]", {"pattern": "a", "rewrite": r"\1", "count": 0}, InvalidArgument,
     "the rewrite '\\\\1' is wrong: invalid group reference 1 at position 1"),
    not_strings("string_to_hash_bucket", n_buckets=1),
    ("string_to_hash_bucket-C2", "string[2]", {"n_buckets": 0}, InvalidArgument,
     "there must be from 1 to 2**63 - 1 buckets, got 0"),
    not_strings("string_to_number", dtype=dtypes.int32),
    ("string_to_number-C2", "string[2]", {"dtype": dtypes.bool_}, InvalidType,
     "the dtype must be int or uint or float, got bool"),
    ("as_string-C1", "complex64[2]", {"precision": -1}, InvalidType,
     "the dtype must be bool or int or uint or float, got complex64"),
    ("as_string-C2", "int32[2]", {"precision": 2}, InvalidArgument,
     "a precision is for floats and at least 0, got 2 for int32[2]"),
]  # fmt: skip
