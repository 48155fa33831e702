"""What the host does for a program beside computing: Python functions, printing and checks.

In a traced function these happen in program order among themselves, and at every call, whether or not what they give is
used. In `with dfc.Graph():` each happens in the steps that fetch it, depend on it (`dfc.control_dependencies`) or use
what it gives. Outside of both it happens at once. Errors come when it runs, and name the user's line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import DfcError, FailedPrecondition, InvalidArgument, InvalidType
from dfc.frontend import interop, structure
from dfc.frontend.custom_gradient import custom_gradient
from dfc.frontend.immediate import located, operation
from dfc.frontend.interior import Pure
from dfc.frontend.operation import Operation
from dfc.frontend.ops import elementwise, reduction
from dfc.frontend.ops.shape import error_here
from dfc.frontend.promotion import holds_tensors, tensor_in
from dfc.frontend.signature import TensorSpec
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.frontend.variable import Variable
from dfc.ir.dims import SymbolicDim, is_static
from dfc.ir.dtypes import as_dtype, bool_
from dfc.ir.ops import host as ir
from dfc.ir.ops.state import Group
from dfc.ir.python_function import PythonFunction
from dfc.ir.types import Spec, spec_of

ORDER = ("host",)
"""What effects on the world outside are effects on: they happen in program order."""


# ---- Python functions


@located
def py_call(
    fn: Callable[..., Any],
    inputs: Sequence[Operand],
    result_specs: Any,
    stateful: bool = True,
    timeout: float | None = None,
    gradient: Callable[..., Any] | None = None,
) -> Any:
    """Call a Python function with the values of `inputs`, when the program runs.

    `fn` is called with a NumPy array for each of `inputs` (read-only, and valid for as long as it keeps them; strings
    are `bytes` in arrays of objects), in a thread of dfc's: it may wait for as long as it likes and holds up only what
    needs its results. It returns what `result_specs` says, a `dfc.TensorSpec` or a nest of them, and so does `py_call`:
    arrays of these dtypes and shapes, or Python numbers, strings and lists that fit. A size that is a name or None is
    known when it runs only. With no specs (None or an empty list) it returns nothing, and `py_call` a `dfc.Operation`.

    With `stateful=False` the function has no effects, so that calls whose results nobody uses may be left out, and
    others run in any order and at once. `timeout` is in seconds: DeadlineExceeded ends the step, and the thread that
    runs on is not waited for. No gradient passes, unless `gradient` states one, as for `dfc.custom_gradient`: it gets
    the gradient of each floating or complex result and returns one for each of `inputs`, or None.

    Raises InvalidArgument and InvalidType for results that don't fit, Internal for an exception in `fn`, which is its
    `__cause__`; an error of dfc passes as it is.
    """
    specs, nest = _specs(fn, result_specs)
    if not isinstance(inputs, list | tuple):
        raise InvalidType(f"the inputs must be a list or a tuple, got a {type(inputs).__name__}")
    if timeout is not None and not (isinstance(timeout, int | float | np.number) and 0 < timeout < math.inf):
        raise InvalidArgument(f"the time limit must be a positive number of seconds or None, got {timeout!r}")
    trace = current()
    if trace is None:
        return _called_at_once(fn, inputs, specs, nest, timeout)
    if stateful and isinstance(trace, Pure):
        raise FailedPrecondition(
            "a stateful call can't happen inside the region of another operation, which may run never or twice",
            hint="give stateful=False if the function has no effects",
        )
    attributes: dict[str, Any] = {
        "function": PythonFunction(fn),
        "nest": repr(nest.to_json()),
        "stateful": bool(stateful),
        **({} if timeout is None else {"timeout": float(timeout)}),
    }

    def emitted(*operands: Any) -> Any:
        return _py_call(trace, [tensor_in(trace, x)._value for x in operands], specs, nest, attributes)

    if gradient is None or not specs:
        return emitted(*inputs)
    tensors = [tensor_in(trace, x) for x in inputs]
    return custom_gradient(lambda *xs: (emitted(*xs), gradient))(*tensors)


def _specs(fn: Any, result_specs: Any) -> tuple[list[TensorSpec], structure.Structure]:
    if not callable(fn):
        raise InvalidType(f"a function is needed, got {fn!r}")
    leaves, nest = structure.flatten([] if result_specs is None else result_specs, _is_spec)
    wrong = [part.value for part in _parts_of(nest) if part.kind == "static"]
    if wrong:
        raise InvalidType(f"result_specs must be a dfc.TensorSpec or a nest of them, got {wrong[0]!r}")
    return leaves, nest


def _is_spec(value: Any) -> bool:
    return isinstance(value, TensorSpec)


def _parts_of(nest: structure.Structure) -> Iterator[structure.Structure]:
    yield nest
    for child in nest.children:
        yield from _parts_of(child)


def _py_call(
    trace: Trace,
    operands: list[SSAValue],
    specs: Sequence[TensorSpec],
    nest: structure.Structure,
    attributes: Mapping[str, Any],
) -> Any:
    attributes = {**attributes, "results": _sized(trace, specs)}
    if attributes["stateful"]:
        op = trace.emit_ordered(ORDER, ir.PyCall, operands, attributes)
    else:
        op = trace.emit_op(ir.PyCall, operands, attributes)
    *values, token = op.results
    if not values:
        return Operation(token, trace, "py_call")
    tensors = [Tensor(value.type, trace, value) for value in values]
    trace.inputs += [t for t in tensors if not is_static(t.shape)]  # where the sizes of its dimensions can be had
    return structure.unflatten(nest, iter(tensors))


def _sized(trace: Trace, specs: Sequence[TensorSpec]) -> tuple[Spec, ...]:
    """The specs with new symbols for sizes that nobody knows yet: for a name the same wherever it stands among them,
    unless it is that of an input of the function, or of another value's late size."""
    known = trace.program.fresh
    around: Trace | None = trace
    while around is not None:
        dims = [d for tensor in around.inputs for d in tensor.shape if isinstance(d, SymbolicDim)]
        known = known.union(*(d.symbols for d in dims))
        around = around.parent
    new: dict[str, SymbolicDim] = {}

    def sized(dim: Any) -> Any:
        if isinstance(dim, SymbolicDim):
            for name in sorted(dim.symbols - known - new.keys()):
                new[name] = trace.program.fresh_dimension(f"py_call_{name}")
            return dim.substitute(new)
        return trace.program.fresh_dimension("py_call") if dim is None else dim

    return tuple(Spec(tuple(map(sized, spec.shape)), spec.dtype) for spec in specs)


def _called_at_once(
    fn: Callable[..., Any],
    inputs: Sequence[Any],
    specs: Sequence[TensorSpec],
    nest: structure.Structure,
    timeout: float | None,
) -> Any:
    from dfc.runtime.host_calls import PythonCall
    from dfc.runtime.in_thread import InThread

    wanted = [spec.named(f"py_call_{i}") for i, spec in enumerate(specs)]
    call = PythonCall(fn, PythonFunction(fn).name, nest.to_json(), wanted, timeout)
    arrays = InThread.owner.wait(call.begin([_known_value(x, "py_call") for x in inputs], lambda attempt: None))
    if not specs:
        return Operation(None, None, "py_call")
    return structure.unflatten(nest, iter([interop.put(array) for array in arrays]))


def _known_value(x: Any, op: str) -> Any:
    """What an operand is outside a trace: the array of a tensor where it lies, or one of the dtype that it would have
    in a trace. Raises what is right for a tensor of a trace."""
    if hasattr(x, "__dfc_tensor__"):
        x = x.__dfc_tensor__()
    return x._concrete(op) if isinstance(x, Tensor) else interop.to_numpy(x)


# ---- printing


@located
def print(
    *values: Any,
    sep: str | None = " ",
    end: str | None = "\n",
    stream: str = "stdout",
    summarize: int = 3,
    name: str | None = None,
) -> Operation:
    """Print the values when the program runs, as Python's print does, to `sys.stdout` or, with `stream="stderr"`, to
    `sys.stderr` as it is then.

    Tensors, variables and arrays, also in lists, tuples and dicts, are shown as NumPy prints them, of each axis the
    first and last `summarize` elements (all with -1); strings in them as UTF-8. Every other value is text. What one
    call prints is written at once: the lines of several threads do not mix.
    """
    if stream not in ir.STREAMS:
        raise InvalidArgument(f"the stream must be 'stdout' or 'stderr', got {stream!r}")
    for what, text in (("sep", sep), ("end", end)):
        if not isinstance(text, str | None):
            raise InvalidType(f"{what} must be a string or None, got {text!r}")
    pieces = _Pieces("print", "", summarize)
    pieces.add_all(values, " " if sep is None else sep)
    pieces.text[-1] += "\n" if end is None else end
    trace = current()
    if trace is None:
        from dfc.runtime.host_calls import write

        write(stream, pieces.joined())
        return Operation(None, None, name or "print")
    attributes = {"text": tuple(pieces.text), "stream": stream, "summarize": pieces.summarize}
    annotations = None if name is None else trace.named(name)
    op = trace.emit_ordered(ORDER, ir.Print, pieces.in_trace(trace), attributes, annotations)
    return Operation(op.token, trace, name or "print")


class _Pieces:
    """Fixed text, and what stands between its pieces."""

    def __init__(self, op: str, start: str, summarize: int) -> None:
        if not isinstance(summarize, int | np.integer):
            raise InvalidType(f"summarize must be an integer, got {summarize!r}")
        self.op, self.summarize = op, max(int(summarize), -1)
        self.text, self.operands = [start], list[Any]()

    def add_all(self, values: Sequence[Any], separator: str, quoted: bool = False) -> None:
        for i, value in enumerate(values):
            if i:
                self.text[-1] += separator
            self.add(value, quoted)

    def add(self, value: Any, quoted: bool) -> None:
        """One value; strings inside of lists are in quotes, as Python prints them."""
        if isinstance(value, Tensor | Variable | SymbolicDim) or interop.is_array(value):
            self.operands.append(value)
            self.text.append("")
        elif isinstance(value, dict) and any(map(_holds_operands, value.values())):
            self.text[-1] += "{"
            for i, (key, item) in enumerate(value.items()):
                self.text[-1] += f"{', ' if i else ''}{key!r}: "
                self.add(item, True)
            self.text[-1] += "}"
        elif isinstance(value, list | tuple) and _holds_operands(value):
            opening, closing = "[]" if isinstance(value, list) else "()"
            self.text[-1] += opening
            self.add_all(value, ", ", True)
            self.text[-1] += "," * (closing == ")" and len(value) == 1) + closing
        else:
            self.text[-1] += repr(value) if quoted else str(value)

    def in_trace(self, trace: Trace) -> list[SSAValue]:
        return [tensor_in(trace, operand)._value for operand in self.operands]

    def joined(self) -> str:
        """The text with the operands' values, outside a trace."""
        from dfc.runtime.flow import on_host
        from dfc.runtime.host_calls import joined

        return joined(self.text, [on_host(_known_value(x, self.op)) for x in self.operands], self.summarize)


def _holds_operands(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_operands, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_operands, value))
    return isinstance(value, Tensor | Variable | SymbolicDim) or interop.is_array(value)


# ---- checks


@located
def assert_(condition: Operand, *data: Any, message: str = "", summarize: int = 3) -> Operation:
    """Raise InvalidArgument when the program runs, unless `condition` is true: one boolean, or an array of which all
    must be. The error says "assertion failed", the message, and then `data`, shown as `dfc.print` shows it.

    What is known to be true costs nothing. Other work does not wait for it, unless it is made in
    `with dfc.control_dependencies([what this returns]):`.
    """
    pieces = _Pieces("assert", "assertion failed" + (f": {message}" if message else ""), summarize)
    if data:
        pieces.text[0] += ": "
        pieces.add_all(data, " ")
    trace, known = current(), _known(condition)
    if trace is None:
        if known is None and isinstance(condition, Tensor):
            condition._concrete("assert")  # says what is wrong with it
        if not (_known(interop.to_numpy(condition)) if known is None else known):
            raise error_here(InvalidArgument, pieces.joined(), "assert")
        return Operation(None, None, "assert")
    if known:
        return Operation(trace.emit_op(Group, ()).token, trace, "assert")
    holds = tensor_in(trace, condition)
    if holds.dtype is not bool_:
        raise _not_boolean(spec_of(holds._type))
    if holds.shape:
        holds = reduction.all(holds)
    attributes = {"text": tuple(pieces.text), "summarize": pieces.summarize}
    op = trace.emit_ordered(ORDER, ir.Assert, [holds._value, *pieces.in_trace(trace)], attributes)
    return Operation(op.token, trace, "assert")


def _known(condition: Any) -> bool | None:
    """Whether all of a condition holds that has its value already; None for one that has not."""
    if isinstance(condition, Tensor) and condition._trace is None:
        array = condition._view("assert")
    elif isinstance(condition, Tensor | Variable) or holds_tensors(condition):
        return None
    else:
        array = interop.to_numpy(condition)
    if array.dtype != np.bool_:
        raise _not_boolean(Spec(array.shape, as_dtype(array.dtype)))
    return bool(array.all())


def _not_boolean(spec: Spec) -> DfcError:
    return error_here(InvalidType, f"the condition must be boolean, got {spec}", "assert")


@located
def check_numerics(x: Operand, /, message: str = "") -> Tensor:
    """`x`, once it is known that it has neither NaNs nor infinities: what uses the result waits for that.

    Raises InvalidArgument when the program runs, "MESSAGE: tensor had NaN values", with how many there are and where
    the first one is. Integers, booleans and strings pass as they are. Gradients pass through. The device that has x
    looks at it; x itself goes nowhere, unless there is something to tell.
    """
    if not isinstance(message, str):
        raise InvalidType(f"the message must be a string, got {message!r}")
    trace = current()
    if trace is None:
        tensor = interop.to_tensor(x.__dfc_tensor__() if hasattr(x, "__dfc_tensor__") else x)
        tensor._concrete("check_numerics")
        if tensor.dtype.is_inexact and not _all_finite(tensor):
            raise ir.not_finite(tensor._view("check_numerics"), message)
        return tensor
    tensor = tensor_in(trace, x)
    if not tensor.dtype.is_inexact:
        return tensor
    operands = (_all_finite(tensor)._value, tensor._value)
    checked = trace.emit(ir.CheckNumerics, operands, {"message": message})
    trace.always(checked._value)
    return checked


@operation
def _all_finite(x: Operand, /) -> Tensor:
    return reduction.all(elementwise.isfinite(x))
