"""Who may change variables in the host's memory: interrupts keep nobody waiting."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import pytest

from dfc.runtime.kept import Kept
from dfc.runtime.memory import UNLIMITED
from dfc.runtime.offloaded import TURNS, Hold, Turns


@pytest.mark.parametrize("line", range(1, 12))
def test_an_interrupt_keeps_nobody_waiting(line: int) -> None:
    """At any line of what gives the right to variables to who is next."""
    told: list[int] = []
    key = object()

    def hold(number: int) -> Hold:
        return Hold([], [key], UNLIMITED, False, Kept(), lambda _: told.append(number))  # type: ignore[list-item]

    first, second = hold(1), hold(2)
    assert TURNS.submit(first) and not TURNS.submit(second)
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
    assert 2 in told and TURNS._owners.get(key) is second
    second.close()
    assert key not in TURNS._owners
