"""What dtype and shape two operands meet in: promotion, weak Python numbers, broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import interop, locality
from dfc.frontend.defaults import default_complex, default_float, default_int
from dfc.frontend.parts import Part
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace
from dfc.ir import dtypes, locations
from dfc.ir.dims import Dim, Shape, SymbolicDim, symbol
from dfc.ir.dtypes import DType
from dfc.ir.ops.elementwise import AddN, Multiply
from dfc.ir.ops.shape import Concatenate, DimSize, Reshape, shape_text
from dfc.ir.types import spec_of

Number = bool | int | float | complex
NUMBERS = (bool, int, float, complex)


def result_type(*operands: Any) -> DType:
    """The dtype that tensors, dtypes and Python numbers meet in.

    Among tensors of one kind: the Array API's table, with bfloat16 and float16 meeting in float32. A bool takes the
    other's dtype, an integer meeting a float or a complex number the latter's. A Python number is weak: it takes the
    tensors' dtype, unless it is of a higher kind (a float meeting integers), which gives the default dtype of that
    kind. Raises InvalidType where there is no common dtype (uint64 and int64; strings and numbers).
    """
    strong: DType | None = None
    weak: list[Number] = []
    for operand in operands:
        if type(operand) in NUMBERS:
            weak.append(operand)
            continue
        if isinstance(operand, int):  # a size of a tensor, in converted functions
            weak.append(int(operand))
            continue
        dtype = operand.dtype if isinstance(operand, Tensor) else dtypes.as_dtype(operand)
        strong = dtype if strong is None else promote(strong, dtype)
    for number in weak:
        strong = _promote_weak(strong, number)
    if strong is None:
        raise InvalidArgument("at least one operand is needed")
    return strong


_SIGNED = {8: dtypes.int8, 16: dtypes.int16, 32: dtypes.int32, 64: dtypes.int64}
_KIND_ORDER = {"bool": 0, "uint": 1, "int": 1, "float": 2, "complex": 3}
_promoted: dict[tuple[str, str], DType] = {}


def promote(a: DType, b: DType) -> DType:
    """The dtype that two tensors meet in; see `result_type`."""
    if a is b:
        return a
    found = _promoted.get((a.name, b.name))
    if found is None:
        found = _promoted[a.name, b.name] = _promote(a, b)
    return found


def _promote(a: DType, b: DType) -> DType:
    if "string" in (a.kind, b.kind):
        raise InvalidType(f"{a} and {b} have no common dtype")
    if _KIND_ORDER[a.kind] != _KIND_ORDER[b.kind]:
        low, high = sorted((a, b), key=lambda d: _KIND_ORDER[d.kind])
        if high.kind == "complex" and low is dtypes.float64:
            return dtypes.complex128
        return high
    if a.kind == b.kind:
        if a.bits == b.bits:  # float16 and bfloat16
            return dtypes.float32
        return a if a.bits > b.bits else b
    signed, unsigned = (a, b) if a.kind == "int" else (b, a)
    if signed.bits > unsigned.bits:
        return signed
    if unsigned.bits == 64:
        raise InvalidType(
            f"{a} and {b} have no common dtype: no integer holds both", hint="convert one of them with dfc.astype"
        )
    return _SIGNED[2 * unsigned.bits]


def _promote_weak(strong: DType | None, number: Number) -> DType:
    if strong is not None and strong.kind == "string":
        raise InvalidType(f"{strong} and the number {number!r} have no common dtype")
    kind = type(number)
    order = 0 if kind is bool else 1 if kind is int else 2 if kind is float else 3
    if strong is not None and _KIND_ORDER[strong.kind] >= order:
        return strong
    if kind is bool:
        return dtypes.bool_
    if kind is int:
        return default_int()
    if kind is float:
        return default_float()
    if strong is not None and strong.kind == "float":
        return dtypes.complex128 if strong.bits == 64 else dtypes.complex64
    return default_complex()


def check_fits(number: Number, dtype: DType) -> None:
    """Raise InvalidArgument where a Python int is outside a dtype's range."""
    if dtype.is_integer and isinstance(number, int):
        limits = np.iinfo(dtype.numpy)
        if not limits.min <= number <= limits.max:
            raise InvalidArgument(f"{number} is outside the range of {dtype}, {limits.min} to {limits.max}")
    elif dtype.is_inexact and type(number) is int:
        try:
            float(number)
        except OverflowError:
            text = f"an integer of {number.bit_length()} bits"
            raise InvalidArgument(f"{text} is outside the range of {dtype}") from None


def lift(trace: Trace, operand: Any) -> Tensor | Number:
    """An operand as a tensor of `trace`, or as the Python number that it is. Raises InvalidType for anything else."""
    if type(operand) is Tensor:
        return operand if operand._trace is trace else _own(trace, operand)
    if type(operand) in NUMBERS:
        return operand  # type: ignore[no-any-return]
    as_tensor = getattr(operand, "__dfc_tensor__", None)
    if as_tensor is not None:
        return _own(trace, as_tensor())
    if isinstance(operand, int):  # a size of a tensor, in converted functions
        return int(operand)
    if isinstance(operand, SymbolicDim):
        return dim_value(trace, operand)
    if isinstance(operand, list | tuple) and holds_tensors(operand):
        if isinstance(operand, Part):  # a tuple, but not of rows
            raise InvalidType(
                "a part of a tensor is not a tensor: how many of its rows are meant is data",
                hint="work on part.rows, with the padding behind part.length masked where that matters",
            )
        return _stacked(trace, operand)
    return trace.constant(interop.to_numpy(operand))


def holds_tensors(operand: Any) -> bool:
    """Whether a nested list has a tensor, a variable or a symbolic size in it."""
    if isinstance(operand, list | tuple):
        return any(holds_tensors(item) for item in operand)
    return isinstance(operand, Tensor | SymbolicDim) or hasattr(operand, "__dfc_tensor__")


def _stacked(trace: Trace, operands: Sequence[Any]) -> Tensor:
    """A nested list that holds tensors, as a tensor."""
    values = align(trace, "asarray", tuple(operands))
    shape = spec_of(values[0].type).shape
    rows = [trace.emit_op(Reshape, (v,), {"shape": (1, *shape)}).results[0] for v in values]
    return trace.emit(Concatenate, rows, {"axis": 0})


def _own(trace: Trace, tensor: Tensor) -> Tensor:
    return tensor if tensor._trace is trace else Tensor(locality.plain(tensor._type), trace, trace.value_of(tensor))


def tensor_in(trace: Trace, operand: Any, dtype: DType | None = None) -> Tensor:
    """An operand as a tensor of `trace`; Python numbers and lists of them take `dtype` or the default one."""
    lifted = lift(trace, operand)
    if isinstance(lifted, Tensor):
        return lifted
    target = dtype or result_type(lifted)
    check_fits(lifted, target)
    value = trace.fill(lifted, target, ())
    return Tensor(value.type, trace, value)


def align(trace: Trace, op: str, operands: tuple[Any, ...], dtype: DType | None = None) -> list[SSAValue]:
    """The operands as values of one dtype and one shape: promoted, or converted to `dtype`, and broadcast.

    Raises InvalidType or InvalidArgument with the op's name, both shapes and the user's line.
    """
    try:
        lifted = [lift(trace, operand) for operand in operands]
        target = dtype or result_type(*lifted)
        shape = broadcast_shapes(*(t.shape for t in lifted if isinstance(t, Tensor)))
        values = []
        for each in lifted:
            if isinstance(each, Tensor):
                values.append(trace.broadcast(trace.convert(each._value, target), shape))
            else:
                check_fits(each, target)
                values.append(trace.fill(each, target, shape))
        return values
    except (InvalidArgument, InvalidType) as error:
        raise error.at(op=op, location=locations.describe(locations.capture())) from None


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The shape that all broadcast to, by NumPy's rules; a symbolic size fits itself and 1.

    Raises InvalidArgument with all shapes, saying where two symbolic sizes can't be told apart.
    """
    first = shapes[0] if shapes else ()
    if all(shape == first for shape in shapes):
        return first
    rank = max(len(shape) for shape in shapes)
    result: list[Dim] = [1] * rank
    for shape in shapes:
        for i, d in enumerate(shape, rank - len(shape)):
            if result[i] == 1:
                result[i] = d
            elif d != 1 and d != result[i]:
                raise _no_broadcast(shapes, result[i], d)
    return tuple(result)


def _no_broadcast(shapes: tuple[Shape, ...], a: Dim, b: Dim) -> InvalidArgument:
    listed = " and ".join(shape_text(shape) for shape in shapes)
    if isinstance(a, int) and isinstance(b, int):
        return InvalidArgument(f"shapes {listed} don't broadcast: {a} and {b} differ, and neither is 1")
    return InvalidArgument(
        f"shapes {listed} don't broadcast: nothing says that {a} and {b} are equal",
        hint="give equal dimensions the same name in the signature",
    )


def dim_value(trace: Trace, dim: SymbolicDim) -> Tensor:
    """The size that `dim` will have, as an int32 scalar, from inputs of the function whose axes have its symbols.

    Raises InvalidArgument for a symbol that no input has alone, and for quotients.
    """
    for tensor in trace.inputs:
        for axis, size in enumerate(tensor.shape):
            if size == dim:
                return trace.emit(DimSize, (tensor._value,), {"axis": axis})
    if trace.is_interior:
        assert trace.parent is not None
        return _own(trace, dim_value(trace.parent, dim))
    if dim.text.isidentifier() or not all(atom.isidentifier() for monomial, _ in dim.terms for atom in monomial):
        raise InvalidArgument(
            f"the size {dim} is of no input of {trace.name!r}, so it can't be a value here",
            location=locations.describe(locations.capture()),
            hint="use dfc.dim_size(t, axis) on a tensor that has it",
        )
    terms = []
    for monomial, coefficient in dim.terms:
        term = trace.fill(coefficient, dtypes.int32, ())
        for atom in monomial:
            term = trace.emit_op(Multiply, (term, dim_value(trace, symbol(atom))._value)).results[0]
        terms.append(term)
    return trace.emit(AddN, terms)
