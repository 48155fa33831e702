"""One graph a device, joined by sends and receives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar

import numpy as np
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from dfc.errors import InvalidArgument, NotFound
from dfc.ir.attributes import Array
from dfc.ir.builder import Builder, clone_into, create, erase
from dfc.ir.cycles import Cycles, is_from_later
from dfc.ir.devices import ASSIGNED
from dfc.ir.dtypes import bfloat16, float32
from dfc.ir.op import Op, base_name, error_at
from dfc.ir.ops import dataflow as fl
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.elementwise import Convert
from dfc.ir.ops.function import Func, Return, single_block_region
from dfc.ir.ops.graph import After
from dfc.ir.ops.state import Group
from dfc.ir.ops.transfer import GUARD, LEVEL, Recv, Send
from dfc.ir.types import CONTROL, spec_of
from dfc.passes.colocation import text_of
from dfc.passes.frames import ROOT, Frame, Frames, described, has_gates
from dfc.passes.guards import Guard, Guards
from dfc.passes.homes import Homes, is_replicated
from dfc.passes.late import definers, needed_by
from dfc.passes.levels import Levels
from dfc.passes.manager import Pass


@dataclass(frozen=True)
class Partition(Pass):
    """Split each function by device.

    Requires: phase graph, control flow lowered; ops have the attribute `assigned` where the program is on several
    devices or on another than the first.
    Ensures: a function whose ops are on several devices is one function a device, named `name@device`, with its device
    in `assigned`, and in `part_inputs` and `part_results` which of the inputs and outputs it has. A value goes to a
    device once, by df.send and df.recv, a token as an empty tensor; constants, in other shapes too, go nowhere: each
    device has its own. A loop in which several devices take part has on
    each of them something that keeps step with its condition. A function on one device says in `assigned` which, if
    anything does.

    With `wire` of bfloat16, float32 values are rounded to that on their way.
    """

    name: ClassVar[str] = "partition"
    wire: str = ""

    def apply(self, program: ModuleOp) -> dict[str, int]:
        if self.wire not in ("", bfloat16.name):
            raise InvalidArgument(f"wire must be {bfloat16.name} or nothing, got {self.wire!r}", op=self.name)
        parts = transfers = 0
        for func in [op for op in program.ops if isinstance(op, Func)]:
            made = partition(func, bool(self.wire))
            parts += len(made)
            transfers += sum(type(op) is Recv for part in made for op in part.block.ops)
        return {"parts": parts, "transfers": transfers}


def partition(func: Func, rounds: bool = False) -> list[Func]:
    """The functions, one a device, that have taken the place of this one; none where that stays, on one device.

    Raises InvalidArgument for a loop on several devices without a condition.
    """
    if not any(ASSIGNED in op.attributes for op in func.block.ops):
        return []
    homes = Homes(func.block)
    if len(homes.used) < 2:
        func.attributes[ASSIGNED] = StringAttr(homes.used[0])
        return []
    return _Partition(func, homes, rounds).parts()


@dataclass(eq=False)
class _Part:
    """A device's graph on its way."""

    device: str
    block: Block
    mapping: dict[SSAValue, SSAValue] = field(default_factory=dict)
    """What stands for each value of the whole."""
    inputs: list[int] = field(default_factory=list)
    outputs: list[tuple[int, SSAValue]] = field(default_factory=list)
    tokens: list[SSAValue] = field(default_factory=list)
    steps: dict[Frame, SSAValue] = field(default_factory=dict)
    """Of each frame: a value that comes in each of its iterations."""
    open: list[tuple[Frame, fl.Merge]] = field(default_factory=list)
    """The loops that keep step with another device's, not closed yet."""

    def __post_init__(self) -> None:
        self.cycles = Cycles(self.mapping)

    def builder(self, op: Operation, **notes: int) -> Builder:
        """For what is added for this op, with these attributes."""
        annotations = {key: StringAttr(str(note)) for key, note in notes.items()}
        return Builder(self.block, location=op.location, annotations=annotations)


class _Partition:
    """A function while it is split."""

    def __init__(self, func: Func, homes: Homes, rounds: bool) -> None:
        self.func, self.homes, self.rounds = func, homes, rounds
        self.frames = Frames(func.block) if has_gates(func.block) else None
        self.guards = None if self.frames is None else Guards(func.block, self.frames)
        self.numbers: dict[Guard, int] = {}
        """Of the guards under which values are sent."""
        self.sizes = definers(func.block)
        self.levels = Levels(func.block, homes, self._frame, self._taken)
        self.split: dict[str, _Part] = {d: _Part(d, single_block_region([])[1]) for d in homes.used}
        self.taking = self._taking_part()
        self.conditions = {self._frame(op): op for op in func.block.ops if type(op) is fl.LoopCond}
        self.edges = count()

    def parts(self) -> list[Func]:
        func = self.func
        for op in func.block.ops:
            if type(op) is Return:
                self._leave(op)
            elif not is_replicated(op):
                self._place(op, self.split[self.homes.of(op)])
        given = {index for part in self.split.values() for index in part.inputs}
        for index, argument in enumerate(func.block.args):
            if index not in given:
                self._bring(argument, next(iter(self.split.values())))
        for part in self.split.values():
            while part.open:
                self._close(part, *part.open.pop())
            part.cycles.finish()
        made = [self._function(part) for part in self.split.values()]
        module = func.parent
        assert module is not None
        for each in made:
            module.insert_op_before(each, func)
        erase(func)
        return made

    # ---- what is where

    def _frame(self, op: Operation) -> Frame:
        return ROOT if self.frames is None else self.frames.of(op)

    def _where(self, value: SSAValue) -> Frame:
        return (None if self.frames is None else self.frames.where(value)) or ROOT

    def _taken(self, op: Operation) -> list[SSAValue]:
        """What the op takes of its own iteration: operands, and values that tell it a size."""
        if self.frames is not None:
            return self.frames.taken(op)
        return [*op.operands, *needed_by(op, self.sizes)] if type(op) is not Return else list(op.operands)

    def _taking_part(self) -> dict[Frame, set[str]]:
        """The devices with ops in each frame, where they are several."""
        found: dict[Frame, set[str]] = {}
        for op in self.func.block.ops:
            frame = self._frame(op)
            if frame and not is_replicated(op):
                for depth in range(1, len(frame) + 1):
                    found.setdefault(frame[:depth], set()).add(self.homes.of(op))
        return {frame: devices for frame, devices in found.items() if len(devices) > 1}

    # ---- op by op

    def _place(self, op: Operation, part: _Part) -> None:
        frame = self._frame(op)
        carries = type(op) is fl.Merge and any(is_from_later(op, o) for o in op.operands)
        if frame in self.taking and not carries:
            self._keep_step(frame, part, op)
        for operand in self._taken(op):
            self._bring(operand, part)
        part.cycles.before(op)
        self._copy(op, part)
        if carries and frame in self.taking:
            part.steps.setdefault(frame, part.mapping[op.results[0]])

    def _copy(self, op: Operation, part: _Part) -> None:
        assert isinstance(op, Op), "the block has ops of df"
        copy = clone_into(op, Builder(part.block), part.mapping)
        for old, new in zip(op.results, copy.results, strict=True):
            new.name_hint = old.name_hint
        if type(op) is fl.Exit:
            copy.attributes[LEVEL] = StringAttr(str(self.levels.of(op)))

    def _bring(self, value: SSAValue, part: _Part) -> SSAValue:
        """The value in the part: its own, a copy, or received."""
        found = part.mapping.get(value)
        if found is not None:
            return found
        owner = value.owner
        if not isinstance(owner, Operation):
            assert isinstance(value, BlockArgument), "a value is a result or an argument"
            argument = part.block.insert_arg(value.type, len(part.block.args))
            argument.name_hint, argument.location = value.name_hint, value.location
            part.inputs.append(value.index)
            part.mapping[value] = argument
        elif is_replicated(owner):
            for operand in owner.operands:
                self._bring(operand, part)
            self._copy(owner, part)
        elif value.type is CONTROL:
            part.mapping[value] = self._token(value, owner, part)
        else:
            source = self.split[self.homes.of(owner)]
            part.mapping[value] = self._transfer(source, source.mapping[value], value, part)
        return part.mapping[value]

    def _token(self, token: SSAValue, owner: Operation, part: _Part) -> SSAValue:
        """A token goes as an empty tensor that waits for it."""
        source = self.split[self.homes.of(owner)]
        there = source.builder(owner)
        waiting = there(After, there(ConstantOp, value=Array.of(np.zeros(0, np.float32))), source.mapping[token])
        came = self._transfer(source, waiting, token, part)
        arrived = part.builder(owner)(Group, came)
        arrived.name_hint = token.name_hint
        return arrived

    def _transfer(self, source: _Part, sent: SSAValue, value: SSAValue, part: _Part) -> SSAValue:
        """Send what stands for the value in one part to the other, and receive it there."""
        owner = value.owner
        assert isinstance(owner, Operation)
        rounded = self.rounds and value.type is not CONTROL and spec_of(sent.type).dtype is float32
        there = source.builder(owner)
        route: dict[str, Any] = {"tensor": self._name(owner), "source": source.device, "target": part.device}
        spec = spec_of(sent.type)
        if rounded:
            sent = there(Convert, sent, dtype=bfloat16)
        there.op(Send, sent, **route)
        tokens = self._step(self._where(value), part, owner)
        notes = {LEVEL: self.levels.of(owner) + 1}
        if self.guards is not None and (guard := self.guards.of_value(value)):
            notes[GUARD] = self.numbers.setdefault(guard, len(self.numbers))
        came = part.builder(owner, **notes)(Recv, *tokens, result=(spec_of(sent.type),), **route)
        if value.type is not CONTROL:
            came.name_hint = value.name_hint
        return part.builder(owner)(Convert, came, dtype=spec.dtype) if rounded else came

    def _name(self, op: Operation) -> str:
        """A name of its own for what the op gives another device; it goes into a key, which semicolons divide."""
        return f"edge_{next(self.edges)}_{base_name(op).replace(';', '_')}"

    def _leave(self, end: Operation) -> None:
        outputs = iter(range(len(self.func.outputs)))
        first = next(iter(self.split.values()))
        for value in end.operands:
            owner = value.owner
            part = first
            if isinstance(owner, Operation) and not is_replicated(owner):
                part = self.split[self.homes.of(owner)]
            here = self._bring(value, part)
            if value.type is CONTROL:
                part.tokens.append(here)
            else:
                part.outputs.append((next(outputs), here))

    # ---- loops

    def _step(self, frame: Frame, part: _Part, op: Operation) -> list[SSAValue]:
        """A token for an iteration of a frame to have begun."""
        return [part.builder(op)(Group, self._keep_step(frame, part, op))] if frame else []

    def _keep_step(self, frame: Frame, part: _Part, op: Operation) -> SSAValue:
        """A value that comes in each iteration of the frame: one that the part's own loop carries, or one that goes
        round for that."""
        found = part.steps.get(frame)
        if found is not None:
            return found
        make_ = part.builder(self._condition(frame, op))
        start: SSAValue = make_(ConstantOp, value=Array.of(np.zeros(0, np.float32)))
        if len(frame) > 1:
            start = make_(After, start, make_(Group, self._keep_step(frame[:-1], part, op)))
        assert self.frames is not None
        parallel = self.frames.parallel[frame]
        entered = make_(fl.Enter, start, frame=frame[-1], is_constant=False, parallel_iterations=parallel)
        merge = make_.op(fl.Merge, entered, result=(spec_of(start.type),))
        part.steps[frame] = merge.value
        part.open.append((frame, merge))
        return merge.value

    def _close(self, part: _Part, frame: Frame, merge: fl.Merge) -> None:
        """Go round for as long as the condition holds."""
        condition = self._condition(frame, merge)
        going = self._bring(condition.results[0], part)
        make_ = part.builder(condition)
        on = make_.op(fl.Switch, merge.value, going).if_true
        merge.operands = [*merge.operands, make_(fl.NextIteration, on)]

    def _condition(self, frame: Frame, op: Operation) -> Operation:
        found = self.conditions.get(frame)
        if found is None:
            text = f"A cross-device loop must have a pivot predicate: {described(frame)}"
            raise error_at(InvalidArgument, op, text, "its condition goes through df.loop_cond")
        return found

    # ---- the functions

    def _function(self, part: _Part) -> Func:
        func = self.func
        block = part.block
        block.add_op(create(Return, [*(v for _, v in part.outputs), *part.tokens], location=func.terminator.location))
        region = block.parent
        assert region is not None
        outputs = tuple(i for i, _ in part.outputs)
        names = {
            "sym_name": f"{func.sym_name.data}@{part.device}",
            "arg_names": tuple(func.arg_names.data[i] for i in part.inputs),
            "result_names": tuple(func.result_names.data[i] for i in outputs),
            "part_inputs": tuple(part.inputs),
            "part_results": outputs,
        }
        annotations = {ASSIGNED: StringAttr(part.device)}
        return create(Func, (), names, location=func.location, regions=[region], annotations=annotations)


def parts_of(program: ModuleOp, name: str) -> list[Func]:
    """The functions that the program's function `name` has become, or that one itself. Raises NotFound."""
    funcs = [op for op in program.ops if isinstance(op, Func)]
    found = [f for f in funcs if f.sym_name.data == name or f.sym_name.data.startswith(f"{name}@/")]
    if not found:
        raise NotFound(f"the program has no function {name!r}")
    return found


def input_names(parts: Sequence[Func]) -> list[str]:
    """The names of the whole's inputs."""
    found: dict[int, str] = {}
    for func in parts:
        found.update(zip(inputs_of(func), func.arg_names.data, strict=True))
    return [found[i] for i in sorted(found)]


def inputs_of(func: Func) -> tuple[int, ...]:
    """Which of the whole's inputs those of the function are."""
    return tuple(range(len(func.arg_names.data))) if func.part_inputs is None else func.part_inputs.data


def outputs_of(func: Func) -> tuple[int, ...]:
    """Which of the whole's outputs those of the function are."""
    return tuple(range(len(func.result_names.data))) if func.part_results is None else func.part_results.data


def device_of(func: Func) -> str:
    """The device of a partitioned function; `""` for the first."""
    return text_of(func, ASSIGNED)
