"""Who may change variables in the host's memory: interrupts keep nobody waiting."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import pytest

from dfc.runtime import offloaded
from dfc.runtime.kept import Kept
from dfc.runtime.memory import UNLIMITED
from dfc.runtime.offloaded import Hold, Turns


@pytest.mark.parametrize("line", range(1, 12))
def test_an_interrupt_keeps_nobody_waiting(line: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any line of what gives the right to variables to who is next. (In turns of its own: an exception from a trace
    may leave a lock that no signal would.)"""
    turns = Turns()
    monkeypatch.setattr(offloaded, "TURNS", turns)
    told: list[int] = []
    key = object()

    def hold(number: int) -> Hold:
        return Hold([], [key], UNLIMITED, False, Kept(), lambda _: told.append(number))  # type: ignore[list-item]

    first, second = hold(1), hold(2)
    assert turns.submit(first) and not turns.submit(second)
    seen = 0

    def local(frame: Any, event: str, argument: Any) -> Any:
        nonlocal seen
        seen += event == "line"
        if event == "line" and seen == line:
            sys.settrace(None)
            raise KeyboardInterrupt
        return local

    code = Turns._tell.__code__
    sys.settrace(lambda frame, event, argument: local if frame.f_code is code else None)
    try:
        with suppress(KeyboardInterrupt):
            first.close()
    finally:
        sys.settrace(None)
    assert 2 in told and turns._owners.get(key) is second
    second.close()
    assert key not in turns._owners
