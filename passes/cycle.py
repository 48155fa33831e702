"""Building a loop as a cycle of the graph: enter, merge, switch, exit, next_iteration."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.ir import Operation, SSAValue

from dfc.ir.builder import Builder
from dfc.ir.ops import dataflow as fl
from dfc.ir.types import Spec, spec_of
from dfc.passes.frames import EVERYWHERE


class Cycle:
    """A loop under construction: first what it carries, then `close` with its condition, then what comes next."""

    def __init__(self, make: Builder, frame: str, parallel: int) -> None:
        self._make, self._frame, self._parallel = make, frame, parallel
        self._carried: list[fl.Merge] = []
        self._switches: list[fl.Switch] = []

    def carry(self, start: SSAValue, spec: Spec | None = None) -> int:
        """Carry a value of this spec, by default that of the first one; returns its number."""
        entered = self._enter(start, constant=False)
        self._carried.append(self._make.op(fl.Merge, entered, result=(spec or spec_of(start.type),)))
        return len(self._carried) - 1

    @property
    def count(self) -> int:
        """How many values are carried."""
        return len(self._carried)

    def constant(self, value: SSAValue) -> SSAValue:
        """The value in every iteration."""
        if isinstance(value.owner, EVERYWHERE):
            return value
        return self._enter(value, constant=True)

    def _enter(self, value: SSAValue, *, constant: bool) -> SSAValue:
        return self._make(fl.Enter, value, frame=self._frame, is_constant=constant, parallel_iterations=self._parallel)

    def value(self, number: int) -> SSAValue:
        """The carried value at the beginning of an iteration, the last one, which ends the loop, included."""
        return self._carried[number].value

    def close(self, condition: SSAValue, instead: Mapping[int, SSAValue] = {}) -> None:
        """Go on while the condition holds. `instead` has what is switched in the place of carried values."""
        going = self._make(fl.LoopCond, condition)
        for number, merge in enumerate(self._carried):
            self._switches.append(self._make.op(fl.Switch, instead.get(number, merge.value), going))

    def on(self, number: int) -> SSAValue:
        """The carried value in an iteration that runs the body."""
        return self._switches[number].if_true

    def following(self, number: int, value: SSAValue) -> None:
        """Carry this into the next iteration."""
        merge = self._carried[number]
        merge.operands = [*merge.operands, self._make(fl.NextIteration, value)]

    def last(self, number: int, spec: Spec | None = None) -> SSAValue:
        """The carried value after the loop; of another spec, if that is given: its sizes have other names outside."""
        left = self._make(fl.Exit, self._switches[number].if_false)
        if spec is None or spec == spec_of(left.type):
            return left
        return self._make.op(fl.Merge, left, result=(spec,)).value


def frame_names(ops: list[Operation]) -> set[str]:
    """The names of all frames."""
    return {op.frame.data for op in ops if isinstance(op, fl.Enter)}
