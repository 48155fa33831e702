"""`while` and `for` on tensors: the body is traced once, into the region of one op that carries what changes.

What an iteration needs of the one before is carried from the start: its type is what it is before the loop. The other
variables that the body binds are known when it has been traced, and are handed out of the last iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.ir import Attribute, SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.autograph.branches import noted, zeros
from dfc.frontend.autograph.iteration import Rows, truth
from dfc.frontend.autograph.values import RESULT, Parts, State, Undefined, described, failed, is_same, parts_of
from dfc.frontend.interior import Body
from dfc.frontend.loops import PARALLEL_ITERATIONS
from dfc.frontend.ops.control import value_in
from dfc.frontend.promotion import lift, tensor_in
from dfc.frontend.regions import bodies, emit, enclose
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace
from dfc.ir.dtypes import int32
from dfc.ir.ops.control import INDEX, Scan, While
from dfc.ir.ops.elementwise import And, Compare
from dfc.ir.types import Spec, spec_of, tensor_type

Test = Callable[[], Any]


def loop_while(trace: Trace, test: Test, body: Callable[[], Any], state: State, needed: Sequence[str]) -> None:
    """`body()` while `test()` holds, which is a tensor."""
    carried = Carried(trace, state, needed, "while")
    _while(trace, carried, lambda step: body(), test, None, False)


def loop_rows(
    trace: Trace,
    rows: Rows,
    test: Test | None,
    body: Callable[[Any], Any],
    state: State,
    needed: Sequence[str],
) -> None:
    """`body(item)` for each item of `rows`, while `test()`, if there is one, holds before it."""
    carried = Carried(trace, state, needed, "for")
    some = isinstance(rows.length, int) and rows.length > 0
    if test is None:
        _scan(trace, carried, rows, body, some)
    else:  # the last iteration may be any, so that rows are taken where they are needed
        some = some and test() is True  # flags, none of which depends on a tensor before the first iteration
        _while(trace, carried, lambda step: body(rows.item(step.inputs[0])), test, rows, some)


def _scan(trace: Trace, carried: Carried, rows: Rows, body: Callable[[Any], Any], some: bool) -> None:
    xs = [tensor_in(trace, x)._value for x in rows.tensors]
    slices = [tensor_type(s.shape[1:], s.dtype) for s in (spec_of(v.type) for v in xs)]
    count = None if xs else rows.count(trace)  # the rows themselves tell how many there are
    with bodies(trace, "for", [INDEX, *carried.types, *slices]) as (step,):
        place = 1 + len(carried.types)
        slots = step.inputs[place:]
        del step.inputs[place:]  # arguments that the body turns out to need go before them
        after = step.run(
            lambda: carried.once(step, lambda: noted(lambda: body(rows.item(step.inputs[0], slots)), "for"))
        )
        values = carried.following(step, after, some)
        for type_ in carried.late:
            step.add_input(type_)
        step.inputs.extend(slots)
        common = enclose(trace, [(step, values)])
        attributes = {
            "n_carried": len(values),
            "n_xs": len(xs),
            "n_captured": len(common.captured),
            "length": (rows.length,) if rows.length is not None else (),
            "counted": count is not None,
            "reverse": False,
            "ys": (),
            "parallel_iterations": PARALLEL_ITERATIONS,
            "swap_memory": False,
        }
        counted = [] if count is None else [count]
        operands = [*counted, *carried.initial, *xs]
        _, results = emit(trace, Scan, operands, common, [step], attributes)
    carried.put(results[: len(values)])


def _while(
    trace: Trace, carried: Carried, body: Callable[[Body], Any], test: Test, rows: Rows | None, some: bool
) -> None:
    types = [INDEX, *carried.types]
    count = None if rows is None else rows.count(trace)
    with bodies(trace, carried.what, types, types) as (condition, step):

        def holds() -> SSAValue:
            found: list[SSAValue] = []

            def run() -> None:
                found.append(tensor_in(condition, truth(test(), carried.what))._value)

            carried.once(condition, run)
            if rows is None:
                return found[0]
            most = condition.fill(rows.length, int32, ()) if count is None else None
            if count is not None:
                most = condition.value_of(Tensor(count.type, trace, count))
            assert most is not None
            below = condition.emit_op(Compare, (condition.inputs[0]._value, most), {"direction": "LT"}).results[0]
            return condition.emit_op(And, (below, found[0])).results[0]

        goes_on = condition.run(holds)
        after = step.run(lambda: carried.once(step, lambda: noted(lambda: body(step), carried.what)))
        values = carried.following(step, after, some)
        for type_ in carried.late:
            condition.add_input(type_)
            step.add_input(type_)
        common = enclose(trace, [(condition, [goes_on]), (step, values)])
        bounded = rows is not None and rows.length is not None
        attributes = {
            "n_carried": len(values),
            "n_captured": len(common.captured),
            "length": (rows.length,) if rows is not None and bounded else (),
            "ys": (),
            "parallel_iterations": PARALLEL_ITERATIONS,
            "swap_memory": False,
        }
        _, results = emit(trace, While, carried.initial, common, [condition, step], attributes)
    carried.put(results[: len(values)])


@dataclass
class _Slot:
    """A variable of the loop: what it is before, and how it is had from the op's results."""

    name: str
    before: Any
    parts: Parts | None = None
    """Of what is carried from the start; None where nothing is."""
    final: Callable[[Sequence[Tensor]], Any] | None = None


class Carried:
    """The variables of a loop."""

    def __init__(self, trace: Trace, state: State, needed: Sequence[str], what: str) -> None:
        self.trace, self.state, self.what = trace, state, what
        self._given = state.get()
        self.slots = [_Slot(name, value) for name, value in zip(state.names, self._given, strict=True)]
        self.initial: list[SSAValue] = []
        for slot in self.slots:
            if slot.name in needed and not isinstance(slot.before, Undefined):
                slot.parts = parts_of(slot.before)
                self.initial += [tensor_in(trace, leaf)._value for leaf in slot.parts.leaves]
        self.types: list[Attribute] = [value.type for value in self.initial]
        self.late: list[Attribute] = []

    def once(self, region: Body, run: Callable[[], Any]) -> tuple[Any, ...]:
        """The variables after one iteration, begun with the region's arguments."""
        arguments = iter(region.inputs[1 : 1 + len(self.types)])
        before = [slot.parts.built(arguments) if slot.parts is not None else self._unknown(slot) for slot in self.slots]
        self.state.put(tuple(before))
        try:
            run()
            return self.state.get()
        finally:
            self.state.put(self._given)

    def _unknown(self, slot: _Slot) -> Any:
        if isinstance(slot.before, Undefined):
            return slot.before
        return Undefined(slot.name)

    def following(self, step: Body, after: Sequence[Any], some: bool) -> list[SSAValue]:
        """What an iteration hands on; `some` where there is one at least."""
        early: list[SSAValue] = []
        late: list[SSAValue] = []
        for slot, value in zip(self.slots, after, strict=True):
            if slot.parts is not None:
                early += self._next(step, slot, value, len(early))
            else:
                late += self._last(step, slot, value, len(self.types) + len(late), some)
        self.late = [value.type for value in late]
        return [*early, *late]

    def _next(self, step: Body, slot: _Slot, value: Any, start: int) -> list[SSAValue]:
        parts, name = slot.parts, slot.name
        assert parts is not None
        if isinstance(value, Undefined):
            if value.reason:
                value.read()
            raise self._error(name, f"it has no value after an iteration, and is {described(slot.before)} before")
        found = parts_of(value)
        if found.nest != parts.nest:
            text = f"got {described(slot.before)} before it and {described(value)} after an iteration"
            raise self._error(name, text, "begin with tensors, such as the first value or dfc.zeros")
        values = []
        for leaf, before in zip(found.leaves, parts.leaves, strict=True):
            spec = spec_of(tensor_in(self.trace, before)._type) if not isinstance(before, Tensor) else None
            spec = spec or spec_of(before._type)
            given = value_in(step, lift(step, leaf), spec.dtype)
            if spec_of(given.type) != spec:
                number = not isinstance(before, Tensor)
                own = f"the Python number {before!r}, {spec}," if number else str(spec)
                new = spec_of(given.type)
                hint = ""
                if new.dtype is not spec.dtype:
                    hint = f"begin with that dtype, dfc.asarray({before!r}, dfc.{new.dtype.name})" if number else ""
                elif new.shape != spec.shape:
                    hint = "begin with that shape, or use dfc.while_loop, whose shape_invariants let sizes change"
                raise self._error(name, f"got {own} before it and {new} after an iteration", hint)
            values.append(given)
        count = len(values)
        slot.final = lambda results: parts.built(iter(results[start : start + count]))
        return values

    def _last(self, step: Body, slot: _Slot, value: Any, start: int, some: bool) -> list[SSAValue]:
        """Hand a variable out of the last iteration; it has another value, or none, if there is no iteration."""
        before = slot.before
        if isinstance(value, Undefined):
            slot.final = lambda results: value if value.reason or isinstance(before, Undefined) else before
            if not value.reason and not isinstance(before, Undefined):
                slot.final = lambda results: value
            return []
        parts = parts_of(value)
        if not parts.leaves and (some or is_same(before, value)):
            slot.final = lambda results: value
            return []
        tensors = [tensor_in(step, leaf) for leaf in parts.leaves]
        specs = [spec_of(t._type) for t in tensors]
        if some or slot.name == RESULT:
            initial = [zeros(self.trace, spec) for spec in specs]
        else:
            known = self._before_fits(before, parts, specs)
            if known is None:
                slot.final = self._lost(slot, value)
                return []
            initial = known
        self.initial += initial
        count = len(tensors)
        slot.final = lambda results: parts.built(iter(results[start : start + count]))
        return [step.value_of(t) for t in tensors]

    def _before_fits(self, before: Any, parts: Parts, specs: list[Spec]) -> list[SSAValue] | None:
        """The leaves of the value before the loop, where it may stand for that of an iteration."""
        if isinstance(before, Undefined):
            return None
        own = parts_of(before)
        if own.nest != parts.nest:
            return None
        values = [
            value_in(self.trace, lift(self.trace, leaf), spec.dtype)
            for leaf, spec in zip(own.leaves, specs, strict=True)
        ]
        return values if [spec_of(v.type) for v in values] == specs else None

    def _lost(self, slot: _Slot, value: Any) -> Callable[[Any], Any]:
        name, what = slot.name, self.what
        text = f"{name!r} is {described(value)} in the body of a `{what}` on tensors, which may never run, "
        if isinstance(slot.before, Undefined):
            text += "and has no value before it"
        else:
            text += f"and {described(slot.before)} before it"
        hint = f"give {name!r} a value of the same shape and dtype before the loop"
        return lambda results: Undefined(name, text, what, hint)

    def put(self, results: Sequence[Tensor]) -> None:
        """Give the variables their values after the loop."""
        self.state.put(tuple(slot.final(results) if slot.final else slot.before for slot in self.slots))

    def _error(self, name: str, text: str, hint: str = "") -> InvalidArgument:
        return failed(
            InvalidType,
            f"loop variable {name!r} must keep its structure, shape and dtype: {text}",
            self.what,
            hint or "convert it in the body, with dfc.astype, or begin with what the body gives",
        )
