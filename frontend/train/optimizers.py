"""Optimisers: what they do is ordinary graph operations on variables (paper, section 4.1).

A rule of your own is a subclass with `step`, written with the public operations; see `Optimizer`.
"""

from __future__ import annotations

import contextlib
import numbers
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import interop, names
from dfc.frontend.function import Function
from dfc.frontend.gradients import gradients
from dfc.frontend.indexed_slices import IndexedSlices, deduplicated
from dfc.frontend.operation import Operation
from dfc.frontend.ops.elementwise import astype, where
from dfc.frontend.ops.indexing import take
from dfc.frontend.ops.shape import error_here
from dfc.frontend.promotion import tensor_in
from dfc.frontend.signature import TensorSpec
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current, require_trace
from dfc.frontend.variable import Variable, placement_of_state
from dfc.ir import locations
from dfc.ir.dtypes import as_dtype, float32
from dfc.ir.ops.state import Group
from dfc.ir.types import Spec

Pairs = Iterable[tuple[Any, Variable]]
Schedule = Callable[[Tensor], Operand]
Slots = Mapping[str, Tensor]

_given_rate: ContextVar[Tensor | None] = ContextVar("given_rate", default=None)
"""The learning rate that a call outside a trace brings as an input, so that a new number needs no new program."""
_snapshots: ContextVar[dict[Variable, Tensor] | None] = ContextVar("snapshots", default=None)
"""Under `when`: what the variables held before the step."""


class Optimizer:
    """Base of optimisers. `learning_rate` is a number, a tensor of the trace, a Variable, or a function from the number
    of steps done (a scalar int32 tensor) to one of these: see `dfc.train.schedules`.

    A subclass says in `SLOTS` which state it keeps for each variable, and in `step` what it does:

        class Momentum(dfc.train.Optimizer):
            SLOTS = ("momentum",)

            def step(self, gradient, value, slots, rate):
                velocity = 0.9 * slots["momentum"] + gradient
                return rate * velocity, {"momentum": velocity}

    The same `step` serves a whole variable and, where its gradient is sparse, just the rows that the gradient names. It
    is given 16-bit floats as float32. A rule that asks for `self.steps(gradient)` has the steps counted.

    Numbers are read when a step is traced: in a function that is traced already a new `learning_rate` has no effect;
    give a Variable, and assign to it.
    """

    SLOTS: ClassVar[tuple[str, ...]] = ()
    """State of each variable, by name: tensors of its shape and dtype, see `initial`."""

    def __init__(self, learning_rate: Operand | Schedule) -> None:
        self._require_rate(learning_rate)
        self.learning_rate = learning_rate
        self._slots: dict[str, dict[Variable, Variable]] = {}
        self._lock = threading.RLock()
        self._iterations: Variable | None = None
        self._first: Variable | None = None
        self._counted: Variable | None = None
        self._outside: Function[..., Any] | None = None

    # ---- what a rule is

    def step(self, gradient: Tensor, value: Tensor, slots: Slots, rate: Operand) -> tuple[Tensor, dict[str, Tensor]]:
        """What to subtract from `value`, and the new slots, all in the shape and dtype of `gradient`."""
        raise NotImplementedError(f"{type(self).__name__} needs a method step, or one of its own for update")

    def initial(self, slot: str) -> float:
        """What every element of a new slot is."""
        return 0.0

    def update(self, gradient: Tensor, variable: Variable) -> None:
        """Change `variable` for its gradient, a tensor of its shape and dtype. A rule that does more than `step` can
        say has its own; it gets sparse gradients as whole tensors."""
        slots = {name: self.slot(variable, name) for name in self.SLOTS}
        before = {name: slot.read() for name, slot in slots.items()}
        decrement, after = self._stepped(gradient, variable.read(), before)
        for name, slot in slots.items():
            slot.assign(after[name])
        variable.assign_sub(decrement)

    def _stepped(self, gradient: Tensor, value: Tensor, slots: Slots) -> tuple[Tensor, dict[str, Tensor]]:
        """`step`; 16-bit floats go through float32, in which 1 - 0.999 is not 0."""
        dtype = gradient.dtype
        if dtype.bits > 16:
            return self.step(gradient, value, slots, self.rate(gradient))
        wide = astype(gradient, float32)
        given = {name: astype(slot, float32) for name, slot in slots.items()}
        decrement, after = self.step(wide, astype(value, float32), given, self.rate(wide))
        return astype(decrement, dtype), {name: astype(slot, dtype) for name, slot in after.items()}

    def update_rows(self, gradient: IndexedSlices, variable: Variable) -> None:
        """Change the rows that a sparse gradient names, and the same rows of the slots, once for the sum of each row's
        gradients (row G5); the other rows are not touched."""
        rows = deduplicated(gradient)
        slots = {name: self.slot(variable, name) for name in self.SLOTS}
        before = {name: take(slot.read(), rows.indices, axis=0) for name, slot in slots.items()}
        value = take(variable.read(), rows.indices, axis=0)
        decrement, after = self._stepped(rows.values, value, before)
        for name, slot in slots.items():
            slot.scatter_update(rows.indices, after[name])
        variable.scatter_update(rows.indices, value - decrement)

    # ---- state

    def build(self, variables: Sequence[Variable]) -> list[Variable]:
        """Make the state for these variables now, as their first step would, and return it: for a Saver of listed
        variables. What `dfc.train.Saver()` and one that is given the optimiser restore may be made later."""
        return built(self, variables)

    def slot(self, variable: Variable, name: str) -> Variable:
        """The variable that keeps `name` for `variable`: made at first use, called `VARIABLE/NAME`, not trainable."""
        with self._lock:
            slots = self._slots.setdefault(name, {})
            if variable not in slots:
                slots[variable] = state_like(variable, name, self.initial(name))
            return self._kept(slots[variable])

    @property
    def iterations(self) -> Variable:
        """The number of steps done: a scalar int32, kept where the rule or the learning rate depends on it."""
        with self._lock:
            if self._iterations is None:
                name = f"{type(self).__name__}_iterations"  # beside the first variable, so that names don't clash
                place = names.scoped(name) if self._first is None else f"{self._first.name}/{name}"
                self._iterations = state_variable(np.int32(0), place, of=self._first)
            return self._kept(self._iterations)

    @staticmethod
    def _kept(variable: Variable) -> Variable:
        snapshots = _snapshots.get()
        if snapshots is not None and variable not in snapshots:
            snapshots[variable] = variable.read()
        return variable

    @property
    def variables(self) -> list[Variable]:
        """The state made so far."""
        counted = [] if self._iterations is None else [self._iterations]
        return [*(slot for slots in self._slots.values() for slot in slots.values()), *counted]

    def rate(self, like: Tensor) -> Operand:
        """The learning rate of this step: a number, or a tensor of like's dtype."""
        given = _given_rate.get()
        rate = self.learning_rate if given is None else given
        if callable(rate):
            self._counted = self.iterations
            rate = rate(self._counted.read())
        trace = current()
        if isinstance(rate, int | float) or trace is None:
            return rate
        return astype(tensor_in(trace, rate), like.dtype)

    def steps(self, like: Tensor) -> Tensor:
        """The number of this step, from 1 on, in like's dtype. A rule that asks for it has its `iterations` kept."""
        self._counted = self.iterations
        return astype(self._counted.read() + 1, like.dtype)

    @property
    def _by_step(self) -> bool:
        """Whether the rule is all in `step`."""
        return type(self).update is Optimizer.update

    # ---- applying it

    def minimize(
        self,
        loss: Tensor,
        variables: Sequence[Variable] | None = None,
        grad_loss: Operand | None = None,
        when: Operand | None = None,
    ) -> Operation:
        """In a trace: compute the gradients of `loss` and apply them. Without `variables`, to every trainable one that
        the trace has used so far; `when` is as for `apply_gradients`. Raises InvalidArgument where no variable has a
        gradient."""
        require_trace("minimize", "call it in a function decorated with @dfc.function that computes the loss")
        chosen = trainable_of(variables)
        for variable in chosen:
            self._require_variable(variable, "minimize takes a list of variables")
        grads = gradients([loss], chosen, None if grad_loss is None else [grad_loss])
        return self.apply_gradients(zip(grads, chosen, strict=True), when=when)

    def apply_gradients(self, pairs: Pairs, *, when: Operand | None = None) -> Operation:
        """Update each variable of (gradient, variable) pairs; those whose gradient is None stay as they are.

        In a trace these are graph operations, outside they run at once, compiled. `when`, a scalar bool, says whether
        the step takes place: where it is false, variables and slots stay as they are. Raises InvalidArgument where
        every gradient is None.
        """
        given = [self._pair(pair) for pair in pairs]
        if self._first is None and given:
            self._first = given[0][1]
        kept = [(gradient, variable) for gradient, variable in given if gradient is not None]
        if not kept:
            listed = ", ".join(variable.name for _, variable in given) or "no variable"
            raise InvalidArgument(
                f"no gradient for any variable, got {listed}",
                op=type(self).__name__,
                location=locations.describe(locations.capture()),
                hint="the loss must depend on the variables through differentiable operations",
            )
        trace = current()
        if trace is None:
            return self._apply_outside(kept, when)
        return self._apply_inside(trace, kept, when)

    def _apply_inside(self, trace: Trace, pairs: Sequence[tuple[Any, Variable]], when: Operand | None) -> Operation:
        before = len(trace.effects)
        with trace.in_program_order():
            if when is None:
                self._update_all(trace, pairs)
            else:
                with _snapshot([variable for _, variable in pairs]) as values:
                    self._update_all(trace, pairs)
                condition = tensor_in(trace, when)
                for variable, value in values.items():
                    variable.assign(where(condition, variable.read(), value))
        return everything_since(trace, before, type(self).__name__)

    def _update_all(self, trace: Trace, pairs: Sequence[tuple[Any, Variable]]) -> None:
        for gradient, variable in pairs:
            if isinstance(gradient, IndexedSlices) and self._by_step:
                self.update_rows(gradient, variable)
            else:
                self.update(tensor_in(trace, gradient, variable.dtype), variable)
        if self._counted is not None:
            self.iterations.assign_add(1)

    def _apply_outside(self, pairs: Sequence[tuple[Any, Variable]], when: Operand | None) -> Operation:
        with self._lock:
            if self._outside is None:
                self._outside = Function(self._apply_traced, name=type(self).__name__)
        rate, settings = None, []
        for name, value in vars(self).items():
            if name == "learning_rate" and isinstance(value, numbers.Real) and self._by_step:
                rate = np.float64(value)  # an input, so that a new rate needs no new program
            elif isinstance(value, int | float | bool | str):
                settings.append((name, value))
        grads, variables = zip(*pairs, strict=True)
        self._outside(list(grads), rate, when, tuple(variables), tuple(settings))
        return Operation(None, None, type(self).__name__)

    def _apply_traced(
        self,
        grads: list[Any],
        rate: Tensor | None,
        when: Tensor | None,
        variables: tuple[Variable, ...],
        settings: tuple[tuple[str, Any], ...],  # part of the signature: the trace reads them from self
    ) -> None:
        trace = require_trace(type(self).__name__)
        token = _given_rate.set(rate)
        try:
            self._apply_inside(trace, list(zip(grads, variables, strict=True)), when)
        finally:
            _given_rate.reset(token)

    def _pair(self, pair: Any) -> tuple[Any, Variable]:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise error_here(
                InvalidType, f"apply_gradients takes (gradient, variable) pairs, got {pair!r}", type(self).__name__
            )
        gradient, variable = pair
        self._require_variable(variable, "apply_gradients takes (gradient, variable) pairs, in this order")
        return gradient, variable

    def _require_variable(self, given: Any, rule: str) -> None:
        if not isinstance(given, Variable):
            raise error_here(InvalidType, f"{rule}, got {given!r} for a variable", type(self).__name__)

    def _require_rate(self, rate: Any) -> None:
        is_number = isinstance(rate, numbers.Real) and not isinstance(rate, bool)
        if is_number or callable(rate) or isinstance(rate, Tensor | Variable) or interop.is_array(rate):
            return
        raise error_here(
            InvalidType,
            f"learning_rate must be a number, a tensor, a Variable or a schedule, got {rate!r}",
            type(self).__name__,
        )


def everything_since(trace: Trace, first: int, name: str) -> Operation:
    """All that the trace has written from effect number `first` on, as one operation."""
    tokens = trace.effects[first:]
    token = trace.emit_op(Group, tokens).token if len(tokens) > 1 else tokens[0] if tokens else None
    return Operation(token, trace, name)


def trainable_of(variables: Sequence[Variable] | None) -> list[Variable]:
    """The variables given, or every trainable one that the present trace has used so far."""
    if variables is None:
        trace = require_trace("minimize")
        return [v for v in trace.resources if v.trainable and v.dtype.is_inexact]
    return [variables] if isinstance(variables, Variable) else list(variables)


def state_variable(
    value: Any, name: str, beside: Variable | None = None, offload: bool = False, of: Variable | None = None
) -> Variable:
    """A variable of an optimiser's state, which no optimiser trains, under this name whatever the present scope; on the
    device of another one, and divided as that is where it has its shape. State that is called after the variable `of`,
    by default that one, begins with the value that a checkpoint has for it which `of` was restored from."""
    of = beside if of is None else of
    if of is not None and of.restored is not None:
        found = of.restored.claim(of, name, _spec_of_initial(value, of))
        value = value if found is None else found
    with names.fresh_scope(), names.placed({} if beside is None else placement_of_state(beside)):
        made = Variable(value, name=name, trainable=False, offload=offload)
    if beside is not None and beside.division is not None and made.shape == beside.shape:
        made.division = beside.division
    return made


def _spec_of_initial(value: Any, of: Variable) -> Spec:
    """Of an array or a number, or of what stands for a value like that of the variable."""
    is_like = isinstance(value, Variable) or callable(value)
    return of.spec if is_like else Spec(np.shape(value), as_dtype(np.asarray(value).dtype))


def state_like(variable: Variable, name: str, fill: float = 0.0) -> Variable:
    """State in the shape and dtype of a variable, called `VARIABLE/NAME`, every element `fill`."""
    spec = variable.spec
    value = np.full([int(d) for d in spec.shape], fill, spec.dtype.numpy)
    return state_variable(value, f"{variable.name}/{name}", variable, variable.offload)


def built(optimizer: Any, variables: Sequence[Variable]) -> list[Variable]:
    """The state that an optimiser makes at its first step for these variables: a step is traced, and not run."""

    def step(*grads: Tensor) -> None:
        optimizer.apply_gradients(zip(grads, variables, strict=True))

    Function(step, name=type(optimizer).__name__).graph(*(TensorSpec(v.shape, v.dtype) for v in variables))
    state: list[Variable] = optimizer.variables
    return state


@contextlib.contextmanager
def _snapshot(variables: Sequence[Variable]) -> Iterator[dict[Variable, Tensor]]:
    """The values of these variables, and of the state that the rule asks for meanwhile, before it writes."""
    before = {variable: variable.read() for variable in variables}
    token = _snapshots.set(before)
    try:
        yield before
    finally:
        _snapshots.reset(token)


class SGD(Optimizer):
    """Stochastic gradient descent: `w -= learning_rate * gradient`."""

    def step(self, gradient: Tensor, value: Tensor, slots: Slots, rate: Operand) -> tuple[Tensor, dict[str, Tensor]]:
        return gradient * rate, {}

    def update_rows(self, gradient: IndexedSlices, variable: Variable) -> None:
        variable.scatter_sub(gradient.indices, gradient.values * self.rate(gradient.values))  # adding up is all it does


class Momentum(Optimizer):
    """Gradient descent with momentum (Sutskever et al. 2013): `v = momentum * v + gradient; w -= learning_rate * v`.

    With `use_nesterov`: `w -= learning_rate * (gradient + momentum * v)`, for the new v. The v of a variable is its
    slot `momentum`.
    """

    SLOTS: ClassVar = ("momentum",)

    def __init__(self, learning_rate: Operand | Schedule, momentum: float = 0.9, use_nesterov: bool = False) -> None:
        super().__init__(learning_rate)
        self.momentum, self.use_nesterov = momentum, use_nesterov

    def step(self, gradient: Tensor, value: Tensor, slots: Slots, rate: Operand) -> tuple[Tensor, dict[str, Tensor]]:
        velocity = slots["momentum"] * self.momentum + gradient
        direction = gradient + velocity * self.momentum if self.use_nesterov else velocity
        return direction * rate, {"momentum": velocity}
