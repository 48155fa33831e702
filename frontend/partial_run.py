"""Steps whose feeds arrive over several calls (spec row B6)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xdsl.ir import SSAValue

from dfc.errors import FailedPrecondition, InvalidArgument
from dfc.frontend import feeding
from dfc.frontend.feeding import Fed
from dfc.runtime.executor import Driving
from dfc.runtime.session import deadline_after, own

if TYPE_CHECKING:
    from dfc.frontend.session import Fetches, Session


class PartialRun:
    """What `Session.partial_run_setup` gives: one step under way. Each feed is given once; what can be computed from
    those given so far can be fetched, and an operation runs when all that it needs is there."""

    def __init__(self, session: Session, fetches: Any, feeds: Sequence[Any]) -> None:
        self.session = session
        self._fetched: Fetches = session.resolve(fetches)
        self._feeds = [feeding.key_in(session.graph, key) for key in feeds]
        step = session.compile_late(self._fetched, self._feeds)
        self._inputs = {id(self._feeds[place]): index for index, place in enumerate(step.places)}
        self._outputs = {id(v): i for i, v in enumerate([*self._fetched.values, *self._fetched.tokens])}
        self._given: Fed = []
        self._step = step
        self._execution: Driving = step.start([])
        self._lock = threading.RLock()

    def __del__(self) -> None:
        if hasattr(self, "_execution"):
            self._step.end(self._execution)

    def run(self, fetches: Any, feeds: Mapping[Any, Any] | None, timeout: float | None) -> Any:
        """Feed, then fetch. Raises InvalidArgument for what was not named in the setup, for a tensor that was fed
        before and for a fetch that lacks a feed; FailedPrecondition once the step has failed, run out of time or been
        interrupted."""
        graph = self.session.graph
        fetched = self.session.resolve(fetches)
        for value in [*fetched.values, *fetched.tokens]:
            if id(value) not in self._outputs:
                raise InvalidArgument(f"{graph.name_of(value)!r} was not among the fetches of the setup")
        with self._lock:
            if (failure := self._execution.error) is not None:
                raise FailedPrecondition(
                    f"the step of this handle has ended: {failure.diagnostic.message}",
                    hint="begin another with partial_run_setup",
                ) from failure
            self._feed(feeding.resolved(graph, feeds))
            wanted = [self._outputs[id(value)] for value in [*fetched.values, *fetched.tokens]]
            self._execution.drive(wanted, deadline_after(timeout))
            if not self._execution.has(wanted):
                missing = [graph.name_of(value) for value in self._feeds if not self._was_given(value)]
                if not missing:
                    raise FailedPrecondition("the step ended without what was to be fetched")
                raise InvalidArgument(
                    f"what is fetched needs a feed that has not come: {', '.join(map(repr, missing))} "
                    f"{'was' if len(missing) == 1 else 'were'} named in the setup and not fed"
                )
            results = self._execution.outputs(wanted[: len(fetched.values)])
        return fetched.arranged(results)

    def _feed(self, fed: Fed) -> None:
        graph = self.session.graph
        for value, _ in fed:
            if id(value) not in self._inputs:
                raise InvalidArgument(f"Tensor {graph.name_of(value)!r} was not among the feeds of the setup")
            if self._was_given(value):
                raise InvalidArgument(f"Tensor {graph.name_of(value)!r} was fed before")
        feeding.bindings(graph, [*self._given, *fed])  # sizes must go together
        for value, array in fed:
            self._given.append((value, array))
            self._execution.feed(self._inputs[id(value)], own(array))

    def _was_given(self, value: SSAValue) -> bool:
        return any(value is given for given, _ in self._given)
