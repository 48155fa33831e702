"""`construct` and `append` make what xDSL itself makes, field by field."""

from __future__ import annotations

from typing import Any

import pytest
from xdsl.ir import Block, Operation

from dfc.ir import attributes, dtypes, locations
from dfc.ir.construct import append, construct
from dfc.ir.ops.elementwise import Add, Compare
from dfc.ir.ops.function import Yield, single_block_region
from dfc.ir.types import tensor_type

LINE = locations.file_location("model.py", 1)
F32, BOOL = tensor_type((2,), dtypes.float32), tensor_type((2,), dtypes.bool_)


def _fields(op: Operation, block: Block) -> dict[str, Any]:
    """Every field of an op, with values and neighbours named by their place."""
    names = {id(a): f"argument {a.index}" for a in block.args}
    names.update({id(r): f"result {i}.{r.index}" for i, o in enumerate(block.ops) for r in o.results})
    places = {id(o): i for i, o in enumerate(block.ops)}
    fields = {name: getattr(op, name) for name in ("properties", "attributes", "location", "_successors", "regions")}
    uses = [[(places[id(u.operation)], u.index) for u in r.uses] for r in op.results]
    return fields | {
        "operands": [names[id(o)] for o in op.operands],
        "operand_uses": [(places[id(u.operation)], u.index) for u in op._operand_uses],
        "results": [(r.type, r.index, r.op is op, r.name_hint) for r in op.results],
        "uses": uses,
        "parent": op.parent is block,
        "next": places.get(id(op.next_op)),
        "prev": places.get(id(op.prev_op)),
        "successor_uses": op._successor_uses,
        "class": type(op),
    }


def _program(ours: bool) -> Block:
    _, block = single_block_region([F32, F32])
    x, y = block.args
    direction = {"direction": attributes.make(attributes.Text, "LT")}

    def make(cls: type[Operation], operands: list[Any], results: list[Any], properties: dict[str, Any]) -> Operation:
        if ours:
            op = construct(cls, operands, results, dict(properties), {}, (), LINE)
            append(block, op)
        else:
            op = cls.create(operands=operands, result_types=results, properties=properties, location=LINE)
            block.add_op(op)
        return op

    a = make(Add, [x, y], [F32], {})
    b = make(Add, [a.results[0], a.results[0]], [F32], {})
    make(Compare, [b.results[0], x], [BOOL], direction)
    make(Yield, [], [], {})
    return block


def test_the_same_fields_as_xdsl() -> None:
    ours, theirs = _program(True), _program(False)
    assert len(list(ours.ops)) == 4
    for mine, other in zip(ours.ops, theirs.ops, strict=True):
        assert _fields(mine, ours) == _fields(other, theirs)
        assert set(vars(mine)) <= set(vars(other))
    for mine_arg, other_arg in zip(ours.args, theirs.args, strict=True):
        assert mine_arg.uses.get_length() == other_arg.uses.get_length()
    assert ours.first_op is next(iter(ours.ops))
    assert isinstance(ours.last_op, Yield)


def test_what_was_constructed_can_be_taken_apart_by_xdsl() -> None:
    block = _program(True)
    for op in reversed(list(block.ops)):
        block.erase_op(op)
    assert block.is_empty
    assert all(a.first_use is None for a in block.args)


def test_an_op_is_appended_once() -> None:
    block = _program(True)
    assert block.first_op is not None
    with pytest.raises(AssertionError, match="in a block already"):
        append(block, block.first_op)
