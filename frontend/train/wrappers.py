"""Around an optimiser: gradients added up over several steps, and losses scaled for 16-bit floats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dfc.errors import InvalidArgument, InvalidType
from dfc.frontend import names
from dfc.frontend.gradients import gradients
from dfc.frontend.operation import Operation
from dfc.frontend.ops.constant import asarray
from dfc.frontend.ops.elementwise import astype, isfinite, logical_and, where
from dfc.frontend.ops.reduction import all as reduce_all
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import require_trace
from dfc.frontend.train.optimizers import (
    Optimizer,
    Pairs,
    built,
    everything_since,
    state_like,
    state_variable,
    trainable_of,
)
from dfc.frontend.variable import Variable
from dfc.ir import locations


class Accumulate:
    """An optimiser that steps every `every` calls, by the mean of their gradients.

        optimizer = dfc.train.Accumulate(dfc.train.Adam(1e-3), every=4)

    In between, variables and the optimiser's own state stay as they are; the sums are variables `NAME/accumulated`.
    Its methods work in a trace.
    """

    def __init__(self, optimizer: Optimizer, every: int) -> None:
        if every < 1:
            raise InvalidArgument(
                f"every must be at least 1, got {every}",
                op="Accumulate",
                location=locations.describe(locations.capture()),
            )
        if not hasattr(optimizer, "apply_gradients"):
            raise InvalidType(
                f"Accumulate takes an optimiser, got {optimizer!r}",
                location=locations.describe(locations.capture()),
                hint="scale the loss outside: dfc.train.LossScale(dfc.train.Accumulate(optimizer, every))",
            )
        self.optimizer, self.every = optimizer, every
        self._sums: dict[Variable, Variable] = {}
        self._made_calls: Variable | None = None

    @property
    def variables(self) -> list[Variable]:
        """The optimiser's state, the sums and the number of calls."""
        calls = [] if self._made_calls is None else [self._made_calls]
        return [*self.optimizer.variables, *self._sums.values(), *calls]

    def _calls(self, first: Variable) -> Variable:
        """The number of calls since the last step, beside the first variable."""
        if self._made_calls is None:
            self._made_calls = state_variable(np.int32(0), f"{first.name}/accumulate_calls", of=first)
        return self._made_calls

    def minimize(self, loss: Tensor, variables: Sequence[Variable] | None = None) -> Operation:
        """As `Optimizer.minimize`."""
        chosen = trainable_of(variables)
        return self.apply_gradients(zip(gradients([loss], chosen), chosen, strict=True))

    def build(self, variables: Sequence[Variable]) -> list[Variable]:
        """As `Optimizer.build`."""
        return built(self, variables)

    def apply_gradients(self, pairs: Pairs, *, when: Operand | None = None) -> Operation:
        """Add the gradients to their sums; at every `every`-th call step by their mean and begin again. Where `when`, a
        scalar bool, is false, the call counts for nothing."""
        trace = require_trace("Accumulate.apply_gradients", "put it into a function decorated with @dfc.function")
        kept = [(gradient, variable) for gradient, variable in pairs if gradient is not None]
        if not kept:
            return self.optimizer.apply_gradients(kept)  # which says what is missing
        first = len(trace.effects)
        with trace.in_program_order():
            self._add(kept, True if when is None else asarray(when))
        return everything_since(trace, first, "Accumulate")

    def _add(self, kept: Sequence[tuple[Any, Variable]], counts: Operand) -> None:
        calls = self._calls(kept[0][1])
        calls.assign_add(where(counts, 1, 0))
        full = logical_and(calls.read() >= self.every, counts)
        means = []
        for gradient, variable in kept:
            total = self._sum(variable)
            total.assign_add(where(counts, asarray(gradient), 0))
            means.append((total.read() * (1 / self.every), variable))
        self.optimizer.apply_gradients(means, when=full)
        for _, variable in kept:
            total = self._sum(variable)
            total.assign(where(full, 0, total.read()))
        calls.assign(where(full, 0, calls.read()))

    def _sum(self, variable: Variable) -> Variable:
        if variable not in self._sums:
            self._sums[variable] = state_like(variable, "accumulated")
        return self._sums[variable]


class LossScale:
    """Dynamic loss scaling for training in float16 or bfloat16 (Micikevicius et al. 2018).

    The loss is multiplied by a scale before differentiation, and its gradients divided by it after, so that small
    gradients do not vanish. A step whose gradients are not all finite is left out and divides the scale by `factor`;
    `growth_interval` good steps in a row multiply it by `factor`.

        optimizer = dfc.train.LossScale(dfc.train.Adam(1e-3))
        ...
        optimizer.minimize(loss, variables)      # in a trace; the loss in the dtype it was computed in

    Keep the variables in float32, and cast them where they are used: `dfc.astype(w, "bfloat16")`; layers do so by
    their `compute_dtype`. The scale is the variable `loss_scale`.
    """

    def __init__(
        self,
        optimizer: Optimizer | Accumulate,
        initial: float = 2.0**15,
        factor: float = 2.0,
        growth_interval: int = 2000,
    ) -> None:
        if initial <= 0 or factor <= 1 or growth_interval < 1:
            raise InvalidArgument(
                f"initial must be positive, factor above 1 and growth_interval at least 1, got {initial}, {factor} and "
                f"{growth_interval}",
                op="LossScale",
                location=locations.describe(locations.capture()),
            )
        self.optimizer, self.factor, self.growth_interval = optimizer, factor, growth_interval
        self.scale = state_variable(np.float32(initial), names.scoped("loss_scale"))
        self._good = state_variable(np.int32(0), names.scoped("loss_scale_good_steps"))

    def build(self, variables: Sequence[Variable]) -> list[Variable]:
        """As `Optimizer.build`."""
        self.optimizer.build(variables)
        return self.variables

    @property
    def variables(self) -> list[Variable]:
        """The optimiser's state, the scale, and the number of good steps in a row."""
        return [*self.optimizer.variables, self.scale, self._good]

    def minimize(self, loss: Tensor, variables: Sequence[Variable] | None = None) -> Operation:
        """Scale the loss, differentiate, and apply what comes out if it is finite."""
        require_trace("minimize", "call it in a function decorated with @dfc.function that computes the loss")
        chosen = trainable_of(variables)
        scale = self.scale.read()
        seed = astype(scale, loss.dtype)  # the scale is the weight of the loss: nothing is multiplied forward
        grads = gradients([loss], chosen, [seed + loss * 0 if loss.ndim else seed])
        unscaled = [
            None if g is None else asarray(g) / astype(scale, v.dtype) for g, v in zip(grads, chosen, strict=True)
        ]
        return self.apply_unscaled(zip(unscaled, chosen, strict=True))

    def apply_unscaled(self, pairs: Pairs) -> Operation:
        """Apply gradients that are divided by the scale already, if all are finite; adjust the scale."""
        trace = require_trace("LossScale.apply_unscaled", "put it into a function decorated with @dfc.function")
        kept = [(gradient, variable) for gradient, variable in pairs if gradient is not None]
        finite: Operand = True
        for gradient, _ in kept:
            finite = logical_and(finite, reduce_all(isfinite(asarray(gradient))))
        first = len(trace.effects)
        with trace.in_program_order():
            self.optimizer.apply_gradients(kept, when=finite)
            good = where(finite, self._good.read() + 1, 0)
            grow = good >= self.growth_interval
            scale = self.scale.read()
            grown = where(grow, scale * self.factor, scale)
            self.scale.assign(where(finite, where(isfinite(grown), grown, scale), scale / self.factor))
            self._good.assign(where(grow, 0, good))
        return everything_since(trace, first, "LossScale")
