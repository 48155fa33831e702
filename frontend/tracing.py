"""Tracing: a Python function runs once, and the operations it calls become the ops of a `df.func`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from xdsl.dialects.builtin import FileLineColLoc, LocationAttr, ModuleOp
from xdsl.ir import Attribute, Block, Region, SSAValue

from dfc.errors import DfcError, FailedPrecondition
from dfc.frontend import names
from dfc.frontend.tensor import Tensor
from dfc.ir import attributes as attribute_values
from dfc.ir import locations
from dfc.ir.attributes import Array, Texts
from dfc.ir.builder import create
from dfc.ir.construct import append
from dfc.ir.dims import Shape, SymbolicDim, symbol
from dfc.ir.dtypes import DType
from dfc.ir.op import Effect, Op
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.elementwise import Convert
from dfc.ir.ops.function import Func, Return, single_block_region
from dfc.ir.ops.graph import After, Placeholder
from dfc.ir.ops.shape import BroadcastInDim
from dfc.ir.ops.state import Group, Read, Write
from dfc.ir.ops.state import Variable as VariableOp
from dfc.ir.sharding import MeshSpec
from dfc.ir.types import is_tensor, spec_of

if TYPE_CHECKING:
    from dfc.frontend.variable import Variable

ORDERED = (Effect.READS, Effect.WRITES, Effect.STATEFUL)
OpT = TypeVar("OpT", bound=Op)
R = TypeVar("R")
NO_ATTRIBUTES: Mapping[str, Any] = {}
MANY_OPS = 10_000

_current: ContextVar[Trace | None] = ContextVar("dfc_trace", default=None)
current = _current.get
"""The trace that this thread is in, or None."""
set_current = _current.set
"""Make a trace the present one; what it returns takes that back."""


class _Activity:
    """How many traces are open in all threads, and `recording`, how many timelines, which count among them: where there
    are none, a call need not ask for its own."""

    __slots__ = ("count", "recording")

    def __init__(self) -> None:
        self.count = self.recording = 0


activity = _Activity()


class Program:
    """A module under construction: functions with unique names, and the variables they use by name."""

    def __init__(self) -> None:
        self.module = ModuleOp([])
        self.variables: dict[str, Variable] = {}
        self.callees: dict[Any, Any] = {}
        """Functions traced into this program, by function and signature."""
        self.resources: dict[str, Any] = {}
        """Queues and the like that the program uses, by name."""
        self._resource_names: dict[Any, str] = {}
        self._functions: set[str] = set()
        self._names: dict[Variable, str] = {}
        self.fresh: set[str] = set()
        """The names of all fresh dimensions."""
        self.labels: set[str] = set()
        """The names of groups of operations that are on one device."""
        self.mesh: MeshSpec | None = None
        """The first mesh that something is divided over."""

    def function_name(self, wanted: str) -> str:
        base = re.sub(r"[^A-Za-z0-9_]", "_", wanted) or "function"
        name, number = base, 0
        while name in self._functions:
            number += 1
            name = f"{base}_{number}"
        self._functions.add(name)
        return name

    def variable_name(self, variable: Variable) -> str:
        """The variable's name in this program: its own, or with `_1` where another variable has that name."""
        name = self._names.get(variable)
        if name is None:
            name, number = variable.name, 0
            while name in self.variables:
                number += 1
                name = f"{variable.name}_{number}"
            self.variables[name] = variable
            self._names[variable] = name
        return name

    def resource_name(self, resource: Any) -> str:
        """The name of a queue or the like in this program: its own, or with `_1` where another has that name."""
        name = self._resource_names.get(resource)
        if name is None:
            name, number = resource.name, 0
            while name in self.resources:
                number += 1
                name = f"{resource.name}_{number}"
            self.resources[name] = resource
            self._resource_names[resource] = name
        return name

    def fresh_dimension(self, base: str) -> SymbolicDim:
        """A dimension that is known when the program runs only, and is no other's."""
        name = f"{re.sub(r'[^A-Za-z0-9_]', '_', base)}_{len(self.fresh) + 1}"
        self.fresh.add(name)
        return symbol(name)


class Resource:
    """What a trace knows of a variable: its handle, the token of the last write, those of the reads since, and the
    value of these reads."""

    __slots__ = ("read_tokens", "ref", "value", "write_token")

    def __init__(self, ref: SSAValue) -> None:
        self.ref = ref
        self.write_token: SSAValue | None = None
        self.read_tokens: list[SSAValue] = []
        self.value: Tensor | None = None

    @property
    def tokens(self) -> list[SSAValue]:
        """What the next write waits for."""
        return self.read_tokens if self.write_token is None else [self.write_token, *self.read_tokens]


class Controls:
    """What ops that are made now wait for, and which of them do so already, by id."""

    def __init__(self, tokens: tuple[SSAValue, ...]) -> None:
        self.tokens = tokens
        self.inside: set[int] = set()

    def applied(
        self, block: Block, cls: type[Op], operands: Sequence[SSAValue], location: LocationAttr
    ) -> Sequence[SSAValue]:
        """The operands of a new op of this class, so that it waits for the tokens: an op with an effect takes them; of
        one without, the first operand waits, unless it does so already."""
        if cls is Placeholder:
            return operands
        if cls.EFFECT in ORDERED or cls is Group or cls is After:
            return (*operands, *(t for t in self.tokens if t not in operands))
        if not self.tokens or not operands or not is_tensor(operands[0].type) or id(operands[0].owner) in self.inside:
            return operands
        where = names.placement()
        waiting = create(After, (operands[0], *self.tokens), location=location, annotations=where)
        append(block, waiting)
        self.inside.add(id(waiting))
        return (waiting.results[0], *operands[1:])


class Trace:
    """One function being traced: `run` the Python code, then `finish`, then `close`."""

    is_interior = False
    """Whether this is the region of an op of the parent (`dfc.frontend.interior`)."""
    value_hint = ""
    """How to get the value of a tensor, where every tensor of the trace has one answer."""

    def __init__(
        self,
        program: Program,
        name: str,
        inputs: Sequence[Attribute],
        input_names: Sequence[str],
        *,
        parent: Trace | None = None,
        function: object = None,
        location: LocationAttr | None = None,
    ) -> None:
        self.program, self.name, self.parent, self.function = program, name, parent, function
        self.open = True
        region, self.block = single_block_region(inputs)
        empty = {"sym_name": program.function_name(name), "arg_names": (), "result_names": ()}
        self.func = create(Func, (), empty, location=location or locations.capture(), regions=[region])
        program.module.body.block.add_op(self.func)
        self.input_names = list(input_names)
        self.inputs = [Tensor(value.type, self, value) for value in self.block.args]
        self.names = names.Names(self.block, self.input_names)
        self.resources: dict[Variable, Resource] = {}
        self.captures: list[SSAValue] = []
        """Values of the enclosing trace that this one uses, in the order of its last arguments."""
        self._captured: dict[SSAValue, Tensor] = {}
        self._constants: dict[Any, SSAValue] = {}
        self._kept: list[Any] = []
        self._explicit: set[str] = set()
        self._n_ops = 0
        self._next_check = MANY_OPS
        self.watching: list[dict[Variable, None]] = []
        """Each collects the variables that are used while it is here."""
        self.effects: list[SSAValue] = []
        """The tokens of all writes, in program order."""
        self.handles: dict[Any, SSAValue] = {}
        """Of queues and the like that are used here."""
        self.ordered: dict[Any, SSAValue] = {}
        """The last token of each queue and the like, and of what the host does, that happens in program order."""
        self.checks: list[SSAValue] = []
        """Tokens of what a call does in no order and whether or not its results are used."""
        self.controls: Controls | None = None
        """What every op waits for that is made now: see `dfc.control_dependencies`."""

    def run(self, body: Callable[[], R]) -> R:
        """`body()` with this as the present trace.

        An interrupt at any point leaves the thread outside: the context goes with the call, and Python looks neither
        for signals nor for other threads between the start of a `finally` and its first call.
        """
        try:
            activity.count += 1
            return copy_context().run(self._enter, body)
        finally:
            activity.count -= 1
            self.open = False

    def _enter(self, body: Callable[[], R]) -> R:
        _current.set(self)
        names.leave_scopes()
        return body()

    def close(self) -> None:
        """Forget what only tracing needs. The tensors of a trace refer to it: a variable in these tables would live
        until Python looks for cycles."""
        for table in (
            self.inputs,
            self.resources,
            self._constants,
            self._captured,
            self._kept,
            self.effects,
            self.ordered,
            self.checks,
        ):
            table.clear()
        if self.parent is None:
            self.program.callees.clear()
        self.parent = self.function = None

    # ---- ops

    def emit(
        self, cls: type[Op], operands: Sequence[SSAValue], attributes: Mapping[str, Any] = NO_ATTRIBUTES
    ) -> Tensor:
        """The one result of a new op at the user's position."""
        result = self.emit_op(cls, operands, attributes).results[0]
        return Tensor(result.type, self, result)

    def emit_op(
        self,
        cls: type[OpT],
        operands: Sequence[SSAValue],
        attributes: Mapping[str, Any] = NO_ATTRIBUTES,
        annotations: Mapping[str, Attribute] | None = None,
        regions: Sequence[Region] = (),
        location: LocationAttr | None = None,
    ) -> OpT:
        """A new op, at the user's position unless another one is given."""
        if annotations is None:
            annotations = names.scope_annotations()
        if location is None:
            location = locations.capture()
        if self.controls is not None:
            operands = self.controls.applied(self.block, cls, operands, location)
        op = create(cls, operands, attributes, location=location, annotations=annotations, regions=regions)
        append(self.block, op)
        if self.controls is not None:
            self.controls.inside.add(id(op))
        self._n_ops += 1
        if self._n_ops == self._next_check:
            self._warn_of_long_lines()
        return op

    def named(self, name: str) -> Mapping[str, Attribute]:
        """The attributes of an op that the user calls `name`; a clash gets `_1`."""
        names.check_name(name)
        unique, number = name, 0
        while names.scoped(unique) in self._explicit:
            number += 1
            unique = f"{name}_{number}"
        self._explicit.add(names.scoped(unique))
        return names.named_annotations(unique)

    def is_named(self, name: str) -> bool:
        """Whether the user calls an op so, in the present scope."""
        return names.scoped(name) in self._explicit

    def _warn_of_long_lines(self) -> None:
        self._next_check += MANY_OPS
        counts: dict[tuple[str, int], int] = {}
        for op in self.block.ops:
            if isinstance(op.location, FileLineColLoc):
                key = (op.location.filename.data, op.location.line.data)
                counts[key] = counts.get(key, 0) + 1
        for (file, line), count in counts.items():
            if MANY_OPS <= count < 2 * MANY_OPS:
                warnings.warn_explicit(
                    f"this line has made {count:,} operations of {self.name!r} so far: a Python loop in a traced "
                    "function is unrolled",
                    RuntimeWarning,
                    file,
                    line,
                )

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is made inside waits for nothing, whatever control dependencies there are around it."""
        controls, self.controls = self.controls, None
        try:
            yield
        finally:
            self.controls = controls

    # ---- values

    def value_of(self, tensor: Tensor) -> SSAValue:
        """The value in this trace for a tensor: its own, a constant for a concrete one, a captured one of an enclosing
        trace. Raises FailedPrecondition for a tensor of any other trace."""
        origin = tensor._trace
        if origin is self:
            return tensor._value
        if origin is None:
            return self._constant_of(tensor)
        if origin.open and self._is_inside(origin):
            return self._capture(tensor)._value
        raise origin.leaked(tensor, locations.describe(locations.capture()))

    def _is_inside(self, other: Trace) -> bool:
        trace = self.parent
        while trace is not None and trace is not other:
            trace = trace.parent
        return trace is not None

    def _capture(self, tensor: Tensor) -> Tensor:
        found = self._captured.get(tensor._value)
        if found is None:
            assert self.parent is not None
            self.captures.append(self.parent.value_of(tensor))
            argument = self.block.insert_arg(tensor._type, len(self.block.args))
            self.input_names.append(f"capture_{len(self.captures) - 1}")
            found = self._captured[tensor._value] = Tensor(tensor._type, self, argument)
        return found

    def leaked(self, tensor: Tensor, location: str) -> DfcError:
        """The error for a tensor of this trace that is used outside it."""
        what = f"{tensor.name!r} ({spec_of(tensor._type)})"
        if self.open:
            return FailedPrecondition(
                f"the tensor {what} belongs to another trace, that of {self.name!r}, which is still going on",
                location=location,
                hint="pass it to the function as an argument",
            )
        return FailedPrecondition(
            f"the tensor {what} stands for a value inside {self.name!r}, whose trace has ended",
            location=location,
            hint="return it from the function instead of keeping it in a list, an attribute or a global",
        )

    def constant(self, array: np.ndarray[Any, Any]) -> Tensor:
        """A constant with the elements of `array`, which must not change afterwards."""
        return self.emit(ConstantOp, (), {"value": Array.of(array)})

    def _constant_of(self, tensor: Tensor) -> SSAValue:
        found = self._constants.get(id(tensor))
        if found is None:
            self._kept.append(tensor)  # so that its id stays its own
            found = self._constants[id(tensor)] = self.constant(tensor._view("constant"))._value
        return found

    def fill(self, value: Any, dtype: DType, shape: Shape) -> SSAValue:
        """A tensor whose elements are all the Python number `value`; made once a value, dtype and shape."""
        # 0.0 and -0.0 are equal, and NaN isn't
        key = (str(value) if value == 0 or value != value else value, dtype.name, shape)
        found = self._constants.get(key)
        if found is None:
            if shape:
                with self.aside():  # whoever else uses it need not wait
                    found = self.broadcast(self.fill(value, dtype, ()), shape)
            else:
                with np.errstate(all="ignore"):
                    found = self.constant(np.asarray(value, dtype.numpy))._value
            self._constants[key] = found
        return found

    def convert(self, value: SSAValue, dtype: DType) -> SSAValue:
        if spec_of(value.type).dtype is dtype:
            return value
        return self.emit_op(Convert, (value,), {"dtype": dtype}).results[0]

    def broadcast(self, value: SSAValue, shape: Shape) -> SSAValue:
        """`value` repeated to `shape`, its axes being the last ones."""
        given = spec_of(value.type).shape
        if given == shape:
            return value
        dims = tuple(range(len(shape) - len(given), len(shape)))
        return self.emit_op(BroadcastInDim, (value,), {"shape": shape, "dims": dims}).results[0]

    # ---- state

    def source(self, variable: Variable) -> SSAValue:
        """What a gradient by the variable is a gradient by: its handle."""
        return self.resource(variable).ref

    def uses(self, variable: Variable) -> None:
        for seen in self.watching:
            seen[variable] = None

    def resource(self, variable: Variable) -> Resource:
        self.uses(variable)
        found = self.resources.get(variable)
        if found is None:
            variable.require_in(self)
            variable.is_traced = True
            name = self.program.variable_name(variable)
            spec = variable.spec
            attributes: dict[str, Any] = {"variable": name, "shape": spec.shape, "dtype": spec.dtype}
            if variable.offload:
                attributes["offload"] = True
            if variable.division is not None:
                attributes["sharding"] = variable.division
            made_at = variable.made_at if locations.is_known(variable.made_at) else None
            handle = self.emit_op(VariableOp, (), attributes, variable.placement, location=made_at)
            found = self.resources[variable] = Resource(handle.results[0])
        return found

    def read(self, variable: Variable) -> Tensor:
        """The variable's value after the last write; one read between two writes."""
        resource = self.resource(variable)
        if resource.value is None or self.controls is not None:
            waits = () if resource.write_token is None else (resource.write_token,)
            op = self.emit_op(Read, (resource.ref, *waits))
            resource.value = Tensor(op.value.type, self, op.value)
            resource.read_tokens.append(op.token)
        return resource.value

    def write(self, cls: type[Write], variable: Variable, *values: SSAValue) -> SSAValue:
        """A write after all earlier reads and writes of the variable; returns its token."""
        resource = self.resource(variable)
        op = self.emit_op(cls, (resource.ref, *values, *resource.tokens))
        self.wrote(resource, op.token)
        return op.token

    def wrote(self, resource: Resource, token: SSAValue) -> None:
        """Note a write of the variable."""
        resource.write_token, resource.read_tokens, resource.value = token, [], None
        self.effects.append(token)

    def read_after(self, variable: Variable, token: SSAValue, op: str) -> Tensor:
        """The variable's value after the write `op`, which gave the token."""
        if self.resource(variable).write_token is not token:
            raise FailedPrecondition(
                f"the value after {op} on {variable.name!r} was overwritten by a later write",
                location=locations.describe(locations.capture()),
                hint="call .value() before the next write",
            )
        return self.read(variable)

    @contextmanager
    def in_program_order(self) -> Iterator[None]:
        """What is read and written inside happens in program order, as it always does in a function."""
        yield

    def implying(self, tensor: Tensor, token: SSAValue) -> Tensor:
        """The tensor, so that whoever uses it has the effect behind the token too: in a function every effect is part
        of a call anyway."""
        return tensor

    def waits_of_call(self, variable: Variable, written: bool) -> list[SSAValue]:
        """What a call waits for that reads, or writes, the variable."""
        resource = self.resource(variable)
        return resource.tokens if written else resource.tokens[: resource.write_token is not None]

    def called(self, variable: Variable, written: bool, token: SSAValue) -> None:
        """Note a call that read, or wrote, the variable."""
        if written:
            self.wrote(self.resource(variable), token)
        else:
            self.resource(variable).read_tokens.append(token)

    # ---- other effects

    def resource_handle(self, key: Any, make: Callable[[Trace], SSAValue]) -> SSAValue:
        """The handle of a queue or the like in this trace, which `make` makes once."""
        found = self.handles.get(key)
        if found is None:
            found = self.handles[key] = make(self)
        return found

    def emit_ordered(
        self,
        keys: Sequence[Any],
        cls: type[OpT],
        operands: Sequence[SSAValue],
        attributes: Mapping[str, Any] = NO_ATTRIBUTES,
        annotations: Mapping[str, Attribute] | None = None,
    ) -> OpT:
        """An op with an effect on `keys`, such as a queue, after all earlier ones of the trace on any of them."""
        waits = dict.fromkeys(token for key in keys for token in self.waits_in_order(key))
        op = self.emit_op(cls, (*operands, *waits), attributes, annotations)
        for key in keys:
            self.happened(key, op.results[-1])
        return op

    def waits_in_order(self, key: Any) -> list[SSAValue]:
        """What the next effect on `key` waits for."""
        return [self.ordered[key]] if key in self.ordered else []

    def happened(self, key: Any, token: SSAValue) -> None:
        """Note an effect on `key`."""
        self.ordered[key] = token
        self.effects.append(token)

    def always(self, value: SSAValue) -> None:
        """Make what gives the value a part of every call, whether or not its results are used."""
        with self.aside():
            self.checks.append(self.emit_op(Group, (value,)).token)

    # ---- the end

    def finish(self, outputs: Sequence[SSAValue], output_names: Sequence[str]) -> Func:
        """End the function: its outputs, then the tokens of what it did.

        A nested function returns the tokens of its last reads too: a write after the call has to wait for them.
        """
        tokens: list[SSAValue] = []
        for resource in self.resources.values():
            if self.parent is not None:
                tokens += resource.tokens
            elif resource.write_token is not None:
                tokens.append(resource.write_token)
        tokens += [*self.ordered.values(), *self.checks]
        self.block.add_op(create(Return, (*outputs, *dict.fromkeys(tokens)), location=self.func.location))
        self.func.properties["arg_names"] = attribute_values.make(Texts, tuple(self.input_names))
        self.func.properties["result_names"] = attribute_values.make(Texts, tuple(output_names))
        return self.func


def require_trace(what: str, hint: str = "") -> Trace:
    """The present trace. Raises FailedPrecondition outside of one."""
    trace = current()
    if trace is None:
        raise FailedPrecondition(
            f"{what} works only inside a function that is being traced",
            location=locations.describe(locations.capture()),
            hint=hint or "put it into a function decorated with @dfc.function",
        )
    return trace


@contextmanager
def suspended() -> Iterator[None]:
    """Outside of any trace and any scope: where initial values are computed."""
    token = _current.set(None)
    try:
        with names.fresh_scope():
            yield
    finally:
        _current.reset(token)
