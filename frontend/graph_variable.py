"""Variables of a graph: the graph says what they start from, and each session has values of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation as IrOperation
from xdsl.ir import SSAValue

from dfc.errors import FailedPrecondition, InvalidArgument
from dfc.frontend import names
from dfc.frontend.graph_trace import GraphTrace, current_graph
from dfc.frontend.operation import Operation
from dfc.frontend.promotion import tensor_in
from dfc.frontend.signature import TensorSpec
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace
from dfc.frontend.variable import Variable, refuse_strings, require_static
from dfc.ir import attributes, locations
from dfc.ir.attributes import Text
from dfc.ir.builder import Builder, clone_into
from dfc.ir.devices import REQUEST
from dfc.ir.dims import Shape
from dfc.ir.dtypes import DType, as_dtype
from dfc.ir.ops.state import Assign, InitializedValue, InitialValue, IsInitialized, Read
from dfc.ir.ops.state import Variable as VariableOp
from dfc.ir.types import Spec, spec_of
from dfc.passes.extract import ancestors

EMBEDDED = 1024
"""Initial arrays of up to so many elements are constants of the graph."""


class GraphVariable(Variable):
    """A variable made in `with dfc.Graph():`. In that graph it is used as any other; its value is that of a session,
    where it has none until `initializer` has run, a checkpoint was restored or something was assigned.

    `initial` may also be a tensor of the graph, which each run of the initializer computes anew. What that reads of
    other variables is their initial value while they have none, so initializers may run in any order.
    """

    graph: GraphTrace
    _wanted: str
    """The name asked for, which may have been taken."""

    def __init__(
        self,
        initial: Operand | Callable[[], Operand],
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
        offload: bool | None = None,
    ) -> None:
        self.offload = names.offloading() if offload is None else offload
        self.made_at = locations.capture()
        graph = current_graph()
        assert graph is not None, "Variable.__new__ has found one"
        self.graph = graph
        self._wanted = names.scoped(names.check_name(name) if name is not None else "variable")
        self.name = _unique(graph, self._wanted)
        self.trainable, self.owner = trainable, None
        self._dtype = None if dtype is None else as_dtype(dtype)
        self._state, self._writes = None, {}
        self.placement = names.placement()
        self._initializer: Operation | None = None
        with graph.aside():
            self.initial_value = self._initial_value(initial() if callable(initial) else initial)
        graph.variables.append(self)

    def _initial_value(self, given: Any) -> Tensor | None:
        """What `given` is in the graph; None for a TensorSpec. Sets the spec."""
        graph = self.graph
        if isinstance(given, TensorSpec):
            self._set_spec(Spec(tuple(given.shape), self._dtype or given.dtype))
            return None
        if isinstance(given, Variable) or (isinstance(given, Tensor) and given._trace is not None):
            value = tensor_in(graph, given)._value
            value = value if self._dtype is None else graph.convert(value, self._dtype)
            self._set_spec(spec_of(value.type))
            return Tensor(value.type, graph, value)
        array = np.array(self._checked(given))
        self._set_spec(Spec(array.shape, as_dtype(array.dtype)))
        if array.size <= EMBEDDED:
            return graph.constant(array)
        graph.initial_arrays[self.name] = array
        return graph.emit(InitialValue, (), {"variable": self.name, "shape": array.shape, "dtype": self.dtype})

    def _set_spec(self, spec: Spec) -> None:
        refuse_strings(spec.dtype)
        require_static(self.name, spec)
        self._spec = spec

    # ---- what it is

    @property
    def spec(self) -> Spec:
        return self._spec

    @property
    def shape(self) -> Shape:
        return self._spec.shape

    @property
    def dtype(self) -> DType:
        return self._spec.dtype

    @property
    def _where(self) -> str:
        asked = self.placement.get(REQUEST)
        on = f" on {asked.data}" if isinstance(asked, StringAttr) else ""  # what is asked for: a session has the value
        return on + (" offloaded" if self.offload else "")

    @property
    def state(self) -> NoReturn:
        raise FailedPrecondition(
            f"variable {self.name!r} belongs to a graph, and has a value in sessions only",
            location=locations.describe(locations.capture()),
            hint="session.run(variable) is its value there, and session.run(variable.assign(x)) sets it",
        )

    def rename(self, name: str) -> None:
        """Call it `name`. Raises FailedPrecondition for another name than before once the graph uses it."""
        if name == self._wanted:
            return
        if self in self.graph.resources:
            raise FailedPrecondition(
                f"variable {self.name!r} of a graph keeps its name once it is used, and can't become {name!r}",
                location=locations.describe(locations.capture()),
                hint="put layers into modules before they are called",
            )
        self._wanted = name
        old, self.name = self.name, _unique(self.graph, name)
        if old in self.graph.initial_arrays and self.initial_value is not None:
            self.graph.initial_arrays[self.name] = self.graph.initial_arrays.pop(old)
            op = self.initial_value._value.owner
            assert isinstance(op, InitialValue), "an array of its own comes from this op"
            op.properties["variable"] = attributes.make(Text, self.name)

    def require_in(self, trace: Trace) -> None:
        if current_graph() is not self.graph and trace is not self.graph:
            raise FailedPrecondition(
                f"variable {self.name!r} belongs to another graph",
                location=locations.describe(locations.capture()),
                hint="a variable that is made outside of graphs can be used in all of them",
            )

    # ---- its start

    @property
    def initializer(self) -> Operation:
        """Sets the initial value. Raises FailedPrecondition for a variable that was made from a TensorSpec."""
        if self._initializer is None:
            if self.initial_value is None:
                raise FailedPrecondition(
                    f"variable {self.name!r} has no initial value", hint="assign it one, or restore a checkpoint"
                )
            with self.graph.aside():
                token = self.graph.write(Assign, self, self._guarded(self.initial_value._value))
            self._initializer = Operation(token, self.graph, f"{self.name}/initializer")
        return self._initializer

    def initialized_value(self) -> Tensor:
        """The value, or the initial value while the variable has none: to start other variables from."""
        with self.graph.aside():
            return Tensor(*self._initialized_value())

    def _initialized_value(self) -> tuple[Any, GraphTrace, SSAValue]:
        if self.initial_value is None:
            raise FailedPrecondition(f"variable {self.name!r} has no initial value")
        operands = (self.graph.resource(self).ref, self._guarded(self.initial_value._value))
        value = self.graph.emit_op(InitializedValue, operands).value
        return value.type, self.graph, value

    def is_initialized(self) -> Tensor:
        """Whether the variable has a value in the session that asks: a scalar bool."""
        made = self.graph.emit_op(IsInitialized, (self.graph.resource(self).ref,))
        return Tensor(made.value.type, self.graph, made.value)

    def _guarded(self, value: SSAValue) -> SSAValue:
        """The value, with initial values in the place of what it reads of variables that may have none yet."""
        needed = ancestors([value], {})
        if all(_read_variable(self.graph, op) is None for op in needed.values()):
            return value
        mapping: dict[SSAValue, SSAValue] = {}
        builder = Builder(self.graph.block)
        for op in list(self.graph.block.ops):
            if id(op) not in needed:
                continue
            variable = _read_variable(self.graph, op)
            if variable is self:
                raise InvalidArgument(f"the initial value of variable {self.name!r} needs the variable itself")
            if variable is not None and variable.initial_value is not None:
                mapping[op.results[0]] = variable._initialized_value()[2]
            elif any(operand in mapping for operand in op.operands):
                clone_into(op, builder, mapping)  # type: ignore[type-var]
        return mapping.get(value, value)


def _read_variable(graph: GraphTrace, op: IrOperation) -> GraphVariable | None:
    """The variable that the op reads, whatever was done to it before; None for any other op."""
    if type(op) is not Read or len(op.operands) > 1 or not isinstance(owner := op.operands[0].owner, VariableOp):
        return None
    variable = graph.program.variables[owner.variable.data]
    return variable if isinstance(variable, GraphVariable) else None


def _unique(graph: GraphTrace, name: str) -> str:
    taken = {variable.name for variable in graph.variables}
    unique, number = name, 0
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    return unique
