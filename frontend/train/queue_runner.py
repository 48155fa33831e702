"""`dfc.train.QueueRunner`: threads that keep a queue filled until a coordinator stops them or it is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from dfc.errors import Aborted, Cancelled, FailedPrecondition, InvalidArgument, InvalidType, OutOfRange
from dfc.frontend.graph_trace import GraphTrace, current_graph
from dfc.frontend.operation import Operation
from dfc.frontend.ops.shape import error_here
from dfc.frontend.queues import QueueBase
from dfc.frontend.tensor import Tensor
from dfc.frontend.train.coordinator import Coordinator

if TYPE_CHECKING:
    from dfc.frontend.session import Session

Run = Callable[[], Any]
Op = Operation | Tensor | Run
"""An operation of a graph, or a function of no arguments."""


class QueueRunner:
    """Runs the operations that fill a queue, each in a thread of its own, over and over.

    A thread ends when its coordinator stops, or when an operation fails with one of `queue_closed_exceptions`: the
    queue was closed, or what its elements are made from has come to an end. The last one to end closes the queue, so
    that who takes from it gets OutOfRange once it is empty. Any other error goes to the coordinator. When that stops,
    the queue is closed and operations that wait to put something in are cancelled; one that waits for another queue
    ends when that is closed.

    `enqueue_ops` are operations of a graph, or functions of no arguments, traced or not; one that stands there several
    times has so many threads. `cancel_op` and `close_op` are by default
    `queue.close(cancel_pending_enqueues=True)` and `queue.close()`. A runner is made in the queue's graph:

        with dfc.Graph() as graph:
            queue = dfc.FIFOQueue(100, "float32", shapes=())
            fill = queue.enqueue(dfc.random.normal(()))
            dfc.train.add_queue_runner(dfc.train.QueueRunner(queue, [fill] * 2))
            x = queue.dequeue()
        with dfc.Session(graph) as session:
            coordinator = dfc.train.Coordinator()
            threads = dfc.train.start_queue_runners(session, coordinator)
            session.run(x)
            coordinator.request_stop()
            coordinator.join(threads)

    Raises InvalidArgument without operations, InvalidType for what is none.
    """

    def __init__(
        self,
        queue: QueueBase,
        enqueue_ops: Iterable[Op],
        cancel_op: Op | None = None,
        close_op: Op | None = None,
        queue_closed_exceptions: Sequence[type[BaseException]] = (OutOfRange, Cancelled),
    ) -> None:
        if not isinstance(queue, QueueBase):
            raise error_here(InvalidType, f"the runner of a queue is needed, got {queue!r}", "QueueRunner")
        self.queue, self.enqueue_ops = queue, list(enqueue_ops)
        self.queue_closed_exceptions = tuple(queue_closed_exceptions)
        if not self.enqueue_ops:
            raise error_here(InvalidArgument, "at least one operation that enqueues is needed", "QueueRunner")
        self.cancel_op = self._closing(True) if cancel_op is None else cancel_op
        self.close_op = self._closing(False) if close_op is None else close_op
        for op in (*self.enqueue_ops, self.cancel_op, self.close_op):
            _require_runnable(op)
        self._lock = threading.Lock()
        self._threads: dict[int, list[threading.Thread]] = {}  # by the id of the session
        self._errors: list[BaseException] = []

    def _closing(self, cancel: bool) -> Op:
        queue = self.queue
        if queue.graph is None:
            return lambda: queue.close(cancel_pending_enqueues=cancel)
        with queue.graph.aside():
            return queue.close(cancel_pending_enqueues=cancel)

    @property
    def exceptions_raised(self) -> list[BaseException]:
        """The errors that ended threads, other than `queue_closed_exceptions`."""
        return list(self._errors)

    def create_threads(
        self,
        session: Session | None = None,
        coordinator: Coordinator | None = None,
        daemon: bool = True,
        start: bool = False,
    ) -> list[threading.Thread]:
        """A thread for each operation, which runs it in the session, and with a coordinator one that waits for its
        stop. They are registered there, and started if `start` says so. Where there are some in that session that have
        not ended, there are no new ones.

        Without a coordinator they end when the queue or the session is closed, and an error is raised in its thread.
        `session` may be None where all operations are functions; else it raises FailedPrecondition.
        """
        ops = (*self.enqueue_ops, self.cancel_op, self.close_op)
        *fills, cancel, close = (_runnable(op, session) for op in ops)
        team = _Team(self, session, coordinator, len(fills), cancel, close)
        name = f"QueueRunner {self.queue.name}"
        with self._lock:
            if any(t.ident is None or t.is_alive() for t in self._threads.get(id(session), ())):
                return []
            threads = [
                threading.Thread(target=team.fill, args=(run,), name=f"{name} {index}", daemon=daemon)
                for index, run in enumerate(fills)
            ]
            self._threads[id(session)] = list(threads)
        if coordinator is not None:
            watch = threading.Thread(target=team.watch, args=(coordinator,), name=f"{name} stop", daemon=daemon)
            threads.append(watch)
            for thread in threads:
                coordinator.register_thread(thread)
        if start:
            for thread in threads:
                thread.start()
        return threads


class _Team:
    """The threads of one runner in one session."""

    def __init__(
        self,
        runner: QueueRunner,
        session: Session | None,
        coordinator: Coordinator | None,
        n_fills: int,
        cancel: Run,
        close: Run,
    ) -> None:
        self._runner, self._session, self._coordinator = runner, session, coordinator
        self._cancel, self._close = cancel, close
        self._lock = threading.Lock()
        self._n_left = n_fills
        self._over = False
        self._news: SimpleQueue[Any] | None = None  # of the one who watches

    def fill(self, run: Run) -> None:
        """What a thread does."""
        error = self._fill(run)
        if error is not None:
            self._runner._errors.append(error)
            if self._coordinator is not None:
                self._coordinator.request_stop(error)
            else:
                self._end(self._cancel)
        with self._lock:
            self._n_left -= 1
            last = not self._n_left
        if last:
            self._end(self._close)
            self._over = True
            if self._news is not None:
                self._news.put(None)
        if error is not None and self._coordinator is None:
            raise error

    def _fill(self, run: Run) -> BaseException | None:
        """Run until there is a reason to end, and return that if it is an error."""
        coordinator = self._coordinator
        try:
            while coordinator is None or not coordinator.should_stop():
                run()
        except self._runner.queue_closed_exceptions:
            return None
        except BaseException as error:
            return None if self._is_closed(error) else error
        return None

    def watch(self, coordinator: Coordinator) -> None:
        """Wait for the stop, and then let nobody wait to put something in; or for the end of the others."""
        with coordinator.listening() as self._news:
            while not self._over and not coordinator.should_stop():
                self._news.get()
        if not self._over:
            self._end(self._cancel)

    def _end(self, close: Run) -> None:
        """Close the queue, unless it is closed already, or gone with the session."""
        try:
            close()
        except (Aborted, Cancelled):
            pass
        except BaseException as error:
            if not self._is_closed(error):
                self._runner._errors.append(error)
                if self._coordinator is not None:
                    self._coordinator.request_stop(error)

    def _is_closed(self, error: BaseException) -> bool:
        return isinstance(error, FailedPrecondition) and self._session is not None and self._session.closed


def _require_runnable(op: Any) -> None:
    if isinstance(op, Operation) and op._token is None:
        raise error_here(
            InvalidType,
            f"{op.name!r} has happened already, and can't happen again",
            "QueueRunner",
            hint="outside of a graph give a function that does it: lambda: queue.enqueue(...)",
        )
    if not isinstance(op, Operation | Tensor) and not callable(op):
        raise error_here(InvalidType, f"operations and functions are needed, got {op!r}", "QueueRunner")


def _runnable(op: Op, session: Session | None) -> Run:
    if not isinstance(op, Operation | Tensor):
        return op
    if session is None:
        raise error_here(FailedPrecondition, "operations of a graph need a session to run in", "QueueRunner")
    return session.make_callable(op)


def add_queue_runner(runner: QueueRunner) -> None:
    """Let `start_queue_runners` start the runner in sessions of the graph that is being built. Raises
    FailedPrecondition outside of `with dfc.Graph():`."""
    graph = current_graph()
    if graph is None:
        raise error_here(
            FailedPrecondition,
            "queue runners are added to a graph",
            "add_queue_runner",
            hint="call it in `with dfc.Graph():`, or runner.create_threads(start=True) without one",
        )
    if not isinstance(runner, QueueRunner):
        raise error_here(InvalidType, f"a QueueRunner is needed, got {runner!r}", "add_queue_runner")
    graph.queue_runners.append(runner)


def start_queue_runners(
    session: Session, coordinator: Coordinator | None = None, daemon: bool = True
) -> list[threading.Thread]:
    """Start all queue runners of the session's graph and return their threads: see `QueueRunner.create_threads`."""
    trace = session.graph.trace
    runners = trace.queue_runners if isinstance(trace, GraphTrace) else []
    return [thread for r in runners for thread in r.create_threads(session, coordinator, daemon, start=True)]
