"""Emission of encodings: none is emitted, the host runs them."""

from __future__ import annotations

from dfc.backends.stablehlo.rules import not_emitted
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
    not_emitted(_op, "the pass cluster leaves it to the host, since no device holds strings")
