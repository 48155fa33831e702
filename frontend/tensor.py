"""`dfc.Tensor`: an array that is being computed, or a value in a graph that is being traced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from xdsl.ir import Attribute, SSAValue

from dfc.backends.xla import to_numpy
from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import locality
from dfc.ir import locations
from dfc.ir.dims import Dim, Shape, SymbolicDim, size
from dfc.ir.dtypes import DType
from dfc.ir.types import mark_of, spec_of

if TYPE_CHECKING:
    from dfc.frontend.tracing import Trace
    from dfc.frontend.updates import Updates

Operand = Any
"""What an operation takes for a tensor: a Tensor, a Variable, an array of any library that speaks DLPack or NumPy,
a Python number (which takes the dtype of what it meets), or a nested list of numbers."""


class Tensor:
    """An n-dimensional array of one dtype.

    A *concrete* tensor holds a value; computing it may still be under way, and reading it waits. A *symbolic* one
    stands for a value of the function that is being traced: it has a shape and a dtype but no elements, and it is of
    use only until that trace ends. Made by functions of `dfc`, not by calling this class.
    """

    __slots__ = ("__weakref__", "_array", "_trace", "_type", "_value")
    __array_priority__ = 100
    __array_ufunc__ = None  # NumPy's operators leave `array + tensor` to the tensor
    _array: Any
    _value: SSAValue
    _trace: Trace | None
    _type: Attribute

    def __init__(self, type: Attribute, trace: Trace | None, data: Any) -> None:
        """`data` is the device array of a concrete tensor, or the value in `trace` of a symbolic one. The other slot
        stays unset, so that taking the array of a symbolic tensor is an AttributeError without a test."""
        self._type = type
        self._trace = trace
        if trace is None:
            self._array = data
        else:
            self._value = data

    # ---- what it is

    @property
    def shape(self) -> Shape:
        """Sizes of the axes: ints, or symbolic dimensions in a trace that holds for any size."""
        return spec_of(self._type).shape

    @property
    def dtype(self) -> DType:
        return spec_of(self._type).dtype

    @property
    def ndim(self) -> int:
        return len(spec_of(self._type).shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return size(spec_of(self._type).shape)

    @property
    def device(self) -> str | None:
        """Where the value lives, such as `cpu:0`, or `host` for strings; None while tracing."""
        if self._trace is not None:
            return None
        if isinstance(self._array, np.ndarray):
            return "host"
        return locality.short_name(locality.device_of_type(self._type))

    @property
    def sharding(self) -> tuple[Any, ...] | None:
        """How the value is divided among the devices of a mesh, as `dfc.shard` is told it; None for a value that is on
        one device, and while tracing."""
        if self._trace is not None or isinstance(self._array, np.ndarray):
            return None
        from dfc.backends.xla import division_of

        return division_of(self._array)

    @property
    def name(self) -> str | None:
        """`scope/op` for the first result of an op, else `scope/op:k`; None for a concrete tensor."""
        return None if self._trace is None else self._trace.names.of(self._value)

    @property
    def mT(self) -> Tensor:
        """The transpose of the last two axes."""
        from dfc.frontend.ops.shape import matrix_transpose

        return matrix_transpose(self)

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix. Raises InvalidArgument for another rank."""
        if self.ndim != 2:
            raise InvalidArgument(f"T needs a matrix, got {spec_of(self._type)}", hint="use mT or dfc.permute_dims")
        return self.mT

    @property
    def at(self) -> Updates:
        """`t.at[key].set(values)`: a new tensor with other values where t[key] reads; also add, multiply, min, max."""
        from dfc.frontend.updates import Updates

        return Updates(self)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        plain = isinstance(key, int) and isinstance(value, int | float | complex)
        raise InvalidType(
            "a tensor can't be changed in place",
            op="setitem",
            location=locations.describe(locations.capture()),
            hint=f"x.at[{key if plain else 'key'}].set({value if plain else 'values'}) gives a new tensor",
        )

    # ---- the value

    def numpy(self) -> np.ndarray[Any, Any]:
        """The value as a new NumPy array, once it is computed."""
        array = self._array if self._trace is None else self._concrete("numpy()")
        if isinstance(array, np.ndarray):  # strings
            return array.copy()
        return to_numpy(array)

    def item(self) -> Any:
        """The only element as a Python number, or as bytes."""
        result: bool | int | float | complex | bytes = self._number("item()")
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise InvalidType("a tensor's value can't be shared with NumPy without a copy")
        value = self.numpy() if self._trace is None else self._view("np.asarray")
        return value if dtype is None else value.astype(dtype)

    def __dlpack__(self, **options: Any) -> Any:
        return self._concrete("__dlpack__").__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._concrete("__dlpack_device__").__dlpack_device__()

    def __bool__(self) -> bool:
        return bool(self._number("bool"))

    def __int__(self) -> int:
        return int(self._number("int"))

    def __float__(self) -> float:
        return float(self._number("float"))

    def __complex__(self) -> complex:
        return complex(self._number("complex"))

    def __index__(self) -> int:
        if not self.dtype.is_integer:
            raise InvalidType(f"an index needs an integer, got {spec_of(self._type)}")
        return int(self._number("index"))

    def __len__(self) -> int:
        if not self.shape:
            raise InvalidType("a scalar has no len()")
        length = self.shape[0]
        if isinstance(length, SymbolicDim):
            raise InvalidType(
                f"len() is {length}, which isn't known while tracing", hint="use t.shape[0] or dfc.dim_size(t, 0)"
            )
        return length

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise InvalidType("a scalar can't be iterated over")
        if self._trace is not None:
            return (self[i] for i in range(len(self)))
        view = self._view("iter")
        device = mark_of(self._type)
        return (_from_elements(np.array(view[i, ...]), device) for i in range(len(view)))

    def __repr__(self) -> str:
        spec = spec_of(self._type)
        if self._trace is not None:
            return f"<dfc.Tensor {self.name} {spec} in the trace of {self._trace.name}>"
        at = "" if mark_of(self._type) is None else f" on {self.device}"
        return f"<dfc.Tensor {spec}{at} {np.array2string(self._view('repr'), threshold=20, separator=', ')}>"

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, text: str) -> str:
        return format(self._number("format"), text) if text else repr(self)

    def __round__(self, digits: int | None = None) -> Any:
        return round(self._number("round"), digits)

    # ---- copies: a tensor never changes, and one in a pickle is its elements

    def __copy__(self) -> Tensor:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_elements, (self._view("pickle"),)

    def _number(self, what: str) -> Any:
        view = self._view(what)
        if view.size != 1:
            raise InvalidArgument(
                f"one element is needed, got {spec_of(self._type)}",
                op=what,
                location=locations.describe(locations.capture()),
                hint="use dfc.any or dfc.all" if what == "bool" else "",
            )
        return view.item()

    def _view(self, what: str) -> np.ndarray[Any, Any]:
        array = self._concrete(what)
        if isinstance(array, np.ndarray):  # strings
            return array
        from dfc.backends.xla import to_numpy

        return to_numpy(array, copy=False)

    def _concrete(self, what: str) -> Any:
        """The device array. Raises InvalidType for a symbolic tensor, which has none."""
        if self._trace is None:
            return self._array
        location = locations.describe(locations.capture())
        if not self._trace.open:
            raise self._trace.leaked(self, location)
        raise InvalidType(
            f"the value of {self.name!r} ({spec_of(self._type)}) isn't known while {self._trace.name!r} is traced",
            op=what,
            location=location,
            hint=WHILE_TRACING.get(what, self._trace.value_hint or WHILE_TRACING[""]),
        )

    # ---- operators: `dfc.frontend.operators` puts the operations here

    if TYPE_CHECKING:

        def __add__(self, other: Operand) -> Tensor: ...
        def __radd__(self, other: Operand) -> Tensor: ...
        def __sub__(self, other: Operand) -> Tensor: ...
        def __rsub__(self, other: Operand) -> Tensor: ...
        def __mul__(self, other: Operand) -> Tensor: ...
        def __rmul__(self, other: Operand) -> Tensor: ...
        def __truediv__(self, other: Operand) -> Tensor: ...
        def __rtruediv__(self, other: Operand) -> Tensor: ...
        def __floordiv__(self, other: Operand) -> Tensor: ...
        def __rfloordiv__(self, other: Operand) -> Tensor: ...
        def __mod__(self, other: Operand) -> Tensor: ...
        def __rmod__(self, other: Operand) -> Tensor: ...
        def __pow__(self, other: Operand) -> Tensor: ...
        def __rpow__(self, other: Operand) -> Tensor: ...
        def __matmul__(self, other: Operand) -> Tensor: ...
        def __rmatmul__(self, other: Operand) -> Tensor: ...
        def __and__(self, other: Operand) -> Tensor: ...
        def __rand__(self, other: Operand) -> Tensor: ...
        def __or__(self, other: Operand) -> Tensor: ...
        def __ror__(self, other: Operand) -> Tensor: ...
        def __xor__(self, other: Operand) -> Tensor: ...
        def __rxor__(self, other: Operand) -> Tensor: ...
        def __lshift__(self, other: Operand) -> Tensor: ...
        def __rlshift__(self, other: Operand) -> Tensor: ...
        def __rshift__(self, other: Operand) -> Tensor: ...
        def __rrshift__(self, other: Operand) -> Tensor: ...
        def __lt__(self, other: Operand) -> Tensor: ...
        def __le__(self, other: Operand) -> Tensor: ...
        def __gt__(self, other: Operand) -> Tensor: ...
        def __ge__(self, other: Operand) -> Tensor: ...
        def __eq__(self, other: Operand) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Operand) -> Tensor: ...  # type: ignore[override]
        def __neg__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __getitem__(self, key: Any) -> Tensor: ...


def _from_elements(array: np.ndarray[Any, Any], device: Any = None) -> Tensor:
    from dfc.frontend.interop import put

    return put(array, device)


def _loading(name: str) -> Any:
    """Stands for an operator until the first use of any, which imports `dfc.frontend.operators`."""

    def first_use(self: Tensor, *others: Any) -> Any:
        from dfc.frontend.operators import install

        install(Tensor)
        return getattr(Tensor, name)(self, *others)

    return first_use


OPERATORS = (
    *(["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"]),
    *(["radd", "rsub", "rmul", "rtruediv", "rfloordiv", "rmod", "rpow", "rmatmul", "rand", "ror", "rxor"]),
    *(["rlshift", "rrshift"]),
    *(["lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "invert", "getitem"]),
)
for _name in OPERATORS:
    setattr(Tensor, f"__{_name}__", _loading(f"__{_name}__"))

WHILE_TRACING = {
    "": "compute it outside the function, or return it and read it after the call",
    "pickle": "pickle what the function returns",
    "bool": "Python's `if`, `while`, `and`, `or` and `not` need the value: write the function with autograph=True, or "
    "use dfc.cond, dfc.while_loop, dfc.where and dfc.logical_*",
    "int": "use dfc.astype, or pass the number as a Python argument, which is part of the signature",
    "float": "use dfc.astype, or pass the number as a Python argument, which is part of the signature",
    "index": "an index or a size that Python needs must be a Python number, which is part of the signature; a loop "
    "that runs as often as a tensor says is dfc.fori_loop, or range with autograph=True",
}
