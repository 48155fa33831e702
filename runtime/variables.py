"""Variables while a program runs: who holds a value, and how many threads may share it.

Variables that one step uses live together in a `Holder`, a list of buffers behind one lock: a step takes the list,
dispatches and stores the new list, all under that one lock, because a lock and a cell a variable costs 1.2 to 1.3
times a bare call (measured). Holders form at a step's first call by moving whole older holders into a new one.

What holds at every moment, a KeyboardInterrupt included: the buffers of a live holder are the variables' values. A
donated buffer is given up and its successor stored with no bytecode between at which Python looks for signals; where
the store is more than one assignment, the successors wait in `Holder.pending` until the next one to take the lock has
put them in place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfc.backends import xla
from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType

if TYPE_CHECKING:
    from dfc.ir.types import Spec

Array = NDArray[Any]
Buffer = Any
"""A `jax.Array` on a device or a mesh. Only `dfc.backends` imports jax, so types here can't say so."""
Device = Any
"""A `jax.Device`, or a `Mesh` of them."""
RESTORE = "assign it a value or restore a checkpoint"
APART = 4
"""A step takes the locks of so many holders rather than make one of them: each costs it about 1 us."""


class Lost(NamedTuple):
    """Stands in a slot whose buffer a failed step had donated."""

    step: str
    reason: str


class Transfer:
    """The new values of a step that writes to several holders, stored here by one assignment."""

    __slots__ = ("new",)

    def __init__(self) -> None:
        self.new: list[Any] | None = None


class Holder:
    """The buffers of variables that are used together. A slot is a `jax.Array`, None before it has a value, or Lost.

    Everything but `lock` is read and written with `lock` held. `attention` says that the holder has moved, has
    something pending or is `busy`, so that the usual case costs one test.

    The thread that has the lock may come again, in a signal handler or a finaliser that runs meanwhile: waiting for
    itself would be for ever. Reads are then served, since the buffers are the values at every moment; writes are
    refused (`reentered`), since the code below goes on with what it took. The hot path need not look: while it has
    the lock, nothing in it lets a signal handler run.
    """

    __slots__ = (
        *("acquired", "attention", "buffers", "busy", "lock", "moved", "pending", "pending_at", "programs", "release"),
        "shared",
    )

    def __init__(self, buffers: list[Any]) -> None:
        self.buffers = buffers
        self.lock = threading.RLock()
        # `for _ in acquired: try: ... finally: release()` is `with lock` at a third of its cost, on the hot path. Like
        # `with` it cannot be interrupted between taking the lock and the `try`: FOR_ITER does not look for signals.
        self.acquired, self.release = iter(self.lock.acquire, False), self.lock.release
        self.attention = False
        self.busy = False
        self.moved: tuple[Holder, list[int]] | None = None
        self.pending: list[Any] | None = None
        self.pending_at: Sequence[int] = ()
        self.shared: tuple[Transfer, list[tuple[int, int]]] | None = None
        self.programs = 0
        """How many programs have found their variables here."""

    def expect_shared(self, transfer: Transfer, pairs: list[tuple[int, int]]) -> None:
        """Announce that of what a transfer gets next, for several holders at once, each (slot, index) pair is ours."""
        self.shared = (transfer, pairs)
        self.attention = True

    def expect(self, positions: Sequence[int]) -> None:
        """Announce that what is stored to `pending` next belongs to these slots."""
        self.pending, self.pending_at = None, positions
        self.attention = True

    def settle(self) -> bool:
        """Put pending buffers in place and say whether the holder may be used: not once it has moved. Interrupted, it
        is simply done again."""
        if self.moved is not None:
            return False
        if self.pending is not None:
            for position, buffer in zip(self.pending_at, self.pending, strict=True):
                self.buffers[position] = buffer
            self.pending = None
        if self.shared is not None:
            transfer, pairs = self.shared
            if transfer.new is not None:
                for position, index in pairs:
                    self.buffers[position] = transfer.new[index]
            self.shared = None
        self.attention = self.busy
        return True

    def is_owned(self) -> bool:
        """Whether this thread has the lock."""
        return is_owned(self.lock)

    def reentered(self, what: str) -> FailedPrecondition:
        """The error for a write by the thread that has the lock already."""
        return FailedPrecondition(
            f"{what} was called from a signal handler or a finaliser that interrupted a call on the same variables",
            hint="reading variables is possible there; to change them, set a flag that the main program looks at",
        )


def is_owned(lock: Any) -> bool:
    """Whether this thread has an RLock: what `threading.Condition` asks it."""
    return bool(lock._is_owned())


_joining = threading.RLock()
_initialising = threading.RLock()  # one for all: initial values may use other variables, and a cycle must not deadlock


class VariableState:
    """A variable's value on a device or a mesh: name, spec (static shape and dtype), and its place in a holder.

    `initial` is an array (its value now is kept, uploaded at first use), a function of no arguments that returns one
    (called at first use, once, whatever the number of threads), or None for a variable to be assigned first. All
    methods may be called from any thread. Raises InvalidArgument and InvalidType where a value does not fit `spec`.
    """

    is_offloaded: ClassVar[bool] = False
    """Whether the value lives in the host's memory."""

    def __init__(
        self,
        name: str,
        spec: Spec,
        initial: Array | Buffer | Callable[[], Any] | None,
        trainable: bool = True,
        device: Device | Callable[[], Device] | None = None,
        hint: str = RESTORE,
    ) -> None:
        self.hint = hint
        self._settled = False
        self._slot: tuple[Holder, int] = (Holder([None]), 0)
        self.name, self.spec, self.trainable, self._device = name, spec, trainable, device
        self._layout: Any = None
        self._initial: Any = initial
        if initial is not None and not callable(initial):
            self._check(initial)
            self._initial = own_array(initial)

    def __del__(self) -> None:
        # No lock: a finaliser may run inside code that holds it; and nobody else uses the slot of a variable that is
        # gone.
        slot = getattr(self, "_slot", None)
        if slot is not None:
            holder, index = self.locate()
            holder.buffers[index] = None

    def __repr__(self) -> str:
        return f"VariableState({self.name!r}, {self.spec})"

    @property
    def device(self) -> Device:
        """Where the value lives; JAX's default device unless one was given."""
        if self._device is None:
            self._device = xla.default_device()
        elif not hasattr(self._device, "platform"):
            self._device = self._device()
        return self._device

    @property
    def is_settled(self) -> bool:
        """Whether the value stays where it is, since there are programs that have it there."""
        return self._settled

    def settle(self, device: Device, layout: Any = None) -> None:
        """Live on this device from now on, on a mesh laid out so: see `dfc.runtime.placing.lower`. Raises
        FailedPrecondition where it lives on that mesh divided in another way."""
        layout = layout or device
        if self._settled:
            if self.device is device and not self._lies(layout):
                raise FailedPrecondition(
                    f"variable {self.name!r} lives divided {self.layout}, and the program was made for {layout}",
                    hint="call dfc.shard right after the variable is made",
                )
            return
        if self.device is not device or layout is not device:
            self._move(device, layout)
        self._settled = True

    def _lies(self, layout: Any) -> bool:
        """Whether each device of the variable's mesh has what it has in this layout."""
        shape, mine = tuple(map(int, self.spec.shape)), self.layout
        return layout is mine or layout.pieces(shape) == mine.pieces(shape)

    def _move(self, device: Device, layout: Any) -> None:
        with self._locked() as (holder, index):
            found = holder.buffers[index]
            if found is not None and not isinstance(found, Lost):
                holder.buffers[index] = xla.transfer(found, layout)
            self._device, self._layout = device, layout

    @property
    def layout(self) -> Any:
        """Where and how the value lies: on the device, or divided in a way on a mesh."""
        return self._layout or self.device

    @property
    def is_initialized(self) -> bool:
        """Whether the variable has a value, or an array to take it from."""
        with self._locked() as (holder, index):
            found = holder.buffers[index]
        return not isinstance(found, Lost) and (found is not None or isinstance(self._initial, np.ndarray))

    def read(self) -> Buffer:
        """A copy of the value on the device, not awaited: a later step's donation does not touch it."""
        while True:
            with self._locked() as (holder, index):
                found = holder.buffers[index]
                if found is not None and not isinstance(found, Lost):
                    try:
                        return xla.copy(found)
                    except FailedPrecondition:
                        if holder.buffers[index] is found:
                            raise
                        continue  # a signal handler has run a step meanwhile
            if found is not None:
                raise self.lost(found)
            self.initialize()

    @property
    def buffer(self) -> Any:
        """What is in the slot now: a buffer that a step may take at any moment, None or Lost. For those who only wait
        for it."""
        holder, index = self.locate()
        return holder.buffers[index]

    def numpy(self) -> Array:
        """The value as a NumPy array that owns its memory, once it is computed.

        Raises FailedPrecondition where the step that should have computed it failed.
        """
        initial = self._initial
        with self._locked() as (holder, index):
            found = holder.buffers[index]
        if found is None and isinstance(initial, np.ndarray):  # no need to start a device for that
            return initial.copy()
        copied = self.read()
        try:
            return xla.to_numpy(copied)
        except Exception as error:
            raise FailedPrecondition(
                f"the value of variable {self.name!r} is lost: the step that wrote it failed "
                f"({str(error).partition(chr(10))[0]})",
                hint=RESTORE,
            ) from error

    def assign(self, value: Any) -> None:
        """Set the value from an array of the variable's shape and dtype, which is copied."""
        while True:
            layout = self.layout
            buffer = self._upload(value, layout)
            holder, _ = self.locate()
            if holder.is_owned():
                raise holder.reentered(f"assigning variable {self.name!r}")
            with self._locked() as (holder, index):
                if self.layout is layout:  # it may have moved meanwhile
                    holder.buffers[index] = buffer
                    break
        self._initial = None

    def initialize(self) -> None:
        """Give the variable its initial value unless it has a value. Raises FailedPrecondition without an initial
        value, or where computing it needs the variable itself."""
        if self._has_value():
            return
        with _initialising:
            if self._initial is _RUNNING:
                raise FailedPrecondition(f"the initial value of variable {self.name!r} needs the variable itself")
            initial = self._initial
            if initial is None:
                if self._has_value():  # another thread was first
                    return
                raise FailedPrecondition(f"Attempting to use uninitialized value {self.name!r}", hint=self.hint)
            self._initial = _RUNNING
            try:
                self._begin_with(initial() if callable(initial) else initial)
            except BaseException:
                self._initial = initial
                raise
            self._initial = None

    def _has_value(self) -> bool:
        """Whether something is in the variable's slot."""
        with self._locked() as (holder, index):
            return holder.buffers[index] is not None

    def _begin_with(self, value: Any) -> None:
        """Make this the value, unless one was assigned meanwhile."""
        while True:
            layout = self.layout
            buffer = self._upload(value, layout)
            with self._locked() as (holder, index):
                if holder.buffers[index] is not None:
                    return
                if self.layout is layout:  # it may have moved meanwhile
                    holder.buffers[index] = buffer
                    return

    def lost(self, found: Lost) -> FailedPrecondition:
        """The error for the use of a variable whose slot says that it is lost."""
        return FailedPrecondition(
            f"the value of variable {self.name!r} is lost: step {found.step!r} failed after it had taken the "
            f"variable's memory ({found.reason})",
            hint=RESTORE,
        )

    def locate(self) -> tuple[Holder, int]:
        """The variable's holder and its index there. Only a lock makes that last: check `holder.moved` under it."""
        holder, index = self._slot
        if holder.moved is not None:
            while holder.moved is not None:
                holder, positions = holder.moved
                index = positions[index]
            self._slot = (holder, index)  # one store, so that threads see old pairs or new ones
        return holder, index

    @contextmanager
    def _locked(self) -> Iterator[tuple[Holder, int]]:
        while True:
            holder, index = self.locate()
            with holder.lock:
                if not holder.attention or holder.settle():
                    yield holder, index
                    return

    def _check(self, value: Any) -> None:
        spec, dtype, shape = self.spec, np.dtype(value.dtype), tuple(value.shape)
        if dtype != spec.dtype.numpy:
            raise InvalidType(f"variable {self.name!r} holds {spec}, got dtype {dtype}", hint="convert the value first")
        if shape != spec.shape:
            raise InvalidArgument(f"variable {self.name!r} holds {spec}, got shape {shape}")

    def _upload(self, value: Any, layout: Any) -> Buffer:
        if not _is_device_array(value):
            value = np.asarray(value)
        self._check(value)
        return xla.transfer(value, layout) if _is_device_array(value) else xla.to_device(value, layout)


class StandIn(VariableState):
    """What a step writes to in the place of a variable to which it only gives values, wherever that is when it does.
    Whoever runs the step calls `hand_over` then."""

    def __init__(self, state: VariableState) -> None:
        super().__init__(state.name, state.spec, None, state.trainable, hint=state.hint)
        self._state, self._giving = state, threading.RLock()

    def hand_over(self) -> None:
        """Give the variable what has been written, once another thread has that does the same."""
        with self._giving:
            with self._locked() as (holder, index):
                found, holder.buffers[index] = holder.buffers[index], None
            if found is not None and not isinstance(found, Lost):
                self._state.assign(found)


class _Running:
    """Marks a variable whose initial function is being called."""


_RUNNING = _Running()


def _is_device_array(value: Any) -> bool:
    return hasattr(value, "is_fully_addressable")  # jax.Array, without importing jax to ask


def own_array(value: Any) -> Array:
    """A NumPy array of the value in memory of its own, once it is computed."""
    return xla.to_numpy(value) if _is_device_array(value) else np.array(value)


def join(states: Sequence[VariableState], n_written: int) -> None:
    """Bring all of `states` into one holder, for a step that writes the first `n_written` of them; unless they are in a
    few holders that other steps use already: those steps, which share no variable, go on to share no lock.

    Order decides which steps pass their holder's list whole: the largest older holder keeps its order, unless the new
    step writes more variables than that has.
    """
    again = is_owned(_joining)
    with _joining:  # joins wait for each other, so that no two hold a lock the other wants
        located = [state.locate() for state in states]
        holders = list(dict.fromkeys(holder for holder, _ in located))
        if len(holders) == 1 or (len(holders) <= APART and sum(holder.programs > 0 for holder in holders) > 1):
            return
        if again or any(holder.is_owned() for holder in holders):
            raise holders[0].reentered("a step's first call")
        largest = max(holders, key=lambda holder: len(holder.buffers))
        order = dict.fromkeys(located)
        if n_written <= len(largest.buffers):
            order = dict.fromkeys([*((largest, i) for i in range(len(largest.buffers))), *located])
        order.update(dict.fromkeys((holder, i) for holder in holders for i in range(len(holder.buffers))))
        place = {slot: position for position, slot in enumerate(order)}
        joined = Holder([None] * len(place))
        joined.programs = sum(holder.programs for holder in holders)
        for holder in holders:
            positions = [place[holder, i] for i in range(len(holder.buffers))]
            with joined.lock, holder.lock:
                holder.settle()
                for position, buffer in zip(positions, holder.buffers, strict=True):
                    joined.buffers[position] = buffer
                holder.attention = True
                holder.moved = (joined, positions)  # the move, in one store; before it the old holder is as it was
                holder.buffers = [None] * len(positions)
