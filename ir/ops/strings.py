"""Strings: tensors whose elements are bytes of any length. All of these run on the host; what turns them into numbers
bit by bit, or back, is in `encoding`.

A string is bytes; where an op works on characters it says so, and takes the bytes for UTF-8. Bytes that don't fit are
an InvalidArgument that shows them, when the program runs. Patterns are those of Python's `re` on bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, var_operand_def

from dfc.errors import InvalidArgument
from dfc.ir.attributes import Element, Flag, Int, Ints, Text
from dfc.ir.dtypes import bool_, int32, int64, string
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import require_kind
from dfc.ir.types import spec_of, tensor_type

Array = np.ndarray[Any, Any]
STRING = ("string",)
UNITS = ("byte", "character")


def each(function: Callable[..., Any], *arrays: Array, dtype: Any = object) -> Array:
    """`function` of each element; scalars go with every element of the others."""
    shape = np.broadcast_shapes(*(x.shape for x in arrays))
    rows = zip(*(np.broadcast_to(x, shape).ravel().tolist() for x in arrays), strict=True)
    found = np.empty(int(np.prod(shape, dtype=np.int64)), dtype)
    for i, row in enumerate(rows):
        found[i] = function(*row)
    return found.reshape(shape)


def characters(value: bytes) -> str:
    """The characters of UTF-8 bytes. Raises InvalidArgument for others."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"the bytes must be UTF-8, got {value!r}: {error.reason} at {error.start}") from None


def require_size(size: int, label: str) -> None:
    if size < 0:
        raise InvalidArgument(f"size must not be negative, got {size}", label=label)


def require_unit(unit: str, label: str) -> None:
    if unit not in UNITS:
        raise InvalidArgument(f"unit must be byte or character, got {unit!r}", label=label)


def compiled(pattern: str, label: str = "") -> re.Pattern[bytes]:
    """The pattern on bytes. Raises InvalidArgument for one that is wrong."""
    try:
        return re.compile(pattern.encode())
    except re.error as error:
        raise InvalidArgument(f"the pattern {pattern!r} is wrong: {error}", label=label) from None


class StringOp(Op):
    """The host runs it, since no device holds strings."""

    HOST_ONLY: ClassVar[bool] = True
    KINDS: ClassVar[tuple[str, ...]] = STRING


class StringUnary(StringOp):
    """One string for each string. C1: the dtype is string."""

    x = operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_kind(spec_of(operands[0]).dtype, cls.KINDS, "C1")
        return (operands[0],)

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        return [each(lambda value: cls.compute(value, attributes), operands[0])]

    @staticmethod
    def compute(value: bytes, attributes: Attributes) -> bytes:
        """The result for one string."""
        raise NotImplementedError


@irdl_op_definition
class StringLength(StringOp):
    """How long each string is, in bytes or characters, as int32. C1: the dtype is string. C2: a known unit."""

    name = "df.string_length"
    unit = prop_def(Text)
    x = operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec = spec_of(operands[0])
        require_kind(spec.dtype, cls.KINDS, "C1")
        require_unit(attributes["unit"], "C2")
        return (tensor_type(spec.shape, int32),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        measure = len if attributes["unit"] == "byte" else lambda value: len(characters(value))
        return [each(measure, operands[0], dtype=np.int32)]


@irdl_op_definition
class StringUpper(StringUnary):
    """Capital letters: of ASCII, or with `unicode` of all characters."""

    name = "df.string_upper"
    unicode = prop_def(Flag)

    @staticmethod
    def compute(value: bytes, attributes: Attributes) -> bytes:
        return characters(value).upper().encode() if attributes["unicode"] else value.upper()


@irdl_op_definition
class StringLower(StringUnary):
    """Small letters: of ASCII, or with `unicode` of all characters."""

    name = "df.string_lower"
    unicode = prop_def(Flag)

    @staticmethod
    def compute(value: bytes, attributes: Attributes) -> bytes:
        return characters(value).lower().encode() if attributes["unicode"] else value.lower()


@irdl_op_definition
class StringStrip(StringUnary):
    """Each string without ASCII white space at both ends."""

    name = "df.string_strip"

    @staticmethod
    def compute(value: bytes, attributes: Attributes) -> bytes:
        return value.strip()


@irdl_op_definition
class Substring(StringOp):
    """`length` bytes or characters from `position` on, which counts from the end where it is negative; what lies
    outside the string is left out. Both are integers, a scalar or one an element.

    C1: the dtype is string. C2: a known unit. C3: position and length are integers, scalars or of x's shape.
    """

    name = "df.substring"
    unit = prop_def(Text)
    x = operand_def()
    position = operand_def()
    length = operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        x, *numbers = (spec_of(t) for t in operands)
        require_kind(x.dtype, cls.KINDS, "C1")
        require_unit(attributes["unit"], "C2")
        for what, spec in zip(("position", "length"), numbers, strict=True):
            if not spec.dtype.is_integer or spec.shape not in ((), x.shape):
                raise InvalidArgument(
                    f"{what} must be integers, a scalar or one for each of {x}, got {spec}", label="C3"
                )
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        def part(value: bytes, position: int, length: int) -> bytes:
            text: Any = value if attributes["unit"] == "byte" else characters(value)
            start = position if position >= 0 else max(len(text) + position, 0)
            found = text[start : start + max(length, 0)]
            return found if isinstance(found, bytes) else found.encode()

        return [each(part, *operands)]


@irdl_op_definition
class StringFind(StringOp):
    """The byte at which `wanted` first occurs in each string, as int32; -1 where it doesn't.

    C1: the dtype of both is string. C2: wanted is a scalar or of x's shape.
    """

    name = "df.string_find"
    x = operand_def()
    wanted = operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        x, wanted = (spec_of(t) for t in operands)
        for spec in (x, wanted):
            require_kind(spec.dtype, cls.KINDS, "C1")
        if wanted.shape not in ((), x.shape):
            raise InvalidArgument(f"wanted must be a scalar or one for each of {x}, got {wanted}", label="C2")
        return (tensor_type(x.shape, int32),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        return [each(lambda value, wanted: value.find(wanted), *operands, dtype=np.int32)]


@irdl_op_definition
class StringJoin(StringOp):
    """The strings of all operands at each place, one after another with `separator` between.

    C1: at least one operand. C2: the dtype is string. C3: equal shapes.
    """

    name = "df.string_join"
    separator = prop_def(Text)
    inputs = var_operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        specs = [spec_of(t) for t in operands]
        if not specs:
            raise InvalidArgument("at least one operand is needed", label="C1")
        for spec in specs:
            require_kind(spec.dtype, cls.KINDS, "C2")
        if any(s != specs[0] for s in specs):
            raise InvalidArgument(f"operands must have one shape, got {' and '.join(map(str, specs))}", label="C3")
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        separator = attributes["separator"].encode()
        return [each(lambda *parts: separator.join(parts), *operands)]


@irdl_op_definition
class StringReduceJoin(StringOp):
    """The strings along `axes` joined in C order with `separator` between; of nothing the empty string.

    C1: the dtype is string. C2: the axes are distinct, ascending and in range.
    """

    name = "df.string_reduce_join"
    axes = prop_def(Ints)
    separator = prop_def(Text)
    x = operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec, axes = spec_of(operands[0]), attributes["axes"]
        require_kind(spec.dtype, cls.KINDS, "C1")
        if any(not 0 <= a < len(spec.shape) for a in axes) or list(axes) != sorted(set(axes)):
            raise InvalidArgument(
                f"axes must be distinct, ascending and within rank {len(spec.shape)}, got {axes}", label="C2"
            )
        return (tensor_type(tuple(d for i, d in enumerate(spec.shape) if i not in axes), spec.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (x,), axes, separator = operands, attributes["axes"], attributes["separator"].encode()
        kept = [i for i in range(x.ndim) if i not in axes]
        shape = [x.shape[i] for i in kept]
        rows = x.transpose(*kept, *axes).reshape(int(np.prod(shape, dtype=np.int64)), -1) if x.size else None
        found = np.empty(int(np.prod(shape, dtype=np.int64)), object)
        for i in range(len(found)):
            found[i] = b"" if rows is None else separator.join(rows[i].tolist())
        return [found.reshape(shape)]


@irdl_op_definition
class StringSplit(StringOp):
    """The parts of each string between separators, the first `size` of them along a new last axis, empty strings after
    the last; and how many parts there are, as int32, which may be more. The empty separator is any run of white space.

    C1: the dtype is string. C2: size is not negative.
    """

    name = "df.string_split"
    separator = prop_def(Text)
    size = prop_def(Int)
    x = operand_def()
    parts = result_def()
    counts = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec, size = spec_of(operands[0]), attributes["size"]
        require_kind(spec.dtype, cls.KINDS, "C1")
        require_size(size, "C2")
        return (tensor_type((*spec.shape, size), string), tensor_type(spec.shape, int32))

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        separator, size = attributes["separator"].encode() or None, attributes["size"]
        return padded(operands[0], lambda value: value.split(separator), size, b"", object)


def padded(x: Array, parts_of: Callable[[bytes], Any], size: int, filler: Any, dtype: Any) -> list[Array]:
    """The parts of each string along a new axis, filled up to `size`, and how many there are."""
    parts = np.full((x.size, size), filler, dtype)
    counts = np.zeros(x.size, np.int32)
    for i, value in enumerate(x.ravel().tolist()):
        found = parts_of(value)
        counts[i] = len(found)
        for j, part in enumerate(found[:size]):
            parts[i, j] = part
    return [parts.reshape(*x.shape, size), counts.reshape(x.shape)]


@irdl_op_definition
class RegexFullMatch(StringOp):
    """Whether the pattern matches all of each string. C1: the dtype is string. C2: a right pattern."""

    name = "df.regex_full_match"
    pattern = prop_def(Text)
    x = operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec = spec_of(operands[0])
        require_kind(spec.dtype, cls.KINDS, "C1")
        compiled(attributes["pattern"], "C2")
        return (tensor_type(spec.shape, bool_),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        pattern = compiled(attributes["pattern"])
        return [each(lambda value: pattern.fullmatch(value) is not None, operands[0], dtype=np.bool_)]


@irdl_op_definition
class RegexReplace(StringOp):
    r"""Each string with what the pattern matches replaced by `rewrite`, in which \1 is the first group and \g<0> the
    whole match; the first `count` matches only, unless it is 0. C1: the dtype is string. C2: a right pattern.
    C3: count is not negative. C4: the rewrite names groups of the pattern.
    """

    name = "df.regex_replace"
    pattern = prop_def(Text)
    rewrite = prop_def(Text)
    count = prop_def(Int)
    x = operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        require_kind(spec_of(operands[0]).dtype, cls.KINDS, "C1")
        pattern = compiled(attributes["pattern"], "C2")
        if attributes["count"] < 0:
            raise InvalidArgument(f"count must not be negative, got {attributes['count']}", label="C3")
        try:
            pattern.sub(attributes["rewrite"].encode(), b"")  # looks at the rewrite, whether it matches or not
        except (re.error, IndexError) as error:
            raise InvalidArgument(f"the rewrite {attributes['rewrite']!r} is wrong: {error}", label="C4") from None
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        pattern, rewrite = compiled(attributes["pattern"]), attributes["rewrite"].encode()
        return [each(lambda value: pattern.sub(rewrite, value, attributes["count"]), operands[0])]


@irdl_op_definition
class StringToHashBucket(StringOp):
    """A number from 0 to below `n_buckets` for each string, as int64, the same in every process and version: its
    BLAKE2b digest (RFC 7693) of 8 bytes, as a little-endian unsigned integer, modulo `n_buckets`.

    C1: the dtype is string. C2: there are buckets.
    """

    name = "df.string_to_hash_bucket"
    n_buckets = prop_def(Int)
    x = operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec, n_buckets = spec_of(operands[0]), attributes["n_buckets"]
        require_kind(spec.dtype, cls.KINDS, "C1")
        if not 0 < n_buckets < 2**63:
            raise InvalidArgument(f"there must be from 1 to 2**63 - 1 buckets, got {n_buckets}", label="C2")
        return (tensor_type(spec.shape, int64),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        def bucket(value: bytes) -> int:
            digest = hashlib.blake2b(value, digest_size=8).digest()
            return int.from_bytes(digest, "little") % int(attributes["n_buckets"])

        return [each(bucket, operands[0], dtype=np.int64)]


@irdl_op_definition
class StringToNumber(StringOp):
    """The number that each string writes in decimal, as `dtype`; white space around it is left out. A float may be
    inf or nan. C1: the dtype of x is string. C2: `dtype` is int, uint or float."""

    name = "df.string_to_number"
    dtype = prop_def(Element)
    x = operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec = spec_of(operands[0])
        require_kind(spec.dtype, cls.KINDS, "C1")
        require_kind(attributes["dtype"], ("int", "uint", "float"), "C2")
        return (tensor_type(spec.shape, attributes["dtype"]),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        dtype = attributes["dtype"]
        read: Any = int if dtype.is_integer else float
        limits = np.iinfo(dtype.numpy) if dtype.is_integer else None

        def number(value: bytes) -> Any:
            try:
                if b"_" in value:
                    raise ValueError
                found = read(value)
            except ValueError:
                raise InvalidArgument(f"{value!r} is not a number of {dtype}") from None
            if limits is not None and not limits.min <= found <= limits.max:
                raise InvalidArgument(f"{value!r} is outside the range of {dtype}, {limits.min} to {limits.max}")
            return found

        with np.errstate(over="ignore"):
            wide = each(number, operands[0], dtype=np.float64 if limits is None else dtype.numpy)
            return [wide.astype(dtype.numpy)]


def shortest(value: Any) -> str:
    """A number in decimal, of a float with as few digits as give it back, as Python writes floats."""
    if value.dtype.kind in "iu":
        return str(int(value))
    wide = float(value)
    if not np.isfinite(wide):
        return str(wide)
    rounded = (float(f"{wide:.{digits}g}") for digits in range(1, 18))
    return repr(next(r for r in rounded if value.dtype.type(r) == value))


@irdl_op_definition
class AsString(StringOp):
    """Each number in decimal: floats with as few digits as tell them from their neighbours, or with `precision` digits
    after the point unless it is -1; booleans as true and false. C1: the dtype is not string. C2: a precision is for
    floats, and not below -1."""

    name = "df.as_string"
    precision = prop_def(Int)
    x = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("bool", "int", "uint", "float")

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec, precision = spec_of(operands[0]), attributes["precision"]
        require_kind(spec.dtype, cls.KINDS, "C1")
        if precision < -1 or (precision >= 0 and spec.dtype.kind != "float"):
            raise InvalidArgument(f"a precision is for floats and at least 0, got {precision} for {spec}", label="C2")
        return (tensor_type(spec.shape, string),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (x,), precision = operands, attributes["precision"]
        found = np.empty(x.size, object)
        for i, value in enumerate(x.ravel()):
            if x.dtype.kind == "b":
                text = "true" if value else "false"
            else:
                text = shortest(value) if precision < 0 else f"{float(value):.{precision}f}"
            found[i] = text.encode()
        return [found.reshape(x.shape)]
