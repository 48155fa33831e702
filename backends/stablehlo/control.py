"""Branches and loops: StableHLO's own. What a region needs from outside it uses where it is, since StableHLO's regions
may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xdsl.ir import Block, SSAValue

from dfc.backends.stablehlo.elementwise import comparison
from dfc.backends.stablehlo.indexing import row_at, with_row_at
from dfc.backends.stablehlo.rules import Value, not_emitted, rule
from dfc.ir.dtypes import bool_, int32
from dfc.ir.op import end_of
from dfc.ir.ops.control import Branches, Case, If, Loop, NeedLength, Scan, While
from dfc.ir.types import Spec, spec_of

if TYPE_CHECKING:
    from dfc.backends.stablehlo.emit import Body, Emitter


@rule(If, Case)
def branches(emitter: Emitter, op: Branches, operands: list[Value]) -> list[Value]:
    selector, inputs = operands[0], operands[1:]
    name = "stablehlo.if" if isinstance(op, If) else "stablehlo.case"
    types = [emitter.type(r.type) for r in op.results]
    bodies: list[tuple[Sequence[object], Body]] = [((), _body(emitter, block, inputs)) for block in op.blocks]
    return emitter.with_bodies(name, types, [selector], {}, bodies)  # type: ignore[arg-type]


def _body(emitter: Emitter, block: Block, inputs: Sequence[Value]) -> Body:
    return lambda arguments: run(emitter, block, [*arguments, *inputs])


def run(emitter: Emitter, block: Block, arguments: Sequence[Value]) -> list[Value]:
    """The ops of a region; what it yields."""
    values: dict[SSAValue, Value] = dict(zip(block.args, arguments, strict=True))
    location = emitter.location
    emitter.block(block, values)
    emitter.location = location
    return [values[v] for v in end_of(block).operands]


@rule(While)
def while_(emitter: Emitter, op: While, operands: list[Value]) -> list[Value]:
    """The number of the iteration, the carried values and the ys go round."""
    n = op.n_carried.data
    captured = operands[n:]
    initial = [emitter.scalar(0, int32), *operands[:n], *_rooms(emitter, op.ys)]
    if _never_runs(op):
        return [*initial[1 : 1 + n], initial[0], *initial[1 + n :]]

    def condition(state: Sequence[Value]) -> list[Value]:
        return run(emitter, op.condition, [*state[: 1 + n], *captured])

    def body(state: Sequence[Value]) -> list[Value]:
        index = state[0]
        yielded = run(emitter, op.body, [*state[: 1 + n], *captured])
        ys = [
            with_row_at(emitter, room, spec_of(y.type), row, index)
            for room, row, y in zip(state[1 + n :], yielded[n:], op.ys, strict=True)
        ]
        return [_next(emitter, index), *yielded[:n], *ys]

    index, *rest = emitter.loop(initial, condition, body)
    return [*rest[:n], index, *rest[n:]]


@rule(Scan)
def scan(emitter: Emitter, op: Scan, operands: list[Value]) -> list[Value]:
    n, n_xs = op.n_carried.data, op.n_xs.data
    if op.count is None:
        (length,) = op.length.data
        count = emitter.scalar(length, int32)
    else:
        count, *operands = operands
    xs, captured = operands[n : n + n_xs], operands[n + n_xs :]
    initial = [emitter.scalar(0, int32), *operands[:n], *_rooms(emitter, op.ys)]
    if _never_runs(op):
        return initial[1:]

    def condition(state: Sequence[Value]) -> list[Value]:
        return [_less(emitter, state[0], count)]

    def body(state: Sequence[Value]) -> list[Value]:
        number = state[0]
        index = _from_the_end(emitter, count, number) if op.reverse.data else number
        rows = [row_at(emitter, x, spec_of(v.type), index) for x, v in zip(xs, op.xs, strict=True)]
        yielded = run(emitter, op.body, [index, *state[1 : 1 + n], *rows, *captured])
        ys = [
            with_row_at(emitter, room, spec_of(y.type), row, index)
            for room, row, y in zip(state[1 + n :], yielded[n:], op.ys, strict=True)
        ]
        return [_next(emitter, number), *yielded[:n], *ys]

    return emitter.loop(initial, condition, body)[1:]


def _never_runs(op: Loop) -> bool:
    """Whether there is no row to take or to write, for which the slices of an iteration would have no place."""
    return op.length.data == (0,)


def _rooms(emitter: Emitter, ys: Sequence[SSAValue]) -> list[Value]:
    specs: list[Spec] = [spec_of(y.type) for y in ys]
    return [emitter.filled(0, *spec) for spec in specs]


def _next(emitter: Emitter, index: Value) -> Value:
    return emitter.create("stablehlo.add", emitter.tensor((), int32), [index, emitter.scalar(1, int32)])


def _less(emitter: Emitter, a: Value, b: Value) -> Value:
    return comparison(emitter, "LT", int32, a, b, emitter.tensor((), bool_))


def _from_the_end(emitter: Emitter, count: Value, number: Value) -> Value:
    """count - 1 - number."""
    scalar = emitter.tensor((), int32)
    last = emitter.create("stablehlo.subtract", scalar, [count, emitter.scalar(1, int32)])
    return emitter.create("stablehlo.subtract", scalar, [last, number])


not_emitted(NeedLength, "the pass cluster makes it a result of the island")
