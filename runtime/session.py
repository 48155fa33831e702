"""What a session keeps between steps: variables and other resources, the steps under way, and whether it is open."""

from __future__ import annotations

import atexit
import operator
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from dfc.backends import pipeline, xla
from dfc.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, InvalidType
from dfc.ir.collector import paused
from dfc.ir.dtypes import bfloat16
from dfc.ir.sharding import MeshSpec
from dfc.passes.costs import Costs
from dfc.passes.expected import Expected
from dfc.passes.partition import input_names, parts_of
from dfc.passes.phases import Phase
from dfc.passes.specialize import specialize
from dfc.runtime.executor import Driving
from dfc.runtime.host import Binding
from dfc.runtime.measuring import Stopwatch, copied, lower_apart
from dfc.runtime.memory import Account, Held, held_by
from dfc.runtime.meshes import mesh_for
from dfc.runtime.partitioned import AnyStep, step_of
from dfc.runtime.placing import first_device, lower
from dfc.runtime.step import Step, standing_in
from dfc.runtime.submitted import Driven, Submitted
from dfc.runtime.timeline import RECORDING
from dfc.runtime.variables import VariableState
from dfc.runtime.workers import WORKERS

Values = list[Any]
PLACEMENTS = ("rules", "costs")
"""How what asks for no device gets one."""
POLL = 0.0005, 0.02
"""Seconds between two looks at a result that a device is still computing: at first, and at most."""

TRANSFER_DTYPES = None, bfloat16.name
"""What float32 values may be on their way between devices; None is as they are."""

_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_count_fork)


@dataclass(frozen=True)
class SessionConfig:
    """How a session runs its steps.

    `device_memory_limit` is how many bytes variables and what loops keep for gradients may take, on all devices of the
    session together; what is computed in between does not count, nor do variables in the host's memory but for as long
    as a step has them on a device. Over it is ResourceExhausted, which names the largest.

    `cluster=False` compiles each operation by itself: slower, and useful to see what an operation does, or to measure
    the executor. `host_threads` is how many threads for user code and other work on the host stay when there is nothing
    to do; there are as many as there is such work at once, so that none waits for another. (XLA's own threads are one
    pool a process, as many as there are cores.)

    With `soft_placement` an operation for whose device there is none, or no kernel, is placed elsewhere in its task;
    without it that is an error. `log_device_placement` prints a line for each operation of each step that is compiled,
    `name: (kind): device`.

    With `transfer_dtype="bfloat16"` float32 values are rounded to that on their way from one device to another, which
    halves what is sent: each has a relative error below 2^-8. Other values, and what stays on its device, are exact.

    What asks for no device is on the first one by the "rules" of `placement`. With "costs" a step is simulated and each
    operation put where it should be done first, with times and speeds from `costs`: estimated ones by default,
    `session.measure` gives measured ones. `session.expected` has what the simulation expects, and the log ends in it.
    Variables stay where the first step has them that does more than give them values.
    """

    cluster: bool = True
    host_threads: int = 4
    device_memory_limit: int | None = None
    soft_placement: bool = True
    log_device_placement: bool = False
    transfer_dtype: str | None = None
    placement: str = "rules"
    costs: Costs | None = None

    def __post_init__(self) -> None:
        for name in ("cluster", "soft_placement", "log_device_placement"):
            if not isinstance(value := getattr(self, name), bool):
                raise InvalidType(f"{name} must be True or False, got {value!r}", op="SessionConfig")
        threads = self.host_threads
        if isinstance(threads, bool) or not isinstance(threads, int):
            raise InvalidType(f"host_threads must be an int, got {threads!r}", op="SessionConfig")
        if threads < 0:
            raise InvalidArgument(f"host_threads must be 0 or more, got {threads}", op="SessionConfig")
        if self.transfer_dtype not in TRANSFER_DTYPES:
            allowed = " or ".join(map(repr, TRANSFER_DTYPES))
            raise InvalidArgument(f"transfer_dtype must be {allowed}, got {self.transfer_dtype!r}")
        limit = self.device_memory_limit
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit <= 0):
            raise InvalidArgument(f"device_memory_limit must be a positive int or None, got {limit!r}")
        if self.placement not in PLACEMENTS:
            raise InvalidArgument(
                f"placement must be {' or '.join(map(repr, PLACEMENTS))}, got {self.placement!r}", op="SessionConfig"
            )
        if self.costs is not None and not isinstance(self.costs, Costs):
            raise InvalidType(f"costs must be dfc.Costs, got {self.costs!r}", op="SessionConfig")
        if self.costs is not None and self.placement != "costs":
            raise InvalidArgument(
                "costs are given, and placement is by rules", op="SessionConfig", hint="say placement='costs' too"
            )


class Running:
    """The steps of a session that are under way: what closing it has to end."""

    def __init__(self) -> None:
        self._executions: dict[int, Driving] = {}
        self._closed = False
        _all.add(self)

    def add(self, execution: Driving) -> None:
        self._executions[id(execution)] = execution
        if self._closed:
            execution.cancel()

    def remove(self, execution: Driving) -> None:
        self._executions.pop(id(execution), None)

    def close(self) -> None:
        """Cancel all, those that are being added included."""
        self._closed = True
        for execution in list(self._executions.values()):
            execution.cancel()

    def __len__(self) -> int:
        return len(self._executions)


_all: weakref.WeakSet[Running] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """At the end of the process: no thread shall go on with a step."""
    for running in list(_all):
        running.close()


class SessionStep:
    """One pruned, compiled step: `run` takes fed arrays in the order of `inputs`. `places` says for each input which of
    the caller's feeds it is."""

    def __init__(
        self,
        step: AnyStep,
        inputs: Sequence[str],
        running: Running,
        check_memory: Callable[[], None] | None = None,
        expected: Expected | None = None,
    ) -> None:
        self.expected = expected
        """What is expected of it, if it was placed by costs."""
        self.step, self.inputs, self._running = step, list(inputs), running
        self._check_memory = check_memory
        self.places = list(range(len(self.inputs)))
        self._start, self._kept, self._wanted = step.start, step.kept, range(step.n_outputs)
        self.direct: Callable[[Values], Values] | None = step.run if step.is_direct and check_memory is None else None

    def run(self, feeds: Values, timeout: float | None = None) -> Values:
        """The outputs, not awaited unless there is a time limit."""
        deadline = deadline_after(timeout)
        if self.direct is not None and not RECORDING:
            device = self.step.device
            results = self.direct([xla.fed(feed, device) for feed in feeds])
        else:
            execution = self.start(feeds)
            try:
                results = execution.run(self._wanted, deadline)
            finally:
                self.end(execution)
        if deadline is not None:
            wait_until(results, deadline, self.step.name)
        return results

    def submit(self, feeds: Values, finish: Callable[[Values], Any], timeout: float | None) -> Submitted:
        """Run without anybody waiting; `finish` makes the result of the outputs, in the thread that has them."""
        deadline_after(timeout)  # says what is wrong with it
        execution = self.start(feeds, always_copy=True)
        return Driven(execution, self._wanted, finish, self.end, timeout, self.step.name).start()

    def end(self, execution: Driving) -> None:
        """Let go of a step that is over, or whose outputs nobody wants any more."""
        self._running.remove(execution)
        if not execution.is_idle:
            execution.cancel()
        execution.close()

    def start(self, feeds: Values, always_copy: bool = False) -> Driving:
        """The step with these inputs given, the first ones, ready to be driven. Arrays that may be in use when the
        caller's call returns are copied: those that a queue may keep, or with `always_copy` all."""
        if self._check_memory is not None:
            self._check_memory()
        started = self._start()
        try:
            self._running.add(started)
            for index, value in enumerate(feeds):
                started.feed(index, own(value) if always_copy or index in self._kept else value)
        except BaseException:
            self.end(started)
            raise
        return started


def own(value: Any) -> Any:
    """The value in memory of its own: who fed an array may write to it as soon as the call returns."""
    return value.copy() if isinstance(value, np.ndarray) else value


def deadline_after(timeout: float | None) -> float | None:
    """When so many seconds are over. Raises InvalidType for what is no number."""
    if timeout is None:
        return None
    try:
        return monotonic() + float(operator.pos(timeout))
    except TypeError:
        raise InvalidType(f"a time limit is a number of seconds, got {timeout!r}") from None


def wait_until(results: Values, deadline: float, name: str) -> None:
    """Wait for devices to compute the results. Raises DeadlineExceeded; the computation itself goes on."""
    pause = POLL[0]
    for result in results:
        while hasattr(result, "is_ready") and not result.is_ready():
            if monotonic() >= deadline:
                raise DeadlineExceeded("the time limit passed while a device computed", op=name)
            sleep(min(pause, max(0.0, deadline - monotonic())))
            pause = min(2 * pause, POLL[1])


class SessionState:
    """The values of a session, shared by its steps, and its life: open, closed, or left behind by a fork."""

    def __init__(self, config: SessionConfig) -> None:
        self.config = config
        self.variables: dict[str, VariableState] = {}
        self.resources: dict[Any, Any] = {}
        self.memory = Account(config.device_memory_limit, self._variables_held)
        self.running = Running()
        self.lock = threading.RLock()
        self.closed = False
        self._forks = _forks
        WORKERS.keep = max(WORKERS.keep, config.host_threads)

    def check_open(self) -> None:
        """Raise FailedPrecondition for a session that is closed, or was made before this process was forked."""
        if self._forks != _forks:
            raise FailedPrecondition(
                "the session was made before this process was forked, and XLA's threads are not in the child",
                hint="make the session in the child, or start processes with multiprocessing's method 'spawn'",
            )
        if self.closed:
            raise FailedPrecondition("Attempted to use a closed Session.")

    @property
    def is_usable(self) -> bool:
        """`check_open`, for the fast path."""
        return not self.closed and self._forks == _forks

    def compile(
        self,
        program: ModuleOp,
        name: str,
        bindings: Mapping[str, int],
        binding: Binding,
        *,
        late_inputs: bool = False,
        mesh: MeshSpec | None = None,
    ) -> SessionStep:
        """The program's function `name`, at phase `trace`, as a step of this session. With `mesh`, of the whole graph,
        what asks for nothing is on that. No lock is held meanwhile."""
        passes = self._passes(binding, late_inputs)
        with paused():
            lowered = specialize(program, bindings) if bindings else program
            config = self.config
            expected = lower(
                lowered,
                passes=passes,
                soft=config.soft_placement,
                log=config.log_device_placement,
                costs=self._costs,
                variables=binding.variables,
                mesh=None if mesh is None else mesh_for(mesh),
            )
            funcs = parts_of(lowered, name)
        step = step_of(funcs, standing_in(funcs, binding.variables), name, binding)
        check = None
        if self.config.device_memory_limit is not None:
            states = [binding.variables[variable] for variable in step.variables]

            def check() -> None:
                self.memory.require_room(held_by(v) for v in states if not self._is_counted(v))

        return SessionStep(step, input_names(funcs), self.running, check, expected)

    def compile_apart(
        self, program: ModuleOp, name: str, bindings: Mapping[str, int], binding: Binding
    ) -> tuple[SessionStep, Stopwatch]:
        """The same with each op an island of its own on the first device, timed, on copies of the variables."""
        with paused():
            lowered = specialize(program, bindings) if bindings else program
            lower_apart(lowered)
            (func,) = parts_of(lowered, name)
        variables = copied(func, binding.variables)
        watch = Stopwatch(variables, first_device().kind or "")
        step = Step(func, variables, name=name, binding=replace(binding, variables=variables), around=watch.around)
        return SessionStep(step, input_names([func]), self.running), watch

    @property
    def costs(self) -> Costs:
        """What the session places by, or would."""
        return self.config.costs or Costs()

    @property
    def _costs(self) -> Costs | None:
        """What to place by, unless that is by rules."""
        if self.config.placement == "rules":
            return None
        return replace(self.costs, rounded=self.config.transfer_dtype is not None)

    def _passes(self, binding: Binding, late_inputs: bool) -> dict[Phase, str]:
        """What takes the place of default passes for this session."""
        config, options = self.config, dict[str, dict[str, Any]]()
        limit = config.device_memory_limit
        if late_inputs or not config.cluster:
            options["cluster"] = {"separate": not config.cluster, "late_inputs": late_inputs}
        if late_inputs or limit is not None:
            others = sum(held_by(v).nbytes for v in binding.variables.values() if not v.is_offloaded)
            room = {"limit": limit, "taken": others} if limit else {}
            options["offload"] = {**room, "late_inputs": late_inputs}
            if limit is not None:
                options["lower-control-flow"] = {**room, "swap": True}
        if config.transfer_dtype is not None:
            options["partition"] = {"wire": config.transfer_dtype}
        return pipeline.adjusted(options) if options else {}

    def _variables_held(self) -> Iterator[Held]:
        return (held_by(v) for v in list(self.variables.values()) if v.is_initialized and not v.is_offloaded)

    def _is_counted(self, state: VariableState) -> bool:
        return state.is_initialized and self.variables.get(state.name) is state

    def close(self) -> None:
        """End every step with Cancelled, and take no more."""
        self.closed = True
        self.running.close()
