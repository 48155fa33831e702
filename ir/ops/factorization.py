"""Factorizations of matrices, which are the last two axes; the axes before are a batch.

Factors that are unique only up to signs (of real matrices) or phases (of complex ones) are normalised, as each op says.
A matrix with an element that is infinite or NaN, or for which the method fails, has factors of NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Flag
from dfc.ir.dims import Dim, Shape
from dfc.ir.dtypes import DType, as_dtype, int32, part_of
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import INEXACT
from dfc.ir.types import Spec, spec_of, tensor_type

Array = np.ndarray[Any, Any]
NEARLY = 0.99


def require_wide(dtype: DType, kinds: tuple[str, ...], label: str) -> None:
    """Raise InvalidType unless LAPACK has the dtype."""
    if dtype.kind not in kinds or dtype.bits == 16:
        raise InvalidType(f"the dtype must be float32, float64, complex64 or complex128, got {dtype}", label=label)


def matrix_sizes(spec: Spec, label: str) -> tuple[int, int]:
    """The sizes of the last two axes. Raises InvalidArgument unless they are there and known."""
    match spec.shape[-2:]:
        case (int(rows), int(columns)):
            return rows, columns
    raise InvalidArgument(f"the last two axes must be there and have known sizes, got {spec}", label=label)


def of_sizes(batch: Shape, *sizes: Dim) -> Shape:
    return (*batch, *sizes)


class Factorization(Op):
    """A function of one batch of matrices.

    C1: the dtype is float32, float64, complex64 or complex128. C2: the last two axes have known sizes.
    """

    KINDS: ClassVar[tuple[str, ...]] = INEXACT

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        spec = spec_of(operands[0])
        require_wide(spec.dtype, cls.KINDS, "C1")
        return cls.results_of(spec, *matrix_sizes(spec, "C2"))

    @staticmethod
    def results_of(spec: Spec, rows: int, columns: int) -> Types:
        """The types of the factors of matrices of these sizes."""
        raise NotImplementedError

    @classmethod
    def evaluate(cls, operands: Arrays, attributes: Attributes) -> Arrays:
        (x,) = operands
        types = [spec_of(t) for t in cls.infer([tensor_type(x.shape, as_dtype(x.dtype))], attributes)]
        results = [np.empty([int(d) for d in shape], dtype.numpy) for shape, dtype in types]
        for index in np.ndindex(x.shape[:-2]):
            for result, factor in zip(results, cls.factors(x[index]), strict=True):
                result[index] = factor
        return results

    @classmethod
    def factors(cls, x: Array) -> Sequence[Any]:
        """The factors of one matrix."""
        try:
            if not np.isfinite(x).all():
                return cls.undefined(x)
            return cls.compute(x)
        except np.linalg.LinAlgError:
            return cls.undefined(x)

    @classmethod
    def compute(cls, x: Array) -> Sequence[Any]:
        raise NotImplementedError

    @classmethod
    def undefined(cls, x: Array) -> Sequence[Any]:
        """What stands for the factors that a matrix does not have."""
        return [np.nan] * len(cls.get_irdl_definition().results)


class OfSquare(Factorization):
    """C3: the matrices are square."""

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        results = super().infer(operands, attributes)
        require_square(spec_of(operands[0]), "C3")
        return results


def require_square(spec: Spec, label: str) -> None:
    if spec.shape[-1] != spec.shape[-2]:
        raise InvalidArgument(f"the last two axes must have equal sizes, got {spec}", label=label)


def phases(values: Array) -> Array:
    """For each value the number of size 1 that makes it real and not negative; 1 for zero."""
    size = np.abs(values)
    return np.where(size == 0, 1, np.conj(values) / np.where(size == 0, 1, size)).astype(values.dtype)


def leading(vectors: Array) -> Array:
    """Of each column the first component that is nearly the largest in size. Nearly, so that rounding does not choose
    among components of equal size."""
    if vectors.size == 0:
        return vectors.ravel()
    size = np.abs(vectors)
    first = np.argmax(size >= NEARLY * size.max(axis=0), axis=0)
    found: Array = np.take_along_axis(vectors, first[None], 0)[0]
    return found


@irdl_op_definition
class Cholesky(OfSquare):
    """The lower triangle L, with real positive diagonal, of x = L L^H. Only the lower triangle of x is read, of its
    diagonal the real part. The lower triangle is NaN where x is not positive definite."""

    name = "df.cholesky"
    x = operand_def()
    result = result_def()

    @staticmethod
    def results_of(spec: Spec, rows: int, columns: int) -> Types:
        return (tensor_type(*spec),)

    @classmethod
    def compute(cls, x: Array) -> Sequence[Any]:
        return [np.linalg.cholesky(x)]

    @classmethod
    def undefined(cls, x: Array) -> Sequence[Any]:
        return [np.tril(np.full(x.shape, np.nan))]


@irdl_op_definition
class TriangularSolve(Op):
    """The X of A X = B, or with `left` false of X A = B, for a triangular A, of which only the triangle that `lower`
    names is read, without the diagonal if `unit_diagonal`, which then is 1; `adjoint` takes A^H for A. Zeros on the
    diagonal give infinities and NaN.

    C1: equal dtypes of LAPACK's. C2: the last two axes of both have known sizes. C3: A is square. C4: B fits to A, and
    the axes before are equal.
    """

    name = "df.triangular_solve"
    left = prop_def(Flag)
    lower = prop_def(Flag)
    unit_diagonal = prop_def(Flag)
    adjoint = prop_def(Flag)
    a = operand_def()
    b = operand_def()
    result = result_def()
    KINDS: ClassVar[tuple[str, ...]] = INEXACT

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        a, b = (spec_of(t) for t in operands)
        if a.dtype is not b.dtype:
            raise InvalidType(f"operands must have equal dtypes, got {a.dtype} and {b.dtype}", label="C1")
        require_wide(a.dtype, cls.KINDS, "C1")
        size, sizes = matrix_sizes(a, "C2")[0], matrix_sizes(b, "C2")
        require_square(a, "C3")
        if a.shape[:-2] != b.shape[:-2] or sizes[not attributes["left"]] != size:
            side = "left" if attributes["left"] else "right"
            raise InvalidArgument(f"the matrices must fit, with A on the {side}, got {a} and {b}", label="C4")
        return (operands[1],)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        import scipy.linalg  # 0.1 s, for those who evaluate

        a, b = operands
        result: Array = np.empty_like(b)
        if b.size == 0:
            return [result]
        (solve,) = scipy.linalg.get_blas_funcs(("trsm",), (a, b))
        for index in np.ndindex(b.shape[:-2]):
            result[index] = solve(
                1,
                a[index],
                b[index],
                side=not attributes["left"],
                lower=attributes["lower"],
                trans_a=2 if attributes["adjoint"] else 0,
                diag=attributes["unit_diagonal"],
            )
        return [result]


@irdl_op_definition
class Lu(Factorization):
    """L and U of x with its rows permuted, by partial pivoting.

    Results: L below the diagonal, where it is 1, and U from the diagonal on, in one matrix; `pivots`, int32: row i was
    exchanged with row pivots[i], one after another; `permutation`, int32: row i of L U is row permutation[i] of x.
    """

    name = "df.lu"
    DEVICES: ClassVar = ("cpu",)  # LAPACK
    x = operand_def()
    lu = result_def()
    pivots = result_def()
    permutation = result_def()

    @staticmethod
    def results_of(spec: Spec, rows: int, columns: int) -> Types:
        batch = spec.shape[:-2]
        pivots = tensor_type(of_sizes(batch, min(rows, columns)), int32)
        return (tensor_type(*spec), pivots, tensor_type(of_sizes(batch, rows), int32))

    @classmethod
    def compute(cls, x: Array) -> Sequence[Any]:
        import scipy.linalg

        order = np.arange(len(x))
        if x.size == 0:
            return [x, order[:0], order]
        (factorize,) = scipy.linalg.get_lapack_funcs(("getrf",), (x,))
        lu, pivots, _ = factorize(x)
        for i, pivot in enumerate(pivots):
            order[[i, pivot]] = order[[pivot, i]]
        return [lu, pivots, order]

    @classmethod
    def undefined(cls, x: Array) -> Sequence[Any]:
        return [np.nan, np.arange(min(x.shape)), np.arange(len(x))]


@irdl_op_definition
class Qr(Factorization):
    """x = Q R with min(m, n) orthonormal columns of Q and an upper triangular R whose diagonal is real and not
    negative."""

    name = "df.qr"
    DEVICES: ClassVar = ("cpu",)  # LAPACK
    x = operand_def()
    q = result_def()
    r = result_def()

    @staticmethod
    def results_of(spec: Spec, rows: int, columns: int) -> Types:
        batch, least = spec.shape[:-2], min(rows, columns)
        return tuple(tensor_type(of_sizes(batch, *s), spec.dtype) for s in ((rows, least), (least, columns)))

    @classmethod
    def compute(cls, x: Array) -> Sequence[Any]:
        q, r = np.linalg.qr(x)
        turn = phases(np.diagonal(r))
        return [q * np.conj(turn), turn[:, None] * r]


@irdl_op_definition
class Eigh(OfSquare):
    """Eigenvalues, real and ascending, and orthonormal eigenvectors, the columns of V, of a symmetric or Hermitian x,
    of which only the lower triangle is read. Of each vector the first component that is nearly (0.99) the largest is
    real and positive."""

    name = "df.eigh"
    DEVICES: ClassVar = ("cpu",)  # LAPACK
    x = operand_def()
    w = result_def()
    v = result_def()

    @staticmethod
    def results_of(spec: Spec, rows: int, columns: int) -> Types:
        return (tensor_type(spec.shape[:-1], part_of(spec.dtype)), tensor_type(*spec))

    @classmethod
    def compute(cls, x: Array) -> Sequence[Any]:
        values, vectors = np.linalg.eigh(x)
        return [values, vectors * phases(leading(vectors))]


@irdl_op_definition
class Svd(Factorization):
    """x = U diag(s) Vh with min(m, n) singular values, which descend. Of each column of U the first component that is
    nearly (0.99) the largest is real and positive."""

    name = "df.svd"
    DEVICES: ClassVar = ("cpu",)  # LAPACK
    x = operand_def()
    u = result_def()
    s = result_def()
    vh = result_def()

    @staticmethod
    def results_of(spec: Spec, rows: int, columns: int) -> Types:
        batch, least, dtype = spec.shape[:-2], min(rows, columns), spec.dtype
        return (
            tensor_type(of_sizes(batch, rows, least), dtype),
            tensor_type(of_sizes(batch, least), part_of(dtype)),
            tensor_type(of_sizes(batch, least, columns), dtype),
        )

    @classmethod
    def compute(cls, x: Array) -> Sequence[Any]:
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        turn = phases(leading(u))
        return [u * turn, s, np.conj(turn)[:, None] * vh]
