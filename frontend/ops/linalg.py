"""Contractions. Operands meet in one dtype, as in elementwise operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from string import ascii_letters as LETTERS
from typing import Any

import numpy as np

from dfc.errors import DfcError, InvalidArgument, InvalidType
from dfc.frontend import promotion
from dfc.frontend.immediate import operation
from dfc.frontend.ops.elementwise import astype
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.shape import (
    axis_in,
    broadcast_to,
    concat,
    error_here,
    expand_dims,
    permute_dims,
    reshape,
    split,
)
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current, require_trace
from dfc.ir.dims import Dim, Shape
from dfc.ir.ops.linalg import DotGeneral
from dfc.ir.ops.shape import shape_text


def _one(x: Operand) -> tuple[Trace, Tensor]:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    return trace, tensor_in(trace, x)


def _pair(x1: Operand, x2: Operand) -> tuple[Trace, Tensor, Tensor]:
    trace = current()
    assert trace is not None, "operation() calls bodies in a trace only"
    a, b = tensor_in(trace, x1), tensor_in(trace, x2)
    if a.dtype is not b.dtype:
        dtype = promotion.result_type(a, b)
        a, b = (Tensor(v.type, trace, v) for v in (trace.convert(t._value, dtype) for t in (a, b)))
    return trace, a, b


def _dot(
    trace: Trace,
    a: Tensor,
    b: Tensor,
    contracting: tuple[Sequence[int], Sequence[int]],
    batch: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> Tensor:
    attributes = {
        "lhs_batch": tuple(batch[0]),
        "rhs_batch": tuple(batch[1]),
        "lhs_contracting": tuple(contracting[0]),
        "rhs_contracting": tuple(contracting[1]),
    }
    return trace.emit(DotGeneral, (a._value, b._value), attributes)


@operation
def matmul(x1: Operand, x2: Operand, /) -> Tensor:
    """The matrix product of the last two axes, (..., m, k) by (..., k, n); the axes before broadcast.

    A vector on the left is a row, one on the right a column, and its axis is gone from the result. Raises
    InvalidArgument for scalars and for sizes that don't match.
    """
    trace, a, b = _pair(x1, x2)
    if not a.ndim or not b.ndim:
        raise error_here(
            InvalidArgument,
            f"a scalar can't be an operand, got shapes {shape_text(a.shape)} and {shape_text(b.shape)}",
            "matmul",
            hint="use * for scalars",
        )
    contract_b = max(b.ndim - 2, 0)
    if b.ndim <= 2:
        return _dot(trace, a, b, ((a.ndim - 1,), (contract_b,)))
    if a.ndim == 1:
        return _dot(trace, a, b, ((0,), (contract_b,)))
    batch = _batch_shape(a.shape, b.shape)
    a, b = (broadcast_to(t, (*batch, *t.shape[-2:])) for t in (a, b))
    axes = range(len(batch))
    return _dot(trace, a, b, ((a.ndim - 1,), (b.ndim - 2,)), (axes, axes))


def _batch_shape(a: Shape, b: Shape) -> Shape:
    if a[-1] != b[-2]:
        raise error_here(
            InvalidArgument,
            f"contracting dimensions must match, got {a[-1]} and {b[-2]} of shapes {shape_text(a)} and {shape_text(b)}",
            "matmul",
        )
    try:
        return promotion.broadcast_shapes(a[:-2], b[:-2])
    except InvalidArgument as error:
        raise error_here(
            InvalidArgument, f"{error.diagnostic.message}, in {shape_text(a)} and {shape_text(b)}", "matmul"
        ) from None


@operation
def tensordot(x1: Operand, x2: Operand, /, *, axes: Any = 2) -> Tensor:
    """Sums of products over axes: the last `axes` of x1 with the first of x2, or a pair of lists of axes."""
    trace, a, b = _pair(x1, x2)
    if isinstance(axes, int):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise error_here(InvalidArgument, f"axes must be within both ranks, got {axes}", "tensordot")
        left, right = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    else:
        first, second = axes
        left = tuple(axis_in(i, a.ndim, "tensordot") for i in first)
        right = tuple(axis_in(i, b.ndim, "tensordot") for i in second)
    return _dot(trace, a, b, (left, right))


@operation
def vecdot(x1: Operand, x2: Operand, /, *, axis: int = -1) -> Tensor:
    """Sums of products along one axis; the others broadcast."""
    _, a, b = _pair(x1, x2)
    if not -min(a.ndim, b.ndim) <= axis < 0:
        raise error_here(InvalidArgument, f"the axis must be negative and within both ranks, got {axis}", "vecdot")
    if a.shape[axis] != b.shape[axis]:
        raise error_here(
            InvalidArgument,
            f"sizes along axis {axis} must match, got {a.shape[axis]} and {b.shape[axis]} of shapes "
            f"{shape_text(a.shape)} and {shape_text(b.shape)}",
            "vecdot",
        )
    return reduce_sum(a * b, axis=axis, dtype=a.dtype)


# ---- sums of products by subscripts

Labels = list[Any]  # letters, and for the axes of an ellipsis negative integers, the last axis -1


@operation
def einsum(subscripts: str, /, *operands: Operand) -> Tensor:
    """Sums of products of the operands' elements, as the subscripts say: "ij,jk->ik" is the product of matrices.

    NumPy's notation: a letter an axis; axes of one letter run together, within an operand along its diagonal; letters
    that the result does not have are summed over; "..." are further axes, which broadcast; without "->" the result has
    the letters that occur once, in the order of the alphabet. Several operands are contracted in pairs, in an order
    that is cheap (`numpy.einsum_path`). The result's dtype is the one in which the operands meet.
    """
    trace = require_trace("einsum")
    tensors = [tensor_in(trace, x) for x in operands]
    dtype = promotion.result_type(*tensors) if tensors else None
    terms, output = _subscripts(subscripts, [t.ndim for t in tensors])
    if dtype is None or not dtype.is_numeric:
        raise error_here(InvalidType, f"operands must be numeric, got {dtype}", "einsum")
    sizes = _label_sizes(subscripts, terms, tensors)
    if missing := [label for label in output if label not in sizes]:
        raise _bad(subscripts, f"no operand has {missing[0]!r}, which the result has")
    parts = [_without_repeats(astype(tensor, dtype), term, sizes) for tensor, term in zip(tensors, terms, strict=True)]
    for places in _order([labels for _, labels in parts], output, sizes):
        chosen = [parts[i] for i in places]
        parts = [part for i, part in enumerate(parts) if i not in places]
        while len(chosen) > 1:
            others = {label for _, labels in (*parts, *chosen[2:]) for label in labels}
            chosen[:2] = [_contracted(trace, chosen[0], chosen[1], {*output, *others})]
        parts += chosen
    ((found, labels),) = parts
    found, labels = _summed(found, labels, set(output))
    return permute_dims(found, tuple(labels.index(label) for label in output))


def _bad(subscripts: str, message: str) -> DfcError:
    return error_here(InvalidArgument, f"{message}, in {subscripts!r}", "einsum")


def _subscripts(subscripts: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """The labels of each operand's axes and of the result's."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks) or not ranks:
        raise _bad(subscripts, f"there must be subscripts for each of {len(ranks)} operands")
    terms, widest = [], 0
    for text, rank in zip(texts, ranks, strict=True):
        letters = text.replace("...", "", 1)
        extra = rank - len(letters)
        if letters and not (letters.isalpha() and letters.isascii()):
            raise _bad(subscripts, f"an operand has letters and at most one '...', got {text!r}")
        if extra < 0 or (extra and "..." not in text):
            raise _bad(subscripts, f"{text!r} does not fit to an operand of rank {rank}")
        before, _, after = text.partition("...") if "..." in text else (text, "", "")
        terms.append([*before, *(range(-extra, 0) if "..." in text else ()), *after])
        widest = max(widest, extra)
    if not arrow:
        every = [label for term in terms for label in term if isinstance(label, str)]
        return terms, [*range(-widest, 0), *sorted(label for label in set(every) if every.count(label) == 1)]
    before, dots, after = right.partition("...")
    output: Labels = [*before, *(range(-widest, 0) if dots else ()), *after]
    if len(set(output)) != len(output) or not all(str(label).lstrip("-").isalnum() for label in output):
        raise _bad(subscripts, "the result must have distinct letters")
    if widest and not dots:
        raise _bad(subscripts, "the result must have the '...' of the operands")
    return terms, output


def _label_sizes(subscripts: str, terms: Sequence[Labels], tensors: Sequence[Tensor]) -> dict[Any, Dim]:
    """Each label's size: the one that is not 1, if any."""
    sizes: dict[Any, Dim] = {}
    for term, tensor in zip(terms, tensors, strict=True):
        for label, size in zip(term, tensor.shape, strict=True):
            known = sizes.setdefault(label, size)
            if known == 1:
                sizes[label] = size
            elif size not in (1, known):
                what = f"{label!r}" if isinstance(label, str) else "an axis of '...'"
                raise _bad(subscripts, f"{what} has the sizes {known} and {size}")
    return sizes


Part = tuple[Tensor, Labels]


def _without_repeats(x: Tensor, labels: Labels, sizes: Mapping[Any, Dim]) -> Part:
    """The operand with each label once, by its diagonals, and without axes that broadcast."""
    kept = [i for i, label in enumerate(labels) if x.shape[i] == sizes[label]]
    x, labels = reshape(x, tuple(x.shape[i] for i in kept)), [labels[i] for i in kept]
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x = diagonal(x, axis1=first, axis2=second)
            labels = [*(other for i, other in enumerate(labels) if i not in (first, second)), label]
    return x, labels


def _order(terms: Sequence[Labels], output: Labels, sizes: Mapping[Any, Dim]) -> list[tuple[int, ...]]:
    """Which operands to contract, step by step: their places in the list, from which they are taken and to whose end
    the result goes."""
    if len(terms) <= 2:
        return [tuple(range(len(terms)))]
    if len(sizes) > len(LETTERS):
        return [(0, 1)] * (len(terms) - 1)
    letters = dict(zip(sizes, LETTERS, strict=False))
    texts = ["".join(letters[label] for label in term) for term in (*terms, output)]
    shapes = [tuple(size if isinstance(size := sizes[label], int) else 64 for label in term) for term in terms]
    stands = [np.broadcast_to(np.float32(0), shape) for shape in shapes]  # no memory for their elements
    path = np.einsum_path(",".join(texts[:-1]) + "->" + texts[-1], *stands, optimize="greedy")[0]
    return [tuple(int(i) for i in step) for step in path[1:]]


def _summed(x: Tensor, labels: Labels, needed: Set[Any]) -> Part:
    """x without the axes that nothing needs."""
    axes = tuple(i for i, label in enumerate(labels) if label not in needed)
    if not axes:
        return x, labels
    return reduce_sum(x, axis=axes, dtype=x.dtype), [label for label in labels if label in needed]


def _contracted(trace: Trace, left: Part, right: Part, needed: Set[Any]) -> Part:
    """The product of two parts, summed over what nothing else needs."""
    a, at = _summed(*left, needed | set(right[1]))
    b, bt = _summed(*right, needed | set(left[1]))
    common = [label for label in at if label in bt]
    batch = [label for label in common if label in needed]
    inner = [label for label in common if label not in needed]
    places = [([t.index(label) for label in batch], [t.index(label) for label in inner]) for t in (at, bt)]
    (ab, ac), (bb, bc) = places
    free = [label for t in (at, bt) for label in t if label not in common]
    return _dot(trace, a, b, (ac, bc), (ab, bb)), [*batch, *free]


# ---- parts and products of matrices


@operation
def diagonal(x: Operand, /, *, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """The diagonal of the matrices on two axes, as a last axis in their place: `offset` above the main one, or below.

    Raises InvalidArgument for an x with fewer axes, equal axes, and axes whose sizes are not known.
    """
    _, tensor = _one(x)
    if tensor.ndim < 2:
        raise error_here(InvalidArgument, f"x must have two axes or more, got {shape_text(tensor.shape)}", "diagonal")
    first, second = (axis_in(a, tensor.ndim, "diagonal") for a in (axis1, axis2))
    rest = tuple(a for a in range(tensor.ndim) if a not in (first, second))
    if first == second:
        raise error_here(InvalidArgument, f"the axes must be distinct, got {axis1} and {axis2}", "diagonal")
    moved = permute_dims(tensor, (*rest, first, second))
    rows, columns = moved.shape[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise error_here(InvalidArgument, f"sizes must be known, got {shape_text(moved.shape[-2:])}", "diagonal")
    length = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    flat = reshape(moved, (*moved.shape[:-2], rows * columns))
    start = offset if offset >= 0 else -offset * columns
    stop = start + (length - 1) * (columns + 1) + 1
    return flat[..., start : stop : columns + 1] if length else flat[..., :0]


@operation
def trace(x: Operand, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sum of the diagonal of the last two axes; see `diagonal` and, for dtypes, `sum`."""
    return reduce_sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


@operation
def outer(x1: Operand, x2: Operand, /) -> Tensor:
    """All products of an element of one vector and one of the other. Raises InvalidArgument for other shapes."""
    _, a, b = _pair(x1, x2)
    if a.ndim != 1 or b.ndim != 1:
        raise error_here(
            InvalidArgument, f"operands must be vectors, got {shape_text(a.shape)} and {shape_text(b.shape)}", "outer"
        )
    return expand_dims(a, axis=1) * b


@operation
def cross(x1: Operand, x2: Operand, /, *, axis: int = -1) -> Tensor:
    """The vector product along an axis of size 3; the other axes broadcast."""
    _, a, b = _pair(x1, x2)
    shape = promotion.broadcast_shapes(a.shape, b.shape)
    at = axis_in(axis, len(shape), "cross")
    a, b = (broadcast_to(t, shape) for t in (a, b))
    if shape[at] != 3:
        raise error_here(InvalidArgument, f"the axis must have size 3, got {shape_text(shape)}", "cross")
    (a0, a1, a2), (b0, b1, b2) = (split(t, 3, axis=at) for t in (a, b))
    return concat([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=at)


@operation
def kron(x1: Operand, x2: Operand, /) -> Tensor:
    """Kronecker's product: along each axis the product of the sizes; the shape with fewer axes gets ones in front."""
    _, a, b = _pair(x1, x2)
    rank = max(a.ndim, b.ndim)
    wide_a, wide_b = ((1,) * (rank - t.ndim) + t.shape for t in (a, b))
    spread_a = reshape(a, tuple(d for size in wide_a for d in (size, 1)))
    spread_b = reshape(b, tuple(d for size in wide_b for d in (1, size)))
    return reshape(spread_a * spread_b, tuple(m * n for m, n in zip(wide_a, wide_b, strict=True)))


@operation
def multi_dot(arrays: Sequence[Operand], /) -> Tensor:
    """The product of two or more matrices, in an order that is cheap; the first and the last may be vectors."""
    trace = require_trace("multi_dot")
    given = [tensor_in(trace, x) for x in arrays]
    ends = {0, len(given) - 1}
    if len(given) < 2 or any(t.ndim != 2 and not (t.ndim == 1 and i in ends) for i, t in enumerate(given)):
        shapes = " and ".join(shape_text(t.shape) for t in given)
        raise error_here(InvalidArgument, f"there must be two matrices or more, got {shapes or 'none'}", "multi_dot")
    if len(given) >= len(LETTERS):
        found = given[0]
        for matrix in given[1:]:
            found = matmul(found, matrix)
        return found
    pairs = [LETTERS[i : i + 2] for i in range(len(given))]
    if given[0].ndim == 1:
        pairs[0] = pairs[0][1]
    if given[-1].ndim == 1:
        pairs[-1] = pairs[-1][0]
    result = pairs[0][:-1] + pairs[-1][1:]
    return einsum(",".join(pairs) + "->" + result, *given)
