"""Batch analysis: a proof that each row of the outputs depends on its own row of the inputs alone.

With the proof a smaller batch may be padded and a larger one split; without it neither may. Each value is one of three:
the same whatever the batch is (`SAME`), one row a row of the batch on some axis (`Rows`), or anything else (`Mixed`,
with the reason). A rule per op class says which its result is; an op without a rule mixes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from xdsl.ir import Operation, SSAValue

from dfc.ir import locations
from dfc.ir.dialect import family_ops
from dfc.ir.dims import Dim, Shape, SymbolicDim, size, symbol
from dfc.ir.op import Op, short_name
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.convolution import Convolution
from dfc.ir.ops.factorization import Factorization, TriangularSolve
from dfc.ir.ops.fft import Transform
from dfc.ir.ops.function import Func, Return
from dfc.ir.ops.indexing import GatherNd, Take, TakeAlongAxis
from dfc.ir.ops.linalg import DotGeneral, free_axes
from dfc.ir.ops.reduction import ArgReduction, Reduction
from dfc.ir.ops.shape import (
    BroadcastInDim,
    Concatenate,
    DimSize,
    Iota,
    Pad,
    Reshape,
    Reverse,
    Slice,
    Transpose,
)
from dfc.ir.ops.state import Group, Read, Variable, Write
from dfc.ir.ops.window import Selecting, Window
from dfc.ir.types import CONTROL, RefType, spec_of


@dataclass(frozen=True)
class Same:
    """Doesn't depend on the batch: neither on its rows nor on how many there are."""


@dataclass(frozen=True)
class Rows:
    """Axis `axis` has the batch's size, and each index of it depends on that row of the batch alone."""

    axis: int


@dataclass(frozen=True)
class Mixed:
    """Neither can be shown; `why` names the op and the user's line where that began."""

    why: str


State = Same | Rows | Mixed
SAME = Same()


@dataclass(frozen=True)
class BatchResult:
    """Whether rows are independent; the batch's symbol; the batch axis of each input and output, None for one that
    doesn't depend on the batch; and, where rows aren't independent, the reason."""

    independent: bool
    symbol: str | None
    input_axes: tuple[int | None, ...]
    output_axes: tuple[int | None, ...]
    reason: str = ""


def rows_independent(func: Func) -> BatchResult:
    """Analyse one function without calls, gradients or islands (phase graph).

    The batch is the symbol that inputs have as their leading dimension; inputs without it are the same for all rows.
    """
    specs = [spec_of(a.type) for a in func.block.args]
    none = ((None,) * len(specs), (None,) * len(func.outputs))
    leading = dict.fromkeys(str(s.shape[0]) for s in specs if s.shape and _is_symbol(s.shape[0]))
    if len(leading) != 1:
        found = f"{len(leading)}: {', '.join(leading)}" if leading else "none"
        return BatchResult(False, None, *none, f"inputs must share one symbolic leading dimension, got {found}")
    (batch,) = leading
    states: dict[SSAValue, State] = {}
    for name, argument, spec in zip(func.arg_names.data, func.block.args, specs, strict=True):
        inside = [i for i, d in enumerate(spec.shape) if _mentions(d, batch)]
        if inside not in ([], [0]) or (inside and spec.shape[0] != symbol(batch)):
            why = f"input {name!r} must have {batch} as its leading dimension only, got {spec}"
            return BatchResult(False, batch, *none, why)
        states[argument] = Rows(0) if inside else SAME
    writes = _walk(func, batch, states)
    inputs = tuple(_axis(states[a]) for a in func.block.args)
    outputs = [states[v] for v in func.outputs]
    mixed = next((s.why for s in outputs if isinstance(s, Mixed)), "") or writes
    return BatchResult(not mixed, batch, inputs, tuple(map(_axis, outputs)), mixed)


def _walk(func: Func, batch: str, states: dict[SSAValue, State]) -> str:
    """Give each value its state; returns why not for the first write, empty without one."""
    writes = ""
    for op in func.block.ops:
        if isinstance(op, Return):
            break
        if isinstance(op, Write):
            writes = writes or _why(op, "a batch that is split would write the variable more than once")
        given = [states[o] for o in op.operands]
        mixed = next((s for s in given if isinstance(s, Mixed)), None)
        cls: type[Operation] = type(op)
        rule = _rule_of(cls)
        state: State = SAME
        if mixed is not None:
            state = mixed
        elif rule is None:
            state = Mixed(_why(op, "no rule says what it does to rows"))
        else:
            found = rule(_Context(op, batch), given)
            state = Mixed(_why(op, found)) if isinstance(found, str) else found
        for result in op.results:
            states[result] = _checked(op, result, state, batch)
    return writes


def _checked(op: Operation, result: SSAValue, state: State, batch: str) -> State:
    """The state, if the result's shape bears it out: the batch's size is on the axis of the rows and nowhere else."""
    if result.type is CONTROL or isinstance(result.type, RefType) or isinstance(state, Mixed):
        return state
    inside = [i for i, d in enumerate(spec_of(result.type).shape) if _mentions(d, batch)]
    wanted = [state.axis] if isinstance(state, Rows) else []
    if inside != wanted or (wanted and spec_of(result.type).shape[wanted[0]] != symbol(batch)):
        return Mixed(_why(op, f"the result {spec_of(result.type)} has {batch} elsewhere than on the axis of its rows"))
    return state


def _why(op: Operation, reason: str) -> str:
    place = locations.describe(op.location)
    return f"{short_name(op)}{f' at {place}' if place else ''}: {reason}"


def _axis(state: State) -> int | None:
    return state.axis if isinstance(state, Rows) else None


def _is_symbol(dim: Dim) -> bool:
    return isinstance(dim, SymbolicDim) and dim.text.isidentifier()


def _mentions(dim: Dim, batch: str) -> bool:
    return isinstance(dim, SymbolicDim) and batch in dim.symbols


# ---- the rules: operands' states (none Mixed) -> the result's state, or why it mixes


@dataclass(frozen=True)
class _Context:
    op: Any
    batch: str

    def shape(self, operand: int = 0) -> Shape:
        return spec_of(self.op.operands[operand].type).shape

    @property
    def result_shape(self) -> Shape:
        return spec_of(self.op.results[0].type).shape

    def mentions(self, dims: Sequence[Dim]) -> bool:
        """True where one of the dimensions depends on the batch's size."""
        return any(_mentions(d, self.batch) for d in dims)


Rule = Callable[[_Context, Sequence[Any]], State | str]
RULES: dict[type[Op], Rule] = {}
"""Op class, or a base of op classes -> its rule."""


def rows(*classes: type[Op]) -> Callable[[Rule], Rule]:
    """Register the rule for these classes and their subclasses."""

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(classes, rule))
        return rule

    return register


@cache
def _rule_of(cls: type[Operation]) -> Rule | None:
    return next((RULES[base] for base in cls.__mro__ if base in RULES), None)


@rows(ConstantOp, Variable, Read, Group, Write)
def _same(context: _Context, given: Sequence[State]) -> State:
    return SAME


@rows(*family_ops("elementwise"))
def _elementwise(context: _Context, given: Sequence[State]) -> State | str:
    states = {s for s in given if s != SAME}
    return "operands have their rows on different axes" if len(states) > 1 else next(iter(states), SAME)


# The axes of matrices and of signals have known sizes, so the batch is another one.
rows(*family_ops("complex"), *family_ops("sharding"), Factorization, TriangularSolve, Transform)(_elementwise)


@rows(DotGeneral)
def _dot_general(context: _Context, given: Sequence[State]) -> State | str:
    op = context.op
    batches = (op.lhs_batch.data, op.rhs_batch.data)
    contracting = (op.lhs_contracting.data, op.rhs_contracting.data)
    axes = [_axis(s) for s in given]
    if any(axis in contracting[side] for side, axis in enumerate(axes)):
        return "it sums over the batch"
    along = [batches[side].index(axis) if axis in batches[side] else None for side, axis in enumerate(axes)]
    if along[0] is not None or along[1] is not None:
        return Rows(along[0]) if along[0] == along[1] and along[0] is not None else "one side alone is batched by rows"
    if axes[0] is not None and axes[1] is not None:
        return "it pairs each row with every other one"
    side = 0 if axes[0] is not None else 1
    if axes[side] is None:
        return SAME
    free = [free_axes(len(context.shape(i)), batches[i], contracting[i]) for i in (0, 1)]
    before = len(batches[0]) + (len(free[0]) if side else 0)
    return Rows(before + free[side].index(axes[side]))  # type: ignore[arg-type]


@rows(Reduction)
def _reduction(context: _Context, given: Sequence[State]) -> State | str:
    axis, axes = _axis(given[0]), context.op.axes.data
    if axis is None:
        return SAME
    return "it reduces the batch" if axis in axes else Rows(axis - sum(a < axis for a in axes))


@rows(ArgReduction)
def _arg_reduction(context: _Context, given: Sequence[State]) -> State | str:
    axis, reduced = _axis(given[0]), context.op.axis.data
    if axis is None:
        return SAME
    return "it searches along the batch" if axis == reduced else Rows(axis - (reduced < axis))


@rows(Reshape)
def _reshape(context: _Context, given: Sequence[State]) -> State | str:
    axis, old, new = _axis(given[0]), context.shape(), context.result_shape
    if axis is None:
        return SAME
    places = (i for i, d in enumerate(new) if d == old[axis] and size(new[:i]) == size(old[:axis]))
    place = next(places, None)
    return "the new shape doesn't keep the batch as an axis" if place is None else Rows(place)


@rows(Transpose)
def _transpose(context: _Context, given: Sequence[State]) -> State:
    axis = _axis(given[0])
    return SAME if axis is None else Rows(context.op.permutation.data.index(axis))


@rows(BroadcastInDim)
def _broadcast(context: _Context, given: Sequence[State]) -> State | str:
    axis = _axis(given[0])
    if axis is not None:
        return Rows(context.op.dims.data[axis])
    return _repeated(context)


def _repeated(context: _Context) -> State | str:
    """Of a result in which every row is the same: its batch axis, if it has one."""
    inside = [i for i, d in enumerate(context.result_shape) if _mentions(d, context.batch)]
    if len(inside) > 1:
        return "the result has the batch's size on several axes"
    return Rows(inside[0]) if inside else SAME


@rows(Iota)
def _iota(context: _Context, given: Sequence[State]) -> State | str:
    if context.mentions((context.result_shape[context.op.axis.data],)):
        return "it numbers the rows of the batch"
    return _repeated(context)


@rows(Concatenate)
def _concatenate(context: _Context, given: Sequence[State]) -> State | str:
    if any(_axis(s) == context.op.axis.data for s in given):
        return "it joins along the batch"
    return _elementwise(context, given)


@rows(Slice)
def _slice(context: _Context, given: Sequence[State]) -> State | str:
    op, axis = context.op, _axis(given[0])
    bounds = list(zip(op.starts.data, op.limits.data, op.strides.data, strict=True))
    if axis is not None and bounds.pop(axis) != (0, context.shape()[axis], 1):
        return "it takes some rows of the batch"
    return "its bounds depend on the batch's size" if any(context.mentions(b) for b in bounds) else given[0]


@rows(Pad)
def _pad(context: _Context, given: Sequence[State]) -> State | str:
    op, axis = context.op, _axis(given[0])
    amounts = list(zip(op.low.data, op.high.data, op.interior.data, strict=True))
    if axis is not None and any(amounts.pop(axis)):
        return "it pads the batch"
    return "its amounts depend on the batch's size" if any(context.mentions(a) for a in amounts) else given[0]


@rows(Reverse)
def _reverse(context: _Context, given: Sequence[State]) -> State | str:
    return "it reverses the batch" if _axis(given[0]) in context.op.axes.data else given[0]


@rows(DimSize)
def _dim_size(context: _Context, given: Sequence[State]) -> State | str:
    mentions = context.mentions((context.shape()[context.op.axis.data],))
    return "it gives the batch's size" if mentions else SAME


@rows(Convolution)
def _convolution(context: _Context, given: Sequence[State]) -> State | str:
    op, (of_lhs, of_rhs) = context.op, map(_axis, given)
    if of_lhs is None and of_rhs is None:
        return SAME
    if op.feature_groups.data * op.batch_groups.data > 1 and (of_rhs is not None or op.batch_groups.data > 1):
        return "its groups cut the batch"
    if of_rhs is None and of_lhs == op.lhs_axes.data[0]:
        return Rows(op.result_axes.data[0])
    if of_lhs is None and of_rhs == op.rhs_axes.data[0]:
        return Rows(op.result_axes.data[1])
    return "it sums over the batch or moves a window along it"


@rows(Window, Selecting)
def _window(context: _Context, given: Sequence[State]) -> State | str:
    state = _elementwise(context, given)
    if not isinstance(state, Rows):
        return state
    values = context.op.values()
    alone = {"window": 1, "strides": 1, "low": 0, "high": 0, "base_dilation": 1, "window_dilation": 1}
    moves = any(values[name][state.axis] != still for name, still in alone.items() if name in values)
    return "it moves a window along the batch" if moves else state


@rows(Take)
def _take(context: _Context, given: Sequence[State]) -> State | str:
    (x, indices), taken = map(_axis, given), context.op.axis.data
    if x == taken:
        return "it picks rows of the batch by index"
    if x is not None and indices is not None:
        return "it pairs each row with every other one"
    if x is not None:
        return Rows(x if x < taken else x - 1 + len(context.shape(1)))
    return SAME if indices is None else Rows(taken + indices)


@rows(GatherNd)
def _gather_nd(context: _Context, given: Sequence[State]) -> State | str:
    x, indices = map(_axis, given)
    if x is not None:
        return "it picks from the batch by index"
    return SAME if indices is None else Rows(indices)


@rows(TakeAlongAxis)
def _take_along_axis(context: _Context, given: Sequence[State]) -> State | str:
    return (
        "it picks from the batch by index" if _axis(given[0]) == context.op.axis.data else _elementwise(context, given)
    )
