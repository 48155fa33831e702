"""Functions, calls, islands and requests for gradients."""

from __future__ import annotations

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.types import Spec
from tests.families.rows import Broken

# ---- broken constraints

SCALAR = Spec((), dtypes.float32)
BROKEN: list[Broken] = [
    ("return-C1", "token ; float32[]", {}, InvalidArgument, "control tokens must come after all outputs"),
    ("call-C1", "token ; float32[]", {"callee": "f", "results": (SCALAR,), "stateful": True}, InvalidArgument,
     "control tokens must come after all inputs"),
    ("gradients-C1", "float32[] ; float32[] ; float32[]", {"n_ys": 2, "n_xs": 2, "kinds": ("dense", "dense")},
     InvalidArgument, "3 operands don't fit 2 ys, 2 xs and none or 2 grad_ys"),
    ("gradients-C2", "float32[] ; float32[2] ; float32[2]", {"n_ys": 1, "n_xs": 1, "kinds": ("dense",)},
     InvalidArgument, "grad_ys must match ys, got float32[2] for float32[]"),
    ("gradients-C3", "float32[] ; float32[2]", {"n_ys": 1, "n_xs": 1, "kinds": ("sparse",)}, InvalidArgument,
     "kinds must be dense or none, one for each of 1 xs, got ('sparse',)"),
    ("gradients-C4", "float32[] ; int32[2]", {"n_ys": 1, "n_xs": 1, "kinds": ("dense",)}, InvalidType,
     "a gradient needs a floating or complex x, got int32[2]"),
    ("island-C1", "float32[] ; float32[]", {"n_inputs": 1, "n_refs": 1, "written": (), "results": ()}, InvalidArgument,
     "operands must be 1 tensors, 1 references, then tokens, got (tensor<f32>, tensor<f32>)"),
    ("island-C2", "float32[] ; ref float32[]", {"n_inputs": 1, "n_refs": 1, "written": (1,), "results": ()},
     InvalidArgument, "written=(1,) must index 1 references"),
]  # fmt: skip
