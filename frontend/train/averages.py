"""`dfc.train.ExponentialMovingAverage`: averages of variables over the steps of training, to evaluate with."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from dfc.errors import FailedPrecondition, InvalidArgument, InvalidType
from dfc.frontend.function import Function
from dfc.frontend.graph_trace import current_graph
from dfc.frontend.graph_variable import GraphVariable
from dfc.frontend.operation import Operation
from dfc.frontend.ops.elementwise import astype, maximum
from dfc.frontend.ops.shape import error_here
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current, require_trace
from dfc.frontend.train.optimizers import everything_since, state_variable, trainable_of
from dfc.frontend.variable import Variable
from dfc.ir.dtypes import float32

NAME = "ExponentialMovingAverage"


class ExponentialMovingAverage:
    """Keeps an average of each variable: `average += (1 - decay) * (variable - average)` at every `apply`.

    `decay` is a number of 0 to 1, or a tensor or Variable of one. With `num_updates`, the number n of steps so far (a
    number, tensor or Variable), it is the smaller of `decay` and (1 + n) / (10 + n), so that averages move faster at
    first. An average starts from what the variable is when it
    is made, in a session when it is initialised; with `zero_debias` the first update sets it to what the
    variable is then, and after t updates it is the mean of t values weighted by decay^(t - i), without what it started
    from.

        averages = dfc.train.ExponentialMovingAverage(0.999)
        with dfc.control_dependencies([optimizer.minimize(loss, weights)]):
            train = averages.apply(weights)

    `dfc.train.Saver({w.name: averages.average(w) for w in weights})` saves the averages under the variables' names.
    Raises InvalidArgument for a number outside of 0 to 1.
    """

    def __init__(
        self, decay: Operand, num_updates: Operand | None = None, zero_debias: bool = False, name: str = NAME
    ) -> None:
        if isinstance(decay, int | float) and not 0 <= decay <= 1:
            raise error_here(InvalidArgument, f"decay must be 0 to 1, got {decay}", NAME)
        self.decay, self.num_updates, self.zero_debias, self.name = decay, num_updates, zero_debias, name
        self._averages: dict[Variable, Variable] = {}
        self._weights: dict[Variable, Variable] = {}
        self._lock = threading.RLock()
        self._outside: Function[..., Any] | None = None

    # ---- state

    def average_name(self, variable: Variable) -> str:
        """What the average of the variable is called: `VARIABLE/ExponentialMovingAverage`."""
        self._require(variable)
        return f"{variable.name}/{self.name}"

    def average(self, variable: Variable) -> Variable:
        """The average of the variable: a variable of its shape and dtype that no optimiser trains. It is made when it
        is first needed, here or in `apply`; that of a graph's variable in `with` its graph."""
        return self._state(self._averages, variable, variable, self.average_name(variable))

    @property
    def variables(self) -> list[Variable]:
        """The state made so far: the averages, and with `zero_debias` a number for each."""
        return [*self._averages.values(), *self._weights.values()]

    def _weight(self, variable: Variable) -> Variable:
        """How much of the weights of all values are of those since the start: 1 - decay^t."""
        return self._state(self._weights, variable, np.float32(0), f"{self.average_name(variable)}/weight")

    def _state(self, table: dict[Variable, Variable], variable: Variable, initial: Any, name: str) -> Variable:
        with self._lock:
            found = table.get(variable)
            if found is None:
                _require_graph(variable)
                outside = initial is variable and current_graph() is None
                offload = variable.offload and initial is variable
                found = state_variable(variable.numpy if outside else initial, name, variable, offload)
                if outside:
                    _ = found.state  # what the variable is now, not when the average is first needed
                table[variable] = found
            return found

    def _make(self, variable: Variable) -> None:
        self.average(variable)
        if self.zero_debias:
            self._weight(variable)

    def _require(self, variable: Variable) -> None:
        if not isinstance(variable, Variable):
            raise error_here(InvalidType, f"averages are of variables, got {variable!r}", NAME)
        if not variable.dtype.is_inexact:
            raise error_here(InvalidType, f"variable {variable.name!r} must be floating, got {variable.dtype}", NAME)

    # ---- updates

    def apply(self, variables: Sequence[Variable] | Variable | None = None) -> Operation:
        """Update the averages of `variables`, in a trace by default of every trainable one that it has used so far.

        In a graph it is done when the operation is fetched or depended on: under `control_dependencies` of the training
        step it takes the variables' new values. Outside a trace it happens at once.
        """
        trace = current()
        if trace is None:
            return self._apply_outside(trainable_of(variables))  # type: ignore[arg-type]
        chosen = trainable_of(variables)  # type: ignore[arg-type]
        for variable in chosen:
            self._make(variable)
        before = len(trace.effects)
        with trace.in_program_order():
            for variable in chosen:
                self._update(variable, self.decay, self.num_updates)
        return everything_since(trace, before, NAME)

    def _update(self, variable: Variable, decay: Any, num_updates: Any) -> None:
        average, dtype = self.average(variable), variable.dtype
        wide = float32 if dtype.bits <= 16 else dtype
        rate = _rate(decay, num_updates)
        if self.zero_debias:
            weight = self._weight(variable)
            whole = astype(weight.read() * (1 - rate) + rate, float32)
            weight.assign(whole)
            rate = rate / whole
        before = astype(average.read(), wide)
        step = astype(variable.read(), wide) - before
        average.assign(astype(before + step * _as(rate, wide), dtype))

    def _apply_outside(self, variables: list[Variable]) -> Operation:
        with self._lock:
            if self._outside is None:
                self._outside = Function(self._apply_traced, name=NAME)
        for variable in variables:
            self._make(variable)
        self._outside(tuple(variables), _input(self.decay), _input(self.num_updates))
        return Operation(None, None, NAME)

    def _apply_traced(self, variables: tuple[Variable, ...], decay: Any, num_updates: Any) -> None:
        require_trace(NAME)
        for variable in variables:
            self._update(variable, decay, num_updates)


def _require_graph(variable: Variable) -> None:
    if isinstance(variable, GraphVariable) and variable.graph is not current_graph():
        raise error_here(
            FailedPrecondition,
            f"variable {variable.name!r} belongs to a graph, and has no average there yet",
            NAME,
            hint="call average or apply in `with` that graph",
        )


def _rate(decay: Any, num_updates: Any) -> Any:
    """1 minus the decay at this number of updates."""
    rate = 1 - (decay.read() if isinstance(decay, Variable) else decay)
    if num_updates is None:
        return rate
    if isinstance(num_updates, Variable):
        num_updates = num_updates.read()
    n = astype(num_updates, float32) if isinstance(num_updates, Tensor) else num_updates
    return maximum(rate, 9 / (10 + n))  # 1 - (1 + n) / (10 + n), without the difference of numbers close to 1


def _as(rate: Any, dtype: Any) -> Any:
    return astype(rate, dtype) if isinstance(rate, Tensor) else rate


def _input(value: Any) -> Any:
    """A number as an array, so that another one needs no new program."""
    return np.asarray(value, np.float64) if isinstance(value, int | float) else value
