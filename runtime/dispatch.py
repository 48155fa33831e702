"""Running a plan in the user's process: compiled programs on shared variables, from any thread.

The one hot path of dfc: what `ProgramRun.run` does beyond the executable's own call is paid at every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import numpy as np

from dfc.backends import xla
from dfc.backends.mesh import Mesh, launches
from dfc.backends.status import translate
from dfc.backends.xla import Executable
from dfc.errors import DfcError, FailedPrecondition, Internal
from dfc.runtime.executor import Driving
from dfc.runtime.flow import DeviceOp, Flow, HostOp, Label
from dfc.runtime.frames import execution_of
from dfc.runtime.plan import LateCall, Plan, ProgramCall
from dfc.runtime.timeline import timed_host_op, timed_island
from dfc.runtime.variables import Device, Holder, Lost, Transfer, VariableState, join

Values = list[Any]
_Gather = Callable[[Values], Values]


class Direct(NamedTuple):
    """The parts of `ProgramRun._run` for a program of one feed and one output, so that `Function.__call__` can do it in
    its own frame: that and looking things up on two objects is 3 % of a small call."""

    holder: Holder
    acquired: Iterator[bool]
    release: Callable[[], None]
    waiting: list[Values]
    calls: Iterator[Values]
    program: ProgramRun
    tidy: Callable[[], None]


class _Several(NamedTuple):
    """The holders of a program's variables, in the order in which all steps lock them; where each variable is, as
    (holder, slot); and of each holder the (slot, variable) pairs that are written."""

    holders: list[Holder]
    places: list[tuple[int, int]]
    written: list[list[tuple[int, int]]]

    @classmethod
    def of(cls, located: Sequence[tuple[Holder, int]], n_written: int) -> _Several:
        holders = sorted({id(holder): holder for holder, _ in located}.values(), key=id)
        numbers = {id(holder): i for i, holder in enumerate(holders)}
        places = [(numbers[id(holder)], slot) for holder, slot in located]
        pairs: list[list[tuple[int, int]]] = [[] for _ in holders]
        for index, (number, slot) in enumerate(places[:n_written]):
            pairs[number].append((slot, index))
        return cls(holders, places, pairs)


_READS, _SLICE, _SCATTERED = range(3)  # how a program's written variables lie in a holder that it doesn't write whole


class ProgramRun:
    """A compiled program bound to variables: `run(feeds)` returns its outputs and leaves the new state in place.

    `states` are the variables in the order of the program's arguments, the first `n_written` of them written.
    """

    def __init__(
        self,
        executable: Executable,
        states: Sequence[VariableState],
        n_written: int,
        name: str,
        overwritten: Sequence[int] = (),
    ) -> None:
        self.executable, self.name = executable, name
        self._overwritten = overwritten  # those written without being read: they need no value before
        self._call = executable.call
        self._execute, self._handlers = executable.loaded.execute_sharded, executable.handlers  # what `call` does
        self._waiting, self._results = executable.channel()
        self._tidy = xla.tidier()
        self._new, self._outputs = slice(n_written), slice(n_written, None)
        self.states, self._n_written = list(states), n_written
        # Two ways to find the state, each stored whole: a slow thread that stores an outdated one is found out, since a
        # holder that has moved says so. `_whole` is the usual one, a holder of just these variables, in this order.
        self._whole = _unbound()
        self._binding: tuple[Holder, _Gather | None, int, list[int]] = (self._whole, None, _READS, [])
        self.run: Callable[[Values], Values] = self._run if states else self._run_pure
        self._feed_layouts = executable.layouts[len(self.states) :]
        if isinstance(executable.device, Mesh):
            self.run = self._run_on_mesh
        self._several: _Several | None = None
        """Where the variables are, if they are in several holders."""
        self.direct: Direct | None = None
        """After the first call of a program of one output that writes all of its holder."""

    def _run(self, feeds: Values) -> Values:
        """Dispatch on `feeds` (device arrays that fit the program's signature); the outputs are not awaited."""
        self._tidy()
        holder = self._whole
        for _ in holder.acquired:  # takes the lock; no signal is looked for between that and the `try`
            try:
                if holder.attention:
                    break
                waiting = self._waiting
                waiting += (holder.buffers + feeds,)  # not `append`: a call would look for signals
                for results in self._results:  # the call; no signal is looked for between that and the store
                    holder.buffers = results[self._new]
                    return results[self._outputs]
            except Exception as error:
                failed = translate(error, self.name)
                raise self._failed(holder, holder.buffers, feeds, failed) from error
            except BaseException:
                self._waiting.clear()  # an interrupt before the call leaves its arguments there
                raise
            finally:
                holder.release()
        return self._run_part(feeds)

    def _run_on_mesh(self, feeds: Values) -> Values:
        """The same on a mesh: feeds may be anywhere, and lie in any way. All programs on meshes are launched in one
        order; variables are found before that, as initial values may take other launches."""
        feeds = Executable.divided(feeds, self._feed_layouts)
        if self.states and self._whole.moved and self._binding[0].moved and self._several is None:
            self._bind()
        with launches.lock:
            launches.settle()
            outputs = self._run(feeds) if self.states else self._run_pure(feeds)
            launches.note(outputs or [self.written()])
            return outputs

    def _run_part(self, feeds: Values) -> Values:
        """The same for variables that are a part of their holder, are not all written, or have moved."""
        while True:
            if self._several is not None:
                outputs = self._run_several(self._several, feeds)
                if outputs is not None:
                    return outputs
                self._bind()
                continue
            holder, gather, layout, positions = self._binding
            again = holder.is_owned()
            if again and layout != _READS:
                raise holder.reentered(f"step {self.name!r}")
            with holder.lock:
                holder.busy = again
                if not holder.attention or holder.settle():
                    holder.busy = holder.attention = True
                    state = holder.buffers if gather is None else gather(holder.buffers)
                    if self._overwritten:
                        state = self._with_values(state)
                    try:
                        if layout == _READS:
                            _, outputs = self._call(state, feeds)
                        elif layout == _SLICE:
                            holder.buffers[positions[0] : positions[-1] + 1], outputs = self._call(state, feeds)
                        else:
                            holder.expect(positions)
                            holder.pending, outputs = self._call(state, feeds)
                            holder.settle()
                        return outputs
                    except DfcError as error:
                        raise self._failed(holder, state, feeds, error) from error.__cause__
                    finally:
                        holder.busy = again
                        holder.attention = again or holder.pending is not None
            self._bind()

    def _run_several(self, several: _Several, feeds: Values) -> Values | None:
        """The same for variables in several holders; None where one of them has moved. Locks are taken in one order by
        all steps."""
        again = any(holder.is_owned() for holder in several.holders)
        if again and self._n_written:
            raise several.holders[0].reentered(f"step {self.name!r}")
        return self._run_locked(several, 0, again, feeds)

    def _run_locked(self, several: _Several, number: int, again: bool, feeds: Values) -> Values | None:
        """Take the locks from this one on, and run. (Each by a `with` of its own: an interrupt between taking a lock
        and noting that would leave it taken.)"""
        if number < len(several.holders):
            with several.holders[number].lock:
                return self._run_locked(several, number + 1, again, feeds)
        for holder in several.holders:
            holder.busy = again
            if holder.attention and not holder.settle():
                return None
        state = [several.holders[i].buffers[k] for i, k in several.places]
        if self._overwritten:
            state = self._with_values(state)
        transfer = Transfer()
        for holder, pairs in zip(several.holders, several.written, strict=True):
            holder.busy = True
            holder.expect_shared(transfer, pairs)
        try:
            transfer.new, outputs = self._call(state, feeds)
            return outputs
        except DfcError as error:
            raise self._failed(several.holders[0], state, feeds, error) from error.__cause__
        finally:
            for holder in several.holders:
                holder.busy = again
                holder.settle()

    def _with_values(self, state: Values) -> Values:
        """The state with something in the place of values that are missing and don't matter."""
        state = list(state)
        for index in self._overwritten:
            if state[index] is None or isinstance(state[index], Lost):
                shape, dtype = self.executable.signature.inputs[index]
                place = self.executable.layouts[index] if self.executable.layouts else self.executable.device
                state[index] = xla.to_device(np.zeros(shape, dtype), place)
        return state

    def _run_pure(self, feeds: Values) -> Values:
        self._tidy()
        try:
            outputs: Values = self._execute(feeds).consume_with_handlers(self._handlers)
            return outputs
        except Exception as error:
            raise self._explained(feeds, translate(error, self.name)) from error

    def _bind(self) -> None:
        """Find the variables: at the first call, and when a later step has moved them to another holder."""
        for index, state in enumerate(self.states):
            if index not in self._overwritten:
                state.initialize()
        join(self.states, self._n_written)
        located = [state.locate() for state in self.states]
        for holder in {id(holder): holder for holder, _ in located}.values():
            holder.programs += 1
        holder = located[0][0]
        self._several = None
        if any(other is not holder for other, _ in located):
            self._several = _Several.of(located, self._n_written)
            return
        at = [index for _, index in located]
        written, size = at[: self._n_written], len(holder.buffers)
        layout = _SCATTERED
        if not written:
            layout = _READS
        elif written == list(range(written[0], written[0] + len(written))):
            layout = _SLICE
        self._binding = (holder, None if at == list(range(size)) else _gatherer(at), layout, written)
        if written == list(range(size)) and not self._overwritten:
            self._whole = holder
            if len(self.executable.signature.results) == size + 1 and not self.executable.layouts:
                self.direct = Direct(
                    holder, holder.acquired, holder.release, self._waiting, self._results, self, self._tidy
                )

    def written(self) -> Any:
        """The buffer, as it is now, of a variable that the program writes; None if it writes none. A step may take it
        at any moment."""
        return self.states[0].buffer if self._n_written else None

    def run_again(self, feed: Any) -> Any:
        """The one output, the long way: for a direct call that found its holder moved on."""
        return self._run_part([feed])[0]

    def explained(self, holder: Holder, feed: Any, error: Exception) -> DfcError:
        """What to raise for the error of a direct call, with the lock still held; marks what the call took."""
        return self._failed(holder, holder.buffers, [feed], translate(error, self.name))

    def interrupted(self) -> None:
        """Take back the arguments that an interrupt left before a call."""
        self._waiting.clear()

    def _failed(self, holder: Holder, state: Values, feeds: Values, error: DfcError) -> DfcError:
        """After a failed call, with the lock held: mark what it took from the variables, and say what is wrong."""
        holder.settle()
        for variable, buffer in zip(self.states, state, strict=True):
            if isinstance(buffer, Lost):
                return variable.lost(buffer).at(op=self.name)
        for variable, buffer in zip(self.states, state, strict=True):
            if buffer is not None and buffer.is_deleted():
                found, index = variable.locate()
                found.buffers[index] = Lost(self.name, error.diagnostic.message)
        return self._explained(feeds, error)

    def _explained(self, feeds: Values, error: DfcError) -> DfcError:
        """The error with the step's name, or a clearer one where an input is gone."""
        for index, feed in enumerate(feeds):
            if hasattr(feed, "is_deleted") and feed.is_deleted():
                return FailedPrecondition(f"input {index} was deleted or donated before the call", op=self.name)
        return error.at(op=self.name)


def _unbound() -> Holder:
    """Where a program looks before its first call: it has moved, so the program looks again."""
    holder = Holder([])
    holder.attention, holder.moved = True, (holder, [])
    return holder


def _gatherer(at: list[int]) -> _Gather:
    if len(at) == 1:
        (index,) = at
        return lambda buffers: [buffers[index]]
    pick = itemgetter(*at)
    return lambda buffers: list(pick(buffers))


class Runs(Protocol):
    """What runs an island."""

    @property
    def run(self) -> Callable[[Values], Values]:
        """Takes the inputs, gives the outputs."""
        ...


class PlanRun:
    """A plan bound to executables and variables; `run(feeds)` takes and returns device arrays (NumPy's for strings).

    For a plan of one program that takes the inputs and gives the outputs as they stand, `run` is that program's own;
    for any other the executor runs it. `where` has the user's line of each island, `late` what runs those without a
    program; `outputs` are names for errors; `around`, one for each island, wraps what runs it; `labels` say what is in
    an island.
    """

    def __init__(
        self,
        plan: Plan,
        executables: Sequence[Executable],
        variables: Mapping[str, VariableState],
        name: str,
        host_ops: Sequence[HostOp] = (),
        device: Device | None = None,
        where: Sequence[str] = (),
        late: Sequence[Runs] = (),
        outputs: Sequence[str] = (),
        around: Sequence[Callable[[_Gather], _Gather]] = (),
        labels: Sequence[Callable[[], Label]] = (),
    ) -> None:
        self.plan, self.name, self._host_ops = plan, name, host_ops
        self._device = device or xla.default_device()
        self.programs = [
            ProgramRun(executable, [variables[v] for v in call.state], call.n_written, name, call.overwritten)
            for call, executable in zip(plan.programs, executables, strict=True)
        ]
        programs, later = iter(self.programs), iter(late)
        runs = [next(programs) if isinstance(call, ProgramCall) else next(later) for call in plan.of_device]
        self.is_direct = _is_direct(plan)
        calls = [each.run for each in runs]
        if around:
            calls = [wrap(call) for wrap, call in zip(around, calls, strict=True)]
        self.run: Callable[[Values], Values] = calls[0] if self.is_direct else self._execute
        places = where or [""] * len(runs)
        self._ops = [DeviceOp(call, place) for call, place in zip(calls, places, strict=True)]
        if labels:
            self._ops = [replace(op, label=label) for op, label in zip(self._ops, labels, strict=True)]
        self.flow = Flow(plan, self._ops, host_ops, self._device, name, outputs)
        self._noting: Flow | None = None

    def noting(self, place: str) -> Flow:
        """The flow, noting for timelines what it does on the device called `place`. Made at its first use."""
        found = self._noting
        if found is None:
            programs = iter(self.programs)
            written = [
                next(programs).written if isinstance(call, ProgramCall) else nothing for call in self.plan.of_device
            ]
            ops = [timed_island(op, place, state) for op, state in zip(self._ops, written, strict=True)]
            host_ops = [timed_host_op(op) for op in self._host_ops]
            found = Flow(self.plan, ops, host_ops, self._device, self.name, self.flow.output_names)
            found.place = place
            self._noting = found
        return found

    @property
    def direct(self) -> Direct | None:
        """The parts of a direct plan of one input and one output that has run before and writes every variable that it
        uses; else None."""
        one_to_one = self.is_direct and self.plan.n_inputs == len(self.plan.outputs) == 1
        return self.programs[0].direct if one_to_one and self.programs else None

    def _execute(self, feeds: Values) -> Values:
        if len(feeds) != self.plan.n_inputs:
            raise Internal(f"a step of {self.plan.n_inputs} inputs was given {len(feeds)}", op=self.name)
        return [xla.placed(value, self._device) for value in run_once(execution_of(self.flow), feeds)]


def run_once(step: Driving, feeds: Values) -> Values:
    """The outputs of a step with these inputs, which ends with that."""
    try:
        for index, value in enumerate(feeds):
            step.feed(index, value)
        return step.run(range(step.n_outputs))
    finally:
        step.close()


def nothing() -> None:
    """What an island has written of which nobody can say that."""


def _is_direct(plan: Plan) -> bool:
    if len(plan.calls) != 1 or not isinstance(plan.calls[0], ProgramCall | LateCall):
        return False
    call, n = plan.calls[0], plan.n_inputs
    return call.inputs == tuple(range(n)) and plan.outputs == tuple(range(n, n + call.n_results))
