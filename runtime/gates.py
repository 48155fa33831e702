"""Gates as the executor runs them: switches, merges, and what leads into and out of the frames of loops."""

from __future__ import annotations

from dfc.ir.op import Op, short_name
from dfc.ir.ops import dataflow as fl
from dfc.runtime.flow import ENTER, EXIT, MERGE, NEXT, PIVOT, SWITCH, TRIGGER, Gate, HostOp
from dfc.runtime.host import Binding, maker, where_of

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


def _other(op: Op, binding: Binding) -> HostOp:
    return _gate(op, Gate(MODES[type(op)]))


for _cls in MODES:
    maker(_cls)(_other)
