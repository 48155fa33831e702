"""Gradients of encodings: there are none, since bytes don't change gradually."""

from __future__ import annotations

from dfc.ir.ops.encoding import (
    DecodeBase64,
    DecodeRaw,
    EncodeBase64,
    EncodeRaw,
    ParseTensor,
    SerializeTensor,
    UnicodeDecode,
    UnicodeEncode,
)
from dfc.passes.autodiff.rules import non_differentiable

for _op in (
    EncodeBase64,
    DecodeBase64,
    DecodeRaw,
    EncodeRaw,
    UnicodeDecode,
    UnicodeEncode,
    SerializeTensor,
    ParseTensor,
):
    non_differentiable(_op, "takes or gives strings")
