"""Sorting, selection and sets. NaN is larger than every number, and comes last in ascending order."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, var_operand_def, var_result_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Element, Flag, Int
from dfc.ir.dtypes import int32
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.cumulative import require_axis
from dfc.ir.ops.elementwise import ORDERED, require_kind
from dfc.ir.types import spec_of, tensor_type

Array = np.ndarray[Any, Any]


def order(keys: Array, axis: int, descending: bool) -> Array:
    """The permutation that sorts; equal elements keep their order."""
    wide = keys.astype(np.float32) if keys.dtype.itemsize == 2 and keys.dtype.kind not in "iuf" else keys
    if not descending:
        return np.argsort(wide, axis=axis, kind="stable")
    # Backwards, sorted, and backwards again: equal elements come in their order, and what is last comes first.
    backwards = np.argsort(np.flip(wide, axis), axis=axis, kind="stable")
    return np.asarray(keys.shape[axis] - 1 - np.flip(backwards, axis))


@irdl_op_definition
class Sort(Op):
    """The operands, each ordered along `axis` by the elements of the first, the key. Equal keys keep their order.

    C1: at least one operand. C2: operands have one shape. C3: the axis is in range. C4: the key's dtype is ordered.
    """

    name = "df.sort"
    axis = prop_def(Int)
    descending = prop_def(Flag)
    inputs = var_operand_def()
    outputs = var_result_def()
    KINDS: ClassVar[tuple[str, ...]] = ORDERED

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        specs = [spec_of(t) for t in operands]
        if not specs:
            raise InvalidArgument("at least one operand is needed", label="C1")
        if any(s.shape != specs[0].shape for s in specs):
            raise InvalidArgument(f"operands must have one shape, got {' and '.join(map(str, specs))}", label="C2")
        require_axis(specs[0], attributes["axis"], "C3")
        require_kind(specs[0].dtype, cls.KINDS, "C4")
        return tuple(operands)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        axis = attributes["axis"]
        permutation = order(operands[0], axis, attributes["descending"])
        return [np.take_along_axis(x, permutation, axis) for x in operands]


@irdl_op_definition
class ArgSort(Op):
    """The indices, as `dtype`, that put x in order along `axis`; those of equal elements ascend.

    C1: the axis is in range. C2: the dtype of x is ordered. C3: `dtype` is an integer.
    """

    name = "df.argsort"
    axis = prop_def(Int)
    descending = prop_def(Flag)
    dtype = prop_def(Element)
    x = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ORDERED

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec, dtype = spec_of(operands[0]), attributes["dtype"]
        require_axis(spec, attributes["axis"], "C1")
        require_kind(spec.dtype, cls.KINDS, "C2")
        if not dtype.is_integer:
            raise InvalidType(f"an index has an integer dtype, got {dtype}", label="C3")
        return (tensor_type(spec.shape, dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        found = order(operands[0], attributes["axis"], attributes["descending"])
        return [found.astype(attributes["dtype"].numpy)]


@irdl_op_definition
class TopK(Op):
    """The k largest elements along the last axis, from the largest on, and their indices in int32. NaN is the largest;
    of equal elements the first comes first.

    C1: x has an axis, of at least k elements. C2: the dtype of x is ordered.
    """

    name = "df.top_k"
    k = prop_def(Int)
    x = operand_def()
    largest = result_def()
    indices = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ORDERED

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec, k = spec_of(operands[0]), attributes["k"]
        size = spec.shape[-1] if spec.shape else 0
        if not spec.shape or k < 0 or (isinstance(size, int) and k > size):
            raise InvalidArgument(f"k must be from 0 to the size of the last axis, got {k} for {spec}", label="C1")
        require_kind(spec.dtype, cls.KINDS, "C2")
        shape = (*spec.shape[:-1], k)
        return (tensor_type(shape, spec.dtype), tensor_type(shape, int32))

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (x,), k = operands, attributes["k"]
        indices = order(x, -1, True)[..., :k]
        return [np.take_along_axis(x, indices, -1), indices.astype(np.int32)]


@irdl_op_definition
class Unique(Op):
    """The distinct elements of a vector in ascending order, the first `size` of them, with how they lie in it.

    Results: `distinct` (size), 0 from the number of distinct elements on; `first` (size), the index of each one's first
    occurrence, there the length of x; `inverse` (length of x), the place of each element among all distinct ones;
    `counts` (size), how often each occurs, there 0; `number`, how many distinct ones x has. All but `distinct` are
    int32. All NaN are one.

    C1: x is a vector. C2: size is not negative. C3: the dtype of x is ordered.
    """

    name = "df.unique"
    size = prop_def(Int)
    x = operand_def()
    distinct = result_def()
    first = result_def()
    inverse = result_def()
    counts = result_def()
    number = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ORDERED

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec, size = spec_of(operands[0]), attributes["size"]
        if len(spec.shape) != 1:
            raise InvalidArgument(f"x must be a vector, got {spec}", label="C1")
        if size < 0:
            raise InvalidArgument(f"size must not be negative, got {size}", label="C2")
        require_kind(spec.dtype, cls.KINDS, "C3")
        some = tensor_type((size,), int32)
        return (tensor_type((size,), spec.dtype), some, tensor_type(spec.shape, int32), some, tensor_type((), int32))

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        (x,), size = operands, attributes["size"]
        permutation = order(x, 0, False)
        ordered = x[permutation]
        differs = ordered[1:] != ordered[:-1]
        if x.dtype.kind not in "iub":
            differs &= ~((ordered[1:] != ordered[1:]) & (ordered[:-1] != ordered[:-1]))
        starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(x)), bool), differs]))
        inverse = np.zeros(len(x), np.int32)
        inverse[permutation] = np.searchsorted(starts, np.arange(len(x)), side="right") - 1
        counts = np.diff(np.append(starts, len(x)))
        values, first, found = np.zeros(size, x.dtype), np.full(size, len(x), np.int32), np.zeros(size, np.int32)
        kept = min(size, len(starts))
        values[:kept], first[:kept] = ordered[starts[:kept]], permutation[starts[:kept]]
        found[:kept] = counts[:kept]
        return [values, first, inverse, found, np.array(len(starts), np.int32)]


@irdl_op_definition
class SearchSorted(Op):
    """Where each value belongs in a sorted vector, as int32: how many elements are smaller, or, with `right`, not
    larger. NaN belongs after every number.

    C1: the first operand is a vector. C2: equal dtypes. C3: the dtype is ordered.
    """

    name = "df.searchsorted"
    right = prop_def(Flag)
    ordered = operand_def()
    wanted = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = ORDERED

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        ordered, values = (spec_of(t) for t in operands)
        if len(ordered.shape) != 1:
            raise InvalidArgument(f"the sorted operand must be a vector, got {ordered}", label="C1")
        if ordered.dtype is not values.dtype:
            raise InvalidType(f"operands must have equal dtypes, got {ordered.dtype} and {values.dtype}", label="C2")
        require_kind(ordered.dtype, cls.KINDS, "C3")
        return (tensor_type(values.shape, int32),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        ordered, values = (
            x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iuf" else x for x in operands
        )
        found = np.searchsorted(ordered, values, side="right" if attributes["right"] else "left")
        return [np.asarray(found, np.int32)]
