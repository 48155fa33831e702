"""Values between devices."""

from __future__ import annotations

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.types import Spec
from tests.families.rows import Broken

TASK = "/job:localhost/replica:0/task:0"
ROUTE = {"tensor": "x", "source": f"{TASK}/device:CPU:0", "target": f"{TASK}/device:CPU:1"}
RECEIVED = {**ROUTE, "result": (Spec((2,), dtypes.float32),)}

BROKEN: list[Broken] = [
    ("send-C1", "float32[2]", {**ROUTE, "tensor": ""}, InvalidArgument, "the tensor needs a name, got ''"),
    ("send-C2", "float32[2]", {**ROUTE, "target": "/job:a"}, InvalidArgument,
     "the target must name one device, got '/job:a'"),
    ("send-C3", "token", ROUTE, InvalidArgument, "the operand must be a tensor, got !df.control"),
    ("recv-C1", "token", {**RECEIVED, "tensor": ""}, InvalidArgument, "the tensor needs a name, got ''"),
    ("recv-C2", "token", {**RECEIVED, "source": "/gpu:0"}, InvalidArgument,
     "the source must name one device, got '/gpu:0'"),
    ("recv-C3", "float32[]", RECEIVED, InvalidType,
     "only control tokens may follow the data operands, got tensor<f32>"),
    ("computed-C1", "token", {}, InvalidArgument, "the operand must be a tensor, got !df.control"),
]  # fmt: skip
