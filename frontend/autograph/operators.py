"""What converted code calls. On Python values each does what the statement or expression that it stands for does."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend.autograph.branches import branch
from dfc.frontend.autograph.convert import callee, converted, host_operation
from dfc.frontend.autograph.iteration import Size, as_known, is_symbolic, rows_of, shape, truth
from dfc.frontend.autograph.loops import loop_rows, loop_while
from dfc.frontend.autograph.values import (
    Changed,
    State,
    Undefined,
    described,
    failed,
    peek,
    refuse_changes,
)
from dfc.frontend.interop import is_array
from dfc.frontend.ops import elementwise as e
from dfc.frontend.ops.control import cond
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir.dtypes import bool_
from dfc.ir.types import spec_of

Block = Callable[[], Any]
Get = Callable[[], tuple[Any, ...]]
Put = Callable[[tuple[Any, ...]], None]


def _in_graph(value: Any) -> Trace | None:
    """The present trace, where a value decides what happens in the graph."""
    return current() if is_symbolic(value) else None


# ---- statements


def if_(
    test: Any,
    body: Block,
    orelse: Block,
    get: Get,
    put: Put,
    names: tuple[str, ...],
    *,
    changed: Changed | None = None,
) -> None:
    trace = _in_graph(test := as_known(test))
    if trace is None:
        body() if test else orelse()
        return
    refuse_changes(changed, "if")
    pred = truth(test, "if")
    branch(trace, pred, [body, orelse], State(get, put, names))


def while_(
    test: Block,
    body: Block,
    get: Get,
    put: Put,
    names: tuple[str, ...],
    *,
    changed: Changed | None = None,
    needed: tuple[str, ...] = (),
    test_binds: tuple[str, ...] = (),
) -> None:
    while True:
        trace = current()
        effects = 0 if trace is None else len(trace.effects)
        holds = as_known(test())
        if trace is not None and is_symbolic(holds):
            break
        if not holds:
            return
        body()
    if test_binds or len(trace.effects) != effects:
        what = f"gives {', '.join(test_binds)} a value" if test_binds else "has effects"
        raise failed(
            InvalidType,
            f"the condition of a `while` on tensors must only compute, this one {what}",
            "while",
            "do that in the body: while True, and a break where it is to end",
        )
    refuse_changes(changed, "while")
    loop_while(trace, test, body, State(get, put, names), needed)


def for_(
    iterable: Any,
    test: Block | None,
    body: Callable[[Any], Any],
    get: Get,
    put: Put,
    names: tuple[str, ...],
    *,
    changed: Changed | None = None,
    needed: tuple[str, ...] = (),
) -> None:
    trace = current()
    rows = rows_of(iterable) if trace is not None else None
    if rows is not None and trace is not None:
        refuse_changes(changed, "for")
        loop_rows(trace, rows, test, body, State(get, put, names), needed)
        return
    for item in iterable:
        goes_on = True if test is None else test()
        if is_symbolic(goes_on):  # a break that depends on a tensor, out of a loop that is unrolled
            if_(goes_on, lambda item=item: body(item), lambda: None, get, put, names, changed=changed)  # type: ignore[misc]
        elif not goes_on:
            break
        else:
            body(item)


def assert_(test: Any, message: Callable[[], Any]) -> None:
    test = as_known(test)
    if _in_graph(test) is not None:
        check = host_operation("assert_")
        if check is not None:
            text = message()
            check(test, message="" if text is None else str(text))
            return
        raise failed(
            InvalidType,
            f"an assert on a tensor, {spec_of(test._type)}, can't be checked while tracing",
            "assert",
            "check the value that the function returns",
        )
    if not test:
        text = message()
        raise AssertionError() if text is None else AssertionError(text)


# ---- expressions


def if_exp(test: Any, body: Block, orelse: Block) -> Any:
    test = as_known(test)
    if _in_graph(test) is None:
        return body() if test else orelse()
    return cond(truth(test, "if"), body, orelse)


def and_(value: Any, *others: Block) -> Any:
    return _logical("and", e.logical_and, value, others, lambda v: not v)


def or_(value: Any, *others: Block) -> Any:
    return _logical("or", e.logical_or, value, others, bool)


def _logical(
    what: str,
    combine: Callable[[Any, Any], Tensor],
    value: Any,
    others: Sequence[Block],
    decides: Callable[[Any], bool],
) -> Any:
    for other in others:
        trace = _in_graph(value := as_known(value))
        if trace is None:
            if decides(value):
                return value
            value = other()
            continue
        effects = len(trace.effects)
        after = as_known(other())
        if len(trace.effects) != effects:
            raise failed(
                InvalidType,
                f"both sides of `{what}` on tensors are computed, and this one has effects",
                what,
                "use an `if` statement",
            )
        for side in (value, after):
            fits = side.dtype is bool_ and side.shape == () if isinstance(side, Tensor) else is_bool(side)
            if not fits:
                raise failed(
                    InvalidArgument,
                    f"both sides must be scalars of dtype bool where one is a tensor, got {described(side)}",
                    what,
                    f"use dfc.logical_{what} for each element, dfc.any or dfc.all for one value",
                )
        value = combine(value, after if isinstance(after, Tensor) else bool(after))
    return value


def is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def not_(value: Any) -> Any:
    value = as_known(value)
    return e.logical_not(truth(value, "not")) if _in_graph(value) is not None else not value


def _contains(a: Any, b: Any) -> bool:
    return a in b


def _lacks(a: Any, b: Any) -> bool:
    return a not in b


COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "Lt": operator.lt,
    "LtE": operator.le,
    "Gt": operator.gt,
    "GtE": operator.ge,
    "Eq": operator.eq,
    "NotEq": operator.ne,
    "Is": operator.is_,
    "IsNot": operator.is_not,
    "In": _contains,
    "NotIn": _lacks,
}


def compare(left: Any, *pairs: tuple[str, Block]) -> Any:
    """`a < b < c` and the like: each operand once, those after the first that does not hold only on tensors."""
    held: list[Any] = [left]

    def step(name: str, other: Block) -> Any:
        held.append(other())
        return COMPARISONS[name](held[-2], held[-1])

    (name, other), *rest = pairs
    return and_(step(name, other), *(lambda n=n, o=o: step(n, o) for n, o in rest))


def load(value: Any) -> Any:
    """A variable's value. Raises what says why it has none."""
    if type(value) is Undefined:
        value.read()
    return value


def set_attribute(base: Block, name: str, value: Any) -> None:
    """`base.name = value`, where both are something."""
    if isinstance(value, Undefined):
        return
    owner = peek(base, name)
    if not isinstance(owner, Undefined) and getattr(owner, name, load) is not value:
        setattr(owner, name, value)


# ---- items


INPLACE: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.iadd,
    "Sub": operator.isub,
    "Mult": operator.imul,
    "Div": operator.itruediv,
    "FloorDiv": operator.ifloordiv,
    "Mod": operator.imod,
    "Pow": operator.ipow,
    "MatMult": operator.imatmul,
    "BitAnd": operator.iand,
    "BitOr": operator.ior,
    "BitXor": operator.ixor,
    "LShift": operator.ilshift,
    "RShift": operator.irshift,
}


def set_item(base: Any, key: Any, value: Any) -> Any:
    """What `base` is after `base[key] = value`: of a tensor, and of a TensorArray, a new one."""
    base = load(base)
    if type(base) is Tensor:
        return base.at[key].set(value)
    if hasattr(base, "write") and hasattr(base, "read") and hasattr(base, "buffer"):
        return base.write(key, value)
    if is_symbolic(key) and isinstance(base, list | dict):
        raise failed(
            InvalidType,
            f"a {type(base).__name__} has no item at a tensor, {spec_of(key._type)}, whose value isn't known while "
            "tracing",
            "setitem",
            "a dfc.TensorArray or a tensor of all items can be written at such an index",
        )
    if is_symbolic(value) and is_array(base):
        raise failed(
            InvalidType,
            f"a NumPy array can't hold a tensor, {spec_of(value._type)}, whose value isn't known while tracing",
            "setitem",
            "begin with a tensor: dfc.zeros in the place of np.zeros",
        )
    base[key] = value
    return base


def update_item(base: Any, key: Any, operation: str, value: Any) -> Any:
    """What `base` is after `base[key] += value` and the like."""
    base = load(base)
    return set_item(base, key, INPLACE[operation](base[key], value))


slice = slice

__all__ = [
    "Size", "and_", "assert_", "callee", "compare", "converted", "for_", "if_", "if_exp", "load", "not_", "or_",
    "peek", "set_attribute", "set_item", "shape", "slice", "update_item", "while_",
]  # fmt: skip
