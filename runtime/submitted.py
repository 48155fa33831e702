"""Steps that nobody waits for: driven by whatever thread has news for them, and never by more than one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from dfc.errors import DeadlineExceeded, DfcError
from dfc.runtime.executor import Driving
from dfc.runtime.flow import Values
from dfc.runtime.timers import TIMERS, Timer
from dfc.runtime.workers import WORKERS, no_thread


class Submitted(Future[Any]):
    """The result of a step that was submitted. `result(timeout)` waits for it, `cancel()` ends the step, whose result
    is then the error Cancelled; `asyncio.wrap_future` makes it awaitable."""

    def __init__(self) -> None:
        super().__init__()
        self.set_running_or_notify_cancel()
        self._end: Callable[[], None] | None = None

    def cancel(self) -> bool:
        """End the step, unless it is over. Whether it will end for that is seen in its result only."""
        end = self._end
        if self.done() or end is None:
            return False
        end()
        return True


class Driven:
    """Drives an execution in threads of `WORKERS`, which it holds only while there is something to run."""

    def __init__(
        self,
        execution: Driving,
        wanted: range,
        finish: Callable[[Values], Any],
        over: Callable[[Driving], None],
        timeout: float | None,
        name: str,
    ) -> None:
        self.future = Submitted()
        self._execution, self._wanted, self._finish, self._over = execution, wanted, finish, over
        self._name = name
        self._lock = threading.Lock()
        self._scheduled, self._again = False, False
        self._tokens: deque[None] = deque()  # one for who shall drive: after an interrupt there may be two tasks
        self._timer: Timer | None = None
        execution.on_arrival = self._schedule
        self.future._end = execution.cancel
        if timeout is not None:
            late = DeadlineExceeded("the time limit passed before the step had ended", op=name)
            try:
                self._timer = TIMERS.after(timeout, lambda: execution.cancel(late))
            except RuntimeError as error:
                over(execution)
                raise no_thread("a time limit", error).at(op=name) from error

    def start(self) -> Submitted:
        """Begin."""
        self._schedule()
        return self.future

    def _schedule(self) -> None:
        mine = False
        try:
            with self._lock:
                if self._scheduled:
                    self._again = True
                    return
                self._scheduled = mine = True
                self._tokens.append(None)
            WORKERS.submit(self._drive)
        except RuntimeError as error:
            self._give_up(no_thread("a step that was submitted", error))
        except BaseException:
            if mine:
                WORKERS.submit(self._drive)
            raise

    def _give_up(self, error: DfcError) -> None:
        """End the step here, for there is no thread to do it."""
        try:
            self._execution.stop(error.at(op=self._name))
        finally:
            self._settle(error=error)

    def _drive(self) -> None:
        try:
            self._tokens.pop()
        except IndexError:
            return
        while True:
            try:
                self._execution.advance()
                ended = self._execution.error is not None or self._execution.is_idle
                if ended:
                    self._end()
                    return
            except BaseException as error:  # whatever it is, it must not be lost with the thread
                self._settle(error=error)
                return
            with self._lock:
                if not self._again:
                    self._scheduled = False
                    return
                self._again = False

    def _end(self) -> None:
        execution = self._execution
        if execution.error is not None:
            self._settle(error=execution.error)
        else:
            self._settle(self._finish(execution.outputs(self._wanted)))  # waits for devices

    def _settle(self, result: Any = None, error: BaseException | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._over(self._execution)
        self.future._end = None
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)
