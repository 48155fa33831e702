"""Row B8 over several devices: parts are registered once, a small message starts a run on each participant."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest

import dfc
from dfc.errors import InvalidArgument, NotFound
from dfc.frontend import subtrace
from dfc.passes import manager
from dfc.runtime import participants as participants_module
from dfc.runtime import programs
from dfc.runtime.device_names import local_devices
from dfc.runtime.participants import MEETINGS, StartStep, participant
from tests.device_support import CPUS


def participants() -> list[Any]:
    return [participant(device) for device in local_devices().values()]


def counters() -> list[tuple[int, int, int]]:
    """Of each participant: messages, their bytes, parts that were ever registered."""
    return [(each.messages, each.received, each.registered) for each in participants()]


def chain(n: int) -> tuple[dfc.Graph, dfc.Tensor, dfc.Tensor]:
    """A graph of n operations on two devices."""
    with dfc.Graph() as graph:
        x = y = dfc.placeholder("float32", (), name="x")
        for index in range(n):
            with dfc.device(CPUS[0] if index < n // 2 else CPUS[1]):
                y = dfc.sin(y) if index % 2 else dfc.cos(y)
    return graph, x, y


def expected(n: int, value: float) -> float:
    for index in range(n):
        value = np.sin(value) if index % 2 else np.cos(value)
    return value


def test_a_second_run_traces_places_partitions_and_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, x, y = chain(10)
    w = dfc.Variable(1.0)

    @dfc.function
    def f(a: dfc.Tensor) -> dfc.Tensor:
        with dfc.device(CPUS[1]):
            b = a * 2.0
        with dfc.device(CPUS[0]):
            w.assign_add(b)
            return b + 1.0

    a = dfc.asarray(3.0)
    with dfc.Session(graph) as session:
        first = session.run(y, {x: 0.5}), f(a).item()
        before = counters()

        def never(*args: object, **kwargs: object) -> None:
            raise AssertionError("this must not run again")

        monkeypatch.setattr(manager, "run", never)
        monkeypatch.setattr(subtrace, "trace", never)
        monkeypatch.setattr(programs.xla, "compile_program", never)
        assert (session.run(y, {x: 0.5}), f(a).item()) == first
        assert session.stats.compiled == 1
    after = counters()
    assert [one[2] for one in after] == [one[2] for one in before], "nothing is registered again"
    assert [b[0] - a[0] for a, b in zip(before, after, strict=True)] == [2, 2, 0, 0], "one message a step and device"
    assert w.item() == 13


def test_the_message_has_the_same_size_for_10_and_10_000_operations() -> None:
    sizes = {}
    for n in (10, 10_000):
        graph, x, y = chain(n)
        with dfc.Session(graph) as session:
            assert session.run(y, {x: 0.5}) == pytest.approx(expected(n, 0.5), rel=1e-4)
            before = counters()
            assert session.run(y, {x: 0.25}) == pytest.approx(expected(n, 0.25), rel=1e-4)
            sizes[n] = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(before, counters(), strict=True)]
    assert sizes[10] == sizes[10_000] == [(1, 16), (1, 16), (0, 0), (0, 0)]


def test_parts_go_with_their_session_and_meetings_with_their_step() -> None:
    gc.collect()
    before = [len(each) for each in participants()]
    graph, x, y = chain(4)
    session = dfc.Session(graph)
    session.run(y, {x: 1.0})
    assert [len(each) for each in participants()] == [before[0] + 1, before[1] + 1, *before[2:]]
    assert len(MEETINGS) == 0
    session.close()
    del session
    gc.collect()
    assert [len(each) for each in participants()] == before


def test_steps_of_many_threads_meet_their_own_parts() -> None:
    graph, x, y = chain(6)
    wrong: list[float] = []
    with dfc.Session(graph) as session:
        session.run(y, {x: 0.0})

        def run(seed: int) -> None:
            for k in range(50):
                value = seed + k / 50
                if abs(session.run(y, {x: value}) - expected(6, value)) > 1e-5:
                    wrong.append(value)

        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()
    assert not wrong and len(MEETINGS) == 0


def test_a_run_may_be_given_up_by_a_finaliser_while_another_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, x, y = chain(4)
    made = participants_module.LocalRendezvous
    with dfc.Session(graph) as session:
        session.run(y, {x: 1.0})

        class Circle:
            """Garbage that the collector finds."""

        circle: Any = Circle()
        circle.handle, circle.own = session.partial_run_setup([y], [x]), circle
        del circle

        def collecting() -> Any:
            gc.collect()
            return made()

        monkeypatch.setattr(participants_module, "LocalRendezvous", collecting)
        done: list[float] = []
        thread = threading.Thread(target=lambda: done.append(session.run(y, {x: 1.0})), daemon=True)
        thread.start()
        thread.join(30)
        assert done and len(MEETINGS) == 0


def test_what_a_participant_refuses() -> None:
    at = participants()[0]
    message = StartStep(7, 1 << 40)
    assert StartStep.unpack(message.pack()) == message
    with pytest.raises(InvalidArgument, match=r"^a message that starts a step has 16 bytes, got 3$"):
        at.start(b"abc")
    with pytest.raises(NotFound, match=r"^no part 1099511627776 of a graph is registered on "):
        at.start(message.pack())
