"""Derivatives other than gradients of scalars: forward mode, Jacobians, Hessians."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import structure
from dfc.frontend.gradients import grad, gradients_in, in_and_out, own_arguments
from dfc.frontend.ops.constant import zeros_like
from dfc.frontend.ops.elementwise import identity
from dfc.frontend.ops.shape import reshape, stack
from dfc.frontend.promotion import tensor_in
from dfc.frontend.subtrace import is_result
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace, current
from dfc.frontend.variable import Variable
from dfc.ir import locations
from dfc.ir.dims import is_static
from dfc.ir.types import Spec, spec_behind, spec_of


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """`function(*primals)`, and its derivative in the direction of `tangents`: forward mode.

    `primals` is a list or tuple of the arguments, nests of floating tensors or Variables; `tangents` has the same
    structure, shapes and dtypes. The second result has the structure of the first: zeros where no differentiable path
    leads there, None for a result that is not floating or complex. For complex numbers the direction is that of a
    holomorphic function. In the graph it is the gradient of a gradient, which is linear in its seed; the work is that
    of the forward computation and of its derivative, since what only the first gradient needs goes away.

    Works in a trace and outside. Raises InvalidArgument and InvalidType for tangents that don't fit.
    """
    python = getattr(function, "python_function", function)
    n = len(primals)
    if len(tangents) != n:
        raise _error(InvalidArgument, f"there must be a tangent for each primal, got {len(tangents)} for {n}", "jvp")

    def inline(*args: Any) -> Any:
        trace = current()
        assert trace is not None
        return _jvp(trace, python, args[:n], args[n:])

    name = f"jvp_{getattr(python, '__name__', 'function')}"
    value, tangent = in_and_out(inline, name, range(2 * n))(*primals, *tangents)
    return value, tangent


def _jvp(trace: Trace, python: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    arguments, xs, nests = own_arguments(trace, primals, range(len(primals)), "jvp")
    _, directions, given = own_arguments(trace, tangents, range(len(tangents)), "jvp")
    if given != nests:
        raise _error(InvalidArgument, "tangents must have the structure of the primals", "jvp")
    for x, direction in zip(xs, directions, strict=True):
        want, got = _spec(trace, x), _spec(trace, direction)
        if want != got:
            raise _error(InvalidArgument, f"a tangent must be as its primal, {want}, got {got}", "jvp")
    leaves, nest = structure.flatten(python(*arguments), is_result)
    ys = [tensor_in(trace, leaf) for leaf in leaves]
    result = structure.unflatten(nest, iter(ys))
    flowing = [y for y in ys if y.dtype.is_inexact]
    seeds = [identity(zeros_like(y)) for y in flowing]  # an operation each: equal zeros are one value
    found = gradients_in(trace, flowing, xs, seeds, sparse=False)
    linear = [(g, tensor_in(trace, d)) for g, d in zip(found, directions, strict=True) if g is not None]
    moved: list[Any] = [None] * len(seeds)
    if linear:
        moved = gradients_in(trace, [g for g, _ in linear], seeds, [d for _, d in linear], sparse=False)
    rates = iter([zeros_like(y) if m is None else m for m, y in zip(moved, flowing, strict=True)])
    return result, structure.unflatten(nest, (next(rates) if y.dtype.is_inexact else None for y in ys))


def jacobian(function: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """A function that returns the derivative of each element of `function`'s result by each element of the argument
    `argnums`: for each tensor in the argument, in its structure, one of shape (*result's shape, *tensor's shape).

    `function` returns one floating tensor, whose shape must be static: until there are loops, a gradient for each of
    its elements stands in the graph. Works in a trace and outside. Raises InvalidArgument for a symbolic size,
    InvalidType for a result that is not floating.
    """
    python = getattr(function, "python_function", function)

    def inline(*args: Any, **kwargs: Any) -> Any:
        trace = current()
        assert trace is not None
        arguments, xs, ((nest, _),) = own_arguments(trace, args, [argnums], "jacobian")
        y = tensor_in(trace, python(*arguments, **kwargs))
        spec = spec_of(y._type)
        if not y.dtype.is_inexact:
            raise _error(InvalidType, f"the function must return a floating tensor, got {spec}", "jacobian")
        if not is_static(spec.shape):
            raise _error(
                InvalidArgument,
                f"the function's result must have a static shape, got {spec}",
                "jacobian",
                "each element of the result has a gradient of its own: give the sizes",
            )
        return structure.unflatten(nest, iter(_rows(trace, y, xs)))

    return in_and_out(inline, f"jacobian_{getattr(python, '__name__', 'function')}", [argnums])


def _rows(trace: Trace, y: Tensor, xs: Sequence[Any]) -> list[Tensor]:
    """The derivatives of y by each x, an element of y after the other."""
    sizes = [d for d in y.shape if isinstance(d, int)]
    count = math.prod(sizes)
    rows: list[list[Tensor]] = [[] for _ in xs]
    for i in range(count):
        seed = np.zeros(count, y.dtype.numpy)
        seed[i] = 1
        for found, g, x in zip(
            rows, gradients_in(trace, [y], xs, [seed.reshape(sizes)], sparse=False), xs, strict=True
        ):
            found.append(zeros_like(x) if g is None else g)
    shapes = [(*y.shape, *_spec(trace, x).shape) for x in xs]
    return [
        reshape(stack(found, axis=0), shape) if found else _empty(trace, shape, x)
        for found, shape, x in zip(rows, shapes, xs, strict=True)
    ]


def _empty(trace: Trace, shape: Any, x: Any) -> Tensor:
    value = trace.fill(0, _spec(trace, x).dtype, tuple(shape))
    return Tensor(value.type, trace, value)


def hessian(function: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """A function that returns the second derivatives of `function`'s scalar result by the argument `argnums`, one
    tensor: shape (*argument's shape, *argument's shape). It is the Jacobian of the gradient; see `jacobian`."""
    return jacobian(grad(function, argnums), argnums)


def _spec(trace: Trace, x: Any) -> Spec:
    return spec_behind(trace.source(x).type) if isinstance(x, Variable) else spec_of(tensor_in(trace, x)._type)


def _error(kind: type[InvalidArgument], message: str, op: str, hint: str = "") -> InvalidArgument:
    return kind(message, op=op, location=locations.describe(locations.capture()), hint=hint)
