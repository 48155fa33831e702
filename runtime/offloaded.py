"""Variables whose values live in the host's memory, and what a step has of them while it runs.

A value is an array that nobody writes to: a step that changes variables makes new arrays, and when it is done with all
of them they take the old ones' place at once. So an island on such variables is as atomic as on others: who reads sees
all of its writes or none, and a step that fails has changed nothing. Between the two the host holds both.

Steps take turns: one that is to change variables has the right to from before it reads them until it has written them
(`Hold`). It gets all its rights at once, and in between waits for nothing but devices (the pass `offload` sees to
that), so no two steps wait for each other. Reading takes no right, nor does `assign` from outside, which counts as done
after the step that is under way.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np

from dfc.backends import xla
from dfc.errors import Cancelled, DfcError, FailedPrecondition
from dfc.runtime.executor import Driving, being_driven
from dfc.runtime.kept import Kept
from dfc.runtime.memory import Account, Held, held_by
from dfc.runtime.variables import Array, Buffer, Device, VariableState, own_array

_values: dict[int, Array] = {}
"""By the id of its state, each variable's value: in one dictionary, so that a step's new values come in by one call,
written in C, in which no signal is looked for."""


class OffloadedState(VariableState):
    """As `VariableState`, with the value in the host's memory. What it hands out to devices are copies."""

    is_offloaded: ClassVar[bool] = True
    assigned = 0
    """How often it was assigned by others than steps."""

    def __del__(self) -> None:
        _values.pop(id(self), None)

    def settle(self, device: Device, layout: Any = None) -> None:
        """Have copies that nobody asks a device for go to this one: steps on any device may use the variable."""
        self._device = device

    @property
    def is_initialized(self) -> bool:
        return id(self) in _values or isinstance(self._initial, np.ndarray)

    @property
    def held(self) -> Array | None:
        """The value as it is now, for whoever does not write to it; None before there is one."""
        return _values.get(id(self))

    def array(self) -> Array:
        """The same; without a value it gets its initial one. Raises what `initialize` raises."""
        found = self.held
        while found is None:
            self.initialize()
            found = self.held
        return found

    def read(self) -> Buffer:
        """A copy of the value on the device."""
        return xla.to_device(self.array(), self.device)

    def numpy(self) -> Array:
        """The value as a NumPy array that owns its memory."""
        return self.array().copy()

    def assign(self, value: Any) -> None:
        """Set the value from an array of the variable's shape and dtype, which is copied."""
        array = self._frozen(value)
        with TURNS.lock:
            self.assigned += 1
            _values[id(self)] = array
        self._initial = None

    def _has_value(self) -> bool:
        return id(self) in _values

    def _begin_with(self, value: Any) -> None:
        _values.setdefault(id(self), self._frozen(value))

    def _frozen(self, value: Any) -> Array:
        array = own_array(value)
        self._check(array)
        array.flags.writeable = False
        return array


# ---- steps


class Hold:
    """What one island of a step has of variables, from reading them until it has written them; an attempt whose owner
    is `TURNS`.

    `states` are the variables whose values it needs, `written` those that it may change; `account` is the memory that
    it has to itself, with `alone`. Everything is given back by `close`, whatever has happened.
    """

    operation = "waiting for variables"

    def __init__(
        self,
        states: Sequence[OffloadedState],
        written: Sequence[VariableState],
        account: Account,
        alone: bool,
        kept: Kept,
        done: Callable[[Hold], object],
    ) -> None:
        self.owner, self.done = TURNS, done
        self.result: Any = None
        self.error: DfcError | None = None
        self.account, self._kept = account, kept
        self.wants: frozenset[Any] = frozenset([*written, *([account] if alone else [])])
        """Whatever this has to itself."""
        self.drivers: tuple[Driving, ...] = being_driven()
        """The steps that this thread drives, of which the last one has made this."""
        self._states, self._written = states, [s for s in written if isinstance(s, OffloadedState)]
        self._values: dict[OffloadedState, Array] = {}
        self._assigned: dict[OffloadedState, int] = {}
        self._new: dict[OffloadedState, Array] = {}
        self._rooms: dict[OffloadedState | str, list[Held]] = {}
        self._lock = threading.Lock()
        kept.holding += 1
        kept.add(self)

    def begin(self) -> None:
        """Note the values as they are, now that nobody else may change those that this may."""
        self._assigned = {state: state.assigned for state in self._written}
        self._values = {state: state.array() for state in self._states}
        self.result = (self,)

    def value(self, state: OffloadedState) -> Array:
        """The variable's value, in the host's memory, as of the beginning."""
        return self._values[state]

    def put(self, state: OffloadedState, value: Array) -> None:
        """Note the variable's new value."""
        value.flags.writeable = False
        with self._lock:
            self._new[state] = value

    def take_room(self, state: OffloadedState, where: str) -> None:
        """Count what the variable takes on the device. Raises ResourceExhausted over the limit."""
        self._take(state, held_by(state), where)

    def take_room_for(self, name: str, value: Array, where: str) -> None:
        """The same for a value that an earlier one had of the variable of this name."""
        self._take(name, Held(value.nbytes, f"variable {name!r}"), where)

    def _take(self, key: OffloadedState | str, held: Held, where: str) -> None:
        taken = self.account.take(held.nbytes, held.what, where)
        with self._lock:
            self._rooms.setdefault(key, []).append(taken)

    def give_room(self, key: OffloadedState | str) -> None:
        """The end of one `take_room`, or of what was taken for a name."""
        with self._lock:
            rooms = self._rooms.get(key)
            held = rooms.pop() if rooms else None
        if held is not None:
            self.account.give_back(held)

    def let_go(self) -> None:
        """Make new values the variables', and let others go on."""
        with TURNS.lock:
            _values.update({id(s): value for s, value in self._new.items() if s.assigned == self._assigned[s]})
        self._kept.holding -= 1
        self.close()
        self._kept.remove(self)

    def close(self) -> None:
        """Give everything back; what was not let go has changed nothing."""
        with self._lock:
            self._new, self._values = {}, {}
            keys = list(self._rooms)
        for key in keys:
            while self._rooms.get(key):
                self.give_room(key)
        TURNS.end(self)


class Turns:
    """Who may change which variables: first come, first served, where the wishes meet. May be used from any thread."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._line: dict[Hold, None] = {}
        self._owners: dict[Any, Hold] = {}
        self._given: deque[Hold] = deque()
        """Those that have got what they want and have not been told."""

    def submit(self, hold: Hold) -> bool:
        """Wait in line. True: it has what it wants. False: its `done` is called when it does.

        Raises FailedPrecondition where it would wait for a step that this very thread has interrupted.
        """
        with self.lock:
            before = {*(self._owners[w] for w in hold.wants if w in self._owners)}
            before.update(other for other in self._line if not other.wants.isdisjoint(hold.wants))
            if any(other.drivers and other.drivers[-1] in hold.drivers[:-1] for other in before):
                raise FailedPrecondition(
                    "a step on variables in the host's memory was called from a signal handler or a finaliser that "
                    "interrupted one on the same variables",
                    hint="reading variables is possible there; to change them, set a flag that the main program "
                    "looks at",
                )
            if before:
                self._line[hold] = None
                return False
            self._give(hold)
            return True

    def cancel(self, hold: Hold, error: DfcError | None = None) -> bool:
        """Leave the line, or give back what it has been given."""
        hold.error = hold.error or error or Cancelled(f"{hold.operation} was cancelled")
        self.end(hold)
        return True

    def end(self, hold: Hold) -> None:
        """Give back what it has, or leave the line, and see who is next. Again it is nothing."""
        with self.lock:
            self._line.pop(hold, None)
            for want in hold.wants:
                if self._owners.get(want) is hold:
                    del self._owners[want]
        try:
            self._tell()
        except BaseException:  # an interrupt, which shall keep nobody waiting
            self._tell()
            raise

    def _tell(self) -> None:
        """Give what is free to those who wait for it, in their order, and tell them."""
        with self.lock:
            taken: set[Any] = set()  # by those before; done again after an interrupt, this comes to the same
            for hold in list(self._line):
                if hold.wants.isdisjoint(taken) and all(self._owners.get(w, hold) is hold for w in hold.wants):
                    try:
                        self._give(hold)
                    except DfcError as error:
                        hold.error = error
                    self._given.append(hold)
                    del self._line[hold]
                taken |= hold.wants
        while self._given:
            told = self._given[0]
            told.done(told)
            with suppress(IndexError, ValueError):  # another has told it as well, which is harmless
                self._given.remove(told)

    def _give(self, hold: Hold) -> None:
        self._owners.update(dict.fromkeys(hold.wants, hold))
        hold.begin()


TURNS = Turns()
"""Of all steps of the process: sessions share variables."""
