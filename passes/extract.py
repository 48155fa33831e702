"""A step of a graph as a program of its own: what its fetches need, cut where it is fed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from xdsl.dialects.builtin import LocationAttr, ModuleOp, StringAttr
from xdsl.ir import Operation, SSAValue

from dfc.ir.attributes import Array
from dfc.ir.builder import Builder, clone_into, create
from dfc.ir.cycles import Cycles
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.function import Call, Func, Gradients, Return, single_block_region
from dfc.ir.ops.graph import After, Feed, Placeholder
from dfc.ir.types import spec_of
from dfc.passes.late import Definers, definers, needed_by

Named = Sequence[tuple[str, SSAValue]]
NOTHING: Definers = {}


def extract(
    func: Func,
    program: ModuleOp,
    *,
    name: str,
    outputs: Named,
    tokens: Sequence[SSAValue] = (),
    feeds: Named = (),
    location: LocationAttr,
    tokens_as_outputs: bool = False,
) -> None:
    """Put a function into `program`, which is empty, that takes the fed values of `func`'s block by name and computes
    the outputs and the effects behind `tokens`, at phase `trace`; and the functions that it calls. `func` stays as it
    is.

    Each name of `feeds` is one of the new function's inputs, or the label of a df.feed: gradients may need what leads
    to a fed value, so where there are any the pass `feed` makes the cut, after they are expanded.
    """
    fed = {value: label for label, value in feeds}
    ends = [*(value for _, value in outputs), *tokens]
    known = definers(func.block)
    needed = ancestors(ends, fed, known)
    later: dict[SSAValue, str] = {}
    if any(isinstance(op, Gradients) for op in needed.values()):
        needed = ancestors(ends, {v: n for v, n in fed.items() if _comes_from_outside(v)}, known)
        later = {v: n for v, n in fed.items() if not _comes_from_outside(v)}
    inputs = [(label, value) for label, value in feeds if value not in later]
    region, block = single_block_region([value.type for _, value in inputs])
    given: dict[SSAValue, SSAValue] = dict(zip((value for _, value in inputs), block.args, strict=True))
    mapping = dict(given)
    builder = Builder(block)
    fed_later: dict[Operation, list[SSAValue]] = {}
    for value in later:
        if isinstance(value.owner, Operation):
            fed_later.setdefault(value.owner, []).append(value)
    for index, argument in enumerate(func.block.args):
        if argument not in mapping:
            mapping[argument] = _unfed(func, index, builder, location)
    cycles = Cycles(mapping)
    for op in func.block.ops:
        if id(op) in needed:
            cycles.before(op)
            clone_into(op, builder, mapping)
            mapping.update((result, given[result]) for result in op.results if result in given)  # one of several
            for value in fed_later.get(op, ()):
                with builder.at(op.location):
                    mapping[value] = builder(Feed, mapping[value], label=later[value])
    cycles.finish()
    values = [mapping[value] for value in ends]
    if tokens_as_outputs:
        done = Builder(block, location=location)
        for index in range(len(outputs), len(values)):
            values[index] = done(After, done(ConstantOp, value=Array.of(np.array(True))), values[index])
        outputs = [*outputs, *((f"done_{i}", values[i]) for i in range(len(outputs), len(values)))]
    block.add_op(create(Return, values, location=location))
    names = {
        "sym_name": name,
        "arg_names": tuple(label for label, _ in inputs),
        "result_names": tuple(label for label, _ in outputs),
    }
    program.body.block.add_op(create(Func, (), names, location=location, regions=[region]))
    _add_callees(program, func, needed.values())


def _unfed(func: Func, index: int, builder: Builder, location: LocationAttr) -> SSAValue:
    """An input of the graph that the step is not given: a placeholder, whose use is an error."""
    spec = spec_of(func.block.args[index].type)
    annotations = {"name": StringAttr(func.arg_names.data[index])}
    return Builder(builder.block, location=location, annotations=annotations)(
        Placeholder, shape=spec.shape, dtype=spec.dtype
    )


def _comes_from_outside(value: SSAValue) -> bool:
    return not isinstance(value.owner, Operation) or isinstance(value.owner, Placeholder)


def ancestors(
    ends: Iterable[SSAValue], cut: Mapping[SSAValue, object], known: Definers = NOTHING
) -> dict[int, Operation]:
    """The ops that the values need, by id, up to those in `cut`; those that tell sizes by `known` included."""
    found: dict[int, Operation] = {}
    pending = [value for value in ends if value not in cut]
    while pending:
        owner = pending.pop().owner
        if isinstance(owner, Operation) and id(owner) not in found:
            found[id(owner)] = owner
            pending += [operand for operand in owner.operands if operand not in cut]
            if known:
                pending += [value for value in needed_by(owner, known) if value not in cut]
    return found


def _add_callees(program: ModuleOp, func: Func, ops: Iterable[Operation]) -> None:
    parent = func.parent_op()
    assert isinstance(parent, ModuleOp)
    functions = {f.sym_name.data: f for f in parent.ops if isinstance(f, Func)}
    wanted = [op.callee.data for op in ops if isinstance(op, Call)]
    copied: set[str] = set()
    while wanted:
        callee = wanted.pop()
        if callee not in copied:
            copied.add(callee)
            clone_into(functions[callee], Builder(program.body.block), {})
            wanted += [op.callee.data for op in functions[callee].block.ops if isinstance(op, Call)]
