"""Programs for tests: `Trace` writes one by hand, `random_program` makes a valid one at random.

A random program is built while its values are computed, so that every op gets operands on which it is defined, and,
for gradients, smooth in a neighbourhood: no kinks, no poles, no huge numbers. It depends on `choose` alone:
`choose(n)` is an int in [0, n), from Hypothesis (`lambda n: data.draw(integers(0, n - 1))`) or from
`random.Random(seed).randrange`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from dfc.errors import DfcError
from dfc.ir import attributes, dtypes
from dfc.ir import locations as loc
from dfc.ir.attributes import Array
from dfc.ir.builder import Builder, create
from dfc.ir.dims import Dim
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.op import Op
from dfc.ir.ops import elementwise as ew
from dfc.ir.ops import linalg, reduction, shape, state
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.function import Func, Gradients, Return, single_block_region
from dfc.ir.types import Spec, spec_of, tensor_type

NDArray = np.ndarray[Any, Any]
Inputs = Mapping[str, tuple[Sequence[Dim], DType | str]]
LINE = loc.file_location("model.py", 1, 1)


class Trace:
    """A function under construction: `trace(Add, x, y)` adds an op, `finish` ends it."""

    def __init__(
        self,
        inputs: Mapping[str, tuple[Sequence[Dim], DType | str]],
        *,
        name: str = "f",
        module: ModuleOp | None = None,
    ) -> None:
        specs = [Spec(tuple(s), as_dtype(d)) for s, d in inputs.values()]
        region, self.block = single_block_region([tensor_type(*s) for s in specs])
        names = {"sym_name": name, "arg_names": tuple(inputs), "result_names": ()}
        self.func = create(Func, attributes=names, regions=[region], location=LINE)
        self.module = ModuleOp([]) if module is None else module
        self.module.body.block.add_op(self.func)
        self.b = Builder(self.block, location=LINE)
        self.inputs = list(self.block.args)

    def __call__(self, cls: type[Op], *operands: SSAValue, **attributes: Any) -> SSAValue:
        return self.b(cls, *operands, **attributes)

    def op(self, cls: type[Op], *operands: SSAValue, **attributes: Any) -> Any:
        return self.b.op(cls, *operands, **attributes)

    def constant(self, value: Any, dtype: DType | str = "float64") -> SSAValue:
        return self.b(ConstantOp, value=Array.of(np.asarray(value, as_dtype(dtype).numpy)))

    def variable(self, name: str, shape: Sequence[int], dtype: DType | str = "float64") -> SSAValue:
        return self.b(state.Variable, variable=name, shape=tuple(shape), dtype=as_dtype(dtype))

    def at(self, line: int) -> None:
        """Ops from here on stand on this line of model.py."""
        self.b.location = loc.file_location("model.py", line, 1)

    def sum(self, x: SSAValue) -> SSAValue:
        return self.b(reduction.ReduceSum, x, axes=tuple(range(len(spec_of(x.type).shape))))

    def gradients(
        self, ys: Sequence[SSAValue], xs: Sequence[SSAValue], kinds: Sequence[str], grad_ys: Sequence[SSAValue] = ()
    ) -> list[SSAValue]:
        op = self.b.op(Gradients, *ys, *xs, *grad_ys, n_ys=len(ys), n_xs=len(xs), kinds=tuple(kinds))
        return list(op.results)

    def finish(self, outputs: Sequence[SSAValue], tokens: Sequence[SSAValue] = ()) -> ModuleOp:
        """Return these values and give back the verified program."""
        self.b.op(Return, *outputs, *tokens)
        names = tuple(f"output_{i}" for i in range(len(outputs)))
        self.func.properties["result_names"] = attributes.make(attributes.Texts, names)
        self.module.verify()
        return self.module


# ---- random programs

FAMILIES = ("elementwise", "linalg", "reduction", "shape", "constant", "state")
SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (2, 3), (3, 2), (2, 1, 3))
LARGEST = 8.0
MARGIN = 0.05


@dataclass
class RandomProgram:
    """An unfinished function, its inputs' and variables' values, values worth returning with what they are, and the
    variables' values after it (`state`)."""

    trace: Trace
    arguments: list[NDArray]
    variables: dict[str, NDArray]
    outputs: list[SSAValue]
    expected: list[NDArray]
    refs: list[SSAValue]
    tokens: list[SSAValue] = field(default_factory=list)
    state: dict[str, NDArray] = field(default_factory=dict)


def random_program(
    choose: Callable[[int], int],
    *,
    families: Sequence[str] = FAMILIES,
    dtype: DType | str = "float64",
    n_ops: int = 12,
    smooth: bool = True,
) -> RandomProgram:
    """A program over `families` with up to `n_ops` floating intermediate values of `dtype`.

    `smooth=True` leaves out what finite differences and gradients see differently: writes and stop_gradient.
    """
    return _Generator(choose, as_dtype(dtype), smooth).program(families, n_ops)


@dataclass
class _Known:
    """A value of the program and what it is."""

    value: SSAValue
    array: NDArray


class _Generator:
    def __init__(self, choose: Callable[[int], int], dtype: DType, smooth: bool) -> None:
        self.choose, self.dtype, self.smooth = choose, dtype, smooth
        self.random = np.random.default_rng(choose(1 << 16))
        arguments = [self.numbers(self.pick(SHAPES)) for _ in range(1 + choose(3))]
        self.trace = Trace({f"x{i}": (a.shape, dtype) for i, a in enumerate(arguments)})
        self.pool = [_Known(v, a) for v, a in zip(self.trace.inputs, arguments, strict=True)]
        self.state: dict[str, NDArray] = {}
        self.refs: dict[str, SSAValue] = {}
        self.writes: dict[str, list[SSAValue]] = {}  # the token of each variable's last write
        self.reads: dict[str, list[SSAValue]] = {}  # those of the reads since
        self.program_ = RandomProgram(self.trace, arguments, {}, [], [], [])

    def program(self, families: Sequence[str], n_ops: int) -> RandomProgram:
        makers = [maker for family in families for maker in MAKERS[family]]
        for _ in range(3 * n_ops):
            made = self.pick(makers)(self)
            if made is not None:
                self.pool.append(made)
            if len(self.pool) >= n_ops + len(self.program_.arguments):
                break
        made_last = self.pool[-min(3, len(self.pool)) :]
        self.program_.outputs = [k.value for k in made_last]
        self.program_.expected = [k.array for k in made_last]
        self.program_.refs = list(self.refs.values())
        self.program_.tokens = [token for tokens in self.writes.values() for token in tokens]
        self.program_.state = self.state
        return self.program_

    # ---- choosing

    def pick(self, items: Sequence[Any]) -> Any:
        return items[self.choose(len(items))]

    def any(self) -> _Known:
        """Latest first, so that programs grow deep and Hypothesis shrinks towards chains."""
        return self.pool[-1 - self.choose(len(self.pool))]

    def like(self, other: _Known) -> _Known:
        """A value of the same shape."""
        return self.pick([k for k in self.pool if k.array.shape == other.array.shape])

    def axes(self, rank: int) -> tuple[int, ...]:
        return tuple(axis for axis in range(rank) if self.choose(2))

    def numbers(self, size: tuple[int, ...]) -> NDArray:
        """Normal numbers at least 0.1 from zero."""
        drawn = self.random.normal(size=size)
        return np.asarray(np.sign(drawn) * (np.abs(drawn) + 0.1), self.dtype.numpy)

    # ---- adding

    def add(self, cls: type[Op], *operands: _Known, keep: bool = True, **attributes: Any) -> _Known | None:
        """The op's result, or None, and nothing added, if the op doesn't take these operands or its result is wild."""
        try:
            cls.infer([o.value.type for o in operands], attributes)
        except DfcError:
            return None
        (array,) = cls.evaluate([o.array for o in operands], attributes)
        if keep and (not np.isfinite(array).all() or np.abs(array).max(initial=0) > LARGEST or array.size > 64):
            return None
        return _Known(self.trace(cls, *(o.value for o in operands), **attributes), np.array(array))

    def floating(self, made: _Known | None) -> _Known | None:
        """A boolean or an index as a number, so that the program can go on with it."""
        return None if made is None else self.add(ew.Convert, made, dtype=self.dtype)


Maker = Callable[[_Generator], _Known | None]


def _unary(cls: type[Op], safe: Callable[[NDArray], Any] = lambda x: True) -> Maker:
    def make(g: _Generator) -> _Known | None:
        x = g.any()
        return g.add(cls, x) if np.all(safe(x.array)) else None

    return make


def _binary(cls: type[Op], safe: Callable[[NDArray, NDArray], Any] = lambda x, y: True) -> Maker:
    def make(g: _Generator) -> _Known | None:
        x = g.any()
        y = g.like(x)
        return g.add(cls, x, y) if np.all(safe(x.array, y.array)) else None

    return make


def _positive(x: NDArray) -> Any:
    return x > 0.2


def _between_integers(x: NDArray, at: float = 0.0) -> Any:
    return np.abs((x - at) - np.rint(x - at)) > MARGIN


def _apart(x: NDArray, y: NDArray) -> Any:
    return np.abs(x - y) > MARGIN


def _smooth_remainder(x: NDArray, y: NDArray) -> Any:
    return (np.abs(y) > 0.3) & _between_integers(np.divide(x, np.where(y == 0, 1, y)))


def _off_the_cut(y: NDArray, x: NDArray) -> Any:
    return (np.hypot(x, y) > 0.3) & ((x > 0) | (np.abs(y) > MARGIN))


def _stop(g: _Generator) -> _Known | None:
    return None if g.smooth else g.add(ew.StopGradient, g.any())


def _add_n(g: _Generator) -> _Known | None:
    first = g.any()
    return g.add(ew.AddN, first, *(g.like(first) for _ in range(g.choose(3))))


def _comparison(g: _Generator) -> tuple[_Known | None, _Known, _Known]:
    x = g.any()
    y = g.like(x)
    if x.value is not y.value and not np.all(_apart(x.array, y.array)):
        return None, x, y
    return g.add(ew.Compare, x, y, direction=g.pick(list(ew.COMPARISONS))), x, y


def _logic(g: _Generator) -> _Known | None:
    p, x, _ = _comparison(g)
    q, _, _ = _comparison(g)
    finite = g.add(ew.IsFinite, x)
    if p is None or q is None or finite is None:
        return None
    other = g.pick([q, finite])
    joined = g.add(g.pick([ew.And, ew.Or, ew.Xor]), p, other) if p.array.shape == other.array.shape else p
    return None if joined is None else g.floating(g.add(ew.Not, joined))


def _select(g: _Generator) -> _Known | None:
    p, x, y = _comparison(g)
    if p is None:
        return None
    if g.choose(2) and p.array.shape != ():
        flat = g.add(reduction.ReduceAnd, p, axes=tuple(range(p.array.ndim)))
        return None if flat is None else g.add(ew.Select, flat, x, y)
    return g.add(ew.Select, p, x, y)


def _dot(g: _Generator) -> _Known | None:
    """Pair axes of equal sizes at random, each pair contracted, batched or left free."""
    x, y = g.any(), g.any()
    kinds: dict[str, list[tuple[int, int]]] = {"batch": [], "contracting": []}
    left = list(range(y.array.ndim))
    for i in range(x.array.ndim):
        fitting = [j for j in left if y.array.shape[j] == x.array.shape[i]]
        use = g.choose(3)
        if fitting and use:
            j = g.pick(fitting)
            left.remove(j)
            kinds["contracting" if use == 1 else "batch"].append((i, j))
    axes = {f"{side}_{k}": tuple(p[s] for p in v) for k, v in kinds.items() for s, side in enumerate(("lhs", "rhs"))}
    return g.add(linalg.DotGeneral, x, y, **axes)


def _reduce(cls: type[Op]) -> Maker:
    def make(g: _Generator) -> _Known | None:
        x = g.any()
        return g.add(cls, x, axes=g.axes(x.array.ndim))

    return make


def _reduce_extreme(cls: type[Op], sign: int) -> Maker:
    def make(g: _Generator) -> _Known | None:
        x = g.any()
        axes = g.axes(x.array.ndim)
        moved = np.moveaxis(sign * x.array, axes, range(len(axes)))
        rows = np.sort(moved.reshape(math.prod(moved.shape[: len(axes)]), -1), axis=0)
        clear = len(rows) < 2 or np.all(rows[-1] - rows[-2] > MARGIN)
        return g.add(cls, x, axes=axes) if clear else None

    return make


def _arg(cls: type[Op]) -> Maker:
    def make(g: _Generator) -> _Known | None:
        x = g.any()
        if x.array.ndim == 0:
            return None
        axis = g.choose(x.array.ndim)
        ordered = np.sort(x.array, axis=axis)
        if np.any(np.diff(ordered, axis=axis) <= MARGIN):
            return None
        return g.floating(g.add(cls, x, axis=axis, dtype=g.pick([dtypes.int32, dtypes.int64])))

    return make


def _any_true(g: _Generator) -> _Known | None:
    p, _, _ = _comparison(g)
    return None if p is None else g.floating(g.add(reduction.ReduceOr, p, axes=g.axes(p.array.ndim)))


def _reshape(g: _Generator) -> _Known | None:
    x = g.any()
    targets = [s for s in (*SHAPES, (6,), (1,), (1, 3), (2, 3, 1)) if math.prod(s) == x.array.size]
    return g.add(shape.Reshape, x, shape=g.pick(targets)) if targets else None


def _permutation(g: _Generator, rank: int) -> tuple[int, ...]:
    left = list(range(rank))
    return tuple(left.pop(g.choose(len(left))) for _ in range(rank))


def _transpose(g: _Generator) -> _Known | None:
    x = g.any()
    return g.add(shape.Transpose, x, permutation=_permutation(g, x.array.ndim))


def _broadcast(g: _Generator) -> _Known | None:
    x = g.any()
    target, dims = [], []
    for size in x.array.shape:
        if g.choose(3) == 0:
            target.append(1 + g.choose(3))
        dims.append(len(target))
        target.append(2 if size == 1 and g.choose(2) else size)
    if g.choose(2):
        target.append(2)
    return g.add(shape.BroadcastInDim, x, shape=tuple(target), dims=tuple(dims))


def _concatenate(g: _Generator) -> _Known | None:
    x = g.any()
    if x.array.ndim == 0:
        return None
    return g.add(shape.Concatenate, x, g.like(x), axis=g.choose(x.array.ndim))


def _slice(g: _Generator) -> _Known | None:
    x = g.any()
    starts = [g.choose(size) for size in x.array.shape]
    limits = [a + 1 + g.choose(size - a) for a, size in zip(starts, x.array.shape, strict=True)]
    strides = [1 + g.choose(2) for _ in starts]
    return g.add(shape.Slice, x, starts=tuple(starts), limits=tuple(limits), strides=tuple(strides))


def _pad(g: _Generator) -> _Known | None:
    x, value = g.any(), g.pick([k for k in g.pool if k.array.shape == ()] or [None])
    if value is None:
        value = g.add(reduction.ReduceSum, g.pool[0], axes=tuple(range(g.pool[0].array.ndim)))
    if value is None:
        return None
    ranges = {name: tuple(low + g.choose(n) for _ in x.array.shape) for name, low, n in PADDING}
    return g.add(shape.Pad, x, value, **ranges)


PADDING = (("low", -1, 3), ("high", -1, 3), ("interior", 0, 2))


def _reverse(g: _Generator) -> _Known | None:
    x = g.any()
    return g.add(shape.Reverse, x, axes=g.axes(x.array.ndim))


def _iota(g: _Generator) -> _Known | None:
    size = g.pick([s for s in SHAPES if s])
    return g.add(shape.Iota, shape=size, dtype=g.dtype, axis=g.choose(len(size)))


def _dim_size(g: _Generator) -> _Known | None:
    x = g.any()
    return g.floating(g.add(shape.DimSize, x, axis=g.choose(x.array.ndim))) if x.array.ndim else None


def _constant(g: _Generator) -> _Known | None:
    return g.add(ConstantOp, value=Array.of(g.numbers(g.pick(SHAPES))))


def _read(g: _Generator) -> _Known | None:
    name = f"v{g.choose(2)}"
    if name not in g.refs:
        g.program_.variables[name] = g.state[name] = g.numbers(g.pick(SHAPES))
        g.refs[name] = g.trace.variable(name, g.state[name].shape, g.dtype)
        g.writes[name], g.reads[name] = [], []
    value, token = g.trace.op(state.Read, g.refs[name], *g.writes[name]).results
    g.reads[name].append(token)
    return _Known(value, g.state[name])


def _write(g: _Generator) -> _Known | None:
    """A write waits for the last write and the reads since, as in a traced function."""
    if g.smooth or not g.refs:
        return None
    name = g.pick(list(g.refs))
    fitting = [k for k in g.pool if k.array.shape == g.state[name].shape]
    cls, after = g.pick(
        [(state.Assign, lambda old, x: x), (state.AssignAdd, np.add), (state.AssignSub, np.subtract)],
    )
    if not fitting:
        return None
    written = g.pick(fitting)
    token = g.trace.op(cls, g.refs[name], written.value, *g.writes[name], *g.reads[name]).results[0]
    g.state[name] = np.asarray(after(g.state[name], written.array), g.dtype.numpy)
    g.writes[name], g.reads[name] = [token], []
    return None


MAKERS: dict[str, list[Maker]] = {
    "elementwise": [
        *(_unary(c) for c in (ew.Negate, ew.Sine, ew.Cosine, ew.Tanh, ew.Logistic, ew.Identity)),
        *(_unary(c, lambda x: np.abs(x) > MARGIN) for c in (ew.Abs, ew.Sign)),
        *(_unary(c, lambda x: x < 2) for c in (ew.Exponential, ew.ExponentialMinusOne)),
        *(_unary(c, _positive) for c in (ew.Log, ew.Sqrt, ew.Rsqrt)),
        _unary(ew.LogPlusOne, lambda x: x > -0.8),
        _unary(ew.Tangent, lambda x: np.abs(np.cos(x)) > 0.3),
        *(_unary(c, _between_integers) for c in (ew.Floor, ew.Ceil)),
        _unary(ew.RoundNearestEven, lambda x: _between_integers(x, 0.5)),
        _stop,
        *(_binary(c) for c in (ew.Add, ew.Subtract, ew.Multiply)),
        _binary(ew.Divide, lambda x, y: np.abs(y) > 0.3),
        _binary(ew.Remainder, _smooth_remainder),
        _binary(ew.Power, lambda x, y: _positive(x) & (np.abs(y) < 3)),
        *(_binary(c, _apart) for c in (ew.Maximum, ew.Minimum)),
        _binary(ew.Atan2, _off_the_cut),
        *(_add_n, _logic, _select),
    ],
    "linalg": [_dot],
    "reduction": [
        *(_reduce(reduction.ReduceSum), _reduce(reduction.ReduceProd)),
        *(_reduce_extreme(reduction.ReduceMax, 1), _reduce_extreme(reduction.ReduceMin, -1)),
        *(_any_true, _arg(reduction.ArgMax), _arg(reduction.ArgMin)),
    ],
    "shape": [_reshape, _transpose, _broadcast, _concatenate, _slice, _pad, _reverse, _iota, _dim_size],
    "constant": [_constant],
    "state": [_read, _read, _write, _write],
}
