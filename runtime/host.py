"""What the host does for each op that no device runs: a table of makers, filled by the modules beside this one.

A maker gets the op and what the step is bound to, and gives what the executor runs. Ops that are pure and have a
meaning on NumPy arrays, those on strings among them, need no maker.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NoReturn, TypeVar

import numpy as np
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument, NotFound, Unimplemented
from dfc.ir import locations
from dfc.ir.dims import match
from dfc.ir.op import Effect, Op, operand_specs, short_name
from dfc.ir.ops.graph import After, Placeholder
from dfc.ir.ops.state import Group, InitializedValue, InitialValue, IsInitialized, Variable
from dfc.ir.types import spec_of
from dfc.passes.specialize import bound, has_symbols
from dfc.runtime.flow import HostOp, Values
from dfc.runtime.memory import UNLIMITED, Account
from dfc.runtime.variables import Device, VariableState


@dataclass(frozen=True)
class Binding:
    """What a step's names stand for: its variables, the arrays that some of them start from, what else lives
    between steps, the account of its device's memory, and the device."""

    variables: Mapping[str, VariableState]
    initial: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    memory: Account = UNLIMITED
    device: Device | None = None

    def variable(self, op: Op) -> VariableState:
        """The variable behind the op's first operand."""
        return self.state_of(op.operands[0])

    def state_of(self, ref: SSAValue) -> VariableState:
        """The variable behind a reference. Raises NotFound."""
        owner = ref.owner
        assert isinstance(owner, Variable), "a reference comes from df.variable"
        found = self.variables.get(owner.variable.data)
        if found is None:
            raise NotFound(f"the step needs a variable {owner.variable.data!r}, which it was not given")
        return found


OpT = TypeVar("OpT", bound=Op)
Maker = Callable[[Any, Binding], HostOp]
MAKERS: dict[type[Op], Maker] = {}
MODULES = ("queue_calls", "host_calls", "gates", "stacks", "offload_calls")
"""Beside this one, those that fill the table."""


def maker(cls: type[OpT]) -> Callable[[Callable[[OpT, Binding], HostOp]], Callable[[OpT, Binding], HostOp]]:
    """Register the decorated function as what makes an op of this class runnable."""

    def register(function: Callable[[OpT, Binding], HostOp]) -> Callable[[OpT, Binding], HostOp]:
        MAKERS[cls] = function
        return function

    return register


def host_op(op: Op, binding: Binding) -> HostOp:
    """The op as the executor runs it. Raises Unimplemented for an effect that nothing here carries out."""
    _load()
    make = MAKERS.get(type(op))
    if make is not None:
        return make(op, binding)
    if op.EFFECT is not Effect.PURE:
        raise Unimplemented(
            "the host can't run ops on variables, and no device holds strings",
            op=short_name(op),
            location=where_of(op),
        )
    evaluate, attributes = op.evaluate, op.values()
    if any(map(has_symbols, attributes.values())):
        return HostOp(short_name(op), where_of(op), _with_sizes(op))
    return HostOp(short_name(op), where_of(op), lambda arrays: evaluate(arrays, attributes))


def _with_sizes(op: Op) -> Callable[[Values], Sequence[Any]]:
    """The op's meaning where sizes in its attributes are known when it runs: those of its operands."""
    specs = operand_specs(op.operands)

    def run(arrays: Values) -> Sequence[Any]:
        sizes: dict[str, int] = {}
        for spec, array in zip(specs, arrays, strict=True):
            for dim, size in zip(spec.shape, array.shape, strict=True):
                match(dim, size, sizes)
        attributes = {name: bound(value, sizes) for name, value in op.values().items()}
        if any(map(has_symbols, attributes.values())):
            raise Unimplemented(
                f"the host can't make {', '.join(str(spec_of(result.type)) for result in op.results)} of "
                f"{', '.join(map(str, specs))}: its size is that of another value, known when the program runs",
                hint="make it in a dfc.py_call",
            )
        return op.evaluate(arrays, attributes)

    return run


@cache
def _load() -> None:
    for module in MODULES:
        importlib.import_module(f"dfc.runtime.{module}")


def where_of(op: Op) -> str:
    """The user's line."""
    return locations.describe(op.location)


def simple(op: Op, run: Callable[[Values], Any], *, arrays: int = 0) -> HostOp:
    """An op that is done at once, when the first `arrays` of its values are computed."""
    return HostOp(short_name(op), where_of(op), run, arrays=arrays)


@maker(Group)
def group(op: Group, binding: Binding) -> HostOp:
    return simple(op, lambda values: ())


@maker(After)
def after(op: After, binding: Binding) -> HostOp:
    return simple(op, lambda values: values)


@maker(Placeholder)
def placeholder(op: Placeholder, binding: Binding) -> NoReturn:
    name = op.attributes.get("name")
    called = f" {name.data!r}" if isinstance(name, StringAttr) else ""
    raise InvalidArgument(
        f"You must feed a value for placeholder tensor{called} with dtype {op.dtype.data}", location=where_of(op)
    )


@maker(InitialValue)
def initial_value(op: InitialValue, binding: Binding) -> HostOp:
    array = binding.initial[op.variable.data]
    return simple(op, lambda values: (array,))


@maker(IsInitialized)
def is_initialized(op: IsInitialized, binding: Binding) -> HostOp:
    state = binding.variable(op)
    return simple(op, lambda values: (np.array(state.is_initialized),))


@maker(InitializedValue)
def initialized_value(op: InitializedValue, binding: Binding) -> HostOp:
    state = binding.variable(op)
    return simple(op, lambda values: (state.read() if state.is_initialized else values[0],))
