"""What the host does to bring variables in its memory to a device and back: the executor's side of
`ir/ops/offload.py`. Copies of more than a little are made in threads, while devices compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.ir import SSAValue

from dfc.backends.xla import to_device, wait
from dfc.errors import DfcError, Internal
from dfc.ir.op import short_name
from dfc.ir.ops import offload as off
from dfc.runtime.flow import Done, HostOp, Values, is_computed, on_host
from dfc.runtime.host import Binding, maker, simple, where_of
from dfc.runtime.in_thread import InThread
from dfc.runtime.offloaded import Hold, OffloadedState
from dfc.runtime.variables import VariableState, own_array

AT_ONCE = 1 << 16
"""Bytes. What is not larger is copied by the thread that drives the step."""


def _states(refs: Sequence[SSAValue], binding: Binding) -> list[VariableState]:
    return [binding.state_of(ref) for ref in refs]


def _offloaded(refs: Sequence[SSAValue], binding: Binding) -> list[OffloadedState]:
    found = _states(refs, binding)
    for state in found:
        if not isinstance(state, OffloadedState):
            raise Internal(f"variable {state.name!r} is not in the host's memory, as the program says")
    return found  # type: ignore[return-value]


def _lent(op: off.Fetch | off.Release) -> tuple[str, ...]:
    """The names of the variables of which the op has values that an earlier handle had."""
    return () if op.lent is None else op.lent.data


def _run(work: Callable[[], Any], over: Done, at_once: bool, name: str) -> Any:
    """The results, or what comes to them."""
    return work() if at_once else InThread(work, over, name)


@maker(off.Hold)
def hold(op: off.Hold, binding: Binding) -> HostOp:
    every, alone = _states(op.refs, binding), op.alone.data
    written = [every[index] for index in op.written.data]
    read = [state for index in op.read.data if isinstance(state := every[index], OffloadedState)]

    def step(kept: Any, values: Values, over: Done) -> Any:
        for state in read:
            _require_value(state)  # perhaps by a function of the user's, which must not run while others wait
        return Hold(read, written, binding.memory, alone, kept, over)

    return HostOp(short_name(op), where_of(op), step=step)


def _require_value(state: OffloadedState) -> None:
    try:
        state.array()
    except DfcError as error:
        raise error.at(op="read") from error.__cause__


@maker(off.Fetch)
def fetch(op: off.Fetch, binding: Binding) -> HostOp:
    states, where, name = _offloaded(op.refs, binding), where_of(op), short_name(op)
    if op.on_host.data:
        return simple(op, lambda values: [values[0].value(state) for state in states])
    device, names = binding.device, _lent(op)

    def step(kept: Any, values: Values, over: Done) -> Any:
        held: Hold = values[0]
        lent = list(map(on_host, values[1:]))
        arrays = [*map(held.value, states), *lent]
        for state in states:
            held.take_room(state, where)
        for lent_name, array in zip(names, lent, strict=True):
            held.take_room_for(lent_name, array, where)
        small = sum(array.nbytes for array in arrays) <= AT_ONCE
        return _run(lambda: [to_device(array, device) for array in arrays], over, small, name)

    return HostOp(name, where, step=step)


@maker(off.Evict)
def evict(op: off.Evict, binding: Binding) -> HostOp:
    states, where, name = _offloaded(op.refs, binding), where_of(op), short_name(op)
    made = op.made.data
    own_room = [s for index, s in enumerate(states) if made and index not in op.in_place.data]

    def step(kept: Any, values: Values, over: Done) -> Any:
        held, new = values[0], values[1:]
        for state in own_room:
            held.take_room(state, where)
        values.clear()

        def work() -> Sequence[Any]:
            for state in states:
                held.put(state, own_array(new.pop(0)))  # nothing here keeps it on the device
                if made:
                    held.give_room(state)
            return ()

        small = all(map(is_computed, new)) and sum(int(value.nbytes) for value in new) <= AT_ONCE
        return _run(work, over, small, name)

    return HostOp(name, where, step=step)


@maker(off.Release)
def release(op: off.Release, binding: Binding) -> HostOp:
    fetched = [*_offloaded(op.refs, binding), *_lent(op)]

    def step(kept: Any, values: Values, over: Done) -> Any:
        held, computed = values[0], values[1:]
        values.clear()

        def work() -> Sequence[Any]:
            while computed:
                wait(computed.pop())  # nothing of it is let go after the step has heard that it is done
            for each in fetched:
                held.give_room(each)
            return ()

        return _run(work, over, all(map(is_computed, computed)), short_name(op))

    return HostOp(short_name(op), where_of(op), step=step)


@maker(off.LetGo)
def let_go(op: off.LetGo, binding: Binding) -> HostOp:
    def run(values: Values) -> Sequence[Any]:
        values[0].let_go()
        return ()

    return simple(op, run)
