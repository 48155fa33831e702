"""Reductions over sliding windows: pooling. A window may slide along every axis.

Elements of a window are taken in C order. Padding has no elements: it adds nothing, and is never the largest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from dfc.errors import InvalidArgument
from dfc.ir.attributes import Dims, Ints, Text
from dfc.ir.dims import Shape
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import NUMERIC, REAL, require_kind
from dfc.ir.ops.reduction import highest, lowest
from dfc.ir.ops.shape import Pad
from dfc.ir.types import Spec, spec_of, tensor_type
from dfc.ir.windows import Sliding, tap

Array = np.ndarray[Any, Any]
LISTS = ("window", "strides", "low", "high", "base_dilation", "window_dilation")


def slides(shape: Shape, attributes: Attributes) -> list[Sliding]:
    """How the window moves along each axis of an array of this shape."""
    ones = (1,) * len(shape)
    lists = [attributes.get(name, ones) for name in LISTS]
    return [Sliding(*row) for row in zip(shape, *lists, strict=True)]


def require_window(spec: Spec, attributes: Attributes) -> list[Sliding]:
    """The window's movement along each axis. Raises InvalidArgument for C2 to C4 of these ops."""
    rank = len(spec.shape)
    given = {name: attributes[name] for name in LISTS if name in attributes}
    if any(len(entries) != rank for entries in given.values()):
        listed = ", ".join(f"{name} {entries}" for name, entries in given.items())
        raise InvalidArgument(f"each list needs an entry for each of {rank} axes, got {listed}", label="C2")
    positive = {name: entries for name, entries in given.items() if name not in ("low", "high")}
    if any(n < 1 for entries in positive.values() for n in entries):
        listed = ", ".join(f"{name} {entries}" for name, entries in positive.items())
        raise InvalidArgument(f"sizes, strides and dilations must be positive, got {listed}", label="C3")
    if any(isinstance(n, int) and n < 0 for name in ("low", "high") for n in given[name]):
        raise InvalidArgument(f"padding must not be negative, got low {given['low']}, high {given['high']}", label="C4")
    return slides(spec.shape, attributes)


def padded(x: Array, value: Any, attributes: Attributes) -> Array:
    """x with `value` where padding and dilation leave holes."""
    interior = tuple(d - 1 for d in attributes.get("base_dilation", (1,) * x.ndim))
    filling = np.asarray(value).astype(x.dtype)
    return np.asarray(
        Pad.evaluate([x, filling], {"low": attributes["low"], "high": attributes["high"], "interior": interior})[0]
    )


class Window(Op):
    """Reduces each window of x to one element; of padding alone it gives the op's identity element.

    `window` has the window's size along each axis, `strides` how far it moves, `low` and `high` the padding,
    `base_dilation` and `window_dilation` how far elements of x and of the window are apart.

    C1: the dtype is of a kind that the op takes. C2: each list has one entry an axis. C3: sizes, strides and dilations
    are positive. C4: padding is not negative.
    """

    window = prop_def(Ints)
    strides = prop_def(Ints)
    low = prop_def(Dims)
    high = prop_def(Dims)
    base_dilation = prop_def(Ints)
    window_dilation = prop_def(Ints)
    x = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = REAL
    COMBINE: ClassVar[np.ufunc]

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec = spec_of(operands[0])
        require_kind(spec.dtype, cls.KINDS, "C1")
        places = require_window(spec, attributes)
        return (tensor_type(tuple(s.positions for s in places), spec.dtype),)

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        (x,) = operands
        wide = x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x
        places, identity = slides(x.shape, attributes), cls.identity(wide.dtype)
        full = padded(wide, identity, attributes)
        total = np.full([int(s.positions) for s in places], identity, wide.dtype)
        with np.errstate(all="ignore"):
            for index in np.ndindex(*attributes["window"]):
                total = cls.COMBINE(total, full[tap(index, places)])
            return [np.asarray(total).astype(x.dtype)]

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        """The value that changes nothing."""
        raise NotImplementedError


@irdl_op_definition
class WindowSum(Window):
    """The sum of each window; integers wrap."""

    name = "df.window_sum"
    KINDS: ClassVar = NUMERIC
    COMBINE: ClassVar = np.add

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        return dtype.type(0)


@irdl_op_definition
class WindowMax(Window):
    """The largest of each window, NaN if any is."""

    name = "df.window_max"
    COMBINE: ClassVar = np.maximum

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        return lowest(dtype)


@irdl_op_definition
class WindowMin(Window):
    """The smallest of each window, NaN if any is."""

    name = "df.window_min"
    COMBINE: ClassVar = np.minimum

    @classmethod
    def identity(cls, dtype: np.dtype[Any]) -> Any:
        return highest(dtype)


class Selecting(Op):
    """An op that looks, in each window of x, for the element that wins: the first of the largest (`extreme` "max") or
    smallest ("min"), the first NaN if there is one.

    C1: x's dtype is real. C2: each list has one entry an axis. C3: sizes, strides and dilations are positive. C4:
    padding is not negative. C5: `extreme` is "max" or "min". C6: the other operand has x's dtype and the shape that
    the op needs.
    """

    window = prop_def(Ints)
    strides = prop_def(Ints)
    low = prop_def(Dims)
    high = prop_def(Dims)
    window_dilation = prop_def(Ints)
    extreme = prop_def(Text)
    KINDS: ClassVar[tuple[str, ...]] = REAL

    @classmethod
    def places(cls, spec: Spec, attributes: Attributes) -> list[Sliding]:
        """The window's movement, after checking C1 to C5."""
        require_kind(spec.dtype, cls.KINDS, "C1")
        found = require_window(spec, attributes)
        if attributes["extreme"] not in ("max", "min"):
            raise InvalidArgument(f"extreme must be 'max' or 'min', got {attributes['extreme']!r}", label="C5")
        return found


def require_other(spec: Spec, expected: Spec) -> None:
    """Raise InvalidArgument for C6 of these ops."""
    if spec != expected:
        raise InvalidArgument(f"the second operand must be {expected}, got {spec}", label="C6")


def winners(x: Array, attributes: Attributes) -> Iterator[tuple[tuple[slice, ...], Array]]:
    """For each element of the window in turn: where it stands in the padded array, and at which positions it wins."""
    places = slides(x.shape, attributes)
    taps = [tap(index, places) for index in np.ndindex(*attributes["window"])]
    keys, real = padded(x, 0, attributes), padded(np.ones(x.shape, bool), False, attributes)
    shape = [int(s.positions) for s in places]
    best, winner = np.zeros(shape, x.dtype), np.full(shape, -1)
    beats = np.greater if attributes["extreme"] == "max" else np.less
    with np.errstate(all="ignore"):
        for number, at in enumerate(taps):
            key = keys[at]
            wins = real[at] & ((winner < 0) | beats(key, best) | ((key != key) & (best == best)))
            best, winner = np.where(wins, key, best), np.where(wins, number, winner)
    for number, at in enumerate(taps):
        yield at, winner == number


@irdl_op_definition
class WindowScatter(Selecting):
    """Adds each element of `source`, which has one a window of x, to a zero array of x's shape at the place of the
    element of x that wins in the window. Of padding alone, nothing is added. The gradient of a largest element.

    Constraints: see `Selecting`; `source` has the shape of the windows' positions.
    """

    name = "df.window_scatter"
    x = operand_def()
    source = operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        x, source = (spec_of(t) for t in operands)
        places = cls.places(x, attributes)
        require_other(source, Spec(tuple(s.positions for s in places), x.dtype))
        return (operands[0],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        x, source = operands
        wide = source.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else source
        total = padded(np.zeros(x.shape, wide.dtype), 0, attributes)
        with np.errstate(all="ignore"):
            for at, wins in winners(x, attributes):
                total[at] += np.where(wins, wide, 0).astype(wide.dtype)
            inside = tuple(slice(low, low + n) for low, n in zip(attributes["low"], x.shape, strict=True))
            return [total[inside].astype(x.dtype)]


@irdl_op_definition
class WindowGather(Selecting):
    """The elements of `source`, an array of x's shape, at the places of the elements of x that win: one a window; 0
    where there is padding alone. The transpose of `window_scatter`.

    Constraints: see `Selecting`; `source` has x's shape.
    """

    name = "df.window_gather"
    x = operand_def()
    source = operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        x, values = (spec_of(t) for t in operands)
        places = cls.places(x, attributes)
        require_other(values, x)
        return (tensor_type(tuple(s.positions for s in places), x.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        x, values = operands
        full = padded(values, 0, attributes)
        result = np.zeros([int(s.positions) for s in slides(x.shape, attributes)], x.dtype)
        for at, wins in winners(x, attributes):
            result = np.where(wins, full[at], result)
        return [result]
