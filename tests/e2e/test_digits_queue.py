"""The example with an input queue: three clients of one graph, at once."""

from __future__ import annotations

import threading

import pytest

from tests.examples_support import last_line, load

pytest.importorskip("sklearn", reason="needs the extra `examples`")


def test_three_clients_run_their_parts_of_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step counts itself in the graph, so that a step that ran another's operations would show."""
    example = load("digits_queue", monkeypatch)
    before = threading.active_count()
    accuracy, ran, counted = example.run(epochs=20)
    assert accuracy >= 0.95
    assert counted == ran
    assert ran["fill"] == 20 * 12
    assert ran["train"] == 20 * 1437 // example.BATCH, "what is left at the end is no whole batch"
    assert ran["evaluate"] >= 1
    assert threading.active_count() <= before + 5, "workers that stay for a while, and the timers"


def test_the_command_prints_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    line = last_line(load("digits_queue", monkeypatch), "--epochs", "1")
    assert line.startswith("accuracy on held-out images after ")
