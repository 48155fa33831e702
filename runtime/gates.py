"""Gates as the executor runs them: switches, merges, what leads into and out of the frames of loops, the ends of
transfers between devices, and what holds those up."""

from __future__ import annotations

from typing import Any

from dfc.backends import xla
from dfc.ir.devices import parse_full
from dfc.ir.op import Op, short_name
from dfc.ir.ops import dataflow as fl
from dfc.ir.ops.transfer import Computed, Recv, Send, Transfer
from dfc.runtime.flow import (
    ENTER,
    EXIT,
    MERGE,
    NEXT,
    PIVOT,
    RECV,
    SEND,
    SWITCH,
    TRIGGER,
    Done,
    Gate,
    HostOp,
    Values,
    is_computed,
)
from dfc.runtime.host import Binding, maker, where_of
from dfc.runtime.in_thread import InThread
from dfc.runtime.rendezvous import INCARNATION, prefix_of
from dfc.runtime.transports import transport_between

MODES: dict[type[Op], int] = {
    fl.Switch: SWITCH,
    fl.Merge: MERGE,
    fl.Exit: EXIT,
    fl.NextIteration: NEXT,
    fl.LoopCond: PIVOT,
    fl.ControlTrigger: TRIGGER,
}


def _gate(op: Op, gate: Gate) -> HostOp:
    return HostOp(short_name(op), where_of(op), gate=gate)


@maker(fl.Enter)
def enter(op: fl.Enter, binding: Binding) -> HostOp:
    return _gate(op, Gate(ENTER, op.frame.data, op.is_constant.data, op.parallel_iterations.data))


@maker(Send)
def send(op: Send, binding: Binding) -> HostOp:
    return _end(op, SEND)


@maker(Recv)
def recv(op: Recv, binding: Binding) -> HostOp:
    return _end(op, RECV)


def _end(op: Transfer, mode: int) -> HostOp:
    tensor = op.tensor.data
    key = prefix_of(op.source.data, INCARNATION, op.target.data, tensor)
    transport = transport_between(parse_full(op.source.data), parse_full(op.target.data))
    gate = Gate(mode, key=key, tensor=tensor, transport=transport)
    return HostOp(f"{short_name(op)} of {tensor}", where_of(op), gate=gate)


@maker(Computed)
def computed(op: Computed, binding: Binding) -> HostOp:
    name = f"waiting for {op.x.name_hint or 'a value'}"

    def step(kept: Any, values: Values, done: Done) -> Any:
        (value,) = values
        return () if is_computed(value) else InThread(lambda: xla.wait(value), done, name)

    return HostOp(short_name(op), where_of(op), step=step)


def _other(op: Op, binding: Binding) -> HostOp:
    return _gate(op, Gate(MODES[type(op)]))


for _cls in MODES:
    maker(_cls)(_other)
