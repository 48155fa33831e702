"""L-BFGS: quasi-Newton steps from the last few changes of variables and gradients (Nocedal and Wright, alg. 7.4)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from dfc.errors import InvalidArgument
from dfc.frontend.gradients import gradients
from dfc.frontend.loops import while_loop
from dfc.frontend.operation import Operation
from dfc.frontend.ops.constant import asarray, full_like, ones_like, zeros_like
from dfc.frontend.ops.elementwise import astype, isinf, minimum, rsqrt, where
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.shape import concat, expand_dims, reshape
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import require_trace
from dfc.frontend.train.optimizers import Pairs, built, everything_since, state_variable, trainable_of
from dfc.frontend.variable import Variable
from dfc.ir import locations

Loss = Callable[[], Tensor]


class LBFGS:
    """Limited-memory BFGS over all variables together, which must have one dtype.

    `minimize(loss, variables)` takes a function of no arguments that computes the scalar loss. It is traced twice: for
    the gradient, and in the loop that searches for a step length. That tries at most `line_search_steps` of them,
    `learning_rate` times 1, `shrink`, `shrink`^2 ..., and ends with the first that lowers the loss by `decrease` times
    what the slope promises (Armijo); where none does, there is no step.

    With `curvature` the slope there must also be at most `curvature` times as steep as before (the strong Wolfe
    conditions; Nocedal and Wright, eq. 3.7), so that every step says something of the curvature. Such a length is
    found by bisection, which divides an interval by `shrink`, after lengths divided by `shrink` until there is one;
    if not in time, the longest known is taken at which the loss is low enough but still falls too steeply. Each trial
    takes a gradient as well. 0.9 is usual.

    `apply_gradients` steps by the learning rate without a search.

    State: the last `memory` changes, and the last point and gradient, as variables of all elements in a row.
    """

    def __init__(
        self,
        learning_rate: float = 1.0,
        memory: int = 10,
        line_search_steps: int = 10,
        shrink: float = 0.5,
        decrease: float = 1e-4,
        curvature: float | None = None,
    ) -> None:
        if memory < 1 or line_search_steps < 1 or not 0 < shrink < 1:
            raise InvalidArgument(
                f"memory and line_search_steps must be at least 1 and shrink between 0 and 1, got {memory}, "
                f"{line_search_steps} and {shrink}",
                op="LBFGS",
                location=locations.describe(locations.capture()),
            )
        if curvature is not None and not decrease < curvature < 1:
            raise InvalidArgument(
                f"curvature must be between decrease and 1, got {curvature} with decrease {decrease}",
                op="LBFGS",
                location=locations.describe(locations.capture()),
            )
        self.learning_rate, self.memory, self.line_search_steps = learning_rate, memory, line_search_steps
        self.shrink, self.decrease, self.curvature = shrink, decrease, curvature
        self._state: dict[str, Variable] = {}
        self._of: list[Variable] | None = None
        self._lock = threading.Lock()

    @property
    def variables(self) -> list[Variable]:
        """The state made so far."""
        return list(self._state.values())

    def minimize(self, loss: Loss, variables: Sequence[Variable] | None = None) -> Operation:
        """One step with line search; in a trace. Without `variables`, of every trainable one that the loss uses."""
        trace = require_trace("LBFGS.minimize", "put it into a function decorated with @dfc.function")
        if not callable(loss):
            raise InvalidArgument(
                "the loss must be a function of no arguments, which the line search calls at each trial point",
                op="LBFGS",
                location=locations.describe(locations.capture()),
                hint="write minimize(lambda: ..., variables), or apply_gradients for steps without a search",
            )
        first = len(trace.effects)
        with trace.in_program_order():
            self._search(loss, variables)
        return everything_since(trace, first, "LBFGS")

    def _search(self, loss: Callable[[], Tensor], variables: Sequence[Variable] | None) -> None:
        start = loss()
        chosen = trainable_of(variables)
        point, gradient = self._flat(chosen), self._joined(gradients([start], chosen), chosen)
        direction = self._direction(point, gradient, chosen)
        slope = reduce_sum(direction * gradient)

        def attempt(length: Tensor, low: Tensor, high: Tensor, found: Tensor) -> tuple[Tensor, ...]:
            """One trial: the next length, the interval that it is in, and whether this length is right."""
            self._store(point - direction * length, chosen)
            there = loss()
            enough = there <= start - self.decrease * length * slope
            if self.curvature is None:
                low, high, found = low, where(enough, high, length), enough
            else:
                left = reduce_sum(direction * self._joined(gradients([there], chosen), chosen))
                falls, rises = left > self.curvature * slope, left < -self.curvature * slope
                found = enough & ~(falls | rises)
                low, high = where(enough & falls, length, low), where(~enough | rises, length, high)
            following = where(isinf(high), length / self.shrink, low + (high - low) * self.shrink)
            return where(found, length, following), low, high, found

        first = (self.learning_rate * ones_like(slope), zeros_like(slope), full_like(slope, np.inf), False)
        length, low, _, found = while_loop(
            lambda length, low, high, found: ~found, attempt, first, maximum_iterations=self.line_search_steps
        )
        self._store(point - direction * where(found, length, low), chosen)

    def build(self, variables: Sequence[Variable]) -> list[Variable]:
        """As `Optimizer.build`."""
        return built(self, variables)

    def apply_gradients(self, pairs: Pairs) -> Operation:
        """One step of the learning rate along the quasi-Newton direction; in a trace."""
        trace = require_trace("LBFGS.apply_gradients", "put it into a function decorated with @dfc.function")
        first = len(trace.effects)
        given = [(gradient, variable) for gradient, variable in pairs]
        chosen = [variable for _, variable in given]
        with trace.in_program_order():
            point, gradient = self._flat(chosen), self._joined([g for g, _ in given], chosen)
            self._store(point - self._direction(point, gradient, chosen) * self.learning_rate, chosen)
        return everything_since(trace, first, "LBFGS")

    # ---- the direction

    def _direction(self, point: Tensor, gradient: Tensor, chosen: Sequence[Variable]) -> Tensor:
        """The inverse Hessian's estimate times the gradient, with this step's changes in it."""
        state = self._made(chosen)
        first = state["count"].read() == 0
        change = where(first, 0, point - state["point"].read())
        bend = where(first, 0, gradient - state["gradient"].read())
        curvature, size = reduce_sum(change * bend), reduce_sum(bend * bend)
        bowl = curvature > 1e-12 * size  # only a change along which the gradient grows says how far the minimum is
        weight = where(bowl, 1 / where(bowl, curvature, 1), 0)
        changes = _pushed(state["changes"].read(), change)
        bends = _pushed(state["bends"].read(), bend)
        weights = _pushed(state["weights"].read(), weight)
        scale = where(bowl, curvature / where(bowl, size, 1), minimum(1, rsqrt(reduce_sum(gradient * gradient))))
        for name, value in (("changes", changes), ("bends", bends), ("weights", weights)):
            state[name].assign(value)
        state["point"].assign(point)
        state["gradient"].assign(gradient)
        state["count"].assign_add(1)
        return self._two_loops(gradient, changes, bends, weights, scale)

    def _two_loops(self, vector: Tensor, changes: Tensor, bends: Tensor, weights: Tensor, scale: Tensor) -> Tensor:
        """The product with the estimate, newest change first and then back; entries of weight 0 have no effect."""
        factors = []
        for i in reversed(range(self.memory)):
            factor = weights[i] * reduce_sum(changes[i] * vector)
            vector = vector - bends[i] * factor
            factors.append(factor)
        vector = vector * scale
        for i, factor in zip(range(self.memory), reversed(factors), strict=True):
            vector = vector + changes[i] * (factor - weights[i] * reduce_sum(bends[i] * vector))
        return vector

    # ---- all variables in a row

    def _flat(self, chosen: Sequence[Variable]) -> Tensor:
        return concat([reshape(v.read(), (-1,)) for v in chosen], axis=0)

    def _joined(self, grads: Sequence[Operand | None], chosen: Sequence[Variable]) -> Tensor:
        parts = [zeros_like(v.read()) if g is None else asarray(g) for g, v in zip(grads, chosen, strict=True)]
        return concat([reshape(astype(p, chosen[0].dtype), (-1,)) for p in parts], axis=0)

    def _store(self, flat: Tensor, chosen: Sequence[Variable]) -> None:
        at = 0
        for variable in chosen:
            end = at + _size(variable)
            variable.assign(reshape(flat[at:end], variable.shape))
            at = end

    def _made(self, chosen: Sequence[Variable]) -> dict[str, Variable]:
        """The state, made at the first step; later steps must be of the same variables."""
        with self._lock:
            if self._of is None:
                self._check(chosen)
                dtype = chosen[0].dtype.numpy
                size = sum(map(_size, chosen))
                values = {
                    "point": np.zeros(size, dtype),
                    "gradient": np.zeros(size, dtype),
                    "changes": np.zeros((self.memory, size), dtype),
                    "bends": np.zeros((self.memory, size), dtype),
                    "weights": np.zeros(self.memory, dtype),
                    "count": np.int32(0),
                }
                for name, value in values.items():
                    full = f"{chosen[0].name}/LBFGS_{name}"
                    self._state[name] = state_variable(value, full, of=chosen[0])
                self._of = list(chosen)
            elif [id(v) for v in self._of] != [id(v) for v in chosen]:
                raise InvalidArgument(
                    f"an optimiser keeps to its variables, {_names(self._of)}, got {_names(chosen)}",
                    op="LBFGS",
                    location=locations.describe(locations.capture()),
                    hint="make one optimiser for each list of variables",
                )
            return self._state

    def _check(self, chosen: Sequence[Variable]) -> None:
        kinds = {v.dtype for v in chosen}
        if len(kinds) != 1 or not chosen[0].dtype.is_floating:
            listed = ", ".join(f"{v.name} {v.dtype}" for v in chosen) or "none"
            raise InvalidArgument(
                f"the variables must have one floating dtype, got {listed}",
                op="LBFGS",
                location=locations.describe(locations.capture()),
            )


def _size(variable: Variable) -> int:
    return int(np.prod([int(d) for d in variable.shape], dtype=np.int64))


def _names(variables: Sequence[Variable]) -> str:
    return ", ".join(v.name for v in variables)


def _pushed(memory: Tensor, newest: Tensor) -> Tensor:
    """The memory without its oldest entry and with `newest` at its end."""
    return concat([memory[1:], expand_dims(newest, axis=0)], axis=0)
