"""What a graph is made of beside operations on tensors: placeholders, and what happens before what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from xdsl.ir import SSAValue

from dfc.errors import FailedPrecondition, InvalidType
from dfc.frontend import names
from dfc.frontend.graph_trace import GraphTrace, current_graph
from dfc.frontend.graph_variable import GraphVariable
from dfc.frontend.interior import Body
from dfc.frontend.operation import Operation
from dfc.frontend.promotion import tensor_in
from dfc.frontend.signature import TensorSpec
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Controls, Trace, current
from dfc.frontend.variable import Variable
from dfc.ir import locations
from dfc.ir.ops.graph import Placeholder
from dfc.ir.ops.state import Group


def placeholder(dtype: Any, shape: Sequence[Any] = (), name: str | None = None) -> Tensor:
    """A tensor that each step must be fed, in `with dfc.Graph():`.

    A size is an int, a name that stands for any size, the same wherever it stands, or None for any size. `name` is the
    tensor's name, by default `placeholder`, `placeholder_1` ... Raises FailedPrecondition outside a graph.
    """
    graph = require_graph("dfc.placeholder")
    spec = TensorSpec(tuple(shape), dtype)
    annotations = graph.named(name if name is not None else _free(graph, "placeholder"))
    label = annotations["name"].data  # type: ignore[attr-defined]
    attributes = {"shape": spec.named(names.scoped(label)).shape, "dtype": spec.dtype}
    op = graph.emit_op(Placeholder, (), attributes, annotations)
    tensor = Tensor(op.result.type, graph, op.result)
    graph.inputs.append(tensor)  # where the sizes of its dimensions can be had
    return tensor


def _free(graph: GraphTrace, base: str) -> str:
    name, number = base, 0
    while graph.is_named(name):
        number += 1
        name = f"{base}_{number}"
    return name


def require_graph(what: str) -> GraphTrace:
    """The graph being built, in it and not in a function that is called there. Raises FailedPrecondition."""
    graph = current_graph()
    if graph is None or graph is not current():
        raise FailedPrecondition(
            f"{what} works only in `with dfc.Graph():`", location=locations.describe(locations.capture())
        )
    return graph


@contextmanager
def control_dependencies(control_inputs: Sequence[Any] | None) -> Iterator[None]:
    """Operations made inside run after all of `control_inputs`, operations and tensors; None lifts those around it.

    An operation without an effect waits by its first operand; where that was made inside too, it waits already, and a
    constant needs to wait for nothing. In a branch or a body of a loop, all of the branch or loop waits for operations
    from outside. Outside a graph and a traced function everything has happened already.
    """
    trace = current()
    if trace is None:
        yield
        return
    outer = trace.controls
    if control_inputs is None:
        trace.controls = None
    else:
        tokens = tokens_of(trace, control_inputs, "control_dependencies")
        before = () if outer is None else outer.tokens
        trace.controls = Controls(tuple(dict.fromkeys((*before, *tokens))))
    try:
        yield
    finally:
        trace.controls = outer


def group(*inputs: Any, name: str | None = None) -> Operation:
    """One operation that has run when all of these operations and tensors have."""
    trace = current()
    if trace is None:
        return Operation(None, None, name or "group")
    tokens = tokens_of(trace, inputs, "group")
    annotations = None if name is None else trace.named(name)
    made = trace.emit_op(Group, tokens, annotations=annotations)
    return Operation(made.token, trace, name or "group")


def tokens_of(trace: Trace, inputs: Sequence[Any], what: str) -> list[SSAValue]:
    """A token for each operation, and one for all tensors."""
    tokens: list[SSAValue] = []
    values: list[SSAValue] = []
    for item in inputs:
        if isinstance(item, Operation):
            if item._token is None or item._trace is None:
                continue  # it has happened
            if item._trace is not trace:
                if _wait_outside(trace, item._trace, item._token):
                    continue
                raise FailedPrecondition(
                    f"the operation {item.name!r} belongs to another trace",
                    op=what,
                    location=locations.describe(locations.capture()),
                )
            tokens.append(item._token)
        elif isinstance(item, Tensor | Variable):
            values.append(tensor_in(trace, item)._value)
        else:
            raise InvalidType(
                f"operations and tensors are needed, got {item!r}",
                op=what,
                location=locations.describe(locations.capture()),
            )
    if values:
        controls, trace.controls = trace.controls, None
        tokens.append(trace.emit_op(Group, values).token)
        trace.controls = controls
    return tokens


def _wait_outside(trace: Trace, owner: Trace, token: SSAValue) -> bool:
    """Let the branch or loop of `owner` that `trace` is inside of wait as a whole; whether there is one."""
    while isinstance(trace, Body):
        if trace.outside is owner:
            trace.outer_tokens.append(token)
            return True
        trace = trace.outside
    return False


def initialize_all(variables: Sequence[Variable] | None = None) -> Operation:
    """An operation that gives each of `variables`, by default all of the graph made so far, its initial value.

    Each initial value is computed from other variables' values where they have one, and else from their initial ones,
    so the order does not matter. A variable made outside a graph has its value from the start.
    """
    graph = current_graph()
    if graph is None:
        return Operation(None, None, "initialize_all")
    chosen = graph.variables if variables is None else variables
    starting = [v for v in chosen if isinstance(v, GraphVariable) and v.initial_value is not None]
    with graph.aside():
        return group(*(variable.initializer for variable in starting), name="initialize_all")
