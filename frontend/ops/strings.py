"""Strings: tensors of variable-length bytes, which the host works on, between the programs of the device.

Operands are tensors, NumPy arrays of str or bytes, Python's str (as UTF-8) and bytes, and nested lists of them. Results
have the operands' shapes unless it says otherwise. In a compiled function each group of these operations splits the
device's program in two. No gradient passes through them. What is wrong about the elements themselves, such as text that
is no number, is an InvalidArgument when the program runs, with the user's line.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.immediate import located, operation
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.shape import axis_in, broadcast_to, error_here
from dfc.frontend.promotion import broadcast_shapes, holds_tensors, tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current, require_trace
from dfc.ir.dtypes import as_dtype, int32, string
from dfc.ir.op import Op
from dfc.ir.ops import strings as ir
from dfc.ir.types import spec_of

P = ParamSpec("P")
R = TypeVar("R")


class Parts(NamedTuple):
    """What `split` gives: `values` (..., size), filled with empty strings, and `counts` (...) in int32."""

    values: Tensor
    counts: Tensor


def string_operation(body: Callable[P, R]) -> Callable[P, R]:
    """As `operation`; outside a trace Python's strings and lists become inputs, so that new ones need no new trace.
    Operands are the parameters that have no name for callers."""
    run, n_operands = operation(body), body.__code__.co_posonlyargcount

    @functools.wraps(body)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if current() is None:
            args = (*map(_lifted, args[:n_operands]), *args[n_operands:])  # type: ignore[assignment]
        return run(*args, **kwargs)

    return call


def _lifted(arg: Any) -> Any:
    return asarray(arg) if isinstance(arg, str | bytes | list | tuple) and not holds_tensors(arg) else arg


def strings_in(x: Operand, name: str) -> Tensor:
    """An operand as a tensor of strings. Raises InvalidType for another dtype."""
    tensor = tensor_in(require_trace(name), x)
    if tensor.dtype is not string:
        raise error_here(InvalidType, f"strings are needed, got {spec_of(tensor._type)}", name)
    return tensor


def text_of(value: Any, what: str, name: str) -> str:
    """A Python string, or UTF-8 bytes, as text."""
    try:
        if isinstance(value, str | bytes):
            return value if isinstance(value, str) else value.decode()
    except UnicodeDecodeError:
        pass
    raise error_here(InvalidType, f"{what} must be a Python string, or bytes in UTF-8, got {value!r}", name)


def _unary(cls: type[Op], name: str, x: Operand, **attributes: Any) -> Tensor:
    return require_trace(name).emit(cls, (strings_in(x, name)._value,), attributes)


def _unit(characters: bool) -> str:
    return "character" if characters else "byte"


@string_operation
def length(x: Operand, /, *, characters: bool = False) -> Tensor:
    """How many bytes, or UTF-8 characters, each string has, as int32."""
    return _unary(ir.StringLength, "length", x, unit=_unit(characters))


@string_operation
def upper(x: Operand, /, *, unicode: bool = False) -> Tensor:
    """In capital letters: those of ASCII, or with `unicode` all of UTF-8."""
    return _unary(ir.StringUpper, "upper", x, unicode=unicode)


@string_operation
def lower(x: Operand, /, *, unicode: bool = False) -> Tensor:
    """In small letters: those of ASCII, or with `unicode` all of UTF-8."""
    return _unary(ir.StringLower, "lower", x, unicode=unicode)


@string_operation
def strip(x: Operand, /) -> Tensor:
    """Without ASCII white space at both ends."""
    return _unary(ir.StringStrip, "strip", x)


@string_operation
def substring(x: Operand, position: Operand, length: Operand, /, *, characters: bool = False) -> Tensor:
    """`length` bytes, or UTF-8 characters, from `position` on, as Python's slices: a negative position counts from the
    end, and what lies outside is left out. Both are integers, scalars or of x's shape."""
    trace, tensor = require_trace("substring"), strings_in(x, "substring")
    numbers = [tensor_in(trace, number, int32)._value for number in (position, length)]
    return trace.emit(ir.Substring, (tensor._value, *numbers), {"unit": _unit(characters)})


@string_operation
def find(x: Operand, wanted: Operand, /) -> Tensor:
    """The byte at which `wanted`, a scalar or of x's shape, first occurs, as int32; -1 where it doesn't."""
    operands = (strings_in(x, "find")._value, strings_in(wanted, "find")._value)
    return require_trace("find").emit(ir.StringFind, operands)


@located
def join(inputs: Sequence[Operand], /, *, separator: str | bytes = "") -> Tensor:
    """The strings of all inputs at each place, one after another with `separator` between. The inputs, the entries
    of a list or of a tensor's first axis, at least one, broadcast."""
    return _join([_lifted(part) for part in inputs], separator)


@operation
def _join(inputs: Sequence[Operand], separator: str | bytes) -> Tensor:
    trace = require_trace("join")
    parts = [strings_in(part, "join") for part in inputs]
    if not parts:
        raise error_here(InvalidArgument, "at least one input is needed", "join")
    shape = broadcast_shapes(*(part.shape for part in parts))
    values = [broadcast_to(part, shape)._value for part in parts]
    return trace.emit(ir.StringJoin, values, {"separator": text_of(separator, "the separator", "join")})


@string_operation
def reduce_join(x: Operand, /, *, axis: int | Sequence[int] | None = None, separator: str | bytes = "") -> Tensor:
    """The strings along `axis`, one several or all, joined in C order with `separator` between; these axes are gone."""
    tensor = strings_in(x, "reduce_join")
    listed = range(tensor.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    axes = tuple(sorted({axis_in(a, tensor.ndim, "reduce_join") for a in listed}))
    between = text_of(separator, "the separator", "reduce_join")
    return _unary(ir.StringReduceJoin, "reduce_join", tensor, axes=axes, separator=between)


@string_operation
def split(x: Operand, /, separator: str | bytes = "", *, size: int) -> Parts:
    """The parts of each string between separators, at most `size` of them along a new last axis, filled up with empty
    strings; and how many parts the string has, which may be more. The empty separator is any run of white space."""
    between = text_of(separator, "the separator", "split")
    op = require_trace("split").emit_op(
        ir.StringSplit, (strings_in(x, "split")._value,), {"separator": between, "size": size}
    )
    values, counts = (Tensor(result.type, require_trace("split"), result) for result in op.results)
    return Parts(values, counts)


@string_operation
def regex_full_match(x: Operand, /, pattern: str | bytes) -> Tensor:
    """Whether the pattern, of Python's `re` on bytes, matches all of each string. InvalidArgument for a wrong one."""
    return _unary(ir.RegexFullMatch, "regex_full_match", x, pattern=text_of(pattern, "the pattern", "regex_full_match"))


@string_operation
def regex_replace(x: Operand, /, pattern: str | bytes, rewrite: str | bytes, *, count: int = 0) -> Tensor:
    r"""What the pattern, of Python's `re` on bytes, matches is replaced by `rewrite`, in which \1 stands for the first
    group; the first `count` matches of each string, or all. InvalidArgument for a wrong pattern or rewrite."""
    name = "regex_replace"
    texts = {"pattern": text_of(pattern, "the pattern", name), "rewrite": text_of(rewrite, "the rewrite", name)}
    return _unary(ir.RegexReplace, name, x, count=count, **texts)


@string_operation
def to_hash_bucket(x: Operand, /, n_buckets: int) -> Tensor:
    """A number from 0 to below `n_buckets` for each string, as int64, equal for equal strings everywhere and always:
    the 8-byte BLAKE2b digest (RFC 7693) as a little-endian integer, modulo `n_buckets`."""
    return _unary(ir.StringToHashBucket, "to_hash_bucket", x, n_buckets=n_buckets)


@string_operation
def to_number(x: Operand, /, *, dtype: Any = "float32") -> Tensor:
    """The decimal number in each string as `dtype`, an integer or a float. A number outside an integer's range is an
    InvalidArgument."""
    return _unary(ir.StringToNumber, "to_number", x, dtype=as_dtype(dtype))


@operation
def as_string(x: Operand, /, *, precision: int = -1) -> Tensor:
    """Numbers in decimal: a float with as few digits as tell it from its neighbours, or with `precision` digits after
    the point. Booleans give `true` and `false`."""
    trace = require_trace("as_string")
    return trace.emit(ir.AsString, (tensor_in(trace, x)._value,), {"precision": precision})
