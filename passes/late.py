"""Sizes that only running an op tells, such as how many elements a queue had left.

An op with such a size in its result needs the op that tells it, even where no value leads from one to the other: zeros
in the shape of what was dequeued, a gradient that is spread over its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from xdsl.ir import Block, Operation, SSAValue

from dfc.ir.cycles import is_from_later
from dfc.ir.dims import SymbolicDim, is_static
from dfc.ir.op import Effect, Op
from dfc.ir.ops.dataflow import Merge
from dfc.ir.types import Spec, is_tensor, spec_of

Definers = Mapping[str, SSAValue]
"""By symbol, a value that has it for a size."""


@cache
def _may_define(cls: type[Operation]) -> bool:
    return issubclass(cls, Op) and (cls.EFFECT is Effect.STATEFUL or cls is Merge)


def definers(block: Block) -> Definers:
    """For each symbol that the block's arguments don't have, the first value that has it: the result of an op whose
    operands don't. Of its results one that is no string, if there is one, since a device can be given that."""
    found: dict[str, SSAValue] = {}
    op: Operation
    for op in block.ops:
        if _may_define(type(op)):
            for result in op.results:
                for symbol in _alone(result):
                    first = found.get(symbol)
                    if first is None or (first.owner is op and _is_string(first)):
                        found[symbol] = result
    if found:
        known = {s for argument in block.args for s in symbols_in(argument)}
        found = {s: v for s, v in found.items() if s not in known and not _is_operand(s, v)}
    return found


def needed_by(op: Operation, known: Definers) -> list[SSAValue]:
    """What the op needs for sizes that it has and its operands don't."""
    wanted = symbols_of(op) & known.keys()
    for operand in op.operands:
        if not wanted:
            break
        wanted -= symbols_in(operand)
    return [v for s in sorted(wanted) if (v := known[s]).owner is not op]


def symbols_of(op: Operation) -> set[str]:
    """The symbols in the op's results and attributes, those in its regions included."""
    found: set[str] = set()
    for inner in op.walk():
        for result in inner.results:
            found |= symbols_in(result)
        for value in inner.properties.values():
            found |= _mentioned(value.data)  # type: ignore[attr-defined]
    return found


def symbols_in(value: SSAValue) -> frozenset[str]:
    """The symbols in the sizes of a value."""
    return _symbols(spec_of(value.type)) if is_tensor(value.type) else frozenset()


def alone_in(values: list[SSAValue]) -> set[str]:
    """The symbols that are told by these values: each is a size of one, or with a number times and plus."""
    found: set[str] = set()
    for value in values:
        for dim in spec_of(value.type).shape if is_tensor(value.type) else ():
            if isinstance(dim, SymbolicDim):
                factors = [monomial for monomial, _ in dim.terms if monomial]
                if len(factors) == 1 and len(factors[0]) == 1 and factors[0][0].isidentifier():
                    found.add(factors[0][0])
    return found


@cache
def _symbols(spec: Spec) -> frozenset[str]:
    if is_static(spec.shape):
        return frozenset()
    return frozenset(s for d in spec.shape if isinstance(d, SymbolicDim) for s in d.symbols)


def _mentioned(value: Any) -> set[str]:
    if isinstance(value, SymbolicDim):
        return set(value.symbols)
    if isinstance(value, tuple):
        return {s for item in value for s in _mentioned(item)}
    return set()


def _alone(value: SSAValue) -> list[str]:
    if not is_tensor(value.type):
        return []
    shape = spec_of(value.type).shape
    return [d.text for d in shape if isinstance(d, SymbolicDim) and d.text.isidentifier()]


def _is_operand(symbol: str, value: SSAValue) -> bool:
    """Whether an operand of the value's op has the symbol already."""
    op = value.owner
    if not isinstance(op, Operation):
        return False
    return any(symbol in symbols_in(operand) for operand in op.operands if not is_from_later(op, operand))


def _is_string(value: SSAValue) -> bool:
    return spec_of(value.type).dtype.kind == "string"
