"""Divisions among the devices of a mesh, in Shardy's dialect, sdy, from which XLA makes one program for all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from jaxlib.mlir import ir
from xdsl.ir import SSAValue

from dfc.backends.stablehlo.rules import Value, rule
from dfc.errors import DfcError
from dfc.ir import locations
from dfc.ir.op import short_name
from dfc.ir.ops.sharding import Shard
from dfc.ir.ops.state import Variable
from dfc.ir.sharding import Axes, Divided, check_divisible
from dfc.ir.types import is_tensor, spec_behind

if TYPE_CHECKING:
    from dfc.backends.stablehlo.emit import Emitter

MESH = "mesh"
"""What the mesh is called in a module."""
WHOLE: Divided = ()
Marks = list[dict[str, ir.Attribute]]
"""Attributes of each parameter or result."""


@rule(Shard)
def shard(emitter: Emitter, op: Shard, operands: list[Value]) -> list[Value]:
    if not emitter.mesh:
        return operands
    (x,) = operands
    rank = len(spec_behind(op.x.type).shape)
    attributes = {"sharding": sharding_attribute(_divided(op, op.x, emitter.mesh), rank)}
    return [emitter.create("sdy.sharding_constraint", x.type, [x], attributes)]


def _divided(op: Shard | Variable, value: SSAValue, mesh: Axes) -> Divided:
    """How the op divides a value. Raises InvalidArgument, at its line, where the sizes can't be divided so."""
    if op.sharding is None:
        return WHOLE
    divided = op.sharding.data.divided
    try:
        check_divisible(spec_behind(value.type).shape, mesh, divided)
    except DfcError as error:
        raise error.at(op=short_name(op), location=locations.describe(op.location)) from None
    return divided


def sharding_attribute(divided: Divided, rank: int) -> ir.Attribute:
    """`#sdy.sharding`, closed: nothing else divides the tensor further."""
    dims = [", ".join(f'"{name}"' for name in axes) for axes in divided] + [""] * (rank - len(divided))
    return ir.Attribute.parse(f"#sdy.sharding<@{MESH}, [{', '.join(f'{{{dim}}}' for dim in dims)}]>")


def whole(emitter: Emitter, x: Value, rank: int, axes: Collection[int]) -> Value:
    """The value, of which each device has these axes whole; others are divided as it comes."""
    if not emitter.mesh:
        return x
    dims = ", ".join("{}" if axis in axes else "{?}" for axis in range(rank))
    sharding = ir.Attribute.parse(f"#sdy.sharding<@{MESH}, [{dims}]>")
    return emitter.create("sdy.sharding_constraint", x.type, [x], {"sharding": sharding})


@dataclass(frozen=True)
class ProgramLayout:
    """The mesh of a program and how its parameters and results are divided; of a result None where XLA may choose."""

    mesh: Axes
    parameters: tuple[Divided, ...]
    results: tuple[Divided | None, ...]

    def declare(self, module: ir.Module) -> None:
        """Put the mesh into the module, and over how many devices it runs."""
        axes = ", ".join(f'"{name}"={size}' for name, size in self.mesh)
        attributes: dict[str, ir.Attribute] = {
            "sym_name": ir.StringAttr.get(MESH),
            "mesh": ir.Attribute.parse(f"#sdy.mesh<[{axes}]>"),
        }
        ir.Operation.create("sdy.mesh", (), (), attributes, ip=ir.InsertionPoint.at_block_begin(module.body))
        i32 = ir.IntegerType.get_signless(32)
        count = prod(size for _, size in self.mesh)
        module.operation.attributes["mhlo.num_partitions"] = ir.IntegerAttr.get(i32, count)

    def marks(self, taken: Sequence[int], given: Sequence[int]) -> tuple[Marks, Marks]:
        """What says how `main`'s parameters and results, of these ranks, are divided."""
        return _marks(self.parameters, taken), _marks(self.results, given)


def _marks(divided: Sequence[Divided | None], ranks: Sequence[int]) -> Marks:
    pairs = zip(divided, ranks, strict=True)
    return [{} if d is None else {"sdy.sharding": sharding_attribute(d, rank)} for d, rank in pairs]


def layout_of(
    parameters: Sequence[tuple[SSAValue, SSAValue]],
    outputs: Sequence[SSAValue],
    n_written: int,
    mesh: Axes,
    alike: Mapping[int, int],
) -> ProgramLayout:
    """How an island's parameters, each with the operand that it stands for, and its outputs are divided.

    Variables, and the first outputs, which are their new values, are divided as they say; an input as the first
    `df.shard` that takes it says, else each device has all of it; another output as the parameter is that `alike` maps
    to it, whose memory it takes, or as the `df.shard` that it comes from says."""
    given = tuple(_parameter(inside, operand, mesh) for inside, operand in parameters)
    new = given[:n_written]
    results = {n: _result(value, mesh) for n, value in enumerate(outputs) if n >= n_written}
    results |= {result: given[parameter] for parameter, result in alike.items()}
    return ProgramLayout(mesh, given, (*new, *(results[n] for n in range(n_written, len(outputs)))))


def _parameter(inside: SSAValue, operand: SSAValue, mesh: Axes) -> Divided:
    if isinstance(operand.owner, Variable):
        return _divided(operand.owner, operand, mesh)
    found = next((use.operation for use in inside.uses if isinstance(use.operation, Shard)), None)
    return _divided(found, inside, mesh) if found is not None and is_tensor(inside.type) else WHOLE


def _result(value: SSAValue, mesh: Axes) -> Divided | None:
    return _divided(value.owner, value, mesh) if isinstance(value.owner, Shard) else None
