"""Runs of ops that one device can execute become islands: one program each, variables in and out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from dfc.ir import locations
from dfc.ir.builder import Builder, clone_into, erase, replace, replace_uses
from dfc.ir.construct import append
from dfc.ir.op import Op
from dfc.ir.ops.function import (
    Func,
    Island,
    Return,
    Yield,
    single_block_region,
    specs_of,
    split_tokens,
)
from dfc.ir.ops.state import Group, Read, Variable, Write
from dfc.ir.types import CONTROL, spec_behind, tensor_type
from dfc.passes.compilable import STATE, class_compilable, has_strings
from dfc.passes.manager import Pass
from dfc.passes.one_island import SOURCES, one_island, position_of
from dfc.passes.phases import GONE, Phase, leftover
from dfc.passes.writes import written_value


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
            alone = one_island(func)
            sizes = [alone] if alone is not None else [len(run.ops) for run in _Function(func).cluster() if run.ops]
            islands, ops = islands + len(sizes), ops + sum(sizes)
    return {"islands": islands, "ops in them": ops}


Token = SSAValue | int
"""A token of a host op, or the stage of the run whose island gives it."""


@dataclass
class _Run:
    """The ops of one island to be, and where it meets the rest."""

    stage: int
    ops: list[Operation] = field(default_factory=list)
    inputs: dict[SSAValue, list[tuple[Operation, int]]] = field(default_factory=dict)  # from outside -> its uses here
    outputs: dict[SSAValue, None] = field(default_factory=dict)  # used outside
    refs: dict[SSAValue, None] = field(default_factory=dict)
    written: set[SSAValue] = field(default_factory=set)
    waits: dict[Token, None] = field(default_factory=dict)
    sources: dict[SSAValue, SSAValue] = field(default_factory=dict)  # of SOURCES used here -> this run's own
    token: list[SSAValue] = field(default_factory=list)  # of the island, once made, if it has one


class _Function:
    """One function while it is clustered.

    A stage is a run of compilable ops and, after it, the host ops that need it; host ops that need no run come first,
    at stage -1. An op's stage is the first that has all its operands. A path that leaves a run through a host op comes
    back at a later stage only, so the run is convex; and a run can't be joined with the next one, since a path through
    a host op leads from the one to the other.

    Tables go by `id`: hashing an op or a value calls Python, and all of them live as long as this object.
    """

    def __init__(self, func: Func) -> None:
        self.func, self.block = func, func.block
        self.runs: list[_Run] = []
        self.run_of: dict[int, _Run] = {}  # of compilable ops
        self.hosts: dict[int, int] = {}  # of host ops: the stage
        self.hosts_of: dict[int, list[Operation]] = {}  # the host ops of each stage
        self.tokens: dict[SSAValue, dict[Token, None]] = {}  # what a token of the old function waits for
        self.variables: dict[str, SSAValue] = {}
        self.strings = has_strings(self.block.args)  # whether there has been one
        self.done: list[Operation] = []  # ops that have no place in the clustered function

    def cluster(self) -> list[_Run]:
        for op in list(self.block.ops):
            self._visit(op)
        self._place_hosts(-1)
        for run in self.runs:
            if run.ops:
                self._make_island(run)
            self._place_hosts(run.stage)
        self._resolve_tokens(self.func.terminator)
        for op in self.done:
            op.operands = []
        for op in self.done:
            erase(op)
        return self.runs

    # ---- first, who goes where

    def _visit(self, op: Operation) -> None:
        cls = type(op)
        strings = has_strings(op.results)
        self.strings |= strings
        if class_compilable(cls) and not strings and not (self.strings and has_strings(op.operands)):
            if cls in SOURCES:
                self.done.append(op)  # copied into each run that uses it
            else:
                self._into_run(op)
        elif isinstance(op, Return):
            self._takes(op, len(self.runs))
        elif isinstance(op, Variable):
            first = self.variables.setdefault(op.variable.data, op.ref)
            if first is not op.ref:
                replace(op, [first])
        elif isinstance(op, Group):
            self.tokens[op.token] = {t: None for o in op.operands for t in self.tokens[o]}
            self.done.append(op)
        elif op.name in GONE[Phase.GRAPH]:
            raise leftover(op, Phase.CLUSTERED, GONE[Phase.GRAPH][op.name])
        else:
            stage = self.hosts[id(op)] = self._stage(op, first=-1, after_host=0)
            self._takes(op, stage)
            self.hosts_of.setdefault(stage, []).append(op)
            self.tokens.update((r, {r: None}) for r in op.results if r.type is CONTROL)

    def _run(self, stage: int) -> _Run:
        while len(self.runs) <= stage:
            self.runs.append(_Run(len(self.runs)))
        return self.runs[stage]

    def _stage(self, op: Operation, first: int, after_host: int) -> int:
        """The first stage, from `first` on, that has all operands; what a host op gives is there `after_host` later."""
        stage = first
        for operand in op.operands:
            for value in self.tokens[operand] if operand.type is CONTROL else (operand,):
                if isinstance(value, int):
                    made = value
                elif run := self.run_of.get(id(value.owner)):
                    made = run.stage
                elif id(value.owner) in self.hosts:
                    made = self.hosts[id(value.owner)] + after_host
                else:
                    made = 0 if type(value.owner) in SOURCES else first
                if made > stage:
                    stage = made
        return stage

    def _into_run(self, op: Operation) -> None:
        run = self._run(self._stage(op, first=0, after_host=1) if self.hosts else 0)
        sources: dict[SSAValue, SSAValue] = {}
        for i, operand in enumerate(op.operands):
            owner = operand.owner
            if operand.type is CONTROL:
                run.waits.update((t, None) for t in self.tokens[operand] if t != run.stage)
            elif (made_in := self.run_of.get(id(owner))) is run:
                continue
            elif type(owner) is Variable:
                run.refs[operand] = None
            elif made_in is None and type(owner) in SOURCES and id(owner) not in self.hosts:
                sources[operand] = self._source(operand, run)
            else:
                run.inputs.setdefault(operand, []).append((op, i))
                if made_in is not None:
                    made_in.outputs[operand] = None
        if sources:
            op.operands = [sources.get(o, o) for o in op.operands]
        run.ops.append(op)
        self.run_of[id(op)] = run
        if isinstance(op, STATE):
            self.tokens[op.results[-1]] = {run.stage: None}

    def _takes(self, op: Operation, stage: int) -> None:
        """Note what an op beside the islands takes from them; a source comes from a run before it."""
        sources: dict[SSAValue, SSAValue] = {}
        for operand in op.operands:
            if type(operand.owner) in SOURCES and id(operand.owner) not in self.hosts:
                there = (run for run in self.runs[: stage + 1] if operand in run.sources)
                sources[operand] = self._source(operand, next(there, None) or self._run(0))
        if sources:
            op.operands = [sources.get(o, o) for o in op.operands]
        for operand in op.operands:
            self._leaves(operand)

    def _source(self, value: SSAValue, run: _Run) -> SSAValue:
        """The run's own copy of a constant or iota."""
        if value not in run.sources:
            op = value.owner
            assert isinstance(op, Op)
            copy = clone_into(op, Builder.before_op(op), {})
            run.ops.append(copy)
            self.run_of[id(copy)] = run
            run.sources[value] = copy.results[0]
        return run.sources[value]

    def _leaves(self, value: SSAValue) -> None:
        """Make the value a result of its island, if it comes from one."""
        run = self.run_of.get(id(value.owner))
        if run is not None and value.type is not CONTROL:
            run.outputs[value] = None

    # ---- then, the new function

    def _place_hosts(self, stage: int) -> None:
        for op in self.hosts_of.get(stage, ()):
            self._resolve_tokens(op)
            self.block.detach_op(op)
            self.block.insert_op_before(op, self.func.terminator)

    def _resolve_tokens(self, op: Operation) -> None:
        data, tokens = split_tokens(tuple(op.operands))
        if tokens:
            op.operands = [*data, *self._values({t: None for o in tokens for t in self.tokens[o]})]

    def _values(self, tokens: Iterable[Token]) -> list[SSAValue]:
        values = ([t] if isinstance(t, SSAValue) else self.runs[t].token for t in tokens)
        return list(dict.fromkeys(v for several in values for v in several))

    def _make_island(self, run: _Run) -> None:
        inputs = [op.operands[i] for (op, i), *_ in run.inputs.values()]
        refs = list(run.refs)
        region, block = single_block_region([tensor_type(*spec_behind(v.type)) for v in (*inputs, *refs)])
        for argument, value in zip(block.args, (*inputs, *refs), strict=True):
            argument.name_hint, argument.location = value.name_hint, position_of(value)
        inner: dict[SSAValue, SSAValue] = dict(zip(inputs, block.args, strict=False))
        current: dict[SSAValue, SSAValue] = dict(zip(refs, block.args[len(inputs) :], strict=True))
        self._fill(run, block, current, inner)
        written = [i for i, ref in enumerate(refs) if ref in run.written]
        location = self.func.location if locations.is_known(self.func.location) else run.ops[0].location
        yielded = [*(inner.get(v, v) for v in run.outputs), *(current[refs[i]] for i in written)]
        Builder(block, location=location).op(Yield, *yielded)
        island = Builder(self.block, before=self.func.terminator, location=location).op(
            Island,
            *inputs,
            *refs,
            *self._values(run.waits),
            regions=[region],
            n_inputs=len(inputs),
            n_refs=len(refs),
            written=tuple(written),
            results=specs_of(list(run.outputs)),
        )
        outputs = dict(zip(run.outputs, island.results, strict=False))
        replace_uses(outputs, lambda user: user.parent is not block)
        run.token = list(island.results[len(run.outputs) :])

    def _fill(
        self, run: _Run, block: Block, current: dict[SSAValue, SSAValue], inner: dict[SSAValue, SSAValue]
    ) -> None:
        """Move the run's ops into the island's block; reads and writes become values. `inner` has what stands there for
        inputs, and gets what reads become."""
        stale = {id(op) for uses in run.inputs.values() for op, _ in uses}
        for op in run.ops:
            cls = type(op)
            if id(op) in stale:
                op.operands = [inner.get(o, o) for o in op.operands]
            if cls is Read:
                value = inner[op.results[0]] = current[op.operands[0]]
                value.name_hint = value.name_hint or op.results[0].name_hint
                stale.update(id(use.operation) for use in op.results[0].uses)
                self.done.append(op)
            elif isinstance(op, Write):
                ref = op.operands[0]
                make = Builder(block, location=op.location, annotations=op.attributes)
                current[ref] = written_value(op, current[ref], make)
                run.written.add(ref)
                self.done.append(op)
            else:
                self.block.detach_op(op)
                append(block, op)
