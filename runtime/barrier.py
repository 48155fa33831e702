"""Barriers: elements whose components come one at a time, by key, and that can be taken once they are complete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dfc.errors import Cancelled, DfcError, InvalidArgument, InvalidType, OutOfRange
from dfc.ir.dtypes import int64, string
from dfc.runtime.attempts import COMPLETED, PUTS, WAITING, Attempt, Done, Immediate, Waitable, ignore
from dfc.runtime.batches import Array, Element, on_host, stack
from dfc.runtime.queue_operations import DequeueMany, checked_count
from dfc.runtime.queue_spec import QueueSpec, fits_shape
from dfc.runtime.stores import OrderedStore

FIRST_INDEX = -(2**63)
_MISSING: Any = object()


class Barrier(Waitable):
    """Completes elements by key. `spec.dtypes` and `spec.shapes` are those of an element's values.

    Complete elements come out in the order in which their keys were first inserted. Each insertion that brings new keys
    gives them the next index, counted from -2**63.
    """

    def __init__(self, spec: QueueSpec, name: str = "") -> None:
        if spec.kind != "Barrier":
            raise InvalidArgument(f"a Barrier can't be made from the description of a {spec.kind}")
        super().__init__(spec.kind, name)
        self.spec = spec
        self.store = OrderedStore()
        self.incomplete: dict[bytes, Element] = {}  # by key: index, key, values or _MISSING
        self.next_index = FIRST_INDEX
        self.closed = False
        self.cancelled = False

    def insert_many(self, component_index: int, keys: Any, values: Any, done: Done = ignore) -> Attempt:
        """Give the elements `keys`, strings of shape [n], their component number `component_index`: `values`, of shape
        [n, ...]. Never waits; puts in all or nothing.

        Completes with InvalidArgument where a key has that component already, and with Cancelled once the barrier is
        closed: for new keys, or for all if insertions are cancelled. Raises InvalidArgument for wrong shapes and
        InvalidType for wrong dtypes.
        """
        n_components = len(self.spec.dtypes)
        if not 0 <= component_index < n_components:
            raise InvalidArgument(
                f"The component ID is out of range: must be 0 to {n_components - 1}, got {component_index}"
            )
        keys, values = on_host(keys), on_host(values)
        dtype, shape = self.spec.expected[component_index]
        for what, array, wanted in (("keys", keys, string.numpy), ("values", values, dtype)):
            if array.dtype != wanted:
                raise InvalidType(f"{what} must be {wanted}, got {array.dtype}")
        assert shape is not None
        if keys.ndim != 1:
            raise InvalidArgument(f"keys must have one dimension, got shape {keys.shape}")
        if not fits_shape(values.shape, (len(keys), *shape)):
            raise InvalidArgument(f"values must have shape {(len(keys), *shape)}, got {values.shape}")
        return InsertMany(self, component_index, keys.tolist(), values, done)

    def take_many(self, n: int, allow_small_batch: bool = False, done: Done = ignore) -> Attempt:
        """Take `n` complete elements: indices (int64 [n]), keys (string [n]) and each component ([n, ...]).

        Completes with OutOfRange once the barrier is closed and so many can't become complete any more. With
        `allow_small_batch` it takes what is complete when the barrier is closed, if that is at least one; where nothing
        is, one made before the close waits for what may be completed, one made later completes with OutOfRange.
        """
        n = checked_count(n, "take_many")
        if n == 0:
            return Immediate(self, done, "Dequeue", self.batch([]))
        return TakeMany(self, n, allow_small_batch, done)

    def close(self, cancel_pending_enqueues: bool = False, done: Done = ignore) -> Attempt:
        """Let no new keys in. Those that are incomplete can still be completed, unless `cancel_pending_enqueues` drops
        them. Completes with Cancelled if the barrier is closed already, except to cancel after a plain close."""
        return CloseBarrier(self, cancel_pending_enqueues, done)

    def ready_size(self) -> int:
        """How many elements are complete."""
        return len(self.store.items)

    def incomplete_size(self) -> int:
        """How many elements lack a component."""
        return len(self.incomplete)

    def is_closed(self) -> bool:
        """Whether no new keys are let in."""
        return self.closed

    def check_shared(self, requested: QueueSpec) -> None:
        """Raise InvalidArgument unless `requested` describes this barrier, for use under the same shared name."""
        self.spec.check_shared(requested, self.name)

    def batch(self, elements: Sequence[Element]) -> list[Array]:
        """The result of taking `elements`."""
        assert self.spec.shapes is not None
        return stack(elements, (int64, string, *self.spec.dtypes), ((), (), *self.spec.shapes))

    def shortage(self, requested: int, available: int) -> OutOfRange:
        """The error of a take that can't be served any more."""
        return OutOfRange(
            f"{self} is closed and has insufficient elements (requested {requested}, total size {available})"
        )


class InsertMany(Attempt):
    """See `Barrier.insert_many`."""

    __slots__ = ("component", "index", "keys", "n_put", "values")
    operation = "Insert"
    line = PUTS
    owner: Barrier

    def __init__(self, owner: Barrier, component: int, keys: list[bytes], values: Array, done: Done) -> None:
        super().__init__(owner, done)
        self.component, self.keys, self.values = component, keys, values
        self.index: Array | None = None  # of its new keys, once it is clear that all can go in
        self.n_put = 0

    def step(self) -> bool:
        if self.index is None:
            error = self._refusal()
            if error is not None:
                self.fail(error)
                return True
            self.index = np.array(self.owner.next_index, np.int64)
        while self.n_put < len(self.keys):
            if self.state != WAITING:
                return True
            self._put(self.keys[self.n_put], self.values[self.n_put, ...])
        if self.state == WAITING:
            self.state = COMPLETED
        return True

    def _refusal(self) -> DfcError | None:
        """Why not all can go in."""
        barrier, seen = self.owner, set[bytes]()
        if barrier.cancelled:
            return Cancelled(f"{barrier} is closed, and pending insertions are cancelled.")
        for key in self.keys:
            element = barrier.incomplete.get(key)
            if element is None and barrier.closed:
                return Cancelled(f"{barrier} is closed, but attempted to insert a brand new key: {key!r}")
            if key in seen or (element is not None and element[2 + self.component] is not _MISSING):
                return InvalidArgument(f"Key {key!r} already has a value for component {self.component} in {barrier}")
            seen.add(key)
        return None

    def _put(self, key: bytes, value: Array) -> None:
        """Put one in. What changes anything comes last, and calls nothing but what is written in C, at the end."""
        barrier, element = self.owner, self.owner.incomplete.get(key)
        if element is None:
            boxed = np.empty((), object)
            boxed[()] = key
            whole = [self.index, boxed, *[_MISSING] * len(barrier.spec.dtypes)]
        else:
            whole = list(element)
        whole[2 + self.component] = value
        following = max(barrier.next_index, int(whole[0]) + 1)
        item = None if any(entry is _MISSING for entry in whole) else barrier.store.item(whole)
        if self.state != WAITING:
            return
        barrier.next_index = following
        self.n_put += 1
        if item is None:
            barrier.incomplete[key] = whole
        else:
            if element is not None:
                del barrier.incomplete[key]
            barrier.store.insert(item)


class TakeMany(DequeueMany):
    """See `Barrier.take_many`."""

    __slots__ = ("early",)
    owner: Barrier

    def __init__(self, owner: Barrier, n: int, up_to: bool, done: Done) -> None:
        super().__init__(owner, n, up_to, done)
        self.early = not owner.closed

    def step(self) -> bool:
        barrier = self.owner
        ready, coming = len(self.taken) + len(barrier.store.items), len(barrier.incomplete)
        if barrier.closed and self.up_to and ready < self.n:
            if ready:
                self.n = ready
            elif not coming or not self.early:  # who came before the close waits for what may be completed
                return self.fail_short(ready)
        elif barrier.closed and ready + coming < self.n:
            return self.fail_short(ready + coming)
        return self.collect()


class CloseBarrier(Attempt):
    """See `Barrier.close`."""

    __slots__ = ("cancels",)
    operation = "Close"
    line = PUTS
    single = True
    owner: Barrier

    def __init__(self, owner: Barrier, cancels: bool, done: Done) -> None:
        super().__init__(owner, done)
        self.cancels = cancels

    def step(self) -> bool:
        barrier = self.owner
        if barrier.closed and (barrier.cancelled or not self.cancels):
            self.fail(Cancelled(f"{barrier} is already closed."))
        elif self.state == WAITING:
            barrier.closed = True
            if self.cancels:
                barrier.cancelled = True
                self.state = COMPLETED
                barrier.incomplete.clear()
            else:
                self.state = COMPLETED
        return True
