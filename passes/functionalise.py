"""Variables that branches and loops read and write become values that go in and come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from dfc.ir.builder import Builder, erase, remade, replace_uses
from dfc.ir.construct import arrange_arguments
from dfc.ir.op import end_of
from dfc.ir.ops.control import Branches, ControlFlow, Loop, Scan
from dfc.ir.ops.function import Func, Yield, specs_of
from dfc.ir.ops.graph import After
from dfc.ir.ops.state import Assign, Group, Read, Write
from dfc.ir.types import CONTROL, spec_behind, tensor_type
from dfc.passes.capacities import add_needs
from dfc.passes.compilable import structured
from dfc.passes.manager import Pass
from dfc.passes.moving import after_all
from dfc.passes.writes import written_value


@dataclass(frozen=True)
class Functionalise(Pass):
    """Take variables out of branches and loops that a device can run as a whole, so that these are functions of values.

    Requires: phase graph; what no device can run is lowered to dataflow already.
    Ensures: such an op takes no handle and no token and has no effect: what it reads of variables is read before it,
    what it writes is assigned after it. Where a loop has room that must be chosen when it runs, a df.need_length at the
    end says how much it needed.
    """

    name: ClassVar[str] = "functionalise"

    def apply(self, program: ModuleOp) -> dict[str, int]:
        return functionalise(program)


def functionalise(program: ModuleOp) -> dict[str, int]:
    """Functionalise the branches and loops of every function."""
    count = 0
    for func in program.ops:
        if isinstance(func, Func):
            ops = [op for op in func.block.ops if isinstance(op, ControlFlow) and structured(op)]
            for op in ops:
                as_function(op)
            count += len(ops)
            if ops:
                add_needs(func.block)
    return {"functions of values": count}


def as_function(op: ControlFlow) -> ControlFlow:
    """The op without handles, tokens and effects, in the place of `op`; those inside it too."""
    n_handles = op.n_handles.data
    written: set[int] = set()
    values: list[list[SSAValue]] = []
    for block in op.blocks:
        for inner in [inner for inner in block.ops if isinstance(inner, ControlFlow)]:
            as_function(inner)
        own, final = _without_state(block, n_handles)
        values.append(final)
        written.update(own)
    if not n_handles and not op.tokens and not op.stateful.data:
        return op
    before = Builder.before_op(op)
    tokens, handles = op.tokens, op.handles
    reads = [before.op(Read, handle, *tokens) for handle in handles]
    changed = sorted(written)
    made = _rebuilt(op, before, [r.value for r in reads], values, changed)
    results, new = _split_results(made, len(changed))
    done = [read.token for k, read in enumerate(reads) if k not in written]
    for k, value in zip(changed, new, strict=True):
        done.append(before.op(Assign, handles[k], value, reads[k].token).token)
    mapping: dict[SSAValue, SSAValue] = dict(zip(op.data, results, strict=True))
    if op.token is not None:
        mapping[op.token] = done[0] if len(done) == 1 else before(Group, *(done or tokens))
    replace_uses(mapping)
    erase(op)
    return made


def _without_state(block: Block, n_handles: int) -> tuple[set[int], list[SSAValue]]:
    """Put values in the place of the block's handles, its last arguments. Says which are written, by number, and gives
    the last value of each; the terminator yields no tokens any more."""
    first = len(block.args) - n_handles
    handles: list[SSAValue] = list(block.args[first:])
    for argument in list(block.args[first:]):
        block.insert_arg(tensor_type(*spec_behind(argument.type)), len(block.args), argument.location)
    current: dict[SSAValue, SSAValue] = dict(zip(handles, block.args[first + n_handles :], strict=True))
    written: set[int] = set()
    known: dict[SSAValue, SSAValue] = {}
    gone: list[Operation] = []
    for op in list(block.ops):
        if known and any(o in known for o in op._operands):
            op.operands = [known.get(o, o) for o in op._operands]
        if isinstance(op, Group):
            gone.append(op)
        elif isinstance(op, After):
            known[op.result] = op.x
            gone.append(op)
        elif isinstance(op, Read):
            known[op.value] = current[op.ref]
            gone.append(op)
        elif isinstance(op, Write):
            handle = op.operands[0]
            make = Builder(block, before=op, location=op.location, annotations=op.attributes)
            current[handle] = written_value(op, current[handle], make)
            written.add(handles.index(handle))
            gone.append(op)
    last = block.last_op
    assert isinstance(last, Yield)
    last.operands = [o for o in last.operands if o.type is not CONTROL]
    for op in gone:
        op.operands = []
    for op in gone:
        erase(op)
    for argument in list(block.args[first : first + n_handles]):
        block.erase_arg(argument)
    return written, [current[h] for h in handles]


def _rebuilt(
    op: ControlFlow, make: Builder, read: Sequence[SSAValue], values: Sequence[Sequence[SSAValue]], changed: list[int]
) -> ControlFlow:
    """The op with the variables' values among its operands, and those that change among its results."""
    if isinstance(op, Branches):
        return _branches(op, make, read, values, changed)
    assert isinstance(op, Loop)
    return _loop(op, make, read, values[-1], changed)


def _branches(
    op: Branches, make: Builder, read: Sequence[SSAValue], values: Sequence[Sequence[SSAValue]], changed: list[int]
) -> Branches:
    for block, final in zip(op.blocks, values, strict=True):
        last = end_of(block)
        last.operands = [*last.operands, *(final[k] for k in changed)]
    return remade(
        op,
        [after_all(make, op.selector, op.tokens), *op.inputs, *read],
        n_inputs=op.n_inputs.data + len(read),
        results=(*op.results_.data, *specs_of([read[k] for k in changed])),
        n_handles=0,
        stateful=False,
    )


def _loop(op: Loop, make: Builder, read: Sequence[SSAValue], final: Sequence[SSAValue], changed: list[int]) -> Loop:
    """Variables that are written are carried, after the values that are; the others are captured."""
    n_carried, n = op.n_carried.data, len(read)
    last = end_of(op.body)
    yielded = list(last.operands)
    last.operands = [*yielded[:n_carried], *(final[k] for k in changed), *yielded[n_carried:]]
    for block in op.blocks:
        own = list(block.args)
        variables = own[len(own) - n :]
        order = [
            *own[: 1 + n_carried],
            *(variables[k] for k in changed),
            *own[1 + n_carried : len(own) - n],
            *(v for k, v in enumerate(variables) if k not in changed),
        ]
        arrange_arguments(block, order)
    carried = [*op.carried, *(read[k] for k in changed)]
    captured = [*op.captured, *(v for k, v in enumerate(read) if k not in changed)]
    if op.tokens and carried:
        carried[0] = after_all(make, carried[0], op.tokens)
    count = [op.count] if isinstance(op, Scan) and op.count is not None else []
    return remade(
        op,
        [*count, *carried, *op.xs, *captured],
        n_carried=n_carried + len(changed),
        n_captured=len(captured),
        n_handles=0,
        stateful=False,
    )


def _split_results(op: ControlFlow, count: int) -> tuple[list[SSAValue], list[SSAValue]]:
    """The op's results without those that are variables' new values, and these."""
    results: list[SSAValue] = list(op.results)
    end = op.n_carried.data if isinstance(op, Loop) else len(results)
    return [*results[: end - count], *results[end:]], results[end - count : end]
