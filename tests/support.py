"""What tests of several kinds share: making programs of single ops, and running them through XLA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import LocationAttr, ModuleOp
from xdsl.ir import SSAValue

from dfc.backends import xla
from dfc.backends.stablehlo.emit import emit_func
from dfc.ir import dialect, locations
from dfc.ir.builder import Builder, create
from dfc.ir.dtypes import as_dtype
from dfc.ir.op import Op, short_name
from dfc.ir.ops.function import Func, Return, single_block_region
from dfc.ir.types import Spec, tensor_type

Array = np.ndarray[Any, Any]
USER_LINE = locations.file_location("model.py", 12, 5)
OPS = {short_name(op): op for op in dialect.all_ops()}


def spec(array: Array) -> Spec:
    return Spec(array.shape, as_dtype(array.dtype))


def function_of(
    calls: Sequence[tuple[type[Op], Sequence[Spec], Mapping[str, Any]]],
    *,
    name: str = "f",
    location: LocationAttr = USER_LINE,
) -> Func:
    """A function that makes each call on inputs of its own and returns all results."""
    region, block = single_block_region([tensor_type(*s) for _, specs, _ in calls for s in specs])
    builder, outputs = Builder(block, location=location), list[SSAValue]()
    arguments = iter(list(block.args))
    for cls, specs, attributes in calls:
        outputs += builder.op(cls, *(next(arguments) for _ in specs), **attributes).results
    builder.op(Return, *outputs)
    names = {
        "sym_name": name,
        "arg_names": tuple(f"x{i}" for i in range(len(block.args))),
        "result_names": tuple(f"y{i}" for i in range(len(outputs))),
    }
    return create(Func, (), names, location=location, regions=[region])


def program_of(*functions: Func) -> ModuleOp:
    return ModuleOp(list(functions))


def run_xla(function: Func, operands: Sequence[Array]) -> list[Array]:
    """The function's outputs, compiled by XLA and run on the first device."""
    module = emit_func(function, context=xla.mlir_context())
    specs = [(x.shape, x.dtype) for x in operands]
    program = xla.compile_program(module, input_specs=specs, name=function.sym_name.data)
    _, outputs = program([], [xla.to_device(x) for x in operands])
    return [xla.to_numpy(y) for y in outputs]
