"""Clustering where a device can do everything: the function's block becomes the block of the one island as it stands.

That is the usual case, and moving each op to another block would cost more than all other passes together.
"""

from __future__ import annotations

from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue

from dfc.ir import locations
from dfc.ir.builder import Builder, erase, replace, replace_uses
from dfc.ir.construct import drop_unused_arguments
from dfc.ir.ops.control import NeedLength
from dfc.ir.ops.function import Func, Island, Return, Yield, specs_of, split_tokens
from dfc.ir.ops.graph import After
from dfc.ir.ops.state import Group, Read, Variable, Write
from dfc.ir.types import spec_behind, tensor_type
from dfc.passes.capacities import add_need, guarded
from dfc.passes.compilable import class_compilable, has_strings
from dfc.passes.writes import written_value


def one_island(func: Func) -> int | None:
    """Make everything in the function one island and say how many ops that are. None, and nothing is changed, where the
    host has something to do or the device has nothing."""
    outer: list[Operation] = []
    effects: list[Operation] = []
    count = _sort(func.block, outer, effects)
    return None if count is None else _Enclosing(func).run(outer, effects, count)


def _sort(block: Block, variables: list[Operation], effects: list[Operation]) -> int | None:
    """Collect the handles of variables and, in order, what takes tokens. The number of ops for the device, or None as
    in `one_island`."""
    count = 0
    if has_strings(block.args):
        return None
    op = block.first_op
    while op is not None:
        cls = type(op)
        if cls is Variable:
            if has_strings(op.results):
                return None
            variables.append(op)
        elif cls is Group:
            effects.append(op)
        elif class_compilable(cls):
            if not op._operands and has_strings(op.results):  # without strings going in, only a constant can be one
                return None
            if cls is Read or cls is After or cls is NeedLength or issubclass(cls, Write):
                effects.append(op)
            count += 1
        elif cls is not Return:
            return None
        op = op.next_op
    return count or None


class _Enclosing:
    """One function while its block becomes an island's."""

    def __init__(self, func: Func) -> None:
        self.func, self.inside = func, func.block
        end = self.inside.last_op
        assert isinstance(end, Return)
        self.end: Return = end
        self.own = {id(argument) for argument in self.inside.args}
        self.current: dict[SSAValue, SSAValue] = {}  # each reference -> the variable's value at this point
        self.first: dict[SSAValue, SSAValue] = {}  # and at the start
        self.written: dict[SSAValue, None] = {}
        self.reads: dict[SSAValue, SSAValue] = {}  # what was read -> the value that it is
        self.needs: dict[str, SSAValue] = {}  # symbols of lengths that are chosen -> numbers of iterations

    def run(self, variables: list[Operation], effects: list[Operation], count: int) -> int:
        first = self.inside.first_op
        assert first is not None
        location = self.func.location if locations.is_known(self.func.location) else first.location
        self.inside.detach_op(self.end)
        self.func.body.detach_block(self.inside)
        outside = Block(arg_types=[argument.type for argument in self.inside.args])
        for old, new in zip(self.inside.args, outside.args, strict=True):
            new.name_hint, new.location = old.name_hint, old.location
        self.func.body.add_block(outside)
        self._move(variables, outside)
        for op in effects:
            self._apply(op)
        replace_uses(self.reads)
        returned, tokens = split_tokens(tuple(self.end.operands))
        self.end.operands = []
        for op in effects:
            op.operands = []
        for op in effects:
            erase(op)
        self._enclose(outside, location, returned, bool(tokens))
        return count

    def _move(self, variables: list[Operation], outside: Block) -> None:
        """The handles of variables stand outside, one each."""
        first: dict[str, SSAValue] = {}
        for op in variables:
            assert isinstance(op, Variable)
            ref = first.setdefault(op.variable.data, op.ref)
            if ref is op.ref:
                self.inside.detach_op(op)
                outside.add_op(op)
            else:
                replace(op, [ref])

    def _apply(self, op: Operation) -> None:
        """Put a value in the place of what takes tokens."""
        if isinstance(op, Group):
            return
        ref = op.operands[0]
        if isinstance(op, After):
            self.reads[op.results[0]] = self.reads.get(ref, ref)
            return
        if isinstance(op, NeedLength):
            add_need(self.needs, op, self.reads.get(ref, ref), Builder(self.inside, location=op.location))
            return
        value = self.current.get(ref)
        if value is None:
            value = self.inside.insert_arg(tensor_type(*spec_behind(ref.type)), len(self.inside.args), position_of(ref))
            self.current[ref] = self.first[ref] = value
        if isinstance(op, Write):
            make = Builder(self.inside, before=op, location=op.location, annotations=op.attributes)
            written = written_value(op, value, make)
            self.current[ref] = self.reads.get(written, written)
            self.written[ref] = None
        else:
            self.reads[op.results[0]] = value

    def _enclose(self, outside: Block, location: LocationAttr, returned: list[SSAValue], waits: bool) -> None:
        """Make the island of what is inside, and return its results and what is passed on as it came."""
        given = list(dict.fromkeys(value for value in returned if id(value) not in self.own))
        passed: dict[SSAValue, SSAValue] = dict(zip(self.inside.args, outside.args, strict=False))
        refs = list(self.current)
        changed = [i for i, ref in enumerate(refs) if ref in self.written]
        make = Builder(self.inside, location=location)
        results = guarded(make, self.needs, [(self.current[refs[i]], self.first[refs[i]]) for i in changed])
        make.op(Yield, *given, *results, *self.needs.values())
        stays = drop_unused_arguments(self.inside, len(outside.args))
        inputs = [argument for argument, stay in zip(outside.args, stays, strict=True) if stay]
        island = Builder(outside, location=location).op(
            Island,
            *inputs,
            *refs,
            regions=[Region([self.inside])],
            n_inputs=len(inputs),
            n_refs=len(refs),
            written=tuple(changed),
            results=specs_of(given),
            **({"needs": tuple(self.needs)} if self.needs else {}),
        )
        made = dict(zip(given, island.results, strict=False))
        for value, result in made.items():
            result.name_hint = value.name_hint
        tokens = [island.results[-1]] if waits else []
        self.end.operands = [*(passed[v] if id(v) in self.own else made[v] for v in returned), *tokens]
        outside.add_op(self.end)


def position_of(value: SSAValue) -> LocationAttr:
    """Where the value comes from."""
    owner = value.owner
    return value.location if isinstance(value, BlockArgument) else owner.location  # type: ignore[union-attr]
