"""Queues: what steps hand to each other, and wait for (spec rows C3 to C13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from dfc.errors import DfcError, InvalidArgument, InvalidType, OutOfRange
from dfc.frontend import components as co
from dfc.frontend.interop import to_tensor
from dfc.frontend.operation import Operation
from dfc.frontend.promotion import holds_tensors
from dfc.frontend.resources import Resource, here, trace_of
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace
from dfc.ir.dims import Dim
from dfc.ir.dtypes import DType, as_dtype, int32, int64
from dfc.ir.ops import queue as ir
from dfc.ir.types import Spec, spec_of
from dfc.runtime.queue_spec import QueueSpec
from dfc.runtime.queues import make_queue

Element = Any
"""A tensor, a list of tensors (one a component), or a dict of them for a queue with names."""


class QueueBase(Resource):
    """What all queues have. An element is one tensor, a list of tensors, or for a queue with `names` a dict.

    In a traced function operations on one queue happen in program order; in a graph they do when they are fetched or
    depended on. Outside they happen at once, and wait. Components pass as they are: no copy, and no wait for a device.
    """

    handle_class = ir.Queue
    kind = ""

    def __init__(
        self,
        capacity: int,
        dtypes: Any,
        shapes: Any = None,
        names: Sequence[str] | None = None,
        shared_name: str | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, shared_name)
        self.dtypes = tuple(map(as_dtype, dtypes if isinstance(dtypes, list | tuple) else [dtypes]))
        try:
            self.spec = QueueSpec(
                self.kind, capacity, self._all_dtypes(), self._all_shapes(shapes), _names(names), **options
            )
        except DfcError as error:
            raise here(error, type(self).__name__) from None
        self._seen = [co.Seen() for _ in self.spec.dtypes]

    def _all_dtypes(self) -> tuple[DType, ...]:
        return self.dtypes

    def _all_shapes(self, shapes: Any) -> Any:
        return co.shapes_given(shapes, len(self.dtypes))

    def make(self) -> Any:
        return make_queue(self.spec, self.shared_name or self.name)

    @property
    def requested(self) -> QueueSpec:
        return self.spec

    def described(self) -> str:
        shapes = self.spec.shapes or [None] * len(self.spec.dtypes)
        pairs = zip(self.spec.dtypes, shapes, strict=True)
        parts = [f"{dtype}{co.sizes_text(shape)}" for dtype, shape in pairs]
        return f"{self.kind} of {', '.join(parts)}, capacity {self.spec.capacity}"

    # ---- putting in

    def enqueue(self, element: Element, name: str | None = None) -> Operation:
        """Put one element in; waits while the queue is full, and is Cancelled once it is closed. `name` is the
        operation's in a graph.

        Raises InvalidArgument and InvalidType for components of the wrong number, dtypes or shapes, and for a dict
        where there are no names or the other way round.
        """
        return self._put(ir.Enqueue, "enqueue", element, False, name)

    def enqueue_many(self, elements: Element, name: str | None = None) -> Operation:
        """Put in the elements that the components hold along their first axis, one by one as there is room (C4)."""
        return self._put(ir.EnqueueMany, "enqueue_many", elements, True, name)

    def _put(self, cls: type[ir.QueueOp], op: str, element: Element, batch: bool, name: str | None) -> Operation:
        try:
            components = self._components(element)
            trace = trace_of(self)
            if trace is None:
                live: Any = self.live
                arrays = [co.array_of(c, d) for c, d in zip(components, self.spec.dtypes, strict=True)]
                self.wait(live.enqueue_many(arrays) if batch else live.enqueue(arrays), op)
                return Operation(None, None, f"{self.name}/{op}")
            values = [self._component(trace, i, component, batch) for i, component in enumerate(components)]
        except DfcError as error:
            raise here(error, op) from None
        return self.effect(trace, cls, *values, name=name)

    def _components(self, element: Element) -> list[Any]:
        names = self.spec.names
        if names is not None:
            if not isinstance(element, Mapping):
                raise InvalidArgument(
                    f"a queue with names needs elements that are dicts: enqueue a dictionary, got {element!r}"
                )
            if sorted(element) != sorted(names):
                raise InvalidArgument(
                    f"the keys {sorted(element)} must match names of Queue, which are {sorted(names)}"
                )
            return [element[name] for name in names]
        if isinstance(element, Mapping):
            raise InvalidArgument(
                "a dictionary needs a queue with names, and this one has none", hint="give the queue names=[...]"
            )
        components = list(element) if isinstance(element, list | tuple) and self._is_tuple(element) else [element]
        if len(components) != len(self.spec.dtypes):
            raise InvalidArgument(
                f"Wrong number of components in tuple: expected {len(self.spec.dtypes)}, got {len(components)}"
            )
        return components

    def _is_tuple(self, element: Sequence[Any]) -> bool:
        """Whether a list is one of components, or, for a queue of one component, a nested list of numbers."""
        return len(self.spec.dtypes) != 1 or holds_tensors(element) or co.holds_arrays(element)

    def _component(self, trace: Trace, index: int, component: Any, batch: bool) -> SSAValue:
        dtype = self.spec.dtypes[index]
        tensor = co.tensor_of(trace, component, dtype)
        spec = spec_of(tensor._type)
        if spec.dtype is not dtype:
            raise InvalidType(f"Type mismatch in tuple component {index}: expected {dtype}, got {spec.dtype}")
        shape = spec.shape[1:] if batch else spec.shape
        expected = None if self.spec.shapes is None else self.spec.shapes[index]
        if (batch and not spec.shape) or (expected is not None and not co.may_fit(shape, expected)):
            wanted = "(n, ...)" if expected is None else co.shown([*(("n",) if batch else ()), *expected])
            raise InvalidArgument(
                f"Shape mismatch in tuple component {index}: expected {wanted}, got {co.shown(spec.shape)}"
            )
        self._seen[index].add(shape)
        return tensor._value

    # ---- taking out

    def dequeue(self, name: str | None = None, shapes: Sequence[Any] | None = None) -> Any:
        """Take one element; waits while there is none, and is OutOfRange once the queue is closed and empty.

        In a trace the shapes of its components must be known: those that the queue was given, those of what is enqueued
        in the same program, or `shapes`. Sizes that are None there are known when it runs only.
        """
        trace = trace_of(self)
        if trace is None:
            return self._element([to_tensor(v) for v in self.wait(self._queue.dequeue(), "dequeue")])
        specs = self._specs(trace, shapes, "dequeue")
        return self._element(self.values(trace, ir.Dequeue, name=name, results=specs))

    def dequeue_many(self, n: Operand, name: str | None = None) -> Any:
        """Take `n` elements, an integer or an integer scalar tensor, stacked along a new first axis; waits until there
        are so many. Raises InvalidArgument for a queue whose components have no full shapes; a PaddingFIFOQueue pads
        with zeros to the largest."""
        return self._take(ir.DequeueMany, "dequeue_many", n, name)

    def dequeue_up_to(self, n: Operand, name: str | None = None) -> Any:
        """As `dequeue_many`; once the queue is closed it takes what there is, one element at least."""
        return self._take(ir.DequeueUpTo, "dequeue_up_to", n, name)

    def _take(self, cls: type[ir.TakingMany], op: str, n: Operand, name: str | None) -> Any:
        if self.spec.shapes is None or (not self.spec.is_static and self.kind != "PaddingFIFOQueue"):
            raise here(
                InvalidArgument(
                    f"queues require the components to have specified shapes, and those of {self.name!r} are not",
                    hint="give the queue shapes=[...]",
                ),
                op,
            )
        trace = trace_of(self)
        try:
            if trace is None:
                attempt = getattr(self._queue, op)(co.whole(n, "n"))
                return self._element([to_tensor(value) for value in self.wait(attempt, op)])
            count = co.whole_in(trace, n, int32, "n")
            if isinstance(n, int | np.integer) and n < 0:
                raise InvalidArgument(f"the number of elements must not be negative, got {n}")
        except DfcError as error:
            raise here(error, op) from None
        fixed = isinstance(n, int | np.integer) and cls is ir.DequeueMany
        size: Dim = int(n) if fixed else trace.program.fresh_dimension(self.name)
        specs = tuple(Spec((size, *spec.shape), spec.dtype) for spec in self._specs(trace, None, op))
        return self._element(self.values(trace, cls, count, name=name, results=specs))

    def _specs(self, trace: Trace, shapes: Sequence[Any] | None, op: str) -> tuple[Spec, ...]:
        """What a dequeued element is, with new symbols for sizes that nobody knows yet."""
        given = self.spec.shapes
        if shapes is not None:
            given = self._all_shapes(shapes)
        found = []
        for index, dtype in enumerate(self.spec.dtypes):
            shape = self._seen[index].sizes if given is None else given[index]
            if shape is None:
                raise here(
                    InvalidArgument(
                        f"the shape of component {index} of {self.name!r} is not known",
                        hint="give the queue shapes=[...], or dequeue(shapes=[...])",
                    ),
                    op,
                )
            found.append(co.spec_of_sizes(trace, self.name, shape, dtype))
        return tuple(found)

    def _element(self, components: list[Tensor]) -> Any:
        if self.spec.names is not None:
            return dict(zip(self.spec.names, components, strict=True))
        return components[0] if len(components) == 1 else components

    # ---- the rest

    @property
    def _queue(self) -> Any:
        return self.live

    def close(self, cancel_pending_enqueues: bool = False, name: str | None = None) -> Operation:
        """Let nothing more in; what is in can be taken. Closing waits behind what is waiting to get in, or fails that
        with `cancel_pending_enqueues` (C6, C7). A second plain close is Aborted."""
        trace = trace_of(self)
        if trace is None:
            self.wait(self._queue.close(cancel_pending_enqueues), "close")
            return Operation(None, None, f"{self.name}/close")
        return self.effect(trace, ir.QueueClose, name=name, cancel_pending=bool(cancel_pending_enqueues))

    def size(self, name: str | None = None) -> Tensor:
        """The number of elements, int32."""
        trace = trace_of(self)
        if trace is None:
            return to_tensor(np.array(self._queue.size(), np.int32))
        return self.values(trace, ir.QueueSize, name=name)[0]

    def is_closed(self, name: str | None = None) -> Tensor:
        """Whether it is closed."""
        trace = trace_of(self)
        if trace is None:
            return to_tensor(np.array(self._queue.is_closed()))
        return self.values(trace, ir.QueueIsClosed, name=name)[0]

    @staticmethod
    def from_list(index: Operand, queues: Sequence[QueueBase]) -> QueueBase:
        """The queue at `index`, an integer or an integer scalar tensor, among queues of equal dtypes and names.

        Raises OutOfRange for another index, for a tensor when it runs.
        """
        queues = list(queues)
        if not queues or any(not isinstance(queue, QueueBase) for queue in queues):
            raise here(InvalidType(f"a list of queues is needed, got {queues!r}"), "from_list")
        first = queues[0]
        if any(q.spec.dtypes != first.spec.dtypes or q.spec.names != first.spec.names for q in queues):
            raise here(InvalidType("queues to select from must have equal dtypes and names"), "from_list")
        if trace_of(first) is None:
            try:
                number = co.whole(index, "index")
            except DfcError as error:
                raise here(error, "from_list") from None
            if not 0 <= number < len(queues):
                raise here(OutOfRange(f"index {number} is not in [0, {len(queues)})"), "from_list")
            return queues[number]
        return SelectedQueue(index, queues)


class FIFOQueue(QueueBase):
    """First in, first out. `capacity` is how many elements it holds, -1 for any number. `dtypes` has an entry for each
    component of an element, or is one dtype; `shapes` likewise, sizes that differ being None; without it components may
    have any shape, and can't be taken many at a time. `names` makes elements dicts. `shared_name` makes one queue of
    all in a session that have it: they must then be equal (C10)."""

    kind = "FIFOQueue"


class RandomShuffleQueue(QueueBase):
    """Elements come out in random order. While it is open `min_after_dequeue` elements at least stay in, so that there
    is something to choose from. `seed` makes the order repeatable."""

    kind = "RandomShuffleQueue"

    def __init__(
        self,
        capacity: int,
        min_after_dequeue: int,
        dtypes: Any,
        shapes: Any = None,
        names: Sequence[str] | None = None,
        seed: int | None = None,
        shared_name: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            capacity, dtypes, shapes, names, shared_name, name, min_after_dequeue=min_after_dequeue, seed=seed
        )


class PaddingFIFOQueue(QueueBase):
    """A FIFOQueue whose components may differ in the sizes that `shapes` leaves as None: taken many at a time they are
    padded with zeros, and strings with empty ones, to the largest."""

    kind = "PaddingFIFOQueue"


class PriorityQueue(QueueBase):
    """The element of the smallest priority comes out first, of equal ones the earlier. The priority, an int64 scalar,
    is the first component of each element, before those of `dtypes`."""

    kind = "PriorityQueue"

    def _all_dtypes(self) -> tuple[DType, ...]:
        return (int64, *self.dtypes)

    def _all_shapes(self, shapes: Any) -> Any:
        found = super()._all_shapes(shapes)
        return None if found is None else ((), *found)


class SelectedQueue(QueueBase):
    """One of several queues, which one being data."""

    kind = "SelectedQueue"

    def __init__(self, index: Operand, queues: list[QueueBase]) -> None:
        trace = trace_of(queues[0])
        assert trace is not None, "outside a trace the queue itself is selected"
        first = queues[0]
        self.graph, self.shared_name, self.name = first.graph, None, "selected_queue"
        self._live, self.dtypes, self._queues = None, first.dtypes, queues
        same = all(queue.spec.shapes == first.spec.shapes and queue.kind == first.kind for queue in queues)
        self.spec = first.spec if same else QueueSpec("FIFOQueue", -1, first.spec.dtypes, None, first.spec.names)
        self.kind = first.kind if same else "FIFOQueue"
        self._seen = [co.common([queue._seen[i] for queue in queues]) for i in range(len(first.spec.dtypes))]
        try:
            number = co.whole_in(trace, index, int32, "index")
        except DfcError as error:
            raise here(error, "from_list") from None
        handles = [queue.handle(trace) for queue in queues]
        self._handle = trace.emit_op(ir.QueueSelect, (number, *handles)).results[0]

    def handle(self, trace: Trace) -> SSAValue:
        return self._handle

    def order_keys(self) -> Sequence[Any]:
        return self._queues


def _names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else ((names,) if isinstance(names, str) else tuple(names))
