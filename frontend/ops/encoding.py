"""Numbers, characters and whole tensors as bytes in strings, and back. The host does this; no gradient passes."""

from __future__ import annotations

from typing import Any, NamedTuple

from dfc.frontend.immediate import operation
from dfc.frontend.ops.shape import as_shape
from dfc.frontend.ops.strings import string_operation, strings_in
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import require_trace
from dfc.ir.dtypes import as_dtype, int32
from dfc.ir.op import Op
from dfc.ir.ops import encoding as ir


class CodePoints(NamedTuple):
    """What `unicode_decode` gives: `values` (..., size), filled with -1, and `counts` (...), both int32."""

    values: Tensor
    counts: Tensor


def _of_strings(cls: type[Op], name: str, x: Operand, **attributes: Any) -> Tensor:
    return require_trace(name).emit(cls, (strings_in(x, name)._value,), attributes)


@string_operation
def encode_base64(x: Operand, /, *, pad: bool = False) -> Tensor:
    """Base64 in the alphabet for URLs (RFC 4648, section 5), filled up with = if `pad`."""
    return _of_strings(ir.EncodeBase64, "encode_base64", x, pad=pad)


@string_operation
def decode_base64(x: Operand, /) -> Tensor:
    """The bytes behind base64 in the alphabet for URLs, filled up with = or not."""
    return _of_strings(ir.DecodeBase64, "decode_base64", x)


@string_operation
def decode_raw(x: Operand, /, *, dtype: Any, size: int) -> Tensor:
    """The little-endian numbers in each string, shape (*x.shape, size). A string must hold exactly `size` of them."""
    return _of_strings(ir.DecodeRaw, "decode_raw", x, dtype=as_dtype(dtype), size=size)


@operation
def encode_raw(x: Operand, /) -> Tensor:
    """The little-endian bytes of the numbers along the last axis, one string for each row: shape x.shape[:-1]."""
    trace = require_trace("encode_raw")
    return trace.emit(ir.EncodeRaw, (tensor_in(trace, x)._value,))


@string_operation
def unicode_decode(x: Operand, /, *, size: int) -> CodePoints:
    """The code points of each string's UTF-8 characters, at most `size` of them along a new last axis, filled up with
    -1; and how many characters the string has, which may be more."""
    trace = require_trace("unicode_decode")
    op = trace.emit_op(ir.UnicodeDecode, (strings_in(x, "unicode_decode")._value,), {"size": size})
    values, counts = (Tensor(result.type, trace, result) for result in op.results)
    return CodePoints(values, counts)


@operation
def unicode_encode(x: Operand, /) -> Tensor:
    """UTF-8 of the int32 code points along the last axis, one string for each row; negative ones are left out."""
    trace = require_trace("unicode_encode")
    return trace.emit(ir.UnicodeEncode, (tensor_in(trace, x, int32)._value,))


@string_operation
def serialize_tensor(x: Operand, /) -> Tensor:
    """A tensor of any dtype as one string that holds dtype, shape and elements; see `dfc.ir.serialized`."""
    trace = require_trace("serialize_tensor")
    return trace.emit(ir.SerializeTensor, (tensor_in(trace, x)._value,))


@string_operation
def parse_tensor(x: Operand, /, *, shape: Any, dtype: Any) -> Tensor:
    """The tensor that `serialize_tensor` wrote. Another dtype or shape than the given ones is an InvalidArgument, a
    damaged string DataLoss."""
    wanted = {"shape": as_shape(shape, "parse_tensor"), "dtype": as_dtype(dtype)}
    return _of_strings(ir.ParseTensor, "parse_tensor", x, **wanted)
