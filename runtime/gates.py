"""Gates as the executor runs them: switches, merges, and what leads into and out of the frames of loops."""

from __future__ import annotations

from dfc.ir.op import Op, short_name
from dfc.ir.ops import dataflow as fl
from dfc.runtime.flow import ENTER, EXIT, MERGE, NEXT, PIVOT, SWITCH, TRIGGER, Gate, HostOp
from dfc.runtime.host import Binding, maker, where_of


def _gate(op: Op, gate: Gate) -> HostOp:
    return HostOp(short_name(op), where_of(op), gate=gate)


@maker(fl.Switch)
def switch(op: fl.Switch, binding: Binding) -> HostOp:
    return _gate(op, Gate(SWITCH))


@maker(fl.Merge)
def merge(op: fl.Merge, binding: Binding) -> HostOp:
    return _gate(op, Gate(MERGE))


@maker(fl.Enter)
def enter(op: fl.Enter, binding: Binding) -> HostOp:
    return _gate(op, Gate(ENTER, op.frame.data, op.is_constant.data, op.parallel_iterations.data))


@maker(fl.Exit)
def exit_(op: fl.Exit, binding: Binding) -> HostOp:
    return _gate(op, Gate(EXIT))


@maker(fl.NextIteration)
def next_iteration(op: fl.NextIteration, binding: Binding) -> HostOp:
    return _gate(op, Gate(NEXT))


@maker(fl.LoopCond)
def loop_cond(op: fl.LoopCond, binding: Binding) -> HostOp:
    return _gate(op, Gate(PIVOT))


@maker(fl.ControlTrigger)
def control_trigger(op: fl.ControlTrigger, binding: Binding) -> HostOp:
    return _gate(op, Gate(TRIGGER))
