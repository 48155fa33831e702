"""Barriers: elements whose components come one at a time, by key, and are taken once they are complete (row C12)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfc.errors import DfcError, InvalidArgument, InvalidType
from dfc.frontend import components as co
from dfc.frontend.interop import to_tensor
from dfc.frontend.operation import Operation
from dfc.frontend.resources import Resource, here, trace_of
from dfc.frontend.tensor import Operand, Tensor
from dfc.ir.dims import Dim
from dfc.ir.dtypes import as_dtype, int32, int64, string
from dfc.ir.ops import queue as ir
from dfc.ir.types import Spec, spec_of
from dfc.runtime.queue_spec import UNBOUNDED, QueueSpec
from dfc.runtime.queues import make_queue

Taken = tuple[Tensor, Tensor, list[Tensor]]
"""Indices, keys, and a tensor for each component."""


class Barrier(Resource):
    """Holds elements by key, a string, until all of their components have come, in whatever order; complete ones are
    taken in the order in which their keys were first inserted.

    `dtypes` has an entry for each component, or is one dtype, and `shapes` the full shape of each. Insertions with new
    keys give them the next index, counted from -2**63. `shared_name` makes one barrier of all in a session that have it
    (C10). In a traced function operations on it happen in program order; in a graph they do when they are fetched or
    depended on; outside they happen at once, and wait.
    """

    handle_class = ir.Barrier

    def __init__(
        self, dtypes: Any, shapes: Any = None, shared_name: str | None = None, name: str | None = None
    ) -> None:
        super().__init__(name, shared_name)
        kinds = tuple(map(as_dtype, dtypes if isinstance(dtypes, list | tuple) else [dtypes]))
        try:
            self.spec = QueueSpec("Barrier", UNBOUNDED, kinds, co.shapes_given(shapes, len(kinds)))
        except DfcError as error:
            raise here(error, "Barrier") from None

    def make(self) -> Any:
        return make_queue(self.spec, self.shared_name or self.name)

    @property
    def requested(self) -> QueueSpec:
        return self.spec

    def described(self) -> str:
        return f"Barrier of {', '.join(f'{d}{co.sizes_text(s)}' for d, s in self._components)}"

    @property
    def _components(self) -> list[tuple[Any, co.Sizes]]:
        assert self.spec.shapes is not None, "a barrier has full shapes"
        return list(zip(self.spec.dtypes, self.spec.shapes, strict=True))

    @property
    def _barrier(self) -> Any:
        return self.live

    # ---- putting in

    def insert_many(self, component_index: int, keys: Operand, values: Operand, name: str | None = None) -> Operation:
        """Give the elements `keys`, n strings, their component `component_index`: `values` of shape [n, *shape]. All go
        in or none, and it never waits.

        Raises InvalidArgument for a key that has the component already, and Cancelled for new keys once the barrier is
        closed, for all once pending insertions are cancelled; for other shapes InvalidArgument, for other dtypes
        InvalidType.
        """
        try:
            component_index = self._checked_index(component_index)
            dtype, shape = self._components[component_index]
            trace = trace_of(self)
            if trace is None:
                arrays = (co.array_of(keys, string), co.array_of(values, dtype))
                self.wait(self._barrier.insert_many(component_index, *arrays), "insert_many")
                return Operation(None, None, f"{self.name}/insert_many")
            named, given = co.tensor_of(trace, keys, string), co.tensor_of(trace, values, dtype)
            _check_insertion(spec_of(named._type), spec_of(given._type), Spec(shape, dtype))  # type: ignore[arg-type]
        except DfcError as error:
            raise here(error, "insert_many") from None
        operands = (named._value, given._value)
        return self.effect(trace, ir.BarrierInsertMany, *operands, name=name, component=component_index)

    def _checked_index(self, index: int) -> int:
        last = len(self.spec.dtypes) - 1
        if isinstance(index, bool) or not isinstance(index, int | np.integer):
            raise InvalidType(f"component_index is an int, got {index!r}")
        if not 0 <= index <= last:
            raise InvalidArgument(f"The component ID is out of range: must be 0 to {last}, got {index}")
        return int(index)

    # ---- taking out

    def take_many(self, n: Operand, allow_small_batch: bool = False, name: str | None = None) -> Taken:
        """Take `n` complete elements, an integer or an integer scalar tensor: their indices (int64 [n]), their keys
        (string [n]) and a list of the components ([n, *shape] each). Waits until there are so many.

        Once the barrier is closed and so many can't become complete any more it raises OutOfRange; with
        `allow_small_batch` it takes what is complete, one element at least.
        """
        trace = trace_of(self)
        try:
            if isinstance(n, int | np.integer) and n < 0:
                raise InvalidArgument(f"the number of elements must not be negative, got {n}")
            if trace is None:
                attempt = self._barrier.take_many(co.whole(n, "n"), bool(allow_small_batch))
                return _grouped([to_tensor(array) for array in self.wait(attempt, "take_many")])
            count = co.whole_in(trace, n, int32, "n")
        except DfcError as error:
            raise here(error, "take_many") from None
        fixed = isinstance(n, int | np.integer) and not allow_small_batch
        size: Dim = int(n) if fixed else trace.program.fresh_dimension(self.name)
        components = (Spec((size, *shape), dtype) for dtype, shape in self._components)  # type: ignore[arg-type]
        attributes = {
            "results": (Spec((size,), int64), Spec((size,), string), *components),
            "small_batch": bool(allow_small_batch),
        }
        return _grouped(self.values(trace, ir.BarrierTakeMany, count, name=name, **attributes))

    # ---- the rest

    def close(self, cancel_pending_enqueues: bool = False, name: str | None = None) -> Operation:
        """Let no new keys in. Elements that are incomplete can still be completed, unless `cancel_pending_enqueues`
        drops them. Raises Cancelled where it is closed already, except to cancel after a plain close."""
        trace = trace_of(self)
        if trace is None:
            self.wait(self._barrier.close(cancel_pending_enqueues), "close")
            return Operation(None, None, f"{self.name}/close")
        return self.effect(trace, ir.QueueClose, name=name, cancel_pending=bool(cancel_pending_enqueues))

    def ready_size(self, name: str | None = None) -> Tensor:
        """The number of complete elements, int32."""
        return self._asked(ir.BarrierReadySize, "ready_size", np.int32, name)

    def incomplete_size(self, name: str | None = None) -> Tensor:
        """The number of elements that lack a component, int32."""
        return self._asked(ir.BarrierIncompleteSize, "incomplete_size", np.int32, name)

    def is_closed(self, name: str | None = None) -> Tensor:
        """Whether it is closed."""
        return self._asked(ir.QueueIsClosed, "is_closed", np.bool_, name)

    def _asked(self, cls: type[ir.QueueOp], method: str, dtype: Any, name: str | None) -> Tensor:
        trace = trace_of(self)
        if trace is None:
            return to_tensor(np.array(getattr(self._barrier, method)(), dtype))
        return self.values(trace, cls, name=name)[0]


def _check_insertion(keys: Spec, values: Spec, component: Spec) -> None:
    for what, got, wanted in (("keys", keys.dtype, string), ("values", values.dtype, component.dtype)):
        if got is not wanted:
            raise InvalidType(f"{what} must be {wanted}, got {got}")
    if len(keys.shape) != 1:
        raise InvalidArgument(f"keys must have one dimension, got shape {co.shown(keys.shape)}")
    wanted_shape = (*keys.shape, *component.shape)
    if not co.may_fit(values.shape, [d if isinstance(d, int) else None for d in wanted_shape]):
        raise InvalidArgument(f"values must have shape {co.shown(wanted_shape)}, got {co.shown(values.shape)}")


def _grouped(tensors: list[Tensor]) -> Taken:
    indices, keys, *values = tensors
    return indices, keys, values
