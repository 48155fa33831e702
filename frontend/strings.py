"""`dfc.strings`: operations on strings, which the host carries out."""

from __future__ import annotations

from dfc.frontend.ops.encoding import (
    decode_base64,
    decode_raw,
    encode_base64,
    encode_raw,
    parse_tensor,
    serialize_tensor,
    unicode_decode,
    unicode_encode,
)
from dfc.frontend.ops.strings import (
    as_string,
    find,
    join,
    length,
    lower,
    reduce_join,
    regex_full_match,
    regex_replace,
    split,
    strip,
    substring,
    to_hash_bucket,
    to_number,
    upper,
)

__all__ = [
    "as_string",
    "decode_base64",
    "decode_raw",
    "encode_base64",
    "encode_raw",
    "find",
    "join",
    "length",
    "lower",
    "parse_tensor",
    "reduce_join",
    "regex_full_match",
    "regex_replace",
    "serialize_tensor",
    "split",
    "strip",
    "substring",
    "to_hash_bucket",
    "to_number",
    "unicode_decode",
    "unicode_encode",
    "upper",
]
