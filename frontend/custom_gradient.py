"""Functions whose gradient is stated, or computed from their arguments again instead of from what they kept."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import interop, structure
from dfc.frontend.immediate import at_once
from dfc.frontend.interior import Interior, region_of
from dfc.frontend.promotion import tensor_in
from dfc.frontend.subtrace import is_result
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace, current
from dfc.frontend.variable import Variable
from dfc.ir import locations
from dfc.ir.op import Op
from dfc.ir.ops.function import Checkpoint, CustomGradient
from dfc.ir.types import Spec, spec_behind, spec_of

P = ParamSpec("P")
R = TypeVar("R")


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function with a gradient of its own, as in TensorFlow: `function` returns `(y, gradient)`.

    y is a tensor or a nest of them. `gradient` is called with the gradient of each tensor in y, in order (None for one
    that is not floating or complex), and returns the gradient of each tensor among the positional arguments, flat and
    in order: one tensor for one argument, else a list or tuple; None for an argument that gets none. Each has its
    argument's shape and dtype. Keyword-only arguments and Python numbers get none.

    Trainable variables that `function` reads need a parameter `variables` of `gradient`: it is called with
    `variables=[...]` as well and returns `(gradients of the arguments, list of gradients of the variables)`. Other
    tensors from outside get no gradient through the result. `gradient` may use everything that `function` computed; it
    must not write variables. It is made of ordinary operations, so that it is differentiated in turn for second
    gradients.

        @dfc.custom_gradient
        def log1pexp(x):
            e = dfc.exp(x)
            return dfc.log1p(e), lambda dy: dy * (1 - 1 / (1 + e))

    Works in a trace and outside. Raises InvalidType for a result that is not such a pair and for a missing parameter
    `variables`, InvalidArgument where the gradients don't fit the arguments.
    """
    python = getattr(function, "python_function", function)
    signature = inspect.signature(python)

    def inline(*given: Any, **named: Any) -> Any:
        trace = current()
        assert trace is not None
        bound = signature.bind(*given, **named)  # what may stand by position does
        args, kwargs = bound.args, bound.kwargs
        leaves, nest = structure.flatten(args, _is_tensor)
        xs = [tensor_in(trace, leaf) for leaf in leaves]
        used: dict[Variable, None] = {}
        trace.watching.append(used)
        try:
            result = python(*structure.unflatten(nest, iter(xs)), **kwargs)
        finally:
            trace.watching.pop()
        y, gradient = _pair(result)
        variables = [v for v in used if v.trainable and v.dtype.is_inexact]
        if variables and not _takes_variables(gradient):
            raise _error(
                InvalidType,
                f"the gradient function needs a parameter `variables`, since variable {variables[0].name!r} is read",
                "return (gradients of the arguments, gradients of the variables) from it",
            )
        return _with_gradient(trace, y, xs, variables, gradient)

    return _in_and_out(inline, python, "custom_gradient")


def _with_gradient(trace: Trace, y: Any, xs: list[Tensor], variables: list[Variable], gradient: Any) -> Any:
    leaves, nest = structure.flatten(y, is_result)
    ys = [tensor_in(trace, leaf)._value for leaf in leaves]
    sources = [*(x._value for x in xs), *(trace.source(v) for v in variables)]
    targets = [spec_behind(s.type) for s in sources]
    given: list[int] = []

    def body(interior: Interior) -> list[SSAValue]:
        flowing = iter(interior.inputs)
        dys = [next(flowing) if spec_of(v.type).dtype.is_inexact else None for v in ys]
        found = _gradients(gradient, dys, len(xs), variables)
        values = []
        for i, (grad, spec) in enumerate(zip(found, targets, strict=True)):
            if grad is not None and spec.dtype.is_inexact:
                given.append(i)
                values.append(_checked(interior, grad, spec, i))
        return values

    inputs = [v.type for v in ys if spec_of(v.type).dtype.is_inexact]
    region, needed = region_of(trace, "custom_gradient", inputs, body)
    attributes = {"n_ys": len(ys), "n_xs": len(sources), "given": tuple(given)}
    return _emitted(trace, CustomGradient, [*ys, *sources, *needed], attributes, region, nest)


def _pair(result: Any) -> tuple[Any, Callable[..., Any]]:
    if not isinstance(result, tuple) or len(result) != 2 or not callable(result[1]):
        raise _error(InvalidType, f"the function must return (y, gradient function), got {_kind(result)}")
    return result


def _takes_variables(gradient: Callable[..., Any]) -> bool:
    parameters = inspect.signature(gradient).parameters.values()
    return any(p.name == "variables" or p.kind is p.VAR_KEYWORD for p in parameters)


def _gradients(gradient: Any, dys: Sequence[Any], n_xs: int, variables: list[Variable]) -> list[Any]:
    """What the gradient function gives: an entry for each tensor and variable."""
    found = gradient(*dys, variables=variables) if variables else gradient(*dys)
    of_variables: Sequence[Any] = ()
    if variables:
        if not isinstance(found, tuple) or len(found) != 2:
            raise _error(
                InvalidType,
                f"the gradient function must return (gradients of arguments, of variables), got {_kind(found)}",
            )
        found, of_variables = found[0], _listed(found[1])
    of_xs = _listed(found)
    for what, entries, n in (("arguments", of_xs, n_xs), ("variables", of_variables, len(variables))):
        if len(entries) != n:
            raise _error(
                InvalidArgument, f"the gradient function must return {n} gradients of {what}, got {len(entries)}"
            )
    return [*of_xs, *of_variables]


def _checked(trace: Trace, gradient: Any, spec: Spec, index: int) -> SSAValue:
    value = tensor_in(trace, gradient, spec.dtype)._value
    if spec_of(value.type) != spec:
        raise _error(
            InvalidArgument,
            f"the gradient of input {index} must be {spec}, got {spec_of(value.type)}",
            "as its input is",
        )
    return value


def checkpoint(function: Callable[P, R]) -> Callable[P, R]:
    """A function whose inside is computed again for gradients instead of kept: less memory for more work (Chen et al.
    2016, "Training deep nets with sublinear memory cost").

    Called as `function`, in a trace and outside. It may read variables, whose gradients are as ever, but not write any.
    The second computation waits behind an optimisation barrier for the gradient of the result, and is not merged with
    the first. That costs a copy of the tensors that go in; of variables, only where nothing else does.
    """
    python = getattr(function, "python_function", function)

    def inline(*args: Any, **kwargs: Any) -> Any:
        trace = current()
        assert trace is not None
        leaves, nest = structure.flatten((args, kwargs), _is_tensor)
        xs = [tensor_in(trace, leaf)._value for leaf in leaves]
        results: list[structure.Structure] = []

        def body(interior: Interior) -> list[SSAValue]:
            args, kwargs = structure.unflatten(nest, iter(interior.inputs[: len(xs)]))
            found, result = structure.flatten(python(*args, **kwargs), is_result)
            results.append(result)
            return [tensor_in(interior, leaf)._value for leaf in found]

        region, needed = region_of(trace, "checkpoint", [x.type for x in xs], body)
        last = region.block.last_op
        assert last is not None
        attributes = {"results": tuple(spec_of(v.type) for v in last.operands)}
        return _emitted(trace, Checkpoint, [*xs, *needed], attributes, region, results[0])

    return _in_and_out(inline, python, "checkpoint")


# ---- what both need


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor | Variable) or interop.is_array(value)


def _emitted(
    trace: Trace, cls: type[Op], operands: list[SSAValue], attributes: dict[str, Any], region: Any, nest: Any
) -> Any:
    made = trace.emit_op(cls, operands, attributes, regions=[region])
    return structure.unflatten(nest, (Tensor(r.type, trace, r) for r in made.results))


def _in_and_out(inline: Callable[..., Any], python: Callable[..., Any], what: str) -> Callable[..., Any]:
    """`inline` in a trace; outside, a function that is compiled once a signature."""
    name = f"{what}_{getattr(python, '__name__', 'function')}"
    compiled = at_once(inline, name)

    @functools.wraps(python)
    def call(*args: Any, **kwargs: Any) -> Any:
        return inline(*args, **kwargs) if current() is not None else compiled(*args, **kwargs)

    return call


def _listed(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [values]


def _kind(value: Any) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"a {type(value).__name__}"


def _error(kind: type[InvalidArgument], message: str, hint: str = "") -> InvalidArgument:
    return kind(message, op="custom_gradient", location=locations.describe(locations.capture()), hint=hint)
