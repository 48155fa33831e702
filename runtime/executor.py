"""The dataflow executor: what is ready runs, in any order that the graph allows.

One thread at a time drives a step: it dispatches islands, whose work XLA does in its own threads, and runs what is
short on the host. What may wait is an attempt (`runtime/attempts.py`) and holds no thread; user code and work on values
that a device is still computing go to threads of their own. When there is nothing to do the driver sleeps until an
attempt is over, a deadline passes or the step is cancelled.

Changing threads costs more than most of what there is to do. So who drove last is not woken for each attempt that a
thread ends: the thread drives the step on, and when that has come to user code of the quick kind, and to nothing else,
it calls that itself. Nobody drives meanwhile, and the caller, asleep, hears of a cancellation and of a time limit as
ever.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from time import monotonic, perf_counter, sleep
from typing import Any

from dfc.errors import Cancelled, DeadlineExceeded, DfcError, Internal
from dfc.runtime.attempts import LONGEST_SLEEP
from dfc.runtime.flow import ABSENT, BEGINS, SYNC, Edges, Flow, Node, Values, is_computed, with_arrays
from dfc.runtime.in_thread import InThread, is_worker, wrapped
from dfc.runtime.timeline import RECORDING, note_step
from dfc.runtime.variables import is_owned
from dfc.runtime.workers import Task

PATIENCE = 200e-6
"""Seconds that the driver looks for a value which a device computes before it leaves the waiting to a thread."""


class Iteration:
    """The state of the nodes of one iteration of one frame: values that have come, and how many are still missing."""

    __slots__ = ("pending", "slots")

    def __init__(self, slots: list[Any], pending: list[int]) -> None:
        self.slots, self.pending = slots.copy(), pending.copy()


_driven: ContextVar[tuple[Driving, ...]] = ContextVar("dfc_driven", default=())
being_driven = _driven.get
"""The steps whose caller waits for them here, the outermost first: one that begins in the middle of another one does so
in a signal handler or a finaliser."""


class Driving(ABC):
    """A step under way, as who drives it sees it.

    `feed` gives inputs, all at once or one by one; `run` drives the step until the outputs wanted have come. `cancel`
    may be called from any thread. An error stops the step: nothing new starts, attempts are withdrawn, user code that
    is still running is not waited for. The error names the op and the user's line.
    """

    def __init__(self, name: str, n_outputs: int) -> None:
        self.name, self.n_outputs = name, n_outputs
        self._wake = threading.Lock()
        self._wake.acquire()
        self._stop_with: DfcError | None = None  # set by `cancel`
        self.error: DfcError | None = None
        self.deadline: float | None = None
        """When the step must be over, as `monotonic` tells it: loops look."""
        self._role = threading.RLock()
        """Who has it drives, where `drive` is under way."""
        self._context: Context | None = None
        """In what others than the caller drive: the caller's, once that has slept in `drive`."""
        self._caller = 0
        """The thread that waits for the step."""
        self._wanted: Sequence[int] = ()
        self._has_ended = False
        """Whether somebody else has driven it to its end."""
        self.on_arrival: Callable[[], None] | None = None
        """Called, in the place of waking `run`, when an attempt is over or the step is cancelled, from any thread."""
        self.begun = perf_counter() if RECORDING else 0.0
        """When, if timelines shall hear of it as a step."""

    # ---- what there is to drive

    @abstractmethod
    def feed(self, index: int, value: Any) -> None:
        """Give input `index` its value."""

    @abstractmethod
    def advance(self) -> None:
        """Run what is ready, until there is nothing or the step has failed. Only one thread at a time may be here."""

    @abstractmethod
    def has(self, wanted: Sequence[int]) -> bool:
        """Whether these outputs have come."""

    @abstractmethod
    def outputs(self, wanted: Sequence[int]) -> Values:
        """These outputs. Raises Internal for one that nothing gave."""

    @property
    @abstractmethod
    def is_idle(self) -> bool:
        """Whether nothing is ready and nothing is under way: it has ended, or lacks an input."""

    @property
    @abstractmethod
    def is_waiting(self) -> bool:
        """Whether something is under way."""

    @property
    @abstractmethod
    def has_news(self) -> bool:
        """Whether something that was under way is over, or the step is cancelled."""

    @abstractmethod
    def waiting_for(self) -> list[Node]:
        """The ops under way."""

    @abstractmethod
    def stop(self, error: DfcError) -> None:
        """End the step with this error, in the thread that drives it or instead of one. Where it was cancelled, the
        error of what it waited for says more."""

    def close(self) -> None:
        """Give back what the step keeps. Called when it is over."""
        if self.begun:
            note_step(self.name, self.begun)

    @abstractmethod
    def _withdraw(self, error: DfcError) -> None:
        """Call off what is under way, from any thread: at once, so that nothing is given to a step that will not use
        it."""

    # ---- driving

    def run(self, wanted: Sequence[int], deadline: float | None = None) -> Values:
        """`drive`, and these outputs."""
        self.drive(wanted, deadline)
        return self.outputs(wanted)

    def drive(self, wanted: Sequence[int], deadline: float | None = None) -> None:
        """Run until these outputs have come or nothing more can be done; with all outputs wanted, until nothing is left
        to do. Raises the step's error, and DeadlineExceeded, which ends the step as well."""
        self.deadline, self._wanted, self._caller = deadline, wanted, threading.get_ident()
        self._has_ended = False
        outer = _driven.get()
        try:
            _driven.set((*outer, self))
            self._take_role()
            while True:
                self.advance()
                if self.error is not None:
                    raise self.error
                if self._is_done():
                    return
                self._sleep(deadline)
        except BaseException as error:
            if not is_owned(self._role):  # interrupted as it slept: another may be driving
                self._stop_with = self._stop_with or Cancelled("the step was interrupted")
                self._take_role()
            if self.error is None:
                self.stop(error if isinstance(error, DfcError) else Cancelled("the step was interrupted"))
            raise
        finally:
            _driven.set(outer)
            self._context = None
            if is_owned(self._role):
                self._role.release()

    def _is_done(self) -> bool:
        """Whether `drive` has nothing to wait for."""
        if self.error is not None or not self.is_waiting:
            return True
        return len(self._wanted) < self.n_outputs and self.has(self._wanted)

    def _take_role(self) -> None:
        """However often that is interrupted; the last interrupt is raised then."""
        interrupt: BaseException | None = None
        while not is_owned(self._role):
            try:
                self._role.acquire()
            except BaseException as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def drive_on(self) -> Task | None:
        """Drive, if nobody does, in a thread that has ended an attempt. What it shall do next."""
        held: Task | None = None
        while self.has_news and self._role.acquire(blocking=False):
            try:
                if self._context is None:  # the caller has gone
                    return None
                held = self._context.run(self._advance_held)
                self._has_ended = self._is_done()
            except BaseException as error:
                self.stop(error if isinstance(error, DfcError) else wrapped(error))
                self._has_ended = True
            finally:
                self._role.release()
            if held is not None or self._has_ended:
                break
        if self.has_news or self._has_ended:
            self._notify()
        return held

    def _advance_held(self) -> Task | None:
        """`advance`, and a quick attempt that this thread may do itself."""
        self.advance()
        return None

    def cancel(self, error: DfcError | None = None) -> None:
        """End the step soon, with `error` or that of what it waits for. May be called from any thread at any time."""
        if self._stop_with is None:
            self._stop_with = error or Cancelled("the step was cancelled")
        self._withdraw(self._stop_with)
        self._notify()

    def _notify(self) -> None:
        if self.on_arrival is not None:
            self.on_arrival()
            return
        with suppress(RuntimeError):  # it is awake, or will be
            self._wake.release()

    def _sleep(self, deadline: float | None) -> None:
        """Until something has arrived, or others have driven the step to its end."""
        if self._context is None:
            self._context = copy_context()
        self._role.release()
        while not self.has_news and not self._has_ended:
            left = LONGEST_SLEEP if deadline is None else min(LONGEST_SLEEP, deadline - monotonic())
            if left <= 0:
                nodes = self.waiting_for()
                listed = ", ".join(map(str, nodes[:5])) + (f" and {len(nodes) - 5} more" if len(nodes) > 5 else "")
                raise DeadlineExceeded(f"the time limit passed while the step waited for {listed}", op=self.name)
            self._wake.acquire(timeout=left)
        self._take_role()
        self._has_ended = False


class Execution(Driving):
    """One step under way of a flow."""

    def __init__(self, flow: Flow, root: Iteration | None = None) -> None:
        super().__init__(flow.name, len(flow.plan.outputs))
        self.flow = flow
        self._root: Any = root or Iteration(flow.root.slots, flow.root.pending)
        self._ready: deque[tuple[Node, Any]] = deque((node, self._root) for node in flow.root.roots)
        self._in_flight: dict[Any, tuple[Node, Any]] = {}
        self._arrived: deque[Any] = deque()
        self._holds = False
        """Whether quick attempts wait until nothing else is ready, for this thread to do one."""
        self._held: InThread | None = None
        self._held_for = 0

    # ---- from outside

    def feed(self, index: int, value: Any) -> None:
        self._deliver(value, self.flow.inputs[index], self._root)

    def has(self, wanted: Sequence[int]) -> bool:
        first, slots = self.flow.end.first, self._root.slots
        return all(slots[first + index] is not ABSENT for index in wanted)

    def outputs(self, wanted: Sequence[int]) -> Values:
        first, slots = self.flow.end.first, self._root.slots
        found = [slots[first + index] for index in wanted]
        if any(value is ABSENT for value in found):
            raise Internal("the step ended without all of its outputs", op=self.name)
        return found

    @property
    def is_idle(self) -> bool:
        return not self._ready and not self._in_flight

    @property
    def is_waiting(self) -> bool:
        return bool(self._in_flight)

    @property
    def has_news(self) -> bool:
        return bool(self._arrived) or self._stop_with is not None

    def waiting_for(self) -> list[Node]:
        return [node for node, _ in self._in_flight.values()]

    @property
    def attempts(self) -> Collection[Any]:
        """What is under way."""
        return self._in_flight.keys()

    # ---- driving

    def advance(self) -> None:
        while True:
            self.proceed()
            if not self.is_unsure:
                return
            if not look_at([self], PATIENCE):
                self.wait_in_threads()

    @property
    def is_unsure(self) -> bool:
        """Whether something hangs on values that a device is still computing, and that nobody waits for."""
        return False

    def look(self) -> bool:
        """Whether one of these values has been computed; who hangs on it is ready then."""
        return False

    def wait_in_threads(self) -> None:
        """Have threads wait for these values."""

    def proceed(self) -> None:
        """Take what has arrived, and run what is ready."""
        while self._arrived:
            self._settle(self._arrived.popleft())
        if self._stop_with is not None and self.error is None:
            self.stop(self._stop_with)
        ready = self._ready
        while ready:
            node, iteration = ready.popleft()
            first, last = node.first, node.last
            slots = iteration.slots
            values = slots[first:last]
            slots[first:last] = node.blank
            try:
                results = node.run(values) if node.mode == SYNC else self._run(node, iteration, values)
            except Exception as error:
                self.stop(located(error, node))
                return
            if results is not None:
                self._propagate(node, iteration, results)
            if self._stop_with is not None:
                self.stop(self._stop_with)
                return

    def _deliver(self, value: Any, edges: Edges, iteration: Iteration) -> None:
        slots, pending = iteration.slots, iteration.pending
        for slot, target in edges:
            slots[slot] = value
            left = pending[target.index] = pending[target.index] - 1
            if not left:
                self._ready.append((target, iteration))

    def _propagate(self, node: Node, iteration: Iteration, results: Sequence[Any]) -> None:
        for value, edges in zip(results, node.edges, strict=True):
            self._deliver(value, edges, iteration)
        for target in node.controls:
            left = iteration.pending[target.index] = iteration.pending[target.index] - 1
            if not left:
                self._ready.append((target, iteration))

    def _run(self, node: Node, iteration: Iteration, values: Values) -> Sequence[Any] | None:
        """The results of an op of the host, or None where they come later."""
        if node.mode == BEGINS:
            assert node.begin is not None
            return self._begin(node, iteration, node.begin(values, self._over))
        run, n = node.run, node.arrays
        if all(map(is_computed, values[:n])):
            return run(with_arrays(values, n))
        here = copy_context()  # so that NumPy's options are as in the driver's thread
        wait_and_run = InThread(lambda: here.run(run, with_arrays(values, n)), self._over, node.name)
        return self._begin(node, iteration, wait_and_run)

    def _begin(self, node: Node, iteration: Iteration, attempt: Any) -> Sequence[Any] | None:
        self._in_flight[attempt] = (node, iteration)
        if isinstance(attempt, InThread):
            attempt.done, attempt.begun_by = self._over_in_thread, self._caller or attempt.begun_by
            if self._holds and attempt.is_quick and self._held is None:
                self._held, self._held_for = attempt, 0
                return None
        if not attempt.owner.submit(attempt):
            return None
        del self._in_flight[attempt]
        if attempt.error is not None:
            raise attempt.error
        return _results(node, attempt)

    def _over(self, attempt: Any) -> None:
        self._arrived.append(attempt)
        self._notify()

    def _over_in_thread(self, attempt: InThread) -> Task | None:
        self._arrived.append(attempt)
        if self._context is not None and is_worker():
            return self.drive_on
        self._notify()
        return None

    def _advance_held(self) -> Task | None:
        self._holds = True
        try:
            self.advance()
        finally:
            self._holds = False
        held, self._held = self._held, None
        return held

    def _settle(self, attempt: Any) -> None:
        found = self._in_flight.pop(attempt, None)
        if found is None or self.error is not None:
            return
        node, iteration = found
        if attempt.error is not None:
            self.stop(located(attempt.error, node))
            return
        try:
            results = _results(node, attempt)
        except DfcError as error:
            self.stop(located(error, node))
        else:
            self._propagate(node, iteration, results)

    def _withdraw(self, error: DfcError) -> None:
        for attempt in list(self._in_flight):
            attempt.owner.cancel(attempt)

    def stop(self, error: DfcError) -> None:
        self.error = error
        self._ready.clear()
        for attempt, (node, _) in list(self._in_flight.items()):
            attempt.owner.cancel(attempt)
            if self.error is self._stop_with and type(error) is Cancelled and type(attempt.error) is Cancelled:
                self.error = located(attempt.error, node)
        self._in_flight.clear()
        self._root.slots.clear()


def look_at(executions: Sequence[Execution], seconds: float) -> bool:
    """Look for so long, with nothing else to do, for the values that these are unsure of; whether there is something to
    do now."""
    until = monotonic() + seconds
    while True:
        looked = [execution.look() for execution in executions]
        if any(looked) or any(execution.has_news for execution in executions):
            return True
        if monotonic() > until:
            return False
        sleep(0)


def _results(node: Node, attempt: Any) -> Sequence[Any]:
    if node.finish is not None:
        return node.finish(attempt.result)
    return attempt.result or ()


def located(error: BaseException, node: Node) -> DfcError:
    """The error with the op and the user's line."""
    found = error if isinstance(error, DfcError) else wrapped(error)
    return found.at(op=node.name, location=node.where)
