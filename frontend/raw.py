"""`dfc.raw`: control flow as dataflow, op by op, for graphs that are built by hand (spec rows F1 to F8, F16).

A value that does not come is dead. An operation one of whose inputs is dead, a control dependency included, does not
run, and what it gives is dead too; only merges and control triggers run nevertheless. What stands between `enter` and
`exit` is a frame, a loop: its operations run once in each iteration, and `next_iteration` leads to the next one. All of
this works only in `with dfc.Graph():`; structured control flow is `dfc.cond` and `dfc.while_loop`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from xdsl.ir import SSAValue

from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType
from dfc.frontend import names
from dfc.frontend.control import require_graph, tokens_of
from dfc.frontend.graph_trace import GraphTrace
from dfc.frontend.operation import Operation
from dfc.frontend.ops.shape import error_here
from dfc.frontend.promotion import tensor_in
from dfc.frontend.signature import TensorSpec
from dfc.frontend.tensor import Operand, Tensor
from dfc.ir.dims import Shape, SymbolicDim
from dfc.ir.dtypes import DType, as_dtype, bool_, int32
from dfc.ir.op import Op
from dfc.ir.ops import dataflow as fl
from dfc.ir.ops.control import fits
from dfc.ir.types import Spec, spec_of
from dfc.passes.late import symbols_in

__all__ = [
    *("Merged", "Stack", "Switched", "control_trigger", "enter", "exit", "loop_cond", "merge", "next_iteration"),
    *("stack", "stack_close", "stack_pop", "stack_push", "switch"),
]


class Stack:
    """A stack of tensors that a step makes and that ends with the step."""

    def __init__(self, trace: GraphTrace, value: SSAValue, dtype: DType) -> None:
        self._trace, self._value, self.dtype = trace, value, dtype

    def __repr__(self) -> str:
        return f"<dfc.raw.Stack of {self.dtype}>"


class Switched(NamedTuple):
    """What `switch` gives: one of the two is dead."""

    if_false: Any
    if_true: Any


class Merged(NamedTuple):
    """What `merge` gives: the value that came, and the number of the input that it came from."""

    value: Tensor
    value_index: Tensor

    def set_back_edge(self, next_iteration: Tensor) -> None:
        """Have the merge take this too, which `next_iteration` gives later in the graph.

        Raises InvalidType for what `next_iteration` does not give, InvalidArgument for a value that does not fit.
        """
        trace, op = self.value._trace, self.value._value.owner
        assert isinstance(trace, GraphTrace) and isinstance(op, fl.Merge)
        _set_back_edge(trace, op, next_iteration)


def switch(data: Any, pred: Operand, name: str | None = None) -> Switched:
    """`data`, a tensor or a stack, as `if_true` where `pred` is true and as `if_false` else; the other one is dead.

    Raises InvalidArgument or InvalidType for a pred that is no scalar of dtype bool.
    """
    trace = require_graph("dfc.raw.switch")
    condition = tensor_in(trace, pred)
    if condition.shape != ():
        raise error_here(
            InvalidArgument, f"The second input must be a scalar, got {spec_of(condition._type)}", "switch"
        )
    if condition.dtype is not bool_:
        raise error_here(InvalidType, f"The second input must be of dtype bool, got {condition.dtype}", "switch")
    given = _given(trace, data)
    op = _emit(trace, fl.Switch, name, (given._value, condition._value))
    return Switched(*(_like(given, result) for result in op.results))


def merge(
    *inputs: Operand, back_edge: Tensor | None = None, shape: Sequence[Any] | None = None, name: str | None = None
) -> Merged:
    """The input that comes first, and its number, an int32 scalar; both dead if all inputs are.

    At the beginning of a loop a merge takes what enters, and later what `next_iteration` gives: `back_edge`, or set by
    `set_back_edge`. `shape` is the value's, with None for sizes that change; by default that of the inputs, with None
    where they differ. A step in which two inputs come fails with Internal.

    Raises InvalidType for inputs of several dtypes, InvalidArgument for none and for shapes that don't fit.
    """
    trace = require_graph("dfc.raw.merge")
    if not inputs:
        raise error_here(InvalidArgument, "there must be an input, got none", "merge")
    tensors = [tensor_in(trace, x) for x in inputs]
    values = [t._value for t in tensors]
    specs = [spec_of(t._type) for t in tensors]
    dtypes = list(dict.fromkeys(spec.dtype for spec in specs))
    if len(dtypes) > 1:
        raise error_here(
            InvalidType, f"all inputs must be of the same dtype, got {', '.join(d.name for d in dtypes)}", "merge"
        )
    spec = Spec(_common_shape(trace, specs) if shape is None else _fresh(trace, shape), dtypes[0])
    for given in specs:
        if not fits(given, spec):
            raise error_here(InvalidArgument, f"each input must fit {spec}, got {given}", "merge")
    op = _emit(trace, fl.Merge, name, values, {"result": (spec,)})
    merged = Merged(*(Tensor(result.type, trace, result) for result in op.results))
    if back_edge is not None:
        _set_back_edge(trace, op, back_edge)
    return merged


def enter(x: Any, frame: str, is_constant: bool = False, parallel_iterations: int = 10, name: str | None = None) -> Any:
    """`x`, a tensor or a stack, in the first iteration of the frame called `frame`, or in all of them where
    `is_constant`. At most `parallel_iterations` of the frame are under way at once."""
    trace = require_graph("dfc.raw.enter")
    given = _given(trace, x)
    attributes = {"frame": frame, "is_constant": is_constant, "parallel_iterations": parallel_iterations}
    return _like(given, _emit(trace, fl.Enter, name, (given._value,), attributes).results[0])


def exit(x: Any, name: str | None = None) -> Any:
    """`x` in the frame around this one, once it comes."""
    given = _passed("dfc.raw.exit", fl.Exit, x, name)
    trace = given._trace
    if isinstance(given, Stack) or not (symbols_in(given._value) - _sizes_of_inputs(trace)):
        return given
    # sizes that are known in the frame alone get names of their own outside
    spec = spec_of(given._type)
    shape = tuple(trace.program.fresh_dimension("left") if isinstance(d, SymbolicDim) else d for d in spec.shape)
    value = trace.emit_op(fl.Merge, (given._value,), {"result": (Spec(shape, spec.dtype),)}).value
    return Tensor(value.type, trace, value)


def next_iteration(x: Any, name: str | None = None) -> Any:
    """`x` in the next iteration: for a merge at the loop's beginning."""
    return _passed("dfc.raw.next_iteration", fl.NextIteration, x, name)


def loop_cond(x: Operand, name: str | None = None) -> Tensor:
    """`x`, a scalar of dtype bool that says whether the loop goes on, for the loop's switches."""
    trace = require_graph("dfc.raw.loop_cond")
    given = tensor_in(trace, x)
    result = _emit(trace, fl.LoopCond, name, (given._value,)).results[0]
    return Tensor(result.type, trace, result)


def control_trigger(*inputs: Any, name: str | None = None) -> Operation:
    """An operation that has run when all of these operations and tensors have, or turned out to be dead. It is never
    dead itself."""
    trace = require_graph("dfc.raw.control_trigger")
    op = _emit(trace, fl.ControlTrigger, name, tokens_of(trace, inputs, "control_trigger"))
    return Operation(op.token, trace, name or "control_trigger")


# ---- stacks


def stack(dtype: Any, max_size: Operand = -1, swap_memory: bool = False, name: str | None = None) -> Stack:
    """A new stack of each step, with room for `max_size` tensors of this dtype, or for any number where that is
    negative. With `swap_memory` tensors go to the host's memory while the device's is short: see
    `SessionConfig.device_memory_limit`."""
    trace = require_graph("dfc.raw.stack")
    element = as_dtype(dtype)
    size = tensor_in(trace, max_size, int32)
    annotations = names.scope_annotations() if name is None else trace.named(name)
    attributes = {"label": names.scoped(name or "stack"), "dtype": element, "swap_memory": swap_memory}
    op = trace.emit_op(fl.Stack, (size._value,), attributes, annotations)
    return Stack(trace, op.handle, element)


def stack_push(stack: Stack, x: Operand, name: str | None = None) -> Tensor:
    """Put `x` on the stack; gives `x`. What makes it depend on this is sure that it is there."""
    trace = require_graph("dfc.raw.stack_push")
    handle = _handle(stack, trace, "stack_push")
    tensor = tensor_in(trace, x, stack.dtype)
    if tensor.dtype is not stack.dtype:
        raise error_here(InvalidType, f"the stack takes {stack.dtype}, got {tensor.dtype}", "stack_push")
    op = _emit(trace, fl.StackPush, name, (handle, tensor._value))
    return Tensor(op.results[0].type, trace, op.results[0])


def stack_pop(stack: Stack, shape: Sequence[Any] = (), name: str | None = None) -> Tensor:
    """Take the newest tensor off the stack. `shape` is its shape, with None for sizes that are not known."""
    trace = require_graph("dfc.raw.stack_pop")
    handle = _handle(stack, trace, "stack_pop")
    spec = Spec(_fresh(trace, shape), stack.dtype)
    op = _emit(trace, fl.StackPop, name, (handle,), {"element": (spec,)})
    return Tensor(op.results[0].type, trace, op.results[0])


def stack_close(stack: Stack, name: str | None = None) -> Operation:
    """Give up the stack and what is on it; later operations on it fail."""
    trace = require_graph("dfc.raw.stack_close")
    op = _emit(trace, fl.StackClose, name, (_handle(stack, trace, "stack_close"),))
    return Operation(op.results[-1], trace, name or "stack_close")


# ---- what they share

OpT = TypeVar("OpT", bound=Op)


def _emit(
    trace: GraphTrace,
    cls: type[OpT],
    name: str | None,
    operands: Sequence[SSAValue],
    attributes: Mapping[str, Any] | None = None,
) -> OpT:
    made = trace.emit_named(cls, name, attributes or {}, operands)
    assert isinstance(made, cls)
    return made


def _given(trace: GraphTrace, x: Any) -> Tensor | Stack:
    return x if isinstance(x, Stack) else tensor_in(trace, x)


def _like(given: Tensor | Stack, value: SSAValue) -> Tensor | Stack:
    assert isinstance(given._trace, GraphTrace)
    if isinstance(given, Stack):
        return Stack(given._trace, value, given.dtype)
    return Tensor(value.type, given._trace, value)


def _passed(what: str, cls: type[fl.Passing], x: Any, name: str | None) -> Any:
    trace = require_graph(what)
    given = _given(trace, x)
    return _like(given, _emit(trace, cls, name, (given._value,)).results[0])


def _handle(stack: Stack, trace: GraphTrace, op: str) -> SSAValue:
    if not isinstance(stack, Stack):
        raise error_here(InvalidType, f"a stack is needed, got {stack!r}", op)
    if stack._trace is not trace:
        raise error_here(FailedPrecondition, "the stack belongs to another graph", op)
    return stack._value


def _set_back_edge(trace: GraphTrace, op: fl.Merge, value: Any) -> None:
    owner = value._value.owner if isinstance(value, Tensor) and value._trace is trace else None
    if not isinstance(owner, fl.NextIteration):
        raise error_here(InvalidType, f"the back edge must be what next_iteration gives, got {value!r}", "merge")
    (spec,) = op.result_.data
    given = spec_of(value._type)
    if not fits(given, spec):
        raise error_here(
            InvalidArgument,
            f"the back edge must fit {spec}, got {given}",
            "merge",
            "give the merge a shape with None for sizes that change",
        )
    op.operands = [*op.operands, value._value]


def _common_shape(trace: GraphTrace, specs: Sequence[Spec]) -> Shape:
    ranks = list(dict.fromkeys(len(spec.shape) for spec in specs))
    if len(ranks) > 1:
        raise error_here(
            InvalidArgument, f"all inputs must be of the same rank, got {' and '.join(map(str, specs))}", "merge"
        )
    columns = [list(dict.fromkeys(column)) for column in zip(*(spec.shape for spec in specs), strict=True)]
    return tuple(c[0] if len(c) == 1 else trace.program.fresh_dimension("merged") for c in columns)


def _sizes_of_inputs(trace: GraphTrace) -> set[str]:
    return {symbol for tensor in trace.inputs for symbol in symbols_in(tensor._value)}


def _fresh(trace: GraphTrace, shape: Sequence[Any]) -> Shape:
    """The shape, with a symbol of its own for each None."""
    sizes = [trace.program.fresh_dimension("size") if size is None else size for size in shape]
    return TensorSpec(tuple(sizes), bool_).named("").shape
