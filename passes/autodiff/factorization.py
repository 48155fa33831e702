"""Gradients of factorizations.

Each follows from the derivative of the equation that the factors solve. Where the derivative divides by differences of
eigenvalues or of singular values, equal ones give zero in the place of the quotient: right for functions that depend on
the whole space of the equal ones only, as on x itself.
"""

from __future__ import annotations

from xdsl.ir import SSAValue

from dfc.ir.dtypes import int32, part_of
from dfc.ir.ops import complex as cx
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import factorization as fa
from dfc.ir.ops.indexing import TakeAlongAxis
from dfc.ir.ops.linalg import DotGeneral
from dfc.ir.ops.reduction import ArgMax, ReduceMax, ReduceSum
from dfc.ir.ops.shape import BroadcastInDim, Concatenate, Iota, Slice, Transpose
from dfc.ir.ops.sorting import ArgSort
from dfc.ir.types import tensor_type
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, rule, spec


class Algebra:
    """Matrices in a rule's words."""

    def __init__(self, b: RuleBuilder) -> None:
        self.b = b

    def times(self, x: SSAValue, y: SSAValue, *more: SSAValue) -> SSAValue:
        rank = len(spec(x).shape)
        batch = tuple(range(rank - 2))
        sides = {"lhs_contracting": (rank - 1,), "rhs_contracting": (rank - 2,)}
        product = self.b(DotGeneral, x, y, lhs_batch=batch, rhs_batch=batch, **sides)
        return self.times(product, *more) if more else product

    def transposed(self, x: SSAValue) -> SSAValue:
        rank = len(spec(x).shape)
        return self.b(Transpose, x, permutation=(*range(rank - 2), rank - 1, rank - 2))

    def adjoint(self, x: SSAValue) -> SSAValue:
        return self.b.conj(self.transposed(x))

    def add(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.b(ew.Add, x, y)

    def subtract(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.b(ew.Subtract, x, y)

    def zero(self, x: SSAValue, g: SSAValue | None) -> SSAValue:
        """The gradient of x, zeros where none flows."""
        return self.b.full(0, x) if g is None else g

    def _indices(self, x: SSAValue) -> tuple[SSAValue, SSAValue]:
        shape = spec(x).shape
        row, column = (self.b(Iota, shape=shape, dtype=int32, axis=len(shape) - i) for i in (2, 1))
        return row, column

    def where(self, direction: str, x: SSAValue) -> SSAValue:
        """x where row and column compare so, else 0: "GT" is what is below the diagonal."""
        row, column = self._indices(x)
        return self.b(ew.Select, self.b.compare(direction, row, column), x, self.b.full(0, x))

    def real_diagonal(self, x: SSAValue) -> SSAValue:
        """The real part of the diagonal, with zeros around it."""
        only = self.where("EQ", x)
        half = self.b.full(0.5, x)
        return self.b(ew.Multiply, half, self.b(ew.Add, only, self.b.conj(only))) if _complex(x) else only

    def half_lower(self, x: SSAValue) -> SSAValue:
        """What is below the diagonal, and half of the diagonal."""
        diagonal = self.b(ew.Multiply, self.where("EQ", x), self.b.full(0.5, x))
        return self.add(self.where("GT", x), diagonal)

    def of_lower(self, x: SSAValue) -> SSAValue:
        """The gradient of a matrix that is read below the diagonal, from x, the gradient of the whole one."""
        return self.half_lower(self.add(x, self.adjoint(x)))

    def solve(
        self,
        a: SSAValue,
        x: SSAValue,
        *,
        lower: bool,
        left: bool = True,
        unit: bool = False,
        adjoint: bool = False,
    ) -> SSAValue:
        return self.b.op(fa.TriangularSolve, a, x, left=left, lower=lower, unit_diagonal=unit, adjoint=adjoint).results[
            0
        ]

    def part(self, x: SSAValue, rows: tuple[int, int], columns: tuple[int, int]) -> SSAValue:
        shape = spec(x).shape
        starts = (*(0 for _ in shape[:-2]), rows[0], columns[0])
        limits = (*shape[:-2], rows[1], columns[1])
        return self.b(Slice, x, starts=starts, limits=limits, strides=(1,) * len(shape))

    def join(self, x: SSAValue, y: SSAValue, axis: int) -> SSAValue:
        return self.b(Concatenate, x, y, axis=len(spec(x).shape) + axis)

    def columns_times(self, x: SSAValue, line: SSAValue) -> SSAValue:
        """Each column of x times its element of a line."""
        return self.b(ew.Multiply, x, self.line(line, x, -1))

    def rows_times(self, line: SSAValue, x: SSAValue) -> SSAValue:
        return self.b(ew.Multiply, self.line(line, x, -2), x)

    def line(self, line: SSAValue, like: SSAValue, axis: int) -> SSAValue:
        """A line's elements along an axis of matrices like these, in their dtype."""
        shape, dtype = spec(like)
        if spec(line).dtype is not dtype:
            line = self.b(ew.Convert, line, dtype=dtype)
        return self.b(BroadcastInDim, line, shape=shape, dims=(*range(len(shape) - 2), len(shape) + axis))

    def inverse_or_zero(self, x: SSAValue) -> SSAValue:
        """1 / x, and 0 for 0."""
        zero, one = self.b.full(0, x), self.b.full(1, x)
        is_zero = self.b.compare("EQ", x, zero)
        quotient = self.b(ew.Divide, one, self.b(ew.Select, is_zero, one, x))
        return self.b(ew.Select, is_zero, zero, quotient)

    def inverse_differences(self, values: SSAValue, like: SSAValue, *, squares: bool = False) -> SSAValue:
        """1 / (values[j] - values[i]) at row i and column j, or of their squares, and 0 where they are equal.

        Squares differ by (x - y) (x + y): in x x - y y a compiler may fuse one product into the subtraction, which then
        leaves that product's rounding error, not 0, where x = y.
        """
        shape, dtype = spec(like).shape, spec(values).dtype
        places = [(*range(len(shape) - 2), len(shape) - i) for i in (1, 2)]
        across, down = (self.b(BroadcastInDim, values, shape=shape, dims=dims) for dims in places)
        difference = self.subtract(across, down)
        if squares:
            difference = self.b(ew.Multiply, difference, self.add(across, down))
        found = self.inverse_or_zero(difference)
        return found if spec(like).dtype is dtype else self.b(ew.Convert, found, dtype=spec(like).dtype)


def _complex(x: SSAValue) -> bool:
    return spec(x).dtype.kind == "complex"


@rule(fa.Cholesky)
def cholesky(op: fa.Cholesky, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """L^-H P(L^H g) L^-1, where P takes the lower triangle with half of the diagonal."""
    m, (g,), lower = Algebra(b), grads, op.results[0]
    inner = m.half_lower(m.times(m.adjoint(lower), m.where("GE", g)))
    left = m.solve(lower, inner, lower=True, adjoint=True)
    return [m.of_lower(m.solve(lower, left, lower=True, left=False))]


@rule(fa.TriangularSolve)
def triangular_solve(op: fa.TriangularSolve, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    m, (g,), a, x = Algebra(b), grads, op.operands[0], op.results[0]
    left, lower, unit, adjoint = (flag.data for flag in (op.left, op.lower, op.unit_diagonal, op.adjoint))
    by_b = m.solve(a, g, left=left, lower=lower, unit=unit, adjoint=not adjoint)

    def by_a() -> SSAValue:
        product = m.times(by_b, m.adjoint(x)) if left else m.times(m.adjoint(x), by_b)
        whole = b(ew.Negate, m.adjoint(product) if adjoint else product)
        return m.where({True: "G", False: "L"}[lower] + ("T" if unit else "E"), whole)

    return [by_a, by_b]


@rule(fa.Lu)
def lu(op: fa.Lu, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """Of a square matrix L^-H (below(L^H gL) + above(gU U^H)) U^-H; the rest of a wide U or of a tall L follows from
    the square part by one triangular solution. The rows go back to where they came from."""
    m, g, packed = Algebra(b), grads[0], op.results[0]
    if g is None:
        return [None]
    rows, columns = (int(n) for n in spec(packed).shape[-2:])
    least = min(rows, columns)
    square, g_square = (m.part(v, (0, least), (0, least)) for v in (packed, g))
    identity = m.where("EQ", b.full(1, square))
    low, up = m.add(m.where("GT", square), identity), m.where("LE", square)
    g_low, g_up, rest = m.where("GT", g_square), m.where("LE", g_square), None
    if columns > least:
        beside, g_beside = (m.part(v, (0, least), (least, columns)) for v in (packed, g))
        rest = m.solve(square, g_beside, lower=True, unit=True, adjoint=True)
        g_low = m.where("GT", m.subtract(g_low, m.times(rest, m.adjoint(beside))))
    if rows > least:
        below, g_below = (m.part(v, (least, rows), (0, least)) for v in (packed, g))
        rest = m.solve(square, g_below, left=False, lower=False, adjoint=True)
        g_up = m.where("LE", m.subtract(g_up, m.times(m.adjoint(below), rest)))
    inner = m.add(m.where("GT", m.times(m.adjoint(low), g_low)), m.where("LE", m.times(g_up, m.adjoint(up))))
    found = m.solve(square, inner, lower=True, unit=True, adjoint=True)
    found = m.solve(square, found, left=False, lower=False, adjoint=True)
    if rest is not None:
        found = m.join(found, rest, -1 if columns > least else -2)
    return [_rows_back(found, op.results[2], b)]


def _rows_back(x: SSAValue, permutation: SSAValue, b: RuleBuilder) -> SSAValue:
    """The matrix whose row permutation[i] is row i of x."""
    shape = spec(x).shape
    axis = len(shape) - 2
    origins = b(ArgSort, permutation, axis=axis, descending=False, dtype=int32)
    places = b(BroadcastInDim, origins, shape=shape, dims=tuple(range(axis + 1)))
    return b(TakeAlongAxis, x, places, axis=axis)


@rule(fa.Qr)
def qr(op: fa.Qr, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """With W = gR R^H - Q^H gQ and S = above(W) + above(W)^H + Re diag(W) it is (gQ + Q S) R^-H. The rest of a wide R
    is Q^H times the rest of x."""
    m, q, r = Algebra(b), op.results[0], SSAValue.get(op.results[1])
    g_q, g_r = (m.zero(v, g) for v, g in zip((q, r), grads, strict=True))
    least, columns = (int(n) for n in spec(r).shape[-2:])
    rest = None
    if columns > least:
        x = m.part(op.operands[0], (0, least), (least, columns))
        g_beside = m.part(g_r, (0, least), (least, columns))
        rest = m.times(q, g_beside)
        g_q = m.add(g_q, m.times(x, m.adjoint(g_beside)))
        r, g_r = (m.part(v, (0, least), (0, least)) for v in (r, g_r))
    g_r = m.where("LE", g_r)
    w = m.subtract(m.times(g_r, m.adjoint(r)), m.times(m.adjoint(q), g_q))
    above = m.where("LT", w)
    symmetric = m.add(m.add(above, m.adjoint(above)), m.real_diagonal(w))
    found = m.solve(r, m.add(g_q, m.times(q, symmetric)), left=False, lower=False, adjoint=True)
    return [found if rest is None else m.join(found, rest, -1)]


def _along(x: SSAValue, y: SSAValue, b: RuleBuilder) -> SSAValue:
    """The imaginary part of each column of x^H times the same column of y: how far y turns x's phases."""
    product = b(ew.Multiply, b.conj(x), y)
    return b(cx.Imag, b(ReduceSum, product, axes=(len(spec(x).shape) - 2,)))


def _imaginary(line: SSAValue, b: RuleBuilder) -> SSAValue:
    return b(cx.Complex, b.full(0, line), line)


def _in_phase(vectors: SSAValue, g: SSAValue, turning: SSAValue, b: RuleBuilder) -> SSAValue:
    """The gradient of complex vectors, before their phases are chosen, from that of the normalised ones.

    Normalising turns a vector v by -Im(dv[i]) / v[i], where i is its leading component (see `df.eigh`), and `turning`
    says for each vector what comes of a turn.
    """
    m, (shape, dtype) = Algebra(b), spec(vectors)
    axis, real = len(shape) - 2, part_of(dtype)
    size = b(ew.Abs, vectors)
    enough = b(ew.Multiply, b(ReduceMax, size, axes=(axis,)), b.full_of(fa.NEARLY, turning.type))
    near = b(ew.Convert, b.compare("GE", size, m.line(enough, size, -1)), dtype=int32)
    first = b(ArgMax, near, axis=axis, dtype=int32)
    row = b(Iota, shape=shape, dtype=int32, axis=axis)
    leads = b.compare("EQ", row, m.line(first, row, -1))
    only = b(ew.Select, leads, b(cx.Real, vectors), b.full_of(0, tensor_type(shape, real)))
    by_turn = b(ew.Divide, turning, b(ReduceSum, only, axes=(axis,)))
    correction = b(ew.Select, leads, m.line(_imaginary(by_turn, b), vectors, -1), b.full(0, vectors))
    return m.subtract(g, correction)


@rule(fa.Eigh)
def eigh(op: fa.Eigh, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """V (diag(gw) + F * (V^H gV)) V^H with F[i, j] = 1 / (w[j] - w[i])."""
    m, (w, v), (g_w, g_v) = Algebra(b), op.results, grads
    inner = m.where("EQ", m.line(m.zero(w, g_w), v, -1))
    if g_v is not None:
        if _complex(v):
            g_v = _in_phase(v, g_v, _along(v, g_v, b), b)
        factors = m.inverse_differences(w, v)
        inner = m.add(inner, b(ew.Multiply, factors, m.times(m.adjoint(v), g_v)))
    return [m.of_lower(m.times(v, inner, m.adjoint(v)))]


@rule(fa.Svd)
def svd(op: fa.Svd, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    """Of the values U diag(gs) Vh. Of the vectors, with F[i, j] = 1 / (s[j]^2 - s[i]^2),

    U ((F * (U^H gU - gU^H U)) S + S (F * (V^H gV - gV^H V))) V^H + (1 - U U^H) gU S^-1 V^H + U S^-1 gV^H (1 - V V^H),

    and of complex ones U diag(i Im(U^H gU)) S^-1 V^H, since the phases of U follow from those of V.
    """
    m, (u, s, vh), (g_u, g_s, g_vh) = Algebra(b), op.results, grads
    found = m.times(m.columns_times(u, m.zero(s, g_s)), vh)
    if g_u is None and g_vh is None:
        return [found]
    g_u, g_vh = m.zero(u, g_u), m.zero(vh, g_vh)
    inverse = m.inverse_or_zero(s)
    if _complex(u):
        turning = b(ew.Add, _along(u, g_u, b), _along(m.adjoint(vh), m.adjoint(g_vh), b))
        g_u = _in_phase(u, g_u, turning, b)
        turned = _imaginary(b(ew.Multiply, _along(u, g_u, b), inverse), b)
        found = m.add(found, m.times(m.columns_times(u, turned), vh))
    rows, least = spec(u).shape[-2:]
    columns = spec(vh).shape[-1]
    by_u, by_v = m.times(m.adjoint(u), g_u), m.times(vh, m.adjoint(g_vh))
    factors = m.inverse_differences(s, by_u, squares=True)
    turned_u, turned_v = (b(ew.Multiply, factors, m.subtract(t, m.adjoint(t))) for t in (by_u, by_v))
    inner = m.add(m.columns_times(turned_u, s), m.rows_times(s, turned_v))
    found = m.add(found, m.times(u, inner, vh))
    if rows != least:
        outside = m.subtract(g_u, m.times(u, by_u))
        found = m.add(found, m.times(m.columns_times(outside, inverse), vh))
    if columns != least:
        outside = m.subtract(g_vh, m.times(m.adjoint(by_v), vh))
        found = m.add(found, m.times(u, m.rows_times(inverse, outside)))
    return [found]
