"""Types of values: tensors (xDSL's builtin type, symbolic sizes in its encoding), references, control tokens.

Types are interned: one object a (shape, dtype), so that looking at one costs a dictionary hit and not a walk over
xDSL's attributes. Values that are somewhere else than is usual may have another one, which says where: `marked`.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from math import prod
from typing import Any, NamedTuple

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    BFloat16Type,
    ComplexType,
    Float16Type,
    Float32Type,
    Float64Type,
    IntegerAttr,
    IntegerType,
    NoneAttr,
    Signedness,
    StringAttr,
    TensorType,
)
from xdsl.ir import Attribute, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition, param_def

from dfc.errors import InvalidType
from dfc.ir import dtypes
from dfc.ir.dims import Dim, Shape, SymbolicDim, parse_dim
from dfc.ir.dtypes import DType


@irdl_attr_definition
class StringType(ParametrizedAttribute, TypeAttribute):
    """The element type of string tensors: byte strings of any length. Host only."""

    name = "df.string"


@irdl_attr_definition
class RefType(ParametrizedAttribute, TypeAttribute):
    """A handle to a mutable tensor, `!df.ref<tensor<4xf32>>`."""

    name = "df.ref"
    tensor: TensorType[Attribute] = param_def()


@irdl_attr_definition
class ResourceType(ParametrizedAttribute, TypeAttribute):
    """A handle to something that lives between steps and is no tensor, such as a queue: `!df.resource<"queue">`."""

    name = "df.resource"
    kind: StringAttr


@irdl_attr_definition
class ControlType(ParametrizedAttribute, TypeAttribute):
    """A control token: 'this has happened', without data."""

    name = "df.control"


CONTROL = ControlType()


class Spec(NamedTuple):
    """Shape (ints and symbolic dimensions) and dtype of a tensor."""

    shape: Shape
    dtype: DType

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


TYPICAL = 128
"""What a size that is not known counts for."""
_ELEMENTS: dict[DType, Attribute] = {
    dtypes.bool_: IntegerType(1),
    **{d: IntegerType(d.bits) for d in dtypes.ALL if d.kind == "int"},
    **{d: IntegerType(d.bits, Signedness.UNSIGNED) for d in dtypes.ALL if d.kind == "uint"},
    dtypes.float16: Float16Type(),
    dtypes.bfloat16: BFloat16Type(),
    dtypes.float32: Float32Type(),
    dtypes.float64: Float64Type(),
    dtypes.complex64: ComplexType(Float32Type()),
    dtypes.complex128: ComplexType(Float64Type()),
    dtypes.string: StringType(),
}
_DTYPES = {element: d for d, element in _ELEMENTS.items()}
_types: dict[Spec, TensorType[Attribute]] = {}
_specs: dict[int, Spec] = {}
_marked: dict[tuple[Spec, Hashable], TensorType[Attribute]] = {}
_marks: dict[int, Any] = {}
_marking = threading.RLock()


def normal_shape(shape: Shape) -> Shape:
    """The shape with sizes that are ints and no others that equal them, such as True."""
    return tuple(d if isinstance(d, SymbolicDim) else int(d) for d in shape)


def element_type(dtype: DType) -> Attribute:
    return _ELEMENTS[dtype]


def tensor_type(shape: Shape, dtype: DType) -> TensorType[Attribute]:
    """The one type object of tensors with this shape and dtype."""
    spec = Spec(shape, dtype)
    found = _types.get(spec)
    if found is None:
        shape = normal_shape(shape)
        spec = Spec(shape, dtype)
        encoding: Attribute = NoneAttr()
        if any(not isinstance(d, int) for d in shape):
            encoding = ArrayAttr([IntegerAttr(d, 64) if isinstance(d, int) else StringAttr(str(d)) for d in shape])
        found = TensorType(_ELEMENTS[dtype], [d if isinstance(d, int) else DYNAMIC_INDEX for d in shape], encoding)
        found = _types.setdefault(spec, found)
        _specs[id(found)] = spec
    return found


def marked(type: Attribute, mark: Hashable) -> Attribute:
    """Another object that says the same as a tensor type, one for each `mark`: equal to it, and told apart by identity,
    as types are where they are keys."""
    key = (spec_of(type), mark)
    found = _marked.get(key)
    if found is None:
        with _marking:
            if key not in _marked:
                plain = tensor_type(*key[0])
                made = TensorType(plain.element_type, plain.shape, plain.encoding)
                _specs[id(made)], _marks[id(made)] = key[0], mark
                _marked[key] = made
            found = _marked[key]
    return found


def mark_of(type: Attribute) -> Any:
    """What a type that `marked` made is marked with, and None for any other."""
    return _marks.get(id(type))


def spec_of(type: Attribute) -> Spec:
    """Shape and dtype of a tensor type. Raises InvalidType for any other type, references included."""
    spec = _specs.get(id(type))
    return spec if spec is not None else _decode(type)


def nbytes(spec: Spec, unknown: int = TYPICAL) -> int:
    """How many bytes a tensor takes where each size that is not known counts for `unknown`."""
    return prod(d if isinstance(d, int) else unknown for d in spec.shape) * max(spec.dtype.bits // 8, 1)


def spec_behind(type: Attribute) -> Spec:
    """Shape and dtype of a tensor type, or of the variable behind a reference."""
    return spec_of(type.tensor) if isinstance(type, RefType) else spec_of(type)


def _decode(type: Attribute) -> Spec:
    if not isinstance(type, TensorType):
        raise InvalidType(f"expected a tensor, got {type}")
    dtype = _DTYPES.get(type.element_type)
    if dtype is None:
        raise InvalidType(f"{type.element_type} is not an element type of df")
    dims: list[Dim] = list(type.get_shape())
    if isinstance(type.encoding, ArrayAttr):
        for i, entry in enumerate(type.encoding.data):
            if dims[i] == DYNAMIC_INDEX and isinstance(entry, StringAttr):
                dims[i] = parse_dim(entry.data)
    if DYNAMIC_INDEX in dims:
        raise InvalidType(f'{type}: every ? needs its dimension in the encoding, as in tensor<?x4xf32, ["b", 4]>')
    return Spec(tuple(dims), dtype)


_refs: dict[Spec, RefType] = {}


def ref_type(spec: Spec) -> RefType:
    """The type of handles to a variable of this shape and dtype."""
    found = _refs.get(spec)
    if found is None:
        found = _refs.setdefault(spec, RefType(tensor_type(*spec)))
    return found


_resources: dict[str, ResourceType] = {}


def resource_type(kind: str) -> ResourceType:
    """The type of handles to resources of this kind."""
    found = _resources.get(kind)
    if found is None:
        found = _resources.setdefault(kind, ResourceType(StringAttr(kind)))
    return found


def interned(type: Any) -> Any:
    """The one object equal to `type`, for types that came from a parser."""
    if isinstance(type, TensorType):
        return tensor_type(*_decode(type))
    if isinstance(type, RefType):
        return ref_type(spec_behind(type))
    if isinstance(type, ResourceType):
        return resource_type(type.kind.data)
    return CONTROL if isinstance(type, ControlType) else type


def is_tensor(type: Attribute) -> bool:
    return isinstance(type, TensorType)
