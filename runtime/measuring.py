"""How long each op of a step takes: the step is run with each op as a program of its own, one after the other."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import perf_counter

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Block, Operation

from dfc.backends import pipeline, xla
from dfc.errors import FailedPrecondition
from dfc.ir.ops.control import ControlFlow
from dfc.ir.ops.function import Func, Island
from dfc.ir.ops.state import Variable
from dfc.passes.colocation import names_of
from dfc.passes.costs import Costs
from dfc.passes.homes import is_replicated
from dfc.passes.phases import Phase
from dfc.runtime.flow import Values
from dfc.runtime.variables import VariableState

MEASURED = "measured"
"""An attribute: the name under which the time of an op counts."""

Run = Callable[[Values], Values]


def lower_apart(program: ModuleOp, passes: Mapping[Phase, str] = {}) -> None:
    """The default passes up to phase clustered, in place and for one device, with each op in an island of its own that
    says for which op of the step it is: of what is in a loop or a branch, that loop or branch."""
    pipeline.lower(program, to=Phase.GRAPH, passes=passes)
    for func in program.ops:
        if isinstance(func, Func):
            names = names_of(func)
            for op in func.block.ops:
                if name := names.get(id(op)):
                    _mark(op, StringAttr(name))
    apart = {Phase.PLACED: "", Phase.CLUSTERED: "cluster{separate=true}"}
    pipeline.lower(program, start=Phase.GRAPH, passes={**passes, **apart})


def _mark(op: Operation, name: StringAttr) -> None:
    if is_replicated(op):
        return  # no work: each island has its own
    op.attributes[MEASURED] = name
    if isinstance(op, ControlFlow):
        for block in op.blocks:
            for inner in block.ops:
                _mark(inner, name)


def copied(func: Func, variables: Mapping[str, VariableState]) -> dict[str, VariableState]:
    """Other variables for those that the function uses, with the same values."""
    found: dict[str, VariableState] = {}
    for op in func.block.ops:
        if isinstance(op, Variable) and (state := variables.get(op.variable.data)) is not None:
            value = None
            with suppress(FailedPrecondition):  # one without a value may be given one; else the run says so
                value = state.numpy()
            found[state.name] = VariableState(state.name, state.spec, value, hint=state.hint)
    return found


class Stopwatch:
    """The time that the islands of a step have taken on this type of device, by the op that they are for."""

    def __init__(self, variables: Mapping[str, VariableState], on: str) -> None:
        self._variables, self._on = variables, on
        self._now: dict[str, float] = {}
        self._runs: list[dict[str, float]] = []

    def around(self, island: Island, run: Run) -> Run:
        """What runs the island and notes how long that takes."""
        name = _name_in(island.block)
        owners = (ref.owner for ref in island.refs)
        states = [self._variables[op.variable.data] for op in owners if isinstance(op, Variable)]

        def timed(values: Values) -> Values:
            _await(values, states)
            start = perf_counter()
            results = run(values)
            _await(results, states)
            self._now[name] = self._now.get(name, 0.0) + perf_counter() - start
            return results

        return timed if name else run

    def lap(self, keep: bool) -> None:
        """A run of the step is over; `keep` what it took, or forget it."""
        if keep:
            self._runs.append(self._now)
        self._now = {}

    def costs(self, costs: Costs) -> Costs:
        """These costs with the median time of each op, less what to start a program takes: the least time of all ops,
        at most the island's of `costs`."""
        names = dict.fromkeys(name for run in self._runs for name in run)
        medians = {name: statistics.median(run.get(name, 0.0) for run in self._runs) for name in names}
        start = min([costs.island, *medians.values()])
        return costs.with_measured({name: max(seconds - start, 0.0) for name, seconds in medians.items()}, self._on)


def _name_in(block: Block) -> str:
    for op in block.ops:
        found = op.attributes.get(MEASURED)
        if isinstance(found, StringAttr):
            return found.data
    return ""


def _await(values: Values, states: list[VariableState]) -> None:
    """Until the values, and those of the variables, are computed."""
    for value in (*values, *(state.buffer for state in states)):
        xla.wait(value)
