"""Programs as text, both ways, at every phase."""

from __future__ import annotations

from io import StringIO

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError, VerifyException

from dfc.errors import InvalidArgument
from dfc.ir import types
from dfc.ir.dialect import context


def print_program(program: Operation, *, locations: bool = True) -> str:
    """The program as text; `locations=False` leaves the source positions out."""
    stream = StringIO()
    Printer(stream, print_debuginfo=locations).print_op(program)
    return stream.getvalue() + "\n"


def parse_program(text: str, *, name: str = "<input>") -> ModuleOp:
    """The verified program that `text` describes. Raises InvalidArgument with the place of the mistake."""
    try:
        program = Parser(context(), text, name).parse_module()
        for op in program.walk():
            for region in op.regions:
                for block in region.blocks:
                    for argument in block.args:
                        argument._type = types.interned(argument.type)
        program.verify()
    except ParseError as error:
        raise InvalidArgument(f"the text is not a df program: {error}") from error
    except VerifyException as error:
        raise InvalidArgument(f"the program is not valid: {error}") from error
    return program
