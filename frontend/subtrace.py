"""Running a Python function under a trace, and calls between traced functions."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xdsl.ir import Attribute, SSAValue

from dfc.errors import InvalidArgument
from dfc.frontend import interop, structure
from dfc.frontend.graph import Graph
from dfc.frontend.interior import Interior
from dfc.frontend.promotion import tensor_in
from dfc.frontend.signature import Arguments
from dfc.frontend.structure import Structure
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Program, Trace
from dfc.ir import dims, locations
from dfc.ir.builder import erase
from dfc.ir.collector import without_collection
from dfc.ir.ops.function import Call
from dfc.ir.types import Spec, spec_of
from dfc.passes.late import symbols_in

if TYPE_CHECKING:
    from dfc.frontend.function import Function
    from dfc.frontend.variable import Variable

NestOf = Callable[[Sequence[Tensor]], dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Traced:
    """A function traced for one signature."""

    graph: Graph
    output_types: tuple[Attribute, ...]
    effects: dict[Variable, bool]
    """The variables that it uses, and whether it writes each."""
    ordered: list[Any]
    """What else it has effects on: see `Trace.emit_ordered`."""
    checks: bool
    """Whether it has any: see `Trace.always`."""
    captures: list[SSAValue]
    """Values of the enclosing trace that follow its arguments."""


@without_collection
def trace(
    function: Function[..., Any],
    program: Program,
    parent: Trace | None,
    nest_of: NestOf,
    types: Sequence[Attribute],
    names: Sequence[str],
) -> Traced:
    """Run the Python function on symbolic tensors of `types`. Errors of the user's code pass through."""
    traced = Trace(
        program, function.name, types, names, parent=parent, function=function, location=_definition(function)
    )

    def body() -> tuple[list[Tensor], Structure]:
        result = function.run_python(nest_of(traced.inputs))
        leaves, nest = structure.flatten(result, is_result)
        return [tensor_in(traced, leaf) for leaf in leaves], nest

    try:
        outputs, nest = traced.run(body)
        func = traced.finish([t._value for t in outputs], structure.output_names(nest))
        return Traced(
            Graph.traced(traced, func, nest),
            tuple(t._type for t in outputs),
            {variable: r.write_token is not None for variable, r in traced.resources.items()},
            list(traced.ordered),
            bool(traced.checks),
            traced.captures,
        )
    except BaseException:
        erase(traced.func)  # a caller may catch the error and go on tracing
        raise
    finally:
        traced.close()


def is_result(value: Any) -> bool:
    """Whether what a traced function returns is a tensor of its results, rather than a nest or a static value."""
    return (
        isinstance(value, Tensor | bool | int | float | complex)
        or (hasattr(value, "__dfc_tensor__") and not dataclasses.is_dataclass(value))
        or interop.is_array(value)
    )


def _definition(function: Function[..., Any]) -> Any:
    code = getattr(inspect.unwrap(function.python_function), "__code__", None)
    return locations.capture() if code is None else locations.file_location(code.co_filename, code.co_firstlineno, 1)


def call(
    function: Function[..., Any],
    caller: Trace,
    arguments: Arguments,
    types: Sequence[Attribute],
    names: Sequence[str],
    nest_of: NestOf,
) -> Any:
    """`df.call` in the caller's trace to `function`, traced into the same program once a signature."""
    _refuse_recursion(function, caller)
    if isinstance(caller, Interior):  # a region holds no calls
        return _run_inside(function, caller, arguments, nest_of)
    key = (function, arguments.structure, *map(id, types))
    traced: Traced | None = caller.program.callees.get(key)
    if traced is None:
        traced = trace(function, caller.program, caller, nest_of, types, names)
        if not traced.captures:  # what is captured may be another tensor at the next call
            caller.program.callees[key] = traced
    inputs = [tensor_in(caller, leaf)._value for leaf in arguments.leaves]
    waits: list[SSAValue] = []
    for variable, written in traced.effects.items():
        waits += caller.waits_of_call(variable, written)
    for key in traced.ordered:
        waits += caller.waits_in_order(key)
    attributes = {
        "callee": traced.graph.name,
        "results": _result_specs(caller, traced),
        "stateful": bool(traced.effects or traced.ordered or traced.checks),
    }
    made = caller.emit_op(Call, (*inputs, *traced.captures, *dict.fromkeys(waits)), attributes)
    for variable, written in traced.effects.items():
        caller.called(variable, written, made.results[-1])
    for key in traced.ordered:
        caller.happened(key, made.results[-1])
    if traced.checks:
        caller.checks.append(made.results[-1])
    outputs = iter([Tensor(value.type, caller, value) for value in made.results[: len(traced.output_types)]])
    if traced.ordered or traced.checks or any(traced.effects.values()):
        outputs = iter([caller.implying(tensor, made.results[-1]) for tensor in outputs])
    return structure.unflatten(traced.graph.structure, outputs)


def _result_specs(caller: Trace, traced: Traced) -> tuple[Spec, ...]:
    """What this call gives: sizes that only running the function tells are others than those of any other call."""
    specs = [spec_of(t) for t in traced.output_types]
    given = {s for value in traced.graph.func.block.args for s in symbols_in(value)}
    own = {s for spec in specs for d in spec.shape if isinstance(d, dims.SymbolicDim) for s in d.symbols} - given
    fresh = {s: caller.program.fresh_dimension(s.rstrip("0123456789").rstrip("_") or s) for s in sorted(own)}
    return tuple(Spec(dims.substitute(s.shape, fresh), s.dtype) for s in specs) if own else tuple(specs)


def _run_inside(function: Function[..., Any], caller: Trace, arguments: Arguments, nest_of: NestOf) -> Any:
    """The function's ops in the caller's trace itself."""
    inputs = [tensor_in(caller, leaf) for leaf in arguments.leaves]
    leaves, nest = structure.flatten(function.run_python(nest_of(inputs)), is_result)
    return structure.unflatten(nest, iter([tensor_in(caller, leaf) for leaf in leaves]))


def _refuse_recursion(function: Function[..., Any], caller: Trace) -> None:
    trace: Trace | None = caller
    chain = [function.name]
    while trace is not None:
        chain.append(trace.name)
        if trace.function is function:
            raise InvalidArgument(
                f"a traced function must not call itself, got {' -> '.join(reversed(chain))}",
                op=function.name,
                location=locations.describe(locations.capture()),
                hint="a graph has no recursion: write it as a loop",
            )
        trace = trace.parent
