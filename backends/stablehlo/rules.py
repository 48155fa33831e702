"""The table of emission rules: op class -> how it becomes StableHLO.

A rule gets the emitter, the op and the MLIR values of its operands, and returns one MLIR value a result. An op that no
rule emits is registered with `not_emitted` and says which pass takes it out of the program before.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from dfc.ir.dialect import FAMILIES
from dfc.ir.op import Op, short_name

if TYPE_CHECKING:
    from jaxlib.mlir import ir

    from dfc.backends.stablehlo.emit import Emitter

OpT = TypeVar("OpT", bound=Op)
Value: TypeAlias = "ir.Value[Any]"
Rule: TypeAlias = "Callable[[Emitter, Any, list[Value]], list[Value]]"
TypedRule: TypeAlias = "Callable[[Emitter, OpT, list[Value]], list[Value]]"

RULES: dict[type[Op], Rule] = {}
NOT_EMITTED: dict[type[Op], str] = {}
"""For ops without a rule: what removes them before emission."""


def rule(*classes: type[OpT]) -> Callable[[TypedRule[OpT]], TypedRule[OpT]]:
    """Register the decorated function as the rule of these op classes."""

    def register(function: TypedRule[OpT]) -> TypedRule[OpT]:
        for cls in classes:
            RULES[cls] = function
        return function

    return register


def direct(*classes: type[Op]) -> None:
    """Register ops that become one StableHLO op of the same name without attributes."""
    for cls in classes:
        RULES[cls] = _one_op(f"stablehlo.{short_name(cls)}")


def _one_op(name: str) -> Rule:
    def emit(emitter: Emitter, op: Op, operands: list[Value]) -> list[Value]:
        return [emitter.create(name, emitter.type(op.results[0].type), operands)]

    return emit


def not_emitted(cls: type[Op], why: str) -> None:
    """Register an op that must be gone before emission; `why` says what removes it."""
    NOT_EMITTED[cls] = why


@cache
def load() -> None:
    """Fill the table with the families' rules."""
    for family in FAMILIES:
        importlib.import_module(f"dfc.backends.stablehlo.{family}")
