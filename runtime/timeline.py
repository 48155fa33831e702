"""What ran when, and where: a step's islands, its work on the host, and what went from device to device.

While a `Timeline` records, steps run on flows whose calls note when they begin and end. A device computes after the
call that asks for that has returned, one thing after the other, so a thread waits for each island's inputs and for its
results: its span is from the moment when it could begin, the one that was asked for before being done, to the moment
when it was done. Without a timeline none of this is there.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any

from dfc.backends import xla
from dfc.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from dfc.ir.devices import parse
from dfc.runtime.container import check_folder
from dfc.runtime.flow import DeviceOp, Done, HostOp, Values, is_computed
from dfc.runtime.in_thread import InThread
from dfc.runtime.workers import WORKERS

HOST = "host"
PATIENCE = 60.0
"""Seconds that the end of a recording waits for devices to be done."""


@dataclass(frozen=True)
class Span:
    """Something that took from `start` to `end`, in seconds since the recording began: an island on a `device`, work of
    the host, a transfer to the device, or a whole step, as `kind` says. What a device does was `asked` for then."""

    name: str
    kind: str
    device: str
    start: float
    end: float
    details: dict[str, Any] = field(default_factory=dict)
    asked: float | None = None

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Timeline:
    """Records what steps do while it is open, in a `with` statement; all steps of the process, of any thread.

    Then `spans` has all, `busy` says how much of the time each device worked, and `save` writes a file for Perfetto or
    chrome://tracing, of which `dfc timeline` makes a picture. Steps are slower while they are recorded.
    """

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._sent: dict[tuple[int, str], float] = {}
        self._pending = 0
        self._idle = threading.Condition()
        self._zero: float | None = None

    def __enter__(self) -> Timeline:
        if self._zero is not None:
            raise FailedPrecondition("a Timeline records once", hint="make a new one")
        self._zero = perf_counter()
        RECORDING.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        RECORDING.remove(self)
        deadline = monotonic() + PATIENCE
        with self._idle:
            while self._pending and monotonic() < deadline:
                self._idle.wait(deadline - monotonic())
            if self._pending and kind is None:
                raise DeadlineExceeded(f"{self._pending} islands have not ended {PATIENCE:g} s after the recording")

    # ---- what was recorded

    @property
    def spans(self) -> list[Span]:
        """All, by when they began."""
        with self._idle:
            return sorted(in_turn(self._spans), key=lambda span: (span.start, -span.end))

    def of(self, device: str, kind: str = "island") -> list[Span]:
        """Those of a device, by its whole name or part of it, such as `cpu:1`, or of the "host". Raises InvalidArgument
        for what names no device."""
        if device == HOST:
            return [span for span in self.spans if span.device == HOST and span.kind == kind]
        asked = parse(device)
        return [s for s in self.spans if s.kind == kind and s.device != HOST and asked.covers(parse(s.device))]

    def busy(self) -> dict[str, float]:
        """Of each device that ran islands: the part of the recorded time, from the begin of the first span to the end
        of the last one, in which it ran one or more."""
        spans = self.spans
        whole = max((span.end for span in spans), default=0.0) - min((span.start for span in spans), default=0.0)
        devices = sorted({span.device for span in spans if span.kind == "island"})
        return {device: covered(self.of(device)) / whole if whole else 1.0 for device in devices}

    def overlap(self, *devices: str) -> float:
        """The seconds in which islands ran on all of these devices at once."""
        if not devices:
            raise InvalidArgument("overlap needs the names of devices", op="Timeline")
        common = merged((span.start, span.end) for span in self.of(devices[0]))
        for device in devices[1:]:
            others = merged((span.start, span.end) for span in self.of(device))
            pairs = ((max(a, c), min(b, d)) for a, b in common for c, d in others)
            common = [(start, end) for start, end in pairs if start < end]
        return sum(end - start for start, end in common)

    def save(self, path: str | Path) -> None:
        """Write it as Chrome's trace events (JSON; times in microseconds): a process for each device and for the host,
        a row for what runs at once. Raises NotFound where there is no such folder."""
        check_folder(path)
        Path(path).write_text(json.dumps({"traceEvents": events(self.spans), "displayTimeUnit": "ms"}))

    # ---- recording

    def add(self, span: Span) -> None:
        """Put down a span whose times are those of `time.perf_counter`."""
        assert self._zero is not None
        zero = self._zero
        asked = None if span.asked is None else span.asked - zero
        moved = replace(span, start=span.start - zero, end=span.end - zero, asked=asked)
        with self._idle:
            self._spans.append(moved)

    def watch(self, span: Span, before: Sequence[Any], results: Sequence[Any], *, lasting: bool = True) -> None:
        """Put down what a device does once it has done it: not before `before` are there, until `results` are. Those
        that are not `lasting` a step may take at any moment."""
        if lasting and all(map(is_computed, results)):
            self.add(span)
            return
        with self._idle:
            self._pending += 1

        watched = [list(before), list(results)]
        del before, results

        def wait() -> None:
            try:
                start = max(span.start, await_all(watched[0]))
                asked = span.start if span.kind == "island" else None
                self.add(replace(span, start=start, end=max(start, await_all(watched[1])), asked=asked))
            finally:
                watched.clear()  # not when others have heard that this is over: the program may be ending then
                with self._idle:
                    self._pending -= 1
                    self._idle.notify_all()

        try:
            WORKERS.submit(wait)
        except BaseException:
            with self._idle:
                self._pending -= 1
            raise

    def sent(self, key: tuple[int, str]) -> None:
        """A value is on its way; the key says in which run, and as what."""
        self._sent[key] = perf_counter()

    def received(self, key: tuple[int, str], value: Any, here: Any, device: str, tensor: str, transport: str) -> None:
        """It has come: `value` is what was sent, computed or not, and `here` is the copy on the device."""
        now = perf_counter()
        details = {"transport": transport, "bytes": getattr(here, "nbytes", 0)}
        self.watch(Span(tensor, "transfer", device, self._sent.pop(key, now), now, details), [value], [here])


RECORDING: list[Timeline] = []
"""The timelines that are open."""


def await_all(values: Iterable[Any]) -> float:
    """When all of these were computed; those that are gone have been."""
    for value in values:
        with suppress(Exception):  # donated meanwhile, or a failure that the step itself reports
            xla.wait(value)
    return perf_counter()


def note_step(name: str, start: float) -> None:
    """A step has ended."""
    span = Span(name, "step", HOST, start, perf_counter())
    for timeline in list(RECORDING):
        timeline.add(span)


# ---- flows that note what they do


def timed_island(op: DeviceOp, device: str, state: Callable[[], Any]) -> DeviceOp:
    """The same, noting each call. `state` gives something that the island has written, if it gives no results."""
    run, label = op.run, op.label

    def noted(values: Values) -> Values:
        inputs = list(values)
        start = perf_counter()
        results = run(values)
        end, (text, line) = perf_counter(), label()
        line = line or op.where
        span = Span(text, "island", device, start, end, {"line": line} if line else {})
        for timeline in list(RECORDING):
            timeline.watch(span, inputs, results or [state()], lasting=bool(results))
        return results

    return replace(op, run=noted)


def timed_host_op(op: HostOp) -> HostOp:
    """The same, noting each call and each wait; gates, which do nothing that takes time, as they are."""
    if op.gate is not None or op.value is not None:
        return op
    details = {"line": op.where} if op.where else {}

    def note(start: float) -> None:
        for timeline in list(RECORDING):
            timeline.add(Span(op.name, HOST, HOST, start, perf_counter(), details))

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            start = perf_counter()
            try:
                return function(*args)
            finally:
                note(start)

        return noted

    def waiting(begin: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            done: Done = args[-1]
            start = perf_counter()

            def over(attempt: Any) -> Any:
                note(start)
                return done(attempt)

            attempt = begin(*args[:-1], over)
            if isinstance(attempt, list | tuple):  # results, at once
                note(start)
            elif isinstance(attempt, InThread) and attempt.function is not None:
                attempt.done, attempt.function = done, timed(attempt.function)
            return attempt

        return noted

    return replace(
        op,
        run=None if op.run is None else timed(op.run),
        begin=None if op.begin is None else waiting(op.begin),
        step=None if op.step is None else waiting(op.step),
    )


# ---- times


def in_turn(spans: Iterable[Span]) -> list[Span]:
    """The spans, where what a device was asked for does not begin before what it was asked for earlier has ended."""
    done: dict[str, float] = {}
    found = []
    for span in sorted(spans, key=lambda s: (s.asked is not None, s.asked or 0.0)):
        if span.asked is not None:
            start = min(max(span.start, done.get(span.device, 0.0)), span.end)
            done[span.device] = max(span.end, done.get(span.device, 0.0))
            span = replace(span, start=start)
        found.append(span)
    return found


def merged(intervals: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same moments as intervals that do not touch."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def covered(spans: Iterable[Span]) -> float:
    """The seconds in which one of these ran, or more."""
    return sum(end - start for start, end in merged((span.start, span.end) for span in spans))


def rows(spans: Sequence[Span]) -> list[list[Span]]:
    """The spans, by start, in as few rows as they need so that those of one row nest or don't touch."""
    found: list[tuple[list[Span], list[Span]]] = []  # rows, and of each the spans that the next one may be inside of
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        row = next((row for row, around in found if _takes(around, span)), None)
        if row is None:
            row = [span]
            found.append((row, [span]))
        else:
            row.append(span)
    return [row for row, _ in found]


def _takes(around: list[Span], span: Span) -> bool:
    """Whether the span fits into a row, which it then goes on."""
    while around and around[-1].end <= span.start:
        around.pop()
    if around and span.end > around[-1].end:
        return False
    around.append(span)
    return True


TRACKS = (("step", "steps"), ("host", "host"), ("island", "islands"), ("transfer", "transfers"))


def events(spans: Sequence[Span]) -> list[dict[str, Any]]:
    """As Chrome's trace events."""
    made: list[dict[str, Any]] = []
    for process, device in enumerate(sorted({span.device for span in spans}, key=lambda d: (d != HOST, d))):
        made.append({"name": "process_name", "ph": "M", "pid": process, "args": {"name": device}})
        thread = count()
        for kind, title in TRACKS:
            for number, row in enumerate(rows([s for s in spans if s.device == device and s.kind == kind])):
                at = next(thread)
                label = title if not number else f"{title} {number + 1}"
                made.append({"name": "thread_name", "ph": "M", "pid": process, "tid": at, "args": {"name": label}})
                made += [_event(span, process, at) for span in row]
    return made


def _event(span: Span, process: int, thread: int) -> dict[str, Any]:
    return {
        "name": span.name,
        "cat": span.kind,
        "ph": "X",
        "pid": process,
        "tid": thread,
        "ts": span.start * 1e6,
        "dur": span.seconds * 1e6,
        "args": span.details,
    }
