"""The base of all df ops: effect, type rule, meaning, text form.

An op is a class with IRDL declarations and two static rules:

    infer(operands, attributes) -> result types      the only type rule: builds result types and verifies them
    evaluate(operands, attributes) -> arrays         its meaning in NumPy: folding, the interpreter, the tests' oracle

`operands` of `infer` are types (interned, see `types.spec_of`), of `evaluate` NumPy arrays; `attributes` maps names to
plain Python values. A broken constraint raises InvalidArgument (InvalidType for dtypes) with its label; the builder
adds the op's name and the user's line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from xdsl.dialects.builtin import FunctionType, StringAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import BaseAttr, IRDLOperation
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from dfc.errors import DfcError, Unimplemented
from dfc.ir import locations, types
from dfc.ir.attributes import Value

ErrorT = TypeVar("ErrorT", bound=DfcError)

Arrays = Sequence[np.ndarray[Any, Any]]
Attributes = Mapping[str, Any]
Types = Sequence[Attribute]


class Effect(Enum):
    """What an op does besides computing its results."""

    PURE = "pure"
    READS = "reads"
    WRITES = "writes"
    STATEFUL = "stateful"


class Op(IRDLOperation):
    """Base of df ops. Regions, where an op has them, hold one block."""

    EFFECT: ClassVar[Effect] = Effect.PURE
    DEVICES: ClassVar[tuple[str, ...]] = ("cpu", "gpu", "tpu")
    """The kinds of device for which the op is emitted, unless it is for the host only."""
    HOST_ONLY: ClassVar[bool] = False
    """True where no device can run the op: it breaks an island."""
    WAITS: ClassVar[bool] = False
    """True where the op may wait for something else than its operands, such as room in a queue: work that does not
    depend on it must not wait with it."""
    KINDS: ClassVar[tuple[str, ...]] = ("bool", "int", "uint", "float", "complex", "string")
    """Kinds of dtype that the op takes: of its main operand, or of the result where that is what a user chooses."""

    @staticmethod
    def infer(operands: Types, attributes: Attributes) -> Types:
        """Result types. Raises InvalidArgument with a label for a constraint that doesn't hold."""
        raise NotImplementedError

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        """The results for concrete operands."""
        raise Unimplemented("this op has no meaning on arrays alone")

    def values(self) -> dict[str, Any]:
        """The op's attributes as plain Python values."""
        return {k: v.data for k, v in self.properties.items()}  # type: ignore[attr-defined]

    def infer_types(self) -> Types:
        """The types that `infer` gives for the op as it stands."""
        return self.infer(self.operand_types, self.values())

    def verify_(self) -> None:
        try:
            expected = self.infer_types()
        except DfcError as error:
            raise VerifyException(str(error.at(op=self.name))) from error
        actual = self.result_types
        if len(expected) != len(actual) or any(a is not e and a != e for a, e in zip(actual, expected, strict=True)):
            want, got = (", ".join(map(str, t)) for t in (expected, actual))
            raise VerifyException(f"{self.name}: result types must be ({want}), got ({got})")

    # ---- text form: `df.name %a, %b {axes = [0]} ({region}) : (types) -> types`; one type where all are the same

    def print(self, printer: Printer) -> None:
        if self.operands:
            printer.print_string(" ")
            printer.print_list(self.operands, printer.print_ssa_value)
        if entries := [*self.properties.items(), *self.attributes.items()]:
            printer.print_string(" ")
            with printer.in_braces():
                printer.print_list(entries, lambda entry: _print_entry(printer, *entry))
        if self.regions:
            printer.print_string(" ")
            with printer.in_parens():
                printer.print_list(self.regions, printer.print_region)
        printer.print_string(" : ")
        every = {*self.operand_types, *self.result_types}
        if len(every) == 1 and self.operands and len(self.results) == 1:
            printer.print_attribute(self.results[0].type)
        else:
            printer.print_function_type(self.operand_types, self.result_types)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        operands = parser.parse_optional_undelimited_comma_separated_list(
            parser.parse_optional_unresolved_operand, parser.parse_unresolved_operand
        )
        classes = attribute_classes(cls)
        entries = parser.parse_optional_comma_separated_list(
            parser.Delimiter.BRACES, lambda: _parse_entry(parser, classes)
        )
        regions: list[Region] = []
        if parser.parse_optional_punctuation("("):
            regions = parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_region)
            parser.parse_punctuation(")")
        parser.parse_punctuation(":")
        position = parser.pos
        inputs, outputs = _parse_signature(parser, len(operands or []))
        resolved = parser.resolve_operands(operands or [], inputs, position)
        given = dict(entries or [])
        return cls.create(
            operands=resolved,
            result_types=[types.interned(t) for t in outputs],
            properties={k: v for k, v in given.items() if k in classes},
            attributes={k: v for k, v in given.items() if k not in classes},
            regions=regions,
        )


@cache
def attribute_classes(cls: type[Op]) -> dict[str, type[Value[Any]]]:
    """The declared attributes of an op class and the attribute class of each."""
    found: dict[str, type[Value[Any]]] = {}
    for name, definition in cls.get_irdl_definition().properties.items():
        constraint = definition.constr
        assert isinstance(constraint, BaseAttr), f"{cls.name}.{name} must be declared as prop_def(<Value class>)"
        found[name] = constraint.attr
    return found


def _print_entry(printer: Printer, name: str, attribute: Attribute) -> None:
    printer.print_string(f"{name} = ")
    if isinstance(attribute, Value):
        attribute.print_value(printer)
    elif isinstance(attribute, StringAttr):
        printer.print_string_literal(attribute.data)
    else:
        printer.print_attribute(attribute)


def _parse_entry(parser: Parser, classes: Mapping[str, type[Value[Any]]]) -> tuple[str, Attribute]:
    name = parser.parse_identifier()
    parser.parse_punctuation("=")
    if name in classes:
        return name, classes[name].new(classes[name].parse_value(parser))
    return name, parser.parse_attribute()


def _parse_signature(parser: Parser, n_operands: int) -> tuple[Types, Types]:
    single = parser.parse_optional_type()
    if single is not None and not isinstance(single, FunctionType):
        return [single] * n_operands, [single]
    signature = single if isinstance(single, FunctionType) else parser.parse_function_type()
    return signature.inputs.data, signature.outputs.data


def end_of(block: Block) -> Operation:
    """The op that ends the block."""
    last = block.last_op
    assert last is not None, "a block ends in an op"
    return last


def short_name(op: Operation | type[Operation]) -> str:
    """The op's name without the dialect: `dot_general`."""
    return op.name.removeprefix("df.")


def base_name(op: Operation) -> str:
    """The name that the user gave to the op, or its kind, in its scope."""
    name = op.attributes.get("name")
    variable = op.properties.get("variable")
    if isinstance(name, StringAttr):
        base = name.data
    elif variable is not None:
        return str(variable.data)  # type: ignore[attr-defined]
    else:
        base = short_name(op)
    scope = op.attributes.get("scope")
    return f"{scope.data}/{base}" if isinstance(scope, StringAttr) else base


def error_at(kind: type[ErrorT], op: Operation, message: str, hint: str = "") -> ErrorT:
    """An error at this op: it has the op's name and the user's position."""
    return kind(message, op=short_name(op), location=locations.describe(op.location), hint=hint)


def operand_specs(values: Sequence[SSAValue]) -> list[types.Spec]:
    return [types.spec_of(v.type) for v in values]
