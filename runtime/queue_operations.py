"""What is done to queues: one kind of attempt for each operation.

A step that changes anything computes first, looks whether the attempt is still wanted, stores what it did, and calls
one function written in C at the end: see `runtime/attempts.py` for why.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import TYPE_CHECKING, Any

from dfc.errors import Aborted, Cancelled, DfcError, InvalidArgument
from dfc.runtime.attempts import CANCELLED, COMPLETED, PUTS, TAKES, URGENT, WAITING, Attempt, Done
from dfc.runtime.batches import Array, Element, row
from dfc.runtime.stores import Item

if TYPE_CHECKING:
    from dfc.runtime.queues import Queue


def checked_count(n: int, what: str) -> int:
    """`n` as an int. Raises InvalidArgument below 0."""
    if index(n) < 0:
        raise InvalidArgument(f"{what} needs a number of elements that is 0 or more, got {n}")
    return index(n)


class Enqueue(Attempt):
    """See `Queue.enqueue`."""

    __slots__ = ("element",)
    operation = "Enqueue"
    line = PUTS
    single = True
    owner: Queue

    def __init__(self, owner: Queue, element: Element, done: Done) -> None:
        super().__init__(owner, done)
        self.element = element

    def step(self) -> bool:
        owner = self.owner
        store = owner.store
        if owner.closed:
            self.fail(Cancelled(f"{owner} is closed."))
            return True
        if len(store.items) >= owner.limit:
            return False
        item = store.item(self.element)
        if self.state == WAITING:
            self.state = COMPLETED
            store.insert(item)
        return True


class EnqueueMany(Attempt):
    """See `Queue.enqueue_many`."""

    __slots__ = ("batch", "n", "n_put")
    operation = "Enqueue"
    line = PUTS
    owner: Queue

    def __init__(self, owner: Queue, batch: list[Array], n: int, done: Done) -> None:
        super().__init__(owner, done)
        self.batch, self.n, self.n_put = batch, n, 0

    def step(self) -> bool:
        owner, before = self.owner, self.n_put
        store = owner.store
        if owner.closed:
            self.fail(Cancelled(f"{owner} is closed."))
            return True
        while self.n_put < self.n and len(store.items) < owner.limit:
            item = store.item(row(self.batch, self.n_put))
            if self.state != WAITING:
                break
            self.n_put += 1
            store.insert(item)
        if self.n_put == self.n and self.state == WAITING:
            self.state = COMPLETED
        return self.n_put > before


class Dequeue(Attempt):
    """See `Queue.dequeue`."""

    __slots__ = ()
    operation = "Dequeue"
    line = TAKES
    single = True
    owner: Queue

    def step(self) -> bool:
        owner = self.owner
        store = owner.store
        if len(store.items) > store.held_back:
            found = store.front()
            if self.state == WAITING:
                self.result = found[-1]
                self.state = COMPLETED
                store.remove()
            return True
        if owner.closed:
            self.fail(owner.shortage(1, 0))
            return True
        return False


class DequeueMany(Attempt):
    """See `Queue.dequeue_many` and `dequeue_up_to`."""

    __slots__ = ("n", "taken", "up_to")
    operation = "Dequeue"
    line = TAKES
    collects = True
    owner: Any

    def __init__(self, owner: Any, n: int, up_to: bool, done: Done) -> None:
        super().__init__(owner, done)
        self.n, self.up_to = n, up_to
        self.taken: list[Item] = []

    def step(self) -> bool:
        owner = self.owner
        if owner.closed:
            available = len(self.taken) + len(owner.store.items)
            if available < self.n:
                if not self.up_to or available == 0:
                    return self.fail_short(available)
                self.n = available
        return self.collect()

    def collect(self) -> bool:
        """Take what may be taken, up to `n`."""
        store, before = self.owner.store, len(self.taken)
        if store.at_once and before + len(store.items) < self.n:
            return False
        while len(self.taken) < self.n and len(store.items) > store.held_back:
            found = store.front()
            if self.state != WAITING:
                break
            self.taken += (found,)
            store.remove()
        if len(self.taken) == self.n and self.state == WAITING:
            self.state = COMPLETED
        return len(self.taken) > before

    def fail_short(self, available: int) -> bool:
        """Complete because there is not enough, and give back what is there."""
        back = self.undo()
        error = self.owner.shortage(self.n, available)
        if self.state == WAITING:
            self.error = error
            self.state = COMPLETED
            if back is not None:
                back()
        self.taken = []
        return True

    def undo(self) -> Callable[[], object] | None:
        if not self.taken:
            return None
        back: Callable[[], object] = self.owner.store.returning(self.taken)
        return back

    def withdraw(self, error: DfcError) -> None:
        super().withdraw(error)
        if self.state == CANCELLED:
            self.taken = []

    def assemble(self) -> None:
        if self.error is None and self.result is None:
            self.result = self.owner.batch([item[-1] for item in self.taken])
            self.taken = []


class Close(Attempt):
    """See `Queue.close`."""

    __slots__ = ()
    operation = "Close"
    line = PUTS
    owner: Queue

    def step(self) -> bool:
        owner = self.owner
        if owner.closed:
            self.fail(Aborted(f"{owner} is already closed."))
        elif self.state == WAITING:
            owner.closed = True
            owner.store.held_back = 0
            self.state = COMPLETED
        return True


class CloseNow(Attempt):
    """See `Queue.close`: it doesn't wait, and cancels what does."""

    __slots__ = ()
    operation = "Close"
    line = URGENT
    owner: Queue

    def step(self) -> bool:
        owner = self.owner
        if self.state == WAITING:
            owner.closed = True
            owner.store.held_back = 0
            self.state = COMPLETED
        for pending in list(owner.lines[PUTS]):  # interrupted here, they are still cancelled, by their own steps
            if not isinstance(pending, Close):
                pending.fail(Cancelled("Enqueue operation was cancelled"))
            elif pending.state == WAITING:  # it has what it wanted
                pending.state = COMPLETED
        return True
