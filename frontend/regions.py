"""From traced regions to an op with regions: all of them take the same values, and what they do to variables, queues
and the like is the op's effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Attribute, BlockArgument, SSAValue

from dfc.frontend.interior import Body
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace
from dfc.ir import locations
from dfc.ir.builder import create, erase, replace_uses
from dfc.ir.construct import arrange_arguments
from dfc.ir.ops.control import ControlFlow
from dfc.ir.ops.function import Gradients, Yield
from dfc.ir.ops.state import Read

if TYPE_CHECKING:
    from dfc.frontend.variable import Variable


def bodies(parent: Trace, what: str, *inputs: Sequence[Attribute]) -> AbstractContextManager[list[Body]]:
    """A region to be traced for each list of argument types; gone from the program afterwards."""
    return _bodies(parent, what, inputs, locations.capture())  # the user's line: inside it would be contextlib's


@contextmanager
def _bodies(
    parent: Trace, what: str, inputs: Sequence[Sequence[Attribute]], location: LocationAttr
) -> Iterator[list[Body]]:
    made: list[Body] = []
    try:
        for types in inputs:
            made.append(Body(parent, what, types, location))
        yield made
    finally:
        for body in made:
            body.discard()


@dataclass
class Enclosed:
    """What the regions of an op have in common: values and handles of the parent that each takes after its own
    arguments, and what happens in them."""

    captured: list[SSAValue] = field(default_factory=list)
    handles: list[SSAValue] = field(default_factory=list)
    variables: dict[Variable, bool] = field(default_factory=dict)
    """Those whose handles are needed, and whether they are written."""
    ordered: dict[Any, None] = field(default_factory=dict)
    stateful: bool = False
    checks: bool = False
    """Whether they check values: see `Trace.always`."""


def enclose(parent: Trace, regions: Sequence[tuple[Body, Sequence[SSAValue]]]) -> Enclosed:
    """End the regions: each yields its values, then the tokens of its effects.

    A variable that is written in none of them is read where the op stands, and its value is captured.
    """
    found = Enclosed()
    written = {v for body, _ in regions for v, r in body.resources.items() if r.write_token is not None}
    for body, _ in regions:
        for variable, resource in body.resources.items():
            if variable not in written:
                _capture_value(parent, body, variable, resource.ref)
            if variable in written or resource.ref.first_use is not None:
                found.variables[variable] = variable in written
        found.ordered.update(dict.fromkeys(body.ordered))
    captured = {outer: None for body, _ in regions for outer in body.captures}
    used = {outer: None for body, _ in regions for outer, inner in body.given.items() if inner.first_use is not None}
    found.captured, found.handles = list(captured), list(used)
    for body, values in regions:
        tokens = _tokens(body, found.variables)
        found.stateful |= bool(tokens)
        found.checks |= bool(body.checks)
        body.block.add_op(create(Yield, (*values, *tokens), location=body.func.location))
        _arrange(body, found)
    return found


def _capture_value(parent: Trace, body: Body, variable: Variable, ref: SSAValue) -> None:
    """Put the variable's value, read outside, in the place of what is read in the region."""
    users = [use.operation for use in ref.uses if isinstance(use.operation, Read | Gradients)]
    if not users:
        return
    outer = parent.read(variable)
    value = body.value_of(outer)
    for op in users:
        if isinstance(op, Read):
            op.value.replace_all_uses_with(value)
            erase(op)
    replace_uses({ref: value}, lambda user: isinstance(user, Gradients))


def _tokens(body: Body, variables: Mapping[Variable, bool]) -> list[SSAValue]:
    tokens = [t for v, resource in body.resources.items() if v in variables for t in resource.tokens]
    return list(dict.fromkeys([*tokens, *body.ordered.values(), *body.checks]))


def _arrange(body: Body, common: Enclosed) -> None:
    """The region's own arguments, then one for each common value, then one for each handle."""
    block = body.block
    inside: dict[SSAValue, BlockArgument] = dict(body.given)
    for outer, argument in zip(body.captures, _capture_arguments(body), strict=True):
        inside.setdefault(outer, argument)
    own = len(body.inputs)
    order = list(block.args[:own])
    for outer in (*common.captured, *common.handles):
        order.append(inside.get(outer) or block.insert_arg(outer.type, len(block.args)))
    for argument in [a for a in block.args if a not in order]:
        block.erase_arg(argument)
    arrange_arguments(block, order)


def _capture_arguments(body: Body) -> list[BlockArgument]:
    return [tensor._value for tensor in body._captured.values()]  # type: ignore[misc]


def emit(
    parent: Trace,
    cls: type[ControlFlow],
    operands: Sequence[SSAValue],
    common: Enclosed,
    regions: Sequence[Body],
    attributes: Mapping[str, Any],
) -> tuple[ControlFlow, list[Tensor]]:
    """The op in the parent's trace, after what its effects must follow; and its results.

    `operands` come before the captured values; the regions are moved into it.
    """
    waits: list[SSAValue] = [token for body in regions for token in body.outer_tokens]
    for variable, written in common.variables.items():
        waits += parent.waits_of_call(variable, written)
    for key in common.ordered:
        waits += parent.waits_in_order(key)
    made = parent.emit_op(
        cls,
        (*operands, *common.captured, *common.handles, *dict.fromkeys(waits)),
        {**attributes, "n_handles": len(common.handles), "stateful": common.stateful},
        regions=[body.func.detach_region(0) for body in regions],
    )
    token = made.token
    results = [Tensor(value.type, parent, value) for value in made.data]
    if token is not None:
        for variable, written in common.variables.items():
            parent.called(variable, written, token)
        for key in common.ordered:
            parent.happened(key, token)
        if common.checks:
            parent.checks.append(token)
        if common.ordered or common.checks or any(common.variables.values()):
            results = [parent.implying(tensor, token) for tensor in results]
    return made, results
