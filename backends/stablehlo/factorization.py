"""Emission of factorizations: StableHLO's own where it has them, else calls of LAPACK, which CPUs alone have.

XLA takes LAPACK's routines from SciPy (see `initialise_lapack` in `backends/compile_cache.py`); they want matrices with
columns one after another, which the calls' layouts say.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxlib.mlir import ir

from dfc.backends.stablehlo.elementwise import comparison
from dfc.backends.stablehlo.emit import Emitter, integer, integers
from dfc.backends.stablehlo.rules import Value, rule
from dfc.ir.dims import Shape, size
from dfc.ir.dtypes import DType, bool_, complex64, complex128, float32, float64, int32, part_of
from dfc.ir.op import Op
from dfc.ir.ops.factorization import NEARLY, Cholesky, Eigh, Lu, Qr, Svd, TriangularSolve
from dfc.ir.types import Spec, spec_of

LETTERS = {float32: "s", float64: "d", complex64: "c", complex128: "z"}


class Matrices:
    """Makes ops for one batch of matrices of one dtype."""

    def __init__(self, emitter: Emitter, spec: Spec) -> None:
        self.emitter, self.dtype = emitter, spec.dtype
        self.batch: Shape = spec.shape[:-2]
        self.rows, self.columns = (int(n) for n in spec.shape[-2:])
        self.least = min(self.rows, self.columns)
        self.axis = len(self.batch)  # of the rows

    def op(self, name: str, shape: Shape, dtype: DType, *operands: Value) -> Value:
        return self.emitter.create(f"stablehlo.{name}", self.emitter.tensor(shape, dtype), operands)

    def spread(self, value: Value, axes: Sequence[int], shape: Shape, dtype: DType) -> Value:
        """The value with its axes at these places, repeated along the others."""
        where = {"broadcast_dimensions": integers(axes)}
        return self.emitter.create("stablehlo.broadcast_in_dim", self.emitter.tensor(shape, dtype), [value], where)

    def over_batch(self, value: Value, shape: Shape, dtype: DType) -> Value:
        return self.spread(value, range(self.axis), shape, dtype)

    def select(self, condition: Value, yes: Value, no: Value) -> Value:
        return self.emitter.create("stablehlo.select", yes.type, [condition, yes, no])

    def compare(self, direction: str, x: Value, y: Value, shape: Shape, dtype: DType) -> Value:
        return comparison(self.emitter, direction, dtype, x, y, self.emitter.tensor(shape, bool_))

    def iota(self, shape: Shape, axis: int) -> Value:
        along = {"iota_dimension": integer(axis)}
        return self.emitter.create("stablehlo.iota", self.emitter.tensor(shape, int32), [], along)

    def reduce(self, name: str, x: Value, initial: Value, axes: Sequence[int], shape: Shape, dtype: DType) -> Value:
        scalar = self.emitter.tensor((), dtype)
        return self.emitter.reduce(
            [x],
            [initial],
            axes,
            [self.emitter.tensor(shape, dtype)],
            lambda pair: [self.emitter.create(f"stablehlo.{name}", scalar, pair)],
        )[0]

    def call(self, routine: str, operands: Sequence[Value], results: Sequence[Spec], **letters: str) -> list[Value]:
        """A call of LAPACK; `letters` are its options."""
        byte = ir.IntegerType.get_unsigned(8)
        options: dict[str, ir.Attribute] = {
            name: ir.IntegerAttr.get(byte, ord(letter)) for name, letter in letters.items()
        }
        ranks = [len(ir.RankedTensorType(v.type).shape) for v in operands]
        attributes: dict[str, ir.Attribute] = {
            "call_target_name": ir.StringAttr.get(f"lapack_{LETTERS[self.dtype]}{routine}_ffi"),
            "api_version": ir.IntegerAttr.get(ir.IntegerType.get_signless(32), 4),
            "backend_config": ir.DictAttr.get(options),
            "operand_layouts": ir.ArrayAttr.get([self._layout(rank) for rank in ranks]),
            "result_layouts": ir.ArrayAttr.get([self._layout(len(shape)) for shape, _ in results]),
        }
        types = [self.emitter.tensor(*spec) for spec in results]
        return self.emitter.with_bodies("stablehlo.custom_call", types, operands, attributes, [])

    def _layout(self, rank: int) -> ir.Attribute:
        order = list(range(rank))[::-1]
        if rank == self.axis + 2:
            order[:2] = [self.axis, self.axis + 1]
        return ir.Attribute.parse(f"dense<{order if order else ''}> : tensor<{rank}xindex>")

    # ---- what LAPACK's results need

    def finite(self, x: Value) -> Value:
        """For each matrix whether all elements are finite."""
        shape = (*self.batch, self.rows, self.columns)
        difference = self.op("subtract", shape, self.dtype, x, x)
        flags = self.compare("EQ", difference, difference, shape, self.dtype)
        true = self.emitter.scalar(True, bool_)
        return self.reduce("and", flags, true, (self.axis, self.axis + 1), self.batch, bool_)

    def succeeded(self, x: Value, info: Value) -> Value:
        done = self.compare("EQ", info, self.emitter.filled(0, self.batch, int32), self.batch, int32)
        return self.op("and", self.batch, bool_, self.finite(x), done)

    def kept(self, valid: Value, value: Value, spec: Spec, other: Value | None = None) -> Value:
        """The value of valid matrices, else `other`, or NaN."""
        shape, dtype = spec
        nan = self.emitter.filled(float("nan"), shape, dtype) if other is None else other
        return self.select(self.over_batch(valid, shape, bool_), value, nan)

    def triangle(self, x: Value, shape: Shape, *, lower: bool) -> Value:
        """x with zeros on the other side of the diagonal."""
        row, column = (self.iota(shape, axis) for axis in (self.axis, self.axis + 1))
        inside = self.compare("GE" if lower else "LE", row, column, shape, int32)
        return self.select(inside, x, self.emitter.filled(0, shape, self.dtype))

    def real_diagonal(self, x: Value, shape: Shape) -> Value:
        """x without the imaginary parts of its diagonal."""
        if self.dtype.kind != "complex":
            return x
        part = part_of(self.dtype)
        row, column = (self.iota(shape, axis) for axis in (self.axis, self.axis + 1))
        on_diagonal = self.compare("EQ", row, column, shape, int32)
        real, none = self.op("real", shape, part, x), self.emitter.filled(0, shape, part)
        return self.select(on_diagonal, self.op("complex", shape, self.dtype, real, none), x)

    def conj(self, x: Value, shape: Shape) -> Value:
        if self.dtype.kind != "complex":
            return x
        part = part_of(self.dtype)
        im = self.op("negate", shape, part, self.op("imag", shape, part, x))
        return self.op("complex", shape, self.dtype, self.op("real", shape, part, x), im)

    def phases(self, values: Value, shape: Shape) -> Value:
        """See `dfc.ir.ops.factorization.phases`."""
        emitter, dtype = self.emitter, self.dtype
        zero, one = (emitter.filled(n, shape, dtype) for n in (0, 1))
        if dtype.kind != "complex":
            negative = self.compare("LT", values, zero, shape, dtype)
            return self.select(negative, emitter.filled(-1, shape, dtype), one)
        part = part_of(dtype)
        length = self.op("abs", shape, part, values)
        length = self.op("complex", shape, dtype, length, emitter.filled(0, shape, part))
        turned = self.op("divide", shape, dtype, self.conj(values, shape), length)
        return self.select(self.compare("EQ", values, zero, shape, dtype), one, turned)

    def leading(self, vectors: Value, rows: int, columns: int) -> Value:
        """See `dfc.ir.ops.factorization.leading`."""
        emitter, part = self.emitter, part_of(self.dtype)
        shape, line = (*self.batch, rows, columns), (*self.batch, columns)
        places = [*range(self.axis), self.axis + 1]
        length = self.op("abs", shape, part, vectors)
        largest = self.reduce("maximum", length, emitter.scalar(0, part), [self.axis], line, part)
        enough = self.op("multiply", line, part, largest, emitter.filled(NEARLY, line, part))
        near = self.compare("GE", length, self.spread(enough, places, shape, part), shape, part)
        row = self.iota(shape, self.axis)
        candidates = self.select(near, row, emitter.filled(rows, shape, int32))
        first = self.reduce("minimum", candidates, emitter.scalar(rows, int32), [self.axis], line, int32)
        chosen = self.compare("EQ", row, self.spread(first, places, shape, int32), shape, int32)
        only = self.select(chosen, vectors, emitter.filled(0, shape, self.dtype))
        return self.reduce("add", only, emitter.scalar(0, self.dtype), [self.axis], line, self.dtype)

    def scaled(self, x: Value, factors: Value, shape: Shape, *, rows: bool) -> Value:
        """x with each row, or each column, times its factor."""
        places = [*range(self.axis), self.axis if rows else self.axis + 1]
        return self.op("multiply", shape, self.dtype, x, self.spread(factors, places, shape, self.dtype))


def _empty(emitter: Emitter, op: Op) -> list[Value] | None:
    """Results for an operand without elements, all of whose factors have none either; else None."""
    if size(spec_of(op.operands[0].type).shape) != 0:
        return None
    return [emitter.filled(0, *spec_of(result.type)) for result in op.results]


@rule(Cholesky)
def cholesky(emitter: Emitter, op: Cholesky, operands: list[Value]) -> list[Value]:
    spec = spec_of(op.x.type)
    if (empty := _empty(emitter, op)) is not None:
        return empty
    m, (x,) = Matrices(emitter, spec), operands
    read = m.real_diagonal(x, spec.shape)  # the diagonal of a Hermitian matrix; XLA would take the imaginary parts too
    found = emitter.create("stablehlo.cholesky", x.type, [read], {"lower": ir.BoolAttr.get(True)})
    found = m.triangle(found, spec.shape, lower=True)
    valid = m.op("and", m.batch, bool_, m.finite(x), m.finite(found))
    nan = m.triangle(emitter.filled(float("nan"), *spec), spec.shape, lower=True)
    return [m.kept(valid, found, spec, nan)]


@rule(TriangularSolve)
def triangular_solve(emitter: Emitter, op: TriangularSolve, operands: list[Value]) -> list[Value]:
    spec = spec_of(op.result.type)
    if size(spec.shape) == 0:
        return [operands[1]]
    attributes = {
        "left_side": ir.BoolAttr.get(op.left.data),
        "lower": ir.BoolAttr.get(op.lower.data),
        "unit_diagonal": ir.BoolAttr.get(op.unit_diagonal.data),
        "transpose_a": ir.Attribute.parse(f"#stablehlo<transpose {'ADJOINT' if op.adjoint.data else 'NO_TRANSPOSE'}>"),
    }
    return [emitter.create("stablehlo.triangular_solve", emitter.tensor(*spec), operands, attributes)]


@rule(Lu)
def lu(emitter: Emitter, op: Lu, operands: list[Value]) -> list[Value]:
    (x,), spec = operands, spec_of(op.x.type)
    m = Matrices(emitter, spec)
    line, order = (*m.batch, m.least), (*m.batch, m.rows)
    if size(spec.shape) == 0:
        return [x, emitter.filled(0, line, int32), m.iota(order, m.axis)]
    found, pivots, _ = m.call("getrf", [x], [spec, Spec(line, int32), Spec(m.batch, int32)])
    pivots = m.op("subtract", line, int32, pivots, emitter.filled(1, line, int32))
    valid = m.finite(x)
    pivots = m.kept(valid, pivots, Spec(line, int32), m.iota(line, m.axis))
    return [m.kept(valid, found, spec), pivots, _permutation(m, pivots, line, order)]


def _permutation(m: Matrices, pivots: Value, line: Shape, order: Shape) -> Value:
    """The rows' order after exchanging row i with row pivots[i], for each i."""
    emitter, axis = m.emitter, m.axis
    place, step_at = m.iota(order, axis), m.iota(line, axis)
    zero, one = (emitter.scalar(n, int32) for n in (0, 1))

    def element(values: Value, where: Value, shape: Shape) -> Value:
        only = m.select(where, values, emitter.filled(0, shape, int32))
        return m.reduce("add", only, zero, [axis], m.batch, int32)

    def more(state: Sequence[Value]) -> Sequence[Value]:
        return [m.compare("LT", state[0], emitter.scalar(m.least, int32), (), int32)]

    def exchange(state: Sequence[Value]) -> Sequence[Value]:
        step, rows, pivots = state
        here = m.compare("EQ", step_at, m.spread(step, (), line, int32), line, int32)
        pivot = m.over_batch(element(pivots, here, line), order, int32)
        first = m.compare("EQ", place, m.spread(step, (), order, int32), order, int32)
        second = m.compare("EQ", place, pivot, order, int32)
        one_row, other_row = (m.over_batch(element(rows, where, order), order, int32) for where in (first, second))
        moved = m.select(first, other_row, m.select(second, one_row, rows))
        return [m.op("add", (), int32, step, one), moved, pivots]

    return emitter.loop([zero, place, pivots], more, exchange)[1]


@rule(Qr)
def qr(emitter: Emitter, op: Qr, operands: list[Value]) -> list[Value]:
    (x,), spec = operands, spec_of(op.x.type)
    if (empty := _empty(emitter, op)) is not None:
        return empty
    m = Matrices(emitter, spec)
    dtype, line = m.dtype, (*m.batch, m.least)
    q_shape, r_shape = (*m.batch, m.rows, m.least), (*m.batch, m.least, m.columns)
    packed, factors = m.call("geqrf", [x], [spec, Spec(line, dtype)])
    generate = "ungqr" if dtype.kind == "complex" else "orgqr"
    (q,) = m.call(generate, [_part(m, packed, m.rows, m.least), factors], [Spec(q_shape, dtype)])
    r = m.triangle(_part(m, packed, m.least, m.columns), r_shape, lower=False)
    row, column = (m.iota(r_shape, axis) for axis in (m.axis, m.axis + 1))
    on_diagonal = m.compare("EQ", row, column, r_shape, int32)
    only = m.select(on_diagonal, r, emitter.filled(0, r_shape, dtype))
    diagonal = m.reduce("add", only, emitter.scalar(0, dtype), [m.axis + 1], line, dtype)
    turn = m.phases(diagonal, line)
    q = m.scaled(q, m.conj(turn, line), q_shape, rows=False)
    r = m.scaled(r, turn, r_shape, rows=True)
    valid = m.finite(x)
    return [m.kept(valid, q, Spec(q_shape, dtype)), m.kept(valid, r, Spec(r_shape, dtype))]


def _part(m: Matrices, x: Value, rows: int, columns: int) -> Value:
    """The first rows and columns."""
    sizes = [*(int(n) for n in m.batch), rows, columns]
    attributes = {
        "start_indices": integers([0] * len(sizes)),
        "limit_indices": integers(sizes),
        "strides": integers([1] * len(sizes)),
    }
    return m.emitter.create("stablehlo.slice", m.emitter.tensor(sizes, m.dtype), [x], attributes)


@rule(Eigh)
def eigh(emitter: Emitter, op: Eigh, operands: list[Value]) -> list[Value]:
    (x,), spec = operands, spec_of(op.x.type)
    if (empty := _empty(emitter, op)) is not None:
        return empty
    m, values_spec = Matrices(emitter, spec), spec_of(op.w.type)
    routine = "heevd" if m.dtype.kind == "complex" else "syevd"
    results = [spec, values_spec, Spec(m.batch, int32)]
    vectors, values, info = m.call(routine, [x], results, mode="V", uplo="L")
    turn = m.phases(m.leading(vectors, m.rows, m.rows), spec.shape[:-1])
    vectors = m.scaled(vectors, turn, spec.shape, rows=False)
    valid = m.succeeded(x, info)
    return [m.kept(valid, values, values_spec), m.kept(valid, vectors, spec)]


@rule(Svd)
def svd(emitter: Emitter, op: Svd, operands: list[Value]) -> list[Value]:
    (x,), spec = operands, spec_of(op.x.type)
    if (empty := _empty(emitter, op)) is not None:
        return empty
    m, (u_spec, s_spec, vh_spec) = Matrices(emitter, spec), (spec_of(r.type) for r in op.results)
    results = [spec, s_spec, u_spec, vh_spec, Spec(m.batch, int32)]
    _, s, u, vh, info = m.call("gesdd", [x], results, mode="S")
    line = (*m.batch, m.least)
    turn = m.phases(m.leading(u, m.rows, m.least), line)
    u = m.scaled(u, turn, u_spec.shape, rows=False)
    vh = m.scaled(vh, m.conj(turn, line), vh_spec.shape, rows=True)
    valid = m.succeeded(x, info)
    return [m.kept(valid, value, each) for value, each in ((u, u_spec), (s, s_spec), (vh, vh_spec))]
