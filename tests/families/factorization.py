"""Factorizations, by textbook loops in extended precision and by matrices made of known factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.op import Op
from dfc.ir.ops import complex as cx
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import factorization as fa
from dfc.ir.ops import shape
from dfc.ir.types import spec_of
from tests.families.rows import Broken, GradientCase, Rows, normal
from tests.numerics.values import Array, Case, array
from tests.programs import NDArray, Trace

ROWS = Rows()
row = ROWS.row
DTYPES = ("float32", "float64", "complex64", "complex128")
FULL = ("float32", "complex128")  # what is tried with every shape
PARTS = {"float32": "float32", "float64": "float64", "complex64": "float32", "complex128": "float64"}
SHAPES = ((3, 3), (4, 2), (2, 4), (2, 3, 2), (1, 1), (2, 0, 3), (0, 2, 2))
NAN = float("nan")
FLAGS = ("left", "lower", "unit_diagonal", "adjoint")
Matrix = Any  # of extended precision


def random(rng: np.random.Generator, sizes: tuple[int, ...], dtype: str) -> Array:
    values = rng.normal(size=sizes) + 1j * rng.normal(size=sizes)
    return array(values, dtype)


def batched(
    dtypes: tuple[str, ...],
    x: Array,
    function: Callable[[Matrix], tuple[Any, ...]],
    *,
    units: float = 64,
    scale: float = 8,
) -> Case:
    """A case whose results a function of one matrix gives; `dtypes` are the results'."""
    wide = x.astype(np.clongdouble if x.dtype.kind == "c" else np.longdouble)
    if wide.size:
        found = [function(wide[i]) for i in np.ndindex(x.shape[:-2])]
        results = [np.reshape(np.array(r), (*x.shape[:-2], *np.shape(r[0]))) for r in zip(*found, strict=True)]
    else:
        ones = function(np.ones(x.shape[-2:], wide.dtype))
        results = [np.zeros((*x.shape[:-2], *np.shape(r))) + r for r in ones]
    return Case((x,), tuple(array(r, d) for r, d in zip(results, dtypes, strict=True)), units=units, scale=scale)


def cholesky_of(x: Matrix) -> tuple[Any, ...]:
    n = len(x)
    low = np.zeros_like(x)
    for j in range(n):
        low[j, j] = np.sqrt((x[j, j] - sum(abs(low[j, k]) ** 2 for k in range(j))).real)
        for i in range(j + 1, n):
            low[i, j] = (x[i, j] - sum(low[i, k] * np.conj(low[j, k]) for k in range(j))) / low[j, j]
    return (low,)


def positive(rng: np.random.Generator, sizes: tuple[int, ...], dtype: str) -> Array:
    factor = random(rng, sizes, "complex128" if dtype in ("complex64", "complex128") else "float64")
    return array(factor @ np.conj(np.swapaxes(factor, -1, -2)) + 2 * np.eye(sizes[-1]), dtype)


@row("cholesky")
def cholesky() -> list[Case]:
    rng, found = np.random.default_rng(1), []
    for dtype in DTYPES:
        for sizes in ((3, 3), (2, 4, 4), (1, 1), (0, 0), (0, 2, 2)):
            x = positive(rng, sizes, dtype)
            read = np.tril(x) + np.triu(np.full(sizes, 7, x.dtype), 1)  # what is above must not count,
            if x.dtype.kind == "c":
                read += (0.5j * np.eye(sizes[-1])).astype(x.dtype)  # nor the diagonal's imaginary part
            found.append(batched((dtype,), read, cholesky_of))
    two = np.array([[4, 0], [2, 5]], np.float32)
    bad = [np.array([[1, 2], [2, 1]], np.float32), np.array([[NAN, 0], [0, 1]], np.float32)]
    nan = np.array([[NAN, 0], [NAN, NAN]], np.float32)
    whole = np.stack([two, *bad])
    found.append(Case((whole,), (np.stack([np.array([[2, 0], [1, 2]], np.float32), nan, nan]),), units=4))
    return found


def substituted(a: Matrix, b: Matrix, *, lower: bool) -> Matrix:
    """X of a X = b for a triangular a, row by row."""
    x = np.zeros_like(b)
    order = range(len(a)) if lower else range(len(a))[::-1]
    for i in order:
        done = range(i) if lower else range(i + 1, len(a))
        x[i] = (b[i] - sum((a[i, k] * x[k] for k in done), np.zeros_like(b[i]))) / a[i, i]
    return x


@row("triangular_solve")
def triangular_solve() -> list[Case]:
    rng, found = np.random.default_rng(2), []
    for dtype in DTYPES:
        for bits in range(16) if dtype == "float32" else (1, 6, 15):
            flags = {name: bool(bits >> i & 1) for i, name in enumerate(FLAGS)}
            for batch in ((2,), ()) if bits in (1, 15) else ((),):
                a = random(rng, (*batch, 3, 3), dtype)
                a[..., range(3), range(3)] += 3
                b = random(rng, (*batch, *((3, 2) if flags["left"] else (2, 3))), dtype)
                expected = np.empty_like(b)
                for i in np.ndindex(batch):
                    expected[i] = solved(a[i], b[i], **flags).astype(b.dtype)
                found.append(Case((a, b), (expected,), flags, units=64, scale=8))
    flags = {"left": True, "lower": True, "unit_diagonal": False, "adjoint": False}
    none = np.zeros((2, 0), np.float32)
    found.append(Case((np.eye(2, dtype=np.float32), none), (none,), flags))
    return found


def solved(a: Array, b: Array, *, left: bool, lower: bool, unit_diagonal: bool, adjoint: bool) -> Matrix:
    wide = np.clongdouble if a.dtype.kind == "c" else np.longdouble
    triangle, right = (np.tril(a) if lower else np.triu(a)).astype(wide), b.astype(wide)
    if unit_diagonal:
        triangle[range(len(a)), range(len(a))] = 1
    if adjoint:
        triangle, lower = np.conj(triangle.T), not lower
    if left:
        return substituted(triangle, right, lower=lower)
    return substituted(triangle.T, right.T, lower=not lower).T


def lu_of(x: Matrix) -> tuple[Any, ...]:
    x, rows = np.array(x), list(range(len(x)))
    pivots = []
    for k in range(min(x.shape)):
        size = np.abs(x[k:, k].real) + np.abs(x[k:, k].imag)  # as LAPACK measures
        pivot = k + int(np.argmax(size))
        pivots.append(pivot)
        x[[k, pivot]], rows[k], rows[pivot] = x[[pivot, k]], rows[pivot], rows[k]
        if x[k, k] != 0:
            x[k + 1 :, k] /= x[k, k]
        x[k + 1 :, k + 1 :] -= np.outer(x[k + 1 :, k], x[k, k + 1 :])
    return x, np.array(pivots, np.int32), np.array(rows, np.int32)


@row("lu")
def lu() -> list[Case]:
    rng, found = np.random.default_rng(3), []
    for dtype in DTYPES:
        for sizes in (*SHAPES, (3, 0)) if dtype in FULL else SHAPES[:2]:
            x = random(rng, sizes, dtype)
            found.append(batched((dtype, "int32", "int32"), x, lu_of))
    zero = np.zeros((2, 2), np.float32)
    found.append(batched(("float32", "int32", "int32"), zero, lu_of))
    order = np.arange(2, dtype=np.int32)
    bad = np.array([[0, 1], [NAN, 1]], np.float32)
    found.append(Case((bad,), (np.full((2, 2), np.nan, np.float32), order, order)))
    return found


def turned(values: Any) -> Any:
    """exp(i t) that makes a number positive."""
    return np.conj(values) / abs(values)


def qr_of(x: Matrix) -> tuple[Any, ...]:
    """Gram and Schmidt, twice, which makes the diagonal of R positive."""
    rows, columns = x.shape
    least = min(rows, columns)
    q = np.zeros((rows, least), x.dtype)
    for j in range(least):
        v = np.array(x[:, j])
        for _ in range(2):
            for k in range(j):
                v = v - q[:, k] * np.sum(np.conj(q[:, k]) * v)
        q[:, j] = v / np.sqrt(np.sum(np.abs(v) ** 2))
    r = np.conj(q.T) @ x
    return q, np.triu(r)


@row("qr")
def qr() -> list[Case]:
    rng, found = np.random.default_rng(4), []
    for dtype in DTYPES:
        for sizes in SHAPES if dtype in FULL else SHAPES[:2]:
            x = random(rng, sizes, dtype)
            if x.size:
                found.append(batched((dtype, dtype), x, qr_of))
            else:
                least = min(sizes[-2:])
                results = (np.zeros((*sizes[:-1], least), x.dtype), np.zeros((*sizes[:-2], least, sizes[-1]), x.dtype))
                found.append(Case((x,), results))
    bad = np.array([[1, np.inf], [0, 1]], np.float32)
    found.append(Case((bad,), (np.full((2, 2), np.nan, np.float32),) * 2))
    return found


def orthonormal(rng: np.random.Generator, n: int, dtype: str) -> Matrix:
    """A matrix with orthonormal columns, in extended precision."""
    return qr_of(random(rng, (n, n), dtype).astype(np.clongdouble if dtype in DTYPES[2:] else np.longdouble))[0]


def normalised(vectors: Matrix) -> Matrix:
    """For each column what its first component of nearly the largest size is turned by."""
    turns = []
    for column in vectors.T:
        largest = max(abs(column))
        turns.append(turned(next(v for v in column if abs(v) >= 0.99 * largest)))
    return np.array(turns)


@row("eigh")
def eigh() -> list[Case]:
    rng, found = np.random.default_rng(5), []
    for dtype in DTYPES:
        for n, batch in ((3, ()), (4, (2,)), (1, ())):
            w = np.sort(rng.permutation(8)[:n]) - 2.5 + rng.uniform(0, 0.4, n)
            parts = []
            for _ in range(int(np.prod(batch))):
                v = orthonormal(rng, n, dtype)
                parts.append(((v * w) @ np.conj(v.T), w, v * normalised(v)))
            x, values, vectors = (np.reshape([p[i] for p in parts], (*batch, *parts[0][i].shape)) for i in range(3))
            read = array(np.tril(x) + np.triu(np.full((n, n), 7), 1), dtype)
            results = (array(values, PARTS[dtype]), array(vectors, dtype))
            found.append(Case((read,), results, units=100, scale=8))
        none = array(np.zeros((2, 0, 0)), dtype)
        found.append(Case((none,), (array(np.zeros((2, 0)), PARTS[dtype]), none)))
    bad = np.array([[1, 0], [np.inf, 1]], np.float32)
    found.append(Case((bad,), (np.full(2, np.nan, np.float32), np.full((2, 2), np.nan, np.float32))))
    even = np.array([[0, 1], [1, 0]], np.float64)  # components of equal size
    root = np.sqrt(0.5)
    found.append(Case((even,), (np.array([-1.0, 1]), np.array([[root, root], [-root, root]])), units=8, scale=1))
    return found


@row("svd")
def svd() -> list[Case]:
    rng, found = np.random.default_rng(6), []
    for dtype in DTYPES:
        for m, n, batch in ((3, 3, ()), (4, 2, ()), (2, 4, (2,)), (1, 1, ())):
            least, parts = min(m, n), []
            s = np.sort(rng.permutation(8)[:least] + rng.uniform(0.3, 0.7, least))[::-1]
            for _ in range(int(np.prod(batch))):
                u, v = orthonormal(rng, m, dtype)[:, :least], orthonormal(rng, n, dtype)[:, :least]
                turn = normalised(u)
                parts.append(((u * s) @ np.conj(v.T), u * turn, s, np.conj(v * turn).T))
            x, *results = (np.reshape([p[i] for p in parts], (*batch, *parts[0][i].shape)) for i in range(4))
            wanted = tuple(array(r, d) for r, d in zip(results, (dtype, PARTS[dtype], dtype), strict=True))
            found.append(Case((array(x, dtype),), wanted, units=100, scale=8))
        none = array(np.zeros((3, 0)), dtype)
        found.append(Case((none,), (none, array(np.zeros(0), PARTS[dtype]), array(np.zeros((0, 0)), dtype))))
    bad = np.array([[1, NAN], [0, 1]], np.float32)
    nan = np.full((2, 2), np.nan, np.float32)
    found.append(Case((bad,), (nan, nan[0], nan)))
    return found


# ---- broken constraints

WIDE = "the dtype must be float32, float64, complex64 or complex128, got"
SOLVE = {"left": True, "lower": True, "unit_diagonal": False, "adjoint": False}
RIGHT = {**SOLVE, "left": False}


def of_matrices(name: str, *, square: bool) -> list[Broken]:
    rows: list[Broken] = [
        (f"{name}-C1", "float16[2,2]", {}, InvalidType, f"{WIDE} float16"),
        (f"{name}-C2", "float32[2]", {}, InvalidArgument,
         "the last two axes must be there and have known sizes, got float32[2]"),
    ]  # fmt: skip
    if square:
        rows.append((f"{name}-C3", "float32[3,2]", {}, InvalidArgument,
                     "the last two axes must have equal sizes, got float32[3, 2]"))  # fmt: skip
    return rows


BROKEN: list[Broken] = [
    *of_matrices("cholesky", square=True),
    ("triangular_solve-C1", "float32[2,2] ; float64[2,2]", SOLVE, InvalidType,
     "operands must have equal dtypes, got float32 and float64"),
    ("triangular_solve-C2", "float32[2,2] ; float32[2]", SOLVE, InvalidArgument,
     "the last two axes must be there and have known sizes, got float32[2]"),
    ("triangular_solve-C3", "float32[3,2] ; float32[2,2]", SOLVE, InvalidArgument,
     "the last two axes must have equal sizes, got float32[3, 2]"),
    ("triangular_solve-C4", "float32[2,2] ; float32[2,3]", RIGHT, InvalidArgument,
     "the matrices must fit, with A on the right, got float32[2, 2] and float32[2, 3]"),
    *of_matrices("lu", square=False),
    *of_matrices("qr", square=False),
    *of_matrices("eigh", square=True),
    *of_matrices("svd", square=False),
]  # fmt: skip


# ---- gradients


def some_results(op: type[Op], which: Sequence[int], **attributes: Any) -> Callable[..., SSAValue]:
    """These results, flattened, one after another; of the first the sines."""

    def build(trace: Trace, *xs: SSAValue) -> SSAValue:
        lines, results = [], trace.op(op, *xs, **attributes).results
        for result in (results[i] for i in which):
            complex_ = spec_of(result.type).dtype.kind == "complex"
            for part in (trace(cx.Real, result), trace(cx.Imag, result)) if complex_ else (result,):
                lines.append(trace(shape.Reshape, part, shape=(int(np.prod(part.type.get_shape())),)))
        lines[0] = trace(ew.Sine, lines[0])
        return trace(shape.Concatenate, *lines, axis=0)

    return build


def all_results(op: type[Op], n: int, **attributes: Any) -> Callable[..., SSAValue]:
    """The first n results, as `some_results`."""
    return some_results(op, range(n), **attributes)


def of_complex(op: type[Op], n: int, **attributes: Any) -> Callable[..., SSAValue]:
    """As `all_results`, of complex operands given by their parts."""
    whole = all_results(op, n, **attributes)

    def build(trace: Trace, *parts: SSAValue) -> SSAValue:
        return whole(trace, *(trace(cx.Complex, *pair) for pair in zip(parts[::2], parts[1::2], strict=True)))

    return build


def well(n: int, seed: int = 0) -> NDArray:
    """Positive definite, with eigenvalues apart."""
    x = normal(n, n, seed=seed)
    return np.asarray(x @ x.T / n + np.diag(np.arange(1.0, n + 1)))


def triangular(n: int, *batch: int) -> NDArray:
    return np.asarray(normal(*batch, n, n, seed=3) + 3 * np.eye(n))


FLAG_SETS = [{name: bool(bits >> i & 1) for i, name in enumerate(FLAGS)} for bits in range(16)]


def right_side(flags: dict[str, bool]) -> tuple[int, int]:
    return (2, 3) if flags["left"] else (3, 2)


GRADIENTS = [
    GradientCase(fa.Cholesky, [well(3)], build=all_results(fa.Cholesky, 1)),
    GradientCase(fa.Cholesky, [np.stack([well(2), well(2, 1)])], build=all_results(fa.Cholesky, 1)),
    GradientCase(fa.Cholesky, [well(2), 0.1 * normal(2, 2)], build=of_complex(fa.Cholesky, 1)),
    *(
        GradientCase(fa.TriangularSolve, [triangular(2), normal(*right_side(flags))],
                     build=all_results(fa.TriangularSolve, 1, **flags))
        for flags in FLAG_SETS
    ),
    *(
        GradientCase(fa.TriangularSolve, [triangular(2), normal(2, 2), normal(2, 1), normal(2, 1, seed=1)],
                     build=of_complex(fa.TriangularSolve, 1, **flags))
        for flags in (FLAG_SETS[3], FLAG_SETS[9])
    ),
    *(GradientCase(fa.Lu, [normal(*n, seed=5)], build=all_results(fa.Lu, 1))
      for n in ((3, 3), (2, 3), (3, 2), (2, 2, 2))),
    *(GradientCase(fa.Lu, [normal(*n, seed=5), normal(*n, seed=4)], build=of_complex(fa.Lu, 1))
      for n in ((2, 2), (2, 3), (3, 2))),
    *(GradientCase(fa.Qr, [normal(*n, seed=6)], build=all_results(fa.Qr, 2))
      for n in ((3, 3), (2, 3), (3, 2), (2, 2, 2))),
    *(GradientCase(fa.Qr, [normal(*n, seed=6), normal(*n, seed=8)], build=of_complex(fa.Qr, 2))
      for n in ((2, 2), (2, 3), (3, 2))),
    *(GradientCase(op, [well(3)], build=some_results(op, which)) for op in (fa.Qr, fa.Eigh) for which in ((0,), (1,))),
    *(GradientCase(fa.Eigh, [well(n)], build=all_results(fa.Eigh, 2)) for n in (2, 3)),
    *(GradientCase(fa.Eigh, [well(n), 0.3 * normal(n, n)], build=of_complex(fa.Eigh, 2)) for n in (2, 3)),
    *(GradientCase(fa.Svd, [normal(*n, seed=7) + 2 * np.eye(*n)], build=all_results(fa.Svd, 3))
      for n in ((2, 2), (3, 3), (2, 4), (4, 2))),
    *(GradientCase(fa.Svd, [normal(3, 3, seed=7) + 2 * np.eye(3)], build=some_results(fa.Svd, which))
      for which in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2))),
    *(GradientCase(fa.Svd, [normal(*n, seed=7) + 2 * np.eye(*n)], build=some_results(fa.Svd, which))
      for n in ((2, 4), (4, 2)) for which in ((0,), (2,), (0, 2))),
    *(GradientCase(fa.Svd, [normal(*n, seed=7) + 2 * np.eye(*n), normal(*n)], build=of_complex(fa.Svd, 3))
      for n in ((2, 2), (2, 3), (3, 2))),
]  # fmt: skip
