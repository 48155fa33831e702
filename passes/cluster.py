"""Runs of ops that one device can execute become islands: one program each, variables in and out."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from dfc.errors import Unimplemented
from dfc.ir import locations
from dfc.ir.builder import Builder, clone_into, erase, replace, replace_uses
from dfc.ir.construct import append
from dfc.ir.cycles import is_from_later
from dfc.ir.op import Op, error_at
from dfc.ir.ops.control import NeedLength, Scan
from dfc.ir.ops.function import Func, Island, Return, Yield, single_block_region, specs_of, split_tokens
from dfc.ir.ops.graph import After
from dfc.ir.ops.state import Group, Read, Variable, Write
from dfc.ir.ops.transfer import LEVEL, TURN, Send, Transfer
from dfc.ir.types import CONTROL, nbytes, spec_behind, spec_of, tensor_type
from dfc.passes.capacities import add_need, guarded, whose_length
from dfc.passes.cheap import CHEAP
from dfc.passes.colocation import text_of
from dfc.passes.compilable import SOURCES, class_compilable, has_strings
from dfc.passes.costs import Costs
from dfc.passes.frames import has_gates
from dfc.passes.gated import Gated, for_host
from dfc.passes.late import alone_in, definers, needed_by, symbols_of
from dfc.passes.manager import Pass
from dfc.passes.one_island import one_island, position_of
from dfc.passes.phases import GONE, Phase, leftover
from dfc.passes.urgency import deciding, waves
from dfc.passes.writes import written_value


@dataclass(frozen=True)
class Cluster(Pass):
    """Group what a device can run into islands, as few as host ops between them allow.

    Requires: phase graph (no df.call, no df.gradients); block order is a valid order of effects.
    Ensures: each compilable op but constants is in a df.island, and no path leaves an island and enters it again;
    without host ops there is one island at most. Work that does not depend on a host op that may wait (a dequeue, say)
    is in no island with work that does. What another device waits for is in an island before other work that would take
    long; work on variables does not wait for another device because its users do. Inside, references are values: a read
    is the current value, a write makes the next, and `written` lists the references whose last value the island gives
    back. Outside stay handles of variables (one each), host ops, constants for them, and the return; tokens run between
    islands and host ops only. Each op keeps its position. Of a block with gates an island is of one frame, and its ops
    are live together; what merges take of an earlier iteration is no path. What says how many iterations a loop needed
    is in the loop's island.

    With `separate` each other op is an island of its own; with `late_inputs` the function's inputs may come one by one,
    and work is in no island with work that needs other ones.
    """

    name: ClassVar[str] = "cluster"
    separate: bool = False
    late_inputs: bool = False

    def apply(self, program: ModuleOp) -> dict[str, int]:
        return cluster(program, separate=self.separate, late_inputs=self.late_inputs)


def cluster(program: ModuleOp, *, separate: bool = False, late_inputs: bool = False) -> dict[str, int]:
    """Cluster each function. Raises FailedPrecondition for calls and gradient requests."""
    islands = ops = 0
    for func in program.ops:
        if isinstance(func, Func):
            alone = None if separate or late_inputs else one_island(func)
            runs = [] if alone is not None else _Function(func, separate, late_inputs).cluster()
            sizes = [len(run.sources) + len(run.ops) for run in runs] if alone is None else [alone]
            islands, ops = islands + len(sizes), ops + sum(sizes)
    return {"islands": islands, "ops in them": ops}


class _Key(NamedTuple):
    """What decides which run an op is in. `waits` has a bit for each host op that may wait, and for each late input, on
    a path to the op; `stage` counts the alternations of device and host on such a path, and above all transfers between
    devices, then their turns. `place` is the same for ops of one frame that are live together (`passes/gated.py`). Of
    what is else alike, what neither other devices nor the next iteration wait for has a later `wave`
    (`passes/urgency.py`).

    Keys only grow along a path: gates are the host's, so that who comes back to a place is at a later stage. So a path
    that leaves a run comes back to none of the same key, and runs of different keys don't need each other both ways.
    """

    stage: int
    waits: int
    place: int = 0
    wave: int = 0

    def joined(self, other: _Key) -> _Key:
        return _Key(max(self.stage, other.stage), self.waits | other.waits, self.place)

    def met(self, other: _Key) -> _Key:
        place = self.place if self.place == other.place else NOWHERE
        return _Key(min(self.stage, other.stage), self.waits & other.waits, place)


NOWHERE = -1
"""The place where ops of different places meet."""
APART = 20
"""Bits of a stage for alternations, and above them for turns; those above both count transfers."""
COSTS = Costs()
"""What says whether work is worth a program of its own."""


@dataclass(eq=False)
class _Unit:
    """A run, the ops of one island to be (`is_run`), or one op that stays outside; and where it meets the rest."""

    is_run: bool
    ops: list[Operation] = field(default_factory=list)
    position: int = 0  # in the function, of its first op
    wave: int = 0  # of a run
    inputs: dict[SSAValue, list[tuple[Operation, int]]] = field(default_factory=dict)  # from outside -> its uses here
    outputs: dict[SSAValue, None] = field(default_factory=dict)  # used outside
    refs: dict[SSAValue, None] = field(default_factory=dict)
    written: set[SSAValue] = field(default_factory=set)
    before: dict[_Unit, None] = field(default_factory=dict)  # units that it needs something of
    awaited: dict[Operation, None] = field(default_factory=dict)  # ops elsewhere whose tokens it takes
    sources: dict[SSAValue, Op] = field(default_factory=dict)  # of SOURCES used here -> this run's own copy
    needs: dict[str, SSAValue] = field(default_factory=dict)  # symbols of lengths that are chosen -> iterations
    token: list[SSAValue] = field(default_factory=list)  # of the island, once made


class _Function:
    """One function while it is clustered. Tables go by `id` where ops are many: hashing one calls Python."""

    def __init__(self, func: Func, separate: bool, late_inputs: bool) -> None:
        self.func, self.block, self.separate = func, func.block, separate
        self.bits = 0  # of `_Key.waits` given out
        self.late = {id(a): self._bit() for a in func.block.args} if late_inputs else {}
        self.keys: dict[int, _Key] = {}  # of ops for the device
        self.hosts: dict[int, _Key] = {}  # of ops for the host: what they need
        self.gives: dict[int, _Key] = {}  # and what using them means
        self.awaits: dict[SSAValue, dict[Operation, None]] = {}  # the ops that a token waits for
        self.variables: dict[str, SSAValue] = {}
        self.strings = has_strings(self.block.args)  # whether there has been one
        self.sizes = definers(func.block)
        self.counted: list[Scan] = []
        self.loops: dict[int, Operation] = {}  # of df.need_lengths: what they are about, and are with
        self.given: dict[SSAValue, SSAValue] = {}  # what islands give in the place of values that tell sizes
        self.gated = Gated(func.block, self._bit, self.late) if has_gates(func.block) else None
        self.position: dict[int, int] = {}
        self.unit_of: dict[int, _Unit] = {}
        self.done: dict[int, Operation] = {}  # ops that have no place in the clustered function

    def cluster(self) -> list[_Unit]:
        """The runs, in order."""
        ops = list(self.block.ops)
        for position, op in enumerate(ops):
            self.position[id(op)] = position
            self._classify(op)
        if not self.separate:
            self._sink(ops)
            self._hasten(ops)
        units = self._units(ops)
        for unit in units:
            self._connect(unit)
        self._leaving(self.func.terminator)
        ordered = _in_order(units)
        for unit in ordered:
            if unit.is_run:
                self._make_island(unit)
            else:
                self._place(unit.ops[0])
        self._place(self.func.terminator)
        for op in self.done.values():
            op.operands = []
        for op in self.done.values():
            erase(op)
        return [unit for unit in ordered if unit.is_run]

    # ---- first, what each op needs

    def _bit(self) -> int:
        self.bits += 1
        return 1 << (self.bits - 1)

    def _classify(self, op: Operation) -> None:
        cls = type(op)
        if self.strings or not op.operands:  # without strings going in, only a constant or a host op can give some
            strings = has_strings(op.results) or has_strings(op.operands)
            self.strings |= strings
        else:
            strings = False
        if isinstance(op, Variable):
            first = self.variables.setdefault(op.variable.data, op.ref)
            if first is not op.ref:
                replace(op, [first])
        elif self._is_source(op) or isinstance(op, Return):
            return
        elif isinstance(op, NeedLength) and (loop := whose_length(op, self.counted)) is not None:
            self.loops[id(op)] = loop
        elif class_compilable(cls) and not strings and not (self.gated is not None and for_host(op)):
            self.keys[id(op)] = self._needs(op, _Key(0, 0))
            self._gives_tokens(op)
            if isinstance(op, Scan):
                self.counted.append(op)
        elif isinstance(op, Group) and self._names_ops_only(op):
            self.awaits[op.token] = dict.fromkeys(_ops_behind(op, self.awaits))
            self.done[id(op)] = op
        elif op.name in GONE[Phase.GRAPH]:
            raise leftover(op, Phase.CLUSTERED, GONE[Phase.GRAPH][op.name])
        else:
            needs = self._needs(op, _Key(-1, 0))
            waits = 0
            if self.gated is not None:
                needs = _Key(self.gated.stage(op, needs.stage), needs.waits, needs.place)
                waits = self.gated.bits.get(id(op), 0)
            elif isinstance(op, Op) and op.WAITS:
                waits = self._bit()
            needs = needs._replace(stage=max(needs.stage, _least_stage(op)))
            self.hosts[id(op)] = needs
            self.gives[id(op)] = _Key(needs.stage + 1, needs.waits | waits)
            self.strings = self.strings or has_strings(op.results)
            self._gives_tokens(op)

    def _is_source(self, op: object) -> bool:
        """Whether each run that uses the op holds its own copy: not of one whose size an op has to tell."""
        return type(op) in SOURCES and not (self.sizes and isinstance(op, Operation) and symbols_of(op))

    def _names_ops_only(self, group: Group) -> bool:
        """Whether the group waits for ops that give tokens: for inputs, constants and gates there is none to take."""
        return all(o.type is CONTROL or id(o.owner) in self.keys or _gives_token(o.owner) for o in group.operands)

    def _gives_tokens(self, op: Operation) -> None:
        for result in op.results:
            if result.type is CONTROL:
                self.awaits[result] = {op: None}

    def _sized(self, op: Operation) -> list[SSAValue]:
        """What tells the op sizes that its operands don't."""
        if self.gated is not None:
            return self.gated.frames.sized(op, self.gated.frames.of(op))
        return needed_by(op, self.sizes)

    def _needs(self, op: Operation, start: _Key) -> _Key:
        """The least key at which all operands are there; `start` says whether the op is the device's or the host's."""
        key, for_host = start, start.stage < 0
        for owner in self._behind(op):
            found = self.keys.get(id(owner))
            if found is None and (given := self.hosts.get(id(owner))) is not None:
                found = self.gives[id(owner)]
                if for_host:  # no device work lies between
                    found = _Key(given.stage, found.waits)
            if found is not None:
                key = key.joined(found)
        if self.late:
            for operand in op.operands:
                key = key.joined(_Key(key.stage, self.late.get(id(operand), 0)))
        if self.gated is not None:
            key = _Key(key.stage, key.waits | self.gated.waits.get(id(op), 0), self.gated.place(op))
        return key

    def _sink(self, ops: list[Operation]) -> None:
        """Put reads, and pure ops that use them, with their users where these are later: a value that is used after a
        wait is read after it, and a step that reads and writes a variable is one island. Other work stays where it can
        begin at once: so does work that would come to wait for another device, but what costs next to nothing."""
        if len(set(self.keys.values())) < 2:
            return
        reading: set[int] = set()
        for op in ops:
            if type(op) is Read or any(id(operand.owner) in reading for operand in op.operands):
                reading.add(id(op))
        for op in reversed(ops):
            if id(op) in reading and (key := self.keys.get(id(op))) is not None and not isinstance(op, Write):
                self.keys[id(op)] = self._sink_one(op, key)

    def _sink_one(self, op: Operation, own: _Key) -> _Key:
        """The least key of the op's users, if a user for the device has it; else the op's own."""
        users = [use.operation for result in op.results for use in result.uses if id(use.operation) not in self.loops]
        of_device = {key for user in users if (key := self.keys.get(id(user))) is not None}
        least = next(iter(of_device), own)
        for user in users:
            key = self.keys.get(id(user)) or self.hosts.get(id(user), own)  # the return and groups: no later than now
            least = least.met(key)
        if least not in of_device or (_level(least) > _level(own) and type(op) is not Read and type(op) not in CHEAP):
            return own
        return least

    def _hasten(self, ops: list[Operation]) -> None:
        """Keep what another device or the next iteration waits for apart from work that would make it wait longer."""
        awaited: list[Operation] = [op for op in ops if type(op) is Send and nbytes(spec_of(op.x.type))]
        if self.gated is not None and any(isinstance(op, Transfer) for op in ops):
            awaited += deciding(ops, self._behind)
        sent = [(op, self.hosts[id(op)].stage) for op in awaited]
        if not sent:
            return
        found = waves(ops, self.keys, self._behind, sent, COSTS.estimate, COSTS.island)
        whole = self._torn(ops, found)
        for op in ops:
            if self.keys.get(id(op)) in whole:
                continue
            if wave := found.get(id(op), 0):
                self.keys[id(op)] = self.keys[id(op)]._replace(wave=wave)

    def _torn(self, ops: list[Operation], waves_of: dict[int, int]) -> set[_Key]:
        """The keys of which several programs would use a variable that one of them writes: they have one, so that what
        reads and writes a variable is one act."""
        uses: dict[tuple[_Key, SSAValue], set[int]] = {}
        written: set[tuple[_Key, SSAValue]] = set()
        for op in ops:
            key = self.keys.get(id(op))
            if key is not None and isinstance(op, Read | Write):
                uses.setdefault((key, op.operands[0]), set()).add(waves_of.get(id(op), 0))
                if isinstance(op, Write):
                    written.add((key, op.operands[0]))
        return {use[0] for use in written if len(uses[use]) > 1}

    def _behind(self, op: Operation) -> Iterator[Operation]:
        """The ops that this one needs."""
        yield from _ops_behind(op, self.awaits)
        if self.sizes:
            yield from (v.owner for v in self._sized(op) if isinstance(v.owner, Operation))

    # ---- then, who goes where

    def _units(self, ops: list[Operation]) -> list[_Unit]:
        runs: dict[_Key, _Unit] = {}
        units: list[_Unit] = []
        for op in ops:
            if (key := self.keys.get(id(op))) is not None:
                unit = None if self.separate else runs.get(key)
            elif id(op) in self.hosts:
                unit = None
            elif id(op) in self.loops:
                unit = self.unit_of[id(self.loops[id(op)])]
            else:
                if self._is_source(op):
                    self.done[id(op)] = op  # copied into each run that uses it; kept where another op does
                continue
            if unit is None:
                unit = _Unit(is_run=key is not None, position=self.position[id(op)])
                units.append(unit)
                if key is not None:
                    runs[key], unit.wave = unit, key.wave
            unit.ops.append(op)
            self.unit_of[id(op)] = unit
        return units

    def _connect(self, unit: _Unit) -> None:
        """Note what the unit takes from others."""
        for op in unit.ops:
            sources: dict[SSAValue, SSAValue] = {}
            for i, operand in enumerate(op.operands):
                owner = operand.owner
                if is_from_later(op, operand):
                    continue
                if operand.type is CONTROL:
                    self._wait(unit, self.awaits[operand])
                elif self._is_source(owner):
                    if unit.is_run:
                        sources[operand] = self._source(operand, unit)
                    else:
                        self.done.pop(id(owner), None)
                elif type(owner) is Variable:
                    unit.refs[operand] = None
                elif (made_in := self.unit_of.get(id(owner))) is not unit:
                    unit.inputs.setdefault(operand, []).append((op, i))
                    if made_in is not None:
                        unit.before[made_in] = None
                        made_in.outputs[operand] = None
            if sources:
                op.operands = [sources.get(o, o) for o in op.operands]
        if self.sizes and unit.is_run:
            self._take_sizes(unit)

    def _take_sizes(self, run: _Unit) -> None:
        """Let a run that has sizes which no input of it tells take values that do."""
        wanted = {symbol for op in run.ops for symbol in symbols_of(op)} & self.sizes.keys()
        for symbol in sorted(wanted - alone_in(list(run.inputs))):
            value = self.sizes[symbol]
            if self.gated is not None:
                value = self.gated.frames.teller(symbol, self.gated.frames.of(run.ops[0]))
            if self.unit_of[id(value.owner)] is run:
                continue
            if has_strings([value]):
                raise error_at(
                    Unimplemented,
                    run.ops[0],
                    f"the size {symbol} is known of strings only, which no device holds",
                    "take a tensor of numbers of that size along",
                )
            if self.gated is not None and not self.gated.is_with(value, run.ops[0]):
                raise error_at(
                    Unimplemented,
                    run.ops[0],
                    f"the size {symbol} is known in another frame, or on another branch",
                    "take a tensor of that size along",
                )
            made_in = self.unit_of[id(value.owner)]
            run.inputs.setdefault(value, [])
            run.before[made_in] = None
            made_in.outputs[value] = None

    def _wait(self, unit: _Unit, awaited: Iterable[Operation]) -> None:
        for op in awaited:
            made_in = self.unit_of[id(op)]
            if made_in is not unit:
                unit.before[made_in] = None
                unit.awaited[op] = None

    def _source(self, value: SSAValue, run: _Unit) -> SSAValue:
        """The run's own copy of a constant or iota."""
        if value not in run.sources:
            op = value.owner
            assert isinstance(op, Op)
            run.sources[value] = copy = clone_into(op, Builder.before_op(op), {})
            self.unit_of[id(copy)] = run
        return run.sources[value].results[0]

    def _leaving(self, end: Operation) -> None:
        """Note what the function returns."""
        for operand in end.operands:
            if self._is_source(operand.owner):
                self.done.pop(id(operand.owner), None)
            elif operand.type is not CONTROL and (run := self.unit_of.get(id(operand.owner))) is not None:
                run.outputs[operand] = None

    # ---- then, the new function

    def _place(self, op: Operation) -> None:
        """Put an op that stays outside behind what is placed already."""
        data, tokens = split_tokens(tuple(op.operands))
        if tokens:
            op.operands = [*data, *self._tokens(dict.fromkeys(o for t in tokens for o in self.awaits[t]))]
        if op is not self.func.terminator:
            self.block.detach_op(op)
            self.block.insert_op_before(op, self.func.terminator)

    def _tokens(self, awaited: Iterable[Operation]) -> list[SSAValue]:
        """A token for each run and each host op among those awaited."""
        found: dict[SSAValue, None] = {}
        for op in awaited:
            unit = self.unit_of[id(op)]
            found.update(dict.fromkeys(unit.token if unit.is_run else [r for r in op.results if r.type is CONTROL]))
        return list(found)

    def _make_island(self, run: _Unit) -> None:
        inputs = [
            uses[0][0].operands[uses[0][1]] if uses else self.given.get(value, value)
            for value, uses in run.inputs.items()
        ]
        refs = list(run.refs)
        region, block = single_block_region([tensor_type(*spec_behind(v.type)) for v in (*inputs, *refs)])
        for argument, value in zip(block.args, (*inputs, *refs), strict=True):
            argument.name_hint, argument.location = value.name_hint, position_of(value)
        inner: dict[SSAValue, SSAValue] = dict(zip(inputs, block.args, strict=False))
        current: dict[SSAValue, SSAValue] = dict(zip(refs, block.args[len(inputs) :], strict=True))
        first = dict(current)
        self._fill(run, block, current, inner)
        written = [i for i, ref in enumerate(refs) if ref in run.written]
        location = run.ops[0].location
        if self.gated is not None:  # its results may be dead, and an error says which
            location = run.ops[-1].location
        elif locations.is_known(self.func.location):
            location = self.func.location
        make = Builder(block, location=location)
        new = guarded(make, run.needs, [(current[refs[i]], first[refs[i]]) for i in written])
        make.op(Yield, *(inner.get(v, v) for v in run.outputs), *new, *run.needs.values())
        island = Builder(self.block, before=self.func.terminator, location=location).op(
            Island,
            *inputs,
            *refs,
            *self._tokens(run.awaited),
            regions=[region],
            n_inputs=len(inputs),
            n_refs=len(refs),
            written=tuple(written),
            results=specs_of(list(run.outputs)),
            **({"needs": tuple(run.needs)} if run.needs else {}),
        )
        outputs = dict(zip(run.outputs, island.results, strict=False))
        replace_uses(outputs, lambda user: user.parent is not block)
        if self.sizes:
            self.given.update(outputs)
        run.token = [island.results[-1]]

    def _fill(
        self, run: _Unit, block: Block, current: dict[SSAValue, SSAValue], inner: dict[SSAValue, SSAValue]
    ) -> None:
        """Move the run's ops into the island's block; reads and writes become values. `inner` has what stands there for
        inputs, and gets what reads become."""
        stale = {id(op) for uses in run.inputs.values() for op, _ in uses}
        for op in (*run.sources.values(), *run.ops):
            cls = type(op)
            if id(op) in stale:
                op.operands = [inner.get(o, o) for o in op.operands]
            if cls is Read or cls is After:
                value = inner[op.results[0]] = current[op.operands[0]] if cls is Read else op.operands[0]
                value.name_hint = value.name_hint or op.results[0].name_hint
                stale.update(id(use.operation) for use in op.results[0].uses)
                self.done[id(op)] = op
            elif isinstance(op, NeedLength):
                add_need(run.needs, op, op.count, Builder(block, location=op.location))
                self.done[id(op)] = op
            elif isinstance(op, Write):
                ref = op.operands[0]
                make = Builder(block, location=op.location, annotations=op.attributes)
                current[ref] = written_value(op, current[ref], make)
                run.written.add(ref)
                self.done[id(op)] = op
            else:
                self.block.detach_op(op)
                append(block, op)


def _ops_behind(op: Operation, awaits: dict[SSAValue, dict[Operation, None]]) -> Iterator[Operation]:
    """The ops that give the op's operands, those that its tokens stand for included."""
    for operand in op.operands:
        if operand.type is CONTROL:
            yield from awaits[operand]
        elif isinstance(owner := operand.owner, Operation):
            yield owner


def _least_stage(op: Operation) -> int:
    """The stage at which an op of the host happens at the earliest: those of different levels are far apart, and so are
    the turns of one."""
    level, turn = text_of(op, LEVEL), text_of(op, TURN)
    return int(level) << 2 * APART | int(turn or 0) << APART if level else -1


def _level(key: _Key) -> int:
    """How many transfers are on the longest way to what has the key."""
    return key.stage >> 2 * APART


def _gives_token(owner: object) -> bool:
    return isinstance(owner, Operation) and any(result.type is CONTROL for result in owner.results)


def _in_order(units: list[_Unit]) -> list[_Unit]:
    """Each unit after those that it needs; else in their waves, and as they stand in the function."""
    waiting = {id(unit): len(unit.before) for unit in units}
    needed_by: dict[int, list[int]] = {}
    for index, unit in enumerate(units):
        for before in unit.before:
            needed_by.setdefault(id(before), []).append(index)
    ready = [(unit.wave, unit.position, index) for index, unit in enumerate(units) if not unit.before]
    heapq.heapify(ready)
    ordered: list[_Unit] = []
    while ready:
        unit = units[heapq.heappop(ready)[2]]
        ordered.append(unit)
        for index in needed_by.get(id(unit), ()):
            waiting[id(units[index])] -= 1
            if not waiting[id(units[index])]:
                heapq.heappush(ready, (units[index].wave, units[index].position, index))
    assert len(ordered) == len(units), "runs need each other both ways"
    return ordered
