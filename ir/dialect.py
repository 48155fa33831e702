"""The `df` dialect: every op and attribute, those of installed extensions included."""

from __future__ import annotations

import importlib
import inspect
from functools import cache
from importlib.metadata import entry_points

from xdsl.context import Context
from xdsl.dialects.builtin import Builtin
from xdsl.ir import Attribute, Dialect

from dfc.ir import attributes, types
from dfc.ir.op import Op

FAMILIES = (
    "elementwise",
    "complex",
    "bitwise",
    "special",
    "logarithm",
    "linalg",
    "factorization",
    "fft",
    "reduction",
    "cumulative",
    "sorting",
    "shape",
    "indexing",
    "segment",
    "convolution",
    "window",
    "random",
    "quantize",
    "strings",
    "encoding",
    "constant",
    "state",
    "graph",
    "host",
    "queue",
    "accumulator",
    "control",
    "dataflow",
    "transfer",
    "offload",
    "sharding",
    "function",
)
"""Stems of the op families, the same in every room."""


def ops_of(module_name: str) -> list[type[Op]]:
    """The ops that a module defines, in the order of its text."""
    module = importlib.import_module(module_name)
    found = [v for v in vars(module).values() if inspect.isclass(v) and issubclass(v, Op) and "name" in vars(v)]
    return [op for op in found if op.__module__ == module_name]


@cache
def family_ops(family: str) -> tuple[type[Op], ...]:
    return tuple(ops_of(f"dfc.ir.ops.{family}"))


@cache
def all_ops() -> tuple[type[Op], ...]:
    """Every op: the families' first, then those of packages with an entry point in the group `dfc.ops`."""
    ours = [op for family in FAMILIES for op in family_ops(family)]
    theirs = [op for point in entry_points(group="dfc.ops") for op in ops_of(point.value)]
    return (*ours, *theirs)


@cache
def all_attributes() -> tuple[type[Attribute], ...]:
    values = [v for v in vars(attributes).values() if inspect.isclass(v) and issubclass(v, attributes.Value)]
    return (
        types.StringType,
        types.RefType,
        types.ResourceType,
        types.ControlType,
        *(v for v in values if "name" in vars(v)),
    )


@cache
def dialect() -> Dialect:
    return Dialect("df", [op for op in all_ops() if op.name.startswith("df.")], list(all_attributes()))


def context() -> Context:
    """An xDSL context in which df text can be parsed."""
    made = Context()
    made.load_dialect(Builtin)
    made.load_dialect(dialect())
    for op in all_ops():
        if not op.name.startswith("df."):
            made.load_op(op)
    return made
