"""`dfc.Session`: runs parts of a graph, as often and from as many threads as one likes."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from dfc.backends.xla import to_numpy
from dfc.errors import DfcError, FailedPrecondition, InvalidArgument, InvalidType, NotFound
from dfc.frontend import feeding, structure
from dfc.frontend.function import BoundFunction, Function
from dfc.frontend.graph import Graph
from dfc.frontend.graph_trace import GraphTrace, current_graph
from dfc.frontend.graph_variable import GraphVariable
from dfc.frontend.operation import Operation
from dfc.frontend.partial_run import PartialRun
from dfc.frontend.resources import Live, Resource, Resources
from dfc.frontend.structure import Structure
from dfc.frontend.tensor import Tensor
from dfc.frontend.variable import Variable
from dfc.ir import locations
from dfc.ir.types import CONTROL
from dfc.passes.costs import Costs
from dfc.passes.expected import Expected
from dfc.passes.extract import extract
from dfc.runtime.host import Binding
from dfc.runtime.offloaded import OffloadedState
from dfc.runtime.session import SessionConfig, SessionState, SessionStep
from dfc.runtime.submitted import Submitted
from dfc.runtime.variables import VariableState

Key = tuple[Any, ...]
INITIALIZE = "run its initializer before, or the operation that dfc.initialize_all() made in the graph"
KEPT = 1024
"""How many kinds of calls are found without looking at what they fetch."""


class Session:
    """A graph, the values of its variables, and the steps that were compiled for it.

    `graph` is a `dfc.Graph` (by default the one being built), or a `dfc.function` with what its arguments are, as for
    `function.graph`: the session then shares the function's variables. Each `run` is a step: the part of the graph that
    the fetches need is pruned, optimised and compiled at its first run with feeds of these shapes, and kept. Many
    threads may run steps at once; they share variables and queues, and nothing else orders them.

    Use it in a `with` statement, or `close` it: that ends the steps under way with Cancelled.
    """

    def __init__(
        self,
        graph: Any = None,
        *specs: Any,
        cluster: None = None,
        config: SessionConfig | None = None,
        **named_specs: Any,
    ) -> None:
        if isinstance(graph, Function | BoundFunction):
            graph = graph.graph(*specs, **named_specs)
        elif specs or named_specs:
            raise InvalidType("specs are for the graph of a dfc.function", op="Session")
        self.graph: Graph = _given_or_current(graph)
        if config is not None and not isinstance(config, SessionConfig):
            raise InvalidType(f"config must be a dfc.SessionConfig, got {config!r}", op="Session")
        self._state = SessionState(config or SessionConfig())
        self._steps: dict[Key, SessionStep] = {}
        """By the identities of values of the graph, which live as long as it does."""
        self._quick: dict[Key, tuple[_Bound, Any]] = {}
        """By the identities of fetches and feed keys, which stand beside the step so that they live too."""
        self._lock = threading.RLock()
        self.stats = Stats()

    @property
    def config(self) -> SessionConfig:
        return self._state.config

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._state.closed

    # ---- running

    def run(self, fetches: Any, feeds: Mapping[Any, Any] | None = None, timeout: float | None = None) -> Any:
        """One step: the values of `fetches`, in the same nest.

        A fetch is a tensor, an operation (whose value is None), a variable, or the name of one, alone or in lists,
        tuples, named tuples, dicts and dataclasses. Values are NumPy arrays, scalars as NumPy scalars, strings as
        `bytes`. `feeds` gives tensors, by themselves or by name, other values for this step: what leads to them is not
        computed. `timeout` is in seconds; DeadlineExceeded ends the step.

        Raises FailedPrecondition for a closed session, an empty graph, and a variable without a value; NotFound for
        what is not in the graph; InvalidArgument and InvalidType for a feed that does not fit, and for a placeholder
        that is needed and not fed; Cancelled where the session is closed meanwhile; and what operations raise.
        """
        try:
            if self._state.is_usable:
                key = _quick_key(fetches, feeds)
                if key is not None and (found := self._quick.get(key)) is not None:
                    return found[0].run(list(feeds.values()) if feeds else [], timeout)
            return self._run_slowly(fetches, feeds, timeout)
        except DfcError as error:
            _add_line(error)
            raise

    def _run_slowly(self, fetches: Any, feeds: Mapping[Any, Any] | None, timeout: float | None) -> Any:
        self._check_usable()
        fetched = self.resolve(fetches)
        fed = feeding.resolved(self.graph, feeds)
        arrays = [array for _, array in fed]
        bound = self._bound(fetched, fed)
        quick = _quick_key(fetches, feeds)
        if quick is not None and (not feeds or all(map(operator.is_, feeds.values(), arrays))):
            if len(self._quick) >= KEPT:
                self._quick.clear()
            self._quick[quick] = bound, _key_holders(fetches, feeds)
        return bound.run(arrays, timeout)

    def make_callable(self, fetches: Any, feed_list: Sequence[Any] = ()) -> Callable[..., Any]:
        """A function that takes values for the tensors of `feed_list` by position and runs the step."""
        with _ErrorsHaveLines():
            self._check_usable()
            fetched = self.resolve(fetches)
            keys = [feeding.key_in(self.graph, key) for key in feed_list]
        quick: dict[Key, _Bound] = {}

        def call(*values: Any, timeout: float | None = None) -> Any:
            try:
                return run(values, timeout)
            except DfcError as error:
                _add_line(error)
                raise

        def run(values: Sequence[Any], timeout: float | None) -> Any:
            if self._state.is_usable and all(type(value) is np.ndarray for value in values):
                found = quick.get(tuple([(value.dtype, value.shape) for value in values]))
                if found is not None:
                    return found.run(list(values), timeout)
            if len(values) != len(keys):
                raise InvalidType(f"the callable takes {len(keys)} values, got {len(values)}", op="make_callable")
            self._check_usable()
            fed = [(key, feeding.array_for(self.graph, key, v)) for key, v in zip(keys, values, strict=True)]
            arrays = [array for _, array in fed]
            bound = self._bound(fetched, fed)
            if all(map(operator.is_, arrays, values)):
                quick[tuple([(a.dtype, a.shape) for a in arrays])] = bound
            return bound.run(arrays, timeout)

        return call

    def expected(self, fetches: Any, feeds: Mapping[Any, Any] | None = None) -> Expected:
        """What a run of this step is expected to take, and where its operations are, by the simulation that has placed
        it: for sessions whose `SessionConfig` says `placement="costs"`. The step is compiled and not run.

        Raises FailedPrecondition where placement is by rules.
        """
        with _ErrorsHaveLines():
            self._check_usable()
            fetched, fed = self.resolve(fetches), feeding.resolved(self.graph, feeds)
            found = self._bound(fetched, fed).step.expected
            if found is None:
                raise FailedPrecondition(
                    "nothing is expected of steps that are placed by rules",
                    op="Session.expected",
                    hint="make the session with dfc.SessionConfig(placement='costs')",
                )
            return found

    def measure(self, fetches: Any, feeds: Mapping[Any, Any] | None = None, repeats: int = 5) -> Costs:
        """How long each operation of this step takes, for `SessionConfig(placement="costs", costs=...)`: the medians of
        `repeats` runs, after one to warm up, in which each operation is a program of its own on the first device. A
        loop or a branch counts as one. Times hold for this step, by its operations' names.

        Variables stay as they are, the runs change copies; what the step does to queues and the world outside is done.
        Raises InvalidArgument for `repeats` under 1, and what a run of the step raises.
        """
        with _ErrorsHaveLines():
            self._check_usable()
            if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
                raise InvalidArgument(f"repeats must be a positive int, got {repeats!r}", op="Session.measure")
            fetched, fed = self.resolve(fetches), feeding.resolved(self.graph, feeds)
            program, labels, binding = self._extracted(fetched, [value for value, _ in fed])
            step, watch = self._state.compile_apart(program, "step", feeding.bindings(self.graph, fed), binding)
            arrays = [fed[labels.index(name)][1] for name in step.inputs]
            for number in range(1 + repeats):
                step.run(arrays)
                watch.lap(keep=number > 0)
            return watch.costs(self._state.costs)

    def submit(self, fetches: Any, feeds: Mapping[Any, Any] | None = None, timeout: float | None = None) -> Submitted:
        """As `run`, without waiting: a `concurrent.futures.Future` whose `result()` is what `run` returns, and whose
        `cancel()` ends the step. Any number of steps may wait at once: they hold no thread while they do."""
        with _ErrorsHaveLines():
            self._check_usable()
            fetched = self.resolve(fetches)
            fed = feeding.resolved(self.graph, feeds)
            return self._bound(fetched, fed).submit([array for _, array in fed], timeout)

    def partial_run_setup(self, fetches: Any, feeds: Sequence[Any] = ()) -> PartialRun:
        """A step whose feeds arrive over several calls of `partial_run`: all that will be fetched, and the tensors that
        will be fed."""
        with _ErrorsHaveLines():
            self._check_usable()
            return PartialRun(self, fetches, feeds)

    def partial_run(
        self,
        handle: PartialRun,
        fetches: Any,
        feeds: Mapping[Any, Any] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Feed some more tensors of the step, and fetch what can be computed now; see `partial_run_setup`."""
        with _ErrorsHaveLines():
            if not isinstance(handle, PartialRun) or handle.session is not self:
                raise InvalidType(f"partial_run needs what this session's partial_run_setup gave, got {handle!r}")
            self._check_usable()
            return handle.run(fetches, feeds, timeout)

    # ---- from fetches and feeds to steps

    def _check_usable(self) -> None:
        self._state.check_open()
        if self.graph.is_empty:
            raise FailedPrecondition("The Session graph is empty", hint="add operations to the graph before run()")

    def resolve(self, fetches: Any) -> Fetches:
        """What a run of these fetches fetches of the graph."""
        leaves, nest = structure.flatten(fetches, _is_fetch)
        wrong = [c.value for c in _parts(nest) if c.kind == "static" and not isinstance(c.value, structure.Fixed)]
        if wrong:
            raise InvalidType(f"a fetch is a tensor, an operation or a name, got {wrong[0]!r}", op="Session.run")
        return Fetches(nest, [self._fetch(leaf) for leaf in leaves])

    def _fetch(self, leaf: Any) -> SSAValue:
        graph = self.graph
        if isinstance(leaf, str) and leaf in graph.variables and isinstance(graph.trace, GraphTrace):
            value = self._snapshot(graph.variables[leaf])._value
        elif isinstance(leaf, str):
            value = graph.named_value(leaf)
        elif isinstance(leaf, Operation):
            if leaf._trace is not graph.trace or leaf._token is None:
                raise NotFound(f"the operation {leaf.name!r} is not an element of the graph {graph.name!r}")
            value = leaf._token
        elif isinstance(leaf, Variable):
            value = graph.value_of(self._snapshot(leaf))
        else:
            value = graph.value_of(leaf)
        if not graph.may_be_fetched(value):
            raise feeding.unfit(graph, value, "has been marked as not fetchable")
        return value

    def _snapshot(self, variable: Variable) -> Tensor:
        trace = self.graph.trace
        if not isinstance(trace, GraphTrace):
            raise InvalidType(
                f"variable {variable.name!r} can't be fetched from the graph of a function",
                hint="variable.numpy() is it",
            )
        with trace.lock:
            return trace.snapshot(variable)

    def _bound(self, fetched: Fetches, fed: feeding.Fed) -> _Bound:
        """The step for these fetches and feeds of these shapes, compiled once."""
        key = (fetched.key, *((id(value), array.dtype, array.shape) for value, array in fed))
        step = self._steps.get(key)
        if step is None:
            with self._lock:
                step = self._steps.get(key)
                if step is None:
                    step = self._steps[key] = self._compile(fetched, fed)
        return _Bound(step, fetched)

    def _compile(self, fetched: Fetches, fed: feeding.Fed) -> SessionStep:
        return self._step(fetched, [value for value, _ in fed], feeding.bindings(self.graph, fed))

    def compile_late(self, fetched: Fetches, feeds: Sequence[SSAValue]) -> SessionStep:
        """A step whose inputs may come one by one, with effects as further outputs."""
        return self._step(fetched, feeds, {}, late=True)

    def _step(
        self, fetched: Fetches, feeds: Sequence[SSAValue], bindings: Mapping[str, int], late: bool = False
    ) -> SessionStep:
        program, labels, binding = self._extracted(fetched, feeds, late)
        self.stats.compiled += 1
        mesh = self.graph.trace.program.mesh
        step = self._state.compile(program, "step", bindings, binding, late_inputs=late, mesh=mesh)
        step.places = [labels.index(name) for name in step.inputs]
        return step

    def _extracted(
        self, fetched: Fetches, feeds: Sequence[SSAValue], late: bool = False
    ) -> tuple[ModuleOp, list[str], Binding]:
        """The part of the graph that is needed, the names of its feeds, and what its names stand for."""
        graph = self.graph
        labels = [graph.name_of(value) for value in feeds]
        program = ModuleOp([])
        extract(
            graph.func,
            program,
            name="step",
            outputs=[(graph.name_of(value), value) for value in fetched.values],
            tokens=fetched.tokens,
            feeds=list(zip(labels, feeds, strict=True)),
            location=locations.capture(),
            tokens_as_outputs=late,
        )
        variables = self._variables()
        initial = graph.trace.initial_arrays if isinstance(graph.trace, GraphTrace) else {}
        binding = Binding(variables, initial, Resources(self.graph.resources, self._live), self._state.memory)
        return program, labels, binding

    def _variables(self) -> dict[str, VariableState]:
        """The state of each variable of the graph: of its own variables, the session's."""
        states = {}
        for name, variable in list(self.graph.variables.items()):
            if isinstance(variable, GraphVariable):
                if name not in self._state.variables:
                    kind = OffloadedState if variable.offload else VariableState
                    made = kind(name, variable.spec, None, variable.trainable, hint=INITIALIZE)
                    self._state.variables.setdefault(name, made)
                states[name] = self._state.variables[name]
            else:
                states[name] = variable.state
        return states

    def _live(self, name: str, resource: Resource) -> Live:
        """The object behind a queue or the like: of the graph's own, the session's."""
        if resource.graph is None:
            return resource.live
        key = (resource.shared_name is not None, resource.shared_name or name)
        with self._state.lock:
            live = self._state.resources.get(key)
            if live is None:
                live = self._state.resources[key] = resource.make()
        return resource.checked(live)

    def variables(self) -> list[Variable]:
        """The variables of the graph: its own, and those made elsewhere that it uses."""
        own = self.graph.trace.variables if isinstance(self.graph.trace, GraphTrace) else []
        return list(dict.fromkeys([*own, *self.graph.variables.values()]))

    def state_of(self, variable: Variable) -> VariableState:
        """The runtime's holder of a variable's value in this session."""
        if not isinstance(variable, GraphVariable):
            return variable.state
        if variable.graph is not self.graph.trace:
            raise NotFound(f"variable {variable.name!r} is not in the graph {self.graph.name!r}")
        name = variable.graph.program.variable_name(variable)
        return self._variables()[name]

    # ---- its life

    def close(self) -> None:
        """End the steps under way with Cancelled; later ones are FailedPrecondition. The variables' values go."""
        self._state.close()
        self._steps.clear()
        self._quick.clear()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<dfc.Session of {self.graph!r}{', closed' if self._state.closed else ''}>"


class Stats:
    """What a session has done: `compiled`, how many steps were pruned and compiled."""

    def __init__(self) -> None:
        self.compiled = 0


class Fetches:
    """What a run fetches: the nest, its values and the tokens of operations, each once."""

    def __init__(self, nest: Structure, found: list[SSAValue]) -> None:
        self.nest = nest
        self.values = list(dict.fromkeys(value for value in found if value.type is not CONTROL))
        self.tokens = list(dict.fromkeys(value for value in found if value.type is CONTROL))
        self.key = tuple(map(id, (*self.values, *self.tokens)))
        places = {value: index for index, value in enumerate(self.values)}
        self._places = [places.get(value) for value in found]  # None for an operation
        self._single = nest.kind == "leaf" and bool(self.values)

    def arranged(self, results: list[Any]) -> Any:
        """The nest with what was computed in the place of tensors, and None in the place of operations."""
        if self._single:
            return handed_out(results[0])
        leaves = (None if place is None else handed_out(results[place]) for place in self._places)
        return structure.unflatten(self.nest, leaves)


class _Bound:
    """A step with the fetches' nest around its results."""

    def __init__(self, step: SessionStep, fetched: Fetches) -> None:
        self.step, self._fetched = step, fetched
        self._in_order = step.places == list(range(len(step.places)))

    def run(self, arrays: list[Any], timeout: float | None) -> Any:
        return self._fetched.arranged(self.step.run(self._ordered(arrays), timeout))

    def submit(self, arrays: list[Any], timeout: float | None) -> Submitted:
        return self.step.submit(self._ordered(arrays), self._fetched.arranged, timeout)

    def _ordered(self, arrays: list[Any]) -> list[Any]:
        return arrays if self._in_order else [arrays[place] for place in self.step.places]


def _add_line(error: DfcError) -> None:
    """Give an error that has no line that of the call of the session."""
    error.at(location=locations.describe(locations.capture()))


class _ErrorsHaveLines:
    """Errors inside get the user's line, unless they have one."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, DfcError):
            _add_line(error)


def handed_out(value: Any) -> Any:
    """A result as the caller gets it: a NumPy array that owns its memory, or a NumPy scalar."""
    array = value.copy() if isinstance(value, np.ndarray) else to_numpy(value)
    return array if array.ndim else array[()]


def _is_fetch(value: Any) -> bool:
    return isinstance(value, Tensor | Operation | Variable | str)


def _parts(nest: Structure) -> Iterator[Structure]:
    yield nest
    for child in nest.children:
        yield from _parts(child)


def _quick_key(fetches: Any, feeds: Mapping[Any, Any] | None) -> Key | None:
    """A key by the identities of fetches and feed keys, for the commonest calls; None for any other."""
    kind = type(fetches)
    if kind is Tensor or kind is Operation:
        key: list[Any] = [id(fetches)]
    elif kind is list or kind is tuple:
        key = [kind]
        for fetch in fetches:
            if type(fetch) is not Tensor and type(fetch) is not Operation:
                return None
            key.append(id(fetch))
    else:
        return None
    if feeds:
        if type(feeds) is not dict:
            return None
        for tensor, value in feeds.items():
            if type(value) is not np.ndarray or type(tensor) is not Tensor:
                return None
            key += (id(tensor), value.dtype, value.shape)
    return tuple(key)


def _key_holders(fetches: Any, feeds: Mapping[Any, Any] | None) -> Any:
    """What a quick key has the identities of: not the caller's list, out of which it may be taken."""
    return tuple(fetches) if isinstance(fetches, list) else fetches, tuple(feeds or ())


def _given_or_current(graph: Any) -> Graph:
    if isinstance(graph, Graph):
        return graph
    if graph is not None:
        raise InvalidType(f"a session runs a dfc.Graph or a dfc.function, got {graph!r}", op="Session")
    trace = current_graph()
    if trace is None:
        raise FailedPrecondition(
            "a session needs a graph", op="Session", hint="give one, or make the session in `with dfc.Graph():`"
        )
    found = trace.graph()
    assert found is not None, "a graph lives while it is being built"
    return found
