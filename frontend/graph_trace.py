"""The trace of a graph that is built by hand, in `with dfc.Graph():`.

It stays open, and nothing but explicit control dependencies orders what it does to variables: each read is one of its
own, and a write waits for nothing. Draws from generators of random numbers are the exception, since two draws must not
give the same numbers: they happen in program order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, SSAValue

from dfc.errors import DfcError, FailedPrecondition
from dfc.frontend import names
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Program, Resource, Trace, current
from dfc.ir.op import short_name
from dfc.ir.ops.graph import After
from dfc.ir.ops.state import Read, Write
from dfc.ir.types import spec_of

if TYPE_CHECKING:
    from dfc.frontend.graph import Graph
    from dfc.frontend.graph_variable import GraphVariable
    from dfc.frontend.train.queue_runner import QueueRunner
    from dfc.frontend.variable import Variable


class GraphTrace(Trace):
    """See the module. `variables` are those that were made in it, whose values live in sessions."""

    value_hint = "fetch it in a session: session.run(tensor)"

    def __init__(self) -> None:
        super().__init__(Program(), "graph", (), ())
        self.variables: list[GraphVariable] = []
        self.initial_arrays: dict[str, np.ndarray[Any, Any]] = {}
        """What variables start from, by name, where that is too large to be in the graph."""
        self.lock = threading.RLock()
        """Held while a session adds what a fetch needs."""
        self.graph: Callable[[], Graph | None] = lambda: None
        """The graph that this is the trace of."""
        self.queue_runners: list[QueueRunner] = []
        """See `dfc.train.start_queue_runners`."""
        self._snapshots: dict[Variable, Tensor] = {}
        self._section: dict[Variable, Resource] | None = None
        """Of the variables used since `in_program_order` was entered."""

    # ---- state

    def read(self, variable: Variable) -> Tensor:
        if self._is_ordered(variable):
            return super().read(variable)
        op = self.emit_op(Read, (self.resource(variable).ref,))
        return Tensor(op.value.type, self, op.value)

    def write(self, cls: type[Write], variable: Variable, *values: SSAValue) -> SSAValue:
        resource = self.resource(variable)
        waits = resource.tokens if self._is_ordered(variable) else ()
        named = {"name": StringAttr(f"{variable.name}/{short_name(cls)}")}
        op = self.emit_op(cls, (resource.ref, *values, *waits), annotations=named)
        self.wrote(resource, op.token)
        return op.token

    def read_after(self, variable: Variable, token: SSAValue, op: str) -> Tensor:
        made = self.emit_op(Read, (self.resource(variable).ref, token))
        return Tensor(made.value.type, self, made.value)

    def snapshot(self, variable: Variable) -> Tensor:
        """What fetching the variable itself gives; made once."""
        found = self._snapshots.get(variable)
        if found is None:
            with self.aside():
                found = self._snapshots[variable] = self.read(variable)
        return found

    @contextmanager
    def in_program_order(self) -> Iterator[None]:
        if self._section is not None:
            yield
            return
        self._section = {}
        try:
            yield
        finally:
            self._section = None

    def resource(self, variable: Variable) -> Resource:
        found = super().resource(variable)
        if self._section is None or variable.in_program_order:
            return found
        return self._section.setdefault(variable, Resource(found.ref))

    def _is_ordered(self, variable: Variable) -> bool:
        return variable.in_program_order or self._section is not None

    def implying(self, tensor: Tensor, token: SSAValue) -> Tensor:
        return self.emit(After, (self.value_of(tensor), token))

    def waits_of_call(self, variable: Variable, written: bool) -> list[SSAValue]:
        return super().waits_of_call(variable, written) if self._is_ordered(variable) else []

    # ---- other effects

    def waits_in_order(self, key: Any) -> list[SSAValue]:
        return []

    def always(self, value: SSAValue) -> None:
        """In a graph only what is fetched, or needed for that, happens."""

    # ---- names and errors

    def emit_named(
        self, cls: type[Any], name: str | None, attributes: Mapping[str, Any], operands: Sequence[SSAValue] = ()
    ) -> Any:
        """An op that the user calls `name`, or by its kind."""
        annotations: Mapping[str, Attribute] = names.scope_annotations() if name is None else self.named(name)
        return self.emit_op(cls, operands, attributes, annotations)

    def leaked(self, tensor: Tensor, location: str) -> DfcError:
        return FailedPrecondition(
            f"the tensor {tensor.name!r} ({spec_of(tensor._type)}) belongs to a graph, and has a value in steps only",
            location=location,
            hint="fetch it: session.run(tensor)",
        )


def current_graph() -> GraphTrace | None:
    """The graph that is being built around the present trace, if there is one."""
    trace = current()
    while trace is not None and trace.parent is not None:
        trace = trace.parent
    return trace if isinstance(trace, GraphTrace) else None
