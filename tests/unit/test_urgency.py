"""Which ops of a device are in which of several programs, since other devices wait for some."""

from __future__ import annotations

import pytest
from xdsl.ir import Operation

from dfc.ir import locations
from dfc.ir.builder import Builder
from dfc.ir.dtypes import float32
from dfc.ir.ops.elementwise import Add, Tanh
from dfc.ir.ops.function import single_block_region
from dfc.ir.types import tensor_type
from dfc.passes import urgency
from dfc.passes.urgency import waves

SECONDS = {"small": 1.0, "large": 100.0}


class Chain:
    """Ops with times, in one block."""

    def __init__(self) -> None:
        _, self.block = single_block_region([tensor_type((2,), float32)])
        self.ops: list[Operation] = []
        self.took: dict[int, float] = {}

    def __call__(self, size: str, *operands: Operation) -> Operation:
        values = [o.results[0] for o in operands] or [self.block.args[0]]
        kind = Tanh if len(values) == 1 else Add
        made = Builder(self.block, location=locations.UNKNOWN).op(kind, *values)
        self.ops.append(made)
        self.took[id(made)] = SECONDS[size]
        return made

    def waves(self, *sent: Operation, stages: tuple[int, ...] = ()) -> list[int]:
        found = waves(
            self.ops,
            {id(op): 0 for op in self.ops},
            lambda op: [v.owner for v in op.operands if isinstance(v.owner, Operation)],
            list(zip(sent, stages or (0,) * len(sent), strict=True)),
            lambda op: self.took[id(op)],
            least=5.0,
        )
        return [found.get(id(op), 0) for op in self.ops]


def test_what_is_sent_comes_before_what_is_not() -> None:
    make = Chain()
    first = make("small")
    make("large")
    sent = make("small", first)
    make("large", sent)
    assert make.waves(sent) == [0, 1, 0, 1]


def test_little_work_is_no_reason_for_another_program() -> None:
    make = Chain()
    sent = make("large")
    make("small", sent)
    assert make.waves(sent) == [0, 0]


def test_what_takes_less_goes_first_and_lower_stages_before_that() -> None:
    make = Chain()
    large, small = make("large"), make("small")
    assert make.waves(large, small) == [1, 0]
    assert make.waves(large, small, stages=(0, 1)) == [0, 0]


def test_an_op_is_never_in_an_earlier_program_than_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Chain()
    x = make("large")
    y = make("large", x)
    z = make("small")
    both = make("large", y, z)
    for _ in range(2):
        found = dict(zip(map(id, make.ops), make.waves(y, z, both), strict=True))
        for op in make.ops:
            for operand in op.operands:
                assert found.get(id(operand.owner), 0) <= found[id(op)]
        monkeypatch.setattr(urgency, "MANY", 0)


def test_a_program_has_more_than_a_quarter_of_the_work() -> None:
    for count, expected in ((3, [0, 1, 2]), (20, [0] * 20)):
        make = Chain()
        sent = [make("large") for _ in range(count)]
        assert make.waves(*sent) == expected
