"""Factorizations of matrices and what follows from them: solutions, inverses, determinants, norms.

Matrices are the last two axes, whose sizes must be known; the axes before are a batch, and may be symbolic. Operands
are float32, float64, complex64 or complex128; integers and booleans are taken as float32. A matrix with an infinite
element or a NaN, or for which a method fails, gives NaN. Factors that are unique only up to sign or phase are
normalised as `dfc.ir.ops.factorization` says. LU, QR, eigenvalues and singular values are LAPACK's, so of CPUs only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from xdsl.ir import Operation

from dfc.errors import InvalidArgument
from dfc.frontend.defaults import default_int
from dfc.frontend.immediate import operation
from dfc.frontend.ops.complex import conj
from dfc.frontend.ops.constant import asarray, zeros
from dfc.frontend.ops.elementwise import abs as absolute
from dfc.frontend.ops.elementwise import astype, ceil, log, maximum, sqrt, stop_gradient, where
from dfc.frontend.ops.elementwise import pow as power
from dfc.frontend.ops.linalg import diagonal, matmul
from dfc.frontend.ops.reduction import max as reduce_max
from dfc.frontend.ops.reduction import min as reduce_min
from dfc.frontend.ops.reduction import prod
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.shape import (
    axes_in,
    broadcast_to,
    concat,
    error_here,
    expand_dims,
    matrix_transpose,
    permute_dims,
    squeeze,
)
from dfc.frontend.promotion import broadcast_shapes, result_type, tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import require_trace
from dfc.ir.dims import Shape
from dfc.ir.dtypes import DType, float32, int32, part_of
from dfc.ir.op import Op
from dfc.ir.ops import factorization as ir
from dfc.ir.ops.indexing import TakeAlongAxis
from dfc.ir.ops.shape import shape_text


class QR(NamedTuple):
    """What `qr` gives."""

    Q: Tensor
    R: Tensor


class LU(NamedTuple):
    """What `lu_factor` gives."""

    lu: Tensor
    pivots: Tensor
    permutation: Tensor


class Eigh(NamedTuple):
    """What `eigh` gives."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class SVD(NamedTuple):
    """What `svd` gives."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class SLogDet(NamedTuple):
    """What `slogdet` gives."""

    sign: Tensor
    logabsdet: Tensor


class LeastSquares(NamedTuple):
    """What `lstsq` gives."""

    x: Tensor
    residuals: Tensor
    rank: Tensor
    s: Tensor


def _given(x: Operand, name: str) -> Tensor:
    tensor = tensor_in(require_trace(name), x)
    return tensor if tensor.dtype.is_inexact else astype(tensor, float32)


def _matrices(x: Operand, name: str, *, square: bool = False) -> Tensor:
    """The operand with at least two axes, of known sizes."""
    tensor = _given(x, name)
    sizes = tensor.shape[-2:]
    if len(sizes) < 2 or not all(isinstance(n, int) for n in sizes):
        raise error_here(
            InvalidArgument,
            f"x must have two axes or more, the last two of known sizes, got {shape_text(tensor.shape)}",
            name,
        )
    if square and sizes[0] != sizes[1]:
        raise error_here(
            InvalidArgument, f"the last two axes must have equal sizes, got {shape_text(tensor.shape)}", name
        )
    return tensor


def _sizes(x: Tensor) -> tuple[int, int]:
    rows, columns = x.shape[-2:]
    assert isinstance(rows, int) and isinstance(columns, int)
    return rows, columns


def _results(cls: type[Op], *operands: Tensor, **attributes: Any) -> list[Tensor]:
    trace = require_trace(cls.name)
    op: Operation = trace.emit_op(cls, [x._value for x in operands], attributes)
    return [Tensor(result.type, trace, result) for result in op.results]


def _adjoint(x: Tensor) -> Tensor:
    return conj(matrix_transpose(x))


def _eye(n: int, dtype: DType) -> Tensor:
    return asarray(np.eye(n).astype(dtype.numpy))


def _epsilon(dtype: DType) -> float:
    return float(np.finfo(part_of(dtype).numpy).eps)


# ---- factorizations


@operation
def cholesky(x: Operand, /, *, upper: bool = False) -> Tensor:
    """The lower triangle L of x = L L^H, or the upper U of U^H U, for a positive definite x, of which only the lower
    triangle, or the upper, is read; NaN for others. Gradients are those of the triangle that is read."""
    tensor = _matrices(x, "cholesky", square=True)
    (found,) = _results(ir.Cholesky, _adjoint(tensor) if upper else tensor)
    return _adjoint(found) if upper else found


@operation
def lu_factor(x: Operand, /) -> LU:
    """L, without its diagonal of ones, and U in one matrix, of x with its rows permuted: row i of L U is row
    permutation[i] of x, as comes of exchanging row i with row pivots[i], for each i."""
    return LU(*_results(ir.Lu, _matrices(x, "lu_factor")))


@operation
def qr(x: Operand, /, *, mode: str = "reduced") -> QR:
    """x = Q R, of shapes (..., m, k) and (..., k, n) with k = min(m, n): Q has orthonormal columns, R is upper
    triangular, with a diagonal that is real and not negative.

    With mode="complete" k is m: further columns of Q make it a whole basis, and R has rows of zeros. The gradient by
    these columns is finite where the k columns and the first m - k unit vectors are independent.
    """
    if mode not in ("reduced", "complete"):
        raise error_here(InvalidArgument, f"mode must be 'reduced' or 'complete', got {mode!r}", "qr")
    q, r = _results(ir.Qr, _matrices(x, "qr"))
    rows, least = _sizes(q)
    if mode == "reduced" or rows == least:
        return QR(q, r)
    below = broadcast_to(zeros((rows - least, r.shape[-1]), dtype=r.dtype), (*r.shape[:-2], rows - least, r.shape[-1]))
    return QR(_completed(q), concat([r, below], axis=-2))


def _completed(q: Tensor) -> Tensor:
    """Orthonormal columns, and further ones up to a whole basis: those of Q for q and the first unit vectors."""
    rows, columns = _sizes(q)
    units = asarray(np.eye(rows, rows - columns).astype(q.dtype.numpy))
    whole = _results(ir.Qr, concat([q, _over(units, q.shape[:-2])], axis=-1))[0]
    return concat([q, whole[..., columns:]], axis=-1)


@operation
def eigh(x: Operand, /, *, UPLO: str = "L") -> Eigh:
    """Eigenvalues, ascending and real, of shape (..., n), and orthonormal eigenvectors, as columns, of a symmetric or
    Hermitian x, of which only the lower ("L") or upper ("U") triangle is read.

    The gradient by eigenvectors of equal eigenvalues is right for functions of the whole space that they span only.
    """
    tensor = _matrices(x, "eigh", square=True)
    if UPLO not in ("L", "U"):
        raise error_here(InvalidArgument, f"UPLO must be 'L' or 'U', got {UPLO!r}", "eigh")
    return Eigh(*_results(ir.Eigh, tensor if UPLO == "L" else _adjoint(tensor)))


@operation
def eigvalsh(x: Operand, /, *, UPLO: str = "L") -> Tensor:
    """The eigenvalues alone; see `eigh`."""
    return eigh(x, UPLO=UPLO).eigenvalues


@operation
def svd(x: Operand, /, *, full_matrices: bool = False) -> SVD:
    """x = U diag(S) Vh, of shapes (..., m, k), (..., k) and (..., k, n) with k = min(m, n); S descends.

    The gradient by vectors of equal singular values is right for functions of the whole spaces that they span only.
    With `full_matrices` U is (..., m, m) and Vh (..., n, n), completed as by `qr`.
    """
    u, s, vh = _results(ir.Svd, _matrices(x, "svd"))
    if full_matrices and u.shape[-1] != u.shape[-2]:
        u = _completed(u)
    if full_matrices and vh.shape[-1] != vh.shape[-2]:
        vh = _adjoint(_completed(_adjoint(vh)))
    return SVD(u, s, vh)


@operation
def svdvals(x: Operand, /) -> Tensor:
    """The singular values alone, descending."""
    return svd(x).S


# ---- solutions


@operation
def solve_triangular(
    a: Operand, b: Operand, /, *, lower: bool = False, trans: str = "N", unit_diagonal: bool = False
) -> Tensor:
    """The x of a x = b for a triangular a, (..., n, n), of which only one triangle is read; b is (..., n, k), or (n).

    `trans` is "N", "T" for the transpose of a, or "C" for its adjoint. The batches broadcast.
    """
    if trans not in ("N", "T", "C"):
        raise error_here(InvalidArgument, f"trans must be 'N', 'T' or 'C', got {trans!r}", "solve_triangular")
    left, right, vector = _system(a, b, "solve_triangular")
    found = _triangular(conj(left) if trans == "T" else left, right, lower, unit_diagonal, adjoint=trans != "N")
    return squeeze(found, -1) if vector else found


def _triangular(a: Tensor, b: Tensor, lower: bool, unit: bool, *, adjoint: bool = False) -> Tensor:
    flags = {"left": True, "lower": lower, "unit_diagonal": unit, "adjoint": adjoint}
    return _results(ir.TriangularSolve, a, b, **flags)[0]


def _system(a: Operand, b: Operand, name: str) -> tuple[Tensor, Tensor, bool]:
    """Both sides with one dtype and one batch, and whether b was a vector."""
    left, right = _matrices(a, name, square=True), _given(b, name)
    vector = right.ndim == 1
    if vector:
        right = expand_dims(right, axis=-1)
    right = _matrices(right, name)
    dtype = result_type(left, right)
    if left.shape[-1] != right.shape[-2]:
        raise error_here(
            InvalidArgument,
            f"b must have as many rows as a, got shapes {shape_text(left.shape)} and {shape_text(right.shape)}",
            name,
        )
    batch = broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left, right = (_over(astype(t, dtype), batch) for t in (left, right))
    return left, right, vector


def _over(x: Tensor, batch: Shape) -> Tensor:
    return x if x.shape[:-2] == batch else broadcast_to(x, (*batch, *x.shape[-2:]))


@operation
def solve(a: Operand, b: Operand, /) -> Tensor:
    """The x of a x = b, by LU with partial pivoting; a is (..., n, n), b (..., n, k), or (n). The batches broadcast.

    A singular a gives infinities and NaN.
    """
    left, right, vector = _system(a, b, "solve")
    lu, _, permutation = lu_factor(left)
    axis = right.ndim - 2
    rows = broadcast_to(expand_dims(permutation, axis=-1), right.shape)
    (moved,) = _results(TakeAlongAxis, right, rows, axis=axis)
    found = _triangular(lu, _triangular(lu, moved, True, True), False, False)
    return squeeze(found, -1) if vector else found


@operation
def inv(x: Operand, /) -> Tensor:
    """The inverse of square matrices; infinities and NaN for singular ones."""
    tensor = _matrices(x, "inv", square=True)
    return solve(tensor, _over(_eye(_sizes(tensor)[0], tensor.dtype), tensor.shape[:-2]))


def _odd(lu: LU) -> Tensor:
    """1 or -1, int32, for each permutation."""
    count = min(_sizes(lu.lu))
    moved = lu.pivots != asarray(np.arange(count, dtype=np.int32))
    return 1 - 2 * (reduce_sum(astype(moved, int32), axis=-1) % 2)


@operation
def det(x: Operand, /) -> Tensor:
    """The determinants of square matrices, of shape (...). The gradient at a singular matrix is not finite."""
    factors = lu_factor(_matrices(x, "det", square=True))
    return prod(diagonal(factors.lu), axis=-1) * astype(_odd(factors), factors.lu.dtype)


@operation
def slogdet(x: Operand, /) -> SLogDet:
    """Sign, or phase, and logarithm of the size of determinants, where these would overflow; 0 and -inf for singular
    matrices."""
    factors = lu_factor(_matrices(x, "slogdet", square=True))
    values = diagonal(factors.lu)
    size = absolute(values)
    safe = astype(where(size == 0, 1, size), values.dtype)
    sign = prod(values / safe, axis=-1) * astype(_odd(factors), values.dtype)
    return SLogDet(sign, reduce_sum(log(size), axis=-1))


@operation
def pinv(x: Operand, /, *, rtol: float | None = None) -> Tensor:
    """The pseudo-inverse, (..., n, m): singular values up to rtol times the largest one count as zero; rtol is the
    larger size times the dtype's epsilon by default."""
    tensor = _matrices(x, "pinv")
    u, s, vh = svd(tensor)
    counts = _counting(s, tensor, rtol)
    inverse = where(counts, 1 / where(counts, s, 1), 0)
    return matmul(_adjoint(vh) * astype(expand_dims(inverse, axis=-2), tensor.dtype), _adjoint(u))


def _counting(s: Tensor, x: Tensor, rtol: float | None) -> Tensor:
    """Which singular values do not count as zero."""
    if not min(_sizes(x)):
        return s > 0
    tolerance = max(_sizes(x)) * _epsilon(x.dtype) if rtol is None else rtol
    return s > reduce_max(s, axis=-1, keepdims=True) * tolerance


@operation
def matrix_rank(x: Operand, /, *, rtol: float | None = None) -> Tensor:
    """How many singular values count as more than zero, in the default int; see `pinv` for rtol."""
    tensor = _matrices(x, "matrix_rank")
    return reduce_sum(astype(_counting(svdvals(tensor), tensor, rtol), default_int()), axis=-1, dtype=default_int())


@operation
def lstsq(a: Operand, b: Operand, /, *, rcond: float | None = None) -> LeastSquares:
    """The shortest x for which a x is nearest to b, by the singular values; a is (..., m, n), b (..., m, k), or (m).

    With it the sums of squares of b - a x, for each column, whatever the rank is; the rank; and the singular values, of
    which those up to rcond times the largest count as zero (see `pinv`).
    """
    left, right = _matrices(a, "lstsq"), _given(b, "lstsq")
    vector = right.ndim == 1
    right = expand_dims(right, axis=-1) if vector else right
    dtype = result_type(left, right)
    left, right = astype(left, dtype), astype(right, dtype)
    s = svdvals(left)
    x = matmul(pinv(left, rtol=rcond), right)
    residuals = reduce_sum(absolute(right - matmul(left, x)) ** 2, axis=-2)
    rank = reduce_sum(astype(_counting(s, left, rcond), default_int()), axis=-1, dtype=default_int())
    return LeastSquares(*((squeeze(x, -1), squeeze(residuals, -1)) if vector else (x, residuals)), rank, s)


@operation
def matrix_power(x: Operand, n: int, /) -> Tensor:
    """The product of n times x; of its inverse for a negative n, and the identity for 0."""
    tensor = _matrices(x, "matrix_power", square=True)
    found, square, rest = None, inv(tensor) if n < 0 else tensor, -n if n < 0 else n
    while rest:
        if rest % 2:
            found = square if found is None else matmul(found, square)
        rest //= 2
        if rest:
            square = matmul(square, square)
    return _over(_eye(_sizes(tensor)[0], tensor.dtype), tensor.shape[:-2]) if found is None else found


PADE = [
    math.factorial(26 - j) * math.factorial(13) / (math.factorial(26) * math.factorial(j) * math.factorial(13 - j))
    for j in range(14)
]
"""Coefficients of the numerator of exp's diagonal Pade approximant of order 13."""
LARGEST_NORM = 5.371920351148152  # up to which that approximant is good to double precision: N. Higham, 2005, table 2.3
MOST_SQUARINGS = 16


@operation
def expm(x: Operand, /) -> Tensor:
    """The exponential of square matrices, by scaling, a Pade approximant and squaring (Higham 2005).

    A matrix with a 1-norm above 3.5e5, which would need more than 16 squarings, gives NaN.
    """
    tensor = _matrices(x, "expm", square=True)
    if not tensor.shape[-1]:
        return tensor
    size = stop_gradient(matrix_norm(tensor, keepdims=True, ord=1))
    squarings = ceil(log(maximum(size / LARGEST_NORM, 1)) / math.log(2))
    scaled = tensor * astype(power(0.5, squarings), tensor.dtype)
    found = _approximant(scaled)
    for i in range(MOST_SQUARINGS):
        found = where(squarings > i, matmul(found, found), found)
    return where(squarings <= MOST_SQUARINGS, found, math.nan)


def _approximant(x: Tensor) -> Tensor:
    one = _over(_eye(_sizes(x)[0], x.dtype), x.shape[:-2])
    x2 = matmul(x, x)
    x4 = matmul(x2, x2)
    x6 = matmul(x4, x2)
    even = [one, x2, x4, x6]

    def half(first: int) -> Tensor:
        high = sum_of((x2, x4, x6), PADE[8 + first :: 2])
        return matmul(x6, high) + sum_of(even, PADE[first:8:2])

    def sum_of(terms: Sequence[Tensor], factors: Sequence[float]) -> Tensor:
        found = terms[0] * factors[0]
        for term, factor in zip(terms[1:], factors[1:], strict=True):
            found = found + term * factor
        return found

    odd, rest = matmul(x, half(1)), half(0)
    return solve(rest - odd, rest + odd)


# ---- norms


@operation
def vector_norm(
    x: Operand, /, *, axis: int | Sequence[int] | None = None, keepdims: bool = False, ord: float = 2
) -> Tensor:
    """(sum of |x| ** ord) ** (1 / ord) over the axes (None: all); the largest |x| for infinity, the smallest for
    -infinity, how many are not 0 for 0. The gradient of a vector of zeros is 0."""
    tensor = _given(x, "vector_norm")
    size = absolute(tensor)
    if ord == math.inf:
        return reduce_max(size, axis=axis, keepdims=keepdims)
    if ord == -math.inf:
        return reduce_min(size, axis=axis, keepdims=keepdims)
    if ord == 0:
        return reduce_sum(astype(size != 0, size.dtype), axis=axis, keepdims=keepdims)
    if ord == 1:
        return reduce_sum(size, axis=axis, keepdims=keepdims)
    if ord == 2:
        return _root(reduce_sum(_squared_size(tensor), axis=axis, keepdims=keepdims))
    total = reduce_sum(power(size, ord), axis=axis, keepdims=keepdims)
    return power(total, 1 / ord)


def _squared_size(x: Tensor) -> Tensor:
    if x.dtype.kind != "complex":
        return x * x
    size = absolute(x)
    return size * size


def _root(x: Tensor) -> Tensor:
    """The square root, whose gradient at 0 is 0."""
    zero = x == 0
    return where(zero, 0, sqrt(where(zero, 1, x)))


@operation
def matrix_norm(x: Operand, /, *, keepdims: bool = False, ord: float | str = "fro") -> Tensor:
    """A norm of each matrix: "fro" (root of the sum of squares), "nuc" (sum of singular values), 2 and -2 (largest and
    smallest singular value), 1 and -1 (of the sums of |x| along columns), inf and -inf (along rows)."""
    tensor = _matrices(x, "matrix_norm")
    if ord == "fro":
        return vector_norm(tensor, axis=(-2, -1), keepdims=keepdims)
    if ord in ("nuc", 2, -2):
        s = svdvals(tensor)
        found = reduce_sum(s, axis=-1) if ord == "nuc" else s[..., 0] if ord == 2 else s[..., -1]
    elif ord in (1, -1, math.inf, -math.inf):
        sums = reduce_sum(absolute(tensor), axis=-2 if ord in (1, -1) else -1)
        found = (reduce_max if ord in (1, math.inf) else reduce_min)(sums, axis=-1)
    else:
        raise error_here(
            InvalidArgument, f"ord must be 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got {ord!r}", "matrix_norm"
        )
    return expand_dims(found, axis=(-2, -1)) if keepdims else found


@operation
def norm(
    x: Operand,
    /,
    ord: float | str | None = None,
    *,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
) -> Tensor:
    """NumPy's norm: of a vector for one axis, of a matrix for two, and of all elements without `ord` and `axis`."""
    tensor = _given(x, "norm")
    if axis is None and ord is None:
        return vector_norm(tensor, keepdims=keepdims)
    given = tuple(range(tensor.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    places = axes_in(given, tensor.ndim, "norm")
    if len(places) not in (1, 2):
        raise error_here(InvalidArgument, f"there must be one axis or two, got {given}", "norm")
    if len(places) == 1 and not isinstance(ord, str):
        return vector_norm(tensor, axis=places, keepdims=keepdims, ord=2 if ord is None else ord)
    if len(places) == 1:
        raise error_here(InvalidArgument, f"ord of a vector must be a number, got {ord!r}", "norm")
    first, second = (a % tensor.ndim for a in given)
    rest = tuple(a for a in range(tensor.ndim) if a not in places)
    found = matrix_norm(permute_dims(tensor, (*rest, first, second)), ord="fro" if ord is None else ord)
    return expand_dims(found, axis=places) if keepdims else found


@operation
def cond(x: Operand, /, *, p: float | str | None = None) -> Tensor:
    """The condition number: of the largest singular value by the smallest, or with p the product of the norms of x and
    its inverse (see `matrix_norm`)."""
    tensor = _matrices(x, "cond", square=p not in (None, 2, -2))
    if p in (None, 2, -2):
        s = svdvals(tensor)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    assert p is not None
    return matrix_norm(tensor, ord=p) * matrix_norm(inv(tensor), ord=p)
