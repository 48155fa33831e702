"""Numbers, characters and whole tensors as bytes in strings, and back. All of these run on the host."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import serialized
from dfc.ir.attributes import Dims, Element, Flag, Int
from dfc.ir.dims import is_static
from dfc.ir.dtypes import int32, string
from dfc.ir.op import Arrays, Attributes, Types
from dfc.ir.ops.elementwise import require_kind
from dfc.ir.ops.strings import StringOp, StringUnary, characters, padded, require_size
from dfc.ir.types import Spec, spec_of, tensor_type

FIXED_WIDTH = ("bool", "int", "uint", "float", "complex")


@irdl_op_definition
class EncodeBase64(StringUnary):
    """Base64 in the alphabet for URLs (RFC 4648, section 5), filled up with = if `pad`."""

    name = "df.encode_base64"
    pad = prop_def(Flag)

    @staticmethod
    def compute(value: bytes, attributes: Attributes) -> bytes:
        found = base64.urlsafe_b64encode(value)
        return found if attributes["pad"] else found.rstrip(b"=")


@irdl_op_definition
class DecodeBase64(StringUnary):
    """The bytes behind base64 in the alphabet for URLs, filled up with = or not."""

    name = "df.decode_base64"

    @staticmethod
    def compute(value: bytes, attributes: Attributes) -> bytes:
        bare = value.rstrip(b"=")
        try:
            if b"+" in bare or b"/" in bare:
                raise binascii.Error
            return base64.b64decode(bare + b"=" * (-len(bare) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            raise InvalidArgument(f"{value!r} is not base64 of the alphabet for URLs") from None


@irdl_op_definition
class DecodeRaw(StringOp):
    """The little-endian numbers of `dtype` in each string, `size` of them along a new last axis.

    C1: the dtype of x is string. C2: `dtype` is not string. C3: size is not negative.
    """

    name = "df.decode_raw"
    dtype = prop_def(Element)
    size = prop_def(Int)
    x = operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec, size = spec_of(operands[0]), attributes["size"]
        require_kind(spec.dtype, cls.KINDS, "C1")
        require_kind(attributes["dtype"], FIXED_WIDTH, "C2")
        require_size(size, "C3")
        return (tensor_type((*spec.shape, size), attributes["dtype"]),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (x,), dtype, size = operands, attributes["dtype"].numpy, attributes["size"]
        for value in x.ravel().tolist():
            if len(value) != size * dtype.itemsize:
                need = f"{size} elements of {attributes['dtype']} need {size * dtype.itemsize} bytes"
                raise InvalidArgument(f"{need}, got a string of {len(value)}")
        data = b"".join(x.ravel().tolist())
        return [serialized.from_little_endian(data, dtype).reshape(*x.shape, size)]


@irdl_op_definition
class EncodeRaw(StringOp):
    """The little-endian bytes of the numbers along the last axis, one string for each row.

    C1: the dtype is not string. C2: x has an axis.
    """

    name = "df.encode_raw"
    x = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = FIXED_WIDTH

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec = spec_of(operands[0])
        require_kind(spec.dtype, cls.KINDS, "C1")
        if not spec.shape:
            raise InvalidArgument(f"x needs an axis whose numbers become one string, got {spec}", label="C2")
        return (tensor_type(spec.shape[:-1], string),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (x,) = operands
        rows = x.reshape(int(np.prod(x.shape[:-1], dtype=np.int64)), x.shape[-1])
        found = np.empty(len(rows), object)
        for i, row in enumerate(rows):
            found[i] = serialized.to_little_endian(row)
        return [found.reshape(x.shape[:-1])]


@irdl_op_definition
class UnicodeDecode(StringOp):
    """The code points of each string's characters as int32, the first `size` of them along a new last axis, -1 after
    the last; and how many characters there are, as int32, which may be more.

    C1: the dtype is string. C2: size is not negative.
    """

    name = "df.unicode_decode"
    size = prop_def(Int)
    x = operand_def()
    points = result_def()
    counts = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec, size = spec_of(operands[0]), attributes["size"]
        require_kind(spec.dtype, cls.KINDS, "C1")
        require_size(size, "C2")
        return (tensor_type((*spec.shape, size), int32), tensor_type(spec.shape, int32))

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        points: Callable[[bytes], Any] = lambda value: [ord(c) for c in characters(value)]  # noqa: E731
        return padded(operands[0], points, attributes["size"], -1, np.int32)


@irdl_op_definition
class UnicodeEncode(StringOp):
    """UTF-8 of the code points along the last axis; negative ones are left out.

    C1: code points are int32. C2: x has an axis.
    """

    name = "df.unicode_encode"
    x = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ("int",)

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec = spec_of(operands[0])
        if spec.dtype is not int32:
            raise InvalidType(f"code points must be int32, got {spec.dtype}", label="C1")
        if not spec.shape:
            raise InvalidArgument(f"x needs an axis whose code points become one string, got {spec}", label="C2")
        return (tensor_type(spec.shape[:-1], string),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (x,) = operands
        rows = x.reshape(int(np.prod(x.shape[:-1], dtype=np.int64)), x.shape[-1])
        found = np.empty(len(rows), object)
        for i, row in enumerate(rows.tolist()):
            try:
                found[i] = "".join(chr(point) for point in row if point >= 0).encode()
            except (ValueError, UnicodeEncodeError):
                raise InvalidArgument(f"{row} are not all code points of characters") from None
        return [found.reshape(x.shape[:-1])]


@irdl_op_definition
class SerializeTensor(StringOp):
    """A tensor of any dtype as one string, dtype and shape in it; `dfc.ir.serialized` has the layout."""

    name = "df.serialize_tensor"
    x = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = (*FIXED_WIDTH, "string")

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec_of(operands[0])
        return (tensor_type((), string),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        found = np.empty((), object)
        found[()] = serialized.pack(operands[0])
        return [found]


@irdl_op_definition
class ParseTensor(StringOp):
    """The tensor that `df.serialize_tensor` wrote, which must have this dtype and shape.

    C1: x is one string. C2: the shape is static.
    """

    name = "df.parse_tensor"
    dtype = prop_def(Element)
    shape = prop_def(Dims)
    x = operand_def()
    result = result_def()

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        spec, wanted = spec_of(operands[0]), Spec(attributes["shape"], attributes["dtype"])
        if spec != Spec((), string):
            raise InvalidType(f"x must be one string, got {spec}", label="C1")
        if not is_static(wanted.shape):
            raise InvalidArgument(f"the shape must be static, got {wanted}", label="C2")
        return (tensor_type(*wanted),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        found = serialized.unpack(operands[0].item())
        wanted = Spec(attributes["shape"], attributes["dtype"])
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype.numpy):
            got = Spec(found.shape, serialized.dtype_of(found))
            raise InvalidArgument(f"the string must hold {wanted}, got {got}")
        return [found]
