"""What dfc keeps on a session's device, by its own account: the values of variables, those that live in the host's
memory while they are on the device, what steps put on stacks, and what loops inside islands keep of their iterations
while they run. XLA's own buffers, for what is computed and not
kept, are not in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from dfc.errors import ResourceExhausted
from dfc.ir import locations
from dfc.ir.op import short_name
from dfc.ir.ops.control import Loop
from dfc.ir.ops.function import Island
from dfc.ir.types import nbytes, spec_of
from dfc.runtime.variables import VariableState

_T = TypeVar("_T")
_R = TypeVar("_R")

NAMED = 5
"""How many buffers an error names."""


@dataclass(frozen=True, eq=False)
class Held:
    """Some bytes that something holds, named for errors, with the user's line."""

    nbytes: int
    what: str
    where: str = ""

    def __str__(self) -> str:
        at = f" at {self.where}" if self.where else ""
        return f"{self.what}: {self.nbytes:,} bytes{at}"


class Account:
    """The bytes that are held, and how many there may be; None for any number. `variables` tells what variables hold at
    the moment. May be used from any thread."""

    def __init__(self, limit: int | None = None, variables: Callable[[], Iterable[Held]] = lambda: ()) -> None:
        self.limit, self._variables = limit, variables
        self._lock = threading.RLock()
        self._held: dict[int, Held] = {}
        self._taken = self._most = 0

    @property
    def used(self) -> int:
        """Bytes, those of variables included."""
        return self._taken + sum(held.nbytes for held in self._variables())

    @property
    def taken(self) -> int:
        """Bytes that are held and not by variables."""
        return self._taken

    def is_fuller_than(self, part: float, more: int = 0) -> bool:
        """Whether more than this part of the limit is in use, with `more` bytes beside."""
        return self.limit is not None and self.used + more > part * self.limit

    @property
    def most_taken(self) -> int:
        """The most bytes that were ever held at once, and not by variables."""
        return self._most

    def take(self, nbytes: int, what: str, where: str = "") -> Held:
        """Hold some bytes until `give_back`. Raises ResourceExhausted over the limit."""
        held = Held(nbytes, what, where)
        self._take([held])
        return held

    def _take(self, more: Sequence[Held]) -> None:
        with self._lock:
            self.require_room(more)
            for held in more:
                self._held[id(held)] = held
                self._taken += held.nbytes
            self._most = max(self._most, self._taken)

    def around(self, run: Callable[[_T], _R], needs: Sequence[Held]) -> Callable[[_T], _R]:
        """`run`, holding these meanwhile. Raises ResourceExhausted, before it runs, over the limit."""
        if self.limit is None or not needs:
            return run

        def counted(values: _T) -> _R:
            taken = [replace(need) for need in needs]
            try:
                self._take(taken)
                return run(values)
            finally:
                for held in taken:
                    self.give_back(held)

        return counted

    def give_back(self, held: Held) -> None:
        """The end of what was held; again it is nothing."""
        with self._lock:
            if self._held.pop(id(held), None) is not None:
                self._taken -= held.nbytes

    def require_room(self, more: Iterable[Held]) -> None:
        """Raise ResourceExhausted unless there is room for these beside all that is held."""
        if self.limit is None:
            return
        with self._lock:
            needed = list(more)
            if self.used + sum(held.nbytes for held in needed) <= self.limit:
                return
            every = [*self._variables(), *self._held.values(), *needed]
        total = sum(held.nbytes for held in every)
        largest = sorted(every, key=lambda held: -held.nbytes)[:NAMED]
        raise ResourceExhausted(
            f"{total:,} bytes are needed on the device and device_memory_limit is {self.limit:,}; the largest: "
            + "; ".join(map(str, largest)),
            hint="raise device_memory_limit, make large variables with offload=True, or let loops keep what gradients "
            "need in the host's memory with swap_memory=True",
        )


def held_by(state: VariableState) -> Held:
    """What a variable takes on the device."""
    return Held(nbytes(state.spec), f"variable {state.name!r}")


def rooms_in(island: Island) -> list[Held]:
    """What the loops of an island, whose sizes are known, keep of all their iterations, such as what gradients need."""
    return [
        Held(nbytes(spec), f"{short_name(op)} keeps {spec}", locations.describe(op.location))
        for op in island.walk()
        if isinstance(op, Loop)
        for spec in (spec_of(y.type) for y in op.ys)
    ]


UNLIMITED = Account()
"""Of steps that belong to no session."""
