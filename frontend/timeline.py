"""`dfc.Timeline`: the runtime's recorder, of which functions know, too."""

from __future__ import annotations

from types import TracebackType

from dfc.frontend.tracing import activity
from dfc.runtime import timeline

Span = timeline.Span


class Timeline(timeline.Timeline):
    """Records what steps do while it is open: `with dfc.Timeline() as timeline: ...`, once; all steps, of any thread.

    Then `spans` has all: each with a name, a kind (`step`, `island`, `host`, `transfer`), the device, start and end in
    seconds, and details: the user's line of what the host does, and of what an island's name begins with, the bytes and
    the transport of a transfer. `busy()` says how much of the time each device worked, `overlap(a, b)` for how many
    seconds several did, and `save(path)` writes Chrome's trace events (JSON), for Perfetto, for chrome://tracing and
    for `dfc timeline`, which makes a table and a picture. Steps are slower while recorded.
    """

    def __enter__(self) -> Timeline:
        super().__enter__()
        activity.count += 1
        activity.recording += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        activity.count -= 1
        activity.recording -= 1
        super().__exit__(kind, error, traceback)
