"""Queues: bounded, shared by any number of threads and steps, closed when nothing more comes (rows C3 to C12).

A method that names an operation checks its arguments and makes an attempt; `submit` or `wait` starts it. Elements
pass through as they are: a plain enqueue and dequeue neither copy nor wait for a device.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from dfc.errors import InvalidArgument, OutOfRange
from dfc.runtime.attempts import Attempt, Done, Immediate, Waitable, ignore
from dfc.runtime.barrier import Barrier
from dfc.runtime.batches import Array, Element, on_host, stack
from dfc.runtime.queue_operations import Close, CloseNow, Dequeue, DequeueMany, Enqueue, EnqueueMany, checked_count
from dfc.runtime.queue_spec import UNBOUNDED, QueueSpec
from dfc.runtime.stores import OrderedStore, ShuffledStore, Store


class Queue(Waitable):
    """Base of the queues: first in, first out, unless the store says otherwise.

    `name` is for errors. Attempts are served first come first served on each side; one that has begun is finished
    before a later one is looked at.
    """

    spec: QueueSpec
    can_pad: ClassVar[bool] = False

    def __init__(self, spec: QueueSpec, name: str = "") -> None:
        if spec.kind != type(self).__name__:
            raise InvalidArgument(f"a {type(self).__name__} can't be made from the description of a {spec.kind}")
        super().__init__(spec.kind, name)
        self.spec = spec
        self.limit = sys.maxsize if spec.capacity == UNBOUNDED else spec.capacity
        self.closed = False
        self.store = self._make_store()

    def _make_store(self) -> Store:
        return Store()

    def enqueue(self, components: Sequence[Any], done: Done = ignore) -> Attempt:
        """Put one element in. Completes with Cancelled once the queue is closed.

        Raises InvalidArgument for the wrong number or shapes of components, InvalidType for wrong dtypes.
        """
        element = list(components)
        self.spec.check(element)
        return Enqueue(self, element, done)

    def enqueue_many(self, components: Sequence[Any], done: Done = ignore) -> Attempt:
        """Put in the elements that the components hold along their first dimension, one by one as space appears: not
        at once, and what is in stays in if the rest is cancelled. Raises like `enqueue`."""
        n = self.spec.check_batch(components)
        if n == 0:
            return Immediate(self, done, "Enqueue")
        return EnqueueMany(self, [on_host(component) for component in components], n, done)

    def dequeue(self, done: Done = ignore) -> Attempt:
        """Take one element; its components are the result. Completes with OutOfRange once the queue is closed and
        empty."""
        return Dequeue(self, done)

    def dequeue_many(self, n: int, done: Done = ignore) -> Attempt:
        """Take `n` elements; the result has one NumPy array a component, the elements along its first dimension.

        Elements are collected as they come. Completes with OutOfRange, and gives them back, once the queue is closed
        with fewer than `n`. Raises InvalidArgument for `n` < 0 and where shapes are not known.
        """
        return self._dequeue_batch(n, "dequeue_many", False, done)

    def dequeue_up_to(self, n: int, done: Done = ignore) -> Attempt:
        """The same, but once the queue is closed it takes what there is, if that is at least one."""
        return self._dequeue_batch(n, "dequeue_up_to", True, done)

    def close(self, cancel_pending_enqueues: bool = False, done: Done = ignore) -> Attempt:
        """Let nothing more in. What is in can be taken.

        It waits behind pending enqueues, and completes with Aborted if the queue is closed by then; with
        `cancel_pending_enqueues` it completes at once, and pending enqueues with Cancelled.
        """
        return CloseNow(self, done) if cancel_pending_enqueues else Close(self, done)

    def size(self) -> int:
        """How many elements there are now, without those that an unfinished attempt has collected."""
        return len(self.store.items)

    def is_closed(self) -> bool:
        """Whether nothing more is let in."""
        return self.closed

    def check_shared(self, requested: QueueSpec) -> None:
        """Raise InvalidArgument unless `requested` describes this queue, for use under the same shared name."""
        self.spec.check_shared(requested, self.name)

    def batch(self, elements: Sequence[Element]) -> list[Array]:
        """The result of a dequeue of many."""
        assert self.spec.shapes is not None
        return stack(elements, self.spec.dtypes, self.spec.shapes)

    def shortage(self, requested: int, available: int) -> OutOfRange:
        """The error of a dequeue that can't be served any more."""
        return OutOfRange(
            f"{self} is closed and has insufficient elements (requested {requested}, current size {available})"
        )

    def _dequeue_batch(self, n: int, method: str, up_to: bool, done: Done) -> Attempt:
        if not self.can_pad and not self.spec.is_static:
            raise InvalidArgument(
                f"{self.kind}'s dequeue_many and dequeue_up_to require the components to have specified shapes, got "
                f"{'no shapes' if self.spec.shapes is None else self.spec.shapes}",
                hint="give the queue its shapes; a PaddingFIFOQueue pads the sizes that are None",
            )
        n = checked_count(n, method)
        if n == 0:
            return Immediate(self, done, "Dequeue", self.batch([]))
        if self.store.at_once and not up_to and n > self.limit:
            raise InvalidArgument(
                f"{method} of a {self.kind} waits until all elements are there: n must be at most the capacity, "
                f"{self.limit}, got {n}"
            )
        return DequeueMany(self, n, up_to, done)


class FIFOQueue(Queue):
    """First in, first out."""


class RandomShuffleQueue(Queue):
    """Gives any of its elements, each as likely as the others. `min_after_dequeue` stay in until it is closed. Equal
    seeds and equal calls give equal orders."""

    def _make_store(self) -> Store:
        return ShuffledStore(self.spec.min_after_dequeue, self.spec.seed)


class PaddingFIFOQueue(Queue):
    """First in, first out; sizes that are None may differ, and a batch is padded with zeros, or empty strings, to the
    largest in it."""

    can_pad = True


class PriorityQueue(Queue):
    """Smallest priority first, the first component, an int64 scalar; equal ones in order of arrival."""

    def _make_store(self) -> Store:
        return OrderedStore()

    def enqueue(self, components: Sequence[Any], done: Done = ignore) -> Attempt:
        self.spec.check(components)
        priority, *rest = components
        return Enqueue(self, [on_host(priority), *rest], done)


KINDS: dict[str, type[Queue] | type[Barrier]] = {
    kind.__name__: kind for kind in (FIFOQueue, RandomShuffleQueue, PaddingFIFOQueue, PriorityQueue, Barrier)
}


def make_queue(spec: QueueSpec, name: str = "") -> Queue | Barrier:
    """A new, empty queue of the kind that `spec` names."""
    return KINDS[spec.kind](spec, name)
