"""Stacks of a step: what loops keep of each iteration (spec rows F16, F17).

A stack may move elements to the host's memory while the device's is short, by the session's own account
(`runtime/memory.py`): the oldest first, since the newest are taken first; but never the first element, which a loop
over it may be about to take in the end, nor what is the same buffer.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from dfc.backends import xla
from dfc.errors import InvalidArgument, ResourceExhausted
from dfc.ir.op import short_name
from dfc.ir.ops import dataflow as fl
from dfc.ir.types import Spec
from dfc.passes.capacities import FULL, WORTH_SWAPPING
from dfc.runtime.flow import HostOp, Values, is_computed, on_host
from dfc.runtime.host import Binding, maker, simple, where_of
from dfc.runtime.in_thread import InThread
from dfc.runtime.memory import Account, Held
from dfc.runtime.queue_calls import checked


class Element:
    """One tensor on a stack."""

    __slots__ = ("device", "held", "nbytes", "value")

    def __init__(self, value: Any, held: Held | None) -> None:
        self.value, self.held, self.nbytes = value, held, int(value.nbytes)
        self.device: Any = None
        """Where it was, if it has gone to the host."""

    @property
    def is_on_device(self) -> bool:
        return not isinstance(self.value, np.ndarray)


class StepStack:
    """A stack that a step has made, closed with the step. May be used from any thread."""

    def __init__(self, label: str, max_size: int, swap: bool, account: Account, where: str = "") -> None:
        self.label, self.max_size, self.swap, self.where = label, max_size, swap, where
        self._account = account
        self._lock = threading.Lock()
        self._elements: list[Element] = []
        self._closed = False
        self._oldest = 1
        """The first element that may be moved to the host: those before it were, or stay."""

    def __len__(self) -> int:
        return len(self._elements)

    def __repr__(self) -> str:
        return f"<stack {self.label!r} of {len(self)}>"

    @property
    def n_swapped(self) -> int:
        """How many elements are in the host's memory that came from a device."""
        return sum(element.device is not None for element in self._elements)

    def push(self, value: Any, where: str = "") -> None:
        """Put a tensor on top. Raises InvalidArgument for a stack that is full or closed, ResourceExhausted where the
        device's memory is."""
        with self._lock:
            self._check_open()
            if 0 <= self.max_size <= len(self._elements):
                raise InvalidArgument(f"Stack[{self.label}] overflowed its max_size ({self.max_size})")
            held = None
            if not isinstance(value, np.ndarray) and not self._has(value):
                nbytes = int(value.nbytes)
                if self.swap and nbytes > WORTH_SWAPPING:
                    self._make_room(nbytes)
                held = self._account.take(nbytes, f"an element of stack {self.label!r}", where or self.where)
            self._elements.append(Element(value, held))

    def pop(self) -> Any:
        """Take the top. Raises InvalidArgument for a stack that is empty or closed."""
        with self._lock:
            self._check_open()
            if not self._elements:
                raise InvalidArgument(f"Stack[{self.label}] is empty when calling Pop().")
            element = self._elements.pop()
            self._let_go(element)
            if self.swap:
                self._bring_back()
            return element.value

    def take_all(self) -> list[Any]:
        """Take all elements, the oldest first."""
        with self._lock:
            self._check_open()
            elements, self._elements, self._oldest = self._elements, [], 1
            for element in elements:
                self._let_go(element)
            return [element.value for element in elements]

    def close(self) -> None:
        """Give up what is on it. Again it is nothing."""
        with self._lock:
            self._closed = True
            elements, self._elements = self._elements, []
            for element in elements:
                self._let_go(element)

    def close_by_user(self) -> None:
        """As `close`. Raises InvalidArgument for a stack that is closed."""
        with self._lock:
            self._check_open()
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidArgument(f"Stack[{self.label}] has already been closed.")

    def _has(self, value: Any) -> bool:
        """Whether the buffer is on the stack already, as it is where a loop pushes what it does not change."""
        elements = self._elements
        return bool(elements) and (elements[-1].value is value or elements[0].value is value)

    def _let_go(self, element: Element) -> None:
        if element.held is not None:
            self._account.give_back(element.held)
            element.held = None

    # ---- swapping

    def _make_room(self, nbytes: int) -> None:
        """Move the oldest elements to the host until the device is not full, or there is none to move."""
        elements = self._elements
        first = elements[0].value if elements else None
        while self._oldest < len(elements) and self._account.is_fuller_than(FULL, nbytes):
            element = elements[self._oldest]
            self._oldest += 1
            if element.is_on_device and element.value is not first and element.nbytes > WORTH_SWAPPING:
                element.device = next(iter(element.value.devices()))
                element.value = np.array(xla.to_numpy(element.value))
                self._let_go(element)

    def _bring_back(self) -> None:
        """Move the most recent element that was moved to the host back, if there is room."""
        self._oldest = max(1, min(self._oldest, len(self._elements)))
        for index in range(self._oldest - 1, 0, -1):
            element = self._elements[index]
            if element.device is None:
                continue
            if not self._account.is_fuller_than(FULL, element.nbytes):
                with suppress(ResourceExhausted):  # another step has taken the room meanwhile
                    element.held = self._account.take(element.nbytes, f"an element of stack {self.label!r}", self.where)
                if element.held is None:
                    return
                element.value, element.device = xla.to_device(element.value, element.device), None
                self._oldest = index
            return


# ---- ops


@maker(fl.Stack)
def stack(op: fl.Stack, binding: Binding) -> HostOp:
    label, swap, where = op.label.data, op.swap_memory.data, where_of(op)

    def make(kept: Any, values: Values, over: Any) -> Sequence[Any]:
        made = StepStack(label, int(on_host(values[0])), swap, binding.memory, where)
        kept.add(made)
        return (made,)

    return HostOp(short_name(op), where, step=make)


@maker(fl.StackPush)
def stack_push(op: fl.StackPush, binding: Binding) -> HostOp:
    where = where_of(op)

    def push(values: Values) -> Sequence[Any]:
        values[0].push(values[1], where)
        return (values[1],)

    return simple(op, push)


@maker(fl.StackPop)
def stack_pop(op: fl.StackPop, binding: Binding) -> HostOp:
    check = checked(op.element.data)
    return simple(op, lambda values: check([values[0].pop()]))


@maker(fl.StackPack)
def stack_pack(op: fl.StackPack, binding: Binding) -> HostOp:
    (spec,), reverse = op.element.data, op.reverse.data

    def step(kept: Any, values: Values, over: Any) -> Any:
        rows = values[0].take_all()
        if reverse:
            rows.reverse()
        length = int(on_host(values[1]))
        if all(map(is_computed, rows)):
            return (_packed(rows, length, spec),)
        return InThread(lambda: (_packed(rows, length, spec),), over)

    return HostOp(short_name(op), where_of(op), step=step)


def _packed(rows: list[Any], length: int, spec: Spec) -> np.ndarray[Any, Any]:
    if length < 0:
        length = 1 << max(0, len(rows) - 1).bit_length()
    if len(rows) > length:
        raise InvalidArgument(f"there are {len(rows)} rows, and room for {length}")
    arrays = [on_host(row) for row in rows]
    shapes = list(dict.fromkeys(a.shape for a in arrays))
    if len(shapes) > 1:
        raise InvalidArgument(f"rows must be of one shape, got {' and '.join(map(str, shapes))}")
    shape = shapes[0] if shapes else tuple(size if isinstance(size, int) else 0 for size in spec.shape)
    packed = np.zeros((length, *shape), spec.dtype.numpy)
    if packed.dtype == object:
        packed.fill(b"")
    for index, array in enumerate(arrays):
        packed[index] = array
    return packed


@maker(fl.StackClose)
def stack_close(op: fl.StackClose, binding: Binding) -> HostOp:
    def close(values: Values) -> Sequence[Any]:
        values[0].close_by_user()
        return ()

    return simple(op, close)
