"""Names of operations and variables: scopes, explicit names, and default names by program order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Block, Operation, OpResult, SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.op import base_name

_scope: ContextVar[str] = ContextVar("dfc_name_scope", default="")
_placement: ContextVar[Mapping[str, Attribute]] = ContextVar("dfc_placement", default={})  # noqa: B039, never changed
_near: ContextVar[Any] = ContextVar("dfc_near", default=None)
_offloading: ContextVar[bool] = ContextVar("dfc_offloading", default=False)
_annotations: dict[str, Mapping[str, Attribute]] = {"": {}}
Fresh = tuple[Token[str], Token[Mapping[str, Attribute]]]


def check_name(name: str) -> str:
    """`name` itself. Raises InvalidArgument unless it is printable, without blanks and colons, and not empty."""
    if not isinstance(name, str) or not name or any(c.isspace() or c == ":" or not c.isprintable() for c in name):
        raise InvalidArgument(f"a name must be a text without blanks and colons, got {name!r}")
    if name.startswith("/") or name.endswith("/"):
        raise InvalidArgument(f"a name must not begin or end with a slash, got {name!r}")
    return name


@contextmanager
def name_scope(name: str) -> Iterator[str]:
    """Operations traced and variables made inside are named `name/...`; scopes nest. Gives the whole scope.

    Raises InvalidArgument for a name with blanks or colons.
    """
    check_name(name)
    outer = _scope.get()
    whole = f"{outer}/{name}" if outer else name
    token = _scope.set(whole)
    try:
        yield whole
    finally:
        _scope.reset(token)


def leave_scopes() -> None:
    """No scope, and no device asked for, from here to the end of the present context: what a traced function's body
    begins with."""
    enter_fresh_scope()


def enter_fresh_scope() -> Fresh:
    """No scope and no device from here on, until `leave_fresh_scope` gets what this returns."""
    return _scope.set(""), _placement.set({})


def leave_fresh_scope(entered: Fresh) -> None:
    """Back to what was before `enter_fresh_scope`."""
    _scope.reset(entered[0])
    _placement.reset(entered[1])


offloading = _offloading.get
"""Whether variables made now live in the host's memory unless they say otherwise: see `dfc.offload`."""


@contextmanager
def offload(enabled: bool = True) -> Iterator[None]:
    """Variables made inside live in the host's memory, as with `dfc.Variable(..., offload=True)`; with False they live
    on devices. So does the state that optimisers keep for them, wherever that is made. Scopes nest."""
    if not isinstance(enabled, bool):
        raise InvalidType(f"enabled must be True or False, got {enabled!r}", op="offload")
    token = _offloading.set(enabled)
    try:
        yield
    finally:
        _offloading.reset(token)


placement = _placement.get
"""The attributes that say where ops made now are to be placed: see `dfc.device`."""
near = _near.get
"""The variable, if any, beside which these attributes put what is done at once."""


@contextmanager
def placed(attributes: Mapping[str, Attribute], near: Any = None) -> Iterator[None]:
    """Ops made inside have these attributes of placement, and no others; what is done at once is beside `near`."""
    token, other = _placement.set(attributes), _near.set(near)
    try:
        yield
    finally:
        _placement.reset(token)
        _near.reset(other)


@contextmanager
def fresh_scope() -> Iterator[None]:
    """No scope inside."""
    token = enter_fresh_scope()
    try:
        yield
    finally:
        leave_fresh_scope(token)


def scoped(name: str) -> str:
    """`name` inside the present scope."""
    scope = _scope.get()
    return f"{scope}/{name}" if scope else name


def scope_annotations() -> Mapping[str, Attribute]:
    """The attributes that put an op into the present scope, and say where it is to be placed."""
    scope = _scope.get()
    found = _annotations.get(scope)
    if found is None:
        found = _annotations[scope] = {"scope": StringAttr(scope)}
    where = _placement.get()
    return {**found, **where} if where else found


def named_annotations(name: str) -> Mapping[str, Attribute]:
    """The attributes that give an op in the present scope the name `name`."""
    return {**scope_annotations(), "name": StringAttr(check_name(name))}


class Names:
    """The names of a block's ops, given out in program order: those given already never change as the block grows."""

    def __init__(self, block: Block, argument_names: list[str]) -> None:
        self._block = block
        self._arguments = argument_names
        self._taken: dict[str, int] = dict.fromkeys(argument_names, 0)
        self._names: dict[Operation, str] = {}
        self._ops: dict[str, Operation] = {}
        self._last: Operation | None = None

    def of(self, value: SSAValue) -> str:
        """`scope/op` for result 0, else `scope/op:k`; an argument's own name."""
        if not isinstance(value, OpResult):
            index = next(i for i, argument in enumerate(self._block.args) if argument is value)
            return self._arguments[index] if index < len(self._arguments) else f"capture_{index}"
        name = self.of_op(value.op)
        return name if value.index == 0 else f"{name}:{value.index}"

    def of_op(self, op: Operation) -> str:
        if op not in self._names:
            self._give()
        return self._names[op]

    def op_called(self, name: str) -> Operation | None:
        """The op of that name."""
        if name not in self._ops:
            self._give()
        return self._ops.get(name)

    def all(self) -> list[str]:
        """Every op's name, in program order."""
        self._give()
        return list(self._ops)

    def _give(self) -> None:
        """Names for the ops that have come since the last time."""
        following = self._block.first_op if self._last is None else self._last.next_op
        while following is not None:
            name = self._names[following] = self._unique(base_name(following))
            self._ops[name] = following
            self._last, following = following, following.next_op

    def _unique(self, base: str) -> str:
        if base not in self._taken:
            self._taken[base] = 0
            return base
        while True:
            self._taken[base] += 1
            candidate = f"{base}_{self._taken[base]}"
            if candidate not in self._taken:
                self._taken[candidate] = 0
                return candidate
