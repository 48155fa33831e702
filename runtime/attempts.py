"""Waiting for one another: attempts, and the objects that decide which of them may go on.

An `Attempt` is one wish: to put something in, to take something out, to close. A `Waitable` (a queue, a barrier, an
accumulator) keeps those that cannot go on yet in lines, first come first served, and looks at them again whenever
something has changed. No thread is held: what waits is an object in a line, and its `done` is called when it is over.

What holds at every moment, a KeyboardInterrupt included: each element is in exactly one place. A step marks what it
does and does it with no bytecode between at which Python looks for signals: attributes are stored, then one function
written in C is called. So wherever an interrupt falls, the lines can be looked at again, and are.

The thread that has the lock may come again, in a signal handler or a finaliser that runs meanwhile. It finds `busy`
set, leaves its attempt in the line, and the code beneath looks at it before it lets go of the lock.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any, ClassVar

from dfc.errors import Cancelled, DeadlineExceeded, DfcError, FailedPrecondition, Internal

Done = Callable[["Attempt"], None]
Line = OrderedDict["Attempt", None]  # one attempt leaves in constant time, wherever it stands

URGENT, PUTS, TAKES = range(3)  # the lines, in the order in which they are looked at
NEW, WAITING, COMPLETED, CANCELLED = range(4)  # an attempt's states
LONGEST_SLEEP = 0.5
"""Seconds. A signal that the kernel gives to another thread, or that comes just before the sleep, doesn't end it."""


def ignore(attempt: Attempt) -> None:
    """The `done` of an attempt that nobody is to be told about."""


class Attempt:
    """One wish, made by a method of the object it is about; `submit` or `wait` of that object start it, once.

    `result` is valid once the attempt has completed without `error`: a list of components for dequeues and takes, else
    None. `done` is called with the attempt when `submit` returned False and nobody cancelled it: exactly once, with no
    lock held, from whichever thread made it possible. It must not block. An Exception in it goes to
    `sys.unraisablehook`, an interrupt up in the thread that runs it; that cannot fall into one written in C, and one
    written in Python is then called once more.
    """

    __slots__ = ("done", "error", "notify", "owner", "result", "state")

    operation: str
    """As errors name it."""
    line: ClassVar[int]
    single: ClassVar[bool] = False
    """Whether a step does all or nothing."""
    collects: ClassVar[bool] = False
    """Whether `settle` has something to do after completion."""

    def __init__(self, owner: Any, done: Done) -> None:
        self.owner, self.done = owner, done
        self.result: Any = None
        self.error: DfcError | None = None
        self.state = NEW
        # called with the lock held when the attempt is over, completed or cancelled; written in C
        self.notify: Callable[[Attempt], object] | None = None

    def step(self) -> bool:
        """Go on as far as possible, with the owner's lock held; whether that changed anything. Sets `state` once the
        attempt is over. May be called again after an interrupt."""
        raise NotImplementedError

    def fail(self, error: DfcError) -> None:
        """Complete with an error, in a step."""
        if self.state == WAITING:
            self.error = error
            self.state = COMPLETED

    def undo(self) -> Callable[[], object] | None:
        """A function written in C that gives back what a step has taken so far; None where there is nothing."""
        return None

    def withdraw(self, error: DfcError) -> None:
        """End the attempt because it is cancelled, and give back what it had taken."""
        back = self.undo()
        if self.state in (NEW, WAITING):
            self.error = error
            self.state = CANCELLED
            if back is not None:
                back()

    def settle(self) -> None:
        """Make `result`, or `error`, of what was collected. Without the lock, for it may take long."""
        try:
            self.assemble()
        except DfcError as error:
            self.error = error
        except Exception as error:
            self.error = Internal(f"{self.operation} could not put its result together: {error}")
            self.error.__cause__ = error

    def assemble(self) -> None:
        """What `settle` does; interrupted, it is done again."""


class Immediate(Attempt):
    """Completes at once: a batch of no elements."""

    __slots__ = ("operation",)
    line = URGENT

    def __init__(self, owner: Waitable, done: Done, operation: str, result: Any = None) -> None:
        super().__init__(owner, done)
        self.operation, self.result = operation, result

    def step(self) -> bool:
        if self.state == WAITING:
            self.state = COMPLETED
        return True


class Waitable:
    """Base of queues, barriers and accumulators. All methods may be called from any thread."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        self.lines: tuple[Line, Line, Line] = (OrderedDict(), OrderedDict(), OrderedDict())
        self._lock: Any = threading.RLock()
        self._busy = False
        self._again = False  # somebody came while it was busy: look at the lines once more
        self._finished: deque[Attempt] = deque()  # what is over and not told yet, in order
        self._teller = 0  # the thread that tells them: one at a time keeps the order

    def __repr__(self) -> str:
        return f"{self.kind} {self.name!r}" if self.name else self.kind

    def submit(self, attempt: Attempt) -> bool:
        """Start an attempt. True: it has completed, see its `error` and `result`; `done` is not called. False: `done`
        is called later.

        Raises FailedPrecondition for an attempt that was submitted before, and what a signal handler raises meanwhile;
        the attempt is then cancelled, unless it had completed.
        """
        if attempt.state != NEW and attempt.state != CANCELLED:
            raise self._submitted_before(attempt)
        return self._start(attempt, self._finished.append)

    def cancel(self, attempt: Attempt, error: DfcError | None = None) -> bool:
        """Withdraw an attempt. True: it had not completed and never will; `error` is set and `done` not called. False:
        it had completed. What it had put in stays, what it had taken goes back."""
        try:
            with self._lock:
                if attempt.state in (NEW, WAITING):
                    error = error or Cancelled(f"{attempt.operation} operation was cancelled")
                    if self._busy:
                        self._withdraw(attempt, error)
                        self._again = True
                    else:
                        self._alone(self._withdraw, attempt, error)
            if self._finished:
                tell(self)
        except BaseException:
            if self._finished:
                tell(self)
            raise
        return attempt.state == CANCELLED

    def wait(self, attempt: Attempt, timeout: float | None = None) -> Any:
        """Submit an attempt and block until it is over: its result, or its error raised. `done` is not called.

        Raises DeadlineExceeded after `timeout` seconds; the attempt is then cancelled, as it is by an interrupt.
        FailedPrecondition for an attempt that was submitted before, and where a signal handler or a finaliser would
        wait for the very code that it has interrupted.
        """
        if attempt.state != NEW and attempt.state != CANCELLED:
            raise self._submitted_before(attempt)
        channel: SimpleQueue[Attempt] = SimpleQueue()
        try:
            if not self._start(attempt, channel.put):
                self._block(attempt, channel, timeout)
        except BaseException:
            self.cancel(attempt)
            raise
        if attempt.error is not None:
            raise attempt.error
        return attempt.result

    def reentered(self, what: str) -> FailedPrecondition:
        """The error for what cannot be done by the thread that has the lock already."""
        return FailedPrecondition(
            f"{what} was called from a signal handler or a finaliser that interrupted a call on the same {self.kind}",
            hint="set a flag there that the main program looks at",
        )

    def _block(self, attempt: Attempt, channel: SimpleQueue[Attempt], timeout: float | None) -> None:
        if self._lock._is_owned() and self.cancel(attempt, self.reentered(f"waiting for {attempt.operation}")):
            return
        end = None if timeout is None else monotonic() + timeout
        while attempt.state == WAITING:  # looked at again, for an interrupted `cancel` may have told nobody
            left = LONGEST_SLEEP if end is None else min(end - monotonic(), LONGEST_SLEEP)
            try:
                channel.get(timeout=max(left, 0))
                break
            except Empty:
                late = end is not None and monotonic() >= end
            if late and self.cancel(attempt, self._too_late(attempt, timeout)):
                return
        if attempt.collects and attempt.state == COMPLETED:
            attempt.settle()

    def _submitted_before(self, attempt: Attempt) -> FailedPrecondition:
        return FailedPrecondition(
            f"this {attempt.operation} on {self} was submitted before", hint="make a new attempt for each try"
        )

    def _too_late(self, attempt: Attempt, timeout: float | None) -> DeadlineExceeded:
        return DeadlineExceeded(f"{attempt.operation} on {self} was not possible within {timeout} s")

    def _start(self, attempt: Attempt, notify: Callable[[Attempt], object]) -> bool:
        """Submit; `notify` is called if that returns False, when the attempt is over."""
        try:
            with self._lock:
                if self._busy:
                    if attempt.state == NEW:
                        attempt.state, attempt.notify = WAITING, notify
                        self.lines[attempt.line][attempt] = None
                        self._again = True
                else:
                    self._busy = True
                    try:
                        if self._admit(attempt) or self._again:
                            self._advance()
                    except BaseException:
                        self._advance()  # an interrupt must not leave those waiting who can go on
                        raise
                    finally:
                        self._busy = False
                    attempt.notify = notify
                over = attempt.state != WAITING  # asked with the lock held: nobody has been notified yet
            if self._finished:
                tell(self)
        except BaseException:
            self.cancel(attempt)
            raise
        if over and attempt.collects:
            attempt.settle()
        return over

    def _alone(self, change: Callable[..., bool], *arguments: Any) -> None:
        """Change something, with the lock held and nobody beneath; where it says so, let those go on who can."""
        self._busy = True
        try:
            if change(*arguments) or self._again:
                self._advance()
        except BaseException:
            self._advance()
            raise
        finally:
            self._busy = False

    def _admit(self, attempt: Attempt) -> bool:
        """Try a new attempt, or put it in its line. Whether others are to be looked at."""
        if attempt.state != NEW:
            return False
        attempt.state = WAITING
        line = self.lines[attempt.line]
        first = not line
        if first and attempt.single:  # the usual case needs no line
            if attempt.step():
                return bool(self.lines[PUTS] or self.lines[TAKES])
            first = False
        if attempt.state == WAITING:
            line[attempt] = None
        return first

    def _advance(self) -> None:
        """Let those go on who can, until nothing changes any more."""
        changed = True
        while changed or self._again:
            changed = self._again = False
            for line in self.lines:
                while (attempt := _first(line)) is not None:
                    if attempt.state == WAITING and attempt.step():
                        changed = True
                    if attempt.state == WAITING:
                        break
                    if attempt.state == COMPLETED:
                        notify = attempt.notify
                        del line[attempt]
                        if notify is not None:
                            notify(attempt)
                    else:
                        line.pop(attempt, None)

    def _withdraw(self, attempt: Attempt, error: DfcError) -> bool:
        attempt.withdraw(error)
        self.lines[attempt.line].pop(attempt, None)
        if attempt.state == CANCELLED and attempt.notify is not None:
            attempt.notify(attempt)
        return True

    def _tell(self) -> None:
        """Call the `done` of finished attempts, unless another thread is at it."""
        me, finished = threading.get_ident(), self._finished
        try:
            with self._lock:
                if self._teller not in (0, me):
                    return
                self._teller = me
            while True:
                while finished:
                    attempt = finished[0]
                    if attempt.state == CANCELLED:
                        del finished[0]
                        continue
                    if attempt.collects:
                        attempt.settle()
                    del finished[0]
                    try:
                        attempt.done(attempt)
                    except Exception as error:  # not the business of whoever made it possible
                        _report(attempt, error)
                    except BaseException:
                        if isinstance(attempt.done, FunctionType | MethodType):  # it may not even have begun
                            attempt.done(attempt)
                        raise
                with self._lock:
                    if not finished:
                        self._teller = 0
                        return
        except BaseException:
            if self._teller == me:
                self._teller = 0
            raise


def _first(line: Line) -> Attempt | None:
    for attempt in line:  # not by `iter` and `next`, between which the line could change
        return attempt
    return None


def _report(attempt: Attempt, error: Exception) -> None:
    what: Any = SimpleNamespace(
        exc_type=type(error),
        exc_value=error,
        exc_traceback=error.__traceback__,
        err_msg=f"Exception ignored in `done` of {attempt.operation}",
        object=attempt.done,
    )
    sys.unraisablehook(what)


class _Agenda(threading.local):
    """What this thread has to tell, while it does."""

    waitables: deque[Waitable] | None = None


_agenda = _Agenda()


def tell(waitable: Waitable) -> None:
    """Call `done` of what has finished on an object. A `done` that makes others finish, on this object or another,
    leaves them to the loop that called it, so that a chain of them needs no depth."""
    agenda = _agenda.waitables
    if agenda is not None:
        agenda.append(waitable)
        return
    if waitable._lock._is_owned():  # in a signal handler: the code beneath tells, once it has let go of the lock
        return
    _agenda.waitables = agenda = deque([waitable])
    try:
        _tell_all(agenda)
    except BaseException:
        _tell_all(agenda)  # the others are told all the same
        raise
    finally:
        _agenda.waitables = None


def _tell_all(agenda: deque[Waitable]) -> None:
    while agenda:
        agenda[0]._tell()
        del agenda[0]
