"""Row K8, the timeline: what steps did, when and where; the file that browsers' viewers read; the command."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import dfc
from dfc.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound
from dfc.runtime import timeline as recorder
from dfc.runtime.timeline import Span, Timeline, covered, merged, rows
from dfc.tools.cli import main
from tests.device_support import CPUS

SCALAR = dfc.TensorSpec((), "float32")


def loop(x: dfc.Tensor, n: int = 2000) -> Any:
    return dfc.fori_loop(0, n, lambda i, a: dfc.tanh(a @ np.eye(32, dtype=np.float32)), x)


def test_an_island_a_call_of_python_and_the_step_around_them() -> None:
    def slow(a: Any) -> Any:
        time.sleep(0.02)
        return a

    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (32, 32), name="x")
        y = dfc.py_call(slow, [dfc.sum(loop(x))], SCALAR)
    with dfc.Session(graph) as session:
        feeds = {x: np.eye(32, dtype=np.float32)}
        before = session.run(y, feeds)
        with dfc.Timeline() as timeline:
            assert session.run(y, feeds) == before
        session.run(y, feeds)
    (step,) = [s for s in timeline.spans if s.kind == "step"]
    (island,) = timeline.of(CPUS[0])
    (call,) = timeline.of("host", "host")
    assert step.name == "step" and island.name.startswith("scan") and island.name.endswith("ops)")
    assert call.name == "py_call" and call.seconds >= 0.02 and "test_k8_timeline.py" in call.details["line"]
    assert step.start <= island.start < island.end <= call.end <= step.end
    assert 0 < timeline.busy()[CPUS[0]] < 1
    assert timeline.busy()[CPUS[0]] == pytest.approx(island.seconds / step.seconds)


def test_a_function_on_the_fast_path_is_recorded_and_on_it_again_afterwards() -> None:
    v = dfc.Variable(0.0)

    @dfc.function
    def count(x: dfc.Tensor) -> dfc.Tensor:
        v.assign_add(1.0)
        return x * 2.0

    @dfc.function
    def write() -> None:
        v.assign_add(1.0)

    x = dfc.asarray(3.0)
    count(x), write()
    with dfc.Timeline() as timeline:
        assert count(x).item() == 6
        write()
    assert v.item() == 4
    assert [s.name for s in timeline.spans if s.kind == "step"] == ["count", "write"]
    assert len(timeline.of(CPUS[0])) == 2, "that of a function without results, too"
    count(x)
    assert v.item() == 5 and len([s for s in timeline.spans if s.kind == "step"]) == 2


def test_transfers_say_what_and_how_much_goes_and_by_which_transport() -> None:
    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        with dfc.device(CPUS[1]):
            y = dfc.exp(x)
        with dfc.device(CPUS[0]):
            return dfc.sum(y)

    x = dfc.asarray(np.zeros((4, 8), np.float32))
    f(x)
    with dfc.Timeline() as timeline:
        assert f(x).item() == 32
    (moved,) = [s for s in timeline.spans if s.kind == "transfer"]
    assert moved.device == CPUS[0] and moved.name.endswith("exponential")
    assert moved.details == {"transport": "copy in host memory", "bytes": 128}
    assert set(timeline.busy()) == set(CPUS[:2])


def _lines(timeline: dfc.Timeline) -> list[int]:
    """The lines of this file that islands name."""
    details = [span.details for span in timeline.spans if span.kind == "island"]
    return [int(d["line"].split(":")[1]) for d in details if d.get("line", "").startswith(__file__)]


def test_islands_name_the_line_of_what_they_do() -> None:
    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        y = dfc.tanh(x + 1.0)
        y = y @ x
        with dfc.device(CPUS[1]):
            y = dfc.exp(y)
        return dfc.py_call(lambda a: a, [y], dfc.TensorSpec((4, 4), "float32"))

    x = dfc.asarray(np.ones((4, 4), np.float32))
    f(x), dfc.cos(x)
    with dfc.Timeline() as timeline:
        f(x).numpy()
        dfc.cos(x)  # of a program that was made for another line
    start = f.python_function.__code__.co_firstlineno
    assert [s.name for s in timeline.spans if s.kind == "island"] == [
        "dot_general, constant, add (4 ops)",
        "exponential",
        "cosine",
    ]
    assert _lines(timeline) == [start + 3, start + 5], "of the product, which is named first, and not of the operation"


def test_steps_of_several_threads_and_an_error_are_recorded() -> None:
    def fail(a: Any) -> Any:
        raise ValueError("no")

    with dfc.Graph() as graph:
        x = dfc.placeholder("float32", (), name="x")
        good, bad = x + 1.0, dfc.py_call(fail, [x], SCALAR)
    with dfc.Session(graph) as session, dfc.Timeline() as timeline:
        threads = [threading.Thread(target=lambda: session.run(good, {x: 1.0})) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        with pytest.raises(dfc.errors.Internal):
            session.run(bad, {x: 1.0})
        assert session.submit(good, {x: 2.0}).result(60) == 3
    assert len([s for s in timeline.spans if s.kind == "step"]) == 6
    assert len([s for s in timeline.spans if s.kind == "host"]) == 1


def test_threads_that_write_one_variable_are_recorded() -> None:
    """The buffer that one has written another may take at once."""
    v = dfc.Variable(0.0)

    @dfc.function
    def add(x: dfc.Tensor) -> None:
        v.assign(v + x)

    one = dfc.asarray(1.0)
    add(one)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(300):
                add(one)
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with dfc.Timeline() as timeline:
            threads = [threading.Thread(target=run) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert not failures and v.item() == 1201
    assert len(timeline.of(CPUS[0])) == 1200


def test_an_error_in_the_block_is_not_kept_waiting_for_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "PATIENCE", 0.1)
    with pytest.raises(KeyError), dfc.Timeline() as timeline:
        timeline._pending += 1  # an island that does not end
        raise KeyError("x")
    timeline = dfc.Timeline()
    with pytest.raises(DeadlineExceeded, match=r"^1 islands have not ended 0\.1 s after the recording"), timeline:
        timeline._pending += 1


def test_a_timeline_records_once() -> None:
    with dfc.Timeline() as timeline:
        pass
    assert timeline.spans == [] and timeline.busy() == {}
    with pytest.raises(FailedPrecondition, match=r"^a Timeline records once"):
        timeline.__enter__()


def test_rows_nest_and_times_add_up() -> None:
    def span(start: float, end: float) -> Span:
        return Span("s", "island", "d", start, end)

    spans = [span(0, 4), span(1, 2), span(1, 3), span(3, 6), span(5, 6), span(8, 9)]
    assert covered(spans) == 7 and merged([(1, 2), (2, 3), (0, 1)]) == [(0, 3)]
    found = rows(spans)
    assert sorted(map(id, (s for row in found for s in row))) == sorted(map(id, spans))
    for row in found:
        for i, one in enumerate(row):
            for two in row[i + 1 :]:
                assert two.start >= one.end or two.end <= one.end, "one is in the other, or after it"
    timeline = Timeline()
    timeline._spans = [
        Span("a", "island", CPUS[0], 0, 4),
        Span("b", "island", CPUS[1], 3, 5),
        Span("c", "island", CPUS[1], 6, 8),
    ]
    assert timeline.overlap("cpu:0", "cpu:1") == 1 and timeline.busy() == dict.fromkeys(CPUS[:2], 0.5)
    assert len(timeline.of("/device:CPU:1")) == 2 and timeline.of("cpu:3") == timeline.of("host") == []
    with pytest.raises(InvalidArgument, match=r"^Timeline: overlap needs the names of devices"):
        timeline.overlap()
    with pytest.raises(InvalidArgument, match=r"'nonsense!'"):
        timeline.of("nonsense!")


def test_the_file_is_chromes_and_the_command_shows_and_draws_it(tmp_path: Path) -> None:
    @dfc.function
    def f(x: dfc.Tensor) -> dfc.Tensor:
        with dfc.device(CPUS[1]):
            return dfc.sum(loop(x))

    x = dfc.asarray(np.eye(32, dtype=np.float32))
    f(x)
    with dfc.Timeline() as timeline:
        f(x).numpy()
    path, picture = tmp_path / "trace.json", tmp_path / "picture.svg"
    timeline.save(path)
    events = json.loads(path.read_text())["traceEvents"]
    spans = [e for e in events if e["ph"] == "X"]
    assert len(spans) == len(timeline.spans)
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    for event, span in zip(sorted(spans, key=lambda e: (e["ts"], -e["dur"])), timeline.spans, strict=True):
        assert (event["name"], event["cat"], names[event["pid"]]) == (span.name, span.kind, span.device)
        assert event["ts"] == pytest.approx(span.start * 1e6) and event["dur"] == pytest.approx(span.seconds * 1e6)
    result = CliRunner().invoke(main, ["timeline", str(path), "-o", str(picture)])
    assert result.exit_code == 0, result.output
    assert f"{CPUS[1]}  island: 1, " in result.output and f"wrote {picture}" in result.output
    text = picture.read_text()
    assert text.startswith("<svg") and "CPU:1 islands" in text and "scan" in text
    assert "test_k8_timeline.py:" in text, "the line of an island is in its title"
    for wrong in ("picture.png", "picture"):
        result = CliRunner().invoke(main, ["timeline", str(path), "-o", str(tmp_path / wrong)])
        assert result.exit_code == 2 and not (tmp_path / wrong).exists()
        assert f"the picture is an SVG, for a file *.svg, got {tmp_path / wrong}" in result.output
    absent = tmp_path / "absent"
    result = CliRunner().invoke(main, ["timeline", str(path), "-o", str(absent / "p.svg")])
    assert result.exit_code == 1 and f"Error: {absent / 'p.svg'} can't be written: there is no folder" in result.output
    with pytest.raises(NotFound) as raised:
        timeline.save(absent / "trace.json")
    assert str(raised.value) == (
        f"{absent / 'trace.json'} can't be written: there is no folder {absent}\n  make it first"
    )
    path.write_text("{}")
    result = CliRunner().invoke(main, ["timeline", str(path)])
    assert result.exit_code == 1 and "is no trace that dfc.Timeline has saved: it lacks 'traceEvents'" in result.output
