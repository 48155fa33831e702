"""dfc: a dataflow compiler. State, control flow, gradients and devices are in one graph, compiled through StableHLO.

The public names, each in the module that has it; a module is imported when one of its names is first used, so that
`import dfc` costs nothing.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dfc import errors

__version__ = "0.1.0"

_MODULES = {
    "dfc.frontend.function": "Function function",
    "dfc.frontend.signature": "TensorSpec",
    "dfc.frontend.operators": "Tensor",
    "dfc.frontend.variable": "Variable",
    "dfc.frontend.operation": "Operation",
    "dfc.frontend.module": "Module",
    "dfc.frontend.graph": "Graph",
    "dfc.frontend.session": "Session",
    "dfc.frontend.timeline": "Timeline",
    "dfc.frontend.control": "control_dependencies group initialize_all placeholder",
    "dfc.frontend.placement": "colocate_with device devices",
    "dfc.frontend.sharding": "mesh shard",
    "dfc.runtime.session": "SessionConfig",
    "dfc.passes.costs": "Costs",
    "dfc.passes.expected": "Expected",
    "dfc.frontend.queues": "FIFOQueue PaddingFIFOQueue PriorityQueue QueueBase RandomShuffleQueue",
    "dfc.frontend.barrier": "Barrier",
    "dfc.frontend.accumulators": "ConditionalAccumulator SparseConditionalAccumulator",
    "dfc.frontend.gradients": "grad gradients value_and_grad",
    "dfc.frontend.derivatives": "hessian jacobian jvp",
    "dfc.frontend.custom_gradient": "checkpoint custom_gradient",
    "dfc.frontend.indexed_slices": "IndexedSlices",
    "dfc.frontend.names": "name_scope offload",
    "dfc.frontend.defaults": "default_dtype",
    "dfc.frontend.ops.elementwise": """
        abs add add_n astype atan2 bitwise_and bitwise_invert bitwise_or bitwise_xor ceil cos divide equal exp expm1
        floor floor_divide greater greater_equal identity isfinite isinf isnan less less_equal log log1p logical_and
        logical_not logical_or logical_xor maximum minimum multiply negative not_equal positive pow remainder
        result_type round rsqrt sigmoid sign sin sqrt square stop_gradient subtract tan tanh trunc where""",
    "dfc.frontend.ops.complex": "angle complex conj imag real",
    "dfc.frontend.ops.bitwise": """
        bitcast bitwise_count bitwise_left_shift bitwise_right_shift copysign count_leading_zeros nextafter signbit""",
    "dfc.frontend.ops.special": """
        acos acosh asin asinh atan atanh cbrt cosh sinc sinh""",
    "dfc.frontend.ops.logarithm": "exp2 hypot log10 log2 logaddexp",
    "dfc.frontend.ops.linalg": "einsum matmul tensordot vecdot",
    "dfc.frontend.ops.reduction": "all any argmax argmin max mean min prod std sum var",
    "dfc.frontend.ops.cumulative": """
        cumulative_logsumexp cumulative_max cumulative_min cumulative_prod cumulative_sum linear_recurrence""",
    "dfc.frontend.ops.quantize": "dequantize fake_quantize quantize",
    "dfc.frontend.ops.sorting": "argsort isin median quantile searchsorted sort sort_by top_k unique",
    "dfc.frontend.ops.shape": """
        broadcast_to concat dim_size expand_dims flip matrix_transpose permute_dims reshape shape split squeeze
        stack""",
    "dfc.frontend.ops.arrangement": """
        band_part diag diagonal matrix_diag meshgrid moveaxis pad repeat roll swapaxes tile trace tril triu unstack""",
    "dfc.frontend.ops.control": "case cond",
    "dfc.frontend.loops": "fold fori_loop map scan while_loop",
    "dfc.frontend.tensor_array": "TensorArray",
    "dfc.frontend.ops.indexing": """
        argwhere dynamic_slice dynamic_update_slice gather_nd nonzero scatter_nd take take_along_axis tensor_scatter_add
        tensor_scatter_max tensor_scatter_min tensor_scatter_mul tensor_scatter_update""",
    "dfc.frontend.ops.segment": """
        dynamic_partition dynamic_stitch segment_max segment_mean segment_min segment_prod segment_sum""",
    "dfc.frontend.ops.host": "assert_ check_numerics print py_call",
    "dfc.frontend.parts": "Part",
    "dfc.frontend.ops.constant": "arange asarray full full_like one_hot ones ones_like zeros zeros_like",
    "dfc.ir.dtypes": """
        bfloat16 bool_ complex128 complex64 float16 float32 float64 int16 int32 int64 int8 string uint16 uint32 uint64
        uint8""",
    "dfc.frontend.aot": "compile",
    "dfc.runtime.load": "load",
}
_SUBMODULES = {
    "autograph": "dfc.frontend.autograph",
    "fft": "dfc.frontend.fft",
    "image": "dfc.frontend.image",
    "linalg": "dfc.frontend.linalg",
    "nn": "dfc.frontend.nn",
    "random": "dfc.frontend.random",
    "raw": "dfc.frontend.raw",
    "special": "dfc.frontend.special",
    "sparse": "dfc.frontend.sparse",
    "strings": "dfc.frontend.strings",
    "train": "dfc.frontend.train",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = ["errors", *sorted(_HOME), *sorted(_SUBMODULES)]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _SUBMODULES:
        value = _namespace(importlib.import_module(_SUBMODULES[name]))
    else:
        raise AttributeError(f"module 'dfc' has no attribute {name!r}")
    globals()[name] = value
    return value


def _namespace(module: Any) -> Any:
    """A namespace whose `dir` shows its public names alone, and so do the namespaces in it."""
    module.__dir__ = lambda: sorted({*(name for name in vars(module) if name.startswith("__")), *module.__all__})
    for name in module.__all__:
        if isinstance(inner := getattr(module, name), ModuleType):
            _namespace(inner)
    return module


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})


if TYPE_CHECKING:  # the same names, for type checkers and editors
    # fmt: off
    # isort: off
    from dfc.frontend import autograph as autograph
    from dfc.frontend import fft as fft, image as image, linalg as linalg, nn as nn, random as random
    from dfc.frontend import raw as raw, sparse as sparse, special as special, strings as strings, train as train
    from dfc.frontend.function import Function as Function, function as function
    from dfc.frontend.signature import TensorSpec as TensorSpec
    from dfc.frontend.operators import Tensor as Tensor
    from dfc.frontend.variable import Variable as Variable
    from dfc.frontend.operation import Operation as Operation
    from dfc.frontend.module import Module as Module
    from dfc.frontend.graph import Graph as Graph
    from dfc.frontend.session import Session as Session
    from dfc.frontend.timeline import Timeline as Timeline
    from dfc.frontend.ops.control import case as case, cond as cond
    from dfc.frontend.loops import fold as fold, fori_loop as fori_loop, map as map, scan as scan
    from dfc.frontend.loops import while_loop as while_loop
    from dfc.frontend.tensor_array import TensorArray as TensorArray
    from dfc.frontend.control import control_dependencies as control_dependencies, group as group
    from dfc.frontend.control import initialize_all as initialize_all, placeholder as placeholder
    from dfc.frontend.placement import colocate_with as colocate_with, device as device, devices as devices
    from dfc.frontend.sharding import mesh as mesh, shard as shard
    from dfc.runtime.session import SessionConfig as SessionConfig
    from dfc.passes.costs import Costs as Costs
    from dfc.passes.expected import Expected as Expected
    from dfc.frontend.queues import (
        FIFOQueue as FIFOQueue, PaddingFIFOQueue as PaddingFIFOQueue, PriorityQueue as PriorityQueue,
        QueueBase as QueueBase, RandomShuffleQueue as RandomShuffleQueue,
    )
    from dfc.frontend.barrier import Barrier as Barrier
    from dfc.frontend.accumulators import (
        ConditionalAccumulator as ConditionalAccumulator, SparseConditionalAccumulator as SparseConditionalAccumulator,
    )
    from dfc.frontend.gradients import grad as grad, gradients as gradients, value_and_grad as value_and_grad
    from dfc.frontend.derivatives import hessian as hessian, jacobian as jacobian, jvp as jvp
    from dfc.frontend.custom_gradient import checkpoint as checkpoint, custom_gradient as custom_gradient
    from dfc.frontend.indexed_slices import IndexedSlices as IndexedSlices
    from dfc.frontend.names import name_scope as name_scope, offload as offload
    from dfc.frontend.defaults import default_dtype as default_dtype
    from dfc.frontend.ops.elementwise import (
        abs as abs, add as add, add_n as add_n, astype as astype, atan2 as atan2, bitwise_and as bitwise_and,
        bitwise_invert as bitwise_invert, bitwise_or as bitwise_or, bitwise_xor as bitwise_xor, ceil as ceil,
        cos as cos, divide as divide, equal as equal, exp as exp, expm1 as expm1, floor as floor,
        floor_divide as floor_divide, greater as greater, greater_equal as greater_equal, identity as identity,
        isfinite as isfinite, isinf as isinf, isnan as isnan, less as less, less_equal as less_equal,
        log as log, log1p as log1p, logical_and as logical_and, logical_not as logical_not,
        logical_or as logical_or, logical_xor as logical_xor, maximum as maximum, minimum as minimum,
        multiply as multiply, negative as negative, not_equal as not_equal, positive as positive, pow as pow,
        remainder as remainder, result_type as result_type, round as round, rsqrt as rsqrt, sigmoid as sigmoid,
        sign as sign, sin as sin, sqrt as sqrt, square as square, stop_gradient as stop_gradient,
        subtract as subtract, tan as tan, tanh as tanh, trunc as trunc, where as where,
    )
    from dfc.frontend.ops.complex import (
        angle as angle, complex as complex, conj as conj, imag as imag, real as real,
    )
    from dfc.frontend.ops.bitwise import (
        bitcast as bitcast, bitwise_count as bitwise_count, bitwise_left_shift as bitwise_left_shift,
        bitwise_right_shift as bitwise_right_shift, copysign as copysign,
        count_leading_zeros as count_leading_zeros, nextafter as nextafter, signbit as signbit,
    )
    from dfc.frontend.ops.special import (
        acos as acos, acosh as acosh, asin as asin, asinh as asinh, atan as atan, atanh as atanh, cbrt as cbrt,
        cosh as cosh, sinc as sinc, sinh as sinh,
    )
    from dfc.frontend.ops.logarithm import (
        exp2 as exp2, hypot as hypot, log10 as log10, log2 as log2, logaddexp as logaddexp,
    )
    from dfc.frontend.ops.linalg import (
        einsum as einsum, matmul as matmul, tensordot as tensordot, vecdot as vecdot,
    )
    from dfc.frontend.ops.reduction import (
        all as all, any as any, argmax as argmax, argmin as argmin, max as max, mean as mean, min as min,
        prod as prod, std as std, sum as sum, var as var,
    )
    from dfc.frontend.ops.cumulative import (
        cumulative_logsumexp as cumulative_logsumexp, cumulative_max as cumulative_max,
        cumulative_min as cumulative_min, cumulative_prod as cumulative_prod, cumulative_sum as cumulative_sum,
        linear_recurrence as linear_recurrence,
    )
    from dfc.frontend.ops.quantize import (
        dequantize as dequantize, fake_quantize as fake_quantize, quantize as quantize,
    )
    from dfc.frontend.ops.sorting import (
        argsort as argsort, isin as isin, median as median, quantile as quantile, searchsorted as searchsorted,
        sort as sort, sort_by as sort_by, top_k as top_k, unique as unique,
    )
    from dfc.frontend.ops.shape import (
        broadcast_to as broadcast_to, concat as concat, dim_size as dim_size, expand_dims as expand_dims,
        flip as flip, matrix_transpose as matrix_transpose, permute_dims as permute_dims, reshape as reshape,
        shape as shape, split as split, squeeze as squeeze, stack as stack,
    )
    from dfc.frontend.ops.arrangement import (
        band_part as band_part, diag as diag, diagonal as diagonal, matrix_diag as matrix_diag, meshgrid as meshgrid,
        moveaxis as moveaxis, pad as pad, repeat as repeat, roll as roll, swapaxes as swapaxes, tile as tile,
        trace as trace, tril as tril, triu as triu, unstack as unstack,
    )
    from dfc.frontend.ops.indexing import (
        argwhere as argwhere, dynamic_slice as dynamic_slice, dynamic_update_slice as dynamic_update_slice,
        gather_nd as gather_nd, nonzero as nonzero, scatter_nd as scatter_nd, take as take,
        take_along_axis as take_along_axis, tensor_scatter_add as tensor_scatter_add,
        tensor_scatter_max as tensor_scatter_max, tensor_scatter_min as tensor_scatter_min,
        tensor_scatter_mul as tensor_scatter_mul, tensor_scatter_update as tensor_scatter_update,
    )
    from dfc.frontend.ops.segment import (
        dynamic_partition as dynamic_partition, dynamic_stitch as dynamic_stitch, segment_max as segment_max,
        segment_mean as segment_mean, segment_min as segment_min, segment_prod as segment_prod,
        segment_sum as segment_sum,
    )
    from dfc.frontend.ops.host import (
        assert_ as assert_, check_numerics as check_numerics, print as print, py_call as py_call,
    )
    from dfc.frontend.parts import Part as Part
    from dfc.frontend.ops.constant import (
        arange as arange, asarray as asarray, full as full, full_like as full_like, one_hot as one_hot,
        ones as ones, ones_like as ones_like, zeros as zeros, zeros_like as zeros_like,
    )
    from dfc.ir.dtypes import (
        bfloat16 as bfloat16, bool_ as bool_, complex128 as complex128, complex64 as complex64,
        float16 as float16, float32 as float32, float64 as float64, int16 as int16, int32 as int32,
        int64 as int64, int8 as int8, string as string, uint16 as uint16, uint32 as uint32, uint64 as uint64,
        uint8 as uint8,
    )
    from dfc.frontend.aot import compile as compile
    from dfc.runtime.load import load as load
    # isort: on
    # fmt: on
