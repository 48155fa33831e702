"""What lives between steps beside variables, as a program names it: the base of queues and accumulators.

Made in `with dfc.Graph():` it belongs to that graph, and each session has one of its own, or one for all that name the
same `shared_name`. Made outside it is one object of this process, for functions, sessions and calls at once; there too,
those of one `shared_name` are one object.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from xdsl.ir import SSAValue

from dfc.errors import DfcError, FailedPrecondition
from dfc.frontend import names
from dfc.frontend.graph_trace import GraphTrace, current_graph
from dfc.frontend.operation import Operation
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Trace, current
from dfc.ir import locations
from dfc.ir.op import short_name
from dfc.ir.ops.queue import Handle, QueueOp
from dfc.runtime.attempts import Attempt

OpT = TypeVar("OpT", bound=QueueOp)
_lock = threading.RLock()
_shared_names: WeakValueDictionary[str, Live] = WeakValueDictionary()
"""What is shared in this process, as long as somebody has it."""


class Live(Protocol):
    """The object at run time."""

    def wait(self, attempt: Attempt, timeout: float | None = None) -> Any:
        """Submit and wait."""

    def check_shared(self, requested: Any) -> None:
        """Raise InvalidArgument unless it is what another description says."""


class Resource:
    """Base; a subclass says which handle it has, how it is described and how it is made."""

    handle_class: type[Handle]

    def __init__(self, name: str | None, shared_name: str | None) -> None:
        self.made_at = locations.describe(locations.capture())
        base = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(self).__name__).lower()
        self.graph = current_graph()
        self.shared_name = shared_name
        self.name = names.scoped(names.check_name(name) if name is not None else base)
        self._live: Live | None = None

    def make(self) -> Live:
        """A new object for run time."""
        raise NotImplementedError

    @property
    def requested(self) -> Any:
        """What `Live.check_shared` compares."""
        raise NotImplementedError

    @property
    def live(self) -> Live:
        """The object of this process. Raises FailedPrecondition for one of a graph: sessions have their own."""
        if self._live is None:
            if self.graph is not None:
                raise FailedPrecondition(
                    f"{self.name!r} belongs to a graph, and is there in sessions only",
                    op=type(self).__name__,
                    location=locations.describe(locations.capture()),
                    hint="use it in `with` that graph, and run what that gives in a session",
                )
            with _lock:  # functions may be compiled in several threads at once
                if self._live is None:
                    self._live = self._shared() if self.shared_name is not None else self.make()
        return self._live

    def _shared(self) -> Live:
        assert self.shared_name is not None
        found = _shared_names.get(self.shared_name)
        if found is None:
            found = _shared_names[self.shared_name] = self.make()
        return self.checked(found)

    def checked(self, live: Live) -> Live:
        """The object, which another one may have made under the same `shared_name`. Raises InvalidArgument, at the line
        where this one was made, for one of another description (row C10)."""
        try:
            live.check_shared(self.requested)
        except DfcError as error:
            raise error.at(op=type(self).__name__, location=self.made_at) from None
        return live

    def __repr__(self) -> str:
        return f"<dfc.{type(self).__name__} {self.name!r}>"

    # ---- in a trace

    def handle(self, trace: Trace) -> SSAValue:
        """The handle in this trace; made once."""
        return trace.resource_handle(self, self._made_in)

    def _made_in(self, trace: Trace) -> SSAValue:
        root = current_graph()
        if self.graph is not None and self.graph is not root:
            raise FailedPrecondition(
                f"{self.name!r} belongs to another graph",
                op=type(self).__name__,
                location=locations.describe(locations.capture()),
            )
        attributes = {"resource": trace.program.resource_name(self), "description": self.described()}
        with trace.aside():
            return trace.emit_op(self.handle_class, (), attributes, {}).results[0]

    def described(self) -> str:
        """What it is, in a few words, for who reads the graph."""
        return type(self).__name__

    def order_keys(self) -> Sequence[Any]:
        """What its effects are on, in program order."""
        return (self,)

    def emit(
        self, trace: Trace, cls: type[OpT], *operands: SSAValue, name: str | None = None, **attributes: Any
    ) -> OpT:
        """An op on it, in program order. `name` is what the user calls it."""
        annotations = None if name is None else trace.named(name)
        return trace.emit_ordered(self.order_keys(), cls, (self.handle(trace), *operands), attributes, annotations)

    def effect(
        self, trace: Trace, cls: type[QueueOp], *operands: SSAValue, name: str | None = None, **attributes: Any
    ) -> Operation:
        op = self.emit(trace, cls, *operands, name=name, **attributes)
        return Operation(op.results[-1], trace, f"{self.name}/{short_name(cls)}")

    def values(
        self, trace: Trace, cls: type[QueueOp], *operands: SSAValue, name: str | None = None, **attributes: Any
    ) -> list[Tensor]:
        op = self.emit(trace, cls, *operands, name=name, **attributes)
        return [Tensor(result.type, trace, result) for result in op.results[:-1]]

    # ---- at once

    def wait(self, attempt: Attempt, op: str) -> Any:
        """The result of an attempt on `live`; errors name the op and the user's line."""
        try:
            return self.live.wait(attempt)
        except DfcError as error:
            raise error.at(op=op, location=locations.describe(locations.capture())) from None


def here(error: DfcError, op: str) -> DfcError:
    """The error with the op and the user's line."""
    return error.at(op=op, location=locations.describe(locations.capture()))


def trace_of(resource: Resource) -> Trace | None:
    """The trace that an op on the resource goes to; None where it happens at once."""
    trace = current()
    if trace is None and isinstance(resource.graph, GraphTrace):
        _ = resource.live  # says what is wrong
    return trace


class Resources(Mapping[str, Live]):
    """The object behind each name of a program, found or made when it is asked for: a step may need few of them."""

    def __init__(self, named: Mapping[str, Resource], find: Callable[[str, Resource], Live]) -> None:
        self._named, self._find = named, find

    def __getitem__(self, name: str) -> Live:
        return self._find(name, self._named[name])

    def __contains__(self, name: object) -> bool:
        return name in self._named

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)
