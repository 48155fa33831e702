"""Attributes of df ops: Python values behind xDSL's `Data`, each with a short text form.

`op.axes.data` is a plain Python value. Inside an op's own `{...}` an attribute prints as its bare value,
`axes = [0, 1]`, since the op's declaration says which class it is; elsewhere it prints in full, `#df.ints<[0, 1]>`.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from xdsl.ir import Data
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from dfc.errors import FailedPrecondition
from dfc.ir import literals, types
from dfc.ir.dims import Dim, Shape, SymbolicDim, parse_dim
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.python_function import PythonFunction
from dfc.ir.sharding import Sharding

T = TypeVar("T")

SPLAT_BLOCK = 65536
"""How many elements are compared at a time to see whether all are equal."""


class Value(Data[T], Generic[T]):
    """An attribute that holds one Python value."""

    @classmethod
    def normal(cls, value: T) -> T:
        """`value` in the one form that equal values have: True, 1 and np.int64(1) are equal, and print differently."""
        return value

    @classmethod
    def parse_value(cls, parser: AttrParser) -> T:
        raise NotImplementedError

    def print_value(self, printer: Printer) -> None:
        printer.print_string(str(self.data))

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> T:
        with parser.in_angle_brackets():
            return cls.parse_value(parser)

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            self.print_value(printer)


def parse_text(parser: AttrParser) -> str:
    """A string in quotes; xDSL tells one with characters beyond ASCII apart, as bytes."""
    found = parser.parse_optional_bytes_literal()
    return parser.parse_str_literal() if found is None else found.decode()


@irdl_attr_definition
class Int(Value[int]):
    """One integer."""

    name = "df.int"

    @classmethod
    def normal(cls, value: int) -> int:
        return int(value)

    @classmethod
    def parse_value(cls, parser: AttrParser) -> int:
        return parser.parse_integer()


@irdl_attr_definition
class Flag(Value[bool]):
    """True or false."""

    name = "df.flag"

    @classmethod
    def normal(cls, value: bool) -> bool:
        return bool(value)

    @classmethod
    def parse_value(cls, parser: AttrParser) -> bool:
        return parser.parse_boolean()

    def print_value(self, printer: Printer) -> None:
        printer.print_string("true" if self.data else "false")


@irdl_attr_definition
class Float(Value[float]):
    """One Python float; the text form is exact."""

    name = "df.float"

    @classmethod
    def parse_value(cls, parser: AttrParser) -> float:
        return literals.parse_float(parser)

    def print_value(self, printer: Printer) -> None:
        printer.print_string(literals.float_text(self.data))


@irdl_attr_definition
class Text(Value[str]):
    """A string."""

    name = "df.text"

    @classmethod
    def parse_value(cls, parser: AttrParser) -> str:
        return parse_text(parser)

    def print_value(self, printer: Printer) -> None:
        printer.print_string_literal(self.data)


@irdl_attr_definition
class Ints(Value[tuple[int, ...]]):
    """A list of integers: axes, permutations, strides."""

    name = "df.ints"

    @classmethod
    def normal(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(map(int, value))

    @classmethod
    def parse_value(cls, parser: AttrParser) -> tuple[int, ...]:
        return tuple(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer))

    def print_value(self, printer: Printer) -> None:
        printer.print_string(f"[{', '.join(map(str, self.data))}]")


@irdl_attr_definition
class Texts(Value[tuple[str, ...]]):
    """A list of strings."""

    name = "df.texts"

    @classmethod
    def parse_value(cls, parser: AttrParser) -> tuple[str, ...]:
        return tuple(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, lambda: parse_text(parser)))

    def print_value(self, printer: Printer) -> None:
        with printer.in_square_brackets():
            printer.print_list(self.data, printer.print_string_literal)


@irdl_attr_definition
class Dims(Value[Shape]):
    """A shape: integers and symbolic dimensions (written as strings)."""

    name = "df.dims"

    @classmethod
    def normal(cls, value: Shape) -> Shape:
        return types.normal_shape(value)

    @classmethod
    def parse_value(cls, parser: AttrParser) -> Shape:
        def one() -> Dim:
            text = parser.parse_optional_str_literal()
            return parser.parse_integer() if text is None else parse_dim(text)

        return tuple(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, one))

    def print_value(self, printer: Printer) -> None:
        entries = (f'"{d}"' if isinstance(d, SymbolicDim) else str(d) for d in self.data)
        printer.print_string(f"[{', '.join(entries)}]")


@irdl_attr_definition
class Element(Value[DType]):
    """A dtype."""

    name = "df.element"

    @classmethod
    def parse_value(cls, parser: AttrParser) -> DType:
        return as_dtype(parser.parse_identifier())


@irdl_attr_definition
class Division(Value[Sharding]):
    """How a tensor is divided among the devices of a mesh; written as a string."""

    name = "df.division"

    @classmethod
    def parse_value(cls, parser: AttrParser) -> Sharding:
        return Sharding.parse(parse_text(parser))

    def print_value(self, printer: Printer) -> None:
        printer.print_string_literal(str(self.data))


@irdl_attr_definition
class Specs(Value[tuple[types.Spec, ...]]):
    """A list of tensor types, given as shapes and dtypes."""

    name = "df.specs"

    @classmethod
    def normal(cls, value: tuple[types.Spec, ...]) -> tuple[types.Spec, ...]:
        return tuple(types.Spec(types.normal_shape(shape), dtype) for shape, dtype in value)

    @classmethod
    def parse_value(cls, parser: AttrParser) -> tuple[types.Spec, ...]:
        parsed = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_type)
        return tuple(types.spec_of(t) for t in parsed)

    def print_value(self, printer: Printer) -> None:
        with printer.in_square_brackets():
            printer.print_list(self.data, lambda s: printer.print_attribute(types.tensor_type(*s)))


class Array:
    """A constant tensor: its value, or, for a large one read back from text, only its digest.

    Equality and hash go by digest, so that interning and CSE never compare large data twice.
    """

    __slots__ = ("_splat", "_value", "digest", "dtype", "shape")
    _splat: Any

    def __init__(self, value: np.ndarray[Any, Any] | None, dtype: DType, shape: tuple[int, ...], digest: str) -> None:
        self._value, self.dtype, self.shape, self.digest = value, dtype, shape, digest

    @classmethod
    def of(cls, value: np.ndarray[Any, Any]) -> Self:
        """Wrap an array; the caller must not write to it afterwards."""
        dtype = as_dtype(value.dtype)
        if dtype.kind == "string":
            data: Any = b"\0".join(len(s).to_bytes(8, "little") + s for s in map(bytes, value.ravel()))
        else:
            data = _bytes(value)
        digest = hashlib.blake2b(f"{dtype.name}{value.shape}".encode(), digest_size=16)
        digest.update(data)
        return cls(value, dtype, value.shape, digest.hexdigest())

    @property
    def value(self) -> np.ndarray[Any, Any]:
        if self._value is None:
            raise FailedPrecondition(
                f"the constant {self.digest} was elided when its program was printed, so its value is not known here",
                hint="text form keeps large constants as a digest only: run the program from its artifact",
            )
        return self._value

    @property
    def known(self) -> bool:
        return self._value is not None

    @property
    def splat(self) -> Any:
        """The element that is every element, bit for bit, a NumPy scalar; None if there is no such. Found once."""
        try:
            return self._splat
        except AttributeError:
            self._splat = _splat(self)
            return self._splat

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Array) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def _bytes(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The elements' bytes in C order, copied only if they don't lie so."""
    return np.ascontiguousarray(value).reshape(-1).view(np.uint8)


def _splat(array: Array) -> Any:
    if not array.known or array.value.size == 0 or array.dtype.kind == "string":
        return None
    value = array.value
    first = value[(0,) * value.ndim]
    if any(value.strides[axis] for axis, size in enumerate(value.shape) if size > 1):
        # By bits: zeros have signs, and NaNs differ. Most arrays differ early, so a block at a time.
        items = _bytes(value).reshape(value.size, value.itemsize)
        pattern = np.frombuffer(first.tobytes(), np.uint8)
        words = np.dtype(f"u{min(value.itemsize & -value.itemsize, 8)}")
        items, pattern = items.view(words), pattern.view(words)
        blocks = (items[start : start + SPLAT_BLOCK] for start in range(0, len(items), SPLAT_BLOCK))
        if not all((block == pattern).all() for block in blocks):
            return None
    return first


@irdl_attr_definition
class Constant(Value[Array]):
    """The value of a constant tensor. Large ones print as a digest, never whole."""

    name = "df.array"
    PRINTED_ELEMENTS: ClassVar[int] = 64

    @classmethod
    def parse_value(cls, parser: AttrParser) -> Array:
        dtype = as_dtype(parser.parse_identifier())
        shape = tuple(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer))
        if parser.parse_optional_keyword("elided"):
            return Array(None, dtype, shape, parser.parse_str_literal())
        return Array.of(literals.parse_elements(parser, dtype, shape))

    def print_value(self, printer: Printer) -> None:
        array = self.data
        printer.print_string(f"{array.dtype}[{', '.join(map(str, array.shape))}] ")
        if array.known and array.value.size <= self.PRINTED_ELEMENTS:
            printer.print_string(literals.elements_text(array.value, array.dtype))
        else:
            printer.print_string(f'elided "{array.digest}"')


@irdl_attr_definition
class Python(Value[PythonFunction]):
    """A Python function, written by the name under which it can be imported, if there is one, else by its repr."""

    name = "df.python"

    @classmethod
    def parse_value(cls, parser: AttrParser) -> PythonFunction:
        return PythonFunction(None, parse_text(parser))

    def print_value(self, printer: Printer) -> None:
        printer.print_string_literal(self.data.text)


NOT_INTERNED = (Constant, Float, Python)
"""0.0 and -0.0 are equal keys, but not the same float; a table would keep large arrays and users' functions alive."""


@lru_cache(maxsize=65536, typed=True)
def _interned(cls: type[Value[Any]], value: Any) -> Value[Any]:
    return cls.new(cls.normal(value))


def make(cls: type[Value[Any]], value: Any) -> Value[Any]:
    """The attribute of class `cls` that holds `value`; equal small values give the same object."""
    if cls in NOT_INTERNED:
        return cls.new(value)
    return _interned(cls, value)
