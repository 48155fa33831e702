"""Branches and loops whose course depends on data.

In a trace each branch and each body is traced once, and becomes a region of one op, however often it runs. Outside a
trace they are Python's own branches and loops over concrete tensors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import structure
from dfc.frontend.interior import Body
from dfc.frontend.operation import Operation
from dfc.frontend.ops.shape import error_here
from dfc.frontend.promotion import NUMBERS, Number, lift, result_type, tensor_in
from dfc.frontend.regions import bodies, emit, enclose
from dfc.frontend.structure import Structure
from dfc.frontend.subtrace import is_result
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir.dtypes import DType, bool_, int32
from dfc.ir.ops.control import Branches, Case, If
from dfc.ir.types import spec_of

Leaf = Tensor | Number | Operation


def cond(pred: Operand, true_fn: Callable[..., Any], false_fn: Callable[..., Any], *operands: Any) -> Any:
    """`true_fn(*operands)` where `pred`, a scalar of dtype bool, is true, else `false_fn(*operands)`.

    Both functions are traced, and one runs: its writes to variables and its other effects are the only ones that
    happen. They may use what is around them. They return the same structure of tensors, equal in shape and dtype; a
    Python number takes the other's dtype. Where both return an Operation, so does `cond`.

    Raises InvalidType for a Python bool, whose branch is known already, and for another dtype; InvalidArgument for
    results that differ.
    """
    if isinstance(pred, bool):
        raise error_here(
            InvalidType,
            f"pred must not be a Python bool, got {pred}: which branch is taken is known already",
            "cond",
            "use Python's own if",
        )
    for function, name in ((true_fn, "true_fn"), (false_fn, "false_fn")):
        require_callable(function, name, "cond")
        require_arguments(function, len(operands), name, "cond", "the operands")
    trace = current()
    if trace is None:
        return true_fn(*operands) if _concrete(pred, bool_, "cond") else false_fn(*operands)
    selector = _scalar(trace, pred, "pred", "cond")
    if selector.dtype is not bool_:
        raise error_here(InvalidType, f"pred must be of dtype bool, got {selector.dtype}", "cond")
    return _branch(trace, If, selector, {"true_fn": true_fn, "false_fn": false_fn}, operands)


def case(index: Operand, branch_fns: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branch_fns[index](*operands)`; the last one where the index, an integer scalar, is out of range.

    As `cond`, with any number of branches, one at least. Raises InvalidType for an index that is a Python number or no
    integer, InvalidArgument for results that differ.
    """
    if type(index) in NUMBERS or isinstance(index, int):
        raise error_here(
            InvalidType,
            f"index must be a tensor, got the Python number {index}: which branch is taken is known already",
            "case",
            "call the branch",
        )
    if not isinstance(branch_fns, Sequence):
        raise error_here(InvalidType, f"branch_fns must be a sequence of functions, got {branch_fns!r}", "case")
    functions = list(branch_fns)
    if not functions:
        raise error_here(InvalidArgument, "there must be a branch, got []", "case")
    for number, function in enumerate(functions):
        require_callable(function, f"branch_fns[{number}]", "case")
        require_arguments(function, len(operands), f"branch_fns[{number}]", "case", "the operands")
    trace = current()
    if trace is None:
        number = int(_concrete(index, int32, "case"))
        return functions[number if 0 <= number < len(functions) else -1](*operands)
    selector = _scalar(trace, index, "index", "case")
    if not selector.dtype.is_integer:
        raise error_here(InvalidType, f"index must be of an integer dtype, got {selector.dtype}", "case")
    named = {f"branch_fns[{number}]": function for number, function in enumerate(functions)}
    return _branch(trace, Case, selector, named, operands)


def _branch(
    trace: Trace,
    cls: type[Branches],
    selector: Tensor,
    functions: dict[str, Callable[..., Any]],
    operands: Sequence[Any],
) -> Any:
    what = "cond" if cls is If else "case"
    value = selector._value if cls is If else trace.convert(selector._value, int32)
    with bodies(trace, what, *([] for _ in functions)) as regions:
        found: list[list[Leaf]] = []
        nests: list[Structure] = []
        for body, function in zip(regions, functions.values(), strict=True):
            leaves, nest = body.run(lambda body=body, function=function: leaves_of(body, function(*operands)))  # type: ignore[misc]
            found.append(leaves)
            nests.append(nest)
        _require_equal_structures(list(functions), nests, what)
        columns = [_unified(regions, column, list(functions), what) for column in zip(*found, strict=True)]
        values = [[column[k] for column in columns if column is not None] for k in range(len(regions))]
        specs = tuple(spec_of(v.type) for v in values[0])
        common = enclose(trace, list(zip(regions, values, strict=True)))
        attributes = {"n_inputs": len(common.captured), "results": specs}
        made, results = emit(trace, cls, [value], common, regions, attributes)
        pending = iter(results)
        operation = Operation(made.token, trace, what)
        return structure.unflatten(nests[0], (operation if c is None else next(pending) for c in columns))


def leaves_of(trace: Trace, result: Any) -> tuple[list[Leaf], Structure]:
    """What a body returned, in its trace: tensors, Python numbers as they are, operations; and the nest around them."""
    leaves, nest = structure.flatten(result, lambda v: isinstance(v, Operation) or is_result(v))
    return [leaf if isinstance(leaf, Operation) else lift(trace, leaf) for leaf in leaves], nest


def _require_equal_structures(names: list[str], nests: list[Structure], what: str) -> None:
    for name, nest in zip(names, nests, strict=True):
        if nest != nests[0]:
            raise error_here(
                InvalidType,
                f"all branches must return the same structure, got {nests[0]} from {names[0]} and {nest} from {name}",
                what,
            )


def _unified(bodies: Sequence[Body], leaves: Sequence[Leaf], names: list[str], what: str) -> list[SSAValue] | None:
    """The same leaf of each branch, as values of one spec; None for operations."""
    if any(isinstance(leaf, Operation) for leaf in leaves):
        if not all(isinstance(leaf, Operation) for leaf in leaves):
            raise error_here(InvalidType, "all branches must return an operation where one does", what)
        return None
    given = [leaf for leaf in leaves if not isinstance(leaf, Operation)]
    tensors = [leaf for leaf in given if isinstance(leaf, Tensor)]
    dtype = result_type(*given) if not tensors else tensors[0].dtype
    values = [value_in(body, leaf, dtype) for body, leaf in zip(bodies, given, strict=True)]
    specs = [spec_of(v.type) for v in values]
    for name, spec in zip(names, specs, strict=True):
        if spec != specs[0]:
            raise error_here(
                InvalidArgument,
                f"all branches must return tensors of the same shape and dtype, got {specs[0]} from {names[0]} and "
                f"{spec} from {name}",
                what,
            )
    return values


# ---- what is common to branches and loops


def require_callable(function: Any, name: str, what: str) -> None:
    if not callable(function):
        raise error_here(InvalidType, f"{name} must be callable, got {function!r}", what)


def require_arguments(function: Callable[..., Any], count: int, name: str, what: str, which: str) -> None:
    """Raises InvalidType for a function that can't be called with so many arguments, where its signature is known."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*[None] * count)
    except TypeError:
        s = "" if count == 1 else "s"
        raise error_here(
            InvalidType, f"{name} must take {count} argument{s}, {which}, got a function of {signature}", what
        ) from None


def value_in(trace: Trace, leaf: Tensor | Number, dtype: DType) -> SSAValue:
    """A leaf as a value of the trace. A Python number takes the dtype, unless it is of a higher kind."""
    if isinstance(leaf, Tensor):
        return trace.value_of(leaf)
    return tensor_in(trace, leaf, dtype if result_type(dtype, leaf) is dtype else None)._value


def _scalar(trace: Trace, value: Operand, name: str, what: str) -> Tensor:
    tensor = tensor_in(trace, value)
    if tensor.shape != ():
        raise error_here(InvalidArgument, f"{name} must be a scalar, got {spec_of(tensor._type)}", what)
    return tensor


def _concrete(value: Operand, dtype: Any, what: str) -> Any:
    from dfc.frontend.ops.constant import asarray

    tensor = asarray(value)
    kind = "integer" if dtype is int32 else "bool"
    if tensor.shape != () or (tensor.dtype is not bool_ if dtype is bool_ else not tensor.dtype.is_integer):
        raise error_here(
            InvalidType, f"the selector must be a scalar of dtype {kind}, got {spec_of(tensor._type)}", what
        )
    return tensor.item()
