"""What a loop of the graph can run over, and what converted code calls in the place of `range`, `len`, `zip` and such.

A loop over tensors, or over a range with a tensor or the size of a tensor among its bounds, is a loop of the graph. One
over Python's own numbers and containers is Python's: it is unrolled. `list(range(len(x)))` and `list(x)` are lists, and
`range(dfc.asarray(3))` has a tensor for its bound.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.autograph.values import failed
from dfc.frontend.ops import elementwise as e
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.shape import dim_size
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir.dims import Dim, SymbolicDim
from dfc.ir.dtypes import bool_, int32, int64
from dfc.ir.types import spec_of


def is_symbolic(value: Any) -> bool:
    """Whether a value is a tensor of a trace, whose elements are not known."""
    return type(value) is Tensor and value._trace is not None


def as_known(value: Any) -> Any:
    """A Variable and the like as the tensor that it is; anything else as it is."""
    read = getattr(value, "__dfc_tensor__", None)
    return value if read is None or isinstance(value, type) or current() is None else read()


def truth(value: Any, what: str) -> Tensor:
    """A scalar as Python's `if` takes it, as a bool."""
    tensor = asarray(value)
    if tensor.shape != ():
        raise failed(
            InvalidArgument,
            f"a condition must be a scalar, got {spec_of(tensor._type)}",
            what,
            "use dfc.any or dfc.all, or dfc.where for a choice by element",
        )
    return tensor if tensor.dtype is bool_ else e.not_equal(tensor, 0)


# ---- sizes of tensors


class Size(int):
    """A size of a tensor, as Python's int; sums and products with ints are sizes too. `int(size)` is an int alone."""

    __slots__ = ()


def _sized(name: str) -> Callable[[Any, Any], Any]:
    plain = getattr(int, name)

    def operation(self: Any, other: Any) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        result = plain(self, other)
        return Size(result) if type(result) is int else result

    return operation


for _name in ("add", "sub", "mul", "floordiv", "mod"):
    setattr(Size, f"__{_name}__", _sized(f"__{_name}__"))
    setattr(Size, f"__r{_name}__", _sized(f"__r{_name}__"))


def _has_sizes(value: Any) -> bool:
    return current() is not None and (type(value) is Tensor or hasattr(value, "__dfc_tensor__"))


def shape(value: Any) -> Any:
    """`value.shape`, of a traced tensor as sizes."""
    found = value.shape
    if not _has_sizes(value):
        return found
    return tuple(Size(d) if type(d) is int else d for d in found)


def length(value: Any) -> Any:
    """`len(value)`, of a traced tensor as a size."""
    if _has_sizes(value) and value.shape:
        first = value.shape[0]
        return Size(first) if isinstance(first, int) else first
    return builtins.len(value)


# ---- what is iterated over


class Rows:
    """Something to loop over in the graph: `length` items, or as many as `how_many` says, the i-th one by `item`.

    `tensors` are those whose rows the items have; `item` takes the rows where they are at hand.
    """

    def __init__(
        self,
        length: Dim | None,
        how_many: Callable[[], Tensor] | None,
        tensors: Sequence[Tensor],
        make: Callable[[Any, Iterator[Tensor]], Any],
    ) -> None:
        self.length, self._how_many, self.tensors, self._make = length, how_many, list(tensors), make

    def count(self, trace: Trace) -> SSAValue | None:
        """The number of items as a tensor, where it is not a number."""
        if isinstance(self.length, int):
            return None
        if self._how_many is not None:
            return trace.convert(tensor_in(trace, self._how_many())._value, int32)
        if not self.tensors:
            return trace.convert(tensor_in(trace, self.length)._value, int32)
        return trace.convert(tensor_in(trace, dim_size(self.tensors[0], 0))._value, int32)

    def item(self, index: Tensor, rows: Sequence[Tensor] | None = None) -> Any:
        """The item at `index`, given the rows at it or taking them."""
        given = rows if rows is not None else [tensor[index] for tensor in self.tensors]
        return self._make(index, iter(given))

    def __iter__(self) -> Iterator[Any]:
        """One item after the other, as comprehensions and Python's functions ask for them."""
        if not isinstance(self.length, int):
            raise failed(
                InvalidType,
                f"only a `for` statement can loop over {self.length or 'a number of'} items that tracing does not know",
                "for",
                "write the loop as a statement, or use dfc.map or dfc.scan",
            )
        return (self._make(i, iter([tensor[i] for tensor in self.tensors])) for i in builtins.range(self.length))


def rows_of(value: Any) -> Rows | None:
    """What a loop of the graph would run over; None for Python's own."""
    if isinstance(value, Rows):
        return value
    value = as_known(value)
    if type(value) is not Tensor or current() is None:
        return None
    if not value.shape:
        raise failed(InvalidType, f"a scalar can't be iterated over, got {spec_of(value._type)}", "for")
    return Rows(value.shape[0], None, [value], lambda index, rows: next(rows))


def range_(*bounds: Any) -> Any:
    """`range`; of tensors and of sizes of tensors a loop of the graph."""
    bounds = tuple(as_known(b) for b in bounds)
    in_graph = any(isinstance(b, Tensor | Size | SymbolicDim) for b in bounds) and current() is not None
    if not in_graph:
        return builtins.range(*bounds)
    if not 1 <= builtins.len(bounds) <= 3:
        raise failed(InvalidType, f"range takes 1 to 3 bounds, got {builtins.len(bounds)}", "range")
    for b in bounds:
        if not isinstance(b, int | SymbolicDim) and not (b := asarray(b)).dtype.is_integer:
            raise failed(InvalidType, f"a bound must be an integer scalar, got {spec_of(b._type)}", "range")
        if isinstance(b, Tensor) and b.shape != ():
            raise failed(InvalidArgument, f"a bound must be an integer scalar, got {spec_of(b._type)}", "range")
    start, stop, step = (0, *bounds, 1) if builtins.len(bounds) == 1 else (*bounds, 1)[:3]
    if isinstance(step, int) and step == 0:
        raise failed(InvalidArgument, "the step must not be 0", "range")
    if all(isinstance(b, int) for b in (start, stop, step)):
        known = builtins.len(builtins.range(start, stop, step))
        return Rows(known, None, [], lambda index, rows: _value(index, int(start), int(step)))
    if isinstance(stop, SymbolicDim) and (start, step) == (0, 1):
        return Rows(stop, None, [], lambda index, rows: index)
    start, stop, step = (_bound(b) for b in (start, stop, step))

    def how_many() -> Tensor:
        span = e.subtract(_signed(stop), _signed(start))
        if isinstance(step, int) and step in (1, -1):
            return e.maximum(e.multiply(span, step), 0)
        towards = step - 1 if isinstance(step, int) and step > 0 else e.subtract(step, e.sign(step))
        return e.maximum(e.floor_divide(e.add(span, towards), step), 0)

    return Rows(None, how_many, [], lambda index, rows: _value(index, start, step))


def _signed(bound: Any) -> Any:
    unsigned = isinstance(bound, Tensor) and bound.dtype.kind == "uint"
    return e.astype(bound, int64 if bound.dtype.bits > 16 else int32) if unsigned else bound


def _bound(bound: Any) -> Any:
    if isinstance(bound, SymbolicDim):
        return asarray(bound)
    return int(bound) if isinstance(bound, int) else bound


def _value(index: Any, start: Any, step: Any) -> Any:
    """start + step * index, in the dtype of the bounds."""
    if isinstance(index, int):
        return start + step * index
    tensors = [b for b in (start, step) if isinstance(b, Tensor)]
    if tensors:
        index = e.astype(index, tensors[0].dtype)
    scaled = index if isinstance(step, int) and step == 1 else e.multiply(index, step)
    return scaled if isinstance(start, int) and start == 0 else e.add(scaled, start)


def zip_(*iterables: Any, strict: bool = False) -> Any:
    """`zip`; of tensors and what else a loop of the graph runs over alone, such a loop."""
    found = [rows_of(x) for x in iterables]
    parts = [rows for rows in found if rows is not None]
    if not parts or builtins.len(parts) < builtins.len(found):
        return builtins.zip(*iterables, strict=strict)
    sizes = list(dict.fromkeys(rows.length for rows in parts))
    if builtins.len(sizes) != 1 or sizes[0] is None:
        listed = ", ".join(str(s) for s in sizes)
        raise failed(InvalidArgument, f"what is zipped must have one length that is known, got {listed}", "zip")
    tensors = [t for rows in parts for t in rows.tensors]
    return Rows(sizes[0], None, tensors, lambda index, rows: tuple(part._make(index, rows) for part in parts))


def enumerate_(iterable: Any, start: Any = 0) -> Any:
    """`enumerate`; of a tensor and the like a loop of the graph."""
    rows = rows_of(iterable)
    if rows is None:
        return builtins.enumerate(iterable, start)
    inner = rows
    return Rows(
        inner.length,
        inner._how_many,
        inner.tensors,
        lambda index, given: (_value(index, start, 1), inner._make(index, given)),
    )


def reversed_(sequence: Any) -> Any:
    """`reversed`; of a tensor or a range of the graph a loop from its end."""
    if type(sequence) is Tensor and current() is not None:
        from dfc.frontend.ops.shape import flip

        return rows_of(flip(sequence, axis=0))
    if isinstance(sequence, Rows) and not sequence.tensors:
        ahead = sequence

        def last() -> Any:
            if isinstance(ahead.length, int):
                return ahead.length - 1
            return e.subtract(ahead._how_many() if ahead._how_many else asarray(ahead.length), 1)

        return Rows(ahead.length, ahead._how_many, [], lambda index, rows: ahead._make(e.subtract(last(), index), rows))
    return builtins.reversed(sequence)
