"""Runs of ops that one device can execute become islands: one program each, variables in and out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from dfc.ir.builder import replace
from dfc.ir.op import Op
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.elementwise import Add, Subtract
from dfc.ir.ops.function import Call, Func, Gradients
from dfc.ir.ops.shape import Iota
from dfc.ir.ops.state import AssignAdd, AssignSub, Group, Variable
from dfc.ir.types import CONTROL
from dfc.passes.compilable import compilable
from dfc.passes.manager import Pass
from dfc.passes.phases import GONE, Phase, leftover

ARITHMETIC: dict[type[Op], type[Op]] = {AssignAdd: Add, AssignSub: Subtract}
SOURCES = (ConstantOp, Iota)
"""Ops that need nothing: each island that uses one holds its own copy, since making it is cheaper than passing it."""


@dataclass(frozen=True)
class Cluster(Pass):
    """Group what a device can run into islands, as few as host ops between them allow.

    Requires: phase graph (no df.call, no df.gradients); block order is a valid order of effects.
    Ensures: each compilable op is in a df.island, and no path leaves an island and enters it again; without host ops
    there is one island at most. Inside, references are values: a read is the current value, a write makes the next, and
    `written` lists the references whose last value the island gives back. Outside stay handles of variables (one each),
    host ops and the return; tokens run between islands and host ops only. Each op keeps its position.
    """

    name: ClassVar[str] = "cluster"

    def apply(self, program: ModuleOp) -> dict[str, int]:
        return cluster(program)


def cluster(program: ModuleOp) -> dict[str, int]:
    """Cluster each function. Raises FailedPrecondition for calls and gradient requests."""
    islands = ops = 0
    for func in program.ops:
        if isinstance(func, Func):
            runs = [run for run in _Function(func).emit() if run.ops]
            islands, ops = islands + len(runs), ops + sum(len(run.ops) for run in runs)
    return {"islands": islands, "ops in them": ops}


@dataclass
class _Run:
    """The ops of one island to be, and where it meets the rest. Values are those of the function before clustering."""

    stage: int
    ops: list[Operation] = field(default_factory=list)
    hosts: list[Operation] = field(default_factory=list)  # host ops that come after this island and before the next
    inputs: dict[SSAValue, list[tuple[Operation, int]]] = field(default_factory=dict)  # from outside -> where used
    outputs: dict[SSAValue, None] = field(default_factory=dict)  # used outside
    refs: dict[SSAValue, None] = field(default_factory=dict)
    waits: dict[Token, None] = field(default_factory=dict)
    copies: dict[SSAValue, SSAValue] = field(default_factory=dict)  # of SOURCES


Token = SSAValue | int
"""A token of a host op, or the number of the run whose island's token it is."""


class _Function:
    """One function while it is clustered.

    An op's stage is the most host ops that any path to it goes through. The compilable ops of one stage are one run: a
    path that left it through a host op could only come back at a later stage, so the run is convex, and no two runs
    could be one.
    """

    def __init__(self, func: Func) -> None:
        self.func = func
        self.runs: list[_Run] = []
        self.stages: dict[Operation, int] = {}  # of compilable ops and host ops
        self.hosts: set[Operation] = set()
        self.tokens: dict[SSAValue, dict[Token, None]] = {}  # each token -> what it stands for at the end
        self.variables: dict[str, SSAValue] = {}
        self.outside_uses: list[tuple[Operation, int, SSAValue]] = []  # by host ops and the return, of islands' values

    def run(self, stage: int) -> _Run:
        while len(self.runs) <= stage:
            self.runs.append(_Run(len(self.runs)))
        return self.runs[stage]

    # ---- first walk: who goes where

    def assign(self) -> None:
        for op in list(self.func.block.ops):
            if isinstance(op, Variable):
                self.one_handle(op)
            elif isinstance(op, Group):
                self.tokens[op.token] = {t: None for o in op.operands for t in self.tokens[o]}
            elif isinstance(op, Call | Gradients):
                raise leftover(op, Phase.CLUSTERED, GONE[Phase.GRAPH][op.name])
            elif isinstance(op, SOURCES) and compilable(op):
                continue  # goes where it is used
            elif compilable(op):
                self.into_run(op)
            else:
                self.beside_runs(op)

    def one_handle(self, op: Variable) -> None:
        first = self.variables.setdefault(op.variable.data, op.ref)
        if first is not op.ref:
            replace(op, [first])

    def stage_of(self, op: Operation, into_run: bool) -> int:
        stage = 0
        for operand in op.operands:
            if operand.type is CONTROL:
                stages = [self.after(t, into_run) for t in self.tokens[operand]]
            else:
                stages = [self.after(operand, into_run)]
            stage = max(stage, *stages, 0)
        return stage

    def after(self, value: Token, into_run: bool) -> int:
        """The first stage at which the value or token is there for a compilable op, or for a host op."""
        if isinstance(value, int):
            return value
        owner = value.owner
        stage = self.stages.get(owner, 0) if isinstance(owner, Operation) else 0
        return stage + 1 if into_run and owner in self.hosts else stage

    def into_run(self, op: Operation) -> None:
        stage = self.stages[op] = self.stage_of(op, into_run=True)
        run = self.run(stage)
        for i, operand in enumerate(op.operands):
            owner = operand.owner
            if operand.type is CONTROL:
                run.waits.update((t, None) for t in self.tokens[operand] if t != stage)
            elif isinstance(owner, Variable):
                run.refs[operand] = None
            elif isinstance(owner, SOURCES) and compilable(owner):
                op.operands[i] = self.source_in(run, operand)
            elif self.stages.get(owner) != stage or owner in self.hosts:  # type: ignore[arg-type]
                run.inputs.setdefault(operand, []).append((op, i))
                self.leaves_run(operand)
        run.ops.append(op)
        for result in op.results:
            if result.type is CONTROL:
                self.tokens[result] = {stage: None}

    def beside_runs(self, op: Operation) -> None:
        stage = self.stages[op] = self.stage_of(op, into_run=False)
        self.hosts.add(op)
        for i, operand in enumerate(op.operands):
            if operand.type is not CONTROL and not isinstance(operand.owner, Variable):
                source = self.source_owner(operand)
                if source is not None and source not in self.stages:
                    self.stages[source] = 0
                    self.run(0).ops.append(source)
                if self.leaves_run(operand):
                    self.outside_uses.append((op, i, operand))
        self.run(stage).hosts.append(op)
        for result in op.results:
            if result.type is CONTROL:
                self.tokens[result] = {result: None}

    def leaves_run(self, value: SSAValue) -> bool:
        """Make the value a result of the island that it comes from, if it comes from one."""
        owner = value.owner
        if isinstance(owner, Block) or owner in self.hosts:
            return False
        self.runs[self.stages[owner]].outputs[value] = None
        return True

    def source_owner(self, value: SSAValue) -> Operation | None:
        owner = value.owner
        return owner if isinstance(owner, SOURCES) and compilable(owner) else None

    def source_in(self, run: _Run, value: SSAValue) -> SSAValue:
        raise NotImplementedError

    def emit(self) -> list[_Run]:
        raise NotImplementedError
