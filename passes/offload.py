"""Variables in the host's memory: an island that uses some gets their values from the host and gives new ones back."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, BlockArgument, SSAValue

from dfc.errors import ResourceExhausted
from dfc.ir.builder import Builder, clone_into, erase, replace_uses
from dfc.ir.construct import append
from dfc.ir.op import end_of
from dfc.ir.ops.function import Func, Island, Yield, single_block_region, specs_of
from dfc.ir.ops.graph import After
from dfc.ir.ops.offload import Evict, Fetch, Hold, LetGo, Release
from dfc.ir.ops.state import Group, Variable
from dfc.ir.types import CONTROL, nbytes, spec_behind, spec_of, tensor_type
from dfc.passes.capacities import behind_gates, kept_on_stacks, without_guards
from dfc.passes.compilable import SOURCES
from dfc.passes.frames import has_gates
from dfc.passes.late import alone_in, symbols_of
from dfc.passes.manager import Pass
from dfc.passes.one_island import position_of
from dfc.passes.segments import Parts, Room, Segment, cut

HALVED = 8
"""How often it is tried to leave half as much room for what loops keep, of which often less comes to be than might."""
NOTHING = 64
"""Halved so often, it is nothing."""


@dataclass(frozen=True)
class Offload(Pass):
    """Bring the values of variables that live in the host's memory to islands, and their new values back.

    Requires: phase clustered.
    Ensures: no island has a reference to such a variable. A df.hold stands before what was an island with some, a
    df.let_go behind it, so that reading and writing them is one act as it was; in between, df.fetch gives values as
    inputs, df.evict takes results. With a `limit` in bytes, of which other variables have `taken` some, an island whose
    variables don't fit is several: what two that follow each other need fits together, and a df.fetch waits until room
    for it was given back, so that one is computed while variables for the next one come. Nothing waits for room when
    the step runs. Variables of which nothing is computed do not go to the device at all. What an island has read and
    gives as it is stays in the host's memory, and others bring it to the device for those parts that need it.

    With `late_inputs` the function's inputs may come one by one.
    """

    name: ClassVar[str] = "offload"
    limit: int = 0
    taken: int = 0
    late_inputs: bool = False

    def apply(self, program: ModuleOp) -> dict[str, int]:
        room = Room(self.limit, self.taken) if self.limit else None
        return offload(program, room, late_inputs=self.late_inputs)


def offload(program: ModuleOp, room: Room | None = None, *, late_inputs: bool = False) -> dict[str, int]:
    """Rewrite the islands of each function. Raises ResourceExhausted where an op needs more variables at once than
    there is room for."""
    islands = segments = 0
    for func in program.ops:
        if isinstance(func, Func):
            gated = has_gates(func.block)
            stacks = 0 if room is None else kept_on_stacks(func.block, room.limit)
            for op in list(func.block.ops):
                lent = room is not None and isinstance(op, Island) and any(map(_lent, op.inputs))
                if isinstance(op, Island) and (lent or any(map(is_offloaded, op.refs))):
                    segments += _Rewriting(op, room, stacks, late_inputs, gated).run()
                    islands += 1
    return {"islands": islands, "segments": segments}


def is_offloaded(ref: SSAValue) -> bool:
    """Whether the reference is to a variable in the host's memory."""
    owner = ref.owner
    return isinstance(owner, Variable) and owner.offload is not None and owner.offload.data


def _lent(value: SSAValue) -> str | None:
    """The name of the variable in the host's memory whose value this is as an earlier island had it, if it is there."""
    value = behind_gates(value)
    owner = value.owner
    ref = owner.ref_of(value) if isinstance(owner, Fetch) and owner.on_host.data else None
    return None if ref is None else _name(ref)


class _Rewriting:
    """An island while it becomes segments."""

    def __init__(self, island: Island, room: Room | None, stacks: int, late_inputs: bool, gated: bool) -> None:
        self.island, self.room, self.stacks, self.late_inputs, self.gated = island, room, stacks, late_inputs, gated
        self.block, self.refs, self.end = island.block, island.refs, end_of(island.block)
        lent = {} if room is None else {i: name for i, v in enumerate(island.inputs) if (name := _lent(v)) is not None}
        self.parts = Parts(island, (i for i, ref in enumerate(self.refs) if is_offloaded(ref)), tuple(lent))
        self.names = [*map(_name, self.refs), *lent.values()]
        """Of variables, by number."""
        self.make = Builder.before_op(island)
        self.counts = self.parts.counts()
        """The numbers of iterations for lengths that are chosen; None where no part can be left to choose one alone."""
        if room is not None and self.counts:
            without_guards(island)  # what is written to the host's memory is written when all is done
            self.parts = Parts(island, (n for n in self.parts.offloaded if n < len(self.refs)), tuple(lent))
        self.segments = self._cut()
        self.where = {id(op): number for number, s in enumerate(self.segments) for op in s.ops}
        self.sized = self._tell_sizes()
        """What each segment takes to know sizes by."""
        self.tellers = {value for values in self.sized for value in values}
        self.outside: dict[SSAValue, SSAValue] = dict(zip(self.block.args, island.inputs, strict=False))
        """What stands outside for each value of the island's block, once it does."""
        self.host: list[SSAValue] = []
        """Values of variables that are used as they are, without a device."""
        self.done: list[SSAValue] = []
        """Tokens of all that must have happened before others may go on."""
        self.released: list[SSAValue] = []
        """For each segment a token that says that what it and those before it had fetched is gone."""
        self.readers: dict[int, list[SSAValue]] = {}
        """Tokens of the segments that have read a variable of the device, by reference."""
        finals = self.end.operands[self.parts.n_results :]
        self.final = dict(zip(self.parts.written, finals, strict=False))
        """The value that each written reference gets."""

    def run(self) -> int:
        """The number of segments that there are now."""
        self.hold = self._hold()
        for number in range(len(self.segments)):
            self._add(number)
        self._write_what_is_not_computed()
        given = [self._result(value) for value in self.end.operands[: self.parts.n_results]]
        if self.host:
            self.done.append(self.make(Group, *self.host))
        token = self.make(LetGo, self.hold.handle, *dict.fromkeys(self.done))
        results: dict[SSAValue, SSAValue] = dict(zip(self.island.results, [*given, token], strict=True))
        for old, new in results.items():
            new.name_hint = new.name_hint or old.name_hint
        replace_uses(results)
        erase(self.island)
        return len(self.segments)

    # ---- what there is to do

    def _cut(self) -> list[Segment]:
        parts, room = self.parts, self.room
        if room is not None and self.counts is not None:
            found = self._cut_beside_loops(room)
            self._write_once(found)
        else:
            found = [Segment(parts.ops, again=bool(self.island.needed))]
            for op in parts.ops:
                found[0].uses.update(dict.fromkeys(parts.uses(op)))
                found[0].gives.update(dict.fromkeys(parts.gives(op)))
            self._require_room(found[0])
        if not found:
            found = [Segment()]
        for slot, value in enumerate(end_of(self.island.block).operands[parts.n_results :]):
            if slot < len(parts.written) and (number := parts.written[slot]) not in parts.offloaded:
                if not any(number in s.gives for s in found):  # the device's, and not computed: any segment does it
                    found[-1].gives[number] = None
                read = parts.reference(value)
                if read is not None and read not in parts.offloaded:
                    found[-1].uses[read] = None
        return found

    def _cut_beside_loops(self, room: Room) -> list[Segment]:
        """Segments that fit together with what loops keep while they run and what is on stacks, or with as much of that
        as there is room for."""
        for halved in range(HALVED if self.stacks or self.parts.kept else 0):
            smaller = replace(room, taken=room.taken + (self.stacks >> halved))
            with suppress(ResourceExhausted):
                found = cut(self.parts, smaller, self.names, halved)
                self.room = smaller
                return found
        return cut(self.parts, room, self.names, NOTHING)

    def _require_room(self, segment: Segment) -> None:
        """The same for an island that stays whole."""
        if self.room is None:
            return
        needed = self.parts.needed(segment.ops, again=segment.again)
        segment.nbytes = sum(needed.values())
        if segment.nbytes > self.room.free:
            op = next((op for op in segment.ops if id(op) in self.parts.lengths), self.island)
            raise self.room.exceeded(op, {self.names[n]: size for n, size in needed.items()})

    def _write_once(self, segments: list[Segment]) -> None:
        """Have nothing written by what may run again: to variables of the device a later segment gives its value."""
        for segment in segments:
            segment.gives = {n: None for n in segment.gives if not segment.again or n in self.parts.offloaded}
        if segments and segments[-1].again:
            segments.append(Segment())

    def _tell_sizes(self) -> list[list[SSAValue]]:
        """For each segment, values of sizes that its ops have and what they take does not."""
        tellers: dict[str, SSAValue] = {}
        for value in self.block.args[: self.parts.n_inputs]:
            for symbol in alone_in([value]):
                tellers.setdefault(symbol, value)
        found: list[list[SSAValue]] = []
        for segment in self.segments if len(self.segments) > 1 else ():
            found.append([])
            known, wanted = set[str](), set[str]()
            for op in segment.ops:
                sources = [o.owner for o in op.operands if isinstance(o.owner, SOURCES)]
                wanted |= symbols_of(op).union(*map(symbols_of, sources))
                taken = [o for o in op.operands if o.owner not in sources and not self._is_in(o, segment)]
                known |= alone_in(taken)
                known.update(self.parts.lengths.get(id(op), ()))
            for symbol in sorted(wanted - known):
                found[-1].append(tellers[symbol])
            for op in segment.ops:
                for symbol in alone_in(list(op.results)):
                    tellers.setdefault(symbol, next(r for r in op.results if symbol in alone_in([r])))
        return found or [[] for _ in self.segments]

    def _is_in(self, value: SSAValue, segment: Segment) -> bool:
        number = self.where.get(id(value.owner))
        return number is not None and self.segments[number] is segment

    def _hold(self) -> Hold:
        """What comes first: when all inputs are there, so that nothing has to wait while others wait for this."""
        tokens = [o for o in self.island.operands if o.type is CONTROL]
        inputs = [v for v in self.island.inputs if self.late_inputs or not isinstance(v, BlockArgument)]
        if inputs:
            tokens = [self.make(Group, *inputs, *tokens)]
        held = [n for n in range(len(self.refs)) if n in self.parts.offloaded or n in self.parts.written]
        written = tuple(index for index, n in enumerate(held) if n in self.parts.written)
        read = tuple(index for index, n in enumerate(held) if self._before(n).first_use is not None)
        refs = (self.refs[n] for n in held)
        return self.make.op(Hold, *refs, *tokens, written=written, read=read, alone=self.room is not None)

    # ---- a segment

    def _add(self, number: int) -> None:
        """The segment's island, between what it fetches and what it gives back."""
        segment = self.segments[number]
        after = self._room_given_back(number)
        fetched = [n for n in segment.uses if n in self.parts.offloaded]
        values: dict[int, SSAValue] = {}
        if fetched:
            values = self._fetch(fetched, after)
        exported = self._exported(number)
        if segment.ops or exported or any(n not in self.parts.offloaded for n in segment.gives):
            self._add_island(number, values, exported, [] if fetched else after or [self.hold.token])
        evicted = {n: self.final[n] for n in segment.gives if n in self.parts.offloaded}
        tokens = []
        if evicted:
            tokens.append(self._evict(evicted, () if segment.again else values, made=True))
        if self.room is not None and (fetched or evicted or segment.keeps):
            tokens = self._release([n for n in fetched if n not in evicted or segment.again], exported, tokens)
        self.done += tokens
        self.released += tokens[-1:] or self.released[-1:] or [self.hold.token]

    def _fetch(self, numbers: list[int], after: list[SSAValue]) -> dict[int, SSAValue]:
        """The values on the device."""
        own, lent, names = self._own_and_lent(numbers)
        given = [self.outside[self.parts.before(n)] for n in lent]
        refs = [self.refs[n] for n in own]
        fetch = self.make.op(Fetch, self.hold.handle, *refs, *given, *after, on_host=False, **names)
        return dict(zip([*own, *lent], fetch.results, strict=True))

    def _own_and_lent(self, numbers: Iterable[int]) -> tuple[list[int], list[int], dict[str, Any]]:
        """Those of references, those of values that an earlier island had, and what says which variables these are."""
        own, lent = list[int](), list[int]()
        for n in numbers:
            (own if n < len(self.refs) else lent).append(n)
        return own, lent, {"lent": tuple(self.names[n] for n in lent)} if lent else {}

    def _room_given_back(self, number: int) -> list[SSAValue]:
        """The token to wait for so that the segment's variables fit beside those of the segments before it which are
        still there."""
        if self.room is None:
            return []
        sizes = [segment.nbytes for segment in self.segments[number::-1]]
        fitting = sum(total <= self.room.free for total in accumulate(sizes))
        first = number - max(fitting, 1)
        return [self.released[first]] if first >= 0 else []

    def _exported(self, number: int) -> list[SSAValue]:
        """What the segment's island gives to others."""
        found: dict[SSAValue, None] = {}
        for n, value in enumerate(self.block.args[self.parts.n_inputs :]):
            if n not in self.parts.offloaded and self._home(n) == number and self._leaves(value, number):
                found[value] = None
                self.segments[number].uses[n] = None
        for op in self.segments[number].ops:
            found.update((result, None) for result in op.results if self._leaves(result, number))
        if not found and self.room is not None and self.segments[number].ops:
            every = [result for op in self.segments[number].ops for result in op.results]
            found[min(every, key=lambda value: nbytes(spec_of(value.type)))] = None  # it says when all is computed
        return list(found)

    def _home(self, reference: int) -> int:
        """The last segment that may read a variable of the device."""
        writing = [number for number, segment in enumerate(self.segments) if reference in segment.gives]
        return writing[-1] if writing else len(self.segments) - 1

    def _leaves(self, value: SSAValue, number: int) -> bool:
        """Whether something beside the segment's island takes the value. What variables of the device get is no result
        of the island; but for those of a variable, it may be of an earlier one."""
        is_argument = isinstance(value, BlockArgument)
        if value in self.tellers and not is_argument:
            return True
        for use in value.uses:
            if use.operation is self.end:
                slot = use.index - self.parts.n_results
                if slot >= len(self.parts.written):
                    continue
                if slot < 0 or self.parts.written[slot] in self.parts.offloaded:
                    return True
                if self._home(self.parts.written[slot]) != number:
                    return True
            elif self.where[id(use.operation)] > number or (
                self.where[id(use.operation)] != number and not is_argument
            ):
                return True
        return False

    def _add_island(
        self, number: int, fetched: dict[int, SSAValue], exported: list[SSAValue], after: list[SSAValue]
    ) -> None:
        segment, parts = self.segments[number], self.parts
        written = [n for n in segment.gives if n not in parts.offloaded]
        read = [n for n in segment.uses if n not in parts.offloaded and self._home(n) >= number]
        refs = list(dict.fromkeys([*written, *read]))
        arguments: dict[SSAValue, SSAValue] = {self._before(n): value for n, value in fetched.items()}
        for value in self._taken(number, written):
            owner = value.owner
            if value in arguments or isinstance(owner, SOURCES) or self.where.get(id(owner)) == number:
                continue
            if (n := parts.reference(value)) is None or n not in refs:
                arguments[value] = self._given(value)
        outer = [*arguments.values(), *(self.refs[n] for n in refs)]
        region, block = single_block_region([tensor_type(*spec_behind(v.type)) for v in outer])
        inner: dict[SSAValue, SSAValue] = dict(zip([*arguments, *map(self._before, refs)], block.args, strict=True))
        for argument, value in zip(block.args, outer, strict=True):
            argument.name_hint, argument.location = value.name_hint, position_of(value)
        self._fill(block, number, inner)
        new = [self._inside(self.final[n], block, inner) for n in written]
        names, needs = self._lengths(segment)
        yields = [*(inner.get(v, v) for v in exported), *new, *(inner.get(v, v) for v in needs)]
        Builder(block, location=self.island.location).op(Yield, *yields)
        before = [t for n in written for t in self.readers.get(n, ())]
        island = self.make.op(
            Island,
            *outer,
            *dict.fromkeys([*after, *before]),
            regions=[region],
            n_inputs=len(arguments),
            n_refs=len(refs),
            written=tuple(range(len(written))),
            results=specs_of(exported),
            **({"needs": names} if names else {}),
        )
        self.outside.update(zip(exported, island.results, strict=False))
        for n in refs:
            self.readers.setdefault(n, []).append(island.results[-1])
        self.done.append(island.results[-1])

    def _taken(self, number: int, written: list[int]) -> list[SSAValue]:
        """The values that the segment's ops take, and those that variables of the device get, each once."""
        taken = (o for op in self.segments[number].ops for o in op.operands)
        return list(dict.fromkeys([*taken, *(self.final[n] for n in written), *self.sized[number]]))

    def _lengths(self, segment: Segment) -> tuple[tuple[str, ...], list[SSAValue]]:
        """The lengths that are chosen when the segment runs, and the values that say how many iterations there were."""
        if self.counts is None:
            return self.island.needed, list(self.end.operands[self.parts.n_results + len(self.parts.written) :])
        names = tuple(name for op in segment.ops for name in self.parts.lengths.get(id(op), ()))
        return names, [self.counts[name] for name in names]

    def _fill(self, block: Block, number: int, inner: dict[SSAValue, SSAValue]) -> None:
        """Move the segment's ops into the block, with constants of its own."""
        for op in self.segments[number].ops:
            for operand in op.operands:
                self._inside(operand, block, inner)
            if any(o in inner for o in op.operands):
                op.operands = [inner.get(o, o) for o in op.operands]
            self.block.detach_op(op)
            append(block, op)

    def _inside(self, value: SSAValue, block: Block, inner: dict[SSAValue, SSAValue]) -> SSAValue:
        """What stands for the value in the segment's block: of a constant a copy."""
        if value not in inner and isinstance(value.owner, SOURCES):
            clone_into(value.owner, Builder(block), inner)
        return inner.get(value, value)

    def _before(self, reference: int) -> SSAValue:
        """A variable's value before the island, in its block."""
        return self.parts.before(reference)

    def _evict(self, values: dict[int, SSAValue], fetched: Iterable[int], *, made: bool) -> SSAValue:
        numbers = list(values)
        in_place = tuple(index for index, n in enumerate(numbers) if n in set(fetched))
        refs, new = (self.refs[n] for n in numbers), (self.outside[value] for value in values.values())
        return self.make(Evict, self.hold.handle, *refs, *new, made=made, in_place=in_place)

    def _release(self, fetched: list[int], exported: list[SSAValue], evicted: list[SSAValue]) -> list[SSAValue]:
        """What gives the rest of the segment's room back, and comes after those of segments before it."""
        before = [t for t in self.released[-1:] if t is not self.hold.token]
        computed = [] if evicted else [min(exported, key=lambda value: nbytes(spec_of(value.type)))]
        own, _, names = self._own_and_lent(fetched)
        refs, given = (self.refs[n] for n in own), (self.outside[value] for value in computed)
        return [self.make(Release, self.hold.handle, *refs, *given, *evicted, *before, **names)]

    # ---- what needs no device

    def _given(self, value: SSAValue) -> SSAValue:
        """A value of the island's block as it stands outside."""
        found = self.outside.get(value)
        if found is None and isinstance(value.owner, SOURCES):
            found = clone_into(value.owner, self.make, {}).results[0]
        elif found is None:
            n = self.parts.reference(value)
            assert n is not None and n in self.parts.offloaded, "an op's results are outside"
            found = self.make(Fetch, self.hold.handle, self.refs[n], on_host=True)
            self.host.append(found)
        self.outside[value] = found
        return found

    def _result(self, value: SSAValue) -> SSAValue:
        """What stands for a result of the island: if that may be dead, so is one that is handed on as it is."""
        given = self._given(value)
        is_input = isinstance(value, BlockArgument) and value.index < self.parts.n_inputs
        if self.gated and (is_input or isinstance(value.owner, SOURCES)):
            return self.make(After, given, self.hold.token)
        return given

    def _write_what_is_not_computed(self) -> None:
        """Variables in the host's memory that get an input, a constant or another variable's value."""
        computed = {n for segment in self.segments for n in segment.gives}
        rest = {n: v for n, v in self.final.items() if n in self.parts.offloaded and n not in computed}
        rest = {n: value for n, value in rest.items() if value is not self._before(n)}
        for value in rest.values():
            self._given(value)
        if rest:
            self.done.append(self._evict(rest, (), made=False))


def _name(ref: SSAValue) -> str:
    owner = ref.owner
    assert isinstance(owner, Variable), "a reference comes from df.variable"
    return owner.variable.data
