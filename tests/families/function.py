"""Functions, calls, islands and requests for gradients."""

from __future__ import annotations

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir import dtypes
from dfc.ir.ops.function import OptimizationBarrier
from dfc.ir.types import Spec
from tests.families.rows import Broken, GradientCase, Rows, X, Y
from tests.numerics.values import EVERY, Case, edges

# ---- values

ROWS = Rows()


@ROWS.row("optimization_barrier")
def optimization_barrier() -> list[Case]:
    """Several operands at once come out bit for bit."""
    every = tuple(edges(dtype) for dtype in EVERY)
    alone = [(x,) for x in every]
    mixed, empty = (np.zeros((2, 0)), np.array(np.nan, np.float32)), (np.zeros((2, 0)),)
    return [
        Case(every, every, {"hidden": ()}),
        Case(every, every, {"hidden": tuple(range(len(every)))}),
        *(Case(x, x, {"hidden": (0,)}) for x in [*alone, mixed, empty, (np.array([[-0.0, 1.0]]),)]),
        Case(mixed[::-1], mixed[::-1], {"hidden": (0, 1)}),
    ]


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
    ("gradients-C3", "float32[] ; float32[2]", {"n_ys": 1, "n_xs": 1, "kinds": ("rows",)}, InvalidArgument,
     "kinds must be dense, sparse or none, one for each of 1 xs, got ('rows',)"),
    ("gradients-C4", "float32[] ; int32[2]", {"n_ys": 1, "n_xs": 1, "kinds": ("dense",)}, InvalidType,
     "a gradient needs a floating or complex x, got int32[2]"),
    ("gradients-C5", "float32[] ; float32[2]", {"n_ys": 1, "n_xs": 1, "kinds": ("sparse",)}, InvalidArgument,
     "1 sparse xs need as many rows, got 0"),
    ("custom_gradient-C1", "float32[]", {"n_ys": 1, "n_xs": 1, "given": ()}, InvalidArgument,
     "1 operands don't fit 1 ys and 1 xs"),
    ("custom_gradient-C2", "float32[] ; int32[2]", {"n_ys": 1, "n_xs": 1, "given": (0,)}, InvalidArgument,
     "given=(0,) must index floating or complex xs"),
    ("checkpoint-C1", "token", {"results": (SCALAR,)}, InvalidType, "operands must be tensors, got !df.control"),
    ("optimization_barrier-C1", "string[]", {"hidden": ()}, InvalidType,
     "the dtype must be bool or int or uint or float or complex, got string"),
    ("optimization_barrier-C2", "int32[]", {"hidden": (1,)}, InvalidArgument, "hidden=(1,) must index 1 operands"),
    ("island-C1", "float32[] ; float32[]", {"n_inputs": 1, "n_refs": 1, "written": (), "results": ()}, InvalidArgument,
     "operands must be 1 tensors, 1 references, then tokens, got (tensor<f32>, tensor<f32>)"),
    ("island-C2", "float32[] ; ref float32[]", {"n_inputs": 1, "n_refs": 1, "written": (1,), "results": ()},
     InvalidArgument, "written=(1,) must index 1 references"),
]  # fmt: skip


# ---- gradients

GRADIENTS = [
    GradientCase(OptimizationBarrier, [X], {"hidden": ()}),
    GradientCase(OptimizationBarrier, [X, Y], {"hidden": (0,)}),
]
