"""Optimisers: what they do is ordinary graph operations on variables (paper, section 4.1).

A rule of your own is a subclass with `update`, written with the public operations.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import interop
from dfc.frontend.function import Function
from dfc.frontend.gradients import gradients
from dfc.frontend.operation import Operation
from dfc.frontend.ops.shape import error_here
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import Trace, current, require_trace
from dfc.frontend.variable import Variable
from dfc.ir import locations
from dfc.ir.ops.state import Group

Pairs = Iterable[tuple[Operand | None, Variable]]


class Optimizer:
    """Base of optimisers. `learning_rate` is a number, a tensor of the trace, or a Variable."""

    def __init__(self, learning_rate: Operand) -> None:
        if isinstance(learning_rate, bool) or not (
            isinstance(learning_rate, int | float | Tensor | Variable) or interop.is_array(learning_rate)
        ):
            raise error_here(
                InvalidType,
                f"learning_rate must be a number, a tensor or a Variable, got {learning_rate!r}",
                type(self).__name__,
            )
        self.learning_rate = learning_rate
        self._rates: dict[Trace, Operand] = {}
        self._slots: dict[str, dict[Variable, Variable]] = {}
        self._lock = threading.RLock()
        self._outside: Function[..., Any] | None = None

    def update(self, gradient: Tensor, variable: Variable) -> None:
        """Change `variable` for its gradient, a tensor of its shape and dtype."""
        raise NotImplementedError

    def slot(self, variable: Variable, name: str) -> Variable:
        """The variable that keeps `name` for `variable`: made as zeros at first use, called `VARIABLE/NAME`, and not
        trainable."""
        with self._lock:
            slots = self._slots.setdefault(name, {})
            if variable not in slots:
                spec = variable.spec
                zeros = np.zeros([int(d) for d in spec.shape], spec.dtype.numpy)
                made = Variable(zeros, name="slot", trainable=False)
                made.name = f"{variable.name}/{name}"  # beside its variable, whatever the present scope
                slots[variable] = made
            return slots[variable]

    @property
    def variables(self) -> list[Variable]:
        """The slots made so far."""
        return [slot for slots in self._slots.values() for slot in slots.values()]

    def minimize(
        self, loss: Tensor, variables: Sequence[Variable] | None = None, grad_loss: Operand | None = None
    ) -> Operation:
        """In a trace: compute the gradients of `loss` and apply them. Without `variables`, to every trainable one that
        the trace has used so far. Raises InvalidArgument where no variable has a gradient."""
        trace = require_trace("minimize", "call it in a function decorated with @dfc.function that computes the loss")
        if isinstance(variables, Variable):
            variables = [variables]
        if variables is None:
            variables = [v for v in trace.resources if v.trainable and v.dtype.is_inexact]
        for variable in variables:
            self._require_variable(variable, "minimize takes a list of variables")
        grads = gradients([loss], list(variables), None if grad_loss is None else [grad_loss])
        return self.apply_gradients(zip(grads, variables, strict=True))

    def apply_gradients(self, pairs: Pairs) -> Operation:
        """Update each variable of (gradient, variable) pairs; those whose gradient is None stay as they are.

        In a trace these are graph operations, outside they run at once, compiled. Raises InvalidArgument where every
        gradient is None.
        """
        given = [self._pair(pair) for pair in pairs]
        kept = [(gradient, variable) for gradient, variable in given if gradient is not None]
        if not kept:
            names = ", ".join(variable.name for _, variable in given) or "no variable"
            raise InvalidArgument(
                f"no gradient for any variable, got {names}",
                op=type(self).__name__,
                location=locations.describe(locations.capture()),
                hint="the loss must depend on the variables through differentiable operations",
            )
        trace = current()
        if trace is None:
            return self._apply_outside(kept)
        return self._apply_inside(trace, kept)

    def _pair(self, pair: Any) -> tuple[Operand | None, Variable]:
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

    def _apply_inside(self, trace: Trace, pairs: Sequence[tuple[Operand, Variable]]) -> Operation:
        for gradient, variable in pairs:
            self.update(tensor_in(trace, gradient, variable.dtype), variable)
        tokens = [t for _, v in pairs if (t := trace.resource(v).write_token) is not None]
        token = trace.emit_op(Group, tokens).token if len(tokens) > 1 else tokens[0] if tokens else None
        return Operation(token, trace, type(self).__name__)

    def _apply_outside(self, pairs: Sequence[tuple[Operand, Variable]]) -> Operation:
        with self._lock:
            if self._outside is None:

                def apply(grads: list[Tensor], variables: tuple[Variable, ...], rate: Operand, settings: Any) -> None:
                    trace = current()
                    assert trace is not None
                    self._rates[trace] = rate
                    try:
                        self._apply_inside(trace, list(zip(grads, variables, strict=True)))
                    finally:
                        del self._rates[trace]

                self._outside = Function(apply, name=type(self).__name__)
        # The learning rate is an input, so that a schedule needs one program. Other settings are part of the signature,
        # and so is the rate in rules from elsewhere, which read it as the number that it is.
        rate = self.learning_rate
        settings = {k: v for k, v in vars(self).items() if isinstance(v, bool | int | float)}
        if type(self).__module__.startswith("dfc."):
            settings.pop("learning_rate", None)
        self._outside(
            [gradient for gradient, _ in pairs],
            tuple(variable for _, variable in pairs),
            np.asarray(rate, np.float64) if isinstance(rate, int | float) else rate,
            tuple(settings.items()),
        )
        return Operation(None, None, type(self).__name__)

    def _rate(self, variable: Variable) -> Operand:
        """The learning rate in the variable's dtype."""
        trace = current()
        rate = self.learning_rate if trace is None else self._rates.get(trace, self.learning_rate)
        if isinstance(rate, int | float) or trace is None:
            return rate
        value = trace.convert(tensor_in(trace, rate)._value, variable.dtype)
        return Tensor(value.type, trace, value)


class SGD(Optimizer):
    """Stochastic gradient descent: `w -= learning_rate * gradient`."""

    def update(self, gradient: Tensor, variable: Variable) -> None:
        variable.assign_sub(gradient * self._rate(variable))


class Momentum(Optimizer):
    """Gradient descent with momentum (Sutskever et al. 2013): `v = momentum * v + gradient; w -= learning_rate * v`.

    With `use_nesterov`: `w -= learning_rate * (gradient + momentum * v)`, for the new v. The v of a variable is its
    slot `momentum`.
    """

    def __init__(self, learning_rate: Operand, momentum: float = 0.9, use_nesterov: bool = False) -> None:
        super().__init__(learning_rate)
        self.momentum, self.use_nesterov = momentum, use_nesterov

    def update(self, gradient: Tensor, variable: Variable) -> None:
        velocity = self.slot(variable, "momentum")
        new = velocity.read() * self.momentum + gradient
        velocity.assign(new)
        step = gradient + new * self.momentum if self.use_nesterov else new
        variable.assign_sub(step * self._rate(variable))
