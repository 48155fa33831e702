"""`dfc.Variable`: a mutable tensor that lives as long as the object, shared by every function that uses it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, WeakValueDictionary

import numpy as np
from xdsl.dialects.builtin import LocationAttr, StringAttr
from xdsl.ir import Attribute

from dfc.errors import DfcError, FailedPrecondition, InvalidArgument, InvalidType
from dfc.frontend import interop, locality, names, operators
from dfc.frontend.graph_trace import current_graph
from dfc.frontend.operation import Operation
from dfc.frontend.promotion import holds_tensors, tensor_in
from dfc.frontend.signature import TensorSpec
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current, suspended
from dfc.frontend.tracing_lock import owner, refuse_deadlock, tracing_lock
from dfc.ir import locations
from dfc.ir.devices import REQUEST
from dfc.ir.dims import Shape, is_static
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.ops.shape import shape_text
from dfc.ir.ops.state import (
    Assign,
    AssignAdd,
    AssignSub,
    Scatter,
    ScatterAdd,
    ScatterDiv,
    ScatterMax,
    ScatterMin,
    ScatterMul,
    ScatterSub,
    ScatterUpdate,
    Update,
    Write,
)
from dfc.ir.sharding import Sharding, divided_text, entries_of
from dfc.ir.types import Spec, spec_of

if TYPE_CHECKING:
    from dfc.frontend.function import Compiled
    from dfc.frontend.restored import Restored
    from dfc.runtime.variables import VariableState

_created = itertools.count()
_unnamed = itertools.count()
_alive: WeakValueDictionary[int, Variable] = WeakValueDictionary()


def alive_variables() -> list[Variable]:
    """Every variable of this process, in order of creation."""
    return [variable for _, variable in sorted(_alive.items())]


def _default_name() -> str:
    number = next(_unnamed)
    return f"variable_{number}" if number else "variable"


def refuse_strings(dtype: DType) -> None:
    if dtype.kind == "string":
        raise InvalidType(
            "a variable can't hold strings: its value lives on a device",
            op="Variable",
            location=locations.describe(locations.capture()),
            hint="keep strings as inputs and constants of functions",
        )


class Variable:
    """A tensor of fixed shape and dtype whose value can be set, added to and subtracted from.

    `initial` is an array, a number, a nested list, or a function of no arguments that returns one; the function is
    called once, outside any trace, when the value, shape or dtype is first needed. A TensorSpec stands for no value:
    reading is FailedPrecondition until one is assigned or restored. `name` defaults to `variable`,
    `variable_1` ... in order of creation; the present name scope is put before it. `trainable` says whether optimisers
    that are given no list update it.

    With `offload` the value lives in the host's memory: steps bring it to the device for as long as they compute with
    it, and back. Without, `dfc.offload` around it says so.

    Reads and writes in a traced function happen in program order. Outside they happen at once. Operators read it.

    Made in `with dfc.Graph():` it is a part of that graph: see `dfc.frontend.graph_variable`.
    """

    in_program_order = False
    """Whether reads and writes are ordered in a graph that is built by hand too."""
    offload: bool
    """Whether the value lives in the host's memory."""
    division: Sharding | None = None
    """How the value is to be divided among the devices of a mesh, as `dfc.shard` has said."""
    is_traced = False
    """Whether a program has been made that uses the variable."""
    made_at: LocationAttr
    """The line that made it: that of its handle in every graph, and so in errors about where it is."""
    restored: Restored | None = None
    """The checkpoint that it was restored from, where that holds more: see `dfc.frontend.restored`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Variable:
        if cls is Variable and current_graph() is not None:
            from dfc.frontend.graph_variable import GraphVariable

            return object.__new__(GraphVariable)
        return object.__new__(cls)

    def __init__(
        self,
        initial: Operand | Callable[[], Operand],
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
        offload: bool | None = None,
    ) -> None:
        if offload is not None and not isinstance(offload, bool):
            raise InvalidType(f"offload must be True, False or None, got {offload!r}", op="Variable")
        self.offload = names.offloading() if offload is None else offload
        self.made_at = locations.capture()
        self.name = names.scoped(names.check_name(name) if name is not None else _default_name())
        self.trainable = trainable
        self.owner: tuple[ReferenceType[Any], str] | None = None
        """The module that had it first, and its path there: see `dfc.Module`."""
        self._dtype = None if dtype is None else as_dtype(dtype)
        if isinstance(initial, TensorSpec):
            refuse_strings(initial.dtype)
        self._initial = initial if callable(initial) or isinstance(initial, TensorSpec) else self._checked(initial)
        self._state: VariableState | None = None
        self._running = False
        self.placement, self._near = names.placement(), names.near()
        self._writes: dict[Any, Compiled] = {}
        _alive[next(_created)] = self

    def _checked(self, initial: Any) -> np.ndarray[Any, Any]:
        if isinstance(initial, Tensor) and initial._trace is not None:
            raise InvalidType(
                "an initial value must not depend on the function being traced",
                op="Variable",
                location=locations.describe(locations.capture()),
                hint="give an array, or a function of no arguments that returns one",
            )
        with suspended():
            value = interop.to_numpy(initial, self._dtype)
        refuse_strings(as_dtype(value.dtype))
        return value

    @property
    def state(self) -> VariableState:
        """The runtime's holder of the value; the initial function is called if it wasn't."""
        if self._state is None:
            refuse_deadlock(f"the initial value of {self.name!r} can't be computed")
            with tracing_lock:
                owner.note()
                if self._state is None:
                    self._state = self._make_state()
        return self._state

    def _make_state(self) -> VariableState:
        from dfc.runtime.offloaded import OffloadedState
        from dfc.runtime.variables import VariableState

        if self._running:
            raise FailedPrecondition(f"the initial value of variable {self.name!r} needs the variable itself")
        initial = self._initial
        if callable(initial):
            self._running = True
            try:
                with suspended():
                    initial = self._checked(initial())
            finally:
                self._running = False
        spec = Spec(tuple(initial.shape), self._dtype or as_dtype(initial.dtype))
        if isinstance(initial, TensorSpec):
            require_static(self.name, spec)
            initial = _no_value(self.name, locations.describe(self.made_at))
        kind = OffloadedState if self.offload else VariableState
        made = kind(self.name, spec, initial, self.trainable, _device_asked(self.placement, self._near))
        self._initial = None
        return made

    # ---- what it is

    @property
    def spec(self) -> Spec:
        return self.state.spec

    @property
    def shape(self) -> Shape:
        return self.state.spec.shape

    @property
    def dtype(self) -> DType:
        return self.state.spec.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def sharding(self) -> tuple[Any, ...] | None:
        """How the value is divided among the devices of a mesh, as `dfc.shard` was told; None where it was not."""
        return None if self.division is None else entries_of(self.division.divided, self.ndim)

    @property
    def device(self) -> str:
        """Where the value lives, such as `cpu:0`: the device that `dfc.device` asked for where the variable was made,
        else that of the first step that uses it, or until then the first. A graph's variable is FailedPrecondition."""
        return locality.short_name(self.state.device)

    def __repr__(self) -> str:
        return f"<dfc.Variable {self.name!r} {self.spec}{self._where}>"

    @property
    def _where(self) -> str:
        """Where and how the value lives, for `repr`: the device where one was asked for or a step has brought it there.
        (To ask for it before would start the devices.)"""
        state = self._state
        is_known = bool(self.placement) or (state is not None and state.is_settled)
        words = [f"on {self.device}"] if is_known else []
        words += ["offloaded"] if self.offload else []
        words += [f"divided {divided_text(self.division.divided)}"] if self.division is not None else []
        return f" {', '.join(words)}" if words else ""

    def __hash__(self) -> int:
        return id(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise InvalidType(
            f"variable {self.name!r} is state, which can't be copied or pickled",
            location=locations.describe(locations.capture()),
            hint="dfc.Variable(v.numpy()) makes a second one; dfc.train.Saver writes values to a file",
        )

    def require_in(self, trace: Trace) -> None:
        """Raise FailedPrecondition where the variable can't be used in the trace."""

    def rename(self, name: str) -> None:
        """Call it `name` from now on, in graphs that are traced later, checkpoints and errors."""
        self.name = name
        if self._state is not None:
            self._state.name = name

    # ---- reading

    def read(self) -> Tensor:
        """The value now: in a trace after the writes before, outside a copy that later writes don't change."""
        trace = current()
        if trace is not None:
            return trace.read(self)
        array = self.state.read()
        return Tensor(locality.type_of_array(array), None, array)

    def __dfc_tensor__(self) -> Tensor:
        return self.read()

    def numpy(self) -> np.ndarray[Any, Any]:
        """The value as a new NumPy array, once it is computed. Raises InvalidType in a trace, which has no values."""
        return self.state.numpy() if current() is None else self.read().numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return self.read().__array__(dtype, copy)

    __array_ufunc__ = None

    def __format__(self, text: str) -> str:
        return format(self.read(), text) if text else repr(self)

    def _in_place(self, other: Any) -> Any:
        raise InvalidArgument(
            f"an assignment such as += would make the name stand for a tensor, not change variable {self.name!r}",
            location=locations.describe(locations.capture()),
            hint="use v.assign_add(x), v.assign_sub(x) or v.assign(x); or write v = v + x",
        )

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ifloordiv__ = __imod__ = __ipow__ = __imatmul__ = _in_place

    def item(self) -> Any:
        """The only element as a Python number."""
        return self.read().item()

    def __bool__(self) -> bool:
        return bool(self.read())

    def __int__(self) -> int:
        return int(self.read())

    def __float__(self) -> float:
        return float(self.read())

    def __len__(self) -> int:
        return len(self.read())

    # ---- writing

    def assign(self, value: Operand, use_locking: bool = False) -> Operation:
        """Set the value, to one of the variable's shape and dtype.

        Numbers and lists take the variable's dtype where its kind holds them. Raises InvalidArgument for another shape,
        InvalidType for another dtype, and for floats that would become integers.

        Updates of one step are applied together, so `use_locking` changes nothing on one device.
        """
        return self._update(Assign, value)

    def assign_add(self, value: Operand, use_locking: bool = False) -> Operation:
        """Add to the value, in place; see `assign`. What is added is broadcast to the variable's shape, as by NumPy's
        `+=`."""
        return self._update(AssignAdd, value)

    def assign_sub(self, value: Operand, use_locking: bool = False) -> Operation:
        """Subtract from the value, in place; see `assign_add`."""
        return self._update(AssignSub, value)

    def scatter_update(self, indices: Operand, updates: Operand) -> Operation:
        """Set the rows at `indices`, integers of any shape; of equal ones the last wins.

        `updates` has shape (*indices.shape, *shape[1:]), or one that broadcasts to it, and the variable's dtype. Only
        the rows that are named are touched. An index outside of the first axis changes nothing. Raises InvalidArgument
        for shapes that don't fit and for a scalar variable, InvalidType for dtypes.
        """
        return self._scatter(ScatterUpdate, indices, updates)

    def scatter_add(self, indices: Operand, updates: Operand) -> Operation:
        """Add to rows, for equal indices all updates; see `scatter_update`."""
        return self._scatter(ScatterAdd, indices, updates)

    def scatter_sub(self, indices: Operand, updates: Operand) -> Operation:
        """Subtract from rows, for equal indices all updates; see `scatter_update`."""
        return self._scatter(ScatterSub, indices, updates)

    def scatter_mul(self, indices: Operand, updates: Operand) -> Operation:
        """Multiply rows, for equal indices by all updates; see `scatter_update`."""
        return self._scatter(ScatterMul, indices, updates)

    def scatter_div(self, indices: Operand, updates: Operand) -> Operation:
        """Divide rows of a floating or complex variable, for equal indices by all updates; see `scatter_update`."""
        return self._scatter(ScatterDiv, indices, updates)

    def scatter_min(self, indices: Operand, updates: Operand) -> Operation:
        """The smaller of rows and updates, NaN if either is; see `scatter_update`."""
        return self._scatter(ScatterMin, indices, updates)

    def scatter_max(self, indices: Operand, updates: Operand) -> Operation:
        """The larger of rows and updates, NaN if either is; see `scatter_update`."""
        return self._scatter(ScatterMax, indices, updates)

    def _scatter(self, cls: type[Scatter], indices: Operand, updates: Operand) -> Operation:
        op = cls.name.removeprefix("df.")
        trace = current()
        if trace is None:
            places, rows = interop.to_tensor(_read(indices)), interop.to_tensor(self._operand(updates, op))
            self._compiled(cls, places, rows).call_anywhere([places._array, rows._array])
            return Operation(None, None, f"{self.name}/{op}", self.read)
        places, rows = tensor_in(trace, _read(indices)), tensor_in(trace, self._operand(updates, op))
        if not self.shape:
            raise self._misfit(InvalidArgument, f"a scatter needs a variable with rows, {self.name!r} is a scalar", op)
        if not places.dtype.is_integer:
            raise self._misfit(InvalidType, f"indices must be integers, got {places.dtype}", op)
        if rows.dtype is not self.dtype:
            raise self._misfit(InvalidType, f"variable {self.name!r} holds {self.spec}, got updates {rows.dtype}", op)
        wanted = (*places.shape, *self.shape[1:])
        if not _fits(rows.shape, wanted):
            raise self._misfit(
                InvalidArgument,
                f"variable {self.name!r} holds {self.spec}: updates for indices of shape {shape_text(places.shape)} "
                f"must have shape {shape_text(wanted)}, got {shape_text(rows.shape)}",
                op,
            )
        token = trace.write(cls, self, places._value, trace.broadcast(rows._value, wanted))
        return Operation(token, trace, f"{self.name}/{op}", lambda: trace.read_after(self, token, op))

    def _misfit(self, kind: type[InvalidArgument], message: str, op: str) -> InvalidArgument:
        return kind(message, op=op, location=locations.describe(locations.capture()))

    def _update(self, cls: type[Update], value: Operand) -> Operation:
        op = cls.name.removeprefix("df.")
        trace = current()
        if trace is not None:
            return self._update_inside(trace, cls, value, op)
        spec = self.spec
        tensor = interop.to_tensor(self._operand(value, op))
        if cls is Assign:
            self._check(spec_of(tensor._type), op)
            self.state.assign(tensor._array)
            return Operation(None, None, f"{self.name}/{op}", lambda: tensor)
        if spec_of(tensor._type).dtype is not spec.dtype:
            self._check(spec_of(tensor._type), op)
        self._compiled(cls, tensor).call_anywhere([tensor._array])
        return Operation(None, None, f"{self.name}/{op}", self.read)

    def _operand(self, value: Operand, op: str) -> Any:
        """Numbers and nested lists in the variable's dtype; everything else as it is."""
        if isinstance(value, bool | int | float | complex | list | tuple) and not holds_tensors(value):
            try:
                return interop.fitting(value, self.dtype)
            except DfcError as error:
                raise error.at(op=op, location=locations.describe(locations.capture())) from None
        return _read(value)

    def _update_inside(self, trace: Trace, cls: type[Update], value: Operand, op: str) -> Operation:
        tensor = tensor_in(trace, self._operand(value, op))
        given = tensor._value
        if cls is not Assign and spec_of(given.type).dtype is self.dtype and tensor.ndim <= self.ndim:
            given = trace.broadcast(given, self.shape) if _fits(tensor.shape, self.shape) else given
        self._check(spec_of(given.type), op)
        token = trace.write(cls, self, given)
        if cls is Assign:
            written = Tensor(given.type, trace, given)
            return Operation(token, trace, f"{self.name}/{op}", lambda: trace.implying(written, token))
        return Operation(token, trace, f"{self.name}/{op}", lambda: trace.read_after(self, token, op))

    def check_fits(self, value: Any) -> None:
        """Raise InvalidArgument or InvalidType unless the array could be assigned."""
        self._check(Spec(tuple(value.shape), as_dtype(value.dtype)), "assign")

    def _check(self, given: Spec, op: str) -> None:
        if given == self.spec:
            return
        kind = InvalidType if given.dtype is not self.dtype else InvalidArgument
        raise kind(
            f"variable {self.name!r} holds {self.spec}, got {given}",
            op=op,
            location=locations.describe(locations.capture()),
            hint="convert it with dfc.astype" if kind is InvalidType else "",
        )

    def _compiled(self, cls: type[Write], *values: Tensor) -> Compiled:
        """The compiled step of a write outside a trace, so that it happens in place. It refers to the state only: a
        reference to the variable would make a cycle, and memory would not be free as soon as the variable is gone."""
        from dfc.frontend.function import Function

        key = (cls, *(id(locality.plain(value._type)) for value in values))
        found = self._writes.get(key)
        if found is None:
            write: Callable[..., Operation] = self._scatter if issubclass(cls, Scatter) else self._update
            name, device = cls.name.removeprefix("df."), locality.request_for(self.state.device)
            function = Function(lambda *xs: write(cls, *xs), name=name, device=device)
            found = self._writes[key] = function.compiled_for(*values)
        return found

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
        def __mod__(self, other: Operand) -> Tensor: ...
        def __pow__(self, other: Operand) -> Tensor: ...
        def __matmul__(self, other: Operand) -> Tensor: ...
        def __rmatmul__(self, other: Operand) -> Tensor: ...
        def __lt__(self, other: Operand) -> Tensor: ...
        def __le__(self, other: Operand) -> Tensor: ...
        def __gt__(self, other: Operand) -> Tensor: ...
        def __ge__(self, other: Operand) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __getitem__(self, key: Any) -> Tensor: ...


def _no_value(name: str, location: str) -> Callable[[], Any]:
    """The initial value of a variable that has none; it does not hold the variable, which holds the state."""

    def initial() -> Any:
        raise FailedPrecondition(
            f"Attempting to use uninitialized value {name!r}",
            location=location,
            hint="assign it a value or restore a checkpoint",
        )

    return initial


def placement_of_state(variable: Variable) -> Mapping[str, Attribute]:
    """The placement of what belongs to a variable: where that asks to be, or lives."""
    state = variable._state
    if variable.placement or state is None or not state.is_settled or state.device is locality.first():
        return variable.placement
    return {REQUEST: StringAttr(locality.name_of(state.device))}


def _device_asked(placement: Mapping[str, Attribute], near: Variable | None) -> Callable[[], Any] | None:
    """What says where a variable that is made with this placement lives; None where that is not asked for."""
    if not placement:
        return None

    def device() -> Any:
        with names.placed(placement, near):
            return locality.here() or locality.first()

    return device


def _read(value: Operand) -> Any:
    return value.__dfc_tensor__() if hasattr(value, "__dfc_tensor__") else value


def require_static(name: str, spec: Spec) -> None:
    if not is_static(spec.shape):
        raise InvalidArgument(f"variable {name!r} needs a static shape, got {spec.dtype}{list(spec.shape)}")


def _fits(shape: Shape, target: Shape) -> bool:
    """Whether `shape` broadcasts to `target`."""
    pairs = zip(reversed(shape), reversed(target), strict=False)
    return len(shape) <= len(target) and all(a == b or a == 1 for a, b in pairs)


locations.add_internal_prefix(copy.__file__)  # an error in a copy is at the line that asks for it
operators.install(Variable)
