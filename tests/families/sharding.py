"""Divisions among the devices of a mesh: values stay as they are."""

from __future__ import annotations

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.ops import sharding as ops
from dfc.ir.sharding import MeshSpec, Sharding
from tests.families.rows import Broken, GradientCase, Rows, normal
from tests.numerics.values import EVERY, Case, counted

ROWS = Rows()
row = ROWS.row

MESH = MeshSpec((("data", 2), ("model", 2)))
BY_ROWS = Sharding(MESH, (("data",),))


@row("shard")
def shard() -> list[Case]:
    found = []
    for dtype in EVERY:
        x = counted((4, 6), dtype)
        found.append(Case((x,), (x.copy(),), {"sharding": Sharding(MESH, (("data",), ("model",)))}))
    scalar, x = counted((), "float32"), counted((8,), "int32")
    found.append(Case((scalar,), (scalar.copy(),), {"sharding": Sharding(MESH, ())}))
    return [*found, Case((x,), (x.copy(),), {"sharding": Sharding(MESH, (("model", "data"),))})]


BROKEN: list[Broken] = [
    ("shard-C1", "token", {"sharding": BY_ROWS}, InvalidArgument, "the operand must be a tensor, got !df.control"),
    ("shard-C2", "float32[3,2]", {"sharding": BY_ROWS}, InvalidArgument,
     "dimension 0 of size 3 can't be divided evenly among data=2"),
    ("shard-C3", "string[4]", {"sharding": BY_ROWS}, InvalidType,
     "the dtype must be bool or int or uint or float or complex, got string"),
]  # fmt: skip

GRADIENTS: list[GradientCase] = [
    GradientCase(ops.Shard, [normal(4, 3)], {"sharding": BY_ROWS}),
]
