"""Loops that depend on data: `while_loop`, `fori_loop`, `scan`, `map`, `fold`: see `frontend/ops/control.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.ir import Attribute, SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import interop, structure
from dfc.frontend.interior import Body
from dfc.frontend.ops.constant import asarray, zeros_like
from dfc.frontend.ops.control import require_arguments, require_callable, value_in
from dfc.frontend.ops.shape import error_here, stack
from dfc.frontend.promotion import lift, tensor_in
from dfc.frontend.regions import bodies, emit, enclose
from dfc.frontend.signature import TensorSpec
from dfc.frontend.structure import Structure
from dfc.frontend.subtrace import is_result
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir.dims import Dim, SymbolicDim
from dfc.ir.dtypes import bool_, int32
from dfc.ir.ops.control import INDEX, Scan, While, fits
from dfc.ir.ops.elementwise import Add, And, Compare
from dfc.ir.types import Spec, spec_of, tensor_type

PARALLEL_ITERATIONS = 10


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    *,
    shape_invariants: Any = None,
    maximum_iterations: Operand | None = None,
    parallel_iterations: int = PARALLEL_ITERATIONS,
    swap_memory: bool = False,
) -> Any:
    """Runs `body` while `cond` holds, and returns the last values of `loop_vars`, in their structure.

    `loop_vars` is a nest of tensors, one at least. Where it is a list or a tuple, both functions are called with its
    items as arguments, else with it alone. `cond` returns a scalar of dtype bool; `body` returns the next values: the
    same structure, shapes and dtypes (of one item it may return the item). A Python number takes the dtype of its
    place. Both are traced once. They may use what is around them, read and write variables, and have other effects,
    iteration after iteration.

    Where a size changes from one iteration to the next, `shape_invariants`, of the structure of `loop_vars`, gives the
    shape of each: a list of sizes with None for those that change, or None where nothing does. Such a loop is run by
    the host. `maximum_iterations`, an integer scalar, ends the loop at the latest. `parallel_iterations` is how many
    iterations may run at once where the host runs the loop. With `swap_memory` what gradients need of each iteration
    may go to the host's memory.

    Raises InvalidArgument for no loop variables, and for values that differ from what they must be; InvalidType for
    what is not callable, and for another condition.
    """
    count = len(loop_vars) if type(loop_vars) in (list, tuple) else 1
    for function, name in ((cond, "cond"), (body, "body")):
        require_callable(function, name, "while_loop")
        require_arguments(function, count, name, "while_loop", "the loop variables")
    if isinstance(parallel_iterations, bool) or not isinstance(parallel_iterations, int) or parallel_iterations < 1:
        got = repr(parallel_iterations)
        raise error_here(InvalidArgument, f"parallel_iterations must be a positive int, got {got}", "while_loop")
    trace = current()
    if trace is None:
        return _while_at_once(cond, body, loop_vars, maximum_iterations)
    start = _Carried(trace, loop_vars, "while_loop")
    if not start.values:
        raise error_here(InvalidArgument, f"there must be loop variables, got {loop_vars!r}", "while_loop")
    inside = _invariants(trace, start, shape_invariants)
    bound = None if maximum_iterations is None else _bound(trace, maximum_iterations)
    types = [INDEX, *(tensor_type(*spec) for spec in inside)]
    with bodies(trace, "while_loop", types, types) as (condition, step):
        holds = condition.run(lambda: _condition(condition, cond, start, bound))
        values = step.run(lambda: start.next_values(step, start.call(body, step.inputs[1:]), inside))
        common = enclose(trace, [(condition, [holds]), (step, values)])
        attributes: dict[str, Any] = {
            "n_carried": len(start.values),
            "n_captured": len(common.captured),
            "length": (bound,) if isinstance(bound, int) else (),
            "ys": (),
            "parallel_iterations": parallel_iterations,
            "swap_memory": bool(swap_memory),
        }
        if inside != start.specs:
            attributes["invariants"] = tuple(inside)
            attributes["results"] = tuple(
                _afterwards(trace, spec, own) for spec, own in zip(inside, start.specs, strict=True)
            )
        _, results = emit(trace, While, start.values, common, [condition, step], attributes)
    return structure.unflatten(start.nest, iter(results[: len(start.values)]))


def fori_loop(lower: Operand, upper: Operand, body: Callable[..., Any], init: Any, *, swap_memory: bool = False) -> Any:
    """`value = body(i, value)` for i from `lower` to `upper - 1`, from `init` on; returns the last value.

    `lower` and `upper` are integer scalars, `i` a scalar of their dtype; the value is a nest of tensors that keeps its
    structure, shapes and dtypes. Traced once. Raises InvalidType and InvalidArgument for what differs.
    """
    require_callable(body, "body", "fori_loop")
    require_arguments(body, 2, "body", "fori_loop", "the index and the value")
    trace = current()
    if trace is None:
        value = init
        for i in range(int(asarray(lower).item()), int(asarray(upper).item())):
            value = body(asarray(i), value)
        return structure.unflatten(*_as_tensors(value))
    first, last = (_integer(trace, x, name) for x, name in ((lower, "lower"), (upper, "upper")))
    start = _Carried(trace, init, "fori_loop")
    known = isinstance(lower, int) and isinstance(upper, int)
    length: tuple[Dim, ...] = ()
    count: SSAValue | None = None
    if known:
        length = (max(upper - lower, 0),)
    else:
        count = trace.convert((last - first)._value, int32)
    with bodies(trace, "fori_loop", [INDEX, *start.types]) as (step,):

        def run() -> list[SSAValue]:
            offset = step.value_of(first) if not known else step.fill(lower, first.dtype, ())
            i = step.emit(Add, (step.convert(step.inputs[0]._value, first.dtype), offset))
            return start.next_values(step, body(i, start.packed(step.inputs[1:])), start.specs)

        values = step.run(run)
        results = _scan(trace, step, values, start, [], length, count, n_ys=0, swap_memory=swap_memory)
    return structure.unflatten(start.nest, iter(results))


def scan(
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any,
    reverse: bool = False,
    *,
    length: Dim | None = None,
    swap_memory: bool = False,
) -> tuple[Any, Any]:
    """`carry, y = f(carry, x)` for each row x of `xs` along the first axis, from `carry = init` on; returns the last
    carry and all y, stacked in the rows' order.

    `init`, `xs` and y are nests of tensors; the carry keeps its structure, shapes and dtypes. All of xs have the same
    number of rows; for None in their place `length` gives it. With `reverse` the last row comes first. `f` is traced
    once. Raises InvalidArgument and InvalidType for what differs.
    """
    require_callable(f, "f", "scan")
    require_arguments(f, 2, "f", "scan", "the carry and a row")
    return scan_rows(
        "scan", lambda i, carry, x: _pair(f(carry, x)), init, xs, reverse, length=length, swap_memory=swap_memory
    )


def map(f: Callable[[Any], Any], xs: Any, *, swap_memory: bool = False) -> Any:
    """`f(x)` for each row x of `xs` along the first axis, stacked. `xs` and the result are nests of tensors."""
    require_callable(f, "f", "map")
    require_arguments(f, 1, "f", "map", "a row")
    return scan_rows("map", lambda i, carry, x: ((), f(x)), (), xs, swap_memory=swap_memory)[1]


def fold(f: Callable[[Any, Any], Any], init: Any, xs: Any, reverse: bool = False, *, swap_memory: bool = False) -> Any:
    """`acc = f(acc, x)` for each row x of `xs` along the first axis, from `acc = init` on; returns the last acc. With
    `reverse` the last row comes first (a right fold). See `scan`."""
    require_callable(f, "f", "fold")
    require_arguments(f, 2, "f", "fold", "what has accumulated and a row")
    return scan_rows("fold", lambda i, acc, x: (f(acc, x), ()), init, xs, reverse, swap_memory=swap_memory)[0]


Step = Callable[[Tensor, Any, Any], tuple[Any, Any]]


def scan_rows(
    what: str,
    f: Step,
    init: Any,
    xs: Any,
    reverse: bool = False,
    *,
    length: Dim | None = None,
    count: Tensor | None = None,
    swap_memory: bool = False,
) -> tuple[Any, Any]:
    """`carry, y = f(i, carry, x)` for each row x, the i-th one; as `scan`. With a `count`, an int32 scalar that is at
    most the number of rows, only so many are visited, the first ones, and the others of y are zeros."""
    trace = current()
    if trace is None:
        return _scan_at_once(what, f, init, xs, reverse, length, count)
    start = _Carried(trace, init, what)
    rows, nest = structure.flatten(xs, is_operand)
    values = [tensor_in(trace, x)._value for x in rows]
    size = _length([spec_of(v.type) for v in values], length, what)
    slices = [tensor_type(s.shape[1:], s.dtype) for s in (spec_of(v.type) for v in values)]
    with bodies(trace, what, [INDEX, *start.types, *slices]) as (step,):

        def run() -> tuple[list[SSAValue], list[Tensor], Structure]:
            n = 1 + len(start.values)
            rows = structure.unflatten(nest, iter(step.inputs[n:]))
            carry, y = f(step.inputs[0], start.packed(step.inputs[1:n]), rows)
            following = start.next_values(step, carry, start.specs)
            leaves, shape = structure.flatten(y, is_result)
            return following, [tensor_in(step, leaf) for leaf in leaves], shape

        following, ys, y_nest = step.run(run)
        given = [*following, *(step.value_of(y) for y in ys)]
        counted = None if count is None else tensor_in(trace, count)._value
        results = _scan(trace, step, given, start, values, (size,), counted, len(ys), reverse, swap_memory)
    n = len(start.values)
    return structure.unflatten(start.nest, iter(results[:n])), structure.unflatten(y_nest, iter(results[n:]))


def _scan(
    trace: Trace,
    step: Body,
    values: list[SSAValue],
    start: _Carried,
    xs: list[SSAValue],
    length: tuple[Dim, ...],
    count: SSAValue | None,
    n_ys: int,
    reverse: bool = False,
    swap_memory: bool = False,
) -> list[Tensor]:
    common = enclose(trace, [(step, values)])
    attributes = {
        "n_carried": len(start.values),
        "n_xs": len(xs),
        "n_captured": len(common.captured),
        "length": length,
        "counted": count is not None,
        "reverse": bool(reverse),
        "ys": tuple(spec_of(v.type) for v in values[len(values) - n_ys :]),
        "parallel_iterations": PARALLEL_ITERATIONS,
        "swap_memory": bool(swap_memory),
    }
    counted = [] if count is None else [count]
    return emit(trace, Scan, [*counted, *start.values, *xs], common, [step], attributes)[1]


# ---- what is carried


class _Carried:
    """Loop variables: their values before the loop, and the structure around them."""

    def __init__(self, trace: Trace, given: Any, what: str) -> None:
        self.what = what
        leaves, self.nest = structure.flatten(given, is_operand)
        self.values = [tensor_in(trace, leaf)._value for leaf in leaves]
        self.specs = [spec_of(v.type) for v in self.values]
        self.names = structure.leaf_names(self.nest)
        self._unpacks = type(given) in (list, tuple)
        self._one = self._unpacks and len(given) == 1

    @property
    def types(self) -> list[Attribute]:
        return [v.type for v in self.values]

    def packed(self, tensors: Sequence[Tensor]) -> Any:
        return structure.unflatten(self.nest, iter(tensors))

    def call(self, function: Callable[..., Any], tensors: Sequence[Tensor]) -> Any:
        """`function` of the loop variables, as `while_loop` says."""
        packed = self.packed(tensors)
        if not self._unpacks:
            return function(packed)
        result = function(*packed)
        if self._one and not (type(result) in (list, tuple) and len(result) == 1):
            return type(packed)([result])
        return type(packed)(result) if type(result) in (list, tuple) else result

    def next_values(self, trace: Trace, result: Any, inside: Sequence[Spec]) -> list[SSAValue]:
        """What a body returned, as the next values. Raises where they don't fit the present ones."""
        leaves, nest = structure.flatten(result, is_operand)
        if nest != self.nest:
            raise error_here(
                InvalidType,
                f"the body must return the structure of the loop variables, {self.nest}, got {nest}",
                self.what,
            )
        values: list[SSAValue] = []
        for name, leaf, spec, before in zip(self.names, leaves, inside, self.specs, strict=True):
            value = value_in(trace, lift(trace, leaf), spec.dtype)
            got = spec_of(value.type)
            if not fits(got, spec) or (spec == before and got != spec):
                raise self._changed(name, before, spec, got)
            values.append(value)
        return values

    def _changed(self, name: str, before: Spec, spec: Spec, got: Spec) -> InvalidArgument:
        which = f" {name!r}" if name else ""
        if got.dtype is spec.dtype and self.what == "while_loop":
            invariant = "" if spec == before else f", the invariant is {spec}"
            return _here(
                f"the shape of loop variable{which} is not an invariant of the loop: it enters with {before}"
                f"{invariant}, and is {got} after one iteration",
                self.what,
                "give shape_invariants with None for the sizes that change",
            )
        return _here(
            f"the value{which} must keep its shape and dtype, {spec}, got {got} after one iteration",
            self.what,
            "dtypes are not promoted: convert what goes in, or what the body returns",
        )


def is_operand(value: Any) -> bool:
    """What stands for a tensor in a nest of loop variables or rows."""
    return is_result(value) or interop.is_array(value)


def _here(message: str, what: str, hint: str = "") -> InvalidArgument:
    error = error_here(InvalidArgument, message, what, hint)
    assert isinstance(error, InvalidArgument)
    return error


# ---- while loops


def _condition(trace: Body, cond: Callable[..., Any], start: _Carried, bound: Dim | Tensor | None) -> SSAValue:
    tensors = trace.inputs[1:]
    packed = start.packed(tensors)
    result = cond(*packed) if start._unpacks else cond(packed)
    holds = tensor_in(trace, result)
    if holds.shape != () or holds.dtype is not bool_:
        raise error_here(
            InvalidType, f"cond must return a scalar of dtype bool, got {spec_of(holds._type)}", "while_loop"
        )
    if bound is None:
        return holds._value
    most = trace.fill(bound, int32, ()) if isinstance(bound, int) else trace.value_of(bound)  # type: ignore[arg-type]
    below = trace.emit_op(Compare, (trace.inputs[0]._value, most), {"direction": "LT"}).results[0]
    return trace.emit_op(And, (below, holds._value)).results[0]


def _bound(trace: Trace, maximum: Operand) -> int | Tensor:
    """The maximum number of iterations, as a Python int where it is known."""
    if isinstance(maximum, int | np.integer) and not isinstance(maximum, bool):
        if maximum < 0:
            raise _here(f"maximum_iterations must not be negative, got {maximum}", "while_loop")
        return min(int(maximum), 2**31 - 1)
    tensor = _integer(trace, maximum, "maximum_iterations", "while_loop")
    value = trace.convert(tensor._value, int32)
    return Tensor(value.type, trace, value)


def _integer(trace: Trace, value: Operand, name: str, what: str = "fori_loop") -> Tensor:
    tensor = tensor_in(trace, value)
    if tensor.shape != () or not tensor.dtype.is_integer:
        raise error_here(InvalidType, f"{name} must be an integer scalar, got {spec_of(tensor._type)}", what)
    return tensor


def _invariants(trace: Trace, start: _Carried, given: Any) -> list[Spec]:
    """The specs of the loop variables in the loop: a symbol of its own for each size that changes."""
    if given is None:
        return start.specs
    shapes = _shapes_like(start.nest, given)
    found = []
    for name, spec, shape in zip(start.names, start.specs, shapes, strict=True):
        if shape is None:
            found.append(spec)
            continue
        dims = tuple(trace.program.fresh_dimension("d") if d is None else d for d in TensorSpec(shape).shape)
        inside = Spec(dims, spec.dtype)
        if len(dims) != len(spec.shape) or any(
            not isinstance(d, SymbolicDim) and d != s for d, s in zip(dims, spec.shape, strict=True)
        ):
            raise _here(
                f"the shape invariant of loop variable {name!r} must fit its initial shape {list(spec.shape)}, got "
                f"{list(shape)}",
                "while_loop",
            )
        found.append(inside)
    return found


def _shapes_like(nest: Structure, given: Any) -> list[Any]:
    """The shape given for each leaf of a structure."""
    if nest.kind == "leaf":
        return [given.shape if isinstance(given, TensorSpec) else given]
    if nest.kind == "static":
        return []
    if isinstance(given, dict):
        items: list[Any] = [given.get(key) for key in nest.keys]
    elif nest.kind == "dataclass" or (nest.kind == "namedtuple" and hasattr(given, "_fields")):
        items = [getattr(given, key) for key in nest.keys]
    else:
        items = list(given) if isinstance(given, list | tuple) else []
    if len(items) != len(nest.children):
        raise _here(
            f"shape_invariants must have the structure of loop_vars, {nest}, with a shape or None for each, got "
            f"{given!r}",
            "while_loop",
        )
    return [shape for child, item in zip(nest.children, items, strict=True) for shape in _shapes_like(child, item)]


def _afterwards(trace: Trace, inside: Spec, before: Spec) -> Spec:
    """The spec of a loop variable after the loop: sizes that change are new ones."""
    pairs = zip(inside.shape, before.shape, strict=True)
    return Spec(tuple(d if d == own else trace.program.fresh_dimension("d") for d, own in pairs), inside.dtype)


# ---- scans


def _pair(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise error_here(InvalidType, f"f must return (carry, y), got {type(result).__name__}", "scan")
    return result


def _length(specs: Sequence[Spec], length: Dim | None, what: str) -> Dim:
    for spec in specs:
        if not spec.shape:
            raise _here(f"each of xs must have rows, got the scalar {spec}", what)
    sizes = list(dict.fromkeys([*(() if length is None else (length,)), *(s.shape[0] for s in specs)]))
    if len(sizes) != 1:
        listed = ", ".join([str(d) for d in sizes]) or "nothing"
        hint = "give length" if not sizes else ""
        raise _here(f"xs must have one number of rows, and length be that, got {listed}", what, hint)
    found: Dim = sizes[0]
    return found


# ---- outside a trace


def _as_tensors(given: Any) -> tuple[Structure, Any]:
    leaves, nest = structure.flatten(given, is_operand)
    return nest, iter([asarray(leaf) for leaf in leaves])


def _while_at_once(cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, maximum: Any) -> Any:
    value = structure.unflatten(*_as_tensors(loop_vars))
    if not structure.flatten(value, is_operand)[0]:
        raise _here(f"there must be loop variables, got {loop_vars!r}", "while_loop")
    unpacks = type(value) in (list, tuple)
    left = None if maximum is None else int(asarray(maximum).item())
    while (left is None or left > 0) and asarray(cond(*value) if unpacks else cond(value)).item():
        result = body(*value) if unpacks else body(value)
        if unpacks and len(value) == 1 and not (type(result) in (list, tuple) and len(result) == 1):
            result = [result]
        value = structure.unflatten(*_as_tensors(type(value)(result) if unpacks else result))
        left = None if left is None else left - 1
    return value


def _scan_at_once(
    what: str, f: Step, init: Any, xs: Any, reverse: bool, length: Dim | None, count: Tensor | None
) -> tuple[Any, Any]:
    carry = structure.unflatten(*_as_tensors(init))
    leaves, nest = structure.flatten(xs, is_operand)
    rows = [asarray(leaf) for leaf in leaves]
    size = _length([spec_of(row._type) for row in rows], length, what)
    assert isinstance(size, int), "concrete tensors have sizes"
    n = size if count is None else int(count.item())
    found: list[Any] = [None] * n
    for i in reversed(range(n)) if reverse else range(n):
        carry, y = f(asarray(np.int32(i)), carry, structure.unflatten(nest, iter([row[i] for row in rows])))
        carry = structure.unflatten(*_as_tensors(carry))
        found[i] = structure.flatten(y, is_result)
    if not found and what == "fold":
        return carry, ()
    if not found:
        raise _here("xs must have rows outside a traced function, since only f says what y is", what)
    columns = [[asarray(leaf) for leaf in column] for column in zip(*(leaves for leaves, _ in found), strict=True)]
    padded = [[*column, *[zeros_like(column[0])] * (size - n)] for column in columns]
    return carry, structure.unflatten(found[0][1], iter([stack(column) for column in padded]))
