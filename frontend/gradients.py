"""Reverse-mode gradients: a request in the graph, which the pass `autodiff` expands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import interop, structure
from dfc.frontend.immediate import at_once
from dfc.frontend.indexed_slices import IndexedSlices
from dfc.frontend.ops.constant import asarray, ones_like, zeros_like
from dfc.frontend.ops.elementwise import identity
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current, require_trace
from dfc.frontend.variable import Variable
from dfc.ir import locations
from dfc.ir.ops.function import DENSE, NONE, SPARSE, Gradients
from dfc.ir.types import Spec, spec_behind, spec_of
from dfc.passes import autodiff


def gradients(ys: Any, xs: Any, grad_ys: Any = None) -> list[Tensor | IndexedSlices | None]:
    """The gradients of the sum of all elements of `ys` by each of `xs`, in a trace.

    `ys` and `xs` are a tensor or a list; an x may be a Variable, whose gradient sums over all its reads on a path to
    ys. `grad_ys` weighs each y (one tensor of its shape and dtype a y; None means ones). The result has an entry an x:
    a tensor of its shape and dtype; IndexedSlices where rows of x, `dfc.take` along axis 0, are all that leads to ys,
    with the rows of all such uses one after the other (an x of symbolic shape excepted); or None where no
    differentiable path leads from x to ys; integers have none. An assignment passes no gradient.

    Raises NoGradient for an operation on a path that has no gradient, FailedPrecondition outside a trace.
    """
    trace = require_trace("dfc.gradients", "use dfc.grad or dfc.value_and_grad on a function")
    return gradients_in(trace, _listed(ys), _listed(xs), None if grad_ys is None else _listed(grad_ys))


def gradients_in(
    trace: Trace, ys: Sequence[Any], xs: Sequence[Any], grad_ys: Sequence[Any] | None = None, sparse: bool = True
) -> list[Any]:
    """As `gradients`, for lists; without `sparse` every gradient is a tensor or None."""
    y_values = [tensor_in(trace, y)._value for y in ys]
    x_values = [trace.source(x) if isinstance(x, Variable) else tensor_in(trace, x)._value for x in xs]
    seeds = []
    if grad_ys is not None:
        if len(grad_ys) != len(y_values):
            raise InvalidArgument(
                f"grad_ys must have an entry for each y, got {len(grad_ys)} for {len(y_values)}",
                op="gradients",
                location=locations.describe(locations.capture()),
            )
        seeds = [_seed(trace, seed, y) for seed, y in zip(grad_ys, ys, strict=True)]
    kinds = autodiff.plan(y_values, x_values)
    rows: tuple[Spec, ...] = ()
    if sparse:
        kinds, rows = autodiff.keep_sparse(y_values, x_values, kinds)
    if all(kind == NONE for kind in kinds):
        return [None] * len(kinds)
    attributes: dict[str, Any] = {"n_ys": len(y_values), "n_xs": len(x_values), "kinds": kinds}
    if rows:
        attributes["rows"] = rows
    made = trace.emit_op(Gradients, (*y_values, *x_values, *seeds), attributes)
    results = (Tensor(value.type, trace, value) for value in made.results)
    found: list[Any] = []
    for x, kind in zip(x_values, kinds, strict=True):
        if kind == SPARSE:
            found.append(IndexedSlices(next(results), next(results), spec_behind(x.type).shape))
        else:
            found.append(next(results) if kind == DENSE else None)
    return found


def _listed(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [values]


def _seed(trace: Trace, seed: Any, y: Operand) -> Any:
    tensor = tensor_in(trace, y)
    given = ones_like(tensor) if seed is None else tensor_in(trace, seed, tensor.dtype)
    return trace.convert(given._value, tensor.dtype)


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the gradient of `function`'s scalar result by its argument `argnums` (or a tuple of them
    for several), in that argument's structure; zeros where the result doesn't depend on it. The gradient by a Variable
    is as that of `dfc.gradients`, IndexedSlices included; by a tensor it is a tensor.

    Arguments to differentiate by are nests of floating tensors, or Variables. Works in a trace and outside. Raises
    InvalidArgument for a result that is not a scalar, InvalidType for integers.
    """
    both = value_and_grad(function, argnums)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def value_and_grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """As `grad`, but returns (value, gradient). With `has_aux` the function returns (value, anything), and the result
    is ((value, anything), gradient)."""
    python = getattr(function, "python_function", function)
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def inline(*args: Any, **kwargs: Any) -> Any:
        trace = current()
        assert trace is not None
        return _value_and_grad(trace, python, args, kwargs, numbers, has_aux, isinstance(argnums, int))

    return in_and_out(inline, f"grad_{getattr(python, '__name__', 'function')}", numbers)


def in_and_out(inline: Callable[..., Any], name: str, numbers: Sequence[int]) -> Callable[..., Any]:
    """`inline` in a trace; outside, a function that is compiled once a signature, in which numbers among the arguments
    `numbers` are tensors."""
    compiled = at_once(inline, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        if current() is not None:
            return inline(*args, **kwargs)
        wanted = {number % len(args) for number in numbers} if args else set()
        prepared = [_concrete(arg) if i in wanted else arg for i, arg in enumerate(args)]
        return compiled(*prepared, **kwargs)

    return call


def _is_leaf(value: Any) -> bool:
    return isinstance(value, Tensor | Variable | bool | int | float | complex) or interop.is_array(value)


def _concrete(arg: Any) -> Any:
    """Numbers in an argument as tensors, since a number is part of the signature."""
    leaves, nest = structure.flatten(arg, _is_leaf)
    return structure.unflatten(nest, (x if isinstance(x, Variable) else interop.to_tensor(x) for x in leaves))


def _value_and_grad(
    trace: Trace,
    python: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    numbers: tuple[int, ...],
    has_aux: bool,
    single: bool,
) -> Any:
    arguments, xs, nests = own_arguments(trace, args, numbers, "grad")
    result = python(*arguments, **kwargs)
    value, aux = result if has_aux else (result, None)
    y = tensor_in(trace, value)
    if y.shape != () or not y.dtype.is_inexact:
        raise InvalidArgument(
            f"the function must return a floating scalar, got {spec_of(y._type)}",
            op="grad",
            location=locations.describe(locations.capture()),
            hint="take dfc.sum or dfc.mean of it",
        )
    grads = [g if g is not None else zeros_like(x) for g, x in zip(gradients(y, xs), xs, strict=True)]
    found = iter(g if isinstance(x, Variable) else asarray(g) for g, x in zip(grads, xs, strict=True))
    results = tuple(structure.unflatten(nest, (next(found) for _ in range(count))) for nest, count in nests)
    return ((y, aux) if has_aux else y), (results[0] if single else results)


def own_arguments(
    trace: Trace, args: Sequence[Any], numbers: Sequence[int], op: str
) -> tuple[list[Any], list[Any], list[tuple[structure.Structure, int]]]:
    """The arguments with tensors of their own in those that `numbers` index, these tensors (and Variables), and the
    structure and number of leaves of each such argument."""
    arguments, xs, nests = list(args), list[Any](), []
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise InvalidArgument(
                f"argnums={number} names no positional argument of {len(args)}",
                op=op,
                location=locations.describe(locations.capture()),
            )
        leaves, nest = structure.flatten(args[number], _is_leaf)
        # an operation of its own for each x: the same tensor may come in by another argument too
        own = [x if isinstance(x, Variable) else identity(_floating(trace, x, op)) for x in leaves]
        arguments[number] = structure.unflatten(nest, iter(own))
        nests.append((nest, len(own)))
        xs += own
    return arguments, xs, nests


def _floating(trace: Trace, x: Operand, op: str) -> Tensor:
    tensor = tensor_in(trace, x)
    if not tensor.dtype.is_inexact:
        raise InvalidType(
            f"an argument to differentiate by must be floating or complex, got {spec_of(tensor._type)}",
            op=op,
            location=locations.describe(locations.capture()),
        )
    return tensor
