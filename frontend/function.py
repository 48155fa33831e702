"""`dfc.function`: a Python function that is traced once a signature, compiled, and from then on run as compiled."""

from __future__ import annotations

import functools
import inspect
import operator
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

import numpy as np
from xdsl.ir import Attribute

from dfc.backends import xla
from dfc.errors import DfcError, FailedPrecondition, InvalidType
from dfc.frontend import execution, interop, locality, operators, structure, subtrace
from dfc.frontend.graph import Graph
from dfc.frontend.signature import Arguments, Parameters, Signature, TensorSpec, changes, describe, type_of
from dfc.frontend.structure import Structure
from dfc.frontend.subtrace import Traced
from dfc.frontend.tensor import Tensor
from dfc.frontend.tracing import Program, Trace, activity, current
from dfc.frontend.tracing_lock import owner, refuse_deadlock, tracing_lock
from dfc.ir import dims, locations
from dfc.ir.dtypes import string
from dfc.ir.sharding import Sharding
from dfc.ir.types import Spec, spec_of, tensor_type

if TYPE_CHECKING:
    from dfc.runtime.partitioned import AnyStep

P = ParamSpec("P")
R = TypeVar("R")
Key = tuple[Any, ...]
HELD_INSTANCES = 64
"""How many instances that allow no weak references a traced method keeps alive; an older one is traced again."""

_new_tensor = object.__new__
assert operators  # it gives tensors their operators


class Compiled:
    """What a call of one signature and one set of sizes runs."""

    __slots__ = ("_divides", "_known", "_structure", "call", "device", "single", "step")

    def __init__(self, step: AnyStep, types: Sequence[Attribute], structure: Structure) -> None:
        self.step, self.device = step, step.device
        """Where inputs must be; None where they may be anywhere."""
        self._divides = xla.is_mesh(step.device)
        pairs = zip(types, step.output_devices, strict=True)
        known = [_located(type, at) if dims.is_static(spec_of(type).shape) else None for type, at in pairs]
        self._known, self._structure = known, structure
        self.single = known[0] if structure.kind == "leaf" else None
        self.call: Call = _caller(step.run, known, structure)
        """From arrays on the device to results."""

    def takes(self, tensors: Iterable[Any]) -> bool:
        """Whether concrete tensors are where they must be."""
        if self.device is None:
            return True
        return not self._divides and all(locality.device_of_type(t._type) is self.device for t in tensors)

    def call_anywhere(self, arrays: list[Any], recorded: bool = False) -> Any:
        """`call` on arrays of any devices and the host; if `recorded`, so that timelines hear of it."""
        call = _caller(self.step.recorded, self._known, self._structure) if recorded else self.call
        device = self.device
        if device is None:
            return call([xla.to_device(a) if _is_numbers(a) else a for a in arrays])
        return call([xla.fed(array, device) for array in arrays])


Call = Callable[[list[Any]], Any]


def _located(type: Attribute, device: Any) -> Attribute:
    return type if spec_of(type).dtype is string else locality.type_at(type, device)


def _is_numbers(array: Any) -> bool:
    return type(array) is np.ndarray and array.dtype.kind not in "OSU"


def _caller(run: Call, types: list[Attribute | None], nest: Structure) -> Call:
    """What runs a step and packs its results. `types` has None for sizes that are known only when a result is there.

    (Functions of their own for the commonest results, and no methods: that spares a tenth of a small call's time.)"""
    new, cls = _new_tensor, Tensor
    kind, known = nest.kind, [type for type in types if type is not None]
    if len(known) == len(types) and kind == "leaf":
        (single,) = known

        def one(arrays: list[Any]) -> Any:
            tensor = new(cls)
            tensor._type, tensor._trace, tensor._array = single, None, run(arrays)[0]
            return tensor

        return one
    if len(known) == len(types) and kind in ("list", "tuple") and all(c.kind == "leaf" for c in nest.children):
        pack: Any = list if kind == "list" else tuple

        def several(arrays: list[Any]) -> Any:
            tensors = []
            for type_, array in zip(known, run(arrays)):  # noqa: B905 - 0.1 us
                tensor = new(cls)
                tensor._type, tensor._trace, tensor._array = type_, None, array
                tensors.append(tensor)
            return pack(tensors)

        return several

    def nested(arrays: list[Any]) -> Any:
        pairs = zip(types, run(arrays), strict=True)
        tensors = iter([Tensor(type or locality.type_of_array(array), None, array) for type, array in pairs])
        return structure.unflatten(nest, tensors)

    return nested


def quick_key(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Key, list[Any]] | None:
    """A key of a call's signature and its device or NumPy arrays, for the commonest arguments: concrete tensors and
    NumPy arrays of numbers by position, numbers, strings and tuples of ints anywhere. None for any other call."""
    key: list[Any] = []
    arrays: list[Any] = []
    for x in args:
        kind = type(x)
        if kind is Tensor:
            if x._trace is not None:
                return None
            key.append(id(x._type))
            arrays.append(x._array)
        elif kind is np.ndarray and x.dtype.isnative and x.dtype.kind not in "OSU":
            key += (x.dtype, x.shape)
            arrays.append(x)
        elif not _add_static(kind, x, key):
            return None
    for name, x in kwargs.items():
        key.append(name)
        if not _add_static(type(x), x, key):
            return None
    return tuple(key), arrays


def _add_static(kind: type, value: Any, key: list[Any]) -> bool:
    if kind is float or kind is complex:
        value = repr(value)  # 0.0 is not -0.0
    elif kind is tuple:
        if any(type(item) is not int for item in value):
            return False
    elif not (kind is int or kind is str or kind is bool or value is None):
        return False
    key += (kind, value)
    return True


def _are_leaves(arrays: list[Any], leaves: list[Any]) -> bool:
    """Whether a quick key's arrays are all that the program is given: a signature makes inputs of numbers too, and an
    argument left out may have an array for its default."""
    held = [leaf._array if type(leaf) is Tensor else leaf for leaf in leaves]
    return len(held) == len(arrays) and all(map(operator.is_, held, arrays))


class Function(Generic[P, R]):
    """What `dfc.function` makes of a Python function; called like that function.

    Thread-safe: threads that call with a new signature at once trace it once.
    """

    def __init__(
        self,
        python: Callable[P, R],
        signature: Sequence[Any] | None = None,
        name: str | None = None,
        parameters: Parameters | None = None,
        autograph: bool = False,
        device: str | None = "",
    ) -> None:
        if not callable(python):
            raise InvalidType(f"dfc.function needs a function, got {python!r}")
        code = inspect.unwrap(python)
        if inspect.isgeneratorfunction(code) or inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
            kind = "a generator" if inspect.isgeneratorfunction(code) else "an async function"
            raise InvalidType(
                f"{getattr(python, '__name__', python)!r} is {kind}, whose body does not run when it is called",
                op="dfc.function",
                location=locations.describe(locations.capture()),
                hint="decorate a plain function that returns its results",
            )
        functools.update_wrapper(self, python)
        self.python_function = python
        self.name: str = name or str(getattr(python, "__name__", type(python).__name__))
        self.signature = list(signature) if isinstance(signature, list | tuple) else signature
        """The specs given to `dfc.function`, or None."""
        self.autograph = autograph
        """Whether Python's `if`, `while` and `for` on tensors become the graph's: see `dfc.autograph`."""
        self._asks = device
        """What ops ask for that ask for nothing themselves; None for the device of the first tensor of a call."""
        self._converted: Callable[..., Any] | None = None
        self._given_parameters = parameters
        self._lock = threading.RLock()  # while compiling; no user code runs with it held
        self._fast: dict[Any, Call] = {}
        """By the ids of the arguments' types (interned, so that ids stand for them), where all are concrete tensors."""
        self._last: tuple[Any, Any, Any] = (None, None, None)
        """Of the last new signature of one tensor and one result: the tensor's type, the result's, what to run."""
        self._quick: dict[Key, tuple[Call, Any]] = {}
        """By `quick_key`; with the device of NumPy arrays, unless the call takes care of that."""
        self._compiled: dict[Key, Compiled] = {}
        self._traced: dict[Key, Traced] = {}
        self._history: list[tuple[str, dict[str, str]]] = []
        self._bound: dict[int, tuple[Any, Function[..., Any]]] = {}
        self._held: deque[int] = deque()

    @functools.cached_property
    def _parameters(self) -> Parameters:
        return self._given_parameters or Parameters(self.python_function)

    @property
    def _runs(self) -> Callable[..., Any]:
        """What tracing runs: the Python function, or its converted form."""
        if not self.autograph:
            return self.python_function
        if self._converted is None:
            from dfc.frontend.autograph.convert import convert

            self._converted = convert(self.python_function)
        return self._converted

    @functools.cached_property
    def _checked(self) -> Signature | None:
        return None if self.signature is None else Signature(self.signature, self._parameters)

    def __repr__(self) -> str:
        return f"<dfc.function {self.name!r}, traced {len(self._history)} times>"

    def __copy__(self) -> Function[P, R]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Function[P, R]:
        return self

    def __reduce__(self) -> str:
        return str(getattr(self, "__qualname__", self.name))  # as Python's functions: by where it is found

    # ---- calls

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if activity.count:  # of traces, and of timelines
            if (trace := current()) is not None:
                return self._call_inside(trace, args, kwargs)  # type: ignore[no-any-return]
            if activity.recording:
                return self._call_outside(args, kwargs)  # type: ignore[no-any-return]
        if kwargs:
            return self._call_outside(args, kwargs)  # type: ignore[no-any-return]
        # The commonest call, one tensor of the type it had last time, is `ProgramRun._run` in this frame: a frame, two
        # dictionary look-ups and two lists more would be a fifth of a small call's time.
        type_, single, direct = self._last
        call: Call | None
        try:
            if len(args) == 1 and args[0]._type is type_:  # type: ignore[attr-defined]
                feed = args[0]._array  # type: ignore[attr-defined]
            elif len(args) == 2:  # without the frames of comprehensions: 0.25 us less
                one, other = args
                call = self._fast[id(one._type), id(other._type)]  # type: ignore[attr-defined]
                arrays = [one._array, other._array]  # type: ignore[attr-defined]
                direct = None
            else:
                call = self._fast[tuple([id(x._type) for x in args])]  # type: ignore[attr-defined]
                arrays = [x._array for x in args]  # type: ignore[attr-defined]
                direct = None
        except (AttributeError, KeyError):  # a new signature, or arguments that are not all concrete tensors
            call = direct = None
        if direct is None:
            if call is None:  # here, so that tracebacks of what it raises have no KeyError
                return self._call_outside(args, kwargs)  # type: ignore[no-any-return]
            return call(arrays)  # type: ignore[no-any-return]
        holder, acquired, release, waiting, calls, program, tidy = direct
        array = None
        tidy()
        for _ in acquired:  # takes the lock; no signal is looked for between that and the `try`
            try:
                if holder.attention:
                    break
                waiting += ([*holder.buffers, feed],)  # not `append`: a call would look for signals
                for results in calls:  # the call; no signal is looked for between that, the store and the pop
                    holder.buffers = results
                    array = results.pop()
                    break
            except Exception as error:
                raise program.explained(holder, feed, error) from error
            except BaseException:
                program.interrupted()
                raise
            finally:
                release()
            break
        result = _new_tensor(Tensor)
        result._array = program.run_again(feed) if array is None else array
        result._trace, result._type = None, single
        return result  # type: ignore[return-value]

    def _call_outside(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        quick = None if activity.recording else quick_key(args, kwargs)
        if quick is not None:
            found = self._quick.get(quick[0])
            if found is not None:
                call, device = found
                if device is not None:
                    return call([xla.to_device(x, device) if _is_numbers(x) else x for x in quick[1]])
                return call(quick[1])
        arguments = self._arguments(args, kwargs)
        types = arguments.types()
        for leaf in arguments.leaves:
            if type(leaf) is Tensor and leaf._trace is not None:
                raise leaf._trace.leaked(leaf, locations.describe(locations.capture()))
        asked = self._asked_by((*args, *kwargs.values()))
        divided = locality.divisions(arguments.leaves, asked)
        key: Key = (arguments.structure, asked, divided, *map(id, types))
        compiled = self._compiled.get(key) or self._compile(key, arguments, types, asked, divided)
        arrays = [x if _is_numbers(x) else interop.to_tensor(x)._array for x in arguments.leaves]
        if activity.recording:
            return compiled.call_anywhere(arrays, recorded=True)
        is_there = compiled.takes(x for x in arguments.leaves if type(x) is Tensor)
        if divided:
            return compiled.call_anywhere(arrays)  # types say which mesh a value is on, and not how it is divided
        if not kwargs and len(args) == len(types) > 0 and all(type(a) is Tensor for a in args):
            self._fast[tuple([id(x._type) for x in args])] = compiled.call if is_there else compiled.call_anywhere
        elif quick is not None and _are_leaves(quick[1], arguments.leaves):
            found = (compiled.call, compiled.device) if is_there else (compiled.call_anywhere, None)
            self._quick[quick[0]] = found
        result = compiled.call_anywhere(arrays)
        direct = compiled.step.direct if is_there else None  # known once the step has run
        if direct and compiled.single is not None and not kwargs and len(args) == 1 and type(args[0]) is Tensor:
            self._last = (args[0]._type, compiled.single, direct)
        return result

    def _asked_by(self, operands: tuple[Any, ...]) -> str:
        """The device that the ops of a call with these arguments ask for."""
        if self._asks is not None:
            return self._asks
        found = locality.first_of(operands)
        return "" if found is None else locality.request_for(found)

    def compiled_for(self, *args: Any) -> Compiled:
        """What a call with these tensors runs; it does not keep this function alive."""
        arguments = self._arguments(args, {})
        types, asked = arguments.types(), self._asked_by(args)
        divided = locality.divisions(arguments.leaves, asked)
        return self._compile((arguments.structure, asked, divided, *map(id, types)), arguments, types, asked, divided)

    def _compile(
        self,
        key: Key,
        arguments: Arguments,
        types: tuple[Attribute, ...],
        asked: str,
        divided: Sequence[Sharding | None],
    ) -> Compiled:
        bindings: dict[str, int] = {}
        if self._checked is not None:
            bindings = self._checked.unify(types)
        traced = self._trace_once(arguments, types)
        with self._lock:
            found = self._compiled.get(key)
            if found is None:
                specs = [spec_of(t) for t in traced.output_types]
                output_types = [tensor_type(dims.substitute(s.shape, bindings), s.dtype) for s in specs]
                step = execution.compile_step(traced.graph, bindings, asked, divided)
                found = self._compiled[key] = Compiled(step, output_types, traced.graph.structure)
        return found

    def _arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        try:
            bound = self._parameters.bind(args, kwargs)
            return Arguments.of(bound) if self._checked is None else self._checked.arguments(bound)
        except DfcError as error:
            known = error.diagnostic.op
            text = f"{known}: {error.diagnostic.message}" if known else error.diagnostic.message
            here = error.diagnostic.location or locations.describe(locations.capture())
            raise type(error)(text, op=self.name, location=here, hint=error.diagnostic.hint) from None

    # ---- tracing

    def _trace_once(self, arguments: Arguments, types: tuple[Attribute, ...]) -> Traced:
        """The trace of a signature, made at its first use."""
        signature = self._checked
        names = arguments.names if signature is None else signature.names
        if signature is not None:
            types = tuple(tensor_type(*spec) for spec in signature.specs)
        key = (arguments.structure, tuple(names), *map(id, types))
        refuse_deadlock(f"{self.name!r} can't be traced")
        with tracing_lock:
            owner.note()
            found = self._traced.get(key)
            if found is None:
                place = locations.describe(locations.capture())
                found = subtrace.trace(self, Program(), None, self._nest_of(arguments), types, names)
                self._traced[key] = found
                described = Arguments(arguments.leaves, self._full_structure(arguments))
                self._history.append((place, describe(described, types)))
            return found

    def _full_structure(self, arguments: Arguments) -> Structure:
        if self._checked is None:
            return arguments.structure
        tensors, extra = self._checked.structure, arguments.structure
        return Structure("dict", tensors.keys + extra.keys, tensors.children + extra.children)  # never compared

    def _nest_of(self, arguments: Arguments) -> Callable[[Sequence[Tensor]], dict[str, Any]]:
        """What puts tensors into the arguments' nest."""
        full = self._full_structure(arguments)
        return lambda tensors: structure.unflatten(full, iter(tensors))

    def run_python(self, bound: Mapping[str, Any]) -> Any:
        """Call the Python function with the arguments that `bound` names."""
        return self._parameters.call(self._runs, bound)

    def _call_inside(self, trace: Trace, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """A call from another trace: `df.call` to a function of the same program."""
        arguments = self._arguments(args, kwargs)
        types = arguments.types()
        signature = self._checked
        if signature is not None:
            signature.check(types)
        names = arguments.names if signature is None else signature.names
        return subtrace.call(self, trace, arguments, types, names, self._nest_of(arguments))

    # ---- what tools ask

    def graph(self, *specs: Any, **named_specs: Any) -> Graph:
        """The trace for these arguments: TensorSpecs (or arrays) where tensors are, values for the rest. None are
        needed for a function with a signature. It is the trace that a call with such arguments runs."""
        if current() is not None:
            raise FailedPrecondition(f"{self.name}.graph() can't be called while a function is traced")
        signature = self._checked
        if signature is not None and not specs and not named_specs:
            specs = tuple(signature.entries)
        arguments = self._arguments(specs, named_specs)
        if signature is None:
            types = tuple(type_of(x, n) for x, n in zip(arguments.leaves, arguments.names, strict=True))
        else:
            types = tuple(tensor_type(*spec) for spec in signature.specs)
        return self._trace_once(arguments, types).graph

    def lower(self, *specs: Any, **named_specs: Any) -> execution.Lowered:
        """The StableHLO for these arguments, given as for `graph`; sizes must be ints. `.text` is its text."""
        bindings: dict[str, int] = {}
        if self._checked is not None and (specs or named_specs):
            bindings = self._checked.unify(self._arguments(specs, named_specs).types())
        return execution.emit(self.graph(*specs, **named_specs), bindings)

    def explain(self) -> str:
        """When and why the function was traced: each signature, the line of its first call, what had changed."""
        count = len(self._history)
        if not count:
            return f"{self.name} has not been traced"
        lines = [f"{self.name} was traced {'once' if count == 1 else f'{count} times'}"]
        for index, (place, described) in enumerate(self._history):
            listed = ", ".join(f"{path}: {text}" for path, text in described.items()) or "no arguments"
            reason = f"the first signature ({listed})"
            if index:
                differences: list[list[str]] = [changes(before, described) for _, before in self._history[:index]]
                fewest = sorted(differences, key=len)[0]
                reason = "; ".join(fewest) or "the structure of the arguments changed"
            lines.append(f"  {index + 1}. at {place or 'an unknown line'}: {reason}")
        return "\n".join(lines)

    @property
    def input_specs(self) -> list[Spec]:
        """Shape and dtype of each input of a function with a signature, flat."""
        return list(self._with_signature().specs)

    @property
    def input_names(self) -> list[str]:
        """The inputs' names of a function with a signature: parameters, nests as `a.b.0`, or the specs' own names."""
        return list(self._with_signature().names)

    @property
    def output_names(self) -> list[str]:
        """The results' names of a function with a signature: a dict's keys, or `output_0` ...; traces it."""
        self._with_signature()
        return self.graph().output_names

    def _with_signature(self) -> Signature:
        if self._checked is None:
            raise FailedPrecondition(
                f"{self.name!r} has no signature", hint="give one: @dfc.function(signature=[dfc.TensorSpec(...)])"
            )
        return self._checked

    # ---- methods

    @overload
    def __get__(self, instance: None, owner: Any = None) -> Function[P, R]: ...
    @overload
    def __get__(self, instance: object, owner: Any = None) -> BoundFunction: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        found = self._bound.get(id(instance))
        if found is None:
            with self._lock:
                found = self._bound.get(id(instance)) or self._bind(instance)
        return BoundFunction(found[1], instance)

    def _bind(self, instance: Any) -> tuple[Any, Function[..., Any]]:
        """A function of its own for each instance, which it doesn't keep alive."""
        key, table, python, owner = id(instance), self._bound, self.python_function, self
        try:
            reference: Callable[[], Any] = weakref.ref(instance, lambda _: table.pop(key, None))
        except TypeError:  # the class has __slots__ without __weakref__: the latest ones are kept
            reference = lambda: instance  # noqa: E731
            self._held.append(key)
            if len(self._held) > HELD_INSTANCES:
                table.pop(self._held.popleft(), None)

        @functools.wraps(python)
        def method(*args: Any, **kwargs: Any) -> Any:
            return owner._runs(reference(), *args, **kwargs)

        parameters = Parameters(python, skip_first=True)
        function: Function[..., Any] = Function(method, self.signature, self.name, parameters)
        self._bound[key] = (reference, function)
        return self._bound[key]


class BoundFunction:
    """A traced method of one instance."""

    __slots__ = ("__func__", "__self__")

    def __init__(self, function: Function[..., Any], instance: Any) -> None:
        self.__func__, self.__self__ = function, instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__func__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__func__, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundFunction) and other.__func__ is self.__func__ and other.__self__ is self.__self__

    def __hash__(self) -> int:
        return hash((id(self.__func__), id(self.__self__)))

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.__self__, self.__func__.python_function.__name__)

    def __repr__(self) -> str:
        return f"<dfc.function {self.__func__.name!r} of {self.__self__!r}>"


@overload
def function(python: Callable[P, R], /) -> Function[P, R]: ...
@overload
def function(
    *, signature: Sequence[Any] | None = None, name: str | None = None, autograph: bool = False
) -> Callable[[Callable[P, R]], Function[P, R]]: ...
def function(
    python: Callable[..., Any] | None = None,
    /,
    *,
    signature: Sequence[Any] | None = None,
    name: str | None = None,
    autograph: bool = False,
) -> Any:
    """Trace `python` at the first call of each signature, and run it compiled.

    Tensors and arrays (alone or in lists, tuples, dicts, named tuples and dataclasses) are inputs; every other argument
    is part of the signature and must be hashable, Python numbers included. Results are nests of `dfc.Tensor`,
    asynchronous until read; numbers and arrays in them become tensors. Variables used inside are read and written in
    program order. Calls inside a trace become calls in the graph; recursion is an error.

    `signature` has a TensorSpec, or a nest of them, for each parameter: one trace then serves all sizes of symbolic
    dimensions, each compiled when it first comes. `name` is the graph's name. Raises InvalidArgument and InvalidType
    where a call doesn't fit.

    With `autograph`, Python's `if`, `while`, `for`, `and`, `or`, `not`, `break`, `continue` and `return` may depend on
    tensors, here and in the functions of the user's that are called: they become branches and loops of the graph, whose
    blocks are traced once. A `for` over tensors, or over a range bounded by a tensor or a tensor's size, is a loop; one
    over Python's own numbers and containers is unrolled. See `dfc.autograph`.
    """
    if python is None:
        return lambda given: Function(given, signature, name, autograph=autograph)
    return Function(python, signature, name, autograph=autograph)


def is_entry(value: Any) -> bool:
    """Whether `dfc compile` takes `value`, found in a module, for an entry: a function with a signature."""
    return isinstance(value, Function) and value.signature is not None


__all__ = ["BoundFunction", "Function", "TensorSpec", "function", "is_entry"]
